// Plain rounding with PaddleSlim's codes: each weight times (largest code times 1 / amax), two roundings where one is due. For
// "compat": "paddleslim"; on the host, since no kernel has that product.
#include "quant/equalize/observers.h"
#include "quant/equalize/paddleslim.h"
#include "quant/method.h"
#include "quant/rtn.h"

// Codes and steps of rows that are in host memory.
static void round_rows(const float *weights, uint64_t rows, uint64_t cols, uint32_t bits, int8_t *codes, float *steps)
{
    const int32_t largest = (1 << (bits - 1)) - 1;
    for (uint64_t r = 0; r < rows; r++) {
        float amax;
        bm_weight_amax(weights + r * cols, 1, (uint32_t)cols, (uint32_t)cols, NULL, &amax);
        for (uint64_t c = 0; c < cols; c++)
            codes[r * cols + c] = (int8_t)bm_paddleslim_stored_code(weights[r * cols + c], amax, largest);
        steps[r] = amax / (float)largest;
    }
}

static bm_status solve(bm_multiplier *m, void *state, const bm_method_params *params, const bm_method_rows *rows,
                       bm_error *err)
{
    const bm_codes *codes = rows->codes;
    const uint64_t count = rows->weights->rows, cols = rows->weights->cols;
    bm_status status = BM_OK;
    bm_tensor own = {0};
    float *weights = bm_alloc(count * cols, sizeof *weights), *steps = bm_alloc(count, sizeof *steps);
    int8_t *host_codes = bm_alloc(count * cols, 1);
    int32_t *zeros = bm_alloc_zero(count, sizeof *zeros);
    (void)state;
    (void)params;
    BM_FAIL_IF(!weights || !steps || !host_codes || !zeros, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(codes->group_size != cols || !codes->symmetric || codes->scale_dtype != BM_DTYPE_F32, err,
               BM_E_UNSUPPORTED, "compat: expected one float32 scale an output channel, symmetric");
    if (!rows->rounded)
        BM_TRY(bm_tensor_create(m->device, BM_DTYPE_F32, count, cols, "rounded weights", &own, err));
    const bm_tensor *rounded = rows->rounded ? rows->rounded : &own;
    BM_TRY(bm_tensor_download(m->device, rows->weights, weights, err));
    BM_TRY(bm_device_wait(m->device, err));
    round_rows(weights, count, cols, codes->bits, host_codes, steps);
    BM_TRY(bm_tensor_upload(m->device, &codes->codes, host_codes, err));
    BM_TRY(bm_tensor_upload(m->device, &codes->step, steps, err));
    BM_TRY(bm_tensor_upload(m->device, &codes->zero_point, zeros, err));
    BM_TRY(bm_dequantize(m->device, &codes->codes, &codes->step, &codes->zero_point, codes->group_size, rounded, err));
    BM_TRY(bm_add_weight_error(m->device, rows, rounded, err));
done:
    bm_tensor_destroy(&own);
    bm_free(weights);
    bm_free(steps);
    bm_free(host_codes);
    bm_free(zeros);
    return status;
}

static bm_watches watches(const bm_method_params *params)
{
    (void)params;
    return BM_WATCHES_NOTHING;
}

static uint64_t state_bytes(const bm_method_params *params, uint32_t channels)
{
    (void)params;
    (void)channels;
    return 0;
}

static void end(void **state)
{
    (void)state;
}

const bm_method bm_method_rtn_paddleslim = {.name = "rtn",
                                            .words = "plain rounding (RTN) as PaddleSlim has it",
                                            .watches = watches,
                                            .state_bytes = state_bytes,
                                            .solve = solve,
                                            .end = end};
