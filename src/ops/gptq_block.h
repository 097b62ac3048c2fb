// The steps of GPTQ and of what follows it that go column by column, each for one block of columns and all rows at once.
//
// Grids are those of rounding.h: step and zero_point [rows, groups], the same stride. w holds values of the grid behind each
// step, so that rounding w once more gives its codes.
#ifndef BM_OPS_GPTQ_BLOCK_H
#define BM_OPS_GPTQ_BLOCK_H

#include "device/tensor.h"

#define BM_GPTQ_BLOCK 128 // the most columns of a block

// Where a block of columns finds its grid.
typedef struct bm_block_grid {
    const bm_tensor *step, *zero_point; // [rows, groups]
    uint32_t first_column;              // of the block, in the linear
    uint32_t group_size;
    uint32_t bits;
    bm_view group_index; // u32 [cols of the block]: the group of each column; no view: (first_column + c) / group_size
} bm_block_grid;

// Rounds the columns of a block in order, each correcting those behind it.
//
//   w       [rows, cols]  float32, at most BM_GPTQ_BLOCK columns; becomes the rounded weights
//   u       [cols, cols]  float32: the block on the diagonal of U, upper, H^-1 = U^T U
//   errors  [rows, cols]  float32: (w - rounded) / U[c, c]. Columns behind the block become w - errors U[block, behind].
//
// Errors, of all functions here   BM_E_ARGUMENT shapes disagree; those of dispatches.
// Source   Frantar et al., GPTQ, 2023, algorithm 1.
bm_status bm_gptq_block(bm_device *device, const bm_tensor *w, const bm_tensor *u, const bm_block_grid *grid,
                        const bm_tensor *errors, bm_error *err);

// One step of coordinate descent for each column of a block: with all other columns held it becomes the best value of its
// grid, so the error (target - w) H (target - w)^T of each row falls or stays.
//
//   w         [rows, cols]  float32, rounded weights
//   residual  [rows, cols]  float32: (target - w) H at these columns; not updated
//   h         [cols, cols]  float32: the block on the diagonal of H
//   change    [rows, cols]  float32: what was added to w. Residuals become residual - change H[block, all].
//
// Source   Nair and Suggala, CDQuant, 2024, algorithm 1 (cyclic order here).
bm_status bm_code_sweep(bm_device *device, const bm_tensor *w, const bm_tensor *residual, const bm_tensor *h,
                        const bm_block_grid *grid, const bm_tensor *change, bm_error *err);

// The best step of one group with its codes held, in the type in which steps are stored (BM_DTYPE_NONE: float16 down to its
// subnormal numbers, for units of nested steps); kept where the error falls.
//
//   w         [rows, cols]    float32, rounded weights of the group's columns
//   residual  [rows, cols]    float32: (target - w) H at these columns; not updated
//   product   [rows, cols]    float32: w H[group, group]
//   step      [rows, groups]  float32; column group changes
//   change    [rows, cols]    float32: what was added to w
bm_status bm_scale_refit(bm_device *device, const bm_tensor *w, const bm_tensor *residual, const bm_tensor *product,
                         const bm_tensor *step, uint32_t group, bm_dtype scale_dtype, const bm_tensor *change,
                         bm_error *err);

#endif
