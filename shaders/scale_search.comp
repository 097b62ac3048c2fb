// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.   Twin: cl/scale_search.cl
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32, of kernel group_range
//   factors           [num_factors]   float32: the range times each is tried; the first wins ties
//   step              [rows, groups]  float32 holding a value of scale_type
//   zero_point        [rows, groups]  int32 in -2^(bits-1) .. 2^(bits-1)-1; 0 when symmetric
//
// Symmetric: step = abs-max factor / (2^(bits-1) - 1). Asymmetric: 0 is forced into the range, step = range factor /
// (2^bits - 1). Least sum of (w - value)^2 over the group, summed in one order on every device: the choice is the same.
// A group of zeros gets step 1. One factor of 1 is plain rounding.
// A work-item searches one group; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "quantization.glsl"
#include "scale_search.args.glsl"

void main()
{
    const uint count = a.rows * a.groups;
    const float half_range = float(1u << (a.bits - 1u));
    const float per_code = bm_reciprocal(a.symmetric != 0u ? half_range - 1.0 : 2.0 * half_range - 1.0);
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / a.groups, g = i % a.groups;
        const uint at = r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float low = min(a.minimum.v[at], 0.0), high = max(a.maximum.v[at], 0.0);
        const float range = a.symmetric != 0u ? max(-low, high) : high - low;
        float best_error = uintBitsToFloat(0x7f800000u), best_step = 1.0, best_zero = a.symmetric != 0u ? 0.0 : -half_range;
        for (uint f = 0; range >= 1.0e-30 && f < a.num_factors; f++) {
            precise const float wanted = range * a.factors.v[f] * per_code;
            const float s = bm_stored_step(wanted, a.scale_type);
            const float inverse = bm_reciprocal(s);
            precise const float scaled = -(low * a.factors.v[f]) * inverse;
            const float offset = roundEven(scaled);
            const float zero = a.symmetric != 0u ? 0.0 : min(offset, 2.0 * half_range - 1.0) - half_range;
            precise vec4 sums = vec4(0.0);
            for (uint q = first; q < last; q++) {
                const vec4 v = bm_mask4(bm_load4(a.w, w_type, r * (a.w_stride / 4) + q), q, a.cols, 0.0);
                precise const vec4 value = (bm_code4(v, inverse, zero, a.bits) - zero) * s;
                precise const vec4 d = v - value;
                precise const vec4 square = d * d;
                sums = sums + square;
            }
            precise const float error = (sums.x + sums.y) + (sums.z + sums.w);
            if (error < best_error) {
                best_error = error;
                best_step = s;
                best_zero = zero;
            }
        }
        a.step.v[at] = best_step;
        a.zero_point.v[at] = int(best_zero);
    }
}
