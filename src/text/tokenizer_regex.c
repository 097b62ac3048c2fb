// Regular expressions of tokenizer.json, written for Oniguruma (Ruby syntax), run by PCRE2.
//
// The two agree on what such files use but for the shorthands: Oniguruma's \s is Unicode White_Space (PCRE2 adds
// U+180E), its \w is what Unicode calls a word, with the superscripts and fractions of Latin-1 added (PCRE2 10.42:
// letters, numbers, "_"), its \b and \B are of that \w, its \h is a hexadecimal digit; "+" or "?" behind "{n}", and "+"
// behind "{n,m}", repeats what is there repeated (PCRE2: possessive, or nothing). Those are rewritten; what would
// silently mean something else is refused: sets inside sets, "&&", "{,n}", inline option m, comments.
//
// What matching costs is bounded by counts and not by a clock, so that a text is given up or not whatever the machine:
// each place in a text may look at a few hundred bytes, in as many steps of PCRE2 (its match limit); what needs more
// takes it from an effort that the whole text has. PCRE2's compiler to machine code counts otherwise and is not used.
//
// A regex object holds its own match data: one thread at a time, as the whole tokenizer.
// Source    doc/RE of Oniguruma 6.9; pcre2pattern(3), pcre2api(3) of 10.42.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <pcre2.h>

#include <string.h>

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE"
#define AT_EDGE "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"
#define NOT_AT_EDGE "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"
#define MAX_GROUPS 250u    // in one another, as PCRE2 has it
#define MAX_PATTERN 16384u // bytes; the longest known is about 400
#define PLACE_EFFORT                                                                                                   \
    256u // steps, and bytes looked at, that every place has: what published expressions need, long runs apart
#define TEXT_EFFORT (UINT64_C(1) << 24) // that a text has beside it: some 2 s, and 15 us a byte
#define TEXT_EFFORT_PER_BYTE 128u
#define HEAP_LIMIT_KIB 262144u // of one match

struct text_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    char *where; // file and component, for errors
    char *pattern;
};

typedef struct regex_rewriter {
    bm_string out;
    const char *where;
    const char *pattern;
    bool in_set;
    size_t atom;               // where in out what a quantifier would repeat begins; SIZE_MAX: nothing is there
    size_t groups[MAX_GROUPS]; // [depth], where in out each open group begins
    uint32_t depth;
    bm_error *err;
} regex_rewriter;

static bm_status refuse(const regex_rewriter *rewriter, const char *what)
{
    char shown[160];
    return bm_fail(rewriter->err, BM_E_UNSUPPORTED, "%s: regular expression \"%s\": %s is not supported",
                   rewriter->where, bm_printable(rewriter->pattern, strlen(rewriter->pattern), shown, sizeof shown),
                   what);
}

// The character behind a backslash.
static bm_status rewrite_escape(regex_rewriter *rewriter, char letter)
{
    static const struct {
        char letter;
        const char *inside; // of a set; NULL: refused there
        const char *outside;
    } table[] = {
        {'s', "\\p{White_Space}", "\\p{White_Space}"},
        {'S', "\\P{White_Space}", "\\P{White_Space}"},
        {'w', WORD, "[" WORD "]"},
        {'W', NULL, "[^" WORD "]"},
        {'d', "\\p{Nd}", "\\p{Nd}"},
        {'D', "\\P{Nd}", "\\P{Nd}"},
        {'h', "0-9a-fA-F", "[0-9a-fA-F]"},
        {'H', NULL, "[^0-9a-fA-F]"},
        {'b', NULL, AT_EDGE},
        {'B', NULL, NOT_AT_EDGE},
    };
    if (!rewriter->in_set)
        rewriter->atom = rewriter->out.length;
    for (size_t i = 0; i < BM_COUNT(table); i++) {
        if (table[i].letter != letter)
            continue;
        const char *text = rewriter->in_set ? table[i].inside : table[i].outside;
        if (!text)
            return refuse(rewriter, "a negated shorthand or word boundary inside a set");
        bm_string_append(&rewriter->out, text);
        return BM_OK;
    }
    // The same in both: categories, control characters, code points, ends of a text, and escaped punctuation.
    // \G is not taken: it would match at every place, since each one is tried by itself.
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (letter == '\0' || (is_letter && !strchr("pPnrtfaexAzZ", letter)))
        return refuse(rewriter, "an escape");
    if (letter >= '0' && letter <= '9')
        return refuse(rewriter, "a back reference or octal escape");
    bm_string_append_bytes(&rewriter->out, (const char[2]){'\\', letter}, 2);
    return BM_OK;
}

static bm_status check_in_set(regex_rewriter *rewriter, const char *at)
{
    if (at[0] == '&' && at[1] == '&')
        return refuse(rewriter, "an intersection of sets");
    if (at[0] == '[' && at[1] != ':')
        return refuse(rewriter, "a set inside a set");
    if (at[0] == ']')
        rewriter->in_set = false;
    return BM_OK;
}

