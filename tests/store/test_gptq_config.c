// quantization_config of GPTQ's checkpoints: what is written is read back, what absent keys mean, what is refused by name.
#include "support/unit.h"

#include "store/config.h"
#include "store/gptq_config.h"

#include <stdio.h>
#include <string.h>

#define MODULE "model.layers.1.mlp.down_proj"

static bool match(const char *text, const char *module, bm_store_linear *out)
{
    return match_module(&bm_store_gptq, text, module, out);
}

// As transformers reads an object with nothing but bits.
static void absent_keys_mean_what_transformers_takes_them_for(void **state)
{
    bm_store_linear linear;
    (void)state;
    assert_true(match("{\"quant_method\":\"gptq\",\"bits\":3}", MODULE, &linear));
    assert_int_equal(linear.grid.bits, 3);
    assert_int_equal(linear.grid.group_size, 128);
    assert_true(linear.grid.symmetric);
    assert_false(linear.per_channel);
    assert_int_equal(linear.version, BM_GPTQ_V1);
    assert_false(match("{\"quant_method\":\"gptq\",\"bits\":3}", "lm_head", &linear));
}

static void each_key_is_read(void **state)
{
    static const struct {
        const char *members;
        uint32_t group_size;
        bool per_channel, symmetric;
        bm_gptq_version version;
    } cases[] = {
        {"\"group_size\":-1", 256, true, true, BM_GPTQ_V1},
        {"\"group_size\":256", 256, false, true, BM_GPTQ_V1},
        {"\"group_size\":1024", 256, false, true, BM_GPTQ_V1}, // one group, and a shorter one
        {"\"group_size\":64,\"sym\":false", 64, false, false, BM_GPTQ_V1},
        {"\"checkpoint_format\":\"gptq_v2\"", 128, false, true, BM_GPTQ_V2},
        {"\"format\":\"gptq_v2\",\"checkpoint_format\":null", 128, false, true, BM_GPTQ_V2},
        {"\"format\":\"GPTQ\",\"checkpoint_format\":\"gptq\"", 128, false, true, BM_GPTQ_V1},
        {"\"desc_act\":true,\"static_groups\":true,\"damp_percent\":0.1,\"meta\":{\"a\":1}", 128, false, true,
         BM_GPTQ_V1},
        {"\"is_marlin_format\":false,\"pack_dtype\":\"int32\",\"rotation\":null,\"lm_head\":false,\"dynamic\":{}", 128,
         false, true, BM_GPTQ_V1},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *text = bm_format("{\"quant_method\":\"gptq\",\"bits\":4,%s}", cases[i].members);
        bm_store_linear linear;
        assert_true(match(text, MODULE, &linear));
        if (linear.grid.group_size != cases[i].group_size || linear.per_channel != cases[i].per_channel ||
            linear.grid.symmetric != cases[i].symmetric || linear.version != cases[i].version)
            fail_msg("%s: groups of %u, per channel %d, symmetric %d, version %u", text, linear.grid.group_size,
                     linear.per_channel, linear.grid.symmetric, linear.version);
        bm_free(text);
    }
}

static const struct {
    const char *members, *module;
    bool is_quantized;
} matches[] = {
    {"\"dynamic\":{\"-:.*down_proj\":{}}", MODULE, false},
    {"\"dynamic\":{\"-:model.layers.0.\":{},\"-:model\\\\.layers\\\\.1\\\\.mlp\":{}}", MODULE,
     false},                                            // not up to the end
    {"\"dynamic\":{\"-:down_proj\":{}}", MODULE, true}, // from the start
    {"\"dynamic\":{\"-:^model\\\\.layers\\\\.11\\\\.mlp\\\\.down_proj$\":{}}", MODULE, true},
    {"\"dynamic\":{\"-:(a+)+$\":{}}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", true},
    {"\"modules_in_block_to_quantize\":[[\"self_attn.q_proj\"],[\"mlp.down_proj\"]]", MODULE, true},
    {"\"modules_in_block_to_quantize\":[[\"self_attn.q_proj\"],[\"mlp.up_proj\"]]", MODULE, false},
    {"\"modules_in_block_to_quantize\":null", MODULE, true},
    {"\"modules_in_block_to_quantize\":[\"self_attn.q_proj\",\"mlp.down_proj\"]", MODULE, true},
    {"\"modules_in_block_to_quantize\":[\"self_attn.q_proj\"]", MODULE, false},
    {"\"lm_head\":true,\"modules_in_block_to_quantize\":[\"self_attn.q_proj\"]", "lm_head", true},
    {"\"lm_head\":true,\"dynamic\":{\"-:lm_head\":{}}", "lm_head", false},
    {"\"lm_head\":false,\"dynamic\":{\"lm_head\":{\"bits\":8}}", "lm_head", false},
};

