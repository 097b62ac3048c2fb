// Checkpoints: one file, or shards with an index.
#include "formats/checkpoint.h"

#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "formats/json.h"
#include "formats/read_ahead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INDEX_BYTES (UINT64_C(64) << 20)
#define MAX_SHARDS 1000   // one that holds no tensor of the map is not opened
#define MAX_OPEN_SHARDS 4 // blocks lie one behind the other: a read goes to one or two of them for a long time

typedef struct shard {
    char *path;
    uint64_t size_bytes;  // when its header was read
    bm_file *file;        // NULL: closed
    uint64_t last_use;    // in bm_checkpoint's count of uses
    uint32_t num_readers; // threads that read from the file now
} shard;

struct bm_checkpoint {
    shard *shards;
    uint32_t num_shards, num_open;
    uint64_t num_uses;
    bm_tensor_info *tensors; // count of them sorted by name, then the unlisted ones
    uint32_t count, num_unlisted;
    bm_map *by_name;
    bm_monitor *files;     // guards which shards are open
    bm_gguf *gguf;         // where tensors come from, there being no shards; NULL: safetensors
    bm_gguf_view *views;   // of gguf
    bm_read_ahead *reader; // NULL: nothing is read ahead
};

static void close_oldest(bm_checkpoint *c)
{
    shard *oldest = NULL;
    for (uint32_t i = 0; i < c->num_shards; i++)
        if (c->shards[i].file && c->shards[i].num_readers == 0 && (!oldest || c->shards[i].last_use < oldest->last_use))
            oldest = &c->shards[i];
    if (oldest) {
        bm_file_close(&oldest->file);
        c->num_open--;
    }
}

// Sees to it that a shard is open. Where all that are open are being read from, there is one more.
static bm_status use_shard(bm_checkpoint *c, shard *s, bm_error *err)
{
    s->last_use = ++c->num_uses;
    if (s->file)
        return BM_OK;
    if (c->num_open >= MAX_OPEN_SHARDS)
        close_oldest(c);
    const bm_status status = bm_file_open(&s->file, s->path, err);
    if (status == BM_OK)
        c->num_open++;
    return status;
}

static int compare_tensor_names(const void *a, const void *b)
{
    return strcmp(((const bm_tensor_info *)a)->name, ((const bm_tensor_info *)b)->name);
}

// Takes over the tensors of list, which the last shard holds.
static bm_status add_tensors(bm_checkpoint *c, bm_tensor_list *list, bm_error *err)
{
    bm_tensor_info *tensors = bm_resize(c->tensors, (uint64_t)c->count + list->count + 1, sizeof *tensors);
    if (!tensors)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    c->tensors = tensors;
    memcpy(tensors + c->count, list->tensors, list->count * sizeof *tensors);
    for (uint32_t i = 0; i < list->count; i++) {
        tensors[c->count + i].file_index = c->num_shards - 1;
        tensors[c->count + i].path = c->shards[c->num_shards - 1].path;
    }
    c->count += list->count;
    list->count = 0; // the names belong to us now
    return BM_OK;
}

static bm_status add_shard(bm_checkpoint *c, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor_list list = {0};
    shard *shards = bm_resize(c->shards, (uint64_t)c->num_shards + 1, sizeof *shards);
    BM_FAIL_IF(!shards, err, BM_E_MEMORY, "out of memory");
    c->shards = shards;
    shard *added = &shards[c->num_shards];
    *added = (shard){.path = bm_string_copy(path)};
    BM_FAIL_IF(!added->path, err, BM_E_MEMORY, "out of memory");
    c->num_shards++;
    BM_TRY(use_shard(c, added, err));
    added->size_bytes = bm_file_size(added->file);
    BM_TRY(bm_safetensors_read_header(added->file, &list, err));
    BM_TRY(add_tensors(c, &list, err));
done:
    bm_tensor_list_free(&list);
    return status;
}

