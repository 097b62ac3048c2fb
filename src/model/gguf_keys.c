// Keys of config.json in messages on a GGUF file become the metadata's.
#include "model/gguf_model.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *hf, *gguf; // of the architecture, but for what stands under "general."
} keys[] = {
    {"hidden_size", "embedding_length"},
    {"intermediate_size", "feed_forward_length"},
    {"num_hidden_layers", "block_count"},
    {"num_attention_heads", "attention.head_count"},
    {"num_key_value_heads", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"max_position_embeddings", "context_length"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"rope_theta", "rope.freq_base"},
    {"partial_rotary_factor", "rope.dimension_count"},
    {"rope_scaling.rope_type", "rope.scaling.type"},
    {"rope_scaling", "rope.scaling.type"},
    {"factor", "rope.scaling.factor"},
    {"model_type", "general.architecture"},
};

static bool is_in_key(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static const char *key_of(const char *word, size_t length)
{
    for (size_t i = 0; i < BM_COUNT(keys); i++)
        if (strlen(keys[i].hf) == length && memcmp(keys[i].hf, word, length) == 0)
            return keys[i].gguf;
    return NULL;
}

void bm_gguf_say_keys(const char *architecture, const char *path, char *words, size_t size)
{
    bm_string text = BM_STRING_INIT;
    const char *at = words;
    if (bm_starts_with(words, path)) { // whatever it is called
        at += strlen(path);
        (void)bm_string_append(&text, path);
    }
    while (*at) {
        size_t length = 0;
        while (is_in_key(at[length]))
            length++;
        const char *key = length > 0 ? key_of(at, length) : NULL;
        if (key)
            (void)bm_string_append_format(&text, "%s%s%s", bm_starts_with(key, "general.") ? "" : architecture,
                                          bm_starts_with(key, "general.") ? "" : ".", key);
        else
            (void)bm_string_append_bytes(&text, at, length > 0 ? length : 1);
        at += length > 0 ? length : 1;
    }
    if (!text.failed)
        snprintf(words, size, "%s", bm_string_text(&text));
    bm_string_free(&text);
}
