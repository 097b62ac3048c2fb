// column_range: extremes are exact; sums, of elements and of their squares or magnitudes, in the order of rows.
#include "kernels/table.h"
#include "device/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { SPANS, COLS, LONGEST, JOINS, FIRST_SPAN, FIRST_ROW, MOMENT };
enum { NONE, SQUARES, MAGNITUDES }; // the moment
enum {
    X,
    PART_MAXIMUM,
    PART_SUM,
    PART_MOMENTS,
    STARTS,
    MINIMUM,
    MAXIMUM,
    SUM,
    MOMENTS,
    NUM_RESULTS = MOMENTS - MINIMUM + 1
};

// Rows of span s: the first is the longest, later ones are of all lengths.
static uint32_t length(const kernel_run *run, uint32_t s)
{
    return s == 0 ? run->shape[LONGEST] : 1 + (s * 7 + 3) % run->shape[LONGEST];
}

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape, spans = shape[SPANS], cols = shape[COLS], joins = shape[JOINS];
    uint32_t rows = 0;
    kernel_shape(run, STARTS, 1, shape[FIRST_SPAN] + spans + 1);
    for (uint32_t s = 0; s <= spans; s++) {
        run->buffers[STARTS].values[shape[FIRST_SPAN] + s] = shape[FIRST_ROW] + rows;
        rows += s < spans ? length(run, s) : 0;
    }
    kernel_shape(run, X, rows, cols);
    kernel_fill(run, X, 1);
    for (uint32_t i = PART_MAXIMUM; i <= PART_MOMENTS; i++) {
        kernel_shape(run, i, rows, cols);
        run->buffers[i].stride = run->buffers[PART_MAXIMUM].stride;
        kernel_fill(run, i, i == PART_MAXIMUM ? 3 : 10);
        run->buffers[i].absent = !joins || (i == PART_MOMENTS && shape[MOMENT] == NONE);
    }
    run->buffers[MOMENTS].absent = shape[MOMENT] == NONE;
    for (uint32_t i = MINIMUM; i <= MOMENTS; i++) {
        kernel_shape(run, i, spans, cols);
        run->buffers[i].stride = run->buffers[MINIMUM].stride;
    }
    const bm_column_range_scalars scalars = {spans,
                                             shape[FIRST_SPAN],
                                             shape[FIRST_ROW],
                                             cols,
                                             (uint32_t)run->buffers[X].stride,
                                             (uint32_t)run->buffers[PART_MAXIMUM].stride,
                                             (uint32_t)run->buffers[MINIMUM].stride,
                                             joins,
                                             shape[MOMENT]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)spans * bm_divide_up(cols, 4), 64);
}

// Least, largest, sum, sum of moments, and sums of the magnitudes of what these two add, of a span and column, from its end.
static void look(const kernel_run *run, uint64_t span, uint64_t col, double out[NUM_RESULTS + 2])
{
    const double *starts = run->buffers[STARTS].values + run->shape[FIRST_SPAN];
    out[0] = INFINITY;
    out[1] = -INFINITY;
    out[2] = out[3] = out[4] = out[5] = 0;
    for (uint64_t r = (uint64_t)starts[span + 1]; r-- > (uint64_t)starts[span];) {
        const uint64_t at = (r - run->shape[FIRST_ROW]) * run->shape[COLS] + col;
        const double x = run->buffers[X].values[at];
        const double high = run->shape[JOINS] ? run->buffers[PART_MAXIMUM].values[at] : x;
        const double add = run->shape[JOINS] ? run->buffers[PART_SUM].values[at] : x;
        const double own = run->shape[MOMENT] == MAGNITUDES ? fabs(x) : x * x;
        const double moment = run->shape[JOINS] ? run->buffers[PART_MOMENTS].values[at] : own;
        out[0] = fmin(out[0], x);
        out[1] = fmax(out[1], high);
        out[2] += add;
        out[3] += moment;
        out[4] += fabs(add);
        out[5] += fabs(moment);
    }
}

// Extremes are elements. A sum is a chain of as many additions as the span has rows; a square was rounded before.
static void bound(kernel_run *run)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[SPANS] * run->shape[COLS]; k++) {
        const uint32_t span = (uint32_t)(k / run->shape[COLS]);
        double found[NUM_RESULTS + 2];
        look(run, span, k % run->shape[COLS], found);
        run->buffers[SUM].bounds[k] = length(run, span) * (KERNEL_EPSILON * found[4] + 2 * KERNEL_FLUSH);
        run->buffers[MOMENTS].bounds[k] = (length(run, span) + 1) * (KERNEL_EPSILON * found[5] + 2 * KERNEL_FLUSH);
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < (uint64_t)run->shape[SPANS] * run->shape[COLS]; k++) {
        double found[NUM_RESULTS + 2];
        look(run, k / run->shape[COLS], k % run->shape[COLS], found);
        for (uint32_t i = MINIMUM; i <= (run->buffers[MOMENTS].absent ? SUM : MOMENTS); i++)
            out[i][k] = found[i - MINIMUM];
    }
}

static double operations(const kernel_run *run)
{
    return 5.0 * (double)run->buffers[X].rows * run->shape[COLS];
}

