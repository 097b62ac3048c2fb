// AWQ's losses at the output of attention and of the MLP (awq_inspect "block"), on the device that the argument names, beside the same
// in double from the checkpoint's tensors and the token ids alone: families, grouped queries, windows, linears that stay float,
// several batches, sequences that are left out; what does not fit is refused.
#include "support/unit.h"

#include "base/half.h"
#include "base/str.h"
#include "device/backend.h"
#include "ops/alibi.h"
#include "quant/equalize/awq_scales.h"
#include "schedule/run.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *spec;
static bm_device *device;

enum { MAX_SEQUENCES = 80, MAX_LENGTH = 32, MAX_CANDIDATES = 8, NO_SEQUENCE = -1 };

// ---- the model in double

typedef struct reference {
    model_maker_params p;
    uint32_t head_dim, kv_heads, wide;
    bool is_bloom;
    bm_model *model;
    uint32_t num_sequences, lengths[MAX_SEQUENCES], ids[MAX_SEQUENCES][MAX_LENGTH];
    // Of block 0. A linear is [rows, columns]; NULL: the family has none.
    double *norm[2], *norm_bias[2], *head_norm[2], *linears[BM_NUM_LINEARS], *biases[BM_NUM_LINEARS];
    double *embedding, *embedding_norm, *embedding_bias;
    uint32_t rows[BM_NUM_LINEARS], cols[BM_NUM_LINEARS];
} reference;

static double *read_doubles(const reference *r, const char *name)
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

static void open_reference(reference *r, const char *folder)
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

static void close_reference(reference *r)
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

static void run_part(const reference *r, bm_stage stage, double *const *weights, uint32_t tokens, const double *x,
                     double *out)
{
    (stage == BM_STAGE_QKV ? run_attention : run_mlp)(r, weights, tokens, x, out);
}

// Of a sequence: the inputs of a stage behind its norm, in the float model. [tokens, hidden_size]
static double *inputs_of(const reference *r, bm_stage stage, uint32_t sequence)
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

// ---- losses in double

typedef struct expectation {
    uint32_t bits, group_size; // 0: one step a row
    bool symmetric;
    uint32_t num_sampled; // sequences from the first
    int32_t left_out;     // a sequence that gate and up no longer see; NO_SEQUENCE
    uint32_t floats;      // a bit a linear: not quantized
    uint32_t n_grid;
} expectation;

static void round_group(double *w, uint32_t count, const expectation *e)
{
    const double half = ldexp(1, (int)e->bits - 1);
    double low = 0, high = 0, zero = 0;
    for (uint32_t i = 0; i < count; i++) {
        low = fmin(low, w[i]);
        high = fmax(high, w[i]);
    }
    const double step = (double)(float)(e->symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1));
    if (!e->symmetric)
        zero = fmin(fmax(rint(-low / step) - half, -half), half - 1);
    for (uint32_t i = 0; i < count; i++)
        w[i] = (fmin(fmax(rint((double)((float)w[i] / (float)step)) + zero, -half), half - 1) - zero) * step;
}

static bool is_member(const reference *r, const expectation *e, bm_stage stage, bm_linear_id linear)
{
    return r->linears[linear] && bm_linear_stage(linear) == stage && !(e->floats >> linear & 1);
}

