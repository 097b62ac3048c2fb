// nested_search: steps of groups that are whole multiples of one step for 256 columns, and offsets likewise.   Twin: shaders/nested_search.comp
//
//   w                 [rows, 256 supers]  float32
//   weights           [256 supers]        float32, not negative: what a column's squared error counts; absent: 1
//   step              [rows, .]           float32: unit scale, of groups of 32 columns; of 16 where symmetric
//   offset            [rows, .]           float32: min_unit min; absent where symmetric
//   scale, minimum    [rows, .]           int8: 1..63 and 0..63; symmetric: scale -127..127, not 0, and no min
//   unit, min_unit    [rows, .]           float32 holding values of float16; min_unit 0: no group has an offset
//
// value = step code - offset, codes 0 .. 2^bits - 1; symmetric: step code, codes -2^(bits-1) .. 2^(bits-1)-1. Outputs are those of
// 256 columns from number first_super on. Least sum of weight (w - value)^2, summed in one order on every device (below), so that the
// choice is the same. by_magnitude: times |w| and the mean of that over the group.
//
//   1. each group alone: of 32 grids, by least squares for the codes that a step near the range gives, the best
//   2. units: of 32, near those that just hold the largest step and offset, the best; the first is of the ranges, plainly
//   3. each group again: of 32 scales and mins about the nearest the best, codes made for what is stored
//
// search 0: the first of 2 as it is. The error is never above that. 256 zeros: units 1 and 0, scales 1.
//
// Between a branch that work-items take differently and the begin or the end of a loop with barriers stands a barrier of its own: PoCL
// 3.1 else branches for all as the last one does (docs/debugging.md).
//
// A work-group searches one row's 256 columns at a time, each work-item its share of the 32; any number of work-groups is correct.
// GROUP (a power of two): work-items. Local memory: 2.5 KB + 16 GROUP bytes.
// Sum over a group: element c goes to lane c mod 4, then the lanes; of 256 columns the sums of groups in order.
#include "quantization.h"
#include "nested_search.args.h"

#define QUADS 64u
#define CANDIDATES 32u
#define TINY 1e-30f

// What a work-group has loaded: weights near 1, what they count, and the grid of codes.
typedef struct nested_block {
    __local const float4 *y, *w;
    float unit, back;   // y = unit weight; back = 1 / unit
    uint quads, groups; // quads of a group
    float low, high, top;
    bool symmetric;
} nested_block;

typedef struct nested_grid {
    float step, offset;
} nested_grid;

// The power of two that brings range to 1 .. 2.
inline float unit_of(float range) { return bm_range_unit(fmin(range, BM_LARGEST_PEAK)) * 0x1p-40f; }

inline float max4(float4 v) { return fmax(fmax(v.x, v.y), fmax(v.z, v.w)); }
inline float sum4(float4 v) { return (v.x + v.y) + (v.z + v.w); }

// A quotient with the sign of a.
inline float divide_signed(float a, float b) { return copysign(bm_divide(fabs(a), b), a); }

inline float group_error(const nested_block *b, uint g, nested_grid grid)
{
    const float inverse = bm_inverse_step(grid.step);
    float4 sums = 0.0f;
    for (uint q = g * b->quads; q < (g + 1) * b->quads; q++) {
        const float4 v = b->y[q] + grid.offset;
        const float4 value = clamp(rint(v * inverse), b->low, b->high) * grid.step;
        const float4 d = v - value;
        sums += d * d * b->w[q];
    }
    return sum4(sums);
}

// The range of a group, or its largest magnitude; where it begins in *low.
inline float group_range_of(const nested_block *b, uint g, float *low)
{
    float4 least = 0.0f, most = b->symmetric ? 0.0f : -INFINITY;
    for (uint q = g * b->quads; q < (g + 1) * b->quads; q++) {
        least = fmin(least, b->y[q]);
        most = fmax(most, b->y[q]);
    }
    const float bottom = -max4(-least), top = max4(most);
    *low = b->symmetric ? 0.0f : bottom;
    return b->symmetric ? fmax(-bottom, top) : top - bottom;
}

inline nested_grid fitted_grid(const nested_block *b, uint g, float range, float low, uint i)
{
    const float steps = b->symmetric ? b->high - 0.75f + 0.1875f * (float)(i / 2) : b->high - 1.0f + 0.0625f * (float)i;
    const float scale = bm_divide(steps, range) * (b->symmetric && i % 2 == 1 ? -1.0f : 1.0f);
    float4 sw = 0.0f, sx = 0.0f, sl = 0.0f, sll = 0.0f, sxl = 0.0f;
    for (uint q = g * b->quads; q < (g + 1) * b->quads; q++) {
        const float4 y = b->y[q], w = b->w[q];
        const float4 l = clamp(rint((y - low) * scale), b->low, b->high), wl = w * l;
        sw += w;
        sx += w * y;
        sl += wl;
        sll += wl * l;
        sxl += wl * y;
    }
    const float w = sum4(sw), x = sum4(sx), l = sum4(sl), ll = sum4(sll), xl = sum4(sxl);
    const float divisor = w * ll - l * l, of_step = w * xl - x * l, of_offset = l * xl - ll * x;
    nested_grid grid = {bm_divide(range, b->high), -low};
    if (!b->symmetric && divisor >= TINY && of_step >= TINY && of_offset >= TINY) {
        grid.step = bm_divide(of_step, divisor);
        grid.offset = bm_divide(of_offset, divisor);
    } else if ((b->symmetric ? fabs(xl) : xl) >= TINY && ll >= TINY &&
               (b->symmetric || (divisor >= TINY && of_step >= TINY))) {
        grid.step = divide_signed(xl, ll);
        grid.offset = 0.0f;
    }
    return grid;
}

