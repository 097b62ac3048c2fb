// The life of a device: submission, waiting, what the status word says, timestamps, closing. The other parts of the front:
// buffer.c, transfer.c, dispatch.c.
#include "device/backend.h"

#include "base/half.h"
#include "device/profile.h"

#include <stdio.h>
#include <string.h>

bm_status bm_device_check_lost(const bm_device *device, bm_error *err)
{
    return device->lost ? bm_fail(err, BM_E_DEVICE, "the device was lost earlier; open it again") : BM_OK;
}

bm_status bm_device_finish_on_failure(bm_device *device, bm_status status)
{
    if (status == BM_OK || !device->has_downloads)
        return status;
    if (!device->lost) {
        (void)bm_device_drain(device, NULL); // the message is that of the first failure
    } else {
        device->backend->idle(device);
        device->has_downloads = false;
    }
    return status;
}

bm_status bm_device_submit(bm_device *device, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (device->num_recorded > 0)
        device->auto_submit = (uint32_t)bm_min_u64(BM_AUTO_SUBMIT, 2 * (uint64_t)device->auto_submit);
    device->num_recorded = 0;
    device->recorded_seconds = 0;
    return bm_device_finish_on_failure(device, device->backend->submit(device, err));
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
    if (device->compile_only)
        return BM_OK;
    device->num_recorded = 0;
    device->auto_submit = BM_FIRST_SUBMIT;
    device->recorded_seconds = 0;
    device->num_waits++;
    const bm_status status = device->backend->wait(device, word, err);
    device->has_downloads = false;
    if (status != BM_OK) {
        device->backend->idle(device);
        return status;
    }
    if (device->profile)
        bm_profile_collect(device);
    keep_report(device, word);
    device->num_subjects = 0;
    device->num_uses = 0; // what follows in a parallel section runs behind all of this
    bm_buffers_release(device);
    return BM_OK;
}

bm_status bm_device_wait(bm_device *device, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    const bm_status status = bm_device_drain(device, err);
    if (status != BM_OK || device->report.status == BM_OK)
        return status;
    const bm_error report = device->report;
    device->report.status = BM_OK;
    return bm_fail(err, report.status, "%s", report.message);
}

bm_status bm_device_discard_reports(bm_device *device, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    const bm_status status = bm_device_drain(device, err);
    device->report.status = BM_OK;
    return status;
}

bm_status bm_timestamp_record(bm_device *device, uint32_t slot, bm_error *err)
{
    if (device->lost)
        return bm_device_check_lost(device, err);
    if (slot >= BM_MAX_TIMESTAMPS)
        return bm_fail(err, BM_E_ARGUMENT, "timestamp slot %u, expected 0..%d", slot, BM_MAX_TIMESTAMPS - 1);
    return bm_device_finish_on_failure(device, device->backend->timestamp_record(device, slot, err));
}

bm_status bm_timestamp_elapsed_ns(bm_device *device, uint32_t from_slot, uint32_t to_slot, double *out, bm_error *err)
{
    double from = 0, to = 0;
    if (device->lost)
        return bm_device_check_lost(device, err);
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
    if (d->profile)
        bm_profile_end(d);
    bm_buffer_destroy(&d->scratch);
    bm_buffers_release(d);
    bm_buffers_release_spares(d);
    d->backend->close(d);
    if (d->live_handles != 0)
        bm_log_write(d->log, BM_LOG_ERROR, "%s: %llu driver objects were not released", d->info.name,
                     (unsigned long long)d->live_handles);
    bm_free(d->subjects);
    bm_free(d->uses);
    bm_free(d->cache_folder);
    bm_free(d->variants);
    bm_free(d->tuning);
    bm_free(d->verdicts);
    bm_free(d->unwritten);
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
    return strcmp(device->backend->name, bm_backend_host.name) == 0; // a copy in its place, too
}
bool bm_device_runs(const bm_device *device)
{
    return !device->compile_only;
}
bool bm_device_is_real(const bm_device *device, bm_dtype dtype)
{
    return bm_dtype_is_real(dtype) || (dtype == BM_DTYPE_F64 && bm_device_is_host(device));
}

bool bm_device_keeps_kernels(const bm_device *device)
{
    return device->keeps_kernels;
}

uint64_t bm_device_compiled_kernels(const bm_device *device)
{
    return device->compiled_kernels;
}

void bm_device_keep_to_cache(bm_device *device, bool on)
{
    device->keeps_to_cache = on;
}

bm_status bm_device_may_compile(const bm_device *device, const char *kernel, bm_error *err)
{
    return device->keeps_to_cache ? bm_fail(err, BM_E_UNSUPPORTED, "%s is not compiled yet", kernel) : BM_OK;
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
uint64_t bm_device_num_waits(const bm_device *device)
{
    return device->num_waits;
}
