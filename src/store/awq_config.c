// quantization_config of AWQ's checkpoints: reading, matching, writing.
#include "store/awq_config.h"

#include "base/str.h"
#include "store/dynamic_rules.h"

#include <assert.h>
#include <string.h>

#define ABSENT_GROUP_SIZE 128 // as AutoAWQ and transformers take it

typedef struct awq_config {
    int64_t group_size; // -1: one scale an output
    bool group_size_is_absent;
    bool symmetric;
    const bm_json *left_out; // modules_to_not_convert; NULL: lm_head alone
    bm_dynamic_rules rules;  // GPTQModel's way of saying it
} awq_config;

void bm_awq_close(void *parsed)
{
    awq_config *config = parsed;
    if (!config)
        return;
    bm_dynamic_rules_close(&config->rules);
    bm_free(config);
}

static bool is_given(const bm_json *object, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    return value && bm_json_kind_of(value) != BM_JSON_NULL;
}

// Which layout the words have; GPTQModel's names of the key beside AutoAWQ's. Absent, it is gemm.
static bm_status check_version(const bm_json *object, const char *name, bm_error *err)
{
    static const char *const keys[] = {"version", "checkpoint_format", "format"};
    char shown[64];
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        const char *version = NULL;
        BM_TRY(bm_json_get_string(object, keys[i], "gemm", &version, name, err));
        BM_FAIL_IF(!bm_equal_ignore_case(version, "gemm"), err, BM_E_UNSUPPORTED,
                   "%s: %s \"%s\" is not built; built: gemm", name, keys[i],
                   bm_printable(version, strlen(version), shown, sizeof shown));
    }
done:
    return status;
}

// Keys that change what the stored numbers mean. Other backends are ways of running the same words.
static bm_status refuse_other_schemes(const bm_json *object, const char *name, bm_error *err)
{
    const char *backend = NULL, *type = NULL;
    char shown[64];
    bool has_head = false;
    bm_status status = BM_OK;
    BM_TRY(check_version(object, name, err));
    BM_TRY(bm_json_get_string(object, "backend", "auto", &backend, name, err));
    BM_FAIL_IF(bm_equal_ignore_case(backend, "llm-awq"), err, BM_E_UNSUPPORTED,
               "%s: backend \"llm-awq\", whose words are packed otherwise, is not built; built: those of AutoAWQ",
               name);
    BM_TRY(bm_json_get_bool(object, "lm_head", false, &has_head, name, err));
    BM_FAIL_IF(has_head, err, BM_E_UNSUPPORTED, "%s: \"lm_head\": true is not built", name);
    BM_TRY(bm_json_get_string(object, "pack_dtype", "int32", &type, name, err));
    BM_FAIL_IF(strcmp(type, "int32") != 0, err, BM_E_UNSUPPORTED, "%s: pack_dtype \"%s\" is not built; built: int32",
               name, bm_printable(type, strlen(type), shown, sizeof shown));
done:
    return status;
}

// An integer by its name of today or by AutoAWQ's own; both are there only where they agree.
static bm_status get_integer(const bm_json *object, const char *key, const char *synonym, int64_t low, int64_t high,
                             int64_t fallback, int64_t *out, const char *name, bm_error *err)
{
    const bool has_both = is_given(object, key) && is_given(object, synonym);
    int64_t first = 0, second = 0;
    bm_status status = BM_OK;
    BM_TRY(bm_json_get_integer(object, synonym, low, high, fallback, &second, name, err));
    BM_TRY(bm_json_get_integer(object, key, low, high, second, &first, name, err));
    BM_FAIL_IF(has_both && first != second, err, BM_E_FORMAT,
               "%s: key \"%s\": found %lld, expected %lld as \"%s\" says", name, synonym, (long long)second,
               (long long)first, key);
    *out = first;
done:
    return status;
}

static bm_status read_left_out(const bm_json *object, awq_config *config, const char *name, bm_error *err)
{
    static const char key[] = "modules_to_not_convert";
    bm_status status = BM_OK;
    if (!is_given(object, key))
        return BM_OK;
    const bm_json *list = bm_json_find(object, key);
    BM_FAIL_IF(bm_json_kind_of(list) != BM_JSON_ARRAY, err, BM_E_FORMAT,
               "%s: \"%s\": found %s, expected a list of names", name, key, bm_json_kind_name(bm_json_kind_of(list)));
    for (const bm_json *entry = bm_json_first(list); entry; entry = bm_json_next(entry))
        BM_FAIL_IF(bm_json_kind_of(entry) != BM_JSON_STRING, err, BM_E_FORMAT,
                   "%s: \"%s\": found %s, expected a list of names", name, key,
                   bm_json_kind_name(bm_json_kind_of(entry)));
    config->left_out = list;
done:
    return status;
}