// What no double compared with another tells: zeros of both signs, infinities, NaN of both signs, in every row of a span. A sum of
// squares is beyond float32 where that of magnitudes is not, and neither has a sign.
static void orders_what_is_no_number(bm_device *device)
{
    enum { ROWS = 3, COLUMNS = 9 };
    static const uint32_t special[COLUMNS] = {0x80000000, 0,          0x7f800000, 0xff800000, 0x7fc00000,
                                              0xffc00000, 0x00000001, 0x80000001, 0x7f7fffff};
    static const uint32_t starts[2] = {0, ROWS};
    bm_error err = {0};
    bm_tensor x = {0}, results[NUM_RESULTS] = {{0}};
    bm_buffer *buffer = NULL;
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, ROWS, COLUMNS, "x", &x, &err), BM_OK);
    for (uint32_t i = 0; i < NUM_RESULTS; i++)
        assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 1, COLUMNS, "results", &results[i], &err), BM_OK);
    assert_int_equal(bm_buffer_create(device, sizeof starts, "starts", &buffer, &err), BM_OK);
    assert_int_equal(bm_upload(device, bm_buffer_view(buffer), starts, sizeof starts, &err), BM_OK);
    for (uint32_t i = 0; i < 2 * ROWS; i++) {
        const uint32_t row = i / 2, moment = i % 2 ? MAGNITUDES : SQUARES;
        uint32_t values[ROWS][COLUMNS], got[NUM_RESULTS][COLUMNS];
        for (uint32_t c = 0; c < COLUMNS; c++)
            for (uint32_t r = 0; r < ROWS; r++) // beside the special one: 0 of the other sign, 0, 1
                values[r][c] = r == row ? special[c] : c < 2 ? special[1 - c] : c % 2 ? 0 : 0x3f800000;
        assert_int_equal(bm_tensor_upload(device, &x, values, &err), BM_OK);
        const bm_column_range_scalars scalars = {
            1, 0, 0, COLUMNS, (uint32_t)x.stride, 0, (uint32_t)results[0].stride, 0, moment};
        const bm_call call = {.kernel = BM_KERNEL_COLUMN_RANGE,
                              .buffers = {[X] = x.view,
                                          [STARTS] = bm_buffer_view(buffer),
                                          results[0].view,
                                          results[1].view,
                                          results[2].view,
                                          results[3].view},
                              .types = {BM_DTYPE_F32},
                              .scalars = &scalars,
                              .groups = {1, 1, 1}};
        assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
        for (uint32_t k = 0; k < NUM_RESULTS; k++)
            assert_int_equal(bm_tensor_download(device, &results[k], got[k], &err), BM_OK);
        assert_int_equal(bm_device_wait(device, &err), BM_OK);
        static const uint32_t least[COLUMNS] = {0x80000000, 0x80000000, 0x3f800000, 0xff800000, 0x3f800000,
                                                0xffc00000, 0x00000001, 0x80000001, 0x3f800000};
        static const uint32_t largest[COLUMNS] = {0, 0, 0x7f800000, 0, 0x7fc00000, 0, 0x3f800000, 0, 0x7f7fffff};
        assert_memory_equal(got[0], least, sizeof least);
        assert_memory_equal(got[1], largest, sizeof largest);
        for (uint32_t c = 0; c < COLUMNS; c++) { // not finite, as are its sums; the largest number has no square
            const bool is_beyond = c == 8 && moment == SQUARES;
            assert_true(((got[2][c] & 0x7f800000) == 0x7f800000) == (c >= 2 && c < 6));
            assert_true(((got[3][c] & 0x7f800000) == 0x7f800000) == ((c >= 2 && c < 6) || is_beyond));
        }
        assert_int_equal(got[3][0], 0); // of zeros
        assert_int_equal(got[3][1], 0);
        assert_int_equal(got[3][3], 0x7f800000); // of minus infinity
    }
    bm_tensor_destroy(&x);
    for (uint32_t i = 0; i < NUM_RESULTS; i++)
        bm_tensor_destroy(&results[i]);
    bm_buffer_destroy(&buffer);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

const kernel_operation kernel_column_range = {
    .kernel = BM_KERNEL_COLUMN_RANGE,
    .long_loops = {[10] = true}, // layer
    .cases = {{"1", {1, 1, 1, 0, 0, 0, SQUARES}, false},
              {"one row", {5, 13, 1, 0, 0, 0, SQUARES}, false},
              {"one column", {11, 1, 9, 0, 0, 0, SQUARES}, false},
              {"prime", {7, 13, 11, 0, 3, 0, SQUARES}, false},
              {"vector - 1", {4, 15, 5, 0, 0, 7, SQUARES}, false},
              {"vector", {4, 16, 5, 0, 2, 7, SQUARES}, false},
              {"vector + 1", {4, 17, 5, 0, 0, 0, SQUARES}, false},
              {"two quads behind 16", {9, 38, 6, 0, 0, 0, SQUARES}, false},
              {"joins", {7, 13, 11, 1, 3, 5, SQUARES}, false},
              {"joins, two quads behind 16", {5, 38, 4, 1, 0, 0, SQUARES}, false},
              {"layer", {16, 2048, 64, 0, 0, 0, SQUARES}, true},
              {"without moments", {7, 13, 11, 0, 3, 5, NONE}, false},
              {"joins without moments", {7, 13, 11, 1, 3, 5, NONE}, false},
              {"magnitudes", {7, 13, 11, 0, 3, 5, MAGNITUDES}, false},
              {"magnitudes, one column", {11, 1, 9, 0, 0, 0, MAGNITUDES}, false},
              {"joins magnitudes", {5, 38, 4, 1, 0, 7, MAGNITUDES}, false}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
    .extra = orders_what_is_no_number,
};
