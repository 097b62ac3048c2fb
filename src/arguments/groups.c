// Group sizes against the widths of a model's linears.
#include "arguments/keys.h"

#include <stdio.h>

// Larger groups cost fewer scales; all three are held by every runtime that reads groups.
static const int64_t preferred_sizes[] = {128, 64, 32};

static bool divides_all(int64_t size, const uint32_t *in_features, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (in_features[i] % size != 0)
            return false;
    return true;
}

bm_status bm_arguments_choose_group_size(bm_arguments *args, const uint32_t *in_features, uint32_t count, bm_error *err)
{
    if (!args->may_choose_group_size)
        return BM_OK;
    int64_t chosen = -1;
    for (size_t i = 0; i < BM_COUNT(preferred_sizes) && chosen < 0; i++)
        if (divides_all(preferred_sizes[i], in_features, count))
            chosen = preferred_sizes[i];
    args->group_size = chosen;
    args->may_choose_group_size = false;
    if (chosen < 0) {
        args->weight_quant_method = BM_WEIGHT_CHANNEL_WISE;
        note_choice(args, "group_size: one scale an output channel; none of 128, 64, 32 divides every linear");
    } else {
        note_choice(args, "group_size: %lld, the largest of 128, 64, 32 that divides every linear", (long long)chosen);
    }
    if (args->out_of_memory)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    return BM_OK;
}

bm_status bm_arguments_check_group_size(const bm_arguments *args, const char *layer, uint32_t in_features,
                                        bm_error *err)
{
    static const int64_t sizes[] = {32, 64, 128, 256};
    char fitting[64] = "";
    size_t length = 0;
    if (args->group_size <= 0 || args->group_tail == BM_TAIL_SHORT || in_features % args->group_size == 0)
        return BM_OK;
    for (size_t i = 0; i < BM_COUNT(sizes); i++)
        if (in_features % sizes[i] == 0)
            length += (size_t)snprintf(fitting + length, sizeof(fitting) - length, "%lld, ", (long long)sizes[i]);
    return arguments_reject(
        args, err,
        "\"group_size\": %lld: layer \"%s\" has %u inputs, which it does not divide; possible: %s-1 "
        "(per channel)",
        (long long)args->group_size, layer, (unsigned)in_features, fitting);
}
