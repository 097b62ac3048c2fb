// Writing act_scales.json and weight_scales.json, a linear at a time: of a large model in groups they are hundreds of megabytes.
#include "store/scale_files.h"

#include "base/file.h"
#include "base/str.h"
#include "formats/json.h"

#include <math.h>

#define ZERO_PEAK 1e-30f // what is below counts as zero
#define ZERO_SCALE 1e-8f // and is written as this number
#define ZERO_INPUT 1e-7f // or, of activations, as this one

typedef struct scale_file {
    bm_writer *writer;
    bm_string text; // what is not yet written
    bm_json_writer json;
} scale_file;

struct bm_scale_files {
    scale_file weights, inputs;
    char *model_type;
};

static void close_file(scale_file *file)
{
    bm_writer_destroy(&file->writer);
    bm_string_free(&file->text);
}

void bm_scale_files_destroy(bm_scale_files **files)
{
    if (!files || !*files)
        return;
    close_file(&(*files)->weights);
    close_file(&(*files)->inputs);
    bm_free((*files)->model_type);
    bm_free(*files);
    *files = NULL;
}

static bm_status open_file(scale_file *file, const char *folder, const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    char *path = bm_path_join(folder, name);
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_writer_create(&file->writer, path, err));
    bm_json_writer_init(&file->json, &file->text, 0);
    bm_json_begin_object(&file->json, NULL);
done:
    bm_free(path);
    return status;
}

static bm_status flush(scale_file *file, bm_error *err)
{
    if (file->text.failed)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = bm_writer_write(file->writer, bm_string_text(&file->text), file->text.length, err);
    bm_string_clear(&file->text);
    return status;
}

bm_status bm_scale_files_create(bm_scale_files **out, const char *folder, const char *model_type, bm_error *err)
{
    bm_status status = BM_OK;
    bm_scale_files *files = bm_alloc_zero(1, sizeof *files);
    BM_FAIL_IF(!files, err, BM_E_MEMORY, "out of memory");
    files->model_type = bm_string_copy(model_type);
    BM_FAIL_IF(!files->model_type, err, BM_E_MEMORY, "out of memory");
    BM_TRY(open_file(&files->weights, folder, "weight_scales.json", err));
    BM_TRY(open_file(&files->inputs, folder, "act_scales.json", err));
    *out = files;
    files = NULL;
done:
    bm_scale_files_destroy(&files);
    return status;
}

static bm_status put_scale(bm_json_writer *json, const char *key, float scale, float zero, const char *module,
                           bm_error *err)
{
    if (!(scale >= 0 && isfinite(scale)))
        return bm_fail(err, BM_E_NUMERIC, "%s: found the scale %g, expected a finite number that is not negative",
                       module, (double)scale);
    bm_json_put_float(json, key, scale < ZERO_PEAK ? zero : scale);
    return BM_OK;
}

static bm_status put_weights(bm_json_writer *json, const char *key, const char *module, const float *weights,
                             uint64_t out_features, uint64_t groups, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json_begin_array(json, key);
    for (uint64_t g = 0; g < groups; g++) {
        if (groups > 1)
            bm_json_begin_array(json, NULL);
        for (uint64_t n = 0; n < out_features; n++)
            BM_TRY(put_scale(json, NULL, weights[n * groups + g], ZERO_SCALE, module, err));
        if (groups > 1)
            bm_json_end_array(json);
    }
    bm_json_end_array(json);
done:
    return status;
}

bm_status bm_scale_files_add(bm_scale_files *files, const char *module, const float *weights, uint64_t out_features,
                             uint64_t groups, const float *input, bm_error *err)
{
    static const char prefix[] = "model.";
    const char *rest = bm_starts_with(module, prefix) ? module + sizeof prefix - 1 : module;
    const char *dot = rest == module ? "" : ".", *type = rest == module ? "" : files->model_type;
    bm_status status = BM_OK;
    char *weight_key = bm_format("%s%s%s.weight_quanter", type, dot, rest);
    char *input_key = bm_format("%s%s%s.activation_quanter", type, dot, rest);
    BM_FAIL_IF(!weight_key || !input_key, err, BM_E_MEMORY, "out of memory");
    BM_TRY(put_weights(&files->weights.json, weight_key, module, weights, out_features, groups, err));
    if (input)
        BM_TRY(put_scale(&files->inputs.json, input_key, *input, ZERO_INPUT, module, err));
    BM_TRY(flush(&files->weights, err));
    BM_TRY(flush(&files->inputs, err));
done:
    bm_free(weight_key);
    bm_free(input_key);
    return status;
}

static bm_status finish_file(scale_file *file, bm_error *err)
{
    bm_json_end_object(&file->json);
    (void)bm_string_append(&file->text, "\n");
    const bm_status status = flush(file, err);
    return status == BM_OK ? bm_writer_commit(&file->writer, err) : status;
}

bm_status bm_scale_files_finish(bm_scale_files **files, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(finish_file(&(*files)->weights, err));
    BM_TRY(finish_file(&(*files)->inputs, err));
done:
    bm_scale_files_destroy(files);
    return status;
}
