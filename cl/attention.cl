// attention: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g],  g = h / (heads / kv_heads).   Twin: shaders/attention.comp
//
//   q, y                 [tokens, heads * head_dim]   real
//   k, v                 [keys, kv_heads * head_dim]  real
//   first_key, last_key  [1, tokens]                  u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                     none (last_key < first_key) gives zeros
//   slopes               [1, heads]                   bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//   cap                                               0, or a score before its bias becomes cap tanh(score / cap)
//
// That one rule covers causal masks, sliding windows, packed sequences and a key/value cache. head_dim = HEAD_DIM, a
// multiple of 8 up to 256. The softmax is online: largest score so far, sum and weighted values are rescaled when the
// largest score grows (four keys at a time), so no tokens x keys matrix exists.
// A work-item owns one (token, head), neighbours have neighbouring tokens; any number of work-groups is correct.
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
#include "bitmill.h"
#include "attention.args.h"
#include "soft_cap.h"

BM_MANY_REGISTERS BM_KERNEL attention(BM_PARAMETERS)
{
    BM_BEGIN
    const uint share = a.heads / a.kv_heads;
    const ulong count = (ulong)a.tokens * a.heads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint t = (uint)(i % a.tokens), h = (uint)(i / a.tokens);
        const uint first = first_key[t], last = last_key[t];
        const ulong head = (ulong)(h / share) * (HEAD_DIM / 4), row = ((ulong)t * a.q_stride) / 4 + h * (HEAD_DIM / 4);
        float4 query[HEAD_DIM / 4], sum_values[HEAD_DIM / 4];
        for (uint d = 0; d < HEAD_DIM / 4; d++) {
            query[d] = bm_load4(q, q_type, row + d) * a.scale;
            sum_values[d] = (float4)(0.0f);
        }
        const float slope = a.has_slopes ? slopes[h] : 0.0f;
        float largest = -FLT_MAX, sum = 0.0f;
        for (uint key = first; key <= last && last < 0x80000000u; key += 4) {
            // Rows behind the last are read as the last one and weigh nothing.
            const uint key1 = min(key + 1, last), key2 = min(key + 2, last), key3 = min(key + 3, last);
            ulong k0 = (ulong)key * (a.k_stride / 4) + head, k1 = (ulong)key1 * (a.k_stride / 4) + head;
            ulong k2 = (ulong)key2 * (a.k_stride / 4) + head, k3 = (ulong)key3 * (a.k_stride / 4) + head;
            float4 s0 = (float4)(0.0f), s1 = s0, s2 = s0, s3 = s0;
            for (uint d = 0; d < HEAD_DIM / 4; d++) {
                s0 += query[d] * bm_load4(k, k_type, k0 + d);
                s1 += query[d] * bm_load4(k, k_type, k1 + d);
                s2 += query[d] * bm_load4(k, k_type, k2 + d);
                s3 += query[d] * bm_load4(k, k_type, k3 + d);
            }
            const float bias = slope * -(float)(last - key);
            float4 dot = (float4)((s0.x + s0.y) + (s0.z + s0.w), (s1.x + s1.y) + (s1.z + s1.w), (s2.x + s2.y) + (s2.z + s2.w),
                                  (s3.x + s3.y) + (s3.z + s3.w));
            if (a.cap > 0.0f)
                dot = bm_soft_cap(dot, a.cap);
            const float4 score = (float4)(dot.x + bias, key + 1 <= last ? dot.y + (bias + slope) : -FLT_MAX,
                                          key + 2 <= last ? dot.z + (bias + 2.0f * slope) : -FLT_MAX,
                                          key + 3 <= last ? dot.w + (bias + 3.0f * slope) : -FLT_MAX);
            const float grown = fmax(largest, fmax(fmax(score.x, score.y), fmax(score.z, score.w)));
            const float shrink = exp(largest - grown);
            const float4 p = exp(score - grown);
            largest = grown;
            sum = sum * shrink + ((p.x + p.y) + (p.z + p.w));
            k0 = (ulong)key * (a.v_stride / 4) + head, k1 = (ulong)key1 * (a.v_stride / 4) + head;
            k2 = (ulong)key2 * (a.v_stride / 4) + head, k3 = (ulong)key3 * (a.v_stride / 4) + head;
            for (uint d = 0; d < HEAD_DIM / 4; d++)
                sum_values[d] = sum_values[d] * shrink + p.x * bm_load4(v, v_type, k0 + d) + p.y * bm_load4(v, v_type, k1 + d) +
                                p.z * bm_load4(v, v_type, k2 + d) + p.w * bm_load4(v, v_type, k3 + d);
        }
        const float factor = sum > 0.0f ? 1.0f / sum : 0.0f;
        for (uint d = 0; d < HEAD_DIM / 4; d++)
            bm_store4(y, y_type, (ulong)t * (a.y_stride / 4) + h * (HEAD_DIM / 4) + d, sum_values[d] * factor);
    }
}
