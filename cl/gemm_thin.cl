// gemm, variant _thin: y[i, j] = sum over l of x[i, l] * w[j, l], times factor, plus bias[j], for few rows.   Twin: shaders/gemm_thin.comp
//
//   x     [m, k]  real
//   w     [n, k]  real; the weights of a linear as checkpoints store them
//   bias  [1, n]  real; read where has_bias is 1
//   y     [m, n]  real; apart from x, w and bias
//
// y = bias + factor x w^T, with adds 1 y += that. With lower 1, y[i, j] is not wanted where j > diagonal + i (above
// the diagonal of a symmetric matrix): tiles that lie there stay as they are.
// Generation has one row of x a sequence: reading w is all the work. A work-group takes four rows of w and ROWS rows of x;
// its work-items share the columns and add up at the end. Groups walk the outputs, so any number of them is correct.
// GROUP: a power of two. ROWS: 1 to 8; m may be larger (w is then read once more for each ROWS rows).
// Local memory: GROUP * 16 bytes. Bound: k * 2^-24 * sum |x||w|, then one rounding to the storage type.
#include "bitmill.h"
#include "gemm.args.h"

BM_MANY_REGISTERS BM_KERNEL gemm_thin(BM_PARAMETERS)
{
    BM_BEGIN
    __local float4 part[GROUP];
    const uint lane = get_local_id(0), quads = (a.k + 3) / 4, n_quads = (a.n + 3) / 4;
    const uint blocks = (a.m + ROWS - 1) / ROWS;
    for (uint tile = get_group_id(0); tile < blocks * n_quads; tile += get_num_groups(0)) { // same tile for the group
        const uint first_m = tile / n_quads * ROWS, quad = tile % n_quads;
        float4 sum[ROWS];
        #pragma unroll
        for (uint r = 0; r < ROWS; r++)
            sum[r] = (float4)(0.0f);
        for (uint q = lane; q < quads; q += GROUP) {
            float4 v[4];
            #pragma unroll
            for (uint c = 0; c < 4; c++)
                v[c] = bm_mask4(bm_load4(w, w_type, (size_t)min(4 * quad + c, a.n - 1) * (a.w_stride / 4) + q), q, a.k, 0.0f);
            #pragma unroll
            for (uint r = 0; r < ROWS; r++) {
                const float4 u = bm_mask4(bm_load4(x, x_type, (size_t)min(first_m + r, a.m - 1) * (a.x_stride / 4) + q), q, a.k, 0.0f);
                sum[r] = fma((float4)(u.x), (float4)(v[0].x, v[1].x, v[2].x, v[3].x), sum[r]);
                sum[r] = fma((float4)(u.y), (float4)(v[0].y, v[1].y, v[2].y, v[3].y), sum[r]);
                sum[r] = fma((float4)(u.z), (float4)(v[0].z, v[1].z, v[2].z, v[3].z), sum[r]);
                sum[r] = fma((float4)(u.w), (float4)(v[0].w, v[1].w, v[2].w, v[3].w), sum[r]);
            }
        }
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            part[lane] = sum[r];
            barrier(CLK_LOCAL_MEM_FENCE);
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    part[lane] += part[lane + s];
                barrier(CLK_LOCAL_MEM_FENCE);
            }
            if (lane == 0 && first_m + r < a.m) {
                const size_t at = (size_t)(first_m + r) * (a.y_stride / 4) + quad;
                float4 base = a.adds != 0 ? bm_load4(y, y_type, at) : (float4)(0.0f);
                if (a.has_bias != 0)
                    base += bm_load4(bias, bias_type, quad);
                bm_store4(y, y_type, at, base + part[0] * a.factor);
            }
            barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next row
        }
    }
}
