// gemm_pack_weights: lays rows of w out in panels: element (j, l) goes to (j / COLS * k + l) * COLS + j % COLS.
// NaN and infinity are reported, and so is a value above float16's range.
#include "device/host_kernels.h"
#include <math.h>

void host_gemm_pack_weights(const host_call *call)
{
    const bm_gemm_pack_weights_scalars *a = call->scalars;
    const uint32_t COLS = call->tunables[1];
    for (uint32_t r = 0; r < a->rows; r++) {
        const uint32_t j = a->first_row + r;
        for (uint32_t l = 0; l < a->k; l++) {
            const double v = host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + l);
            if (!isfinite(v) || (call->types[1] == BM_DTYPE_F16 && fabs(v) >= 65520.0))
                host_report(call, BM_REPORT_NOT_FINITE, r * a->k + l);
            host_store(call->buffers[1], call->types[1], ((uint64_t)(j / COLS) * a->k + l) * COLS + j % COLS, v);
        }
    }
}
