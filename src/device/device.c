// The front of the device layer: every argument is checked here, once, against limits and kernels.def; backends rely on
// it. Order, parallel sections and the status word live here too; buffers in buffer.c.
#include "device/backend.h"

#include <stdio.h>
#include <string.h>

static bm_status lost(bm_error *err)
{
    return bm_fail(err, BM_E_DEVICE, "the device was lost earlier; open it again");
}

bm_status bm_device_check_lost(const bm_device *device, bm_error *err)
{
    return device->lost ? lost(err) : BM_OK;
}

bm_status bm_device_settle(bm_device *device, bm_status status)
{
    if (status == BM_OK || !device->has_downloads)
        return status;
    if (!device->lost) {
        (void)bm_device_drain(device, NULL); // the words are those of the first failure
    } else {
        device->backend->idle(device);
        device->has_downloads = false;
    }
    return status;
}

// A view must lie in its buffer and start at a multiple of 16 bytes.
static bm_status check_view(const bm_device *device, bm_view view, const char *what, const char *name, bm_error *err)
{
    if (!view.buffer)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: no buffer", what, name);
    if (view.buffer->device != device)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: buffer \"%s\" belongs to another device", what, name,
                       view.buffer->name);
    if (view.offset % BM_VIEW_ALIGNMENT != 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: offset %llu, expected a multiple of %d", what, name,
                       (unsigned long long)view.offset, BM_VIEW_ALIGNMENT);
    if (view.offset > view.buffer->size || view.size > view.buffer->size - view.offset)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s: bytes %llu..%llu of buffer \"%s\", which has %llu", what, name,
                       (unsigned long long)view.offset, (unsigned long long)(view.offset + view.size),
                       view.buffer->name, (unsigned long long)view.buffer->size);
    return BM_OK;
}

// A strided transfer of num_rows rows must lie in its view.
static bm_status check_rows(const bm_device *device, bm_view view, uint64_t stride, uint64_t row_bytes,
                            uint64_t num_rows, const char *what, bm_error *err)
{
    if (device->lost)
        return lost(err);
    if (device->in_parallel)
        return bm_fail(err, BM_E_ARGUMENT, "%s: no transfers inside a parallel section", what);
    const bm_status status = check_view(device, view, what, "device side", err);
    if (status != BM_OK)
        return status;
    uint64_t need = 0;
    if (row_bytes > stride && num_rows > 1)
        return bm_fail(err, BM_E_ARGUMENT, "%s: rows of %llu bytes at a stride of %llu", what,
                       (unsigned long long)row_bytes, (unsigned long long)stride);
    if (num_rows == 0 || row_bytes == 0 || !bm_multiply_u64(stride, num_rows - 1, &need) ||
        !bm_add_u64(need, row_bytes, &need) || need > view.size)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %llu rows of %llu bytes do not fit a view of %llu bytes", what,
                       (unsigned long long)num_rows, (unsigned long long)row_bytes, (unsigned long long)view.size);
    return BM_OK;
}

bm_status bm_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                         uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    bm_status status = check_rows(device, dst, dst_stride, row_bytes, num_rows, "upload", err);
    if (status == BM_OK)
        status = device->backend->upload_rows(device, dst, dst_stride, src, src_stride, row_bytes, num_rows, err);
    return bm_device_settle(device, status);
}

bm_status bm_upload(bm_device *device, bm_view dst, const void *src, uint64_t size, bm_error *err)
{
    return bm_upload_rows(device, dst, size, src, size, size, 1, err);
}

bm_status bm_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                           uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    bm_status status = check_rows(device, src, src_stride, row_bytes, num_rows, "download", err);
    if (status == BM_OK) {
        device->has_downloads = true; // of some rows, even when it fails
        status = device->backend->download_rows(device, src, src_stride, dst, dst_stride, row_bytes, num_rows, err);
    }
    return bm_device_settle(device, status);
}

bm_status bm_download(bm_device *device, bm_view src, void *dst, uint64_t size, bm_error *err)
{
    return bm_download_rows(device, src, size, dst, size, size, 1, err);
}

static bool views_overlap(bm_view a, bm_view b)
{
    return a.buffer == b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

bm_status bm_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err)
{
    bm_status status = check_rows(device, src, src.size, src.size, 1, "copy", err);
    if (status == BM_OK)
        status = check_rows(device, dst, dst.size, dst.size, 1, "copy", err);
    if (status == BM_OK && (dst.size != src.size || views_overlap(dst, src)))
        status = bm_fail(err, BM_E_ARGUMENT, "copy: views must be of equal size and apart");
    if (status == BM_OK)
        status = device->backend->copy(device, dst, src, err);
    return bm_device_settle(device, status);
}

