// cholesky_block: the inverse of the Cholesky factor of one symmetric block: x = L L^T, inverse = L^-1.   Twin: cl/cholesky_block.cl
//
//   x        [rows, rows]  float32, rows at most 8 SIDE; the lower triangle is read
//   inverse  [rows, rows]  float32, zeros above the diagonal; apart from x
//   pivots   [rows]        float32: the squares of the diagonal of L as they come out. Where one is not positive the factor goes
//                          on as if it were 1, so that nothing becomes NaN, and the result is of no use.
//
// One work-group does all, others nothing. Work-items lie in a square of SIDE x SIDE (the largest power of two whose square GROUP
// holds; those behind it have no part), and (i, j) of it has the elements (i + SIDE r, j + SIDE c), r and c below 8, in registers.
// Column j of the factor, when it is known, is taken from the columns behind it and, as in Gauss and Jordan's elimination, from the
// rows of the inverse that lie where columns before it were: row k > j becomes row k - L[k, j] (row j / L[j, j]) of both.
// Of each step all need the column below the diagonal and the row before it, which go through local memory, by turns in two
// places: one barrier a column. Elements above the diagonal are computed with the others and mean nothing.
// GROUP: 256 for 128 rows, 64 for 64. Local memory: 64 SIDE bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "cholesky_block.args.glsl"

const uint SIDE = GROUP >= 256 ? 16 : GROUP >= 64 ? 8 : GROUP >= 16 ? 4 : GROUP >= 4 ? 2 : 1;

shared float line[16 * SIDE];

void main()
{
    const uint lane = gl_LocalInvocationID.x, n = a.rows, ti = lane / SIDE % SIDE, tj = lane % SIDE;
    const bool is_item = lane < SIDE * SIDE;
    float m[64];
    if (gl_WorkGroupID.x != 0)
        return;
    for (uint i = lane; i < 16 * SIDE; i += GROUP)
        line[i] = 0.0; // behind the last row it stays so
    [[unroll]] for (uint r = 0; r < 8; r++)
        [[unroll]] for (uint c = 0; c < 8; c++) {
            const uint i = ti + SIDE * r, k = tj + SIDE * c;
            m[8 * r + c] = i < n && k <= i ? a.x.v[i * a.x_stride + k] : 0.0;
        }
    barrier();
    [[unroll]] for (uint now = 0; now < 8; now++) // columns SIDE * now .., which each work-item has as its column now
        for (uint s = 0; s < SIDE && SIDE * now + s < n; s++) {
            const uint j = SIDE * now + s, place = j % 2 * 8 * SIDE;
            if (is_item && tj == s)
                [[unroll]] for (uint r = 0; r < 8; r++)
                    if (r >= now && ti + SIDE * r >= j)
                        line[place + ti + SIDE * r] = m[8 * r + now];
            if (is_item && ti == s)
                [[unroll]] for (uint c = 0; c < 8; c++)
                    if (c <= now && tj + SIDE * c < j)
                        line[place + tj + SIDE * c] = m[8 * now + c];
            barrier();
            const float pivot = line[place + j], inverse_root = 1.0 / (pivot > 0.0 ? sqrt(pivot) : 1.0);
            float v[8];
            [[unroll]] for (uint c = 0; c < 8; c++)
                v[c] = line[place + tj + SIDE * c] * inverse_root;
            if (tj == s)
                v[now] = inverse_root;
            [[unroll]] for (uint r = 0; r < 8; r++) {
                if (r < now)
                    continue;
                const float l = line[place + ti + SIDE * r] * inverse_root;
                if (ti + SIDE * r == j) {
                    [[unroll]] for (uint c = 0; c < 8; c++)
                        m[8 * r + c] = v[c];
                } else if (ti + SIDE * r > j) {
                    m[8 * r + now] = tj == s ? 0.0 : m[8 * r + now];
                    [[unroll]] for (uint c = 0; c < 8; c++)
                        m[8 * r + c] -= l * v[c];
                }
            }
            if (lane == 0)
                a.pivots.v[j] = pivot;
        }
    [[unroll]] for (uint r = 0; r < 8; r++)
        [[unroll]] for (uint c = 0; c < 8; c++) {
            const uint i = ti + SIDE * r, k = tj + SIDE * c;
            if (is_item && i < n && k < n)
                a.inverse.v[i * a.inverse_stride + k] = k <= i ? m[8 * r + c] : 0.0;
        }
}
