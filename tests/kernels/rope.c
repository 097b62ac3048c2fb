// rope: two products and a sum for each element; the reference turns complex numbers.
#include "kernels/table.h"

#include <complex.h>
#include <math.h>

enum { TOKENS, HEADS, HEAD_DIM, ROTARY_DIM, INTERLEAVED, POSITIONS };
enum { X, COSINES, SINES, IDS };

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape;
    kernel_shape(run, X, shape[TOKENS], (uint64_t)shape[HEADS] * shape[HEAD_DIM]);
    kernel_shape(run, COSINES, shape[POSITIONS], shape[ROTARY_DIM] / 2);
    kernel_shape(run, SINES, shape[POSITIONS], shape[ROTARY_DIM] / 2);
    run->buffers[SINES].stride = run->buffers[COSINES].stride;
    kernel_shape(run, IDS, 1, shape[TOKENS]);
    kernel_fill(run, X, 1);
    kernel_fill_integers(run, IDS, 0, shape[POSITIONS] - 1);
    for (uint64_t k = 0; k < (uint64_t)shape[POSITIONS] * shape[ROTARY_DIM] / 2; k++) {
        const double angle = bm_random_double(&run->random) * 100;
        kernel_set(run, COSINES, k, cos(angle));
        kernel_set(run, SINES, k, sin(angle));
    }
    const bm_rope_scalars scalars = {shape[TOKENS],
                                     shape[HEADS],
                                     shape[HEAD_DIM],
                                     (uint32_t)run->buffers[X].stride,
                                     shape[ROTARY_DIM],
                                     shape[INTERLEAVED],
                                     (uint32_t)run->buffers[COSINES].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)shape[TOKENS] * shape[HEADS] * shape[ROTARY_DIM] / 8, 64);
}

// Indices into X of the pair that holds element k, its angle's place in the tables; false: not rotated.
static bool find_pair(const kernel_run *run, uint64_t k, uint64_t *x, uint64_t *other, uint64_t *angle)
{
    const uint32_t *shape = run->shape;
    const uint32_t d = (uint32_t)(k % shape[HEAD_DIM]), half = shape[ROTARY_DIM] / 2;
    const uint64_t head = k - d, t = k / ((uint64_t)shape[HEADS] * shape[HEAD_DIM]);
    if (d >= shape[ROTARY_DIM])
        return false;
    const uint32_t i = shape[INTERLEAVED] ? d / 2 : d % half;
    *x = head + (shape[INTERLEAVED] ? 2 * i : i);
    *other = head + (shape[INTERLEAVED] ? 2 * i + 1 : i + half);
    *angle = (uint64_t)run->buffers[IDS].values[t] * half + i;
    return true;
}

// Each product and the sum round once: 2 roundings of the two products' sizes.
static void bound(kernel_run *run)
{
    kernel_matrix *m = &run->buffers[X];
    for (uint64_t k = 0; k < m->rows * m->cols; k++) {
        uint64_t x, other, angle;
        if (find_pair(run, k, &x, &other, &angle))
            m->bounds[k] = 2 * KERNEL_EPSILON * (fabs(m->values[x]) + fabs(m->values[other])) + 4 * KERNEL_FLUSH;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const kernel_matrix *m = &run->buffers[X];
    for (uint64_t k = 0; k < m->rows * m->cols; k++) {
        uint64_t x, other, angle;
        if (!find_pair(run, k, &x, &other, &angle))
            continue;
        const double complex turned = (m->values[x] + I * m->values[other]) *
                                      (run->buffers[COSINES].values[angle] + I * run->buffers[SINES].values[angle]);
        out[X][k] = k == x ? creal(turned) : cimag(turned);
    }
}

static double operations(const kernel_run *run)
{
    return 3.0 * run->shape[TOKENS] * run->shape[HEADS] * run->shape[ROTARY_DIM];
}

const kernel_operation kernel_rope = {
    .kernel = BM_KERNEL_ROPE,
    .cases = {{"1", {1, 1, 8, 8, 0, 1}, false},
              {"1, interleaved", {1, 1, 8, 8, 1, 1}, false},
              {"prime", {7, 3, 40, 40, 0, 11}, false},
              {"part rotated", {13, 2, 64, 16, 0, 29}, false},
              {"part rotated, interleaved", {13, 2, 64, 24, 1, 29}, false},
              {"long thin", {1031, 1, 16, 16, 0, 2000}, false},
              {"layer", {128, 32, 128, 128, 0, 128}, true},
              {"layer, interleaved", {64, 32, 128, 128, 1, 64}, true}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