bm_status bm_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err)
{
    bm_status status = check_rows(device, dst, dst.size, dst.size, 1, "fill", err);
    if (status == BM_OK && dst.size % 4 != 0)
        status =
            bm_fail(err, BM_E_ARGUMENT, "fill: %llu bytes, expected a multiple of 4", (unsigned long long)dst.size);
    if (status == BM_OK)
        status = device->backend->fill(device, dst, word, err);
    return bm_device_settle(device, status);
}

static bool is_real(const bm_device *device, bm_dtype type)
{
    return type == BM_DTYPE_F32 || type == BM_DTYPE_F16 || type == BM_DTYPE_BF16 ||
           (type == BM_DTYPE_F64 && bm_device_is_host(device));
}

// Fills the defaults of tunables and checks what a pipeline depends on.
static bm_status check_pipeline(const bm_device *device, bm_call *call, bm_error *err)
{
    if ((uint32_t)call->kernel >= BM_NUM_KERNELS)
        return bm_fail(err, BM_E_ARGUMENT, "dispatch: no kernel %u", (unsigned)call->kernel);
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    if (call->variant >= info->num_variants || !device->backend->has_variant(device, call->kernel, call->variant))
        return bm_fail(err, BM_E_ARGUMENT, "%s: variant %u is not on %s", info->name, call->variant,
                       device->info.backend);
    for (uint32_t i = 0; i < info->num_tunables; i++)
        if (call->tunables[i] == 0)
            call->tunables[i] = info->tunable_defaults[i];
    if (call->tunables[0] > device->info.limits.max_group_invocations)
        return bm_fail(err, BM_E_ARGUMENT, "%s: GROUP %u, the device allows %u", info->name, call->tunables[0],
                       device->info.limits.max_group_invocations);
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (info->buffers[i].element != BM_ELEMENT_REAL)
            call->types[i] = BM_DTYPE_NONE;
        else if (call->types[i] == BM_DTYPE_NONE && info->buffers[i].optional)
            call->types[i] = BM_DTYPE_F32;
        else if (!is_real(device, call->types[i]))
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s: storage type %s, expected F32, F16 or BF16", info->name,
                           info->buffers[i].name, bm_dtype_name(call->types[i]));
    }
    return BM_OK;
}

static bm_status check_call(const bm_device *device, bm_call *call, bm_error *err)
{
    bm_status status = check_pipeline(device, call, err);
    if (status != BM_OK)
        return status;
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (!call->buffers[i].buffer && info->buffers[i].optional)
            continue;
        status = check_view(device, call->buffers[i], info->name, info->buffers[i].name, err);
        if (status != BM_OK)
            return status;
    }
    for (uint32_t d = 0; d < 3; d++)
        if (call->groups[d] == 0 || call->groups[d] > device->info.limits.max_groups[d])
            return bm_fail(err, BM_E_ARGUMENT, "%s: %u work-groups in dimension %u, the device allows 1..%u",
                           info->name, call->groups[d], d, device->info.limits.max_groups[d]);
    if (info->scalar_bytes > 0 && !call->scalars)
        return bm_fail(err, BM_E_ARGUMENT, "%s: no scalars", info->name);
    return BM_OK;
}

// In a parallel section no dispatch may touch what another one writes.
static bm_status check_parallel(bm_device *device, const bm_call *call, bm_error *err)
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    const uint32_t before = device->num_uses;
    for (uint32_t i = 0; i < info->num_buffers; i++) {
        if (!call->buffers[i].buffer)
            continue;
        for (uint32_t k = 0; k < before; k++)
            if ((device->uses[k].written || info->buffers[i].writes) &&
                views_overlap(device->uses[k].view, call->buffers[i]))
                return bm_fail(err, BM_E_ARGUMENT, "%s: %s: touches what another dispatch of the section writes",
                               info->name, info->buffers[i].name);
        if (device->num_uses == device->max_uses) {
            const uint32_t max_uses = device->max_uses ? 2 * device->max_uses : 64;
            struct bm_parallel_use *uses = bm_resize(device->uses, max_uses, sizeof *uses);
            if (!uses)
                return bm_fail(err, BM_E_MEMORY, "out of memory");
            device->uses = uses;
            device->max_uses = max_uses;
        }
        device->uses[device->num_uses++] = (struct bm_parallel_use){call->buffers[i], info->buffers[i].writes};
    }
    return BM_OK;
}

