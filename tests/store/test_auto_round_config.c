// AutoRound's quantization_config: whose tensors it stands for, which linears it names, what is refused by name.
#include "support/unit.h"

#include "base/str.h"
#include "store/config.h"

#include <string.h>

#define DOWN "model.layers.0.mlp.down_proj"
#define HEAD "lm_head"

// Of a linear [64, 96].
static bool match(const char *members, const char *module, const bm_store_format **format, bm_store_linear *out)
{
    bm_error err = {0};
    bm_store_config config = {0};
    char *text = bm_format("{\"quant_method\":\"auto-round\",\"bits\":4,\"group_size\":32,%s}", members);
    bm_json *root = parse_json(text);
    assert_ok(bm_store_open(&config, root, "NAME", &err), &err);
    *out = (bm_store_linear){.module = module, .out_features = 64, .in_features = 96};
    const bool found = config.match(config.parsed, out);
    *format = config.format;
    bm_store_close(&config);
    bm_json_destroy(&root);
    bm_free(text);
    return found;
}

static void packings_are_tensors_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const bm_store_format *format;
        uint32_t version;
    } packings[] = {{"\"packing_format\":\"auto_round:auto_gptq\"", &bm_store_gptq, 1},
                    {"\"sym\":true", &bm_store_gptq, 1},
                    {"\"packing_format\":\"auto_round:gptqmodel\"", &bm_store_gptq, 2},
                    {"\"packing_format\":\"auto_round\"", &bm_store_gptq, 2},
                    {"\"packing_format\":\"auto_round:auto_awq\"", &bm_store_awq, 0}};
    for (size_t i = 0; i < BM_COUNT(packings); i++) {
        const bm_store_format *format;
        bm_store_linear linear;
        assert_true(match(packings[i].members, DOWN, &format, &linear));
        assert_ptr_equal(format, packings[i].format);
        assert_int_equal(linear.version, packings[i].version);
        assert_true(linear.grid.bits == 4 && linear.grid.group_size == 32 && linear.grid.symmetric);
        assert_false(match(packings[i].members, HEAD, &format, &linear));
    }
}

static void linears_have_grids_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *members, *module;
        bool is_quantized;
        uint32_t bits, group_size;
        bool symmetric;
    } cases[] = {
        {"\"extra_config\":{\".*down_proj.*\":{\"bits\":8}}", DOWN, true, 8, 32, true},
        {"\"extra_config\":{\"down_\":{\"bits\":8}}", DOWN, true, 8, 32, true}, // searched for
        {"\"extra_config\":{\".*\":{\"bits\":8},\"" DOWN "\":{\"group_size\":-1}}", DOWN, true, 4, 96, true},
        {"\"extra_config\":{\"mlp\":{\"sym\":false},\"down\":{\"bits\":2}}", DOWN, true, 4, 32, false},
        {"\"extra_config\":{\"up\":{\"bits\":2}}", DOWN, true, 4, 32, true},
        {"\"extra_config\":{\"down\":{\"bits\":16,\"data_type\":\"float\"}}", DOWN, false, 0, 0, false},
        {"\"extra_config\":{\"lm_head\":{\"bits\":8,\"act_bits\":16}}", HEAD, true, 8, 32, true},
        {"\"block_name_to_quantize\":\"model.layers\"", DOWN, true, 4, 32, true},
        {"\"block_name_to_quantize\":\"model.visual, model.layers.0\"", DOWN, true, 4, 32, true},
        {"\"block_name_to_quantize\":[[\"model.layers.1\"],[\"model.layers.2\"]]", DOWN, false, 0, 0, false},
        {"\"to_quant_block_names\":[\"model.layers.0\"]", DOWN, true, 4, 32, true},
        {"\"sym\":false", DOWN, true, 4, 32, false},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_store_format *format;
        bm_store_linear linear;
        const bool found = match(cases[i].members, cases[i].module, &format, &linear);
        if (found != cases[i].is_quantized)
            fail_msg("%s: expected %d", cases[i].members, cases[i].is_quantized);
        if (found && (linear.grid.bits != cases[i].bits || linear.grid.group_size != cases[i].group_size ||
                      linear.grid.symmetric != cases[i].symmetric))
            fail_msg("%s: found %u bits, group_size %u", cases[i].members, linear.grid.bits, linear.grid.group_size);
    }
}

static void what_is_not_built_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bm_status status;
        const char *words;
    } refused[] = {
        {"\"group_size\":32", BM_E_FORMAT,
         "NAME: quantization_config: key \"bits\": found none, expected 2, 3, 4 or 8"},
        {"\"bits\":5,\"group_size\":32", BM_E_UNSUPPORTED, "weights of 5 bits are not built"},
        {"\"bits\":4", BM_E_FORMAT, "no key \"group_size\", expected -1 or more than 0"},
        {"\"bits\":4,\"group_size\":0", BM_E_FORMAT, "key \"group_size\": found 0"},
        {"\"bits\":4,\"group_size\":32,\"packing_format\":\"mlx\"", BM_E_UNSUPPORTED,
         "packing_format \"mlx\" is not built; built: auto_round"},
        {"\"bits\":4,\"group_size\":32,\"data_type\":\"mx_fp\"", BM_E_UNSUPPORTED,
         "data_type \"mx_fp\" is not built; built: int"},
        {"\"bits\":4,\"group_size\":32,\"act_bits\":8", BM_E_UNSUPPORTED, "\"act_bits\": 8"},
        {"\"bits\":4,\"group_size\":32,\"super_bits\":6", BM_E_UNSUPPORTED, "\"super_bits\" is not built"},
        {"\"bits\":4,\"group_size\":32,\"block_name_to_quantize\":7", BM_E_FORMAT, "found number, expected names"},
        {"\"bits\":4,\"group_size\":32,\"extra_config\":[]", BM_E_FORMAT, "\"extra_config\": found array"},
        {"\"bits\":4,\"group_size\":32,\"extra_config\":{\"down\":{\"bits\":5}}", BM_E_UNSUPPORTED,
         "\"extra_config\": \"down\": weights of 5 bits are not built"},
        {"\"bits\":4,\"group_size\":32,\"extra_config\":{\"down\":{\"data_type\":\"fp\"}}", BM_E_UNSUPPORTED,
         "\"extra_config\": \"down\": data_type \"fp\" is not built"},
        {"\"bits\":4,\"group_size\":32,\"extra_config\":{\"(\":{\"bits\":8}}", BM_E_FORMAT,
         "\"(\" is no regular expression"},
    };
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        bm_error err = {0};
        bm_store_config config = {0};
        char *text = bm_format("{\"quant_method\":\"auto-round\",%s}", refused[i].members);
        bm_json *root = parse_json(text);
        const bm_status status = bm_store_open(&config, root, "NAME", &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words))
            fail_msg("%s: status %s, words \"%s\"", text, bm_status_name(status), err.message);
        bm_store_close(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packings_are_tensors_of_others),
        cmocka_unit_test(linears_have_grids_of_their_own),
        cmocka_unit_test(what_is_not_built_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("auto_round_config", tests, NULL, NULL);
}
