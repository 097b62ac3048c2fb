// unpack_codes: the inverse of pack_codes.
#include "device/host_kernels.h"

void host_unpack_codes(const host_call *call)
{
    const bm_unpack_codes_scalars *a = call->scalars;
    const uint32_t *words = call->buffers[0];
    int8_t *codes = call->buffers[1];
    const uint32_t per_word = 32 / a->bits;
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < (a->cols + 3) / 4 * 4; c++) {
            const uint32_t word = c < a->cols ? words[(uint64_t)r * a->word_stride + c / per_word] : 0;
            const int32_t field = (int32_t)(word >> (a->bits * (c % per_word)) & ((1u << a->bits) - 1));
            codes[(uint64_t)r * a->code_stride + c] = (int8_t)(c < a->cols ? field - (1 << (a->bits - 1)) : 0);
        }
}
