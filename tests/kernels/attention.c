// attention: the reference is a plain softmax, summed from the last key.
#include "kernels/attention.h"
#include "kernels/table.h"

#include <math.h>

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape;
    attention_make(run, 7);
    kernel_shape(run, Y, shape[TOKENS], (uint64_t)shape[HEADS] * shape[HEAD_DIM]);
    const bm_attention_scalars scalars = {shape[TOKENS],
                                          shape[HEADS],
                                          shape[KV_HEADS],
                                          shape[HEAD_DIM],
                                          (uint32_t)run->buffers[Q].stride,
                                          (uint32_t)run->buffers[K].stride,
                                          (uint32_t)run->buffers[V].stride,
                                          (uint32_t)run->buffers[Y].stride,
                                          shape[HAS_SLOPES],
                                          (float)(1 / sqrt(shape[HEAD_DIM])),
                                          (float)shape[CAP]};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)shape[TOKENS] * shape[HEADS], 64);
}

// _tile takes GROUP / 4 tokens a work-group; all sizes that it allows get their turn. _lanes takes any. _cm, _mma, _mma_wide: all forms by turns of
// cases and kinds of values.
static bool is_on_matrix_units(const kernel_run *run)
{
    return bm_kernel_uses_matrix_units(BM_KERNEL_ATTENTION, run->variant);
}

static void tune(kernel_run *run)
{
    static const uint32_t groups[][3] = {
        [BM_VARIANT_ATTENTION_TILE] = {64, 128, 256}, [BM_VARIANT_ATTENTION_LANES] = {1, 2, 8}};
    run->tunables[2] = 0;
    if (!is_on_matrix_units(run)) {
        run->tunables[0] = groups[run->variant][run->seed / 10 % 3];
        return;
    }
    const uint64_t turn = run->seed / 1000 + run->seed % 10;
    const uint32_t lanes = run->info->variants[run->variant].lanes;
    const uint32_t subgroups = 4 * (lanes > 0 ? lanes : 32); // _mma: its instructions have 32
    const bool has_odd_group = run->variant == BM_VARIANT_ATTENTION_MMA && turn % 3 == 2;
    run->tunables[0] = has_odd_group ? 192 : turn % 2 ? 2 * subgroups : subgroups;
    run->tunables[2] = turn / 2 % 2 ? 32 : 64;
    if (run->variant == BM_VARIANT_ATTENTION_MMA_WIDE) {
        run->tunables[0] = 128;
        run->tunables[2] = run->shape[HEAD_DIM] > 64 ? 32 : run->tunables[2];
        return;
    }
    const uint32_t rows = 2 * run->tunables[2] > run->tunables[0] / 2 ? 2 * run->tunables[2] : run->tunables[0] / 2;
    if (rows * (2 * run->shape[HEAD_DIM] + 16) + 42 * run->tunables[0] > run->shared_memory_bytes)
        run->tunables[0] = subgroups, run->tunables[2] = 32;
}

// Matrix units take whole steps of 16 columns, _mma_wide of 64. One token that walks a long cache is not their work.
static bool takes(const kernel_run *run)
{
    return !is_on_matrix_units(run) ||
           (run->shape[CAP] == 0 &&
            run->shape[HEAD_DIM] % (run->variant == BM_VARIANT_ATTENTION_MMA_WIDE ? 64 : 16) == 0 &&
            run->shape[HEAD_DIM] <= 128 && run->shape[KEYS] < 1000);
}

// Scores of token t and head h for its keys, and the sums of the sizes of their products; returns the number of keys.
static uint32_t scores(const kernel_run *run, uint32_t t, uint32_t h, double *score, double *size)
{
    const double cap = run->shape[CAP];
    const double first = run->buffers[FIRST_KEY].values[t], last = run->buffers[LAST_KEY].values[t];
    const uint32_t count = last < first ? 0 : (uint32_t)(last - first) + 1;
    for (uint32_t i = 0; i < count; i++)
        score[i] = attention_score(run, t, h, (uint32_t)first + i, &size[i]);
    for (uint32_t i = 0; i < count && cap > 0;
         i++) { // of no slopes; 1 - 2 / (1 + exp(2 x)) and bent less than it was off
        score[i] = cap * (1 - 2 / (1 + exp(2 * score[i] / cap)));
        size[i] += cap;
    }
    return count;
}

static double value(const kernel_run *run, uint32_t t, uint32_t h, uint32_t i, uint32_t d)
{
    return attention_value(run, h, (uint32_t)run->buffers[FIRST_KEY].values[t] + i, d);
}

