// libFuzzer: bytes as a GGUF file. Where it opens, every value and tensor is read, and it is tried as a model and as a
// tokenizer.
#include "base/file.h"
#include "formats/gguf_view.h"
#include "model/model.h"
#include "store/gguf.h"
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
        const bm_gguf_string stored = bm_gguf_stored(v);
        sum += stored.bytes[0] + stored.bytes[stored.length - 1];
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
        if (t->num_dims == 2 && bm_gguf_view_row_bytes(&view) * rows <= info.size_bytes &&
            bm_gguf_view_read_rows(gguf, &view, 0, rows, bytes, NULL) != BM_OK)
            abort();
        bm_free(bytes);
        bm_free(info.name);
    }
}

// Scales and zero points of blocks, as convert reads them.
static void read_grids(const bm_model *model)
{
    bm_store_config codes;
    bm_store_open_gguf(&codes, model->checkpoint);
    for (bm_linear_id id = 0; id < BM_NUM_LINEARS; id++) {
        uint32_t rows, cols;
        char module[BM_TENSOR_NAME_SIZE];
        bm_store_linear linear;
        if (!bm_family_has_linear(model->family, id))
            continue;
        bm_linear_shape(&model->config, id, &rows, &cols);
        bm_linear_tensor_name(model->family, 0, id, "", module);
        if (!bm_store_match(&codes, model->checkpoint, module, rows, cols, &linear))
            continue;
        const uint64_t count = (uint64_t)rows * bm_num_groups(cols, linear.grid.group_size);
        float *steps = bm_alloc(count, sizeof *steps);
        int32_t *zero_points = bm_alloc(count, sizeof *zero_points);
        if (steps && zero_points)
            (void)codes.format->get_grid(model->checkpoint, &linear, 0, rows, steps, zero_points, NULL);
        bm_free(steps);
        bm_free(zero_points);
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
        if (bm_model_open(&model, path, &err) == BM_OK)
            read_grids(model);
        (void)bm_tokenizer_from_gguf(&tokenizer, gguf, &err);
    }
    bm_model_close(&model);
    if (tokenizer)
        bm_tokenizer_close(&tokenizer);
    bm_gguf_close(&gguf);
    bm_free(path);
    return 0;
}
