// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.   Twin: shaders/pack_codes.comp
//
//   codes  [rows, cols]                      int8 in -2^(bits-1) .. 2^(bits-1)-1
//   words  [rows, ceil(cols / (32 / bits))]  uint32: field j of word i is codes[32 / bits i + j] + 2^(bits-1)
//
// bits is 2, 4 or 8; fields behind the last column are 0. With 4 bits, codes -8 .. -1 give 0x76543210.
// A work-item makes one word; any number of work-groups is correct.
// Source: the pack-quantized format of compressed-tensors.
#include "bitmill.h"
#include "pack_codes.args.h"

BM_KERNEL pack_codes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint per_word = 32u / a.bits, words_per_row = (a.cols + per_word - 1) / per_word;
    const ulong count = (ulong)a.rows * words_per_row;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / words_per_row), k = (uint)(i % words_per_row);
        uint packed = 0;
        for (uint j = 0; j < per_word && k * per_word + j < a.cols; j++) {
            const uint c = k * per_word + j;
            const uint u = codes[(ulong)r * (a.code_stride / 4) + c / 4] >> (8 * (c % 4));
            packed |= ((u + (1u << (a.bits - 1u))) & ((1u << a.bits) - 1u)) << (a.bits * j);
        }
        words[(ulong)r * a.word_stride + k] = packed;
    }
}
