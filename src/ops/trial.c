// Trials: inputs and outputs, and what is run.
#include "ops/trial.h"
#include "base/half.h"
#include "base/random.h"
#include "ops/attention.h"
#include "ops/rate.h"

#include <math.h>
#include <string.h>

enum { SMALL_K = 331 };

typedef struct product_size {
    uint32_t m, n, k;
} product_size;

static bool is_small(const bm_trial *trial)
{
    return trial->size == BM_TRIAL_SMALL || trial->size == BM_TRIAL_MAGNITUDES;
}

// Two tiles of 128 a side, the second cut; six slices of 64, the last cut. For times 9 GFLOP, of which a chip needs at most some
// milliseconds even without matrix units; few tiles are 8 a row, as far as there are multiprocessors. The first one of a device: 0.13
// GFLOP.
static product_size size_of_product(const bm_trial *trial)
{
    const uint32_t few = (uint32_t)bm_max_u64(1, bm_compute_units(trial->device) - 1);
    if (is_small(trial))
        return (product_size){150, 135, SMALL_K};
    if (trial->size == BM_TRIAL_FIRST)
        return (product_size){256, 512, 512};
    if (!bm_device_kind_is_gpu(bm_device_get_info(trial->device)->kind))
        return (product_size){192, 256, 256};
    if (trial->size != BM_TRIAL_FEW_TILES)
        return (product_size){2048, 2048, 1024};
    return few < 8 ? (product_size){128, 128 * few, 2048} : (product_size){128 * (few / 8), 1024, 2048};
}

double bm_trial_operations(const bm_trial *trial)
{
    const product_size s = size_of_product(trial);
    return bm_gemm_operations(s.m, s.n, s.k);
}

double bm_trial_large_operations(bm_device *device)
{
    return bm_trial_operations(&(bm_trial){.device = device, .size = BM_TRIAL_LARGE});
}

// ---- inputs ----

// Where only times count, the same ones again and again.
#define PERIOD UINT64_C(65521)

static bm_status upload(bm_trial *trial, const bm_tensor *tensor, uint64_t seed, bool is_signed, bm_error *err)
{
    const uint64_t count = tensor->rows * tensor->cols;
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(tensor->dtype));
    bm_random random;
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_random_init(&random, seed, 0);
    const uint64_t period = is_small(trial) ? count : bm_min_u64(PERIOD, count);
    for (uint64_t i = 0; i < period; i++) {
        const float value = (float)(2 * bm_random_double(&random) - 1);
        if (tensor->dtype == BM_DTYPE_I8)
            bytes[i] = (uint8_t)bm_random_u32(&random);
        else
            bm_store_real(bytes, tensor->dtype, i, is_signed ? value : fabsf(value));
    }
    const uint64_t size = bm_dtype_size(tensor->dtype);
    for (uint64_t i = period; i < count; i += period)
        memcpy(bytes + i * size, bytes, bm_min_u64(period, count - i) * size);
    const bm_status status = bm_tensor_upload(trial->device, tensor, bytes, err);
    bm_free(bytes);
    return status;
}

// Input number index. linear: outputs are linear in it.
static bm_status make_input(bm_trial *trial, uint32_t index, bm_dtype dtype, uint64_t rows, uint64_t cols, bool linear,
                            bm_error *err)
{
    bm_tensor *tensor = &trial->inputs[index];
    const bm_status status = bm_tensor_create(trial->device, dtype, rows, cols, "trial", tensor, err);
    return status == BM_OK ? upload(trial, tensor, index + 1, !linear || trial->size != BM_TRIAL_MAGNITUDES, err)
                           : status;
}

static bm_status make_output(bm_trial *trial, bm_dtype dtype, uint64_t rows, uint64_t cols, bm_error *err)
{
    bm_tensor *tensor = &trial->outputs[trial->num_parts++];
    const bm_status status = bm_tensor_create(trial->device, dtype, rows, cols, "trial", tensor, err);
    return status == BM_OK ? bm_fill(trial->device, tensor->view, 0xffffffffu, err) : status;
}

