// A thread that reads tensors before they are asked for.
#include "formats/read_ahead.h"

#include "base/clock.h"
#include "base/thread.h"

#define PIECE_BYTES (UINT64_C(16) << 20) // between two of them others may read, and the thread may be stopped

typedef enum entry_state { WANTED, BEING_READ, READ, FAILED } entry_state;

typedef struct entry {
    const bm_tensor_info *info;
    uint32_t block;
    entry_state state;
    uint8_t *bytes; // the thread's while it is being read; then it does not change
    struct entry *next;
} entry;

struct bm_read_ahead {
    bm_checkpoint *checkpoint;
    bm_thread *thread;
    bm_monitor *monitor; // guards what follows
    entry *first;
    uint64_t held_bytes, max_bytes;
    bool stops;
    bm_timeline *timeline; // its track of reading is the thread's
};

static bool is_stopped(bm_read_ahead *r)
{
    bm_monitor_enter(r->monitor);
    const bool stops = r->stops;
    bm_monitor_leave(r->monitor);
    return stops;
}

static uint8_t *read_tensor(bm_read_ahead *r, const bm_tensor_info *info)
{
    const uint64_t size = bm_dtype_size(info->dtype);
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    bool is_read = bytes != NULL;
    for (uint64_t at = 0; is_read && at < info->size_bytes; at += PIECE_BYTES) {
        const uint64_t count = bm_min_u64(PIECE_BYTES, info->size_bytes - at);
        is_read = !is_stopped(r) &&
                  bm_checkpoint_read_file(r->checkpoint, info, at, bytes + at, count, NULL) == BM_OK &&
                  bm_checkpoint_check_finite(info, bytes + at, at / size, count / size, NULL) == BM_OK;
    }
    if (!is_read) {
        bm_free(bytes);
        bytes = NULL;
    }
    return bytes;
}

static void work(void *reader)
{
    bm_read_ahead *r = reader;
    bm_monitor_enter(r->monitor);
    while (!r->stops) {
        entry *e = r->first;
        while (e && e->state != WANTED)
            e = e->next;
        if (!e) {
            bm_monitor_wait(r->monitor);
            continue;
        }
        e->state = BEING_READ;
        bm_monitor_leave(r->monitor);
        const uint64_t begin_ns = bm_clock_ns();
        uint8_t *bytes = read_tensor(r, e->info);
        bm_timeline_add(r->timeline, BM_TRACK_READING, NULL, (int32_t)e->block, begin_ns, bm_clock_ns());
        bm_monitor_enter(r->monitor);
        e->bytes = bytes;
        e->state = bytes ? READ : FAILED;
        bm_monitor_notify(r->monitor);
    }
    bm_monitor_leave(r->monitor);
}

bm_status bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bm_timeline *timeline,
                              bm_error *err)
{
    bm_read_ahead *r = bm_alloc_zero(1, sizeof *r);
    *out = NULL;
    if (!r)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    *r = (bm_read_ahead){.checkpoint = checkpoint, .max_bytes = max_bytes, .timeline = timeline};
    r->monitor = bm_monitor_create();
    if (!r->monitor || bm_thread_start(&r->thread, work, r, NULL) != BM_OK) {
        bm_monitor_destroy(&r->monitor);
        bm_free(r);
        return BM_OK;
    }
    bm_checkpoint_set_reader(checkpoint, r);
    *out = r;
    return BM_OK;
}

static void free_entry(bm_read_ahead *r, entry *e)
{
    r->held_bytes -= e->info->size_bytes;
    bm_free(e->bytes);
    bm_free(e);
}

void bm_read_ahead_stop(bm_read_ahead **reader)
{
    if (!reader || !*reader)
        return;
    bm_read_ahead *r = *reader;
    bm_checkpoint_set_reader(r->checkpoint, NULL);
    bm_monitor_enter(r->monitor);
    r->stops = true;
    bm_monitor_notify(r->monitor);
    bm_monitor_leave(r->monitor);
    bm_thread_join(&r->thread);
    while (r->first) {
        entry *e = r->first;
        r->first = e->next;
        free_entry(r, e);
    }
    bm_monitor_destroy(&r->monitor);
    bm_free(r);
    *reader = NULL;
}

void bm_read_ahead_want(bm_read_ahead *r, uint32_t block, const bm_tensor_info *const *tensors, uint32_t count)
{
    uint64_t bytes = 0;
    if (!r)
        return;
    for (uint32_t i = 0; i < count; i++)
        bytes += tensors[i]->size_bytes;
    bm_monitor_enter(r->monitor);
    entry **end = &r->first;
    while (*end)
        end = &(*end)->next;
    for (uint32_t i = 0; i < count && bytes <= r->max_bytes - bm_min_u64(r->max_bytes, r->held_bytes); i++) {
        entry *e = bm_alloc_zero(1, sizeof *e);
        if (!e)
            break; // it and the rest are read where they are asked for
        *e = (entry){.info = tensors[i], .block = block};
        bytes -= e->info->size_bytes; // held from here on
        r->held_bytes += e->info->size_bytes;
        *end = e;
        end = &e->next;
    }
    bm_monitor_notify(r->monitor);
    bm_monitor_leave(r->monitor);
}

void bm_read_ahead_drop(bm_read_ahead *r, uint32_t block)
{
    if (!r)
        return;
    bm_monitor_enter(r->monitor);
    for (entry **at = &r->first; *at;) {
        entry *e = *at;
        if (e->block == block && e->state == BEING_READ) { // soon done
            bm_monitor_wait(r->monitor);
            at = &r->first;
        } else if (e->block == block) {
            *at = e->next;
            free_entry(r, e);
        } else {
            at = &e->next;
        }
    }
    bm_monitor_leave(r->monitor);
}

const uint8_t *bm_read_ahead_find(bm_read_ahead *r, const bm_tensor_info *info)
{
    if (!r)
        return NULL;
    const uint64_t begin_ns = bm_clock_ns();
    bm_monitor_enter(r->monitor);
    entry *e = r->first;
    while (e && e->info != info)
        e = e->next;
    while (e && (e->state == WANTED || e->state == BEING_READ))
        bm_monitor_wait(r->monitor);
    const uint8_t *bytes = e ? e->bytes : NULL;
    bm_monitor_leave(r->monitor);
    bm_timeline_wait(r->timeline, BM_TRACK_READING, begin_ns, bm_clock_ns());
    return bytes;
}
