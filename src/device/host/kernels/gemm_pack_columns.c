// gemm_pack_columns: lays the columns of x out in panels: element (r, c) goes to (c / COLS * rows + r) * COLS + c % COLS.
#include "device/host_kernels.h"

void host_gemm_pack_columns(const host_call *call)
{
    const bm_gemm_pack_columns_scalars *a = call->scalars;
    const uint32_t COLS = call->tunables[1];
    float *packed = call->buffers[1];
    for (uint32_t c = 0; c < bm_round_up(a->cols, COLS); c++)
        for (uint32_t r = 0; r < a->rows; r++)
            packed[((uint64_t)(c / COLS) * a->rows + r) * COLS + c % COLS] =
                c < a->cols ? (float)host_load(call->buffers[0], call->types[0], (uint64_t)r * a->x_stride + c) : 0.0f;
}
