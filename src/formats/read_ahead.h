// Reading ahead: a thread reads whole tensors into memory, and checks that they are finite, before they are asked for.
// Who then reads them, by bm_checkpoint_read or bm_checkpoint_take, waits for the thread at most. What the thread could
// not read is read again where it is asked for: there, and only there, errors arise.
#ifndef BM_FORMATS_READ_AHEAD_H
#define BM_FORMATS_READ_AHEAD_H

#include "base/timeline.h"
#include "formats/checkpoint.h"

// Starts the thread; the checkpoint has one reader at most, and is used by one thread beside it. Without a thread to be
// had nothing is read ahead. Its functions may be called with a NULL reader.
//
//   max_bytes  of memory for tensors: a block that would exceed it is not read ahead
//   as_blocks  matrices of blocks (bm_checkpoint_has_blocks) are kept as the file has them, for a device that decodes them
//   timeline   gets a span for each tensor, and what was waited; NULL: nobody looks
//
// Errors: BM_E_MEMORY. Stop before the checkpoint is closed.
bm_status bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bool as_blocks,
                              bm_timeline *timeline, bm_error *err);
void bm_read_ahead_stop(bm_read_ahead **reader);

// Tensors of a block are to be read, in this order, behind those that were wanted before.
void bm_read_ahead_want(bm_read_ahead *reader, uint32_t block, const bm_tensor_info *const *tensors, uint32_t count);
// Until all that were wanted are read, or could not be.
void bm_read_ahead_wait(bm_read_ahead *reader);
// Those of a block are not needed any more: their memory is used again, or freed, and those not yet read are not.
void bm_read_ahead_drop(bm_read_ahead *reader, uint32_t block);
// The bytes of a whole tensor: its elements, which are finite, or its blocks, whatever they are. NULL: it was not wanted, or not
// so, or could not be read.
const uint8_t *bm_read_ahead_find(bm_read_ahead *reader, const bm_tensor_info *info, bool blocks);

#endif
