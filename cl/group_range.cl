// group_range: minimum[r, g] and maximum[r, g] of group g of row r.   Twin: shaders/group_range.comp
//
//   w                 [rows, cols]    real
//   minimum, maximum  [rows, groups]  float32; group g is columns g group_size .. (g + 1) group_size - 1, the last may be shorter
//
// group_size is a multiple of 4, or cols (one group a row). The abs-max of a group is max(-minimum, maximum).
// A work-item reads one group; any number of work-groups is correct. min and max are exact: every device agrees.
#include "bitmill.h"
#include "group_range.args.h"

BM_KERNEL group_range(BM_PARAMETERS)
{
    BM_BEGIN
    const ulong count = (ulong)a.rows * a.groups;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / a.groups), g = (uint)(i % a.groups);
        const uint first = g * a.group_size / 4, last = (min((g + 1) * a.group_size, a.cols) + 3) / 4;
        float low = INFINITY, high = -INFINITY;
        for (uint q = first; q < last; q++) {
            const float4 v = bm_load4(w, w_type, (ulong)r * (a.w_stride / 4) + q);
            const float4 l = bm_mask4(v, q, a.cols, INFINITY), h = bm_mask4(v, q, a.cols, -INFINITY);
            low = fmin(low, fmin(fmin(l.x, l.y), fmin(l.z, l.w)));
            high = fmax(high, fmax(fmax(h.x, h.y), fmax(h.z, h.w)));
        }
        minimum[(ulong)r * a.out_stride + g] = low;
        maximum[(ulong)r * a.out_stride + g] = high;
    }
}
