// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.
#include "device/host_kernels.h"

void host_pack_codes(const host_call *call)
{
    const bm_pack_codes_scalars *a = call->scalars;
    const int8_t *codes = call->buffers[0];
    uint32_t *words = call->buffers[1];
    for (uint32_t r = 0; r < a->rows; r++) {
        for (uint32_t k = 0; k < (a->cols * a->bits + 31) / 32; k++)
            words[(uint64_t)r * a->word_stride + k] = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint32_t field = (uint32_t)(codes[(uint64_t)r * a->code_stride + c] + (1 << (a->bits - 1)));
            const uint32_t first = c * a->bits, shift = first % 32;
            uint32_t *word = &words[(uint64_t)r * a->word_stride + first / 32];
            word[0] |= (field & ((1u << a->bits) - 1)) << shift;
            if (shift + a->bits > 32) // the rest lies in the next word
                word[1] |= (field & ((1u << a->bits) - 1)) >> (32 - shift);
        }
    }
}
