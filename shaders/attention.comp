// attention: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g],  g = h / (heads / kv_heads).   Twin: cl/attention.cl
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
// lavapipe ends all loops of a work-item silently after 65535 rounds together. The loops over d are unrolled by UNROLL, so
// that this is 29,000 keys for the widest heads and 87,000 for 64 (ops/attention.c refuses more); unrolled in full they
// take it 40 s to compile.
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "attention.args.glsl"
#include "soft_cap.glsl"

const float LOWEST = -3.40282347e38;
const uint UNROLL = 16;

void main()
{
    const uint share = a.heads / a.kv_heads;
    const uint count = a.tokens * a.heads;
    for (uint item = gl_GlobalInvocationID.x; item < count; item += gl_NumWorkGroups.x * GROUP) {
        const uint t = item % a.tokens, h = item / a.tokens;
        const uint first = a.first_key.v[t], last = a.last_key.v[t];
        const uint head = (h / share) * (HEAD_DIM / 4), row = t * (a.q_stride / 4) + h * (HEAD_DIM / 4);
        vec4 query[HEAD_DIM / 4], sum_values[HEAD_DIM / 4];
        for (uint d = 0; d < HEAD_DIM / 4; d++) {
            query[d] = bm_load4(a.q, q_type, row + d) * a.scale;
            sum_values[d] = vec4(0.0);
        }
        float slope = 0.0;
        if (a.has_slopes != 0)
            slope = a.slopes.v[h];
        float largest = LOWEST, sum = 0.0;
        for (uint key = first; key <= last && last < 0x80000000u; key += 4) {
            // Rows behind the last are read as the last one and weigh nothing.
            const uint key1 = min(key + 1, last), key2 = min(key + 2, last), key3 = min(key + 3, last);
            uint k0 = key * (a.k_stride / 4) + head, k1 = key1 * (a.k_stride / 4) + head;
            uint k2 = key2 * (a.k_stride / 4) + head, k3 = key3 * (a.k_stride / 4) + head;
            vec4 s0 = vec4(0.0), s1 = s0, s2 = s0, s3 = s0;
            [[dont_unroll]] for (uint block = 0; block < HEAD_DIM / 4; block += UNROLL)
                [[unroll]] for (uint i = 0; i < UNROLL; i++)
                    if (block + i < HEAD_DIM / 4) {
                        const uint d = block + i;
                        s0 += query[d] * bm_load4(a.k, k_type, k0 + d);
                        s1 += query[d] * bm_load4(a.k, k_type, k1 + d);
                        s2 += query[d] * bm_load4(a.k, k_type, k2 + d);
                        s3 += query[d] * bm_load4(a.k, k_type, k3 + d);
                    }
            const float bias = slope * -float(last - key);
            vec4 dots = vec4((s0.x + s0.y) + (s0.z + s0.w), (s1.x + s1.y) + (s1.z + s1.w), (s2.x + s2.y) + (s2.z + s2.w),
                             (s3.x + s3.y) + (s3.z + s3.w));
            if (a.cap > 0.0)
                dots = bm_soft_cap(dots, a.cap);
            const vec4 score = vec4(dots.x + bias, key + 1 <= last ? dots.y + (bias + slope) : LOWEST,
                                    key + 2 <= last ? dots.z + (bias + 2.0 * slope) : LOWEST,
                                    key + 3 <= last ? dots.w + (bias + 3.0 * slope) : LOWEST);
            const float grown = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
            const float shrink = exp(largest - grown);
            const vec4 p = exp(score - grown);
            largest = grown;
            sum = sum * shrink + ((p.x + p.y) + (p.z + p.w));
            k0 = key * (a.v_stride / 4) + head, k1 = key1 * (a.v_stride / 4) + head;
            k2 = key2 * (a.v_stride / 4) + head, k3 = key3 * (a.v_stride / 4) + head;
            [[dont_unroll]] for (uint block = 0; block < HEAD_DIM / 4; block += UNROLL)
                [[unroll]] for (uint i = 0; i < UNROLL; i++)
                    if (block + i < HEAD_DIM / 4) {
                        const uint d = block + i;
                        sum_values[d] = sum_values[d] * shrink + p.x * bm_load4(a.v, v_type, k0 + d) +
                                        p.y * bm_load4(a.v, v_type, k1 + d) + p.z * bm_load4(a.v, v_type, k2 + d) +
                                        p.w * bm_load4(a.v, v_type, k3 + d);
                    }
        }
        const float factor = sum > 0.0 ? 1.0 / sum : 0.0;
        for (uint d = 0; d < HEAD_DIM / 4; d++)
            bm_store4(a.y, y_type, t * (a.y_stride / 4) + h * (HEAD_DIM / 4) + d, sum_values[d] * factor);
    }
}
