// nested_search: steps of groups that are whole multiples of one step for 256 columns, and offsets likewise.   Twin: cl/nested_search.cl
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
// A work-group searches one row's 256 columns at a time, each work-item its share of the 32; any number of work-groups is correct.
// GROUP (a power of two): work-items. Local memory: 2.5 KB + 16 GROUP bytes.
// Sum over a group: element c goes to lane c mod 4, then the lanes; of 256 columns the sums of groups in order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "nested_search.args.glsl"

const uint QUADS = 64u, CANDIDATES = 32u;
const float TINY = 1e-30, LARGEST = 3.402823466e38;

// Weights near 1, and what they count.
shared vec4 values[QUADS], counts[QUADS];
shared vec2 fits[32], found[16], kept[GROUP]; // fits: 16 of the ranges, 16 searched
shared float errors[GROUP];
shared uint choices[GROUP];

// Of the 256 columns that the work-group has loaded.
float unit = 1.0, back = 1.0; // value = unit weight; back = 1 / unit
uint quads, groups;           // quads of a group
float low_code, high_code, top_scale;
bool symmetric;

struct nested_grid {
    float step, offset;
};

// The power of two that brings range to 1 .. 2.
float unit_of(float range) { return bm_range_unit(min(range, BM_LARGEST_PEAK)) * 9.094947017729282e-13; } // 2^-40

float max4(vec4 v) { return max(max(v.x, v.y), max(v.z, v.w)); }
float sum4(vec4 v)
{
    precise const float sum = (v.x + v.y) + (v.z + v.w);
    return sum;
}

// A quotient with the sign of x.
float divide_signed(float x, float y) { return bm_copy_sign(bm_divide(abs(x), y), x); }

float group_error(uint g, float step, float offset)
{
    const float inverse = bm_inverse_step(step);
    precise vec4 sums = vec4(0.0);
    for (uint q = g * quads; q < (g + 1) * quads; q++) {
        precise const vec4 v = values[q] + offset;
        precise const vec4 code = v * inverse;
        precise const vec4 value = clamp(roundEven(code), vec4(low_code), vec4(high_code)) * step;
        precise const vec4 d = v - value;
        precise const vec4 square = d * d;
        precise const vec4 part = square * counts[q];
        sums = sums + part;
    }
    return sum4(sums);
}

// The range of a group, or its largest magnitude; where it begins in low.
float group_range_of(uint g, out float low)
{
    vec4 least = vec4(0.0), most = vec4(symmetric ? 0.0 : -LARGEST);
    for (uint q = g * quads; q < (g + 1) * quads; q++) {
        least = min(least, values[q]);
        most = max(most, values[q]);
    }
    const float bottom = -max4(-least), top = max4(most);
    low = symmetric ? 0.0 : bottom;
    precise const float range = top - bottom;
    return symmetric ? max(-bottom, top) : range;
}

nested_grid fitted_grid(uint g, float range, float low, uint i)
{
    precise const float less = symmetric ? high_code - 0.75 : high_code - 1.0;
    precise const float more = (symmetric ? 0.1875 : 0.0625) * float(symmetric ? i / 2 : i);
    precise const float steps = less + more;
    const float scale = bm_divide(steps, range) * (symmetric && i % 2 == 1 ? -1.0 : 1.0);
    precise vec4 sw = vec4(0.0), sx = vec4(0.0), sl = vec4(0.0), sll = vec4(0.0), sxl = vec4(0.0);
    for (uint q = g * quads; q < (g + 1) * quads; q++) {
        const vec4 y = values[q], w = counts[q];
        precise const vec4 above = y - low;
        precise const vec4 code = above * scale;
        const vec4 l = clamp(roundEven(code), vec4(low_code), vec4(high_code));
        precise const vec4 wl = w * l, wy = w * y, wll = wl * l, wly = wl * y;
        sw = sw + w;
        sx = sx + wy;
        sl = sl + wl;
        sll = sll + wll;
        sxl = sxl + wly;
    }
    const float w = sum4(sw), x = sum4(sx), l = sum4(sl), ll = sum4(sll), xl = sum4(sxl);
    precise const float w_ll = w * ll, l_l = l * l, w_xl = w * xl, x_l = x * l, l_xl = l * xl, ll_x = ll * x;
    precise const float divisor = w_ll - l_l, of_step = w_xl - x_l, of_offset = l_xl - ll_x;
    nested_grid grid = nested_grid(bm_divide(range, high_code), -low);
    if (!symmetric && divisor >= TINY && of_step >= TINY && of_offset >= TINY) {
        grid.step = bm_divide(of_step, divisor);
        grid.offset = bm_divide(of_offset, divisor);
    } else if ((symmetric ? abs(xl) : xl) >= TINY && ll >= TINY && (symmetric || (divisor >= TINY && of_step >= TINY))) {
        grid.step = divide_signed(xl, ll);
        grid.offset = 0.0;
    }
    return grid;
}

