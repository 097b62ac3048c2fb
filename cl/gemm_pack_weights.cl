// gemm_pack_weights: lays rows of w out in panels for gemm_packed.   Twin: shaders/gemm_pack_weights.comp
//
//   x       [rows, k]                       real; rows first_row .. first_row + rows - 1 of w
//   packed  [panels of COLS rows][k][COLS]  real: element (j, l) of w lies at (j / COLS * k + l) * COLS + j % COLS;
//                                           elements of other rows stay as they are
//
// NaN and infinity are reported, with their place in x, and so is a value above float16's range.
// A work-item moves four rows and 64 columns, neighbours those of neighbouring rows of a panel, so that panels are written
// in sequence; any number of work-groups is correct.
// COLS: rows of w (columns of y) of a panel, a multiple of 4.
#include "bitmill.h"
#include "gemm_pack_weights.args.h"

#define QUADS 16 // of columns that a work-item moves: a run of x that the CPU fetches ahead

BM_KERNEL gemm_pack_weights(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.k + 3) / 4, across = (quads + QUADS - 1) / QUADS, first_panel = a.first_row / COLS, end = a.first_row + a.rows;
    const uint count = ((end + COLS - 1) / COLS - first_panel) * across * (COLS / 4);
    for (uint i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint step = i / (COLS / 4), panel = step / across, first_quad = (step - panel * across) * QUADS;
        const uint row = (first_panel + panel) * COLS + i % (COLS / 4) * 4;
        if (row + 3 < a.first_row || row >= end)
            continue;
        uint x_row[4];
        bool inside[4];
        #pragma unroll
        for (uint r = 0; r < 4; r++) {
            inside[r] = row + r >= a.first_row && row + r < end;
            x_row[r] = clamp(row + r, a.first_row, end - 1) - a.first_row; // outside: a neighbour, which is not written
        }
        for (uint q = first_quad; q < min(first_quad + QUADS, quads); q++) {
            float4 v[4], none = 0.0f, peak = 0.0f;
            #pragma unroll
            for (uint r = 0; r < 4; r++) {
                v[r] = bm_load4(x, x_type, (size_t)x_row[r] * (a.x_stride / 4) + q);
                if (4 * q + 4 > a.k)
                    v[r] = bm_mask4(v[r], q, a.k, 0.0f);
                none += v[r] * 0.0f; // NaN for NaN and infinity
                peak = fmax(peak, fabs(v[r]));
            }
            if ((packed_type == BM_F16 && any(peak >= 65520.0f)) || !(none.x + none.y + none.z + none.w == 0.0f)) {
                for (uint r = 0; r < 4; r++) {
                    const bool fits = packed_type != BM_F16 || all(fabs(v[r]) < 65520.0f);
                    if (!(bm_is_finite(v[r].x) && bm_is_finite(v[r].y) && bm_is_finite(v[r].z) && bm_is_finite(v[r].w) && fits))
                        bm_report(BM_REPORT_NOT_FINITE, x_row[r] * a.k + 4 * q);
                }
            }
            const float4 columns[4] = {(float4)(v[0].x, v[1].x, v[2].x, v[3].x), (float4)(v[0].y, v[1].y, v[2].y, v[3].y),
                                       (float4)(v[0].z, v[1].z, v[2].z, v[3].z), (float4)(v[0].w, v[1].w, v[2].w, v[3].w)};
            const size_t first = (((size_t)(row / COLS) * a.k + 4 * q) * COLS + row % COLS) / 4;
            #pragma unroll
            for (uint l = 0; l < 4; l++) {
                if (4 * q + l >= a.k)
                    continue;
                const size_t at = first + l * (COLS / 4);
                float4 c = columns[l];
                if (!(inside[0] && inside[3])) { // a quad that holds rows of another call
                    const float4 old = bm_load4(packed, packed_type, at);
                    c = (float4)(inside[0] ? c.x : old.x, inside[1] ? c.y : old.y, inside[2] ? c.z : old.z, inside[3] ? c.w : old.w);
                }
                bm_store4(packed, packed_type, at, c);
            }
        }
    }
}
