// keep_better: row r of x becomes that of y where y_error[4 r] < x_error[4 r].   Twin: shaders/keep_better.comp
//
//   x, y              [rows, cols]  float32
//   x_error, y_error  [rows, 4]     float32, as kernel row_dot writes them
//
// A work-item copies four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "keep_better.args.h"

BM_KERNEL keep_better(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        if (y_error[4 * (ulong)r] < x_error[4 * (ulong)r])
            vstore4(vload4((ulong)r * (a.y_stride / 4) + q, y), (ulong)r * (a.x_stride / 4) + q, x);
    }
}
