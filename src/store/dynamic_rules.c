// Rules by expression: reading, asking, writing.
#include "store/dynamic_rules.h"

#include "base/str.h"

#include <string.h>

bm_status bm_module_grid_read(const bm_json *object, bool (*is_known)(const char *key), bm_module_grid *out,
                              const char *where, bm_error *err)
{
    bm_status status = BM_OK;
    char shown[64];
    bool symmetric = false;
    int64_t bits = 0;
    *out = (bm_module_grid){.symmetric = -1};
    BM_FAIL_IF(bm_json_kind_of(object) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: found %s, expected an object", where,
               bm_json_kind_name(bm_json_kind_of(object)));
    for (const bm_json *member = bm_json_first(object); member; member = bm_json_next(member)) {
        const char *key = bm_json_key(member);
        const bool is_null = bm_json_kind_of(member) == BM_JSON_NULL;
        if (strcmp(key, "bits") == 0 && !is_null) {
            BM_TRY(bm_json_get_integer(object, key, 1, 32, 0, &bits, where, err));
            out->bits = (uint32_t)bits;
        } else if (strcmp(key, "group_size") == 0 && !is_null) {
            BM_TRY(bm_json_get_integer(object, key, -1, 1 << 20, 0, &out->group_size, where, err));
            BM_FAIL_IF(out->group_size == 0, err, BM_E_FORMAT,
                       "%s: key \"group_size\": found 0, expected -1 or more than 0", where);
        } else if (strcmp(key, "sym") == 0 && !is_null) {
            BM_TRY(bm_json_get_bool(object, key, false, &symmetric, where, err));
            out->symmetric = symmetric;
        } else {
            BM_FAIL_IF(!is_null && !is_known(key), err, BM_E_UNSUPPORTED,
                       "%s: key \"%s\" is not built; built: bits, group_size, sym", where,
                       bm_printable(key, strlen(key), shown, sizeof shown));
        }
    }
    out->is_float = out->bits >= 16;
    BM_FAIL_IF(out->bits != 0 && !out->is_float && out->bits != 2 && out->bits != 3 && out->bits != 4 && out->bits != 8,
               err, BM_E_UNSUPPORTED, "%s: weights of %u bits are not built; built: 2, 3, 4 and 8", where, out->bits);
done:
    return status;
}

void bm_module_grid_apply(const bm_module_grid *grid, bm_store_linear *linear)
{
    if (grid->bits != 0)
        linear->grid.bits = grid->bits;
    if (grid->symmetric >= 0)
        linear->grid.symmetric = grid->symmetric != 0;
    if (grid->group_size == 0)
        return;
    linear->per_channel = grid->group_size < 0;
    linear->absent_group_size = 0;
    linear->grid.group_size =
        (uint32_t)(linear->per_channel ? linear->in_features
                                       : bm_min_u64((uint64_t)grid->group_size, linear->in_features));
}

// Keys of a rule by which codes are found, and that say nothing of how they are stored.
static bool is_of_the_search(const char *key)
{
    static const char *const keys[] = {
        "act_group_aware", "damp_auto_increment", "damp_percent", "desc_act", "foem", "gptaq", "hessian", "mse",
        "static_groups",   "true_sequential"};
    for (size_t i = 0; i < BM_COUNT(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static bm_status read_rule(bm_dynamic_rules *out, const bm_json *rule, const char *name, bm_error *err)
{
    bm_module_pattern *pattern = &out->patterns[out->count];
    bm_module_grid *grid = &out->grids[out->count];
    bm_status status = BM_OK;
    char shown[96];
    pattern->text = bm_json_key(rule);
    const bool is_left_out = strncmp(pattern->text, "-:", 2) == 0, is_marked = strncmp(pattern->text, "+:", 2) == 0;
    char *where = bm_format("%s: \"dynamic\": rule \"%s\"", name,
                            bm_printable(pattern->text, strlen(pattern->text), shown, sizeof shown));
    BM_FAIL_IF(!where, err, BM_E_MEMORY, "out of memory");
    if (is_left_out)
        *grid = (bm_module_grid){.is_float = true};
    else
        BM_TRY(bm_module_grid_read(rule, is_of_the_search, grid, where, err));
    status = bm_module_pattern_compile(pattern->text + (is_left_out || is_marked ? 2 : 0), pattern, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s", name);
    else
        out->count++;
done:
    bm_free(where);
    return status;
}

bm_status bm_dynamic_rules_open(bm_dynamic_rules *out, const bm_json *object, const char *name, bm_error *err)
{
    const bm_json *rules = bm_json_find(object, "dynamic");
    bm_status status = BM_OK;
    if (!rules || bm_json_kind_of(rules) == BM_JSON_NULL)
        return BM_OK;
    BM_FAIL_IF(bm_json_kind_of(rules) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: \"dynamic\": found %s, expected an object", name, bm_json_kind_name(bm_json_kind_of(rules)));
    BM_FAIL_IF(bm_json_count(rules) > BM_MAX_MODULE_PATTERNS, err, BM_E_FORMAT,
               "%s: \"dynamic\": found %u entries, expected at most %d", name, bm_json_count(rules),
               BM_MAX_MODULE_PATTERNS);
    out->patterns = bm_alloc_zero((uint64_t)bm_json_count(rules) + 1, sizeof *out->patterns);
    out->grids = bm_alloc_zero((uint64_t)bm_json_count(rules) + 1, sizeof *out->grids);
    BM_FAIL_IF(!out->patterns || !out->grids, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *rule = bm_json_first(rules); rule; rule = bm_json_next(rule))
        BM_TRY(read_rule(out, rule, name, err));
done:
    return status;
}

void bm_dynamic_rules_close(bm_dynamic_rules *rules)
{
    bm_module_patterns_free(rules->patterns, rules->count);
    bm_free(rules->grids);
    *rules = (bm_dynamic_rules){0};
}

const bm_module_grid *bm_dynamic_rules_find(const bm_dynamic_rules *rules, const char *module)
{
    for (uint32_t i = 0; i < rules->count; i++)
        if (bm_module_pattern_matches(&rules->patterns[i], rules->count, module))
            return &rules->grids[i];
    return NULL;
}

// Begins the object of a module's rule.
static void begin_rule(bm_json_writer *json, const char *mark, const char *module)
{
    bm_string rule = BM_STRING_INIT;
    (void)bm_string_append_format(&rule, "%s^", mark);
    for (const char *c = module; *c; c++)
        (void)bm_string_append_format(&rule, *c == '.' ? "\\%c" : "%c", *c);
    (void)bm_string_append(&rule, "$");
    if (rule.failed)
        json->out->failed = true;
    bm_json_begin_object(json, bm_string_text(&rule));
    bm_string_free(&rule);
}

static void write_scheme(bm_json_writer *json, const bm_store_scheme *scheme)
{
    for (uint32_t i = 0; i < scheme->num_modules; i++) {
        begin_rule(json, "+:", scheme->modules[i]);
        bm_json_put_integer(json, "bits", scheme->grid.bits);
        bm_json_put_integer(json, "group_size", scheme->per_channel ? -1 : (int64_t)scheme->grid.group_size);
        bm_json_end_object(json);
    }
}

void bm_dynamic_rules_write(bm_json_writer *json, const bm_store_description *description)
{
    bm_json_begin_object(json, "dynamic");
    for (uint32_t i = 1; i < description->num_float_modules; i++) {
        begin_rule(json, "-:", description->float_modules[i]);
        bm_json_end_object(json);
    }
    for (uint32_t i = 0; i < description->num_schemes; i++)
        write_scheme(json, &description->schemes[i]);
    bm_json_end_object(json);
}
