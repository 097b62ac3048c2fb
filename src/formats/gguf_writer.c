// The bytes of a GGUF file in front of its tensors, and where those lie.
#include "formats/gguf_writer.h"

#include "formats/checkpoint_writer_internal.h"

#include <string.h>

#define VERSION 3
#define ALIGNMENT BM_GGUF_DEFAULT_ALIGNMENT
#define START_BYTES 24 // magic, version, and the two counts

static void add_u32(bm_string *out, uint32_t value)
{
    uint8_t bytes[4];
    bm_store_le32(bytes, value);
    (void)bm_string_append_bytes(out, bytes, sizeof bytes);
}

static void add_u64(bm_string *out, uint64_t value)
{
    uint8_t bytes[8];
    bm_store_le64(bytes, value);
    (void)bm_string_append_bytes(out, bytes, sizeof bytes);
}

static void add_string(bm_string *out, const char *bytes, size_t length)
{
    add_u64(out, length);
    (void)bm_string_append_bytes(out, bytes, length);
}

static void add_key(bm_gguf_metadata *m, const char *key, bm_gguf_kind kind)
{
    m->bytes.failed |= !bm_string_append_bytes(&m->keys, key, strlen(key) + 1);
    m->count++;
    add_string(&m->bytes, key, strlen(key));
    add_u32(&m->bytes, kind);
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void bm_gguf_metadata_free(bm_gguf_metadata *m)
{
    bm_string_free(&m->bytes);
    bm_string_free(&m->keys);
    m->count = 0;
}

void bm_gguf_put_u32(bm_gguf_metadata *m, const char *key, uint32_t value)
{
    add_key(m, key, BM_GGUF_UINT32);
    add_u32(&m->bytes, value);
}

void bm_gguf_put_f32(bm_gguf_metadata *m, const char *key, float value)
{
    add_key(m, key, BM_GGUF_FLOAT32);
    add_u32(&m->bytes, bits_of(value));
}

void bm_gguf_put_bool(bm_gguf_metadata *m, const char *key, bool value)
{
    const uint8_t byte = value;
    add_key(m, key, BM_GGUF_BOOL);
    (void)bm_string_append_bytes(&m->bytes, &byte, 1);
}

void bm_gguf_put_string(bm_gguf_metadata *m, const char *key, const char *bytes, size_t length)
{
    add_key(m, key, BM_GGUF_STRING);
    add_string(&m->bytes, bytes, length);
}

void bm_gguf_put_stored(bm_gguf_metadata *m, const bm_gguf_value *value)
{
    const bm_gguf_string stored = bm_gguf_stored(value);
    m->count++;
    (void)bm_string_append_bytes(&m->bytes, stored.bytes, (size_t)stored.length);
}

bool bm_gguf_metadata_has(const bm_gguf_metadata *m, bm_gguf_string key)
{
    for (size_t at = 0; at < m->keys.length; at += strlen(m->keys.data + at) + 1)
        if (bm_gguf_string_is(key, m->keys.data + at))
            return true;
    return false;
}

void bm_gguf_begin_array(bm_gguf_metadata *m, const char *key, bm_gguf_kind kind, uint64_t count)
{
    add_key(m, key, BM_GGUF_ARRAY);
    add_u32(&m->bytes, kind);
    add_u64(&m->bytes, count);
}

void bm_gguf_add_string(bm_gguf_metadata *m, const char *bytes, size_t length)
{
    add_string(&m->bytes, bytes, length);
}

void bm_gguf_add_u32(bm_gguf_metadata *m, uint32_t value)
{
    add_u32(&m->bytes, value);
}

void bm_gguf_add_f32(bm_gguf_metadata *m, float value)
{
    add_u32(&m->bytes, bits_of(value));
}

static uint32_t assign(bm_checkpoint_writer *w)
{
    (void)w; // one file, its tensors as they were declared
    return 1;
}

// Of one tensor in front of all tensors: its name, dimensions from the contiguous one on, type and place.
static uint64_t entry_bytes(const declared_tensor *t)
{
    return 8 + strlen(t->name_in_file) + 4 + 8 * (uint64_t)t->num_dims + 4 + 8;
}

static void add_entry(bm_string *out, const declared_tensor *t, uint64_t place)
{
    add_string(out, t->name_in_file, strlen(t->name_in_file));
    add_u32(out, t->num_dims);
    for (uint32_t d = t->num_dims; d > 0; d--)
        add_u64(out, t->shape[d - 1]);
    add_u32(out, t->type);
    add_u64(out, place);
}

// Zeros behind each tensor, the last one too: readers count on them.
static bm_status write_padding(const bm_checkpoint_writer *w, bm_writer *file, bm_error *err)
{
    static const uint8_t zeros[ALIGNMENT];
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < w->count && status == BM_OK; i++) {
        const uint64_t end = w->tensors[i].offset + w->tensors[i].size_bytes;
        status = bm_writer_write_at(file, end, zeros, bm_round_up(end, ALIGNMENT) - end, err);
    }
    return status;
}

