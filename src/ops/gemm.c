// The matrix product of a linear: checks, the cuts into parts and dispatches, and the dispatches.
#include "ops/gemm.h"
#include "ops/chunks.h"
#include "ops/elementwise.h"
#include "ops/rate.h"

#include <assert.h>
#include <stdio.h>

#define MAX_ELEMENTS (UINT64_C(1) << 31)       // of a part: kernels count elements in 32 bits
#define MAX_SCRATCH_BYTES (UINT64_C(64) << 20) // for rows of x in panels
#define CACHE_BYTES (UINT64_C(15) << 19)       // 7.5 MiB: a band of x panels that stays in a CPU's outer cache
#define MOVE_GROUP 64                          // of kernels that pack, unpack and convert

double bm_gemm_operations(uint64_t tokens, uint64_t out_features, uint64_t in_features)
{
    return 2.0 * (double)tokens * (double)out_features * (double)in_features;
}

double bm_gemm_bytes(uint64_t tokens, uint64_t out_features, uint64_t in_features, bm_dtype x, bm_dtype w, bm_dtype y)
{
    return (double)tokens * (double)in_features * bm_dtype_size(x) +
           (double)out_features * (double)in_features * bm_dtype_size(w) +
           (double)tokens * (double)out_features * bm_dtype_size(y);
}

static bool in_panels(const bm_weights *weights)
{
    return weights->choice.form == BM_GEMM_PANELS;
}

// Whether a choice is for x and weights of this type; BM_DTYPE_NONE: of any types.
static bool takes(const bm_gemm_choice *choice, bm_dtype dtype)
{
    return choice->form == BM_GEMM_PANELS ||
           bm_kernel_takes(BM_KERNEL_GEMM, choice->variant, (const bm_dtype[BM_MAX_BUFFERS]){dtype, dtype});
}

static uint64_t part_rows(const bm_weights *weights, uint32_t part)
{
    return bm_min_u64(weights->rows_per_part, weights->out_features - part * weights->rows_per_part);
}

uint32_t bm_gemm_groups(const bm_device *device, uint64_t count, uint32_t group)
{
    return (uint32_t)bm_min_u64(bm_divide_up(count, group), bm_device_get_info(device)->limits.max_groups[0]);
}

uint32_t bm_gemm_walk(uint32_t panel_rows, uint64_t k)
{
    return (uint32_t)bm_max_u64(1, bm_min_u64(64, CACHE_BYTES / (panel_rows * k * sizeof(float))));
}

bm_status bm_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, bm_dtype dtype,
                            const char *name, const bm_gemm_choice *choice, bm_weights **out, bm_error *err)
{
    bm_gemm_choice chosen = choice ? *choice : bm_gemm_choose(device);
    const bm_gemm_choice many = choice ? *choice : bm_gemm_choose_for(device, dtype, dtype, BM_USE_MANY_TILES);
    const bm_gemm_choice few = choice ? *choice : bm_gemm_choose_for(device, dtype, dtype, BM_USE_FEW_TILES);
    if (!bm_device_is_real(device, dtype))
        return bm_fail(err, BM_E_ARGUMENT, "%s: weights stored as %s, expected F32, F16 or BF16", name,
                       bm_dtype_name(dtype));
    if (!takes(&chosen, BM_DTYPE_NONE))
        chosen = bm_gemm_choose(device);
    const bm_status status = bm_weights_allocate(device, out_features, in_features, dtype, name, &chosen, out, err);
    if (status == BM_OK && !takes(&many, BM_DTYPE_NONE) && takes(&many, dtype) && !in_panels(*out)) {
        (*out)->matrix = many;
        (*out)->few = few;
        (*out)->few_tiles = bm_compute_units(device);
        bm_log_write(bm_device_log(device), BM_LOG_DEBUG, "%s: many rows of %s by %s; fewer than %llu tiles by %s",
                     name, bm_dtype_name(dtype), many.reason, (unsigned long long)(*out)->few_tiles, few.reason);
    }
    return status;
}

