// The writer of checkpoints: what does not depend on the kind of files.
#include "formats/checkpoint_writer_internal.h"

#include "base/file_system.h"

#include <string.h>

#define MAX_BYTES (UINT64_C(1) << 53) // sizes and places are written in JSON: what every reader takes exactly

bm_status checkpoint_writer_create(bm_checkpoint_writer **out, const writer_container *container, const char *folder,
                                   bm_error *err)
{
    bm_checkpoint_writer *w = bm_alloc_zero(1, sizeof *w);
    if (w) {
        w->container = container;
        w->folder = bm_string_copy(folder);
        w->by_name = bm_map_create(256);
        w->monitor = bm_monitor_create();
    }
    if (!w || !w->folder || !w->by_name || !w->monitor) {
        bm_checkpoint_writer_destroy(&w);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *out = w;
    return BM_OK;
}

static void free_tensor(declared_tensor *t)
{
    bm_free(t->name);
    bm_free(t->name_in_file);
}

bm_status checkpoint_writer_add(bm_checkpoint_writer *w, const char *name, const declared_block *block,
                                declared_tensor *t, bm_error *err)
{
    bm_status status = BM_OK;
    bool again = false;
    if (w->count == w->capacity) {
        const uint32_t capacity = w->capacity ? 2 * w->capacity : 64;
        declared_tensor *tensors = bm_resize(w->tensors, capacity, sizeof *tensors);
        BM_FAIL_IF(!tensors, err, BM_E_MEMORY, "out of memory");
        w->tensors = tensors;
        w->capacity = capacity;
    }
    t->size_bytes = block->bytes;
    for (uint32_t d = 0; d < t->num_dims; d++) {
        const uint64_t units = d + 1 == t->num_dims ? t->shape[d] / block->elements : t->shape[d];
        BM_FAIL_IF(t->shape[d] > MAX_BYTES || !bm_multiply_u64(t->size_bytes, units, &t->size_bytes), err,
                   BM_E_ARGUMENT, "%s: its shape is beyond 2^53 bytes", name);
    }
    BM_FAIL_IF(t->size_bytes > MAX_BYTES - w->total_bytes, err, BM_E_ARGUMENT,
               "%s: all tensors together are beyond 2^53 bytes", name);
    t->name = bm_string_copy(name);
    BM_FAIL_IF(!t->name || !bm_map_insert(w->by_name, t->name, strlen(t->name), w->count, &again), err, BM_E_MEMORY,
               "out of memory");
    BM_FAIL_IF(again, err, BM_E_ARGUMENT, "%s: declared twice", name);
    w->tensors[w->count++] = *t;
    w->total_bytes += t->size_bytes;
    *t = (declared_tensor){0};
done:
    free_tensor(t);
    return status;
}

uint64_t bm_checkpoint_writer_total_bytes(const bm_checkpoint_writer *w)
{
    return w->total_bytes;
}

uint64_t bm_checkpoint_writer_beside_bytes(const bm_checkpoint_writer *w)
{
    return w->container->file_bytes ? w->container->file_bytes(w) - w->total_bytes : 0;
}

static bm_status end_shard(bm_checkpoint_writer *w, uint32_t shard, bm_error *err)
{
    w->shards[shard].is_done = true;
    return bm_writer_commit(&w->shards[shard].file, err);
}

bm_status bm_checkpoint_writer_begin(bm_checkpoint_writer *w, bm_error *err)
{
    w->sorted = bm_alloc((uint64_t)w->count + 1, sizeof(declared_tensor *));
    if (!w->sorted)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < w->count; i++)
        w->sorted[i] = &w->tensors[i];
    const uint32_t num_shards = w->container->assign(w);
    w->shards = bm_alloc_zero(num_shards, sizeof *w->shards);
    if (!w->shards)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    w->num_shards = num_shards;
    for (uint32_t i = 0; i < w->count; i++)
        w->shards[w->tensors[i].shard].left_bytes += w->tensors[i].size_bytes;
    return BM_OK;
}

bm_status bm_checkpoint_writer_begin_trial(bm_checkpoint_writer *w, bm_error *err)
{
    return bm_system_open_scratch(&w->scratch, w->folder, err);
}

// Where the bytes of a tensor go: a shard's file, or a trial's.
typedef struct place {
    bm_writer *file;
    bm_file *scratch; // NULL: not a trial
    uint64_t offset;  // of the tensor
} place;

static bm_status write_at(const place *p, uint64_t byte_offset, const void *bytes, uint64_t size, bm_error *err)
{
    return p->scratch ? bm_system_write_at(p->scratch, p->offset + byte_offset, bytes, size, err)
                      : bm_writer_write_at(p->file, p->offset + byte_offset, bytes, size, err);
}

// The row of a head's whose place in the file is row: s D/2 + i of row 2 i + s.
static uint64_t interleaved_source(uint64_t row, uint64_t head_rows)
{
    const uint64_t in_head = row % head_rows;
    return row - in_head + in_head % 2 * (head_rows / 2) + in_head / 2;
}

// Writes rows first .. first + count - 1 of the caller's order: those that come to be neighbours in the file, whole heads
// in the end, go in one piece.
static bm_status put_interleaved(const place *to, const declared_tensor *t, uint64_t first, const uint8_t *rows,
                                 uint64_t count, bm_error *err)
{
    const uint64_t row_bytes = t->size_bytes / t->shape[0], head_rows = t->shape[0] / t->num_heads;
    const uint64_t begin = first / head_rows * head_rows, end = bm_round_up(first + count, head_rows);
    bm_status status = BM_OK;
    uint8_t *run = bm_alloc(count, row_bytes);
    uint64_t length = 0; // rows of the run, which ends in front of row
    BM_FAIL_IF(!run, err, BM_E_MEMORY, "out of memory");
    for (uint64_t row = begin; row <= end; row++) {
        const uint64_t source = interleaved_source(row, head_rows);
        const bool is_ours = row < end && source >= first && source < first + count;
        if (is_ours)
            memcpy(run + length++ * row_bytes, rows + (source - first) * row_bytes, row_bytes);
        if (is_ours || length == 0)
            continue;
        BM_TRY(write_at(to, (row - length) * row_bytes, run, length * row_bytes, err));
        length = 0;
    }
done:
    bm_free(run);
    return status;
}