static bm_status check_outside(regex_rewriter *rewriter, const char *at)
{
    if (at[0] == '{' && at[1] == ',')
        return refuse(rewriter, "\"{,n}\"");
    if (at[0] == '(' && at[1] == '?' && at[2] == '#')
        return refuse(rewriter, "a comment"); // the two end it otherwise
    if (at[0] == '(' && at[1] == '?') {
        for (const char *option = at + 2; *option && strchr("imxa-", *option); option++)
            if (*option != 'i' && *option != '-')
                return refuse(rewriter, "an inline option other than i");
        if (!strchr("i-:=!><", at[2]))
            return refuse(rewriter, "a group of this kind");
    }
    if (at[0] == '(' && at[1] == '*')
        return refuse(rewriter, "\"(*\"");
    if (at[0] == '[')
        rewriter->in_set = true;
    return BM_OK;
}

// The bytes of "{n}", "{n,}" or "{n,m}"; 0: a brace that stands for itself. *is_fixed: "{n}".
static size_t interval_length(const char *at, bool *is_fixed)
{
    static const char digits[] = "0123456789";
    const size_t low = at[0] == '{' ? strspn(at + 1, digits) : 0;
    size_t length = 1 + low;
    *is_fixed = low > 0 && at[length] == '}';
    if (low > 0 && at[length] == ',')
        length += 1 + strspn(at + length + 1, digits);
    return low > 0 && at[length] == '}' ? length + 1 : 0;
}

// Copies an interval, and puts what it repeats into a group of its own where another quantifier follows.
static void rewrite_interval(regex_rewriter *rewriter, const char *at, size_t length, bool is_fixed)
{
    const size_t atom = rewriter->atom;
    bm_string *out = &rewriter->out;
    bm_string_append_bytes(out, at, length);
    rewriter->atom = SIZE_MAX;
    if (atom == SIZE_MAX || (at[length] != '+' && !(is_fixed && at[length] == '?')))
        return;
    if (bm_string_append(out, "(?:)")) { // moved to where it belongs, but for the bracket that closes it
        memmove(out->data + atom + 3, out->data + atom, out->length - 4 - atom);
        memcpy(out->data + atom, "(?:", 3); // NOLINT(bugprone-not-null-terminated-result)
    }
}

// Follows where atoms begin: at is copied to the end of out next.
static bm_status follow_atom(regex_rewriter *rewriter, const char *at)
{
    const size_t here = rewriter->out.length;
    if (*at == '(') {
        if (rewriter->depth == MAX_GROUPS)
            return refuse(rewriter, "a group inside 250 others");
        rewriter->groups[rewriter->depth++] = here;
        rewriter->atom = SIZE_MAX;
    } else if (*at == ')') {
        rewriter->atom = rewriter->depth > 0 ? rewriter->groups[--rewriter->depth] : SIZE_MAX;
    } else if (strchr("*+?|", *at)) {
        rewriter->atom = SIZE_MAX;
    } else if (((uint8_t)*at & 0xC0) != 0x80) { // not inside a character
        rewriter->atom = here;
    }
    return BM_OK;
}

// What belongs to the letter of an escape: "{L}" of \p{L}, "{41}" and "41" of \x.
static size_t operand_length(const char *letter)
{
    const char *close = strchr("pPx", *letter) && letter[1] == '{' ? strchr(letter, '}') : NULL;
    const size_t digits = *letter == 'x' ? strspn(letter + 1, "0123456789abcdefABCDEF") : 0;
    return close ? (size_t)(close - letter) : digits < 2 ? digits : 2;
}

static bm_status rewrite(regex_rewriter *rewriter)
{
    bm_status status = BM_OK;
    rewriter->atom = SIZE_MAX;
    for (const char *at = rewriter->pattern; *at && status == BM_OK; at++) {
        if (*at == '\\') {
            const char letter = *++at;
            status = rewrite_escape(rewriter, letter);
            if (letter == '\0')
                break;
            const size_t operand = operand_length(at);
            bm_string_append_bytes(&rewriter->out, at + 1, operand);
            at += operand;
            continue;
        }
        bool is_fixed = false;
        const size_t interval = rewriter->in_set ? 0 : interval_length(at, &is_fixed);
        if (interval > 0) {
            rewrite_interval(rewriter, at, interval, is_fixed);
            at += interval - 1;
            continue;
        }
        if (!rewriter->in_set)
            status = follow_atom(rewriter, at);
        if (status != BM_OK)
            break;
        const bool was_in_set = rewriter->in_set;
        status = was_in_set ? check_in_set(rewriter, at) : check_outside(rewriter, at);
        bm_string_append_bytes(&rewriter->out, at, 1);
        if (!was_in_set && rewriter->in_set) { // "[^]" and "[]": the bracket is a member in neither engine's use here
            const char *member = at + 1 + (at[1] == '^');
            if (status == BM_OK && *member == ']')
                status = refuse(rewriter, "an empty set");
        }
        if (was_in_set && at[0] == '[') { // "[:alpha:]" is copied whole
            const char *close = strstr(at, ":]");
            if (!close)
                return refuse(rewriter, "\"[:\"");
            bm_string_append_bytes(&rewriter->out, at + 1, (size_t)(close + 1 - at));
            at = close + 1;
        }
    }
    return status;
}

