// gptq_block: the columns of one block of GPTQ, in order: q = w rounded to its grid, error = (w - q) / u[c, c], and the
// columns behind it give way: w[j] -= error u[c, j]. w becomes the rounded weights, errors what columns behind the block
// are still to be told. u is the block on the diagonal of the upper factor of the inverse Hessian.
// Source: Frantar et al., GPTQ, 2023, algorithm 1.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#define MAX_COLS 128

void host_gptq_block(const host_call *call)
{
    const bm_gptq_block_scalars *a = call->scalars;
    float *w = call->buffers[0], *errors = call->buffers[5];
    const float *u = call->buffers[1], *step = call->buffers[2];
    const int32_t *zero_point = call->buffers[3];
    const uint32_t *group_index = call->buffers[4];
    for (uint64_t r = 0; r < a->rows; r++) {
        double row[MAX_COLS];
        for (uint32_t c = 0; c < a->cols; c++)
            row[c] = w[r * a->w_stride + c];
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint32_t group = a->has_group_index ? group_index[c] : (a->first_column + c) / a->group_size;
            const double q =
                host_nearest(row[c], step[r * a->step_stride + group], zero_point[r * a->step_stride + group], a->bits);
            const double error = (row[c] - q) / (double)u[(uint64_t)c * a->u_stride + c];
            for (uint32_t j = c + 1; j < a->cols; j++)
                row[j] -= error * (double)u[(uint64_t)c * a->u_stride + j];
            w[r * a->w_stride + c] = (float)q;
            errors[r * a->errors_stride + c] = (float)error;
        }
    }
}
