// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.   Twin: shaders/scale_search.comp
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32, of kernel group_range
//   factors           [num_factors]   float32: the range times each is tried; the first wins ties
//   weights           [cols]          float32, not negative: what a column's squared error counts; absent: 1
//   step              [rows, groups]  float32 holding a value of scale_type; its sign is the factor's
//   zero_point        [rows, groups]  int32 in -2^(bits-1) .. 2^(bits-1)-1; 0 when symmetric
//
// Symmetric: step = abs-max factor / (2^(bits-1) - 1). Asymmetric: 0 is forced into the range, step = range factor /
// (2^bits - 1), zero_point = rint(-low factor / step) - 2^(bits-1). Least sum of weight (w - value)^2 over the group, summed in
// one order on every device (below), so that the choice is the same. A single factor is taken as it is: plain rounding.
// Groups of zeros: bm_zero_step and zero point 0.
//
// One work-group searches one group of weights at a time, each work-item its share of the factors; any number of
// work-groups is correct. GROUP (power of two): work-items. Local memory: GROUP * 8 bytes.
// Sum: element c goes to lane c mod 4; blocks of 256 elements are summed, then the blocks, then the lanes.
#include "quantization.h"
#include "scale_search.args.h"

// Squared error of quads first .. last - 1 of a row on a grid; w, step and the result in units of 1 / unit.
inline float grid_error(__global const uint *w, __global const float *weights, ulong row, uint first, uint last, uint cols,
                        float step, float zero, float unit, uint bits)
{
    const float scaled_step = step * unit, inverse = bm_inverse_step(step);
    float4 sums = (float4)(0.0f);
    for (uint block = first; block < last; block += 64u) {
        float4 part = (float4)(0.0f);
        for (uint q = block; q < min(block + 64u, last); q++) {
            const float4 v = bm_mask4(bm_load4(w, w_type, row + q), q, cols, 0.0f);
            const float4 d = v * unit - (bm_codes4(v, inverse, zero, bits) - zero) * scaled_step;
            const float4 square = d * d;
            part += weights ? square * bm_mask4(vload4(q, weights), q, cols, 0.0f) : square;
        }
        sums += part;
    }
    return (sums.x + sums.y) + (sums.z + sums.w);
}

BM_KERNEL scale_search(BM_PARAMETERS)
{
    BM_BEGIN
    __local float errors[GROUP];
    __local uint choices[GROUP];
    const uint lane = get_local_id(0);
    const ulong count = (ulong)a.rows * a.groups;
    for (ulong i = get_group_id(0); i < count; i += get_num_groups(0)) { // same i for the whole work-group
        const uint r = (uint)(i / a.groups), g = (uint)(i % a.groups);
        const ulong at = (ulong)r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float peak = fmax(-bm_range_low(minimum[at]), bm_range_high(maximum[at]));
        const uint num_candidates = peak >= BM_ZERO_PEAK && a.num_factors > 1 ? a.num_factors : 0;
        float least = INFINITY;
        uint choice = 0;
        for (uint f = lane; f < num_candidates; f += GROUP) {
            const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factors[f], a.bits, a.symmetric, a.scale_type);
            const float error =
                grid_error(w, a.has_weights != 0 ? weights : 0, (ulong)r * (a.w_stride / 4), first, last, a.cols, grid.step,
                           grid.zero_point, bm_range_unit(peak), a.bits);
            if (error < least) {
                least = error;
                choice = f;
            }
        }
        errors[lane] = least;
        choices[lane] = choice;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) { // the least error, of equal ones the first factor: any order gives it
            if (lane < s && (errors[lane + s] < errors[lane] ||
                             (errors[lane + s] == errors[lane] && choices[lane + s] < choices[lane]))) {
                errors[lane] = errors[lane + s];
                choices[lane] = choices[lane + s];
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0) {
            const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factors[choices[0]], a.bits, a.symmetric, a.scale_type);
            step[at] = grid.step;
            zero_point[at] = (int)grid.zero_point;
        }
        barrier(CLK_LOCAL_MEM_FENCE); // errors and choices are reused by the next group
    }
}
