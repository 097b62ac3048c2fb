// Benchmarks of operations other than the matrix product: a table of how each is run and what it costs.
#include "ops/attention.h"
#include "bench/benchmark.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/gemm_int8.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/rounding.h"
#include "ops/rope.h"
#include "ops/statistics.h"

#include <stdio.h>
#include <string.h>

// Sizes of a Llama-3-8B block over 2048 tokens; CPU devices get 256, so that a run takes seconds.
enum {
    GPU_TOKENS = 2048,
    CPU_TOKENS = 256,
    HIDDEN = 4096,
    HEADS = 32,
    KEY_VALUE_HEADS = 8,
    HEAD_DIM = 128,
    VOCABULARY = 4096,
    GROUP_SIZE = 128
};

// Everything that an operation of the table may read or write.
typedef struct operation_work {
    bm_dtype dtype;
    uint32_t tokens;
    bm_tensor x, y, z, weight; // [tokens, HIDDEN], and [1, HIDDEN]
    bm_tensor key, value;      // [tokens, KEY_VALUE_HEADS * HEAD_DIM]
    bm_tensor logits, others;  // [tokens, VOCABULARY] float32
    bm_tensor steps, zeros;    // [tokens, HIDDEN / GROUP_SIZE]
    bm_tensor codes, words;    // [tokens, HIDDEN] int8, and packed to 4 bits
    bm_tensor sums;            // [tokens, 4]
    bm_tensor ranges;          // [3, HIDDEN] float32
    bm_buffer *integers;       // [2, tokens] u32: 0 .. tokens - 1; zeros
    bm_view positions, first_key;
    bm_rope_tables *rope;
    bm_loss *loss, *other_loss;
} operation_work;

static bm_status run_rmsnorm(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_rmsnorm(d, &w->x, &w->weight, 1e-5f, &w->y, err);
}

static bm_status run_add(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_add(d, &w->x, &w->y, &w->z, err);
}

static bm_status run_convert(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_convert(d, &w->x, &w->logits, NULL, err);
}

static bm_status run_gate(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_gate(d, BM_ACTIVATION_SILU, &w->x, &w->y, &w->z, err);
}

static bm_status run_embedding(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_embedding(d, w->positions, &w->x, 0, w->tokens, &w->y, err);
}

static bm_status run_rope(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_rope_apply(d, w->rope, &w->y, HEAD_DIM, w->positions, false, err);
}

static bm_status run_attention(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    const bm_attention_params params = {HEADS,        KEY_VALUE_HEADS, HEAD_DIM, 0.088388f,
                                        w->first_key, w->positions,    {0},      0};
    return bm_attention(d, &w->x, &w->key, &w->value, &params, &w->z, err);
}

static bm_status run_cross_entropy(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    const bm_status status = bm_loss_begin(d, w->loss, w->tokens, err);
    return status == BM_OK ? bm_loss_add(d, w->loss, &w->logits, w->positions, 0, err) : status;
}

static bm_status run_divergence(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_loss_add_divergence(d, w->other_loss, w->loss, &w->others, &w->logits, err);
}

static bm_status run_row_error(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_row_error(d, &w->x, &w->z, &w->sums, err);
}

static bm_status run_column_range(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    const bm_tensor minimum = bm_tensor_rows(&w->ranges, 0, 1), maximum = bm_tensor_rows(&w->ranges, 1, 1);
    const bm_tensor sum = bm_tensor_rows(&w->ranges, 2, 1);
    return bm_column_range(d, &w->x, &w->tokens, 1, &minimum, &maximum, &sum, BM_MOMENT_NONE, NULL, err);
}

static bm_status run_grid_search(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    const bm_grid_params grid = {
        .bits = 4, .group_size = GROUP_SIZE, .symmetric = true, .scale_dtype = BM_DTYPE_F16, .search = true};
    return bm_grid_search(d, &w->x, &grid, NULL, &w->steps, &w->zeros, err);
}

static bm_status run_quantize(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_quantize(d, &w->x, &w->steps, &w->zeros, GROUP_SIZE, 4, &w->codes, err);
}

