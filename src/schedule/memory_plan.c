// Where what a run keeps may lie.
#include "schedule/memory_plan.h"

#include "base/process.h"
#include "ops/gemm.h"

#define DISK_BYTES_PER_SECOND 5e8 // a low estimate, there and back

bm_kept_place bm_memory_place(bm_device *device, uint64_t bytes, uint64_t reserved_bytes, double operations,
                              const char *folder)
{
    const bm_device_info *info = bm_device_get_info(device);
    const uint64_t used = bm_device_live_bytes(device) + reserved_bytes, memory = info->limits.memory_bytes;
    const uint64_t physical = bm_process_memory_bytes();
    uint64_t disk = 0;
    if (bytes <= (memory - bm_min_u64(memory, used)) / 4 * 3)
        return BM_KEPT_DEVICE;
    if (info->kind == BM_DEVICE_DISCRETE_GPU && bytes <= physical / 2)
        return BM_KEPT_HOST;
    const double again = operations / (bm_gemm_choose(device).gflops * 1e9);
    const double file = 2.0 * (double)bytes / DISK_BYTES_PER_SECOND;
    if (folder && bm_folder_free_bytes(folder, &disk) && disk / 2 >= bytes && file < again)
        return BM_KEPT_FILE;
    return BM_KEPT_NOWHERE;
}
