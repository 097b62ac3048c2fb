// attention, variant _mma: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], on NVIDIA's matrix units.   No twin in Vulkan.
//
//   q                    [tokens, heads * head_dim]     float16 or bfloat16
//   k, v                 [keys, kv_heads * head_dim]    as q
//   y                    [tokens, heads * head_dim]     real; apart from q, k and v
//   first_key, last_key  [1, tokens]                    u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                       none (last_key < first_key) gives zeros
//   slopes               [1, heads]                     bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//
// A work-group takes GROUP / 2 tokens of one head, each subgroup 16 of them, and walks the keys in tiles of TILE_KEYS, from the
// smallest first_key to the largest last_key of its tokens; rows of v in between that a token does not see weigh 0, but must be
// finite.
// A subgroup keeps its rows of q, scores, weights and outputs in registers: scores of two fragments side by side, rounded, are the
// weights' fragment. Tiles of k and v go through local memory, whose rows are 16 bytes longer than they need be, so that no two of
// eight rows lie in the same banks: v is on its way while scores are computed, the next k while outputs are. The softmax is online;
// outputs are rescaled only where a largest score grew. Sums of weights are one more column of the output: their product with ones.
// Exponents are of 2: scale and slopes are multiplied by log2(e) first. Scores must lie above -1e30.
// The last tokens see the most keys under a causal mask, so their blocks start first.
// GROUP: a multiple of 32. TILE_KEYS: 32 or 64. HEAD_DIM: a multiple of 16 up to 128. Local memory, in bytes:
// max(2 * TILE_KEYS, GROUP / 2) * (2 * HEAD_DIM + 16) + GROUP / 4.
// Bound: beside that of the other variants, with sums that may be cut instead of rounded (4 times): weights, at most 1, are rounded to
// the type of v, 2^-11 (bfloat16: 2^-8) of each or 2^-25 (float16) where that is more, in the values' sum and in the weights' sum alike.
// Source: Dao, FlashAttention-2, 2023, algorithm 1; Milakov and Gimelshein, 2018.
#include "bitmill.h"
#define MMA_BFLOAT16 (q_type == BM_BF16)
#include "attention.args.h"
#include "mma.h"

#define FLOOR -1e30f // the largest score of none
#define LOG2_E 1.44269504f
#define TOKENS (GROUP / 2)   // of a work-group
#define SUBGROUPS (GROUP / 32)
#define QUADS (HEAD_DIM / 8) // of words: 8 elements, in a row
#define PITCH (QUADS + 1)    // from row to row in local memory, in quads of words
#define STEPS (HEAD_DIM / 16)
#define OUTPUTS (HEAD_DIM / 8)
#define SCORES (TILE_KEYS / 8)
#define VALUES (TILE_KEYS * PITCH) // where v begins, behind k

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
        const uint load_address = mma_address(memory, load_row * PITCH + load_quad);                                                 \
        if ((first) + TILE_KEYS <= end) {                                                                                            \
            attention_copy(where, from, stride, first, 16u)                                                                          \
        } else {                                                                                                                     \
            attention_copy(where, from, stride, first, ((first) + load_row + i * PASS < end ? 16u : 0u))                             \
        }                                                                                                                            \
    }

