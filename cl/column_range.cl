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
// A work-item takes one span of WIDTH columns; any number of groups is correct. It reads AHEAD rows before it adds the first of
// them: there are few work-items for a GPU, and one row at a time they would wait for memory.
#include "bitmill.h"
#include "column_range.args.h"
#include "wide.h"
#define AHEAD 8

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
        for (uint r = first; r < end && a.joins == 0; r += AHEAD) {
            bm_wide next[AHEAD];
            #pragma unroll
            for (uint k = 0; k < AHEAD; k++) // the last row again behind the end
                next[k] = bm_load_wide(x, x_type, (size_t)min(r + k, end - 1) * (a.x_stride / 4), c, a.cols);
            #pragma unroll
            for (uint k = 0; k < AHEAD; k++)
                if (r + k < end) {
                    const bm_wide_int bits = in_order(bm_as_wide_int(next[k]));
                    const bm_wide moment = a.moment == 2 ? fabs(next[k]) : next[k] * next[k];
                    least = min(least, bits);
                    largest = max(largest, bits);
                    total += next[k];
                    total_moments += moment;
                }
        }
        for (uint r = first; r < end && a.joins != 0; r++) {
            const size_t row = (size_t)r * (a.part_stride / 4);
            const bm_wide low = bm_load_wide(x, x_type, (size_t)r * (a.x_stride / 4), c, a.cols);
            const bm_wide high = bm_load_wide((__global const uint *)part_maximum, BM_F32, row, c, a.cols);
            least = min(least, in_order(bm_as_wide_int(low)));
            largest = max(largest, in_order(bm_as_wide_int(high)));
            total += bm_load_wide((__global const uint *)part_sum, BM_F32, row, c, a.cols);
            if (a.moment != 0)
                total_moments += bm_load_wide((__global const uint *)part_moments, BM_F32, row, c, a.cols);
        }
        const size_t row = (size_t)s * (a.out_stride / 4);
        bm_store_wide((__global uint *)minimum, BM_F32, row, c, a.cols, bm_as_wide(in_order(least)));
        bm_store_wide((__global uint *)maximum, BM_F32, row, c, a.cols, bm_as_wide(in_order(largest)));
        bm_store_wide((__global uint *)sum, BM_F32, row, c, a.cols, total);
        if (a.moment != 0)
            bm_store_wide((__global uint *)moments, BM_F32, row, c, a.cols, total_moments);
    }
}
