// scale_refit: a quotient of two sums, rounded to the stored type. Where the exact step lies near a boundary of that type, or
// the gain near 0, the neighbour is right too.
#include "device/host/quantization.h"
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, GROUPS, CHOSEN, TYPE };
enum { W, RESIDUAL, PRODUCT, STEP, CHANGE };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS], groups = run->shape[GROUPS];
    kernel_shape(run, W, rows, cols);
    kernel_shape(run, RESIDUAL, rows, cols);
    kernel_shape(run, PRODUCT, rows, cols);
    kernel_shape(run, STEP, rows, groups);
    kernel_shape(run, CHANGE, rows, cols);
    for (uint64_t k = 0; k < (uint64_t)rows * groups; k++) {
        const float step =
            host_stored_step((float)(0.1 + 0.2 * bm_random_double(&run->random)), (bm_dtype)run->shape[TYPE]);
        kernel_set(run, STEP, k, k % 2 == 1 ? -(double)step : (double)step);
    }
    for (uint64_t r = 0; r < rows; r++) {
        const double bias = 0.2 * bm_random_normal(&run->random); // the step is off by about this share
        for (uint32_t c = 0; c < cols; c++) {
            const double code = (double)bm_random_below(&run->random, 15) - 7;
            const uint64_t at = r * cols + c;
            kernel_set(run, W, at, (double)(float)(code * run->buffers[STEP].values[r * groups + run->shape[CHOSEN]]));
            const double w = run->buffers[W].values[at];
            kernel_set(run, PRODUCT, at,
                       r % 5 == 4 ? -w : w * (1 + bm_random_double(&run->random))); // some rows: den < 0
            kernel_set(run, RESIDUAL, at, bias * w + 0.1 * bm_random_normal(&run->random));
        }
    }
    const bm_scale_refit_scalars scalars = {rows,
                                            cols,
                                            (uint32_t)run->buffers[W].stride,
                                            (uint32_t)run->buffers[RESIDUAL].stride,
                                            (uint32_t)run->buffers[PRODUCT].stride,
                                            (uint32_t)run->buffers[STEP].stride,
                                            (uint32_t)run->buffers[CHANGE].stride,
                                            run->shape[CHOSEN],
                                            run->shape[TYPE]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(rows, 1);
}

static void sums(const kernel_run *run, uint64_t r, double *num, double *den, double *magnitude)
{
    const uint32_t cols = run->shape[COLS];
    *num = *den = *magnitude = 0;
    for (uint64_t k = (r + 1) * cols; k-- > r * cols;) {
        *num += run->buffers[RESIDUAL].values[k] * run->buffers[W].values[k];
        *den += run->buffers[PRODUCT].values[k] * run->buffers[W].values[k];
        *magnitude += fabs(run->buffers[RESIDUAL].values[k] * run->buffers[W].values[k]) +
                      fabs(run->buffers[PRODUCT].values[k] * run->buffers[W].values[k]);
    }
}

// One unit of the stored type; where the gain is nothing, old and new are both right.
static void bound(kernel_run *run)
{
    const uint32_t cols = run->shape[COLS], groups = run->shape[GROUPS];
    const bool is_half = run->shape[TYPE] == BM_DTYPE_F16 || run->shape[TYPE] == BM_DTYPE_NONE;
    const double unit = is_half ? 0x1p-10 : run->shape[TYPE] == BM_DTYPE_BF16 ? 0x1p-7 : 0x1p-23;
    for (uint64_t r = 0; r < run->shape[ROWS]; r++) {
        double num, den, magnitude;
        sums(run, r, &num, &den, &magnitude);
        const uint64_t at = r * groups + run->shape[CHOSEN];
        const double old = run->buffers[STEP].values[at], t = num / den;
        const double slack = (cols + 8.0) * 4 * KERNEL_EPSILON * magnitude / fabs(den);
        const double wanted = den > 0 ? old * (1 + t) : old; // all codes of a group may be 0
        const double relative = den > 0 ? fmax(2 * slack, unit) + 8 * KERNEL_EPSILON : 0;
        run->buffers[STEP].bounds[at] = relative * (fabs(wanted) + fabs(old));
        for (uint64_t k = r * cols; k < (r + 1) * cols; k++) {
            run->buffers[W].bounds[k] = relative * (fabs(run->buffers[W].exact[k]) + fabs(run->buffers[W].values[k]));
            run->buffers[CHANGE].bounds[k] =
                run->buffers[W].bounds[k] + 4 * KERNEL_EPSILON * fabs(run->buffers[W].values[k]);
        }
    }
}

static double operations(const kernel_run *run)
{
    return 12.0 * run->shape[ROWS] * run->shape[COLS];
}

// By the formula, in double; that it is the least is test_gptq's to hold.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS], groups = run->shape[GROUPS];
    for (uint64_t r = 0; r < run->shape[ROWS]; r++) {
        double num, den, magnitude;
        sums(run, r, &num, &den, &magnitude);
        const uint64_t at = r * groups + run->shape[CHOSEN];
        const double old = run->buffers[STEP].values[at];
        double now = old;
        if (den > 0 && 1 + num / den > 0) {
            const double rounded = (double)host_stored_step((float)(old * (1 + num / den)), (bm_dtype)run->shape[TYPE]);
            const double t = rounded / old - 1;
            if (-2 * t * num + t * t * den < 0)
                now = rounded;
        }
        out[STEP][at] = now;
        for (uint64_t k = r * cols; k < (r + 1) * cols; k++) {
            const double w = run->buffers[W].values[k];
            out[W][k] = now == old ? w : (double)((float)rint(w / old) * (float)now);
            out[CHANGE][k] = (double)((float)out[W][k] - (float)w);
        }
    }
}

const kernel_operation kernel_scale_refit = {
    .kernel = BM_KERNEL_SCALE_REFIT,
    .cases = {{"1", {1, 1, 1, 0, 1}, true},
              {"prime", {13, 7, 3, 2, 1}, true},
              {"float16", {33, 64, 4, 1, 2}, true},
              {"bfloat16", {31, 127, 2, 0, 3}, true},
              {"tile + 1", {40, 257, 1, 0, 2}, true},
              {"unit", {9, 256, 3, 1, 0}, true},
              {"layer", {64, 2048, 1, 0, 2}, true}},
    .skips_values = {[KERNEL_ZEROS] = true, [KERNEL_ONE_HUGE] = true, [KERNEL_DENORMALS] = true, [KERNEL_TIES] = true},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
