// quantization_config of AutoRound: reading and matching.
#include "store/auto_round_config.h"

#include "base/str.h"
#include "store/dynamic_rules.h"
#include "store/gptq_config.h"

#include <string.h>

typedef struct auto_round_config {
    bm_module_grid grid; // of all
    uint32_t version;    // of gptq
    const bm_json *
        blocks; // names that those of linears begin with: a text with commas, a list of texts, or lists of those; NULL: all
    bm_module_pattern *patterns; // of extra_config: whole names, and expressions that are searched for
    bm_module_grid *grids;       // of each
    uint32_t count;
} auto_round_config;

void bm_auto_round_close(void *parsed)
{
    auto_round_config *config = parsed;
    if (!config)
        return;
    bm_module_patterns_free(config->patterns, config->count);
    bm_free(config->grids);
    bm_free(config);
}

static bm_status read_packing(const bm_json *object, const bm_store_format **format, uint32_t *version,
                              const char *name, bm_error *err)
{
    static const struct {
        const char *name;
        const bm_store_format *format;
        uint32_t version;
    } packings[] = {{"auto", &bm_store_gptq, BM_GPTQ_V1},
                    {"auto_round:auto_gptq", &bm_store_gptq, BM_GPTQ_V1},
                    {"auto_round:gptq", &bm_store_gptq, BM_GPTQ_V1},
                    {"auto_round", &bm_store_gptq, BM_GPTQ_V2},
                    {"auto_round:gptqmodel", &bm_store_gptq, BM_GPTQ_V2},
                    {"auto_round:auto_awq", &bm_store_awq, 0},
                    {"auto_round:awq", &bm_store_awq, 0}};
    const char *packing = NULL;
    char shown[64];
    bm_status status = bm_json_get_string(object, "packing_format", "auto", &packing, name, err);
    if (status != BM_OK)
        return status;
    for (size_t i = 0; i < BM_COUNT(packings); i++)
        if (strcmp(packings[i].name, packing) == 0) {
            *format = packings[i].format;
            *version = packings[i].version;
            return BM_OK;
        }
    return bm_fail(
        err, BM_E_UNSUPPORTED,
        "%s: packing_format \"%s\" is not built; built: auto_round, auto_round:auto_gptq, auto_round:gptqmodel, "
        "auto_round:auto_awq",
        name, bm_printable(packing, strlen(packing), shown, sizeof shown));
}

// Keys beside bits, group_size and sym that change what the stored numbers mean. where: the object, for messages.
static bm_status refuse_other_schemes(const bm_json *object, bool is_float, const char *where, bm_error *err)
{
    static const char *const keys[] = {"super_bits", "super_group_size", "rotation_config"};
    const char *type = NULL;
    int64_t act_bits = 0;
    char shown[64];
    bm_status status = BM_OK;
    BM_TRY(bm_json_get_string(object, "data_type", "int", &type, where, err));
    BM_FAIL_IF(!is_float && strcmp(type, "int") != 0, err, BM_E_UNSUPPORTED,
               "%s: data_type \"%s\" is not built; built: int", where,
               bm_printable(type, strlen(type), shown, sizeof shown));
    BM_TRY(bm_json_get_integer(object, "act_bits", 1, 64, 16, &act_bits, where, err));
    BM_FAIL_IF(!is_float && act_bits < 16, err, BM_E_UNSUPPORTED,
               "%s: \"act_bits\": %lld: quantized inputs are not built here", where, (long long)act_bits);
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        const bm_json *value = bm_json_find(object, keys[i]);
        BM_FAIL_IF(value && bm_json_kind_of(value) != BM_JSON_NULL, err, BM_E_UNSUPPORTED, "%s: \"%s\" is not built",
                   where, keys[i]);
    }
done:
    return status;
}

// Those are looked at by refuse_other_schemes, or say nothing of what is stored.
static bool is_any(const char *key)
{
    (void)key;
    return true;
}

static bm_status read_blocks(const bm_json *object, auto_round_config *config, const char *name, bm_error *err)
{
    static const char *const keys[] = {"block_name_to_quantize", "to_quant_block_names"};
    for (size_t i = 0; i < BM_COUNT(keys) && !config->blocks; i++) {
        const bm_json *value = bm_json_find(object, keys[i]);
        if (!value || bm_json_kind_of(value) == BM_JSON_NULL)
            continue;
        if (bm_json_kind_of(value) != BM_JSON_STRING && bm_json_kind_of(value) != BM_JSON_ARRAY)
            return bm_fail(err, BM_E_FORMAT, "%s: \"%s\": found %s, expected names", name, keys[i],
                           bm_json_kind_name(bm_json_kind_of(value)));
        config->blocks = value;
    }
    return BM_OK;
}

