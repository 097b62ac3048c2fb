// Sums of products with what the float model's inputs are off by, of 16 bits as they are stored, beside float64: the difference
// rounded to 16 bits, and for comparison the difference of two sums.
#include "base/half.h"
#include "ops/fixture.h"
#include "quant/gram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 700, N = 44 };

static float stored(bm_dtype type, float x)
{
    return type == BM_DTYPE_F16 ? bm_f16_to_f32(bm_f32_to_f16(x)) : bm_bf16_to_f32(bm_f32_to_bf16(x));
}

static bm_tensor make_stored(bm_dtype type, const float *values)
{
    static uint16_t bits[TOKENS * N];
    for (uint32_t i = 0; i < TOKENS * N; i++)
        bits[i] = type == BM_DTYPE_F16 ? bm_f32_to_f16(values[i]) : bm_f32_to_bf16(values[i]);
    return make_typed(type, TOKENS, N, bits);
}

// The device's own products of 16 bits, or the generic kernel, which takes them everywhere.
static void init_narrow(bm_multiplier *m)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    bm_multiplier_init(m, test_device);
    for (uint32_t i = 0; i < BM_COUNT(m->narrow); i++)
        if (m->narrow[i].gflops == 0)
            m->narrow[i] = generic;
}

// What sums lack: of their norm, and at most of |X_i| |D_j|, the norms of the two channels.
typedef struct losses {
    double norm, channels;
} losses;

static losses lost_in(const float *got, const double *want, const double *x_norms, const double *d_norms)
{
    losses lost = {0, 0};
    double off = 0, norm = 0;
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            const double one = (double)got[i * N + j] - want[i * N + j];
            off += one * one;
            norm += want[i * N + j] * want[i * N + j];
            lost.channels = fmax(lost.channels, fabs(one) / (x_norms[i] * d_norms[j]));
        }
    lost.norm = sqrt(off / norm);
    return lost;
}

// noise: of the quantized prefix, of the inputs' magnitude. Channels lie away from 0, some far, some are large, one changes its sign,
// which is of magnitude turned.
static void check_differences(bm_dtype type, float noise, float turned)
{
    static float x[TOKENS * N], f[TOKENS * N], got[N * N], sums[2][N * N];
    static double want[N * N];
    double x_norms[N] = {0}, d_norms[N] = {0};
    bm_random random;
    bm_multiplier m;
    bm_gram gram = {0};
    bm_random_init(&random, 7, (uint64_t)type);
    fill_normal(&random, TOKENS * N, 1, x);
    fill_normal(&random, TOKENS * N, noise, f);
    for (uint32_t i = 0; i < TOKENS * N; i++) {
        const uint32_t c = i % N;
        const float size = c % 11 == 3 ? 30.0f : c % 7 == 1 ? 0.01f : c == 6 ? turned : 1.0f;
        x[i] = stored(type, size * (x[i] + (c % 5 == 0 ? 4.0f : 0.0f)));
        f[i] = stored(type, c == 6 ? -x[i] : x[i] + size * f[i]);
    }
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            double sum = 0;
            for (uint32_t t = 0; t < TOKENS; t++)
                sum += (double)x[t * N + i] * ((double)f[t * N + j] - (double)x[t * N + j]);
            want[i * N + j] = sum;
        }
    for (uint32_t c = 0; c < N; c++) {
        for (uint32_t t = 0; t < TOKENS; t++) {
            x_norms[c] += (double)x[t * N + c] * (double)x[t * N + c];
            d_norms[c] += pow((double)f[t * N + c] - (double)x[t * N + c], 2);
        }
        x_norms[c] = sqrt(x_norms[c]);
        d_norms[c] = sqrt(d_norms[c]);
    }
    init_narrow(&m);
    const bm_tensor inputs = make_stored(type, x), others = make_stored(type, f);
    MUST(bm_gram_create(test_device, N, true, &gram, &failure));
    MUST(bm_gram_add(&m, &gram, &inputs, &others, &failure));
    assert_true(gram.scratch.view.size == UINT64_C(2) * TOKENS * inputs.stride); // F - X as it is multiplied
    read_tensor(&gram.difference, got);
    for (uint32_t i = 0; i < 2; i++) { // X^T F and X^T X
        const bm_tensor h = make_tensor(N, N, NULL), copy = make_stored(type, x);
        MUST(bm_hessian_add(&m, i == 0 ? &others : &copy, &inputs, 1.0f, &h, &failure));
        read_tensor(&h, sums[i]);
    }
    for (uint32_t i = 0; i < N * N; i++)
        sums[0][i] -= sums[1][i];
    const losses rounded = lost_in(got, want, x_norms, d_norms), subtracted = lost_in(sums[0], want, x_norms, d_norms);
    printf("    %s, noise of %g: %.2g of the norm, %.2g of |X||F - X|; as a difference of sums %.2g, %.2g\n",
           bm_dtype_name(type), (double)noise, rounded.norm, rounded.channels, subtracted.norm, subtracted.channels);
    // Half a unit in the last place of each element, of either sign: the sum of T of them grows with sqrt(T).
    assert_true(rounded.channels <= (type == BM_DTYPE_F16 ? 0x1p-10 : 0x1p-7) / sqrt(TOKENS) + 1e-6);
    bm_gram_destroy(&gram);
    bm_multiplier_free(&m);
    destroy_tensors();
}

