// A folder of a made model becomes a GGUF file, as llama.cpp's converter would make it.
#include "support/gguf_maker.h"

#include "base/half.h"
#include "formats/checkpoint.h"
#include "formats/json.h"
#include "support/folders.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct converter {
    gguf_maker maker;
    bm_checkpoint *checkpoint;
    bm_json *config;
    const char *architecture;
    uint32_t type; // of matrices
} converter;

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "gguf_maker_convert: %s\n", what);
        abort();
    }
}

static double number(const bm_json *object, const char *key, double fallback)
{
    const bm_json *value = bm_json_find(object, key);
    return value && bm_json_kind_of(value) == BM_JSON_NUMBER ? bm_json_number(value) : fallback;
}

static const char *key_of(const converter *c, const char *key, char out[96])
{
    snprintf(out, 96, "%s.%s", c->architecture, key);
    return out;
}

static void add_u32(converter *c, const char *key, const char *from, double fallback)
{
    char name[96];
    gguf_maker_add_u32(&c->maker, key_of(c, key, name), (uint32_t)number(c->config, from, fallback));
}

static double head_dim_of(const converter *c)
{
    return number(c->config, "head_dim",
                  number(c->config, "hidden_size", 0) / number(c->config, "num_attention_heads", 1));
}

// The divisors of llama3's frequencies, formats.md 2.3 and 6.6.
static void add_rope_factors(converter *c, const bm_json *rope, double theta)
{
    const uint32_t half = (uint32_t)head_dim_of(c) / 2;
    const double factor = number(rope, "factor", 0), low = number(rope, "low_freq_factor", 0);
    const double high = number(rope, "high_freq_factor", 0);
    const double old = number(rope, "original_max_position_embeddings", 0);
    uint8_t bytes[4 * 256];
    for (uint32_t i = 0; i < half; i++) {
        const double wavelength = 2 * 3.14159265358979323846 * pow(theta, 2.0 * i / (2.0 * half));
        const double part = (old / wavelength - low) / (high - low);
        const double divisor = wavelength < old / high  ? 1
                               : wavelength > old / low ? factor
                                                        : 1 / ((1 - part) / factor + part);
        bm_store_real(bytes, BM_DTYPE_F32, i, (float)divisor);
    }
    const uint64_t dims[] = {half};
    gguf_maker_add_tensor(&c->maker, "rope_freqs.weight", 0, dims, 1, bytes, 4 * (size_t)half);
}

static void add_rope(converter *c)
{
    char name[96];
    const bm_json *rope = bm_json_find(c->config, "rope_parameters");
    const double plain = number(c->config, "rope_theta", 10000),
                 theta = rope ? number(rope, "rope_theta", plain) : plain;
    gguf_maker_add_f32(&c->maker, key_of(c, "rope.freq_base", name), (float)theta);
    if (!rope)
        rope = bm_json_find(c->config, "rope_scaling");
    const bm_json *type = rope ? bm_json_find(rope, "rope_type") : NULL;
    if (!type || bm_json_kind_of(type) != BM_JSON_STRING)
        return;
    if (strcmp(bm_json_string(type), "linear") == 0) {
        gguf_maker_add_string(&c->maker, key_of(c, "rope.scaling.type", name), "linear");
        gguf_maker_add_f32(&c->maker, key_of(c, "rope.scaling.factor", name), (float)number(rope, "factor", 1));
    } else if (strcmp(bm_json_string(type), "llama3") == 0) {
        add_rope_factors(c, rope, theta);
    }
}

static void add_metadata(converter *c)
{
    char name[96];
    gguf_maker_add_string(&c->maker, "general.architecture", c->architecture);
    add_u32(c, "block_count", "num_hidden_layers", 0);
    add_u32(c, "context_length", "max_position_embeddings", 0);
    add_u32(c, "embedding_length", "hidden_size", 0);
    add_u32(c, "feed_forward_length", "intermediate_size", 0);
    add_u32(c, "attention.head_count", "num_attention_heads", 0);
    add_u32(c, "attention.head_count_kv", "num_key_value_heads", 0);
    gguf_maker_add_u32(&c->maker, key_of(c, "attention.key_length", name), (uint32_t)head_dim_of(c));
    gguf_maker_add_u32(&c->maker, key_of(c, "attention.value_length", name), (uint32_t)head_dim_of(c));
    gguf_maker_add_f32(&c->maker, key_of(c, "attention.layer_norm_rms_epsilon", name),
                       (float)number(c->config, "rms_norm_eps", 0));
    add_rope(c);
    if (bm_json_find(c->config, "bos_token_id"))
        gguf_maker_add_u32(&c->maker, "tokenizer.ggml.bos_token_id", (uint32_t)number(c->config, "bos_token_id", 0));
    if (bm_json_find(c->config, "eos_token_id"))
        gguf_maker_add_u32(&c->maker, "tokenizer.ggml.eos_token_id", (uint32_t)number(c->config, "eos_token_id", 0));
}