bm_status bm_trial_create(bm_device *device, const bm_trial_kind *kind, bm_dtype type, bm_trial_size size,
                          bm_trial *out, bm_error *err)
{
    *out = (bm_trial){.device = device, .type = type, .size = size};
    const bm_status status = kind->create(out, err);
    if (status != BM_OK)
        bm_trial_destroy(out);
    return status;
}

void bm_trial_destroy(bm_trial *trial)
{
    if (trial->device)
        (void)bm_device_discard_reports(trial->device, NULL);
    for (uint32_t i = 0; i < BM_COUNT(trial->inputs); i++)
        bm_tensor_destroy(&trial->inputs[i]);
    for (uint32_t i = 0; i < BM_COUNT(trial->outputs); i++)
        bm_tensor_destroy(&trial->outputs[i]);
    bm_buffer_destroy(&trial->integers);
    bm_weights_destroy(&trial->weights);
    bm_int8_weights_destroy(&trial->int8_weights);
    *trial = (bm_trial){0};
}

bm_status bm_trial_read(const bm_trial *trial, bm_trial_outputs *out, bm_error *err)
{
    bm_status status = BM_OK;
    uint8_t *bytes = NULL;
    uint64_t done = 0, count = 0, num_narrow = 0;
    for (uint32_t p = 0; p < trial->num_parts; p++) {
        const bm_tensor *y = &trial->outputs[p];
        count += y->rows * y->cols;
        num_narrow += y->dtype != BM_DTYPE_F32 ? y->rows * y->cols : 0;
    }
    float *values = bm_alloc(count, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    for (uint32_t p = 0; p < trial->num_parts; p++) {
        const bm_tensor *y = &trial->outputs[p];
        bm_free(bytes);
        bytes = bm_alloc(y->rows * y->cols, bm_dtype_size(y->dtype));
        BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_tensor_download(trial->device, y, bytes, err));
        BM_TRY(bm_device_wait(trial->device, err));
        for (uint64_t i = 0; i < y->rows * y->cols; i++) {
            const bool is_wanted = p == 0 || !trial->second_is_lower || i % y->cols <= i / y->cols;
            values[done++] = is_wanted ? bm_load_real(bytes, y->dtype, i) : 0;
        }
    }
    *out = (bm_trial_outputs){values, count, num_narrow};
    values = NULL;
done:
    bm_free(values);
    bm_free(bytes);
    return status;
}

// ---- products: with a bias; and onto what is there, the lower part alone ----

static bm_status create_gemm(bm_trial *trial, bm_error *err)
{
    const product_size s = size_of_product(trial);
    bm_device *device = trial->device;
    bm_status status = BM_OK;
    BM_TRY(make_input(trial, 0, trial->type, s.m, s.k, true, err));
    BM_TRY(make_input(trial, 1, trial->type, s.n, s.k, true, err));
    BM_TRY(make_input(trial, 2, BM_DTYPE_F32, 1, s.n, true, err));
    if (trial->size != BM_TRIAL_ADDING)
        BM_TRY(make_output(trial, trial->type, s.m, s.n, err));
    if (is_small(trial) || trial->size == BM_TRIAL_ADDING) {
        BM_TRY(make_output(trial, BM_DTYPE_F32, s.m, s.n, err));
        BM_TRY(upload(trial, &trial->outputs[trial->num_parts - 1], 9, trial->size != BM_TRIAL_MAGNITUDES, err));
        trial->second_is_lower = true;
    }
    BM_TRY(bm_weights_create(device, s.n, s.k, trial->type, "trial", NULL, &trial->weights, err));
    BM_TRY(bm_weights_set_rows(device, trial->weights, 0, &trial->inputs[1], err));
done:
    return status;
}

