// The header of one GGUF file: metadata and places of tensors, each length checked against the file before it is used.
#include "formats/gguf_internal.h"

#include "base/str.h"

#include <string.h>

#define MAX_HEADER_BYTES (UINT64_C(1) << 30) // vocabularies of 256 thousand pieces and their merges take 20 MB
#define FIRST_READ (UINT64_C(64) << 10)
#define MAX_KEY_BYTES 65535
#define MIN_VALUE_BYTES (8 + 1 + 4 + 1)      // a key of one byte, its kind, a value of one byte
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 4 + 8) // a name of one byte, no dimensions, a type, an offset
#define MAX_ELEMENTS (UINT64_MAX >> 1)       // the reference reader's

// A name made fit for a message.
typedef struct shown_name {
    char text[160];
} shown_name;

static shown_name show(const void *bytes, uint64_t length)
{
    shown_name out;
    (void)bm_printable(bytes, (size_t)length, out.text, sizeof out.text);
    return out;
}

uint32_t gguf_kind_size(uint32_t kind)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kind < BM_COUNT(sizes) ? sizes[kind] : 0;
}

// Sees to it that the next size bytes of the header are in memory. what: what they are.
static bm_status need(gguf_header *h, uint64_t size, const char *what, bm_error *err)
{
    const uint64_t file_size = bm_file_size(h->file);
    uint64_t end = 0;
    bm_status status = BM_OK;
    BM_FAIL_IF(!bm_add_u64(h->at, size, &end) || end > file_size, err, BM_E_FORMAT,
               "%s: %s at byte %llu: %llu bytes, and the file ends at %llu", bm_file_path(h->file), what,
               (unsigned long long)h->at, (unsigned long long)size, (unsigned long long)file_size);
    if (end <= h->num_read)
        return BM_OK;
    BM_FAIL_IF(end > MAX_HEADER_BYTES, err, BM_E_FORMAT, "%s: %s at byte %llu: a header above %llu bytes",
               bm_file_path(h->file), what, (unsigned long long)h->at, (unsigned long long)MAX_HEADER_BYTES);
    end = bm_min_u64(file_size, bm_max_u64(end, bm_max_u64(FIRST_READ, 2 * h->num_read)));
    uint8_t *bytes = bm_resize(h->bytes, end, 1);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    h->bytes = bytes;
    BM_TRY(bm_file_read_at(h->file, h->num_read, bytes + h->num_read, end - h->num_read, err));
    h->num_read = end;
done:
    return status;
}

static bm_status read_u32(gguf_header *h, const char *what, uint32_t *out, bm_error *err)
{
    const bm_status status = need(h, 4, what, err);
    if (status == BM_OK) {
        *out = bm_load_le32(h->bytes + h->at);
        h->at += 4;
    }
    return status;
}

static bm_status read_u64(gguf_header *h, const char *what, uint64_t *out, bm_error *err)
{
    const bm_status status = need(h, 8, what, err);
    if (status == BM_OK) {
        *out = bm_load_le64(h->bytes + h->at);
        h->at += 8;
    }
    return status;
}

// The length of a string and its bytes, which are left where they lie.
static bm_status read_string(gguf_header *h, const char *what, uint64_t *at, uint64_t *length, bm_error *err)
{
    bm_status status = read_u64(h, what, length, err);
    if (status == BM_OK)
        status = need(h, *length, what, err);
    if (status == BM_OK) {
        *at = h->at;
        h->at += *length;
    }
    return status;
}

// Names and keys: something, at most max bytes of UTF-8 without a zero.
static bm_status read_name(gguf_header *h, const char *what, uint64_t max, uint64_t *at, uint64_t *length,
                           bm_error *err)
{
    bm_status status = BM_OK;
    const uint64_t begin = h->at;
    BM_TRY(read_u64(h, what, length, err));
    BM_FAIL_IF(*length == 0 || *length > max, err, BM_E_FORMAT, "%s: %s at byte %llu: %llu bytes, expected 1 to %llu",
               bm_file_path(h->file), what, (unsigned long long)begin, (unsigned long long)*length,
               (unsigned long long)max);
    h->at = begin;
    BM_TRY(read_string(h, what, at, length, err));
    const uint8_t *bytes = h->bytes + *at;
    BM_FAIL_IF(memchr(bytes, 0, *length) || !bm_utf8_is_valid(bytes, *length), err, BM_E_FORMAT,
               "%s: %s at byte %llu: \"%s\", expected UTF-8 without a zero", bm_file_path(h->file), what,
               (unsigned long long)begin, show(bytes, *length).text);
done:
    return status;
}

static shown_name key_of(const bm_gguf_value *v)
{
    return show(v->header->bytes + v->key_at, v->key_length);
}

