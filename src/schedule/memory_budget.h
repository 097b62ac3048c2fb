// How much memory a run may take: of the device, and of the host in all.
#ifndef BM_SCHEDULE_MEMORY_BUDGET_H
#define BM_SCHEDULE_MEMORY_BUDGET_H

#include "device/device.h"

typedef struct bm_memory_budget {
    uint64_t device_bytes; // what buffers may take together
    uint64_t host_bytes;   // what the process may take, buffers too where is_shared
    bool device_is_given, host_is_given;
    bool is_shared;          // the device's memory is the process's: the host, and CPUs behind a driver
    uint64_t resident_bytes; // of the process, when the budget was made: program, driver, tokenizer, data
    uint64_t driver_bytes;   // that the driver's compiler will add to it, or, where has_kernels, its loader
    bool has_kernels;        // all that the run needs were compiled before
    uint64_t block_bytes;    // of a block in the checkpoint: all are alike
    uint64_t reading_bytes;  // for blocks that are read ahead
    uint64_t writing_bytes;  // for what waits to be written
    bool spares_host;        // activations that the device does not hold lie in a file instead of the host's memory
} bm_memory_budget;

// Divides memory up, comfortably: how much is read ahead and waits to be written goes by what the host has.
//
//   device_bytes, host_bytes  what the user gave; 0: all of the device's memory; what the system has available
//   block_bytes               of a block in the checkpoint: all are alike
bm_memory_budget bm_memory_budget_make(bm_device *device, uint64_t device_bytes, uint64_t host_bytes,
                                       uint64_t block_bytes);
// Nothing is to be compiled.
void bm_memory_budget_spare_compiler(bm_memory_budget *budget);
// Nothing is read ahead, and a piece waits to be written: slower, for a host that is short of memory.
void bm_memory_budget_reduce(bm_memory_budget *budget);

#endif