static bm_status put_bytes(const place *to, const declared_tensor *t, uint64_t byte_offset, const void *bytes,
                           uint64_t size, bm_error *err)
{
    if (t->num_heads == 0) {
        const bm_status status = write_at(to, byte_offset, bytes, size, err);
        if (status == BM_OK && to->file)
            bm_writer_begin_flush(to->file, to->offset + byte_offset, size);
        return status;
    }
    const uint64_t row_bytes = t->size_bytes / t->shape[0];
    if (byte_offset % row_bytes != 0 || size % row_bytes != 0)
        return bm_fail(err, BM_E_INTERNAL, "%s: %llu bytes at %llu, expected whole rows of %llu", t->name,
                       (unsigned long long)size, (unsigned long long)byte_offset, (unsigned long long)row_bytes);
    return put_interleaved(to, t, byte_offset / row_bytes, bytes, size / row_bytes, err);
}

// Behind what was put before. Rows that are interleaved go to places all over their tensor.
static bm_status put_trial(bm_checkpoint_writer *w, const declared_tensor *t, uint64_t byte_offset, const void *bytes,
                           uint64_t size, bm_error *err)
{
    const bool lies_apart = t->num_heads > 0;
    const place to = {NULL, w->scratch, w->scratch_bytes - (lies_apart ? 0 : byte_offset)};
    w->scratch_bytes += lies_apart ? t->size_bytes : size;
    return put_bytes(&to, t, byte_offset, bytes, size, err);
}

// Takes the bytes for written and makes the file that they go to, inside the monitor.
static bm_status claim(bm_checkpoint_writer *w, declared_tensor *t, uint64_t byte_offset, uint64_t size, bm_error *err)
{
    if (byte_offset > t->size_bytes || size > t->size_bytes - byte_offset || size > t->size_bytes - t->written_bytes)
        return bm_fail(err, BM_E_INTERNAL, "%s: bytes %llu..%llu of %llu, %llu are written", t->name,
                       (unsigned long long)byte_offset, (unsigned long long)(byte_offset + size),
                       (unsigned long long)t->size_bytes, (unsigned long long)t->written_bytes);
    t->written_bytes += size;
    return size == 0 || w->shards[t->shard].file ? BM_OK : w->container->begin_shard(w, t->shard, err);
}

bm_status bm_checkpoint_writer_put(bm_checkpoint_writer *w, const char *name, uint64_t byte_offset, const void *bytes,
                                   uint64_t size, bm_error *err)
{
    uint32_t index;
    if (!bm_map_find(w->by_name, name, strlen(name), &index))
        return bm_fail(err, BM_E_INTERNAL, "%s: written but not declared", name);
    declared_tensor *t = &w->tensors[index];
    if (w->scratch)
        return put_trial(w, t, byte_offset, bytes, size, err);
    output_shard *shard = &w->shards[t->shard];
    bm_monitor_enter(w->monitor);
    bm_status status = claim(w, t, byte_offset, size, err);
    bm_monitor_leave(w->monitor);
    if (status != BM_OK || size == 0)
        return status;
    const place to = {shard->file, NULL, t->offset};
    status = put_bytes(&to, t, byte_offset, bytes, size, err);
    bm_monitor_enter(w->monitor);
    if (status == BM_OK)
        shard->left_bytes -= size;
    else
        t->written_bytes -= size;
    const bool is_last = shard->left_bytes == 0;
    bm_monitor_leave(w->monitor);
    return is_last ? end_shard(w, t->shard, err) : status;
}

bm_status bm_checkpoint_writer_finish(bm_checkpoint_writer **writer, bm_error *err)
{
    bm_checkpoint_writer *w = *writer;
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < w->count; i++)
        BM_FAIL_IF(w->tensors[i].written_bytes != w->tensors[i].size_bytes, err, BM_E_INTERNAL,
                   "%s: %llu bytes written, expected %llu", w->tensors[i].name,
                   (unsigned long long)w->tensors[i].written_bytes, (unsigned long long)w->tensors[i].size_bytes);
    for (uint32_t shard = 0; shard < w->num_shards; shard++) // those of empty tensors alone
        if (!w->shards[shard].is_done) {
            BM_TRY(w->container->begin_shard(w, shard, err));
            BM_TRY(end_shard(w, shard, err));
        }
    if (w->container->write_index)
        BM_TRY(w->container->write_index(w, err));
done:
    bm_checkpoint_writer_destroy(writer);
    return status;
}

void bm_checkpoint_writer_destroy(bm_checkpoint_writer **writer)
{
    if (!writer || !*writer)
        return;
    bm_checkpoint_writer *w = *writer;
    for (uint32_t shard = 0; shard < w->num_shards; shard++)
        bm_writer_destroy(&w->shards[shard].file);
    bm_file_close(&w->scratch);
    bm_map_destroy(&w->by_name);
    bm_monitor_destroy(&w->monitor);
    for (uint32_t i = 0; i < w->count; i++)
        free_tensor(&w->tensors[i]);
    bm_free(w->tensors);
    bm_free(w->sorted);
    bm_free(w->shards);
    bm_free(w->folder);
    bm_free(w->file_name);
    bm_free(w);
    *writer = NULL;
}
