// gemm: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j].   Twin: shaders/gemm.comp
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// A work-group of 64 computes a square of 32 x 32 outputs, a work-item 4 x 4 of them. Slices of SLICE columns of x and w go
// through local memory, transposed, so that a work-item reads its four rows with one load. Groups walk the squares, so any
// number of them is correct.
// GROUP: 64. SLICE: 4 or 8. Local memory: SLICE * 256 bytes.
// Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#include "bitmill.h"
#include "gemm.args.h"

// Columns 4 q .. 4 q + 3 of a row; zeros behind column k.
inline float4 gemm_load(__global const uint *b, uint type, uint row, uint stride, uint q, uint k)
{
    return 4 * q < k ? bm_mask4(bm_load4(b, type, (size_t)row * (stride / 4) + q), q, k, 0.0f) : (float4)(0.0f);
}

BM_MANY_REGISTERS BM_KERNEL gemm(BM_PARAMETERS)
{
    BM_BEGIN
    __local float xs[SLICE * 32], ws[SLICE * 32]; // [column of the slice][row of the square]
    const uint lane = get_local_id(0);
    const uint x_quad = lane / 8, w_quad = lane % 8;                       // the 4 x 4 outputs of this work-item
    const uint load_row = lane / (SLICE / 4), load_quad = lane % (SLICE / 4); // what it brings in, with a stride of rows
    const uint rows_a_pass = GROUP / (SLICE / 4);
    const uint tiles_m = (a.m + 31) / 32, tiles_n = (a.n + 31) / 32;
    for (uint tile = get_group_id(0); tile < tiles_m * tiles_n; tile += get_num_groups(0)) { // same tile for the group
        const uint first_m = tile / tiles_n * 32, first_n = tile % tiles_n * 32;
        const bool is_wanted = a.lower == 0 || (int)first_n < a.diagonal + (int)first_m + 32;
        const uint k = is_wanted ? a.k : 0; // no branch around barriers
        float4 sum[4];
        for (uint r = 0; r < 4; r++)
            sum[r] = (float4)(0.0f);
        for (uint first_k = 0; first_k < k; first_k += SLICE) {
            for (uint row = load_row; row < 32; row += rows_a_pass) {
                const uint q = first_k / 4 + load_quad;
                const float4 u = gemm_load(x, x_type, min(first_m + row, a.m - 1), a.x_stride, q, a.k);
                const float4 v = gemm_load(w, w_type, min(first_n + row, a.n - 1), a.w_stride, q, a.k);
                const uint at = load_quad * 4 * 32 + row;
                xs[at] = u.x; xs[at + 32] = u.y; xs[at + 64] = u.z; xs[at + 96] = u.w;
                ws[at] = v.x; ws[at + 32] = v.y; ws[at + 64] = v.z; ws[at + 96] = v.w;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint l = 0; l < SLICE; l++) {
                const float4 u = vload4(l * 8 + x_quad, xs), v = vload4(l * 8 + w_quad, ws);
                sum[0] = fma((float4)(u.x), v, sum[0]);
                sum[1] = fma((float4)(u.y), v, sum[1]);
                sum[2] = fma((float4)(u.z), v, sum[2]);
                sum[3] = fma((float4)(u.w), v, sum[3]);
            }
            barrier(CLK_LOCAL_MEM_FENCE); // the next slice overwrites this one
        }
        const uint quad = first_n / 4 + w_quad;
        for (uint r = 0; r < 4; r++) {
            const uint row = first_m + 4 * x_quad + r;
            if (is_wanted && row < a.m && 4 * quad < a.n) {
                const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                if (a.has_bias != 0)
                    base += bm_load4(bias, bias_type, quad);
                bm_store4(y, y_type, at, base + sum[r] * a.factor);
            }
        }
    }
}
