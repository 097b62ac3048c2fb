// Conversions between float32 and the 16-bit storage types, by integer arithmetic: equal on every platform.
// Source: IEEE 754-2019, sections 3.4 and 4.3.1.
#include "base/half.h"

#include "base/base.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float value_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float bm_f16_to_f32(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu, mantissa = bits & 0x3ffu;
    if (exponent == 0x1f)
        return value_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0)
        return value_of(sign | (exponent + 112) << 23 | mantissa << 13);
    const float magnitude = (float)mantissa * 0x1p-24f; // exact
    return sign ? -magnitude : magnitude;
}

// a where condition is 1, b where it is 0: no branch, so that a loop becomes vector instructions.
static uint32_t choose(uint32_t condition, uint32_t a, uint32_t b)
{
    return b ^ ((a ^ b) & (0u - condition));
}

static uint16_t round_to_f16(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t sign = (bits >> 16) & 0x8000u, u = bits & 0x7fffffffu;
    const uint32_t normal = (u - 0x38000000u + 0xfffu + ((u >> 13) & 1u)) >> 13;
    const uint32_t subnormal =
        bits_of(value_of(u) + 0.5f) - 0x3f000000u; // the rounded multiple of 2^-24 in the low bits
    const uint32_t finite = choose((int32_t)u < 0x38800000, subnormal, normal);
    const uint32_t special = choose((int32_t)u > 0x7f800000, 0x7e00u, 0x7c00u);
    return (uint16_t)(sign | choose((int32_t)u >= 0x477ff000, special, finite)); // rounds to 65536 or more
}

uint16_t bm_f32_to_f16(float value)
{
    return round_to_f16(value);
}

void bm_f32_to_f16_all(const float *values, uint64_t count, uint16_t *out)
{
    for (uint64_t i = 0; i < count; i++)
        out[i] = round_to_f16(values[i]);
}

float bm_bf16_to_f32(uint16_t bits)
{
    return value_of((uint32_t)bits << 16);
}

uint16_t bm_f32_to_bf16(float value)
{
    const uint32_t u = bits_of(value);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

// value rounded to float32 to odd: a second rounding to 16 bits then gives what one rounding would.
static float round_to_odd(double value)
{
    const float nearest = (float)value;
    if ((double)nearest == value || isnan(value) || isinf(nearest))
        return nearest;
    // The float whose magnitude is the truncation of value's, with its last bit set.
    const float truncated = fabs((double)nearest) > fabs(value) ? nextafterf(nearest, 0.0f) : nearest;
    return value_of(bits_of(truncated) | 1u);
}

uint16_t bm_f64_to_f16(double value)
{
    return bm_f32_to_f16(round_to_odd(value));
}
uint16_t bm_f64_to_bf16(double value)
{
    return bm_f32_to_bf16(round_to_odd(value));
}

bool bm_dtype_is_real(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F32 || dtype == BM_DTYPE_F16 || dtype == BM_DTYPE_BF16;
}

float bm_load_real(const void *bytes, bm_dtype dtype, uint64_t i)
{
    const uint8_t *start = bytes;
    if (dtype == BM_DTYPE_F32)
        return value_of(bm_load_le32(start + 4 * i));
    const uint16_t bits = bm_load_le16(start + 2 * i);
    return dtype == BM_DTYPE_F16 ? bm_f16_to_f32(bits) : bm_bf16_to_f32(bits);
}

void bm_store_real(void *bytes, bm_dtype dtype, uint64_t i, float value)
{
    uint8_t *start = bytes;
    if (dtype == BM_DTYPE_F32)
        bm_store_le32(start + 4 * i, bits_of(value));
    else
        bm_store_le16(start + 2 * i, dtype == BM_DTYPE_F16 ? bm_f32_to_f16(value) : bm_f32_to_bf16(value));
}

void bm_load_real_all(const void *bytes, bm_dtype dtype, uint64_t count, float *out)
{
    const uint8_t *start = bytes;
    for (uint64_t i = 0; dtype == BM_DTYPE_BF16 && i < count; i++) // without a call an element
        out[i] = value_of((uint32_t)bm_load_le16(start + 2 * i) << 16);
    for (uint64_t i = 0; dtype != BM_DTYPE_BF16 && i < count; i++)
        out[i] = bm_load_real(bytes, dtype, i);
}

void bm_store_real_all(void *bytes, bm_dtype dtype, const float *values, uint64_t count)
{
    uint8_t *start = bytes;
    for (uint64_t i = 0; dtype == BM_DTYPE_F16 && i < count; i++)
        bm_store_le16(start + 2 * i, round_to_f16(values[i]));
    for (uint64_t i = 0; dtype != BM_DTYPE_F16 && i < count; i++)
        bm_store_real(bytes, dtype, i, values[i]);
}
