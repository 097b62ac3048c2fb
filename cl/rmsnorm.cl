// rmsnorm: y[r, c] = weight[c] * x[r, c] / sqrt(mean over c of x[r, c]^2 + epsilon).   Twin: shaders/rmsnorm.comp
//
//   x, y    [rows, cols]  real; y may be x
//   weight  [1, cols]     real
//
// One work-group walks one row at a time, WIDTH elements a work-item, so any number of groups is correct.
// GROUP: a power of two. WIDTH: 4 or 16.
// Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019, equation 4.
#include "bitmill.h"
#include "rmsnorm.args.h"
#include "wide.h"

BM_KERNEL rmsnorm(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part[GROUP];
    const uint lane = get_local_id(0);
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t x_row = (size_t)r * (a.x_stride / 4), y_row = (size_t)r * (a.y_stride / 4);
        bm_wide sums = 0.0f;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
            const bm_wide v = bm_mask_wide(bm_load_wide(x, x_type, x_row, c, a.cols), c, a.cols);
            sums += v * v;
        }
        part[lane] = bm_sum_wide(sums);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                part[lane] += part[lane + s];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        const float scale = 1.0f / sqrt(part[0] / (float)a.cols + a.epsilon);
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH)
            bm_store_wide(y, y_type, y_row, c, a.cols,
                          bm_load_wide(weight, weight_type, 0, c, a.cols) * (bm_load_wide(x, x_type, x_row, c, a.cols) * scale));
        barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next row
    }
}