BM_KERNEL attention_mma(BM_PARAMETERS)
{
    BM_BEGIN
    MMA_BEGIN
    __local uint4 memory[(2 * TILE_KEYS > TOKENS ? 2 * TILE_KEYS : TOKENS) * PITCH]; // tiles of k and of v; before, the rows of q
    __local uint span[2 * SUBGROUPS];                                               // of keys that any token of a subgroup sees
    const uint lane = get_local_id(0), sub_lane = lane % 32, part = lane / 32 * 16; // part: a subgroup's tokens
    const uint token = part + sub_lane / 4, column = 2 * (sub_lane % 4);            // of its sums; and token + 8
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
            memory[i / QUADS * PITCH + i % QUADS] = vload4((size_t)t * (a.q_stride / 8) + q_head + i % QUADS, q);
        }
        uint from[2], to[2]; // keys that the work-item's two tokens see, the end exclusive
        MMA_UNROLL
        for (uint r = 0; r < 2; r++) {
            const uint t = first_token + token + 8 * r, row = min(t, a.tokens - 1);
            const bool sees = t < a.tokens && last_key[row] >= first_key[row] && last_key[row] < 0x80000000u;
            from[r] = sees ? first_key[row] : 0xffffffffu;
            to[r] = sees ? last_key[row] + 1 : 0;
        }
        const uint any_from = mma_lowest(min(from[0], from[1])), any_to = mma_highest(max(to[0], to[1]));
        const uint each_from = mma_highest(max(from[0], from[1])), each_to = mma_lowest(min(to[0], to[1]));
        if (sub_lane == 0) {
            span[lane / 32] = any_from;
            span[SUBGROUPS + lane / 32] = any_to;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        uint query[STEPS][4];
        const uint query_address = mma_address(memory, (part + sub_lane % 16) * PITCH + sub_lane / 16);
        MMA_UNROLL
        for (uint i = 0; i < STEPS; i++)
            mma_load(query[i], memory, query_address, 2 * i);
        uint begin = 0xffffffffu, end = 0;
        for (uint i = 0; i < SUBGROUPS; i++) {
            begin = min(begin, span[i]);
            end = max(end, span[SUBGROUPS + i]);
        }
        barrier(CLK_LOCAL_MEM_FENCE); // all have read q
        float largest[2] = {FLOOR, FLOOR}, total[4] = {0.0f, 0.0f, 0.0f, 0.0f}, sum[OUTPUTS][4];
        MMA_UNROLL
        for (uint i = 0; i < OUTPUTS; i++)
            MMA_UNROLL
            for (uint e = 0; e < 4; e++)
                sum[i][e] = 0.0f;
        if (begin < end) {
            attention_fetch(0, k, a.k_stride, begin)
        }
        mma_close();
        for (uint tile = begin; tile < end; tile += TILE_KEYS) {
            mma_wait(0);
            barrier(CLK_LOCAL_MEM_FENCE); // k is there, and all have read the v before
            attention_fetch(VALUES, v, a.v_stride, tile)
            mma_close();
            const bool is_wanted = mma_any(tile < any_to && tile + TILE_KEYS > any_from); // by some token of the subgroup
            float score[SCORES][4];
            MMA_UNROLL
            for (uint j = 0; j < SCORES; j++)
                MMA_UNROLL
                for (uint e = 0; e < 4; e++)
                    score[j][e] = 0.0f;
            if (is_wanted) {
                const uint key_address = mma_address(memory, (sub_lane / 16 * 8 + sub_lane % 8) * PITCH + sub_lane / 8 % 2);
                MMA_UNROLL
                for (uint i = 0; i < STEPS; i++) {
                    MMA_UNROLL
                    for (uint j = 0; j < SCORES; j += 2) {
                        uint keys[4]; // rows of k are its columns: two fragments
                        mma_load(keys, memory, key_address, 8 * j * PITCH + 2 * i);
                        mma_multiply_add(score[j], query[i], keys[0], keys[1]);
                        mma_multiply_add(score[j + 1], query[i], keys[2], keys[3]);
                    }
                }
            }
            mma_wait(0);
            barrier(CLK_LOCAL_MEM_FENCE); // v is there, and all have read k
            if (tile + TILE_KEYS < end) {
                attention_fetch(0, k, a.k_stride, tile + TILE_KEYS)
            }
            mma_close();
            if (!is_wanted)
                continue;
            if (!is_plain || tile < each_from || tile + TILE_KEYS > each_to) {
                MMA_UNROLL
                for (uint j = 0; j < SCORES; j++) {
                    MMA_UNROLL
                    for (uint e = 0; e < 4; e++) {
                        const uint key = tile + 8 * j + column + e % 2, r = e / 2;
                        const float value = is_plain ? score[j][e] : score[j][e] * factor - slope * (float)(to[r] - 1 - key);
                        score[j][e] = key >= from[r] && key < to[r] ? value : -INFINITY;
                    }
                }
            }
            float shift[2], shrink[2];
            MMA_UNROLL
            for (uint r = 0; r < 2; r++) {
                float most = largest[r];
                MMA_UNROLL
                for (uint j = 0; j < SCORES; j++)
                    most = fmax(most, fmax(score[j][2 * r], score[j][2 * r + 1]));
                most = fmax(most, mma_other(most, 1));
                most = fmax(most, mma_other(most, 2));
                shrink[r] = mma_exp2((largest[r] - most) * late);
                largest[r] = most;
                shift[r] = -most * late;
            }
            if (mma_any(shrink[0] != 1.0f || shrink[1] != 1.0f)) {
                MMA_UNROLL
                for (uint e = 0; e < 4; e++) {
                    total[e] *= shrink[e / 2];
                    MMA_UNROLL
                    for (uint i = 0; i < OUTPUTS; i++)
                        sum[i][e] *= shrink[e / 2];
                }
            }
            const uint value_address = mma_address(memory, VALUES + sub_lane % 16 * PITCH + sub_lane / 16);
            MMA_UNROLL
            for (uint j = 0; j < SCORES / 2; j++) {
                uint weights[4];
                MMA_UNROLL
                for (uint e = 0; e < 4; e++) {
                    const float *two = &score[2 * j + e / 2][e % 2 * 2];
                    weights[e] = mma_pair(mma_exp2(fma(two[0], late, shift[e % 2])), mma_exp2(fma(two[1], late, shift[e % 2])));
                }
                mma_multiply_add(total, weights, MMA_ONES, MMA_ONES);
                MMA_UNROLL
                for (uint i = 0; i < OUTPUTS; i += 2) {
                    uint values[4];
                    mma_load_transposed(values, memory, value_address, 16 * j * PITCH + i);
                    mma_multiply_add(sum[i], weights, values[0], values[1]);
                    mma_multiply_add(sum[i + 1], weights, values[2], values[3]);
                }
            }
        }
        const float inverse[2] = {total[0] > 0.0f ? 1.0f / total[0] : 0.0f, total[2] > 0.0f ? 1.0f / total[2] : 0.0f};
        const bool is_odd = sub_lane % 2 != 0; // stores four columns of the second token, its neighbour those of the first
        const uint t = first_token + token + (is_odd ? 8 : 0);
        MMA_UNROLL
        for (uint i = 0; i < OUTPUTS; i++) {
            const float x0 = sum[i][0] * inverse[0], x1 = sum[i][1] * inverse[0], z0 = sum[i][2] * inverse[1], z1 = sum[i][3] * inverse[1];
            const float other0 = mma_other(is_odd ? x0 : z0, 1), other1 = mma_other(is_odd ? x1 : z1, 1);
            if (t < a.tokens)
                bm_store4(y, y_type, (size_t)t * (a.y_stride / 4) + 2 * (q_head + i) + sub_lane % 4 / 2,
                          is_odd ? (float4)(other0, other1, z0, z1) : (float4)(x0, x1, other0, other1));
        }
    }
}
