// Checkpoints that other programs saved (tools/make_peer_checkpoints.py), each with some of the weights that those programs compute
// with: read here they are the same weights, converted to another format and read again, too.
#include "golden/golden.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "schedule/convert_run.h"
#include "support/folders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STRIDE 977 // of that script

static bm_device *device;

static int set_up(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "host";
    return bm_device_open(&device, &params, &err) != BM_OK;
}

static int tear_down(void **state)
{
    (void)state;
    bm_device_close(&device);
    return 0;
}

// The weights of a linear, [out_features, in_features].
static float *read_weights(const bm_model *model, const char *module, uint64_t rows, uint64_t cols)
{
    bm_error err = {0};
    bm_store_linear linear;
    bm_tensor values = {0};
    char name[BM_TENSOR_NAME_SIZE];
    float *weights = bm_alloc(rows * cols, sizeof *weights);
    if (bm_store_match(&model->quantization, model->checkpoint, module, rows, cols, &linear)) {
        assert_ok(bm_store_read_rows(&model->quantization, model->checkpoint, &linear, device, 0, rows, &values, &err),
                  &err);
        assert_ok(bm_tensor_download(device, &values, weights, &err), &err);
        assert_ok(bm_device_wait(device, &err), &err);
        bm_tensor_destroy(&values);
        return weights;
    }
    snprintf(name, sizeof name, "%s.weight", module);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    uint8_t *bytes = bm_alloc(rows * cols, bm_dtype_size(info->dtype));
    assert_ok(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < rows * cols; i++)
        weights[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return weights;
}

// The peers' products, and some of their scales before, are rounded to 16 bits.
static void assert_weights(const char *name, const bm_model *model, const bm_json *linears)
{
    for (const bm_json *linear = bm_json_first(linears); linear; linear = bm_json_next(linear)) {
        const bm_json *shape = golden_find(linear, "shape"), *values = golden_find(linear, "values");
        const uint64_t rows = (uint64_t)bm_json_number(bm_json_first(shape));
        const uint64_t cols = (uint64_t)bm_json_number(bm_json_next(bm_json_first(shape)));
        float *weights = read_weights(model, bm_json_key(linear), rows, cols);
        uint64_t k = 0;
        for (const bm_json *value = bm_json_first(values); value; value = bm_json_next(value), k++) {
            const double expected = bm_json_number(value), found = weights[k * STRIDE % bm_max_u64(1, rows * cols)];
            if (!(fabs(found - expected) <= fabs(expected) * 0x1p-7 + 1e-7))
                fail_msg("%s: %s: weight %u: found %.9g, expected %.9g", name, bm_json_key(linear), (unsigned)k, found,
                         expected);
        }
        assert_true(k > 0);
        bm_free(weights);
    }
}

static bm_model *open_model(const char *folder)
{
    bm_error err = {0};
    bm_model *model = NULL;
    assert_ok(bm_model_open(&model, folder, &err), &err);
    return model;
}

// Rows of a head from anywhere on are those of all.
static void assert_head_rows(const char *name, const bm_model *model)
{
    bm_error err = {0};
    bm_store_linear linear;
    bm_weights *some = NULL;
    bm_tensor rows = {0};
    float found[3 * 32];
    if (!bm_model_quantized_head(model, &linear))
        return;
    float *all = read_weights(model, "lm_head", linear.out_features, linear.in_features);
    assert_int_equal(linear.in_features, 32);
    assert_ok(bm_model_load_head_rows(model, device, 37, 3, BM_DTYPE_F32, &some, &err), &err);
    assert_ok(bm_tensor_create(device, BM_DTYPE_F32, 3, 32, "rows", &rows, &err), &err);
    assert_ok(bm_weights_get_rows(device, some, 0, &rows, &err), &err);
    assert_ok(bm_tensor_download(device, &rows, found, &err), &err);
    assert_ok(bm_device_wait(device, &err), &err);
    if (memcmp(found, all + 37 * 32, sizeof found) != 0) // NOLINT: the bits
        fail_msg("%s: rows of the head are others", name);
    bm_tensor_destroy(&rows);
    bm_weights_destroy(&some);
    bm_free(all);
}

static void assert_converts(const char *name, const bm_model *model, const bm_json *linears, const char *form)
{
    bm_error err = {0};
    bm_quantize_result result = {0};
    char *parent = support_folder_create(), *output = bm_path_join(parent, "converted");
    const bm_convert_params params = {.model = model, .form = form, .output = output, .device = device};
    if (bm_convert_run(&params, &result, &err) != BM_OK)
        fail_msg("%s to %s: %s", name, form, err.message);
    bm_model *converted = open_model(output);
    assert_weights(name, converted, linears);
    bm_model_close(&converted);
    bm_quantize_result_free(&result);
    bm_free(output);
    support_folder_remove(&parent);
}

// Orders of columns, grids of single linears, heads.
static const struct {
    const char *name, *form;
} conversions[] = {{"auto-round-asym", "compressed-tensors"},
                   {"auto-round-auto-gptq", "awq"},
                   {"gptqmodel-asym", "gptq_v2"},
                   {"gptqmodel-desc-act", "compressed-tensors"},
                   {"gptqmodel-dynamic", "compressed-tensors"},
                   {"gptqmodel-dynamic", "gptq_v2"},
                   {"gptqmodel-head", "compressed-tensors"},
                   {"llmcompressor-mixed", "int-quantized"},
                   {"llmcompressor-head", "int-quantized"},
                   {"llmcompressor-w8a16-channel", "int-quantized"},
                   {"llmcompressor-w8a8", "compressed-tensors"}};

static void weights_are_those_of_whoever_saved_them(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_name_list names;
    char *folder = bm_path_join(BM_SOURCE_DIR, "tests/golden/peers");
    assert_ok(bm_folder_list(folder, &names, &err), &err);
    assert_true(names.count >= 6);
    for (uint32_t i = 0; i < names.count; i++) {
        char *path = bm_path_join(folder, names.names[i]), *file = bm_path_join(path, "expected.json");
        bm_json *expected = NULL;
        assert_ok(bm_json_read_file(&expected, file, 1 << 20, &err), &err);
        bm_model *model = open_model(path);
        const bm_json *linears = golden_find(expected, "linears");
        assert_weights(names.names[i], model, linears);
        assert_head_rows(names.names[i], model);
        for (size_t c = 0; c < BM_COUNT(conversions); c++)
            if (strcmp(names.names[i], conversions[c].name) == 0)
                assert_converts(names.names[i], model, linears, conversions[c].form);
        bm_model_close(&model);
        bm_json_destroy(&expected);
        bm_free(file);
        bm_free(path);
    }
    bm_name_list_free(&names);
    bm_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_are_those_of_whoever_saved_them)};
    return cmocka_run_group_tests_name("golden_peers", tests, set_up, tear_down);
}
