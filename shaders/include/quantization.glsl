// The arithmetic of rounding to a grid, shared by the kernels of quantization.   Twin: cl/include/quantization.h
//
// Codes must be the same on every device, so only operations that are rounded alike everywhere are used: float32 addition
// and multiplication without contraction, rint, and integers. A reciprocal is therefore made by Newton's iteration from an
// integer guess and rounded by one step with its exact residual (Dekker's product), never by a division.
//
// value = (code - zero_point) * step, code = clamp(rint(value * reciprocal(step)) + zero_point, -2^(bits-1), 2^(bits-1)-1).
// Source: algorithms of quantization, section 1; Dekker, A floating-point technique for extending the available
// precision, 1971.

// s * r as p + error, exactly (no overflow for 1e-30 < s < 1e30 and r near 1 / s).
float bm_product_error(float s, float r, float p)
{
    precise const float ts = 4097.0 * s, tr = 4097.0 * r;
    precise const float sd = ts - s, rd = tr - r;
    precise const float sh = ts - sd, rh = tr - rd;
    precise const float sl = s - sh, rl = r - rh;
    precise const float error = ((sh * rh - p) + sh * rl + sl * rh) + sl * rl;
    return error;
}

// 1 / s for 1e-30 < s < 1e30.
float bm_reciprocal(float s)
{
    precise float r = uintBitsToFloat(0x7ef311c7u - floatBitsToUint(s)); // within 12 %
    for (int i = 0; i < 4; i++) {
        precise const float t = 2.0 - s * r;
        r = r * t;
    }
    precise const float p = s * r;
    precise const float residual = (1.0 - p) - bm_product_error(s, r, p);
    precise const float result = r + r * residual;
    return result;
}

// x rounded to the type in which steps are stored, kept within its normal numbers.
float bm_stored_step(float x, uint type)
{
    if (type == BM_F16)
        return bm_f16_value(bm_f16_bits(min(max(x, 6.103515625e-05), 65504.0)));
    x = min(max(x, 1.0e-30), 1.0e30);
    return type == BM_BF16 ? uintBitsToFloat(bm_bf16_bits(x) << 16) : x;
}

float bm_code(float w, float reciprocal, float zero_point, uint bits)
{
    const float half_range = float(1u << (bits - 1u));
    precise const float scaled = w * reciprocal;
    return min(max(roundEven(scaled) + zero_point, -half_range), half_range - 1.0);
}

vec4 bm_code4(vec4 w, float reciprocal, float zero_point, uint bits)
{
    return vec4(bm_code(w.x, reciprocal, zero_point, bits), bm_code(w.y, reciprocal, zero_point, bits),
                bm_code(w.z, reciprocal, zero_point, bits), bm_code(w.w, reciprocal, zero_point, bits));
}
