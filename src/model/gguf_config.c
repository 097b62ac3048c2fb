// config.json from metadata.
#include "model/gguf_model.h"

#include "formats/json.h"

#include <stdio.h>
#include <string.h>

#define KEY_SIZE 96
#define MAX_WIDTH (1 << 20) // far above every model

static const bm_gguf_architecture architectures[] = {
    {"llama", "LlamaForCausalLM", true, true, true},
    {"qwen2", "Qwen2ForCausalLM", false, false, false},
    {"qwen3", "Qwen3ForCausalLM", false, true, false},
};

bm_status bm_gguf_find_architecture(const bm_gguf *gguf, const bm_gguf_architecture **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf_string name, type;
    char shown[80];
    *out = NULL;
    BM_TRY(bm_gguf_get_string(gguf, "general.architecture", &name, err));
    BM_TRY(bm_gguf_get_string(gguf, "general.type", &type, err));
    BM_FAIL_IF(!name.bytes, err, BM_E_FORMAT, "%s: no key \"general.architecture\", expected llama, qwen2 or qwen3",
               bm_gguf_path(gguf));
    BM_FAIL_IF(type.bytes && !bm_gguf_string_is(type, "model"), err, BM_E_UNSUPPORTED,
               "%s: key \"general.type\": found \"%s\", expected \"model\"", bm_gguf_path(gguf),
               bm_printable(type.bytes, type.length, shown, sizeof shown));
    for (size_t i = 0; i < BM_COUNT(architectures); i++)
        if (bm_gguf_string_is(name, architectures[i].name))
            *out = &architectures[i];
    BM_FAIL_IF(!*out, err, BM_E_UNSUPPORTED,
               "%s: key \"general.architecture\": found \"%s\", expected llama, qwen2 or qwen3", bm_gguf_path(gguf),
               bm_printable(name.bytes, name.length, shown, sizeof shown));
done:
    return status;
}

// A reader of keys "ARCHITECTURE.key": the first failure sticks, so that a list of keys reads as a list.
typedef struct reader {
    const bm_gguf *gguf;
    const bm_gguf_architecture *architecture;
    bm_error *err;
    bm_status status;
} reader;

static const char *full_key(const reader *r, const char *key, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "%s.%s", r->architecture->name, key);
    return out;
}

static bool is_there(const reader *r, const char *key)
{
    char full[KEY_SIZE];
    return bm_gguf_find(r->gguf, full_key(r, key, full)) != NULL;
}

static uint32_t get_u32(reader *r, const char *key, uint32_t low, uint32_t high, uint32_t fallback)
{
    char full[KEY_SIZE];
    int64_t value = fallback;
    if (r->status == BM_OK)
        r->status = bm_gguf_get_integer(r->gguf, full_key(r, key, full), low, high, fallback, &value, r->err);
    return (uint32_t)value;
}

static uint32_t get_required_u32(reader *r, const char *key, uint32_t low, uint32_t high)
{
    char full[KEY_SIZE];
    if (r->status == BM_OK && !is_there(r, key))
        r->status = bm_fail(r->err, BM_E_FORMAT, "%s: no key \"%s\", expected an integer: it has no default",
                            bm_gguf_path(r->gguf), full_key(r, key, full));
    return get_u32(r, key, low, high, low);
}

static double get_number(reader *r, const char *key, double low, double high, double fallback)
{
    char full[KEY_SIZE];
    double value = fallback;
    if (r->status == BM_OK)
        r->status = bm_gguf_get_number(r->gguf, full_key(r, key, full), low, high, fallback, &value, r->err);
    return value;
}

static bm_gguf_string get_string(reader *r, const char *key)
{
    char full[KEY_SIZE];
    bm_gguf_string value = {NULL, 0};
    if (r->status == BM_OK)
        r->status = bm_gguf_get_string(r->gguf, full_key(r, key, full), &value, r->err);
    return value;
}

