// Compiled OpenCL programs on disk, one file each in the cache folder.
//
//   name     opencl-KEY.bin, KEY = SHA-256 in hex of device, driver, platform, build options and source
//   bytes    0  "bitmill1"       magic and version of this layout
//            8  u64 size          of the binary, little-endian
//           16  SHA-256 of key and binary
//           48  binary            as the driver gave it
//
// The checksum is vital: PoCL aborts the process when it is given a binary that was cut short. bm_file_write_all
// renames what it has written, so processes and threads that share the folder see whole files only. Nothing here is an
// error: a damaged, foreign or unwritable cache costs a compilation.
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "device/opencl/opencl.h"

#include <string.h>

#define HEADER_BYTES 48
#define MAX_BINARY_BYTES (256u << 20)
static const char magic[8] = {'b', 'i', 't', 'm', 'i', 'l', 'l', '1'};

static void hash_text(bm_sha256 *hash, char *text)
{
    const char *known = text ? text : "";
    bm_sha256_update(hash, known, strlen(known) + 1); // with its end, so that neighbours do not run together
    bm_free(text);
}

void ocl_cache_identity(const ocl_api *cl, cl_platform_id platform, cl_device_id id, uint8_t identity[32])
{
    bm_sha256 hash;
    bm_sha256_init(&hash);
    hash_text(&hash, ocl_device_text(cl, id, CL_DEVICE_NAME));
    hash_text(&hash, ocl_device_text(cl, id, CL_DEVICE_VENDOR));
    hash_text(&hash, ocl_device_text(cl, id, CL_DEVICE_VERSION));
    hash_text(&hash, ocl_device_text(cl, id, CL_DRIVER_VERSION));
    hash_text(&hash, ocl_platform_text(cl, platform, CL_PLATFORM_NAME));
    hash_text(&hash, ocl_platform_text(cl, platform, CL_PLATFORM_VERSION));
    bm_sha256_final(&hash, identity);
}

void ocl_cache_key(const ocl_state *state, const char *options, const ocl_source *source, uint8_t key[32])
{
    bm_sha256 hash;
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, state->identity, sizeof state->identity);
    bm_sha256_update(&hash, options, strlen(options) + 1);
    bm_sha256_update(&hash, source->text, source->length);
    bm_sha256_final(&hash, key);
}

char *ocl_cache_path(const bm_device *device, const uint8_t key[32])
{
    char name[sizeof "opencl-.bin" + 64] = "opencl-";
    const size_t length = strlen(name);
    if (!device->cache_folder)
        return NULL;
    bm_hex(key, 32, name + length);
    memcpy(name + length + 64, ".bin", sizeof ".bin");
    return bm_path_join(device->cache_folder, name);
}

static void checksum(const uint8_t key[32], const void *binary, uint64_t size, uint8_t digest[32])
{
    bm_sha256 hash;
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, key, 32);
    bm_sha256_update(&hash, binary, (size_t)size);
    bm_sha256_final(&hash, digest);
}

char *ocl_cache_load(bm_device *device, const uint8_t key[32], uint64_t *size)
{
    char *path = ocl_cache_path(device, key), *file = NULL, *binary = NULL;
    uint64_t file_size = 0;
    uint8_t digest[32];
    bm_error problem = {0};
    if (!path || bm_path_kind_of(path) == BM_PATH_ABSENT)
        goto done;
    if (bm_file_read_all(path, HEADER_BYTES + (uint64_t)MAX_BINARY_BYTES, &file, &file_size, &problem) != BM_OK) {
        bm_log_write(device->log, BM_LOG_DEBUG, "opencl: cache: %s", problem.message);
        goto done;
    }
    const bool has_size = file_size > HEADER_BYTES && memcmp(file, magic, sizeof magic) == 0 &&
                          bm_load_le64(file + 8) == file_size - HEADER_BYTES;
    if (has_size)
        checksum(key, file + HEADER_BYTES, file_size - HEADER_BYTES, digest);
    if (!has_size || memcmp(digest, file + 16, sizeof digest) != 0) {
        bm_log_write(device->log, BM_LOG_DEBUG, "opencl: cache: %s is damaged and will be replaced", path);
        goto done;
    }
    *size = file_size - HEADER_BYTES;
    memmove(file, file + HEADER_BYTES, (size_t)*size);
    binary = file;
    file = NULL;
done:
    bm_free(file);
    bm_free(path);
    return binary;
}

void ocl_cache_store(bm_device *device, const uint8_t key[32], const void *binary, uint64_t size)
{
    char *path = ocl_cache_path(device, key);
    uint8_t *file = size <= MAX_BINARY_BYTES ? bm_alloc(HEADER_BYTES + size, 1) : NULL;
    bm_status status = BM_OK;
    bm_error problem = {0};
    if (!path || !file)
        goto done;
    memcpy(file, magic, sizeof magic);
    bm_store_le64(file + 8, size);
    checksum(key, binary, size, file + 16);
    memcpy(file + HEADER_BYTES, binary, (size_t)size);
    BM_TRY(bm_folder_create(device->cache_folder, true, &problem));
    BM_TRY(bm_file_write_all(path, file, HEADER_BYTES + size, &problem));
done:
    if (status != BM_OK)
        bm_log_write(device->log, BM_LOG_DEBUG, "opencl: cache: %s", problem.message);
    bm_free(file);
    bm_free(path);
}
