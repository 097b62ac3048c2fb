// Real models of the test data: config.json and weights are read, shapes agree. Without the data this is a skip.
#include "support/unit.h"

#include "formats/checkpoint.h"
#include "model/hf_config.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t hidden, intermediate, layers, heads, kv_heads, vocab, num_tensors;
    bm_dtype dtype;
} models[] = {
    {"stories260K", 64, 172, 5, 8, 4, 512, 2 + 5 * 9, BM_DTYPE_F32},
    {"stories260K-f16", 64, 172, 5, 8, 4, 512, 2 + 5 * 9, BM_DTYPE_F16},
    {"babyllama-tok105", 128, 352, 5, 8, 4, 105, 2 + 5 * 9, BM_DTYPE_F32},
    {"tang-poem-750k", 96, 256, 5, 6, 6, 2048, 2 + 5 * 9, BM_DTYPE_F32},
    {"prose-8m", 384, 1024, 4, 6, 2, 4096, 2 + 4 * 9, BM_DTYPE_BF16}, // two shards
};

static void real_models_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(models); i++) {
        bm_hf_config config;
        bm_checkpoint *c = NULL;
        bm_error err;
        uint8_t bytes[16];
        char *folder = support_data_find(models[i].name);
        if (!folder)
            continue;
        assert_ok(bm_hf_config_read(&config, folder, &err), &err);
        assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
        assert_int_equal(config.hidden_size, models[i].hidden);
        assert_int_equal(config.intermediate_size, models[i].intermediate);
        assert_int_equal(config.num_hidden_layers, models[i].layers);
        assert_int_equal(config.num_attention_heads, models[i].heads);
        assert_int_equal(config.num_key_value_heads, models[i].kv_heads);
        assert_int_equal(config.vocab_size, models[i].vocab);
        assert_true(config.tie_word_embeddings);
        assert_int_equal(bm_checkpoint_count(c), models[i].num_tensors);
        assert_int_equal(bm_checkpoint_num_unlisted(c), 0);
        const bm_tensor_info *down = bm_checkpoint_find(c, "model.layers.0.mlp.down_proj.weight");
        assert_non_null(down);
        assert_int_equal(down->dtype, models[i].dtype);
        assert_true(down->shape[0] == models[i].hidden && down->shape[1] == models[i].intermediate);
        for (uint32_t t = 0; t < bm_checkpoint_count(c); t++) {
            const bm_tensor_info *info = bm_checkpoint_at(c, t);
            assert_ok(bm_checkpoint_read(c, info, info->size_bytes - 16, bytes, 16, &err), &err);
        }
        bm_checkpoint_close(&c);
        bm_hf_config_destroy(&config);
        bm_free(folder);
    }
}

int main(void)
{
    char *folder = support_data_find(models[0].name);
    if (!folder) {
        printf("skip: no test data\n");
        return 77;
    }
    bm_free(folder);
    const struct CMUnitTest tests[] = {cmocka_unit_test(real_models_are_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