static bm_status run_gemm(const bm_trial *trial, bm_error *err)
{
    bm_gemm_job job = {.x = &trial->inputs[0],
                       .weights = trial->weights,
                       .count = trial->weights->out_features,
                       .bias = &trial->inputs[2],
                       .y = &trial->outputs[0],
                       .factor = 1.0f};
    const bm_status status = trial->size == BM_TRIAL_ADDING ? BM_OK : bm_gemm_run(trial->device, &job, err);
    if (status != BM_OK || (trial->num_parts == 1 && trial->size != BM_TRIAL_ADDING))
        return status;
    job.bias = NULL;
    job.y = &trial->outputs[trial->num_parts - 1];
    job.adds = job.lower = true;
    job.factor = trial->size == BM_TRIAL_MAGNITUDES ? 0.75f : -0.75f;
    return bm_gemm_run(trial->device, &job, err);
}

// The bound of the kernel's test, k + 3 roundings of what is added up: of the generic kernel as they are, on matrix units three
// times as wide, which may cut where float32 rounds. What this leaves of sums of one sign first_use.c says.
static double relative_gemm(bm_dtype type)
{
    (void)type;
    return 4 * (SMALL_K + 3) * 0x1p-24;
}

const bm_trial_kind bm_trial_gemm = {create_gemm, run_gemm, relative_gemm};

// ---- attention: a window with heads of 128; slopes with heads of 80 ----

typedef struct attention_size {
    uint32_t tokens, keys, heads, kv_heads, head_dim, window; // window 0: none
} attention_size;

static attention_size size_of_attention(const bm_trial *trial, uint32_t part)
{
    static const attention_size small[] = {{67, 150, 4, 2, 128, 45}, {40, 131, 3, 1, 80, 0}};
    if (is_small(trial))
        return small[part];
    if (!bm_device_kind_is_gpu(bm_device_get_info(trial->device)->kind))
        return (attention_size){64, 64, 2, 1, 128, 0};
    return (attention_size){1024, 1024, 16, 4, 128, 0};
}

// First and last keys of a part, and slopes, each from a multiple of BM_VIEW_ALIGNMENT on.
enum { FIRST_KEYS, LAST_KEYS, SLOPES, NUM_LISTS };
static bm_view list_of(const bm_trial *trial, uint32_t part, uint32_t list)
{
    const attention_size s = size_of_attention(trial, part);
    const uint64_t room = bm_round_up(4 * (uint64_t)s.tokens, BM_VIEW_ALIGNMENT);
    const uint64_t begin =
        part == 0 ? 0 : NUM_LISTS * bm_round_up(4 * (uint64_t)size_of_attention(trial, 0).tokens, BM_VIEW_ALIGNMENT);
    return bm_view_part(bm_buffer_view(trial->integers), begin + list * room,
                        4 * (uint64_t)(list == SLOPES ? s.heads : s.tokens));
}

static bm_status upload_lists(const bm_trial *trial, uint32_t part, bm_error *err)
{
    const attention_size s = size_of_attention(trial, part);
    uint32_t *words = bm_alloc(NUM_LISTS * (uint64_t)s.tokens, sizeof *words);
    float slopes[4];
    bm_status status = BM_OK;
    BM_FAIL_IF(!words, err, BM_E_MEMORY, "out of memory");
    for (uint32_t t = 0; t < s.tokens; t++) {
        const uint32_t last = s.keys - s.tokens + t;
        words[t] = s.window > 0 && last >= s.window ? last + 1 - s.window : 0;
        words[s.tokens + t] = last;
    }
    for (uint32_t h = 0; h < BM_COUNT(slopes); h++)
        slopes[h] = 0.25f / (float)(1 << h);
    for (uint32_t list = FIRST_KEYS; list <= LAST_KEYS; list++) {
        const bm_view view = list_of(trial, part, list);
        BM_TRY(bm_upload(trial->device, view, words + (uint64_t)list * s.tokens, view.size, err));
    }
    if (part == 1) {
        const bm_view view = list_of(trial, part, SLOPES);
        BM_TRY(bm_upload(trial->device, view, slopes, view.size, err));
    }
done:
    bm_free(words);
    return status;
}

