// attention_split, variant _wide: attention of few tokens, each one's keys cut into parts: sums of every part, for attention_combine, for
// CPU devices. No twin: Vulkan's drivers for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
//
//   q                    [tokens, heads * head_dim]   real
//   k, v                 [keys, kv_heads * head_dim]  real
//   first_key, last_key  [1, tokens]                  u32: token t sees rows first_key[t] .. last_key[t] of k and v
//   slopes               [1, heads]                   bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//   parts                [tokens * heads * splits, head_dim + 2]  float32: row (t * heads + h) * splits + s has, of the keys of
//                        split s, sum exp(score - largest) v[key, g], then largest, then sum exp(score - largest)
//
// score = scale q[t, h] . k[key, g] + bias, g = h / (heads / kv_heads). Split s of a token that sees n keys has ceil(n / splits) of
// them from first_key[t] + s ceil(n / splits) on; one without keys has zeros, and -FLT_MAX for largest.
//
// A work-item takes one split and up to HEADS heads that share its keys and values, and walks 16 / HEADS keys at a time: 16 scores, as
// vectors along the head that are added up crosswise into one vector of scores. GROUP: any, 1 is best.
// HEAD_DIM: a multiple of 8 up to 256. HEADS: 1, 2 or 4.
#include "bitmill.h"
#include "attention_split.args.h"

#define KEYS (16 / HEADS)
#if HEAD_DIM % 16 == 0
typedef float16 vector;
#define WIDTH 16
#else
typedef float8 vector;
#define WIDTH 8
#endif
#define PARTS (HEAD_DIM / WIDTH)

// WIDTH elements from element start on.
inline vector split_load(__global const uint *b, uint type, size_t start)
{
#if WIDTH == 16
    if (type == BM_F32)
        return vload16(0, (__global const float *)b + start);
    if (type == BM_F16)
        return vload_half16(0, (__global const half *)b + start);
    return as_float16(convert_uint16(vload16(0, (__global const ushort *)b + start)) << 16);
#else
    if (type == BM_F32)
        return vload8(0, (__global const float *)b + start);
    if (type == BM_F16)
        return vload_half8(0, (__global const half *)b + start);
    return as_float8(convert_uint8(vload8(0, (__global const ushort *)b + start)) << 16);
#endif
}

// Half sums of two vectors side by side.
inline float16 split_halves(vector u, vector v)
{
#if WIDTH == 16
    return (float16)(u.lo, v.lo) + (float16)(u.hi, v.hi);
#else
    return (float16)(u, v);
#endif
}

// The sums of 16 vectors as one.
inline float16 split_sums(const vector *x)
{
    float16 y[8];
    #pragma unroll
    for (uint i = 0; i < 8; i++)
        y[i] = split_halves(x[2 * i], x[2 * i + 1]);
    #pragma unroll
    for (uint i = 0; i < 4; i++) {
        const float16 u = y[2 * i], v = y[2 * i + 1];
        y[i] = (float16)(u.s0123, u.s89ab, v.s0123, v.s89ab) + (float16)(u.s4567, u.scdef, v.s4567, v.scdef);
    }
    #pragma unroll
    for (uint i = 0; i < 2; i++) {
        const float16 u = y[2 * i], v = y[2 * i + 1];
        y[i] = (float16)(u.s01, u.s45, u.s89, u.scd, v.s01, v.s45, v.s89, v.scd) +
               (float16)(u.s23, u.s67, u.sab, u.sef, v.s23, v.s67, v.sab, v.sef);
    }
    return (float16)(y[0].even, y[1].even) + (float16)(y[0].odd, y[1].odd);
}

