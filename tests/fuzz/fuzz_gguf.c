// libFuzzer: bytes as a GGUF file. Where it opens, every value and tensor is read, and it is tried as a model and as a
// tokenizer.
#include "base/file.h"
#include "formats/gguf_view.h"
#include "model/model.h"
#include "support/folders.h"
#include "text/tokenizer_gguf.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *folder;
static volatile double sum; // of what was read: so that it is read

static void remove_folder(void)
{
    support_folder_remove(&folder);
}

static void read_values(const bm_gguf *gguf)
{
    for (uint32_t i = 0; i < bm_gguf_num_values(gguf); i++) {
        const bm_gguf_value *v = bm_gguf_value_at(gguf, i);
        for (uint64_t k = 0; k < bm_gguf_count(v); k++) {
            const bm_gguf_string text = bm_gguf_string_at(v, k);
            sum += bm_gguf_number_at(v, k) + (text.length > 0 ? text.bytes[0] + text.bytes[text.length - 1] : 0);
        }
    }
}

// The header was checked against the file: what it promises is there.
static void read_tensors(const bm_gguf *gguf)
{
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        bm_gguf_view view = {.tensor = t, .name = "t"};
        bm_tensor_info info;
        if (bm_gguf_view_describe(&view, &info, NULL) != BM_OK)
            continue;
        uint8_t *bytes = bm_alloc(info.size_bytes, 1);
        const uint64_t rows = t->num_dims < 2 ? t->dims[0] : t->dims[1];
        view.num_paired_heads = rows > 0 && rows % 4 == 0 && t->num_dims <= 2 ? 2 : 0;
        if (!bytes ||
            bm_gguf_view_read(gguf, &view, 0, info.size_bytes / bm_dtype_size(info.dtype), bytes, NULL) != BM_OK)
            abort();
        bm_free(bytes);
        bm_free(info.name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_gguf *gguf = NULL;
    bm_model *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_error err;
    if (!folder) {
        folder = support_folder_create();
        atexit(remove_folder);
    }
    char *path = bm_path_join(folder, "input.gguf");
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    if (bm_gguf_open(&gguf, path, &err) == BM_OK) {
        read_values(gguf);
        read_tensors(gguf);
        (void)bm_model_open(&model, path, &err);
        (void)bm_tokenizer_from_gguf(&tokenizer, gguf, &err);
    }
    bm_model_close(&model);
    if (tokenizer)
        bm_tokenizer_close(&tokenizer);
    bm_gguf_close(&gguf);
    bm_free(path);
    return 0;
}
