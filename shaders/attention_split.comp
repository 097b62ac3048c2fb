// attention_split: attention of few tokens, each one's keys cut into parts: sums of every part, for attention_combine.   Twin: cl/attention_split.cl
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
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "attention_split.args.glsl"

const float LOWEST = -3.40282347e38;
const uint QUADS = HEAD_DIM / 4;
const uint LANES = QUADS > 32 ? 16 : 8;
const uint ROWS = GROUP / LANES;
const uint PARTS = (QUADS + LANES - 1) / LANES; // quads of a lane: lane, lane + LANES, ..
const uint KEYS = 4;                            // of a row at a time
const uint LOCAL_SIZE = 2 * KEYS * HEADS > 16 ? 2 * KEYS * HEADS * GROUP : 16 * GROUP;

shared vec4 shared_quads[LOCAL_SIZE / 4]; // partial scores, two rounds of them by turns: [key, head][lane]; in the end what rows have

// Quad i of a row of the matrix that begins at quad start; zeros behind the head.
vec4 head_quad(bm_words b, uint type, uint start, uint i)
{
    const vec4 quad = bm_load4(b, type, start + min(i, QUADS - 1));
    return i < QUADS ? quad : vec4(0.0);
}

void put(uint i, float value) { shared_quads[i / 4][i % 4] = value; }
float get(uint i) { return shared_quads[i / 4][i % 4]; }

