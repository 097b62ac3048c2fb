// A GGUF model: one file, or its splits.
#include "formats/gguf_internal.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define MAX_SPLITS 200 // all stay open
#define SUFFIX_SIZE sizeof("-00001-of-00001.gguf")

// "-00001-of-00003.gguf", split from 0 on.
static const char *split_suffix(uint32_t split, uint32_t count, char out[SUFFIX_SIZE + 8])
{
    snprintf(out, SUFFIX_SIZE + 8, "-%05u-of-%05u.gguf", split + 1, count);
    return out;
}

static bm_status add_part(bm_gguf *g, const char *path, bm_error *err)
{
    gguf_part *part = NULL;
    const bm_status status = gguf_part_open(&part, path, err);
    if (status != BM_OK)
        return status;
    for (uint32_t i = 0; i < part->num_tensors; i++)
        part->tensors[i].file_index = g->num_parts;
    g->num_tensors += part->num_tensors;
    g->parts[g->num_parts++] = part;
    return BM_OK;
}

// A further split: it must call itself that, and its metadata is not looked at otherwise.
static bm_status add_split(bm_gguf *g, const char *stem, uint32_t count, bm_error *err)
{
    bm_status status = BM_OK;
    char suffix[SUFFIX_SIZE + 8];
    const uint32_t split = g->num_parts;
    int64_t number = 0, of = 0;
    char *path = bm_format("%s%s", stem, split_suffix(split, count, suffix));
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_path_kind_of(path) == BM_PATH_ABSENT, err, BM_E_IO, "%s: no such file, and %s is split 1 of %u", path,
               g->parts[0]->path, count);
    BM_TRY(add_part(g, path, err));
    BM_TRY(gguf_part_get_integer(g->parts[split], GGUF_KEY_SPLIT_NUMBER, split, split, -1, &number, err));
    BM_TRY(gguf_part_get_integer(g->parts[split], GGUF_KEY_SPLIT_COUNT, count, count, -1, &of, err));
    BM_FAIL_IF(number < 0 || of < 0, err, BM_E_FORMAT, "%s: no key \"%s\", expected that of split %u of %u", path,
               number < 0 ? GGUF_KEY_SPLIT_NUMBER : GGUF_KEY_SPLIT_COUNT, split + 1, count);
done:
    bm_free(path);
    return status;
}