static bm_status begin_file(bm_checkpoint_writer *w, uint32_t shard, bm_error *err)
{
    const uint64_t data = bm_round_up(w->header_bytes, ALIGNMENT);
    bm_status status = BM_OK;
    bm_string header = BM_STRING_INIT;
    uint64_t place = 0;
    char *path = bm_path_join(w->folder, w->file_name);
    (void)bm_string_append(&header, "GGUF");
    add_u32(&header, VERSION);
    add_u64(&header, w->count);
    add_u64(&header, w->metadata->count);
    (void)bm_string_append_bytes(&header, w->metadata->bytes.data, w->metadata->bytes.length);
    for (uint32_t i = 0; i < w->count; i++) {
        add_entry(&header, &w->tensors[i], place);
        w->tensors[i].offset = data + place;
        place += bm_round_up(w->tensors[i].size_bytes, ALIGNMENT);
    }
    while (header.length % ALIGNMENT != 0 && !header.failed)
        (void)bm_string_append_bytes(&header, "", 1);
    BM_FAIL_IF(!path || header.failed || w->metadata->bytes.failed, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_writer_create(&w->shards[shard].file, path, err));
    BM_TRY(bm_writer_write(w->shards[shard].file, header.data, header.length, err));
    BM_TRY(write_padding(w, w->shards[shard].file, err));
done:
    bm_string_free(&header);
    bm_free(path);
    return status;
}

static uint64_t file_bytes(const bm_checkpoint_writer *w)
{
    uint64_t bytes = bm_round_up(w->header_bytes, ALIGNMENT);
    for (uint32_t i = 0; i < w->count; i++)
        bytes += bm_round_up(w->tensors[i].size_bytes, ALIGNMENT);
    return bytes;
}

static const writer_container gguf = {assign, begin_file, NULL, file_bytes};

bm_status bm_gguf_writer_create(bm_checkpoint_writer **out, const char *folder, const char *file_name,
                                const bm_gguf_metadata *metadata, bm_error *err)
{
    bm_checkpoint_writer *w = NULL;
    bm_status status = BM_OK;
    BM_TRY(checkpoint_writer_create(&w, &gguf, folder, err));
    w->metadata = metadata;
    w->header_bytes = START_BYTES + metadata->bytes.length;
    w->file_name = bm_string_copy(file_name);
    BM_FAIL_IF(!w->file_name, err, BM_E_MEMORY, "out of memory");
    *out = w;
    w = NULL;
done:
    bm_checkpoint_writer_destroy(&w);
    return status;
}

bm_status bm_gguf_writer_declare(bm_checkpoint_writer *w, const char *key, const bm_gguf_declaration *tensor,
                                 bm_error *err)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(tensor->type);
    bm_status status = BM_OK;
    declared_tensor t = {.type = tensor->type, .num_dims = tensor->num_dims, .num_heads = tensor->num_heads};
    BM_FAIL_IF(strlen(tensor->name) > BM_GGUF_MAX_NAME, err, BM_E_ARGUMENT,
               "%s: a name of %zu bytes, expected at most %d", tensor->name, strlen(tensor->name), BM_GGUF_MAX_NAME);
    BM_FAIL_IF(tensor->num_dims < 1 || tensor->num_dims > BM_GGUF_MAX_DIMS, err, BM_E_ARGUMENT,
               "%s: %u dimensions, expected 1 to %d", tensor->name, tensor->num_dims, BM_GGUF_MAX_DIMS);
    for (uint32_t d = 0; d < tensor->num_dims; d++)
        t.shape[d] = tensor->shape[d];
    BM_FAIL_IF(t.shape[t.num_dims - 1] % layout->block_elements != 0, err, BM_E_ARGUMENT,
               "%s: rows of %llu elements, expected a multiple of %u for %s", tensor->name,
               (unsigned long long)t.shape[t.num_dims - 1], layout->block_elements, layout->name);
    BM_FAIL_IF(t.num_heads > 0 && (t.shape[0] % t.num_heads != 0 || t.shape[0] / t.num_heads % 2 != 0), err,
               BM_E_ARGUMENT, "%s: %llu rows, expected an even number for each of %u heads", tensor->name,
               (unsigned long long)t.shape[0], t.num_heads);
    t.name_in_file = bm_string_copy(tensor->name);
    BM_FAIL_IF(!t.name_in_file, err, BM_E_MEMORY, "out of memory");
    w->header_bytes += entry_bytes(&t);
    status = checkpoint_writer_add(w, key, &(declared_block){layout->block_elements, layout->block_bytes}, &t, err);
done:
    return status;
}