const bm_gemm_choice *bm_weights_choice(const bm_weights *weights, bm_dtype x, uint64_t x_rows)
{
    const uint64_t tiles = bm_divide_up(x_rows, 128) * bm_divide_up(weights->out_features, 128);
    if (weights->matrix.gflops > 0 && x == weights->dtype && x_rows > BM_THIN_ROWS)
        return tiles < weights->few_tiles ? &weights->few : &weights->matrix;
    return &weights->choice;
}

bm_status bm_weights_allocate(bm_device *device, uint64_t out_features, uint64_t in_features, bm_dtype dtype,
                              const char *name, const bm_gemm_choice *choice, bm_weights **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_weights *weights = NULL;
    BM_FAIL_IF(out_features == 0 || in_features == 0 || out_features >= MAX_ELEMENTS || in_features >= MAX_ELEMENTS,
               err, BM_E_ARGUMENT, "%s: weights of [%llu, %llu]", name, (unsigned long long)out_features,
               (unsigned long long)in_features);
    weights = bm_alloc_zero(1, sizeof *weights);
    BM_FAIL_IF(!weights, err, BM_E_MEMORY, "out of memory");
    weights->out_features = out_features;
    weights->in_features = in_features;
    weights->dtype = dtype;
    weights->choice = *choice;
    snprintf(weights->name, sizeof weights->name, "%s", name);

    const uint64_t stride = in_panels(weights) ? in_features : bm_tensor_stride(dtype, in_features);
    const uint64_t max_elements =
        bm_min_u64(MAX_ELEMENTS, bm_device_get_info(device)->limits.max_allocation_bytes / bm_dtype_size(dtype));
    weights->rows_per_part = max_elements / stride / BM_GEMM_SLICE_ROWS * BM_GEMM_SLICE_ROWS;
    BM_FAIL_IF(weights->rows_per_part == 0, err, BM_E_UNSUPPORTED,
               "%s: %d rows of %llu %s exceed the largest buffer of %s", name, BM_GEMM_SLICE_ROWS,
               (unsigned long long)in_features, bm_dtype_name(dtype), bm_device_get_info(device)->name);
    weights->rows_per_part = bm_min_u64(weights->rows_per_part, bm_round_up(out_features, BM_GEMM_SLICE_ROWS));
    weights->num_parts = (uint32_t)bm_divide_up(out_features, weights->rows_per_part);
    weights->parts = bm_alloc_zero(weights->num_parts, sizeof *weights->parts);
    BM_FAIL_IF(!weights->parts, err, BM_E_MEMORY, "out of memory");
    for (uint32_t p = 0; p < weights->num_parts; p++) {
        bm_tensor *part = &weights->parts[p];
        const uint64_t rows = part_rows(weights, p), cols = weights->choice.panel_cols;
        if (in_panels(weights))
            BM_TRY(bm_tensor_create(device, dtype, bm_divide_up(rows, cols) * in_features, cols, name, part, err));
        else
            BM_TRY(bm_tensor_create(device, dtype, rows, in_features, name, part, err));
        BM_TRY(bm_fill(device, part->view, 0, err));
    }
    bm_log_write(bm_device_log(device), BM_LOG_DEBUG, "%s: [%llu, %llu] %s in %u parts, %s", name,
                 (unsigned long long)out_features, (unsigned long long)in_features, bm_dtype_name(dtype),
                 weights->num_parts, weights->choice.reason);
    *out = weights;
    weights = NULL;
done:
    bm_weights_destroy(&weights);
    return status;
}

void bm_weights_destroy(bm_weights **weights)
{
    if (!weights || !*weights)
        return;
    for (uint32_t p = 0; (*weights)->parts && p < (*weights)->num_parts; p++)
        bm_tensor_destroy(&(*weights)->parts[p]);
    bm_free((*weights)->parts);
    bm_free(*weights);
    *weights = NULL;
}