// Of the rules that match, the first; what it does not say is as for all.
static void rules_give_grids_of_their_own(void **state)
{
    static const struct {
        const char *rules;
        uint32_t bits, group_size;
        bool symmetric;
    } cases[] = {
        {"\"+:.*down_proj\":{\"bits\":8},\".*\":{\"bits\":2}", 8, 128, true},
        {"\".*up_proj\":{\"bits\":8},\".*\":{\"group_size\":64,\"sym\":false}", 4, 64, false},
        {"\"model\":{\"group_size\":-1,\"desc_act\":true,\"mse\":2.4}", 4, 256, true},
        {"\"+:.*down_proj\":{},\"-:.*\":{}", 4, 128, true},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *text = bm_format("{\"quant_method\":\"gptq\",\"bits\":4,\"dynamic\":{%s}}", cases[i].rules);
        bm_store_linear linear;
        assert_true(match(text, MODULE, &linear));
        if (linear.grid.bits != cases[i].bits || linear.grid.group_size != cases[i].group_size ||
            linear.grid.symmetric != cases[i].symmetric)
            fail_msg("%s: %u bits, groups of %u, symmetric %d", text, linear.grid.bits, linear.grid.group_size,
                     linear.grid.symmetric);
        bm_free(text);
    }
}

static void linears_are_left_out_by_either_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(matches); i++) {
        char *text = bm_format("{\"quant_method\":\"gptq\",\"bits\":4,%s}", matches[i].members);
        bm_store_linear linear;
        if (match(text, matches[i].module, &linear) != matches[i].is_quantized)
            fail_msg("%s: expected %d", text, matches[i].is_quantized);
        bm_free(text);
    }
}

