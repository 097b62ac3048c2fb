// Steps by output error: what all candidates lose is one tall matrix, so the work is the device's matrix product.
#include "ops/gram_search.h"

#include "ops/chunks.h"
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

#define MAX_BYTES (UINT64_C(64) << 20) // of differences at once, and of products; a device's largest buffer may be less
#define CACHE_BYTES (UINT64_C(2) << 20) // of them for each core of a CPU: so they are read again from its cache
#define MAX_EXHAUSTIVE 512              // columns of a group for which every factor is tried

// Wider groups: every fourth factor, then those around the best of them.
static const float offsets[] = {-0.01f, 0.01f, -0.02f, 0.02f, -0.03f, 0.03f};
enum { NUM_COARSE = 21, NUM_OFFSETS = BM_COUNT(offsets) };
#define MIN_HALF_COLUMNS 64 // of a group: tiles of matrix units would stay empty
#define MIN_FACTORS 8       // at once: offsets are of one base, so all go in one round
_Static_assert(NUM_OFFSETS <= MIN_FACTORS, "all offsets at once");

typedef struct gram_work {
    bm_tensor minimum, maximum; // of kernel group_range
    bm_tensor factors;          // candidates, and behind them the offsets of wide groups
    uint32_t num_offsets;       // 0: groups are not wide
    bm_tensor difference, product, best;
    bool is_half;     // differences and squares are float16
    bm_tensor units;  // [groups, columns of a group]: what squares are multiplied by, so that float16 holds them
    bm_tensor square; // of a group
} gram_work;

// One group of some rows.
typedef struct group_rows {
    const bm_grid_params *params;
    uint32_t group;
    bm_tensor w, minimum, maximum, step, zero_point;
    bm_tensor half_square; // where the work is half
} group_rows;

// Thresholds of clipping are few: all are tried.
static bool is_wide(const bm_grid_params *p, uint64_t group_cols)
{
    return group_cols > MAX_EXHAUSTIVE && p->clip_n_grid == 0;
}

static uint32_t num_signs(const bm_grid_params *p)
{
    return p->symmetric && p->signed_scales ? 2 : 1;
}

double bm_gram_search_operations(uint64_t rows, uint64_t cols, const bm_grid_params *p)
{
    const uint64_t group_cols = bm_min_u64(p->group_size, cols);
    const uint32_t num_factors = is_wide(p, group_cols) ? num_signs(p) * NUM_COARSE + NUM_OFFSETS
                                 : p->clip_n_grid > 0   ? p->clip_n_grid
                                                        : num_signs(p) * BM_GRID_MAX_FACTORS / 2;
    return 2.0 * num_factors * (double)rows * (double)cols * (double)group_cols;
}

// 1, 0.96, ..., 0.2, their negatives, offsets.
static bm_status create_coarse_factors(bm_device *device, const bm_grid_params *p, bm_tensor *out, bm_error *err)
{
    float factors[2 * NUM_COARSE + NUM_OFFSETS];
    uint32_t count = 0;
    for (uint32_t sign = 0; sign < num_signs(p); sign++)
        for (uint32_t i = 0; i < NUM_COARSE; i++)
            factors[count++] = (float)((sign ? -1 : 1) * (1 - 0.04 * i));
    memcpy(factors + count, offsets, sizeof offsets);
    const bm_status status = bm_tensor_create(device, BM_DTYPE_F32, 1, count + NUM_OFFSETS, "factors", out, err);
    return status == BM_OK ? bm_tensor_upload(device, out, factors, err) : status;
}

