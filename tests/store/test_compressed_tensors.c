#include "support/unit.h"

#include "store/config.h"
#include "support/loaders_rules.h"

#include <stdio.h>
#include <string.h>

static bm_status parse(const char *text, bm_json **root, bm_compressed_tensors_config **config, bm_error *err)
{
    *root = parse_json(text);
    return bm_compressed_tensors_parse(config, *root, "NAME", err);
}

// The object that we write for a scheme; read back.
static bm_json *write_and_parse(bm_compressed_tensors_scheme scheme, const char *const *ignore, uint32_t num_ignore)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_begin_object(&w, "quantization_config");
    bm_compressed_tensors_write(
        &w,
        &(bm_store_description){
            .grid = {.bits = scheme.num_bits, .group_size = (uint32_t)scheme.group_size, .symmetric = scheme.symmetric},
            .per_channel = scheme.group_size == 0,
            .act_order = scheme.has_group_index ? BM_COLUMN_ORDER_DYNAMIC : BM_COLUMN_ORDER_NONE,
            .float_modules = ignore,
            .num_float_modules = num_ignore});
    bm_json_end_object(&w);
    bm_json_end_object(&w);
    bm_json *root = parse_json(text.data);
    bm_string_free(&text);
    return root;
}

#define PACKED(bits, size, is_symmetric, has_index)                                                                    \
    {                                                                                                                  \
        .num_bits = (bits), .group_size = (size), .symmetric = (is_symmetric), .has_group_index = (has_index)          \
    }

static const char *const head_alone[] = {"lm_head"};

static const bm_compressed_tensors_scheme schemes[] = {
    PACKED(4, 128, true, false), PACKED(4, 32, false, false), PACKED(4, 0, true, false), PACKED(8, 0, true, false),
    PACKED(8, 64, true, false),  PACKED(8, 0, false, false),  PACKED(4, 64, true, true),
};
// The libraries read these; vLLM has no kernel for them, which is why its rules below refuse them.
static const bm_compressed_tensors_scheme few_bits[] = {PACKED(2, 32, true, false), PACKED(3, 128, false, true),
                                                        PACKED(3, 0, true, false)};

static void expect_read_back(bm_compressed_tensors_scheme written)
{
    bm_json *root = write_and_parse(written, head_alone, 1);
    bm_compressed_tensors_config *config = NULL;
    bm_error err;
    assert_ok(bm_compressed_tensors_parse(&config, bm_json_find(root, "quantization_config"), "NAME", &err), &err);
    const bm_compressed_tensors_scheme *scheme = bm_compressed_tensors_match(config, "model.layers.0.mlp.up_proj");
    assert_non_null(scheme);
    assert_int_equal(scheme->num_bits, written.num_bits);
    assert_int_equal(scheme->group_size, written.group_size);
    assert_int_equal(scheme->symmetric, written.symmetric);
    assert_int_equal(scheme->has_group_index, written.has_group_index);
    assert_null(bm_compressed_tensors_match(config, "lm_head"));
    bm_compressed_tensors_destroy(&config);
    assert_null(config);
    bm_compressed_tensors_destroy(&config);
    bm_json_destroy(&root);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(schemes); i++)
        expect_read_back(schemes[i]);
    for (size_t i = 0; i < BM_COUNT(few_bits); i++)
        expect_read_back(few_bits[i]);
}

static void loaders_accept_what_is_written(void **state)
{
    static const char *const ignore[] = {"lm_head", "model.layers.1.self_attn.q_proj",
                                         "model.layers.1.self_attn.k_proj", "model.layers.1.self_attn.v_proj",
                                         "model.layers.0.mlp.down_proj"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(schemes); i++)
        for (uint32_t num_ignore = 1; num_ignore <= BM_COUNT(ignore); num_ignore += (uint32_t)BM_COUNT(ignore) - 1) {
            bm_string words = BM_STRING_INIT;
            bm_json *root = write_and_parse(schemes[i], ignore, num_ignore);
            const uint32_t count =
                bm_compressed_tensors_check_loaders(bm_json_find(root, "quantization_config"), 2, &words);
            if (count != 0)
                fail_msg("%s", words.data);
            bm_string_free(&words);
            bm_json_destroy(&root);
        }
}

