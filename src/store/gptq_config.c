// quantization_config of GPTQ's checkpoints: reading, matching, writing.
#include "store/gptq_config.h"

#include "base/str.h"
#include "store/dynamic_rules.h"

#include <assert.h>
#include <string.h>

#define ABSENT_GROUP_SIZE 128 // as transformers takes it

typedef struct gptq_config {
    uint32_t bits;
    int64_t group_size; // -1: one scale an output
    bool group_size_is_absent;
    bool symmetric;
    bm_gptq_version version;
    bm_dynamic_rules rules;
    bool has_head;        // lm_head is quantized, too
    const bm_json *kinds; // modules_in_block_to_quantize; NULL: all linears of a block
} gptq_config;

bm_gptq_version bm_gptq_version_of(const bm_store_linear *linear)
{
    if (linear->version != 0)
        return (bm_gptq_version)linear->version;
    return linear->grid.symmetric ? BM_GPTQ_V1 : BM_GPTQ_V2;
}

void bm_gptq_close(void *parsed)
{
    gptq_config *config = parsed;
    if (!config)
        return;
    bm_dynamic_rules_close(&config->rules);
    bm_free(config);
}

// Two keys say it, and readers differ in which of them they ask first. Absent, it is version 1.
static bm_status read_version(const bm_json *object, bm_gptq_version *out, const char *name, bm_error *err)
{
    const char *first = NULL, *second = NULL;
    char shown[64];
    bm_status status = BM_OK;
    BM_TRY(bm_json_get_string(object, "checkpoint_format", NULL, &first, name, err));
    BM_TRY(bm_json_get_string(object, "format", first ? first : "gptq", &second, name, err));
    first = first ? first : second;
    const bool is_first = bm_equal_ignore_case(first, "gptq");
    BM_FAIL_IF(!is_first && !bm_equal_ignore_case(first, "gptq_v2"), err, BM_E_UNSUPPORTED,
               "%s: checkpoint_format \"%s\" is not built; built: gptq, gptq_v2", name,
               bm_printable(first, strlen(first), shown, sizeof shown));
    BM_FAIL_IF(!bm_equal_ignore_case(first, second), err, BM_E_FORMAT,
               "%s: key \"format\": found \"%s\", expected \"%s\" as \"checkpoint_format\" says", name,
               bm_printable(second, strlen(second), shown, sizeof shown), first);
    *out = is_first ? BM_GPTQ_V1 : BM_GPTQ_V2;
done:
    return status;
}

// Keys that change what the stored numbers mean: reading on without them would give wrong weights.
static bm_status refuse_other_schemes(const bm_json *object, const char *name, bm_error *err)
{
    bool is_marlin = false;
    const char *type = NULL;
    char shown[64];
    bm_status status = BM_OK;
    BM_TRY(bm_json_get_bool(object, "is_marlin_format", false, &is_marlin, name, err));
    BM_TRY(bm_json_get_string(object, "pack_dtype", "int32", &type, name, err));
    BM_FAIL_IF(is_marlin, err, BM_E_UNSUPPORTED, "%s: \"is_marlin_format\": true is not built", name);
    BM_FAIL_IF(strcmp(type, "int32") != 0, err, BM_E_UNSUPPORTED, "%s: pack_dtype \"%s\" is not built; built: int32",
               name, bm_printable(type, strlen(type), shown, sizeof shown));
    const bm_json *rotation = bm_json_find(object, "rotation");
    BM_FAIL_IF(rotation && bm_json_kind_of(rotation) != BM_JSON_NULL, err, BM_E_UNSUPPORTED,
               "%s: \"rotation\" is not built", name);
done:
    return status;
}

// Names within a block, in lists or alone.
static bool are_kinds(const bm_json *list, bool may_nest)
{
    for (const bm_json *item = bm_json_first(list); item; item = bm_json_next(item))
        if (bm_json_kind_of(item) != BM_JSON_STRING &&
            !(may_nest && bm_json_kind_of(item) == BM_JSON_ARRAY && are_kinds(item, false)))
            return false;
    return true;
}

static bm_status read_kinds(const bm_json *object, gptq_config *config, const char *name, bm_error *err)
{
    const bm_json *kinds = bm_json_find(object, "modules_in_block_to_quantize");
    if (!kinds || bm_json_kind_of(kinds) == BM_JSON_NULL)
        return BM_OK;
    config->kinds = kinds;
    return bm_json_kind_of(kinds) == BM_JSON_ARRAY && are_kinds(kinds, true)
               ? BM_OK
               : bm_fail(err, BM_E_FORMAT, "%s: \"modules_in_block_to_quantize\": expected lists of names", name);
}

static bm_status read_bits(const bm_json *object, uint32_t *out, const char *name, bm_error *err)
{
    const bm_json *value = bm_json_find(object, "bits");
    char found[BM_JSON_FOUND_SIZE];
    if (!value)
        return bm_fail(err, BM_E_FORMAT, "%s: no key \"bits\", expected 2, 3, 4 or 8", name);
    if (!bm_json_is_integer(value))
        return bm_fail(err, BM_E_FORMAT, "%s: key \"bits\": found %s, expected 2, 3, 4 or 8", name,
                       bm_json_found(value, found, sizeof found));
    const double bits = bm_json_number(value);
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: weights of %.0f bits are not built; built: 2, 3, 4 and 8", name,
                       bits);
    *out = (uint32_t)bits;
    return BM_OK;
}