// Rows move to first .. first + count - 1 of part p.
static bm_status move_rows(bm_device *device, const bm_weights *weights, uint32_t p, uint64_t first,
                           const bm_tensor *rows, bm_error *err)
{
    const bm_tensor *part = &weights->parts[p];
    const uint32_t k = (uint32_t)weights->in_features, count = (uint32_t)rows->rows;
    const uint32_t group = MOVE_GROUP;
    bm_call call = {.subject = weights->name,
                    .tunables = {group},
                    .groups = {1, 1, 1},
                    .seconds = bm_chunk_seconds(device, 8.0 * count * k)};
    if (!in_panels(weights)) {
        const bm_tensor to = bm_tensor_rows(part, first, count);
        const bm_convert_scalars scalars = {count, k, (uint32_t)rows->stride, (uint32_t)to.stride};
        call.kernel = BM_KERNEL_CONVERT;
        call.buffers[0] = rows->view, call.types[0] = rows->dtype;
        call.buffers[1] = to.view, call.types[1] = to.dtype;
        call.scalars = &scalars;
        call.groups[0] = bm_gemm_groups(device, (uint64_t)count * ((k + 3) / 4), group);
        return bm_dispatch(device, &call, err);
    }
    const uint32_t cols = weights->choice.panel_cols;
    call.tunables[1] = cols;
    const bm_gemm_pack_weights_scalars scalars = {count, (uint32_t)first, k, (uint32_t)rows->stride};
    call.kernel = BM_KERNEL_GEMM_PACK_WEIGHTS;
    call.buffers[0] = rows->view, call.types[0] = rows->dtype;
    call.buffers[1] = part->view, call.types[1] = part->dtype;
    call.scalars = &scalars;
    call.groups[0] = bm_gemm_groups(device, (uint64_t)(count / cols + 2) * (cols / 4) * bm_divide_up(k, 64), group);
    return bm_dispatch(device, &call, err);
}

static bm_status check_rows(const bm_weights *weights, uint64_t first_row, const bm_tensor *rows, bm_error *err)
{
    if (rows->cols != weights->in_features || rows->rows == 0 || first_row > weights->out_features ||
        rows->rows > weights->out_features - first_row)
        return bm_fail(err, BM_E_ARGUMENT, "%s: rows %llu..%llu of %llu columns, the weights are [%llu, %llu]",
                       weights->name, (unsigned long long)first_row, (unsigned long long)(first_row + rows->rows),
                       (unsigned long long)rows->cols, (unsigned long long)weights->out_features,
                       (unsigned long long)weights->in_features);
    return BM_OK;
}

bm_status bm_weights_set_rows(bm_device *device, bm_weights *weights, uint64_t first_row, const bm_tensor *rows,
                              bm_error *err)
{
    if (check_rows(weights, first_row, rows, err) != BM_OK)
        return BM_E_ARGUMENT;
    const uint64_t step = bm_chunk_rows(device, rows->stride, 8.0 * (double)rows->cols); // bytes of both sides
    for (uint64_t done = 0; done < rows->rows;) {
        const uint32_t p = (uint32_t)((first_row + done) / weights->rows_per_part);
        const uint64_t first = (first_row + done) % weights->rows_per_part;
        const uint64_t left = bm_min_u64(rows->rows - done, part_rows(weights, p) - first);
        const uint64_t count = bm_min_u64(left, step);
        const bm_tensor some = bm_tensor_rows(rows, done, count);
        const bm_status status = move_rows(device, weights, p, first, &some, err);
        if (status != BM_OK)
            return status;
        done += count;
    }
    return BM_OK;
}

bm_status bm_weights_get_rows(bm_device *device, const bm_weights *weights, uint64_t first_row, const bm_tensor *rows,
                              bm_error *err)
{
    bm_status status = check_rows(weights, first_row, rows, err);
    if (status == BM_OK && in_panels(weights))
        status = bm_fail(err, BM_E_ARGUMENT, "%s: its rows lie in panels and cannot be read back", weights->name);
    for (uint64_t done = 0, count; done < rows->rows && status == BM_OK; done += count) {
        const uint32_t p = (uint32_t)((first_row + done) / weights->rows_per_part);
        const uint64_t first = (first_row + done) % weights->rows_per_part;
        count = bm_min_u64(rows->rows - done, part_rows(weights, p) - first);
        const bm_tensor from = bm_tensor_rows(&weights->parts[p], first, count), to = bm_tensor_rows(rows, done, count);
        status = bm_convert(device, &from, &to, weights->name, err);
    }
    return status;
}

