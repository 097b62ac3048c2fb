// scale_columns: x[r, c] = x[r, c] factors[c].   Twin: shaders/scale_columns.comp
//
//   x        [rows, cols]  float32
//   factors  [cols]        float32
//
// A work-item scales four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "scale_columns.args.h"

BM_KERNEL scale_columns(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const ulong at = (ulong)r * (a.x_stride / 4) + q;
        vstore4(vload4(at, x) * vload4(q, factors), at, x);
    }
}
