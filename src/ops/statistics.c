// Statistics of columns: tokens are cut into pieces, so that a device has enough of them to work on at once; a second pass joins the
// pieces of a sequence.
#include "ops/statistics.h"
#include "ops/chunks.h"

#define GROUP 64 // the kernel's default
#define PIECE 64 // tokens: few partial results to write, beside what is read, and short sums

double bm_column_range_operations(uint64_t tokens, uint64_t channels)
{
    return 5.0 * (double)tokens * (double)channels;
}

static uint64_t table_bytes(uint64_t num_spans)
{
    return bm_round_up((num_spans + 1) * sizeof(uint32_t), BM_VIEW_ALIGNMENT);
}

static uint64_t matrix_bytes(uint64_t rows, uint64_t cols)
{
    return rows * bm_tensor_stride(BM_DTYPE_F32, cols) * sizeof(float);
}

uint64_t bm_column_range_bytes(uint64_t tokens, uint64_t num_sequences, uint64_t channels, bool has_moments)
{
    const uint64_t num_pieces = tokens / PIECE + num_sequences;
    return table_bytes(num_pieces) + table_bytes(num_sequences) +
           (has_moments ? 4 : 3) * matrix_bytes(num_pieces, channels);
}

// The results of each of some spans of rows.
typedef struct ranges {
    bm_tensor minimum, maximum, sum, moments; // of one stride
    bm_moment moment;                         // none: no moments
    uint32_t count;
    uint32_t *starts; // [count + 1]: the row of what they are made from at which each begins
    bm_view device_starts;
} ranges;

// x: elements or, beside the other results of parts, their minima.
static bm_status run(bm_device *device, const bm_tensor *x, const ranges *parts, const ranges *out, bm_error *err)
{
    const uint64_t widest = bm_max_u64(x->stride, out->minimum.stride);
    const uint64_t at_once = bm_chunk_rows(device, widest, bm_column_range_operations(1, x->cols));
    const uint32_t width = bm_chunk_width(device);
    bm_status status = BM_OK;
    for (uint32_t first = 0, end; first < out->count; first = end) {
        end = first + 1;
        while (end < out->count && out->starts[end + 1] - out->starts[first] <= at_once)
            end++;
        const uint32_t row = out->starts[first], rows = out->starts[end] - row, count = end - first;
        const bm_column_range_scalars scalars = {count,
                                                 first,
                                                 row,
                                                 (uint32_t)x->cols,
                                                 (uint32_t)x->stride,
                                                 parts ? (uint32_t)x->stride : 0,
                                                 (uint32_t)out->minimum.stride,
                                                 parts != NULL,
                                                 out->moment};
        bm_call call = {.kernel = BM_KERNEL_COLUMN_RANGE,
                        .buffers = {[0] = bm_tensor_rows(x, row, rows).view,
                                    [4] = out->device_starts,
                                    [5] = bm_tensor_rows(&out->minimum, first, count).view,
                                    [6] = bm_tensor_rows(&out->maximum, first, count).view,
                                    [7] = bm_tensor_rows(&out->sum, first, count).view},
                        .types = {x->dtype},
                        .scalars = &scalars,
                        .tunables = {GROUP, width},
                        .groups = {bm_chunk_groups(device, count * bm_divide_up(x->cols, width), GROUP), 1, 1},
                        .seconds = bm_chunk_seconds(device, bm_column_range_operations(rows, x->cols))};
        if (parts) {
            call.buffers[1] = bm_tensor_rows(&parts->maximum, row, rows).view;
            call.buffers[2] = bm_tensor_rows(&parts->sum, row, rows).view;
        }
        if (parts && out->moment != BM_MOMENT_NONE)
            call.buffers[3] = bm_tensor_rows(&parts->moments, row, rows).view;
        if (out->moment != BM_MOMENT_NONE)
            call.buffers[8] = bm_tensor_rows(&out->moments, first, count).view;
        BM_TRY(bm_dispatch(device, &call, err));
    }
done:
    return status;
}

// Where pieces begin among the tokens, and sequences among the pieces.
static void fill_starts(const uint32_t *counts, ranges *pieces, ranges *sequences)
{
    uint32_t row = 0;
    pieces->count = 0;
    for (uint32_t n = 0; n < sequences->count; n++) {
        const uint32_t end = row + counts[n];
        sequences->starts[n] = pieces->count;
        for (; row < end; row = (uint32_t)bm_min_u64(end, (uint64_t)row + PIECE))
            pieces->starts[pieces->count++] = row;
    }
    pieces->starts[pieces->count] = row;
    sequences->starts[sequences->count] = pieces->count;
}

