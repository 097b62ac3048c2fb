// attention, variant _lanes: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], for CPU devices. No twin:
// Vulkan's drivers for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
//
//   q, y                 [tokens, heads * head_dim]   real
//   k, v                 [keys, kv_heads * head_dim]  real
//   first_key, last_key  [1, tokens]                  u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                     none (last_key < first_key) gives zeros
//   slopes               [1, heads]                   bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//   cap                                               0, or a score before its bias becomes cap tanh(score / cap)
//
// A work-item takes 16 neighbouring tokens of one head, one a lane of its vectors, and walks the keys eight at a time, from the
// smallest first_key to the largest last_key of its tokens; eight that no token sees are left out. An element of k or v is
// then one number for all lanes, and sums need no exchange between lanes. The softmax is online: scores of eight keys, new
// largest score, exponentials, rescaled output plus their product with v. A lane takes nothing from a row that its token does
// not see, not even NaN: where some do not see all eight keys, scores are replaced and products with v left out by lane.
// float32 rows are read in place, others are widened eight at a time. Any number of work-groups is correct; a work-item is
// long, so GROUP is 1. HEAD_DIM: a multiple of 8 up to 256.
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
#include "bitmill.h"
#include "attention.args.h"
#include "exponential.h"
#include "soft_cap.h"

#define LANES 16
#define KEYS 8 // of a block
#define LOWEST (-FLT_MAX)

// A row of k or v, as the loops below read it: element d of key j of the block.
#define K_ELEMENT(j, d) (k_type == BM_F32 ? ((__global const float *)k)[start[j] + (d)] : widened[j][d])
#define V_ELEMENT(j, d) (v_type == BM_F32 ? ((__global const float *)v)[start[j] + (d)] : widened[j][d])
// Whether each lane's token sees key j of the block.
#define SEES(j) (lane_first <= key + (j) && lane_end > key + (j))

// HEAD_DIM elements from element start on, of a 16-bit type.
inline void attention_widen(__global const uint *b, uint type, size_t start, float *out)
{
    for (uint d = 0; d < HEAD_DIM; d += 8) {
        if (type == BM_F16)
            vstore8(vload_half8(0, (__global const half *)b + start + d), 0, out + d);
        else
            vstore8(as_float8(convert_uint8(vload8(0, (__global const ushort *)b + start + d)) << 16), 0, out + d);
    }
}

