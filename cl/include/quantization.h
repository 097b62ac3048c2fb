// The arithmetic of rounding to a grid, shared by the kernels of quantization.   Twins: shaders/include/quantization.glsl, src/device/host/quantization.h
//
//   value = (code - zero_point) * step      code = clamp(rint(value * (1 / step)) + zero_point, -2^(bits-1), 2^(bits-1)-1)
//
// Every device must compute the same codes. Only float32 addition and multiplication round alike everywhere, so division
// is corrected in integers, and what could meet denormal numbers (which some devices flush) is scaled or cut off before.
#include "bitmill.h"
#define BM_UNIT 0                // beside BM_F32 and its like
#define BM_ZERO_PEAK 1e-30f      // a group whose largest magnitude is below counts as zero
#define BM_LARGEST_PEAK 0x1p120f // larger magnitudes saturate: steps and their reciprocals stay normal

// a / b, correctly rounded. a, b: positive and normal, as is the quotient.
//
// The device's quotient of the two significands is off by a few units at most; the remainder ma 2^shift - r mb of a
// quotient that near is below 2^28 and so exact in 32 bits although its terms are not. Half-way quotients do not exist.
inline float bm_divide(float a, float b)
{
    const uint ma = (as_uint(a) & 0x7fffffu) | 0x800000u, mb = (as_uint(b) & 0x7fffffu) | 0x800000u;
    const uint less = ma < mb ? 1u : 0u; // then twice ma: the quotient's significand lies in [2^23, 2^24)
    const uint shift = 23u + less;
    uint r = (uint)((float)ma / (float)mb * (less ? 16777216.0f : 8388608.0f));
    int rest = (int)((ma << shift) - r * mb);
    for (uint i = 0; i < 5; i++) {
        if (2 * rest > (int)mb) {
            r++;
            rest -= (int)mb;
        } else if (2 * rest < -(int)mb) {
            r--;
            rest += (int)mb;
        }
    }
    const uint exponent = (as_uint(a) >> 23) + 127u - (as_uint(b) >> 23) - less;
    return as_float((exponent << 23) | (r & 0x7fffffu));
}

// 1 / step, with the sign of step.
inline float bm_inverse_step(float step)
{
    return copysign(bm_divide(1.0f, fabs(step)), step);
}

// A step as its stored type holds it: rounded half to even, never below the smallest normal number, never infinite. BM_UNIT: a unit of
// nested steps, float16 down to its smallest number; what they make of it is normal float32 all the same.
inline float bm_stored_step(float step, uint scale_type)
{
    if (scale_type == BM_F16 || scale_type == BM_UNIT)
        return copysign(
            bm_f16_value(bm_f16_bits(fmin(fmax(fabs(step), scale_type == BM_UNIT ? 0x1p-24f : 0x1p-14f), 65504.0f))),
            step);
    return scale_type == BM_BF16 ? as_float(bm_bf16_bits(step) << 16) : step;
}

// The step of a group of zeros: any positive number does, since all its codes are 0.
inline float bm_zero_step(uint scale_type)
{
    return scale_type == BM_F32 ? 1e-8f : 1.0f;
}

// The range of a group as steps are made from it: zero lies in it, and its ends are finite.
inline float bm_range_low(float minimum)
{
    return fmax(fmin(minimum, 0.0f), -BM_LARGEST_PEAK);
}
inline float bm_range_high(float maximum)
{
    return fmin(fmax(maximum, 0.0f), BM_LARGEST_PEAK);
}

// The step of a group with this range, shrunk by factor. Not for groups of zeros. Symmetric: with the sign of factor, so
// that the code without a partner, -2^(bits-1), lies on either side.
inline float bm_group_step(float low, float high, float factor, uint bits, uint symmetric, uint scale_type)
{
    const float steps = (float)((1u << (bits - 1)) - 1); // Q
    if (symmetric)
        return bm_stored_step(copysign(bm_divide(fmax(-low, high) * fabs(factor), steps), factor), scale_type);
    const float half_range = high * factor * 0.5f - low * factor * 0.5f; // halved: the whole could overflow
    return bm_stored_step(bm_divide(half_range, steps + 0.5f), scale_type);
}

// The code of 0 for a range that starts at low; inverse = 1 / step.
inline float bm_group_zero_point(float low, float factor, float inverse, uint bits, uint symmetric)
{
    const float half_codes = (float)(1u << (bits - 1));
    return symmetric ? 0.0f : clamp(rint(-low * factor * inverse) - half_codes, -half_codes, half_codes - 1.0f);
}

// The grid that factor gives a group of this range; a group of zeros has the grid of zeros.
typedef struct bm_grid {
    float step, zero_point;
} bm_grid;
inline bm_grid bm_group_grid(float minimum, float maximum, float factor, uint bits, uint symmetric, uint scale_type)
{
    const float low = bm_range_low(minimum), high = bm_range_high(maximum);
    bm_grid grid = {bm_zero_step(scale_type), 0.0f};
    if (fmax(-low, high) >= BM_ZERO_PEAK) {
        grid.step = bm_group_step(low, high, factor, bits, symmetric, scale_type);
        grid.zero_point = bm_group_zero_point(low, factor, bm_inverse_step(grid.step), bits, symmetric);
    }
    return grid;
}

// Codes of four neighbours: round half to even, add the zero point, clamp; in this order. On CPUs the sum with 1.5 2^23 has no bits
// behind the point, and where a number is too large for that the ends of the range hide it: PoCL makes a dozen instructions of
// rint and three of clamp. Not on GPUs, which gain nothing: a compiler that makes an fma of it, against the pragma, would be wrong.
inline float4 bm_codes4(float4 w, float inverse, float zero_point, uint bits)
{
    const float half_codes = (float)(1u << (bits - 1));
#ifdef BM_CPU
    const float4 low = -half_codes, high = half_codes - 1.0f,
                 code = ((w * inverse + 0x1.8p23f) - 0x1.8p23f) + zero_point;
    const float4 capped = code < high ? code : high;
    return capped > low ? capped : low;
#else
    return clamp(rint(w * inverse) + zero_point, -half_codes, half_codes - 1.0f);
#endif
}

// Four codes in a word, the first in the lowest byte.
inline uint bm_pack_bytes(float4 codes)
{
    const uint4 u = as_uint4(convert_int4(codes)) & 255u;
    return u.x | u.y << 8 | u.z << 16 | u.w << 24;
}

// The power of two that brings range near 2^40: squares of differences then neither overflow nor meet denormal numbers
// that matter (a difference below 2^-103 of the range counts on some devices and not on others; beside it no other does).
inline float bm_range_unit(float range)
{
    return as_float(min(294u - (as_uint(range) >> 23), 254u) << 23);
}

// The power of two that brings the larger end of a range to 2^10 .. 2^11: float16 then holds differences from it, and their halves
// down to 2^-24 of the range.
inline float bm_half_unit(float minimum, float maximum)
{
    return as_float((uint)clamp(264 - (int)(as_uint(fmax(fabs(minimum), fabs(maximum))) >> 23), 1, 254) << 23);
}