static void refuse(reader *r, const char *key, const char *found, const char *expected)
{
    char full[KEY_SIZE];
    if (r->status == BM_OK)
        r->status = bm_fail(r->err, BM_E_UNSUPPORTED, "%s: key \"%s\": found %s, expected %s", bm_gguf_path(r->gguf),
                            full_key(r, key, full), found, expected);
}

// Experts lie in tensors of three dimensions, which a dense model of the same architecture does not have.
static void refuse_experts(reader *r)
{
    char found[32];
    const uint32_t experts = get_u32(r, "expert_count", 0, UINT32_MAX, 0);
    snprintf(found, sizeof found, "%u", experts);
    if (experts > 0)
        refuse(r, "expert_count", found, "none: models of experts are not built");
}

static void put_heads(reader *r, bm_json_writer *json, uint32_t hidden_size, uint32_t *head_dim)
{
    char found[32], expected[48];
    const uint32_t heads = get_required_u32(r, "attention.head_count", 1, 65536);
    const uint32_t kv_heads = get_u32(r, "attention.head_count_kv", 1, 65536, heads);
    const uint32_t key_length = get_u32(r, "attention.key_length", 1, 65536, hidden_size / heads);
    const uint32_t value_length = get_u32(r, "attention.value_length", 1, 65536, key_length);
    snprintf(found, sizeof found, "%u", value_length);
    snprintf(expected, sizeof expected, "%u, as attention.key_length", key_length);
    if (value_length != key_length)
        refuse(r, "attention.value_length", found, expected);
    bm_json_put_integer(json, "num_attention_heads", heads);
    bm_json_put_integer(json, "num_key_value_heads", kv_heads);
    bm_json_put_integer(json, "head_dim", key_length);
    *head_dim = key_length;
}

// What scales YaRN's attention beside its factor: none of it has a key in config.json that means the same. An extrapolation
// of -1 is the type's own.
static void refuse_attention_factors(reader *r)
{
    static const struct {
        const char *key;
        double usual, other; // values that change nothing
    } factors[] = {{"rope.scaling.attn_factor", 1, 1},
                   {"rope.scaling.yarn_attn_factor", 1, 1},
                   {"rope.scaling.yarn_ext_factor", 1, -1},
                   {"rope.scaling.yarn_log_multiplier", 0, 0}};
    for (size_t i = 0; i < BM_COUNT(factors); i++) {
        char found[32], expected[32];
        const double value = get_number(r, factors[i].key, -1e6, 1e6, factors[i].usual);
        snprintf(found, sizeof found, "%g", value);
        snprintf(expected, sizeof expected, "%g", factors[i].usual);
        if (value != factors[i].usual && value != factors[i].other)
            refuse(r, factors[i].key, found, expected);
    }
}