// Factors first .. end - 1 for one group of some rows; relative: added to each row's best so far.
static bm_status try_factors(bm_multiplier *m, const gram_work *work, const group_rows *g, uint32_t begin, uint32_t end,
                             bool relative, bm_error *err)
{
    bm_device *device = m->device;
    const bm_tensor *w = &g->w, *minimum = &g->minimum, *maximum = &g->maximum;
    const bm_grid_params *p = g->params;
    const uint64_t rows = w->rows, cols = w->cols, stride = bm_tensor_stride(work->difference.dtype, cols);
    const uint64_t capacity = work->difference.cols / (rows * stride);
    bm_status status = BM_OK;
    for (uint32_t first = begin; first < end; first += (uint32_t)capacity) {
        const uint32_t count = (uint32_t)bm_min_u64(capacity, end - first);
        const bm_tensor difference = bm_tensor_reshape(&work->difference, count * rows, cols);
        const bm_tensor product = bm_tensor_reshape(&work->product, count * rows, cols);
        const bm_grid_candidates_scalars candidates = {(uint32_t)rows,
                                                       (uint32_t)cols,
                                                       (uint32_t)w->stride,
                                                       (uint32_t)minimum->stride,
                                                       (uint32_t)difference.stride,
                                                       g->group,
                                                       first,
                                                       count,
                                                       relative,
                                                       p->bits,
                                                       p->symmetric,
                                                       (uint32_t)p->scale_dtype,
                                                       work->is_half};
        const bm_call make = {.kernel = BM_KERNEL_GRID_CANDIDATES,
                              .buffers = {w->view, minimum->view, maximum->view, work->factors.view,
                                          relative ? work->best.view : (bm_view){0}, difference.view},
                              .types = {[5] = difference.dtype},
                              .scalars = &candidates,
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .seconds = bm_chunk_seconds(device, 12.0 * (double)(count * rows * cols))};
        BM_TRY(bm_dispatch(device, &make, err));
        BM_TRY(work->is_half ? bm_half_product(&m->split, &difference, &g->half_square, &product, err)
                             : bm_multiplier_run(m, &difference, 0, cols, &product, err));
        const bm_grid_choose_scalars choose = {(uint32_t)rows,
                                               (uint32_t)cols,
                                               (uint32_t)difference.stride,
                                               (uint32_t)product.stride,
                                               (uint32_t)minimum->stride,
                                               g->group,
                                               first,
                                               count,
                                               relative,
                                               p->bits,
                                               p->symmetric,
                                               (uint32_t)p->scale_dtype};
        const bm_call take = {.kernel = BM_KERNEL_GRID_CHOOSE,
                              .buffers = {difference.view, product.view, minimum->view, maximum->view,
                                          work->factors.view, work->best.view, g->step.view, g->zero_point.view},
                              .types = {difference.dtype},
                              .scalars = &choose,
                              .groups = {bm_chunk_groups(device, rows, 1), 1, 1},
                              .seconds = bm_chunk_seconds(device, 2.0 * (double)(count * rows * cols))};
        BM_TRY(bm_dispatch(device, &take, err));
    }
done:
    return status;
}

static bm_status search_group(bm_multiplier *m, const gram_work *work, const group_rows *g, bm_error *err)
{
    const uint32_t count = (uint32_t)work->factors.cols - work->num_offsets;
    bm_status status = BM_OK;
    BM_TRY(try_factors(m, work, g, 0, count, false, err));
    if (work->num_offsets > 0)
        BM_TRY(try_factors(m, work, g, count, count + work->num_offsets, true, err));
done:
    return status;
}

// Whether sums that only rank candidates are made of float16: one product on matrix units. Not for one group, which would wait for its
// diagonal as often as it is asked.
static bool is_half(const bm_multiplier *m, uint64_t group_cols, uint32_t groups)
{
    return m->split.choice.gflops > 0 && !m->split.is_off && group_cols >= MIN_HALF_COLUMNS && groups > 1;
}

// The power of two that brings the largest of each group's diagonal, which nothing in its square exceeds, to 2^13 .. 2^14.
static bm_status create_units(bm_device *device, const bm_tensor *gram, uint64_t group_cols, uint32_t groups,
                              bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor diagonal = {0};
    float *values = bm_alloc(gram->rows + groups * group_cols, sizeof *values), *units = values + gram->rows;
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, gram->rows, "diagonal", &diagonal, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, groups, group_cols, "units of squares", out, err));
    BM_TRY(bm_diagonal(device, gram, &diagonal, err));
    BM_TRY(bm_tensor_download(device, &diagonal, values, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint32_t g = 0; g < groups; g++) {
        float largest = 0;
        int exponent = 14;
        for (uint64_t c = g * group_cols; c < bm_min_u64(gram->rows, (g + 1) * group_cols); c++)
            largest = fmaxf(largest, values[c]);
        if (largest > 0 && isfinite(largest))
            (void)frexpf(largest, &exponent); // largest in 2^(exponent - 1) .. 2^exponent
        for (uint64_t c = 0; c < group_cols; c++)
            units[g * group_cols + c] = ldexpf(1, 14 - exponent > 127 ? 127 : 14 - exponent);
    }
    BM_TRY(bm_tensor_upload(device, out, units, err));
done:
    bm_tensor_destroy(&diagonal);
    bm_free(values);
    return status;
}

// Elements of differences at once.
static uint64_t elements_at_once(const bm_device *device, uint64_t stride)
{
    const bm_device_info *info = bm_device_get_info(device);
    uint64_t bytes = bm_min_u64(MAX_BYTES, info->limits.max_allocation_bytes);
    bytes = bm_min_u64(bytes, info->limits.memory_bytes / 16);
    if (info->kind == BM_DEVICE_CPU && info->limits.compute_units > 0)
        bytes = bm_min_u64(bytes, CACHE_BYTES * info->limits.compute_units);
    return stride * bm_max_u64(MIN_FACTORS, bytes / (stride * sizeof(float)));
}

uint64_t bm_gram_search_bytes(const bm_device *device, uint64_t group_cols)
{
    return 2 * sizeof(float) * elements_at_once(device, bm_tensor_stride(BM_DTYPE_F32, group_cols));
}

