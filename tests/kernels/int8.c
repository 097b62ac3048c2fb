// Steps, codes, and what becomes of exact sums.
#include "kernels/int8.h"

#include <stdlib.h>

double int8_code(kernel_run *run, uint32_t which)
{
    const uint32_t extreme = run->shape[INT8_EXTREME];
    if (run->kind == KERNEL_ZEROS)
        return 0;
    if (extreme > 0)
        return extreme == 1 || (extreme == 3 && which == 1) ? -128 : 127;
    return (double)bm_random_below(&run->random, 256) - 128;
}

// Element 0 of each row is the step; what stands behind it must not count.
static void fill_steps(kernel_run *run, uint32_t i, uint64_t rows)
{
    kernel_shape(run, i, rows, 4);
    run->buffers[i].stride = 4;
    for (uint64_t k = 0; k < 4 * rows; k++)
        kernel_set(run, i, k, k % 4 == 0 ? 0.001 + 0.05 * bm_random_double(&run->random) : 1e30);
}

void int8_make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    fill_steps(run, INT8_X_ROWS, s[INT8_M]);
    fill_steps(run, INT8_W_STEP, s[INT8_N]);
    kernel_shape(run, INT8_BIAS, 1, s[INT8_N]);
    kernel_shape(run, INT8_Y, s[INT8_M], s[INT8_N]);
    kernel_shape(run, INT8_LOSS, s[INT8_M], (s[INT8_N] + 15) / 16);
    kernel_fill(run, INT8_BIAS, 1);
    kernel_fill(run, INT8_Y, 20); // what is wanted
    run->buffers[INT8_BIAS].absent = !s[INT8_HAS_BIAS];
    run->buffers[INT8_LOSS].absent = !s[INT8_COMPARES];
}

// ((d0² + d1²) + (d2² + d3²)) and so on, up to 16 of them.
static float tree(const float *squares, uint32_t count)
{
    return count == 1 ? squares[0] : tree(squares, count / 2) + tree(squares + count / 2, count / 2);
}

void int8_reference(const kernel_run *run, double *const *out,
                    int64_t (*sum)(const kernel_run *run, uint64_t i, uint64_t j))
{
    const uint32_t *s = run->shape;
    const uint64_t blocks = (s[INT8_N] + 15) / 16;
    for (uint64_t i = 0; i < s[INT8_M]; i++)
        for (uint64_t b = 0; b < blocks; b++) {
            float squares[16] = {0};
            for (uint64_t j = 16 * b; j < s[INT8_N] && j < 16 * b + 16; j++) {
                const int64_t exact = sum(run, i, j);
                if (llabs(exact) > INT32_MAX)
                    abort(); // no case may
                const float scaled = (float)((double)(float)exact * run->buffers[INT8_X_ROWS].values[4 * i]);
                const float steps = (float)((double)scaled * run->buffers[INT8_W_STEP].values[4 * j]);
                const float y = (float)((double)steps + (s[INT8_HAS_BIAS] ? run->buffers[INT8_BIAS].values[j] : 0));
                const float d = (float)(run->buffers[INT8_Y].values[i * s[INT8_N] + j] - (double)y);
                squares[j % 16] = (float)((double)d * (double)d);
                if (!s[INT8_COMPARES])
                    out[INT8_Y][i * s[INT8_N] + j] = (double)y;
            }
            if (s[INT8_COMPARES])
                out[INT8_LOSS][i * blocks + b] = (double)tree(squares, 16);
        }
}