// One product small enough for a dispatch: y = x W[first .. first + y->cols)^T of part p, with what the job says, by the kernel for
// the job's rows, however few this piece has. bias (may be NULL) and y begin at that row already. With panels, x_panels holds the rows
// of x, m of them. diagonal: the column of y
// that lies on the diagonal of a symmetric matrix in row 0.
static bm_status multiply(bm_device *device, const bm_gemm_job *job, const bm_tensor *x, bm_view x_panels,
                          uint32_t panel_rows, uint32_t p, uint64_t first, const bm_tensor *bias, const bm_tensor *y,
                          int32_t diagonal, bm_error *err)
{
    const bm_weights *weights = job->weights;
    const bm_gemm_choice *choice = bm_weights_choice(weights, x->dtype, job->y->rows);
    const bool is_thin = job->y->rows <= BM_THIN_ROWS;
    const uint32_t m = (uint32_t)y->rows, n = (uint32_t)y->cols, k = (uint32_t)weights->in_features;
    const bm_tensor *part = &weights->parts[p];
    bm_call call = {.subject = weights->name, .groups = {1, 1, 1}};
    call.seconds = bm_gemm_operations(m, n, k) / (choice->gflops * 1e9);
    call.types[1] = weights->dtype;
    if (bias)
        call.buffers[2] = bias->view, call.types[2] = bias->dtype;
    call.buffers[3] = y->view, call.types[3] = y->dtype;
    if (in_panels(weights)) {
        const uint32_t cols = choice->panel_cols;
        const uint64_t tiles = bm_divide_up(m, panel_rows) * bm_divide_up(n, cols);
        const bm_gemm_packed_scalars scalars = {
            m,         n,          k,        (uint32_t)y->stride, bias != NULL, bm_gemm_walk(panel_rows, k),
            job->adds, job->lower, diagonal, job->factor};
        const uint64_t skip = first / cols * k * cols * bm_dtype_size(weights->dtype);
        call.kernel = BM_KERNEL_GEMM_PACKED;
        call.buffers[0] = x_panels;
        call.buffers[1] = bm_view_part(part->view, skip, part->view.size - skip);
        call.tunables[0] = choice->group, call.tunables[1] = panel_rows, call.tunables[2] = cols;
        call.scalars = &scalars;
        call.groups[0] = bm_gemm_groups(device, tiles, choice->group);
        return bm_dispatch(device, &call, err);
    }
    const bm_tensor w = bm_tensor_rows(part, first, n);
    if (choice->form == BM_GEMM_LIBRARY && !is_thin && !bias && x->dtype == BM_DTYPE_F32 &&
        weights->dtype == BM_DTYPE_F32 && y->dtype == BM_DTYPE_F32 && bm_device_has_product(device)) {
        const bm_product product = {m,
                                    n,
                                    k,
                                    x->view,
                                    w.view,
                                    y->view,
                                    (uint32_t)x->stride,
                                    (uint32_t)w.stride,
                                    (uint32_t)y->stride,
                                    job->factor,
                                    job->adds,
                                    bm_gemm_operations(m, n, k) / (choice->gflops * 1e9)};
        return bm_device_product(device, &product, err);
    }
    const bm_gemm_scalars scalars = {
        m,         n,          k,        (uint32_t)x->stride, (uint32_t)w.stride, (uint32_t)y->stride, bias != NULL,
        job->adds, job->lower, diagonal, job->factor};
    call.kernel = BM_KERNEL_GEMM;
    call.buffers[0] = x->view, call.types[0] = x->dtype;
    call.buffers[1] = w.view;
    call.scalars = &scalars;
    if (is_thin && bm_kernel_has_variant(device, call.kernel, BM_VARIANT_GEMM_THIN)) {
        const uint32_t rows = m == 1 ? 1 : m == 2 ? 2 : m <= 4 ? 4 : 8;
        call.variant = BM_VARIANT_GEMM_THIN;
        call.tunables[0] = bm_chunk_group(device, k >= 2048 ? 256 : 64); // measured on H100: 256 is 5 to 8 % faster
        call.tunables[2] = rows;
        call.groups[0] = bm_gemm_groups(device, bm_divide_up(m, rows) * bm_divide_up(n, 4), 1);
    } else {
        const uint32_t edge_m = choice->rows > 0 ? 16 * choice->rows : 32, edge_n = choice->rows > 0 ? 128 : 32;
        call.variant = choice->variant;
        call.tunables[0] = choice->group, call.tunables[1] = choice->slice, call.tunables[2] = choice->rows;
        call.groups[0] = bm_gemm_groups(device, bm_divide_up(m, edge_m) * bm_divide_up(n, edge_n), 1);
    }
    return bm_dispatch(device, &call, err);
}