static bm_status compile(text_regex *regex, const regex_rewriter *rewriter)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    // Ruby's ^ and $ always match at line ends.
    regex->code = pcre2_compile((PCRE2_SPTR)bm_string_text(&rewriter->out), rewriter->out.length,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_ANCHORED,
                                &code, &offset, NULL);
    if (!regex->code) {
        PCRE2_UCHAR words[120] = "";
        char shown[160];
        pcre2_get_error_message(code, words, sizeof words);
        return bm_fail(rewriter->err, BM_E_FORMAT, "%s: regular expression \"%s\": %s", rewriter->where,
                       bm_printable(rewriter->pattern, strlen(rewriter->pattern), shown, sizeof shown),
                       (const char *)words);
    }
    regex->data = pcre2_match_data_create(1, NULL);
    regex->context = pcre2_match_context_create(NULL);
    regex->where = bm_string_copy(rewriter->where);
    regex->pattern = bm_string_copy(rewriter->pattern);
    if (!regex->data || !regex->context || !regex->where || !regex->pattern)
        return bm_fail(rewriter->err, BM_E_MEMORY, "%s: out of memory", rewriter->where);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    return BM_OK;
}

bm_status text_regex_compile(text_regex **out, const char *pattern, const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    text_regex *regex = NULL;
    regex_rewriter rewriter = {.out = BM_STRING_INIT, .where = where, .pattern = pattern, .err = err};
    BM_FAIL_IF(pattern[0] == '\0' || strlen(pattern) > MAX_PATTERN, err, BM_E_FORMAT,
               "%s: expected a regular expression of 1 to %u bytes, found %zu", where, MAX_PATTERN, strlen(pattern));
    regex = bm_alloc_zero(1, sizeof *regex);
    BM_FAIL_IF(!regex, err, BM_E_MEMORY, "%s: out of memory", where);
    BM_TRY(rewrite(&rewriter));
    BM_FAIL_IF(rewriter.out.failed, err, BM_E_MEMORY, "%s: out of memory", where);
    BM_TRY(compile(regex, &rewriter));
    *out = regex;
    regex = NULL;
done:
    text_regex_destroy(&regex);
    bm_string_free(&rewriter.out);
    return status;
}

void text_regex_destroy(text_regex **regex)
{
    if (!*regex)
        return;
    pcre2_code_free((*regex)->code);
    pcre2_match_data_free((*regex)->data);
    pcre2_match_context_free((*regex)->context);
    bm_free((*regex)->where);
    bm_free((*regex)->pattern);
    bm_free(*regex);
    *regex = NULL;
}

const char *text_regex_pattern(const text_regex *regex)
{
    return regex->pattern;
}

uint64_t text_regex_effort(size_t text_bytes)
{
    return TEXT_EFFORT + (uint64_t)text_bytes * TEXT_EFFORT_PER_BYTE;
}

// A result of PCRE2 for a match that begins at from. Each try looks at so many bytes, in so many steps; one that needs
// more is taken from the effort of the text, and the next gets four times as much.
static int match_at(const text_regex *regex, const char *text, size_t length, size_t from, uint64_t *effort)
{
    for (uint64_t limit = PLACE_EFFORT;; limit *= 4) {
        size_t end = length - from > limit ? from + (size_t)limit : length;
        while (end < length && ((uint8_t)text[end] & 0xC0) == 0x80)
            end++; // not inside a character
        // The text was checked to be UTF-8 once, at the door: a check at every place would make the walk quadratic.
        const uint32_t options = PCRE2_NO_UTF_CHECK | (end < length ? PCRE2_PARTIAL_HARD : 0);
        pcre2_set_match_limit(regex->context, (uint32_t)bm_min_u64(limit, UINT32_MAX));
        const int result = pcre2_match(regex->code, (PCRE2_SPTR)text, end, from, options, regex->data, regex->context);
        if (result != PCRE2_ERROR_PARTIAL && result != PCRE2_ERROR_MATCHLIMIT)
            return result;
        if (limit > *effort)
            return PCRE2_ERROR_MATCHLIMIT;
        *effort -= limit;
    }
}

bm_status text_regex_find(const text_regex *regex, const char *text, size_t length, size_t from, uint64_t *effort,
                          size_t *begin, size_t *end, bm_error *err)
{
    *begin = *end = SIZE_MAX;
    for (; from <= length; from += from < length ? text_utf8_length(text[from]) : 1) {
        const int result = match_at(regex, text, length, from, effort);
        if (result >= 0) {
            *begin = from;
            *end = pcre2_get_ovector_pointer(regex->data)[1];
            return BM_OK;
        }
        if (result != PCRE2_ERROR_NOMATCH) {
            PCRE2_UCHAR words[120] = "too many steps";
            if (result != PCRE2_ERROR_MATCHLIMIT)
                pcre2_get_error_message(result, words, sizeof words);
            return bm_fail(err, result == PCRE2_ERROR_NOMEMORY ? BM_E_MEMORY : BM_E_FORMAT,
                           "%s: a regular expression fails on this text: %s", regex->where, (const char *)words);
        }
    }
    return BM_OK;
}
