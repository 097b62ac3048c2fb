// The models that tests are made of: each family has the tensors that it should, and the same params give the same
// bytes.
#include "support/unit.h"

#include "base/half.h"
#include "base/str.h"
#include "formats/checkpoint.h"
#include "model/hf_config.h"
#include "support/model_maker.h"
#include "support/own_folder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *family;
    bool attention_bias, mlp_bias;
    uint32_t num_tensors; // of two layers, untied: 3 outside, 9 in a block, and biases and norms of heads
} families[] = {
    {"llama", false, false, 3 + 2 * 9},  {"llama", true, true, 3 + 2 * (9 + 7)}, {"mistral", false, false, 3 + 2 * 9},
    {"qwen2", false, false, 3 + 2 * 12}, {"qwen3", false, false, 3 + 2 * 11},    {"qwen3", true, false, 3 + 2 * 15},
};

static void each_family_has_its_tensors_and_config(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        model_maker_params p;
        bm_checkpoint *c = NULL;
        bm_hf_config config;
        bm_error err;
        model_maker_params_init(&p);
        p.family = families[i].family;
        p.attention_bias = families[i].attention_bias;
        p.mlp_bias = families[i].mlp_bias;
        p.head_dim = 24; // heads * head_dim differs from hidden_size
        assert_ok(model_maker_write(&p, folder, &err), &err);
        assert_ok(bm_hf_config_read(&config, folder, &err), &err);
        assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
        assert_string_equal(config.model_type, p.family);
        assert_int_equal(config.head_dim, 24);
        assert_int_equal(config.hidden_size, p.hidden_size);
        assert_int_equal(config.num_key_value_heads, p.num_kv_heads);
        assert_int_equal(config.vocab_size, p.vocab_size);
        assert_int_equal(config.attention_bias, p.attention_bias);
        assert_int_equal(bm_checkpoint_count(c), families[i].num_tensors);
        const bm_tensor_info *o = bm_checkpoint_find(c, "model.layers.1.self_attn.o_proj.weight");
        assert_non_null(o);
        assert_true(o->shape[0] == 64 && o->shape[1] == 96);
        assert_int_equal(bm_checkpoint_find(c, "model.layers.0.self_attn.q_norm.weight") != NULL,
                         strcmp(p.family, "qwen3") == 0);
        bm_checkpoint_close(&c);
        bm_hf_config_destroy(&config);
    }
}

static void bloom_has_its_tensors_with_and_without_prefix(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        model_maker_params p;
        bm_checkpoint *c = NULL;
        bm_error err;
        model_maker_params_init(&p);
        p.family = "bloom";
        p.without_prefix = p.tie_embeddings = i == 1;
        assert_ok(model_maker_write(&p, folder, &err), &err);
        assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
        assert_int_equal(bm_checkpoint_count(c), 5 + 2 * 12 + (i == 0));
        const bm_tensor_info *fused =
            bm_checkpoint_find(c, i == 0 ? "transformer.h.1.self_attention.query_key_value.weight"
                                         : "h.1.self_attention.query_key_value.weight");
        assert_non_null(fused);
        assert_true(fused->shape[0] == 192 && fused->shape[1] == 64);
        bm_checkpoint_close(&c);
    }
}

