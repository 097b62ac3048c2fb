// config.json of a Hugging Face model folder: shapes, norms, rotary embedding, quantization.
// What a missing key means differs by family: that is the table in family.c. Sizes that every checkpoint states must
// be there.
#ifndef BM_MODEL_HF_CONFIG_H
#define BM_MODEL_HF_CONFIG_H

#include "formats/json.h"
#include "ops/elementwise.h"
#include "ops/rope.h"

typedef struct bm_hf_config {
    char model_type[32];
    uint32_t hidden_size, intermediate_size, num_hidden_layers;
    uint32_t num_attention_heads, num_key_value_heads, head_dim;
    uint32_t vocab_size, max_position_embeddings;
    float norm_epsilon;
    bm_activation hidden_act;
    bm_rope_config rope;
    bm_rope_config local_rope; // of layers with the window, where has_local_rope; else they have that of the others
    bool has_local_rope;
    double query_scalar;            // scores are divided by its root
    float attention_cap, logit_cap; // scores and logits become cap tanh(x / cap); 0: they stay as they are
    bool tie_word_embeddings, attention_bias, mlp_bias;
    uint32_t sliding_window;       // 0: none
    uint32_t first_windowed_layer; // layers from here on have the window, unless layer_windowed says otherwise
    uint8_t *layer_windowed;       // [num_hidden_layers] by layer_types; NULL: the rule above. Owned.
    int64_t default_eos_token_id;  // ends a text where no file names a token that does; -1: none
    char assumed[160];             // words on a key that is not there and whose default bounds what is done; "": none
    char not_built[192];           // words on the first thing for which the model cannot be run; "": none is known
    bm_dtype dtype;                // a hint; BM_DTYPE_NONE when absent
    const bm_json *quantization_config; // inside root; NULL: a float model
    bm_json *root;                      // the whole file. Owned.
} bm_hf_config;

// Reads FOLDER/config.json. Errors: BM_E_IO when it is missing, BM_E_FORMAT for bad values, BM_E_UNSUPPORTED for a family
// that is not built; the message names file and key. What is not built and only running a model needs (a rope type, an
// activation, a kind of attention) is no error: not_built says what it is. Destroy with bm_hf_config_destroy.
bm_status bm_hf_config_read(bm_hf_config *out, const char *folder, bm_error *err);
// The same of an object that was read from elsewhere and is called path in messages. *root is taken over, also where it fails.
bm_status bm_hf_config_parse(bm_hf_config *out, bm_json **root, const char *path, bm_error *err);
void bm_hf_config_destroy(bm_hf_config *config);
// True for the keys under which config.json says how a model is quantized, null in some float models.
bool bm_hf_config_is_quantization_key(const char *key);

// True when attention of this layer sees only the last sliding_window keys.
bool bm_hf_config_is_windowed(const bm_hf_config *config, uint32_t layer);

#endif
