// Matrices of batches, kept.
#include "infer/kept.h"

#include <assert.h>

const char *bm_kept_place_name(bm_kept_place place)
{
    static const char *const names[] = {"on the device", "in host memory", "in a file", "computed again"};
    return names[place];
}

bm_kept_place bm_kept_place_of(const bm_kept *kept, uint32_t batch)
{
    return batch < kept->num_first ? BM_KEPT_DEVICE : kept->place;
}

// Whoever runs out of disk learns what takes it, and how to have it elsewhere.
static bm_status told(bm_status status, bm_error *err)
{
    if (status == BM_E_IO)
        bm_error_prefix(err, "activations that memory does not hold (another folder: --cache-dir)");
    return status;
}

bm_status bm_kept_begin(bm_kept *kept, bm_device *device, bm_kept_place place, uint32_t num_batches, uint32_t num_first,
                        const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    if (place == BM_KEPT_DEVICE && kept->place == place && kept->num_batches == num_batches && kept->slots)
        return BM_OK;
    bm_kept_end(kept);
    *kept = (bm_kept){.device = device,
                      .place = place,
                      .num_batches = num_batches,
                      .num_first = place == BM_KEPT_DEVICE ? 0 : bm_min_u64(num_first, num_batches)};
    kept->slots = bm_alloc_zero(num_batches, sizeof *kept->slots);
    BM_FAIL_IF(!kept->slots, err, BM_E_MEMORY, "out of memory");
    if (place == BM_KEPT_FILE)
        BM_TRY(told(bm_scratch_create(&kept->file, folder, num_batches, err), err));
done:
    if (status != BM_OK)
        bm_kept_end(kept);
    return status;
}

void bm_kept_clear(bm_kept *kept)
{
    if (kept->place != BM_KEPT_DEVICE)
        bm_kept_end(kept);
}

void bm_kept_end(bm_kept *kept)
{
    for (uint32_t b = 0; kept->slots && b < kept->num_batches; b++)
        bm_tensor_destroy(&kept->slots[b]);
    bm_scratch_close(&kept->file);
    bm_free(kept->slots);
    *kept = (bm_kept){0};
}

uint64_t bm_kept_device_bytes(const bm_kept *kept)
{
    uint64_t bytes = 0;
    for (uint32_t b = 0; kept->slots && b < kept->num_batches; b++)
        bytes += bm_kept_place_of(kept, b) == BM_KEPT_DEVICE ? kept->slots[b].view.size : 0;
    return bytes;
}

bm_status bm_kept_slot(bm_kept *kept, uint32_t batch, const bm_tensor *own, bm_tensor *out, bm_error *err)
{
    const uint64_t bytes = own->rows * own->stride * bm_dtype_size(own->dtype);
    if (!kept->slots || bm_kept_place_of(kept, batch) != BM_KEPT_DEVICE) {
        *out = *own;
        return BM_OK;
    }
    bm_tensor *slot = &kept->slots[batch];
    if (!slot->view.buffer || slot->dtype != own->dtype || slot->view.size < bytes) {
        bm_tensor_destroy(slot);
        const bm_status status =
            bm_tensor_create(kept->device, own->dtype, own->rows, own->cols, "activations", slot, err);
        if (status != BM_OK && kept->place == BM_KEPT_DEVICE)
            return status;
        if (status !=
            BM_OK) { // somebody else took memory that was free: this batch and the later ones go where the others do
            kept->num_first = batch;
            *out = *own;
            return BM_OK;
        }
    }
    *out = bm_tensor_reshape(slot, own->rows, own->cols);
    return BM_OK;
}

static uint64_t bytes_of(const bm_tensor *matrix)
{
    return matrix->rows * matrix->cols * bm_dtype_size(matrix->dtype);
}

static bm_status put_on_host(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_tensor *slot = &kept->slots[batch];
    const bm_status status =
        bm_tensor_create_on_host(kept->device, matrix->dtype, matrix->rows, matrix->cols, "activations", slot, err);
    return status == BM_OK ? bm_tensor_copy(kept->device, matrix, slot, err) : status;
}

static bm_status put_in_file(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    void *bytes = bm_alloc(bytes_of(matrix), 1);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "no memory for the activations of %llu tokens",
               (unsigned long long)matrix->rows);
    BM_TRY(bm_tensor_download(kept->device, matrix, bytes, err));
    BM_TRY(bm_device_wait(kept->device, err));
    BM_TRY(told(bm_scratch_put(kept->file, batch, 1, bytes, bytes_of(matrix), err), err));
done:
    bm_free(bytes);
    return status;
}

bm_status bm_kept_put(bm_kept *kept, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    switch (bm_kept_place_of(kept, batch)) {
    case BM_KEPT_DEVICE:
        assert(matrix->view.buffer == kept->slots[batch].view.buffer);
        return BM_OK;
    case BM_KEPT_HOST:
        return put_on_host(kept, batch, matrix, err);
    case BM_KEPT_FILE:
        return put_in_file(kept, batch, matrix, err);
    case BM_KEPT_NOWHERE:
        break;
    }
    return bm_fail(err, BM_E_INTERNAL, "activations are not kept");
}

bm_status bm_kept_take(bm_kept *kept, uint32_t batch, const bm_tensor *own, bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    void *bytes = NULL;
    *matrix = *own;
    switch (bm_kept_place_of(kept, batch)) {
    case BM_KEPT_DEVICE:
        *matrix = bm_tensor_reshape(&kept->slots[batch], own->rows, own->cols);
        break;
    case BM_KEPT_HOST:
        BM_TRY(bm_tensor_copy(kept->device, &kept->slots[batch], matrix, err));
        break;
    case BM_KEPT_FILE:
        bytes = bm_alloc(bytes_of(matrix), 1);
        BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
        BM_TRY(told(bm_scratch_get(kept->file, batch, 1, bytes, bytes_of(matrix), err), err));
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