BM_KERNEL attention_lanes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint share = a.heads / a.kv_heads, blocks = (a.tokens + LANES - 1) / LANES;
    const ulong count = (ulong)blocks * a.heads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint h = (uint)(i / blocks), first_token = (uint)(i % blocks) * LANES;
        const size_t q_head = (size_t)h * HEAD_DIM, kv_head = (size_t)(h / share) * HEAD_DIM;
        float16 query[HEAD_DIM], sum_values[HEAD_DIM];
        uint first_of[LANES], end_of[LANES], begin = 0xffffffffu, end = 0;
        for (uint lane = 0; lane < LANES; lane++) {
            const uint t = min(first_token + lane, a.tokens - 1);
            const bool sees = first_token + lane < a.tokens && last_key[t] >= first_key[t] && last_key[t] < 0x80000000u;
            first_of[lane] = sees ? first_key[t] : 0xffffffffu;
            end_of[lane] = sees ? last_key[t] + 1 : 0; // exclusive from here on
            begin = min(begin, first_of[lane]);
            end = max(end, end_of[lane]);
        }
        const uint16 lane_first = vload16(0, first_of), lane_end = vload16(0, end_of);
        for (uint d = 0; d < HEAD_DIM; d += 4) {
            float *lanes = (float *)(query + d);
            for (uint lane = 0; lane < LANES; lane++) {
                const uint t = min(first_token + lane, a.tokens - 1);
                const float4 x = bm_load4(q, q_type, (t * (size_t)a.q_stride + q_head + d) / 4) * a.scale;
                lanes[lane] = x.x;
                lanes[LANES + lane] = x.y;
                lanes[2 * LANES + lane] = x.z;
                lanes[3 * LANES + lane] = x.w;
            }
        }
        for (uint d = 0; d < HEAD_DIM; d++)
            sum_values[d] = 0.0f;
        float16 largest = LOWEST, sum = 0.0f;
        for (uint key = begin; key < end; key += KEYS) {
            if (!any(lane_first < key + KEYS && lane_end > key))
                continue;
            const bool all_seen = all(lane_first <= key && lane_end >= key + KEYS);
            float widened[KEYS][HEAD_DIM];
            size_t start[KEYS];
            float16 p[KEYS]; // scores, then exponentials
            #pragma unroll
            for (uint j = 0; j < KEYS; j++) {
                p[j] = 0.0f;
                start[j] = min(key + j, end - 1) * (size_t)a.k_stride + kv_head;
                if (k_type != BM_F32)
                    attention_widen(k, k_type, start[j], widened[j]);
            }
            for (uint d = 0; d < HEAD_DIM; d += 4)
                #pragma unroll
                for (uint e = d; e < d + 4; e++)
                    #pragma unroll
                    for (uint j = 0; j < KEYS; j++)
                        p[j] = fma(query[e], (float16)(K_ELEMENT(j, e)), p[j]);
            if (a.cap > 0.0f) {
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    p[j] = bm_soft_cap(p[j], a.cap);
            }
            if (a.has_slopes) {
                const float16 distance = convert_float16(lane_end - (key + 1)); // of lanes that see the first key
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    p[j] = fma((float16)slopes[h], (float)j - distance, p[j]);
            }
            if (!all_seen) {
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    p[j] = select((float16)LOWEST, p[j], SEES(j));
            }
            float16 grown = largest;
            #pragma unroll
            for (uint j = 0; j < KEYS; j++)
                grown = select(grown, p[j], p[j] > grown);
            const float16 shrink = bm_exp16(largest - grown);
            largest = grown;
            sum *= shrink;
            #pragma unroll
            for (uint j = 0; j < KEYS; j++) {
                p[j] = bm_exp16(p[j] - grown); // 0 where not seen; 1 where nothing was seen yet, which the first score rescales to 0
                sum += p[j];
                start[j] = min(key + j, end - 1) * (size_t)a.v_stride + kv_head;
                if (v_type != BM_F32)
                    attention_widen(v, v_type, start[j], widened[j]);
            }
            if (all_seen) {
                for (uint d = 0; d < HEAD_DIM; d += 4) {
                    float16 s[4];
                    #pragma unroll
                    for (uint e = 0; e < 4; e++)
                        s[e] = sum_values[d + e] * shrink;
                    #pragma unroll
                    for (uint j = 0; j < KEYS; j++)
                        #pragma unroll
                        for (uint e = 0; e < 4; e++)
                            s[e] = fma(p[j], (float16)(V_ELEMENT(j, d + e)), s[e]);
                    #pragma unroll
                    for (uint e = 0; e < 4; e++)
                        sum_values[d + e] = s[e];
                }
            } else {
                for (uint d = 0; d < HEAD_DIM; d++) {
                    float16 s = sum_values[d] * shrink;
                    #pragma unroll
                    for (uint j = 0; j < KEYS; j++)
                        s = select(s, fma(p[j], (float16)(V_ELEMENT(j, d)), s), SEES(j));
                    sum_values[d] = s;
                }
            }
        }
        const float16 factor = select((float16)0.0f, 1.0f / sum, sum > 0.0f);
        for (uint d = 0; d < HEAD_DIM; d++)
            sum_values[d] *= factor;
        for (uint lane = 0; lane < LANES && first_token + lane < a.tokens; lane++)
            for (uint d = 0; d < HEAD_DIM; d += 4) {
                const float *x = (const float *)(sum_values + d) + lane;
                bm_store4(y, y_type, ((first_token + lane) * (size_t)a.y_stride + q_head + d) / 4,
                          (float4)(x[0], x[LANES], x[2 * LANES], x[3 * LANES]));
            }
    }
}
