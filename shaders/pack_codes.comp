// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.   Twin: cl/pack_codes.cl
//
//   codes  [rows, cols]                      int8 in -2^(bits-1) .. 2^(bits-1)-1
//   words  [rows, ceil(cols / (32 / bits))]  uint32: field j of word i is codes[32 / bits i + j] + 2^(bits-1)
//
// bits is 2, 4 or 8; fields behind the last column are 0. With 4 bits, codes -8 .. -1 give 0x76543210.
// A work-item makes one word; any number of work-groups is correct.
// Source: the pack-quantized format of compressed-tensors.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "pack_codes.args.glsl"

void main()
{
    const uint per_word = 32u / a.bits, words_per_row = (a.cols + per_word - 1) / per_word;
    const uint count = a.rows * words_per_row;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / words_per_row, k = i % words_per_row;
        uint packed_codes = 0;
        for (uint j = 0; j < per_word && k * per_word + j < a.cols; j++) {
            const uint c = k * per_word + j;
            const uint u = a.codes.v[r * (a.code_stride / 4) + c / 4] >> (8 * (c % 4));
            packed_codes |= ((u + (1u << (a.bits - 1u))) & ((1u << a.bits) - 1u)) << (a.bits * j);
        }
        a.words.v[r * a.word_stride + k] = packed_codes;
    }
}
