// Conversions against the definition of the formats in float64, for all 65536 values and all midpoints between
// neighbours.
#include "support/unit.h"

#include "base/base.h"
#include "base/half.h"
#include "base/random.h"

#include <float.h>
#include <math.h>
#include <string.h>

// A 16-bit format: sign, exponent bits, mantissa bits.
typedef struct small_float {
    const char *name;
    int mantissa_bits;
    uint16_t infinity; // bits of +infinity
    int bias;
    float (*widen)(uint16_t);
    uint16_t (*from_f32)(float);
    uint16_t (*from_f64)(double);
} small_float;

static const small_float formats[] = {
    {"f16", 10, 0x7c00, 15, bm_f16_to_f32, bm_f32_to_f16, bm_f64_to_f16},
    {"bf16", 7, 0x7f80, 127, bm_bf16_to_f32, bm_f32_to_bf16, bm_f64_to_bf16},
};

// The value of finite bits, by the definition.
static double value_of(const small_float *f, uint16_t bits)
{
    const int exponent = (bits & 0x7fff) >> f->mantissa_bits, mantissa = bits & ((1 << f->mantissa_bits) - 1);
    const double magnitude = exponent == 0
                                 ? ldexp(mantissa, 1 - f->bias - f->mantissa_bits)
                                 : ldexp(mantissa + (1 << f->mantissa_bits), exponent - f->bias - f->mantissa_bits);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static void widen_is_exact_for_every_value(void **state)
{
    (void)state;
    for (size_t k = 0; k < BM_COUNT(formats); k++)
        for (uint32_t bits = 0; bits < 65536; bits++) {
            const small_float *f = &formats[k];
            const uint16_t magnitude = bits & 0x7fff;
            const float got = f->widen((uint16_t)bits);
            if (magnitude > f->infinity) {
                assert_true(isnan(got));
            } else if (magnitude == f->infinity) {
                assert_true(isinf(got) && (got < 0) == (bits >= 0x8000));
            } else {
                assert_true((double)got == value_of(f, (uint16_t)bits));
                assert_true(!!signbit(got) == (bits >= 0x8000));
            }
        }
}

static void every_value_survives_the_round_trip(void **state)
{
    (void)state;
    for (size_t k = 0; k < BM_COUNT(formats); k++)
        for (uint32_t bits = 0; bits < 65536; bits++) {
            const small_float *f = &formats[k];
            const float value = f->widen((uint16_t)bits);
            if (isnan(value)) {
                assert_true((f->from_f32(value) & 0x7fff) > f->infinity);
                assert_true((f->from_f64((double)value) & 0x7fff) > f->infinity);
            } else {
                assert_int_equal(f->from_f32(value), bits);
                assert_int_equal(f->from_f64((double)value), bits);
            }
        }
}

// Between two neighbours the midpoint goes to the even one, whatever lies beside it to its nearest. The neighbour of
// the largest finite value is infinity, whose place in the sequence is the next power of two.
static void midpoints_round_to_even_and_their_neighbours_to_the_nearest(void **state)
{
    (void)state;
    for (size_t k = 0; k < BM_COUNT(formats); k++)
        for (uint32_t bits = 0; bits < formats[k].infinity; bits++) {
            const small_float *f = &formats[k];
            const double low = value_of(f, (uint16_t)bits), high = value_of(f, (uint16_t)(bits + 1));
            const double middle = low + (high - low) / 2; // exact: one bit more
            const uint32_t even = bits & 1 ? bits + 1 : bits;
            for (int sign = 0; sign < 2; sign++) {
                const double s = sign ? -1 : 1;
                const uint32_t top = sign ? 0x8000 : 0;
                assert_int_equal(f->from_f64(s * middle), top | even);
                assert_int_equal(f->from_f64(s * nextafter(middle, low)), top | bits);
                assert_int_equal(f->from_f64(s * nextafter(middle, HUGE_VAL)), top | (bits + 1));
                if ((double)(float)middle != middle)
                    continue; // below the smallest float32
                assert_int_equal(f->from_f32((float)(s * middle)), top | even);
                assert_int_equal(f->from_f32((float)s * nextafterf((float)middle, 0.0f)), top | bits);
                assert_int_equal(f->from_f32((float)s * nextafterf((float)middle, HUGE_VALF)), top | (bits + 1));
            }
        }
}

static void from_f64_rounds_once(void **state)
{
    (void)state;
    // 1 + 2^-11 + 2^-40: float32 drops the last bit, and the tie would then go down to 1.
    assert_int_equal(bm_f64_to_f16(1 + 0x1p-11 + 0x1p-40), 0x3c01);
    assert_int_equal(bm_f32_to_f16((float)(1 + 0x1p-11 + 0x1p-40)), 0x3c00);
    assert_int_equal(bm_f64_to_f16(1 + 0x3p-11 - 0x1p-40), 0x3c01);
    assert_int_equal(bm_f64_to_bf16(-(1 + 0x1p-8 + 0x1p-40)), 0xbf81);
}

static void elements_are_little_endian_and_need_no_alignment(void **state)
{
    static const struct {
        bm_dtype dtype;
        size_t size;
        uint8_t bytes[4];
    } cases[] = {{BM_DTYPE_F32, 4, {0x01, 0x00, 0x80, 0x3f}}, // 1 + 2^-23
                 {BM_DTYPE_F16, 2, {0x00, 0x3c}},
                 {BM_DTYPE_BF16, 2, {0x80, 0x3f}}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint8_t memory[1 + 3 * 4] = {0};
        bm_store_real(memory + 1, cases[i].dtype, 2, 1 + 0x1p-23f);
        assert_memory_equal(memory + 1 + 2 * cases[i].size, cases[i].bytes, cases[i].size);
        assert_true(bm_load_real(memory + 1, cases[i].dtype, 2) == (i == 0 ? 1 + 0x1p-23f : 1.0f));
        assert_true(bm_load_real(memory + 1, cases[i].dtype, 1) == 0);
    }
}

static void overflow_is_infinity_and_underflow_keeps_its_sign(void **state)
{
    static const double huge[] = {DBL_MAX, 1e300, HUGE_VAL};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(huge); i++) {
        assert_int_equal(bm_f64_to_f16(huge[i]), 0x7c00);
        assert_int_equal(bm_f64_to_f16(-huge[i]), 0xfc00);
        assert_int_equal(bm_f64_to_bf16(-huge[i]), 0xff80);
    }
    assert_int_equal(bm_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(bm_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(bm_f32_to_f16(FLT_MAX), 0x7c00);
    assert_int_equal(bm_f32_to_bf16(FLT_MAX), 0x7f80);
    assert_int_equal(bm_f64_to_f16(-DBL_TRUE_MIN), 0x8000);
    assert_int_equal(bm_f64_to_bf16(-DBL_TRUE_MIN), 0x8000);
    assert_int_equal(bm_f32_to_f16(-0.0f), 0x8000);
}

static void nan_stays_nan_whatever_its_bits(void **state)
{
    bm_random random;
    (void)state;
    bm_random_init(&random, 1, 1);
    for (int i = 0; i < 100000; i++) {
        const uint32_t mantissa = bm_random_u32(&random) & 0x7fffff;
        const uint32_t bits = 0x7f800000u | (mantissa ? mantissa : 1) | (bm_random_u32(&random) & 0x80000000u);
        float value;
        memcpy(&value, &bits, sizeof value);
        assert_true((bm_f32_to_f16(value) & 0x7fff) > 0x7c00);
        assert_true((bm_f32_to_bf16(value) & 0x7fff) > 0x7f80);
    }
}

static void three_types_are_real(void **state)
{
    (void)state;
    for (bm_dtype dtype = BM_DTYPE_NONE; dtype <= BM_DTYPE_F8_E5M2; dtype++) {
        const bool want = dtype == BM_DTYPE_F32 || dtype == BM_DTYPE_F16 || dtype == BM_DTYPE_BF16;
        assert_int_equal(bm_dtype_is_real(dtype), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widen_is_exact_for_every_value),
        cmocka_unit_test(every_value_survives_the_round_trip),
        cmocka_unit_test(midpoints_round_to_even_and_their_neighbours_to_the_nearest),
        cmocka_unit_test(from_f64_rounds_once),
        cmocka_unit_test(elements_are_little_endian_and_need_no_alignment),
        cmocka_unit_test(overflow_is_infinity_and_underflow_keeps_its_sign),
        cmocka_unit_test(nan_stays_nan_whatever_its_bits),
        cmocka_unit_test(three_types_are_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