static bm_status add_splits(bm_gguf *g, uint32_t count, bm_error *err)
{
    bm_status status = BM_OK;
    const char *path = g->parts[0]->path;
    char suffix[SUFFIX_SIZE + 8];
    char *stem = bm_string_copy(path);
    BM_FAIL_IF(!stem, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(!bm_ends_with(path, split_suffix(0, count, suffix)), err, BM_E_FORMAT,
               "%s: is the first of %u splits by key \"%s\", expected a name that ends in %s", path, count,
               GGUF_KEY_SPLIT_COUNT, suffix);
    stem[strlen(stem) - strlen(suffix)] = '\0';
    while (g->num_parts < count)
        BM_TRY(add_split(g, stem, count, err));
done:
    bm_free(stem);
    return status;
}

static bm_status open_parts(bm_gguf *g, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    int64_t count = 1, number = 0, total = 0;
    BM_TRY(add_part(g, path, err));
    BM_TRY(bm_gguf_get_integer(g, GGUF_KEY_SPLIT_COUNT, 0, MAX_SPLITS, 1, &count, err));
    BM_TRY(bm_gguf_get_integer(g, GGUF_KEY_SPLIT_NUMBER, 0, UINT16_MAX, 0, &number, err));
    if (count < 2)
        goto done;
    BM_FAIL_IF(number != 0, err, BM_E_FORMAT, "%s: is split %lld of %lld, expected the first", path,
               (long long)number + 1, (long long)count);
    BM_TRY(add_splits(g, (uint32_t)count, err));
    BM_TRY(bm_gguf_get_integer(g, GGUF_KEY_SPLIT_TENSORS, g->num_tensors, g->num_tensors, g->num_tensors, &total, err));
done:
    return status;
}

// All parts' tensors in one list; no name stands there twice.
static bm_status list_tensors(bm_gguf *g, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t n = 0;
    char shown[160];
    g->tensors = bm_alloc(g->num_tensors, sizeof *g->tensors);
    g->by_name = bm_map_create(g->num_tensors);
    BM_FAIL_IF(!g->tensors || !g->by_name, err, BM_E_MEMORY, "out of memory");
    for (uint32_t p = 0; p < g->num_parts; p++)
        for (uint32_t i = 0; i < g->parts[p]->num_tensors; i++) {
            const bm_gguf_tensor *t = &g->parts[p]->tensors[i];
            bool again = false;
            BM_FAIL_IF(!bm_map_insert(g->by_name, t->name, strlen(t->name), n, &again), err, BM_E_MEMORY,
                       "out of memory");
            BM_FAIL_IF(again, err, BM_E_FORMAT, "%s: tensor \"%s\" is given twice", t->path,
                       bm_printable(t->name, strlen(t->name), shown, sizeof shown));
            g->tensors[n++] = t;
        }
done:
    return status;
}

bm_status bm_gguf_open(bm_gguf **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_gguf *g = bm_alloc_zero(1, sizeof *g);
    BM_FAIL_IF(!g, err, BM_E_MEMORY, "out of memory");
    g->parts = bm_alloc_zero(MAX_SPLITS, sizeof *g->parts);
    BM_FAIL_IF(!g->parts, err, BM_E_MEMORY, "out of memory");
    BM_TRY(open_parts(g, path, err));
    BM_TRY(list_tensors(g, err));
    *out = g;
    g = NULL;
done:
    bm_gguf_close(&g);
    return status;
}

void bm_gguf_close(bm_gguf **gguf)
{
    if (!gguf || !*gguf)
        return;
    bm_gguf *g = *gguf;
    bm_map_destroy(&g->by_name);
    bm_free(g->tensors);
    for (uint32_t i = 0; i < g->num_parts; i++)
        gguf_part_free(&g->parts[i]);
    bm_free(g->parts);
    bm_free(g);
    *gguf = NULL;
}

const char *bm_gguf_path(const bm_gguf *gguf)
{
    return gguf->parts[0]->path;
}
uint32_t bm_gguf_version(const bm_gguf *gguf)
{
    return gguf->parts[0]->version;
}
uint32_t bm_gguf_num_files(const bm_gguf *gguf)
{
    return gguf->num_parts;
}
uint64_t bm_gguf_bytes_behind(const bm_gguf *gguf, const char **path)
{
    for (uint32_t i = 0; i < gguf->num_parts; i++) {
        const gguf_part *part = gguf->parts[i];
        const uint64_t size = bm_file_size(part->header.file);
        *path = part->path;
        if (size > part->end)
            return size - part->end;
    }
    return 0;
}
uint32_t bm_gguf_num_tensors(const bm_gguf *gguf)
{
    return gguf->num_tensors;
}
const bm_gguf_tensor *bm_gguf_tensor_at(const bm_gguf *gguf, uint32_t index)
{
    return gguf->tensors[index];
}

const bm_gguf_tensor *bm_gguf_find_tensor(const bm_gguf *gguf, const char *name)
{
    uint32_t index;
    return bm_map_find(gguf->by_name, name, strlen(name), &index) ? gguf->tensors[index] : NULL;
}

bm_status bm_gguf_read(const bm_gguf *gguf, const bm_gguf_tensor *tensor, uint64_t byte_offset, void *out,
                       uint64_t size, bm_error *err)
{
    if (byte_offset > tensor->size_bytes || size > tensor->size_bytes - byte_offset)
        return bm_fail(err, BM_E_ARGUMENT, "%s: tensor \"%s\": bytes %llu..%llu of %llu", tensor->path, tensor->name,
                       (unsigned long long)byte_offset, (unsigned long long)(byte_offset + size),
                       (unsigned long long)tensor->size_bytes);
    return bm_file_read_at(gguf->parts[tensor->file_index]->header.file, tensor->offset + byte_offset, out, size, err);
}

uint32_t bm_gguf_num_values(const bm_gguf *gguf)
{
    return gguf->parts[0]->num_values;
}
const bm_gguf_value *bm_gguf_value_at(const bm_gguf *gguf, uint32_t index)
{
    return &gguf->parts[0]->values[index];
}
const bm_gguf_value *bm_gguf_find(const bm_gguf *gguf, const char *key)
{
    return gguf_part_find(gguf->parts[0], key);
}
