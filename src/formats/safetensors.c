// Parsing of the safetensors header.
#include "formats/safetensors.h"

#include "base/hash.h"
#include "formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER_BYTES UINT64_C(100000000) // the reference reader's limit

bm_dtype bm_safetensors_dtype(const char *name)
{
    for (int dtype = BM_DTYPE_F32; dtype <= BM_DTYPE_F8_E5M2; dtype++)
        if (strcmp(name, bm_dtype_name((bm_dtype)dtype)) == 0)
            return (bm_dtype)dtype;
    return BM_DTYPE_NONE;
}

// Types of the format that nothing here computes with.
static bool is_other_dtype(const char *name)
{
    static const char *const others[] = {"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};
    for (size_t i = 0; i < BM_COUNT(others); i++)
        if (strcmp(others[i], name) == 0)
            return true;
    return false;
}

// A name, or some, made fit for a message.
typedef struct shown_name {
    char text[160];
} shown_name;

static shown_name show(const char *name)
{
    shown_name out;
    (void)bm_printable(name, strlen(name), out.text, sizeof out.text);
    return out;
}

static shown_name show_dtypes(void)
{
    shown_name out;
    size_t length = 0;
    for (int dtype = BM_DTYPE_F32; dtype <= BM_DTYPE_F8_E5M2; dtype++)
        length += (size_t)snprintf(out.text + length, sizeof out.text - length, "%s%s",
                                   dtype == BM_DTYPE_F32 ? "" : ", ", bm_dtype_name((bm_dtype)dtype));
    return out;
}

static bm_status read_count(const bm_json *value, uint64_t *out, const char *path, const char *tensor, const char *what,
                            bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    if (!bm_json_is_integer(value) || bm_json_number(value) < 0)
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": %s: expected a non-negative integer, found %s", path,
                       show(tensor).text, what, bm_json_found(value, found, sizeof found));
    *out = (uint64_t)bm_json_number(value);
    return BM_OK;
}

static bm_status read_shape(const bm_json *entry, bm_tensor_info *info, uint64_t *elements, const char *path,
                            bm_error *err)
{
    const bm_json *shape = bm_json_find(entry, "shape");
    char found[BM_JSON_FOUND_SIZE];
    bm_status status = BM_OK;
    *elements = 1;
    BM_FAIL_IF(!shape || bm_json_kind_of(shape) != BM_JSON_ARRAY, err, BM_E_FORMAT,
               "%s: tensor \"%s\": shape: expected a list, found %s", path, show(info->name).text,
               bm_json_found(shape, found, sizeof found));
    for (const bm_json *dim = bm_json_first(shape); dim; dim = bm_json_next(dim)) {
        BM_FAIL_IF(info->num_dims == BM_MAX_DIMS, err, BM_E_FORMAT, "%s: tensor \"%s\": more than %d dimensions", path,
                   show(info->name).text, BM_MAX_DIMS);
        uint64_t *const size = &info->shape[info->num_dims++];
        BM_TRY(read_count(dim, size, path, info->name, "shape", err));
        BM_FAIL_IF(!bm_multiply_u64(*elements, *size, elements), err, BM_E_FORMAT,
                   "%s: tensor \"%s\": its shape overflows 64 bits", path, show(info->name).text);
    }
done:
    return status;
}

// offsets are relative to the first byte behind the header, which lies at data_start in the file.
static bm_status read_offsets(const bm_json *entry, bm_tensor_info *info, uint64_t data_start, uint64_t data_size,
                              uint64_t elements, const char *path, bm_error *err)
{
    const bm_json *offsets = bm_json_find(entry, "data_offsets");
    char found[BM_JSON_FOUND_SIZE];
    uint64_t begin = 0, end = 0, need = 0;
    bm_status status = BM_OK;
    BM_FAIL_IF(!offsets || bm_json_kind_of(offsets) != BM_JSON_ARRAY || bm_json_count(offsets) != 2, err, BM_E_FORMAT,
               "%s: tensor \"%s\": data_offsets: expected a list of two integers, found %s%s", path,
               show(info->name).text, bm_json_found(offsets, found, sizeof found),
               offsets && bm_json_kind_of(offsets) == BM_JSON_ARRAY ? " of another length" : "");
    BM_TRY(read_count(bm_json_first(offsets), &begin, path, info->name, "data_offsets", err));
    BM_TRY(read_count(bm_json_next(bm_json_first(offsets)), &end, path, info->name, "data_offsets", err));
    BM_FAIL_IF(begin > end || end > data_size, err, BM_E_FORMAT,
               "%s: tensor \"%s\": data_offsets [%llu, %llu], expected within %llu bytes of data", path,
               show(info->name).text, (unsigned long long)begin, (unsigned long long)end,
               (unsigned long long)data_size);
    BM_FAIL_IF(!bm_multiply_u64(elements, bm_dtype_size(info->dtype), &need) || need != end - begin, err, BM_E_FORMAT,
               "%s: tensor \"%s\": %llu bytes by data_offsets, expected %llu by its shape and type", path,
               show(info->name).text, (unsigned long long)(end - begin), (unsigned long long)need);
    info->offset = data_start + begin;
    info->size_bytes = end - begin;
done:
    return status;
}

