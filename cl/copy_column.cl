// copy_column: y[r, column] = x[r, 0].   Twin: shaders/copy_column.comp
//
//   x  [rows, 1]  32-bit words
//   y  [rows, .]  32-bit words
//
// Any number of work-groups is correct.
#include "bitmill.h"
#include "copy_column.args.h"

BM_KERNEL copy_column(BM_PARAMETERS)
{
    BM_BEGIN
    for (uint r = get_global_id(0); r < a.rows; r += get_global_size(0))
        y[(ulong)r * a.y_stride + a.column] = x[(ulong)r * a.x_stride];
}