static bm_status check(const bm_device *device, const bm_tensor *x, const uint32_t *counts, const ranges *sequences,
                       bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t tokens = 0;
    for (uint32_t n = 0; n < sequences->count; n++) {
        BM_FAIL_IF(counts[n] == 0, err, BM_E_ARGUMENT, "column_range: sequence %u has no tokens", n);
        tokens += counts[n];
    }
    BM_TRY(bm_check_real(device, "column_range", "x", x, tokens, x->cols, err));
    BM_TRY(
        bm_check_matrix("column_range", "minimum", &sequences->minimum, BM_DTYPE_F32, sequences->count, x->cols, err));
    BM_TRY(
        bm_check_matrix("column_range", "maximum", &sequences->maximum, BM_DTYPE_F32, sequences->count, x->cols, err));
    BM_TRY(bm_check_matrix("column_range", "sum", &sequences->sum, BM_DTYPE_F32, sequences->count, x->cols, err));
    if (sequences->moment != BM_MOMENT_NONE)
        BM_TRY(bm_check_matrix("column_range", "moments", &sequences->moments, BM_DTYPE_F32, sequences->count, x->cols,
                               err));
    BM_FAIL_IF(sequences->maximum.stride != sequences->minimum.stride ||
                   sequences->sum.stride != sequences->minimum.stride ||
                   (sequences->moment != BM_MOMENT_NONE && sequences->moments.stride != sequences->minimum.stride),
               err, BM_E_ARGUMENT, "column_range: minimum, maximum, sum and moments differ in their strides");
done:
    return status;
}

// The scratch memory: both tables, then what pieces come to.
static bm_status create_pieces(bm_device *device, uint64_t most_pieces, uint64_t cols, ranges *pieces,
                               ranges *sequences, bm_error *err)
{
    const uint64_t tables = table_bytes(most_pieces), table = table_bytes(sequences->count);
    const uint64_t matrix = matrix_bytes(pieces->count, cols);
    bm_status status = BM_OK;
    bm_view scratch;
    bm_tensor *const parts[] = {&pieces->minimum, &pieces->maximum, &pieces->sum, &pieces->moments};
    const uint32_t num_parts = pieces->moment == BM_MOMENT_NONE ? 3 : 4;
    BM_TRY(bm_device_scratch(device, tables + table + num_parts * matrix, &scratch, err));
    pieces->device_starts = bm_view_part(scratch, 0, tables);
    sequences->device_starts = bm_view_part(scratch, tables, table);
    BM_TRY(bm_upload(device, bm_view_part(scratch, 0, tables + table), pieces->starts, tables + table, err));
    for (uint32_t i = 0; i < num_parts; i++)
        *parts[i] = (bm_tensor){BM_DTYPE_F32, pieces->count, cols, bm_tensor_stride(BM_DTYPE_F32, cols),
                                bm_view_part(scratch, tables + table + i * matrix, matrix)};
done:
    return status;
}

bm_status bm_column_range(bm_device *device, const bm_tensor *x, const uint32_t *counts, uint32_t num_sequences,
                          const bm_tensor *minimum, const bm_tensor *maximum, const bm_tensor *sum, bm_moment moment,
                          const bm_tensor *moments, bm_error *err)
{
    const uint64_t most_pieces = x->rows / PIECE + num_sequences;
    const bm_moment wanted = moments ? moment : BM_MOMENT_NONE;
    ranges pieces = {.moment = wanted};
    ranges sequences = {.minimum = *minimum,
                        .maximum = *maximum,
                        .sum = *sum,
                        .moments = moments ? *moments : (bm_tensor){0},
                        .moment = wanted,
                        .count = num_sequences};
    bm_status status = BM_OK;
    BM_FAIL_IF(moments && moment != BM_MOMENT_SQUARES && moment != BM_MOMENT_MAGNITUDES, err, BM_E_ARGUMENT,
               "column_range: found moment %d, expected squares or magnitudes", (int)moment);
    BM_TRY(check(device, x, counts, &sequences, err));
    pieces.starts = bm_alloc_zero(table_bytes(most_pieces) + table_bytes(num_sequences), 1);
    BM_FAIL_IF(!pieces.starts, err, BM_E_MEMORY, "out of memory");
    sequences.starts = pieces.starts + table_bytes(most_pieces) / sizeof(uint32_t);
    fill_starts(counts, &pieces, &sequences);
    BM_TRY(create_pieces(device, most_pieces, x->cols, &pieces, &sequences, err));
    BM_TRY(run(device, x, NULL, &pieces, err));
    BM_TRY(run(device, &pieces.minimum, &pieces, &sequences, err));
done:
    bm_free(pieces.starts);
    return status;
}
