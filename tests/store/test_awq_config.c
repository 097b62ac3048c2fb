// quantization_config of AWQ's checkpoints: what is written is read back, what absent keys mean, what is refused by name.
#include "support/unit.h"

#include "base/str.h"
#include "store/config.h"

#include <string.h>

#define MODULE "model.layers.1.mlp.down_proj"

static bool match(const char *text, const char *module, bm_store_linear *out)
{
    return match_module(&bm_store_awq, text, module, out);
}

static void each_key_is_read(void **state)
{
    static const struct {
        const char *members;
        uint32_t group_size, absent;
        bool per_channel, symmetric;
    } cases[] = {
        {"", 128, 128, false, false}, // as AutoAWQ and transformers take an object with nothing else
        {",\"group_size\":-1", 256, 0, true, false},
        {",\"group_size\":32,\"bits\":4,\"version\":\"gemm\",\"zero_point\":true", 32, 0, false, false},
        {",\"q_group_size\":64,\"w_bit\":4,\"version\":\"GEMM\"", 64, 0, false, false}, // AutoAWQ's own
        {",\"q_group_size\":64,\"group_size\":64,\"w_bit\":4,\"bits\":4", 64, 0, false, false},
        {",\"zero_point\":false,\"group_size\":null", 128, 128, false, true},
        {",\"version\":null,\"format\":\"gemm\",\"checkpoint_format\":\"gemm\",\"method\":\"awq\"", 128, 128, false,
         false},
        {",\"backend\":\"autoawq\",\"do_fuse\":false,\"exllama_config\":{\"version\":2},\"fuse_max_seq_len\":null", 128,
         128, false, false},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *text = bm_format("{\"quant_method\":\"awq\"%s}", cases[i].members);
        bm_store_linear linear;
        assert_true(match(text, MODULE, &linear));
        assert_int_equal(linear.grid.bits, 4);
        if (linear.grid.group_size != cases[i].group_size || linear.per_channel != cases[i].per_channel ||
            linear.grid.symmetric != cases[i].symmetric || linear.absent_group_size != cases[i].absent)
            fail_msg("%s: groups of %u, absent %u, per channel %d, symmetric %d", text, linear.grid.group_size,
                     linear.absent_group_size, linear.per_channel, linear.grid.symmetric);
        bm_free(text);
    }
}

// Entries are parts of names; GPTQModel's rules are expressions.
static void linears_are_left_out_by_parts_of_their_names(void **state)
{
    static const struct {
        const char *list, *module;
        bool is_quantized;
    } cases[] = {
        {"null", MODULE, true},
        {"[]", MODULE, true},
        {"null", "lm_head", false},
        {"[\"lm_head\",\"" MODULE "\"]", MODULE, false},
        {"[\"lm_head\",\"" MODULE "\"]", "model.layers.11.mlp.down_proj", true},
        {"[\"visual\",\"down_proj\"]", MODULE, false},
        {"[\"layers.1.\"]", MODULE, false},
        {"[\"layers.1.\"]", "model.layers.10.mlp.down_proj", true}, // a dot is a dot
        {"[\"model.layers.1\"]", MODULE, false},
        {"[\"mlp.gate\"]", MODULE, true},
        {"null,\"dynamic\":{\"-:.*down_proj\":{}}", MODULE, false},
        {"[\"q_proj\"],\"dynamic\":{\"-:.*up_proj\":{}}", MODULE, true},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *text = bm_format("{\"quant_method\":\"awq\",\"modules_to_not_convert\":%s}", cases[i].list);
        bm_store_linear linear;
        if (match(text, cases[i].module, &linear) != cases[i].is_quantized)
            fail_msg("%s: %s: expected %d", text, cases[i].module, cases[i].is_quantized);
        bm_free(text);
    }
}

