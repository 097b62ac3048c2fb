// scale_search: the step of each group whose grid fits its weights best, in the type in which it will be stored.   Twin: shaders/scale_search.comp
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
#include "quantization.h"
#include "scale_search.args.h"

BM_KERNEL scale_search(BM_PARAMETERS)
{
    BM_BEGIN
    const ulong count = (ulong)a.rows * a.groups;
    const float half_range = (float)(1u << (a.bits - 1u));
    const float per_code = bm_reciprocal(a.symmetric ? half_range - 1.0f : 2.0f * half_range - 1.0f);
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / a.groups), g = (uint)(i % a.groups);
        const ulong at = (ulong)r * a.out_stride + g;
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        const float low = fmin(minimum[at], 0.0f), high = fmax(maximum[at], 0.0f);
        const float range = a.symmetric ? fmax(-low, high) : high - low;
        float best_error = INFINITY, best_step = 1.0f, best_zero = a.symmetric ? 0.0f : -half_range;
        for (uint f = 0; range >= 1.0e-30f && f < a.num_factors; f++) {
            const float s = bm_stored_step(range * factors[f] * per_code, a.scale_type);
            const float inverse = bm_reciprocal(s);
            const float offset = rint(-(low * factors[f]) * inverse);
            const float zero = a.symmetric ? 0.0f : fmin(offset, 2.0f * half_range - 1.0f) - half_range;
            float4 sums = (float4)(0.0f);
            for (uint q = first; q < last; q++) {
                const float4 v = bm_mask4(bm_load4(w, w_type, (ulong)r * (a.w_stride / 4) + q), q, a.cols, 0.0f);
                const float4 d = v - (bm_code4(v, inverse, zero, a.bits) - zero) * s;
                sums += d * d;
            }
            const float error = (sums.x + sums.y) + (sums.z + sums.w);
            if (error < best_error) {
                best_error = error;
                best_step = s;
                best_zero = zero;
            }
        }
        step[at] = best_step;
        zero_point[at] = (int)best_zero;
    }
}