// Remembers where each string of an array lies: 8 bytes a string, which take as many in the file at least.
static bm_status read_strings(gguf_header *h, bm_gguf_value *v, bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t at, length;
    v->places = bm_alloc(v->count, sizeof *v->places);
    BM_FAIL_IF(!v->places, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < v->count; i++) {
        v->places[i] = h->at;
        BM_TRY(read_string(h, "a string of an array", &at, &length, err));
    }
done:
    return status;
}

static bm_status check_bools(const gguf_header *h, const bm_gguf_value *v, bm_error *err)
{
    for (uint64_t i = 0; i < v->count; i++)
        if (h->bytes[v->at + i] > 1)
            return bm_fail(err, BM_E_FORMAT, "%s: key \"%s\": a BOOL of %u, expected 0 or 1", bm_file_path(h->file),
                           key_of(v).text, h->bytes[v->at + i]);
    return BM_OK;
}

static bm_status read_array_head(gguf_header *h, bm_gguf_value *v, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t kind = 0;
    const char *path = bm_file_path(h->file);
    BM_TRY(read_u32(h, "the kind of an array's elements", &kind, err));
    BM_FAIL_IF(kind == BM_GGUF_ARRAY, err, BM_E_FORMAT, "%s: key \"%s\": an array of arrays, which is not read", path,
               key_of(v).text);
    BM_FAIL_IF(kind > BM_GGUF_FLOAT64, err, BM_E_FORMAT, "%s: key \"%s\": elements of kind %u, expected 0 to %u", path,
               key_of(v).text, kind, BM_GGUF_FLOAT64);
    BM_TRY(read_u64(h, "the length of an array", &v->count, err));
    const uint64_t left = bm_min_u64(bm_file_size(h->file), MAX_HEADER_BYTES) - h->at,
                   size = kind == BM_GGUF_STRING ? 8 : gguf_kind_size(kind);
    BM_FAIL_IF(v->count > left / size, err, BM_E_FORMAT,
               "%s: key \"%s\": an array of %llu %s in %llu bytes, which the header may still take", path,
               key_of(v).text, (unsigned long long)v->count, gguf_kind_name((bm_gguf_kind)kind),
               (unsigned long long)left);
    v->element_kind = (bm_gguf_kind)kind;
done:
    return status;
}

static bm_status read_value(gguf_header *h, bm_gguf_value *v, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t kind = 0;
    uint64_t at, length;
    *v = (bm_gguf_value){.header = h, .count = 1};
    BM_TRY(read_name(h, "a key", MAX_KEY_BYTES, &v->key_at, &v->key_length, err));
    BM_TRY(read_u32(h, "the kind of a value", &kind, err));
    BM_FAIL_IF(kind > BM_GGUF_FLOAT64, err, BM_E_FORMAT, "%s: key \"%s\": a value of kind %u, expected 0 to %u",
               bm_file_path(h->file), key_of(v).text, kind, BM_GGUF_FLOAT64);
    v->kind = v->element_kind = (bm_gguf_kind)kind;
    if (v->kind == BM_GGUF_ARRAY)
        BM_TRY(read_array_head(h, v, err));
    v->at = h->at;
    if (v->element_kind == BM_GGUF_STRING && v->kind == BM_GGUF_ARRAY) {
        BM_TRY(read_strings(h, v, err));
    } else if (v->element_kind == BM_GGUF_STRING) {
        BM_TRY(read_string(h, "a string", &at, &length, err));
    } else {
        const uint64_t bytes = v->count * gguf_kind_size(v->element_kind); // within the file
        BM_TRY(need(h, bytes, "a value", err));
        if (v->element_kind == BM_GGUF_BOOL)
            BM_TRY(check_bools(h, v, err));
        h->at += bytes;
    }
    v->end = h->at;
done:
    return status;
}

static bm_status read_values(gguf_part *p, uint64_t count, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t capacity = 0;
    while (p->num_values < count) {
        if (p->num_values == capacity) {
            capacity = (uint32_t)bm_min_u64(count, capacity + capacity / 2 + 64);
            bm_gguf_value *values = bm_resize(p->values, capacity, sizeof *values);
            BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
            p->values = values;
        }
        status = read_value(&p->header, &p->values[p->num_values++], err); // counted first: its places are owned
        BM_TRY(status);
    }
done:
    return status;
}

// Keys of the map point into the header, which has been read to its end.
static bm_status make_key_map(gguf_part *p, bm_error *err)
{
    bm_status status = BM_OK;
    p->by_key = bm_map_create(p->num_values);
    BM_FAIL_IF(!p->by_key, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < p->num_values; i++) {
        const bm_gguf_value *v = &p->values[i];
        bool again = false;
        BM_FAIL_IF(!bm_map_insert(p->by_key, (const char *)p->header.bytes + v->key_at, v->key_length, i, &again), err,
                   BM_E_MEMORY, "out of memory");
        BM_FAIL_IF(again, err, BM_E_FORMAT, "%s: key \"%s\" is given twice", p->path, key_of(v).text);
    }
done:
    return status;
}