// A shard's name must be a plain file name: the index of a stranger may not reach outside its folder.
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && !strpbrk(name, "/\\:") && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// Opens each shard that the weight map names, once; shard[i] is the file of the map's i-th tensor.
static bm_status open_shards(bm_checkpoint *c, const bm_json *map, const char *folder, const char *index_path,
                             bm_map *seen, bm_error *err)
{
    bm_status status = BM_OK;
    char shown[160];
    for (const bm_json *member = bm_json_first(map); member; member = bm_json_next(member)) {
        const char *tensor = bm_printable(bm_json_key(member), strlen(bm_json_key(member)), shown, sizeof shown);
        char found[BM_JSON_FOUND_SIZE];
        BM_FAIL_IF(bm_json_kind_of(member) != BM_JSON_STRING || !is_plain_name(bm_json_string(member)), err,
                   BM_E_FORMAT, "%s: weight_map \"%s\": expected the plain name of a file, found %s", index_path,
                   tensor, bm_json_found(member, found, sizeof found));
        bool known = false;
        const char *name = bm_json_string(member);
        BM_FAIL_IF(!bm_map_insert(seen, name, strlen(name), c->num_shards, &known), err, BM_E_MEMORY, "out of memory");
        if (known)
            continue;
        BM_FAIL_IF(c->num_shards == MAX_SHARDS, err, BM_E_FORMAT, "%s: more than %d shards", index_path, MAX_SHARDS);
        char *path = bm_path_join(folder, name);
        if (path && bm_path_kind_of(path) == BM_PATH_ABSENT)
            status = bm_fail(err, BM_E_IO, "%s: tensor \"%s\" is to be in \"%s\", which is not in the folder",
                             index_path, tensor, name);
        else
            status = path ? add_shard(c, path, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(path);
        BM_TRY(status);
    }
done:
    return status;
}

// The words for tensors of the map that no shard holds: how many, and the first. c->tensors are those that were found.
static bm_status missing_tensors(const bm_checkpoint *c, const bm_json *map, const char *index_path, bm_error *err)
{
    bm_status status = BM_OK;
    char shown[160] = "";
    bm_map *found = bm_map_create(c->count);
    BM_FAIL_IF(!found, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->count; i++)
        BM_FAIL_IF(!bm_map_insert(found, c->tensors[i].name, strlen(c->tensors[i].name), i, NULL), err, BM_E_MEMORY,
                   "out of memory");
    for (const bm_json *member = bm_json_first(map); member; member = bm_json_next(member)) {
        const char *name = bm_json_key(member);
        uint32_t at;
        if (bm_map_find(found, name, strlen(name), &at))
            continue;
        const bm_tensor_info *elsewhere = bm_checkpoint_find_unlisted(c, name);
        status =
            bm_fail(err, BM_E_FORMAT,
                    "%s: tensor \"%s\": is not in \"%.80s\", as the weight_map says%s%.80s; %u such tensor%s in all",
                    index_path, bm_printable(name, strlen(name), shown, sizeof shown), bm_json_string(member),
                    elsewhere ? ", but in " : "", elsewhere ? bm_path_base_name(elsewhere->path) : "",
                    bm_json_count(map) - c->count, bm_plural(bm_json_count(map) - c->count));
        goto done;
    }
done:
    bm_map_destroy(&found);
    return status;
}

// Keeps of all shards' tensors those that the map places there; each name of the map must be found.
static bm_status keep_listed(bm_checkpoint *c, const bm_json *map, const bm_map *files, const char *index_path,
                             bm_error *err)
{
    bm_status status = BM_OK;
    bm_map *places = bm_map_create(bm_json_count(map));
    uint32_t kept = 0;
    BM_FAIL_IF(!places, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *member = bm_json_first(map); member; member = bm_json_next(member)) {
        uint32_t file = 0;
        (void)bm_map_find(files, bm_json_string(member), strlen(bm_json_string(member)), &file);
        BM_FAIL_IF(!bm_map_insert(places, bm_json_key(member), strlen(bm_json_key(member)), file, NULL), err,
                   BM_E_MEMORY, "out of memory");
    }
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t file = 0;
        if (bm_map_find(places, c->tensors[i].name, strlen(c->tensors[i].name), &file) &&
            file == c->tensors[i].file_index) {
            const bm_tensor_info swap = c->tensors[kept];
            c->tensors[kept++] = c->tensors[i];
            c->tensors[i] = swap;
        }
    }
    c->num_unlisted = c->count - kept;
    c->count = kept;
    if (kept != bm_json_count(map))
        BM_TRY(missing_tensors(c, map, index_path, err));
done:
    bm_map_destroy(&places);
    return status;
}

