// Sources as in src/model/block.c; rotary halves as transformers' LlamaForCausalLM has them.
#include "schedule/double_block.h"

#include "base/half.h"
#include "base/str.h"
#include "ops/alibi.h"
#include "support/unit.h"

#include <math.h>
#include <string.h>

double *read_doubles(const reference *r, const char *name)
{
    bm_error err = {0};
    const bm_tensor_info *info = bm_checkpoint_find(r->model->checkpoint, name);
    if (!info)
        return NULL;
    const uint64_t count = info->size_bytes / bm_dtype_size(info->dtype);
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    double *values = bm_alloc(count, sizeof *values);
    assert_ok(bm_checkpoint_read(r->model->checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < count; i++)
        values[i] = (double)bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return values;
}

static void read_linear(reference *r, bm_linear_id linear, const char *module, uint32_t rows, uint32_t cols)
{
    char *weight = bm_format("%s.weight", module), *bias = bm_format("%s.bias", module);
    r->linears[linear] = read_doubles(r, weight);
    r->biases[linear] = read_doubles(r, bias);
    r->rows[linear] = rows;
    r->cols[linear] = cols;
    bm_free(weight);
    bm_free(bias);
}

// Rows of a fusion are those of query, key and value of a head, one behind the other.
static void split_fusion(reference *r)
{
    const uint32_t hidden = r->p.hidden_size, d = r->head_dim;
    double *all = read_doubles(r, "transformer.h.0.self_attention.query_key_value.weight");
    double *biases = read_doubles(r, "transformer.h.0.self_attention.query_key_value.bias");
    for (uint32_t part = 0; part < 3; part++) {
        double *w = bm_alloc((uint64_t)hidden * hidden, sizeof *w), *b = bm_alloc(hidden, sizeof *b);
        for (uint32_t row = 0; row < hidden; row++) {
            const uint32_t from = (row / d * 3 + part) * d + row % d;
            memcpy(w + (size_t)row * hidden, all + (size_t)from * hidden, hidden * sizeof *w);
            b[row] = biases[from];
        }
        r->linears[BM_LINEAR_Q + part] = w;
        r->biases[BM_LINEAR_Q + part] = b;
        r->rows[BM_LINEAR_Q + part] = r->cols[BM_LINEAR_Q + part] = hidden;
    }
    bm_free(all);
    bm_free(biases);
}

void open_reference(reference *r, const char *folder)
{
    bm_error err = {0};
    const uint32_t hidden = r->p.hidden_size, query = r->p.num_heads * r->head_dim, key = r->kv_heads * r->head_dim;
    assert_ok(bm_model_open(&r->model, folder, &err), &err);
    if (r->is_bloom) {
        r->embedding = read_doubles(r, "transformer.word_embeddings.weight");
        r->embedding_norm = read_doubles(r, "transformer.word_embeddings_layernorm.weight");
        r->embedding_bias = read_doubles(r, "transformer.word_embeddings_layernorm.bias");
        r->norm[0] = read_doubles(r, "transformer.h.0.input_layernorm.weight");
        r->norm_bias[0] = read_doubles(r, "transformer.h.0.input_layernorm.bias");
        r->norm[1] = read_doubles(r, "transformer.h.0.post_attention_layernorm.weight");
        r->norm_bias[1] = read_doubles(r, "transformer.h.0.post_attention_layernorm.bias");
        split_fusion(r);
        read_linear(r, BM_LINEAR_O, "transformer.h.0.self_attention.dense", hidden, hidden);
        read_linear(r, BM_LINEAR_GATE, "transformer.h.0.mlp.dense_h_to_4h", r->wide, hidden);
        read_linear(r, BM_LINEAR_DOWN, "transformer.h.0.mlp.dense_4h_to_h", hidden, r->wide);
        return;
    }
    r->embedding = read_doubles(r, "model.embed_tokens.weight");
    r->norm[0] = read_doubles(r, "model.layers.0.input_layernorm.weight");
    r->norm[1] = read_doubles(r, "model.layers.0.post_attention_layernorm.weight");
    r->head_norm[0] = read_doubles(r, "model.layers.0.self_attn.q_norm.weight");
    r->head_norm[1] = read_doubles(r, "model.layers.0.self_attn.k_norm.weight");
    read_linear(r, BM_LINEAR_Q, "model.layers.0.self_attn.q_proj", query, hidden);
    read_linear(r, BM_LINEAR_K, "model.layers.0.self_attn.k_proj", key, hidden);
    read_linear(r, BM_LINEAR_V, "model.layers.0.self_attn.v_proj", key, hidden);
    read_linear(r, BM_LINEAR_O, "model.layers.0.self_attn.o_proj", hidden, query);
    read_linear(r, BM_LINEAR_GATE, "model.layers.0.mlp.gate_proj", r->wide, hidden);
    read_linear(r, BM_LINEAR_UP, "model.layers.0.mlp.up_proj", r->wide, hidden);
    read_linear(r, BM_LINEAR_DOWN, "model.layers.0.mlp.down_proj", hidden, r->wide);
}

void close_reference(reference *r)
{
    double *const others[] = {r->norm[0],      r->norm[1],   r->norm_bias[0],   r->norm_bias[1],  r->head_norm[0],
                              r->head_norm[1], r->embedding, r->embedding_norm, r->embedding_bias};
    for (size_t i = 0; i < BM_COUNT(others); i++)
        bm_free(others[i]);
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++) {
        bm_free(r->linears[linear]);
        bm_free(r->biases[linear]);
    }
    bm_model_close(&r->model);
}