// The rows of x, or with is_columns its columns, in panels.
static bm_status pack_inputs(bm_device *device, const bm_tensor *x, bool is_columns, uint32_t panel_rows, bm_view *out,
                             bm_error *err)
{
    const uint64_t rows = is_columns ? x->cols : x->rows, k = is_columns ? x->rows : x->cols;
    const uint64_t panels = bm_divide_up(rows, panel_rows);
    const bm_status status = bm_device_scratch(device, panels * panel_rows * k * sizeof(float), out, err);
    if (status != BM_OK)
        return status;
    if (is_columns)
        return bm_gemm_pack_columns(device, x, panel_rows, *out, err);
    const bm_gemm_pack_inputs_scalars scalars = {(uint32_t)rows, (uint32_t)k, (uint32_t)x->stride};
    const bm_call call = {.kernel = BM_KERNEL_GEMM_PACK_INPUTS,
                          .buffers = {x->view, *out},
                          .types = {x->dtype},
                          .scalars = &scalars,
                          .tunables = {MOVE_GROUP, panel_rows},
                          .groups = {bm_gemm_groups(device, panels * bm_divide_up(k, 4), MOVE_GROUP), 1, 1}};
    return bm_dispatch(device, &call, err);
}

bm_status bm_gemm_pack_columns(bm_device *device, const bm_tensor *x, uint32_t panel_cols, bm_view out, bm_error *err)
{
    const bm_gemm_pack_columns_scalars scalars = {(uint32_t)x->rows, (uint32_t)x->cols, (uint32_t)x->stride};
    const bm_call call = {
        .kernel = BM_KERNEL_GEMM_PACK_COLUMNS,
        .buffers = {x->view, out},
        .types = {x->dtype},
        .scalars = &scalars,
        .tunables = {MOVE_GROUP, panel_cols},
        .groups = {bm_gemm_groups(device, bm_divide_up(x->cols, panel_cols) * x->rows, MOVE_GROUP), 1, 1}};
    return bm_dispatch(device, &call, err);
}

// The panels of W from a row on, which is a multiple of panel_cols.
static bm_view rows_of_panels(const bm_weights *weights, uint64_t first)
{
    const bm_tensor *part = &weights->parts[0];
    const uint64_t skip = first * weights->in_features * bm_dtype_size(weights->dtype);
    return bm_view_part(part->view, skip, part->view.size - skip);
}

