// Regular expressions over names of modules.
#include "store/module_pattern.h"

#include "base/str.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

bm_status bm_module_pattern_compile(const char *expression, bm_module_pattern *out, bm_error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    char shown[96], reason[128] = "";
    out->regex =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_ANCHORED, &code, &at, NULL);
    if (out->regex)
        return BM_OK;
    (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
    return bm_fail(err, BM_E_FORMAT, "\"%s\" is no regular expression: %s",
                   bm_printable(out->text, strlen(out->text), shown, sizeof shown), reason);
}

// Hostile expressions may not run for ever: PCRE2's own limit on matching steps ends each. A name takes an honest one some
// dozens.
bool bm_module_pattern_matches(const bm_module_pattern *pattern, uint32_t num_patterns, const char *module)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    bool matches = false;
    if (data && context) {
        pcre2_set_match_limit(context, num_patterns < 100 ? 100000 / num_patterns : 1000);
        matches = pcre2_match(pattern->regex, (PCRE2_SPTR)module, strlen(module), 0, 0, data, context) >= 0;
    }
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    return matches;
}

void bm_module_patterns_free(bm_module_pattern *patterns, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pcre2_code_free(patterns[i].regex);
    bm_free(patterns);
}
