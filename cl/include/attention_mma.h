// Attention on NVIDIA's matrix units: attention_mma.cl, attention_mma_wide.cl. A subgroup has PARTS fragments of 16 tokens.
//
// A work-group walks the keys in tiles of TILE_KEYS, from the smallest first_key to the largest last_key of its tokens; rows of v in
// between that a token does not see weigh 0, but must be finite.
// A subgroup keeps scores, weights and outputs in registers: scores of two fragments side by side, rounded, are the weights' fragment.
// Tiles of k and v go through local memory: v is on its way while scores are computed, the next k while outputs are. The softmax is
// online; outputs are rescaled only where a largest score grew. Sums of weights are one more column of the output: their product
// with ones. Exponents are of 2: scale and slopes are multiplied by log2(e) first. Scores must lie above -1e30.
// The last tokens see the most keys under a causal mask, so their blocks start first.
// Source: Dao, FlashAttention-2, 2023, algorithm 1; Milakov and Gimelshein, 2018.
#include "bitmill.h"
#define MMA_BFLOAT16 (q_type == BM_BF16)
#include "attention.args.h"
#include "mma.h"

#define FLOOR -1e30f // the largest score of none
#define LOG2_E 1.44269504f
#define ROWS (2 * PARTS)         // of scores that a work-item has some of
#define TOKENS (GROUP / 2 * PARTS) // of a work-group
#define SUBGROUPS (GROUP / 32)
#define QUADS (HEAD_DIM / 8) // of words: 8 elements, in a row
#define PITCH (QUADS + (PARTS == 1 ? 1 : 0)) // from row to row in local memory, in quads of words
// Where a quad of a row lies.
#define attention_place(row, quad) ((row) * PITCH + (PARTS == 1 ? (quad) : (quad) ^ (row) % 8))
#define STEPS (HEAD_DIM / 16)
#define OUTPUTS (HEAD_DIM / 8)
#define SCORES (TILE_KEYS / 8)
#define KEYS (PARTS == 1 ? 0 : TOKENS * PITCH) // where k begins, over q or behind it
#define VALUES (KEYS + TILE_KEYS * PITCH)      // and v
#define MEMORY (PARTS == 1 ? (2 * TILE_KEYS > TOKENS ? 2 * TILE_KEYS : TOKENS) * PITCH + SPANS : VALUES + TILE_KEYS * PITCH)
#define SPANS ((SUBGROUPS + 1) / 2)                      // quads
#define SPAN (PARTS == 1 ? MEMORY - SPANS : KEYS)        // before k comes

#define PASS (GROUP / QUADS) // rows that a work-group copies at once

// Begins to copy a tile of rows into local memory; rows from end on are zeros, and are not read.
#define attention_copy(where, from, stride, first, bytes)                                                                            \
    MMA_UNROLL                                                                                                                       \
    for (uint i = 0; i < (TILE_KEYS + PASS - 1) / PASS; i++)                                                                         \
        if (TILE_KEYS % PASS == 0 || load_row + i * PASS < TILE_KEYS)                                                                \
            mma_copy(memory, load_address, (where) + i * PASS * PITCH,                                                               \
                     from + 4 * (size_t)(((first) + load_row + i * PASS) * (stride / 8) + kv_head + load_quad), bytes);
#define attention_fetch(where, from, stride, first)                                                                                  \
    if (load_row < PASS) {                                                                                                           \
        const uint load_address = mma_address(memory, attention_place(load_row, load_quad));                                                        \
        if ((first) + TILE_KEYS <= end) {                                                                                            \
            attention_copy(where, from, stride, first, 16u)                                                                          \
        } else {                                                                                                                     \
            attention_copy(where, from, stride, first, ((first) + load_row + i * PASS < end ? 16u : 0u))                             \
        }                                                                                                                            \
    }

