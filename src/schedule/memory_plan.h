// Where what a run keeps may lie, and whether it may.
#ifndef BM_SCHEDULE_MEMORY_PLAN_H
#define BM_SCHEDULE_MEMORY_PLAN_H

#include "infer/kept.h"
#include "schedule/emit.h"

// The place for bytes that are kept from one pass over the batches to the next: on the device, if there is room; else in half
// of the host's memory, if that is another memory than the device's and the way there and back is faster than computing it
// again; else in a file, if the disk has room for twice as much and reading it back is faster than computing it again; else
// nowhere.
//
//   room_bytes  device memory that may be had for it: bm_memory_claims_kept_room
//   again       seconds that computing it again takes
//   folder      for the file; NULL: none
//   spares_host not in the host's memory: a budget has no room for it there
bm_kept_place bm_memory_place(bm_device *device, uint64_t bytes, uint64_t room_bytes, double again, const char *folder,
                              bool spares_host);

// Device memory that the states of the plan's method take at most at a time: that of the group that takes most, or, if all
// groups of a block are watched at once, of all of them; and what the multiplier, which they share, keeps for the widest.
//
//   tokens  of the largest batch: a method that watches both inputs keeps room for their difference beside each state
uint64_t bm_memory_state_bytes(bm_device *device, const bm_plan *plan, bool at_once, uint32_t tokens);
// Device memory that the multiplier keeps for a state of that many channels: their square, or inputs of a batch, transposed; and
// parts of so many rows that are multiplied by it.
uint64_t bm_memory_multiplier_bytes(bm_device *device, uint64_t channels, uint64_t rows, uint32_t tokens,
                                    bool watches_both);
// The same where Hessians are in files and come back by BM_GRAM_ROWS.
uint64_t bm_memory_slice_bytes(bm_device *device, uint64_t channels, uint64_t rows, uint32_t tokens);
// Whether the device's largest buffer holds the sums of products of the inputs of each linear, Hessians among them, that AWQ
// or the method keeps. Errors: BM_E_ARGUMENT naming the key, the linear, its bytes and the device's.
bm_status bm_memory_check_sums(const bm_emit_context *emit, bm_error *err);
// Device memory for the residual stream of one of num_streams: at most half of all, and together three quarters of what is
// not reserved. At least 1, which takes none.
uint64_t bm_memory_stream_bytes(bm_device *device, uint32_t num_streams, uint64_t reserved_bytes);

#endif
