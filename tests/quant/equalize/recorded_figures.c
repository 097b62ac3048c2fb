// Reading of recorded figures and of what they were computed from.
#include "quant/equalize/recorded_figures.h"

#include "base/half.h"
#include "quant/equalize/close.h"
#include "support/folders.h"

#include <stdio.h>
#include <stdlib.h>

static bm_error failure;

bool recorded_is_here(const char *model)
{
    char name[128];
    snprintf(name, sizeof name, "paddleslim/%s__a8w8.json", model);
    char *figures = support_data_find(name), *weights = support_data_find(model);
    const bool here = figures && weights;
    bm_free(figures);
    bm_free(weights);
    return here;
}

static bm_json *read_json(const char *name)
{
    bm_json *json = NULL;
    char *path = support_data_find(name);
    assert_non_null(path);
    assert_ok(bm_json_read_file(&json, path, 1 << 24, &failure), &failure);
    bm_free(path);
    return json;
}

bm_json *recorded_read(const char *model, const char *strategy)
{
    char name[128];
    snprintf(name, sizeof name, "paddleslim/%s__%s.json", model, strategy);
    return read_json(name);
}

const bm_json *recorded_find(const bm_json *root, ...)
{
    va_list keys;
    const char *key = NULL;
    va_start(keys, root);
    while ((key = va_arg(keys, const char *))) {
        root = bm_json_find(root, key);
        if (!root)
            fail_msg("no \"%s\"", key);
    }
    va_end(keys);
    return root;
}

uint32_t recorded_values(const bm_json *vector, float *out, uint32_t most)
{
    const bm_json *values = bm_json_find(vector, "values");
    uint32_t count = 0;
    values = values ? values : bm_json_find(vector, "first8");
    for (const bm_json *value = bm_json_first(values); value && count < most; value = bm_json_next(value))
        out[count++] = (float)bm_json_number(value);
    assert_true(count > 0);
    return count;
}

float *recorded_tensor(const char *model, const char *name, uint32_t *rows, uint32_t *cols)
{
    bm_checkpoint *checkpoint = NULL;
    char *path = support_data_find(model);
    assert_ok(bm_checkpoint_open(&checkpoint, path, &failure), &failure);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, name);
    assert_non_null(info);
    *rows = info->num_dims == 2 ? (uint32_t)info->shape[0] : 1;
    *cols = (uint32_t)info->shape[info->num_dims - 1];
    const size_t count = (size_t)*rows * *cols;
    uint8_t *bytes = malloc(info->size_bytes);
    float *values = calloc(count, sizeof *values);
    assert_true(bytes && values);
    assert_ok(bm_checkpoint_read(checkpoint, info, 0, bytes, info->size_bytes, &failure), &failure);
    for (size_t i = 0; i < count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    free(bytes);
    bm_checkpoint_close(&checkpoint);
    bm_free(path);
    return values;
}

// One token's embedding, normed.
static void norm(const float *embedding, const float *weight, uint32_t channels, float *out)
{
    double square = 0;
    for (uint32_t c = 0; c < channels; c++)
        square += (double)embedding[c] * (double)embedding[c];
    const double factor = 1 / sqrt(square / channels + 1e-5);
    for (uint32_t c = 0; c < channels; c++)
        out[c] = (float)((double)embedding[c] * factor * (double)weight[c]);
}

float *recorded_inputs(const char *model, uint32_t *channels)
{
    char name[128];
    uint32_t rows = 0, t = 0;
    snprintf(name, sizeof name, "paddleslim/calib_%s.json", model);
    bm_json *json = read_json(name);
    float *embeddings = recorded_tensor(model, "model.embed_tokens.weight", &rows, channels);
    const uint32_t vocabulary = rows;
    float *weight = recorded_tensor(model, "model.layers.0.input_layernorm.weight", &rows, channels);
    float *inputs = malloc((size_t)RECORDED_SEQUENCES * RECORDED_LENGTH * *channels * sizeof *inputs);
    assert_non_null(inputs);
    for (const bm_json *sequence = bm_json_first(bm_json_find(json, "ids")); sequence;
         sequence = bm_json_next(sequence))
        for (const bm_json *id = bm_json_first(sequence); id; id = bm_json_next(id), t++) {
            const uint32_t token = (uint32_t)bm_json_number(id);
            assert_true(token < vocabulary && t < RECORDED_SEQUENCES * RECORDED_LENGTH);
            norm(embeddings + (size_t)token * *channels, weight, *channels, inputs + (size_t)t * *channels);
        }
    assert_int_equal(t, RECORDED_SEQUENCES * RECORDED_LENGTH);
    free(embeddings);
    free(weight);
    bm_json_destroy(&json);
    return inputs;
}