static bm_status read_dims(gguf_header *h, bm_gguf_tensor *t, const bm_gguf_layout *layout, uint64_t *elements,
                           bm_error *err)
{
    bm_status status = BM_OK;
    const char *path = bm_file_path(h->file);
    *elements = 1;
    for (uint32_t d = 0; d < t->num_dims; d++) {
        t->dims[d] = bm_load_le64(h->bytes + h->at + 8 * (uint64_t)d);
        BM_FAIL_IF(!bm_multiply_u64(*elements, t->dims[d], elements) || *elements > MAX_ELEMENTS, err, BM_E_FORMAT,
                   "%s: tensor \"%s\": its shape overflows 63 bits", path, show(t->name, strlen(t->name)).text);
    }
    BM_FAIL_IF(t->dims[0] % layout->block_elements != 0, err, BM_E_FORMAT,
               "%s: tensor \"%s\": rows of %llu elements, expected a multiple of %u by its type %s", path,
               show(t->name, strlen(t->name)).text, (unsigned long long)t->dims[0], layout->block_elements,
               layout->name);
done:
    return status;
}

// The shape and the type of a tensor, and where it begins behind the start of data.
static bm_status read_tensor(gguf_part *p, bm_gguf_tensor *t, bm_error *err)
{
    gguf_header *h = &p->header;
    bm_status status = BM_OK;
    uint64_t name_at, length, elements;
    *t = (bm_gguf_tensor){.dims = {1, 1, 1, 1}, .path = p->path};
    BM_TRY(read_name(h, "a tensor's name", BM_GGUF_MAX_NAME, &name_at, &length, err));
    t->name = bm_format("%.*s", (int)length, (const char *)h->bytes + name_at);
    BM_FAIL_IF(!t->name, err, BM_E_MEMORY, "out of memory");
    const shown_name name = show(t->name, length);
    BM_TRY(read_u32(h, "a tensor's number of dimensions", &t->num_dims, err));
    BM_FAIL_IF(t->num_dims > BM_GGUF_MAX_DIMS, err, BM_E_FORMAT,
               "%s: tensor \"%s\": %u dimensions, expected at most %d", p->path, name.text, t->num_dims,
               BM_GGUF_MAX_DIMS);
    const uint64_t dim_bytes = 8 * (uint64_t)t->num_dims;
    BM_TRY(need(h, dim_bytes + 4 + 8, "a tensor's shape", err));
    t->type = bm_load_le32(h->bytes + h->at + dim_bytes);
    t->offset = bm_load_le64(h->bytes + h->at + dim_bytes + 4);
    const bm_gguf_layout *layout = bm_gguf_layout_of(t->type);
    BM_FAIL_IF(!layout, err, BM_E_FORMAT, "%s: tensor \"%s\": type %u, which is unknown", p->path, name.text, t->type);
    BM_TRY(read_dims(h, t, layout, &elements, err));
    h->at += dim_bytes + 4 + 8;
    BM_FAIL_IF(!bm_multiply_u64(elements / layout->block_elements, layout->block_bytes, &t->size_bytes), err,
               BM_E_FORMAT, "%s: tensor \"%s\": its size overflows 64 bits", p->path, name.text);
done:
    return status;
}

static bm_status read_tensors(gguf_part *p, uint64_t count, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t capacity = 0;
    while (p->num_tensors < count) {
        if (p->num_tensors == capacity) {
            capacity = (uint32_t)bm_min_u64(count, capacity + capacity / 2 + 64);
            bm_gguf_tensor *tensors = bm_resize(p->tensors, capacity, sizeof *tensors);
            BM_FAIL_IF(!tensors, err, BM_E_MEMORY, "out of memory");
            p->tensors = tensors;
        }
        status = read_tensor(p, &p->tensors[p->num_tensors++], err); // counted first: its name is owned
        BM_TRY(status);
    }
done:
    return status;
}

static bm_status read_alignment(gguf_part *p, bm_error *err)
{
    const bm_gguf_value *v = gguf_part_find(p, "general.alignment");
    p->alignment = BM_GGUF_DEFAULT_ALIGNMENT;
    if (!v)
        return BM_OK;
    if (v->kind != BM_GGUF_UINT32)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"general.alignment\": found %s, expected UINT32", p->path,
                       gguf_kind_name(v->kind));
    p->alignment = bm_load_le32(p->header.bytes + v->at);
    if (p->alignment == 0 || (p->alignment & (p->alignment - 1)) != 0)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"general.alignment\": found %llu, expected a power of two", p->path,
                       (unsigned long long)p->alignment);
    return BM_OK;
}

