// soft_cap: y[r, c] = cap tanh(x[r, c] / cap).   Twin: shaders/soft_cap.comp
//
//   x, y  [rows, cols]  real; y may be x
//   cap                 positive
//
// A work-item takes four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "soft_cap.args.h"
#include "soft_cap.h"

BM_KERNEL soft_cap(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        bm_store4(y, y_type, (ulong)r * (a.y_stride / 4) + q,
                  bm_soft_cap(bm_load4(x, x_type, (ulong)r * (a.x_stride / 4) + q), a.cap));
    }
}
