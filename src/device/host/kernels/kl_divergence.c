// kl_divergence: kl[t] += sum over a slice of the vocabulary of p (log p - log q), p and q being softmaxes of logits.
#include "device/host_kernels.h"
#include <math.h>

void host_kl_divergence(const host_call *call)
{
    const bm_kl_divergence_scalars *a = call->scalars;
    const float *p_logits = call->buffers[0], *q_logits = call->buffers[1];
    const float *p_state = call->buffers[2], *q_state = call->buffers[3];
    float *kl = call->buffers[4];
    for (uint32_t t = 0; t < a->tokens; t++) {
        const double p_log_total = p_state[(uint64_t)t * 8] + log((double)p_state[(uint64_t)t * 8 + 1]);
        const double q_log_total = q_state[(uint64_t)t * 8] + log((double)q_state[(uint64_t)t * 8 + 1]);
        double sum = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const float p = p_logits[(uint64_t)t * a->p_stride + c], q = q_logits[(uint64_t)t * a->q_stride + c];
            if (!isfinite(p) || !isfinite(q))
                host_report(call, BM_REPORT_NOT_FINITE, t);
            const double log_p = p - p_log_total, log_q = q - q_log_total;
            sum += exp(log_p) * (log_p - log_q);
        }
        kl[t] = (float)(kl[t] + sum);
    }
}
