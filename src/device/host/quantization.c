// The arithmetic of rounding to a grid.
// Source: Dekker, A floating-point technique for extending the available precision, 1971.
#include "device/host/quantization.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

// s * r as p + error, exactly.
static float product_error(float s, float r, float p)
{
    const float ts = 4097.0f * s, tr = 4097.0f * r;
    const float sh = ts - (ts - s), rh = tr - (tr - r);
    const float sl = s - sh, rl = r - rh;
    return ((sh * rh - p) + sh * rl + sl * rh) + sl * rl;
}

float host_reciprocal(float s)
{
    uint32_t bits;
    float r;
    memcpy(&bits, &s, sizeof bits);
    bits = 0x7ef311c7u - bits; // within 12 %
    memcpy(&r, &bits, sizeof r);
    for (int i = 0; i < 4; i++)
        r = r * (2.0f - s * r);
    const float p = s * r;
    const float residual = (1.0f - p) - product_error(s, r, p);
    return r + r * residual;
}

float host_stored_step(float x, bm_dtype type)
{
    if (type == BM_DTYPE_F16)
        return bm_f16_to_f32(bm_f32_to_f16(fminf(fmaxf(x, 6.103515625e-05f), 65504.0f)));
    x = fminf(fmaxf(x, 1.0e-30f), 1.0e30f);
    return type == BM_DTYPE_BF16 ? bm_bf16_to_f32(bm_f32_to_bf16(x)) : x;
}

float host_code(float w, float reciprocal, float zero_point, uint32_t bits)
{
    const float half_range = (float)(1u << (bits - 1u));
    return fminf(fmaxf(rintf(w * reciprocal) + zero_point, -half_range), half_range - 1.0f);
}
