// Quantized checkpoints that say two things at once, or nonsense: each is refused with file, key or tensor, found and
// expected. On the host: nothing here depends on the device.
#include "support/unit.h"

#include "base/file.h"
#include "model/model.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <stdio.h>
#include <string.h>

#define LINEAR "model.layers.1.self_attn.q_proj" // [64, 64], two groups a row

static char *quantized_model(void)
{
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_summary summary;
    const char *overrides[] = {"device=host", "group_size=32"};
    model_maker_params made;
    model_maker_params_init(&made);
    char *original = support_folder_create(), *parent = support_folder_create(), *folder = bm_path_join(parent, "out");
    assert_ok(model_maker_write(&made, original, &err), &err);
    bm_quantize_params_init(&params);
    params.model = original;
    params.method = "rtn";
    params.output = folder;
    params.overrides = overrides;
    params.num_overrides = 2;
    assert_ok(bm_quantize_model(&params, &summary, &err), &err);
    support_folder_remove(&original);
    bm_free(parent);
    return folder;
}

// The folder and the one that it lies in.
static void remove_model(char **folder)
{
    char *parent = bm_format("%.*s", (int)(bm_path_base_name(*folder) - *folder - 1), *folder);
    bm_free(*folder);
    support_folder_remove(&parent);
}

// Opens the model and loads LINEAR.
static bm_status load(const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL;
    bm_device *device = NULL;
    bm_weights *weights = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "host";
    BM_TRY(bm_model_open(&model, folder, err));
    BM_TRY(bm_device_open(&device, &params, err));
    BM_TRY(bm_model_load_linear(model, device, LINEAR, 64, 64, BM_DTYPE_F32, &weights, err));
done:
    bm_weights_destroy(&weights);
    bm_device_close(&device);
    bm_model_close(&model);
    return status;
}

// Bytes of a tensor of LINEAR, from element on, replaced; and back again by the bytes that it returns in size.
static void swap_bytes(const char *folder, const char *suffix, uint64_t element, uint8_t *bytes, size_t size)
{
    bm_error err = {0};
    bm_checkpoint *checkpoint = NULL;
    uint8_t before[16];
    char name[BM_TENSOR_NAME_SIZE];
    char *path = bm_path_join(folder, "model.safetensors");
    assert_true(size <= sizeof before);
    snprintf(name, sizeof name, LINEAR "%s", suffix);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, name);
    assert_non_null(info);
    const uint64_t at = element * bm_dtype_size(info->dtype);
    assert_ok(bm_checkpoint_read(checkpoint, info, at, before, size, &err), &err);
    const long offset = (long)(info->offset + at);
    bm_checkpoint_close(&checkpoint);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, size, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    memcpy(bytes, before, size);
    bm_free(path);
}

// The first occurrence of a text in a file of the model replaced by one of the same length.
static void replace(const char *folder, const char *name, const char *from, const char *to)
{
    bm_error err = {0};
    char *path = bm_path_join(folder, name), *bytes = NULL;
    uint64_t size = 0, at = 0;
    const size_t length = strlen(from);
    assert_int_equal(length, strlen(to));
    assert_ok(bm_file_read_all(path, UINT64_C(1) << 30, &bytes, &size, &err), &err);
    while (at + length <= size && memcmp(bytes + at, from, length) != 0)
        at++;
    assert_true(at + length <= size);
    memcpy(bytes + at, to, length);
    assert_ok(bm_file_write_all(path, bytes, size, &err), &err);
    bm_free(bytes);
    bm_free(path);
}

static void assert_refused(const char *folder, const char *words)
{
    bm_error err = {0};
    assert_int_equal(load(folder, &err), BM_E_FORMAT);
    if (!strstr(err.message, words) || !strstr(err.message, folder))
        fail_msg("\"%s\" lacks \"%s\"", err.message, words);
}

static void a_shape_that_is_not_the_linears_is_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t rows, cols;
        const char *words;
    } cases[] = {
        {INT64_C(1) << 40, 5, LINEAR ".weight_shape\": found 1099511627776, 5, expected 64, 64"},
        {-1, -1, LINEAR ".weight_shape\": found -1, -1, expected 64, 64"},
        {64, 63, LINEAR ".weight_shape\": found 64, 63, expected 64, 64"},
    };
    bm_error err = {0};
    char *folder = quantized_model();
    assert_ok(load(folder, &err), &err);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint8_t bytes[16];
        bm_store_le64(bytes, (uint64_t)cases[i].rows);
        bm_store_le64(bytes + 8, (uint64_t)cases[i].cols);
        swap_bytes(folder, ".weight_shape", 0, bytes, sizeof bytes);
        assert_refused(folder, cases[i].words);
        swap_bytes(folder, ".weight_shape", 0, bytes, sizeof bytes);
    }
    replace(folder, "model.safetensors", LINEAR ".weight_shape", LINEAR ".weight_shapX");
    assert_refused(folder, LINEAR ".weight_shape\" is missing");
    remove_model(&folder);
}

// A negative scale turns its group round, as other programs write it.
static void a_scale_may_be_negative_and_not_infinite(void **state)
{
    (void)state;
    static const uint32_t negative = 0xbf800000u, no_number = 0x7fc00000u;
    bm_error err = {0};
    uint8_t bytes[4];
    char *folder = quantized_model();
    bm_store_le32(bytes, negative);
    swap_bytes(folder, ".weight_scale", 9, bytes, sizeof bytes);
    assert_ok(load(folder, &err), &err);
    swap_bytes(folder, ".weight_scale", 9, bytes, sizeof bytes);
    bm_store_le32(bytes, no_number);
    swap_bytes(folder, ".weight_scale", 9, bytes, sizeof bytes);
    assert_refused(folder, LINEAR ".weight_scale\": NaN or infinity at element 9");
    swap_bytes(folder, ".weight_scale", 9, bytes, sizeof bytes);
    assert_ok(load(folder, &err), &err);
    remove_model(&folder);
}

static void another_group_size_shows_the_shape_that_was_found(void **state)
{
    (void)state;
    char *folder = quantized_model();
    replace(folder, "config.json", "\"group_size\": 32", "\"group_size\": 16");
    assert_refused(folder, "q_proj.weight_scale\": F32 [64, 2], expected floats [64, 4]");
    replace(folder, "config.json", "\"group_size\": 16", "\"group_size\": 48");
    assert_refused(folder, "config.json: quantization_config: key \"group_size\": found 48");
    replace(folder, "config.json", "\"num_bits\": 4", "\"num_bits\": 0");
    assert_refused(folder, "config.json: key \"num_bits\"");
    remove_model(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_that_is_not_the_linears_is_refused),
        cmocka_unit_test(a_scale_may_be_negative_and_not_infinite),
        cmocka_unit_test(another_group_size_shows_the_shape_that_was_found),
    };
    return cmocka_run_group_tests_name("quantized input", tests, NULL, NULL);
}
