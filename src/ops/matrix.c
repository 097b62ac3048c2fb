// Matrices as such: checks and dispatches.
#include "ops/matrix.h"

#include "base/clock.h"
#include "ops/chunks.h"
#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

// Memory moved for an element that is read or written apart from its neighbours: a sector of 32 bytes, and the other side.
#define SCATTER_BYTES 36.0
// Kernel transpose: rows and columns of a tile, and work-items that it is for.
#define TRANSPOSE_EDGE 64
#define TRANSPOSE_ITEMS 256
#define MAX_AHEAD_SECONDS 0.5
#define PART_SHARE 0.2 // of that a product takes uncut
#define FIRST_PACE 0.125
#define MIN_PACE 0x1p-6
#define MAX_PACE 16

// Kernels that get a matrix whole count its elements in 32 bits: 65,535 channels squared, or 46,340 where SPIR-V takes an index
// for a signed one.
static bm_status check_whole(const bm_device *device, const char *operation, const bm_tensor *x, bm_error *err)
{
    const uint32_t digits = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0 ? 31 : 32;
    if (x->rows * x->stride < UINT64_C(1) << digits)
        return BM_OK;
    return bm_fail(err, BM_E_UNSUPPORTED, "%s: %llu rows of %llu elements, expected fewer than 2^%u in all", operation,
                   (unsigned long long)x->rows, (unsigned long long)x->stride, digits);
}

static bm_status check_float(const bm_device *device, const char *operation, const char *name, const bm_tensor *x,
                             uint64_t rows, uint64_t cols, bm_error *err)
{
    const bm_status status = check_whole(device, operation, x, err);
    return status == BM_OK ? bm_check_matrix(operation, name, x, BM_DTYPE_F32, rows, cols, err) : status;
}

bm_status bm_transpose(bm_device *device, const bm_tensor *x, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_whole(device, "transpose", x, err));
    BM_TRY(check_whole(device, "transpose", y, err));
    BM_TRY(bm_check_real(device, "transpose", "x", x, x->rows, x->cols, err));
    BM_TRY(bm_check_real(device, "transpose", "y", y, x->cols, x->rows, err));
    // Rows of x are columns of y, which begin at whole vectors of 16 bytes.
    const uint64_t vector = BM_VIEW_ALIGNMENT / bm_dtype_size(y->dtype);
    const uint64_t step = bm_round_up(bm_chunk_rows(device, x->stride, SCATTER_BYTES * (double)x->cols), vector);
    const uint32_t group = bm_chunk_group(device, TRANSPOSE_ITEMS);
    for (uint64_t first = 0; first < x->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, x->rows - first);
        const uint64_t tiles = bm_divide_up(rows, TRANSPOSE_EDGE) * bm_divide_up(x->cols, TRANSPOSE_EDGE);
        const bm_transpose_scalars scalars = {(uint32_t)rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                              (uint32_t)y->stride};
        const bm_call call = {.kernel = BM_KERNEL_TRANSPOSE,
                              .buffers = {bm_tensor_rows(x, first, rows).view, bm_tensor_columns(y, first, rows).view},
                              .types = {x->dtype, y->dtype},
                              .scalars = &scalars,
                              .tunables = {group},
                              .groups = {bm_chunk_groups(device, tiles * TRANSPOSE_ITEMS, group), 1, 1},
                              .seconds = bm_chunk_seconds(device, SCATTER_BYTES * (double)rows * (double)x->cols)};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_permute(bm_device *device, const bm_tensor *x, const bm_permutation *p, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_float(device, "permute", "x", x, x->rows, x->cols, err));
    BM_TRY(check_float(device, "permute", "y", y, y->rows, y->cols, err));
    if (p->row_order.buffer)
        BM_TRY(bm_check_integers("permute", "row_order", p->row_order, y->rows, err));
    if (p->col_order.buffer)
        BM_TRY(bm_check_integers("permute", "col_order", p->col_order, y->cols, err));
    if (p->diagonal.buffer)
        BM_TRY(bm_check_integers("permute", "diagonal", p->diagonal, x->rows, err));
    BM_FAIL_IF((!p->row_order.buffer && y->rows != x->rows) || (!p->col_order.buffer && y->cols != x->cols) ||
                   (p->lower && x->rows != x->cols),
               err, BM_E_ARGUMENT, "permute: x [%llu, %llu], y [%llu, %llu]", (unsigned long long)x->rows,
               (unsigned long long)x->cols, (unsigned long long)y->rows, (unsigned long long)y->cols);
    const double bytes = (p->col_order.buffer || p->lower ? SCATTER_BYTES : 8.0) * (double)y->cols; // a row
    const uint64_t step = bm_chunk_rows(device, y->stride, bytes);
    for (uint64_t first = 0; first < y->rows; first += step) {
        const uint64_t rows = bm_min_u64(step, y->rows - first);
        const bm_view row_order = p->row_order.buffer ? bm_view_part(p->row_order, 4 * first, 4 * rows) : p->row_order;
        const bm_permute_scalars scalars = {(uint32_t)rows,
                                            (uint32_t)first,
                                            (uint32_t)y->cols,
                                            (uint32_t)x->stride,
                                            (uint32_t)y->stride,
                                            p->row_order.buffer != NULL,
                                            p->col_order.buffer != NULL,
                                            p->diagonal.buffer != NULL,
                                            p->lower};
        const bm_call call = {
            .kernel = BM_KERNEL_PERMUTE,
            .buffers = {x->view, row_order, p->col_order, p->diagonal, bm_tensor_rows(y, first, rows).view},
            .scalars = &scalars,
            .groups = {bm_chunk_groups(device, bm_divide_up(rows, 4) * bm_divide_up(y->cols, 4), 64), 1, 1},
            .seconds = bm_chunk_seconds(device, bytes * (double)rows)};
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

bm_status bm_diagonal(bm_device *device, const bm_tensor *x, const bm_tensor *y, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_float(device, "diagonal", "x", x, x->rows, x->rows, err));
    BM_TRY(check_float(device, "diagonal", "y", y, 1, x->rows, err));
    const bm_diagonal_scalars scalars = {(uint32_t)x->rows, (uint32_t)x->stride};
    const bm_call call = {.kernel = BM_KERNEL_DIAGONAL,
                          .buffers = {x->view, y->view},
                          .scalars = &scalars,
                          .groups = {bm_chunk_groups(device, x->rows, 64), 1, 1}};
    BM_TRY(bm_dispatch(device, &call, err));
done:
    return status;
}

