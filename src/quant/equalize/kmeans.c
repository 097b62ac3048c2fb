// Dynamic programming over sorted distinct values. best[j] of a layer of k pieces is the least cost of values 0 .. j;
// the last piece begins at split[j], which does not fall as j rises: so the middle of a range bounds both halves.
#include "quant/equalize/kmeans.h"

#include "quant/equalize/better.h"
#include "quant/equalize/double_double.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

typedef struct prefix_sums {
    uint64_t count;
    bm_double2 sum, squares;
} prefix_sums;

typedef struct kmeans {
    uint32_t num_distinct;
    double *distinct;        // rising
    prefix_sums *before;     // [num_distinct + 1]: of all values below
    double *best, *previous; // [num_distinct]: costs of this layer, and of one piece less
    uint32_t *split;         // [max_pieces, num_distinct]
} kmeans;

// Sum of squared distances of values first .. last to their mean. Squares of large values with small differences:
// doubles alone would leave nothing of it.
static double piece_cost(const kmeans *k, uint32_t first, uint32_t last)
{
    const prefix_sums *begin = &k->before[first], *end = &k->before[last + 1];
    if (first == last)
        return 0;
    const bm_double2 sum = bm_double2_subtract(end->sum, begin->sum);
    const bm_double2 squares = bm_double2_subtract(end->squares, begin->squares);
    const bm_double2 of_mean = bm_double2_divide(bm_double2_multiply(sum, sum), (double)(end->count - begin->count));
    return fmax(0, bm_double2_subtract(squares, of_mean).high);
}

// best[j] for low <= j <= high, whose last piece begins within from .. to. split: of this layer.
static void solve_range(kmeans *k, uint32_t *split, uint32_t low, uint32_t high, uint32_t from, uint32_t to)
{
    const uint32_t middle = low + (high - low) / 2, end = to < middle ? to : middle;
    k->best[middle] = INFINITY;
    for (uint32_t first = from; first <= end; first++) {
        const double cost = k->previous[first - 1] + piece_cost(k, first, middle);
        if (bm_is_better(cost, k->best[middle])) {
            k->best[middle] = cost;
            split[middle] = first;
        }
    }
    if (low < middle)
        solve_range(k, split, low, middle - 1, from, split[middle]);
    if (middle < high)
        solve_range(k, split, middle + 1, high, split[middle], to);
}

static void solve_layers(kmeans *k, uint32_t num_pieces)
{
    const uint32_t n = k->num_distinct;
    for (uint32_t j = 0; j < n; j++) {
        k->best[j] = piece_cost(k, 0, j);
        k->split[j] = 0;
    }
    for (uint32_t layer = 1; layer < num_pieces; layer++) {
        double *swapped = k->previous;
        k->previous = k->best;
        k->best = swapped;
        solve_range(k, k->split + (size_t)layer * n, layer, n - 1, layer, n - 1);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void add_to_sums(prefix_sums *sums, double value)
{
    sums->count++;
    sums->sum = bm_double2_add(sums->sum, (bm_double2){value, 0});
    sums->squares = bm_double2_add(sums->squares, bm_double2_product(value, value));
}

// distinct: sorted, with all its repetitions; these go.
static void find_distinct(kmeans *k, uint32_t channels)
{
    prefix_sums sums = {0};
    k->num_distinct = 0;
    for (uint32_t i = 0; i < channels; i++) {
        const double value = k->distinct[i];
        if (i == 0 || value != k->distinct[k->num_distinct - 1]) {
            k->before[k->num_distinct] = sums;
            k->distinct[k->num_distinct++] = value;
        }
        add_to_sums(&sums, value);
    }
    k->before[k->num_distinct] = sums;
}

static bool allocate(kmeans *k, uint32_t channels, uint32_t max_pieces)
{
    k->distinct = bm_alloc(channels, sizeof *k->distinct);
    k->before = bm_alloc_zero((uint64_t)channels + 1, sizeof *k->before);
    k->best = bm_alloc(channels, sizeof *k->best);
    k->previous = bm_alloc(channels, sizeof *k->previous);
    k->split = bm_alloc_zero((uint64_t)channels * max_pieces, sizeof *k->split);
    return k->distinct && k->before && k->best && k->previous && k->split;
}

static void free_kmeans(kmeans *k)
{
    bm_free(k->distinct);
    bm_free(k->before);
    bm_free(k->best);
    bm_free(k->previous);
    bm_free(k->split);
}

// upper [num_pieces]: largest values of pieces, from the last backwards.
static void trace_back(const kmeans *k, uint32_t num_pieces, double *upper)
{
    uint32_t last = k->num_distinct - 1;
    for (uint32_t piece = num_pieces; piece-- > 0;) {
        upper[piece] = k->distinct[last];
        last = k->split[(size_t)piece * k->num_distinct + last] - 1;
    }
}

bm_status bm_kmeans(const double *values, uint32_t channels, uint32_t max_pieces, bm_channel_pieces *out,
                    uint32_t *num_found, bm_error *err)
{
    bm_status status = BM_OK;
    kmeans k = {0};
    double *upper = NULL;
    *num_found = 0;
    BM_FAIL_IF(channels == 0 || max_pieces == 0, err, BM_E_ARGUMENT,
               "k-means: expected channels and pieces, found none");
    for (uint32_t c = 0; c < channels; c++)
        BM_FAIL_IF(!(fabs(values[c]) <= (double)FLT_MAX), err, BM_E_NUMERIC,
                   "channel %u: found %g, expected a finite float32", c, values[c]);
    max_pieces = max_pieces < channels ? max_pieces : channels;
    upper = bm_alloc(max_pieces, sizeof *upper);
    BM_FAIL_IF(!upper || !allocate(&k, channels, max_pieces), err, BM_E_MEMORY, "out of memory");
    memcpy(k.distinct, values, channels * sizeof *values);
    qsort(k.distinct, channels, sizeof *k.distinct, compare_doubles);
    find_distinct(&k, channels);
    max_pieces = max_pieces < k.num_distinct ? max_pieces : k.num_distinct;
    solve_layers(&k, max_pieces);
    for (uint32_t pieces = 1; pieces <= max_pieces; pieces++) {
        trace_back(&k, pieces, upper);
        BM_TRY(bm_channel_pieces_from_upper(values, channels, upper, pieces, &out[pieces - 1], err));
        *num_found = pieces;
    }
done:
    for (; status != BM_OK && *num_found > 0; --*num_found)
        bm_channel_pieces_free(&out[*num_found - 1]);
    free_kmeans(&k);
    bm_free(upper);
    return status;
}