bm_status bm_awq_open(const bm_json *object, const char *file, void **out, bm_error *err)
{
    bm_status status = BM_OK;
    bool has_zero_points = true;
    int64_t bits = 0;
    char *name = bm_format("%s: quantization_config", file);
    awq_config *config = bm_alloc_zero(1, sizeof *config);
    BM_FAIL_IF(!config || !name, err, BM_E_MEMORY, "out of memory");
    BM_TRY(refuse_other_schemes(object, name, err));
    BM_TRY(get_integer(object, "bits", "w_bit", 1, 32, BM_AWQ_BITS, &bits, name, err));
    BM_FAIL_IF(bits != BM_AWQ_BITS, err, BM_E_UNSUPPORTED, "%s: weights of %lld bits are not built; built: 4", name,
               (long long)bits);
    BM_TRY(get_integer(object, "group_size", "q_group_size", -1, 1 << 20, ABSENT_GROUP_SIZE, &config->group_size, name,
                       err));
    BM_FAIL_IF(config->group_size == 0, err, BM_E_FORMAT, "%s: key \"group_size\": found 0, expected -1 or more than 0",
               name);
    config->group_size_is_absent = !is_given(object, "group_size") && !is_given(object, "q_group_size");
    BM_TRY(bm_json_get_bool(object, "zero_point", true, &has_zero_points, name, err));
    config->symmetric = !has_zero_points;
    BM_TRY(read_left_out(object, config, name, err));
    BM_TRY(bm_dynamic_rules_open(&config->rules, object, name, err));
    for (uint32_t i = 0; i < config->rules.count; i++) {
        const bm_module_grid *grid = &config->rules.grids[i];
        BM_FAIL_IF(!grid->is_float && grid->bits != 0 && grid->bits != BM_AWQ_BITS, err, BM_E_UNSUPPORTED,
                   "%s: \"dynamic\": weights of %u bits are not built; built: 4", name, grid->bits);
    }
    *out = config;
    config = NULL;
done:
    bm_awq_close(config);
    bm_free(name);
    return status;
}

// An entry is a part of names, as AutoAWQ, which writes the list, and vLLM take it. transformers takes it for an expression
// that names begin with, or for an end of names: of words without special characters each of these is a part.
bool bm_awq_match(const void *parsed, bm_store_linear *linear)
{
    const awq_config *config = parsed;
    if (strcmp(linear->module, "lm_head") == 0) // none of its readers has it quantized
        return false;
    for (const bm_json *entry = config->left_out ? bm_json_first(config->left_out) : NULL; entry;
         entry = bm_json_next(entry))
        if (strstr(linear->module, bm_json_string(entry)))
            return false;
    const bm_module_grid *rule = bm_dynamic_rules_find(&config->rules, linear->module);
    if (rule && rule->is_float)
        return false;
    const uint64_t group_size = config->group_size < 0 ? linear->in_features : (uint64_t)config->group_size;
    linear->grid =
        (bm_grid_params){.bits = BM_AWQ_BITS, .group_size = (uint32_t)group_size, .symmetric = config->symmetric};
    linear->per_channel = config->group_size < 0;
    linear->absent_group_size = config->group_size_is_absent ? ABSENT_GROUP_SIZE : 0;
    if (rule)
        bm_module_grid_apply(rule, linear);
    return true;
}

// Symmetric grids have zero points too, all of them 8: without "zero_point" vLLM's fast kernels do not take the words. What
// stays float is said a second time for GPTQModel, which does not ask the list of names.
void bm_awq_write(bm_json_writer *json, const bm_store_description *description)
{
    assert(!description->needs_bitmill && !description->per_channel && description->grid.bits == BM_AWQ_BITS);
    bm_json_put_integer(json, "bits", BM_AWQ_BITS);
    if (description->num_float_modules > 1)
        bm_dynamic_rules_write(json, description);
    bm_json_put_integer(json, "group_size", description->grid.group_size);
    bm_json_begin_array(json, "modules_to_not_convert");
    for (uint32_t i = 0; i < description->num_float_modules; i++)
        bm_json_put_string(json, NULL, description->float_modules[i]);
    bm_json_end_array(json);
    bm_json_put_string(json, "quant_method", "awq");
    bm_json_put_string(json, "version", "gemm");
    bm_json_put_bool(json, "zero_point", true);
}
