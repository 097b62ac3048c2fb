// pack_codes: signed codes become unsigned fields of 32-bit words, low bits first along a row.   Twin: cl/pack_codes.cl
//
//   codes  [rows, cols]                      int8 in -2^(bits-1) .. 2^(bits-1)-1
//   words  [rows, ceil(cols bits / 32)]      uint32: bits bits c .. bits c + bits - 1 of the row are codes[c] + 2^(bits-1)
//
// bits is 2, 3, 4 or 8; of 3 bits some fields lie in two words. What is behind the last column is 0. With 4 bits, codes
// -8 .. -1 give 0x76543210.
// A work-item makes one word; any number of work-groups is correct.
// Source: the pack-quantized format of compressed-tensors; of 3 bits that of GPTQ's checkpoints.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "pack_codes.args.glsl"

void main()
{
    const uint words_per_row = (a.cols * a.bits + 31u) / 32u;
    const uint count = a.rows * words_per_row;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / words_per_row, k = i % words_per_row;
        uint packed_codes = 0;
        for (uint c = 32u * k / a.bits; c < a.cols && c * a.bits < 32u * (k + 1u); c++) {
            const uint u = a.codes.v[r * (a.code_stride / 4) + c / 4] >> (8 * (c % 4));
            const uint field = (u + (1u << (a.bits - 1u))) & ((1u << a.bits) - 1u);
            packed_codes |= c * a.bits < 32u * k ? field >> (32u * k - c * a.bits) : field << (c * a.bits - 32u * k);
        }
        a.words.v[r * a.word_stride + k] = packed_codes;
    }
}
