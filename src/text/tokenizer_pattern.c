// Patterns of Split and Replace: {"String": literal} or {"Regex": expression}; and the walk over their matches.
#include "text/tokenizer_internal.h"

#include "text/unicode.h"

#include <string.h>

bm_status text_literal_get(char **out, const bm_json *component, const char *key, size_t minimum, const char *where,
                           bm_error *err)
{
    const bm_json *value = bm_json_find(component, key);
    if (!value || bm_json_kind_of(value) != BM_JSON_STRING)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a string, found %s", where, key,
                       value ? bm_json_kind_name(bm_json_kind_of(value)) : "none");
    const char *text = bm_json_string(value);
    const size_t length = strlen(text);
    if (length < minimum || length > TEXT_MAX_LITERAL)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": expected a string of %zu to %u bytes, found %zu", where, key,
                       minimum, TEXT_MAX_LITERAL, length);
    *out = bm_string_copy(text);
    return *out ? BM_OK : bm_fail(err, BM_E_MEMORY, "%s: out of memory", where);
}

bm_status text_pattern_parse(text_pattern *out, const bm_json *component, const char *where, bm_error *err)
{
    const bm_json *pattern = bm_json_find(component, "pattern");
    const bm_json *only = pattern ? bm_json_first(pattern) : NULL;
    const char *key = only ? bm_json_key(only) : NULL;
    if (!key || bm_json_next(only) || bm_json_kind_of(only) != BM_JSON_STRING ||
        (strcmp(key, "String") != 0 && strcmp(key, "Regex") != 0))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"pattern\": expected {\"String\": text} or {\"Regex\": text}",
                       where);
    if (strcmp(key, "Regex") == 0)
        return text_regex_compile(&out->regex, bm_json_string(only), where, err);
    const bm_status status = text_literal_get(&out->literal, pattern, "String", 1, where, err);
    if (status == BM_OK)
        out->literal_length = strlen(out->literal);
    return status;
}

void text_pattern_clear(text_pattern *pattern)
{
    text_regex_destroy(&pattern->regex);
    bm_free(pattern->literal);
    pattern->literal = NULL;
}

void text_matcher_begin(text_matcher *matcher, const text_pattern *pattern, const char *text, size_t length,
                        uint64_t *effort)
{
    *matcher =
        (text_matcher){.pattern = pattern, .text = text, .length = length, .last_end = SIZE_MAX, .effort = effort};
}

static size_t find_literal(const text_pattern *pattern, const char *text, size_t length, size_t from)
{
    const size_t width = pattern->literal_length;
    while (length - from >= width) {
        const char *hit = memchr(text + from, pattern->literal[0], length - from - width + 1);
        if (!hit)
            break;
        if (memcmp(hit, pattern->literal, width) == 0)
            return (size_t)(hit - text);
        from = (size_t)(hit - text) + 1;
    }
    return SIZE_MAX;
}

bm_status text_matcher_next(text_matcher *matcher, size_t *begin, size_t *end, bool *found, bm_error *err)
{
    *found = false;
    while (matcher->from <= matcher->length) {
        if (!matcher->pattern->regex) {
            *begin = find_literal(matcher->pattern, matcher->text, matcher->length, matcher->from);
            *end = *begin + matcher->pattern->literal_length;
        } else {
            const bm_status status = text_regex_find(matcher->pattern->regex, matcher->text, matcher->length,
                                                     matcher->from, matcher->effort, begin, end, err);
            if (status != BM_OK)
                return status;
        }
        if (*begin == SIZE_MAX)
            return BM_OK;
        if (*begin == *end && *end == matcher->last_end) {
            matcher->from += *end < matcher->length ? text_utf8_length(matcher->text[*end]) : 1;
            continue;
        }
        matcher->from = matcher->last_end = *end;
        *found = true;
        return BM_OK;
    }
    return BM_OK;
}
