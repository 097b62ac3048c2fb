// transpose: y[c, r] = x[r, c].   Twin: cl/transpose.cl
//
//   x  [rows, cols]  real
//   y  [cols, rows]  real; apart from x
//
// Tiles of 64 x 64 are for 256 work-items, each of which turns 4 x 4 in its registers: neighbours have 4 of them side by side and
// 8 one below the other, so that 32 and 64 bytes, in 16 bits, are read and written at a time. Elements that are stored alike move
// as bits. Any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "transpose.args.glsl"

// Halves of two words: the lower ones, and the upper ones.
uint lower_pair(uint u, uint v) { return (u & 0xffffu) | (v << 16); }
uint upper_pair(uint u, uint v) { return (u >> 16) | (v & 0xffff0000u); }

void main()
{
    const uint quads_x = a.x_stride / 4, quads_y = a.y_stride / 4;
    const uint tiles_c = (a.cols + 63) / 64;
    const uint count = (a.rows + 63) / 64 * tiles_c * 256;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint tile = i / 256, within = i % 256;
        const uint c = tile % tiles_c * 16 + within / 32 % 4 * 4 + within % 4; // in quads
        const uint r = tile / tiles_c * 16 + within / 128 * 8 + within / 4 % 8;
        if (4 * c >= a.cols || 4 * r >= a.rows)
            continue;
        const uint wanted = min(4u, a.cols - 4 * c), there = min(4u, a.rows - 4 * r);
        const uint from = 4 * r * quads_x + c, to = 4 * c * quads_y + r;
        if (x_type == y_type && x_type != BM_F32) {
            uvec2 v[4];
            [[unroll]] for (uint k = 0; k < 4; k++)
                v[k] = k < there ? bm_words2(uvec2(a.x)).v[from + k * quads_x] : uvec2(0u);
            const uvec2 turned[4] = uvec2[4](uvec2(lower_pair(v[0].x, v[1].x), lower_pair(v[2].x, v[3].x)),
                                             uvec2(upper_pair(v[0].x, v[1].x), upper_pair(v[2].x, v[3].x)),
                                             uvec2(lower_pair(v[0].y, v[1].y), lower_pair(v[2].y, v[3].y)),
                                             uvec2(upper_pair(v[0].y, v[1].y), upper_pair(v[2].y, v[3].y)));
            [[unroll]] for (uint k = 0; k < 4; k++)
                if (k < wanted)
                    bm_words2(uvec2(a.y)).v[to + k * quads_y] = turned[k];
        } else {
            mat4 v; // its columns are rows of x
            [[unroll]] for (uint k = 0; k < 4; k++)
                v[k] = k < there ? bm_load4(a.x, x_type, from + k * quads_x) : vec4(0.0);
            v = transpose(v);
            [[unroll]] for (uint k = 0; k < 4; k++)
                if (k < wanted)
                    bm_store4(a.y, y_type, to + k * quads_y, v[k]);
        }
    }
}
