// join_parts: y = factor product[i, j] x_scale[i] w_scale[j], with adds 1 y += that.   Twin: shaders/join_parts.comp
//
//   product           [rows, cols]              float32: of rows in parts (split_parts)
//   x_scale, w_scale  [1, rows] and [1, cols]   float32: powers of two
//   y                 [rows, cols]              float32; apart from the others
//
// A work-item makes a quad; any number of work-groups is correct. Both scales together go in two halves, which are powers of two as
// well: so nothing between overflows, or vanishes, that y does not. A product of parts is below 2^41; the factor is not below 2^-78.
// Bound: that of a sum and three products, of which those with powers of two round nothing.
#include "bitmill.h"
#include "join_parts.args.h"

BM_KERNEL join_parts(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads);
        const size_t at = (size_t)r * (a.y_stride / 4) + q;
        const uint4 exponents = (as_uint(x_scale[r]) >> 23) + (as_uint4(vload4(q, w_scale)) >> 23), low = exponents / 2;
        const float4 v = vload4((size_t)r * (a.product_stride / 4) + q, product) * a.factor * as_float4(low << 23) *
                         as_float4((exponents - low) << 23);
        vstore4(a.adds != 0 ? vload4(at, y) + v : v, at, y);
    }
}