static bm_status create_attention(bm_trial *trial, bm_error *err)
{
    const uint32_t parts = is_small(trial) ? 2 : 1;
    bm_status status = BM_OK;
    uint64_t bytes = 0;
    for (uint32_t p = 0; p < parts; p++)
        bytes += NUM_LISTS * bm_round_up(4 * (uint64_t)size_of_attention(trial, p).tokens, BM_VIEW_ALIGNMENT);
    BM_TRY(bm_buffer_create(trial->device, bytes, "trial", &trial->integers, err));
    for (uint32_t p = 0; p < parts; p++) {
        const attention_size s = size_of_attention(trial, p);
        const uint64_t wide = (uint64_t)s.heads * s.head_dim, narrow = (uint64_t)s.kv_heads * s.head_dim;
        BM_TRY(make_input(trial, 3 * p, trial->type, s.tokens, wide, false, err));
        BM_TRY(make_input(trial, 3 * p + 1, trial->type, s.keys, narrow, false, err));
        BM_TRY(make_input(trial, 3 * p + 2, trial->type, s.keys, narrow, true, err));
        BM_TRY(make_output(trial, trial->type, s.tokens, wide, err));
        BM_TRY(upload_lists(trial, p, err));
    }
done:
    return status;
}

static bm_status run_attention(const bm_trial *trial, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t p = 0; p < trial->num_parts && status == BM_OK; p++) {
        const attention_size s = size_of_attention(trial, p);
        const bm_attention_params params = {.num_heads = s.heads,
                                            .num_key_value_heads = s.kv_heads,
                                            .head_dim = s.head_dim,
                                            .scale = (float)(2 / sqrt(s.head_dim)),
                                            .first_key = list_of(trial, p, FIRST_KEYS),
                                            .last_key = list_of(trial, p, LAST_KEYS),
                                            .slopes = p == 1 ? list_of(trial, p, SLOPES) : (bm_view){0}};
        const bm_tensor *in = &trial->inputs[3 * p];
        status = bm_attention(trial->device, &in[0], &in[1], &in[2], &params, &trial->outputs[p], err);
    }
    return status;
}

// On matrix units exponentials are rounded to the type of the inputs, in the sum of values and in that of weights; scores of these
// sizes and float32 sums are off by less than two such roundings (the bound of the kernel's test, with what it gives here).
static double relative_attention(bm_dtype type)
{
    return 4 * (type == BM_DTYPE_BF16 ? 0x1p-8 : 0x1p-11);
}

const bm_trial_kind bm_trial_attention = {create_attention, run_attention, relative_attention};

// ---- products of 8-bit codes: exact ----

static bm_status create_gemm_int8(bm_trial *trial, bm_error *err)
{
    const product_size s = size_of_product(trial);
    bm_status status = BM_OK;
    BM_TRY(make_input(trial, 0, BM_DTYPE_I8, s.m, s.k, true, err));
    BM_TRY(make_input(trial, 1, BM_DTYPE_I8, s.n, s.k, true, err));
    BM_TRY(make_input(trial, 2, BM_DTYPE_F32, 1, s.n, true, err));
    BM_TRY(make_input(trial, 3, BM_DTYPE_F32, s.m, 4, true, err));
    BM_TRY(make_input(trial, 4, BM_DTYPE_F32, s.n, 1, true, err));
    BM_TRY(make_output(trial, BM_DTYPE_F32, s.m, s.n, err));
    BM_TRY(bm_int8_weights_create(trial->device, s.n, s.k, "trial", NULL, &trial->int8_weights, err));
    BM_TRY(bm_int8_weights_set_rows(trial->device, trial->int8_weights, 0, &trial->inputs[1], &trial->inputs[4], err));
done:
    return status;
}

static bm_status run_gemm_int8(const bm_trial *trial, bm_error *err)
{
    const bm_int8_rows x = {trial->inputs[0], trial->inputs[3]};
    return bm_gemm_int8(trial->device, &x, trial->int8_weights, &trial->inputs[2], &trial->outputs[0], err);
}

static double relative_gemm_int8(bm_dtype type)
{
    (void)type;
    return 0;
}

const bm_trial_kind bm_trial_gemm_int8 = {create_gemm_int8, run_gemm_int8, relative_gemm_int8};
