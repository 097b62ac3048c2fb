// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.
#include "device/host_kernels.h"

void host_pack_codes(const host_call *call)
{
    const bm_pack_codes_scalars *a = call->scalars;
    const int8_t *codes = call->buffers[0];
    uint32_t *words = call->buffers[1];
    const uint32_t per_word = 32 / a->bits;
    for (uint32_t r = 0; r < a->rows; r++) {
        for (uint32_t k = 0; k < (a->cols + per_word - 1) / per_word; k++)
            words[(uint64_t)r * a->word_stride + k] = 0;
        for (uint32_t c = 0; c < a->cols; c++) {
            const uint32_t field = (uint32_t)(codes[(uint64_t)r * a->code_stride + c] + (1 << (a->bits - 1)));
            words[(uint64_t)r * a->word_stride + c / per_word] |= (field & ((1u << a->bits) - 1))
                                                                  << (a->bits * (c % per_word));
        }
    }
}
