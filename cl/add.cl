// add: z[r, c] = x[r, c] + factor y[r, c], with halves half of that.   Twin: shaders/add.comp
//
//   x, y, z  [rows, cols]  real; z may be x or y
//
// A work-item adds four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "add.args.h"

BM_KERNEL add(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const float4 u = bm_load4(x, x_type, (ulong)r * (a.x_stride / 4) + q);
        const float4 v = bm_load4(y, y_type, (ulong)r * (a.y_stride / 4) + q);
        bm_store4(z, z_type, (ulong)r * (a.z_stride / 4) + q, (a.halves != 0 ? 0.5f : 1.0f) * (u + a.factor * v));
    }
}