static void apply_norm(const reference *r, const double *weight, const double *bias, bool is_layer_norm, uint32_t count,
                       const double *x, double *y)
{
    double mean = 0, square = 0;
    for (uint32_t c = 0; c < count && is_layer_norm; c++)
        mean += x[c] / count;
    for (uint32_t c = 0; c < count; c++)
        square += (x[c] - mean) * (x[c] - mean) / count;
    for (uint32_t c = 0; c < count; c++)
        y[c] = (x[c] - mean) / sqrt(square + r->p.rms_norm_eps) * weight[c] + (bias ? bias[c] : 0);
}

// y [tokens, rows] of weights that may be others than the checkpoint's.
static void multiply(const reference *r, bm_linear_id linear, const double *weights, uint32_t tokens, const double *x,
                     double *y)
{
    const uint32_t rows = r->rows[linear], cols = r->cols[linear];
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t o = 0; o < rows; o++) {
            double sum = r->biases[linear] ? r->biases[linear][o] : 0;
            for (uint32_t c = 0; c < cols; c++)
                sum += x[(size_t)t * cols + c] * weights[(size_t)o * cols + c];
            y[(size_t)t * rows + o] = sum;
        }
}

static void rotate(const reference *r, uint32_t position, double *head)
{
    const uint32_t half = r->head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        const double angle = position * pow(r->p.rope_theta, -2.0 * i / r->head_dim), a = head[i], b = head[i + half];
        head[i] = a * cos(angle) - b * sin(angle);
        head[i + half] = b * cos(angle) + a * sin(angle);
    }
}

// One head of one token: what it takes from the values.
static void attend(const reference *r, uint32_t head, uint32_t token, const double *query, const double *keys,
                   const double *values, double *out)
{
    const uint32_t d = r->head_dim, width = r->kv_heads * d, group = r->p.num_heads / r->kv_heads;
    const uint32_t first = r->p.sliding_window && token >= r->p.sliding_window ? token - r->p.sliding_window + 1 : 0;
    double weights[MAX_LENGTH], sum = 0;
    for (uint32_t j = first; j <= token; j++) {
        const double *key = keys + (size_t)j * width + head / group * d;
        double dot = 0;
        for (uint32_t i = 0; i < d; i++)
            dot += query[i] * key[i];
        dot /= sqrt((double)d);
        weights[j] = exp(dot + (r->is_bloom ? bm_alibi_slope(r->p.num_heads, head) * ((double)j - token) : 0));
        sum += weights[j];
    }
    memset(out, 0, d * sizeof *out);
    for (uint32_t j = first; j <= token; j++)
        for (uint32_t i = 0; i < d; i++)
            out[i] += weights[j] / sum * values[(size_t)j * width + head / group * d + i];
}

