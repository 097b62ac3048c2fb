// split_parts: rows of float32 as float16 in two parts, {hi / 64, 64 lo, hi} or, of right sides, {64 lo, hi / 64, hi}, and a power of
// two for each row.
#include "base/half.h"
#include "device/host_kernels.h"

#include <math.h>

// The power of two that brings the largest of a row to 2^13 .. 2^14, as far as it and its inverse are normal float32.
static int exponent_of(const float *row, uint32_t cols)
{
    float largest = 0;
    int exponent = 0;
    for (uint32_t c = 0; c < cols; c++)
        largest = fmaxf(largest, fabsf(row[c]));
    if (!(largest > 0))
        return 0;
    if (!isfinite(largest))
        return -115;
    (void)frexpf(largest, &exponent); // largest in 2^(exponent - 1) .. 2^exponent
    return 14 - exponent > 126 ? 126 : 14 - exponent;
}

void host_split_parts(const host_call *call)
{
    const bm_split_parts_scalars *a = call->scalars;
    const uint64_t padded = bm_round_up(a->cols, 4);
    for (uint32_t r = 0; r < a->rows; r++) {
        const float *row = (const float *)call->buffers[0] + (uint64_t)r * a->x_stride;
        uint16_t *parts = (uint16_t *)((uint32_t *)call->buffers[1] + (uint64_t)r * a->parts_stride);
        const int exponent = exponent_of(row, a->cols);
        ((float *)call->buffers[2])[r] = ldexpf(1, -exponent);
        for (uint64_t c = 0; c < padded; c++) {
            const float value = c < a->cols ? ldexpf(row[c], exponent) : 0;
            const uint16_t hi = bm_f32_to_f16(fabsf(value) < 0x1p-14f ? 0 : value);
            const uint16_t lo = bm_f32_to_f16(64 * (value - bm_f16_to_f32(hi)));
            const uint16_t other = bm_f32_to_f16(bm_f16_to_f32(hi) / 64);
            parts[c] = a->is_right ? lo : other;
            parts[padded + c] = a->is_right ? other : lo;
            parts[2 * padded + c] = hi;
        }
    }
}
