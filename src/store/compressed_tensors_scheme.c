// Reading of one scheme of a quantization_config: an explicit one, or a preset's name.
#include "store/compressed_tensors.h"

#include <string.h>

static bm_status read_weights(const bm_json *weights, bm_compressed_tensors_scheme *scheme, const char *name,
                              bm_error *err)
{
    const char *type = NULL, *strategy = NULL;
    int64_t bits = 0, group_size = 0;
    bool dynamic = false;
    char shown[64];
    bm_status status = BM_OK;
    BM_TRY(bm_json_get_integer(weights, "num_bits", 1, 64, 8, &bits, name, err));
    BM_TRY(bm_json_get_string(weights, "type", "int", &type, name, err));
    BM_TRY(bm_json_get_bool(weights, "symmetric", true, &scheme->symmetric, name, err));
    BM_TRY(bm_json_get_bool(weights, "dynamic", false, &dynamic, name, err));
    BM_TRY(bm_json_get_integer(weights, "group_size", -1, 1 << 20, 0, &group_size, name, err));
    BM_TRY(bm_json_get_string(weights, "strategy",
                              group_size > 0   ? "group"
                              : group_size < 0 ? "channel"
                                               : "tensor",
                              &strategy, name, err));
    const char *actorder = NULL;
    const bm_json *order = bm_json_find(weights, "actorder");
    if (order && bm_json_kind_of(order) == BM_JSON_BOOL)
        actorder = bm_json_bool(order) ? "group" : NULL; // what true means in older files
    else
        BM_TRY(bm_json_get_string(weights, "actorder", NULL, &actorder, name, err));
    BM_FAIL_IF(dynamic, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: weights: \"dynamic\": true is not built; built: false", name);
    BM_FAIL_IF(strcmp(type, "int") != 0 || (bits != 2 && bits != 3 && bits != 4 && bits != 8), err, BM_E_UNSUPPORTED,
               "%s: quantization_config: %s weights of %lld bits are not built; built: int 2, 3, 4 and 8", name, type,
               (long long)bits);
    BM_FAIL_IF(actorder && strcmp(actorder, "group") != 0 && strcmp(actorder, "dynamic") != 0 &&
                   strcmp(actorder, "weight") != 0 && strcmp(actorder, "static") != 0,
               err, BM_E_UNSUPPORTED,
               "%s: quantization_config: actorder \"%s\" is not built; built: group, weight, dynamic, static", name,
               bm_printable(actorder, strlen(actorder), shown, sizeof shown));
    const bool is_group = strcmp(strategy, "group") == 0;
    scheme->per_tensor = scheme->is_unpacked && strcmp(strategy, "tensor") == 0;
    BM_FAIL_IF(!is_group && !scheme->per_tensor && strcmp(strategy, "channel") != 0, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: strategy \"%.40s\" is not built; built: channel, group%s", name, strategy,
               scheme->is_unpacked ? ", tensor" : "");
    BM_FAIL_IF(is_group && group_size <= 0, err, BM_E_FORMAT,
               "%s: quantization_config: strategy \"group\" needs a positive group_size", name);
    scheme->num_bits = (uint32_t)bits;
    scheme->group_size = is_group ? (int32_t)group_size : 0;
    scheme->has_group_index =
        is_group && actorder && (strcmp(actorder, "group") == 0 || strcmp(actorder, "dynamic") == 0);
    BM_FAIL_IF(scheme->has_group_index && scheme->is_unpacked, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: actorder \"%s\" is not built in the format int-quantized", name, actorder);
done:
    return status;
}

// "dynamic" may be a word: "local", of types with few bits.
static bm_status read_dynamic(const bm_json *object, bool *out, const char *name, bm_error *err)
{
    const bm_json *value = bm_json_find(object, "dynamic");
    if (value && bm_json_kind_of(value) == BM_JSON_STRING)
        return bm_fail(err, BM_E_UNSUPPORTED,
                       "%s: quantization_config: input_activations: \"dynamic\": \"%.40s\" is not built", name,
                       bm_json_string(value));
    return bm_json_get_bool(object, "dynamic", false, out, name, err);
}

