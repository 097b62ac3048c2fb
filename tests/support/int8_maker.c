#include "support/int8_maker.h"

#include "base/file.h"
#include "formats/json.h"
#include "store/compressed_tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const stages[][5] = {
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attention.query_key_value", NULL},
    {"self_attn.o_proj", "self_attention.dense", NULL},
    {"mlp.gate_proj", "mlp.up_proj", "mlp.dense_h_to_4h", NULL},
    {"mlp.down_proj", "mlp.dense_4h_to_h", NULL}};
static const char *const prefixes[] = {"model.layers.", "transformer.h."};

// The step of a linear's inputs by its number, or -1 for a tensor that is no linear's weight, or of one that is left out.
static int32_t step_of(const char *name, const char *left_out)
{
    char *rest = NULL;
    const char *prefix = prefixes[bm_starts_with(name, prefixes[1])];
    if (!bm_starts_with(name, prefix) || (left_out && strstr(name, left_out)))
        return -1;
    const long block = strtol(name + strlen(prefix), &rest, 10);
    for (int32_t s = 0; s < 4; s++)
        for (uint32_t i = 0; stages[s][i]; i++) {
            const size_t length = strlen(stages[s][i]);
            if (strncmp(rest + 1, stages[s][i], length) == 0 && strcmp(rest + 1 + length, ".weight") == 0)
                return (int32_t)block * 4 + s;
        }
    return -1;
}

static void round_row(const float *w, uint64_t cols, int8_t *codes, float *step)
{
    float peak = 0;
    for (uint64_t c = 0; c < cols; c++)
        peak = fmaxf(peak, fabsf(w[c]));
    *step = peak / 127;
    const float inverse = 1 / *step;
    for (uint64_t c = 0; c < cols; c++)
        codes[c] = (int8_t)fminf(fmaxf(rintf(w[c] * inverse), -128), 127);
}

static bm_status put(bm_checkpoint_writer *writer, const bm_tensor_info *info, const char *suffix, const void *bytes,
                     uint64_t size, bm_error *err)
{
    char *name = bm_format("%.*s%s", (int)(strlen(info->name) - strlen(".weight")), info->name, suffix);
    const bm_status status = bm_checkpoint_writer_put(writer, name, 0, bytes, size, err);
    bm_free(name);
    return status;
}

static bm_status declare(bm_checkpoint_writer *writer, const bm_tensor_info *info, bool is_static, const char *left_out,
                         bm_error *err)
{
    char module[BM_STORE_NAME_SIZE];
    bm_status status = BM_OK;
    if (step_of(info->name, left_out) < 0)
        return bm_checkpoint_writer_declare(writer, info->name, info->dtype, info->shape, info->num_dims, err);
    snprintf(module, sizeof module, "%.*s", (int)(strlen(info->name) - strlen(".weight")), info->name);
    const bm_store_linear linear = {
        .module = module,
        .out_features = info->shape[0],
        .in_features = info->shape[1],
        .grid = {.bits = 8, .group_size = (uint32_t)info->shape[1], .symmetric = true, .scale_dtype = BM_DTYPE_F32},
        .per_channel = true,
        .input = is_static ? BM_INPUT_STATIC : BM_INPUT_DYNAMIC};
    BM_TRY(bm_store_compressed_tensors.check(&linear, err));
    BM_TRY(bm_store_declare(&bm_store_compressed_tensors, writer, &linear, err));
done:
    return status;
}

