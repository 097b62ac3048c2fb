// keep_better: row r of x becomes that of y where y_error[4 r] < x_error[4 r].
#include "device/host_kernels.h"

#include <string.h>

void host_keep_better(const host_call *call)
{
    const bm_keep_better_scalars *a = call->scalars;
    float *x = call->buffers[0];
    const float *y = call->buffers[1], *x_error = call->buffers[2], *y_error = call->buffers[3];
    for (uint64_t r = 0; r < a->rows; r++)
        if (y_error[4 * r] < x_error[4 * r])
            memcpy(x + r * a->x_stride, y + r * a->y_stride, a->cols * sizeof *x);
}
