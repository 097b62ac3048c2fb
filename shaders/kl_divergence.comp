// kl_divergence: kl[t] += sum over a slice of the vocabulary of p (log p - log q), p and q being softmaxes of logits.   Twin: cl/kl_divergence.cl
//
//   p_logits, q_logits  [tokens, cols]  float32: the same columns of both; NaN and infinity are reported with the token
//   p_state, q_state    [tokens, 8]     float32: finished states of cross_entropy (largest, sum, ...)
//   kl                  [1, tokens]     float32; added to
//
// One work-group walks one token at a time, so any number of groups is correct. Local memory: GROUP * 4 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "kl_divergence.args.glsl"

shared float part[GROUP];

void main()
{
    const uint lane = gl_LocalInvocationID.x, quads = (a.cols + 3) / 4;
    for (uint t = gl_WorkGroupID.x; t < a.tokens; t += gl_NumWorkGroups.x) { // same t for the whole group
        const uint p_row = t * (a.p_stride / 4), q_row = t * (a.q_stride / 4);
        const float p_log_sum = log(a.p_state.v[t * 8 + 1]), p_largest = a.p_state.v[t * 8];
        const float q_log_sum = log(a.q_state.v[t * 8 + 1]), q_largest = a.q_state.v[t * 8];
        float sum = 0.0;
        bool good = true;
        for (uint i = lane; i < quads; i += GROUP) {
            const vec4 p = bm_mask4(bm_floats4(uvec2(a.p_logits)).v[p_row + i], i, a.cols, 0.0);
            const vec4 q = bm_mask4(bm_floats4(uvec2(a.q_logits)).v[q_row + i], i, a.cols, 0.0);
            good = good && !any(greaterThanEqual(floatBitsToUint(p) & 0x7fffffffu, uvec4(0x7f800000u))) &&
                   !any(greaterThanEqual(floatBitsToUint(q) & 0x7fffffffu, uvec4(0x7f800000u)));
            const vec4 log_p = (p - p_largest) - p_log_sum, log_q = (q - q_largest) - q_log_sum;
            const vec4 v = bm_mask4(exp(log_p) * (log_p - log_q), i, a.cols, 0.0);
            sum += (v.x + v.y) + (v.z + v.w);
        }
        if (!good)
            bm_report(BM_REPORT_NOT_FINITE, t);
        part[lane] = sum;
        barrier();
        for (uint s = GROUP / 2; s > 0; s /= 2) {
            if (lane < s)
                part[lane] += part[lane + s];
            barrier();
        }
        if (lane == 0)
            a.kl.v[t] += part[0];
        barrier(); // part is reused by the next token
    }
}
