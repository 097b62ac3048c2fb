// Safetensors files and their index, as the checkpoint writer lays them out.
#include "base/str.h"
#include "formats/checkpoint_writer_internal.h"
#include "formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int compare_declared(const void *a, const void *b)
{
    const declared_tensor *x = *(declared_tensor *const *)a, *y = *(declared_tensor *const *)b;
    const int by_type = rank_of(y->dtype) - rank_of(x->dtype);
    return by_type != 0 ? by_type : strcmp(x->name, y->name);
}

// Which shard each tensor goes to, in the order of their declaration.
static uint32_t assign(bm_checkpoint_writer *w)
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
    if (w->count > 1)
        qsort(w->sorted, w->count, sizeof *w->sorted, compare_declared);
    return last + 1;
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

static bm_status write_index(const bm_checkpoint_writer *w, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    char name[64];
    if (w->num_shards <= 1)
        return BM_OK;
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_begin_object(&json, "metadata");
    bm_json_put_integer(&json, "total_size", (int64_t)w->total_bytes);
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

static const writer_container safetensors = {assign, begin_shard, write_index, NULL};

bm_status bm_checkpoint_writer_create(bm_checkpoint_writer **out, const char *folder, uint64_t max_shard_bytes,
                                      bm_error *err)
{
    const bm_status status = checkpoint_writer_create(out, &safetensors, folder, err);
    if (status == BM_OK)
        (*out)->max_shard_bytes = max_shard_bytes;
    return status;
}

bm_status bm_checkpoint_writer_declare(bm_checkpoint_writer *w, const char *name, bm_dtype dtype, const uint64_t *shape,
                                       uint32_t num_dims, bm_error *err)
{
    const declared_block element = {1, bm_dtype_size(dtype)};
    declared_tensor t = {.dtype = dtype, .num_dims = num_dims};
    if (num_dims > BM_MAX_DIMS || element.bytes == 0)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %u dimensions of type %s", name, num_dims, bm_dtype_name(dtype));
    for (uint32_t d = 0; d < num_dims; d++)
        t.shape[d] = shape[d];
    return checkpoint_writer_add(w, name, &element, &t, err);
}
