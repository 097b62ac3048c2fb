// Steps by output error against all candidates one by one in float64: narrow groups get the best, wide ones, which are searched
// from coarse to fine, nearly so.
#include "base/half.h"
#include "device/backend.h"
#include "ops/fixture.h"
#include "ops/gram_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUM_FACTORS = 86 };

// A matrix, the Gram matrix of correlated inputs, and the grids that were found.
typedef struct search_case {
    uint32_t rows, cols;
    bm_grid_params grid;
} search_case;

typedef struct search_data {
    float *w, *gram, *steps;
    int32_t *zero_points;
    uint32_t groups;
} search_data;

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

// Each channel has a part of its neighbour; some are strong, and all of the second half: float16 would not hold their squares.
static void fill_gram(bm_random *random, uint32_t cols, float *gram)
{
    enum { TOKENS = 300 };
    float *x = allocate((size_t)TOKENS * cols, sizeof *x);
    fill_normal(random, (uint64_t)TOKENS * cols, 1, x);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t c = 1; c < cols; c++)
            x[t * cols + c] = (x[t * cols + c] + 0.7f * x[t * cols + c - 1]) * (c % 37 == 5 ? 3.0f : 1.0f);
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t i = 0; i < cols; i++)
            for (uint32_t j = 0; j < cols; j++)
                gram[(size_t)i * cols + j] +=
                    x[t * cols + i] * x[t * cols + j] * (i < cols / 2 ? 1.0f : 20.0f) * (j < cols / 2 ? 1.0f : 20.0f);
    free(x);
}

static bool
    uses_halves; // float16, as devices with matrix units have it, through the generic kernel where there are none

static void search(const search_case *t, search_data *d)
{
    static const bm_gemm_choice generic = {.group = 64, .slice = 8, .gflops = 1, .reason = "test"};
    bm_random random;
    bm_multiplier m;
    bm_random_init(&random, t->cols, 0);
    d->groups = bm_num_groups(t->cols, t->grid.group_size);
    d->w = allocate((size_t)t->rows * t->cols, sizeof *d->w);
    d->gram = allocate((size_t)t->cols * t->cols, sizeof *d->gram);
    d->steps = allocate((size_t)t->rows * d->groups, sizeof *d->steps);
    d->zero_points = allocate((size_t)t->rows * d->groups, sizeof *d->zero_points);
    fill_normal(&random, (uint64_t)t->rows * t->cols, 0.02, d->w);
    fill_gram(&random, t->cols, d->gram);
    const bm_tensor w = make_tensor(t->rows, t->cols, d->w), gram = make_tensor(t->cols, t->cols, d->gram);
    const bm_tensor step = make_tensor(t->rows, d->groups, NULL);
    const bm_tensor zero_point = make_typed(BM_DTYPE_I32, t->rows, d->groups, NULL);
    bm_multiplier_init(&m, test_device);
    if (uses_halves && m.split.choice.gflops == 0)
        m.split.choice = m.split.few = generic;
    m.split.is_off = !uses_halves;
    MUST(bm_gram_search(&m, &w, &gram, &t->grid, &step, &zero_point, &failure));
    MUST(bm_tensor_download(test_device, &step, d->steps, &failure));
    MUST(bm_tensor_download(test_device, &zero_point, d->zero_points, &failure));
    MUST(bm_device_wait(test_device, &failure));
    bm_multiplier_free(&m);
    destroy_tensors();
}

static void free_data(search_data *d)
{
    free(d->w);
    free(d->gram);
    free(d->steps);
    free(d->zero_points);
}

// Output error of columns first .. end - 1 of a row on a grid.
static double loss_of(const search_case *t, const search_data *d, uint32_t r, uint32_t first, uint32_t end, double step,
                      double zero)
{
    const double half = ldexp(1, (int)t->grid.bits - 1);
    double *off = allocate(end - first, sizeof *off), loss = 0;
    for (uint32_t c = first; c < end; c++) {
        const double v = (double)d->w[(size_t)r * t->cols + c];
        off[c - first] = v - (fmin(fmax(rint(v / step) + zero, -half), half - 1) - zero) * step;
    }
    for (uint32_t i = first; i < end; i++) {
        double sum = 0;
        for (uint32_t j = first; j < end; j++)
            sum += off[j - first] * (double)d->gram[(size_t)i * t->cols + j];
        loss += off[i - first] * sum;
    }
    free(off);
    return loss;
}

