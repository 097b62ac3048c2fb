// Parts, their product piece by piece, and what joins it.
#include "ops/split_product.h"

#include "ops/chunks.h"
#include "ops/rate.h"

#define MAX_PRODUCT_BYTES (UINT64_C(256) << 20)
#define LOWER_ROWS 1024 // rows of a lower triangle at once: what is computed behind the diagonal is wasted

// Of an H200, where the plain product makes 36 TFLOP/s and that of parts 285 and more: below, dispatches and moves take longer.
#define MIN_ROWS 128
#define MIN_COLUMNS 256
#define MIN_MULTIPLICATIONS (UINT64_C(1) << 26)

void bm_split_product_init(bm_split_product *s, bm_device *device)
{
    const bm_gemm_choice choice = bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES);
    *s = (bm_split_product){.device = device,
                            .few_tiles = bm_compute_units(device),
                            .min_rows = MIN_ROWS,
                            .min_columns = MIN_COLUMNS,
                            .columns = BM_SPLIT_COLUMNS,
                            .min_multiplications = MIN_MULTIPLICATIONS};
    if (bm_gemm_uses_matrix_units(BM_KERNEL_GEMM, &choice)) {
        s->choice = choice;
        s->few = bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_FEW_TILES);
    }
}

void bm_split_product_free(bm_split_product *s)
{
    bm_tensor *const all[] = {&s->left, &s->right, &s->product, &s->left_scale, &s->right_scale};
    for (uint32_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

// Columns of parts of k columns.
static uint64_t parts_of(uint64_t k)
{
    return 3 * bm_round_up(k, 4);
}

// Bytes of a row in parts, of columns that are taken at a time.
static uint64_t parts_bytes(uint64_t k)
{
    return bm_tensor_stride(BM_DTYPE_F16, parts_of(bm_min_u64(k, BM_SPLIT_COLUMNS))) * sizeof(uint16_t);
}

// Whether it takes less time, where the device has the memory.
static bool is_large(const bm_split_product *s, uint64_t m, uint64_t n, uint64_t k)
{
    return s->choice.gflops > 0 && m >= s->min_rows && n >= s->min_rows && k >= s->min_columns &&
           (double)m * (double)n * (double)k >= (double)s->min_multiplications;
}

bool bm_split_product_pays(const bm_split_product *s, uint64_t m, uint64_t n, uint64_t k)
{
    const uint64_t largest = bm_device_get_info(s->device)->limits.max_allocation_bytes;
    return !s->is_off && n * parts_bytes(k) <= largest && is_large(s, m, n, k);
}

// Of the left side: their parts and their products fit buffers.
static uint64_t rows_at_once(const bm_split_product *s, uint64_t n, uint64_t k, bool lower)
{
    const uint64_t largest = bm_device_get_info(s->device)->limits.max_allocation_bytes;
    const uint64_t row = bm_max_u64(bm_tensor_stride(BM_DTYPE_F32, n) * sizeof(float), parts_bytes(k));
    const uint64_t rows = bm_min_u64(MAX_PRODUCT_BYTES, largest) / row / 128 * 128;
    return bm_max_u64(128, lower ? bm_min_u64(rows, LOWER_ROWS) : rows);
}

// Narrow products take more rows of the left side at once than wide ones: what each buffer holds at most is of any of them.
uint64_t bm_split_product_bytes(const bm_split_product *s, uint64_t m, uint64_t n, uint64_t k)
{
    const uint64_t largest = bm_device_get_info(s->device)->limits.max_allocation_bytes;
    const uint64_t most = bm_min_u64(MAX_PRODUCT_BYTES, largest);
    const uint64_t parts = parts_bytes(k), row = bm_tensor_stride(BM_DTYPE_F32, n) * sizeof(float);
    if (!is_large(s, m, n, k))
        return 0;
    return bm_min_u64(n * parts, largest) + bm_min_u64(m * parts, bm_max_u64(most, 128 * parts)) +
           bm_min_u64(m * row, bm_max_u64(most, 128 * row)) +
           (bm_tensor_stride(BM_DTYPE_F32, n) + bm_tensor_stride(BM_DTYPE_F32, m)) * sizeof(float);
}

// One side of a product, in parts.
typedef struct side {
    bm_tensor parts, scale;
} side;

static bm_status split(bm_device *device, const bm_tensor *x, bool is_right, bm_tensor *kept, bm_tensor *kept_scale,
                       side *out, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_tensor_keep(device, kept, BM_DTYPE_F16, x->rows, parts_of(x->cols), "parts", &out->parts, err));
    BM_TRY(bm_tensor_keep(device, kept_scale, BM_DTYPE_F32, 1, x->rows, "scales of parts", &out->scale, err));
    const bm_split_parts_scalars scalars = {(uint32_t)x->rows, (uint32_t)x->cols, (uint32_t)x->stride,
                                            (uint32_t)out->parts.stride / 2, is_right};
    const bm_call call = {.kernel = BM_KERNEL_SPLIT_PARTS,
                          .buffers = {x->view, out->parts.view, out->scale.view},
                          .scalars = &scalars,
                          .tunables = {bm_chunk_group(device, 64)},
                          .groups = {bm_chunk_groups(device, x->rows, 1), 1, 1},
                          .seconds = bm_chunk_seconds(device, 16.0 * (double)x->rows * (double)x->cols)};
    BM_TRY(bm_dispatch(device, &call, err));
done:
    return status;
}

bm_status bm_half_product(const bm_split_product *s, const bm_tensor *a, const bm_tensor *b, const bm_tensor *y,
                          bm_error *err)
{
    const uint64_t tiles = bm_divide_up(y->rows, 128) * bm_divide_up(y->cols, 128);
    bm_tensor part = *b;
    const bm_weights weights = {.out_features = part.rows,
                                .in_features = part.cols,
                                .dtype = BM_DTYPE_F16,
                                .choice = tiles < s->few_tiles ? s->few : s->choice,
                                .rows_per_part = bm_round_up(part.rows, BM_GEMM_SLICE_ROWS),
                                .num_parts = 1,
                                .parts = &part,
                                .name = "product of float16"};
    const bm_gemm_job job = {.x = a, .weights = &weights, .count = part.rows, .y = y, .factor = 1.0f};
    return bm_gemm_run(s->device, &job, err);
}

static bm_status join(bm_split_product *s, const bm_tensor *product, const side *left, const side *right, bool adds,
                      float factor, const bm_tensor *y, bm_error *err)
{
    const uint64_t quads = product->rows * bm_divide_up(product->cols, 4);
    const bm_join_parts_scalars scalars = {
        (uint32_t)product->rows, (uint32_t)product->cols, (uint32_t)product->stride, (uint32_t)y->stride, adds, factor};
    const bm_call call = {.kernel = BM_KERNEL_JOIN_PARTS,
                          .buffers = {product->view, left->scale.view, right->scale.view, y->view},
                          .scalars = &scalars,
                          .groups = {bm_chunk_groups(s->device, quads, 64), 1, 1},
                          .seconds = bm_chunk_seconds(s->device, 64.0 * (double)quads)};
    return bm_dispatch(s->device, &call, err);
}

bm_status bm_split_product_run(bm_split_product *s, const bm_split_job *job, bm_error *err)
{
    const uint64_t m = job->y->rows, n = job->y->cols, k = job->b->cols, at_once = rows_at_once(s, n, k, job->lower);
    bm_status status = BM_OK;
    BM_TRY(bm_check_matrix("product", "a", job->a, BM_DTYPE_F32, m, k, err));
    BM_TRY(bm_check_matrix("product", "b", job->b, BM_DTYPE_F32, n, k, err));
    BM_TRY(bm_check_matrix("product", "y", job->y, BM_DTYPE_F32, m, n, err));
    for (uint64_t first = 0; first < k; first += s->columns) {
        const uint64_t count = bm_min_u64(s->columns, k - first);
        const bm_tensor b = bm_tensor_part(job->b, 0, n, first, count);
        side left, right;
        BM_TRY(split(s->device, &b, true, &s->right, &s->right_scale, &right, err));
        for (uint64_t row = 0; row < m; row += at_once) {
            const uint64_t rows = bm_min_u64(at_once, m - row), cols = job->lower ? bm_min_u64(n, row + rows) : n;
            const bm_tensor a = bm_tensor_part(job->a, row, rows, first, count);
            const bm_tensor y = bm_tensor_part(job->y, row, rows, 0, cols);
            const side some = {bm_tensor_rows(&right.parts, 0, cols), right.scale};
            bm_tensor product;
            BM_TRY(split(s->device, &a, false, &s->left, &s->left_scale, &left, err));
            BM_TRY(bm_tensor_keep(s->device, &s->product, BM_DTYPE_F32, rows, cols, "product of parts", &product, err));
            BM_TRY(bm_half_product(s, &left.parts, &some.parts, &product, err));
            BM_TRY(join(s, &product, &left, &some, job->adds || first > 0, job->factor, &y, err));
        }
    }
done:
    return status;
}
