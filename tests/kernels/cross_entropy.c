// cross_entropy: a running softmax; the reference sums from the other end with a fixed shift.
#include "kernels/table.h"
#include "device/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { TOKENS, COLS, FIRST_COLUMN, FIRST };
enum { LOGITS, TARGETS, STATE };

static void make(kernel_run *run)
{
    const uint32_t tokens = run->shape[TOKENS], cols = run->shape[COLS], first_column = run->shape[FIRST_COLUMN];
    kernel_shape(run, LOGITS, tokens, cols);
    kernel_shape(run, TARGETS, 1, tokens);
    kernel_shape(run, STATE, tokens, 8);
    run->buffers[STATE].stride = 8;
    kernel_fill(run, LOGITS, run->kind == KERNEL_ONE_HUGE ? 1 : 4); // one logit of 4000: exp of the others is 0
    kernel_fill_integers(run, TARGETS, 0, 2 * (int64_t)cols + first_column);
    for (uint32_t t = 0; t < tokens; t++) { // what earlier slices left; ignored when first
        double *state = &run->buffers[STATE].values[8 * (uint64_t)t];
        state[0] = state[3] = (double)(float)(4 * bm_random_normal(&run->random));
        state[1] = (double)(float)(1 + 100 * bm_random_double(&run->random));
        state[4] = t % 5;
        state[2] = (double)(float)bm_random_normal(&run->random);
        state[5] = t % 2;
        if (t % 7 == 6)
            run->buffers[TARGETS].values[t] = 4294967295.0; // not scored
    }
    const bm_cross_entropy_scalars scalars = {tokens, cols, (uint32_t)run->buffers[LOGITS].stride, first_column,
                                              run->shape[FIRST]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(tokens, 1);
}

// Only the sum rounds. A term exp(d), d = x - largest: d rounds once and exp is off by (3 + 2 |d|) ulp = 2 roundings
// each, so exp(d) (7 + 5 |d|) roundings, d being the distance to the running maximum, at most that to the final one
// plus its rescales: each of those (at most one a column) multiplies once more, and their arguments add up to the
// spread of all values. Each of cols sums rounds once.
static void bound(kernel_run *run)
{
    const uint32_t cols = run->shape[COLS];
    for (uint64_t t = 0; t < run->shape[TOKENS]; t++) {
        const double *exact = &run->buffers[STATE].exact[8 * t], *old = &run->buffers[STATE].values[8 * t];
        const bool first = run->shape[FIRST] != 0;
        double lowest = first ? exact[0] : fmin(exact[0], old[0]), terms = 0;
        for (uint32_t c = 0; c < cols; c++) {
            const double distance = exact[0] - run->buffers[LOGITS].values[t * cols + c];
            lowest = fmin(lowest, exact[0] - distance);
            terms += exp(-distance) * (7 + 5 * distance);
        }
        if (!first)
            terms += old[1] * exp(old[0] - exact[0]) * (7 + 5 * (exact[0] - old[0]));
        // A term that is flushed on its way loses 2^-126 each.
        run->buffers[STATE].bounds[8 * t + 1] =
            KERNEL_EPSILON * (terms + exact[1] * (9.0 * cols + 5 * (exact[0] - lowest) + 16)) + cols * KERNEL_FLUSH;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS], first_column = run->shape[FIRST_COLUMN];
    for (uint64_t t = 0; t < run->shape[TOKENS]; t++) {
        const double *x = &run->buffers[LOGITS].values[t * cols], target = run->buffers[TARGETS].values[t];
        double *state = &out[STATE][8 * t];
        if (run->shape[FIRST]) {
            const double start[8] = {-1e30, 0, 0, -1e30, 0, 0, 0, 0};
            memcpy(state, start, sizeof start);
        }
        double sum = state[1] * exp(state[0] - 10), largest = state[0];
        for (uint32_t c = cols; c-- > 0;)
            largest = fmax(largest, x[c]);
        const double shift = run->kind == KERNEL_ONE_HUGE ? largest : 10; // where exp(x - 10) does not overflow
        if (run->kind == KERNEL_ONE_HUGE)
            sum = state[1] * exp(state[0] - shift);
        for (uint32_t c = cols; c-- > 0;)
            sum += exp(x[c] - shift);
        state[0] = largest;
        state[1] = sum * exp(shift - largest);
        for (uint32_t c = 0; c < cols; c++)
            if (x[c] > state[3]) {
                state[3] = x[c];
                state[4] = first_column + c;
            }
        for (uint32_t c = 0; c < cols; c++)
            if (target == first_column + c) {
                state[2] = x[c];
                state[5] = 1;
            }
        state[6] = state[7] = 0;
    }
}

static double operations(const kernel_run *run)
{
    return 4.0 * run->shape[TOKENS] * run->shape[COLS];
}

// Runs once over zeros and a logit of value bad; it is reported with its token.
static void report_one(bm_device *device, float bad)
{
    float logits[3 * 6] = {0};
    const uint32_t targets[3] = {1, 2, 3};
    logits[2 * 6 + 5] = bad;
    bm_error err = {0};
    bm_tensor x = {0}, state = {0};
    bm_buffer *buffer = NULL;
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 6, "logits", &x, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 8, "state", &state, &err), BM_OK);
    assert_int_equal(bm_buffer_create(device, sizeof targets, "targets", &buffer, &err), BM_OK);
    assert_int_equal(bm_upload(device, bm_buffer_view(buffer), targets, sizeof targets, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &x, logits, &err), BM_OK);
    const bm_cross_entropy_scalars scalars = {3, 6, (uint32_t)x.stride, 0, 1};
    const bm_call call = {.kernel = BM_KERNEL_CROSS_ENTROPY,
                          .buffers = {x.view, bm_buffer_view(buffer), state.view},
                          .scalars = &scalars,
                          .groups = {1, 1, 1},
                          .subject = "logits"};
    assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
    assert_int_equal(bm_device_wait(device, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "element 2"));
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&state);
    bm_buffer_destroy(&buffer);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

// NaN and both infinities: nothing masks logits, so -INFINITY is an overflow too.
static void reports(bm_device *device)
{
    report_one(device, NAN);
    report_one(device, INFINITY);
    report_one(device, -INFINITY);
}

const kernel_operation kernel_cross_entropy = {
    .kernel = BM_KERNEL_CROSS_ENTROPY,
    .cases = {{"1", {1, 1, 0, 1}, false},
              {"prime", {7, 13, 0, 1}, false},
              {"later part", {7, 13, 26, 0}, false},
              {"tile - 1", {9, 255, 0, 1}, false},
              {"tile", {9, 256, 256, 0}, false},
              {"tile + 1", {9, 257, 0, 1}, false},
              {"long thin", {211, 3, 5, 0}, false},
              {"layer", {16, 8192, 0, 1}, true}},
    .skips_values = {[KERNEL_DENORMALS] = true}, // logits that differ by less than a device distinguishes have no best
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
    .extra = reports,
};
