// Names of modules in a quantization_config: whole names, and regular expressions.
#ifndef BM_STORE_MODULE_PATTERN_H
#define BM_STORE_MODULE_PATTERN_H

#include "base/base.h"

struct pcre2_real_code_8;

// One entry of a list.
typedef struct bm_module_pattern {
    const char *text;                // as it stands in the parsed JSON
    struct pcre2_real_code_8 *regex; // NULL: text is a whole name
} bm_module_pattern;

// Compiles an expression that is matched from the start of a name, not up to its end. Errors: BM_E_FORMAT, without a file.
bm_status bm_module_pattern_compile(const char *expression, bm_module_pattern *out, bm_error *err);
// More expressions than any checkpoint has; whoever reads a list refuses more.
#define BM_MAX_MODULE_PATTERNS 4096
// Whether the expression of a pattern that has one matches. num_patterns: of the list that it is in, which share a bound on
// matching steps; an expression that needs more matches nothing.
bool bm_module_pattern_matches(const bm_module_pattern *pattern, uint32_t num_patterns, const char *module);
void bm_module_patterns_free(bm_module_pattern *patterns, uint32_t count);

#endif