static bm_status check_shapes(const bm_device *device, const bm_gemm_job *job, bm_error *err)
{
    const bm_weights *weights = job->weights;
    const bm_gemm_choice *choice = &weights->choice;
    const bm_tensor itself = {.dtype = weights->dtype, .rows = weights->out_features, .cols = weights->in_features};
    const bm_tensor *x = job->x ? job->x : &itself, *y = job->y, *bias = job->bias;
    const uint64_t first = job->first, count = job->count;
    const uint64_t rows = job->x_is_columns ? x->cols : x->rows, k = job->x_is_columns ? x->rows : x->cols;
    const char *name = weights->name;
    if (k != weights->in_features || y->cols != count || rows != y->rows || rows == 0 || rows >= MAX_ELEMENTS)
        return bm_fail(err, BM_E_ARGUMENT, "%s: x [%llu, %llu], y [%llu, %llu] for %llu of [%llu, %llu]", name,
                       (unsigned long long)x->rows, (unsigned long long)x->cols, (unsigned long long)y->rows,
                       (unsigned long long)y->cols, (unsigned long long)count,
                       (unsigned long long)weights->out_features, (unsigned long long)weights->in_features);
    if (count == 0 || first % BM_GEMM_SLICE_ROWS != 0 || first > weights->out_features ||
        count > weights->out_features - first)
        return bm_fail(err, BM_E_ARGUMENT, "%s: output features %llu..%llu of %llu, beginning at a multiple of %d",
                       name, (unsigned long long)first, (unsigned long long)(first + count),
                       (unsigned long long)weights->out_features, BM_GEMM_SLICE_ROWS);
    if (bias && (bias->rows != 1 || bias->cols != weights->out_features))
        return bm_fail(err, BM_E_ARGUMENT, "%s: bias [%llu, %llu], expected [1, %llu]", name,
                       (unsigned long long)bias->rows, (unsigned long long)bias->cols,
                       (unsigned long long)weights->out_features);
    if (!bm_device_is_real(device, x->dtype) || !bm_device_is_real(device, y->dtype) ||
        (bias && !bm_device_is_real(device, bias->dtype)))
        return bm_fail(err, BM_E_ARGUMENT, "%s: x %s, y %s, bias %s: expected F32, F16 or BF16", name,
                       bm_dtype_name(x->dtype), bm_dtype_name(y->dtype), bias ? bm_dtype_name(bias->dtype) : "none");
    if (job->x_is_columns && !in_panels(weights))
        return bm_fail(err, BM_E_ARGUMENT, "%s: columns of x without panels", name);
    if (!job->x && (!in_panels(weights) || choice->rows != choice->panel_cols || weights->num_parts > 1 || first > 0 ||
                    weights->dtype != BM_DTYPE_F32))
        return bm_fail(err, BM_E_ARGUMENT, "%s: by itself, in panels of %u and %u rows in %u parts", name, choice->rows,
                       choice->panel_cols, weights->num_parts);
    if (!in_panels(weights))
        return BM_OK;
    char subject[160];
    snprintf(subject, sizeof subject, "%s: %llu input features", name, (unsigned long long)weights->in_features);
    return bm_check_rounds(device, weights->in_features + 1, subject, "", err); // one round a feature, one a tile
}

// Few rows get smaller panels: three pipelines are enough, since few rows are bound by memory.
uint32_t bm_gemm_panel_rows(const bm_weights *weights, uint64_t x_rows)
{
    return x_rows == 1 ? 1 : x_rows <= 4 ? 4 : weights->choice.rows;
}

// Whole rows of y while the time allows, else one unit of rows in slices.
void bm_gemm_piece(const bm_device *device, const bm_weights *weights, bm_dtype x, uint64_t x_rows, uint64_t count,
                   uint64_t *rows, uint64_t *cols)
{
    const uint64_t k = weights->in_features;
    const uint64_t unit = in_panels(weights) ? bm_gemm_panel_rows(weights, x_rows) : 128;
    const double gflops = bm_weights_choice(weights, x, x_rows)->gflops;
    const double max_operations = gflops * 1e9 * bm_chunk_max_seconds(device);
    const uint64_t max_outputs = bm_max_u64(1, (uint64_t)(max_operations / 2 / (double)k));
    *rows = bm_max_u64(unit, max_outputs / count / unit * unit);
    if (in_panels(weights))
        *rows = bm_min_u64(*rows, bm_max_u64(unit, MAX_SCRATCH_BYTES / (unit * k * sizeof(float)) * unit));
    *rows = bm_min_u64(*rows, x_rows);
    *cols = bm_max_u64(BM_GEMM_SLICE_ROWS, max_outputs / *rows / BM_GEMM_SLICE_ROWS * BM_GEMM_SLICE_ROWS);
}

