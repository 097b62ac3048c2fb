// column_range: of each span of rows and each column the least and largest element, the sum and that of squares or magnitudes.   Twin: shaders/column_range.comp
//
//   x             [., cols]      real; row 0 is the row that starts calls first_row
//   part_maximum  [., cols]      float32, as part_sum and part_moments: with joins, x holds minima of parts, these the rest; absent: x
//                               has elements
//   starts        [., 1]         u32: span s is the rows starts[first_span + s] to starts[first_span + s + 1] - 1, at least one
//   minimum, maximum, sum        [spans, cols] float32; moments too, sums of squares with moment 1, of magnitudes with 2; with 0
//                               they and part_moments are absent
//
// Minimum and maximum are those of the bits, as integers of the same order: exact, denormal numbers kept, -0 below 0, and a NaN lies
// beyond the infinities, on the side of its sign, where no comparison loses it. Sums are added in the order of rows, a square
// rounded first: the same bits on every device.
//
// A work-item takes one span of WIDTH columns; any number of groups is correct.
#include "bitmill.h"
#include "column_range.args.h"
#include "wide.h"

// Its own inverse.
inline bm_wide_int in_order(bm_wide_int bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

BM_KERNEL column_range(BM_PARAMETERS)
{
    BM_BEGIN
    const uint vectors = (a.cols + WIDTH - 1) / WIDTH;
    const ulong count = (ulong)a.spans * vectors;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint s = (uint)(i / vectors), c = (uint)(i % vectors) * WIDTH;
        const uint first = starts[a.first_span + s] - a.first_row, end = starts[a.first_span + s + 1] - a.first_row;
        bm_wide_int least = 0x7fffffff, largest = -0x7fffffff - 1;
        bm_wide total = 0.0f, total_moments = 0.0f;
        for (uint r = first; r < end; r++) {
            bm_wide low = bm_load_wide(x, x_type, (size_t)r * (a.x_stride / 4), c, a.cols), high = low, add = low;
            bm_wide moment = low * low;
            if (a.moment == 2)
                moment = fabs(low);
            if (a.joins != 0) {
                const size_t row = (size_t)r * (a.part_stride / 4);
                high = bm_load_wide((__global const uint *)part_maximum, BM_F32, row, c, a.cols);
                add = bm_load_wide((__global const uint *)part_sum, BM_F32, row, c, a.cols);
                if (a.moment != 0)
                    moment = bm_load_wide((__global const uint *)part_moments, BM_F32, row, c, a.cols);
            }
            least = min(least, in_order(bm_as_wide_int(low)));
            largest = max(largest, in_order(bm_as_wide_int(high)));
            total += add;
            total_moments += moment;
        }
        const size_t row = (size_t)s * (a.out_stride / 4);
        bm_store_wide((__global uint *)minimum, BM_F32, row, c, a.cols, bm_as_wide(in_order(least)));
        bm_store_wide((__global uint *)maximum, BM_F32, row, c, a.cols, bm_as_wide(in_order(largest)));
        bm_store_wide((__global uint *)sum, BM_F32, row, c, a.cols, total);
        if (a.moment != 0)
            bm_store_wide((__global uint *)moments, BM_F32, row, c, a.cols, total_moments);
    }
}