// An expression is searched for in the whole of a name; one without special characters but for dots may be a whole name, too.
static bm_status read_extra(auto_round_config *config, const bm_json *entry, const char *name, bm_error *err)
{
    bm_module_pattern *pattern = &config->patterns[config->count];
    bm_module_grid *grid = &config->grids[config->count];
    char shown[96];
    bm_status status = BM_OK;
    pattern->text = bm_json_key(entry);
    char *expression = bm_format("(?:.*?)(?:%s)", pattern->text);
    char *where = bm_format("%s: \"extra_config\": \"%s\"", name,
                            bm_printable(pattern->text, strlen(pattern->text), shown, sizeof shown));
    BM_FAIL_IF(!where || !expression, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_module_grid_read(entry, is_any, grid, where, err));
    BM_TRY(refuse_other_schemes(entry, grid->is_float, where, err));
    status = bm_module_pattern_compile(expression, pattern, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s", name);
    else
        config->count++;
done:
    bm_free(where);
    bm_free(expression);
    return status;
}

static bm_status read_extras(const bm_json *object, auto_round_config *config, const char *name, bm_error *err)
{
    const bm_json *extra = bm_json_find(object, "extra_config");
    bm_status status = BM_OK;
    if (!extra || bm_json_kind_of(extra) == BM_JSON_NULL)
        return BM_OK;
    BM_FAIL_IF(bm_json_kind_of(extra) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: \"extra_config\": found %s, expected an object", name, bm_json_kind_name(bm_json_kind_of(extra)));
    BM_FAIL_IF(bm_json_count(extra) > BM_MAX_MODULE_PATTERNS, err, BM_E_FORMAT,
               "%s: \"extra_config\": found %u entries, expected at most %d", name, bm_json_count(extra),
               BM_MAX_MODULE_PATTERNS);
    config->patterns = bm_alloc_zero((uint64_t)bm_json_count(extra) + 1, sizeof *config->patterns);
    config->grids = bm_alloc_zero((uint64_t)bm_json_count(extra) + 1, sizeof *config->grids);
    BM_FAIL_IF(!config->patterns || !config->grids, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *entry = bm_json_first(extra); entry; entry = bm_json_next(entry))
        BM_TRY(read_extra(config, entry, name, err));
done:
    return status;
}

bm_status bm_auto_round_open(const bm_json *object, const char *file, const bm_store_format **format, void **out,
                             bm_error *err)
{
    bm_status status = BM_OK;
    char *name = bm_format("%s: quantization_config", file);
    auto_round_config *config = bm_alloc_zero(1, sizeof *config);
    BM_FAIL_IF(!config || !name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(read_packing(object, format, &config->version, name, err));
    BM_TRY(bm_module_grid_read(object, is_any, &config->grid, name, err));
    BM_FAIL_IF(config->grid.bits == 0 || config->grid.is_float, err, BM_E_FORMAT,
               "%s: key \"bits\": found %s, expected 2, 3, 4 or 8", name,
               config->grid.bits == 0 ? "none" : "those of floats");
    BM_FAIL_IF(config->grid.group_size == 0, err, BM_E_FORMAT, "%s: no key \"group_size\", expected -1 or more than 0",
               name);
    config->grid.symmetric = config->grid.symmetric != 0; // absent, it is true
    BM_TRY(refuse_other_schemes(object, false, name, err));
    BM_TRY(read_blocks(object, config, name, err));
    BM_TRY(read_extras(object, config, name, err));
    *out = config;
    config = NULL;
done:
    bm_auto_round_close(config);
    bm_free(name);
    return status;
}

// Whether a block's name, length bytes of it, is one that the module's begins with.
static bool is_within(const char *block, size_t length, const char *module)
{
    for (; length > 0 && *block == ' '; length--)
        block++;
    return length > 0 && strncmp(module, block, length) == 0;
}

static bool is_in_blocks(const bm_json *blocks, const char *module)
{
    if (!blocks)
        return strcmp(module, BM_STORE_HEAD) != 0;
    if (bm_json_kind_of(blocks) == BM_JSON_ARRAY) {
        for (const bm_json *item = bm_json_first(blocks); item; item = bm_json_next(item))
            if (is_in_blocks(item, module))
                return true;
        return false;
    }
    if (bm_json_kind_of(blocks) != BM_JSON_STRING)
        return false;
    for (const char *at = bm_json_string(blocks), *end; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        if (is_within(at, (size_t)(end - at), module))
            return true;
        if (!*end)
            break;
    }
    return false;
}

// Whole names count before expressions, and of those the first.
static const bm_module_grid *find_extra(const auto_round_config *config, const char *module)
{
    for (uint32_t i = 0; i < config->count; i++)
        if (strcmp(config->patterns[i].text, module) == 0)
            return &config->grids[i];
    for (uint32_t i = 0; i < config->count; i++)
        if (bm_module_pattern_matches(&config->patterns[i], config->count, module))
            return &config->grids[i];
    return NULL;
}

bool bm_auto_round_match(const void *parsed, bm_store_linear *linear)
{
    const auto_round_config *config = parsed;
    const bm_module_grid *extra = find_extra(config, linear->module);
    if ((!extra && !is_in_blocks(config->blocks, linear->module)) || (extra && extra->is_float))
        return false;
    bm_module_grid_apply(&config->grid, linear);
    if (extra)
        bm_module_grid_apply(extra, linear);
    linear->has_group_index = true;
    linear->index_may_lack = true;
    linear->version = config->version;
    return true;
}
