// Where what a run keeps may lie.
#ifndef BM_SCHEDULE_MEMORY_PLAN_H
#define BM_SCHEDULE_MEMORY_PLAN_H

#include "infer/kept.h"

// The place for bytes that are kept from one pass over the batches to the next: on the device, if three quarters of what
// is free there and not reserved take them; else in half of the host's memory, if that is another memory than the
// device's; else in a file, if the disk has room for twice as much and reading it back is faster than computing it again;
// else nowhere.
//
//   reserved_bytes  device memory that other parts of the run will still ask for
//   operations      floating-point operations that computing it again takes
//   folder          for the file; NULL: none
bm_kept_place bm_memory_place(bm_device *device, uint64_t bytes, uint64_t reserved_bytes, double operations,
                              const char *folder);

#endif