bm_status bm_gram_search(bm_multiplier *m, const bm_tensor *w, const bm_tensor *gram, const bm_grid_params *p,
                         const bm_tensor *step, const bm_tensor *zero_point, bm_error *err)
{
    bm_device *device = m->device;
    const uint32_t groups = p->group_size ? bm_num_groups(w->cols, p->group_size) : 0;
    const uint64_t group_cols = bm_min_u64(p->group_size, w->cols);
    const bool half = is_half(m, group_cols, groups);
    const bm_dtype stored = half ? BM_DTYPE_F16 : BM_DTYPE_F32;
    const uint64_t stride = bm_tensor_stride(stored, group_cols);
    const uint64_t elements = elements_at_once(device, stride);
    bm_status status = BM_OK;
    gram_work work = {.num_offsets = is_wide(p, group_cols) ? NUM_OFFSETS : 0, .is_half = half};
    BM_FAIL_IF(p->group_size == 0 || p->bits < 2 || p->bits > 8, err, BM_E_ARGUMENT,
               "gram search: %u bits in groups of %u", p->bits, p->group_size);
    BM_TRY(bm_check_matrix("gram search", "w", w, BM_DTYPE_F32, w->rows, w->cols, err));
    BM_TRY(bm_check_matrix("gram search", "gram", gram, BM_DTYPE_F32, w->cols, w->cols, err));
    BM_TRY(bm_check_matrix("gram search", "step", step, BM_DTYPE_F32, w->rows, groups, err));
    BM_TRY(bm_check_matrix("gram search", "zero_point", zero_point, BM_DTYPE_I32, w->rows, groups, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows, groups, "minimum", &work.minimum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, w->rows, groups, "maximum", &work.maximum, err));
    BM_FAIL_IF(work.minimum.stride != step->stride || step->stride != zero_point->stride, err, BM_E_ARGUMENT,
               "gram search: step is not dense");
    if (work.num_offsets > 0)
        BM_TRY(create_coarse_factors(device, p, &work.factors, err));
    else
        BM_TRY(bm_grid_factors(device, p, &work.factors, err));
    if (work.is_half) {
        BM_TRY(create_units(device, gram, group_cols, groups, &work.units, err));
        BM_TRY(bm_tensor_create(device, BM_DTYPE_F16, group_cols, group_cols, "square", &work.square, err));
    }
    BM_TRY(bm_tensor_create(device, stored, 1, elements, "differences", &work.difference, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, elements, "products", &work.product, err));
    // Rows at once: on GPUs so many that all factors fit, since each dispatch finds grids and the best of them a row, which takes longer
    // than a few candidates do. On CPUs that gained nothing (PoCL: 16.9 s with few factors at once, 18.2 with all).
    const bool is_cpu = bm_device_get_info(device)->kind == BM_DEVICE_CPU;
    const uint64_t factors_at_once = is_cpu ? MIN_FACTORS : work.factors.cols;
    const uint64_t at_once = bm_min_u64(w->rows, bm_max_u64(1, elements / stride / factors_at_once));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, at_once, 4, "best", &work.best, err));
    BM_TRY(bm_group_range(device, w, p->group_size, &work.minimum, &work.maximum, err));
    for (uint32_t g = 0; g < groups; g++) {
        const uint64_t first_col = (uint64_t)g * p->group_size, cols = bm_min_u64(p->group_size, w->cols - first_col);
        const bm_tensor square = bm_tensor_part(gram, first_col, cols, first_col, cols);
        bm_tensor half_square = {0};
        if (work.is_half) {
            const bm_tensor units = bm_tensor_part(&work.units, g, 1, 0, cols);
            half_square = bm_tensor_reshape(&work.square, cols, cols);
            BM_TRY(bm_shift_scale(device, &square, NULL, &units, &half_square, err));
        } else {
            BM_TRY(bm_multiplier_set(m, &square, err));
        }
        for (uint64_t first = 0; first < w->rows; first += at_once) {
            const uint64_t rows = bm_min_u64(at_once, w->rows - first);
            const group_rows some = {.params = p,
                                     .group = g,
                                     .w = bm_tensor_part(w, first, rows, first_col, cols),
                                     .minimum = bm_tensor_rows(&work.minimum, first, rows),
                                     .maximum = bm_tensor_rows(&work.maximum, first, rows),
                                     .step = bm_tensor_rows(step, first, rows),
                                     .zero_point = bm_tensor_rows(zero_point, first, rows),
                                     .half_square = half_square};
            BM_TRY(search_group(m, &work, &some, err));
        }
    }
done:;
    bm_tensor *const all[] = {&work.minimum, &work.maximum, &work.factors, &work.difference,
                              &work.product, &work.best,    &work.units,   &work.square};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    return status;
}
