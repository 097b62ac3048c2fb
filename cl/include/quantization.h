// The arithmetic of rounding to a grid, shared by the kernels of quantization.   Twin: shaders/include/quantization.glsl
//
// Codes must be the same on every device, so only operations that are rounded alike everywhere are used: float32 addition
// and multiplication without contraction, rint, and integers. A reciprocal is therefore made by Newton's iteration from an
// integer guess and rounded by one step with its exact residual (Dekker's product), never by a division.
//
// value = (code - zero_point) * step, code = clamp(rint(value * reciprocal(step)) + zero_point, -2^(bits-1), 2^(bits-1)-1).
// Source: algorithms of quantization, section 1; Dekker, A floating-point technique for extending the available
// precision, 1971.
#include "bitmill.h"

// s * r as p + error, exactly (no overflow for 1e-30 < s < 1e30 and r near 1 / s).
inline float bm_product_error(float s, float r, float p)
{
    const float ts = 4097.0f * s, tr = 4097.0f * r;
    const float sh = ts - (ts - s), rh = tr - (tr - r);
    const float sl = s - sh, rl = r - rh;
    return ((sh * rh - p) + sh * rl + sl * rh) + sl * rl;
}

// 1 / s for 1e-30 < s < 1e30.
inline float bm_reciprocal(float s)
{
    float r = as_float(0x7ef311c7u - as_uint(s)); // within 12 %
    for (int i = 0; i < 4; i++)
        r = r * (2.0f - s * r);
    const float p = s * r;
    const float residual = (1.0f - p) - bm_product_error(s, r, p);
    return r + r * residual;
}

// x rounded to the type in which steps are stored, kept within its normal numbers.
inline float bm_stored_step(float x, uint type)
{
    if (type == BM_F16)
        return bm_f16_value(bm_f16_bits(fmin(fmax(x, 6.103515625e-05f), 65504.0f)));
    x = fmin(fmax(x, 1.0e-30f), 1.0e30f);
    return type == BM_BF16 ? as_float(bm_bf16_bits(x) << 16) : x;
}

inline float bm_code(float w, float reciprocal, float zero_point, uint bits)
{
    const float half_range = (float)(1u << (bits - 1u));
    return fmin(fmax(rint(w * reciprocal) + zero_point, -half_range), half_range - 1.0f);
}

inline float4 bm_code4(float4 w, float reciprocal, float zero_point, uint bits)
{
    return (float4)(bm_code(w.x, reciprocal, zero_point, bits), bm_code(w.y, reciprocal, zero_point, bits),
                    bm_code(w.z, reciprocal, zero_point, bits), bm_code(w.w, reciprocal, zero_point, bits));
}
