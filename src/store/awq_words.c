// The order of outputs in a word.
// Source: AutoAWQ: WQLinear_GEMM.from_linear.
#include "store/awq_words.h"

static const uint32_t order[BM_AWQ_OUTPUTS] = {0, 2, 4, 6, 1, 3, 5, 7};

uint32_t bm_awq_encode(const uint32_t fields[BM_AWQ_OUTPUTS])
{
    uint32_t word = 0;
    for (uint32_t i = 0; i < BM_AWQ_OUTPUTS; i++)
        word |= fields[order[i]] << 4 * i;
    return word;
}

void bm_awq_decode(uint32_t word, uint32_t fields[BM_AWQ_OUTPUTS])
{
    for (uint32_t i = 0; i < BM_AWQ_OUTPUTS; i++)
        fields[order[i]] = word >> 4 * i & 15;
}
