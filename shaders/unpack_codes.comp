// unpack_codes: the inverse of pack_codes.   Twin: cl/unpack_codes.cl
//
//   words  [rows, ceil(cols bits / 32)]  uint32
//   codes  [rows, cols]                      int8; padding is written 0
//
// bits is 2, 3, 4 or 8. A work-item makes four codes; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "unpack_codes.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.rows * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint r = i / quads, q = i % quads;
        uint four = 0;
        for (uint j = 0; j < 4 && 4 * q + j < a.cols; j++) {
            const uint c = 4 * q + j;
            const uint shift = c * a.bits % 32u;
            const uint at = r * a.word_stride + c * a.bits / 32u;
            uint field = a.words.v[at] >> shift;
            if (shift + a.bits > 32u) // the rest lies in the next word
                field |= a.words.v[at + 1] << (32u - shift);
            field &= (1u << a.bits) - 1u;
            four |= ((field - (1u << (a.bits - 1u))) & 255u) << (8 * j);
        }
        a.codes.v[r * (a.code_stride / 4) + q] = four;
    }
}
