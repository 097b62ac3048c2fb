// scale_refit: the best step of one group of each row with its codes held. residual = (target - w) H over the group's
// columns, product = w H[group, group]. With w' = (1 + t) w the error changes by -2 t num + t^2 den, num = residual . w,
// den = product . w; least at t = num / den. The step is rounded to its stored type and kept only where the error falls.
// w becomes the rounded weights of the new step, change what was added.
// Source: least squares in one variable.
#include "device/host/quantization.h"
#include "device/host_kernels.h"

#include <math.h>

void host_scale_refit(const host_call *call)
{
    const bm_scale_refit_scalars *a = call->scalars;
    float *w = call->buffers[0], *step = call->buffers[3], *change = call->buffers[4];
    const float *residual = call->buffers[1], *product = call->buffers[2];
    for (uint64_t r = 0; r < a->rows; r++) {
        double num = 0, den = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            num += (double)residual[r * a->residual_stride + c] * (double)w[r * a->w_stride + c];
            den += (double)product[r * a->product_stride + c] * (double)w[r * a->w_stride + c];
        }
        const uint64_t at = r * a->step_stride + a->group;
        const float old = step[at];
        float now = old;
        if (den > 0) {
            const float wanted = (float)(old * (1 + num / den));
            now = wanted * old > 0 ? host_stored_step(wanted, (bm_dtype)a->scale_type) : old;
            const double t = (double)now / old - 1;
            if (!(2 * t * num - t * t * den > 0))
                now = old;
        }
        for (uint32_t c = 0; c < a->cols; c++) {
            const float before = w[r * a->w_stride + c], after = rintf(before / old) * now;
            w[r * a->w_stride + c] = now == old ? before : after;
            change[r * a->change_stride + c] = now == old ? 0 : after - before;
        }
        step[at] = now;
    }
}
