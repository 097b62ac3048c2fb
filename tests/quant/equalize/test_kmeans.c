// Pieces of channels against all partitions there are, and the cases where these are equally good.
#include "base/random.h"
#include "quant/equalize/kmeans.h"
#include "quant/equalize/close.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 12
static bm_error failure;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static long double cost_of(const double *sorted, uint32_t first, uint32_t end)
{
    long double mean = 0, cost = 0;
    for (uint32_t i = first; i < end; i++)
        mean += (long double)sorted[i] / (end - first);
    for (uint32_t i = first; i < end; i++)
        cost += ((long double)sorted[i] - mean) * ((long double)sorted[i] - mean);
    return cost;
}

// The least cost of sorted values first .. count - 1 in so many pieces, by trying all.
static long double best_cost(const double *sorted, uint32_t first, uint32_t count, uint32_t pieces)
{
    long double best = INFINITY;
    if (pieces == 1)
        return cost_of(sorted, first, count);
    for (uint32_t end = first + 1; end + pieces - 1 <= count; end++) {
        const long double cost = cost_of(sorted, first, end) + best_cost(sorted, end, count, pieces - 1);
        best = cost < best ? cost : best;
    }
    return best;
}

static long double cost_of_pieces(const double *values, const bm_channel_pieces *pieces)
{
    long double cost = 0;
    for (uint32_t p = 0; p < pieces->num_pieces; p++) {
        double members[MOST];
        uint32_t count = 0;
        for (uint32_t c = 0; c < pieces->channels; c++)
            if (pieces->piece[c] == p)
                members[count++] = values[c];
        assert_int_equal(count, pieces->size[p]);
        cost += cost_of(members, 0, count);
    }
    return cost;
}

static void pieces_are_the_best_of_all(void **state)
{
    (void)state;
    bm_random random;
    bm_random_init(&random, 1, 0);
    for (uint32_t trial = 0; trial < 400; trial++) {
        const uint32_t count = 1 + trial % MOST;
        double values[MOST] = {0}, sorted[MOST];
        for (uint32_t i = 0; i < count; i++) // many equal ones, outliers, values far from 0
            values[i] = trial % 3 == 0   ? floor(bm_random_double(&random) * 5)
                        : trial % 3 == 1 ? exp(6 * bm_random_double(&random))
                                         : 1e6 + bm_random_double(&random);
        bm_channel_pieces pieces[6];
        uint32_t num_found = 0, num_distinct = 1;
        memcpy(sorted, values, sizeof sorted);
        qsort(sorted, count, sizeof *sorted, compare);
        for (uint32_t i = 1; i < count; i++)
            num_distinct += sorted[i] != sorted[i - 1];
        assert_ok(bm_kmeans(values, count, 6, pieces, &num_found, &failure), &failure);
        assert_int_equal(num_found, num_distinct < 6 ? num_distinct : 6);
        for (uint32_t k = 1; k <= num_found; k++) {
            const long double best = best_cost(sorted, 0, count, k);
            assert_int_equal(pieces[k - 1].num_pieces, k);
            assert_close(cost_of_pieces(values, &pieces[k - 1]), best, 1e-9L * best + 1e-15L);
            bm_channel_pieces_free(&pieces[k - 1]);
        }
    }
}

static void check_pieces(const double *values, uint32_t channels, uint32_t k, const uint32_t *expected)
{
    bm_channel_pieces pieces[8];
    uint32_t num_found = 0;
    assert_ok(bm_kmeans(values, channels, 8, pieces, &num_found, &failure), &failure);
    assert_true(k <= num_found);
    for (uint32_t c = 0; c < channels; c++)
        assert_int_equal(pieces[k - 1].piece[c], expected[c]);
    for (uint32_t i = 0; i < num_found; i++)
        bm_channel_pieces_free(&pieces[i]);
}

// 0 | 1 2 costs as much as 0 1 | 2, and steps of 0.1 are not equal in binary.
static void among_equals_pieces_above_begin_low(void **state)
{
    (void)state;
    check_pieces((const double[]){2, 0, 1}, 3, 2, (const uint32_t[]){1, 0, 1});
    check_pieces((const double[]){0.1, 0.2, 0.3}, 3, 2, (const uint32_t[]){0, 1, 1});
    check_pieces((const double[]){0.1, 0.2, 0.3, 0.4, 0.5}, 5, 2, (const uint32_t[]){0, 0, 1, 1, 1});
    check_pieces((const double[]){0.1, 0.2, 0.3, 0.4, 0.5}, 5, 3, (const uint32_t[]){0, 1, 1, 2, 2});
    check_pieces((const double[]){5, 5, 5, 1, 1, 5}, 6, 2, (const uint32_t[]){1, 1, 1, 0, 0, 1});
}