#define WEIGHTS                                                                                                        \
    "{\"actorder\":null,\"block_structure\":null,\"dynamic\":false,\"group_size\":128,\"num_bits\":4,"                 \
    "\"observer\":\"minmax\",\"observer_kwargs\":{},\"strategy\":\"group\",\"symmetric\":true,\"type\":\"int\"}"
#define GOOD                                                                                                           \
    "{\"config_groups\":{\"group_0\":{\"format\":\"pack-quantized\",\"input_activations\":null,"                       \
    "\"output_activations\":null,\"targets\":[\"Linear\"],\"weights\":" WEIGHTS "}},\"format\":\"pack-quantized\","    \
    "\"global_compression_ratio\":null,\"ignore\":[\"lm_head\"],\"kv_cache_scheme\":null,"                             \
    "\"quant_method\":\"compressed-tensors\",\"quantization_status\":\"compressed\",\"sparsity_config\":{},"           \
    "\"transform_config\":{},\"version\":\"0.12.2\"}"

// One piece of a good object replaced by another; what the loaders' check must say of it.
static const struct {
    const char *from, *to;
    uint32_t count;
    const char *words;
} violations[] = {
    {"", "", 0, ""},
    {"\"quant_method\":\"compressed-tensors\"", "\"quant_method\":\"gptq\"", 1, "quant_method"},
    {"\"compressed\"", "\"frozen\"", 1, "quantization_status"},
    {"},\"format\":\"pack-quantized\"", "},\"format\":\"int-quantized\"", 1, "quantization_config: format"},
    {"{\"format\":\"pack-quantized\"", "{\"format\":\"dense\"", 1, "group_0: format"},
    {",\"version\":\"0.12.2\"", "", 1, "version"},
    {"\"version\":\"0.12.2\"", "\"version\":12", 1, "version"},
    {"\"kv_cache_scheme\":null", "\"kv_cache_scheme\":{\"num_bits\":8}", 1, "kv_cache_scheme"},
    {"\"sparsity_config\":{}", "\"sparsity_config\":{\"format\":\"dense\"}", 1, "sparsity_config"},
    {"\"transform_config\":{},\"version\":\"0.12.2\"", "\"version\":\"0.12.2\",\"transform_config\":{}", 1, "sorted"},
    {"\"version\"", "\"unknown\":1,\"version\"", 1, "\"unknown\" is not among"},
    {"{\"group_0\":", "{\"W4A16\":", 1, "group_N"},
    {"\"targets\":[\"Linear\"]", "\"targets\":[]", 1, "targets"},
    {"\"targets\":[\"Linear\"]", "\"targets\":\"Linear\"", 1, "targets"},
    {"\"targets\":[\"Linear\"]", "\"targets\":[7]", 1, "targets"},
    {"\"targets\":[\"Linear\"]", "\"targets\":[\"Linear\",\"Linear\"]", 1, "two groups"},
    {"\"input_activations\":null", "\"input_activations\":{\"num_bits\":8}", 1, "input_activations"},
    {"\"output_activations\":null", "\"output_activations\":{\"num_bits\":8}", 1, "output_activations"},
    {"\"output_activations\":null", "\"output\":null", 1, "\"output\" is not among"},
    {"\"weights\":" WEIGHTS, "\"weights\":null", 1, "weights: must be an object"},
    {"\"strategy\"", "\"scale_dtype\":null,\"strategy\"", 1, "scale_dtype"},
    {"\"type\":\"int\"", "\"type\":\"int\",\"zp_dtype\":null", 1, "zp_dtype"},
    {"\"type\":\"int\"", "\"type\":\"float\"", 1, "type"},
    {"\"num_bits\":4", "\"num_bits\":3", 1, "num_bits"},
    {"\"num_bits\":4", "\"num_bits\":4.0", 1, "num_bits"},
    {"\"num_bits\":4", "\"num_bits\":8", 0, ""},
    {"\"group_size\":128", "\"group_size\":null", 1, "group_size"},
    {"\"group_size\":128", "\"group_size\":-1", 1, "group_size"},
    {"\"strategy\":\"group\"", "\"strategy\":\"channel\"", 1, "group_size must be null"},
    {"\"strategy\":\"group\"", "\"strategy\":\"tensor\"", 1, "strategy"},
    {"\"strategy\":\"group\"", "\"strategy\":null", 1, "strategy"},
    {"\"symmetric\":true", "\"symmetric\":false", 0, ""},
    {"\"symmetric\":true", "\"symmetric\":null", 1, "symmetric"},
    {"\"dynamic\":false", "\"dynamic\":true", 1, "dynamic"},
    {"\"actorder\":null", "\"actorder\":\"weight\"", 0, ""},
    {"\"actorder\":null", "\"actorder\":\"static\"", 1, "actorder"},
    {"\"observer\":\"minmax\"", "\"observer\":null", 1, "observer"},
    {"\"observer_kwargs\":{}", "\"observer_kwargs\":{\"a\":1}", 1, "observer_kwargs"},
    {"\"block_structure\":null", "\"block_structure\":\"2x2\"", 1, "block_structure"},
    {"[\"lm_head\"]", "[]", 1, "lm_head"},
    {"[\"lm_head\"]", "null", 2, "ignore: must be a list"},
    {"[\"lm_head\"]", "[\"lm_head\",\"lm_head\"]", 1, "twice"},
    {"[\"lm_head\"]", "[\"lm_head\",7]", 1, "other than names"},
    {"[\"lm_head\"]", "[\"lm_head\",\"re:.*mlp.*\"]", 1, "full name"},
    {"[\"lm_head\"]", "[\"lm_head\",\"down_proj\"]", 1, "full name"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.2.mlp.down_proj\"]", 1, "full name"}, // two layers
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.01.mlp.down_proj\"]", 1, "full name"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.1\"]", 1, "full name"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.1.mlp.down_proj\"]", 0, ""},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.1.self_attn.q_proj\"]", 1, "layers.1.self_attn.qkv_proj"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.0.mlp.gate_proj\"]", 1, "layers.0.mlp.gate_up_proj"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.0.mlp.gate_proj\",\"model.layers.1.mlp.up_proj\"]", 2,
     "gate_up_proj"},
    {"[\"lm_head\"]", "[\"lm_head\",\"model.layers.0.mlp.gate_proj\",\"model.layers.0.mlp.up_proj\"]", 0, ""},
};

