// Which variants of kernels were asked for by name, and the file in which a tuning keeps them.
//
//   file   CACHE_FOLDER/tuning-KEY, KEY = SHA-256 in hex of backend, device name and driver
//   bytes  one line, "gemm=tile-16,attention=tile"
//
// The device layer keeps the words and knows no kernel: ops/variants.h says which names there are. A file that cannot be
// read, or says something else, is as if it were not there, with a warning.
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "device/backend.h"

#include <string.h>

#define MAX_FILE_BYTES 4096

static bm_status keep(char **where, const char *words, bm_error *err)
{
    char *copy = words ? bm_string_copy(words) : NULL;
    if (words && !copy)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_free(*where);
    *where = copy;
    return BM_OK;
}

bm_status bm_device_set_variants(bm_device *device, const char *words, bm_error *err)
{
    return keep(&device->variants, words, err);
}

const char *bm_device_variants(const bm_device *device)
{
    return device->variants ? device->variants : "";
}

const char *bm_device_tuning(const bm_device *device)
{
    return device->tuning ? device->tuning : "";
}

void bm_device_discard_tuning(bm_device *device)
{
    (void)keep(&device->tuning, NULL, NULL);
}

// The last word for kernel wins, as it does for options that are given twice.
static bool find_word(const char *words, const char *kernel, char *out, size_t size)
{
    const size_t length = strlen(kernel);
    bool found = false;
    while (*words) {
        const size_t all = strcspn(words, ",");
        if (all > length + 1 && strncmp(words, kernel, length) == 0 && words[length] == '=' &&
            all - length - 1 < size) {
            memcpy(out, words + length + 1, all - length - 1);
            out[all - length - 1] = '\0';
            found = true;
        }
        words += all + (words[all] == ',');
    }
    return found;
}

bool bm_device_variant(const bm_device *device, const char *kernel, char *out, size_t size)
{
    return find_word(bm_device_variants(device), kernel, out, size) ||
           find_word(bm_device_tuning(device), kernel, out, size);
}

char *bm_tuning_path(const bm_device *device)
{
    char name[sizeof "tuning-" + 64] = "tuning-", hex[65];
    if (!device->cache_folder)
        return NULL;
    char *key = bm_format("%s\n%s\n%s", device->info.backend, device->info.name, device->info.driver);
    if (!key)
        return NULL;
    bm_sha256_hex(key, strlen(key), hex);
    bm_free(key);
    memcpy(name + strlen(name), hex, sizeof hex);
    return bm_path_join(device->cache_folder, name);
}

bm_status bm_tuning_write(const bm_device *device, const char *words, bm_error *err)
{
    bm_status status = BM_OK;
    char *path = bm_tuning_path(device), *line = bm_format("%s\n", words);
    BM_FAIL_IF(!device->cache_folder, err, BM_E_IO, "there is no cache folder in which a tuning could be kept");
    BM_FAIL_IF(!path || !line, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_folder_create(device->cache_folder, true, err));
    BM_TRY(bm_file_write_all(path, line, strlen(line), err));
done:
    bm_free(path);
    bm_free(line);
    return status;
}

void bm_tuning_read(bm_device *device)
{
    char *path = bm_tuning_path(device), *text = NULL;
    uint64_t size = 0;
    bm_error problem = {0};
    if (!path || bm_path_kind_of(path) == BM_PATH_ABSENT)
        goto done;
    if (bm_file_read_all(path, MAX_FILE_BYTES, &text, &size, &problem) != BM_OK) {
        bm_log_write(device->log, BM_LOG_WARNING, "tuning ignored: %s", problem.message);
        goto done;
    }
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    for (uint64_t i = 0; i < size; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_=,", text[i]) || text[i] == '\0') {
            bm_log_write(device->log, BM_LOG_WARNING, "tuning ignored: %s: not what `bitmill bench --tune` writes",
                         path);
            goto done;
        }
    text[size] = '\0';
    if (keep(&device->tuning, text, &problem) == BM_OK)
        bm_log_write(device->log, BM_LOG_DEBUG, "tuning: %s (%s)", text, path);
done:
    bm_free(path);
    bm_free(text);
}