// Mean magnitudes of inputs, and of weights beside the largest of their groups.
static void find_means(const reference *r, const expectation *e, bm_stage stage, double *const *inputs, double *m,
                       double *w)
{
    const uint32_t channels = r->p.hidden_size, group = e->group_size ? e->group_size : channels;
    uint64_t tokens = 0, rows = 0;
    for (uint32_t c = 0; c < channels; c++)
        m[c] = w[c] = 0;
    for (uint32_t s = 0; s < r->num_sequences; s++) {
        if (stage == BM_STAGE_GATE_UP && (int32_t)s == e->left_out)
            continue;
        tokens += r->lengths[s];
        for (uint32_t i = 0; i < r->lengths[s] * channels; i++)
            m[i % channels] += fabs(inputs[s][i]);
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        for (uint32_t o = 0; is_member(r, e, stage, linear) && o < r->rows[linear]; o++, rows++)
            for (uint32_t first = 0; first < channels; first += group) {
                const double *row = r->linears[linear] + (size_t)o * channels;
                double largest = 0;
                for (uint32_t c = first; c < first + group; c++)
                    largest = fmax(largest, fabs(row[c]));
                for (uint32_t c = first; c < first + group; c++)
                    w[c] += fabs(row[c]) / largest;
            }
    for (uint32_t c = 0; c < channels; c++) {
        m[c] /= (double)tokens;
        w[c] /= (double)rows;
    }
}

static double *rounded(const reference *r, const expectation *e, bm_linear_id linear, const float *scales)
{
    const uint32_t cols = r->cols[linear], group = e->group_size ? e->group_size : cols;
    const uint64_t count = (uint64_t)r->rows[linear] * cols;
    double *w = bm_alloc(count, sizeof *w);
    for (uint64_t i = 0; i < count; i++)
        w[i] = (double)((float)r->linears[linear][i] * scales[i % cols]);
    for (uint64_t i = 0; i < count; i += group)
        round_group(w + i, group, e);
    for (uint64_t i = 0; i < count; i++)
        w[i] /= (double)scales[i % cols];
    return w;
}

static double loss_of(const reference *r, const expectation *e, bm_stage stage, double *const *inputs,
                      const float *scales)
{
    const uint32_t hidden = r->p.hidden_size;
    double *weights[BM_NUM_LINEARS], loss = 0, want[MAX_LENGTH * 64], found[MAX_LENGTH * 64];
    uint64_t tokens = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        weights[linear] = is_member(r, e, stage, linear) ? rounded(r, e, linear, scales) : r->linears[linear];
    for (uint32_t s = 0; s < e->num_sampled; s++) {
        if ((int32_t)s == e->left_out)
            continue;
        run_part(r, stage, r->linears, r->lengths[s], inputs[s], want);
        run_part(r, stage, weights, r->lengths[s], inputs[s], found);
        for (uint32_t t = 0; t < r->lengths[s]; t++) {
            double error = 0, norm = 0;
            for (uint32_t i = t * hidden; i < (t + 1) * hidden; i++) {
                error += (want[i] - found[i]) * (want[i] - found[i]);
                norm += want[i] * want[i];
            }
            loss += norm < (double)FLT_MAX ? error : 0;
            tokens += norm < (double)FLT_MAX;
        }
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (weights[linear] != r->linears[linear])
            bm_free(weights[linear]);
    return loss / (double)tokens / hidden;
}

// ---- runs

typedef struct run {
    char *output;
    bm_quantize_result result;
} run;

static bm_status quantize(run *r, const char *folder, const char *keys, bm_error *err)
{
    bm_arguments *arguments = NULL;
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_status status = BM_OK;
    char *text =
        bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s/out\",\"dataset_name_or_path\":\"%s/ids.jsonl\","
                  "\"do_ptq\":true,\"do_awq\":true,%s\"awq_n_grid\":3,\"keep_order\":true,"
                  "\"per_device_train_batch_size\":2,\"max_length\":64,\"src_length\":32,%s}",
                  folder, r->output = support_folder_create(), folder,
                  strstr(keys, "awq_inspect") ? "" : "\"awq_inspect\":\"block\",", keys);
    const bm_log log = {.level = BM_LOG_ERROR};
    BM_TRY(bm_arguments_read_text(&arguments, text, strlen(text), "test", NULL, err));
    if (arguments->compute_dtype == BM_DTYPE_NONE)
        arguments->compute_dtype = BM_DTYPE_F32;
    BM_TRY(bm_model_open(&model, folder, err));
    BM_TRY(bm_plan_create(arguments, model, &plan, err));
    BM_TRY(bm_plan_load_data(plan, arguments, model, NULL, err));
    const bm_quantize_run_params params = {
        .arguments = arguments, .plan = plan, .model = model, .device = device, .log = &log};
    status = bm_quantize_run(&params, &r->result, err);
done:
    bm_plan_destroy(&plan);
    bm_model_close(&model);
    bm_arguments_destroy(&arguments);
    bm_free(text);
    return status;
}

static void end_run(run *r)
{
    bm_quantize_result_free(&r->result);
    support_folder_remove(&r->output);
}

static void make_ids(reference *r, uint32_t num_sequences, const uint32_t *lengths)
{
    uint32_t state = 12345;
    r->num_sequences = num_sequences;
    for (uint32_t s = 0; s < num_sequences; s++) {
        r->lengths[s] = lengths ? lengths[s] : 30;
        for (uint32_t t = 0; t < r->lengths[s]; t++) {
            state = state * 1664525u + 1013904223u;
            r->ids[s][t] = 3 + (state >> 8) % 250;
        }
    }
}

static void write_ids(const reference *r, const char *folder)
{
    bm_string text = BM_STRING_INIT;
    for (uint32_t s = 0; s < r->num_sequences; s++) {
        (void)bm_string_append(&text, "{\"input_ids\": [");
        for (uint32_t t = 0; t < r->lengths[s]; t++)
            (void)bm_string_append_format(&text, "%s%u", t ? ", " : "", r->ids[s][t]);
        (void)bm_string_append(&text, "]}\n");
    }
    bm_free(support_file_write(folder, "ids.jsonl", bm_string_text(&text), text.length));
    bm_string_free(&text);
}

static reference reference_of(const char *family, uint32_t hidden, uint32_t kv_heads)
{
    reference r = {.is_bloom = strcmp(family, "bloom") == 0};
    model_maker_params_init(&r.p);
    r.p.family = family;
    r.p.hidden_size = hidden;
    r.p.intermediate_size = 64;
    r.p.vocab_size = 260;
    r.p.num_layers = 1;
    r.p.num_kv_heads = r.kv_heads = kv_heads;
    r.p.num_outlier_channels = 2;
    r.p.outlier_scale = 6;
    r.head_dim = r.p.hidden_size / r.p.num_heads;
    r.wide = r.is_bloom ? 4 * r.p.hidden_size : r.p.intermediate_size;
    return r;
}

// Codes are the same but for a few between two that behind scales round the other way, which the identity has not.
static void check_stage(const reference *r, const expectation *e, const bm_stage_record *record, const char *name)
{
    double *inputs[MAX_SEQUENCES], m[64], w[64];
    float scales[64];
    bm_smooth_grid grid;
    bm_error err = {0};
    double least = INFINITY;
    for (uint32_t s = 0; s < r->num_sequences; s++)
        inputs[s] = inputs_of(r, record->stage, s);
    find_means(r, e, record->stage, inputs, m, w);
    assert_ok(bm_awq_grid_create(e->n_grid, true, &grid, &err), &err);
    assert_int_equal(record->search.stride, grid.count);
    assert_int_equal(record->search.num_moves, 1);
    for (uint32_t i = 0; i < grid.count; i++) {
        bm_awq_scales(&grid.candidates[i], r->p.hidden_size, m, w, scales);
        const double want = loss_of(r, e, record->stage, inputs, scales), found = record->search.losses[i];
        least = fmin(least, found);
        if (!(fabs(found - want) <= (i == 0 ? 1e-4 : 1e-2) * want))
            fail_msg("%s, stage %d, candidate %u: found %.10g, expected %.10g", name, (int)record->stage, i, found,
                     want);
    }
    assert_true(record->search.loss == least && record->search.identity_loss == record->search.losses[0]);
    assert_true(isfinite(least));
    bm_smooth_grid_free(&grid);
    for (uint32_t s = 0; s < r->num_sequences; s++)
        bm_free(inputs[s]);
}

static void check(reference *r, const expectation *e, const char *folder, const char *keys)
{
    bm_error err = {0};
    run done = {0};
    uint32_t num_checked = 0;
    char *all = bm_format("%s,\"bits\":%u,\"symmetric\":%s", keys, e->bits, e->symmetric ? "true" : "false");
    open_reference(r, folder);
    if (quantize(&done, folder, all, &err) != BM_OK)
        fail_msg("%s, %s: %s", r->p.family, all, err.message);
    assert_int_equal(done.result.num_skipped_sequences, e->left_out != NO_SEQUENCE);
    for (uint32_t i = 0; i < done.result.num_stages; i++)
        if (done.result.stages[i].stage == BM_STAGE_QKV || done.result.stages[i].stage == BM_STAGE_GATE_UP) {
            char *name = bm_format("%s, %s", r->p.family, all);
            check_stage(r, e, &done.result.stages[i], name);
            bm_free(name);
            num_checked++;
        }
    assert_int_equal(num_checked, 2);
    end_run(&done);
    close_reference(r);
    bm_free(all);
}

#define ROWS "\"quant_type\":\"wint4\""
#define GROUPS ROWS ",\"weight_quant_method\":\"groupwise\",\"group_size\":32"

static const uint32_t six[] = {12, 20, 7, 16, 3, 24};

static void losses_are_those_of_the_block(void **state)
{
    static const struct {
        const char *family;
        uint32_t kv_heads, window;
        bool biases;
        const char *keys;
        expectation e;
    } cases[] = {
        {"llama", 2, 0, false, ROWS ",\"search_tokens\":40", {4, 0, true, 3, NO_SEQUENCE, 0, 3}},
        {"llama", 4, 0, true, ROWS ",\"search_tokens\":5", {3, 0, true, 1, NO_SEQUENCE, 0, 3}},
        {"llama", 4, 0, true, ROWS ",\"awq_step\":1", {4, 0, false, 2, NO_SEQUENCE, 0, 3}},
        {"mistral", 1, 6, false, ROWS, {4, 0, true, 6, NO_SEQUENCE, 0, 3}},
        {"qwen2", 2, 0, false, ROWS, {4, 0, false, 6, NO_SEQUENCE, 0, 3}},
        {"qwen3", 2, 0, true, ROWS, {3, 0, true, 6, NO_SEQUENCE, 0, 3}},
        {"bloom", 4, 0, true, ROWS, {4, 0, true, 6, NO_SEQUENCE, 0, 3}},
        {"llama",
         2,
         0,
         false,
         ROWS ",\"skip_list_names\":[\"v_proj\",\"up_proj\",\"o_proj\"]",
         {4, 0, true, 6, NO_SEQUENCE, 1u << BM_LINEAR_V | 1u << BM_LINEAR_UP, 3}},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        reference r = reference_of(cases[i].family, 32, cases[i].kv_heads);
        char *folder = support_folder_create();
        r.p.sliding_window = cases[i].window;
        r.p.attention_bias = cases[i].biases && !r.is_bloom;
        r.p.mlp_bias = cases[i].biases && strcmp(cases[i].family, "llama") == 0;
        make_ids(&r, cases[i].e.num_sampled == 2 ? 4 : BM_COUNT(six), six);
        assert_ok(model_maker_write(&r.p, folder, &err), &err);
        write_ids(&r, folder);
        if (cases[i].e.num_sampled == 2)
            r.num_sequences = 2; // those that statistics are of
        check(&r, &cases[i].e, folder, cases[i].keys);
        support_folder_remove(&folder);
    }
}

// Of 75 sequences of 30 tokens a batch holds 68, the sample 70.
static void samples_go_over_batches(void **state)
{
    static const expectation e = {4, 32, true, 70, NO_SEQUENCE, 0, 3};
    bm_error err = {0};
    reference r = reference_of("llama", 64, 2);
    char *folder = support_folder_create();
    (void)state;
    make_ids(&r, 75, NULL);
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    write_ids(&r, folder);
    check(&r, &e, folder, GROUPS ",\"search_tokens\":2110,\"awq_step\":-1,\"ptq_step\":-1");
    support_folder_remove(&folder);
}

// Channel 9 of the stream is a token's own, and the norm in front of gate and up multiplies it.
static void check_overflow(const expectation *e, float factor, float row_factor)
{
    static const struct {
        const char *name;
        uint32_t rows, cols;
        bool is_row;
    } cleared[] = {{"model.embed_tokens.weight", 260, 32, false},
                   {"model.layers.0.self_attn.o_proj.weight", 32, 32, true},
                   {"model.layers.0.mlp.down_proj.weight", 32, 64, true}};
    bm_error err = {0};
    reference r = reference_of("llama", 32, 2);
    char *folder = support_folder_create();
    float values[260 * 32];
    make_ids(&r, BM_COUNT(six), six);
    r.ids[2][3] = 259;
    r.p.num_outlier_channels = 0;
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    for (size_t i = 0; i <= BM_COUNT(cleared); i++) {
        const char *name = i < BM_COUNT(cleared) ? cleared[i].name : "model.layers.0.post_attention_layernorm.weight";
        const uint32_t rows = i < BM_COUNT(cleared) ? cleared[i].rows : 1,
                       cols = i < BM_COUNT(cleared) ? cleared[i].cols : 32;
        assert_ok(bm_model_open(&r.model, folder, &err), &err);
        double *old = read_doubles(&r, name);
        bm_model_close(&r.model);
        for (uint32_t k = 0; k < rows * cols; k++)
            values[k] = i < BM_COUNT(cleared) && (cleared[i].is_row ? k / cols : k % cols) == 9 ? 0 : (float)old[k];
        if (i == 0)
            values[259 * 32 + 9] = 1;
        if (i == BM_COUNT(cleared))
            values[9] = factor;
        for (uint32_t k = 0; i == 2 && k < cols; k++)
            values[k] *= row_factor;
        support_tensor_write(folder, name, values, rows * cols * sizeof *values);
        bm_free(old);
    }
    write_ids(&r, folder);
    check(&r, e, folder, ROWS ",\"skip_bad_sequences\":true");
    support_folder_remove(&folder);
}

// Beyond float32: the sequence counts in the means of q, k and v, whose inputs are finite, but in no loss. Less: all inputs are
// finite, but not the square of the token's outputs, so that the token alone does not count.
static void what_overflows_later_loses_nothing(void **state)
{
    static const expectation sequence = {4, 0, true, 6, 2, 0, 3}, token = {4, 0, true, 6, NO_SEQUENCE, 0, 3};
    (void)state;
    check_overflow(&sequence, 1e30f, 1);
    check_overflow(&token, 1e8f, 1e6f);
}

// Sequences of 12, 20 and 7 tokens are kept twice, 32 channels wide, beside two matrices of outputs, sums, and gate's 64 rows three
// times; a single sequence comes whole where fewer tokens are asked for.
static void samples_beyond_the_device_are_refused(void **state)
{
    static const uint64_t sample = UINT64_C(4) * 39 * (2 * 32 + 2 * 32 + 4) + UINT64_C(4) * 3 * 64 * 32;
    static const struct {
        const char *keys;
        uint64_t memory_bytes, max_allocation_bytes; // 0: the device's
        const char *words;                           // NULL: it runs
    } cases[] = {
        {ROWS ",\"search_tokens\":40", sample, 0, NULL},
        {ROWS ",\"search_tokens\":40", sample - 1, 0,
         "test: \"awq_inspect\": \"block\": whole sequences of 39 tokens (\"search_tokens\": 40) take 0.0 MB, expected "
         "at most "
         "0.0, the memory of "},
        {ROWS ",\"search_tokens\":40,\"awq_inspect\":\"linear\"", sample - 1, 0, NULL},
        {ROWS ",\"search_tokens\":40,\"skip_list_names\":[\"gate_proj\",\"up_proj\"]", sample - 1, 0, NULL},
        {ROWS ",\"search_tokens\":1", 0, UINT64_C(12) * 32 * 4 - 1,
         "test: \"awq_inspect\": \"block\": outputs of whole sequences of 12 tokens (\"search_tokens\": 1) take 0.0 "
         "MB, expected "
         "at most 0.0, the largest buffer of "},
    };
    const bm_device_limits limits = device->info.limits;
    bm_error err = {0};
    reference r = reference_of("llama", 32, 2);
    char *folder = support_folder_create();
    (void)state;
    make_ids(&r, BM_COUNT(six), six);
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    write_ids(&r, folder);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        run done = {0};
        if (cases[i].memory_bytes)
            device->info.limits.memory_bytes = cases[i].memory_bytes;
        if (cases[i].max_allocation_bytes)
            device->info.limits.max_allocation_bytes = cases[i].max_allocation_bytes;
        const bm_status status = quantize(&done, folder, cases[i].keys, &err);
        device->info.limits = limits;
        if (status != (cases[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (cases[i].words && !strstr(err.message, cases[i].words)))
            fail_msg("case %zu: %d: %s", i, (int)status, err.message);
        assert_int_equal(support_folder_has(done.output, "out"), status == BM_OK);
        end_run(&done);
    }
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_block),
        cmocka_unit_test(samples_go_over_batches),
        cmocka_unit_test(what_overflows_later_loses_nothing),
        cmocka_unit_test(samples_beyond_the_device_are_refused),
    };
    support_log log;
    bm_error err = {0};
    spec = argc > 1 ? argv[1] : "host";
    support_log_init(&log);
    if (support_device_open(spec, &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        return 1;
    }
    if (device && support_is_instrumented()) // its loops are long
        bm_device_close(&device);
    if (!device)
        return SUPPORT_SKIP;
    int failures = cmocka_run_group_tests_name("awq_block", tests, NULL, NULL);
    bm_device_close(&device);
    if (log.num_complaints > 0) {
        printf("%u complaints of validation\n", log.num_complaints);
        failures++;
    }
    return failures;
}
