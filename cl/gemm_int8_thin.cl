// gemm_int8, variant _thin: y[i, j] = (sum over l of x[i, l] * w[j, l]) * step of row i * step of feature j, plus bias[j], for few rows.   Twin: shaders/gemm_int8_thin.comp
//
//   x       [m, k]               int8 codes; what is behind column k does not count
//   w       [n, k]               int8 codes
//   x_rows  [m, 4]               float32: element 0 is the step of the row, from quantize_rows
//   w_step  [n, 4]               float32: element 0 is the step of the output feature
//   bias    [1, n]               real; read where has_bias is 1
//   y       [m, n]               real; written, or with compares 1 only read: the outputs that are wanted
//   loss    [m, ceil(n / 16)]    float32; written with compares 1: the squared error of 16 outputs
//
// y[i, j] = fl(fl(fl(sum) step of x) step of w) + bias, each operation rounded once, where sum is the exact integer: the same
// bits on every device, as is loss: ((q0 + q1) + (q2 + q3)) of quads (d0² + d1²) + (d2² + d3²), d = wanted - y in float32.
// k: at most 131071 (a sum of products of -128 stays below 2^31).
// Generation has one row of x a sequence: reading w is all the work. A work-group takes 16 rows of w and ROWS rows of x: its
// work-items share the columns, and add up at the end. Groups walk the outputs, so any number of them is correct.
// GROUP: a power of two, at least 4. ROWS: 1 to 8; m may be larger (w is then read once more for each ROWS rows).
// Local memory: GROUP * 16 bytes.
#include "int8.h"
#include "gemm_int8.args.h"

BM_MANY_REGISTERS BM_KERNEL gemm_int8_thin(BM_PARAMETERS)
{
    BM_BEGIN
    __local int4 part[GROUP];
    __local float parts[ROWS * 4]; // errors of quads
    const uint lane = get_local_id(0), chunks = (a.k + 15) / 16, n_blocks = (a.n + BM_LOSS_COLS - 1) / BM_LOSS_COLS;
    const uint x_blocks = (a.m + ROWS - 1) / ROWS;
    for (uint tile = get_group_id(0); tile < x_blocks * n_blocks; tile += get_num_groups(0)) { // same tile for the group
        const uint first_m = tile / n_blocks * ROWS, block = tile % n_blocks;
        for (uint c = 0; c < 4; c++) {
            const uint quad = 4 * block + c;
            int4 sum[ROWS];
            #pragma unroll
            for (uint r = 0; r < ROWS; r++)
                sum[r] = (int4)(0);
            for (uint q = lane; q < chunks; q += GROUP) {
                uint4 v[4];
                #pragma unroll
                for (uint j = 0; j < 4; j++)
                    v[j] = bm_load_codes(w, min(4 * quad + j, a.n - 1), a.w_stride, q, a.k);
                #pragma unroll
                for (uint r = 0; r < ROWS; r++) {
                    const uint4 u = bm_load_codes(x, min(first_m + r, a.m - 1), a.x_stride, q, a.k);
                    int s[4] = {sum[r].x, sum[r].y, sum[r].z, sum[r].w};
                    #pragma unroll
                    for (uint j = 0; j < 4; j++)
                        s[j] = bm_dot4(u.w, v[j].w, bm_dot4(u.z, v[j].z, bm_dot4(u.y, v[j].y, bm_dot4(u.x, v[j].x, s[j]))));
                    sum[r] = (int4)(s[0], s[1], s[2], s[3]);
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
                const uint row = first_m + r;
                if (lane == 0) {
                    float error = 0.0f;
                    if (row < a.m && 4 * quad < a.n) {
                        const size_t at = (size_t)row * (a.y_stride / 4) + quad;
                        const float4 base = a.has_bias != 0 ? bm_load4(bias, bias_type, quad) : (float4)(0.0f);
                        const float4 out = bm_int8_outputs(part[0], x_rows[4 * (size_t)row], bm_load_steps(w_step, quad, a.n), base);
                        if (a.compares != 0)
                            error = bm_error4(bm_load4(y, y_type, at), out, quad, a.n);
                        else
                            bm_store4(y, y_type, at, out);
                    }
                    parts[r * 4 + c] = error;
                }
                barrier(CLK_LOCAL_MEM_FENCE); // part is reused by the next row
            }
        }
        for (uint r = lane; r < ROWS; r += GROUP)
            if (a.compares != 0 && first_m + r < a.m)
                loss[(size_t)(first_m + r) * a.loss_stride + block] =
                    (parts[4 * r] + parts[4 * r + 1]) + (parts[4 * r + 2] + parts[4 * r + 3]);
        barrier(CLK_LOCAL_MEM_FENCE); // parts are reused by the next outputs
    }
}
