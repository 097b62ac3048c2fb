// Rows of a checkpoint's linear and where they lie in a block.
#include "model/linear_rows.h"

uint32_t bm_linear_parts(bm_linear_id linear, bm_linear_id parts[BM_MAX_LINEAR_PARTS])
{
    const bool is_fused = linear == BM_LINEAR_QKV;
    parts[0] = is_fused ? BM_LINEAR_Q : linear;
    parts[1] = BM_LINEAR_K;
    parts[2] = BM_LINEAR_V;
    return is_fused ? 3 : 1;
}

// Where a row lies, and how many of the left rows from it on lie behind it there.
typedef struct place {
    uint32_t part;
    uint64_t row, count;
} place;

static place place_of(const bm_linear_rows *linear, uint64_t row, uint64_t left)
{
    const uint64_t run = row / linear->run, within = row % linear->run;
    return (place){(uint32_t)(run % linear->num_parts), run / linear->num_parts * linear->run + within,
                   bm_min_u64(linear->run - within, left)};
}

bm_status bm_linear_rows_set(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0; done < rows->rows && status == BM_OK;) {
        const place to = place_of(linear, first + done, rows->rows - done);
        const bm_tensor some = bm_tensor_rows(rows, done, to.count);
        status = bm_weights_set_rows(device, linear->parts[to.part], to.row, &some, err);
        done += to.count;
    }
    return status;
}

bm_status bm_linear_rows_set_codes(bm_device *device, const bm_linear_rows *linear, uint64_t first,
                                   const bm_tensor *codes, const bm_tensor *step, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0; done < codes->rows && status == BM_OK;) {
        const place to = place_of(linear, first + done, codes->rows - done);
        const bm_tensor some = bm_tensor_rows(codes, done, to.count), steps = bm_tensor_rows(step, done, to.count);
        status = bm_int8_weights_set_rows(device, linear->int8_parts[to.part], to.row, &some, &steps, err);
        done += to.count;
    }
    return status;
}