static bm_status open_index(bm_checkpoint *c, const char *folder, const char *index_path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *root = NULL;
    bm_map *seen = bm_map_create(16);
    char found[BM_JSON_FOUND_SIZE];
    BM_FAIL_IF(!seen, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_json_read_file(&root, index_path, MAX_INDEX_BYTES, err));
    const bm_json *map = bm_json_find(root, "weight_map");
    BM_FAIL_IF(!map || bm_json_kind_of(map) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: key \"weight_map\": expected an object, found %s", index_path,
               bm_json_found(map, found, sizeof found));
    BM_TRY(open_shards(c, map, folder, index_path, seen, err));
    BM_TRY(keep_listed(c, map, seen, index_path, err));
done:
    bm_map_destroy(&seen);
    bm_json_destroy(&root);
    return status;
}

static bm_status make_table(bm_checkpoint *c, const char *path, bm_error *err)
{
    if (c->count > 1)
        qsort(c->tensors, c->count, sizeof *c->tensors, compare_tensor_names);
    c->by_name = bm_map_create(c->count);
    if (!c->by_name)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < c->count; i++) {
        bool again = false;
        if (!bm_map_insert(c->by_name, c->tensors[i].name, strlen(c->tensors[i].name), i, &again))
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        if (again)
            return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\" is there twice", path,
                           bm_checkpoint_tensor_name(&c->tensors[i]));
    }
    return BM_OK;
}

const char *bm_checkpoint_describe_others(const char *folder, char *out, size_t size)
{
    static const struct {
        const char *begin, *end, *words;
    } others[] = {
        {"adapter_model", "", "an adapter: merge it into its model first"},
        {"pytorch_model", ".bin",
         "PyTorch's: save the model as safetensors, for example with save_pretrained of transformers"},
        {"", ".pth", "PyTorch's: save the model as safetensors"},
        {"model", ".pdparams", "PaddlePaddle's: save the model as safetensors"},
        {"", ".safetensors", "there, but neither the name model.safetensors nor an index"},
    };
    static const char *const readable[] = {"model.safetensors", "model.safetensors.index.json"};
    bm_name_list list = {0};
    out[0] = '\0';
    if (bm_folder_list(folder, &list, NULL) == BM_OK) {
        for (size_t i = 0; i < BM_COUNT(readable); i++)
            for (uint32_t n = 0; n < list.count && !out[0]; n++)
                if (strcmp(list.names[n], readable[i]) == 0)
                    snprintf(out, size, "; found %s without it", readable[i]);
        for (size_t i = 0; i < BM_COUNT(others) && !out[0]; i++)
            for (uint32_t n = 0; n < list.count && !out[0]; n++)
                if (bm_starts_with(list.names[n], others[i].begin) && bm_ends_with(list.names[n], others[i].end))
                    snprintf(out, size, "; %.80s is %s", list.names[n], others[i].words);
    }
    bm_name_list_free(&list);
    return out;
}

static bm_status open_folder(bm_checkpoint *c, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    char others[BM_CHECKPOINT_OTHERS_SIZE];
    char *single = bm_path_join(folder, "model.safetensors");
    char *index = bm_path_join(folder, "model.safetensors.index.json");
    BM_FAIL_IF(!single || !index, err, BM_E_MEMORY, "out of memory");
    if (bm_path_kind_of(single) != BM_PATH_ABSENT)
        BM_TRY(add_shard(c, single, err));
    else if (bm_path_kind_of(index) != BM_PATH_ABSENT)
        BM_TRY(open_index(c, folder, index, err));
    else
        status = bm_fail(err, BM_E_IO, "%s: no model.safetensors and no model.safetensors.index.json%s", folder,
                         bm_checkpoint_describe_others(folder, others, sizeof others));
done:
    bm_free(single);
    bm_free(index);
    return status;
}

bm_status bm_checkpoint_open(bm_checkpoint **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_checkpoint *c = bm_alloc_zero(1, sizeof *c);
    BM_FAIL_IF(!c, err, BM_E_MEMORY, "out of memory");
    c->files = bm_monitor_create();
    BM_FAIL_IF(!c->files, err, BM_E_MEMORY, "out of memory");
    if (bm_path_kind_of(path) == BM_PATH_FOLDER)
        BM_TRY(open_folder(c, path, err));
    else
        BM_TRY(add_shard(c, path, err));
    BM_TRY(make_table(c, path, err));
    *out = c;
    c = NULL;
done:
    bm_checkpoint_close(&c);
    return status;
}

