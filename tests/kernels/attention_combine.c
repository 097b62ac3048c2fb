// attention_combine: the reference adds the splits up from the last, without rescaling.
#include "kernels/table.h"

#include <float.h>
#include <math.h>

enum { TOKENS, HEADS, HEAD_DIM, SPLITS };
enum { PARTS, Y };

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape, dim = shape[HEAD_DIM];
    kernel_shape(run, PARTS, (uint64_t)shape[TOKENS] * shape[HEADS] * shape[SPLITS], dim + 2);
    kernel_shape(run, Y, shape[TOKENS], (uint64_t)shape[HEADS] * dim);
    kernel_fill(run, PARTS, 1);
    for (uint64_t r = 0; r < run->buffers[PARTS].rows;
         r++) { // every fifth split is empty, and all of every seventh head
        double *part = run->buffers[PARTS].values + r * (dim + 2);
        const bool is_empty = r % 5 == 4 || r / shape[SPLITS] % 7 == 3;
        for (uint32_t d = 0; d < dim && is_empty; d++)
            part[d] = 0;
        kernel_set(run, PARTS, r * (dim + 2) + dim, is_empty ? -FLT_MAX : 5 * bm_random_normal(&run->random));
        kernel_set(run, PARTS, r * (dim + 2) + dim + 1, is_empty ? 0 : 1 + 100 * bm_random_double(&run->random));
    }
    const bm_attention_combine_scalars scalars = {shape[TOKENS],
                                                  shape[HEADS],
                                                  dim,
                                                  shape[SPLITS],
                                                  (uint32_t)run->buffers[PARTS].stride,
                                                  (uint32_t)run->buffers[Y].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)shape[TOKENS] * shape[HEADS], 1);
}

static const double *part_of(const kernel_run *run, uint64_t row, uint32_t s)
{
    return run->buffers[PARTS].values + (row * run->shape[SPLITS] + s) * (run->shape[HEAD_DIM] + 2);
}

// Element d of a token and head; *size: the same of absolute values; *spread: of the largest scores of splits with keys.
static double combine(const kernel_run *run, uint64_t row, uint32_t d, double *size, double *spread)
{
    const uint32_t dim = run->shape[HEAD_DIM];
    double largest = -FLT_MAX, lowest = FLT_MAX, value = 0, sum = 0;
    *size = 0;
    for (uint32_t s = run->shape[SPLITS]; s-- > 0;) {
        const double *part = part_of(run, row, s);
        largest = fmax(largest, part[dim]);
        lowest = part[dim] > -FLT_MAX ? fmin(lowest, part[dim]) : lowest;
    }
    for (uint32_t s = run->shape[SPLITS]; s-- > 0;) {
        const double *part = part_of(run, row, s), factor = exp(part[dim] - largest);
        value += factor * part[d];
        *size += factor * fabs(part[d]);
        sum += factor * part[dim + 1];
    }
    *spread = fmax(0, largest - lowest);
    *size = sum > 0 ? *size / sum : 0;
    return sum > 0 ? value / sum : 0;
}

// A factor is off by (3 + 2 spread) ulp, and by as much again where it is rescaled; sums over n splits round n times. Numerator
// and denominator each.
static void bound(kernel_run *run)
{
    const uint32_t dim = run->shape[HEAD_DIM], splits = run->shape[SPLITS];
    for (uint64_t i = 0; i < run->buffers[Y].rows * run->buffers[Y].cols; i++) {
        double size, spread;
        (void)combine(run, i / dim, (uint32_t)(i % dim), &size, &spread);
        run->buffers[Y].bounds[i] =
            2 * KERNEL_EPSILON * (16 + 10 * spread + 8.0 * splits) * size + 4.0 * splits * KERNEL_FLUSH;
    }
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t dim = run->shape[HEAD_DIM];
    double size, spread;
    for (uint64_t i = 0; i < run->buffers[Y].rows * run->buffers[Y].cols; i++)
        out[Y][i] = combine(run, i / dim, (uint32_t)(i % dim), &size, &spread);
}

static double operations(const kernel_run *run)
{
    return 4.0 * (double)run->buffers[PARTS].rows * run->shape[HEAD_DIM];
}

const kernel_operation kernel_attention_combine = {
    .kernel = BM_KERNEL_ATTENTION_COMBINE,
    .cases = {{"1", {1, 1, 8, 1}, false},
              {"prime", {3, 5, 24, 7}, false},
              {"tile - 1", {2, 3, 40, 3}, false},
              {"tile", {1, 4, 64, 4}, false},
              {"widest, many splits", {2, 9, 256, 67}, false},
              {"layer", {1, 32, 128, 32}, true}},
    .make = make,
    .bound = bound,
    .reference = reference,
    .operations = operations,
};
