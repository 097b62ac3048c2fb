// diagonal: y[i] = x[i, i].   Twin: shaders/diagonal.comp
//
//   x  [rows, rows]  float32
//   y  [rows]        float32
//
// Any number of work-groups is correct.
#include "bitmill.h"
#include "diagonal.args.h"

BM_KERNEL diagonal(BM_PARAMETERS)
{
    BM_BEGIN
    for (uint i = get_global_id(0); i < a.rows; i += get_global_size(0))
        y[i] = x[(ulong)i * a.x_stride + i];
}
