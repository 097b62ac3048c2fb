// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.   Twin: cl/scale_search.cl
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
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "scale_search.args.glsl"

shared float errors[GROUP];
shared uint choices[GROUP];

// Squared error of quads first .. last - 1 of a row on a grid; w, step and the result in units of 1 / unit.
float grid_error(uint row, uint first, uint last, float step, float zero, float unit)
{
    const float scaled_step = step * unit, inverse = bm_inverse_step(step);
    precise vec4 sums = vec4(0.0);
    for (uint block = first; block < last; block += 64u) {
        precise vec4 part = vec4(0.0);
        for (uint q = block; q < min(block + 64u, last); q++) {
            const vec4 v = bm_mask4(bm_load4(a.w, w_type, row + q), q, a.cols, 0.0);
            precise const vec4 value = (bm_codes4(v, inverse, zero, a.bits) - zero) * scaled_step;
            precise const vec4 d = v * unit - value;
            precise vec4 square = d * d;
            if (a.has_weights != 0u)
                square = square * bm_mask4(bm_floats4(uvec2(a.weights)).v[q], q, a.cols, 0.0);
            part = part + square;
        }
        sums = sums + part;
    }
    precise const float error = (sums.x + sums.y) + (sums.z + sums.w);
    return error;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x;
    const uint count = a.rows * a.groups;
    for (uint i = gl_WorkGroupID.x; i < count; i += gl_NumWorkGroups.x) { // same i for the whole work-group
        const uint r = i / a.groups, g = i % a.groups;
        const uint at = r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float peak = max(-bm_range_low(a.minimum.v[at]), bm_range_high(a.maximum.v[at]));
        const uint num_candidates = peak >= BM_ZERO_PEAK && a.num_factors > 1 ? a.num_factors : 0;
        float least = uintBitsToFloat(0x7f800000u);
        uint choice = 0;
        for (uint f = lane; f < num_candidates; f += GROUP) {
            const bm_grid grid =
                bm_group_grid(a.minimum.v[at], a.maximum.v[at], a.factors.v[f], a.bits, a.symmetric, a.scale_type);
            const float error = grid_error(r * (a.w_stride / 4), first, last, grid.step, grid.zero_point, bm_range_unit(peak));
            if (error < least) {
                least = error;
                choice = f;
            }
        }
        errors[lane] = least;
        choices[lane] = choice;
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) { // the least error, of equal ones the first factor: any order gives it
            if (lane < s && (errors[lane + s] < errors[lane] ||
                             (errors[lane + s] == errors[lane] && choices[lane + s] < choices[lane]))) {
                errors[lane] = errors[lane + s];
                choices[lane] = choices[lane + s];
            }
            barrier();
        }
        if (lane == 0) {
            const bm_grid grid =
                bm_group_grid(a.minimum.v[at], a.maximum.v[at], a.factors.v[choices[0]], a.bits, a.symmetric, a.scale_type);
            a.step.v[at] = grid.step;
            a.zero_point.v[at] = int(grid.zero_point);
        }
        barrier(); // errors and choices are reused by the next group
    }
}
