// gate: an activation and a product; the reference uses other forms of the same functions.
#include "kernels/table.h"

#include <math.h>

enum { ROWS, COLS, ACTIVATION, WITHOUT_UP };
enum { GATE, UP, Y };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], cols = run->shape[COLS];
    for (uint32_t i = 0; i < 3; i++)
        kernel_shape(run, i, rows, cols);
    kernel_fill(run, GATE, 3);
    kernel_fill(run, UP, 1);
    run->buffers[UP].absent = run->shape[WITHOUT_UP] != 0;
    const bm_gate_scalars scalars = {rows,
                                     cols,
                                     (uint32_t)run->buffers[GATE].stride,
                                     (uint32_t)run->buffers[UP].stride,
                                     (uint32_t)run->buffers[Y].stride,
                                     !run->shape[WITHOUT_UP],
                                     run->shape[ACTIVATION]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)rows * cols / 4, 64);
}

static double up_of(const kernel_run *run, uint64_t k)
{
    return run->shape[WITHOUT_UP] ? 1 : run->buffers[UP].values[k];
}

// exp of -z is off by its argument's error (z by one rounding for SiLU, six for the cubic) and by (3 + 2 |z|) ulp,
// Vulkan's precision, an ulp being 2 roundings; sum, division (2.5 ulp) and two products make 12 more.
// GELU by erf: the polynomial of 7.1.26 is within 1.5e-7 of erf; evaluated in float32, ten roundings of terms whose
// sizes add up to less than 4.5, 5 for 1 / (1 + p x), and exp(-x^2) (3 + 2 x^2) ulp <= 3.4 ulp: less than 64 roundings
// in all.
static void bound(kernel_run *run)
{
    kernel_matrix *y = &run->buffers[Y];
    for (uint64_t k = 0; k < y->rows * y->cols; k++) {
        const double g = run->buffers[GATE].values[k], up = up_of(run, k);
        const double z = run->shape[ACTIVATION] == 0 ? fabs(g) : 1.6 * (fabs(g) + 0.044715 * fabs(g * g * g));
        // What flushing may lose: the activation itself (times up), exp and the product.
        const double flush = KERNEL_FLUSH * (4 + 8 * fabs(up) * (1 + fabs(g)));
        if (run->shape[ACTIVATION] == 2)
            y->bounds[k] =
                0.5 * fabs(g * up) * (1.5e-7 + 64 * KERNEL_EPSILON) + 8 * KERNEL_EPSILON * fabs(y->exact[k]) + flush;
        else
            y->bounds[k] = KERNEL_EPSILON * (18 + 10 * z) * fabs(y->exact[k]) + flush;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    for (uint64_t k = 0; k < run->buffers[Y].rows * run->buffers[Y].cols; k++) {
        const double g = run->buffers[GATE].values[k], up = up_of(run, k);
        const double z = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
        const double share = run->shape[ACTIVATION] == 0   ? 0.5 * (1 + tanh(g / 2))
                             : run->shape[ACTIVATION] == 1 ? 0.5 * (1 + tanh(z))
                                                           : 0.5 * (1 + erf(g / sqrt(2)));
        // Below -6 these forms cancel; the other side of the symmetry does not.
        const double other = run->shape[ACTIVATION] == 0   ? exp(g) / (1 + exp(g))
                             : run->shape[ACTIVATION] == 1 ? exp(2 * z) / (1 + exp(2 * z))
                                                           : 0.5 * erfc(-g / sqrt(2));
        out[Y][k] = g * up * (g < 0 ? other : share);
    }
}

static double operations(const kernel_run *run)
{
    return 8.0 * run->shape[ROWS] * run->shape[COLS];
}

const kernel_operation kernel_gate = {
    .kernel = BM_KERNEL_GATE,
    .cases = {{"1", {1, 1, 0}, false},
              {"prime", {7, 13, 1}, false},
              {"prime", {7, 13, 2}, false},
              {"tile - 1", {3, 255, 0}, false},
              {"tile", {3, 256, 1}, false},
              {"tile + 1", {3, 257, 2}, false},
              {"long thin", {1031, 3, 0}, false},
              {"three quads behind 16", {5, 27, 0}, false},
              {"two quads behind 16", {9, 38, 2}, false},
              {"layer", {16, 5632, 0}, true},
              {"layer", {16, 5632, 1}, true},
              {"layer", {16, 5632, 2}, true},
              {"without up, 1", {1, 1, 1, 1}, false},
              {"without up, prime", {7, 13, 1, 1}, false},
              {"without up, tile + 1", {3, 257, 1, 1}, false}},
    .make = make,
    .tune = kernel_tune_wide,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
