// gemm_pack_inputs: lays the rows of x out in panels for gemm_packed.   Twin: shaders/gemm_pack_inputs.comp
//
//   x       [m, k]                          real
//   packed  [panels of ROWS rows][k][ROWS]  float32: element (i, l) lies at (i / ROWS * k + l) * ROWS + i % ROWS;
//                                           rows behind m are zeros
//
// A work-item moves four columns of one panel; any number of work-groups is correct.
// ROWS: rows of a panel, 1 to 16.
#include "bitmill.h"
#include "gemm_pack_inputs.args.h"

BM_KERNEL gemm_pack_inputs(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.k + 3) / 4;
    const ulong count = (ulong)((a.m + ROWS - 1) / ROWS) * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint panel = (uint)(i / quads), q = (uint)(i % quads);
        __global float *out = packed + ((size_t)panel * a.k + 4 * q) * ROWS;
        #pragma unroll
        for (uint r = 0; r < ROWS; r++) {
            const uint row = panel * ROWS + r;
            const float4 v = row < a.m ? bm_load4(x, x_type, (size_t)row * (a.x_stride / 4) + q) : (float4)(0.0f);
            out[r] = v.x;
            if (4 * q + 1 < a.k)
                out[ROWS + r] = v.y;
            if (4 * q + 2 < a.k)
                out[2 * ROWS + r] = v.z;
            if (4 * q + 3 < a.k)
                out[3 * ROWS + r] = v.w;
        }
    }
}