static bm_status write_tensor(bm_checkpoint *from, bm_checkpoint_writer *writer, const bm_tensor_info *info,
                              const float *steps, uint32_t num_steps, const char *left_out, bm_error *err)
{
    const int32_t which = step_of(info->name, left_out);
    const uint64_t rows = info->shape[0], cols = info->num_dims == 2 ? info->shape[1] : 1;
    bm_status status = BM_OK;
    float *values = bm_alloc(rows * cols, sizeof *values), *weight_steps = bm_alloc(rows, sizeof *weight_steps);
    int8_t *codes = bm_alloc(rows * cols, 1);
    BM_FAIL_IF(!values || !weight_steps || !codes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(from, info, 0, values, info->size_bytes, err));
    if (which < 0) {
        BM_TRY(bm_checkpoint_writer_put(writer, info->name, 0, values, info->size_bytes, err));
        goto done;
    }
    for (uint64_t r = 0; r < rows; r++)
        round_row(values + r * cols, cols, codes + r * cols, &weight_steps[r]);
    BM_TRY(put(writer, info, ".weight", codes, rows * cols, err));
    BM_TRY(put(writer, info, ".weight_scale", weight_steps, rows * sizeof *weight_steps, err));
    BM_FAIL_IF(steps && which >= (int32_t)num_steps, err, BM_E_ARGUMENT, "only %u steps of inputs", num_steps);
    if (steps)
        BM_TRY(put(writer, info, ".input_scale", &steps[which], sizeof *steps, err));
done:
    bm_free(values);
    bm_free(weight_steps);
    bm_free(codes);
    return status;
}

static bm_status write_config(const char *folder, const char *out, bool is_static, const char *left_out, bm_error *err)
{
    char *pattern = bm_format("re:.*%s$", left_out ? left_out : "");
    const char *const floats[] = {"lm_head", pattern};
    const bm_store_description description = {.grid = {.bits = 8, .symmetric = true},
                                              .per_channel = true,
                                              .input = is_static ? BM_INPUT_STATIC : BM_INPUT_DYNAMIC,
                                              .float_modules = floats,
                                              .num_float_modules = left_out ? 2 : 1};
    char *from = bm_path_join(folder, "config.json"), *to = bm_path_join(out, "config.json"), *bytes = NULL;
    uint64_t size = 0;
    bm_json *root = NULL;
    bm_json_writer json;
    bm_string text = BM_STRING_INIT;
    bm_status status = BM_OK;
    BM_TRY(bm_file_read_all(from, UINT64_C(1) << 20, &bytes, &size, err));
    BM_TRY(bm_json_parse(&root, bytes, size, from, err));
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    for (const bm_json *member = bm_json_first(root); member; member = bm_json_next(member))
        bm_json_put_value(&json, bm_json_key(member), member);
    bm_json_begin_object(&json, "quantization_config");
    bm_store_compressed_tensors.config(&json, &description);
    bm_json_end_object(&json);
    bm_json_end_object(&json);
    BM_TRY(bm_file_write_all(to, text.data, text.length, err));
done:
    bm_json_destroy(&root);
    bm_string_free(&text);
    bm_free(pattern);
    bm_free(bytes);
    bm_free(from);
    bm_free(to);
    return status;
}

bm_status int8_maker_write(const char *folder, const char *out, const float *steps, uint32_t num_steps,
                           const char *left_out, bm_error *err)
{
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json"};
    bm_status status = BM_OK;
    bm_checkpoint *from = NULL;
    bm_checkpoint_writer *writer = NULL;
    BM_TRY(bm_folder_create(out, true, err));
    BM_TRY(bm_checkpoint_open(&from, folder, err));
    BM_TRY(bm_checkpoint_writer_create(&writer, out, BM_DEFAULT_SHARD_BYTES, err));
    for (uint32_t i = 0; i < bm_checkpoint_count(from); i++)
        BM_TRY(declare(writer, bm_checkpoint_at(from, i), steps != NULL, left_out, err));
    BM_TRY(bm_checkpoint_writer_begin(writer, err));
    for (uint32_t i = 0; i < bm_checkpoint_count(from); i++)
        BM_TRY(write_tensor(from, writer, bm_checkpoint_at(from, i), steps, num_steps, left_out, err));
    BM_TRY(bm_checkpoint_writer_finish(&writer, err));
    BM_TRY(write_config(folder, out, steps != NULL, left_out, err));
    for (size_t i = 0; i < BM_COUNT(files); i++) {
        char *source = bm_path_join(folder, files[i]), *target = bm_path_join(out, files[i]);
        status = bm_path_kind_of(source) == BM_PATH_FILE ? bm_file_copy(source, target, err) : BM_OK;
        bm_free(source);
        bm_free(target);
        if (status != BM_OK)
            break;
    }
done:
    bm_checkpoint_writer_destroy(&writer);
    bm_checkpoint_close(&from);
    return status;
}