bm_status bm_scale_columns(bm_device *device, const bm_tensor *x, const bm_tensor *factors, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_float(device, "scale_columns", "x", x, x->rows, x->cols, err));
    BM_TRY(check_float(device, "scale_columns", "factors", factors, 1, x->cols, err));
    BM_TRY(bm_shift_scale(device, x, NULL, factors, x, err));
done:
    return status;
}

bm_status bm_copy_column(bm_device *device, const bm_tensor *x, const bm_tensor *y, uint64_t column, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("copy_column", "x", x, y->dtype, y->rows, x->cols, err));
    BM_TRY(bm_check_matrix("copy_column", "y", y, y->dtype, y->rows, y->cols, err));
    BM_FAIL_IF(column >= y->cols || bm_dtype_size(y->dtype) != 4, err, BM_E_ARGUMENT, "copy_column: %llu of %llu",
               (unsigned long long)column, (unsigned long long)y->cols);
    const bm_copy_column_scalars scalars = {(uint32_t)y->rows, (uint32_t)x->stride, (uint32_t)y->stride,
                                            (uint32_t)column};
    const bm_call call = {.kernel = BM_KERNEL_COPY_COLUMN,
                          .buffers = {x->view, y->view},
                          .scalars = &scalars,
                          .groups = {bm_chunk_groups(device, y->rows, 64), 1, 1}};
    BM_TRY(bm_dispatch(device, &call, err));
done:
    return status;
}

bm_status bm_row_dot(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *sums, bm_error *err)
{
    bm_status status = BM_OK;
    bm_row_dot_scalars scalars = {0, (uint32_t)x->cols, (uint32_t)x->stride, y ? (uint32_t)y->stride : 0, y != NULL};
    BM_TRY(bm_check_real(device, "row_dot", "x", x, x->rows, x->cols, err));
    if (y)
        BM_TRY(check_float(device, "row_dot", "y", y, x->rows, x->cols, err));
    BM_TRY(check_float(device, "row_dot", "sums", sums, x->rows, 4, err));
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_ROW_DOT,
                                      .tensors = {x, y, sums},
                                      .scalars = &scalars,
                                      .operations = 2.0 * (double)x->cols,
                                      .items = 64},
                       err));
done:
    return status;
}