bm_status bm_gptq_open(const bm_json *object, const char *file, void **out, bm_error *err)
{
    bm_status status = BM_OK;
    bool is_ordered = false;
    char *name = bm_format("%s: quantization_config", file);
    gptq_config *config = bm_alloc_zero(1, sizeof *config);
    BM_FAIL_IF(!config || !name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(refuse_other_schemes(object, name, err));
    BM_TRY(read_version(object, &config->version, name, err));
    BM_TRY(read_bits(object, &config->bits, name, err));
    BM_TRY(bm_json_get_integer(object, "group_size", -1, 1 << 20, ABSENT_GROUP_SIZE, &config->group_size, name, err));
    BM_FAIL_IF(config->group_size == 0, err, BM_E_FORMAT, "%s: key \"group_size\": found 0, expected -1 or more than 0",
               name);
    const bm_json *group_size = bm_json_find(object, "group_size");
    config->group_size_is_absent = !group_size || bm_json_kind_of(group_size) == BM_JSON_NULL;
    BM_TRY(bm_json_get_bool(object, "sym", true, &config->symmetric, name, err));
    BM_TRY(bm_json_get_bool(object, "desc_act", false, &is_ordered, name, err)); // g_idx says it all
    BM_TRY(bm_json_get_bool(object, "lm_head", false, &config->has_head, name, err));
    BM_TRY(bm_dynamic_rules_open(&config->rules, object, name, err));
    BM_TRY(read_kinds(object, config, name, err));
    *out = config;
    config = NULL;
done:
    bm_gptq_close(config);
    bm_free(name);
    return status;
}

static bool is_of_kinds(const bm_json *kinds, const char *module)
{
    for (const bm_json *item = bm_json_first(kinds); item; item = bm_json_next(item))
        if (bm_json_kind_of(item) == BM_JSON_ARRAY ? is_of_kinds(item, module)
                                                   : bm_ends_with(module, bm_json_string(item)))
            return true;
    return false;
}

bool bm_gptq_match(const void *parsed, bm_store_linear *linear)
{
    const gptq_config *config = parsed;
    const bm_module_grid *rule = bm_dynamic_rules_find(&config->rules, linear->module);
    const bool is_head = strcmp(linear->module, BM_STORE_HEAD) == 0;
    if ((is_head && !config->has_head) || (rule && rule->is_float))
        return false;
    if (config->kinds && !is_head && !is_of_kinds(config->kinds, linear->module))
        return false;
    const uint64_t group_size = config->group_size < 0 ? linear->in_features : (uint64_t)config->group_size;
    linear->grid = (bm_grid_params){.bits = config->bits,
                                    .group_size = (uint32_t)bm_min_u64(group_size, linear->in_features),
                                    .symmetric = config->symmetric};
    linear->per_channel = config->group_size < 0;
    linear->absent_group_size = config->group_size_is_absent ? ABSENT_GROUP_SIZE : 0;
    linear->has_group_index = true;
    linear->version = config->version;
    if (rule)
        bm_module_grid_apply(rule, linear);
    return true;
}

// The same for readers that ask what is quantized in each block: lists of linears that share an input, one each here.
static void write_kinds(bm_json_writer *json, const bm_store_description *description)
{
    bm_json_begin_array(json, "modules_in_block_to_quantize");
    for (uint32_t i = 0; i < description->num_block_modules; i++) {
        bm_json_begin_array(json, NULL);
        bm_json_put_string(json, NULL, description->block_modules[i]);
        bm_json_end_array(json);
    }
    bm_json_end_array(json);
}

void bm_gptq_write(bm_json_writer *json, const bm_store_description *description)
{
    const bm_store_linear linear = {.grid = description->grid, .version = description->version};
    assert(!description->needs_bitmill);
    const char *version = bm_gptq_version_of(&linear) == BM_GPTQ_V1 ? "gptq" : "gptq_v2";
    const bool is_ordered = description->act_order == BM_COLUMN_ORDER_DYNAMIC && !description->per_channel;
    bm_json_put_integer(json, "bits", description->grid.bits);
    bm_json_put_string(json, "checkpoint_format", version);
    bm_json_put_bool(json, "desc_act", is_ordered);
    if (description->num_float_modules > 1 || description->num_schemes > 0)
        bm_dynamic_rules_write(json, description);
    bm_json_put_string(json, "format", version);
    bm_json_put_integer(json, "group_size", description->per_channel ? -1 : (int64_t)description->grid.group_size);
    bm_json_put_bool(json, "lm_head", description->quantizes_head);
    if (description->num_float_modules > 1 && description->num_block_modules > 0)
        write_kinds(json, description);
    bm_json_put_string(json, "pack_dtype", "int32");
    bm_json_put_string(json, "quant_method", "gptq");
    bm_json_put_bool(json, "sym", description->grid.symmetric);
}
