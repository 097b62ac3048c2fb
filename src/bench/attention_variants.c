// Attention by every variant that a device has, each checked beside the softmax in double.
#include "ops/attention_split.h"
#include "base/half.h"
#include "bench/each_variant.h"
#include "device/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Of Llama-3-8B, of heads half as wide, short sequences in a pack whose length no tile divides, and one token behind a cache. CPU
// devices get an eighth of the tokens, the host also of the cache.
typedef struct attention_shape {
    uint32_t tokens, heads, kv_heads, head_dim;
    uint32_t sequence; // tokens of a sequence; causal within it
    uint32_t cached;   // keys before the first token, which all tokens see
} attention_shape;
static const attention_shape shapes[] = {{2048, 32, 8, 128, 2048, 0},  {2048, 32, 8, 64, 2048, 0},
                                         {2045, 32, 8, 128, 300, 0},   {1, 32, 8, 128, 1, 2048 - 1},
                                         {1, 32, 8, 128, 1, 8192 - 1}, {1, 32, 8, 128, 1, 32768 - 1}};

typedef struct attention_work {
    bm_dtype dtype;
    attention_shape shape;
    bm_benchmark_stop stop;
    float scale;
    bm_tensor q, k, v, y;
    bm_buffer *integers; // first keys, last keys
    bm_view first_key, last_key;
} attention_work;

uint32_t bm_benchmark_num_attention(void)
{
    return BM_COUNT(shapes);
}

static uint32_t first_key_of(const attention_work *w, uint32_t t)
{
    return w->shape.cached > 0 ? 0 : t - t % w->shape.sequence;
}

static uint32_t last_key_of(const attention_work *w, uint32_t t)
{
    return w->shape.cached + t;
}

static bm_status run(void *user, bm_device *device, bm_error *err)
{
    const attention_work *w = user;
    const bm_attention_params params = {
        w->shape.heads, w->shape.kv_heads, w->shape.head_dim, w->scale, w->first_key, w->last_key, {0}, 0};
    return bm_attention(device, &w->q, &w->k, &w->v, &params, &w->y, err);
}

static bm_status create(bm_device *device, attention_work *w, bm_error *err)
{
    const uint32_t tokens = w->shape.tokens, keys = w->shape.cached + tokens;
    const uint64_t narrow = (uint64_t)w->shape.kv_heads * w->shape.head_dim;
    const uint64_t bytes = tokens * sizeof(uint32_t), begin = bm_round_up(bytes, BM_VIEW_ALIGNMENT); // of the last keys
    uint32_t *words = bm_alloc_zero(begin + bytes, 1);
    bm_status status = BM_OK;
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    for (uint32_t t = 0; t < tokens; t++) {
        words[t] = first_key_of(w, t);
        words[begin / sizeof *words + t] = last_key_of(w, t);
    }
    w->scale = (float)(1 / sqrt(w->shape.head_dim));
    BM_TRY(bm_buffer_create(device, begin + bytes, "integers", &w->integers, err));
    BM_TRY(bm_upload(device, bm_view_part(bm_buffer_view(w->integers), 0, begin + bytes), words, begin + bytes, err));
    w->first_key = bm_view_part(bm_buffer_view(w->integers), 0, bytes);
    w->last_key = bm_view_part(bm_buffer_view(w->integers), begin, bytes);
    BM_TRY(bm_tensor_create(device, w->dtype, tokens, (uint64_t)w->shape.heads * w->shape.head_dim, "q", &w->q, err));
    BM_TRY(bm_tensor_create(device, w->dtype, keys, narrow, "k", &w->k, err));
    BM_TRY(bm_tensor_create(device, w->dtype, keys, narrow, "v", &w->v, err));
    BM_TRY(bm_tensor_create(device, w->dtype, tokens, w->q.cols, "y", &w->y, err));
    BM_TRY(bm_benchmark_fill(device, &w->q, 1, 0, err));
    BM_TRY(bm_benchmark_fill(device, &w->k, 2, 0, err));
    BM_TRY(bm_benchmark_fill(device, &w->v, 3, 0, err));
done:
    bm_free(words);
    return status;
}

static void destroy(attention_work *w)
{
    bm_tensor_destroy(&w->q);
    bm_tensor_destroy(&w->k);
    bm_tensor_destroy(&w->v);
    bm_tensor_destroy(&w->y);
    bm_buffer_destroy(&w->integers);
}

// The elements of a matrix.
static bm_status read(bm_device *device, const bm_tensor *tensor, float **out, bm_error *err)
{
    const uint64_t count = tensor->rows * tensor->cols;
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(tensor->dtype));
    *out = bm_alloc(count, sizeof **out);
    BM_FAIL_IF(!bytes || !*out, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_download(device, tensor, bytes, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t i = 0; i < count; i++)
        (*out)[i] = (float)bm_load_real(bytes, tensor->dtype, i);
done:
    bm_free(bytes);
    return status;
}