static const struct {
    const char *object;
    bm_status status;
    const char *words;
} refused[] = {
    {"{\"quant_method\":\"fp8\"}", BM_E_UNSUPPORTED,
     "NAME: quantization_config: quant_method \"fp8\" cannot be read yet; built: compressed-tensors, gptq, awq, "
     "auto-round, bitmill"},
    {"{\"quant_method\":\"bitsandbytes\"}", BM_E_UNSUPPORTED, "quant_method \"bitsandbytes\" cannot be read yet"},
    {"{\"quant_method\":\"\\u001b[2J\"}", BM_E_UNSUPPORTED, "quant_method"},
    {"{\"quant_method\":7}", BM_E_FORMAT, "quant_method"},
    {"{%}", BM_E_FORMAT, "no key \"bits\", expected 2, 3, 4 or 8"},
    {"{%,\"bits\":5}", BM_E_UNSUPPORTED, "weights of 5 bits are not built; built: 2, 3, 4 and 8"},
    {"{%,\"bits\":-1}", BM_E_UNSUPPORTED, "weights of -1 bits are not built; built: 2, 3, 4 and 8"},
    {"{%,\"bits\":\"4\"}", BM_E_FORMAT, "NAME: quantization_config: key \"bits\": found \"4\", expected 2, 3, 4 or 8"},
    {"{%,\"bits\":-1e300}", BM_E_FORMAT, "key \"bits\": found "},
    {"{%,\"bits\":4,\"group_size\":0}", BM_E_FORMAT, "key \"group_size\": found 0, expected -1 or more than 0"},
    {"{%,\"bits\":4,\"group_size\":-2}", BM_E_FORMAT, "NAME: quantization_config: key \"group_size\""},
    {"{%,\"bits\":4,\"sym\":\"no\"}", BM_E_FORMAT, "key \"sym\""},
    {"{%,\"bits\":4,\"desc_act\":1}", BM_E_FORMAT, "key \"desc_act\""},
    {"{%,\"bits\":4,\"checkpoint_format\":\"marlin\"}", BM_E_UNSUPPORTED,
     "checkpoint_format \"marlin\" is not built; built: gptq, gptq_v2"},
    {"{%,\"bits\":4,\"format\":\"bitblas\"}", BM_E_UNSUPPORTED, "checkpoint_format \"bitblas\" is not built"},
    {"{%,\"bits\":4,\"format\":\"gptq_v2\",\"checkpoint_format\":\"gptq\"}", BM_E_FORMAT,
     "key \"format\": found \"gptq_v2\", expected \"gptq\" as \"checkpoint_format\" says"},
    {"{%,\"bits\":4,\"format\":\"gptq\",\"checkpoint_format\":\"marlin\"}", BM_E_UNSUPPORTED,
     "checkpoint_format \"marlin\" is not built; built: gptq, gptq_v2"},
    {"{%,\"bits\":4,\"is_marlin_format\":true}", BM_E_UNSUPPORTED, "\"is_marlin_format\": true is not built"},
    {"{%,\"bits\":4,\"lm_head\":1}", BM_E_FORMAT, "key \"lm_head\""},
    {"{%,\"bits\":4,\"pack_dtype\":\"int16\"}", BM_E_UNSUPPORTED, "pack_dtype \"int16\" is not built; built: int32"},
    {"{%,\"bits\":4,\"rotation\":\"hadamard\"}", BM_E_UNSUPPORTED, "\"rotation\" is not built"},
    {"{%,\"bits\":4,\"dynamic\":[]}", BM_E_FORMAT, "\"dynamic\": found array, expected an object"},
    {"{%,\"bits\":4,\"dynamic\":{\"+:.*down\":{\"bits\":5}}}", BM_E_UNSUPPORTED,
     "NAME: quantization_config: \"dynamic\": rule \"+:.*down\": weights of 5 bits are not built; built: 2, 3, 4 and "
     "8"},
    {"{%,\"bits\":4,\"dynamic\":{\"down\":{\"group_size\":0}}}", BM_E_FORMAT, "key \"group_size\": found 0"},
    {"{%,\"bits\":4,\"dynamic\":{\"down\":{\"adapter\":{}}}}", BM_E_UNSUPPORTED,
     "rule \"down\": key \"adapter\" is not built"},
    {"{%,\"bits\":4,\"dynamic\":{\"down\":[]}}", BM_E_FORMAT, "rule \"down\": found array, expected an object"},
    {"{%,\"bits\":4,\"dynamic\":{\"-:x\":{},\"-:(\":{}}}", BM_E_FORMAT,
     "NAME: quantization_config: \"-:(\" is no regular expression"},
    {"{%,\"bits\":4,\"modules_in_block_to_quantize\":[[[\"q_proj\"]]]}", BM_E_FORMAT, "expected lists of names"},
    {"{%,\"bits\":4,\"modules_in_block_to_quantize\":[[7]]}", BM_E_FORMAT, "expected lists of names"},
};

