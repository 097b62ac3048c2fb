// unpack_codes: the inverse of pack_codes.
#include "device/host_kernels.h"

void host_unpack_codes(const host_call *call)
{
    const bm_unpack_codes_scalars *a = call->scalars;
    const uint32_t *words = call->buffers[0];
    int8_t *codes = call->buffers[1];
    for (uint32_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < (a->cols + 3) / 4 * 4; c++) {
            const uint64_t at = (uint64_t)r * a->word_stride + c * a->bits / 32;
            const uint32_t shift = c * a->bits % 32;
            uint64_t two = c < a->cols ? words[at] : 0; // a field may lie in two words
            if (c < a->cols && shift + a->bits > 32)
                two |= (uint64_t)words[at + 1] << 32;
            const int32_t field = (int32_t)(two >> shift & ((1u << a->bits) - 1));
            codes[(uint64_t)r * a->code_stride + c] = (int8_t)(c < a->cols ? field - (1 << (a->bits - 1)) : 0);
        }
}
