#include "support/unit.h"

#include "base/base.h"
#include "base/random.h"
#include "support/noise.h"

#include <math.h>

// The first numbers of the generator's published demonstration (seed 42, stream 54).
static void pcg32_gives_the_published_numbers(void **state)
{
    static const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    bm_random random;
    (void)state;
    bm_random_init(&random, 42, 54);
    for (size_t i = 0; i < BM_COUNT(expected); i++)
        assert_int_equal(bm_random_u32(&random), expected[i]);
}

static void streams_differ_and_seeds_repeat(void **state)
{
    bm_random a, b, c;
    uint32_t equal = 0;
    (void)state;
    bm_random_init(&a, 7, 0);
    bm_random_init(&b, 7, 0);
    bm_random_init(&c, 7, 1);
    for (int i = 0; i < 1000; i++) {
        const uint32_t value = bm_random_u32(&a);
        assert_int_equal(value, bm_random_u32(&b));
        equal += value == bm_random_u32(&c);
    }
    assert_true(equal < 3);
}

static void below_stays_below_and_meets_every_value(void **state)
{
    uint32_t counts[7] = {0};
    bm_random random;
    (void)state;
    bm_random_init(&random, 3, 0);
    for (int i = 0; i < 70000; i++) {
        const uint32_t value = bm_random_below(&random, 7);
        assert_true(value < 7);
        counts[value]++;
    }
    for (int i = 0; i < 7; i++) // 10000 expected, standard deviation 93: six of them
        assert_true(counts[i] > 10000 - 6 * 93 && counts[i] < 10000 + 6 * 93);
    assert_int_equal(bm_random_below(&random, 1), 0);
    (void)bm_random_below(&random, UINT32_MAX);
}

static void double_and_normal_have_their_moments(void **state)
{
    enum { COUNT = 200000 };
    double sum = 0, normal = 0, squares = 0;
    bm_random random;
    (void)state;
    bm_random_init(&random, 5, 9);
    for (int i = 0; i < COUNT; i++) {
        const double u = bm_random_double(&random), n = bm_random_normal(&random);
        assert_true(u >= 0 && u < 1);
        assert_true(isfinite(n));
        sum += u;
        normal += n;
        squares += n * n;
    }
    // Six standard deviations of each mean.
    assert_true(fabs(sum / COUNT - 0.5) < 6 * sqrt(1.0 / 12 / COUNT));
    assert_true(fabs(normal / COUNT) < 6 * sqrt(1.0 / COUNT));
    assert_true(fabs(squares / COUNT - 1) < 6 * sqrt(2.0 / COUNT));
}

static void shuffle_is_a_permutation_that_repeats(void **state)
{
    uint32_t a[100], b[100], moved = 0;
    uint8_t seen[100] = {0};
    bm_random random;
    (void)state;
    for (uint32_t i = 0; i < 100; i++)
        a[i] = b[i] = i;
    bm_random_init(&random, 11, 0);
    bm_random_shuffle(&random, a, 100);
    bm_random_init(&random, 11, 0);
    bm_random_shuffle(&random, b, 100);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(a[i], b[i]);
        assert_true(a[i] < 100 && !seen[a[i]]);
        seen[a[i]] = 1;
        moved += a[i] != i;
    }
    assert_true(moved > 80);
    bm_random_shuffle(&random, a, 0);
    bm_random_shuffle(&random, a, 1);
}

// Of three quarters of all numbers the lowest third comes as often as the others: nothing is counted twice.
static void below_prefers_no_value(void **state)
{
    enum { COUNT = 30000 };
    uint32_t low = 0;
    bm_random random;
    (void)state;
    bm_random_init(&random, 21, 0);
    for (uint32_t i = 0; i < COUNT; i++)
        low += bm_random_below(&random, UINT32_C(3) << 30) < UINT32_C(1) << 30;
    assert_true(fabs((double)low / COUNT - 1.0 / 3) < 6 * sqrt(2.0 / 9 / COUNT));
}

