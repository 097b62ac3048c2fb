// gemm_pack_columns: lays the columns of x out in panels for gemm_packed, as gemm_pack_inputs and gemm_pack_weights lay out the
// rows of x transposed.   Twin: shaders/gemm_pack_columns.comp
//
//   x       [rows, cols]                          real
//   packed  [panels of COLS columns][rows][COLS]  float32: element (r, c) lies at (c / COLS * rows + r) * COLS + c % COLS;
//                                                 columns behind cols are zeros
//
// A work-item moves one row of one panel, neighbours have neighbouring rows; any number of work-groups is correct.
// COLS: columns of a panel.
#include "bitmill.h"
#include "gemm_pack_columns.args.h"

BM_KERNEL gemm_pack_columns(BM_PARAMETERS)
{
    BM_BEGIN
    const ulong count = (ulong)((a.cols + COLS - 1) / COLS) * a.rows;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint panel = (uint)(i / a.rows), r = (uint)(i % a.rows);
        const size_t first = (size_t)r * a.x_stride + panel * COLS;
        if (x_type == BM_F32 && (panel + 1) * COLS <= a.cols) { // a copy, which compilers make wide
            #pragma unroll
            for (uint c = 0; c < COLS; c++)
                packed[(size_t)i * COLS + c] = ((__global const float *)x)[first + c];
            continue;
        }
        #pragma unroll
        for (uint c = 0; c < COLS; c++)
            packed[(size_t)i * COLS + c] = panel * COLS + c < a.cols ? bm_load(x, x_type, first + c) : 0.0f;
    }
}
