// rope: rotates the first rotary_dim elements of every head by the angles of its token's position, in place.   Twin: cl/rope.cl
//
//   x               [tokens, heads * head_dim]     real; head_dim and rotary_dim are multiples of 8
//   cosines, sines  [positions, rotary_dim / 2]    float32, made on the host in float64 and rounded
//   positions       [1, tokens]                    u32: the row of the tables
//
// Angle i turns the pair (x[i], x[i + rotary_dim / 2]), or (x[2 i], x[2 i + 1]) where interleaved is not 0:
//   x' = x cos - other sin,  other' = other cos + x sin.
// A work-item turns four pairs; any number of work-groups is correct.
// Source: Su et al., RoFormer, 2021, equation 34.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "rope.args.glsl"

void main()
{
    const uint quads = a.rotary_dim / 8;
    const uint count = a.tokens * a.heads * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint q = i % quads, h = i / quads % a.heads, t = i / quads / a.heads;
        const uint head = (t * a.x_stride + h * a.head_dim) / 4;
        const uint first = head + (a.interleaved != 0 ? 2 * q : q), second = a.interleaved != 0 ? first + 1 : first + quads;
        const vec4 u = bm_load4(a.x, x_type, first), v = bm_load4(a.x, x_type, second);
        const vec4 low = a.interleaved != 0 ? vec4(u.x, u.z, v.x, v.z) : u;
        const vec4 high = a.interleaved != 0 ? vec4(u.y, u.w, v.y, v.w) : v;
        const uint angle = a.positions.v[t] * (a.table_stride / 4) + q;
        const vec4 c = bm_floats4(uvec2(a.cosines)).v[angle], s = bm_floats4(uvec2(a.sines)).v[angle];
        const vec4 new_low = low * c - high * s, new_high = high * c + low * s;
        if (a.interleaved != 0) {
            bm_store4(a.x, x_type, first, vec4(new_low.x, new_high.x, new_low.y, new_high.y));
            bm_store4(a.x, x_type, second, vec4(new_low.z, new_high.z, new_low.w, new_high.w));
        } else {
            bm_store4(a.x, x_type, first, new_low);
            bm_store4(a.x, x_type, second, new_high);
        }
    }
}
