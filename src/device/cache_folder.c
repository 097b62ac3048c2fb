// The folder in which compiled kernels are kept: what is said where it cannot serve.
#include "base/file.h"
#include "device/backend.h"

#include <stdio.h>

// Less is a full disk: PoCL, whose own cache lies beside ours, ends the process or fails to compile there.
#define LEAST_FREE_BYTES (UINT64_C(16) << 20)

const char *bm_cache_folder_words(const bm_device *device, char out[BM_CACHE_WORDS_SIZE])
{
    uint64_t left = 0;
    out[0] = '\0';
    if (device->cache_folder && bm_folder_free_bytes(device->cache_folder, &left) && left < LEAST_FREE_BYTES)
        snprintf(out, BM_CACHE_WORDS_SIZE, "cache folder %.400s: its disk has %.1f MB left", device->cache_folder,
                 (double)left / 1e6);
    return out;
}

void bm_cache_folder_check(bm_device *device)
{
    bm_error problem = {0};
    char words[BM_CACHE_WORDS_SIZE];
    device->keeps_kernels = device->cache_folder && bm_device_is_host(device);
    if (!device->cache_folder || bm_device_is_host(device))
        return;
    if (bm_folder_create(device->cache_folder, true, &problem) != BM_OK)
        bm_log_write(device->log, BM_LOG_WARNING, "cache folder %s; every start compiles its kernels", problem.message);
    else if (bm_cache_folder_words(device, words)[0])
        bm_log_write(device->log, BM_LOG_WARNING, "%s; compiling may fail for want of room, PoCL's too", words);
    else
        device->keeps_kernels = true;
}
