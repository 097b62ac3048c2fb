// scale_search, variant _lanes: the step of each group whose grid fits its weights best, for CPU devices. No twin: Vulkan's drivers
// for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
//
// Arguments are those of scale_search.cl.
//
// Grids, sums and their order are those of the generic kernel, and so are the results, bit for bit; but a work-item tries 16 factors
// at once, as lanes of its vectors: a weight is one number for all of them. Any number of work-groups is correct; a work-item is
// long, so GROUP is 1.
#include "quantization.h"
#include "lanes.h"
#include "scale_search.args.h"

// bm_divide of each lane.
inline float16 divide_lanes(float16 a, float16 b)
{
    const uint16 ma = (as_uint16(a) & 0x7fffffu) | 0x800000u, mb = (as_uint16(b) & 0x7fffffu) | 0x800000u;
    const int16 is_less = ma < mb; // lanes of -1
    const uint16 less = as_uint16(is_less) & 1u;
    uint16 r = convert_uint16(convert_float16(ma) / convert_float16(mb) * select((float16)(8388608.0f), (float16)(16777216.0f), is_less));
    int16 rest = as_int16((ma << (23u + less)) - r * mb);
    for (uint i = 0; i < 5; i++) {
        const int16 above = 2 * rest > as_int16(mb), below = 2 * rest < -as_int16(mb);
        r += as_uint16(below - above);
        rest += (as_int16(mb) & below) - (as_int16(mb) & above);
    }
    const uint16 exponent = (as_uint16(a) >> 23) + 127u - (as_uint16(b) >> 23) - less;
    return as_float16((exponent << 23) | (r & 0x7fffffu));
}

inline float16 inverse_lanes(float16 step) { return copysign(divide_lanes((float16)(1.0f), fabs(step)), step); }

// bm_stored_step of each lane: a float16 number that is normal keeps 10 bits behind the point.
inline float16 stored_lanes(float16 step, uint scale_type)
{
    if (scale_type == BM_F16) {
        const uint16 u = as_uint16(fmin(fmax(fabs(step), 0x1p-14f), 65504.0f));
        return copysign(as_float16((u + 0xfffu + ((u >> 13) & 1u)) & 0xffffe000u), step);
    }
    if (scale_type == BM_BF16) {
        const uint16 u = as_uint16(step);
        return as_float16((u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
    }
    return step;
}

// bm_group_grid of each lane's factor, for a group that is not zero.
inline bm_lanes_grid grid_lanes(float low, float high, float16 factor, uint bits, uint symmetric, uint scale_type)
{
    const float steps = (float)((1u << (bits - 1)) - 1), half_codes = steps + 1.0f;
    bm_lanes_grid grid;
    grid.zero = 0.0f;
    if (symmetric) {
        grid.step = stored_lanes(copysign(divide_lanes(fmax(-low, high) * fabs(factor), (float16)(steps)), factor), scale_type);
    } else {
        grid.step = stored_lanes(divide_lanes(high * factor * 0.5f - low * factor * 0.5f, (float16)(steps + 0.5f)), scale_type);
        grid.zero = clamp(rint(-low * factor * inverse_lanes(grid.step)) - half_codes, -half_codes, half_codes - 1.0f);
    }
    return grid;
}

// Squared errors of quads first .. last - 1 of a row on 16 grids, in units of 1 / unit.
inline float16 errors_of_lanes(__global const uint *w, __global const float *weights, ulong row, uint first, uint last, uint cols,
                               bm_lanes_grid grid, float unit, uint bits)
{
    const float half_codes = (float)(1u << (bits - 1));
    const float16 scaled_step = grid.step * unit, inverse = inverse_lanes(grid.step);
    float16 sums[4] = {0.0f, 0.0f, 0.0f, 0.0f}; // of the columns of a quad
    for (uint block = first; block < last; block += 64u) {
        float16 parts[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (uint q = block; q < min(block + 64u, last); q++) {
            const float4 v = bm_mask4(bm_load4(w, w_type, row + q), q, cols, 0.0f), scaled = v * unit;
            const float4 weight = weights ? bm_mask4(vload4(q, weights), q, cols, 0.0f) : (float4)(1.0f);
            const float x[4] = {v.x, v.y, v.z, v.w}, y[4] = {scaled.x, scaled.y, scaled.z, scaled.w};
            const float counts[4] = {weight.x, weight.y, weight.z, weight.w};
            #pragma unroll
            for (uint k = 0; k < 4; k++) {
                const float16 codes = bm_lanes_code(x[k] * inverse, grid.zero, half_codes);
                const float16 d = y[k] - (codes - grid.zero) * scaled_step;
                parts[k] += weights ? d * d * counts[k] : d * d;
            }
        }
        #pragma unroll
        for (uint k = 0; k < 4; k++)
            sums[k] += parts[k];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

BM_KERNEL scale_search_lanes(BM_PARAMETERS)
{
    BM_BEGIN
    const ulong count = (ulong)a.rows * a.groups;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / a.groups), g = (uint)(i % a.groups);
        const ulong at = (ulong)r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float low = bm_range_low(minimum[at]), high = bm_range_high(maximum[at]), peak = fmax(-low, high);
        const uint num_candidates = peak >= BM_ZERO_PEAK && a.num_factors > 1 ? a.num_factors : 0;
        float least = INFINITY;
        uint choice = 0;
        for (uint f = 0; f < num_candidates; f += BM_LANES) {
            float tried[BM_LANES], errors[BM_LANES];
            for (uint lane = 0; lane < BM_LANES; lane++) // behind the last it comes again
                tried[lane] = factors[min(f + lane, num_candidates - 1)];
            const bm_lanes_grid grid = grid_lanes(low, high, vload16(0, tried), a.bits, a.symmetric, a.scale_type);
            vstore16(errors_of_lanes(w, a.has_weights != 0 ? weights : 0, (ulong)r * (a.w_stride / 4), first, last, a.cols, grid,
                                     bm_range_unit(peak), a.bits), 0, errors);
            for (uint lane = 0; lane < BM_LANES; lane++)
                if (errors[lane] < least) {
                    least = errors[lane];
                    choice = min(f + lane, num_candidates - 1);
                }
        }
        const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factors[choice], a.bits, a.symmetric, a.scale_type);
        step[at] = grid.step;
        zero_point[at] = (int)grid.zero_point;
    }
}
