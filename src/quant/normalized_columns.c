// Sums of normalized columns, slice by slice of rows.
#include "quant/normalized_columns.h"

#include "ops/rounding.h"
#include "ops/statistics.h"

#define MAX_BYTES (UINT64_C(64) << 20)
#define LEAST_ROWS 64 // of a slice: a piece of bm_column_range

// Ranges of groups and normalized weights of a slice, and what columns come to.
typedef struct slice {
    uint32_t group_size;
    bm_tensor minimum, maximum, normalized;
    bm_tensor least, largest, sum; // [1, channels]; the first two go with the sum
    float *host;                   // [channels]: the sum
} slice;

static uint64_t matrix_bytes(uint64_t rows, uint64_t cols)
{
    return rows * bm_tensor_stride(BM_DTYPE_F32, cols) * sizeof(float);
}

static uint64_t slice_bytes(uint64_t rows, uint64_t channels, uint32_t group_size)
{
    return 2 * matrix_bytes(rows, bm_num_groups(channels, group_size)) + matrix_bytes(rows + 3, channels) +
           bm_column_range_bytes(rows, 1, channels, false);
}

static uint64_t slice_rows(uint64_t rows, uint64_t channels, uint32_t group_size)
{
    while (rows > LEAST_ROWS && slice_bytes(rows, channels, group_size) > MAX_BYTES)
        rows = bm_round_up(rows / 2, LEAST_ROWS);
    return rows;
}

uint64_t bm_normalized_columns_bytes(uint64_t rows, uint64_t channels, uint32_t group_size)
{
    return slice_bytes(slice_rows(rows, channels, group_size), channels, group_size);
}

static bm_status create(bm_device *device, uint64_t rows, uint64_t channels, uint32_t group_size, slice *s,
                        bm_error *err)
{
    const uint32_t groups = bm_num_groups(channels, group_size);
    bm_status status = BM_OK;
    *s = (slice){.group_size = group_size};
    s->host = bm_alloc(channels, sizeof *s->host);
    BM_FAIL_IF(!s->host, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, groups, "minima of groups", &s->minimum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, groups, "maxima of groups", &s->maximum, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows, channels, "normalized weights", &s->normalized, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "minima of columns", &s->least, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "maxima of columns", &s->largest, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, 1, channels, "sums of columns", &s->sum, err));
done:
    return status;
}

static void destroy(slice *s)
{
    bm_tensor *const all[] = {&s->minimum, &s->maximum, &s->normalized, &s->least, &s->largest, &s->sum};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_free(s->host);
    *s = (slice){0};
}

// out[c] += the sum over w, no more rows than the slice has.
static bm_status add_slice(bm_device *device, const slice *s, const bm_tensor *w, double *out, bm_error *err)
{
    const uint32_t rows = (uint32_t)w->rows;
    const bm_tensor minimum = bm_tensor_rows(&s->minimum, 0, rows), maximum = bm_tensor_rows(&s->maximum, 0, rows);
    const bm_tensor normalized = bm_tensor_rows(&s->normalized, 0, rows);
    bm_status status = BM_OK;
    BM_TRY(bm_group_range(device, w, s->group_size, &minimum, &maximum, err));
    BM_TRY(bm_group_normalize(device, w, s->group_size, &minimum, &maximum, &normalized, err));
    BM_TRY(bm_column_range(device, &normalized, &rows, 1, &s->least, &s->largest, &s->sum, BM_MOMENT_NONE, NULL, err));
    BM_TRY(bm_tensor_download(device, &s->sum, s->host, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t c = 0; c < w->cols; c++)
        out[c] += (double)s->host[c];
done:
    return status;
}

static bm_status check(const bm_weights *const *linears, uint32_t num_linears, const bm_grid_params *grids,
                       bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(num_linears == 0, err, BM_E_ARGUMENT, "normalized columns: expected linears, found none");
    for (uint32_t l = 0; l < num_linears; l++) {
        const bm_weights *w = linears[l];
        BM_FAIL_IF(grids[l].group_size == 0, err, BM_E_ARGUMENT, "normalized columns: group_size 0");
        BM_FAIL_IF(w->choice.form == BM_GEMM_PANELS, err, BM_E_ARGUMENT,
                   "%s: weights for normalized columns are in panels, expected plain rows", w->name);
        BM_FAIL_IF(w->in_features != linears[0]->in_features, err, BM_E_ARGUMENT,
                   "%s: %llu input features, expected the %llu of %s", w->name, (unsigned long long)w->in_features,
                   (unsigned long long)linears[0]->in_features, linears[0]->name);
    }
done:
    return status;
}

bm_status bm_normalized_columns(bm_device *device, const bm_weights *const *linears, uint32_t num_linears,
                                const bm_grid_params *grids, double *out, bm_error *err)
{
    bm_status status = BM_OK;
    slice s = {0};
    uint64_t most = 0, total = 0;
    BM_TRY(check(linears, num_linears, grids, err));
    const uint64_t channels = linears[0]->in_features;
    for (uint32_t l = 0; l < num_linears; l++) {
        most = bm_max_u64(most, bm_min_u64(linears[l]->rows_per_part, linears[l]->out_features));
        total += linears[l]->out_features;
    }
    for (uint64_t c = 0; c < channels; c++)
        out[c] = 0;
    for (uint32_t l = 0; l < num_linears; l++) {
        const uint64_t at_once = slice_rows(most, channels, grids[l].group_size);
        if (!s.host || s.group_size != grids[l].group_size) {
            destroy(&s);
            BM_TRY(create(device, at_once, channels, grids[l].group_size, &s, err));
        }
        for (uint32_t p = 0; p < linears[l]->num_parts; p++) {
            const bm_tensor *part = &linears[l]->parts[p];
            for (uint64_t first = 0; first < part->rows; first += at_once) {
                const bm_tensor w = bm_tensor_rows(part, first, bm_min_u64(at_once, part->rows - first));
                BM_TRY(add_slice(device, &s, &w, out, err));
            }
        }
    }
    for (uint64_t c = 0; c < channels; c++)
        out[c] /= (double)total;
done:
    destroy(&s);
    return status;
}
