// attention, variant _tile: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], for GPUs.   Twin: cl/attention_tile.cl
//
//   q, y                 [tokens, heads * head_dim]   real
//   k, v                 [keys, kv_heads * head_dim]  real
//   first_key, last_key  [1, tokens]                  u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                     none (last_key < first_key) gives zeros
//   slopes               [1, heads]                   bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//   cap                                               0, or a score before its bias becomes cap tanh(score / cap)
//
// A work-group takes GROUP / 4 tokens of one head and walks the keys in tiles of 64, from the smallest first_key to the
// largest last_key of its tokens; rows of v in between that a token does not see weigh 0, but must be finite. Lane (x, y) of
// 16 x GROUP / 16 owns the tokens 4 y .. 4 y + 3 and, of the scores, the keys x + 16 j; of the output, the quads x + 16 j.
// q and k pass through local memory in slices of 16 columns, v in slices of 8 rows. The softmax is online: scores of a tile,
// new largest score of each token, exponentials (kept in local memory), rescaled output plus their product with v.
// The last tokens see the most keys under a causal mask, so their blocks start first.
// GROUP: a power of two from 64 to 256. HEAD_DIM: a multiple of 8 up to 256.
// Local memory: GROUP * 64 bytes for exponentials, and the larger of (GROUP / 4 + 64) * 64 and 32 * HEAD_DIM for slices.
// Source: Dao, FlashAttention-2, 2023, algorithm 1; Milakov and Gimelshein, 2018.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "attention.args.glsl"
#include "soft_cap.glsl"

const float LOWEST = -3.40282347e38;
const uint TOKENS = GROUP / 4; // of a work-group
const uint KEYS = 64;          // of a tile
const uint QUADS = HEAD_DIM / 4;
const uint PARTS = (QUADS + 15) / 16; // quads of the output that a lane owns
const uint SLICE_SIZE = (TOKENS + KEYS) * 4 > 8 * QUADS ? (TOKENS + KEYS) * 4 : 8 * QUADS;

shared vec4 slice[SLICE_SIZE];      // q and k: [quad of the slice][row]; v: [row][quad]
shared float weight[TOKENS * KEYS]; // scores' maxima, then exponentials: [token][key]
shared uint range[2 * TOKENS];      // first and last key of each token

