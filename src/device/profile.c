// How long each kernel takes on the device: timestamps around every dispatch, summed by kernel and variant. The first launch of a
// pipeline is told apart: PoCL compiles in it.
#include "device/profile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 128 // pairs of timestamps behind those of bm_timestamp_record
#define MAX_ROWS 512
#define MAX_PIPELINES 1024 // first launches of more are not told apart

typedef struct pipeline {
    bm_kernel_id kernel;
    uint32_t variant;
    bm_dtype types[BM_MAX_BUFFERS];
    uint32_t tunables[BM_MAX_TUNABLES];
} pipeline;

struct bm_profile {
    bm_kernel_time rows[MAX_ROWS];
    uint32_t num_rows;
    pipeline launched[MAX_PIPELINES];
    uint32_t num_launched;
    struct {
        uint32_t row;
        bool is_first;
    } pending[SLOTS]; // of each pair that was recorded
    uint32_t num_pending;
};

bm_status bm_profile_begin(bm_device *device, bm_error *err)
{
    device->profile = bm_alloc_zero(1, sizeof *device->profile);
    return device->profile ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

static const bm_kernel_time *find_row(bm_profile *profile, const bm_call *call)
{
    for (uint32_t i = 0; i < profile->num_rows; i++)
        if (profile->rows[i].kernel == call->kernel && profile->rows[i].variant == call->variant)
            return &profile->rows[i];
    assert(profile->num_rows < MAX_ROWS); // more than there are kernels and variants
    profile->rows[profile->num_rows] = (bm_kernel_time){.kernel = call->kernel, .variant = call->variant};
    return &profile->rows[profile->num_rows++];
}

static bool is_first_launch(bm_profile *profile, const bm_call *call)
{
    pipeline p = {.kernel = call->kernel, .variant = call->variant};
    memcpy(p.tunables, call->tunables, sizeof p.tunables);
    for (uint32_t i = 0; i < bm_kernel_table[call->kernel].num_buffers; i++)
        p.types[i] =
            bm_kernel_table[call->kernel].buffers[i].element == BM_ELEMENT_REAL ? call->types[i] : BM_DTYPE_NONE;
    for (uint32_t i = 0; i < profile->num_launched; i++)
        if (memcmp(&profile->launched[i], &p, sizeof p) == 0)
            return false;
    if (profile->num_launched == MAX_PIPELINES)
        return false;
    profile->launched[profile->num_launched++] = p;
    return true;
}

bm_status bm_profile_make_room(bm_device *device, bm_error *err)
{
    return device->profile->num_pending == SLOTS ? bm_device_drain(device, err) : BM_OK;
}

bm_status bm_profile_before(bm_device *device, const bm_call *call, bm_error *err)
{
    bm_profile *profile = device->profile;
    const bm_kernel_time *row = find_row(profile, call);
    assert(row && profile->num_pending < SLOTS);
    profile->pending[profile->num_pending].row = (uint32_t)(row - profile->rows);
    profile->pending[profile->num_pending].is_first = is_first_launch(profile, call);
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
        bm_kernel_time *row = &profile->rows[profile->pending[i].row];
        double from = 0, to = 0;
        if (device->backend->timestamp_read(device, BM_MAX_TIMESTAMPS + 2 * i, &from, NULL) == BM_OK &&
            device->backend->timestamp_read(device, BM_MAX_TIMESTAMPS + 2 * i + 1, &to, NULL) == BM_OK) {
            const bool is_first = profile->pending[i].is_first;
            row->dispatches += !is_first;
            row->first_launches += is_first;
            *(is_first ? &row->first_seconds : &row->seconds) += 1e-9 * (to - from);
        }
    }
    profile->num_pending = 0;
}

static int by_falling_time(const void *a, const void *b)
{
    const bm_kernel_time *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

uint32_t bm_device_kernel_times(bm_device *device, const bm_kernel_time **rows)
{
    bm_profile *profile = device->profile;
    if (!profile || (!device->lost && bm_device_drain(device, NULL) != BM_OK))
        return 0;
    qsort(profile->rows, profile->num_rows, sizeof profile->rows[0], by_falling_time);
    *rows = profile->rows;
    return profile->num_rows;
}

void bm_profile_end(bm_device *device)
{
    bm_profile *profile = device->profile;
    const bm_kernel_time *rows = NULL;
    const uint32_t count = bm_device_kernel_times(device, &rows);
    uint64_t first_launches = 0;
    double sum = 0, first = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += rows[i].seconds;
        first += rows[i].first_seconds;
        first_launches += rows[i].first_launches;
    }
    bm_log_write(device->log, BM_LOG_INFO,
                 "kernels of %s: %.3f s; and %.3f s in %llu first launch%s, in which a driver may compile",
                 device->info.spec, sum, first, (unsigned long long)first_launches, first_launches == 1 ? "" : "es");
    for (uint32_t i = 0; i < count; i++) {
        const bm_kernel_info *info = &bm_kernel_table[rows[i].kernel];
        bm_log_write(device->log, BM_LOG_INFO, "  %8.3f s %5.1f %% %9llu x %10.4f ms  %s%s", rows[i].seconds,
                     100 * rows[i].seconds / (sum > 0 ? sum : 1), (unsigned long long)rows[i].dispatches,
                     1e3 * rows[i].seconds / (double)bm_max_u64(1, rows[i].dispatches), info->name,
                     info->variants[rows[i].variant].suffix);
    }
    bm_free(profile);
    device->profile = NULL;
}
