// gptq_block, variant _lanes: the columns of one block of GPTQ, in order, for CPU devices. No twin: Vulkan's drivers for CPUs make
// vectors of work-items themselves, so that lanes inside one would be scalars there.
//
// q = w rounded to its grid, error = (w - q) / u[c, c], and the columns behind it in the block give way: w[j] -= error u[c, j].
// Source: Frantar et al., GPTQ, 2023, algorithm 1.
//
//   w            [rows, cols]    float32, cols at most 128; becomes the rounded weights
//   u            [cols, cols]    float32: the block on the diagonal of the upper factor of the inverse Hessian
//   step         [rows, groups]  float32, zero_point [rows, groups] int32
//   group_index  [cols]          u32: the group of each column; absent: (first_column + c) / group_size
//   errors       [rows, cols]    float32, zeros in the row's padding: what columns behind the block are still to be told
//
// A work-item owns 16 rows at a time, as lanes of its vectors: an element of u is one number for all of them. The order of
// operations in a row is that of the generic kernel, and so are the results, bit for bit. Any number of work-groups is correct;
// a work-item is long, so GROUP is 1.
#include "lanes.h"
#include "gptq_block.args.h"

#define MAX_COLS 128

BM_KERNEL gptq_block_lanes(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const float half_codes = (float)(1u << (a.bits - 1));
    for (uint first = get_global_id(0) * BM_LANES; first < a.rows; first += get_global_size(0) * BM_LANES) {
        float16 row[MAX_COLS], error[MAX_COLS];
        bm_lanes_grid grid;
        uint group = 0xffffffffu;
        bm_lanes_load(w, a.w_stride, first, a.rows, quads, row);
        for (uint q = 0; q < quads; q++) {
            float16 v[4] = {row[4 * q], row[4 * q + 1], row[4 * q + 2], row[4 * q + 3]};
            #pragma unroll
            for (uint k = 0; k < 4; k++) {
                const uint c = min(4 * q + k, a.cols - 1);
                __global const float *factor = u + (size_t)c * a.u_stride + 4 * q;
                const uint next = a.has_group_index != 0 ? group_index[c] : (a.first_column + c) / a.group_size;
                if (next != group)
                    grid = bm_lanes_load_grid(step, zero_point, a.step_stride, first, a.rows, next);
                group = next;
                const float16 value = bm_lanes_round(v[k], grid, half_codes);
                error[4 * q + k] = 4 * q + k < a.cols ? (v[k] - value) / factor[k] : (float16)0.0f;
                row[4 * q + k] = value;
                #pragma unroll
                for (uint j = k + 1; j < 4; j++)
                    v[j] = fma(-error[4 * q + k], (float16)(factor[j]), v[j]);
            }
            bm_lanes_subtract(error + 4 * q, u + 4 * (size_t)q * a.u_stride, a.u_stride, q + 1, quads, row);
        }
        bm_lanes_store(row, a.w_stride, first, a.rows, quads, w);
        bm_lanes_store(error, a.errors_stride, first, a.rows, quads, errors);
    }
}
