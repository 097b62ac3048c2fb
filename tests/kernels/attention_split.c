// attention_split: the reference sums each part from its last key.
#include "kernels/attention.h"
#include "kernels/table.h"

#include <float.h>
#include <math.h>

enum { PARTS = Y };

static void make(kernel_run *run)
{
    const uint32_t *shape = run->shape;
    attention_make(run, 45);
    kernel_shape(run, PARTS, (uint64_t)shape[TOKENS] * shape[HEADS] * shape[SPLITS], shape[HEAD_DIM] + 2);
    const bm_attention_split_scalars scalars = {shape[TOKENS],
                                                shape[HEADS],
                                                shape[KV_HEADS],
                                                shape[HEAD_DIM],
                                                shape[SPLITS],
                                                (uint32_t)run->buffers[Q].stride,
                                                (uint32_t)run->buffers[K].stride,
                                                (uint32_t)run->buffers[V].stride,
                                                (uint32_t)run->buffers[PARTS].stride,
                                                shape[HAS_SLOPES],
                                                (float)(1 / sqrt(shape[HEAD_DIM]))};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->groups[0] = kernel_groups((uint64_t)shape[TOKENS] * shape[HEADS] * shape[SPLITS], 1);
}

// By the size of a head, so that there are few pipelines: they take long to compile.
static void tune(kernel_run *run)
{
    const uint32_t dim = run->shape[HEAD_DIM], turn = dim / 8 % 3;
    static const uint32_t groups[][3] = {{32, 64, 128}, [BM_VARIANT_ATTENTION_SPLIT_WIDE] = {1, 2, 8}};
    run->tunables[0] = groups[run->variant][turn];
    run->tunables[2] = dim == 8 ? 1 : dim == 40 || dim == 128 ? 4 : 2;
}

// The first key of split s of token t, and behind its last.
static uint32_t range(const kernel_run *run, uint32_t t, uint32_t s, uint32_t *end)
{
    const double first = run->buffers[FIRST_KEY].values[t], last = run->buffers[LAST_KEY].values[t];
    const uint32_t count = last < first ? 0 : (uint32_t)(last - first) + 1;
    const uint32_t span = (uint32_t)bm_divide_up(count, run->shape[SPLITS]);
    *end = (uint32_t)first + (uint32_t)bm_min_u64(count, (uint64_t)s * span + span);
    return (uint32_t)first + (uint32_t)bm_min_u64(count, (uint64_t)s * span);
}

// One part, and, where bounds is not NULL, how far it may be off, as derived for kernel attention: E, the error of a score, is
// (head_dim + 2) roundings of its products' sizes; exp(score - largest) is off by the factor 2 E, and with sums over n keys by
// (16 + 10 spread + 8 n) roundings at most.
static void part_of(const kernel_run *run, uint32_t t, uint32_t h, uint32_t s, double *part, double *bounds)
{
    const uint32_t dim = run->shape[HEAD_DIM];
    uint32_t end;
    const uint32_t begin = range(run, t, s, &end);
    double largest = -FLT_MAX, lowest = INFINITY, error = 0, size;
    double *score = bm_alloc(end - begin + 1, sizeof *score);
    for (uint32_t d = 0; score && d < dim + 2; d++)
        part[d] = 0;
    for (uint32_t key = end; score && key-- > begin;) {
        score[key - begin] = attention_score(run, t, h, key, &size);
        largest = fmax(largest, score[key - begin]);
        lowest = fmin(lowest, score[key - begin]);
        error = fmax(error, (dim + 2.0) * KERNEL_EPSILON * size);
    }
    const double relative =
        2 * error + KERNEL_EPSILON * (16 + 10 * (end > begin ? largest - lowest : 0) + 8.0 * (end - begin));
    for (uint32_t key = end; score && key-- > begin;) {
        const double p = exp(score[key - begin] - largest);
        part[dim + 1] += p;
        for (uint32_t d = 0; d < dim; d++) {
            part[d] += p * attention_value(run, h, key, d);
            if (bounds)
                bounds[d] += relative * p * fabs(attention_value(run, h, key, d)) +
                             KERNEL_FLUSH * (2 + fabs(attention_value(run, h, key, d)));
        }
    }
    part[dim] = largest;
    if (bounds) {
        bounds[dim] = error + KERNEL_FLUSH;
        bounds[dim + 1] = relative * part[dim + 1] + (end - begin) * KERNEL_FLUSH;
    }
    bm_free(score);
}

static void all_parts(const kernel_run *run, double *parts, double *bounds)
{
    const uint32_t *shape = run->shape;
    for (uint32_t t = 0; t < shape[TOKENS]; t++)
        for (uint32_t h = 0; h < shape[HEADS]; h++)
            for (uint32_t s = 0; s < shape[SPLITS]; s++) {
                const uint64_t at = (((uint64_t)t * shape[HEADS] + h) * shape[SPLITS] + s) * (shape[HEAD_DIM] + 2);
                part_of(run, t, h, s, parts + at, bounds ? bounds + at : NULL);
            }
}

static void bound(kernel_run *run)
{
    kernel_matrix *m = &run->buffers[PARTS];
    double *parts = bm_alloc(m->rows * m->cols, sizeof *parts);
    for (uint64_t i = 0; i < m->rows * m->cols; i++)
        m->bounds[i] = 0;
    if (parts)
        all_parts(run, parts, m->bounds);
    bm_free(parts);
}

static void reference(const kernel_run *run, double *const *out)
{
    all_parts(run, out[PARTS], NULL);
}

#define ALL_REALS(type)                                                                                                \
    {                                                                                                                  \
        type, type, type                                                                                               \
    }

const kernel_operation kernel_attention_split = {
    .kernel = BM_KERNEL_ATTENTION_SPLIT,
    .cases = {{"1", {1, 1, 1, 1, 8, CACHED, 0, 1}, false},
              {"3 keys for 5 splits", {1, 3, 4, 2, 40, CACHED, 0, 5}, false},
              {"tile - 1, grouped", {1, 63, 4, 1, 40, CACHED, 0, 1}, false},
              {"tile of keys", {2, 66, 2, 2, 8, CACHED, 0, 1}, false},
              {"prime, 3 heads of one", {3, 131, 3, 1, 40, CACHED, 0, 3}, false},
              {"7 heads of one", {2, 97, 14, 2, 40, CACHED, 0, 2}, true},
              {"window", {5, 201, 4, 2, 40, WINDOW, 0, 3}, false},
              {"some see nothing", {4, 70, 2, 2, 8, HOLES, 0, 2}, false},
              {"widest", {2, 259, 2, 1, 232, CACHED, 0, 2}, true},
              {"layer", {1, 1000, 32, 8, 128, CACHED, 0, 4}, true},
              {"4097 keys", {1, 4097, 4, 2, 40, CACHED, 0, 7}, true},
              {"32768 keys", {1, 32768, 2, 1, 8, CACHED, 0, 66}, true},
              {"slopes", {3, 150, 6, 3, 40, CACHED, 1, 4}, false},
              {"slopes, window", {2, 300, 4, 1, 8, WINDOW, 1, 2}, true},
              {"slopes, long cache", {1, 2500, 4, 4, 40, CACHED, 1, 5}, true}},
    .type_sets = {ALL_REALS(BM_DTYPE_F32), ALL_REALS(BM_DTYPE_F16), ALL_REALS(BM_DTYPE_BF16)},
    .make = make,
    .tune = tune,
    .long_loops = {[8] = true, [9] = true, [10] = true, [11] = true, [14] = true},
    .bound = bound,
    .reference = reference,
    .operations = attention_operations,
};