static const char *gguf_name(const char *hf, char out[96])
{
    static const char *const names[][2] = {
        {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
        {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
        {"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
        {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"},
    };
    char block[12];
    int at = 0;
    if (strcmp(hf, "model.embed_tokens.weight") == 0)
        return "token_embd.weight";
    if (strcmp(hf, "model.norm.weight") == 0)
        return "output_norm.weight";
    if (strcmp(hf, "lm_head.weight") == 0)
        return "output.weight";
    check(sscanf(hf, "model.layers.%11[0-9].%n", block, &at) == 1 && at > 0, hf);
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (bm_starts_with(hf + at, names[i][0]) && hf[at + (int)strlen(names[i][0])] == '.') {
            snprintf(out, 96, "blk.%s.%s%s", block, names[i][1], hf + at + (int)strlen(names[i][0]));
            return out;
        }
    check(false, hf);
    return NULL;
}

// Which row of the folder's tensor becomes a row of the file's: formats.md 6.6.
static uint64_t source_row(const converter *c, const char *hf, uint64_t row, uint64_t rows)
{
    const bool is_query = strstr(hf, ".q_proj.") != NULL, is_key = strstr(hf, ".k_proj.") != NULL;
    if (strcmp(c->architecture, "llama") != 0 || (!is_query && !is_key))
        return row;
    const char *key = is_query ? "num_attention_heads" : "num_key_value_heads";
    const uint64_t width = rows / (uint64_t)number(c->config, key, 1), in_head = row % width;
    return row - in_head + in_head % 2 * (width / 2) + in_head / 2;
}

static void put_row(bm_string *out, uint32_t type, const float *row, uint64_t count)
{
    uint8_t bytes[34] = {0};
    if (type == 6) {
        for (uint64_t first = 0; first < count; first += 32)
            (void)bm_string_append_bytes(out, bytes, 22);
        return;
    }
    if (type != 8) {
        const bm_dtype dtype = type == 0 ? BM_DTYPE_F32 : type == 1 ? BM_DTYPE_F16 : BM_DTYPE_BF16;
        for (uint64_t i = 0; i < count; i++) {
            bm_store_real(bytes, dtype, 0, row[i]);
            (void)bm_string_append_bytes(out, bytes, bm_dtype_size(dtype));
        }
        return;
    }
    for (uint64_t first = 0; first < count; first += 32) {
        float largest = 0;
        for (int i = 0; i < 32; i++)
            largest = fmaxf(largest, fabsf(row[first + (uint64_t)i]));
        const float step = largest / 127;
        bm_store_le16(bytes, bm_f32_to_f16(step));
        for (int i = 0; i < 32; i++)
            bytes[2 + i] = (uint8_t)(int8_t)(step > 0 ? roundf(row[first + (uint64_t)i] / step) : 0);
        (void)bm_string_append_bytes(out, bytes, sizeof bytes);
    }
}

static void add_tensor(converter *c, const bm_tensor_info *info)
{
    char name[96];
    bm_string bytes = BM_STRING_INIT;
    const bool is_matrix = info->num_dims == 2;
    const uint64_t rows = info->shape[0], cols = is_matrix ? info->shape[1] : 1;
    const uint32_t type = is_matrix ? c->type : 0;
    uint8_t *stored = bm_alloc(info->size_bytes, 1);
    float *row = bm_alloc(cols, sizeof *row);
    check(stored && row, "no memory");
    check(bm_checkpoint_read(c->checkpoint, info, 0, stored, info->size_bytes, NULL) == BM_OK, info->name);
    for (uint64_t r = 0; r < rows; r++) {
        const uint64_t from = source_row(c, info->name, r, rows);
        for (uint64_t k = 0; k < cols; k++)
            row[k] = bm_load_real(stored, info->dtype, from * cols + k);
        put_row(&bytes, type, row, cols);
    }
    const uint64_t dims[] = {is_matrix ? cols : rows, rows};
    gguf_maker_add_tensor(&c->maker, gguf_name(info->name, name), type, dims, info->num_dims, bytes.data, bytes.length);
    bm_string_free(&bytes);
    bm_free(stored);
    bm_free(row);
}

char *gguf_maker_convert(const char *model_folder, uint32_t type, const gguf_maker *extra, const char *folder,
                         const char *name)
{
    converter c = {.type = type};
    char *config_path = bm_format("%s/config.json", model_folder);
    check(bm_json_read_file(&c.config, config_path, UINT64_C(1) << 20, NULL) == BM_OK, "no config.json");
    check(bm_checkpoint_open(&c.checkpoint, model_folder, NULL) == BM_OK, "no checkpoint");
    const char *family = bm_json_string(bm_json_find(c.config, "model_type"));
    c.architecture = strcmp(family, "mistral") == 0 ? "llama" : family;
    gguf_maker_init(&c.maker);
    if (extra) {
        (void)bm_string_append_bytes(&c.maker.values, bm_string_text(&extra->values), extra->values.length);
        c.maker.num_values = extra->num_values;
    }
    add_metadata(&c);
    for (uint32_t i = 0; i < bm_checkpoint_count(c.checkpoint); i++)
        add_tensor(&c, bm_checkpoint_at(c.checkpoint, i));
    char *path = gguf_maker_write(&c.maker, folder, name);
    gguf_maker_free(&c.maker);
    bm_checkpoint_close(&c.checkpoint);
    bm_json_destroy(&c.config);
    bm_free(config_path);
    return path;
}