bm_status bm_checkpoint_open_gguf(bm_checkpoint **out, bm_gguf **gguf, const bm_gguf_view *views, uint32_t count,
                                  bm_error *err)
{
    bm_status status = BM_OK;
    bm_checkpoint *c = bm_alloc_zero(1, sizeof *c);
    BM_FAIL_IF(!c, err, BM_E_MEMORY, "out of memory");
    c->files = bm_monitor_create();
    c->tensors = bm_alloc_zero(count, sizeof *c->tensors);
    c->views = bm_alloc(count, sizeof *views);
    BM_FAIL_IF(!c->files || !c->tensors || !c->views, err, BM_E_MEMORY, "out of memory");
    memcpy(c->views, views, count * sizeof *views);
    for (; c->count < count; c->count++) {
        BM_TRY(bm_gguf_view_describe(&views[c->count], &c->tensors[c->count], err));
        c->tensors[c->count].file_index = c->count;
    }
    BM_TRY(make_table(c, bm_gguf_path(*gguf), err));
    c->gguf = *gguf;
    *gguf = NULL;
    *out = c;
    c = NULL;
done:
    bm_checkpoint_close(&c);
    return status;
}

const bm_gguf *bm_checkpoint_gguf(const bm_checkpoint *checkpoint)
{
    return checkpoint->gguf;
}

const bm_gguf_view *bm_checkpoint_view(const bm_checkpoint *checkpoint, const bm_tensor_info *info)
{
    return checkpoint->gguf ? &checkpoint->views[info->file_index] : NULL;
}

uint64_t bm_checkpoint_stored_bytes(const bm_checkpoint *checkpoint)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < checkpoint->count; i++)
        bytes += checkpoint->gguf ? checkpoint->views[i].tensor->size_bytes : checkpoint->tensors[i].size_bytes;
    return bytes;
}

void bm_checkpoint_close(bm_checkpoint **checkpoint)
{
    if (!checkpoint || !*checkpoint)
        return;
    bm_checkpoint *c = *checkpoint;
    bm_map_destroy(&c->by_name);
    for (uint32_t i = 0; i < c->count + c->num_unlisted; i++)
        bm_free(c->tensors[i].name);
    for (uint32_t i = 0; i < c->num_shards; i++) {
        bm_file_close(&c->shards[i].file);
        bm_free(c->shards[i].path);
    }
    bm_gguf_close(&c->gguf);
    bm_free(c->views);
    bm_monitor_destroy(&c->files);
    bm_free(c->tensors);
    bm_free(c->shards);
    bm_free(c);
    *checkpoint = NULL;
}

uint32_t bm_checkpoint_count(const bm_checkpoint *checkpoint)
{
    return checkpoint->count;
}
const bm_tensor_info *bm_checkpoint_at(const bm_checkpoint *checkpoint, uint32_t index)
{
    return &checkpoint->tensors[index];
}

const bm_tensor_info *bm_checkpoint_find(const bm_checkpoint *checkpoint, const char *name)
{
    uint32_t index;
    return bm_map_find(checkpoint->by_name, name, strlen(name), &index) ? &checkpoint->tensors[index] : NULL;
}

const char *bm_checkpoint_file_name(const bm_tensor_info *info)
{
    return info->path;
}
const char *bm_checkpoint_tensor_name(const bm_tensor_info *info)
{
    return info->name_in_file ? info->name_in_file : info->name;
}
uint32_t bm_checkpoint_num_unlisted(const bm_checkpoint *checkpoint)
{
    return checkpoint->num_unlisted;
}

const bm_tensor_info *bm_checkpoint_find_unlisted(const bm_checkpoint *checkpoint, const char *name)
{
    for (uint32_t i = checkpoint->count; i < checkpoint->count + checkpoint->num_unlisted; i++)
        if (strcmp(checkpoint->tensors[i].name, name) == 0)
            return &checkpoint->tensors[i];
    return NULL;
}

bm_status bm_checkpoint_add_prefix(bm_checkpoint *checkpoint, const char *prefix, bm_error *err)
{
    for (uint32_t i = 0; i < checkpoint->count + checkpoint->num_unlisted; i++) {
        char *name = bm_format("%s%s", prefix, checkpoint->tensors[i].name);
        if (!name)
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        bm_free(checkpoint->tensors[i].name);
        checkpoint->tensors[i].name = name;
    }
    bm_map_destroy(&checkpoint->by_name);
    return make_table(checkpoint, "", err); // names stay different, and in their order
}

void bm_checkpoint_set_reader(bm_checkpoint *checkpoint, bm_read_ahead *reader)
{
    checkpoint->reader = reader;
}