void main()
{
    const uint lane = gl_LocalInvocationID.x, x = lane % 16, row = lane / 16 * 4; // row: first of the lane's four tokens
    const uint share = a.heads / a.kv_heads, blocks = (a.tokens + TOKENS - 1) / TOKENS;
    for (uint work = gl_WorkGroupID.x; work < blocks * a.heads; work += gl_NumWorkGroups.x) { // same for the whole group
        const uint first_token = (blocks - 1 - work / a.heads) * TOKENS, h = work % a.heads;
        const uint q_head = h * QUADS, kv_head = h / share * QUADS;
        float slope = 0.0;
        if (a.has_slopes != 0)
            slope = a.slopes.v[h];
        if (lane < TOKENS) {
            const uint t = min(first_token + lane, a.tokens - 1);
            const bool sees = first_token + lane < a.tokens && a.last_key.v[t] >= a.first_key.v[t] && a.last_key.v[t] < 0x80000000u;
            range[lane] = sees ? a.first_key.v[t] : 0xffffffffu;
            range[TOKENS + lane] = sees ? a.last_key.v[t] + 1 : 0; // exclusive from here on
        }
        barrier();
        uint begin = 0xffffffffu, end = 0;
        for (uint i = 0; i < TOKENS; i++) {
            begin = min(begin, range[i]);
            end = max(end, range[TOKENS + i]);
        }
        vec4 sum_values[4][PARTS];
        float largest[4], sum[4];
        for (uint i = 0; i < 4; i++) {
            largest[i] = LOWEST;
            sum[i] = 0.0; // of the lane's own keys
            for (uint j = 0; j < PARTS; j++)
                sum_values[i][j] = vec4(0.0);
        }
        for (uint tile = begin; tile < end; tile += KEYS) {
            float score[4][4];
            for (uint i = 0; i < 4; i++)
                for (uint j = 0; j < 4; j++)
                    score[i][j] = 0.0;
            for (uint d = 0; d < QUADS; d += 4) {
                for (uint i = lane; i < TOKENS * 4; i += GROUP) {
                    const uint quad = i % 4, t = min(first_token + i / 4, a.tokens - 1);
                    slice[quad * TOKENS + i / 4] =
                        d + quad < QUADS ? bm_load4(a.q, q_type, t * (a.q_stride / 4) + q_head + d + quad) : vec4(0.0);
                }
                for (uint i = lane; i < KEYS * 4; i += GROUP) {
                    const uint quad = i % 4, key = min(tile + i / 4, end - 1);
                    slice[4 * TOKENS + quad * KEYS + i / 4] =
                        d + quad < QUADS ? bm_load4(a.k, k_type, key * (a.k_stride / 4) + kv_head + d + quad) : vec4(0.0);
                }
                barrier();
                for (uint quad = 0; quad < 4; quad++) {
                    vec4 u[4], w[4];
                    for (uint i = 0; i < 4; i++) {
                        u[i] = slice[quad * TOKENS + row + i];
                        w[i] = slice[4 * TOKENS + quad * KEYS + x + 16 * i];
                    }
                    for (uint i = 0; i < 4; i++)
                        for (uint j = 0; j < 4; j++)
                            score[i][j] = fma(u[i].x, w[j].x, fma(u[i].y, w[j].y, fma(u[i].z, w[j].z, fma(u[i].w, w[j].w, score[i][j]))));
                }
                barrier();
            }
            for (uint i = 0; i < 4; i++) {
                float m = LOWEST;
                for (uint j = 0; j < 4; j++) {
                    const uint key = tile + x + 16 * j;
                    const bool sees = key >= range[row + i] && key < range[TOKENS + row + i];
                    const float bias = slope * -float(range[TOKENS + row + i] - 1 - key); // of one that it sees
                    float scaled = score[i][j] * a.scale;
                    if (a.cap > 0.0)
                        scaled = bm_soft_cap(scaled, a.cap);
                    score[i][j] = sees ? scaled + bias : LOWEST;
                    m = max(m, score[i][j]);
                }
                weight[(row + i) * KEYS + x] = m;
            }
            barrier();
            for (uint i = 0; i < 4; i++) {
                float m = largest[i];
                for (uint l = 0; l < 16; l++)
                    m = max(m, weight[(row + i) * KEYS + l]);
                const float shrink = exp(largest[i] - m);
                largest[i] = m;
                sum[i] *= shrink;
                for (uint j = 0; j < PARTS; j++)
                    sum_values[i][j] *= shrink;
                for (uint j = 0; j < 4; j++) {
                    score[i][j] = score[i][j] == LOWEST ? 0.0 : exp(score[i][j] - m); // not seen: even where all are not
                    sum[i] += score[i][j];
                }
            }
            barrier(); // every lane has read the maxima
            for (uint i = 0; i < 4; i++)
                for (uint j = 0; j < 4; j++)
                    weight[(row + i) * KEYS + x + 16 * j] = score[i][j];
            for (uint first = 0; first < KEYS && tile + first < end; first += 8) {
                for (uint i = lane; i < 8 * QUADS; i += GROUP) {
                    const uint key = min(tile + first + i / QUADS, end - 1);
                    slice[i] = bm_load4(a.v, v_type, key * (a.v_stride / 4) + kv_head + i % QUADS);
                }
                barrier();
                for (uint l = 0; l < 8; l++)
                    for (uint j = 0; j < PARTS; j++) {
                        const vec4 w = slice[l * QUADS + min(x + 16 * j, QUADS - 1)];
                        for (uint i = 0; i < 4; i++)
                            sum_values[i][j] = fma(vec4(weight[(row + i) * KEYS + first + l]), w, sum_values[i][j]);
                    }
                barrier();
            }
        }
        for (uint i = 0; i < 4; i++)
            weight[(row + i) * KEYS + x] = sum[i];
        barrier();
        for (uint i = 0; i < 4; i++) {
            const uint t = first_token + row + i;
            float total = 0.0;
            for (uint l = 0; l < 16; l++)
                total += weight[(row + i) * KEYS + l];
            const float factor = total > 0.0 ? 1.0 / total : 0.0;
            for (uint j = 0; j < PARTS; j++)
                if (t < a.tokens && x + 16 * j < QUADS)
                    bm_store4(a.y, y_type, t * (a.y_stride / 4) + q_head + x + 16 * j, sum_values[i][j] * factor);
        }
        barrier(); // weight and range are reused by the next block
    }
}
