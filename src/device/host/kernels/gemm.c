// gemm: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j] and the y that was there. Squares above the
// diagonal are left out, if so asked.
//
// Squares of 16 x 16 outputs: 256 columns of 16 rows of x and of w are turned into doubles, then used 16 times each. The
// sum over l runs in the textbook's order.
#include "base/thread.h"
#include "device/host_kernels.h"

enum { SQUARE = 16, SLICE = 256 };

static void square(const host_call *call, uint32_t first_m, uint32_t first_n)
{
    const bm_gemm_scalars *a = call->scalars;
    const uint32_t rows = (uint32_t)bm_min_u64(SQUARE, a->m - first_m),
                   cols = (uint32_t)bm_min_u64(SQUARE, a->n - first_n);
    if (a->lower && (int64_t)first_n >= a->diagonal + (int64_t)first_m + SQUARE)
        return;
    double x[SQUARE][SLICE], w[SLICE][SQUARE] = {{0}}, row[SLICE], sum[SQUARE][SQUARE] = {{0}};
    for (uint32_t first_k = 0; first_k < a->k; first_k += SLICE) {
        const uint32_t count = (uint32_t)bm_min_u64(SLICE, a->k - first_k);
        for (uint32_t i = 0; i < rows; i++)
            host_load_row(call->buffers[0], call->types[0], (uint64_t)(first_m + i) * a->x_stride + first_k, count,
                          x[i]);
        for (uint32_t j = 0; j < cols; j++) {
            host_load_row(call->buffers[1], call->types[1], (uint64_t)(first_n + j) * a->w_stride + first_k, count,
                          row);
            for (uint32_t l = 0; l < count; l++)
                w[l][j] = row[l];
        }
        for (uint32_t i = 0; i < rows; i++)
            for (uint32_t l = 0; l < count; l++)
                for (uint32_t j = 0; j < SQUARE; j++)
                    sum[i][j] += x[i][l] * w[l][j];
    }
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t j = 0; j < cols; j++) {
            const uint64_t at = (uint64_t)(first_m + i) * a->y_stride + first_n + j;
            const double old = a->adds ? host_load(call->buffers[3], call->types[3], at) : 0.0;
            const double bias = a->has_bias ? host_load(call->buffers[2], call->types[2], first_n + j) : 0.0;
            host_store(call->buffers[3], call->types[3], at, old + bias + sum[i][j] * (double)a->factor);
        }
}

static void squares(void *user, uint64_t begin, uint64_t end)
{
    const host_call *call = user;
    const bm_gemm_scalars *a = call->scalars;
    const uint64_t across = bm_divide_up(a->n, SQUARE);
    for (uint64_t s = begin; s < end; s++)
        square(call, (uint32_t)(s / across) * SQUARE, (uint32_t)(s % across) * SQUARE);
}

void host_gemm(const host_call *call)
{
    const bm_gemm_scalars *a = call->scalars;
    host_call copy = *call;
    bm_parallel_for(bm_divide_up(a->m, SQUARE) * bm_divide_up(a->n, SQUARE), 16, squares, &copy);
}
