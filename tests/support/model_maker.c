#include "support/model_maker.h"

#include "base/file.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/thread.h"
#include "base/worker.h"
#include "formats/checkpoint_writer.h"
#include "formats/json.h"
#include "support/noise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void model_maker_params_init(model_maker_params *params)
{
    *params = (model_maker_params){
        .family = "llama",
        .hidden_size = 64,
        .intermediate_size = 160,
        .num_layers = 2,
        .num_heads = 4,
        .num_kv_heads = 2,
        .vocab_size = 512,
        .max_positions = 256,
        .dtype = BM_DTYPE_F32,
        .hidden_act = "silu",
        .rms_norm_eps = 1e-5,
        .rope_theta = 10000.0,
        .query_scalar = 24,
        .local_rope_theta = 500,
        .outlier_scale = 16,
        .seed = 1,
    };
}

static bool is_family(const model_maker_params *p, const char *family)
{
    return strcmp(p->family, family) == 0;
}
static bool is_qwen(const model_maker_params *p)
{
    return is_family(p, "qwen2") || is_family(p, "qwen3");
}
static bool is_gemma(const model_maker_params *p)
{
    return is_family(p, "gemma2") || is_family(p, "gemma3_text");
}
static bool is_bloom(const model_maker_params *p)
{
    return is_family(p, "bloom");
}
static uint32_t head_dim_of(const model_maker_params *p)
{
    return p->head_dim ? p->head_dim : p->hidden_size / p->num_heads;
}

