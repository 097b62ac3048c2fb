// scale_search, variant _lanes: the step of each group whose grid fits its weights best, for CPU devices. No twin: Vulkan's drivers
// for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
//
// Arguments are those of scale_search.cl.
//
// Grids, sums and their order are those of the generic kernel, and so are the results, bit for bit; but a work-item tries 16 factors
// at once, as lanes of its vectors: a weight is one number for all of them. A block of weights is read once for all factors, and
// the zero point is taken from the ends of the codes instead of added and subtracted again: whole numbers, so nothing rounds. Any
// number of work-groups is correct; a work-item is long, so GROUP is 1.
#include "quantization.h"
#include "lanes.h"
#include "scale_search.args.h"

#define BLOCK 256 // columns that are summed before they are added to the others
#define SETS 12u  // of 16 factors, at a time

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

// bm_group_grid of each lane's factor, for a group that is not zero. CPUs divide as IEEE 754 says, so quotients need no correction.
inline bm_lanes_grid grid_lanes(float low, float high, float16 factor, uint bits, uint symmetric, uint scale_type)
{
    const float steps = (float)((1u << (bits - 1)) - 1), half_codes = steps + 1.0f;
    bm_lanes_grid grid;
    grid.zero = 0.0f;
    if (symmetric) {
        grid.step = stored_lanes(fmax(-low, high) * factor / steps, scale_type);
    } else {
        grid.step = stored_lanes((high * factor * 0.5f - low * factor * 0.5f) / (steps + 0.5f), scale_type);
        grid.zero = clamp(rint(-low * factor * (1.0f / grid.step)) - half_codes, -half_codes, half_codes - 1.0f);
    }
    return grid;
}

// Sixteen factors' grids, and their squared errors so far: one sum for the columns of each remainder by 4.
typedef struct candidates {
    float16 scaled_step, inverse, low, high, sums[4];
} candidates;

inline candidates begin_candidates(bm_lanes_grid grid, float unit, uint bits)
{
    const float half_codes = (float)(1u << (bits - 1));
    candidates x;
    x.scaled_step = grid.step * unit;
    x.inverse = 1.0f / grid.step;
    x.low = -half_codes - grid.zero; // of code - zero
    x.high = half_codes - 1.0f - grid.zero;
    for (uint k = 0; k < 4; k++)
        x.sums[k] = 0.0f;
    return x;
}

// Columns of a block as all factors read them; padding is 0.
typedef struct block {
    float values[BLOCK], scaled[BLOCK], counts[BLOCK];
    uint quads;
} block;

inline void read_block(__global const uint *w, __global const float *weights, ulong row, uint first, uint last, uint cols, float unit,
                       block *out)
{
    out->quads = last - first;
    for (uint q = 0; q < out->quads; q++) {
        const float4 v = bm_mask4(bm_load4(w, w_type, row + first + q), first + q, cols, 0.0f);
        vstore4(v, q, out->values);
        vstore4(v * unit, q, out->scaled);
        if (weights)
            vstore4(bm_mask4(vload4(first + q, weights), first + q, cols, 0.0f), q, out->counts);
    }
}

// The squared errors of a block's columns, in units of 1 / unit.
inline void add_errors(const block *b, bool counts, candidates *x)
{
    const float16 scaled_step = x->scaled_step, inverse = x->inverse, low = x->low, high = x->high;
    float16 parts[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint c = 0; c < 4 * b->quads; c += 4)
        #pragma unroll
        for (uint k = 0; k < 4; k++) {
            const float16 steps = bm_lanes_within(bm_lanes_whole(b->values[c + k] * inverse), low, high);
            const float16 d = steps * scaled_step - b->scaled[c + k];
            parts[k] += counts ? d * d * b->counts[c + k] : d * d;
        }
    #pragma unroll
    for (uint k = 0; k < 4; k++)
        x->sums[k] += parts[k];
}

// What the lane with the least error chose, of equal ones the first factor.
inline uint first_least(float16 errors, uint16 choices)
{
    float error[BM_LANES], least = INFINITY;
    uint choice[BM_LANES], first = 0;
    vstore16(errors, 0, error);
    vstore16(choices, 0, choice);
    for (uint lane = 0; lane < BM_LANES; lane++) {
        const bool is_better = error[lane] < least || (error[lane] == least && choice[lane] < first);
        least = is_better ? error[lane] : least;
        first = is_better ? choice[lane] : first;
    }
    return first;
}

BM_KERNEL scale_search_lanes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint16 numbers = (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const ulong count = (ulong)a.rows * a.groups;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / a.groups), g = (uint)(i % a.groups);
        const ulong at = (ulong)r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float low = bm_range_low(minimum[at]), high = bm_range_high(maximum[at]), peak = fmax(-low, high);
        const float unit = bm_range_unit(peak);
        const uint num_candidates = peak >= BM_ZERO_PEAK && a.num_factors > 1 ? a.num_factors : 0;
        float16 least = INFINITY; // of each lane's factors, the first of equals
        uint16 choice = 0;
        for (uint begin = 0; begin < num_candidates; begin += BM_LANES * SETS) {
            const uint sets = (min(num_candidates - begin, BM_LANES * SETS) + BM_LANES - 1) / BM_LANES;
            candidates tried[SETS];
            for (uint s = 0; s < sets; s++) {
                float factor[BM_LANES];
                for (uint lane = 0; lane < BM_LANES; lane++) // behind the last it comes again
                    factor[lane] = factors[min(begin + BM_LANES * s + lane, num_candidates - 1)];
                tried[s] = begin_candidates(grid_lanes(low, high, vload16(0, factor), a.bits, a.symmetric, a.scale_type), unit, a.bits);
            }
            for (uint q = first; q < last; q += BLOCK / 4) {
                block columns;
                read_block(w, a.has_weights != 0 ? weights : 0, (ulong)r * (a.w_stride / 4), q, min(q + BLOCK / 4, last), a.cols, unit,
                           &columns);
                for (uint s = 0; s < sets; s++)
                    if (a.has_weights != 0)
                        add_errors(&columns, true, &tried[s]);
                    else
                        add_errors(&columns, false, &tried[s]);
            }
            for (uint s = 0; s < sets; s++) {
                const float16 errors = (tried[s].sums[0] + tried[s].sums[1]) + (tried[s].sums[2] + tried[s].sums[3]);
                choice = errors < least ? min(begin + BM_LANES * s + numbers, num_candidates - 1) : choice;
                least = errors < least ? errors : least;
            }
        }
        const uint best = first_least(least, choice);
        const bm_grid grid = bm_group_grid(minimum[at], maximum[at], factors[best], a.bits, a.symmetric, a.scale_type);
        step[at] = grid.step;
        zero_point[at] = (int)grid.zero_point;
    }
}