BM_KERNEL KERNEL(BM_PARAMETERS)
{
    BM_BEGIN
    MMA_BEGIN
    __local uint4 memory[MEMORY];                                // q, k and v
    __local uint *span = (__local uint *)(memory + SPAN);        // of keys that any token of a subgroup sees
    const uint lane = get_local_id(0), sub_lane = lane % 32, part = lane / 32 * 16 * PARTS; // part: a subgroup's tokens
    const uint token = part + sub_lane / 4, column = 2 * (sub_lane % 4);            // of its sums; and token + 8 ..
    const uint load_row = lane / QUADS, load_quad = lane % QUADS;
    const uint share = a.heads / a.kv_heads, blocks = (a.tokens + TOKENS - 1) / TOKENS;
    const bool is_plain = a.has_slopes == 0 && a.scale > 0.0f; // then scores are scaled late
    const float factor = a.scale * LOG2_E, late = is_plain ? factor : 1.0f;
    for (uint work = get_group_id(0); work < blocks * a.heads; work += get_num_groups(0)) { // same for the whole group
        const uint first_token = (blocks - 1 - work / a.heads) * TOKENS, h = work % a.heads;
        const uint q_head = h * QUADS, kv_head = h / share * QUADS;
        const float slope = a.has_slopes != 0 ? slopes[h] * LOG2_E : 0.0f;
        barrier(CLK_LOCAL_MEM_FENCE); // all have read the tiles before
        for (uint i = lane; i < TOKENS * QUADS; i += GROUP) {
            const uint t = min(first_token + i / QUADS, a.tokens - 1);
            memory[attention_place(i / QUADS, i % QUADS)] =
                ((__global const uint4 *)q)[(size_t)t * (a.q_stride / 8) + q_head + i % QUADS];
        }
        uint from[ROWS], to[ROWS]; // keys that the work-item's tokens see, the end exclusive
        MMA_UNROLL
        for (uint r = 0; r < ROWS; r++) {
            const uint t = first_token + token + 8 * r, row = min(t, a.tokens - 1);
            const bool sees = t < a.tokens && last_key[row] >= first_key[row] && last_key[row] < 0x80000000u;
            from[r] = sees ? first_key[row] : 0xffffffffu;
            to[r] = sees ? last_key[row] + 1 : 0;
        }
        uint any_from = from[0], any_to = to[0], each_from = from[0], each_to = to[0];
        MMA_UNROLL
        for (uint r = 1; r < ROWS; r++) {
            any_from = min(any_from, from[r]), any_to = max(any_to, to[r]);
            each_from = max(each_from, from[r]), each_to = min(each_to, to[r]);
        }
        any_from = mma_lowest(any_from), any_to = mma_highest(any_to);
        each_from = mma_highest(each_from), each_to = mma_lowest(each_to);
        if (sub_lane == 0) {
            span[lane / 32] = any_from;
            span[SUBGROUPS + lane / 32] = any_to;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        uint query[PARTS == 1 ? STEPS : 1][PARTS][4];
        if (PARTS == 1) {
            const uint query_address = mma_address(memory, attention_place(part + sub_lane % 16, sub_lane / 16));
            MMA_UNROLL
            for (uint i = 0; i < STEPS; i++)
                mma_load(query[i % (PARTS == 1 ? STEPS : 1)][0], memory, query_address, 2 * i);
        }
        uint begin = 0xffffffffu, end = 0;
        for (uint i = 0; i < SUBGROUPS; i++) {
            begin = min(begin, span[i]);
            end = max(end, span[SUBGROUPS + i]);
        }
        barrier(CLK_LOCAL_MEM_FENCE); // all have read spans, and q where it makes room for k
        float largest[ROWS], total[PARTS][4], sum[PARTS][OUTPUTS][4];
        MMA_UNROLL
        for (uint r = 0; r < ROWS; r++)
            largest[r] = FLOOR;
        MMA_UNROLL
        for (uint e = 0; e < 4 * PARTS; e++) {
            total[e / 4][e % 4] = 0.0f;
            MMA_UNROLL
            for (uint i = 0; i < OUTPUTS; i++)
                sum[e / 4][i][e % 4] = 0.0f;
        }
        if (begin < end) {
            attention_fetch(KEYS, k, a.k_stride, begin)
        }
        mma_close();
        for (uint tile = begin; tile < end; tile += TILE_KEYS) {
            mma_wait(0);
            barrier(CLK_LOCAL_MEM_FENCE); // k is there, and all have read the v before
            attention_fetch(VALUES, v, a.v_stride, tile)
            mma_close();
            const bool is_wanted = mma_any(tile < any_to && tile + TILE_KEYS > any_from); // by some token of the subgroup
            float score[PARTS][SCORES][4];
            MMA_UNROLL
            for (uint e = 0; e < 4 * PARTS; e++) {
                MMA_UNROLL
                for (uint j = 0; j < SCORES; j++)
                    score[e / 4][j][e % 4] = 0.0f;
            }
            if (is_wanted) {
                const uint key_row = sub_lane / 16 * 8 + sub_lane % 8, key_quad = sub_lane / 8 % 2;
                const uint key_address = PARTS == 1 ? mma_address(memory, attention_place(key_row, key_quad)) : 0;
                MMA_UNROLL
                for (uint i = 0; i < STEPS; i++) {
                    const uint row = PARTS == 1 ? i : 0;
                    const uint address = PARTS == 1 ? key_address : mma_address(memory, KEYS + attention_place(key_row, 2 * i + key_quad));
                    if (PARTS != 1) {
                        const uint query_address = mma_address(memory, attention_place(part + sub_lane % 16, 2 * i + sub_lane / 16));
                        MMA_UNROLL
                        for (uint p = 0; p < PARTS; p++)
                            mma_load(query[0][p], memory, query_address, 16 * p * PITCH);
                    }
                    MMA_UNROLL
                    for (uint j = 0; j < SCORES; j += 2) {
                        uint keys[4]; // rows of k are its columns: two fragments
                        mma_load(keys, memory, address, 8 * j * PITCH + (PARTS == 1 ? 2 * i : 0));
                        MMA_UNROLL
                        for (uint p = 0; p < PARTS; p++) {
                            mma_multiply_add(score[p][j], query[row][p], keys[0], keys[1]);
                            mma_multiply_add(score[p][j + 1], query[row][p], keys[2], keys[3]);
                        }
                    }
                }
            }
            mma_wait(0);
            barrier(CLK_LOCAL_MEM_FENCE); // v is there, and all have read k
            if (tile + TILE_KEYS < end) {
                attention_fetch(KEYS, k, a.k_stride, tile + TILE_KEYS)
            }
            mma_close();
            if (!is_wanted)
                continue;
            if (!is_plain || tile < each_from || tile + TILE_KEYS > each_to) {
                MMA_UNROLL
                for (uint j = 0; j < SCORES; j++) {
                    MMA_UNROLL
                    for (uint e = 0; e < 4 * PARTS; e++) {
                        const uint key = tile + 8 * j + column + e % 2, r = e / 2;
                        const float one = score[e / 4][j][e % 4];
                        const float value = is_plain ? one : one * factor - slope * (float)(to[r] - 1 - key);
                        score[e / 4][j][e % 4] = key >= from[r] && key < to[r] ? value : -INFINITY;
                    }
                }
            }
            float shift[ROWS], shrink[ROWS];
            bool grows = false;
            MMA_UNROLL
            for (uint r = 0; r < ROWS; r++) {
                float most = largest[r];
                MMA_UNROLL
                for (uint j = 0; j < SCORES; j++)
                    most = fmax(most, fmax(score[r / 2][j][r % 2 * 2], score[r / 2][j][r % 2 * 2 + 1]));
                most = fmax(most, mma_other(most, 1));
                most = fmax(most, mma_other(most, 2));
                shrink[r] = mma_exp2((largest[r] - most) * late);
                grows = grows || shrink[r] != 1.0f;
                largest[r] = most;
                shift[r] = -most * late;
            }
            if (mma_any(grows)) {
                MMA_UNROLL
                for (uint e = 0; e < 4 * PARTS; e++) {
                    total[e / 4][e % 4] *= shrink[e / 2];
                    MMA_UNROLL
                    for (uint i = 0; i < OUTPUTS; i++)
                        sum[e / 4][i][e % 4] *= shrink[e / 2];
                }
            }
            const uint value_row = sub_lane % 16, value_quad = sub_lane / 16;
            const uint value_address = PARTS == 1 ? mma_address(memory, VALUES + attention_place(value_row, value_quad)) : 0;
            MMA_UNROLL
            for (uint j = 0; j < SCORES / 2; j++) {
                uint weights[PARTS][4];
                MMA_UNROLL
                for (uint e = 0; e < 4 * PARTS; e++) { // e % 4: which half of the columns and of the rows
                    const uint p = e / 4, n = 2 * j + e % 4 / 2, at = e % 2 * 2, r = 2 * p + e % 2;
                    weights[p][e % 4] = mma_pair(mma_exp2(fma(score[p][n][at], late, shift[r])), mma_exp2(fma(score[p][n][at + 1], late, shift[r])));
                }
                MMA_UNROLL
                for (uint p = 0; p < PARTS; p++)
                    mma_multiply_add(total[p], weights[p], MMA_ONES, MMA_ONES);
                MMA_UNROLL
                for (uint i = 0; i < OUTPUTS; i += 2) {
                    const uint address = PARTS == 1 ? value_address : mma_address(memory, VALUES + attention_place(value_row, i + value_quad));
                    uint values[4];
                    mma_load_transposed(values, memory, address, 16 * j * PITCH + (PARTS == 1 ? i : 0));
                    MMA_UNROLL
                    for (uint p = 0; p < PARTS; p++) {
                        mma_multiply_add(sum[p][i], weights[p], values[0], values[1]);
                        mma_multiply_add(sum[p][i + 1], weights[p], values[2], values[3]);
                    }
                }
            }
        }
        const bool is_odd = sub_lane % 2 != 0; // stores four columns of the second of two rows, its neighbour those of the first
        MMA_UNROLL
        for (uint p = 0; p < PARTS; p++) {
            const float upper = total[p][0] > 0.0f ? 1.0f / total[p][0] : 0.0f, lower = total[p][2] > 0.0f ? 1.0f / total[p][2] : 0.0f;
            const uint t = first_token + token + 16 * p + (is_odd ? 8 : 0);
            MMA_UNROLL
            for (uint i = 0; i < OUTPUTS; i++) {
                const float x0 = sum[p][i][0] * upper, x1 = sum[p][i][1] * upper, z0 = sum[p][i][2] * lower, z1 = sum[p][i][3] * lower;
                const float other0 = mma_other(is_odd ? x0 : z0, 1), other1 = mma_other(is_odd ? x1 : z1, 1);
                if (t < a.tokens)
                    mma_store4(y, y_type, (size_t)t * (a.y_stride / 4) + 2 * (q_head + i) + sub_lane % 4 / 2,
                              is_odd ? (float4)(other0, other1, z0, z1) : (float4)(x0, x1, other0, other1));
            }
        }
    }
}