static bm_status run_quantize_rows(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    const bm_quantize_rows_params params = {.name = "benchmark", .per_row = true};
    return bm_quantize_rows(d, &w->x, &params, &(bm_int8_rows){w->codes, w->sums}, err);
}

static bm_status run_dequantize(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_dequantize(d, &w->codes, &w->steps, &w->zeros, GROUP_SIZE, &w->z, err);
}

static bm_status run_fake_quantize(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_fake_quantize(d, &w->x, &w->steps, &w->zeros, GROUP_SIZE, 4, &w->z, err);
}

// Any positive numbers do for the ranges.
static bm_status run_group_normalize(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_group_normalize(d, &w->x, GROUP_SIZE, &w->steps, &w->steps, &w->others, err);
}

static bm_status run_pack(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_pack_codes(d, &w->codes, 4, &w->words, err);
}

static bm_status run_unpack(void *user, bm_device *d, bm_error *err)
{
    const operation_work *w = user;
    return bm_unpack_codes(d, &w->words, 4, &w->codes, err);
}

// Costs by element of [tokens, HIDDEN]: operations, bytes in the storage type (matrices read and written), other bytes.
// The order is an order of running: later rows read what earlier ones wrote.
static const struct {
    const char *name;
    bm_benchmark_work run;
    double operations, matrices, bytes;
} table[] = {
    {"rmsnorm", run_rmsnorm, 4, 2, 0},
    {"add", run_add, 1, 3, 0},
    {"convert", run_convert, 0, 1, 4},
    {"gate", run_gate, 8, 3, 0},
    {"embedding", run_embedding, 0, 2, 0},
    {"rope", run_rope, 3, 2, 0},
    // Two products of 2 operations an element and key; causal, so half of the tokens are keys on average.
    {"attention", run_attention, 2, 2 + 2.0 * KEY_VALUE_HEADS / HEADS, 0},
    {"cross_entropy", run_cross_entropy, 3, 0, 4},
    {"kl_divergence", run_divergence, 8, 0, 8},
    {"row_error", run_row_error, 8, 2, 0},
    {"column_range", run_column_range, 5, 1, 0},
    {"grid_search", run_grid_search, 9.0 * 86, 1, 0},
    {"quantize", run_quantize, 5, 1, 1},
    {"quantize_rows", run_quantize_rows, 8, 1, 1},
    {"dequantize", run_dequantize, 2, 1, 1},
    {"fake_quantize", run_fake_quantize, 7, 2, 0},
    {"group_normalize", run_group_normalize, 6, 1, 4},
    {"pack_codes", run_pack, 0, 0, 1.5},
    {"unpack_codes", run_unpack, 0, 0, 1.5},
};

uint32_t bm_benchmark_num_operations(void)
{
    return BM_COUNT(table);
}

static bm_status create_integers(bm_device *device, operation_work *w, bm_error *err)
{
    const uint64_t bytes = w->tokens * sizeof(uint32_t);
    uint32_t *words = bm_alloc_zero(2 * (uint64_t)w->tokens, sizeof *words);
    bm_status status = BM_OK;
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < w->tokens; i++)
        words[i] = i;
    BM_TRY(bm_buffer_create(device, 2 * bytes, "integers", &w->integers, err));
    BM_TRY(bm_upload(device, bm_view_part(bm_buffer_view(w->integers), 0, 2 * bytes), words, 2 * bytes, err));
    w->positions = bm_view_part(bm_buffer_view(w->integers), 0, bytes);
    w->first_key = bm_view_part(bm_buffer_view(w->integers), bytes, bytes);
done:
    bm_free(words);
    return status;
}