// What a float16 holds of value / divisor, in units of y.
inline float half_of(const nested_block *b, float value, float divisor)
{
    const float quotient = value >= TINY ? bm_divide(value, divisor) * b->back : 0.0f;
    return bm_stored_step(quotient, BM_UNIT) * b->unit;
}

// The units of candidate i: {of steps, of offsets}; the latter 0: there are none.
inline nested_grid units_of(const nested_block *b, __local const float2 *fits, uint i)
{
    const uint k = i > 0 ? i - 1 : 0;
    float step = 0.0f, offset = 0.0f;
    for (uint g = 0; g < b->groups; g++) {
        step = fmax(step, fabs(fits[g].x));
        offset = fmax(offset, fits[g].y);
    }
    nested_grid units = {half_of(b, step, b->top - 0.5f * (float)(b->symmetric ? k : k % 8)), 0.0f};
    if (offset >= TINY)
        units.offset = half_of(b, offset, b->top - (float)(k / 8));
    return units;
}

inline float scale_of(const nested_block *b, float step, float unit)
{
    const float scale = clamp(rint(step * bm_inverse_step(unit)), b->symmetric ? -b->top : 1.0f, b->top);
    return scale == 0.0f ? 1.0f : scale;
}

inline float min_of(const nested_block *b, float offset, float unit)
{
    return unit > 0.0f ? clamp(rint(offset * bm_inverse_step(unit)), 0.0f, b->top) : 0.0f;
}

inline float block_error(const nested_block *b, __local const float2 *fits, nested_grid units)
{
    float error = 0.0f;
    for (uint g = 0; g < b->groups; g++) {
        const nested_grid grid = {scale_of(b, fits[g].x, units.step) * units.step,
                                  min_of(b, fits[g].y, units.offset) * units.offset};
        error += group_error(b, g, grid);
    }
    return error;
}

// 0, -1, 1, -2, 2, ...
inline float away(uint k) { return (float)((k + 1) / 2) * (k % 2 == 1 ? -1.0f : 1.0f); }

// Scale and min of candidate i about those; false: there is no such.
inline bool neighbour_of(const nested_block *b, float2 about, nested_grid units, uint i, float2 *out)
{
    const float s = about.x + away(b->symmetric ? i : i % 5), m = about.y + (b->symmetric ? 0.0f : away(i / 5));
    *out = (float2)(s, m);
    return !(s == 0.0f || s > b->top || s < (b->symmetric ? -b->top : 1.0f) || m < 0.0f || m > b->top ||
             (units.offset == 0.0f && m > 0.0f));
}

