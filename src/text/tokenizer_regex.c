// Regular expressions of tokenizer.json, written for Oniguruma (Ruby syntax), run by PCRE2.
//
// The two agree on what such files use but for the shorthands: Oniguruma's \s is Unicode White_Space (PCRE2 adds
// U+180E), its \w is what Unicode calls a word, with the superscripts and fractions of Latin-1 added (PCRE2 10.42:
// letters, numbers, "_"), its \h is a hexadecimal digit. Those are rewritten; what would silently mean something else
// is refused: sets inside sets, "&&", "{,n}", inline option m.
//
// What a search costs is counted in PCRE2's steps of matching, so that a text is given up or not whatever the speed of the
// machine (not whatever its PCRE2: with and without JIT the same match counts a little differently). PCRE2 bounds the
// steps of one starting place, not of a search: a search walks windows of places, each with few steps; where those do not
// suffice it goes place by place with more and more steps, and the attempts that failed are taken from the budget of the
// text. Long scans are single steps (".*"), hence the clock behind it all.
//
// A regex object holds its own match data: one thread at a time, as the whole tokenizer.
// Source    doc/RE of Oniguruma 6.9; pcre2pattern(3), pcre2api(3) of 10.42.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/tokenizer_internal.h"

#include "base/clock.h"

#include <pcre2.h>

#include <string.h>

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE"
#define MAX_PATTERN 16384u     // bytes; the longest known is about 400
#define STEPS_FREE 256u        // of a place, for nothing: what published expressions need, long runs of blanks apart
#define STEPS_MAX (1u << 24)   // of a place
#define STEPS_GROWTH 4u        // STEPS_MAX is STEPS_FREE times a power of this
#define MAX_WINDOW 4096u       // places of one call of PCRE2
#define HEAP_LIMIT_KIB 262144u // of one search without JIT
#define BUDGET_STEPS (UINT64_C(1) << 28) // of a text, in attempts that fail: some 3 s, and 10 us a byte
#define BUDGET_STEPS_PER_BYTE 1024u
#define DEADLINE_NS UINT64_C(100000000000) // 100 s and 100 us a byte, which only long scans reach
#define DEADLINE_NS_PER_BYTE UINT64_C(100000)
#define JIT_STACK_MAX (8u << 20) // bytes

struct text_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

typedef struct regex_rewriter {
    bm_string out;
    const char *where;
    const char *pattern;
    bool in_set;
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
    };
    for (size_t i = 0; i < BM_COUNT(table); i++) {
        if (table[i].letter != letter)
            continue;
        const char *text = rewriter->in_set ? table[i].inside : table[i].outside;
        if (!text)
            return refuse(rewriter, "a negated shorthand inside a set");
        bm_string_append(&rewriter->out, text);
        return BM_OK;
    }
    // The same in both: categories, control characters, code points, word boundaries, and escaped punctuation.
    // \G is not taken: it would match where each window of a search begins.
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (letter == '\0' || (is_letter && !strchr("pPnrtfvaexbBAzZ", letter)) || (rewriter->in_set && letter == 'b') ||
        letter == 'v')
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
    if (at[0] == '(' && at[1] == '?') {
        for (const char *option = at + 2; *option && strchr("imxa-", *option); option++)
            if (*option != 'i' && *option != '-')
                return refuse(rewriter, "an inline option other than i");
        if (!strchr("i-:=!>#<", at[2]))
            return refuse(rewriter, "a group of this kind");
    }
    if (at[0] == '(' && at[1] == '*')
        return refuse(rewriter, "\"(*\"");
    if (at[0] == '[')
        rewriter->in_set = true;
    return BM_OK;
}