// What a float16 holds of value / divisor, in units of values.
float half_of(float value, float divisor)
{
    float quotient = 0.0;
    if (value >= TINY)
        quotient = bm_divide(value, divisor) * back;
    return bm_stored_step(quotient, BM_UNIT) * unit;
}

// The units of candidate i: {of steps, of offsets}; the latter 0: there are none.
nested_grid units_of(uint first, uint i)
{
    const uint k = i > 0 ? i - 1 : 0;
    float step = 0.0, offset = 0.0;
    for (uint g = 0; g < groups; g++) {
        step = max(step, abs(fits[first + g].x));
        offset = max(offset, fits[first + g].y);
    }
    precise const float less = 0.5 * float(symmetric ? k : k % 8);
    precise const float divisor = top_scale - less;
    nested_grid units = nested_grid(half_of(step, divisor), 0.0);
    if (offset >= TINY)
        units.offset = half_of(offset, top_scale - float(k / 8));
    return units;
}

float scale_of(float step, float unit_of_steps)
{
    precise const float quotient = step * bm_inverse_step(unit_of_steps);
    const float scale = clamp(roundEven(quotient), symmetric ? -top_scale : 1.0, top_scale);
    return scale == 0.0 ? 1.0 : scale;
}

float min_of(float offset, float unit_of_offsets)
{
    if (!(unit_of_offsets > 0.0))
        return 0.0;
    precise const float quotient = offset * bm_inverse_step(unit_of_offsets);
    return clamp(roundEven(quotient), 0.0, top_scale);
}

float block_error(uint first, nested_grid units)
{
    precise float error = 0.0;
    for (uint g = 0; g < groups; g++) {
        precise const float step = scale_of(fits[first + g].x, units.step) * units.step;
        precise const float offset = min_of(fits[first + g].y, units.offset) * units.offset;
        error = error + group_error(g, step, offset);
    }
    return error;
}

// 0, -1, 1, -2, 2, ...
float away(uint k) { return float((k + 1) / 2) * (k % 2 == 1 ? -1.0 : 1.0); }

// Scale and min of candidate i about those; false: there is no such.
bool neighbour_of(vec2 about, nested_grid units, uint i, out vec2 near)
{
    const float s = about.x + away(symmetric ? i : i % 5), m = about.y + (symmetric ? 0.0 : away(i / 5));
    near = vec2(s, m);
    return !(s == 0.0 || s > top_scale || s < (symmetric ? -top_scale : 1.0) || m < 0.0 || m > top_scale ||
             (units.offset == 0.0 && m > 0.0));
}

// The work-item that has the least error, of equal ones the least choice: any order gives it. All work-items come here.
uint least_of(float error, uint choice)
{
    const uint lane = gl_LocalInvocationID.x;
    barrier(); // the last result was read
    errors[lane] = error;
    choices[lane] = choice;
    barrier();
    for (uint s = GROUP / 2; s > 0; s /= 2) {
        if (lane < s && (errors[lane + s] < errors[lane] ||
                         (errors[lane + s] == errors[lane] && choices[lane + s] < choices[lane]))) {
            errors[lane] = errors[lane + s];
            choices[lane] = choices[lane + s];
        }
        barrier();
    }
    return choices[0];
}

void load_block(uint r, uint k, out bool is_zero)
{
    const uint lane = gl_LocalInvocationID.x;
    for (uint q = lane; q < QUADS; q += GROUP) {
        values[q] = bm_floats4(uvec2(a.w)).v[r * (a.w_stride / 4) + k * QUADS + q];
        counts[q] = vec4(0.0);
        if (a.has_weights != 0u)
            counts[q] = bm_floats4(uvec2(a.weights)).v[k * QUADS + q];
    }
    barrier();
    vec4 peaks = vec4(0.0), heaviest = vec4(0.0);
    for (uint q = 0; q < QUADS; q++) {
        peaks = max(peaks, abs(values[q]));
        heaviest = max(heaviest, counts[q]);
    }
    const float peak = max4(peaks), most = max4(heaviest);
    is_zero = peak < BM_ZERO_PEAK;
    unit = 1.0;
    back = 1.0;
    if (!is_zero) {
        unit = unit_of(peak);
        back = uintBitsToFloat((254u << 23) - floatBitsToUint(unit));
    }
    barrier();
    for (uint q = lane; q < QUADS; q += GROUP)
        values[q] *= unit;
    barrier();
    for (uint q = lane; q < QUADS; q += GROUP) {
        const uint first = q / quads * quads;
        precise vec4 sums = vec4(0.0);
        for (uint i = first; i < first + quads; i++)
            sums = sums + abs(values[i]);
        precise const float mean = sum4(sums) * (symmetric ? 0.0625 : 0.03125);
        precise const vec4 magnitude = mean + abs(values[q]);
        const vec4 weight = most >= TINY ? counts[q] * unit_of(most) : vec4(1.0);
        precise const vec4 product = weight * magnitude;
        counts[q] = a.by_magnitude != 0u ? product : weight;
    }
    barrier();
}

