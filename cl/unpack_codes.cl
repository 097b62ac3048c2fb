// unpack_codes: the inverse of pack_codes.   Twin: shaders/unpack_codes.comp
//
//   words  [rows, ceil(cols bits / 32)]  uint32
//   codes  [rows, cols]                      int8; padding is written 0
//
// bits is 2, 3, 4 or 8. A work-item makes four codes; any number of work-groups is correct.
#include "bitmill.h"
#include "unpack_codes.args.h"

BM_KERNEL unpack_codes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        uint four = 0;
        for (uint j = 0; j < 4 && 4 * q + j < a.cols; j++) {
            const uint c = 4 * q + j;
            const uint shift = c * a.bits % 32u;
            const ulong at = (ulong)r * a.word_stride + c * a.bits / 32u;
            uint field = words[at] >> shift;
            if (shift + a.bits > 32u) // the rest lies in the next word
                field |= words[at + 1] << (32u - shift);
            field &= (1u << a.bits) - 1u;
            four |= ((field - (1u << (a.bits - 1u))) & 255u) << (8 * j);
        }
        codes[(ulong)r * (a.code_stride / 4) + q] = four;
    }
}
