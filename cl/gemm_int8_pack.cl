// gemm_int8_pack: lays rows of codes out in panels of floats for gemm_int8_packed.   Twin: shaders/gemm_int8_pack.comp
//
//   codes   [rows, k]                          int8
//   packed  [panels of COLS rows][k][COLS]     float32: element (r, l) lies at (j / COLS * k + l) * COLS + j % COLS,
//                                              j = first_row + r
//
// Rows behind rows, up to padded_rows, are written as zeros; other elements stay as they are.
// A work-item moves four columns of one panel; any number of work-groups is correct.
// COLS: rows of a panel.
#include "bitmill.h"
#include "gemm_int8_pack.args.h"

BM_KERNEL gemm_int8_pack(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.k + 3) / 4, first_panel = a.first_row / COLS;
    const uint panels = (a.first_row + a.padded_rows - 1) / COLS - first_panel + 1;
    const ulong count = (ulong)panels * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint panel = first_panel + (uint)(i / quads), q = (uint)(i % quads);
        __global float *out = packed + ((size_t)panel * a.k + 4 * q) * COLS;
        #pragma unroll
        for (uint c = 0; c < COLS; c++) {
            const uint row = panel * COLS + c - a.first_row; // wraps around before the first
            if (row < a.padded_rows) {
                const uint word = row < a.rows ? codes[(size_t)row * (a.code_stride / 4) + q] : 0u;
                const float4 v = convert_float4(as_char4(word));
                out[c] = v.x;
                if (4 * q + 1 < a.k)
                    out[COLS + c] = v.y;
                if (4 * q + 2 < a.k)
                    out[2 * COLS + c] = v.z;
                if (4 * q + 3 < a.k)
                    out[3 * COLS + c] = v.w;
            }
        }
    }
}