// The least over all candidates, and that of factor 1.
static double least_of(const search_case *t, const search_data *d, uint32_t r, uint32_t first, uint32_t end,
                       double *of_one)
{
    const double half = ldexp(1, (int)t->grid.bits - 1);
    double low = 0, high = 0, least = INFINITY;
    for (uint32_t c = first; c < end; c++) {
        low = fmin(low, (double)d->w[(size_t)r * t->cols + c]);
        high = fmax(high, (double)d->w[(size_t)r * t->cols + c]);
    }
    for (int sign = 1; sign >= (t->grid.signed_scales && t->grid.symmetric ? -1 : 1); sign -= 2)
        for (int i = 0; i < NUM_FACTORS; i++) {
            const double factor = sign * (1.05 - 0.01 * i);
            const double range = t->grid.symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1);
            const double step = (double)bm_f16_to_f32(bm_f32_to_f16((float)(range * factor)));
            const double zero = t->grid.symmetric ? 0 : fmin(fmax(rint(-low * factor / step) - half, -half), half - 1);
            const double loss = loss_of(t, d, r, first, end, step, zero);
            if (i == 5 && sign == 1)
                *of_one = loss;
            least = fmin(least, loss);
        }
    return least;
}

// What was found beside the least, over all groups; no group is worse than bound times the least, nor than the abs-max.
static double compare(const search_case *t, double bound)
{
    search_data d = {0};
    double found = 0, possible = 0, worst = 0;
    search(t, &d);
    for (uint32_t r = 0; r < t->rows; r++)
        for (uint32_t g = 0; g < d.groups; g++) {
            const uint32_t first = g * t->grid.group_size, k = r * d.groups + g;
            const uint32_t end = (uint32_t)bm_min_u64(t->cols, (uint64_t)first + t->grid.group_size);
            double of_one = 0;
            const double least = least_of(t, &d, r, first, end, &of_one);
            const double loss = loss_of(t, &d, r, first, end, (double)d.steps[k], d.zero_points[k]);
            if (!(loss <= least * bound && loss <= of_one * (uses_halves ? 1 + 1e-3 : 1 + 1e-4)))
                fail_msg("[%u, %u] row %u, group %u: %g, least %g, of factor 1 %g", t->rows, t->cols, r, g, loss, least,
                         of_one);
            found += loss;
            possible += least;
            worst = fmax(worst, loss / least);
        }
    free_data(&d);
    printf("    [%u, %u] groups of %u, %u bits: %.5f of the least, at worst %.5f\n", t->rows, t->cols,
           t->grid.group_size, t->grid.bits, found / possible, worst);
    return found / possible;
}