static bm_status read_input(const bm_json *input, bm_compressed_tensors_scheme *scheme, const char *name, bm_error *err)
{
    const char *type = NULL, *strategy = NULL;
    int64_t bits = 0;
    bool symmetric = false, dynamic = false;
    bm_status status = BM_OK;
    if (!input || bm_json_kind_of(input) == BM_JSON_NULL)
        return BM_OK;
    BM_FAIL_IF(bm_json_kind_of(input) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: quantization_config: \"input_activations\": found %s, expected an object or null", name,
               bm_json_kind_name(bm_json_kind_of(input)));
    BM_FAIL_IF(!scheme->is_unpacked, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: quantized input activations are built in the format int-quantized alone",
               name);
    BM_TRY(bm_json_get_integer(input, "num_bits", 1, 64, 8, &bits, name, err));
    BM_TRY(bm_json_get_string(input, "type", "int", &type, name, err));
    BM_TRY(bm_json_get_bool(input, "symmetric", true, &symmetric, name, err));
    BM_TRY(read_dynamic(input, &dynamic, name, err));
    BM_TRY(bm_json_get_string(input, "strategy", "tensor", &strategy, name, err));
    const bool fits = strcmp(strategy, dynamic ? "token" : "tensor") == 0;
    BM_FAIL_IF(
        bits != 8 || strcmp(type, "int") != 0 || !symmetric || !fits, err, BM_E_UNSUPPORTED,
        "%s: quantization_config: input_activations of %lld bits, type %.40s, %s, %s, strategy \"%.40s\" are not "
        "built; built: 8 bits, int, symmetric, static with \"tensor\" or dynamic with \"token\"",
        name, (long long)bits, type, symmetric ? "symmetric" : "asymmetric", dynamic ? "dynamic" : "static", strategy);
    scheme->input = dynamic ? BM_INPUT_DYNAMIC : BM_INPUT_STATIC;
done:
    return status;
}

static bm_status refuse_outputs(const bm_json *object, const char *name, bm_error *err)
{
    const bm_json *output = bm_json_find(object, "output_activations");
    if (output && bm_json_kind_of(output) != BM_JSON_NULL)
        return bm_fail(err, BM_E_UNSUPPORTED, "%s: quantization_config: quantized output activations are not built",
                       name);
    return BM_OK;
}

bm_status bm_compressed_tensors_read_scheme(const bm_json *object, const char *global_format,
                                            bm_compressed_tensors_scheme *out, const char *name, bm_error *err)
{
    const char *format = NULL;
    bm_status status = BM_OK;
    const bm_json *weights = bm_json_find(object, "weights");
    BM_TRY(bm_json_get_string(object, "format", global_format, &format, name, err));
    out->is_unpacked = strcmp(format, "int-quantized") == 0;
    BM_FAIL_IF(!out->is_unpacked && strcmp(format, "pack-quantized") != 0, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: format \"%.40s\" is not built; built: pack-quantized, int-quantized", name,
               format);
    BM_FAIL_IF(strcmp(format, global_format) != 0 && strcmp(global_format, "mixed-precision") != 0, err, BM_E_FORMAT,
               "%s: quantization_config: key \"format\": found \"%s\" in a group, expected \"%s\" as outside it", name,
               format, global_format); // loaders go by either
    BM_TRY(read_input(bm_json_find(object, "input_activations"), out, name, err));
    BM_TRY(refuse_outputs(object, name, err));
    BM_FAIL_IF(!weights || bm_json_kind_of(weights) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: quantization_config: a group without \"weights\"", name);
    BM_TRY(read_weights(weights, out, name, err));
done:
    return status;
}

bm_status bm_compressed_tensors_read_preset(const char *preset, const char *global_format,
                                            bm_compressed_tensors_scheme *out, const char *name, bm_error *err)
{
    static const bm_compressed_tensors_scheme w8a8 = {
        .num_bits = 8, .symmetric = true, .is_unpacked = true, .input = BM_INPUT_DYNAMIC};
    const struct {
        const char *name;
        bm_compressed_tensors_scheme scheme;
    } presets[] = {{"W4A16", {.num_bits = 4, .group_size = 128, .symmetric = true}},
                   {"W4A16_ASYM", {.num_bits = 4, .group_size = 128}},
                   {"W8A16", {.num_bits = 8, .symmetric = true}},
                   {"W8A8", w8a8},
                   {"INT8", w8a8}};
    for (size_t i = 0; i < BM_COUNT(presets); i++)
        if (strcmp(presets[i].name, preset) == 0) {
            *out = presets[i].scheme;
            out->is_unpacked = out->is_unpacked || strcmp(global_format, "int-quantized") == 0;
            return BM_OK;
        }
    return bm_fail(err, BM_E_UNSUPPORTED, "%s: quantization_config: preset \"%.40s\" is not built", name, preset);
}
