// Masters: a block's tensors in a type that loses nothing (float32, or float64 where all is), on the device. What
// changes a block changes them (fold.h); the block that runs, and what is written of a changed block, is made from
// them.
//
// They are a bm_block whose weights lie in plain rows on every device, so that their parts can be read back row by row.
#ifndef BM_MODEL_MASTERS_H
#define BM_MODEL_MASTERS_H

#include "model/block.h"

// How their weights lie: in plain rows.
extern const bm_gemm_choice bm_masters_choice;
// Loads the masters of block index; dtype is BM_DTYPE_F32 or, on the host, BM_DTYPE_F64. Destroy with bm_block_destroy.
// Errors: those of bm_block_load.
bm_status bm_masters_load(const bm_model *model, bm_device *device, uint32_t index, bm_dtype dtype, bm_block *out,
                          bm_error *err);
// Makes out a block with the masters' tensors stored as dtype. out is empty, or was made from masters of the same
// model: its weights are then written over. A value beyond float16's range is reported at the next wait, under the
// tensor's name. Errors: BM_E_MEMORY; BM_E_DEVICE. Destroy out with bm_block_destroy, after an error too.
bm_status bm_masters_make_block(bm_device *device, const bm_block *masters, bm_dtype dtype, bm_block *out,
                                bm_error *err);

#endif
