// kl_divergence: the reference is sum p log(p / q) with both softmaxes made from the states.
#include "kernels/table.h"
#include "device/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

enum { TOKENS, COLS };
enum { P, Q, P_STATE, Q_STATE, KL };

static void make(kernel_run *run)
{
    const uint32_t tokens = run->shape[TOKENS], cols = run->shape[COLS];
    kernel_shape(run, P, tokens, cols);
    kernel_shape(run, Q, tokens, cols);
    kernel_shape(run, P_STATE, tokens, 8);
    kernel_shape(run, Q_STATE, tokens, 8);
    kernel_shape(run, KL, 1, tokens);
    kernel_fill(run, P, run->kind == KERNEL_ONE_HUGE ? 0.01 : 3);
    for (uint64_t k = 0; k < (uint64_t)tokens * cols; k++)
        kernel_set(run, Q, k, run->buffers[P].values[k] + 0.1 * bm_random_normal(&run->random));
    for (uint32_t i = 0; i < 2; i++) {
        run->buffers[P_STATE + i].stride = 8;
        for (uint32_t t = 0; t < tokens; t++) { // finished states hold more columns than this slice
            double largest = -INFINITY, sum = 0;
            for (uint32_t c = 0; c < cols; c++)
                largest = fmax(largest, run->buffers[P + i].values[(uint64_t)t * cols + c]);
            for (uint32_t c = 0; c < cols; c++)
                sum += exp(run->buffers[P + i].values[(uint64_t)t * cols + c] - largest);
            kernel_set(run, P_STATE + i, 8 * (uint64_t)t, largest);
            kernel_set(run, P_STATE + i, 8 * (uint64_t)t + 1, 1.5 * sum);
        }
    }
    for (uint32_t t = 0; t < tokens; t++)
        kernel_set(run, KL, t, 0.01 * bm_random_double(&run->random));
    const bm_kl_divergence_scalars scalars = {tokens, cols, (uint32_t)run->buffers[P].stride,
                                              (uint32_t)run->buffers[Q].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups(tokens, 1);
}

// log of the sum is off by 3 ulp or 2^-21, Vulkan's precision between 0.5 and 2; logit - largest - log sum rounds
// twice. With e the error of a log probability, a term p (log p - log q) is off by p times (2 e for the difference,
// which rounds once, and |log p - log q| times e and exp's (3 + 2 |log p|) ulp); cols sums round once each.
static void bound(kernel_run *run)
{
    const uint32_t cols = run->shape[COLS];
    for (uint64_t t = 0; t < run->shape[TOKENS]; t++) {
        const double *p_state = &run->buffers[P_STATE].values[8 * t], *q_state = &run->buffers[Q_STATE].values[8 * t];
        double size = 0, error = 0;
        for (uint32_t c = 0; c < cols; c++) {
            const double log_p = run->buffers[P].values[t * cols + c] - p_state[0] - log(p_state[1]);
            const double log_q = run->buffers[Q].values[t * cols + c] - q_state[0] - log(q_state[1]);
            const double e_p =
                0x1p-21 + KERNEL_EPSILON * (6 * fabs(log(p_state[1])) + 2 * fabs(log_p) + fabs(log(p_state[1])));
            const double e_q =
                0x1p-21 + KERNEL_EPSILON * (6 * fabs(log(q_state[1])) + 2 * fabs(log_q) + fabs(log(q_state[1])));
            const double p = exp(log_p), difference = fabs(log_p - log_q);
            size += p * difference;
            error += p * (e_p + e_q + difference * (e_p + KERNEL_EPSILON * (8 + 4 * fabs(log_p))));
        }
        run->buffers[KL].bounds[t] = error + KERNEL_EPSILON * ((cols + 2.0) * size + fabs(run->buffers[KL].exact[t])) +
                                     cols * KERNEL_FLUSH * 1e4; // exp flushed, times a difference of logits
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t cols = run->shape[COLS];
    for (uint64_t t = 0; t < run->shape[TOKENS]; t++)
        for (uint32_t c = cols; c-- > 0;) {
            const double *p_state = &run->buffers[P_STATE].values[8 * t],
                         *q_state = &run->buffers[Q_STATE].values[8 * t];
            const double p = exp(run->buffers[P].values[t * cols + c] - p_state[0]) / p_state[1];
            const double q = exp(run->buffers[Q].values[t * cols + c] - q_state[0]) / q_state[1];
            out[KL][t] += p > 0 ? p * log(p / q) : 0;
        }
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[TOKENS] * run->shape[COLS];
}

// Runs once over zeros and one logit of p, or of q, of value bad; it is reported with its token.
static void report_one(bm_device *device, float bad, bool in_p)
{
    float good[3 * 6] = {0}, logits[3 * 6] = {0}, states[3 * 8] = {0};
    logits[1 * 6 + 5] = bad;
    for (uint32_t t = 0; t < 3; t++)
        states[8 * t + 1] = 6;
    bm_error err = {0};
    bm_tensor p = {0}, q = {0}, state = {0}, kl = {0};
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 6, "p", &p, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 6, "q", &q, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 3, 8, "state", &state, &err), BM_OK);
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 1, 3, "kl", &kl, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &p, in_p ? logits : good, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &q, in_p ? good : logits, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &state, states, &err), BM_OK);
    const bm_kl_divergence_scalars scalars = {3, 6, (uint32_t)p.stride, (uint32_t)q.stride};
    const bm_call call = {.kernel = BM_KERNEL_KL_DIVERGENCE,
                          .buffers = {p.view, q.view, state.view, state.view, kl.view},
                          .scalars = &scalars,
                          .groups = {1, 1, 1},
                          .subject = "logits"};
    assert_int_equal(bm_dispatch(device, &call, &err), BM_OK);
    assert_int_equal(bm_device_wait(device, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "element 1"));
    bm_tensor_destroy(&p);
    bm_tensor_destroy(&q);
    bm_tensor_destroy(&state);
    bm_tensor_destroy(&kl);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

// As cross_entropy does.
static void reports(bm_device *device)
{
    for (uint32_t in_p = 0; in_p < 2; in_p++) {
        report_one(device, NAN, in_p);
        report_one(device, INFINITY, in_p);
        report_one(device, -INFINITY, in_p);
    }
}

const kernel_operation kernel_kl_divergence = {
    .kernel = BM_KERNEL_KL_DIVERGENCE,
    .cases = {{"1", {1, 1}, false},
              {"prime", {7, 13}, false},
              {"tile - 1", {9, 255}, false},
              {"tile", {9, 256}, false},
              {"tile + 1", {9, 257}, false},
              {"long thin", {211, 3}, false},
              {"layer", {16, 8192}, true}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
    .extra = reports,
};
