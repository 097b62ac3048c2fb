// attention, variant _cm: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], on matrix units.   No twin in OpenCL.
// Other units (_cm_bf16 and so on: kernels.def) are other fragments, M x N of sums, and other subgroups of 2 M (matrix.glsl).
//
//   q                    [tokens, heads * head_dim]     float16 (_bf16: bfloat16)
//   k, v                 [keys, kv_heads * head_dim]    as q
//   y                    [tokens, heads * head_dim]     real; apart from q, k and v
//   first_key, last_key  [1, tokens]                    u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                       none (last_key < first_key) gives zeros
//   slopes               [1, heads]                     bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//
// A work-group takes GROUP / 2 tokens of one head, each subgroup M of them, and walks the keys in tiles of TILE_KEYS, from the
// smallest first_key to the largest last_key of its tokens; rows of v in between that a token does not see weigh 0, but must be
// finite.
// A subgroup keeps its rows of q and its outputs in registers. Tiles of k and v go through local memory, whose rows are 16 bytes
// longer than they need be; while one is used, the next one is on its way in registers. The softmax is online and works on elements
// of fragments where they are: only each token's largest score goes through local memory. Sums of weights are one more column of the
// output: their product with ones. Where a fragment has its elements is asked once, of fragments of numbers; if two fragments of
// scores side by side are one of weights (as in NVIDIA's instructions), weights stay in registers too, else they go through local
// memory.
// Exponents are of 2: scale and slopes are multiplied by log2(e) first. Scores must lie above -1e30.
// GROUP: 4 or 8 subgroups. TILE_KEYS: 32 or 64. HEAD_DIM: a multiple of 16 up to 128. Local memory, in bytes:
// max(2 * TILE_KEYS, GROUP / 2) * (2 * HEAD_DIM + 16) + 42 * GROUP.
// Bound: beside that of the other variants, with sums that may be cut instead of rounded (4 times): weights, at most 1, are rounded to
// float16, 2^-11 of each or 2^-25 where that is more, in the values' sum and in the weights' sum alike. bfloat16: 2^-8 of each. What
// is common to the values cancels; the rest (2048 causal tokens, normal values) differs from the exact weights' by 1.7e-3 of the
// output's root mean square, as much as rounding the output to bfloat16 once.
// Source: Dao, FlashAttention-2, 2023, algorithm 1; Milakov and Gimelshein, 2018.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "matrix.glsl"
#include "bitmill.glsl"
#include "attention.args.glsl"

const float LOWEST = -3.40282347e38, FLOOR = -1e30; // a score that is not seen; the largest of none: their difference weighs 0
const float LOG2_E = 1.44269504;
const uint TOKENS = GROUP / 2, SUBGROUPS = GROUP / BM_LANES; // of a work-group
const uint QUADS = HEAD_DIM / 8;                       // of words: 8 elements, in a row
const uint PITCH = QUADS + 1;                          // from row to row in local memory, in quads of words
const uint STEPS = HEAD_DIM / 16, OUTPUTS = HEAD_DIM / BM_COLUMNS, SCORES = TILE_KEYS / BM_COLUMNS; // fragments of a row of q, of outputs, of scores
const uint TILE = TILE_KEYS * QUADS, LOADS = (TILE + GROUP - 1) / GROUP;          // quads of a tile, and of a work-item
const uint VALUES = TILE_KEYS * PITCH;                                            // where v begins, behind k
const uint PAIR = 16 / BM_COLUMNS;                                                // fragments of sums of 16 columns
const uint STRIP = 4 * BM_ROWS;                                                   // quads: M x 16 floats

shared uvec4 memory[(2 * TILE_KEYS > TOKENS ? 2 * TILE_KEYS : TOKENS) * PITCH]; // tiles of k and of v; before, the rows of q
shared uvec4 strips[SUBGROUPS * STRIP];                               // of each subgroup: maxima, weights, outputs
shared vec2 state[TOKENS];                                            // largest score, factor of what was summed before
shared uvec2 range[TOKENS];                                           // of keys, the end exclusive
shared uvec2 span[SUBGROUPS];                                         // of keys that any token of a subgroup sees
shared uint num_strangers;                                            // elements whose place in weights is not that in scores

