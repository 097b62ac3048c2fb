// gemm_int8: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j]; or the squared
// error of that beside the y that is wanted, of 16 features together.
//
// Sums are exact integers. What follows is float32, one operation, one rounding: every device gives these bits.
#include "base/thread.h"
#include "device/host/quantization.h"
#include "device/host_kernels.h"

static void outputs(void *user, uint64_t begin, uint64_t end)
{
    const host_call *call = user;
    const bm_gemm_int8_scalars *a = call->scalars;
    const int8_t *x = call->buffers[0], *w = call->buffers[1];
    for (uint64_t i = begin; i < end; i++)
        for (uint32_t first = 0; first < a->n; first += HOST_LOSS_COLS) {
            host_int8_block block = {0};
            for (uint32_t j = first; j < bm_min_u64(first + HOST_LOSS_COLS, a->n); j++)
                for (uint32_t l = 0; l < a->k; l++)
                    block.sums[j - first] += x[i * a->x_stride + l] * w[(uint64_t)j * a->w_stride + l];
            host_int8_outputs(call, a->n, a->y_stride, a->loss_stride, a->has_bias, a->compares, i, first, &block);
        }
}

void host_gemm_int8(const host_call *call)
{
    const bm_gemm_int8_scalars *a = call->scalars;
    host_call copy = *call;
    bm_parallel_for(a->m, 1, outputs, &copy);
}