// Differences of 1e-3 at 1e7: squares are 1e14, of which a double leaves 0.01.
static void values_far_from_0_keep_their_differences(void **state)
{
    (void)state;
    check_pieces((const double[]){1e7, 1e7 + 1e-3, 1e7 + 3e-3, 1e7 + 4e-3, -1e7}, 5, 3,
                 (const uint32_t[]){1, 1, 2, 2, 0});
}

static void pieces_say_what_they_hold(void **state)
{
    (void)state;
    const double values[5] = {4, 1, 10, 2, 5};
    bm_channel_pieces pieces[3];
    uint32_t num_found = 0;
    assert_ok(bm_kmeans(values, 5, 3, pieces, &num_found, &failure), &failure);
    const bm_channel_pieces *three = &pieces[2];
    assert_true(three->centroid[0] == 1.5 && three->centroid[1] == 4.5 && three->centroid[2] == 10);
    assert_true(three->upper[0] == 2 && three->upper[1] == 5 && three->upper[2] == 10);
    assert_true(three->size[0] == 2 && three->size[1] == 2 && three->size[2] == 1);
    for (uint32_t i = 0; i < num_found; i++)
        bm_channel_pieces_free(&pieces[i]);
}

static void as_many_pieces_as_there_are_values(void **state)
{
    (void)state;
    bm_channel_pieces pieces[4];
    uint32_t num_found = 0;
    assert_ok(bm_kmeans((const double[]){7, 7, 7}, 3, 4, pieces, &num_found, &failure), &failure); // constant
    assert_int_equal(num_found, 1);
    assert_true(pieces[0].size[0] == 3 && pieces[0].centroid[0] == 7);
    bm_channel_pieces_free(&pieces[0]);
    assert_ok(bm_kmeans((const double[]){1, 2}, 2, 4, pieces, &num_found, &failure), &failure); // more than channels
    assert_int_equal(num_found, 2);
    bm_channel_pieces_free(&pieces[0]);
    bm_channel_pieces_free(&pieces[1]);
}

static void what_is_no_magnitude_is_refused(void **state)
{
    (void)state;
    bm_channel_pieces pieces[2];
    uint32_t num_found = 9;
    assert_int_equal(bm_kmeans((const double[]){1, (double)NAN}, 2, 2, pieces, &num_found, &failure), BM_E_NUMERIC);
    assert_string_equal(failure.message, "channel 1: found nan, expected a finite float32");
    assert_int_equal(num_found, 0);
    assert_int_equal(bm_kmeans((const double[]){1e200}, 1, 2, pieces, &num_found, &failure), BM_E_NUMERIC);
    assert_int_equal(bm_kmeans((const double[]){1}, 1, 0, pieces, &num_found, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_kmeans(NULL, 0, 2, pieces, &num_found, &failure), BM_E_ARGUMENT);
}

// The widest input there is: no channel is nearer to the centre of another piece.
static void wide_inputs_have_their_pieces(void **state)
{
    (void)state;
    const uint32_t channels = 28672;
    bm_random random;
    bm_random_init(&random, 2, 0);
    double *values = malloc(channels * sizeof *values);
    bm_channel_pieces pieces[6];
    uint32_t num_found = 0;
    assert_non_null(values);
    for (uint32_t c = 0; c < channels; c++)
        values[c] = exp(3 * bm_random_double(&random)) + (c % 500 == 0 ? 100 * bm_random_double(&random) : 0);
    assert_ok(bm_kmeans(values, channels, 6, pieces, &num_found, &failure), &failure);
    assert_int_equal(num_found, 6);
    for (uint32_t c = 0; c < channels; c++)
        for (uint32_t p = 0; p < 6; p++)
            assert_true(fabs(values[c] - pieces[5].centroid[pieces[5].piece[c]]) <=
                        fabs(values[c] - pieces[5].centroid[p]) * (1 + 1e-12));
    for (uint32_t k = 0; k < 6; k++)
        bm_channel_pieces_free(&pieces[k]);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_the_best_of_all),
        cmocka_unit_test(among_equals_pieces_above_begin_low),
        cmocka_unit_test(values_far_from_0_keep_their_differences),
        cmocka_unit_test(pieces_say_what_they_hold),
        cmocka_unit_test(as_many_pieces_as_there_are_values),
        cmocka_unit_test(what_is_no_magnitude_is_refused),
        cmocka_unit_test(wide_inputs_have_their_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
