// The arithmetic of rounding to a grid.
#include "device/host/quantization.h"

#include "base/half.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "a float expression is rounded to float32 after each operation");

static float clamp(float x, float low, float high)
{
    return fminf(fmaxf(x, low), high);
}

float host_stored_step(float step, bm_dtype scale_type)
{
    const float least = scale_type == BM_DTYPE_NONE ? 0x1p-24f : 0x1p-14f;
    if (scale_type == BM_DTYPE_F16 || scale_type == BM_DTYPE_NONE)
        return copysignf(bm_f16_to_f32(bm_f32_to_f16(clamp(fabsf(step), least, 65504.0f))), step);
    return scale_type == BM_DTYPE_BF16 ? bm_bf16_to_f32(bm_f32_to_bf16(step)) : step;
}

float host_zero_step(bm_dtype scale_type)
{
    return scale_type == BM_DTYPE_F32 ? 1e-8f : 1.0f;
}

float host_range_low(float minimum)
{
    return fmaxf(fminf(minimum, 0.0f), -HOST_LARGEST_PEAK);
}
float host_range_high(float maximum)
{
    return fminf(fmaxf(maximum, 0.0f), HOST_LARGEST_PEAK);
}

float host_range_unit(float range)
{
    int exponent;
    (void)frexpf(range, &exponent); // range in [2^(exponent-1), 2^exponent)
    return ldexpf(1.0f, exponent < -86 ? 127 : 41 - exponent);
}

float host_group_step(float low, float high, float factor, uint32_t bits, bool symmetric, bm_dtype scale_type)
{
    const float steps = (float)((1u << (bits - 1u)) - 1u); // Q
    if (symmetric)
        return host_stored_step(fmaxf(-low, high) * factor / steps, scale_type);
    const float half_range = high * factor * 0.5f - low * factor * 0.5f; // halved: the whole could overflow
    return host_stored_step(half_range / (steps + 0.5f), scale_type);
}

float host_group_zero_point(float low, float factor, float inverse, uint32_t bits, bool symmetric)
{
    const float half_codes = (float)(1u << (bits - 1u));
    return symmetric ? 0.0f : clamp(rintf(-low * factor * inverse) - half_codes, -half_codes, half_codes - 1.0f);
}

float host_code(float w, float inverse, float zero_point, uint32_t bits)
{
    const float half_codes = (float)(1u << (bits - 1u));
    return clamp(rintf(w * inverse) + zero_point, -half_codes, half_codes - 1.0f);
}

host_grid host_group_grid(float minimum, float maximum, float factor, uint32_t bits, bool symmetric,
                          bm_dtype scale_type)
{
    const float low = host_range_low(minimum), high = host_range_high(maximum);
    if (fmaxf(-low, high) < HOST_ZERO_PEAK)
        return (host_grid){host_zero_step(scale_type), 0.0f};
    const float step = host_group_step(low, high, factor, bits, symmetric, scale_type);
    return (host_grid){step, host_group_zero_point(low, factor, 1.0f / step, bits, symmetric)};
}

double host_nearest(double w, double step, double zero_point, uint32_t bits)
{
    const double half_codes = (double)(1u << (bits - 1u));
    return (fmin(fmax(rint(w / step) + zero_point, -half_codes), half_codes - 1) - zero_point) * step;
}

void host_int8_outputs(const host_call *call, uint32_t n, uint32_t y_stride, uint32_t loss_stride, uint32_t has_bias,
                       uint32_t compares, uint64_t i, uint32_t first, const host_int8_block *block)
{
    const float *x_rows = call->buffers[2], *w_step = call->buffers[3];
    float squares[HOST_LOSS_COLS] = {0};
    for (uint32_t j = first; j < n && j < first + HOST_LOSS_COLS; j++) {
        const uint64_t at = i * y_stride + j;
        const float bias = has_bias ? (float)host_load(call->buffers[4], call->types[4], j) : 0.0f;
        const float y = (float)block->sums[j - first] * x_rows[4 * i] * w_step[4 * (uint64_t)j] + bias;
        const float d = compares ? (float)host_load(call->buffers[5], call->types[5], at) - y : 0.0f;
        squares[j - first] = d * d;
        if (!compares)
            host_store(call->buffers[5], call->types[5], at, (double)y);
    }
    for (uint32_t width = HOST_LOSS_COLS / 2; width > 0; width /= 2) // neighbours, then neighbours of those
        for (uint32_t j = 0; j < width; j++)
            squares[j] = squares[2 * j] + squares[2 * j + 1];
    if (compares)
        ((float *)call->buffers[6])[i * loss_stride + first / HOST_LOSS_COLS] = squares[0];
}