// A score is off by e = (head_dim + 2) roundings of its products' sizes (q is scaled first: one rounding; the product
// one; head_dim sums). A bias by slopes adds its own size, with three roundings at most, and head_dim is 8 or more. With E the largest e, exp(score - largest) is off by the factor 2 E, one rounding of the spread
// of the scores, and (3 + 2 spread) ulp; rescaling adds at most a factor for each key, whose arguments add up to the
// spread again; sums over n keys round n times. Numerator and denominator each: twice that of sum p |v|.
// Matrix units get exponentials of at most 1 as float16: off by 2^-11 of each, or 2^-25 where that is more; as bfloat16: 2^-8. Their bounds are
// compared KERNEL_MATRIX_WIDTH times as wide, which is for sums alone.
static void bound(kernel_run *run)
{
    const uint32_t *shape = run->shape;
    const bool is_bfloat16 = run->buffers[V].type == BM_DTYPE_BF16;
    const double rounded = is_on_matrix_units(run) ? 1.0 / KERNEL_MATRIX_WIDTH : 0;
    const double relative_of_weights = is_bfloat16 ? 0x1p-7 : 0x1p-10, least = is_bfloat16 ? 0 : 0x1p-24;
    double *score = bm_alloc(2 * (uint64_t)shape[KEYS], sizeof *score), *size = score + shape[KEYS];
    for (uint32_t t = 0; score && t < shape[TOKENS]; t++)
        for (uint32_t h = 0; h < shape[HEADS]; h++) {
            const uint32_t count = scores(run, t, h, score, size);
            double error = 0, largest = -INFINITY, lowest = INFINITY, sum = 0;
            for (uint32_t i = 0; i < count; i++) {
                error = fmax(error, (shape[HEAD_DIM] + 2.0) * KERNEL_EPSILON * size[i]);
                largest = fmax(largest, score[i]);
                lowest = fmin(lowest, score[i]);
            }
            for (uint32_t i = 0; i < count; i++)
                sum += exp(score[i] - largest);
            const double spread = count ? largest - lowest : 0;
            const double relative = 2 * error + KERNEL_EPSILON * (16 + 10 * spread + 8.0 * count);
            for (uint32_t d = 0; d < shape[HEAD_DIM] && count; d++) {
                double weighted = 0, most = 0;
                for (uint32_t i = 0; i < count; i++) {
                    weighted += exp(score[i] - largest) * fabs(value(run, t, h, i, d));
                    most = fmax(most, fabs(value(run, t, h, i, d)));
                }
                run->buffers[Y].bounds[((uint64_t)t * shape[HEADS] + h) * shape[HEAD_DIM] + d] =
                    2 * relative * weighted / sum + count * KERNEL_FLUSH * (2 + most) +
                    rounded * (relative_of_weights * weighted / sum + least * count * most / sum);
            }
        }
    bm_free(score);
}

static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t *shape = run->shape;
    double *score = bm_alloc(2 * (uint64_t)shape[KEYS], sizeof *score);
    for (uint32_t t = 0; score && t < shape[TOKENS]; t++)
        for (uint32_t h = 0; h < shape[HEADS]; h++) {
            const uint32_t count = scores(run, t, h, score, score + shape[KEYS]);
            for (uint32_t d = 0; d < shape[HEAD_DIM]; d++) {
                double sum = 0, weighted = 0, shift = -INFINITY;
                for (uint32_t i = count; i-- > 0;)
                    shift = fmax(shift, score[i]);
                for (uint32_t i = count; i-- > 0;) {
                    sum += exp(score[i] - shift);
                    weighted += exp(score[i] - shift) * value(run, t, h, i, d);
                }
                out[Y][((uint64_t)t * shape[HEADS] + h) * shape[HEAD_DIM] + d] = count ? weighted / sum : 0;
            }
        }
    bm_free(score);
}

#define ALL_REALS(type)                                                                                                \
    {                                                                                                                  \
        type, type, type, type                                                                                         \
    }

const kernel_operation kernel_attention = {
    .kernel = BM_KERNEL_ATTENTION,
    .cases = {{"1", {1, 1, 1, 1, 8, CAUSAL}, false},
              {"prime", {13, 13, 3, 1, 24, CAUSAL}, false},
              {"tile - 1, grouped", {31, 31, 4, 2, 32, WINDOW}, false},
              {"tile, packed", {64, 64, 2, 1, 64, PACKED}, false},
              {"tile + 1, cached", {65, 98, 2, 2, 32, CACHED}, false},
              {"one token, cached", {1, 131, 4, 2, 64, CACHED}, false},
              {"one token, long cache", {1, 9001, 1, 1, 64, CACHED}, true},
              {"some see nothing", {17, 17, 2, 2, 16, HOLES}, false},
              {"widest", {9, 70, 1, 1, 256, CACHED}, false},
              {"long thin", {257, 257, 1, 1, 8, CAUSAL}, true},
              {"layer", {64, 64, 8, 2, 128, CAUSAL}, true},
              {"slopes, 1", {1, 1, 1, 1, 8, CAUSAL, 1}, true},
              {"slopes, prime", {13, 13, 3, 3, 24, CAUSAL, 1}, false},
              {"slopes, packed", {67, 67, 6, 2, 32, PACKED, 1}, true},
              {"slopes, cached", {65, 131, 2, 2, 16, CACHED, 1}, true},
              {"slopes, some see nothing", {17, 17, 2, 2, 16, HOLES, 1}, true},
              {"tiles of matrix units", {131, 201, 4, 2, 64, WINDOW}, true},
              {"steps of matrix units", {130, 150, 2, 1, 80, CACHED, 1}, false},
              {"capped, prime", {13, 13, 3, 1, 24, CAUSAL, 0, 1}, false},
              {"capped, window", {67, 67, 6, 2, 64, WINDOW, 0, 2}, false},
              {"capped, some see nothing", {17, 17, 2, 2, 16, HOLES, 0, 50}, false}},
    .type_sets = {ALL_REALS(BM_DTYPE_F32), ALL_REALS(BM_DTYPE_F16), ALL_REALS(BM_DTYPE_BF16)},
    .make = make,
    .tune = tune,
    .takes = takes,
    // long cache, widest, long thin, layer, of matrix units
    .long_loops = {[6] = true, [8] = true, [9] = true, [10] = true, [16] = true, [17] = true},
    .bound = bound,
    .reference = reference,
    .operations = attention_operations,
};
