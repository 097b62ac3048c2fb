// kl_divergence: kl[t] += sum over a slice of the vocabulary of p (log p - log q), p and q being softmaxes of logits.   Twin: shaders/kl_divergence.comp
//
//   p_logits, q_logits  [tokens, cols]  float32: the same columns of both; NaN and infinity are reported with the token
//   p_state, q_state    [tokens, 8]     float32: finished states of cross_entropy (largest, sum, ...)
//   kl                  [1, tokens]     float32; added to
//
// One work-group walks one token at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes.
#include "exponential.h"
#include "kl_divergence.args.h"

BM_KERNEL kl_divergence(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part[GROUP];
    const uint lane = get_local_id(0), quads = (a.cols + 3) / 4;
    for (uint t = get_group_id(0); t < a.tokens; t += get_num_groups(0)) { // same t for the whole group
        const size_t p_row = (size_t)t * (a.p_stride / 4), q_row = (size_t)t * (a.q_stride / 4);
        const float p_log_sum = log(p_state[(size_t)t * 8 + 1]), p_largest = p_state[(size_t)t * 8];
        const float q_log_sum = log(q_state[(size_t)t * 8 + 1]), q_largest = q_state[(size_t)t * 8];
        float sum = 0.0f;
        bool good = true;
        for (uint i = lane; i < quads; i += GROUP) {
            const float4 p = bm_mask4(vload4(p_row + i, p_logits), i, a.cols, 0.0f);
            const float4 q = bm_mask4(vload4(q_row + i, q_logits), i, a.cols, 0.0f);
            good = good && !any((as_uint4(p) & 0x7fffffffu) >= 0x7f800000u) && !any((as_uint4(q) & 0x7fffffffu) >= 0x7f800000u);
            const float4 log_p = (p - p_largest) - p_log_sum, log_q = (q - q_largest) - q_log_sum;
            const float4 v = bm_mask4(bm_exp4(log_p) * (log_p - log_q), i, a.cols, 0.0f);
            sum += (v.x + v.y) + (v.z + v.w);
        }
        if (!good)
            bm_report(BM_REPORT_NOT_FINITE, t);
        part[lane] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                part[lane] += part[lane + s];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (lane == 0)
            kl[t] += part[0];
        barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next token
    }
}