// The work-item that has the least error, of equal ones the least choice: any order gives it. All work-items come here.
inline uint least_of(__local float *errors, __local uint *choices, float error, uint choice)
{
    const uint lane = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE); // the last result was read
    errors[lane] = error;
    choices[lane] = choice;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint s = GROUP / 2; s > 0; s /= 2) {
        if (lane < s && (errors[lane + s] < errors[lane] ||
                         (errors[lane + s] == errors[lane] && choices[lane + s] < choices[lane]))) {
            errors[lane] = errors[lane + s];
            choices[lane] = choices[lane + s];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return choices[0];
}

BM_KERNEL nested_search(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 values[QUADS], counts[QUADS];
    __local float2 fits[32], found[16], kept[GROUP]; // fits: 16 of the ranges, 16 searched
    __local float errors[GROUP];
    __local uint choices[GROUP];
    const uint lane = get_local_id(0);
    const ulong count = (ulong)a.rows * a.supers;
    for (ulong item = get_group_id(0); item < count; item += get_num_groups(0)) { // the same for the whole work-group
        const uint r = (uint)(item / a.supers), k = (uint)(item % a.supers);
        const bool symmetric = a.symmetric != 0;
        nested_block b = {values, counts, 1.0f, 1.0f, symmetric ? 4 : 8, symmetric ? 16 : 8, 0.0f, (float)((1u << a.bits) - 1),
                          symmetric ? 127.0f : 63.0f, symmetric};
        if (symmetric) {
            b.low = -(float)(1u << (a.bits - 1));
            b.high = (float)((1u << (a.bits - 1)) - 1);
        }
        for (uint q = lane; q < QUADS; q += GROUP) {
            values[q] = vload4((ulong)r * (a.w_stride / 4) + k * QUADS + q, w);
            counts[q] = a.has_weights != 0 ? vload4(k * QUADS + q, weights) : (float4)(0.0f);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        float4 peaks = 0.0f, heaviest = 0.0f;
        for (uint q = 0; q < QUADS; q++) {
            peaks = fmax(peaks, fabs(values[q]));
            heaviest = fmax(heaviest, counts[q]);
        }
        const float peak = max4(peaks), most = max4(heaviest);
        const bool is_zero = peak < BM_ZERO_PEAK;
        if (!is_zero) {
            b.unit = unit_of(peak);
            b.back = as_float((254u << 23) - as_uint(b.unit));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint q = lane; q < QUADS; q += GROUP)
            values[q] *= b.unit;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint q = lane; q < QUADS; q += GROUP) {
            const uint first = q / b.quads * b.quads;
            float4 sums = 0.0f;
            for (uint i = first; i < first + b.quads; i++)
                sums += fabs(values[i]);
            const float mean = sum4(sums) * (symmetric ? 0.0625f : 0.03125f);
            const float4 weight = most >= TINY ? counts[q] * unit_of(most) : (float4)(1.0f);
            counts[q] = weight * (a.by_magnitude != 0 ? mean + fabs(values[q]) : (float4)(1.0f));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const uint tries = a.search != 0 && !is_zero ? CANDIDATES : 1;
        for (uint g = 0; g < b.groups; g++) {
            float least = INFINITY, low;
            uint choice = lane;
            const float range = group_range_of(&b, g, &low);
            kept[lane] = (float2)(0.0f, -low);
            for (uint i = lane; i < tries && range > 0x1p-30f; i += GROUP) {
                const nested_grid grid = fitted_grid(&b, g, range, low, i);
                const float error = group_error(&b, g, grid);
                if (error < least) {
                    least = error;
                    choice = i;
                    kept[lane] = (float2)(grid.step, grid.offset);
                }
            }
            choice = least_of(errors, choices, least, choice);
            if (lane == 0) {
                fits[g] = (float2)(range > 0x1p-30f ? bm_divide(range, b.high) : 0.0f, -low);
                fits[16 + g] = kept[choice % GROUP];
            }
            barrier(CLK_LOCAL_MEM_FENCE); // kept is written anew
        }
        float least = INFINITY;
        uint choice = 0;
        for (uint i = lane; i < tries; i += GROUP) {
            __local const float2 *fit = fits + (i > 0 ? 16 : 0);
            const float error = block_error(&b, fit, units_of(&b, fit, i));
            if (error < least) {
                least = error;
                choice = i;
            }
        }
        choice = least_of(errors, choices, least, choice);
        const uint base = choice > 0 ? 16 : 0;
        nested_grid units = units_of(&b, fits + base, choice);
        for (uint g = 0; g < b.groups; g++) {
            const float2 about = (float2)(scale_of(&b, fits[base + g].x, units.step), min_of(&b, fits[base + g].y, units.offset));
            float group_least = INFINITY;
            uint group_choice = 0;
            for (uint i = lane; i < tries; i += GROUP) {
                float2 near;
                if (!neighbour_of(&b, about, units, i, &near))
                    continue;
                const nested_grid grid = {near.x * units.step, near.y * units.offset};
                const float error = group_error(&b, g, grid);
                if (error < group_least) {
                    group_least = error;
                    group_choice = i;
                }
            }
            group_choice = least_of(errors, choices, group_least, group_choice);
            if (lane == 0) {
                float2 near;
                (void)neighbour_of(&b, about, units, group_choice, &near);
                found[g] = is_zero ? (float2)(1.0f, 0.0f) : near;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        units.step *= b.back;
        units.offset *= b.back;
        if (is_zero) {
            units.step = 1.0f;
            units.offset = 0.0f;
        }
        const uint super_index = a.first_super + k;
        if (lane == 0) {
            unit[(ulong)r * a.unit_stride + super_index] = units.step;
            if (!symmetric)
                min_unit[(ulong)r * a.unit_stride + super_index] = units.offset;
        }
        for (uint g = lane; g < b.groups; g += GROUP) {
            const ulong at = (ulong)r * a.step_stride + super_index * b.groups + g;
            step[at] = found[g].x * units.step;
            if (!symmetric)
                offset[at] = found[g].y * units.offset;
        }
        for (uint g = 4 * lane; g < b.groups; g += 4 * GROUP) {
            const ulong at = ((ulong)r * a.scale_stride + super_index * b.groups + g) / 4;
            scale[at] = bm_pack_bytes((float4)(found[g].x, found[g + 1].x, found[g + 2].x, found[g + 3].x));
            if (!symmetric)
                minimum[at] = bm_pack_bytes((float4)(found[g].y, found[g + 1].y, found[g + 2].y, found[g + 3].y));
        }
        barrier(CLK_LOCAL_MEM_FENCE); // found is written anew
    }
}
