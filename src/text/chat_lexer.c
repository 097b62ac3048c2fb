// A template's tokens. White space around tags goes here: "-" takes all of it, a line break behind a block or comment
// (trim_blocks) and blanks in front of one at the beginning of a line (lstrip_blocks) go unless "+" keeps them; the last
// line break of the template goes.
//
// Source    Jinja2 3.1 lexer.py with the settings of transformers.
#include "text/chat_internal.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

typedef struct chat_lexer {
    bm_chat_template *template;
    const char *at, *end;
    uint32_t line;
    bool begins_line; // what was read last ended with a line break
    chat_token *tokens;
    size_t count, capacity;
    bm_error *err;
} chat_lexer;

static bm_status fail(const chat_lexer *lexer, const char *what)
{
    return bm_fail(lexer->err, BM_E_FORMAT, "%s: line %u: %s", lexer->template->name, lexer->line, what);
}

static bm_status add(chat_lexer *lexer, chat_token token)
{
    if (lexer->count == lexer->capacity) {
        const size_t capacity = lexer->capacity * 2 + 256;
        chat_token *tokens = bm_resize(lexer->tokens, capacity, sizeof *tokens);
        if (!tokens)
            return bm_fail(lexer->err, BM_E_MEMORY, "%s: out of memory", lexer->template->name);
        lexer->tokens = tokens;
        lexer->capacity = capacity;
    }
    lexer->tokens[lexer->count++] = token;
    return BM_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void advance(chat_lexer *lexer, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lexer->line += lexer->at[i] == '\n';
    lexer->at += count;
}

static bool is_next(const chat_lexer *lexer, const char *word)
{
    const size_t length = strlen(word);
    return (size_t)(lexer->end - lexer->at) >= length && memcmp(lexer->at, word, length) == 0;
}

// Takes the end of a tag, with the white space behind it that goes; false: it is not there.
static bool take_end(chat_lexer *lexer, const char *close, bool trims)
{
    const char sign = lexer->at < lexer->end ? *lexer->at : '\0';
    const bool is_signed = sign == '-' || (sign == '+' && trims);
    const size_t skip = is_signed ? 1 : 0, left = (size_t)(lexer->end - lexer->at);
    if (left < skip + 2 || memcmp(lexer->at + skip, close, 2) != 0)
        return false;
    advance(lexer, skip + 2);
    lexer->begins_line = false;
    if (is_signed && sign == '-') {
        while (lexer->at < lexer->end && is_blank(*lexer->at)) {
            lexer->begins_line = *lexer->at == '\n';
            advance(lexer, 1);
        }
    } else if (!is_signed && trims && lexer->at < lexer->end && *lexer->at == '\n') {
        lexer->begins_line = true;
        advance(lexer, 1);
    }
    return true;
}

// ---- inside of a tag ----

static uint32_t hex_value(const char *digits, uint32_t count, const char *end)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char c = digits + i < end ? digits[i] : '\0';
        const uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                               : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                      : 16;
        if (digit == 16)
            return UINT32_MAX;
        value = value << 4 | digit;
    }
    return value;
}

// One escape behind a backslash, to out; returns the bytes read, 0: a wrong one.
static size_t unescape(const char *at, const char *end, char **out)
{
    static const char letters[] = "n\nt\tr\rb\bf\fv\va\a\\\\'\'\"\"";
    const uint32_t digits = *at == 'x' ? 2 : *at == 'u' ? 4 : *at == 'U' ? 8 : 0;
    if (*at == '\n')
        return 1;
    for (size_t i = 0; i + 1 < sizeof letters; i += 2)
        if (*at == letters[i]) {
            *(*out)++ = letters[i + 1];
            return 1;
        }
    if (digits > 0) {
        const uint32_t code = hex_value(at + 1, digits, end);
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) || code == 0)
            return 0;
        *out += text_utf8_encode(code, *out);
        return 1 + digits;
    }
    *(*out)++ = '\\'; // unknown ones stay
    *(*out)++ = *at;
    return 1;
}

static bm_status take_string(chat_lexer *lexer)
{
    const char quote = *lexer->at, *close = lexer->at + 1;
    while (close < lexer->end && *close != quote)
        close += *close == '\\' ? 2 : 1;
    if (close >= lexer->end)
        return fail(lexer, "a string without its end");
    // An escape is never shorter than what it stands for.
    char *text = chat_alloc(&lexer->template->arena, (uint64_t)(close - lexer->at) + 4, 1), *out = text;
    if (!text)
        return bm_fail(lexer->err, BM_E_MEMORY, "%s: out of memory", lexer->template->name);
    for (const char *at = lexer->at + 1; at < close;) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        const size_t taken = unescape(at + 1, close, &out);
        if (taken == 0)
            return fail(lexer, "a wrong escape in a string");
        at += 1 + taken;
    }
    const chat_token token = {.kind = CHAT_T_STRING, .line = lexer->line, .text = {text, (size_t)(out - text)}};
    advance(lexer, (size_t)(close + 1 - lexer->at));
    return add(lexer, token);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bm_status take_number(chat_lexer *lexer)
{
    const char *end = lexer->at;
    bool is_real = false;
    while (end < lexer->end && is_digit(*end))
        end++;
    if (end + 1 < lexer->end && *end == '.' && is_digit(end[1])) {
        is_real = true;
        for (end++; end < lexer->end && is_digit(*end);)
            end++;
    }
    char digits[40];
    const size_t length = (size_t)(end - lexer->at);
    chat_token token = {.kind = is_real ? CHAT_T_FLOAT : CHAT_T_INTEGER, .line = lexer->line};
    if (length >= sizeof digits)
        return fail(lexer, "a number that is too long");
    memcpy(digits, lexer->at, length);
    digits[length] = '\0';
    if (is_real ? !bm_parse_double(digits, &token.real) : !bm_parse_i64(digits, &token.integer))
        return fail(lexer, "a number that is too large");
    advance(lexer, length);
    return add(lexer, token);
}