// Tensors follow one another, each one's size rounded up to the alignment, and end within the file.
static bm_status place_tensors(gguf_part *p, bm_error *err)
{
    const uint64_t file_size = bm_file_size(p->header.file), start = bm_round_up(p->header.at, p->alignment);
    uint64_t at = 0;
    for (uint32_t i = 0; i < p->num_tensors; i++) {
        bm_gguf_tensor *t = &p->tensors[i];
        const shown_name name = show(t->name, strlen(t->name));
        uint64_t end = 0;
        if (t->offset != at)
            return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": offset %llu, expected %llu behind the one before",
                           p->path, name.text, (unsigned long long)t->offset, (unsigned long long)at);
        t->offset += start;
        if (!bm_add_u64(t->offset, t->size_bytes, &end) || end > file_size)
            return bm_fail(err, BM_E_FORMAT,
                           "%s: tensor \"%s\": %llu bytes from byte %llu on, and the file ends at %llu", p->path,
                           name.text, (unsigned long long)t->size_bytes, (unsigned long long)t->offset,
                           (unsigned long long)file_size);
        at = bm_round_up(end - start, p->alignment); // of no more than the file's size and 2^31: no overflow
    }
    p->end = start + at;
    return BM_OK;
}

static bm_status read_counts(gguf_part *p, uint64_t *num_tensors, uint64_t *num_values, bm_error *err)
{
    gguf_header *h = &p->header;
    bm_status status = BM_OK;
    BM_TRY(need(h, 4, "the mark \"GGUF\"", err));
    BM_FAIL_IF(memcmp(h->bytes, "GGUF", 4) != 0, err, BM_E_FORMAT, "%s: begins with \"%s\", expected \"GGUF\"", p->path,
               show(h->bytes, 4).text);
    h->at = 4;
    BM_TRY(read_u32(h, "the version", &p->version, err));
    BM_FAIL_IF((p->version & 0xffff) == 0, err, BM_E_UNSUPPORTED,
               "%s: version 0x%x: a file of a big-endian machine, or none; expected version 2 or 3", p->path,
               p->version);
    BM_FAIL_IF(p->version < 2 || p->version > 3, err, BM_E_UNSUPPORTED, "%s: version %u, expected 2 or 3", p->path,
               p->version);
    BM_TRY(read_u64(h, "the number of tensors", num_tensors, err));
    BM_TRY(read_u64(h, "the number of keys", num_values, err));
    const uint64_t left = bm_file_size(h->file) - h->at;
    BM_FAIL_IF(*num_values > left / MIN_VALUE_BYTES || *num_values > UINT32_MAX / 2, err, BM_E_FORMAT,
               "%s: found a number of keys, %llu, that the %llu bytes behind it cannot hold", p->path,
               (unsigned long long)*num_values, (unsigned long long)left);
    BM_FAIL_IF(*num_tensors > left / MIN_TENSOR_BYTES || *num_tensors > UINT32_MAX / 2, err, BM_E_FORMAT,
               "%s: found a number of tensors, %llu, that the %llu bytes behind it cannot hold; is the file cut?",
               p->path, (unsigned long long)*num_tensors, (unsigned long long)left);
done:
    return status;
}

bm_status gguf_part_open(gguf_part **out, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t num_tensors = 0, num_values = 0;
    gguf_part *p = bm_alloc_zero(1, sizeof *p);
    BM_FAIL_IF(!p, err, BM_E_MEMORY, "out of memory");
    p->path = bm_string_copy(path);
    BM_FAIL_IF(!p->path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_open(&p->header.file, path, err));
    BM_TRY(read_counts(p, &num_tensors, &num_values, err));
    BM_TRY(read_values(p, num_values, err));
    BM_TRY(read_tensors(p, num_tensors, err));
    BM_TRY(make_key_map(p, err));
    BM_TRY(read_alignment(p, err));
    BM_TRY(place_tensors(p, err));
    *out = p;
    p = NULL;
done:
    gguf_part_free(&p);
    return status;
}

void gguf_part_free(gguf_part **part)
{
    gguf_part *p = *part;
    if (!p)
        return;
    bm_map_destroy(&p->by_key);
    for (uint32_t i = 0; i < p->num_values; i++)
        bm_free(p->values[i].places);
    bm_free(p->values);
    for (uint32_t i = 0; i < p->num_tensors; i++)
        bm_free(p->tensors[i].name);
    bm_free(p->tensors);
    bm_free(p->header.bytes);
    bm_file_close(&p->header.file);
    bm_free(p->path);
    bm_free(p);
    *part = NULL;
}

const bm_gguf_value *gguf_part_find(const gguf_part *part, const char *key)
{
    uint32_t index;
    return bm_map_find(part->by_key, key, strlen(key), &index) ? &part->values[index] : NULL;
}
