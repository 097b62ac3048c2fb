// rope: rotates the first rotary_dim elements of every head by the angles of its token's position, in place.   Twin: shaders/rope.comp
//
//   x               [tokens, heads * head_dim]     real; head_dim and rotary_dim are multiples of 8
//   cosines, sines  [positions, rotary_dim / 2]    float32, made on the host in float64 and rounded
//   positions       [1, tokens]                    u32: the row of the tables
//
// Angle i turns the pair (x[i], x[i + rotary_dim / 2]), or (x[2 i], x[2 i + 1]) where interleaved is not 0:
//   x' = x cos - other sin,  other' = other cos + x sin.
// A work-item turns four pairs; any number of work-groups is correct.
// Source: Su et al., RoFormer, 2021, equation 34.
#include "bitmill.h"
#include "rope.args.h"

BM_KERNEL rope(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = a.rotary_dim / 8;
    const ulong count = (ulong)a.tokens * a.heads * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint q = (uint)(i % quads), h = (uint)(i / quads % a.heads), t = (uint)(i / quads / a.heads);
        const ulong head = ((ulong)t * a.x_stride + (ulong)h * a.head_dim) / 4;
        const ulong first = head + (a.interleaved != 0 ? 2 * q : q), second = a.interleaved != 0 ? first + 1 : first + quads;
        const float4 u = bm_load4(x, x_type, first), v = bm_load4(x, x_type, second);
        const float4 low = a.interleaved != 0 ? (float4)(u.x, u.z, v.x, v.z) : u;
        const float4 high = a.interleaved != 0 ? (float4)(u.y, u.w, v.y, v.w) : v;
        const ulong angle = (ulong)positions[t] * (a.table_stride / 4) + q;
        const float4 c = vload4(angle, cosines), s = vload4(angle, sines);
        const float4 new_low = low * c - high * s, new_high = high * c + low * s;
        if (a.interleaved != 0) {
            bm_store4(x, x_type, first, (float4)(new_low.x, new_high.x, new_low.y, new_high.y));
            bm_store4(x, x_type, second, (float4)(new_low.z, new_high.z, new_low.w, new_high.w));
        } else {
            bm_store4(x, x_type, first, new_low);
            bm_store4(x, x_type, second, new_high);
        }
    }
}
