// How long each kernel takes on the device: timestamps around every dispatch, summed by kernel and variant.
#include "device/profile.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS 128 // pairs of timestamps behind those of bm_timestamp_record
#define MAX_ROWS 512

typedef struct profile_row {
    bm_kernel_id kernel;
    uint32_t variant;
    uint64_t dispatches;
    double seconds;
} profile_row;

struct bm_profile {
    profile_row rows[MAX_ROWS];
    uint32_t num_rows;
    uint32_t pending[SLOTS]; // the row of each pair that was recorded
    uint32_t num_pending;
};

bm_status bm_profile_begin(bm_device *device, bm_error *err)
{
    device->profile = bm_alloc_zero(1, sizeof *device->profile);
    return device->profile ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

static const profile_row *find_row(bm_profile *profile, const bm_call *call)
{
    for (uint32_t i = 0; i < profile->num_rows; i++)
        if (profile->rows[i].kernel == call->kernel && profile->rows[i].variant == call->variant)
            return &profile->rows[i];
    assert(profile->num_rows < MAX_ROWS); // more than there are kernels and variants
    profile->rows[profile->num_rows] = (profile_row){.kernel = call->kernel, .variant = call->variant};
    return &profile->rows[profile->num_rows++];
}

bm_status bm_profile_make_room(bm_device *device, bm_error *err)
{
    return device->profile->num_pending == SLOTS ? bm_device_drain(device, err) : BM_OK;
}

bm_status bm_profile_before(bm_device *device, const bm_call *call, bm_error *err)
{
    bm_profile *profile = device->profile;
    const profile_row *row = find_row(profile, call);
    assert(row && profile->num_pending < SLOTS);
    profile->pending[profile->num_pending] = (uint32_t)(row - profile->rows);
    return device->backend->timestamp_record(device, BM_MAX_TIMESTAMPS + 2 * profile->num_pending, err);
}

bm_status bm_profile_after(bm_device *device, bm_error *err)
{
    bm_profile *profile = device->profile;
    return device->backend->timestamp_record(device, BM_MAX_TIMESTAMPS + 2 * profile->num_pending++ + 1, err);
}

void bm_profile_collect(bm_device *device)
{
    bm_profile *profile = device->profile;
    for (uint32_t i = 0; i < profile->num_pending; i++) {
        profile_row *row = &profile->rows[profile->pending[i]];
        double from = 0, to = 0;
        if (device->backend->timestamp_read(device, BM_MAX_TIMESTAMPS + 2 * i, &from, NULL) == BM_OK &&
            device->backend->timestamp_read(device, BM_MAX_TIMESTAMPS + 2 * i + 1, &to, NULL) == BM_OK) {
            row->dispatches++;
            row->seconds += 1e-9 * (to - from);
        }
    }
    profile->num_pending = 0;
}

static int by_falling_time(const void *a, const void *b)
{
    const profile_row *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

void bm_profile_end(bm_device *device)
{
    bm_profile *profile = device->profile;
    double sum = 0;
    for (uint32_t i = 0; i < profile->num_rows; i++)
        sum += profile->rows[i].seconds;
    qsort(profile->rows, profile->num_rows, sizeof profile->rows[0], by_falling_time);
    bm_log_write(device->log, BM_LOG_INFO, "kernels of %s: %.3f s", device->info.spec, sum);
    for (uint32_t i = 0; i < profile->num_rows; i++) {
        const profile_row *row = &profile->rows[i];
        const bm_kernel_info *info = &bm_kernel_table[row->kernel];
        bm_log_write(device->log, BM_LOG_INFO, "  %8.3f s %5.1f %% %9llu x %10.4f ms  %s%s", row->seconds,
                     100 * row->seconds / (sum > 0 ? sum : 1), (unsigned long long)row->dispatches,
                     1e3 * row->seconds / (double)bm_max_u64(1, row->dispatches), info->name,
                     info->variants[row->variant].suffix);
    }
    bm_free(profile);
    device->profile = NULL;
}
