// The arithmetic of rounding to a grid.
#include "device/host/quantization.h"

#include "base/half.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "a float expression is rounded to float32 after each operation");

#define LARGEST_PEAK 0x1p120f // larger magnitudes saturate: steps and their reciprocals stay normal

static float clamp(float x, float low, float high)
{
    return fminf(fmaxf(x, low), high);
}

float host_stored_step(float step, bm_dtype scale_type)
{
    if (scale_type == BM_DTYPE_F16)
        return copysignf(bm_f16_to_f32(bm_f32_to_f16(clamp(fabsf(step), 0x1p-14f, 65504.0f))), step);
    return scale_type == BM_DTYPE_BF16 ? bm_bf16_to_f32(bm_f32_to_bf16(step)) : step;
}

float host_zero_step(bm_dtype scale_type)
{
    return scale_type == BM_DTYPE_F32 ? 1e-8f : 1.0f;
}

float host_range_low(float minimum)
{
    return fmaxf(fminf(minimum, 0.0f), -LARGEST_PEAK);
}
float host_range_high(float maximum)
{
    return fminf(fmaxf(maximum, 0.0f), LARGEST_PEAK);
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