BM_KERNEL attention_split_wide(BM_PARAMETERS)
{
    BM_BEGIN
    const uint share = a.heads / a.kv_heads, blocks = (share + HEADS - 1) / HEADS, works = a.tokens * a.kv_heads * blocks * a.splits;
    for (uint work = (uint)get_global_id(0); work < works; work += (uint)get_global_size(0)) {
        const uint s = work % a.splits, block = work / a.splits % blocks, g = work / a.splits / blocks % a.kv_heads;
        const uint t = work / a.splits / blocks / a.kv_heads, first_head = g * share + block * HEADS;
        const uint heads = min((uint)HEADS, share - block * HEADS); // the others repeat the last and are not stored
        const uint first = first_key[t], last = last_key[t];
        const uint count = last < first || last >= 0x80000000u ? 0 : last - first + 1, span = (count + a.splits - 1) / a.splits;
        const uint begin = first + min(s * span, count), end = first + min(s * span + span, count);
        vector query[HEADS][PARTS], sum_values[HEADS][PARTS];
        float largest[HEADS], sum[HEADS], biases[16];
        for (uint h = 0; h < HEADS; h++) {
            const uint head = first_head + min(h, heads - 1);
            largest[h] = -FLT_MAX;
            sum[h] = 0.0f;
            for (uint j = 0; j < KEYS; j++)
                biases[h * KEYS + j] = a.has_slopes ? slopes[head] : 0.0f;
            for (uint p = 0; p < PARTS; p++) {
                query[h][p] = split_load(q, q_type, (size_t)t * a.q_stride + head * HEAD_DIM + WIDTH * p) * a.scale;
                sum_values[h][p] = 0.0f;
            }
        }
        const float16 slope = vload16(0, biases), turn = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        const float16 offset = turn - KEYS * floor(turn / KEYS); // of each lane's key
        for (uint key = begin; key < end; key += KEYS) {
            const uint seen = min((uint)KEYS, end - key);
            size_t start[KEYS];
            vector dots[16];
            float weight[16];
            #pragma unroll
            for (uint i = 0; i < 16; i++)
                dots[i] = 0.0f;
            #pragma unroll
            for (uint j = 0; j < KEYS; j++)
                start[j] = (size_t)min(key + j, end - 1) * a.k_stride + g * HEAD_DIM;
            for (uint p = 0; p < PARTS; p++) {
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    const vector w = split_load(k, k_type, start[j] + WIDTH * p);
                    #pragma unroll
                    for (uint h = 0; h < HEADS; h++)
                        dots[h * KEYS + j] = fma(query[h][p], w, dots[h * KEYS + j]);
                }
            }
            float16 score = fma(slope, offset - (float)(last - key), split_sums(dots));
            score = offset < (float)seen ? score : (float16)(-FLT_MAX);
            vstore16(score, 0, weight);
            float grown[HEADS], most[16];
            #pragma unroll
            for (uint h = 0; h < HEADS; h++) {
                grown[h] = largest[h];
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    grown[h] = weight[h * KEYS + j] > grown[h] ? weight[h * KEYS + j] : grown[h];
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    most[h * KEYS + j] = grown[h];
                if (grown[h] > largest[h]) {
                    const float shrink = exp(largest[h] - grown[h]);
                    sum[h] *= shrink;
                    for (uint p = 0; p < PARTS; p++)
                        sum_values[h][p] *= shrink;
                    largest[h] = grown[h];
                }
            }
            score = offset < (float)seen ? exp(score - vload16(0, most)) : (float16)(0.0f);
            vstore16(score, 0, weight);
            #pragma unroll
            for (uint h = 0; h < HEADS; h++)
                #pragma unroll
                for (uint j = 0; j < KEYS; j++)
                    sum[h] += weight[h * KEYS + j];
            #pragma unroll
            for (uint j = 0; j < KEYS; j++)
                start[j] = (size_t)min(key + j, end - 1) * a.v_stride + g * HEAD_DIM;
            for (uint p = 0; p < PARTS; p++) {
                vector y[HEADS];
                #pragma unroll
                for (uint h = 0; h < HEADS; h++)
                    y[h] = sum_values[h][p];
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    const vector w = split_load(v, v_type, start[j] + WIDTH * p);
                    #pragma unroll
                    for (uint h = 0; h < HEADS; h++)
                        y[h] = fma((vector)(weight[h * KEYS + j]), w, y[h]);
                }
                #pragma unroll
                for (uint h = 0; h < HEADS; h++)
                    sum_values[h][p] = y[h];
            }
        }
        for (uint h = 0; h < heads; h++) {
            const size_t at = (((size_t)t * a.heads + first_head + h) * a.splits + s) * a.parts_stride;
            for (uint p = 0; p < PARTS; p++)
#if WIDTH == 16
                vstore16(sum_values[h][p], 0, parts + at + WIDTH * p);
#else
                vstore8(sum_values[h][p], 0, parts + at + WIDTH * p);
#endif
            vstore4((float4)(largest[h], sum[h], 0.0f, 0.0f), 0, parts + at + HEAD_DIM);
        }
    }
}
