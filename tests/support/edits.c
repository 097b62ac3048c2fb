#include "support/edits.h"

#include "base/str.h"
#include "formats/checkpoint.h"
#include "support/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "edits: %s\n", what);
    abort();
}

static void append_replaced(bm_string *out, const char *text, const char *from, const char *to)
{
    bool found = false;
    for (const char *at; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
        expect(bm_string_append_bytes(out, text, (size_t)(at - text)) && bm_string_append(out, to), "no memory");
        found = true;
    }
    expect(found && bm_string_append(out, text), from);
}

void support_text_replace(const char *folder, const char *name, const char *from, const char *to)
{
    uint64_t size = 0;
    bm_string out = BM_STRING_INIT;
    char *text = support_file_read(folder, name, &size);
    append_replaced(&out, text, from, to);
    bm_free(support_file_write(folder, name, out.data, out.length));
    bm_string_free(&out);
    bm_free(text);
}

// A file of this header, data and as many zeros behind them.
static void write_tensors(const char *folder, const bm_string *header, const char *data, uint64_t size, uint64_t zeros)
{
    bm_string out = BM_STRING_INIT;
    uint8_t length[8];
    char *none = bm_alloc_zero(zeros, 1);
    bm_store_le64(length, header->length);
    expect(none && bm_string_append_bytes(&out, length, 8) &&
               bm_string_append_bytes(&out, header->data, header->length) && bm_string_append_bytes(&out, data, size) &&
               bm_string_append_bytes(&out, none, zeros),
           "no memory");
    bm_free(support_file_write(folder, "model.safetensors", out.data, out.length));
    bm_string_free(&out);
    bm_free(none);
}

void support_header_replace(const char *folder, const char *from, const char *to)
{
    uint64_t size = 0;
    bm_string header = BM_STRING_INIT;
    char *bytes = support_file_read(folder, "model.safetensors", &size);
    const uint64_t length = bm_load_le64(bytes);
    char *text = bm_format("%.*s", (int)length, bytes + 8);
    expect(text != NULL, "no memory");
    append_replaced(&header, text, from, to);
    write_tensors(folder, &header, bytes + 8 + length, size - 8 - length, 0);
    bm_string_free(&header);
    bm_free(text);
    bm_free(bytes);
}

void support_tensor_add(const char *folder, const char *name, bm_dtype dtype, uint64_t count)
{
    uint64_t size = 0;
    bm_string header = BM_STRING_INIT;
    char *bytes = support_file_read(folder, "model.safetensors", &size);
    const uint64_t length = bm_load_le64(bytes), data = size - 8 - length, added = count * bm_dtype_size(dtype);
    expect(bm_string_append_format(&header,
                                   "{\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu],\"data_offsets\":[%llu,%llu]},%.*s",
                                   name, bm_dtype_name(dtype), (unsigned long long)count, (unsigned long long)data,
                                   (unsigned long long)(data + added), (int)length - 1, bytes + 9),
           "no memory");
    write_tensors(folder, &header, bytes + 8 + length, data, added);
    bm_string_free(&header);
    bm_free(bytes);
}

void support_tensor_write(const char *folder, const char *name, const void *bytes, uint64_t size)
{
    bm_error err = {0};
    bm_checkpoint *checkpoint = NULL;
    expect(bm_checkpoint_open(&checkpoint, folder, &err) == BM_OK, err.message);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, name);
    expect(info && size <= info->size_bytes, name);
    FILE *file = fopen(info->path, "r+b");
    expect(file && fseek(file, (long)info->offset, SEEK_SET) == 0 && fwrite(bytes, 1, size, file) == size &&
               fclose(file) == 0,
           info->path);
    bm_checkpoint_close(&checkpoint);
}
