// convert: y[r, c] = x[r, c], from one storage type to another; NaN and infinity are reported.  Twin: shaders/convert.comp
//
//   x  [rows, cols]  real
//   y  [rows, cols]  real, rounded half to even; a value above float16's range becomes infinity and is reported
//
// A work-item converts four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "convert.args.h"

BM_KERNEL convert(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const float4 v = bm_mask4(bm_load4(x, x_type, (ulong)r * (a.x_stride / 4) + q), q, a.cols, 0.0f);
        const bool fits = y_type != BM_F16 || all(fabs(v) < 65520.0f);
        if (!(bm_is_finite(v.x) && bm_is_finite(v.y) && bm_is_finite(v.z) && bm_is_finite(v.w) && fits))
            bm_report(BM_REPORT_NOT_FINITE, r * a.cols + 4 * q);
        bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + q, v);
    }
}