static bm_status take_word(chat_lexer *lexer)
{
    const char *end = lexer->at;
    while (end < lexer->end && (is_letter(*end) || is_digit(*end)))
        end++;
    const chat_token token = {.kind = CHAT_T_NAME, .line = lexer->line, .text = {lexer->at, (size_t)(end - lexer->at)}};
    advance(lexer, token.text.length);
    return add(lexer, token);
}

static bm_status take_operator(chat_lexer *lexer, int32_t *open)
{
    static const char *const operators[] = {"**", "//", "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "/", "*",
                                            "%",  "~",  "|",  ".",  ",",  ":",  "(", ")", "[", "]", "{", "}"};
    for (size_t i = 0; i < BM_COUNT(operators); i++) {
        if (!is_next(lexer, operators[i]))
            continue;
        const chat_token token = {
            .kind = CHAT_T_OPERATOR, .line = lexer->line, .text = {operators[i], strlen(operators[i])}};
        *open += strchr("([{", operators[i][0]) ? 1 : strchr(")]}", operators[i][0]) ? -1 : 0;
        advance(lexer, token.text.length);
        return add(lexer, token);
    }
    return fail(lexer, "a character that belongs to no expression");
}

static bm_status take_tag(chat_lexer *lexer, bool is_block)
{
    const char *close = is_block ? "%}" : "}}";
    const uint32_t first_line = lexer->line;
    bm_status status =
        add(lexer, (chat_token){.kind = is_block ? CHAT_T_BEGIN_BLOCK : CHAT_T_BEGIN_VARIABLE, .line = lexer->line});
    for (int32_t open = 0; status == BM_OK;) {
        while (lexer->at < lexer->end && is_blank(*lexer->at))
            advance(lexer, 1);
        if (lexer->at == lexer->end) {
            lexer->line = first_line;
            return fail(lexer, is_block ? "\"{%\" without \"%}\"" : "\"{{\" without \"}}\"");
        }
        const uint32_t line = lexer->line;
        if (open <= 0 && take_end(lexer, close, is_block))
            return add(lexer, (chat_token){.kind = is_block ? CHAT_T_END_BLOCK : CHAT_T_END_VARIABLE, .line = line});
        const char c = *lexer->at;
        status = c == '"' || c == '\'' ? take_string(lexer)
                 : is_digit(c)         ? take_number(lexer)
                 : is_letter(c)        ? take_word(lexer)
                                       : take_operator(lexer, &open);
    }
    return status;
}

static bm_status skip_comment(chat_lexer *lexer)
{
    while (lexer->at < lexer->end) {
        const bool may_end = *lexer->at == '#' || *lexer->at == '-' || *lexer->at == '+';
        if (may_end && take_end(lexer, "#}", true))
            return BM_OK;
        advance(lexer, 1);
    }
    return fail(lexer, "\"{#\" without \"#}\"");
}

// ---- outside ----

// Text up to the next tag, without the white space that its sign or its place takes.
static bm_status take_text(chat_lexer *lexer)
{
    const char *end = lexer->at;
    while (end < lexer->end && !(end + 1 < lexer->end && *end == '{' && strchr("{%#", end[1])))
        end++;
    const bool has_tag = end < lexer->end;
    const char sign = has_tag && end + 2 < lexer->end ? end[2] : '\0', kind = has_tag ? end[1] : '\0';
    const char *kept = end;
    if (sign == '-') {
        while (kept > lexer->at && is_blank(kept[-1]))
            kept--;
    } else if (has_tag && kind != '{' && sign != '+') {
        const char *start = end;
        while (start > lexer->at && is_blank(start[-1]) && start[-1] != '\n')
            start--;
        if (start > lexer->at ? start[-1] == '\n' : lexer->begins_line)
            kept = start;
    }
    const chat_token token = {
        .kind = CHAT_T_TEXT, .line = lexer->line, .text = {lexer->at, (size_t)(kept - lexer->at)}};
    advance(lexer, (size_t)(end - lexer->at));
    return token.text.length > 0 ? add(lexer, token) : BM_OK;
}

static bm_status take_raw_or_tag(chat_lexer *lexer)
{
    const char kind = lexer->at[1];
    advance(lexer, 2);
    if (lexer->at < lexer->end && (*lexer->at == '-' || (*lexer->at == '+' && kind != '{')))
        advance(lexer, 1);
    return kind == '#' ? skip_comment(lexer) : take_tag(lexer, kind == '%');
}

bm_status chat_tokenize(bm_chat_template *template, chat_token **out, bm_error *err)
{
    const size_t length = strlen(template->source);
    chat_lexer lexer = {.template = template, .at = template->source, .line = 1, .begins_line = true, .err = err};
    lexer.end = lexer.at + length;
    if (length > 0 && lexer.end[-1] == '\n')
        lexer.end--;
    bm_status status = BM_OK;
    while (status == BM_OK && lexer.at < lexer.end) {
        status = take_text(&lexer);
        if (status == BM_OK && lexer.at < lexer.end)
            status = take_raw_or_tag(&lexer);
    }
    if (status == BM_OK)
        status = add(&lexer, (chat_token){.kind = CHAT_T_END, .line = lexer.line});
    if (status == BM_OK)
        *out = lexer.tokens;
    else
        bm_free(lexer.tokens);
    return status;
}
