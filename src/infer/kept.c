// Matrices of batches, kept.
#include "infer/kept.h"

const char *bm_kept_place_name(bm_kept_place place)
{
    static const char *const names[] = {"on the device", "in host memory", "in a file", "computed again"};
    return names[place];
}

bm_status bm_kept_begin(bm_kept *kept, bm_device *device, bm_kept_place place, uint32_t num_batches, const char *folder,
                        const char *file, bm_error *err)
{
    bm_status status = BM_OK;
    *kept = (bm_kept){.device = device, .place = place, .num_batches = num_batches};
    kept->tensors = bm_alloc_zero(num_batches, sizeof *kept->tensors);
    kept->bytes = bm_alloc_zero(num_batches, sizeof *kept->bytes);
    kept->offsets = bm_alloc_zero(num_batches, sizeof *kept->offsets);
    BM_FAIL_IF(!kept->tensors || !kept->bytes || !kept->offsets, err, BM_E_MEMORY, "out of memory");
    if (place == BM_KEPT_FILE) {
        kept->path = bm_path_join(folder, file);
        BM_FAIL_IF(!kept->path, err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_writer_create(&kept->writer, kept->path, err));
    }
done:
    if (status != BM_OK)
        bm_kept_end(kept);
    return status;
}

void bm_kept_end(bm_kept *kept)
{
    for (uint32_t b = 0; b < kept->num_batches; b++) {
        if (kept->tensors)
            bm_tensor_destroy(&kept->tensors[b]);
        if (kept->bytes)
            bm_free(kept->bytes[b]);
    }
    bm_writer_destroy(&kept->writer);
    if (kept->file) {
        bm_file_close(&kept->file);
        bm_folder_remove(kept->path, NULL);
    }
    bm_free(kept->tensors);
    bm_free(kept->bytes);
    bm_free(kept->offsets);
    bm_free(kept->path);
    *kept = (bm_kept){0};
}

static uint64_t bytes_of(const bm_tensor *matrix)
{
    return matrix->rows * matrix->cols * bm_dtype_size(matrix->dtype);
}

// Downloads into memory of its own; it has arrived.
static bm_status download(bm_kept *kept, const bm_tensor *matrix, void **out, bm_error *err)
{
    void *bytes = bm_alloc(bytes_of(matrix), 1);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "no memory for the activations of %llu tokens",
                       (unsigned long long)matrix->rows);
    bm_status status = bm_tensor_download(kept->device, matrix, bytes, err);
    if (status == BM_OK)
        status = bm_device_wait(kept->device, err);
    if (status == BM_OK)
        *out = bytes;
    else
        bm_free(bytes);
    return status;
}

bm_status bm_kept_put(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    void *bytes = NULL;
    switch (kept->place) {
    case BM_KEPT_DEVICE:
        BM_TRY(bm_tensor_create(kept->device, matrix->dtype, matrix->rows, matrix->cols, "activations",
                                &kept->tensors[batch], err));
        BM_TRY(bm_tensor_copy(kept->device, matrix, &kept->tensors[batch], err));
        break;
    case BM_KEPT_HOST:
        BM_TRY(download(kept, matrix, &kept->bytes[batch], err));
        break;
    case BM_KEPT_FILE:
        BM_TRY(download(kept, matrix, &bytes, err));
        kept->offsets[batch] = kept->size;
        BM_TRY(bm_writer_write(kept->writer, bytes, bytes_of(matrix), err));
        kept->size += bytes_of(matrix);
        break;
    case BM_KEPT_NOWHERE:
        status = bm_fail(err, BM_E_INTERNAL, "activations are not kept");
        break;
    }
done:
    bm_free(bytes);
    return status;
}

bm_status bm_kept_take(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    void *bytes = NULL;
    switch (kept->place) {
    case BM_KEPT_DEVICE:
        BM_TRY(bm_tensor_copy(kept->device, &kept->tensors[batch], matrix, err));
        break;
    case BM_KEPT_HOST:
        BM_TRY(bm_tensor_upload(kept->device, matrix, kept->bytes[batch], err));
        break;
    case BM_KEPT_FILE:
        if (!kept->file) {
            BM_TRY(bm_writer_commit_unflushed(&kept->writer, err));
            BM_TRY(bm_file_open(&kept->file, kept->path, err));
        }
        bytes = bm_alloc(bytes_of(matrix), 1);
        BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_file_read_at(kept->file, kept->offsets[batch], bytes, bytes_of(matrix), err));
        BM_TRY(bm_tensor_upload(kept->device, matrix, bytes, err));
        break;
    case BM_KEPT_NOWHERE:
        status = bm_fail(err, BM_E_INTERNAL, "activations are not kept");
        break;
    }
done:
    bm_free(bytes);
    return status;
}