void fit_group(uint g, uint tries)
{
    const uint lane = gl_LocalInvocationID.x;
    float least = uintBitsToFloat(0x7f800000u), low;
    uint choice = lane;
    const float range = group_range_of(g, low);
    kept[lane] = vec2(0.0, -low);
    for (uint i = lane; i < tries && range > 9.313225746154785e-10; i += GROUP) {
        const nested_grid grid = fitted_grid(g, range, low, i);
        const float error = group_error(g, grid.step, grid.offset);
        if (error < least) {
            least = error;
            choice = i;
            kept[lane] = vec2(grid.step, grid.offset);
        }
    }
    choice = least_of(least, choice);
    if (lane == 0) {
        fits[g] = vec2(range > 9.313225746154785e-10 ? bm_divide(range, high_code) : 0.0, -low);
        fits[16 + g] = kept[choice % GROUP];
    }
    barrier(); // kept is written anew
}

nested_grid choose_units(uint tries, out uint first)
{
    const uint lane = gl_LocalInvocationID.x;
    float least = uintBitsToFloat(0x7f800000u);
    uint choice = 0;
    for (uint i = lane; i < tries; i += GROUP) {
        const uint fit = i > 0 ? 16 : 0;
        const float error = block_error(fit, units_of(fit, i));
        if (error < least) {
            least = error;
            choice = i;
        }
    }
    choice = least_of(least, choice);
    first = choice > 0 ? 16 : 0;
    return units_of(first, choice);
}

void refine_group(uint g, uint first, nested_grid units, uint tries)
{
    const uint lane = gl_LocalInvocationID.x;
    const vec2 about = vec2(scale_of(fits[first + g].x, units.step), min_of(fits[first + g].y, units.offset));
    float least = uintBitsToFloat(0x7f800000u);
    uint choice = 0;
    vec2 near;
    for (uint i = lane; i < tries; i += GROUP) {
        if (!neighbour_of(about, units, i, near))
            continue;
        precise const float step = near.x * units.step, offset = near.y * units.offset;
        const float error = group_error(g, step, offset);
        if (error < least) {
            least = error;
            choice = i;
        }
    }
    choice = least_of(least, choice);
    if (lane == 0 && neighbour_of(about, units, choice, near))
        found[g] = near;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x;
    const uint count = a.rows * a.supers;
    symmetric = a.symmetric != 0u;
    quads = symmetric ? 4 : 8;
    groups = symmetric ? 16 : 8;
    low_code = symmetric ? -float(1u << (a.bits - 1)) : 0.0;
    high_code = symmetric ? float((1u << (a.bits - 1)) - 1) : float((1u << a.bits) - 1);
    top_scale = symmetric ? 127.0 : 63.0;
    for (uint item = gl_WorkGroupID.x; item < count; item += gl_NumWorkGroups.x) { // the same for the whole work-group
        const uint r = item / a.supers, k = item % a.supers;
        bool is_zero;
        barrier(); // what was found before was written
        load_block(r, k, is_zero);
        const uint tries = a.search != 0u && !is_zero ? CANDIDATES : 1;
        for (uint g = 0; g < groups; g++)
            fit_group(g, tries);
        uint first;
        nested_grid units = choose_units(tries, first);
        for (uint g = 0; g < groups; g++)
            refine_group(g, first, units, tries);
        units = is_zero ? nested_grid(1.0, 0.0) : nested_grid(units.step * back, units.offset * back);
        barrier();
        for (uint g = lane; is_zero && g < groups; g += GROUP)
            found[g] = vec2(1.0, 0.0);
        barrier();
        const uint super_index = a.first_super + k;
        if (lane == 0) {
            a.unit.v[r * a.unit_stride + super_index] = units.step;
            if (!symmetric)
                a.min_unit.v[r * a.unit_stride + super_index] = units.offset;
        }
        for (uint g = lane; g < groups; g += GROUP) {
            const uint at = r * a.step_stride + super_index * groups + g;
            a.step.v[at] = found[g].x * units.step;
            if (!symmetric)
                a.offset.v[at] = found[g].y * units.offset;
        }
        for (uint g = 4 * lane; g < groups; g += 4 * GROUP) {
            const uint at = (r * a.scale_stride + super_index * groups + g) / 4;
            a.scale.v[at] = bm_pack_bytes(vec4(found[g].x, found[g + 1].x, found[g + 2].x, found[g + 3].x));
            if (!symmetric)
                a.minimum.v[at] = bm_pack_bytes(vec4(found[g].y, found[g + 1].y, found[g + 2].y, found[g + 3].y));
        }
    }
}
