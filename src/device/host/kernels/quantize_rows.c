// quantize_rows: codes[r, c] = clamp(rint(v * inverse), -128, 127), v = (x[r, c] - shift[c]) * factor[c]; the peak is given, or it
// is the largest |v| of the row.
//
// What is not finite is reported; NaN becomes 0, infinity 2^120.
#include "device/host/quantization.h"
#include "device/host_kernels.h"
#include <math.h>

static float value(const host_call *call, uint64_t r, uint32_t c)
{
    const bm_quantize_rows_scalars *a = call->scalars;
    const float *shift = call->buffers[1], *factor = call->buffers[2];
    float v = (float)host_load(call->buffers[0], call->types[0], r * a->x_stride + c);
    if (a->has_shift)
        v -= shift[c];
    if (a->has_factor)
        v *= factor[c];
    if (isfinite(v))
        return v;
    host_report(call, BM_REPORT_NOT_FINITE, (uint32_t)(r * a->cols + c));
    return isnan(v) ? 0.0f : copysignf(HOST_LARGEST_PEAK, v);
}

void host_quantize_rows(const host_call *call)
{
    const bm_quantize_rows_scalars *a = call->scalars;
    int8_t *codes = call->buffers[3];
    float *x_rows = call->buffers[4];
    for (uint64_t r = 0; r < a->rows; r++) {
        float peak = a->peak, inverse = a->inverse, step = a->step, count = 0;
        if (a->per_row) {
            peak = 0;
            for (uint32_t c = 0; c < a->cols; c++)
                peak = fmaxf(peak, fabsf(value(call, r, c)));
            peak = peak < HOST_ZERO_PEAK ? 0 : fminf(peak, HOST_LARGEST_PEAK);
            inverse = peak > 0 ? 127 / peak : 0;
            step = peak > 0 ? peak / 127 : 1;
        }
        for (uint32_t c = 0; c < (a->cols + 3) / 4 * 4; c++) {
            const float v = c < a->cols ? value(call, r, c) : 0;
            count += !a->per_row && fabsf(v) > peak ? 1.0f : 0.0f;
            codes[r * a->code_stride + c] = (int8_t)host_code(v, inverse, 0, 8);
        }
        x_rows[4 * r] = step;
        x_rows[4 * r + 1] = peak;
        x_rows[4 * r + 2] = count;
        x_rows[4 * r + 3] = 0;
    }
}
