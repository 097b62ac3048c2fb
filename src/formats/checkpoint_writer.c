// The writer of safetensors files and of their index.
#include "formats/checkpoint_writer.h"

#include "base/hash.h"
#include "base/str.h"
#include "formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES (UINT64_C(1) << 53) // sizes and places are written in JSON: what every reader takes exactly

typedef struct declared_tensor {
    char *name;
    bm_dtype dtype;
    uint64_t shape[BM_MAX_DIMS];
    uint32_t num_dims;
    uint64_t size_bytes, written_bytes;
    uint32_t shard;
    uint64_t offset; // in its file
} declared_tensor;

typedef struct output_shard {
    bm_writer *file;     // NULL: not begun, or done
    uint64_t left_bytes; // of its tensors, that are not written yet
    bool is_done;
} output_shard;

struct bm_checkpoint_writer {
    char *folder;
    uint64_t max_shard_bytes;
    declared_tensor *tensors;
    uint32_t count, capacity;
    uint64_t total_bytes; // of all tensors
    bm_map *by_name;
    declared_tensor **sorted; // by type and name, once begun
    output_shard *shards;
    uint32_t num_shards;
};

// The order of types in the reference writer: from the largest alignment to the smallest.
static int rank_of(bm_dtype dtype)
{
    static const bm_dtype order[] = {BM_DTYPE_BOOL, BM_DTYPE_U8,  BM_DTYPE_I8,  BM_DTYPE_F8_E5M2, BM_DTYPE_F8_E4M3,
                                     BM_DTYPE_I16,  BM_DTYPE_U16, BM_DTYPE_F16, BM_DTYPE_BF16,    BM_DTYPE_I32,
                                     BM_DTYPE_U32,  BM_DTYPE_F32, BM_DTYPE_F64, BM_DTYPE_I64,     BM_DTYPE_U64};
    for (size_t i = 0; i < BM_COUNT(order); i++)
        if (order[i] == dtype)
            return (int)i;
    return -1;
}

