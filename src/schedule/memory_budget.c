// A run's budget of memory.
#include "schedule/memory_budget.h"

#include "base/process.h"
#include "base/system_memory.h"

#define COMPILER_BYTES                                                                                                 \
    (UINT64_C(192) << 20) // of drivers that compile with LLVM, as PoCL and lavapipe were seen to take it
#define LOADER_BYTES (UINT64_C(128) << 20) // of the same where all is compiled: 20 to 90 MB were seen
#define READING_SHARE 4                    // of the host's memory: blocks that are read ahead, two at most
#define WRITING_SHARE 16
#define WRITING_BYTES (UINT64_C(128) << 20)
#define LEAST_WRITING_BYTES (UINT64_C(1) << 20)

static bool shares_memory(const bm_device_info *info)
{
    return info->kind == BM_DEVICE_HOST || info->kind == BM_DEVICE_CPU;
}

bm_memory_budget bm_memory_budget_make(bm_device *device, uint64_t device_bytes, uint64_t host_bytes,
                                       uint64_t block_bytes)
{
    const bm_device_info *info = bm_device_get_info(device);
    const uint64_t physical = bm_process_memory_bytes(), available = bm_system_available_bytes();
    bm_memory_budget b = {.device_bytes = bm_device_memory_bytes(device),
                          .device_is_given = device_bytes > 0,
                          .host_is_given = host_bytes > 0,
                          .is_shared = shares_memory(info),
                          .resident_bytes = bm_process_resident_bytes(),
                          .block_bytes = block_bytes,
                          .driver_bytes = info->kind == BM_DEVICE_HOST ? 0 : COMPILER_BYTES};
    b.host_bytes = host_bytes ? host_bytes : available ? available + b.resident_bytes : physical;
    b.writing_bytes = bm_min_u64(WRITING_BYTES, b.host_bytes / WRITING_SHARE);
    b.reading_bytes = bm_min_u64(2 * block_bytes, b.host_bytes / READING_SHARE / block_bytes * block_bytes);
    return b;
}

void bm_memory_budget_spare_compiler(bm_memory_budget *budget)
{
    budget->has_kernels = true;
    budget->driver_bytes = bm_min_u64(budget->driver_bytes, LOADER_BYTES);
}

void bm_memory_budget_reduce(bm_memory_budget *budget)
{
    budget->reading_bytes = 0;
    budget->writing_bytes = LEAST_WRITING_BYTES;
}
