// convert: y[r, c] = x[r, c], from one storage type to another; NaN and infinity are reported.
#include "device/host_kernels.h"
#include <math.h>

void host_convert(const host_call *call)
{
    const bm_convert_scalars *a = call->scalars;
    const bool y_is_f16 = call->types[1] == BM_DTYPE_F16;
    for (uint32_t r = 0; r < a->rows; r++) {
        for (uint32_t c = 0; c < a->cols; c++) {
            const double v = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c);
            if (!isfinite(v) || (y_is_f16 && fabs(v) >= 65520.0))
                host_report(call, BM_REPORT_NOT_FINITE, r * a->cols + c / 4 * 4);
            host_store(call->buffers[1], call->types[1], (uint64_t)r * a->y_stride + c, v);
        }
    }
}