// A device whose largest buffer just holds the Gram matrix: in more parts, the same grids.
static void small_buffers_give_the_same_grids(void **state)
{
    (void)state;
    static const search_case cases[] = {
        {7, 77, {4, 32, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {40, 64, {3, 64, false, BM_DTYPE_F16, true, false, false, 0, 0}},
        {3, 520, {4, 520, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {9, 96, {4, 96, true, BM_DTYPE_F16, true, true, false, 20, 0.5f}},
        {9, 150, {4, 68, true, BM_DTYPE_F16, true, true, false, 0, 0}},
    };
    const bm_device_limits limits = test_device->info.limits;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const search_case *t = &cases[i];
        if (t->cols > 200 && support_is_instrumented()) // such products are too long for the instrumented driver
            continue;
        search_data whole = {0}, parts = {0};
        search(t, &whole);
        test_device->info.limits.max_allocation_bytes =
            bm_max_u64(bm_tensor_stride(BM_DTYPE_F32, t->cols) * t->cols * sizeof(float),
                       bm_multiplier_bytes(test_device, t->grid.group_size, t->grid.group_size));
        search(t, &parts);
        test_device->info.limits = limits;
        const size_t count = (size_t)t->rows * whole.groups;
        assert_memory_equal(whole.steps, parts.steps, count * sizeof *whole.steps);
        assert_memory_equal(whole.zero_points, parts.zero_points, count * sizeof *whole.zero_points);
        free_data(&whole);
        free_data(&parts);
    }
}

static void narrow_groups_get_the_best_candidate(void **state)
{
    (void)state;
    static const search_case cases[] = {
        {7, 77, {4, 32, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {5, 130, {3, 64, true, BM_DTYPE_F16, true, false, false, 0, 0}},
        {6, 96, {2, 96, false, BM_DTYPE_F16, true, true, false, 0, 0}},
        {2, 300, {8, 256, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {2, 300, {8, 256, false, BM_DTYPE_F16, true, false, false, 0, 0}},
    };
    for (size_t i = 0; i < BM_COUNT(cases) && (i < 3 || !support_is_instrumented()); i++)
        compare(&cases[i], 1 + 1e-4);
}

// Of float16: nearly the best, and the same again.
static void halves_get_nearly_the_best_candidate(void **state)
{
    (void)state;
    static const search_case cases[] = {
        {40, 130, {3, 64, true, BM_DTYPE_F16, true, false, false, 0, 0}},
        {20, 212, {4, 100, false, BM_DTYPE_F16, true, false, false, 0, 0}},
        {40, 256, {4, 128, true, BM_DTYPE_F16, true, true, false, 0, 0}},
    };
    uses_halves = true;
    for (size_t i = 0; i < BM_COUNT(cases) && !support_is_instrumented(); i++)
        assert_true(compare(&cases[i], 1 + 1e-3) <= 1 + 2e-4);
    if (!support_is_instrumented())
        small_buffers_give_the_same_grids(state);
    uses_halves = false;
}

// Rows of one group, and a group of 1024 with a rest behind it.
static void wide_groups_get_nearly_the_best_candidate(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // long products
    static const search_case cases[] = {
        {3, 520, {4, 520, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {1, 700, {3, 700, true, BM_DTYPE_F16, true, true, false, 0, 0}},
        {2, 600, {2, 600, false, BM_DTYPE_F16, true, true, false, 0, 0}},
        {1, 1060, {4, 1024, true, BM_DTYPE_F16, true, false, false, 0, 0}},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        assert_true(compare(&cases[i], 1.1) <= 1.03);
}

// Thresholds of clipping: their number, and each; nothing is clipped to nothing.
static void thresholds_are_those_of_awq(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_grid;
        float max_shrink;
        uint32_t count;
    } cases[] = {{20, 0.5f, 10}, {10, 0.25f, 3}, {20, 0.25f, 5},   {20, 0.01f, 1},  {20, 1, 20},
                 {1, 1, 1},      {172, 1, 172},  {170, 0.6f, 102}, {150, 0.7f, 105}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        float found[BM_GRID_MAX_FACTORS];
        bm_tensor factors = {0};
        bm_grid_params grid = {4, 32, true, BM_DTYPE_F32, true, true, false, cases[i].n_grid, cases[i].max_shrink};
        MUST(bm_grid_factors(test_device, &grid, &factors, &failure));
        assert_int_equal(factors.cols, cases[i].count);
        read_tensor(&factors, found);
        for (uint32_t k = 0; k < cases[i].count; k++)
            assert_true(found[k] > 0 && fabs((double)found[k] - (1 - k / (double)cases[i].n_grid)) < 1e-7);
        bm_tensor_destroy(&factors);
        grid.search = false;
        MUST(bm_grid_factors(test_device, &grid, &factors, &failure));
        assert_int_equal(factors.cols, 1);
        bm_tensor_destroy(&factors);
    }
}

// A row whose inputs are all alike in weight, of 31 ones and a large one: worked out for each threshold. And a row whose
// inputs are dead: all thresholds lose nothing, and the one that clips least is taken.
static void weights_are_clipped_where_they_lose_least(void **state)
{
    (void)state;
    enum { COLS = 32, ROWS = 3 };
    static const float large[ROWS] = {1.3f, 2.0f, 9.0f};
    for (uint32_t dead = 0; dead < 2; dead++) {
        search_case t = {ROWS, COLS, {3, COLS, true, BM_DTYPE_F32, true, true, false, 20, 0.5f}};
        float w[ROWS * COLS], gram[COLS * COLS] = {0}, steps[ROWS];
        bm_multiplier m;
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t c = 0; c < COLS; c++)
                w[r * COLS + c] = c == 5 ? large[r] : (c % 2 ? -1.0f : 1.0f);
        for (uint32_t c = 0; c < COLS && !dead; c++)
            gram[c * COLS + c] = 1;
        const bm_tensor weights = make_tensor(ROWS, COLS, w), matrix = make_tensor(COLS, COLS, gram);
        const bm_tensor step = make_tensor(ROWS, 1, NULL), zero_point = make_typed(BM_DTYPE_I32, ROWS, 1, NULL);
        bm_multiplier_init(&m, test_device);
        MUST(bm_gram_search(&m, &weights, &matrix, &t.grid, &step, &zero_point, &failure));
        read_tensor(&step, steps);
        for (uint32_t r = 0; r < ROWS; r++) {
            double least = INFINITY;
            uint32_t best = 0;
            for (uint32_t i = 0; i < 10 && !dead; i++) {
                const double d = (double)large[r] * (1 - i / 20.0) / 3; // codes -4..3
                const double off = (double)large[r] - fmin(rint((double)large[r] / d), 3) * d,
                             one = 1 - rint(1 / d) * d;
                const double loss = off * off + 31 * one * one;
                if (loss < least * (1 - 1e-6)) {
                    least = loss;
                    best = i;
                }
            }
            assert_true(fabs((double)steps[r] / ((double)large[r] * (1 - best / 20.0) / 3) - 1) < 1e-6);
        }
        bm_multiplier_free(&m);
        destroy_tensors();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_buffers_give_the_same_grids),
        cmocka_unit_test(narrow_groups_get_the_best_candidate),
        cmocka_unit_test(halves_get_nearly_the_best_candidate),
        cmocka_unit_test(wide_groups_get_nearly_the_best_candidate),
        cmocka_unit_test(thresholds_are_those_of_awq),
        cmocka_unit_test(weights_are_clipped_where_they_lose_least),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
