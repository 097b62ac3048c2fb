// code_sweep, variant _lanes: coordinate descent over the codes of one block of columns, for CPU devices. No twin: Vulkan's drivers
// for CPUs make vectors of work-items themselves, so that lanes inside one would be scalars there.
//
// With all others held, a column's best value is w + residual / h[c, c]; its rounding replaces it, and the residuals behind it in
// the block follow: residual[j] -= change h[c, j].
// Source: coordinate descent on the quadratic form of the output error, as in Nair and Suggala, CDQuant, 2024.
//
//   w         [rows, cols]    float32, cols at most 128: rounded weights; becomes better ones
//   residual  [rows, cols]    float32: (target - w) H at these columns
//   h         [cols, cols]    float32: the block on the diagonal of H; columns where its diagonal is 0 stay
//   step      [rows, groups]  float32, zero_point [rows, groups] int32; column c is of group (first_column + c) / group_size
//   change    [rows, cols]    float32, zeros in the row's padding: what was added to w
//
// A work-item owns 16 rows at a time, as lanes of its vectors: an element of h is one number for all of them. The order of
// operations in a row is that of the generic kernel, and so are the results, bit for bit. Any number of work-groups is correct;
// a work-item is long, so GROUP is 1.
#include "lanes.h"
#include "code_sweep.args.h"

#define MAX_COLS 128

BM_KERNEL code_sweep_lanes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const float half_codes = (float)(1u << (a.bits - 1));
    for (uint first = get_global_id(0) * BM_LANES; first < a.rows; first += get_global_size(0) * BM_LANES) {
        float16 weights[MAX_COLS], rest[MAX_COLS], d[MAX_COLS];
        bm_lanes_grid grid;
        uint group = 0xffffffffu;
        bm_lanes_load(w, a.w_stride, first, a.rows, quads, weights);
        bm_lanes_load(residual, a.residual_stride, first, a.rows, quads, rest);
        for (uint q = 0; q < quads; q++) {
            float16 r[4] = {rest[4 * q], rest[4 * q + 1], rest[4 * q + 2], rest[4 * q + 3]};
            #pragma unroll
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1), next = (a.first_column + c) / a.group_size;
                __global const float *factor = h + (size_t)c * a.h_stride + 4 * q;
                if (next != group)
                    grid = bm_lanes_load_grid(step, zero_point, a.step_stride, first, a.rows, next);
                group = next;
                const bool moves = 4 * q + k < a.cols && factor[k] > 0.0f;
                const float16 v = weights[4 * q + k];
                const float16 best = moves ? bm_lanes_round(v + r[k] / factor[k], grid, half_codes) : v;
                d[4 * q + k] = moves ? best - v : (float16)0.0f;
                weights[4 * q + k] = best;
                #pragma unroll
                for (uint j = k + 1; j < 4; j++)
                    r[j] = fma(-d[4 * q + k], (float16)(factor[j]), r[j]);
            }
            bm_lanes_subtract(d + 4 * q, h + 4 * (size_t)q * a.h_stride, a.h_stride, q + 1, quads, rest);
        }
        bm_lanes_store(weights, a.w_stride, first, a.rows, quads, w);
        bm_lanes_store(d, a.change_stride, first, a.rows, quads, change);
    }
}
