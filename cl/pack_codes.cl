// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.   Twin: shaders/pack_codes.comp
//
//   codes  [rows, cols]                      int8 in -2^(bits-1) .. 2^(bits-1)-1
//   words  [rows, ceil(cols bits / 32)]      uint32: bits bits c .. bits c + bits - 1 of the row are codes[c] + 2^(bits-1)
//
// bits is 2, 3, 4 or 8; of 3 bits some fields lie in two words. What is behind the last column is 0. With 4 bits, codes
// -8 .. -1 give 0x76543210.
// A work-item makes one word; any number of work-groups is correct.
// Source: the pack-quantized format of compressed-tensors; of 3 bits that of GPTQ's checkpoints.
#include "bitmill.h"
#include "pack_codes.args.h"

BM_KERNEL pack_codes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint words_per_row = (a.cols * a.bits + 31u) / 32u;
    const ulong count = (ulong)a.rows * words_per_row;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / words_per_row), k = (uint)(i % words_per_row);
        uint packed = 0;
        for (uint c = 32u * k / a.bits; c < a.cols && c * a.bits < 32u * (k + 1u); c++) {
            const uint u = codes[(ulong)r * (a.code_stride / 4) + c / 4] >> (8 * (c % 4));
            const uint field = (u + (1u << (a.bits - 1u))) & ((1u << a.bits) - 1u);
            packed |= c * a.bits < 32u * k ? field >> (32u * k - c * a.bits) : field << (c * a.bits - 32u * k);
        }
        words[(ulong)r * a.word_stride + k] = packed;
    }
}
