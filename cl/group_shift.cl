// group_shift: x[r, c] += factor offset of the column's group.   Twin: shaders/group_shift.comp
//
//   x       [rows, cols]  float32
//   offset  [rows, .]     float32; the columns from first_group on are those of x's groups
//
// group_size is a multiple of 4. A work-item changes four elements; any number of work-groups is correct.
#include "bitmill.h"
#include "group_shift.args.h"

BM_KERNEL group_shift(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * (a.x_stride / 4) + q;
        const float shift = a.factor * offset[(ulong)r * a.offset_stride + a.first_group + 4 * q / a.group_size];
        vstore4(vload4(at, x) + shift, at, x);
    }
}