bm_status bm_keep_better(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *x_error,
                         const bm_tensor *y_error, bm_error *err)
{
    bm_status status = BM_OK;
    bm_keep_better_scalars scalars = {0, (uint32_t)x->cols, (uint32_t)x->stride, (uint32_t)y->stride};
    BM_TRY(check_float(device, "keep_better", "x", x, x->rows, x->cols, err));
    BM_TRY(check_float(device, "keep_better", "y", y, x->rows, x->cols, err));
    BM_TRY(check_float(device, "keep_better", "x_error", x_error, x->rows, 4, err));
    BM_TRY(check_float(device, "keep_better", "y_error", y_error, x->rows, 4, err));
    BM_TRY(bm_run_rows(device,
                       &(bm_row_call){.kernel = BM_KERNEL_KEEP_BETTER,
                                      .tensors = {x, y, x_error, y_error},
                                      .scalars = &scalars,
                                      .operations = 2.0 * (double)x->cols,
                                      .items = bm_divide_up(x->cols, 4)},
                       err));
done:
    return status;
}

void bm_multiplier_init(bm_multiplier *m, bm_device *device)
{
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    *m = (bm_multiplier){.device = device, .max_ahead_seconds = MAX_AHEAD_SECONDS, .pace = FIRST_PACE};
    bm_split_product_init(&m->split, device);
    for (uint32_t i = 0; i < BM_COUNT(types); i++) {
        const bm_gemm_choice choice = bm_gemm_choose_for(device, types[i], types[i], BM_USE_ADDING);
        if (bm_gemm_uses_matrix_units(BM_KERNEL_GEMM, &choice))
            m->narrow[i] = choice;
    }
}

void bm_multiplier_free(bm_multiplier *m)
{
    bm_tensor_destroy(&m->panels);
    bm_tensor_destroy(&m->right);
    bm_tensor_destroy(&m->left);
    bm_split_product_free(&m->split);
}

const bm_gemm_choice *bm_multiplier_narrow(const bm_multiplier *m, bm_dtype dtype)
{
    if (dtype != BM_DTYPE_F16 && dtype != BM_DTYPE_BF16)
        return NULL;
    const bm_gemm_choice *choice = &m->narrow[dtype == BM_DTYPE_BF16];
    return choice->gflops > 0 ? choice : NULL;
}

// The weights of a product by b [n, k], all but where its rows lie.
static bm_weights weights_of(bm_multiplier *m, bm_dtype dtype, const bm_gemm_choice *choice, uint64_t n, uint64_t k)
{
    return (bm_weights){.out_features = n,
                        .in_features = k,
                        .dtype = dtype,
                        .choice = choice ? *choice : bm_gemm_choose(m->device),
                        .rows_per_part = bm_round_up(n, BM_GEMM_SLICE_ROWS),
                        .num_parts = 1,
                        .parts = &m->part,
                        .name = "product"};
}

uint64_t bm_multiplier_bytes(bm_device *device, uint64_t n, uint64_t k)
{
    const bm_gemm_choice choice = bm_gemm_choose(device);
    return choice.form == BM_GEMM_PANELS ? bm_round_up(n, choice.panel_cols) * k * sizeof(float) : 0;
}

static bm_status make_panels(bm_multiplier *m, bm_error *err)
{
    const uint64_t width = m->weights.choice.panel_cols;
    const uint64_t rows = bm_divide_up(m->weights.out_features, width) * m->weights.in_features;
    return bm_tensor_keep(m->device, &m->panels, BM_DTYPE_F32, rows, width, "panels", &m->part, err);
}

bm_status bm_multiplier_set(bm_multiplier *m, const bm_tensor *b, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check_float(m->device, "product", "b", b, b->rows, b->cols, err));
    m->part = m->rows = *b;
    m->weights = weights_of(m, BM_DTYPE_F32, NULL, b->rows, b->cols);
    if (m->weights.choice.form == BM_GEMM_PANELS) {
        BM_TRY(make_panels(m, err));
        BM_TRY(bm_weights_set_rows(m->device, &m->weights, 0, b, err));
    }
done:
    return status;
}

// x transposed, stored as the weights are, in memory that is kept.
static bm_status transpose(bm_multiplier *m, const bm_tensor *x, bm_tensor *kept, bm_tensor *transposed, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_keep(m->device, kept, m->weights.dtype, x->cols, x->rows, "transposed", transposed, err));
    BM_TRY(bm_transpose(m->device, x, transposed, err));
done:
    return status;
}