// Remembers the subject of a dispatch for the status word. When the table is full, what was recorded is waited for and the
// table begun anew: a report never loses its name.
static bm_status remember_subject(bm_device *device, const bm_call *call, uint32_t *out, bm_error *err)
{
    const char *subject = call->subject ? call->subject : bm_kernel_table[call->kernel].name;
    for (uint32_t i = device->num_subjects; i > 0; i--)
        if (strncmp(device->subjects[i - 1], subject, sizeof device->subjects[0] - 1) == 0) {
            *out = i;
            return BM_OK;
        }
    if (device->num_subjects == BM_MAX_SUBJECTS) {
        const bm_status status = bm_device_drain(device, err);
        if (status != BM_OK)
            return status;
    }
    snprintf(device->subjects[device->num_subjects], sizeof device->subjects[0], "%s", subject);
    *out = ++device->num_subjects;
    return BM_OK;
}

static bm_status record_call(bm_device *device, const bm_call *call, bm_error *err)
{
    if (device->lost)
        return lost(err);
    bm_call checked = *call;
    uint32_t subject = 0;
    bm_status status = check_call(device, &checked, err);
    if (status == BM_OK && bm_kernel_table[call->kernel].reports)
        status = remember_subject(device, call, &subject, err); // may wait: before the uses of this call are noted
    const uint32_t num_uses = device->num_uses;
    if (status == BM_OK && device->in_parallel)
        status = check_parallel(device, &checked, err);
    // Drivers end a submission that takes too long (some after two seconds), however short each of its dispatches is.
    if (status == BM_OK && device->recorded_seconds > 0 &&
        device->recorded_seconds + call->seconds > BM_BATCH_SECONDS && !device->in_parallel)
        status = bm_device_submit(device, err);
    if (status == BM_OK)
        status = device->backend->dispatch(device, &checked, subject, !device->in_parallel, err);
    if (status != BM_OK) {
        device->num_uses = num_uses; // what was refused uses nothing
        return status;
    }
    device->recorded_seconds += call->seconds;
    if (++device->num_recorded >= BM_AUTO_SUBMIT && !device->in_parallel)
        status = bm_device_submit(device, err);
    return status;
}

bm_status bm_dispatch(bm_device *device, const bm_call *call, bm_error *err)
{
    return bm_device_settle(device, record_call(device, call, err));
}

bool bm_kernel_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant)
{
    return (uint32_t)kernel < BM_NUM_KERNELS && variant < bm_kernel_table[kernel].num_variants &&
           device->backend->has_variant(device, kernel, variant);
}

bool bm_device_has_product(bm_device *device)
{
    return !device->lost && device->backend->has_product && device->backend->has_product(device);
}

static bm_status record_product(bm_device *device, const bm_product *product, bm_error *err)
{
    if (device->lost)
        return lost(err);
    if (!bm_device_has_product(device))
        return bm_fail(err, BM_E_UNSUPPORTED, "product: the %s backend has no library for it", device->info.backend);
    if (device->in_parallel)
        return bm_fail(err, BM_E_ARGUMENT, "product: not inside a parallel section");
    const uint64_t size = sizeof(float);
    const struct {
        const char *name;
        bm_view view;
        uint64_t rows, cols, stride;
    } matrices[] = {{"a", product->a, product->m, product->k, product->a_stride},
                    {"b", product->b, product->n, product->k, product->b_stride},
                    {"c", product->c, product->m, product->n, product->c_stride}};
    for (uint32_t i = 0; i < BM_COUNT(matrices); i++) {
        bm_status status = check_view(device, matrices[i].view, "product", matrices[i].name, err);
        if (status == BM_OK && matrices[i].stride < matrices[i].cols)
            status = bm_fail(err, BM_E_ARGUMENT, "product: %s: a stride of %llu for %llu columns", matrices[i].name,
                             (unsigned long long)matrices[i].stride, (unsigned long long)matrices[i].cols);
        if (status == BM_OK)
            status = check_rows(device, matrices[i].view, matrices[i].stride * size, matrices[i].cols * size,
                                matrices[i].rows, "product", err);
        if (status != BM_OK)
            return status;
    }
    return device->backend->product(device, product, err);
}

bm_status bm_device_product(bm_device *device, const bm_product *product, bm_error *err)
{
    return bm_device_settle(device, record_product(device, product, err));
}

bm_status bm_batch_parallel_begin(bm_device *device, bm_error *err)
{
    if (device->lost)
        return lost(err);
    if (device->in_parallel)
        return bm_device_settle(device, bm_fail(err, BM_E_ARGUMENT, "a parallel section is open already"));
    device->in_parallel = true;
    device->num_uses = 0;
    return BM_OK;
}