static float *read_floats(const char *path, const char *name, uint64_t *count)
{
    bm_checkpoint *c = NULL;
    bm_error err;
    assert_ok(bm_checkpoint_open(&c, path, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(c, name);
    assert_non_null(info);
    *count = info->size_bytes / bm_dtype_size(info->dtype);
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    float *values = bm_alloc(*count, sizeof *values);
    assert_ok(bm_checkpoint_read(c, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < *count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    bm_checkpoint_close(&c);
    return values;
}

static const char up[] = "model.layers.1.mlp.up_proj.weight", norm[] = "model.layers.1.post_attention_layernorm.weight";

// Another type and other shards: the same weights, rounded.
static void weights_depend_on_seed_and_name_alone(void **state)
{
    static const bm_dtype dtypes[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    static const float precision[] = {0x1p-11f, 0x1p-8f};
    uint64_t count = 0, other_count = 0;
    model_maker_params p;
    bm_error err;
    char *first = bm_path_join(folder, "first");
    (void)state;
    model_maker_params_init(&p);
    assert_ok(model_maker_write(&p, first, &err), &err);
    float *values = read_floats(first, up, &count);
    for (size_t k = 0; k < BM_COUNT(dtypes); k++) {
        char *name = bm_format("%s/%zu", folder, k);
        p.dtype = dtypes[k];
        p.max_shard_bytes = 30000;
        p.tie_embeddings = true;
        assert_ok(model_maker_write(&p, name, &err), &err);
        float *others = read_floats(name, up, &other_count);
        assert_true(count == other_count);
        for (uint64_t i = 0; i < count; i++)
            assert_true(fabsf(values[i] - others[i]) <= precision[k] * fabsf(values[i]) + 0x1p-25f);
        bm_free(others);
        bm_free(name);
    }
    bm_free(values);
    bm_free(first);
}

static void weights_have_the_spread_of_their_inputs(void **state)
{
    uint64_t count = 0;
    double squares = 0;
    model_maker_params p;
    bm_error err;
    (void)state;
    model_maker_params_init(&p);
    assert_ok(model_maker_write(&p, folder, &err), &err);
    float *values = read_floats(folder, up, &count);
    for (uint64_t i = 0; i < count; i++)
        squares += (double)values[i] * (double)values[i];
    // The variance's own relative deviation is sqrt(2 / count): six of them.
    assert_true(fabs(squares / (double)count * p.hidden_size - 1) < 6 * sqrt(2.0 / (double)count));
    bm_free(values);
}

static void outliers_are_planted_and_undone_behind(void **state)
{
    uint64_t columns = 0, count = 0;
    uint32_t planted = 0;
    model_maker_params p;
    bm_error err;
    char *plain = bm_path_join(folder, "plain"), *with = bm_path_join(folder, "with");
    (void)state;
    model_maker_params_init(&p);
    assert_ok(model_maker_write(&p, plain, &err), &err);
    p.num_outlier_channels = 3;
    p.outlier_scale = 32;
    assert_ok(model_maker_write(&p, with, &err), &err);
    float *norm_a = read_floats(plain, norm, &columns), *norm_b = read_floats(with, norm, &columns);
    float *up_a = read_floats(plain, up, &count), *up_b = read_floats(with, up, &count);
    for (uint64_t c = 0; c < columns; c++) {
        const float scale = norm_b[c] == norm_a[c] ? 1 : 32;
        planted += scale > 1;
        assert_true(norm_b[c] == scale * norm_a[c]);
        for (uint64_t r = 0; r < count / columns; r++)
            assert_true(up_b[r * columns + c] == up_a[r * columns + c] / scale);
    }
    assert_int_equal(planted, 3);
    bm_free(norm_a);
    bm_free(norm_b);
    bm_free(up_a);
    bm_free(up_b);
    bm_free(plain);
    bm_free(with);
}

static void the_tokenizer_has_as_many_pieces_as_the_model(void **state)
{
    static const struct {
        model_maker_tokenizer kind;
        uint32_t vocab_size;
        bm_status status;
    } cases[] = {
        {MODEL_MAKER_SENTENCEPIECE, 3, BM_E_ARGUMENT}, {MODEL_MAKER_SENTENCEPIECE, 4, BM_OK},
        {MODEL_MAKER_SENTENCEPIECE, 64, BM_OK},        {MODEL_MAKER_SENTENCEPIECE, 258, BM_OK},
        {MODEL_MAKER_SENTENCEPIECE, 259, BM_OK},       {MODEL_MAKER_SENTENCEPIECE, 20000, BM_OK},
        {MODEL_MAKER_BYTE_LEVEL, 257, BM_E_ARGUMENT},  {MODEL_MAKER_BYTE_LEVEL, 258, BM_OK},
        {MODEL_MAKER_BYTE_LEVEL, 2000, BM_OK},
    };
    char *path = bm_path_join(folder, "tokenizer.json");
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        model_maker_params p;
        bm_json *root = NULL;
        bm_error err;
        model_maker_params_init(&p);
        p.tokenizer = cases[i].kind;
        p.vocab_size = cases[i].vocab_size;
        assert_int_equal(model_maker_write_tokenizer(&p, folder, &err), cases[i].status);
        if (cases[i].status != BM_OK)
            continue;
        assert_ok(bm_json_read_file(&root, path, 1 << 24, &err), &err); // which refuses a piece given twice
        assert_int_equal(bm_json_count(bm_json_find(bm_json_find(root, "model"), "vocab")), p.vocab_size);
        bm_json_destroy(&root);
    }
    bm_free(path);
}

static void params_that_do_not_fit_are_refused(void **state)
{
    bm_error err;
    model_maker_params good, p;
    (void)state;
    model_maker_params_init(&good);
    p = good, p.family = "gpt2";
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.num_kv_heads = 3;
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.num_layers = 0;
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.dtype = BM_DTYPE_I8;
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.rope_scaling = "longrope";
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.sliding_window = 4;
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
    p = good, p.num_outlier_channels = 65;
    assert_int_equal(model_maker_write(&p, folder, &err), BM_E_ARGUMENT);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(each_family_has_its_tensors_and_config), WITH_FOLDER(bloom_has_its_tensors_with_and_without_prefix),
        WITH_FOLDER(weights_depend_on_seed_and_name_alone),  WITH_FOLDER(weights_have_the_spread_of_their_inputs),
        WITH_FOLDER(outliers_are_planted_and_undone_behind), WITH_FOLDER(the_tokenizer_has_as_many_pieces_as_the_model),
        WITH_FOLDER(params_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
