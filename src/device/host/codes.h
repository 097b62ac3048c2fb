// The arithmetic of codes: steps and zero points. Twins: cl/include/codes.h, shaders/include/codes.glsl
//
// Every device must compute the same codes, so this reference computes in float32 what they compute in float32: one
// operation, one rounding. A reference in double would disagree at ties, and half the step is always one.
// Source: the rules for steps and codes are those of compressed-tensors' (q - zero_point) * scale with signed codes;
// the step of symmetric codes is absmax / Q, Q = 2^(bits-1) - 1.
#ifndef BM_HOST_CODES_H
#define BM_HOST_CODES_H

#include "base/half.h"
#include "device/host_kernels.h"

#include <float.h>
#include <math.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float expressions are rounded to float32 after each operation");

#define HOST_ZERO_PEAK 1e-30f      // a group whose largest magnitude is below counts as zero
#define HOST_LARGEST_PEAK 0x1p120f // larger magnitudes saturate: steps and their reciprocals stay normal

static inline float host_clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

// A step as its stored type holds it: rounded half to even, never below the smallest normal number, never infinite.
static inline float host_stored_step(float step, bm_dtype scale_type)
{
    if (scale_type == BM_DTYPE_F16)
        return bm_f16_to_f32(bm_f32_to_f16(host_clamp(step, 0x1p-14f, 65504.0f)));
    return scale_type == BM_DTYPE_BF16 ? bm_bf16_to_f32(bm_f32_to_bf16(step)) : step;
}

// The step of a group of zeros: any positive number does, since all its codes are 0.
static inline float host_zero_step(bm_dtype scale_type) { return scale_type == BM_DTYPE_F32 ? 1e-8f : 1.0f; }

// The range of a group as steps are made from it: zero lies in it, and its ends are finite.
static inline float host_range_low(float minimum) { return fmaxf(fminf(minimum, 0.0f), -HOST_LARGEST_PEAK); }
static inline float host_range_high(float maximum) { return fminf(fmaxf(maximum, 0.0f), HOST_LARGEST_PEAK); }

// The step of a group with this range, shrunk by factor. Not for groups of zeros.
static inline float host_group_step(float low, float high, float factor, int bits, bool symmetric, bm_dtype scale_type)
{
    const float steps = (float)((1 << (bits - 1)) - 1); // Q
    if (symmetric)
        return host_stored_step(fmaxf(-low, high) * factor / steps, scale_type);
    const float half_range = high * factor * 0.5f - low * factor * 0.5f; // halved: the whole could overflow
    return host_stored_step(half_range / (steps + 0.5f), scale_type);
}

// The code of 0 for a range that starts at low; inverse = 1 / step.
static inline float host_group_zero_point(float low, float factor, float inverse, int bits, bool symmetric)
{
    const float half_codes = (float)(1 << (bits - 1));
    return symmetric ? 0.0f : host_clamp(rintf(-low * factor * inverse) - half_codes, -half_codes, half_codes - 1.0f);
}

// The code of w: round half to even, add the zero point, clamp; in this order.
static inline float host_code(float w, float inverse, float zero_point, int bits)
{
    const float half_codes = (float)(1 << (bits - 1));
    return host_clamp(rintf(w * inverse) + zero_point, -half_codes, half_codes - 1.0f);
}

#endif