bm_status bm_batch_parallel_end(bm_device *device, bm_error *err)
{
    const bool was_open = device->in_parallel;
    device->in_parallel = false;
    if (device->lost)
        return lost(err);
    if (!was_open)
        return bm_device_settle(device, bm_fail(err, BM_E_ARGUMENT, "no parallel section is open"));
    return bm_device_settle(device, device->backend->barrier(device, err));
}

bm_status bm_device_submit(bm_device *device, bm_error *err)
{
    if (device->lost)
        return lost(err);
    device->num_recorded = 0;
    device->recorded_seconds = 0;
    return bm_device_settle(device, device->backend->submit(device, err));
}

// Turns the status word into the report that the next bm_device_wait returns. The first report of a batch stays.
static void keep_report(bm_device *device, const uint32_t word[4])
{
    static const char *const words[] = {"", "NaN or infinity", "index out of range", "non-positive pivot"};
    if (word[0] == 0 || device->report.status != BM_OK)
        return;
    const char *subject = word[1] > 0 && word[1] <= device->num_subjects ? device->subjects[word[1] - 1] : "a kernel";
    const char *what = word[0] < BM_COUNT(words) ? words[word[0]] : "unknown report";
    (void)bm_fail(&device->report, BM_E_NUMERIC, "%s: %s at element %u", subject, what, word[2]);
}

bm_status bm_device_drain(bm_device *device, bm_error *err)
{
    uint32_t word[4] = {0};
    device->num_recorded = 0;
    device->recorded_seconds = 0;
    const bm_status status = device->backend->wait(device, word, err);
    device->has_downloads = false;
    if (status != BM_OK) {
        device->backend->idle(device);
        return status;
    }
    keep_report(device, word);
    device->num_subjects = 0;
    device->num_uses = 0; // what follows in a parallel section runs behind all of this
    bm_buffers_bury(device);
    return BM_OK;
}

bm_status bm_device_wait(bm_device *device, bm_error *err)
{
    if (device->lost)
        return lost(err);
    const bm_status status = bm_device_drain(device, err);
    if (status != BM_OK || device->report.status == BM_OK)
        return status;
    const bm_error report = device->report;
    device->report.status = BM_OK;
    return bm_fail(err, report.status, "%s", report.message);
}

bm_status bm_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    if (device->lost)
        return lost(err);
    if (slot >= BM_MAX_TIMESTAMPS)
        return bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u, expected 0..%d", slot, BM_MAX_TIMESTAMPS - 1);
    return bm_device_settle(device, device->backend->timestamp_record(device, slot, err));
}

bm_status bm_timestamp_elapsed_ns(bm_device *device, uint32_t from_slot, uint32_t to_slot, double *out, bm_error *err)
{
    double from = 0, to = 0;
    if (device->lost)
        return lost(err);
    if (from_slot >= BM_MAX_TIMESTAMPS || to_slot >= BM_MAX_TIMESTAMPS)
        return bm_fail(err, BM_E_ARGUMENT, "timestamp slots %u and %u, expected 0..%d", from_slot, to_slot,
                       BM_MAX_TIMESTAMPS - 1);
    bm_status status = device->backend->timestamp_read(device, from_slot, &from, err);
    if (status == BM_OK)
        status = device->backend->timestamp_read(device, to_slot, &to, err);
    if (status == BM_OK)
        *out = to - from;
    return status;
}

void bm_device_close(bm_device **device)
{
    if (!device || !*device)
        return;
    bm_device *d = *device;
    if (d->lost)
        d->backend->idle(d);
    else
        (void)bm_device_drain(d, NULL); // when it fails, nothing runs any more all the same
    bm_buffer_destroy(&d->scratch);
    bm_buffers_bury(d);
    d->backend->close(d);
    if (d->live_handles != 0)
        bm_log_write(d->log, BM_LOG_ERROR, "%s: %llu driver objects were not released", d->info.name,
                     (unsigned long long)d->live_handles);
    bm_free(d->subjects);
    bm_free(d->uses);
    bm_free(d->cache_folder);
    bm_free(d->variants);
    bm_free(d);
    *device = NULL;
}

const bm_device_info *bm_device_get_info(const bm_device *device)
{
    return &device->info;
}
const bm_log *bm_device_log(const bm_device *device)
{
    return device->log;
}
bool bm_device_is_host(const bm_device *device)
{
    return device->backend == &bm_backend_host;
}
uint64_t bm_device_compiled_kernels(const bm_device *device)
{
    return device->compiled_kernels;
}
uint64_t bm_device_live_handles(const bm_device *device)
{
    return device->live_handles;
}
uint64_t bm_device_live_bytes(const bm_device *device)
{
    return device->live_bytes;
}
uint64_t bm_device_peak_bytes(const bm_device *device)
{
    return device->peak_bytes;
}
