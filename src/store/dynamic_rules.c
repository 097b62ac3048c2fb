// Rules by expression: reading, asking, writing.
#include "store/dynamic_rules.h"

#include "base/str.h"

#include <string.h>

bm_status bm_dynamic_rules_open(bm_dynamic_rules *out, const bm_json *object, const char *name, bm_error *err)
{
    const bm_json *rules = bm_json_find(object, "dynamic");
    char shown[96];
    bm_status status = BM_OK;
    if (!rules || bm_json_kind_of(rules) == BM_JSON_NULL)
        return BM_OK;
    BM_FAIL_IF(bm_json_kind_of(rules) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: \"dynamic\": found %s, expected an object", name, bm_json_kind_name(bm_json_kind_of(rules)));
    BM_FAIL_IF(bm_json_count(rules) > BM_MAX_MODULE_PATTERNS, err, BM_E_FORMAT,
               "%s: \"dynamic\": found %u entries, expected at most %d", name, bm_json_count(rules),
               BM_MAX_MODULE_PATTERNS);
    out->left_out = bm_alloc_zero((uint64_t)bm_json_count(rules) + 1, sizeof *out->left_out);
    BM_FAIL_IF(!out->left_out, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *rule = bm_json_first(rules); rule; rule = bm_json_next(rule)) {
        bm_module_pattern *pattern = &out->left_out[out->num_left_out];
        pattern->text = bm_json_key(rule);
        BM_FAIL_IF(strncmp(pattern->text, "-:", 2) != 0, err, BM_E_UNSUPPORTED,
                   "%s: \"dynamic\": rule \"%s\" is not built; built: those of modules that are left "
                   "out (\"-:\")",
                   name, bm_printable(pattern->text, strlen(pattern->text), shown, sizeof shown));
        status = bm_module_pattern_compile(pattern->text + 2, pattern, err);
        if (status != BM_OK) {
            bm_error_prefix(err, "%s", name);
            goto done;
        }
        out->num_left_out++;
    }
done:
    return status;
}

void bm_dynamic_rules_close(bm_dynamic_rules *rules)
{
    bm_module_patterns_free(rules->left_out, rules->num_left_out);
    *rules = (bm_dynamic_rules){0};
}

bool bm_dynamic_rules_leave_out(const bm_dynamic_rules *rules, const char *module)
{
    for (uint32_t i = 0; i < rules->num_left_out; i++)
        if (bm_module_pattern_matches(&rules->left_out[i], rules->num_left_out, module))
            return true;
    return false;
}

void bm_dynamic_rules_write(bm_json_writer *json, const bm_store_description *description)
{
    bm_json_begin_object(json, "dynamic");
    for (uint32_t i = 1; i < description->num_float_modules; i++) {
        bm_string rule = BM_STRING_INIT;
        (void)bm_string_append(&rule, "-:^");
        for (const char *c = description->float_modules[i]; *c; c++)
            (void)bm_string_append_format(&rule, *c == '.' ? "\\%c" : "%c", *c);
        (void)bm_string_append(&rule, "$");
        if (rule.failed)
            json->out->failed = true;
        bm_json_begin_object(json, bm_string_text(&rule));
        bm_json_end_object(json);
        bm_string_free(&rule);
    }
    bm_json_end_object(json);
}