void main()
{
    const uint lane = gl_LocalInvocationID.x, x = lane % LANES, row = lane / LANES;
    const uint share = a.heads / a.kv_heads, blocks = (share + HEADS - 1) / HEADS, works = a.tokens * a.kv_heads * blocks * a.splits;
    for (uint work = gl_WorkGroupID.x; work < works; work += gl_NumWorkGroups.x) { // same for the whole group
        const uint s = work % a.splits, block = work / a.splits % blocks, g = work / a.splits / blocks % a.kv_heads;
        const uint t = work / a.splits / blocks / a.kv_heads, first_head = g * share + block * HEADS;
        const uint heads = min(HEADS, share - block * HEADS); // the others repeat the last and are not stored
        const uint first = a.first_key.v[t], last = a.last_key.v[t];
        const uint count = last < first || last >= 0x80000000u ? 0 : last - first + 1, span = (count + a.splits - 1) / a.splits;
        const uint begin = first + min(s * span, count), end = first + min(s * span + span, count);
        vec4 query[HEADS][PARTS], sum_values[HEADS][PARTS];
        float slope[HEADS], largest[HEADS], sum[HEADS];
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            const uint head = first_head + min(h, heads - 1);
            slope[h] = 0.0;
            if (a.has_slopes != 0)
                slope[h] = a.slopes.v[head];
            largest[h] = LOWEST;
            sum[h] = 0.0;
            [[unroll]] for (uint p = 0; p < PARTS; p++) {
                query[h][p] = head_quad(a.q, q_type, t * (a.q_stride / 4) + head * QUADS, x + LANES * p) * a.scale;
                sum_values[h][p] = vec4(0.0);
            }
        }
        uint turn = 0;
        for (uint tile = begin; tile < end; tile += ROWS * KEYS) {
            const uint partial = turn * KEYS * HEADS * GROUP;
            turn ^= 1;
            uint start[KEYS];
            float dots[KEYS][HEADS];
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                start[j] = min(tile + row + ROWS * j, end - 1) * (a.k_stride / 4) + g * QUADS;
                [[unroll]] for (uint h = 0; h < HEADS; h++)
                    dots[j][h] = 0.0;
            }
            [[unroll]] for (uint p = 0; p < PARTS; p++)
                [[unroll]] for (uint j = 0; j < KEYS; j++) {
                    const vec4 w = head_quad(a.k, k_type, start[j], x + LANES * p);
                    [[unroll]] for (uint h = 0; h < HEADS; h++) {
                        const vec4 u = query[h][p];
                        dots[j][h] = fma(u.x, w.x, fma(u.y, w.y, fma(u.z, w.z, fma(u.w, w.w, dots[j][h]))));
                    }
                }
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                [[unroll]] for (uint h = 0; h < HEADS; h++)
                    put(partial + (j * HEADS + h) * GROUP + lane, dots[j][h]);
            barrier(); // the next tile writes the other half, so that one is enough
            float weight[KEYS][HEADS];
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                float grown = largest[h];
                [[unroll]] for (uint j = 0; j < KEYS; j++) {
                    const uint key = tile + row + ROWS * j;
                    float score = 0.0;
                    [[unroll]] for (uint l = 0; l < LANES; l += 4) {
                        const vec4 four = shared_quads[(partial + (j * HEADS + h) * GROUP + row * LANES + l) / 4];
                        score += (four.x + four.y) + (four.z + four.w);
                    }
                    weight[j][h] = key < end ? score + slope[h] * -float(last - key) : LOWEST;
                    grown = max(grown, weight[j][h]);
                }
                const float shrink = exp(largest[h] - grown);
                largest[h] = grown;
                sum[h] *= shrink;
                [[unroll]] for (uint j = 0; j < KEYS; j++) {
                    weight[j][h] = tile + row + ROWS * j < end ? exp(weight[j][h] - grown) : 0.0;
                    sum[h] += weight[j][h];
                }
                [[unroll]] for (uint p = 0; p < PARTS; p++)
                    sum_values[h][p] *= shrink;
            }
            [[unroll]] for (uint j = 0; j < KEYS; j++)
                start[j] = min(tile + row + ROWS * j, end - 1) * (a.v_stride / 4) + g * QUADS;
            [[unroll]] for (uint p = 0; p < PARTS; p++)
                [[unroll]] for (uint j = 0; j < KEYS; j++) {
                    const vec4 w = head_quad(a.v, v_type, start[j], x + LANES * p);
                    [[unroll]] for (uint h = 0; h < HEADS; h++)
                        sum_values[h][p] = fma(vec4(weight[j][h]), w, sum_values[h][p]);
                }
        }
        barrier(); // partial scores have been read
        [[unroll]] for (uint h = 0; h < HEADS; h++)
            if (x == 0)
                put(h * ROWS + row, largest[h]);
        barrier();
        float most[HEADS];
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            most[h] = LOWEST;
            for (uint r = 0; r < ROWS; r++)
                most[h] = max(most[h], get(h * ROWS + r));
            const float shrink = exp(largest[h] - most[h]); // 0 or 1 of a row that saw nothing: its sums are 0
            sum[h] *= shrink;
            [[unroll]] for (uint p = 0; p < PARTS; p++)
                sum_values[h][p] *= shrink;
        }
        barrier();
        [[unroll]] for (uint h = 0; h < HEADS; h++)
            if (x == 0)
                put(h * ROWS + row, sum[h]);
        barrier();
        [[unroll]] for (uint h = 0; h < HEADS; h++)
            if (lane == 0 && h < heads) {
                float total = 0.0;
                for (uint r = 0; r < ROWS; r++)
                    total += get(h * ROWS + r);
                const uint at = ((t * a.heads + first_head + h) * a.splits + s) * (a.parts_stride / 4) + QUADS;
                bm_floats4(uvec2(a.parts)).v[at] = vec4(most[h], total, 0.0, 0.0);
            }
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            barrier();
            [[unroll]] for (uint p = 0; p < PARTS; p++)
                shared_quads[(row * PARTS + p) * LANES + x] = sum_values[h][p];
            barrier();
            for (uint i = lane; i < QUADS && h < heads; i += GROUP) {
                vec4 total = vec4(0.0);
                for (uint r = 0; r < ROWS; r++)
                    total += shared_quads[r * PARTS * LANES + i];
                bm_floats4(uvec2(a.parts)).v[((t * a.heads + first_head + h) * a.splits + s) * (a.parts_stride / 4) + i] = total;
            }
        }
        barrier(); // the memory is reused by the next split
    }
}
