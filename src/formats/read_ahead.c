// A thread that reads tensors before they are asked for, with others that share the pieces of one: a page cache gives more than one
// thread can take, looking for what is not finite costs as much, and so do the first uses of new memory.
#include "formats/read_ahead.h"

#include "base/clock.h"
#include "base/thread.h"

#define PIECE_BYTES (UINT64_C(4) << 20) // between two of them a thread may be stopped

typedef enum entry_state { WANTED, BEING_READ, READ, FAILED } entry_state;

typedef struct entry {
    const bm_tensor_info *info;
    uint32_t block;
    entry_state state;
    uint8_t *bytes; // the thread's while it is being read; then it does not change
    struct entry *next;
} entry;

// Memory of a tensor that was dropped. Blocks are alike, and memory that is used again is several times as fast as new.
typedef struct spare {
    uint8_t *bytes;
    uint64_t size;
    struct spare *next;
} spare;

struct bm_read_ahead {
    bm_checkpoint *checkpoint;
    bm_thread *thread;
    bm_monitor *monitor; // guards what follows
    entry *first;
    spare *spares; // of entries that were dropped; given back before new memory is taken
    uint64_t held_bytes, max_bytes;
    bool as_blocks, stops;
    bm_timeline *timeline; // its track of reading is the thread's
};

static bool is_stopped(bm_read_ahead *r)
{
    bm_monitor_enter(r->monitor);
    const bool stops = r->stops;
    bm_monitor_leave(r->monitor);
    return stops;
}

typedef struct tensor_reading {
    bm_read_ahead *reader;
    const bm_tensor_info *info;
    uint8_t *bytes;
    bool has_failed; // guarded by the reader's monitor
} tensor_reading;

static void end_pieces(tensor_reading *t, bool is_read)
{
    bm_monitor_enter(t->reader->monitor);
    t->has_failed |= !is_read;
    bm_monitor_leave(t->reader->monitor);
}

// Rows of blocks, a piece of so many at a time.
static uint64_t rows_of_piece(const bm_gguf_view *view)
{
    return bm_max_u64(PIECE_BYTES / bm_max_u64(bm_gguf_view_row_bytes(view), 1), 1);
}

static void read_blocks(void *user, uint64_t begin, uint64_t end)
{
    tensor_reading *t = user;
    const bm_gguf_view *view = bm_checkpoint_view(t->reader->checkpoint, t->info);
    const uint64_t size = bm_gguf_view_row_bytes(view), step = rows_of_piece(view), rows = t->info->shape[0];
    bool is_read = true;
    for (uint64_t row = begin * step; is_read && row < bm_min_u64(end * step, rows); row += step)
        is_read = !is_stopped(t->reader) &&
                  bm_gguf_view_read_rows(bm_checkpoint_gguf(t->reader->checkpoint), view, row,
                                         bm_min_u64(step, rows - row), t->bytes + row * size, NULL) == BM_OK;
    end_pieces(t, is_read);
}

static void read_pieces(void *user, uint64_t begin, uint64_t end)
{
    tensor_reading *t = user;
    const uint64_t size = bm_dtype_size(t->info->dtype);
    bool is_read = true;
    for (uint64_t at = begin * PIECE_BYTES; is_read && at < bm_min_u64(end * PIECE_BYTES, t->info->size_bytes);
         at += PIECE_BYTES) {
        const uint64_t count = bm_min_u64(PIECE_BYTES, t->info->size_bytes - at);
        is_read = !is_stopped(t->reader) &&
                  bm_checkpoint_read_file(t->reader->checkpoint, t->info, at, t->bytes + at, count, NULL) == BM_OK &&
                  bm_checkpoint_check_finite(t->info, t->bytes + at, at / size, count / size, NULL) == BM_OK;
    }
    end_pieces(t, is_read);
}

static bool keeps_blocks(const bm_read_ahead *r, const bm_tensor_info *info)
{
    return r->as_blocks && bm_checkpoint_has_blocks(r->checkpoint, info);
}

