// cholesky_block: the inverse of the Cholesky factor of one symmetric block: x = L L^T, inverse = L^-1.   Twin: shaders/cholesky_block.comp
//
//   x        [rows, rows]  float32, rows at most 8 SIDE; the lower triangle counts
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
#include "bitmill.h"
#include "cholesky_block.args.h"

#define SIDE (GROUP >= 256 ? 16 : GROUP >= 64 ? 8 : GROUP >= 16 ? 4 : GROUP >= 4 ? 2 : 1)

#ifdef POCL_DEVICE_ADDRESS_BITS // CPUs have no registers for all elements; eight copies of the loop take PoCL minutes to compile
#define UNROLL
#else
#define UNROLL _Pragma("unroll")
#endif

// Columns SIDE * R .. of the block, which each work-item has as its column R; a macro, so that elements stay in registers.
#define CHOLESKY_COLUMNS(R)                                                                                                          \
    for (uint s = 0; s < SIDE && SIDE * R + s < n; s++) {                                                                            \
        const uint j = SIDE * R + s;                                                                                                 \
        __local float *now = line[j % 2];                                                                                            \
        if (is_item && tj == s)                                                                                                      \
            UNROLL for (uint r = R; r < 8; r++)                                                                                      \
                if (ti + SIDE * r >= j)                                                                                              \
                    now[ti + SIDE * r] = m[r][R];                                                                                    \
        if (is_item && ti == s)                                                                                                      \
            UNROLL for (uint c = 0; c <= R; c++)                                                                                     \
                if (tj + SIDE * c < j)                                                                                               \
                    now[tj + SIDE * c] = m[R][c];                                                                                    \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                                \
        const float pivot = now[j], inverse_root = 1.0f / (pivot > 0.0f ? sqrt(pivot) : 1.0f);                                       \
        float v[8];                                                                                                                  \
        UNROLL for (uint c = 0; c < 8; c++)                                                                                          \
            v[c] = now[tj + SIDE * c] * inverse_root;                                                                                \
        if (tj == s)                                                                                                                 \
            v[R] = inverse_root;                                                                                                     \
        UNROLL for (uint r = R; r < 8; r++) {                                                                                        \
            const float l = now[ti + SIDE * r] * inverse_root;                                                                       \
            if (ti + SIDE * r == j) {                                                                                                \
                UNROLL for (uint c = 0; c < 8; c++)                                                                                  \
                    m[r][c] = v[c];                                                                                                  \
            } else if (ti + SIDE * r > j) {                                                                                          \
                m[r][R] = tj == s ? 0.0f : m[r][R];                                                                                  \
                UNROLL for (uint c = 0; c < 8; c++)                                                                                  \
                    m[r][c] = fma(-l, v[c], m[r][c]);                                                                                \
            }                                                                                                                        \
        }                                                                                                                            \
        if (lane == 0)                                                                                                               \
            pivots[j] = pivot;                                                                                                       \
    }

BM_MANY_REGISTERS BM_KERNEL cholesky_block(BM_PARAMETERS)
{
    BM_BEGIN
    __local float line[2][8 * SIDE];
    const uint lane = get_local_id(0), n = a.rows, ti = lane / SIDE % SIDE, tj = lane % SIDE;
    const bool is_item = lane < SIDE * SIDE;
    float m[8][8];
    if (get_group_id(0) != 0)
        return;
    UNROLL for (uint r = 0; r < 8; r++) // behind the last row and column, the last again: nobody asks for what becomes of it
        UNROLL for (uint c = 0; c < 8; c++)
            m[r][c] = x[(ulong)min(ti + SIDE * r, n - 1) * a.x_stride + min(tj + SIDE * c, n - 1)];
#ifdef POCL_DEVICE_ADDRESS_BITS
    for (uint k = 0; k < 8; k++)
        CHOLESKY_COLUMNS(k)
#else
    CHOLESKY_COLUMNS(0)
    CHOLESKY_COLUMNS(1)
    CHOLESKY_COLUMNS(2)
    CHOLESKY_COLUMNS(3)
    CHOLESKY_COLUMNS(4)
    CHOLESKY_COLUMNS(5)
    CHOLESKY_COLUMNS(6)
    CHOLESKY_COLUMNS(7)
#endif
    UNROLL for (uint r = 0; r < 8; r++)
        UNROLL for (uint c = 0; c < 8; c++) {
            const uint i = ti + SIDE * r, k = tj + SIDE * c;
            if (is_item && i < n && k < n)
                inverse[(ulong)i * a.inverse_stride + k] = k <= i ? m[r][c] : 0.0f;
        }
}
