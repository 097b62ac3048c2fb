// kl_divergence: kl[t] += sum over a slice of the vocabulary of p (log p - log q), p and q being softmaxes of logits.   Twin: shaders/kl_divergence.comp
//
//   p_logits, q_logits  [tokens, cols]  float32: the same columns of both; NaN and infinity are reported with the token
//   p_state, q_state    [tokens, 8]     float32: finished states of cross_entropy (largest, sum, ...)
//   kl                  [1, tokens]     float32; added to
//
// One work-group walks one token at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes. A work-item takes
// WIDTH neighbours at a time, each with a sum of its own. GROUP, a power of two, may be 1. WIDTH: 4 or 16.
#include "bitmill.h"
#include "kl_divergence.args.h"
#include "wide.h"

BM_KERNEL kl_divergence(BM_PARAMETERS)
{
    BM_BEGIN
    __local float part[GROUP];
    const uint lane = get_local_id(0);
    for (uint t = get_group_id(0); t < a.tokens; t += get_num_groups(0)) { // same t for the whole group
        const size_t p_row = (size_t)t * (a.p_stride / 4), q_row = (size_t)t * (a.q_stride / 4);
        const float p_log_sum = log(p_state[(size_t)t * 8 + 1]), p_largest = p_state[(size_t)t * 8];
        const float q_log_sum = log(q_state[(size_t)t * 8 + 1]), q_largest = q_state[(size_t)t * 8];
        bm_wide sums = 0.0f;
        bm_wide_int bad = 0;
        for (uint c = lane * WIDTH; c < a.cols; c += GROUP * WIDTH) {
            const bm_wide p = bm_mask_wide(bm_load_wide((__global const uint *)p_logits, BM_F32, p_row, c, a.cols), c, a.cols);
            const bm_wide q = bm_mask_wide(bm_load_wide((__global const uint *)q_logits, BM_F32, q_row, c, a.cols), c, a.cols);
            bad |= (bm_as_wide_int(p) & 0x7f800000) == 0x7f800000 || (bm_as_wide_int(q) & 0x7f800000) == 0x7f800000;
            const bm_wide log_p = (p - p_largest) - p_log_sum, log_q = (q - q_largest) - q_log_sum;
            sums += bm_mask_wide(bm_exp_wide(log_p) * (log_p - log_q), c, a.cols);
        }
        const bool good = !any(bad);
        if (!good)
            bm_report(BM_REPORT_NOT_FINITE, t);
        part[lane] = bm_sum_wide(sums);
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