bm_status bm_multiplier_set_columns(bm_multiplier *m, const bm_tensor *a, const bm_tensor *b, bm_error *err)
{
    const bm_gemm_choice *narrow = !a || a->dtype == b->dtype ? bm_multiplier_narrow(m, b->dtype) : NULL;
    bm_status status = BM_OK;
    BM_TRY(bm_check_real(m->device, "product", "b", b, b->rows, b->cols, err));
    m->weights = weights_of(m, narrow ? b->dtype : BM_DTYPE_F32, narrow, b->cols, b->rows);
    m->columns = *b;
    m->rows = (bm_tensor){0};
    if (!a && m->weights.choice.square > 0)
        m->weights.choice.rows = m->weights.choice.panel_cols = m->weights.choice.square;
    if (m->weights.choice.form == BM_GEMM_PANELS) {
        BM_TRY(make_panels(m, err));
        BM_TRY(bm_gemm_pack_columns(m->device, b, m->weights.choice.panel_cols, m->part.view, err));
    } else {
        BM_TRY(transpose(m, b, &m->right, &m->part, err));
    }
done:
    return status;
}

// Whether y = a b^T, of rows in float32, is multiplied in parts.
static bool is_split(const bm_multiplier *m, const bm_tensor *a, const bm_tensor *y)
{
    return a->dtype == BM_DTYPE_F32 && y->dtype == BM_DTYPE_F32 &&
           bm_split_product_pays(&m->split, y->rows, y->cols, m->weights.in_features);
}

bm_status bm_multiplier_run(bm_multiplier *m, const bm_tensor *a, uint64_t first, uint64_t count, const bm_tensor *y,
                            bm_error *err)
{
    if (!is_split(m, a, y) || first + count > m->rows.rows)
        return bm_gemm_rows(m->device, a, &m->weights, first, count, NULL, y, err);
    const bm_tensor b = bm_tensor_rows(&m->rows, first, count);
    return bm_split_product_run(&m->split, &(bm_split_job){.a = a, .b = &b, .y = y, .factor = 1.0f}, err);
}

bm_status bm_multiplier_run_add(bm_multiplier *m, const bm_tensor *a, uint64_t first, uint64_t count, float factor,
                                const bm_tensor *y, bm_error *err)
{
    if (is_split(m, a, y) && first + count <= m->rows.rows) {
        const bm_tensor b = bm_tensor_rows(&m->rows, first, count);
        return bm_split_product_run(&m->split, &(bm_split_job){.a = a, .b = &b, .y = y, .adds = true, .factor = factor},
                                    err);
    }
    const bm_gemm_job job = {
        .x = a, .weights = &m->weights, .first = first, .count = count, .y = y, .adds = true, .factor = factor};
    return bm_gemm_run(m->device, &job, err);
}

bm_status bm_multiplier_add_columns(bm_multiplier *m, const bm_tensor *a, float factor, const bm_tensor *y,
                                    bm_error *err)
{
    const bm_gemm_choice *choice = &m->weights.choice;
    bm_gemm_job job = {
        .x = a, .weights = &m->weights, .count = y->cols, .y = y, .adds = true, .lower = !a, .factor = factor};
    bm_status status = BM_OK;
    bm_tensor transposed = m->part;
    if (a)
        BM_TRY(bm_check_real(m->device, "product", "a", a, m->columns.rows, y->rows, err));
    if (choice->form == BM_GEMM_PANELS) {
        if (!a && choice->rows != choice->panel_cols)
            job.x = &m->columns;
        job.x_is_columns = job.x != NULL;
    } else {
        if (a)
            BM_TRY(transpose(m, a, &m->left, &transposed, err));
        job.x = &transposed;
        if (is_split(m, &transposed, y)) {
            const bm_split_job split = {&transposed, &m->part, y, job.adds, job.lower, job.factor};
            return bm_split_product_run(&m->split, &split, err);
        }
    }
    BM_TRY(bm_gemm_run(m->device, &job, err));
done:
    return status;
}

// An estimate of a row of a b^T.
static double row_seconds(const bm_multiplier *m, const bm_split_job *job)
{
    const double rate = is_split(m, job->a, job->y) ? m->split.choice.gflops / 3 : m->weights.choice.gflops;
    return bm_gemm_operations(1, job->y->cols, m->weights.in_features) / (1e9 * rate);
}

// Rows in a part of so long a product: as many as fill the device at least.
static uint64_t rows_of_part(const bm_multiplier *m, const bm_split_job *job)
{
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(m->device)->kind);
    const double fit = PART_SHARE * m->max_ahead_seconds / row_seconds(m, job);
    return fit >= (double)job->y->rows ? job->y->rows : bm_max_u64(is_gpu ? 1024 : 128, (uint64_t)fit / 128 * 128);
}

