// attention_split: attention of few tokens, each one's keys cut into parts: sums of every part, for attention_combine.   Twin: shaders/attention_split.comp
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
// A work-group takes one split and up to HEADS heads that share its keys and values, which are read once for all of them. LANES
// work-items walk the same keys, each with its quads of the head; GROUP / LANES such rows of them take keys by turns, four at a time,
// each with its own largest scores and sums, which meet in the end. Partial scores of a row pass through local memory.
// GROUP: a power of two from 16 to 256. HEAD_DIM: a multiple of 8 up to 256. HEADS: 1, 2 or 4.
// Local memory: GROUP * 32 * HEADS bytes, at least GROUP * 64.
// Source: Dao, Haziza, Massa and Sizov, Flash-Decoding, 2023; Milakov and Gimelshein, 2018.
#include "bitmill.h"
#include "attention_split.args.h"

#define QUADS (HEAD_DIM / 4)
#define LANES (QUADS > 32 ? 16 : 8)
#define ROWS (GROUP / LANES)
#define PARTS ((QUADS + LANES - 1) / LANES) // quads of a lane: lane, lane + LANES, ..
#define KEYS 4                              // of a row at a time
#define LOCAL_SIZE (2 * KEYS * HEADS > 16 ? 2 * KEYS * HEADS * GROUP : 16 * GROUP)

// Quad i of a row of k or v that begins at quad start; zeros behind the head.
#define HEAD_QUAD(b, type, start, i) ((i) < QUADS ? bm_load4(b, type, (start) + min((i), (uint)QUADS - 1)) : (float4)(0.0f))