static bm_status read_entry(const bm_json *entry, uint64_t data_start, uint64_t data_size, bm_tensor_info *info,
                            const char *path, bm_error *err)
{
    uint64_t elements = 0;
    bm_status status = BM_OK;
    const bm_json *dtype = bm_json_find(entry, "dtype");
    char found[BM_JSON_FOUND_SIZE];
    info->name = bm_string_copy(bm_json_key(entry));
    BM_FAIL_IF(!info->name, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_json_kind_of(entry) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: tensor \"%s\": its entry is no object",
               path, show(info->name).text);
    BM_FAIL_IF(!dtype || bm_json_kind_of(dtype) != BM_JSON_STRING, err, BM_E_FORMAT,
               "%s: tensor \"%s\": dtype: expected a string, found %s", path, show(info->name).text,
               bm_json_found(dtype, found, sizeof found));
    info->dtype = bm_safetensors_dtype(bm_json_string(dtype));
    BM_FAIL_IF(is_other_dtype(bm_json_string(dtype)), err, BM_E_UNSUPPORTED, "%s: tensor \"%s\": dtype %s is not built",
               path, show(info->name).text, bm_json_string(dtype));
    BM_FAIL_IF(info->dtype == BM_DTYPE_NONE, err, BM_E_FORMAT,
               "%s: tensor \"%s\": unknown dtype \"%s\", expected one of %s", path, show(info->name).text,
               show(bm_json_string(dtype)).text, show_dtypes().text);
    BM_TRY(read_shape(entry, info, &elements, path, err));
    BM_TRY(read_offsets(entry, info, data_start, data_size, elements, path, err));
done:
    return status;
}

static int compare_places(const void *a, const void *b)
{
    const bm_tensor_info *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

// Tensors follow one another without a hole or an overlap and fill the file.
static bm_status check_cover(const bm_tensor_list *list, uint64_t data_start, uint64_t file_size, const char *path,
                             bm_error *err)
{
    uint64_t at = data_start;
    for (uint32_t i = 0; i < list->count; i++) {
        const bm_tensor_info *info = &list->tensors[i];
        if (info->offset != at)
            return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": starts at byte %llu of the file, expected %llu (%s)",
                           path, show(info->name).text, (unsigned long long)info->offset, (unsigned long long)at,
                           info->offset < at ? "it overlaps the one before" : "there is a hole");
        at += info->size_bytes;
    }
    return at == file_size ? BM_OK
                           : bm_fail(err, BM_E_FORMAT, "%s: %llu bytes, expected %llu by its tensors", path,
                                     (unsigned long long)file_size, (unsigned long long)at);
}

static bm_status check_metadata(const bm_json *metadata, const char *path, bm_error *err)
{
    if (bm_json_kind_of(metadata) != BM_JSON_OBJECT)
        return bm_fail(err, BM_E_FORMAT, "%s: __metadata__ is no object", path);
    for (const bm_json *member = bm_json_first(metadata); member; member = bm_json_next(member))
        if (bm_json_kind_of(member) != BM_JSON_STRING)
            return bm_fail(err, BM_E_FORMAT, "%s: __metadata__ \"%s\": expected a string", path,
                           show(bm_json_key(member)).text);
    return BM_OK;
}

typedef struct header_reader {
    bm_tensor_list *list;
    uint64_t capacity; // tensors allocated
    uint64_t data_start, data_size;
    const char *path;
    bool has_metadata;
} header_reader;

