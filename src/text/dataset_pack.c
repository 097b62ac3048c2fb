// Packing examples into sequences of at most max_length tokens.
//
// Plain: in order, a pack is closed when the next example does not fit. Greedy: in windows of 500 examples each one
// goes to the open pack with the most room; a new pack is opened when it does not fit there.
//
// Source    parameters.md 5.5.
#include "text/dataset_internal.h"

#define WINDOW 500u

static void pack_in_order(const dataset_tokens *tokens, uint32_t max_length, uint32_t *pack_of, uint32_t *num_packs)
{
    uint64_t filled = 0;
    uint32_t count = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        const uint32_t length = tokens->ranges[i].count;
        pack_of[i] = UINT32_MAX; // longer than a pack: dropped
        if (length > max_length)
            continue;
        if (count == 0 || filled + length > max_length) {
            count++;
            filled = 0;
        }
        pack_of[i] = count - 1;
        filled += length;
    }
    *num_packs = count;
}

static void pack_greedily(const dataset_tokens *tokens, uint32_t max_length, uint32_t *pack_of, uint32_t *num_packs)
{
    uint32_t room[WINDOW]; // of the packs opened in this window
    uint32_t count = 0;
    for (size_t begin = 0; begin < tokens->count; begin += WINDOW) {
        const size_t end = bm_min_u64(begin + WINDOW, tokens->count);
        uint32_t num_open = 0;
        for (size_t i = begin; i < end; i++) {
            const uint32_t length = tokens->ranges[i].count;
            pack_of[i] = UINT32_MAX;
            if (length > max_length)
                continue;
            uint32_t best = 0; // the first of those with the most room
            for (uint32_t k = 1; k < num_open; k++)
                if (room[k] > room[best])
                    best = k;
            if (num_open == 0 || room[best] < length) {
                best = num_open++;
                room[best] = max_length;
            }
            room[best] -= length;
            pack_of[i] = count + best;
        }
        count += num_open;
    }
    *num_packs = count;
}

bm_status dataset_pack(const dataset_tokens *tokens, uint32_t max_length, bool greedy, uint32_t *pack_of,
                       uint32_t *num_packs, bm_error *err)
{
    if (tokens->count >= UINT32_MAX)
        return bm_fail(err, BM_E_FORMAT, "too many examples to pack");
    if (greedy)
        pack_greedily(tokens, max_length, pack_of, num_packs);
    else
        pack_in_order(tokens, max_length, pack_of, num_packs);
    return BM_OK;
}
