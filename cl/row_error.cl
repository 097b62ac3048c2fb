// row_error: sums[r] = {sum over c of (x[r, c] - y[r, c])^2, of x[r, c]^2, of y[r, c]^2, largest |x[r, c] - y[r, c]|}.
// Twin: shaders/row_error.comp
//
//   x, y  [rows, cols]  real
//   sums  [rows, 4]     float32, every element written
//
// One work-group walks one row at a time, WIDTH elements a work-item, so any number of groups is correct.
// GROUP: a power of two. WIDTH: 4 or 16. Local memory: GROUP * 16 bytes.
#include "bitmill.h"
#include "row_error.args.h"
#include "wide.h"

BM_KERNEL row_error(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part_error[GROUP], part_norm[GROUP], part_other[GROUP], part_most[GROUP];
    const uint lane = get_local_id(0);
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t x_row = (size_t)r * (a.x_stride / 4), y_row = (size_t)r * (a.y_stride / 4);
        bm_wide error = 0.0f, norm = 0.0f, other = 0.0f, most = 0.0f;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
            const bm_wide u = bm_mask_wide(bm_load_wide(x, x_type, x_row, c, a.cols), c, a.cols);
            const bm_wide v = bm_mask_wide(bm_load_wide(y, y_type, y_row, c, a.cols), c, a.cols), d = u - v;
            error += d * d;
            norm += u * u;
            other += v * v;
            most = fmax(most, fabs(d));
        }
        part_error[lane] = bm_sum_wide(error);
        part_norm[lane] = bm_sum_wide(norm);
        part_other[lane] = bm_sum_wide(other);
        part_most[lane] = bm_max_wide(most);
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s) {
                part_error[lane] += part_error[lane + s];
                part_norm[lane] += part_norm[lane + s];
                part_other[lane] += part_other[lane + s];
                part_most[lane] = fmax(part_most[lane], part_most[lane + s]);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0)
            vstore4((float4)(part_error[0], part_norm[0], part_other[0], part_most[0]), r, sums);
        barrier(CLK_LOCAL_MEM_FENCE); // the parts are reused by the next row
    }
}