BM_MANY_REGISTERS BM_KERNEL attention_split(BM_PARAMETERS)
{
    BM_BEGIN
    __local float shared[LOCAL_SIZE]; // partial scores, two rounds of them by turns: [key, head][lane]; in the end what rows have
    const uint lane = get_local_id(0), x = lane % LANES, row = lane / LANES;
    const uint share = a.heads / a.kv_heads, blocks = (share + HEADS - 1) / HEADS, works = a.tokens * a.kv_heads * blocks * a.splits;
    for (uint work = get_group_id(0); work < works; work += get_num_groups(0)) { // same for the whole group
        const uint s = work % a.splits, block = work / a.splits % blocks, g = work / a.splits / blocks % a.kv_heads;
        const uint t = work / a.splits / blocks / a.kv_heads, first_head = g * share + block * HEADS;
        const uint heads = min((uint)HEADS, share - block * HEADS); // the others repeat the last and are not stored
        const uint first = first_key[t], last = last_key[t];
        const uint count = last < first || last >= 0x80000000u ? 0 : last - first + 1, span = (count + a.splits - 1) / a.splits;
        const uint begin = first + min(s * span, count), end = first + min(s * span + span, count);
        float4 query[HEADS][PARTS], sum_values[HEADS][PARTS];
        float slope[HEADS], largest[HEADS], sum[HEADS];
        #pragma unroll
        for (uint h = 0; h < HEADS; h++) {
            const uint head = first_head + min(h, heads - 1);
            slope[h] = a.has_slopes ? slopes[head] : 0.0f;
            largest[h] = -FLT_MAX;
            sum[h] = 0.0f;
            #pragma unroll
            for (uint p = 0; p < PARTS; p++) {
                query[h][p] = HEAD_QUAD(q, q_type, (size_t)t * (a.q_stride / 4) + head * QUADS, x + LANES * p) * a.scale;
                sum_values[h][p] = (float4)(0.0f);
            }
        }
        uint turn = 0;
        for (uint tile = begin; tile < end; tile += ROWS * KEYS, turn ^= 1) {
            __local float *partial = shared + turn * KEYS * HEADS * GROUP;
            size_t start[KEYS];
            float dot[KEYS][HEADS];
            #pragma unroll
            for (uint j = 0; j < KEYS; j++) {
                start[j] = (size_t)min(tile + row + ROWS * j, end - 1) * (a.k_stride / 4) + g * QUADS;
                for (uint h = 0; h < HEADS; h++)
                    dot[j][h] = 0.0f;
            }
            #pragma unroll
            for (uint p = 0; p < PARTS; p++)
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    const float4 w = HEAD_QUAD(k, k_type, start[j], x + LANES * p);
                    #pragma unroll
                    for (uint h = 0; h < HEADS; h++) {
                        const float4 u = query[h][p];
                        dot[j][h] = fma(u.x, w.x, fma(u.y, w.y, fma(u.z, w.z, fma(u.w, w.w, dot[j][h]))));
                    }
                }
            #pragma unroll
            for (uint j = 0; j < KEYS; j++)
                #pragma unroll
                for (uint h = 0; h < HEADS; h++)
                    partial[(j * HEADS + h) * GROUP + lane] = dot[j][h];
            barrier(CLK_LOCAL_MEM_FENCE); // the next tile writes the other half, so that one is enough
            float weight[KEYS][HEADS];
            #pragma unroll
            for (uint h = 0; h < HEADS; h++) {
                float grown = largest[h];
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    const uint key = tile + row + ROWS * j;
                    float score = 0.0f;
                    #pragma unroll
                    for (uint l = 0; l < LANES; l += 4) {
                        const float4 four = vload4(((j * HEADS + h) * GROUP + row * LANES + l) / 4, partial);
                        score += (four.x + four.y) + (four.z + four.w);
                    }
                    weight[j][h] = key < end ? score + slope[h] * -(float)(last - key) : -FLT_MAX;
                    grown = fmax(grown, weight[j][h]);
                }
                const float shrink = exp(largest[h] - grown);
                largest[h] = grown;
                sum[h] *= shrink;
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    weight[j][h] = tile + row + ROWS * j < end ? exp(weight[j][h] - grown) : 0.0f;
                    sum[h] += weight[j][h];
                }
                #pragma unroll
                for (uint p = 0; p < PARTS; p++)
                    sum_values[h][p] *= shrink;
            }
            #pragma unroll
            for (uint j = 0; j < KEYS; j++)
                start[j] = (size_t)min(tile + row + ROWS * j, end - 1) * (a.v_stride / 4) + g * QUADS;
            #pragma unroll
            for (uint p = 0; p < PARTS; p++)
                #pragma unroll
                for (uint j = 0; j < KEYS; j++) {
                    const float4 w = HEAD_QUAD(v, v_type, start[j], x + LANES * p);
                    #pragma unroll
                    for (uint h = 0; h < HEADS; h++)
                        sum_values[h][p] = fma((float4)(weight[j][h]), w, sum_values[h][p]);
                }
        }
        barrier(CLK_LOCAL_MEM_FENCE); // partial scores have been read
        for (uint h = 0; h < HEADS; h++)
            if (x == 0)
                shared[h * ROWS + row] = largest[h];
        barrier(CLK_LOCAL_MEM_FENCE);
        float most[HEADS];
        #pragma unroll
        for (uint h = 0; h < HEADS; h++) {
            most[h] = -FLT_MAX;
            for (uint r = 0; r < ROWS; r++)
                most[h] = fmax(most[h], shared[h * ROWS + r]);
            const float shrink = exp(largest[h] - most[h]); // 0 or 1 of a row that saw nothing: its sums are 0
            sum[h] *= shrink;
            #pragma unroll
            for (uint p = 0; p < PARTS; p++)
                sum_values[h][p] *= shrink;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint h = 0; h < HEADS; h++)
            if (x == 0)
                shared[h * ROWS + row] = sum[h];
        barrier(CLK_LOCAL_MEM_FENCE);
        #pragma unroll
        for (uint h = 0; h < HEADS; h++)
            if (lane == 0 && h < heads) {
                float total = 0.0f;
                for (uint r = 0; r < ROWS; r++)
                    total += shared[h * ROWS + r];
                const size_t at = (((size_t)t * a.heads + first_head + h) * a.splits + s) * (a.parts_stride / 4) + QUADS;
                vstore4((float4)(most[h], total, 0.0f, 0.0f), at, parts);
            }
        #pragma unroll
        for (uint h = 0; h < HEADS; h++) {
            barrier(CLK_LOCAL_MEM_FENCE);
            #pragma unroll
            for (uint p = 0; p < PARTS; p++)
                vstore4(sum_values[h][p], (row * PARTS + p) * LANES + x, shared);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint i = lane; i < QUADS && h < heads; i += GROUP) {
                float4 total = (float4)(0.0f);
                for (uint r = 0; r < ROWS; r++)
                    total += vload4(r * PARTS * LANES + i, shared);
                vstore4(total, (((size_t)t * a.heads + first_head + h) * a.splits + s) * (a.parts_stride / 4) + i, parts);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE); // shared is reused by the next split
    }
}
