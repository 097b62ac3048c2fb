// libFuzzer: bytes as a safetensors file, without the 8 bytes of the header's length in front: the first two bytes give
// how many data bytes are at the end instead, or else nearly every input would fail at the length. Every tensor is
// read.
#include "base/file.h"
#include "formats/checkpoint.h"
#include "support/folders.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *folder;

static void remove_folder(void)
{
    support_folder_remove(&folder);
}

static void read_tensors(bm_checkpoint *checkpoint)
{
    for (uint32_t i = 0; i < bm_checkpoint_count(checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(checkpoint, i);
        uint8_t *bytes = bm_alloc(info->size_bytes, 1);
        // The header was checked against the file: what it promises is there.
        if (!bytes || bm_checkpoint_read(checkpoint, info, 0, bytes, info->size_bytes, NULL) != BM_OK)
            abort();
        bm_free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_checkpoint *checkpoint = NULL;
    bm_error err;
    if (size < 2)
        return 0;
    if (!folder) {
        folder = support_folder_create();
        atexit(remove_folder);
    }
    const size_t rest = size - 2, data_size = bm_min_u64(bm_load_le16(data), rest);
    uint8_t *bytes = bm_alloc(rest + 8, 1);
    if (!bytes)
        return 0;
    bm_store_le64(bytes, rest - data_size);
    memcpy(bytes + 8, data + 2, rest);
    char *path = support_file_write(folder, "input.safetensors", bytes, rest + 8);
    if (bm_checkpoint_open(&checkpoint, path, &err) == BM_OK)
        read_tensors(checkpoint);
    bm_checkpoint_close(&checkpoint);
    bm_free(path);
    bm_free(bytes);
    return 0;
}
