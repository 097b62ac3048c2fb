// rope: rotates the first rotary_dim elements of every head by the angles of its token's position, in place.   Twin: shaders/rope.comp
//
//   x               [tokens, heads * head_dim]     real; head_dim and rotary_dim are multiples of 8
//   cosines, sines  [positions, rotary_dim / 2]    float32, made on the host in float64 and rounded
//   positions       [1, tokens]                    u32: the row of the tables
//
// Angle i turns the pair (x[i], x[i + rotary_dim / 2]), or (x[2 i], x[2 i + 1]) where interleaved is not 0:
//   x' = x cos - other sin,  other' = other cos + x sin.
// A work-item turns WIDTH pairs; any number of work-groups is correct.
// WIDTH: 4 or 16.
// Source: Su et al., RoFormer, 2021, equation 34.
#include "bitmill.h"
#include "rope.args.h"
#include "wide.h"

BM_KERNEL rope(BM_PARAMETERS)
{
    BM_BEGIN
    const uint half_dim = a.rotary_dim / 2, across = (half_dim + WIDTH - 1) / WIDTH, count = a.tokens * a.heads * across;
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint row = i / across, t = row / a.heads, h = row - t * a.heads, k = (i - row * across) * WIDTH;
        const size_t head = ((size_t)t * a.x_stride + h * a.head_dim) / 4, angle = (size_t)positions[t] * (a.table_stride / 4);
        const bm_wide c = bm_load_wide((__global const uint *)cosines, BM_F32, angle, k, half_dim);
        const bm_wide s = bm_load_wide((__global const uint *)sines, BM_F32, angle, k, half_dim);
        if (a.interleaved != 0) {
            const bm_wide u = bm_load_wide(x, x_type, head, 2 * k, a.rotary_dim);
            const bm_wide v = bm_load_wide(x, x_type, head, 2 * k + WIDTH, a.rotary_dim);
            const bm_wide low = (bm_wide)(u.even, v.even), high = (bm_wide)(u.odd, v.odd);
            const bm_wide new_low = low * c - high * s, new_high = high * c + low * s;
            bm_wide first, second;
            first.even = new_low.lo, first.odd = new_high.lo;
            second.even = new_low.hi, second.odd = new_high.hi;
            bm_store_wide(x, x_type, head, 2 * k, a.rotary_dim, first);
            bm_store_wide(x, x_type, head, 2 * k + WIDTH, a.rotary_dim, second);
        } else {
            const bm_wide low = bm_load_wide(x, x_type, head, k, half_dim);
            const bm_wide high = bm_load_wide(x, x_type, head + half_dim / 4, k, half_dim);
            bm_store_wide(x, x_type, head, k, half_dim, low * c - high * s);
            bm_store_wide(x, x_type, head + half_dim / 4, k, half_dim, high * c + low * s);
        }
    }
}