static uint32_t num_lines(const char *text)
{
    uint32_t count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void loaders_check_finds_each_planted_violation(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(violations); i++) {
        const char *at = strstr(GOOD, violations[i].from);
        bm_string words = BM_STRING_INIT;
        assert_non_null(at);
        char *text = bm_format("%.*s%s%s", (int)(strlen(GOOD) - strlen(at)), GOOD, violations[i].to,
                               at + strlen(violations[i].from));
        bm_json *root = parse_json(text);
        const uint32_t count = bm_compressed_tensors_check_loaders(root, 2, &words);
        if (count != violations[i].count || count != num_lines(bm_string_text(&words)) ||
            !strstr(bm_string_text(&words), violations[i].words))
            fail_msg("case %zu: %s: %u violations: %s", i, violations[i].to, count, bm_string_text(&words));
        bm_json_destroy(&root);
        bm_string_free(&words);
        bm_free(text);
    }
}

static void loaders_check_survives_what_is_no_object(void **state)
{
    static const char *const texts[] = {"null",
                                        "[]",
                                        "7",
                                        "{}",
                                        "{\"config_groups\":[]}",
                                        "{\"config_groups\":{\"group_0\":[]}}",
                                        "{\"ignore\":{},\"config_groups\":{\"\":null}}"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(texts); i++) {
        bm_string words = BM_STRING_INIT;
        bm_json *root = parse_json(texts[i]);
        assert_true(bm_compressed_tensors_check_loaders(root, 0, &words) > 0);
        bm_string_free(&words);
        bm_json_destroy(&root);
    }
}