static bm_status rewrite(regex_rewriter *rewriter)
{
    bm_status status = BM_OK;
    for (const char *at = rewriter->pattern; *at && status == BM_OK; at++) {
        if (*at == '\\') {
            status = rewrite_escape(rewriter, *++at);
            if (*at == '\0')
                break;
            continue;
        }
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
    regex->code =
        pcre2_compile((PCRE2_SPTR)bm_string_text(&rewriter->out), rewriter->out.length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT, &code,
                      &offset, NULL);
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
    if (!regex->data || !regex->context)
        return bm_fail(rewriter->err, BM_E_MEMORY, "%s: out of memory", rewriter->where);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    if (pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE) == 0) { // where there is none, the interpreter serves
        regex->stack = pcre2_jit_stack_create(64 << 10, JIT_STACK_MAX, NULL);
        if (regex->stack)
            pcre2_jit_stack_assign(regex->context, NULL, regex->stack);
    }
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
    pcre2_jit_stack_free((*regex)->stack);
    bm_free(*regex);
    *regex = NULL;
}

text_regex_budget text_regex_budget_make(size_t text_bytes)
{
    return (text_regex_budget){.text_bytes = text_bytes,
                               .steps = BUDGET_STEPS + (uint64_t)text_bytes * BUDGET_STEPS_PER_BYTE};
}

static bm_status check_clock(text_regex_budget *budget, size_t places, bm_error *err)
{
    budget->places += places;
    if (budget->places < MAX_WINDOW)
        return BM_OK;
    budget->places = 0;
    const uint64_t now = bm_clock_ns();
    if (budget->deadline_ns == 0)
        budget->deadline_ns = now + DEADLINE_NS + budget->text_bytes * DEADLINE_NS_PER_BYTE;
    else if (now > budget->deadline_ns)
        return bm_fail(err, BM_E_FORMAT, "the tokenizer's regular expressions take too long on %zu bytes of text",
                       budget->text_bytes);
    return BM_OK;
}

static bm_status spend_steps(text_regex_budget *budget, uint64_t steps, bm_error *err)
{
    if (steps > budget->steps)
        return bm_fail(err, BM_E_FORMAT, "the tokenizer's regular expressions take too many steps on %zu bytes of text",
                       budget->text_bytes);
    budget->steps -= steps;
    return BM_OK;
}

// Looks for matches that begin at from .. from + places - 1, each place with so many steps. A result of PCRE2.
static int find_in_window(const text_regex *regex, const char *text, size_t length, size_t from, size_t places,
                          uint32_t steps)
{
    pcre2_set_offset_limit(regex->context, from + places - 1);
    pcre2_set_match_limit(regex->context, steps);
    // The text was checked to be UTF-8 once, at the door: a check per search would make the walk quadratic.
    return pcre2_match(regex->code, (PCRE2_SPTR)text, length, from, PCRE2_NO_UTF_CHECK, regex->data, regex->context);
}

bm_status text_regex_find(const text_regex *regex, const char *text, size_t length, size_t from,
                          text_regex_budget *budget, size_t *begin, size_t *end, bm_error *err)
{
    bm_status status = BM_OK;
    size_t places = 1; // most expressions match where the search begins
    uint32_t steps = STEPS_FREE;
    *begin = *end = SIZE_MAX;
    while (status == BM_OK && from <= length) {
        status = check_clock(budget, places, err);
        if (status != BM_OK)
            break;
        const int result = find_in_window(regex, text, length, from, places, steps);
        if (result >= 0) {
            const PCRE2_SIZE *range = pcre2_get_ovector_pointer(regex->data);
            *begin = range[0];
            *end = range[1] > range[0] ? range[1] : range[0]; // \K may put the start behind the end
            break;
        }
        if (result == PCRE2_ERROR_NOMATCH) {
            for (from += places; from < length && ((uint8_t)text[from] & 0xC0) == 0x80;)
                from++; // no search begins inside a character
            places = bm_min_u64(MAX_WINDOW, places * 4);
            steps = STEPS_FREE;
        } else if (result == PCRE2_ERROR_MATCHLIMIT && (places > 1 || steps < STEPS_MAX)) {
            status = spend_steps(budget, places * steps, err);
            if (places == 1)
                steps *= STEPS_GROWTH;
            places = 1;
        } else {
            PCRE2_UCHAR words[120] = "";
            pcre2_get_error_message(result, words, sizeof words);
            status = bm_fail(err, result == PCRE2_ERROR_NOMEMORY ? BM_E_MEMORY : BM_E_FORMAT,
                             "a regular expression of the tokenizer fails on this text: %s", (const char *)words);
        }
    }
    return status;
}
