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

bm_status bm_linear_rows_set(bm_device *device, const bm_linear_rows *linear, uint64_t first, const bm_tensor *rows,
                             bm_error *err)
{
    bm_status status = BM_OK;
    for (uint64_t done = 0, count; done < rows->rows && status == BM_OK; done += count) {
        const uint64_t row = first + done, run = row / linear->run, within = row % linear->run;
        const bm_tensor some = bm_tensor_rows(rows, done, bm_min_u64(linear->run - within, rows->rows - done));
        count = some.rows;
        status = bm_weights_set_rows(device, linear->parts[run % linear->num_parts],
                                     run / linear->num_parts * linear->run + within, &some, err);
    }
    return status;
}
