// gemm_unpack_weights: rows of w out of the panels of gemm_pack_weights.   Twin: shaders/gemm_unpack_weights.comp
//
//   packed  [panels of COLS rows][k][COLS]  real: element (j, l) of w lies at (j / COLS * k + l) * COLS + j % COLS
//   y       [rows, k]                       real; rows first_row .. first_row + rows - 1 of w
//
// A work-item moves four columns of a row; any number of work-groups is correct.
// COLS: rows of w (columns of y) of a panel, a multiple of 4.
#include "bitmill.h"
#include "gemm_unpack_weights.args.h"

BM_KERNEL gemm_unpack_weights(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.k + 3) / 4;
    const ulong count = (ulong)a.rows * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint r = (uint)(i / quads), q = (uint)(i % quads), row = a.first_row + r;
        const size_t panel = (size_t)(row / COLS) * a.k;
        float v[4];
        for (uint l = 0; l < 4; l++)
            v[l] = 4 * q + l < a.k ? bm_load(packed, packed_type, (panel + 4 * q + l) * COLS + row % COLS) : 0.0f;
        bm_store4(y, y_type, (size_t)r * (a.y_stride / 4) + q, (float4)(v[0], v[1], v[2], v[3]));
    }
}