static void what_is_not_built_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        const char *mark = strchr(refused[i].object, '%');
        bm_error err = {0};
        bm_store_config config = {0};
        char *text = mark ? bm_format("%.*s\"quant_method\":\"gptq\"%s", (int)(mark - refused[i].object),
                                      refused[i].object, mark + 1)
                          : bm_format("%s", refused[i].object);
        bm_json *root = parse_json(text);
        const bm_status status = bm_store_open(&config, root, "NAME", &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words) || strchr(err.message, 27))
            fail_msg("%s: status %s, words \"%s\"", text, bm_status_name(status), err.message);
        bm_store_close(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

static void expect_written(const bm_store_description *description, const char *expected)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_json_writer_init(&json, &text, 0);
    bm_json_begin_object(&json, NULL);
    bm_store_gptq.config(&json, description);
    bm_json_end_object(&json);
    assert_string_equal(text.data, expected);
    bm_string_free(&text);
}

static void what_is_written_names_version_order_and_what_stays_float(void **state)
{
    static const char *const modules[] = {"lm_head", MODULE};
    bm_store_linear linear;
    (void)state;
    bm_store_description d = {.grid = {.bits = 3, .group_size = 64, .symmetric = true},
                              .act_order = BM_COLUMN_ORDER_STATIC,
                              .float_modules = modules,
                              .num_float_modules = 1};
    expect_written(
        &d, "{\"bits\":3,\"checkpoint_format\":\"gptq\",\"desc_act\":false,\"format\":\"gptq\",\"group_size\":64,"
            "\"lm_head\":false,\"pack_dtype\":\"int32\",\"quant_method\":\"gptq\",\"sym\":true}");
    d.act_order = BM_COLUMN_ORDER_DYNAMIC;
    d.grid.symmetric = false;
    d.num_float_modules = 2;
    static const char written[] =
        "{\"bits\":3,\"checkpoint_format\":\"gptq_v2\",\"desc_act\":true,\"dynamic\":{\"-:^model\\\\.layers\\\\.1\\\\."
        "mlp"
        "\\\\.down_proj$\":{}},\"format\":\"gptq_v2\",\"group_size\":64,\"lm_head\":false,\"pack_dtype\":\"int32\","
        "\"quant_method\":\"gptq\",\"sym\":false}";
    expect_written(&d, written);
    assert_false(match(written, MODULE, &linear));
    assert_true(match(written, "model.layers.0.mlp.down_proj", &linear));
    d.block_modules[d.num_block_modules++] = "self_attn.q_proj"; // and all blocks are alike
    d.block_modules[d.num_block_modules++] = "mlp.up_proj";
    static const char of_kinds[] =
        "{\"bits\":3,\"checkpoint_format\":\"gptq_v2\",\"desc_act\":true,\"dynamic\":{\"-:^model\\\\.layers\\\\.1\\\\."
        "mlp"
        "\\\\.down_proj$\":{}},\"format\":\"gptq_v2\",\"group_size\":64,\"lm_head\":false,\"modules_in_block_to_"
        "quantize\":"
        "[[\"self_attn.q_proj\"],[\"mlp.up_proj\"]],\"pack_dtype\":\"int32\",\"quant_method\":\"gptq\",\"sym\":false}";
    expect_written(&d, of_kinds);
    assert_false(match(of_kinds, "model.layers.0.mlp.down_proj", &linear));
    assert_true(match(of_kinds, "model.layers.0.mlp.up_proj", &linear));
    d.per_channel = true; // one group has no order
    d.num_float_modules = 1;
    expect_written(
        &d, "{\"bits\":3,\"checkpoint_format\":\"gptq_v2\",\"desc_act\":false,\"format\":\"gptq_v2\","
            "\"group_size\":-1,\"lm_head\":false,\"pack_dtype\":\"int32\",\"quant_method\":\"gptq\",\"sym\":false}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_mean_what_transformers_takes_them_for),
        cmocka_unit_test(each_key_is_read),
        cmocka_unit_test(rules_give_grids_of_their_own),
        cmocka_unit_test(linears_are_left_out_by_either_key),
        cmocka_unit_test(what_is_not_built_is_refused_by_name),
        cmocka_unit_test(what_is_written_names_version_order_and_what_stays_float),
    };
    return cmocka_run_group_tests_name("gptq config", tests, NULL, NULL);
}