// panels: in and out, all rows of job->x as an earlier job has packed them; no buffer: it has not.
static bm_status run(bm_device *device, const bm_gemm_job *job, bm_view *panels, bm_error *err)
{
    bm_status status = check_shapes(device, job, err);
    if (status != BM_OK)
        return status;
    const bm_weights *weights = job->weights;
    const uint64_t m = job->y->rows, count = job->count;
    const uint32_t panel_rows = job->x ? bm_gemm_panel_rows(weights, m) : weights->choice.rows;
    uint64_t rows = 0, cols = 0;
    bm_gemm_piece(device, weights, job->x ? job->x->dtype : weights->dtype, m, count, &rows, &cols);
    if ((job->x_is_columns || !job->x) && rows < m) // columns and panels are cut where views of all types may begin
        rows = bm_round_up(rows, 8 * panel_rows);
    for (uint64_t r = 0; r < m && status == BM_OK; r += rows) {
        const uint64_t height = bm_min_u64(rows, m - r);
        const bm_tensor some_x = !job->x             ? (bm_tensor){0}
                                 : job->x_is_columns ? bm_tensor_columns(job->x, r, height)
                                                     : bm_tensor_rows(job->x, r, height);
        const bm_tensor some_y = bm_tensor_rows(job->y, r, height);
        const uint64_t end = job->lower ? bm_min_u64(count, r + height) : count;
        bm_view x_panels = height == m ? *panels : (bm_view){0};
        if (!job->x)
            x_panels = rows_of_panels(weights, r);
        else if (in_panels(weights) && !x_panels.buffer)
            status = pack_inputs(device, &some_x, job->x_is_columns, panel_rows, &x_panels, err);
        *panels = height == m ? x_panels : (bm_view){0};
        for (uint64_t c = 0; c < end && status == BM_OK;) {
            const uint32_t p = (uint32_t)((job->first + c) / weights->rows_per_part);
            const uint64_t row = (job->first + c) % weights->rows_per_part;
            const uint64_t width = bm_min_u64(bm_min_u64(cols, end - c), part_rows(weights, p) - row);
            const bm_tensor block = bm_tensor_columns(&some_y, c, width);
            const bm_tensor some_bias =
                job->bias ? bm_tensor_columns(job->bias, job->first + c, width) : (bm_tensor){0};
            status = multiply(device, job, &some_x, x_panels, panel_rows, p, row, job->bias ? &some_bias : NULL, &block,
                              (int32_t)((int64_t)r - (int64_t)c), err);
            c += width;
        }
    }
    return status;
}

bm_status bm_gemm_run(bm_device *device, const bm_gemm_job *job, bm_error *err)
{
    bm_view panels = {0};
    return run(device, job, &panels, err);
}

bm_status bm_gemm_run_all(bm_device *device, const bm_gemm_job *jobs, uint32_t num_jobs, bm_error *err)
{
    bm_status status = BM_OK;
    bm_view panels = {0};
    for (uint32_t j = 0; j < num_jobs && status == BM_OK; j++) {
        assert(jobs[j].x == jobs[0].x && jobs[j].weights->choice.rows == jobs[0].weights->choice.rows);
        status = run(device, &jobs[j], &panels, err);
    }
    return status;
}

bm_status bm_gemm_rows(bm_device *device, const bm_tensor *x, const bm_weights *weights, uint64_t first, uint64_t count,
                       const bm_tensor *bias, const bm_tensor *y, bm_error *err)
{
    const bm_gemm_job job = {
        .x = x, .weights = weights, .first = first, .count = count, .bias = bias, .y = y, .factor = 1.0f};
    return bm_gemm_run(device, &job, err);
}

bm_status bm_gemm(bm_device *device, const bm_tensor *x, const bm_weights *weights, const bm_tensor *bias,
                  const bm_tensor *y, bm_error *err)
{
    return bm_gemm_rows(device, x, weights, 0, weights->out_features, bias, y, err);
}
