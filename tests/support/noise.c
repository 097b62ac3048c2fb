// A normal number takes 34 ns by the functions of the library, and models of gigabytes have billions. Here logarithm and
// cosine are short series in loops that the compiler turns into vectors, with an error far above the library's and far
// below a float's: where that error could change the float, the library is asked. So the bits are those of bm_random_normal.
#include "support/noise.h"

#include <math.h>
#include <string.h>

#define LANES 64     // numbers at a time
#define ERROR 1e-12  // of a number over its radius, which is at most 8.6; the series and the library are within 1e-13
#define LARGE 0x1p52 // its bits and an integer below 2^52 are the sum of both
#define PCG_FACTOR UINT64_C(6364136223846793005)

// Vectors of the widest kind that the processor has.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif

static inline double real_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t float_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// Of an integer below 2^52; loops with a conversion of 64 bits are not turned into vectors everywhere.
static inline double real_of_small(uint64_t integer)
{
    return real_of(bits_of(LARGE) | integer) - LARGE;
}

// integer / 2^53, exactly, of one of 53 bits.
static inline double fraction_of(uint64_t integer)
{
    return real_of_small(integer >> 27) * 0x1p-26 + real_of_small(integer & ((1u << 27) - 1)) * 0x1p-53;
}

// log(v), 0 < v <= 1: v = m 2^e with m around 1, log m = 2 artanh((m - 1) / (m + 1)).
static inline double logarithm(double v)
{
    const uint64_t one = bits_of(1.0), middle = bits_of(1.4142135623730951) & ((UINT64_C(1) << 52) - 1);
    const uint64_t bits = bits_of(v), mantissa = bits & ((UINT64_C(1) << 52) - 1);
    const uint64_t is_above = (middle - mantissa) >> 63;
    const double m = real_of((one - (is_above << 52)) | mantissa);
    const double e = real_of_small((bits >> 52) + is_above) - 1023;
    const double s = (m - 1) / (m + 1), t = s * s;
    double sum = 1.0 / 15;
    sum = sum * t + 1.0 / 13;
    sum = sum * t + 1.0 / 11;
    sum = sum * t + 1.0 / 9;
    sum = sum * t + 1.0 / 7;
    sum = sum * t + 1.0 / 5;
    sum = sum * t + 1.0 / 3;
    sum = sum * t + 1;
    return e * 0.6931471805599453 + 2 * s * sum;
}

// cos(2 pi k / 2^53): within an eighth of a turn around each quarter a cosine or a sine.
static inline double cosine_of_turn(uint64_t k)
{
    const uint64_t quarter = (k + (UINT64_C(1) << 50)) >> 51; // 0 to 4
    const double a = 6.283185307179586 * (fraction_of(k) - 0.25 * real_of_small(quarter)), t = a * a;
    double c = -1.0 / 87178291200, s = 1.0 / 6227020800; // 14!, 13!
    c = c * t + 1.0 / 479001600;
    c = c * t - 1.0 / 3628800;
    s = s * t - 1.0 / 39916800;
    c = c * t + 1.0 / 40320;
    s = s * t + 1.0 / 362880;
    c = c * t - 1.0 / 720;
    s = s * t - 1.0 / 5040;
    c = c * t + 1.0 / 24;
    s = s * t + 1.0 / 120;
    c = c * t - 1.0 / 2;
    s = s * t - 1.0 / 6;
    c = c * t + 1;
    s = (s * t + 1) * a;
    const uint64_t is_sine = 0 - (quarter & 1), sign = ((quarter + 1) & 2) << 62;
    return real_of(((bits_of(s) & is_sine) | (bits_of(c) & ~is_sine)) ^ sign);
}

static inline uint32_t output_of(uint64_t state)
{
    const uint32_t shifted = (uint32_t)((state >> 18 ^ state) >> 27), rotation = (uint32_t)(state >> 59);
    return shifted >> rotation | shifted << (-rotation & 31);
}

// The next LANES numbers as two floats each, between which the right one lies. The states go on by as many. Returns bits
// that are set where the two differ somewhere.
WIDEST static uint32_t draw(uint64_t states[NOISE_DRAWS][LANES], uint64_t factor, uint64_t addend, double add,
                            double scale, float low[LANES], float high[LANES])
{
    uint64_t words[NOISE_DRAWS][LANES];
    uint32_t different = 0;
    for (uint32_t d = 0; d < NOISE_DRAWS; d++)
        for (uint32_t i = 0; i < LANES; i++) {
            words[d][i] = output_of(states[d][i]);
            states[d][i] = states[d][i] * factor + addend;
        }
    for (uint32_t i = 0; i < LANES; i++) {
        const uint64_t first = (words[0][i] << 32 | words[1][i]) >> 11,
                       second = (words[2][i] << 32 | words[3][i]) >> 11;
        const double radius = sqrt(-2 * logarithm(1 - fraction_of(first)));
        const double z = radius * cosine_of_turn(second), error = ERROR * radius + 0x1p-1000;
        low[i] = (float)(add + scale * (z - error));
        high[i] = (float)(add + scale * (z + error));
    }
    for (uint32_t i = 0; i < LANES; i++)
        different |= float_bits_of(low[i]) ^ float_bits_of(high[i]);
    return different;
}

void noise_fill(const bm_random *random, uint64_t first, uint64_t count, double add, double scale, float *out)
{
    uint64_t states[NOISE_DRAWS][LANES], factor = 1, addend = 0;
    float low[LANES], high[LANES];
    bm_random lane = *random;
    bm_random_advance(&lane, NOISE_DRAWS * first);
    for (uint32_t i = 0; i < LANES * NOISE_DRAWS; i++) {
        states[i % NOISE_DRAWS][i / NOISE_DRAWS] = lane.state;
        (void)bm_random_u32(&lane);
        addend = addend * PCG_FACTOR + random->stream; // of as many steps in one
        factor *= PCG_FACTOR;
    }
    for (uint64_t begin = 0; begin < count; begin += LANES) {
        const uint64_t size = count - begin < LANES ? count - begin : LANES;
        const uint32_t different = draw(states, factor, addend, add, scale, low, high);
        memcpy(out + begin, low, size * sizeof *out);
        for (uint64_t i = 0; i < size && different; i++) {
            if (float_bits_of(low[i]) == float_bits_of(high[i]))
                continue;
            lane = *random;
            bm_random_advance(&lane, NOISE_DRAWS * (first + begin + i));
            out[begin + i] = (float)(add + scale * bm_random_normal(&lane));
        }
    }
}