uint64_t bm_multiply_elements_at_once(bm_device *device, uint64_t m, uint64_t n, uint64_t k)
{
    bm_multiplier multiplier;
    bm_multiplier_init(&multiplier, device);
    multiplier.weights = weights_of(&multiplier, BM_DTYPE_F32, NULL, n, k);
    const bm_tensor a = {.dtype = BM_DTYPE_F32, .rows = m, .cols = k},
                    y = {.dtype = BM_DTYPE_F32, .rows = m, .cols = n};
    const uint64_t step = rows_of_part(&multiplier, &(bm_split_job){.a = &a, .y = &y});
    return bm_min_u64(m, step + step / 2) * k;
}

// Behind so much work. Rates are estimates for devices that nobody measured, ten times too low or too high: how far work may go ahead
// follows from what it took.
static bm_status go_on(bm_multiplier *m, double seconds, bm_error *err)
{
    bm_status status = BM_OK;
    if (!m->phase)
        return BM_OK;
    m->ahead_seconds += seconds;
    if (m->ahead_seconds > m->pace * m->max_ahead_seconds) {
        BM_TRY(bm_device_wait(m->device, err));
        const double took = 1e-9 * (double)(bm_clock_ns() - m->begin_ns);
        m->pace = fmin(fmax(m->pace * fmin(fmax(m->max_ahead_seconds / took, 0.25), 2), MIN_PACE), MAX_PACE);
        m->ahead_seconds = 0;
    }
    BM_TRY(bm_phase_step(m->phase, 0, err));
done:
    return status;
}

// By the rows of b that are set.
static bm_status run(bm_multiplier *m, const bm_split_job *job, bool splits, bm_error *err)
{
    if (splits)
        return bm_split_product_run(&m->split, job, err);
    const bm_gemm_job gemm = {.x = job->a,
                              .weights = &m->weights,
                              .count = job->b->rows,
                              .y = job->y,
                              .adds = job->adds,
                              .lower = job->lower,
                              .factor = job->factor};
    return bm_gemm_run(m->device, &gemm, err);
}

// Of a triangle a part is as wide as its last row. A part is computed as the whole would be, and none is so short that the kernel of
// few rows takes it: where rates are timed, so would be cuts, and cuts are to change no bit.
static bm_status multiply(bm_multiplier *m, const bm_split_job *job, bm_error *err)
{
    const uint64_t all = job->y->rows;
    bm_status status = BM_OK;
    BM_FAIL_IF(job->a->rows != all || job->b->rows != job->y->cols, err, BM_E_ARGUMENT,
               "product: %llu rows by %llu, expected [%llu, %llu]", (unsigned long long)job->a->rows,
               (unsigned long long)job->b->rows, (unsigned long long)all, (unsigned long long)job->y->cols);
    BM_TRY(bm_multiplier_set(m, job->b, err));
    const double seconds = row_seconds(m, job);
    const uint64_t step = rows_of_part(m, job);
    const bool splits = is_split(m, job->a, job->y);
    m->begin_ns = m->ahead_seconds > 0 ? m->begin_ns : bm_clock_ns();
    for (uint64_t first = 0, rows; first < all; first += rows) {
        rows = all - first > step + step / 2 ? step : all - first;
        const uint64_t cols = job->lower ? first + rows : job->y->cols;
        const bm_tensor a = bm_tensor_rows(job->a, first, rows), b = bm_tensor_rows(job->b, 0, cols),
                        y = bm_tensor_part(job->y, first, rows, 0, cols);
        BM_TRY(run(m, &(bm_split_job){&a, &b, &y, job->adds, job->lower && first == 0, job->factor}, splits, err));
        BM_TRY(go_on(m, seconds * (double)rows, err));
    }
done:
    return status;
}

bm_status bm_multiply(bm_multiplier *m, const bm_tensor *a, const bm_tensor *b, const bm_tensor *y, bm_error *err)
{
    return multiply(m, &(bm_split_job){.a = a, .b = b, .y = y, .factor = 1.0f}, err);
}

bm_status bm_multiply_add_lower(bm_multiplier *m, const bm_tensor *a, const bm_tensor *b, float factor,
                                const bm_tensor *y, bm_error *err)
{
    return multiply(m, &(bm_split_job){a, b, y, .adds = true, .lower = true, .factor = factor}, err);
}

bm_status bm_multiply_add(bm_multiplier *m, const bm_tensor *a, const bm_tensor *b, float factor, const bm_tensor *y,
                          bm_error *err)
{
    return multiply(m, &(bm_split_job){a, b, y, .adds = true, .factor = factor}, err);
}
