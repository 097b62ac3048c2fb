#include "support/gguf_maker.h"

#include "support/folders.h"

#include <string.h>

void gguf_maker_init(gguf_maker *maker)
{
    *maker = (gguf_maker){.version = 3, .alignment = 32};
}

void gguf_maker_free(gguf_maker *maker)
{
    bm_string_free(&maker->values);
    bm_string_free(&maker->infos);
    bm_string_free(&maker->data);
}

static void put_u32(bm_string *out, uint32_t value)
{
    uint8_t bytes[4];
    bm_store_le32(bytes, value);
    (void)bm_string_append_bytes(out, bytes, sizeof bytes);
}

static void put_u64(bm_string *out, uint64_t value)
{
    uint8_t bytes[8];
    bm_store_le64(bytes, value);
    (void)bm_string_append_bytes(out, bytes, sizeof bytes);
}

static void put_string(bm_string *out, const char *text)
{
    put_u64(out, strlen(text));
    (void)bm_string_append(out, text);
}

static void begin(gguf_maker *maker, const char *key, uint32_t kind)
{
    maker->num_values++;
    put_string(&maker->values, key);
    put_u32(&maker->values, kind);
}

void gguf_maker_add_value(gguf_maker *maker, const char *key, uint32_t kind, const void *bytes, size_t size)
{
    begin(maker, key, kind);
    (void)bm_string_append_bytes(&maker->values, bytes, size);
}

void gguf_maker_add_array(gguf_maker *maker, const char *key, uint32_t kind, uint64_t count, const void *bytes,
                          size_t size)
{
    begin(maker, key, 9);
    put_u32(&maker->values, kind);
    put_u64(&maker->values, count);
    (void)bm_string_append_bytes(&maker->values, bytes, size);
}

void gguf_maker_add_u32(gguf_maker *maker, const char *key, uint32_t value)
{
    begin(maker, key, 4);
    put_u32(&maker->values, value);
}

void gguf_maker_add_f32(gguf_maker *maker, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    begin(maker, key, 6);
    put_u32(&maker->values, bits);
}

void gguf_maker_add_bool(gguf_maker *maker, const char *key, bool value)
{
    const uint8_t byte = value;
    gguf_maker_add_value(maker, key, 7, &byte, 1);
}

void gguf_maker_add_string(gguf_maker *maker, const char *key, const char *value)
{
    begin(maker, key, 8);
    put_string(&maker->values, value);
}

void gguf_maker_add_strings(gguf_maker *maker, const char *key, const char *const *values, uint64_t count)
{
    gguf_maker_add_array(maker, key, 8, count, "", 0);
    for (uint64_t i = 0; i < count; i++)
        put_string(&maker->values, values[i]);
}

static void pad(bm_string *out, uint64_t alignment)
{
    while (out->length % alignment != 0)
        (void)bm_string_append_bytes(out, "", 1);
}

void gguf_maker_add_tensor(gguf_maker *maker, const char *name, uint32_t type, const uint64_t *dims, uint32_t num_dims,
                           const void *bytes, size_t size)
{
    maker->num_tensors++;
    put_string(&maker->infos, name);
    put_u32(&maker->infos, num_dims);
    for (uint32_t d = 0; d < num_dims; d++)
        put_u64(&maker->infos, dims[d]);
    put_u32(&maker->infos, type);
    put_u64(&maker->infos, maker->data.length);
    (void)bm_string_append_bytes(&maker->data, bytes, size);
    pad(&maker->data, maker->alignment);
}

void gguf_maker_build(const gguf_maker *maker, bm_string *out)
{
    const size_t start = out->length;
    (void)bm_string_append(out, "GGUF");
    put_u32(out, maker->version);
    put_u64(out, maker->num_tensors);
    put_u64(out, maker->num_values);
    (void)bm_string_append_bytes(out, bm_string_text(&maker->values), maker->values.length);
    (void)bm_string_append_bytes(out, bm_string_text(&maker->infos), maker->infos.length);
    while ((out->length - start) % maker->alignment != 0)
        (void)bm_string_append_bytes(out, "", 1);
    (void)bm_string_append_bytes(out, bm_string_text(&maker->data), maker->data.length);
}

char *gguf_maker_write(const gguf_maker *maker, const char *folder, const char *name)
{
    bm_string bytes = BM_STRING_INIT;
    gguf_maker_build(maker, &bytes);
    char *path = support_file_write(folder, name, bytes.data, bytes.length);
    bm_string_free(&bytes);
    return path;
}