bm_status bm_checkpoint_writer_create(bm_checkpoint_writer **out, const char *folder, uint64_t max_shard_bytes,
                                      bm_error *err)
{
    bm_checkpoint_writer *w = bm_alloc_zero(1, sizeof *w);
    if (w) {
        w->folder = bm_string_copy(folder);
        w->max_shard_bytes = max_shard_bytes;
        w->by_name = bm_map_create(256);
    }
    if (!w || !w->folder || !w->by_name) {
        bm_checkpoint_writer_destroy(&w);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *out = w;
    return BM_OK;
}

bm_status bm_checkpoint_writer_declare(bm_checkpoint_writer *w, const char *name, bm_dtype dtype, const uint64_t *shape,
                                       uint32_t num_dims, bm_error *err)
{
    bool again = false;
    declared_tensor t = {.dtype = dtype, .num_dims = num_dims, .size_bytes = bm_dtype_size(dtype)};
    if (num_dims > BM_MAX_DIMS || t.size_bytes == 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %u dimensions of type %s", name, num_dims, bm_dtype_name(dtype));
    if (w->count == w->capacity) {
        const uint32_t capacity = w->capacity ? 2 * w->capacity : 64;
        declared_tensor *tensors = bm_resize(w->tensors, capacity, sizeof *tensors);
        if (!tensors)
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        w->tensors = tensors;
        w->capacity = capacity;
    }
    for (uint32_t d = 0; d < num_dims; d++) {
        t.shape[d] = shape[d];
        if (shape[d] > MAX_BYTES || !bm_multiply_u64(t.size_bytes, shape[d], &t.size_bytes))
            return bm_fail(err, BM_E_ARGUMENT, "%s: its shape is beyond 2^53 bytes", name);
    }
    if (t.size_bytes > MAX_BYTES - w->total_bytes)
        return bm_fail(err, BM_E_ARGUMENT, "%s: all tensors together are beyond 2^53 bytes", name);
    t.name = bm_string_copy(name);
    if (!t.name || !bm_map_insert(w->by_name, t.name, strlen(t.name), w->count, &again)) {
        bm_free(t.name);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    if (again) {
        bm_free(t.name);
        return bm_fail(err, BM_E_ARGUMENT, "%s: declared twice", name);
    }
    w->tensors[w->count++] = t;
    w->total_bytes += t.size_bytes;
    return BM_OK;
}

uint64_t bm_checkpoint_writer_total_bytes(const bm_checkpoint_writer *w)
{
    return w->total_bytes;
}

// Which shard each tensor goes to. Returns the number of shards.
static uint32_t assign_shards(bm_checkpoint_writer *w)
{
    uint64_t used = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        if (used > 0 && w->tensors[i].size_bytes > w->max_shard_bytes - bm_min_u64(used, w->max_shard_bytes)) {
            last++;
            used = 0;
        }
        w->tensors[i].shard = last;
        used += w->tensors[i].size_bytes;
    }
    return last + 1;
}

static int compare_declared(const void *a, const void *b)
{
    const declared_tensor *x = *(declared_tensor *const *)a, *y = *(declared_tensor *const *)b;
    const int by_type = rank_of(y->dtype) - rank_of(x->dtype);
    return by_type != 0 ? by_type : strcmp(x->name, y->name);
}

static void put_entry(bm_json_writer *json, const declared_tensor *t, uint64_t begin)
{
    bm_json_begin_object(json, t->name);
    bm_json_put_string(json, "dtype", bm_dtype_name(t->dtype));
    bm_json_begin_array(json, "shape");
    for (uint32_t d = 0; d < t->num_dims; d++)
        bm_json_put_integer(json, NULL, (int64_t)t->shape[d]);
    bm_json_end_array(json);
    bm_json_begin_array(json, "data_offsets");
    bm_json_put_integer(json, NULL, (int64_t)begin);
    bm_json_put_integer(json, NULL, (int64_t)(begin + t->size_bytes));
    bm_json_end_array(json);
    bm_json_end_object(json);
}

static void shard_name(const bm_checkpoint_writer *w, uint32_t shard, char out[64])
{
    if (w->num_shards == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05u-of-%05u.safetensors", shard + 1, w->num_shards);
}

// Lays out one shard, makes its file and writes its header.
static bm_status begin_shard(bm_checkpoint_writer *w, uint32_t shard, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string header = BM_STRING_INIT;
    bm_json_writer json;
    uint64_t at = 0;
    uint8_t prefix[8];
    char name[64];
    char *path = NULL;
    bm_json_writer_init(&json, &header, 0);
    bm_json_begin_object(&json, NULL);
    bm_json_begin_object(&json, "__metadata__");
    bm_json_put_string(&json, "format", "pt"); // older loaders refuse a file without it
    bm_json_end_object(&json);
    for (uint32_t i = 0; i < w->count; i++)
        if (w->sorted[i]->shard == shard) {
            put_entry(&json, w->sorted[i], at);
            w->sorted[i]->offset = at;
            at += w->sorted[i]->size_bytes;
        }
    bm_json_end_object(&json);
    while (header.length % 8 != 0)
        (void)bm_string_append(&header, " ");
    BM_FAIL_IF(header.failed, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < w->count; i++)
        if (w->sorted[i]->shard == shard)
            w->sorted[i]->offset += 8 + header.length;
    shard_name(w, shard, name);
    path = bm_path_join(w->folder, name);
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_writer_create(&w->shards[shard].file, path, err));
    bm_store_le64(prefix, header.length);
    BM_TRY(bm_writer_write(w->shards[shard].file, prefix, 8, err));
    BM_TRY(bm_writer_write(w->shards[shard].file, header.data, header.length, err));
done:
    bm_string_free(&header);
    bm_free(path);
    return status;
}

static bm_status end_shard(bm_checkpoint_writer *w, uint32_t shard, bm_error *err)
{
    w->shards[shard].is_done = true;
    return bm_writer_commit(&w->shards[shard].file, err);
}

bm_status bm_checkpoint_writer_begin(bm_checkpoint_writer *w, bm_error *err)
{
    const uint32_t num_shards = assign_shards(w);
    w->sorted = bm_alloc((uint64_t)w->count + 1, sizeof(declared_tensor *));
    w->shards = bm_alloc_zero(num_shards, sizeof *w->shards);
    if (!w->sorted || !w->shards)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    w->num_shards = num_shards;
    for (uint32_t i = 0; i < w->count; i++) {
        w->sorted[i] = &w->tensors[i];
        w->shards[w->tensors[i].shard].left_bytes += w->tensors[i].size_bytes;
    }
    if (w->count > 1)
        qsort(w->sorted, w->count, sizeof *w->sorted, compare_declared);
    return BM_OK;
}

bm_status bm_checkpoint_writer_put(bm_checkpoint_writer *w, const char *name, uint64_t byte_offset, const void *bytes,
                                   uint64_t size, bm_error *err)
{
    uint32_t index;
    bm_status status = BM_OK;
    if (!bm_map_find(w->by_name, name, strlen(name), &index))
        return bm_fail(err, BM_E_INTERNAL, "%s: written but not declared", name);
    declared_tensor *t = &w->tensors[index];
    output_shard *shard = &w->shards[t->shard];
    if (byte_offset > t->size_bytes || size > t->size_bytes - byte_offset || size > t->size_bytes - t->written_bytes)
        return bm_fail(err, BM_E_INTERNAL, "%s: bytes %llu..%llu of %llu, %llu are written", name,
                       (unsigned long long)byte_offset, (unsigned long long)(byte_offset + size),
                       (unsigned long long)t->size_bytes, (unsigned long long)t->written_bytes);
    if (size == 0)
        return BM_OK;
    if (!shard->file)
        BM_TRY(begin_shard(w, t->shard, err));
    BM_TRY(bm_writer_write_at(shard->file, t->offset + byte_offset, bytes, size, err));
    t->written_bytes += size;
    shard->left_bytes -= size;
    if (shard->left_bytes == 0)
        BM_TRY(end_shard(w, t->shard, err));
done:
    return status;
}

static bm_status write_index(const bm_checkpoint_writer *w, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    char name[64];
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_begin_object(&json, "metadata");
    bm_json_put_integer(&json, "total_size", (int64_t)bm_checkpoint_writer_total_bytes(w));
    bm_json_end_object(&json);
    bm_json_begin_object(&json, "weight_map");
    for (uint32_t i = 0; i < w->count; i++) {
        shard_name(w, w->tensors[i].shard, name);
        bm_json_put_string(&json, w->tensors[i].name, name);
    }
    bm_json_end_object(&json);
    bm_json_end_object(&json);
    (void)bm_string_append(&text, "\n");
    char *path = bm_path_join(w->folder, "model.safetensors.index.json");
    const bm_status status = text.failed || !path ? bm_fail(err, BM_E_MEMORY, "out of memory")
                                                  : bm_file_write_all(path, text.data, text.length, err);
    bm_free(path);
    bm_string_free(&text);
    return status;
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
            BM_TRY(begin_shard(w, shard, err));
            BM_TRY(end_shard(w, shard, err));
        }
    if (w->num_shards > 1)
        BM_TRY(write_index(w, err));
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
    bm_map_destroy(&w->by_name);
    for (uint32_t i = 0; i < w->count; i++)
        bm_free(w->tensors[i].name);
    bm_free(w->tensors);
    bm_free(w->sorted);
    bm_free(w->shards);
    bm_free(w->folder);
    bm_free(w);
    *writer = NULL;
}
