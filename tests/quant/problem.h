// problem: a linear and its inputs for tests of methods, with the Hessian in float64.
#ifndef BM_TESTS_QUANT_PROBLEM_H
#define BM_TESTS_QUANT_PROBLEM_H

#include "ops/fixture.h"
#include "quant/gptq_rows.h"

// Inputs with a few strong directions, so that corrections matter, and weights.
typedef struct problem {
    uint32_t rows, channels, tokens, num_dead;
    uint32_t rank; // of the inputs without their noise; 0: all
    double noise;  // of problems of a rank; small: nearly singular
    float *inputs, *weights;
    double *hessian, *wide; // wide: the weights
    double told_within;     // of the error itself, what the device tells of it; 0: 1e-3
} problem;

void *allocate(size_t count, size_t size); // zeros; the caller frees
void make_problem(problem *p, uint64_t seed);
void free_problem(problem *p);
// The Gram matrix of the inputs in two batches, finished.
void watch_problem(bm_multiplier *m, const problem *p, bm_gram *gram);

// What one run gives, on the host.
typedef struct result {
    float *step, *rounded;
    int32_t *zero_point;
    int8_t *codes;
    double error, rounding;
    uint32_t groups;
} result;

// GPTQ. The error that it says its weights have is checked.
void solve_problem(bm_multiplier *m, const problem *p, const bm_gram *gram, const bm_inverse_factor *factor,
                   const bm_method_params *params, result *out);
void free_result(result *r);
// Codes belong to steps, zero points and rounded values; the errors are the true ones; no row is worse than plain rounding.
void check_result(const problem *p, const bm_method_params *params, const bm_inverse_factor *factor, const result *r);

#endif
