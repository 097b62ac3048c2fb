// gemm_pack_weights: lays rows of w out in panels for gemm_packed.   Twin: shaders/gemm_pack_weights.comp
//
//   x       [rows, k]                       real; rows first_row .. first_row + rows - 1 of w
//   packed  [panels of COLS rows][k][COLS]  real: element (j, l) of w lies at (j / COLS * k + l) * COLS + j % COLS;
//                                           elements of other rows stay as they are
//
// NaN and infinity are reported, with their place in x, and so is a value above float16's range.
// A work-item moves four rows and four columns; any number of work-groups is correct.
// COLS: rows of w (columns of y) of a panel, a multiple of 4.
#include "bitmill.h"
#include "gemm_pack_weights.args.h"

BM_KERNEL gemm_pack_weights(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.k + 3) / 4, first_group = a.first_row / 4;
    const ulong count = (ulong)((a.first_row + a.rows + 3) / 4 - first_group) * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint row = (first_group + (uint)(i / quads)) * 4, q = (uint)(i % quads);
        float4 v[4];
        bool inside[4];
        for (uint r = 0; r < 4; r++) {
            inside[r] = row + r >= a.first_row && row + r < a.first_row + a.rows;
            const uint x_row = row + r - a.first_row;
            v[r] = inside[r] ? bm_mask4(bm_load4(x, x_type, (size_t)x_row * (a.x_stride / 4) + q), q, a.k, 0.0f) : (float4)(0.0f);
            const bool fits = packed_type != BM_F16 || all(fabs(v[r]) < 65520.0f);
            if (!(bm_is_finite(v[r].x) && bm_is_finite(v[r].y) && bm_is_finite(v[r].z) && bm_is_finite(v[r].w) && fits))
                bm_report(BM_REPORT_NOT_FINITE, x_row * a.k + 4 * q);
        }
        const float4 columns[4] = {(float4)(v[0].x, v[1].x, v[2].x, v[3].x), (float4)(v[0].y, v[1].y, v[2].y, v[3].y),
                                   (float4)(v[0].z, v[1].z, v[2].z, v[3].z), (float4)(v[0].w, v[1].w, v[2].w, v[3].w)};
        for (uint l = 0; l < 4 && 4 * q + l < a.k; l++) {
            const size_t at = (((size_t)(row / COLS) * a.k + 4 * q + l) * COLS + row % COLS) / 4;
            float4 c = columns[l];
            if (!(inside[0] && inside[3])) { // a quad that holds rows of another call
                const float4 old = bm_load4(packed, packed_type, at);
                c = (float4)(inside[0] ? c.x : old.x, inside[1] ? c.y : old.y, inside[2] ? c.z : old.z, inside[3] ? c.w : old.w);
            }
            bm_store4(packed, packed_type, at, c);
        }
    }
}