// Reads without the lock: several threads may read from a shard at once, and it stays open as long.
static bm_status read_shard(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset, void *out,
                            uint64_t size, bm_error *err)
{
    shard *s = &checkpoint->shards[info->file_index];
    bm_monitor_enter(checkpoint->files);
    bm_status status = use_shard(checkpoint, s, err);
    if (status == BM_OK && bm_file_size(s->file) != s->size_bytes) // it was opened again
        status = bm_fail(err, BM_E_IO, "%s: %llu bytes, it had %llu when it was opened first", s->path,
                         (unsigned long long)bm_file_size(s->file), (unsigned long long)s->size_bytes);
    s->num_readers += status == BM_OK ? 1 : 0;
    bm_monitor_leave(checkpoint->files);
    if (status != BM_OK)
        return status;
    status = bm_file_read_at(s->file, info->offset + byte_offset, out, size, err);
    bm_monitor_enter(checkpoint->files);
    s->num_readers--;
    bm_monitor_leave(checkpoint->files);
    return status;
}

bm_status bm_checkpoint_read_file(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset,
                                  void *out, uint64_t size, bm_error *err)
{
    if (checkpoint->gguf) { // elements are read whole, here as everywhere
        const uint64_t each = bm_dtype_size(info->dtype);
        return bm_gguf_view_read(checkpoint->gguf, &checkpoint->views[info->file_index], byte_offset / each,
                                 size / each, out, err);
    }
    return read_shard(checkpoint, info, byte_offset, out, size, err);
}

bool bm_checkpoint_has_blocks(const bm_checkpoint *checkpoint, const bm_tensor_info *info)
{
    const bm_gguf_view *view = bm_checkpoint_view(checkpoint, info);
    return view && bm_gguf_view_has_blocks(view);
}

bm_status bm_checkpoint_read(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset, void *out,
                             uint64_t size, bm_error *err)
{
    if (byte_offset > info->size_bytes || size > info->size_bytes - byte_offset)
        return bm_fail(err, BM_E_ARGUMENT, "%s: tensor \"%s\": bytes %llu..%llu of %llu", bm_checkpoint_file_name(info),
                       info->name, (unsigned long long)byte_offset, (unsigned long long)(byte_offset + size),
                       (unsigned long long)info->size_bytes);
    const uint8_t *bytes = bm_read_ahead_find(checkpoint->reader, info, false);
    if (!bytes)
        return bm_checkpoint_read_file(checkpoint, info, byte_offset, out, size, err);
    memcpy(out, bytes + byte_offset, size);
    return BM_OK;
}

bm_status bm_checkpoint_take(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first, uint64_t count,
                             bm_checkpoint_piece *out, bm_error *err)
{
    const uint64_t size = bm_dtype_size(info->dtype);
    const uint8_t *bytes = bm_read_ahead_find(checkpoint->reader, info, false);
    bm_status status = BM_OK;
    *out = (bm_checkpoint_piece){0};
    if (bytes && first <= info->size_bytes / size && count <= info->size_bytes / size - first) {
        out->bytes = bytes + first * size;
        return BM_OK;
    }
    out->own = bm_alloc(count, size);
    BM_FAIL_IF(!out->own, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(checkpoint, info, first * size, out->own, count * size, err));
    BM_TRY(bm_checkpoint_check_finite(info, out->own, first, count, err));
    out->bytes = out->own;
done:
    if (status != BM_OK)
        bm_checkpoint_piece_free(out);
    return status;
}

bm_status bm_checkpoint_take_blocks(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first,
                                    uint64_t count, bm_checkpoint_piece *out, bm_error *err)
{
    const bm_gguf_view *view = bm_checkpoint_view(checkpoint, info);
    const uint64_t size = bm_gguf_view_row_bytes(view);
    const uint8_t *bytes = bm_read_ahead_find(checkpoint->reader, info, true);
    bm_status status = BM_OK;
    *out = (bm_checkpoint_piece){0};
    if (bytes) {
        out->bytes = bytes + first * size;
        return BM_OK;
    }
    out->own = bm_alloc(count, size);
    BM_FAIL_IF(!out->own, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gguf_view_read_rows(checkpoint->gguf, view, first, count, out->own, err));
    out->bytes = out->own;
done:
    if (status != BM_OK)
        bm_checkpoint_piece_free(out);
    return status;
}

void bm_checkpoint_piece_free(bm_checkpoint_piece *piece)
{
    bm_free(piece->own);
    *piece = (bm_checkpoint_piece){0};
}