static bm_status create_matrices(bm_device *device, operation_work *w, bm_error *err)
{
    const uint32_t groups = HIDDEN / GROUP_SIZE, narrow = KEY_VALUE_HEADS * HEAD_DIM;
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_create(device, w->dtype, w->tokens, HIDDEN, "x", &w->x, err));
    BM_TRY(bm_tensor_create(device, w->dtype, w->tokens, HIDDEN, "y", &w->y, err));
    BM_TRY(bm_tensor_create(device, w->dtype, w->tokens, HIDDEN, "z", &w->z, err));
    BM_TRY(bm_tensor_create(device, w->dtype, 1, HIDDEN, "weight", &w->weight, err));
    BM_TRY(bm_tensor_create(device, w->dtype, w->tokens, narrow, "key", &w->key, err));
    BM_TRY(bm_tensor_create(device, w->dtype, w->tokens, narrow, "value", &w->value, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->tokens, VOCABULARY, "logits", &w->logits, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->tokens, VOCABULARY, "others", &w->others, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->tokens, groups, "steps", &w->steps, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I32, w->tokens, groups, "zero points", &w->zeros, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_I8, w->tokens, HIDDEN, "codes", &w->codes, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_U32, w->tokens, HIDDEN / 8, "words", &w->words, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->tokens, 4, "sums", &w->sums, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 3, HIDDEN, "ranges", &w->ranges, err));
    const bm_tensor *const filled[] = {&w->x, &w->y, &w->z, &w->weight, &w->key, &w->value, &w->logits, &w->others};
    for (uint32_t i = 0; i < BM_COUNT(filled); i++)
        BM_TRY(bm_benchmark_fill(device, filled[i], i + 1, 0, err));
done:
    return status;
}

// What later operations need of earlier ones: steps, codes and words of x, and finished softmaxes.
static bm_status prepare(bm_device *device, operation_work *w, bm_error *err)
{
    const bm_rope_config rope = {.scaling = BM_ROPE_DEFAULT, .theta = 500000, .factor = 1};
    bm_status status = BM_OK;
    BM_TRY(create_integers(device, w, err));
    BM_TRY(create_matrices(device, w, err));
    BM_TRY(bm_rope_tables_create(device, &rope, HEAD_DIM, w->tokens, &w->rope, err));
    BM_TRY(bm_loss_create(device, w->tokens, &w->loss, err));
    BM_TRY(bm_loss_create(device, w->tokens, &w->other_loss, err));
    BM_TRY(run_cross_entropy(w, device, err));
    BM_TRY(bm_loss_begin(device, w->other_loss, w->tokens, err));
    BM_TRY(bm_loss_add(device, w->other_loss, &w->others, w->positions, 0, err));
    BM_TRY(run_grid_search(w, device, err));
    BM_TRY(run_quantize(w, device, err));
    BM_TRY(run_pack(w, device, err));
    BM_TRY(bm_device_wait(device, err));
done:
    return status;
}

static void destroy(operation_work *w)
{
    bm_tensor *const all[] = {&w->x,      &w->y,     &w->z,     &w->weight, &w->key,   &w->value, &w->logits,
                              &w->others, &w->steps, &w->zeros, &w->codes,  &w->words, &w->sums,  &w->ranges};
    for (uint32_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_buffer_destroy(&w->integers);
    bm_rope_tables_destroy(&w->rope);
    bm_loss_destroy(&w->loss);
    bm_loss_destroy(&w->other_loss);
}

uint32_t bm_benchmark_find_operation(const char *name)
{
    for (uint32_t i = 0; i < BM_COUNT(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return i;
    return UINT32_MAX;
}

bm_status bm_benchmark_operation(bm_device *device, uint32_t index, bm_dtype dtype, const bm_benchmark_limits *limits,
                                 bm_benchmark_stop stop, bm_benchmark_result *out, bm_error *err)
{
    bm_status status = BM_OK;
    const bool is_cpu = bm_device_get_info(device)->kind == BM_DEVICE_CPU || bm_device_is_host(device);
    operation_work w = {.dtype = dtype, .tokens = is_cpu ? CPU_TOKENS : GPU_TOKENS};
    const double elements = (double)w.tokens * HIDDEN;
    const double keys = table[index].run == run_attention ? w.tokens + 1.0 : 1;
    bm_benchmark_result result = {.shape = {w.tokens, HIDDEN}, .num_shape = 2};
    snprintf(result.name, sizeof result.name, "%s", table[index].name);
    BM_TRY(prepare(device, &w, err));
    BM_TRY(bm_benchmark_measure(device, table[index].run, &w, stop, &result.time, err));
    bm_benchmark_fill_rates(&result, table[index].operations * keys * elements,
                            (table[index].matrices * bm_dtype_size(dtype) + table[index].bytes) * elements, limits);
    *out = result;
done:
    destroy(&w);
    return status;
}
