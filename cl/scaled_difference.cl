// scaled_difference: what rows of weights lose when they are rounded behind scales of their columns, weighed, in float16.   Twin: shaders/scaled_difference.comp
//
//   parts / unit = (w - Q(w scale) inverse) factor, Q the grid of the abs-max of each group, that of scale_search for factor 1
//
//   w                       [rows, cols]    float32
//   scale, inverse, factor  [1, cols]       float32; inverse: 1 / scale
//   parts                   [rows, padded]  pairs of float16; padded: cols rounded up to 4
//   unit                    [1, rows]       float32: what the products of a row are multiplied by, a power of two; the largest
//                                           of a row, divided, lies in 2^13 .. 2^14
//
// A row of zeros has the unit 1. NaN and infinity make a row's products NaN or infinite.
// One work-group walks one row at a time, so any number of groups is correct. The first pass finds the largest of a row, the second
// writes: grids are found twice, which costs less than to keep them. GROUP: a power of two. Local memory: GROUP * 8 bytes.
#include "quantization.h"
#include "scaled_difference.args.h"

BM_KERNEL scaled_difference(BM_PARAMETERS)
{
    BM_BEGIN
    __local float low[GROUP], high[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4, group_quads = (min(a.group_size, a.cols) + 3) / 4;
    const uint groups = (quads + group_quads - 1) / group_quads;
    uint width = 1; // lanes that a group has, a power of two
    while (width < group_quads && width < GROUP)
        width *= 2;
    const uint slots = GROUP / width, slot = lane / width, t = lane % width;
    for (uint r = get_group_id(0); r < a.rows; r += get_num_groups(0)) { // same r for the whole group
        __global const float *row = w + (ulong)r * a.w_stride;
        float most = 0.0f, power = 1.0f;
        for (uint pass = 0; pass < 2; pass++) {
            for (uint first = 0; first < groups; first += slots) {
                const uint begin = min((first + slot) * group_quads, quads), end = min(begin + group_quads, quads);
                float least = 0.0f, largest = 0.0f;
                for (uint q = begin + t; q < end; q += width) {
                    const float4 v = bm_mask4(vload4(q, row) * vload4(q, scale), q, a.cols, 0.0f);
                    least = fmin(least, fmin(fmin(v.x, v.y), fmin(v.z, v.w)));
                    largest = fmax(largest, fmax(fmax(v.x, v.y), fmax(v.z, v.w)));
                }
                low[lane] = least;
                high[lane] = largest;
                barrier(CLK_LOCAL_MEM_FENCE);
                for (uint s = width / 2; s > 0; s /= 2) {
                    if (t < s) {
                        low[lane] = fmin(low[lane], low[lane + s]);
                        high[lane] = fmax(high[lane], high[lane + s]);
                    }
                    barrier(CLK_LOCAL_MEM_FENCE);
                }
                const bm_grid grid = bm_group_grid(low[slot * width], high[slot * width], 1.0f, a.bits, a.symmetric, a.scale_type);
                const float inverse_step = bm_inverse_step(grid.step);
                for (uint q = begin + t; q < end; q += width) {
                    const float4 v = vload4(q, row);
                    const float4 code = bm_codes4(v * vload4(q, scale), inverse_step, grid.zero_point, a.bits);
                    const float4 value = (code - grid.zero_point) * grid.step * vload4(q, inverse);
                    const float4 e = bm_mask4((v - value) * vload4(q, factor), q, a.cols, 0.0f) * power;
                    if (pass == 0)
                        most = fmax(most, fmax(fmax(fabs(e.x), fabs(e.y)), fmax(fabs(e.z), fabs(e.w))));
                    else
                        bm_store4(parts, BM_F16, (ulong)r * (a.parts_stride / 2) + q, e);
                }
                barrier(CLK_LOCAL_MEM_FENCE); // ranges are replaced
            }
            if (pass == 0) {
                low[lane] = most;
                barrier(CLK_LOCAL_MEM_FENCE);
                for (uint s = GROUP / 2; s > 0; s /= 2) {
                    if (lane < s)
                        low[lane] = fmax(low[lane], low[lane + s]);
                    barrier(CLK_LOCAL_MEM_FENCE);
                }
                // As kernel split_parts has it.
                const uint exponent = low[0] > 0.0f ? (uint)clamp(267 - (int)(as_uint(low[0]) >> 23), 1, 253) : 127u;
                power = as_float(exponent << 23);
                if (lane == 0)
                    unit[r] = as_float((254u - exponent) << 23);
                barrier(CLK_LOCAL_MEM_FENCE); // the ranges of the second pass overwrite the largest
            }
        }
    }
}