static bm_status read_member(void *user, const bm_json *member, uint64_t index, bm_error *err)
{
    header_reader *reader = user;
    bm_tensor_list *list = reader->list;
    (void)index;
    if (strcmp(bm_json_key(member), "__metadata__") == 0) {
        if (reader->has_metadata)
            return bm_fail(err, BM_E_FORMAT, "%s: __metadata__ is given twice", reader->path);
        reader->has_metadata = true;
        return check_metadata(member, reader->path, err);
    }
    if (list->count == reader->capacity) {
        const uint64_t capacity = reader->capacity + reader->capacity / 2 + 64;
        bm_tensor_info *tensors = bm_resize(list->tensors, capacity, sizeof *tensors);
        if (!tensors)
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        list->tensors = tensors;
        reader->capacity = capacity;
    }
    bm_tensor_info *info = &list->tensors[list->count++];
    memset(info, 0, sizeof *info);
    return read_entry(member, reader->data_start, reader->data_size, info, reader->path, err);
}

static bm_status check_names(const bm_tensor_list *list, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_map *names = bm_map_create(list->count);
    BM_FAIL_IF(!names, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < list->count; i++) {
        bool again = false;
        const char *name = list->tensors[i].name;
        BM_FAIL_IF(!bm_map_insert(names, name, strlen(name), i, &again), err, BM_E_MEMORY, "out of memory");
        BM_FAIL_IF(again, err, BM_E_FORMAT, "%s: tensor \"%s\" is given twice", path, show(name).text);
    }
done:
    bm_map_destroy(&names);
    return status;
}

// Tensor by tensor: a tree of the whole header would take ten times its size.
static bm_status parse_header(const char *text, uint64_t length, uint64_t file_size, bm_tensor_list *list,
                              const char *path, bm_error *err)
{
    const uint64_t data_start = 8 + length;
    header_reader reader = {.list = list, .data_start = data_start, .data_size = file_size - data_start, .path = path};
    bm_status status = BM_OK;
    BM_FAIL_IF(length == 0 || text[0] != '{', err, BM_E_FORMAT, "%s: the header does not begin with '{'", path);
    BM_TRY(bm_json_visit(text, (size_t)length, path, read_member, &reader, err));
    BM_TRY(check_names(list, path, err));
    if (list->count > 1)
        qsort(list->tensors, list->count, sizeof *list->tensors, compare_places);
    BM_TRY(check_cover(list, data_start, file_size, path, err));
done:
    return status;
}

// What a file is, by its first bytes, that is no safetensors file; NULL: unknown.
static const char *other_format(const uint8_t prefix[8])
{
    static const struct {
        const char *begin, *words;
    } formats[] = {{"GGUF", "a gguf file"},
                   {"PK\x03\x04", "a PyTorch file or another archive"},
                   {"\x80\x02", "a PyTorch file"},
                   {"{", "JSON"}};
    for (size_t i = 0; i < BM_COUNT(formats); i++)
        if (memcmp(prefix, formats[i].begin, strlen(formats[i].begin)) == 0)
            return formats[i].words;
    return NULL;
}

bm_status bm_safetensors_read_header(bm_file *file, bm_tensor_list *out, bm_error *err)
{
    const char *path = bm_file_path(file);
    const uint64_t file_size = bm_file_size(file);
    uint8_t prefix[8];
    char *text = NULL;
    bm_tensor_list list = {0};
    bm_status status = BM_OK;
    BM_FAIL_IF(file_size < 8, err, BM_E_FORMAT,
               "%s: found %llu bytes, expected a safetensors file, which has 8 and more", path,
               (unsigned long long)file_size);
    BM_TRY(bm_file_read_at(file, 0, prefix, 8, err));
    const uint64_t length = bm_load_le64(prefix);
    const bool is_header = length <= MAX_HEADER_BYTES && length <= file_size - 8;
    BM_FAIL_IF(!is_header && other_format(prefix), err, BM_E_FORMAT,
               "%s: is %s, expected a safetensors file or a model's folder", path, other_format(prefix));
    BM_FAIL_IF(!is_header, err, BM_E_FORMAT,
               "%s: found a header of %llu bytes, expected at most %llu, as in a safetensors file of %llu bytes", path,
               (unsigned long long)length, (unsigned long long)bm_min_u64(MAX_HEADER_BYTES, file_size - 8),
               (unsigned long long)file_size);
    text = bm_alloc(length, 1);
    BM_FAIL_IF(!text, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_read_at(file, 8, text, length, err));
    BM_TRY(parse_header(text, length, file_size, &list, path, err));
    for (uint32_t i = 0; i < list.count; i++)
        list.tensors[i].path = path;
    *out = list;
    list = (bm_tensor_list){0};
done:
    bm_tensor_list_free(&list);
    bm_free(text);
    return status;
}

void bm_tensor_list_free(bm_tensor_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        bm_free(list->tensors[i].name);
    bm_free(list->tensors);
    *list = (bm_tensor_list){0};
}
