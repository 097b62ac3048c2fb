// shift_scale: y[r, c] = (x[r, c] + shift[c]) factor[c].   Twin: shaders/shift_scale.comp
//
//   x, y           [rows, cols]  real; y may be x
//   shift, factor  [1, cols]     real; read where has_shift and has_factor are 1
//
// A work-item takes four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "shift_scale.args.h"

BM_KERNEL shift_scale(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        float4 v = bm_load4(x, x_type, (ulong)r * (a.x_stride / 4) + q);
        if (a.has_shift != 0)
            v += bm_load4(shift, shift_type, q);
        if (a.has_factor != 0)
            v *= bm_load4(factor, factor_type, q);
        bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + q, v);
    }
}
