// libFuzzer: bytes as config.json, with its quantization_config if there is one.
#include "support/loaders_rules.h"
#include "model/hf_config.h"
#include "support/folders.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *folder;

static void remove_folder(void)
{
    support_folder_remove(&folder);
}

static void use_quantization(const bm_hf_config *config)
{
    static const char *const modules[] = {"lm_head", "model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"};
    bm_store_config quantization = {0};
    bm_string words = BM_STRING_INIT;
    bm_error err;
    if (bm_store_open(&quantization, config->quantization_config, "config.json", &err) == BM_OK)
        for (size_t i = 0; i < BM_COUNT(modules); i++) {
            bm_store_part parts[BM_STORE_MAX_PARTS];
            bm_store_linear linear = {.module = modules[i], .out_features = 64, .in_features = 96};
            if (quantization.match(quantization.parsed, &linear) && quantization.format->check(&linear, &err) == BM_OK)
                (void)quantization.format->parts(&linear, parts);
        }
    (void)bm_compressed_tensors_check_loaders(config->quantization_config, config->num_hidden_layers, &words);
    bm_store_close(&quantization);
    bm_string_free(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_hf_config config;
    bm_error err;
    if (!folder) {
        folder = support_folder_create();
        atexit(remove_folder);
    }
    bm_free(support_file_write(folder, "config.json", data, size));
    if (bm_hf_config_read(&config, folder, &err) != BM_OK)
        return 0;
    for (uint32_t layer = 0; layer < config.num_hidden_layers; layer++)
        (void)bm_hf_config_is_windowed(&config, layer);
    if (config.head_dim == 0 || config.num_attention_heads % config.num_key_value_heads != 0)
        abort();
    if (config.quantization_config)
        use_quantization(&config);
    bm_hf_config_destroy(&config);
    return 0;
}
