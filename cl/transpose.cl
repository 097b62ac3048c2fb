// transpose: y[c, r] = x[r, c].   Twin: shaders/transpose.comp
//
//   x  [rows, cols]  real
//   y  [cols, rows]  real; apart from x
//
// A work-item moves four rows of one column: neighbours read neighbours. Any number of work-groups is correct.
#include "bitmill.h"
#include "transpose.args.h"

BM_KERNEL transpose(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.rows + 3) / 4;
    const ulong count = (ulong)quads * a.cols;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint q = (uint)(i / a.cols), c = (uint)(i % a.cols);
        float v[4];
        for (uint k = 0; k < 4; k++)
            v[k] = 4 * q + k < a.rows ? bm_load(x, x_type, (ulong)(4 * q + k) * a.x_stride + c) : 0.0f;
        bm_store4(y, y_type, (ulong)c * (a.y_stride / 4) + q, (float4)(v[0], v[1], v[2], v[3]));
    }
}
