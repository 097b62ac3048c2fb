// layernorm: y[r, c] = weight[c] * (x[r, c] - mean) / sqrt(variance + epsilon) + bias[c], mean and variance of row r.   Twin: shaders/layernorm.comp
//
//   x, y          [rows, cols]  real; y may be x
//   weight, bias  [1, cols]     real
//
// One work-group walks one row at a time, WIDTH elements a work-item, so any number of groups is correct. The variance is that
// of the differences from the mean, in a second walk: nothing cancels where the mean is large.
// GROUP: a power of two. WIDTH: 4 or 16.
// Source: Ba, Kiros and Hinton, Layer Normalization, 2016, equation 4.
#include "bitmill.h"
#include "layernorm.args.h"
#include "wide.h"

// The sum of one number of each lane. part is free when it returns.
inline float layernorm_sum(__local float *part, bm_wide sums)
{
    const uint lane = get_local_id(0);
    part[lane] = bm_sum_wide(sums);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint s = GROUP / 2; s > 0; s /= 2) {
        if (lane < s)
            part[lane] += part[lane + s];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float sum = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

BM_KERNEL layernorm(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part[GROUP];
    const uint lane = get_local_id(0);
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        const size_t x_row = (size_t)r * (a.x_stride / 4), y_row = (size_t)r * (a.y_stride / 4);
        bm_wide sums = 0.0f, squares = 0.0f;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH)
            sums += bm_mask_wide(bm_load_wide(x, x_type, x_row, c, a.cols), c, a.cols);
        const float mean = layernorm_sum(part, sums) / (float)a.cols;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
            const bm_wide v = bm_mask_wide(bm_load_wide(x, x_type, x_row, c, a.cols) - mean, c, a.cols);
            squares += v * v;
        }
        const float scale = 1.0f / sqrt(layernorm_sum(part, squares) / (float)a.cols + a.epsilon);
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH)
            bm_store_wide(y, y_type, y_row, c, a.cols,
                          bm_load_wide(weight, weight_type, 0, c, a.cols) * ((bm_load_wide(x, x_type, x_row, c, a.cols) - mean) * scale) +
                              bm_load_wide(bias, bias_type, 0, c, a.cols));
    }
}
