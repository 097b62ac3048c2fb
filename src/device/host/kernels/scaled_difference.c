// scaled_difference: parts / unit = (w - Q(w scale) inverse) factor in float16, Q the grid of each group's abs-max, unit a power of two for
// each row.
#include "base/half.h"
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

typedef struct row {
    const bm_scaled_difference_scalars *a;
    const float *w, *scale, *inverse, *factor;
} row;

static host_grid grid_of(const row *x, uint32_t first, uint32_t end)
{
    float least = 0, largest = 0;
    for (uint32_t c = first; c < end; c++) {
        least = fminf(least, x->w[c] * x->scale[c]);
        largest = fmaxf(largest, x->w[c] * x->scale[c]);
    }
    return host_group_grid(least, largest, 1, x->a->bits, x->a->symmetric != 0, (bm_dtype)x->a->scale_type);
}

// The largest magnitude; with parts they are written, times 2^exponent.
static float walk(const row *x, uint16_t *parts, int exponent)
{
    float most = 0;
    for (uint32_t first = 0; first < x->a->cols; first += x->a->group_size) {
        const uint32_t end = (uint32_t)bm_min_u64(x->a->cols, (uint64_t)first + x->a->group_size);
        const host_grid grid = grid_of(x, first, end);
        for (uint32_t c = first; c < end; c++) {
            const float code = host_code(x->w[c] * x->scale[c], 1.0f / grid.step, grid.zero_point, x->a->bits);
            const float value = (code - grid.zero_point) * grid.step * x->inverse[c];
            const float off = (x->w[c] - value) * x->factor[c];
            most = fmaxf(most, fabsf(off));
            if (parts)
                parts[c] = bm_f32_to_f16(ldexpf(off, exponent));
        }
    }
    return most;
}

void host_scaled_difference(const host_call *call)
{
    const bm_scaled_difference_scalars *a = call->scalars;
    for (uint32_t r = 0; r < a->rows; r++) {
        const row x = {a, (const float *)call->buffers[0] + (uint64_t)r * a->w_stride, call->buffers[1],
                       call->buffers[2], call->buffers[3]};
        uint16_t *parts = (uint16_t *)((uint32_t *)call->buffers[4] + (uint64_t)r * a->parts_stride);
        const float most = walk(&x, NULL, 0);
        int exponent = 14;
        if (most > 0 && isfinite(most))
            (void)frexpf(most, &exponent); // most in 2^(exponent - 1) .. 2^exponent
        exponent = most > 0 && !isfinite(most) ? -115 : 14 - exponent > 126 ? 126 : 14 - exponent;
        ((float *)call->buffers[5])[r] = ldexpf(1, -exponent);
        (void)walk(&x, parts, exponent);
        for (uint64_t c = a->cols; c < bm_round_up(a->cols, 4); c++)
            parts[c] = 0;
    }
}