static void differences_of_16_bits_lose_little(void **state)
{
    (void)state;
    static const float noises[] = {0.3f, 0.05f, 0.005f};
    for (size_t i = 0; i < BM_COUNT(noises); i++) {
        check_differences(BM_DTYPE_F16, noises[i], 1);
        check_differences(BM_DTYPE_BF16, noises[i], 1);
    }
}

// Inputs that float16 holds may be further from one another than its largest number.
static void differences_may_be_beyond_float16(void **state)
{
    (void)state;
    check_differences(BM_DTYPE_F16, 0.05f, 12000);
}

// Float32 beside 16 bits, and two kinds of 16 bits, are summed in float32.
static void inputs_of_two_types_are_subtracted_in_float32(void **state)
{
    (void)state;
    if (support_is_instrumented()) // such products are too long for the instrumented driver
        skip();
    static float x[TOKENS * N], got[N * N], sums[N * N];
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16};
    bm_random random;
    bm_multiplier m;
    bm_random_init(&random, 8, 0);
    fill_normal(&random, TOKENS * N, 1, x);
    init_narrow(&m);
    for (size_t k = 0; k < BM_COUNT(types); k++) {
        bm_gram gram = {0};
        const bm_tensor inputs = make_stored(BM_DTYPE_BF16, x);
        const bm_tensor others = types[k] == BM_DTYPE_F32 ? make_tensor(TOKENS, N, x) : make_stored(BM_DTYPE_F16, x);
        MUST(bm_gram_create(test_device, N, true, &gram, &failure));
        MUST(bm_gram_add(&m, &gram, &inputs, &others, &failure));
        read_tensor(&gram.difference, got);
        const bm_tensor h = make_tensor(N, N, NULL);
        MUST(bm_hessian_add(&m, &inputs, &others, 1.0f, &h, &failure)); // F^T X
        read_tensor(&h, sums);
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t j = 0; j < N; j++) {
                double want = 0, magnitude = 0, sum = 0, sum_magnitude = 0;
                for (uint32_t t = 0; t < TOKENS; t++) {
                    const double f = (double)(k == 0 ? x[t * N + j] : stored(BM_DTYPE_F16, x[t * N + j]));
                    const double off = f - (double)stored(BM_DTYPE_BF16, x[t * N + j]);
                    const double left = (double)stored(BM_DTYPE_BF16, x[t * N + i]);
                    want += off * left;
                    magnitude += fabs(off * left);
                    sum += f * left;
                    sum_magnitude += fabs(f * left);
                }
                assert_true(fabs((double)got[i * N + j] - want) <= 1e-5 * magnitude);
                assert_true(fabs((double)sums[j * N + i] - sum) <= 1e-5 * sum_magnitude);
            }
        bm_gram_destroy(&gram);
        destroy_tensors();
    }
    bm_multiplier_free(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_of_16_bits_lose_little),
        cmocka_unit_test(differences_may_be_beyond_float16),
        cmocka_unit_test(inputs_of_two_types_are_subtracted_in_float32),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