static const struct {
    const char *members;
    bm_status status;
    const char *words;
} refused[] = {
    {"\"bits\":8", BM_E_UNSUPPORTED, "NAME: quantization_config: weights of 8 bits are not built; built: 4"},
    {"\"w_bit\":3", BM_E_UNSUPPORTED, "weights of 3 bits are not built; built: 4"},
    {"\"bits\":\"4\"", BM_E_FORMAT, "NAME: quantization_config: key \"bits\""},
    {"\"bits\":4,\"w_bit\":8", BM_E_FORMAT, "key \"w_bit\": found 8, expected 4 as \"bits\" says"},
    {"\"group_size\":0", BM_E_FORMAT, "key \"group_size\": found 0, expected -1 or more than 0"},
    {"\"group_size\":-2", BM_E_FORMAT, "key \"group_size\""},
    {"\"group_size\":64,\"q_group_size\":32", BM_E_FORMAT,
     "key \"q_group_size\": found 32, expected 64 as \"group_size\" says"},
    {"\"zero_point\":1", BM_E_FORMAT, "key \"zero_point\""},
    {"\"version\":\"gemv\"", BM_E_UNSUPPORTED, "NAME: quantization_config: version \"gemv\" is not built; built: gemm"},
    {"\"version\":\"GEMV_FAST\"", BM_E_UNSUPPORTED, "version \"GEMV_FAST\" is not built; built: gemm"},
    {"\"version\":\"marlin\"", BM_E_UNSUPPORTED, "version \"marlin\" is not built; built: gemm"},
    {"\"version\":7", BM_E_FORMAT, "version"},
    {"\"format\":\"gemv\"", BM_E_UNSUPPORTED, "format \"gemv\" is not built; built: gemm"},
    {"\"checkpoint_format\":\"\\u001b[2J\"", BM_E_UNSUPPORTED, "checkpoint_format"},
    {"\"backend\":\"llm-awq\"", BM_E_UNSUPPORTED,
     "NAME: quantization_config: backend \"llm-awq\", whose words are packed otherwise, is not built; built: those of "
     "AutoAWQ"},
    {"\"pack_dtype\":\"int16\"", BM_E_UNSUPPORTED, "pack_dtype \"int16\" is not built; built: int32"},
    {"\"dynamic\":{\"+:.*down\":{\"bits\":8}}", BM_E_UNSUPPORTED, "weights of 8 bits are not built; built: 4"},
    {"\"lm_head\":true", BM_E_UNSUPPORTED, "\"lm_head\": true is not built"},
    {"\"modules_to_not_convert\":\"down_proj\"", BM_E_FORMAT,
     "\"modules_to_not_convert\": found string, expected a list of names"},
    {"\"modules_to_not_convert\":[7]", BM_E_FORMAT,
     "\"modules_to_not_convert\": found number, expected a list of names"},
};

static void what_is_not_built_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        bm_error err = {0};
        bm_store_config config = {0};
        char *text = bm_format("{\"quant_method\":\"awq\",%s}", refused[i].members);
        bm_json *root = parse_json(text);
        const bm_status status = bm_store_open(&config, root, "NAME", &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words) || strchr(err.message, 27))
            fail_msg("%s: status %s, words \"%s\"", text, bm_status_name(status), err.message);
        bm_store_close(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

static void what_is_written_names_what_stays_float(void **state)
{
    static const char *const modules[] = {"lm_head", MODULE};
    static const char expected[] = "{\"bits\":4,\"dynamic\":{\"-:^model\\\\.layers\\\\.1\\\\.mlp\\\\.down_proj$\":{}},"
                                   "\"group_size\":64,\"modules_to_not_convert\":[\"lm_head\",\"" MODULE
                                   "\"],\"quant_method\":\"awq\",\"version\":\"gemm\",\"zero_point\":true}";
    const bm_store_description description = {
        .grid = {.bits = 4, .group_size = 64, .symmetric = true}, .float_modules = modules, .num_float_modules = 2};
    bm_store_linear linear;
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    (void)state;
    bm_json_writer_init(&json, &text, 0);
    bm_json_begin_object(&json, NULL);
    bm_store_awq.config(&json, &description);
    bm_json_end_object(&json);
    assert_string_equal(text.data, expected);
    bm_string_free(&text);
    assert_false(match(expected, MODULE, &linear));
    assert_true(match(expected, "model.layers.0.mlp.down_proj", &linear));
    assert_int_equal(linear.grid.group_size, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_is_read),
        cmocka_unit_test(linears_are_left_out_by_parts_of_their_names),
        cmocka_unit_test(what_is_not_built_is_refused_by_name),
        cmocka_unit_test(what_is_written_names_what_stays_float),
    };
    return cmocka_run_group_tests_name("awq config", tests, NULL, NULL);
}