// out [tokens, hidden_size]: behind o.
static void run_attention(const reference *r, double *const *weights, uint32_t tokens, const double *x, double *out)
{
    const uint32_t d = r->head_dim, heads = r->p.num_heads;
    double *query = bm_alloc((uint64_t)tokens * heads * d, sizeof *query), *key, *value, *attended;
    key = bm_alloc((uint64_t)tokens * r->kv_heads * d, sizeof *key);
    value = bm_alloc((uint64_t)tokens * r->kv_heads * d, sizeof *value);
    attended = bm_alloc((uint64_t)tokens * heads * d, sizeof *attended);
    multiply(r, BM_LINEAR_Q, weights[BM_LINEAR_Q], tokens, x, query);
    multiply(r, BM_LINEAR_K, weights[BM_LINEAR_K], tokens, x, key);
    multiply(r, BM_LINEAR_V, weights[BM_LINEAR_V], tokens, x, value);
    for (uint32_t i = 0; i < tokens * (heads + r->kv_heads); i++) {
        const bool is_query = i < tokens * heads;
        const uint32_t n = is_query ? i : i - tokens * heads, of = is_query ? heads : r->kv_heads;
        double *head = (is_query ? query : key) + (size_t)n * d;
        if (r->head_norm[!is_query])
            apply_norm(r, r->head_norm[!is_query], NULL, false, d, head, head);
        if (!r->is_bloom)
            rotate(r, n / of, head);
    }
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t h = 0; h < heads; h++) {
            const size_t at = ((size_t)t * heads + h) * d;
            attend(r, h, t, query + at, key, value, attended + at);
        }
    multiply(r, BM_LINEAR_O, weights[BM_LINEAR_O], tokens, attended, out);
    bm_free(query);
    bm_free(key);
    bm_free(value);
    bm_free(attended);
}

static double activate(const reference *r, double x)
{
    return r->is_bloom ? x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x))) : x / (1 + exp(-x));
}

// out [tokens, hidden_size]: behind down.
static void run_mlp(const reference *r, double *const *weights, uint32_t tokens, const double *x, double *out)
{
    const uint64_t count = (uint64_t)tokens * r->wide;
    double *gate = bm_alloc(count, sizeof *gate), *up = bm_alloc(count, sizeof *up);
    multiply(r, BM_LINEAR_GATE, weights[BM_LINEAR_GATE], tokens, x, gate);
    if (!r->is_bloom)
        multiply(r, BM_LINEAR_UP, weights[BM_LINEAR_UP], tokens, x, up);
    for (uint64_t i = 0; i < count; i++)
        gate[i] = activate(r, gate[i]) * (r->is_bloom ? 1 : up[i]);
    multiply(r, BM_LINEAR_DOWN, weights[BM_LINEAR_DOWN], tokens, gate, out);
    bm_free(gate);
    bm_free(up);
}

void run_part(const reference *r, bm_stage stage, double *const *weights, uint32_t tokens, const double *x, double *out)
{
    (stage == BM_STAGE_QKV ? run_attention : run_mlp)(r, weights, tokens, x, out);
}

double *inputs_of(const reference *r, bm_stage stage, uint32_t sequence)
{
    const uint32_t hidden = r->p.hidden_size, tokens = r->lengths[sequence];
    double *x = bm_alloc((uint64_t)tokens * hidden, sizeof *x),
           *normed = bm_alloc((uint64_t)tokens * hidden, sizeof *x);
    for (uint32_t t = 0; t < tokens; t++) {
        const double *from = r->embedding + (size_t)r->ids[sequence][t] * hidden;
        double *to = x + (size_t)t * hidden;
        memcpy(to, from, hidden * sizeof *x);
        if (r->is_bloom)
            apply_norm(r, r->embedding_norm, r->embedding_bias, true, hidden, from, to);
    }
    for (uint32_t i = 0; i < (stage == BM_STAGE_QKV ? 1 : 2); i++) {
        if (i == 1) {
            double *out = bm_alloc((uint64_t)tokens * hidden, sizeof *out);
            run_attention(r, r->linears, tokens, normed, out);
            for (uint32_t c = 0; c < tokens * hidden; c++)
                x[c] += out[c];
            bm_free(out);
        }
        for (uint32_t t = 0; t < tokens; t++)
            apply_norm(r, r->norm[i], r->norm_bias[i], r->is_bloom, hidden, x + (size_t)t * hidden,
                       normed + (size_t)t * hidden);
    }
    bm_free(x);
    return normed;
}