// The six orders of three items are equally likely, that in which they came among them.
static void shuffle_gives_every_order(void **state)
{
    enum { COUNT = 6000 };
    uint32_t counts[27] = {0}, orders = 0;
    bm_random random;
    (void)state;
    bm_random_init(&random, 5, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t items[3] = {0, 1, 2};
        bm_random_shuffle(&random, items, 3);
        counts[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    for (uint32_t i = 0; i < 27; i++) {
        orders += counts[i] > 0;
        assert_true(counts[i] == 0 || fabs(counts[i] - COUNT / 6.0) < 6 * sqrt(COUNT * 5.0 / 36));
    }
    assert_int_equal(orders, 6);
}

// The ten pairs of five numbers are equally likely; they rise. All, none, and as many as there are.
static void chosen_numbers_are_as_likely_as_others(void **state)
{
    enum { COUNT = 20000 };
    uint32_t counts[25] = {0}, pairs = 0, out[5] = {9, 9, 9, 9, 9};
    bm_random random;
    (void)state;
    bm_random_init(&random, 5, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        bm_random_choose(&random, 5, 2, out);
        assert_true(out[0] < out[1] && out[1] < 5 && out[2] == 9);
        counts[out[0] * 5 + out[1]]++;
    }
    for (uint32_t i = 0; i < 25; i++) {
        pairs += counts[i] > 0;
        assert_true(counts[i] == 0 || fabs(counts[i] - COUNT / 10.0) < 6 * sqrt(COUNT * 9.0 / 100));
    }
    assert_int_equal(pairs, 10);
    bm_random_choose(&random, 5, 5, out);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(out[i], i);
    bm_random_choose(&random, 0, 0, out);
}

static void numbers_are_left_out(void **state)
{
    static const uint64_t counts[] = {0, 1, 2, 3, 4, 7, 64, 1000, 4097};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        bm_random a, b;
        bm_random_init(&a, 12, 34);
        b = a;
        for (uint64_t k = 0; k < counts[i]; k++)
            (void)bm_random_u32(&a);
        bm_random_advance(&b, counts[i]);
        assert_int_equal(bm_random_u32(&a), bm_random_u32(&b));
    }
    bm_random forth, back;
    bm_random_init(&forth, 1, 1);
    back = forth;
    bm_random_advance(&forth, UINT64_C(1) << 63);
    bm_random_advance(&forth, UINT64_C(1) << 63); // 2^64 numbers are the whole cycle
    assert_int_equal(bm_random_u32(&forth), bm_random_u32(&back));
}

// Many at a time, from anywhere in the sequence: what one call after the other gives, bit for bit.
static void noise_is_that_of_single_numbers(void **state)
{
    enum { COUNT = 1000 };
    static const struct {
        uint64_t first;
        double add, scale;
    } cases[] = {{0, 0, 1}, {1, 1, 0.1}, {777, 0, 1e-20}, {100000, -3, 0.015625}, {12345, 0, 1e30}};
    float values[COUNT];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t count = 1; count <= COUNT; count += 111) {
            bm_random start, one;
            bm_random_init(&start, 5, i);
            noise_fill(&start, cases[i].first, count, cases[i].add, cases[i].scale, values);
            one = start;
            bm_random_advance(&one, NOISE_DRAWS * cases[i].first);
            for (uint64_t k = 0; k < count; k++) {
                const float want = (float)(cases[i].add + cases[i].scale * bm_random_normal(&one));
                assert_memory_equal(&values[k], &want, sizeof want);
            }
        }
}

// The ends of the series: every hundredth of a turn and a power of two of the logarithm's argument is met among so many.
static void much_noise_is_that_of_single_numbers(void **state)
{
    enum { COUNT = 4096 };
    float values[COUNT];
    uint64_t different = 0;
    bm_random start, one;
    (void)state;
    bm_random_init(&start, 99, 1);
    one = start;
    for (uint64_t begin = 0; begin < 400 * COUNT; begin += COUNT) {
        noise_fill(&start, begin, COUNT, 0, 1, values);
        for (uint64_t k = 0; k < COUNT; k++)
            different += values[k] != (float)bm_random_normal(&one);
    }
    assert_int_equal(different, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pcg32_gives_the_published_numbers),
        cmocka_unit_test(streams_differ_and_seeds_repeat),
        cmocka_unit_test(below_stays_below_and_meets_every_value),
        cmocka_unit_test(below_prefers_no_value),
        cmocka_unit_test(double_and_normal_have_their_moments),
        cmocka_unit_test(shuffle_is_a_permutation_that_repeats),
        cmocka_unit_test(shuffle_gives_every_order),
        cmocka_unit_test(numbers_are_left_out),
        cmocka_unit_test(noise_is_that_of_single_numbers),
        cmocka_unit_test(much_noise_is_that_of_single_numbers),
        cmocka_unit_test(chosen_numbers_are_as_likely_as_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
