// transpose: y[c, r] = x[r, c].   Twin: shaders/transpose.comp
//
//   x  [rows, cols]  real
//   y  [cols, rows]  real; apart from x
//
// Tiles of 64 x 64 are for 256 work-items, each of which turns 4 x 4 in its registers: neighbours have 4 of them side by side and
// 8 one below the other, so that 32 and 64 bytes, in 16 bits, are read and written at a time. Elements that are stored alike move
// as bits. Any number of work-groups is correct.
#include "bitmill.h"
#include "transpose.args.h"

// Halves of two words: the lower ones, and the upper ones.
inline uint lower_pair(uint u, uint v) { return (u & 0xffffu) | (v << 16); }
inline uint upper_pair(uint u, uint v) { return (u >> 16) | (v & 0xffff0000u); }

BM_KERNEL transpose(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads_x = a.x_stride / 4, quads_y = a.y_stride / 4;
    const uint tiles_c = (a.cols + 63) / 64;
    const bool is_alike = x_type == y_type, is_wide = x_type == BM_F32;
    const ulong count = (ulong)((a.rows + 63) / 64) * tiles_c * 256;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint tile = (uint)(i / 256), in = (uint)(i % 256);
        const uint c = tile % tiles_c * 16 + in / 32 % 4 * 4 + in % 4, r = tile / tiles_c * 16 + in / 128 * 8 + in / 4 % 8; // in quads
        if (4 * c >= a.cols || 4 * r >= a.rows)
            continue;
        const uint wanted = min(4u, a.cols - 4 * c), there = min(4u, a.rows - 4 * r);
        const size_t from = (size_t)(4 * r) * quads_x + c, to = (size_t)(4 * c) * quads_y + r;
        if (is_alike && !is_wide) {
            uint2 v[4];
            for (uint k = 0; k < 4; k++)
                v[k] = k < there ? vload2(from + k * quads_x, x) : (uint2)(0u);
            vstore2((uint2)(lower_pair(v[0].x, v[1].x), lower_pair(v[2].x, v[3].x)), to, y);
            if (wanted > 1)
                vstore2((uint2)(upper_pair(v[0].x, v[1].x), upper_pair(v[2].x, v[3].x)), to + quads_y, y);
            if (wanted > 2)
                vstore2((uint2)(lower_pair(v[0].y, v[1].y), lower_pair(v[2].y, v[3].y)), to + 2 * quads_y, y);
            if (wanted > 3)
                vstore2((uint2)(upper_pair(v[0].y, v[1].y), upper_pair(v[2].y, v[3].y)), to + 3 * quads_y, y);
        } else {
            float4 v[4];
            for (uint k = 0; k < 4; k++)
                v[k] = k < there ? bm_load4(x, x_type, from + k * quads_x) : (float4)(0.0f);
            bm_store4(y, y_type, to, (float4)(v[0].x, v[1].x, v[2].x, v[3].x));
            if (wanted > 1)
                bm_store4(y, y_type, to + quads_y, (float4)(v[0].y, v[1].y, v[2].y, v[3].y));
            if (wanted > 2)
                bm_store4(y, y_type, to + 2 * quads_y, (float4)(v[0].z, v[1].z, v[2].z, v[3].z));
            if (wanted > 3)
                bm_store4(y, y_type, to + 3 * quads_y, (float4)(v[0].w, v[1].w, v[2].w, v[3].w));
        }
    }
}
