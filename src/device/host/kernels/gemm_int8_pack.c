// gemm_int8_pack: lays rows of codes out in panels of floats: element (r, l) goes to (j / COLS * k + l) * COLS + j % COLS, where
// j = first_row + r. Rows behind rows, up to padded_rows, become zeros.
#include "device/host_kernels.h"

void host_gemm_int8_pack(const host_call *call)
{
    const bm_gemm_int8_pack_scalars *a = call->scalars;
    const uint32_t COLS = call->tunables[1];
    const int8_t *codes = call->buffers[0];
    float *packed = call->buffers[1];
    for (uint64_t r = 0; r < a->padded_rows; r++)
        for (uint32_t l = 0; l < a->k; l++) {
            const uint64_t j = a->first_row + r;
            packed[(j / COLS * a->k + l) * COLS + j % COLS] = r < a->rows ? (float)codes[r * a->code_stride + l] : 0.0f;
        }
}
