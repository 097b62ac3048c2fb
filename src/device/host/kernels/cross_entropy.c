// cross_entropy: one slice of the vocabulary goes into each token's running softmax.
// state[t] = {largest logit, sum of exp(logit - largest), logit of the target, best logit, its column, target met, 0, 0}
#include "device/host_kernels.h"
#include <math.h>

void host_cross_entropy(const host_call *call)
{
    const bm_cross_entropy_scalars *a = call->scalars;
    const float *logits = call->buffers[0];
    const uint32_t *targets = call->buffers[1];
    float *state = call->buffers[2];
    for (uint32_t t = 0; t < a->tokens; t++) {
        const float *row = logits + (uint64_t)t * a->logits_stride;
        float *s = state + (uint64_t)t * 8;
        uint32_t best = 0;
        double sum = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            if (!isfinite(row[c]))
                host_report(call, BM_REPORT_NOT_FINITE, t);
            if (row[c] > row[best])
                best = c;
        }
        if (a->first)
            for (uint32_t i = 0; i < 8; i++)
                s[i] = 0;
        const double largest = a->first ? row[best] : fmaxf(s[0], row[best]);
        if (!a->first)
            sum = s[1] * exp(s[0] - largest);
        for (uint32_t c = 0; c < a->cols; c++)
            sum += exp(row[c] - largest);
        s[0] = (float)largest;
        s[1] = (float)sum;
        if (a->first || row[best] > s[3]) {
            s[3] = row[best];
            s[4] = (float)(a->first_column + best);
        }
        if (targets[t] >= a->first_column && targets[t] - a->first_column < a->cols) {
            s[2] = row[targets[t] - a->first_column];
            s[5] = 1;
        }
        s[6] = s[7] = 0;
    }
}