// Keys beside the type, and whether original_max_position_embeddings is one: half of max_positions.
typedef struct rope_type {
    const char *name;
    struct {
        const char *key;
        double value;
    } keys[5];
    bool has_original;
} rope_type;
static const rope_type rope_types[] = {
    {"linear", {{"factor", 2.0}}, false},
    {"llama3", {{"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}}, true},
    {"dynamic", {{"factor", 4.0}}, false},
    {"yarn", {{"factor", 4.0}, {"beta_fast", 8.0}}, true},
    {"yarn-mscale", {{"factor", 4.0}, {"beta_slow", 0.5}, {"mscale", 0.7}, {"mscale_all_dim", 0.2}}, true},
};

static const rope_type *find_rope_type(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(rope_types); i++)
        if (strcmp(rope_types[i].name, name) == 0)
            return &rope_types[i];
    return NULL;
}

static bm_status check_params(const model_maker_params *p, bm_error *err)
{
    if (!is_family(p, "llama") && !is_family(p, "mistral") && !is_qwen(p) && !is_family(p, "phi3") && !is_gemma(p) &&
        !is_bloom(p))
        return bm_fail(err, BM_E_ARGUMENT,
                       "family \"%s\", expected llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3_text or bloom",
                       p->family);
    if (is_bloom(p) && (p->head_dim || p->hidden_size % p->num_heads != 0))
        return bm_fail(err, BM_E_ARGUMENT, "bloom: %u heads do not divide %u", p->num_heads, p->hidden_size);
    if (!p->hidden_size || !p->intermediate_size || !p->num_layers || !p->num_heads || !p->num_kv_heads ||
        !p->vocab_size || !p->max_positions || head_dim_of(p) == 0)
        return bm_fail(err, BM_E_ARGUMENT, "a size is 0");
    if (!is_bloom(p) && p->num_heads % p->num_kv_heads != 0)
        return bm_fail(err, BM_E_ARGUMENT, "%u heads are no multiple of %u key and value heads", p->num_heads,
                       p->num_kv_heads);
    if (head_dim_of(p) % 2 != 0)
        return bm_fail(err, BM_E_ARGUMENT, "head_dim %u is odd", head_dim_of(p));
    if (p->dtype != BM_DTYPE_F32 && p->dtype != BM_DTYPE_F16 && p->dtype != BM_DTYPE_BF16)
        return bm_fail(err, BM_E_ARGUMENT, "type %s, expected F32, F16 or BF16", bm_dtype_name(p->dtype));
    if (p->num_outlier_channels > p->hidden_size || !(p->outlier_scale > 0))
        return bm_fail(err, BM_E_ARGUMENT, "%u outlier channels of %u, scale %g", p->num_outlier_channels,
                       p->hidden_size, (double)p->outlier_scale);
    if (p->rope_scaling && !find_rope_type(p->rope_scaling))
        return bm_fail(err, BM_E_ARGUMENT, "rope scaling \"%s\", expected linear, llama3, dynamic or yarn",
                       p->rope_scaling);
    if (p->sliding_window && (is_family(p, "llama") || is_bloom(p)))
        return bm_fail(err, BM_E_ARGUMENT, "%s has no sliding window", p->family);
    if (p->attention_bias && !is_family(p, "llama") && !is_family(p, "qwen3") && !is_gemma(p))
        return bm_fail(err, BM_E_ARGUMENT, "%s has no attention_bias", p->family);
    if (p->mlp_bias && !is_family(p, "llama"))
        return bm_fail(err, BM_E_ARGUMENT, "%s has no mlp_bias", p->family);
    return BM_OK;
}

// What a tensor is filled with.
typedef enum fill { FILL_MATRIX, FILL_BIAS, FILL_NORM, FILL_NORM_BIAS } fill;

typedef struct made_tensor {
    char name[96];
    uint64_t rows, columns; // a vector has one row
    fill fill;
    double scale;        // standard deviation
    bool reads_residual; // its columns (or, of a norm, its entries) are the residual's channels behind a block's norm
} made_tensor;

typedef struct maker {
    const model_maker_params *params;
    bm_checkpoint_writer *writer;
    bm_worker *writing;
    uint8_t *is_outlier; // [hidden_size]
    bool declaring;      // first pass: declare; second pass: write
    bm_error *err;
} maker;

#define PIECE (UINT64_C(1) << 22)          // elements that are made by all threads, while the piece before is written
#define LEAST_RANGE (UINT64_C(1) << 16)    // of those, a thread
#define WRITING_BYTES (UINT64_C(64) << 20) // of pieces that wait

// Elements of a tensor on their way into its file.
typedef struct piece {
    const maker *maker;
    char name[96];
    const made_tensor *tensor; // while elements are made
    bm_random random;          // in front of the tensor's first element
    uint64_t begin, count;
    uint8_t *bytes;
} piece;

enum { BLOCK = 1 << 13 }; // elements of a piece that are made at a time

// Rounds finite values as bm_store_real does, on little-endian machines.
static void store(const float *values, uint64_t count, bm_dtype dtype, uint8_t *out)
{
    uint16_t halves[BLOCK];
    if (dtype == BM_DTYPE_F32) {
        memcpy(out, values, count * sizeof *values);
        return;
    }
    if (dtype == BM_DTYPE_F16)
        bm_f32_to_f16_all(values, count, halves);
    for (uint64_t i = 0; i < count && dtype == BM_DTYPE_BF16; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        halves[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    memcpy(out, halves, count * sizeof *halves);
}

static float outlier_of(const maker *m, const made_tensor *t, bm_random *random)
{
    const double normal = t->scale * bm_random_normal(random), scale = m->params->outlier_scale;
    const double one = is_gemma(m->params) ? 1 : 0; // which such norms add to what a file holds
    return (float)(t->fill == FILL_NORM        ? (1 + normal) * scale - one
                   : t->fill == FILL_NORM_BIAS ? normal * scale
                                               : normal / scale);
}

static void make_range(void *user, uint64_t begin, uint64_t end)
{
    const piece *p = user;
    const maker *m = p->maker;
    const made_tensor *t = p->tensor;
    const bool has_outliers = t->reads_residual && m->params->num_outlier_channels > 0;
    const uint32_t width = bm_dtype_size(m->params->dtype);
    float values[BLOCK];
    for (uint64_t at = begin; at < end; at += BLOCK) {
        const uint64_t count = bm_min_u64(BLOCK, end - at), first = p->begin + at;
        noise_fill(&p->random, first, count, t->fill == FILL_NORM && !is_gemma(m->params) ? 1 : 0, t->scale, values);
        uint64_t column = first % t->columns;
        for (uint64_t i = 0; i < count && has_outliers; i++) {
            if (m->is_outlier[column]) {
                bm_random random = p->random;
                bm_random_advance(&random, NOISE_DRAWS * (first + i));
                values[i] = outlier_of(m, t, &random);
            }
            column = column + 1 < t->columns ? column + 1 : 0;
        }
        store(values, count, m->params->dtype, p->bytes + at * width);
    }
}

static bm_status write_piece(void *context, bm_error *err)
{
    const piece *p = context;
    const uint32_t width = bm_dtype_size(p->maker->params->dtype);
    return bm_checkpoint_writer_put(p->maker->writer, p->name, p->begin * width, p->bytes, p->count * width, err);
}

static void discard_piece(void *context)
{
    piece *p = context;
    bm_free(p->bytes);
    bm_free(p);
}

static bm_status put_tensor(const maker *m, const made_tensor *t)
{
    const uint32_t width = bm_dtype_size(m->params->dtype);
    const uint64_t count = t->rows * t->columns;
    bm_status status = BM_OK;
    bm_random random;
    bm_random_init(&random, m->params->seed, bm_hash64(t->name, strlen(t->name), 0));
    for (uint64_t begin = 0; begin < count; begin += PIECE) {
        piece *p = bm_alloc_zero(1, sizeof *p);
        BM_FAIL_IF(!p, m->err, BM_E_MEMORY, "out of memory");
        *p = (piece){.maker = m, .tensor = t, .random = random, .begin = begin};
        snprintf(p->name, sizeof p->name, "%s", t->name);
        p->count = bm_min_u64(PIECE, count - begin);
        p->bytes = bm_alloc(p->count, width);
        if (!p->bytes) {
            bm_free(p);
            return bm_fail(m->err, BM_E_MEMORY, "out of memory");
        }
        bm_parallel_for(p->count, LEAST_RANGE, make_range, p);
        const bm_task task = {write_piece, discard_piece, p, p->count * width};
        BM_TRY(bm_worker_push(m->writing, &task, m->err));
    }
done:
    return status;
}

static bm_status visit(const maker *m, const made_tensor *t)
{
    const uint64_t matrix[2] = {t->rows, t->columns}, vector[1] = {t->columns};
    const bool is_matrix = t->fill == FILL_MATRIX;
    if (!m->declaring)
        return put_tensor(m, t);
    return bm_checkpoint_writer_declare(m->writer, t->name, m->params->dtype, is_matrix ? matrix : vector,
                                        is_matrix ? 2 : 1, m->err);
}

// scale is that of a weight which keeps its input's magnitude, 1 / sqrt(inputs), times a factor.
static bm_status visit_linear(const maker *m, uint32_t layer, const char *name, uint64_t out, uint64_t in,
                              double factor, bool has_bias, bool reads_residual)
{
    made_tensor t = {.rows = out,
                     .columns = in,
                     .fill = FILL_MATRIX,
                     .scale = factor / sqrt((double)in),
                     .reads_residual = reads_residual};
    snprintf(t.name, sizeof t.name, "model.layers.%u.%s.weight", layer, name);
    bm_status status = visit(m, &t);
    if (status != BM_OK || !has_bias)
        return status;
    t = (made_tensor){.rows = 1, .columns = out, .fill = FILL_BIAS, .scale = 0.1};
    snprintf(t.name, sizeof t.name, "model.layers.%u.%s.bias", layer, name);
    return visit(m, &t);
}

static bm_status visit_norm(const maker *m, const char *name, uint64_t width, bool reads_residual)
{
    made_tensor t = {.rows = 1, .columns = width, .fill = FILL_NORM, .scale = 0.1, .reads_residual = reads_residual};
    snprintf(t.name, sizeof t.name, "%s", name);
    return visit(m, &t);
}

static bm_status visit_block(const maker *m, uint32_t layer)
{
    const model_maker_params *p = m->params;
    const uint64_t hidden = p->hidden_size, wide = p->intermediate_size, head = head_dim_of(p);
    const uint64_t query = p->num_heads * head, key = p->num_kv_heads * head;
    const bool is_fused = is_family(p, "phi3"), qkv_bias = p->attention_bias || is_family(p, "qwen2");
    // What a block adds to the residual shrinks with the number of blocks, so that its magnitude stays near 1.
    const double back = 1.0 / sqrt(2.0 * p->num_layers);
    bm_status status = BM_OK;
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", layer);
    BM_TRY(visit_norm(m, name, hidden, true));
    if (is_fused) {
        BM_TRY(visit_linear(m, layer, "self_attn.qkv_proj", query + 2 * key, hidden, 1, false, true));
    } else {
        BM_TRY(visit_linear(m, layer, "self_attn.q_proj", query, hidden, 1, qkv_bias, true));
        BM_TRY(visit_linear(m, layer, "self_attn.k_proj", key, hidden, 1, qkv_bias, true));
        BM_TRY(visit_linear(m, layer, "self_attn.v_proj", key, hidden, 1, qkv_bias, true));
    }
    BM_TRY(visit_linear(m, layer, "self_attn.o_proj", hidden, query, back, p->attention_bias, false));
    if (is_family(p, "qwen3") || is_family(p, "gemma3_text")) {
        snprintf(name, sizeof name, "model.layers.%u.self_attn.q_norm.weight", layer);
        BM_TRY(visit_norm(m, name, head, false));
        snprintf(name, sizeof name, "model.layers.%u.self_attn.k_norm.weight", layer);
        BM_TRY(visit_norm(m, name, head, false));
    }
    snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", layer);
    BM_TRY(visit_norm(m, name, hidden, !is_gemma(p)));
    if (is_gemma(p)) {
        snprintf(name, sizeof name, "model.layers.%u.pre_feedforward_layernorm.weight", layer);
        BM_TRY(visit_norm(m, name, hidden, true));
        snprintf(name, sizeof name, "model.layers.%u.post_feedforward_layernorm.weight", layer);
        BM_TRY(visit_norm(m, name, hidden, false));
    }
    if (is_fused) {
        BM_TRY(visit_linear(m, layer, "mlp.gate_up_proj", 2 * wide, hidden, 1, false, true));
    } else {
        BM_TRY(visit_linear(m, layer, "mlp.gate_proj", wide, hidden, 1, p->mlp_bias, true));
        BM_TRY(visit_linear(m, layer, "mlp.up_proj", wide, hidden, 1, p->mlp_bias, true));
    }
    BM_TRY(visit_linear(m, layer, "mlp.down_proj", hidden, wide, back, p->mlp_bias, false));
done:
    return status;
}

// Of the names of bloom's tensors.
static const char *prefix_of(const model_maker_params *p)
{
    return p->without_prefix ? "" : "transformer.";
}

static bm_status visit_layer_norm(const maker *m, const char *module, bool reads_residual)
{
    made_tensor bias = {.rows = 1,
                        .columns = m->params->hidden_size,
                        .fill = FILL_NORM_BIAS,
                        .scale = 0.1,
                        .reads_residual = reads_residual};
    char name[96];
    snprintf(name, sizeof name, "%s%s.weight", prefix_of(m->params), module);
    const bm_status status = visit_norm(m, name, m->params->hidden_size, reads_residual);
    snprintf(bias.name, sizeof bias.name, "%s%s.bias", prefix_of(m->params), module);
    return status == BM_OK ? visit(m, &bias) : status;
}

static bm_status visit_bloom_linear(const maker *m, uint32_t layer, const char *name, uint64_t out, uint64_t in,
                                    double factor, bool reads_residual)
{
    made_tensor t = {.rows = out,
                     .columns = in,
                     .fill = FILL_MATRIX,
                     .scale = factor / sqrt((double)in),
                     .reads_residual = reads_residual};
    made_tensor bias = {.rows = 1, .columns = out, .fill = FILL_BIAS, .scale = 0.1};
    snprintf(t.name, sizeof t.name, "%sh.%u.%s.weight", prefix_of(m->params), layer, name);
    snprintf(bias.name, sizeof bias.name, "%sh.%u.%s.bias", prefix_of(m->params), layer, name);
    const bm_status status = visit(m, &t);
    return status == BM_OK ? visit(m, &bias) : status;
}

static bm_status visit_bloom_block(const maker *m, uint32_t layer)
{
    const uint64_t hidden = m->params->hidden_size;
    const double back = 1.0 / sqrt(2.0 * m->params->num_layers);
    bm_status status = BM_OK;
    char name[96];
    snprintf(name, sizeof name, "h.%u.input_layernorm", layer);
    BM_TRY(visit_layer_norm(m, name, true));
    BM_TRY(visit_bloom_linear(m, layer, "self_attention.query_key_value", 3 * hidden, hidden, 1, true));
    BM_TRY(visit_bloom_linear(m, layer, "self_attention.dense", hidden, hidden, back, false));
    snprintf(name, sizeof name, "h.%u.post_attention_layernorm", layer);
    BM_TRY(visit_layer_norm(m, name, true));
    BM_TRY(visit_bloom_linear(m, layer, "mlp.dense_h_to_4h", 4 * hidden, hidden, 1, true));
    BM_TRY(visit_bloom_linear(m, layer, "mlp.dense_4h_to_h", hidden, 4 * hidden, back, false));
done:
    return status;
}

// All tensors in the order of the model. The embedding's rows have length 1 or so: tied or not, logits then spread by
// about 1.
static bm_status visit_all(const maker *m)
{
    const model_maker_params *p = m->params;
    made_tensor embedding = {.name = "model.embed_tokens.weight",
                             .rows = p->vocab_size,
                             .columns = p->hidden_size,
                             .fill = FILL_MATRIX,
                             .scale = 1.0 / sqrt((double)p->hidden_size)};
    if (is_bloom(p))
        snprintf(embedding.name, sizeof embedding.name, "%sword_embeddings.weight", prefix_of(p));
    made_tensor head = embedding;
    bm_status status = BM_OK;
    snprintf(head.name, sizeof head.name, "lm_head.weight");
    BM_TRY(visit(m, &embedding));
    if (is_bloom(p))
        BM_TRY(visit_layer_norm(m, "word_embeddings_layernorm", false));
    for (uint32_t layer = 0; layer < p->num_layers; layer++)
        BM_TRY(is_bloom(p) ? visit_bloom_block(m, layer) : visit_block(m, layer));
    if (is_bloom(p))
        BM_TRY(visit_layer_norm(m, "ln_f", false));
    else
        BM_TRY(visit_norm(m, "model.norm.weight", p->hidden_size, false));
    if (!p->tie_embeddings)
        BM_TRY(visit(m, &head));
done:
    return status;
}

static bm_status choose_outliers(maker *m)
{
    const uint32_t hidden = m->params->hidden_size;
    uint32_t *order = bm_alloc(hidden, sizeof *order);
    bm_random random;
    m->is_outlier = bm_alloc_zero(hidden, 1);
    if (order && m->is_outlier) {
        for (uint32_t i = 0; i < hidden; i++)
            order[i] = i;
        bm_random_init(&random, m->params->seed, 0);
        bm_random_shuffle(&random, order, hidden);
        for (uint32_t i = 0; i < m->params->num_outlier_channels; i++)
            m->is_outlier[order[i]] = 1;
    }
    const bool failed = !order || !m->is_outlier;
    bm_free(order);
    return failed ? bm_fail(m->err, BM_E_MEMORY, "out of memory") : BM_OK;
}

static bm_status write_weights(const model_maker_params *params, const char *folder, bm_error *err)
{
    const uint64_t shard_bytes = params->max_shard_bytes ? params->max_shard_bytes : UINT64_MAX;
    maker m = {.params = params, .declaring = true, .err = err};
    bm_status status = BM_OK;
    BM_TRY(choose_outliers(&m));
    BM_TRY(bm_checkpoint_writer_create(&m.writer, folder, shard_bytes, err));
    BM_TRY(visit_all(&m));
    BM_TRY(bm_checkpoint_writer_begin(m.writer, err));
    BM_TRY(bm_worker_create(&m.writing, WRITING_BYTES, 1, NULL, BM_TRACK_WRITING, err));
    m.declaring = false;
    BM_TRY(visit_all(&m));
    BM_TRY(bm_worker_finish(m.writing, err));
    status = bm_checkpoint_writer_finish(&m.writer, err);
done:
    bm_worker_destroy(&m.writing);
    bm_checkpoint_writer_destroy(&m.writer);
    bm_free(m.is_outlier);
    return status;
}

static void put_rope_keys(bm_json_writer *json, const model_maker_params *p, const char *type_key)
{
    const rope_type *type = p->rope_scaling ? find_rope_type(p->rope_scaling) : NULL;
    if (!type) {
        bm_json_put_string(json, type_key, "default");
        return;
    }
    bm_json_put_text(json, type_key, type->name, strcspn(type->name, "-"));
    for (size_t i = 0; i < BM_COUNT(type->keys) && type->keys[i].key; i++)
        bm_json_put_double(json, type->keys[i].key, type->keys[i].value);
    if (type->has_original)
        bm_json_put_integer(json, "original_max_position_embeddings", p->max_positions > 1 ? p->max_positions / 2 : 1);
}

static void put_rope(bm_json_writer *json, const model_maker_params *p)
{
    if (p->rope_parameters && is_family(p, "gemma3_text")) { // one for each kind of layers
        bm_json_begin_object(json, "rope_parameters");
        bm_json_begin_object(json, "full_attention");
        put_rope_keys(json, p, "rope_type");
        bm_json_put_double(json, "rope_theta", p->rope_theta);
        bm_json_end_object(json);
        bm_json_begin_object(json, "sliding_attention");
        bm_json_put_string(json, "rope_type", "default");
        bm_json_put_double(json, "rope_theta", p->local_rope_theta);
        bm_json_end_object(json);
        bm_json_end_object(json);
        return;
    }
    if (p->rope_parameters) {
        bm_json_begin_object(json, "rope_parameters");
        put_rope_keys(json, p, "rope_type");
        bm_json_put_double(json, "rope_theta", p->rope_theta);
        bm_json_end_object(json);
        return;
    }
    if (p->rope_scaling) {
        bm_json_begin_object(json, "rope_scaling");
        put_rope_keys(json, p, "rope_type");
        bm_json_end_object(json);
    } else {
        bm_json_put_null(json, "rope_scaling");
    }
    bm_json_put_double(json, "rope_theta", p->rope_theta);
    if (is_family(p, "gemma3_text"))
        bm_json_put_double(json, "rope_local_base_freq", p->local_rope_theta);
}

static void put_window(bm_json_writer *json, const model_maker_params *p)
{
    if (is_family(p, "llama"))
        return;
    if (p->sliding_window)
        bm_json_put_integer(json, "sliding_window", p->sliding_window);
    else if (!is_gemma(p)) // which has one in any case
        bm_json_put_null(json, "sliding_window");
    if (is_qwen(p)) {
        bm_json_put_bool(json, "use_sliding_window", p->sliding_window != 0);
        bm_json_put_integer(json, "max_window_layers", p->max_window_layers);
    }
}

static void put_cap(bm_json_writer *json, const char *key, double cap)
{
    if (cap > 0)
        bm_json_put_double(json, key, cap);
    else
        bm_json_put_null(json, key);
}

static void put_gemma(bm_json_writer *json, const model_maker_params *p)
{
    bm_json_put_integer(json, "query_pre_attn_scalar", p->query_scalar);
    put_cap(json, "attn_logit_softcapping", p->attention_cap);
    put_cap(json, "final_logit_softcapping", p->logit_cap);
    if (p->window_pattern)
        bm_json_put_integer(json, "sliding_window_pattern", p->window_pattern);
}

static void put_llama(bm_json_writer *json, const model_maker_params *p)
{
    bm_json_put_bool(json, "attention_bias", p->attention_bias);
    if (!is_family(p, "qwen2") || p->head_dim) // qwen2 has no such key of its own, but readers honour it
        bm_json_put_integer(json, "head_dim", head_dim_of(p));
    bm_json_put_string(json, is_gemma(p) ? "hidden_activation" : "hidden_act", p->hidden_act);
    bm_json_put_integer(json, "hidden_size", p->hidden_size);
    bm_json_put_integer(json, "intermediate_size", p->intermediate_size);
    bm_json_put_integer(json, "max_position_embeddings", p->max_positions);
    if (is_family(p, "llama"))
        bm_json_put_bool(json, "mlp_bias", p->mlp_bias);
    bm_json_put_integer(json, "num_attention_heads", p->num_heads);
    bm_json_put_integer(json, "num_hidden_layers", p->num_layers);
    bm_json_put_integer(json, "num_key_value_heads", p->num_kv_heads);
    bm_json_put_double(json, "rms_norm_eps", p->rms_norm_eps);
    if (is_family(p, "phi3")) // transformers' own lies outside of small vocabularies
        bm_json_put_integer(json, "pad_token_id", 0);
    put_rope(json, p);
    put_window(json, p);
    if (is_gemma(p))
        put_gemma(json, p);
}

static void put_bloom(bm_json_writer *json, const model_maker_params *p)
{
    bm_json_put_bool(json, "apply_residual_connection_post_layernorm", false);
    bm_json_put_double(json, "hidden_dropout", 0);
    bm_json_put_integer(json, "hidden_size", p->hidden_size);
    bm_json_put_double(json, "layer_norm_epsilon", p->rms_norm_eps);
    bm_json_put_integer(json, "n_head", p->num_heads);
    bm_json_put_integer(json, "n_layer", p->num_layers);
    bm_json_put_integer(json, "pretraining_tp", 1);
    bm_json_put_integer(json, "seq_length", p->max_positions);
    bm_json_put_bool(json, "slow_but_exact", false);
}

static void put_config(bm_json_writer *json, const model_maker_params *p)
{
    static const char *const classes[][2] = {{"llama", "LlamaForCausalLM"},   {"mistral", "MistralForCausalLM"},
                                             {"qwen2", "Qwen2ForCausalLM"},   {"qwen3", "Qwen3ForCausalLM"},
                                             {"phi3", "Phi3ForCausalLM"},     {"gemma3_text", "Gemma3ForCausalLM"},
                                             {"gemma2", "Gemma2ForCausalLM"}, {"bloom", "BloomForCausalLM"}};
    uint32_t bos, eos;
    model_maker_special_ids(p, &bos, &eos);
    bm_json_begin_object(json, NULL);
    bm_json_begin_array(json, "architectures");
    for (size_t i = 0; i < BM_COUNT(classes); i++)
        if (is_family(p, classes[i][0]))
            bm_json_put_string(json, NULL, classes[i][1]);
    bm_json_end_array(json);
    bm_json_put_integer(json, "bos_token_id", bos);
    bm_json_put_integer(json, "eos_token_id", eos);
    bm_json_put_string(json, "model_type", p->family);
    if (is_bloom(p))
        put_bloom(json, p);
    else
        put_llama(json, p);
    bm_json_put_bool(json, "tie_word_embeddings", p->tie_embeddings);
    bm_json_put_string(json, "torch_dtype",
                       p->dtype == BM_DTYPE_F32   ? "float32"
                       : p->dtype == BM_DTYPE_F16 ? "float16"
                                                  : "bfloat16");
    bm_json_put_integer(json, "vocab_size", p->vocab_size);
    bm_json_end_object(json);
}

static bm_status write_config(const model_maker_params *params, const char *folder, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_status status = BM_OK;
    char *path = bm_path_join(folder, "config.json");
    bm_json_writer_init(&json, &text, 2);
    put_config(&json, params);
    (void)bm_string_append(&text, "\n");
    BM_FAIL_IF(!path || text.failed, err, BM_E_MEMORY, "out of memory");
    status = bm_file_write_all(path, text.data, text.length, err);
done:
    bm_free(path);
    bm_string_free(&text);
    return status;
}

bm_status model_maker_write(const model_maker_params *params, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_params(params, err));
    BM_TRY(bm_folder_create(folder, true, err));
    if (params->tokenizer != MODEL_MAKER_NO_TOKENIZER)
        BM_TRY(model_maker_write_tokenizer(params, folder, err));
    BM_TRY(write_config(params, folder, err));
    BM_TRY(write_weights(params, folder, err));
done:
    return status;
}