// Quad i of a work-item's part of a tile, from row first on. Rows behind the last are the last.
uvec4 fetch(bm_words from, uint stride, uint column, uint first, uint end, uint i)
{
    const uint at = min(gl_LocalInvocationID.x + i * GROUP, TILE - 1);
    return bm_words4(uvec2(from)).v[min(first + at / QUADS, end - 1) * (stride / 8) + column + at % QUADS];
}

void keep(uint where, uint i, uvec4 quad)
{
    const uint at = gl_LocalInvocationID.x + i * GROUP;
    if (TILE % GROUP == 0 || at < TILE)
        memory[where + at / QUADS * PITCH + at % QUADS] = quad;
}

void main()
{
    const uint lane = gl_LocalInvocationID.x, sub_lane = BM_SUBGROUP_LANE;
    const uint part = BM_ROWS * BM_SUBGROUP, strip = STRIP * BM_SUBGROUP; // a subgroup's tokens, and its strip
    if (lane < BM_ROWS * BM_COLUMNS / 4) // numbers of elements, as sums and as weights
        memory[lane] = floatBitsToUint(vec4(4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3));
    if (lane < BM_LANES) {
        const float n = float(8 * lane);
        memory[64 + lane] = uvec4(bm_half_words(n, n + 1), bm_half_words(n + 2, n + 3), bm_half_words(n + 4, n + 5),
                                  bm_half_words(n + 6, n + 7));
    }
    if (lane == 0)
        num_strangers = 0;
    barrier();
    bm_sums numbers;
    bm_load_sums(numbers, memory, 0, BM_COLUMNS / 4);
    uvec4 token[BM_QUADS], column[BM_QUADS]; // of its elements
    [[unroll]] for (uint e = 0; e < BM_QUADS; e++) {
        const uvec4 number = uvec4(bm_elements(numbers, e));
        token[e] = part + number / BM_COLUMNS;
        column[e] = number % BM_COLUMNS;
    }
    bm_left places;
    bm_load_left(places, memory, 64, 2);
    const vec4 lower = vec4((token[0] - part) * 16 + column[0]);
    const vec4 upper = BM_QUADS > 1 ? vec4((token[BM_QUADS - 1] - part) * 16 + column[BM_QUADS - 1]) : lower + 8.0;
    if (!bm_is_left_of(places, lower, upper))
        atomicAdd(num_strangers, 1);
    barrier();
    const bool stays = num_strangers == 0; // weights in registers
    const uint share = a.heads / a.kv_heads, blocks = (a.tokens + TOKENS - 1) / TOKENS;
    const float factor = a.scale * LOG2_E;
    for (uint work = gl_WorkGroupID.x; work < blocks * a.heads; work += gl_NumWorkGroups.x) { // same for the whole group
        const uint first_token = (blocks - 1 - work / a.heads) * TOKENS, h = work % a.heads; // the last see the most keys
        const uint q_head = h * QUADS, kv_head = h / share * QUADS;
        const float slope = a.has_slopes != 0 ? a.slopes.v[h] * LOG2_E : 0.0;
        barrier(); // all have read the tiles before
        if (lane < TOKENS) {
            const uint t = min(first_token + lane, a.tokens - 1);
            const bool sees = first_token + lane < a.tokens && a.last_key.v[t] >= a.first_key.v[t] && a.last_key.v[t] < 0x80000000u;
            range[lane] = sees ? uvec2(a.first_key.v[t], a.last_key.v[t] + 1) : uvec2(0xffffffffu, 0u);
        }
        for (uint i = lane; i < TOKENS * QUADS; i += GROUP) {
            const uint t = min(first_token + i / QUADS, a.tokens - 1);
            memory[i / QUADS * PITCH + i % QUADS] = bm_words4(uvec2(a.q)).v[t * (a.q_stride / 8) + q_head + i % QUADS];
        }
        barrier();
        bm_left q[STEPS];
        [[unroll]] for (uint i = 0; i < STEPS; i++)
            bm_load_left(q[i], memory, part * PITCH + 2 * i, PITCH);
        uvec2 any = uvec2(0xffffffffu, 0u), each = uvec2(0u, 0xffffffffu); // keys that a token of it sees, that all see
        for (uint i = 0; i < BM_ROWS; i++) {
            const uvec2 keys = range[part + i];
            any = uvec2(min(any.x, keys.x), max(any.y, keys.y));
            each = uvec2(max(each.x, keys.x), min(each.y, keys.y));
        }
        if (sub_lane == 0)
            span[BM_SUBGROUP] = any;
        barrier(); // all have read q
        for (uint i = 0; i < SUBGROUPS; i++)
            any = uvec2(min(any.x, span[i].x), max(any.y, span[i].y));
        const uint end = any.y;
        float largest = FLOOR; // of token sub_lane / 2
        bm_sums total = bm_no_sums(), sum[OUTPUTS];
        [[unroll]] for (uint i = 0; i < OUTPUTS; i++)
            sum[i] = bm_no_sums();
        uvec4 next[LOADS];
        if (any.x < end)
            [[unroll]] for (uint i = 0; i < LOADS; i++)
                next[i] = fetch(a.k, a.k_stride, kv_head, any.x, end, i);
        for (uint tile = any.x; tile < end; tile += TILE_KEYS) {
            [[unroll]] for (uint i = 0; i < LOADS; i++)
                keep(0, i, next[i]);
            [[unroll]] for (uint i = 0; i < LOADS; i++)
                next[i] = fetch(a.v, a.v_stride, kv_head, tile, end, i);
            barrier(); // k is there, and all have read the v before
            vec4 score[SCORES * BM_QUADS]; // quads of elements
            {
                bm_sums product[SCORES];
                [[unroll]] for (uint j = 0; j < SCORES; j++)
                    product[j] = bm_no_sums();
                [[unroll]] for (uint i = 0; i < STEPS; i++)
                    [[unroll]] for (uint j = 0; j < SCORES; j++) {
                        bm_right keys; // rows of k are its columns
                        bm_load_right(keys, memory, BM_COLUMNS * j * PITCH + 2 * i, PITCH);
                        product[j] = bm_multiply_add(q[i], keys, product[j]);
                    }
                [[unroll]] for (uint j = 0; j < SCORES; j++)
                    [[unroll]] for (uint e = 0; e < BM_QUADS; e++)
                        score[j * BM_QUADS + e] = bm_elements(product[j], e) * factor;
            }
            [[unroll]] for (uint i = 0; i < LOADS; i++)
                keep(VALUES, i, next[i]);
            if (tile + TILE_KEYS < end)
                [[unroll]] for (uint i = 0; i < LOADS; i++)
                    next[i] = fetch(a.k, a.k_stride, kv_head, tile + TILE_KEYS, end, i);
            if (a.has_slopes != 0 || tile < each.x || tile + TILE_KEYS > each.y)
                [[unroll]] for (uint e = 0; e < BM_QUADS; e++) {
                    const uvec2 r0 = range[token[e].x], r1 = range[token[e].y], r2 = range[token[e].z], r3 = range[token[e].w];
                    const uvec4 from = uvec4(r0.x, r1.x, r2.x, r3.x), to = uvec4(r0.y, r1.y, r2.y, r3.y);
                    [[unroll]] for (uint j = e; j < SCORES * BM_QUADS; j += BM_QUADS) {
                        const uvec4 key = tile + BM_COLUMNS * (j / BM_QUADS) + column[e];
                        const bvec4 sees = bvec4(uvec4(greaterThanEqual(key, from)) & uvec4(lessThan(key, to)));
                        score[j] = mix(vec4(LOWEST), score[j] - slope * vec4(to - 1 - key), sees);
                    }
                }
            bm_sums maxima;
            [[unroll]] for (uint e = 0; e < BM_QUADS; e++) {
                vec4 most = score[e];
                [[unroll]] for (uint j = BM_QUADS + e; j < SCORES * BM_QUADS; j += BM_QUADS)
                    most = max(most, score[j]);
                bm_set_elements(maxima, e, most);
            }
            bm_store_sums(maxima, strips, strip, BM_COLUMNS / 4);
            bm_subgroup_barrier();
            {
                const uint at = strip + sub_lane / 2 * (BM_COLUMNS / 4);
                vec4 four = uintBitsToFloat(strips[at]);
                [[unroll]] for (uint i = 1; i < BM_COLUMNS / 4; i++)
                    four = max(four, uintBitsToFloat(strips[at + i]));
                const float grown = max(largest, max(max(four.x, four.y), max(four.z, four.w)));
                if (sub_lane % 2 == 0)
                    state[part + sub_lane / 2] = vec2(grown, exp2(largest - grown));
                largest = grown;
            }
            bm_subgroup_barrier();
            [[unroll]] for (uint e = 0; e < BM_QUADS; e++) {
                const vec2 s0 = state[token[e].x], s1 = state[token[e].y], s2 = state[token[e].z], s3 = state[token[e].w];
                const vec4 shift = vec4(s0.x, s1.x, s2.x, s3.x), shrink = vec4(s0.y, s1.y, s2.y, s3.y);
                [[unroll]] for (uint j = e; j < SCORES * BM_QUADS; j += BM_QUADS)
                    score[j] = exp2(score[j] - shift);
                bm_scale(total, e, shrink);
                [[unroll]] for (uint i = 0; i < OUTPUTS; i++)
                    bm_scale(sum[i], e, shrink);
            }
            bm_left weights[TILE_KEYS / 16];
            if (stays) {
                [[unroll]] for (uint j = 0; j < TILE_KEYS / 16; j++)
                    bm_set_left(weights[j], score[2 * j], score[2 * j + 1]);
            } else {
                [[unroll]] for (uint j = 0; j < TILE_KEYS / 16; j++) {
                    [[unroll]] for (uint i = 0; i < PAIR; i++) {
                        bm_sums w;
                        [[unroll]] for (uint e = 0; e < BM_QUADS; e++)
                            bm_set_elements(w, e, score[(PAIR * j + i) * BM_QUADS + e]);
                        bm_store_sums(w, strips, strip + 2 * i, 4);
                    }
                    bm_subgroup_barrier();
                    const vec4 u = uintBitsToFloat(strips[strip + 2 * sub_lane]), w = uintBitsToFloat(strips[strip + 2 * sub_lane + 1]);
                    bm_subgroup_barrier(); // all have read theirs
                    strips[strip + sub_lane] = uvec4(bm_half_words(u.x, u.y), bm_half_words(u.z, u.w), bm_half_words(w.x, w.y),
                                                     bm_half_words(w.z, w.w));
                    bm_subgroup_barrier();
                    bm_load_left(weights[j], strips, strip, 2);
                    bm_subgroup_barrier(); // before others are written
                }
            }
            barrier(); // v is there, and all have read k
            [[unroll]] for (uint j = 0; j < TILE_KEYS / 16; j++) {
                total = bm_multiply_add(weights[j], bm_ones(), total);
                [[unroll]] for (uint i = 0; i < OUTPUTS; i++) {
                    bm_right values;
                    bm_load_right_rows(values, memory, VALUES + 16 * j * PITCH + BM_COLUMNS / 8 * i, PITCH);
                    sum[i] = bm_multiply_add(weights[j], values, sum[i]);
                }
            }
        }
        [[unroll]] for (uint e = 0; e < BM_QUADS; e++) {
            const vec4 all = bm_elements(total, e), inverse = mix(vec4(0.0), 1.0 / all, greaterThan(all, vec4(0.0)));
            [[unroll]] for (uint i = 0; i < OUTPUTS; i++)
                bm_scale(sum[i], e, inverse);
        }
        [[unroll]] for (uint j = 0; j < HEAD_DIM / 16; j++) {
            [[unroll]] for (uint i = 0; i < PAIR; i++)
                bm_store_sums(sum[PAIR * j + i], strips, strip + 2 * i, 4);
            bm_subgroup_barrier();
            [[unroll]] for (uint r = 0; r < BM_ROWS; r += BM_LANES / 4) {
                const uint t = first_token + part + r + sub_lane / 4;
                if (t < a.tokens)
                    bm_store4(a.y, y_type, t * (a.y_stride / 4) + 2 * q_head + 4 * j + sub_lane % 4,
                              uintBitsToFloat(strips[strip + 4 * r + sub_lane]));
            }
            bm_subgroup_barrier(); // before others are written
        }
    }
}