static void presets_are_read(void **state)
{
    static const struct {
        const char *name;
        bm_compressed_tensors_scheme scheme;
    } presets[] = {{"W4A16", PACKED(4, 128, true, false)},
                   {"W4A16_ASYM", PACKED(4, 128, false, false)},
                   {"W8A16", PACKED(8, 0, true, false)}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(presets); i++) {
        bm_compressed_tensors_config *config = NULL;
        bm_json *root = NULL;
        bm_error err;
        char *text = bm_format("{\"config_groups\":{\"%s\":[\"Linear\"]}}", presets[i].name);
        assert_ok(parse(text, &root, &config, &err), &err);
        const bm_compressed_tensors_scheme *s = bm_compressed_tensors_match(config, "any");
        assert_int_equal(s->num_bits, presets[i].scheme.num_bits);
        assert_int_equal(s->group_size, presets[i].scheme.group_size);
        assert_int_equal(s->symmetric, presets[i].scheme.symmetric);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

// bits of the scheme of each module tell which group it fell to; 0: none.
static const struct {
    const char *groups, *ignore, *module;
    uint32_t bits;
} matches[] = {
    {"\"a\":{%4,\"targets\":[\"Linear\"]},\"b\":{%8,\"targets\":[\"model.x\"]}", "[]", "model.x", 8},
    {"\"a\":{%4,\"targets\":[\"Linear\"]},\"b\":{%8,\"targets\":[\"model.x\"]}", "[]", "model.y", 4},
    {"\"a\":{%4,\"targets\":[\"Linear\"]},\"b\":{%8,\"targets\":[\"re:model\"]}", "[]", "model.y", 8},
    {"\"a\":{%4,\"targets\":[\"re:model.*\"]},\"b\":{%8,\"targets\":[\"model.x\"]}", "[]", "model.x", 8},
    {"\"a\":{%8,\"targets\":[\"re:.*down\"]}", "[]", "model.down_proj", 8}, // not anchored at the end
    {"\"a\":{%8,\"targets\":[\"re:down\"]}", "[]", "model.down_proj", 0},   // anchored at the start
    {"\"a\":{%8,\"targets\":[\"down_proj\"]}", "[]", "model.down_proj", 0}, // names are whole
    {"\"a\":{%4,\"targets\":[\"Linear\"]}", "[\"model.x\"]", "model.x", 0},
    {"\"a\":{%4,\"targets\":[\"model.x\"]}", "[\"re:.*x$\"]", "model.x", 0},
    {"\"a\":{%4,\"targets\":[\"Linear\"]}", "[\"Linear\"]", "model.x", 0},
    {"\"a\":{%4,\"targets\":[\"Linear\"]}", "[\"re:(a+)+$\"]", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 4},
    {"\"a\":{%4,\"targets\":null}", "null", "model.x", 0},
};

static char *expand(const char *groups, const char *ignore)
{
    bm_string text = BM_STRING_INIT;
    assert_true(bm_string_append(&text, "{\"config_groups\":{"));
    for (const char *c = groups; *c; c++) {
        if (*c == '%' && c[1]) // %4: weights of 4 bits
            assert_true(bm_string_append_format(&text, "\"weights\":{\"num_bits\":%c,\"strategy\":\"channel\"}", *++c));
        else
            assert_true(bm_string_append_bytes(&text, c, 1));
    }
    assert_true(bm_string_append_format(&text, "},\"ignore\":%s}", ignore));
    return text.data;
}

static void names_come_before_patterns_before_classes_and_ignore_before_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(matches); i++) {
        bm_compressed_tensors_config *config = NULL;
        bm_json *root = NULL;
        bm_error err;
        char *text = expand(matches[i].groups, matches[i].ignore);
        assert_ok(parse(text, &root, &config, &err), &err);
        const bm_compressed_tensors_scheme *scheme = bm_compressed_tensors_match(config, matches[i].module);
        if ((scheme ? scheme->num_bits : 0) != matches[i].bits)
            fail_msg("case %zu: %s: %u bits", i, text, scheme ? scheme->num_bits : 0);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

// Groups of some targets that match nothing each, and behind them one of a single target.
static char *many_groups(uint32_t num_groups, uint32_t num_targets, const char *last)
{
    bm_string groups = BM_STRING_INIT;
    for (uint32_t g = 0; g < num_groups; g++) {
        assert_true(bm_string_append_format(&groups, "\"g%u\":{%%4,\"targets\":[", g));
        for (uint32_t t = 0; t < num_targets; t++)
            assert_true(bm_string_append_format(&groups, "%s\"g%u.%u\"", t ? "," : "", g, t));
        assert_true(bm_string_append(&groups, "]},"));
    }
    assert_true(bm_string_append_format(&groups, "\"last\":{%%4,\"targets\":[\"%s\"]}", last));
    char *text = expand(groups.data, "[]");
    bm_string_free(&groups);
    return text;
}

// An expression of some ten thousand steps has them alone, and not among the targets of 200 groups; nor are there any number of
// targets because each group has few.
static void groups_share_one_bound(void **state)
{
    (void)state;
    static const struct {
        uint32_t num_groups, num_targets;
        const char *words; // NULL: read
        bool matches;
    } cases[] = {
        {0, 1, NULL, true},
        {200, 1, NULL, false},
        {1365, 3, NULL, false}, // 4096 with the last
        {2, 2048, "found 4097 targets in the first 3 groups, expected at most 4096 in all", false},
        {4097, 1, "found 4097 targets in the first 4097 groups, expected at most 4096 in all", false},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_compressed_tensors_config *config = NULL;
        bm_json *root = NULL;
        bm_error err = {0};
        char *text = many_groups(cases[i].num_groups, cases[i].num_targets, "re:(a+)+$|a");
        assert_int_equal(parse(text, &root, &config, &err), cases[i].words ? BM_E_FORMAT : BM_OK);
        if (cases[i].words)
            assert_non_null(strstr(err.message, cases[i].words));
        else
            assert_int_equal(bm_compressed_tensors_match(config, "aaaaaaaaaaaab") != NULL, cases[i].matches);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

// One piece of a good object replaced by another.
static const struct {
    const char *from, *to;
    bm_status status;
    const char *words;
} refused[] = {
    {"{\"format\":\"pack-quantized\"", "{\"format\":\"marlin-24\"", BM_E_UNSUPPORTED, "marlin-24"},
    {"},\"format\":\"pack-quantized\"", "},\"format\":\"int-quantized\"", BM_E_FORMAT,
     "NAME: quantization_config: key \"format\": found \"pack-quantized\" in a group, expected \"int-quantized\""},
    {"},\"format\":\"pack-quantized\"", "},\"format\":\"dense\"", BM_E_UNSUPPORTED,
     "NAME: quantization_config: key \"format\": found \"dense\", expected pack-quantized or int-quantized"},
    {"},\"format\":\"pack-quantized\"", "},\"format\":\"mixed-precision\"", BM_OK, ""},
    {"{\"group_0\":", "{\"W4A16\":[\"re:x\",\"Linear\"],\"group_0\":", BM_E_FORMAT,
     "NAME: quantization_config: config_groups: found target \"Linear\" in \"W4A16\" and \"group_0\""},
    {"{\"group_0\":", "{\"W4A16\":[\"x\",\"x\"],\"group_0\":", BM_OK, ""}, // twice in one group does no harm
    {"\"input_activations\":null", "\"input_activations\":{}", BM_E_UNSUPPORTED, "activations"},
    {"\"num_bits\":4", "\"num_bits\":3", BM_OK, ""},
    {"\"num_bits\":4", "\"num_bits\":5", BM_E_UNSUPPORTED, "5 bits"},
    {"\"num_bits\":4", "\"num_bits\":true", BM_E_FORMAT, "num_bits"},
    {"\"type\":\"int\"", "\"type\":\"float\"", BM_E_UNSUPPORTED, "float"},
    {"\"dynamic\":false", "\"dynamic\":true", BM_E_UNSUPPORTED,
     "weights: \"dynamic\": true is not built; built: false"},
    {"\"strategy\":\"group\"", "\"strategy\":\"block\"", BM_E_UNSUPPORTED, "block"},
    {"\"group_size\":128", "\"group_size\":null", BM_E_FORMAT, "group_size"},
    {"\"group_size\":128", "\"group_size\":-1", BM_E_FORMAT, "group_size"},
    {"\"actorder\":null", "\"actorder\":\"group\"", BM_OK, ""},
    {"\"actorder\":null", "\"actorder\":\"dynamic\"", BM_OK, ""},
    {"\"actorder\":null", "\"actorder\":\"weight\"", BM_OK, ""},
    {"\"actorder\":null", "\"actorder\":true", BM_OK, ""},
    {"\"actorder\":null", "\"actorder\":\"random\"", BM_E_UNSUPPORTED,
     "actorder \"random\" is not built; built: group, weight, dynamic, static"},
    {"\"weights\":" WEIGHTS, "\"weights\":null", BM_E_FORMAT, "weights"},
    {"[\"Linear\"]", "\"Linear\"", BM_E_FORMAT, "targets"},
    {"[\"Linear\"]", "[7]", BM_E_FORMAT, "targets"},
    {"[\"Linear\"]", "[\"re:(\"]", BM_E_FORMAT,
     "NAME: quantization_config: \"re:(\" is no regular expression: missing closing parenthesis"},
    {"[\"lm_head\"]", "{}", BM_E_FORMAT, "ignore"},
    {"[\"lm_head\"]", "[\"lm_head\",\"re:[\"]", BM_E_FORMAT, "regular expression"},
    {"{\"group_0\":", "{\"FP8\":[\"Linear\"],\"group_0\":", BM_E_UNSUPPORTED, "FP8"},
    {"{\"group_0\":", "{\"x\":7,\"group_0\":", BM_E_FORMAT, "config_groups"},
    {"\"config_groups\"", "\"groups\"", BM_E_FORMAT, "config_groups"},
    {"\"kv_cache_scheme\":null", "\"kv_cache_scheme\":{\"num_bits\":8}", BM_E_UNSUPPORTED, "kv_cache_scheme"},
    {"\"sparsity_config\":{}", "\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}", BM_E_UNSUPPORTED,
     "sparsity_config"},
    {"\"sparsity_config\":{}", "\"sparsity_config\":{\"format\":\"dense\"}", BM_OK, ""},
    {"\"transform_config\":{}", "\"transform_config\":{\"config_groups\":{}}", BM_E_UNSUPPORTED, "transform_config"},
    {"\"transform_config\":{}", "\"transform_config\":{\"format\":\"dense\"}", BM_E_UNSUPPORTED, "transform_config"},
    {"\"kv_cache_scheme\":null", "\"kv_cache_scheme\":{\"format\":\"dense\"}", BM_E_UNSUPPORTED, "kv_cache_scheme"},
    {"\"transform_config\":{}", "\"transform_config\":7", BM_E_FORMAT, "transform_config"},
    {"\"strategy\":\"group\",", "\"scale_dtype\":null,\"strategy\":\"group\",", BM_OK, ""}, // accepted when reading
    {"\"strategy\":\"group\",", "", BM_OK, ""},                                             // inferred
    {"\"actorder\":null", "\"actorder\":false", BM_OK, ""},
    {"\"actorder\":null", "\"actorder\":\"static\"", BM_OK, ""},
};

static void what_is_not_built_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        const char *at = strstr(GOOD, refused[i].from);
        bm_compressed_tensors_config *config = NULL;
        bm_json *root = NULL;
        bm_error err = {0};
        char *text =
            bm_format("%.*s%s%s", (int)(strlen(GOOD) - strlen(at)), GOOD, refused[i].to, at + strlen(refused[i].from));
        const bm_status status = parse(text, &root, &config, &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words))
            fail_msg("case %zu: %s: status %s, words \"%s\"", i, refused[i].to, bm_status_name(status), err.message);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(loaders_accept_what_is_written),
        cmocka_unit_test(loaders_check_finds_each_planted_violation),
        cmocka_unit_test(loaders_check_survives_what_is_no_object),
        cmocka_unit_test(presets_are_read),
        cmocka_unit_test(names_come_before_patterns_before_classes_and_ignore_before_all),
        cmocka_unit_test(groups_share_one_bound),
        cmocka_unit_test(what_is_not_built_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