// "linear" is what llama.cpp takes a factor for where no type is named.
static void put_named_scaling(reader *r, bm_json_writer *json, bm_gguf_string type)
{
    static const struct {
        const char *gguf, *hf;
    } betas[] = {{"rope.scaling.yarn_beta_fast", "beta_fast"}, {"rope.scaling.yarn_beta_slow", "beta_slow"}};
    const char *key = is_there(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    const double factor = get_number(r, key, 0, 1e6, 0);
    const bool is_linear = !type.bytes || bm_gguf_string_is(type, "linear");
    if (bm_gguf_string_is(type, "none") || (is_linear && (factor == 0 || factor == 1)))
        return;
    bm_json_begin_object(json, "rope_scaling");
    if (is_linear)
        bm_json_put_string(json, "rope_type", "linear");
    else
        bm_json_put_text(json, "rope_type", type.bytes, type.length);
    bm_json_put_float(json, "factor", (float)factor);
    if (is_there(r, "rope.scaling.original_context_length"))
        bm_json_put_integer(json, "original_max_position_embeddings",
                            get_u32(r, "rope.scaling.original_context_length", 1, 1u << 30, 1));
    for (size_t i = 0; i < BM_COUNT(betas) && !is_linear; i++)
        if (is_there(r, betas[i].gguf))
            bm_json_put_float(json, betas[i].hf, (float)get_number(r, betas[i].gguf, 0, 1e6, 0));
    bm_json_end_object(json);
}

static void put_llama3_scaling(reader *r, bm_json_writer *json, const bm_gguf_tensor *tensor, double theta,
                               uint32_t rotary_dim)
{
    bm_gguf_rope_factors f = {0};
    if (r->status == BM_OK)
        r->status = bm_gguf_read_rope_factors(r->gguf, tensor, theta, rotary_dim, &f, r->err);
    bm_json_begin_object(json, "rope_scaling");
    bm_json_put_string(json, "rope_type", "llama3");
    bm_json_put_float(json, "factor", (float)f.factor);
    bm_json_put_float(json, "low_freq_factor", (float)f.low_freq_factor);
    bm_json_put_float(json, "high_freq_factor", (float)f.high_freq_factor);
    bm_json_put_float(json, "original_max_position_embeddings", (float)f.original_max_position_embeddings);
    bm_json_end_object(json);
}

static void put_rope(reader *r, bm_json_writer *json, uint32_t head_dim)
{
    const bm_gguf_tensor *factors = bm_gguf_find_tensor(r->gguf, "rope_freqs.weight");
    const double theta = get_number(r, "rope.freq_base", 1, 1e12, 10000);
    const uint32_t rotary_dim = get_u32(r, "rope.dimension_count", 1, head_dim, head_dim);
    const bm_gguf_string type = get_string(r, "rope.scaling.type");
    refuse_attention_factors(r);
    bm_json_put_float(json, "rope_theta", (float)theta);
    if (rotary_dim % 2 != 0)
        refuse(r, "rope.dimension_count", "an odd number", "an even one");
    if (rotary_dim != head_dim) // which hf_config.c knows how to refuse
        bm_json_put_double(json, "partial_rotary_factor", (double)rotary_dim / head_dim);
    if (factors && type.bytes && !bm_gguf_string_is(type, "none"))
        refuse(r, "rope.scaling.type", "a type beside tensor \"rope_freqs.weight\"", "none");
    else if (factors)
        put_llama3_scaling(r, json, factors, theta, rotary_dim);
    else
        put_named_scaling(r, json, type);
}

// Ids of tokens that begin and end a text, for readers of config.json. Where there is a list of tokens, whoever reads it checks them.
static void put_token_ids(reader *r, bm_json_writer *json)
{
    static const struct {
        const char *gguf, *hf;
    } ids[] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"}, {"tokenizer.ggml.eos_token_id", "eos_token_id"}};
    const bm_gguf_tensor *embedding = bm_gguf_find_tensor(r->gguf, "token_embd.weight");
    const bool is_listed = bm_gguf_find(r->gguf, "tokenizer.ggml.tokens") != NULL;
    const int64_t num_tokens =
        !is_listed && embedding && embedding->num_dims == 2 ? (int64_t)embedding->dims[1] : UINT32_MAX;
    for (size_t i = 0; i < BM_COUNT(ids); i++) {
        int64_t id = -1;
        if (r->status == BM_OK)
            r->status = bm_gguf_get_integer(r->gguf, ids[i].gguf, 0, UINT32_MAX, -1, &id, r->err);
        if (r->status == BM_OK && id >= num_tokens && id < UINT32_MAX)
            r->status = bm_fail(r->err, BM_E_FORMAT, "%s: key \"%s\": expected 0..%lld, found %lld",
                                bm_gguf_path(r->gguf), ids[i].gguf, (long long)num_tokens - 1, (long long)id);
        if (id >= 0 && id < UINT32_MAX) // 2^32 - 1 is how some say that there is none, as tokenizer_gguf.c knows
            bm_json_put_integer(json, ids[i].hf, id);
    }
}

// How many tokens there are is said three times: by the embedding, and by these two where they are there. llama.cpp goes by
// the list of tokens and refuses an embedding of another size.
static void check_vocabulary(reader *r, uint64_t rows)
{
    char full[KEY_SIZE];
    const char *key = "tokenizer.ggml.tokens", *unit = " tokens";
    const bm_gguf_value *tokens = bm_gguf_find(r->gguf, key);
    uint64_t count = tokens ? bm_gguf_count(tokens) : rows;
    if (count == rows) {
        key = full_key(r, "vocab_size", full);
        unit = "";
        count = is_there(r, "vocab_size") ? get_u32(r, "vocab_size", 0, UINT32_MAX, 0) : rows;
    }
    if (r->status == BM_OK && count != rows)
        r->status = bm_fail(r->err, BM_E_FORMAT,
                            "%s: key \"%s\": found %llu%s, expected %llu, the rows of tensor \"token_embd.weight\"",
                            bm_gguf_path(r->gguf), key, (unsigned long long)count, unit, (unsigned long long)rows);
}

// What only tensors say: the vocabulary, biases, a head of its own, the type.
static void put_tensors(reader *r, bm_json_writer *json)
{
    const bm_gguf_tensor *embedding = bm_gguf_find_tensor(r->gguf, "token_embd.weight");
    if (r->status == BM_OK && (!embedding || embedding->num_dims != 2))
        r->status = bm_fail(r->err, BM_E_FORMAT, "%s: %s tensor \"token_embd.weight\", expected one of two dimensions",
                            bm_gguf_path(r->gguf), embedding ? "another" : "no");
    if (r->status != BM_OK || !embedding)
        return;
    check_vocabulary(r, embedding->dims[1]);
    bm_json_put_integer(json, "vocab_size", (int64_t)bm_min_u64(embedding->dims[1], UINT32_MAX));
    bm_json_put_bool(json, "tie_word_embeddings", !bm_gguf_find_tensor(r->gguf, "output.weight"));
    if (r->architecture->may_have_biases)
        bm_json_put_bool(json, "attention_bias", bm_gguf_find_tensor(r->gguf, "blk.0.attn_q.bias") != NULL);
    if (r->architecture->may_have_mlp_biases)
        bm_json_put_bool(json, "mlp_bias", bm_gguf_find_tensor(r->gguf, "blk.0.ffn_gate.bias") != NULL);
    bm_json_put_string(json, "torch_dtype",
                       embedding->type == BM_GGUF_F32    ? "float32"
                       : embedding->type == BM_GGUF_BF16 ? "bfloat16"
                                                         : "float16");
}

bm_status bm_gguf_write_config(const bm_gguf *gguf, bm_string *text, bm_error *err)
{
    reader r = {.gguf = gguf, .err = err};
    uint32_t head_dim = 0;
    bm_json_writer json;
    r.status = bm_gguf_find_architecture(gguf, &r.architecture, err);
    if (r.status != BM_OK)
        return r.status;
    refuse_experts(&r);
    bm_json_writer_init(&json, text, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_begin_array(&json, "architectures");
    bm_json_put_string(&json, NULL, r.architecture->class_name);
    bm_json_end_array(&json);
    bm_json_put_string(&json, "model_type", r.architecture->name);
    const uint32_t hidden_size = get_required_u32(&r, "embedding_length", 1, MAX_WIDTH);
    bm_json_put_integer(&json, "hidden_size", hidden_size);
    bm_json_put_integer(&json, "intermediate_size", get_required_u32(&r, "feed_forward_length", 1, MAX_WIDTH));
    bm_json_put_integer(&json, "num_hidden_layers", get_required_u32(&r, "block_count", 1, 4096));
    put_heads(&r, &json, hidden_size, &head_dim);
    // llama.cpp does not load a file without it, unlike transformers, which has defaults (hf_config.c).
    bm_json_put_integer(&json, "max_position_embeddings", get_required_u32(&r, "context_length", 1, 1u << 30));
    bm_json_put_string(&json, "hidden_act", "silu");
    bm_json_put_float(&json, "rms_norm_eps", (float)get_number(&r, "attention.layer_norm_rms_epsilon", 0, 1, 1e-6));
    put_rope(&r, &json, head_dim);
    put_token_ids(&r, &json);
    put_tensors(&r, &json);
    bm_json_end_object(&json);
    if (r.status == BM_OK && text->failed)
        r.status = bm_fail(err, BM_E_MEMORY, "out of memory");
    return r.status;
}
