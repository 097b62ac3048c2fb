// permute: y[i, j] = x[row_order[i], col_order[j]], plus diagonal[row_order[i]] where the two indices are equal. Where
// row_order is absent rows are first_row, first_row + 1, ...; columns 0, 1, ...; with lower, x is symmetric and only its lower triangle is read.
#include "device/host_kernels.h"

void host_permute(const host_call *call)
{
    const bm_permute_scalars *a = call->scalars;
    const float *x = call->buffers[0], *diagonal = call->buffers[3];
    const uint32_t *row_order = call->buffers[1], *col_order = call->buffers[2];
    float *y = call->buffers[4];
    for (uint32_t i = 0; i < a->rows; i++)
        for (uint32_t j = 0; j < a->cols; j++) {
            const uint32_t r = a->has_row_order ? row_order[i] : a->first_row + i,
                           c = a->has_col_order ? col_order[j] : j;
            const bool above = a->lower && c > r;
            const float value = x[(uint64_t)(above ? c : r) * a->x_stride + (above ? r : c)];
            y[(uint64_t)i * a->y_stride + j] = r == c && a->has_diagonal ? value + diagonal[r] : value;
        }
}