// One token and head beside the softmax in double. relative: what the variant may be off, of the weighted sizes of values.
static bm_status check_one(const attention_work *w, uint32_t t, uint32_t h, const float *const m[4], double relative,
                           double *weights, bm_error *err)
{
    const uint32_t dim = w->shape.head_dim, narrow = w->shape.kv_heads * dim, first = first_key_of(w, t),
                   last = last_key_of(w, t);
    const uint64_t row = (uint64_t)t * w->q.cols + (uint64_t)h * dim;
    const float *q = m[0] + row, *y = m[3] + row;
    const uint32_t column = h / (w->shape.heads / w->shape.kv_heads) * dim;
    const double unit = w->dtype == BM_DTYPE_F32 ? 0x1p-24 : w->dtype == BM_DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    double largest = -INFINITY, all = 0;
    for (uint32_t key = first; key <= last; key++) {
        double dot = 0;
        for (uint32_t d = 0; d < dim; d++)
            dot += (double)q[d] * m[1][(uint64_t)key * narrow + column + d];
        weights[key] = dot * w->scale;
        largest = fmax(largest, weights[key]);
    }
    for (uint32_t key = first; key <= last; key++)
        all += weights[key] = exp(weights[key] - largest);
    for (uint32_t d = 0; d < dim; d++) {
        double sum = 0, size = 0;
        for (uint32_t key = first; key <= last; key++) {
            const double value = m[2][(uint64_t)key * narrow + column + d];
            sum += weights[key] * value;
            size += weights[key] * fabs(value);
        }
        const double want = sum / all, bound = relative * size / all + unit * fabs(want) + 0x1p-24;
        if (!(fabs(y[d] - want) <= bound))
            return bm_fail(err, BM_E_NUMERIC, "attention of %u tokens: y[%u, head %u, %u] = %g, expected %g within %g",
                           w->shape.tokens, t, h, d, y[d], want, bound);
    }
    return BM_OK;
}

// 64 tokens, the first and the last among them, by turns of heads. Weights on matrix units are rounded to the type of values,
// twice at most (in both sums); scores of these sizes are off by less than 2^-12.
static bm_status check(bm_device *device, const attention_work *w, bool on_matrix_units, bm_error *err)
{
    enum { SAMPLES = 64 };
    const bm_tensor *const tensors[4] = {&w->q, &w->k, &w->v, &w->y};
    float *m[4] = {NULL};
    bm_status status = BM_OK;
    const double rounded = !on_matrix_units ? 0 : w->dtype == BM_DTYPE_BF16 ? 0x1p-7 : 0x1p-10;
    double *weights = bm_alloc(w->shape.cached + w->shape.tokens, sizeof *weights);
    BM_FAIL_IF(!weights, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < 4; i++)
        BM_TRY(read(device, tensors[i], &m[i], err));
    for (uint32_t i = 0; i < SAMPLES; i++)
        BM_TRY(check_one(w, (uint32_t)((uint64_t)i * (w->shape.tokens - 1) / (SAMPLES - 1)), i * 7 % w->shape.heads,
                         (const float *const *)m, rounded + 0x1p-11, weights, err));
done:
    for (uint32_t i = 0; i < 4; i++)
        bm_free(m[i]);
    bm_free(weights);
    return status;
}

static bool takes(const void *work, bm_device *device, const char *variant)
{
    const attention_work *w = work;
    const attention_shape *s = &w->shape;
    return strcmp(bm_attention_choose(device, w->dtype, s->tokens, s->head_dim).name, variant) == 0 ||
           (strcmp(variant, "split") == 0 &&
            bm_attention_splits(device, s->tokens, w->k.rows, s->heads, s->kv_heads, s->head_dim, true) > 0);
}

static bm_status measure(void *work, bm_device *device, const bm_benchmark_limits *limits, const char **variant,
                         bm_benchmark_result *out, bm_error *err)
{
    attention_work *w = work;
    const attention_shape *s = &w->shape;
    const uint32_t number = bm_attention_choose(device, w->dtype, s->tokens, s->head_dim).variant;
    const double rows =
        2.0 * ((double)s->tokens * s->heads + ((double)s->cached + s->tokens) * s->kv_heads) * s->head_dim;
    double keys = 0;
    bm_status status = BM_OK;
    (void)variant;
    for (uint32_t t = 0; t < s->tokens; t++)
        keys += last_key_of(w, t) - first_key_of(w, t) + 1.0;
    *out = (bm_benchmark_result){.name = "attention",
                                 .shape = {s->tokens, s->heads, s->head_dim, s->cached + s->tokens},
                                 .num_shape = s->cached > 0 ? 4 : 3};
    if (s->cached > 0)
        snprintf(out->what, sizeof out->what, "one token");
    else if (s->sequence >= s->tokens)
        snprintf(out->what, sizeof out->what, "one sequence");
    else
        snprintf(out->what, sizeof out->what, "sequences of %u", s->sequence);
    BM_TRY(bm_fill(device, w->y.view, 0xffffffffu, err)); // NaN: an output that is not written is seen
    BM_TRY(bm_benchmark_measure(device, run, w, w->stop, &out->time, err));
    BM_TRY(check(device, w, bm_kernel_uses_matrix_units(BM_KERNEL_ATTENTION, number), err));
    const bm_benchmark_limits own = bm_benchmark_limits_of(limits, BM_KERNEL_ATTENTION, number);
    bm_benchmark_fill_rates(out, bm_attention_operations(1, keys, s->heads, s->head_dim),
                            rows * bm_dtype_size(w->dtype), &own);
done:
    return status;
}

bm_status bm_benchmark_attention_variants(bm_device *device, uint32_t index, bm_dtype dtype,
                                          const bm_benchmark_limits *limits, bm_benchmark_stop stop,
                                          bm_benchmark_report report, void *user, bm_error *err)
{
    static const bm_variant_benchmark benchmark = {"attention", bm_attention_variant, takes, measure};
    attention_work w = {.dtype = dtype, .shape = shapes[index], .stop = stop};
    if (!bm_device_kind_is_gpu(bm_device_get_info(device)->kind)) {
        w.shape.tokens = (uint32_t)bm_divide_up(w.shape.tokens, 8);
        w.shape.sequence = (uint32_t)bm_divide_up(w.shape.sequence, 8);
        w.shape.cached /= bm_device_is_host(device) ? 8 : 1;
    }
    bm_status status = create(device, &w, err);
    if (status == BM_OK)
        status = bm_benchmark_variants(device, &benchmark, &w, NULL, limits, report, user, err);
    destroy(&w);
    return status;
}