static uint64_t bytes_of(const bm_read_ahead *r, const bm_tensor_info *info)
{
    return keeps_blocks(r, info) ? info->shape[0] * bm_gguf_view_row_bytes(bm_checkpoint_view(r->checkpoint, info))
                                 : info->size_bytes;
}

// Until so many bytes are given back, or none are left.
static void free_spares(spare **first, uint64_t bytes)
{
    for (uint64_t freed = 0; *first && freed < bytes;) {
        spare *s = *first;
        *first = s->next;
        freed += s->size;
        bm_free(s->bytes);
        bm_free(s);
    }
}

// Spare memory of that very size; else new memory, before which as much that is spare is given back: blocks may differ in the types
// of some tensors.
static uint8_t *take_memory(bm_read_ahead *r, uint64_t size)
{
    uint8_t *bytes = NULL;
    bm_monitor_enter(r->monitor);
    spare **at = &r->spares;
    while (*at && (*at)->size != size)
        at = &(*at)->next;
    if (*at) {
        spare *s = *at;
        *at = s->next;
        bytes = s->bytes;
        bm_free(s);
    } else
        free_spares(&r->spares, size);
    bm_monitor_leave(r->monitor);
    return bytes ? bytes : bm_alloc(size, 1);
}

static uint8_t *read_tensor(bm_read_ahead *r, const bm_tensor_info *info)
{
    tensor_reading t = {.reader = r, .info = info, .bytes = take_memory(r, bytes_of(r, info))};
    const uint64_t pieces = bm_divide_up(info->size_bytes, PIECE_BYTES);
    if (!t.bytes)
        return NULL;
    if (keeps_blocks(r, info)) {
        const bm_gguf_view *view = bm_checkpoint_view(r->checkpoint, info);
        bm_parallel_for(bm_divide_up(info->shape[0], rows_of_piece(view)), 1, read_blocks, &t);
    } else if (bm_checkpoint_gguf(r->checkpoint)) {
        read_pieces(&t, 0, pieces); // which decodes with threads of its own
    } else {
        bm_parallel_for(pieces, 1, read_pieces, &t);
    }
    if (t.has_failed) {
        bm_free(t.bytes);
        return NULL;
    }
    return t.bytes;
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

bm_status bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bool as_blocks,
                              bm_timeline *timeline, bm_error *err)
{
    bm_read_ahead *r = bm_alloc_zero(1, sizeof *r);
    *out = NULL;
    if (!r)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    *r =
        (bm_read_ahead){.checkpoint = checkpoint, .max_bytes = max_bytes, .as_blocks = as_blocks, .timeline = timeline};
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
    const uint64_t size = bytes_of(r, e->info);
    spare *s = e->bytes ? bm_alloc(1, sizeof *s) : NULL;
    r->held_bytes -= size;
    if (s) {
        *s = (spare){e->bytes, size, r->spares};
        r->spares = s;
    } else
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
    free_spares(&r->spares, UINT64_MAX);
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
        bytes += bytes_of(r, tensors[i]);
    bm_monitor_enter(r->monitor);
    entry **end = &r->first;
    while (*end)
        end = &(*end)->next;
    for (uint32_t i = 0; i < count && bytes <= r->max_bytes - bm_min_u64(r->max_bytes, r->held_bytes); i++) {
        entry *e = bm_alloc_zero(1, sizeof *e);
        if (!e)
            break; // it and the rest are read where they are asked for
        *e = (entry){.info = tensors[i], .block = block};
        bytes -= bytes_of(r, e->info); // held from here on
        r->held_bytes += bytes_of(r, e->info);
        *end = e;
        end = &e->next;
    }
    bm_monitor_notify(r->monitor);
    bm_monitor_leave(r->monitor);
}

void bm_read_ahead_wait(bm_read_ahead *r)
{
    if (!r)
        return;
    bm_monitor_enter(r->monitor);
    for (entry *e = r->first; e; e = e->next)
        while (e->state == WANTED || e->state == BEING_READ)
            bm_monitor_wait(r->monitor);
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

const uint8_t *bm_read_ahead_find(bm_read_ahead *r, const bm_tensor_info *info, bool blocks)
{
    if (!r || keeps_blocks(r, info) != blocks)
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
