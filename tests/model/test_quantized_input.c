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

static char *quantized_model_in_with(const char *format, const char *key)
{
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_summary summary;
    const char *overrides[] = {"device=host", "group_size=32", format, key};
    model_maker_params made;
    model_maker_params_init(&made);
    char *original = support_folder_create(), *parent = support_folder_create(), *folder = bm_path_join(parent, "out");
    assert_ok(model_maker_write(&made, original, &err), &err);
    bm_quantize_params_init(&params);
    params.model = original;
    params.method = "rtn";
    params.output = folder;
    params.overrides = overrides;
    params.num_overrides = key ? 4 : 3;
    assert_ok(bm_quantize_model(&params, &summary, &err), &err);
    support_folder_remove(&original);
    bm_free(parent);
    return folder;
}

static char *quantized_model_in(const char *format)
{
    return quantized_model_in_with(format, NULL);
}

static char *quantized_model(void)
{
    return quantized_model_in("format=compressed-tensors");
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
    BM_TRY(bm_weights_create(device, 64, 64, BM_DTYPE_F32, LINEAR, NULL, &weights, err));
    const bm_linear_rows into = {.parts = {weights}, .num_parts = 1, .runs = {64}};
    BM_TRY(bm_model_load_linear(model, device, LINEAR, 64, 64, &into, err));
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

// Four bytes of a tensor, from an element on, and what is said of them; NULL: they are fine.
typedef struct planted_word {
    const char *suffix;
    uint64_t element;
    uint32_t word;
    const char *words;
} planted_word;

static void expect_planted(const char *folder, const planted_word *planted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bm_error err = {0};
        uint8_t bytes[4];
        bm_store_le32(bytes, planted[i].word);
        swap_bytes(folder, planted[i].suffix, planted[i].element, bytes, sizeof bytes);
        if (planted[i].words)
            assert_refused(folder, planted[i].words);
        else
            assert_ok(load(folder, &err), &err);
        swap_bytes(folder, planted[i].suffix, planted[i].element, bytes, sizeof bytes);
    }
}

// Symmetric, of version 1: each field of qzeros is 7.
static void numbers_of_gptq_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const planted_word symmetric[] = {
        {".g_idx", 9, 1, LINEAR ".g_idx\": found 33 inputs in group 1, expected at most the group_size 32"},
        {".g_idx", 9, UINT32_MAX,
         LINEAR ".g_idx\": found 33 inputs in group 1 (-1 at element 9 counts from the last), expected at most"},
        {".g_idx", 9, 2, LINEAR ".g_idx\": found group 2 at element 9, expected 0 to 1"},
        {".g_idx", 63, UINT32_MAX - 2, LINEAR ".g_idx\": found group -3 at element 63, expected 0 to 1"},
        {".g_idx", 0, 0x7fffffff, LINEAR ".g_idx\": found group 2147483647 at element 0"},
        {".qzeros", 9, 0x77677777,
         LINEAR ".qzeros\": found zero point 7 of output 13 in group 1, expected 8: config.json says \"sym\": true"},
        {".qzeros", 0, 0x777777f7,
         LINEAR ".qzeros\": found zero point 16 of output 1 in group 0, expected at most 15: readers disagree on it"},
        {".scales", 64, 0x00007e00, LINEAR ".scales\": NaN or infinity at element 64"},
        {".scales", 64, 0xb800b800, NULL}, // negative
    };
    static const planted_word asymmetric[] = {
        {".qzeros", 9, 0x77677707, NULL},
        {".qzeros", 0, 0x777777f7, LINEAR ".qzeros\": found zero point 16 of output 1 in group 0"},
    };
    char *folder = quantized_model_in("format=gptq");
    expect_planted(folder, symmetric, BM_COUNT(symmetric));
    replace(folder, "config.json", "\"sym\": true", "\"sym\":false");
    expect_planted(folder, asymmetric, BM_COUNT(asymmetric));
    remove_model(&folder);
}

// A text of a file of the model, another of the same length in its place, and what is said of it.
typedef struct planted_text {
    const char *file, *from, *to, *words;
} planted_text;

static void expect_parts(const char *folder, const planted_text *cases, size_t count)
{
    bm_error err = {0};
    for (size_t i = 0; i < count; i++) {
        replace(folder, cases[i].file, cases[i].from, cases[i].to);
        assert_refused(folder, cases[i].words);
        replace(folder, cases[i].file, cases[i].to, cases[i].from);
    }
    assert_ok(load(folder, &err), &err);
}

static void parts_of_gptq_are_looked_up_before_any_work(void **state)
{
    (void)state;
    static const planted_text cases[] = {
        {"config.json", "\"bits\": 4", "\"bits\": 8",
         "q_proj.qweight\": I32 [8, 64], expected I32 [16, 64] by config.json: 8 bits, group_size 32"},
        {"config.json", "\"group_size\": 32", "\"group_size\": 16",
         "q_proj.qzeros\": I32 [2, 8], expected I32 [4, 8] by config.json: 4 bits, group_size 16"},
        {"config.json", "\"group_size\": 32", "\"group_sizX\": 32",
         "q_proj.qzeros\": I32 [2, 8], expected I32 [1, 8] by config.json: 4 bits, group_size 128 as it is absent"},
        {"config.json", "\"group_size\": 32", "\"group_size\": -1", "by config.json: 4 bits, one scale an output"},
        {"model.safetensors", LINEAR ".qzeros", LINEAR ".qzerXs",
         LINEAR ".qzeros\" is missing; quantization_config says that " LINEAR " is quantized"},
        {"model.safetensors", LINEAR ".g_idx", LINEAR ".g_idX", LINEAR ".g_idx\" is missing"},
        {"model.safetensors", LINEAR ".scales\":{\"dtype\":\"F16\"", LINEAR ".scales\":{\"dtype\":\"I16\"",
         LINEAR ".scales\": I16 [2, 64], expected floats [2, 64] by config.json"},
    };
    char *folder = quantized_model_in("format=gptq");
    expect_parts(folder, cases, BM_COUNT(cases));
    remove_model(&folder);
}

static void numbers_of_awq_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    static const planted_word asymmetric[] = {
        {".scales", 64, 0x00007e00, LINEAR ".scales\": NaN or infinity at element 64"},
        {".scales", 64, 0xb800b800, NULL}, // negative
        {".qzeros", 9, 0x0f888888, NULL},
    };
    // Output 5 of its eight lies in the bits 24 to 27.
    static const planted_word symmetric[] = {
        {".qzeros", 9, 0x88888888, NULL},
        {".qzeros", 9, 0x87888888,
         LINEAR ".qzeros\": found zero point 7 of output 13 in group 1, expected 8: config.json says "
                "\"zero_point\": false"},
    };
    char *folder = quantized_model_in("format=awq");
    expect_planted(folder, asymmetric, BM_COUNT(asymmetric));
    remove_model(&folder);
    folder = quantized_model_in_with("format=awq", "symmetric=true");
    replace(folder, "config.json", "\"zero_point\": true", "\"zero_point\":false");
    expect_planted(folder, symmetric, BM_COUNT(symmetric));
    remove_model(&folder);
}

static void parts_of_awq_are_looked_up_before_any_work(void **state)
{
    (void)state;
    static const planted_text cases[] = {
        {"config.json", "\"group_size\": 32", "\"group_size\": 16",
         "q_proj.qzeros\": I32 [2, 8], expected I32 [4, 8] by config.json: 4 bits, group_size 16"},
        {"config.json", "\"group_size\": 32", "\"group_size\": 64", "q_proj.qzeros\": I32 [2, 8], expected I32 [1, 8]"},
        {"config.json", "\"group_size\": 32", "\"group_size\": 48",
         "awq: found 64 inputs of model.layers.0.self_attn.q_proj, expected a multiple of the group_size 48"},
        {"config.json", "\"group_size\": 32", "\"group_sizX\": 32",
         "awq: found 64 inputs of model.layers.0.self_attn.q_proj, expected a multiple of the group_size 128"},
        {"config.json", "\"group_size\": 32", "\"group_size\": -1", "by config.json: 4 bits, one scale an output"},
        {"config.json", "\"quant_method\": \"awq\"", "\"quant_method\":\"gptq\"",
         "q_proj.qweight\": I32 [64, 8], expected I32 [8, 64] by config.json: 4 bits, group_size 32"},
        {"model.safetensors", LINEAR ".qzeros", LINEAR ".qzerXs",
         LINEAR ".qzeros\" is missing; quantization_config says that " LINEAR " is quantized"},
        {"model.safetensors", LINEAR ".qweight", LINEAR ".qweighX", LINEAR ".qweight\" is missing"},
        {"model.safetensors", LINEAR ".scales\":{\"dtype\":\"F16\"", LINEAR ".scales\":{\"dtype\":\"I16\"",
         LINEAR ".scales\": I16 [2, 64], expected floats [2, 64] by config.json"},
        {"model.safetensors", LINEAR ".qzeros\":{\"dtype\":\"I32\"", LINEAR ".qzeros\":{\"dtype\":\"F32\"",
         LINEAR ".qzeros\": F32 [2, 8], expected I32 [2, 8] by config.json"},
    };
    char *folder = quantized_model_in("format=awq");
    expect_parts(folder, cases, BM_COUNT(cases));
    remove_model(&folder);
}

// An index in a checkpoint that says it has one: all of it is looked at, and a -1 anywhere means that it is not used.
static void an_index_of_compressed_tensors_is_looked_at(void **state)
{
    (void)state;
    char *folder = quantized_model();
    replace(folder, "config.json", "\"actorder\": null", "\"actorder\": true");
    assert_refused(folder, "q_proj.weight_g_idx\" is missing");
    remove_model(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_that_is_not_the_linears_is_refused),
        cmocka_unit_test(a_scale_may_be_negative_and_not_infinite),
        cmocka_unit_test(numbers_of_gptq_that_mean_nothing_are_refused),
        cmocka_unit_test(parts_of_gptq_are_looked_up_before_any_work),
        cmocka_unit_test(numbers_of_awq_that_mean_nothing_are_refused),
        cmocka_unit_test(parts_of_awq_are_looked_up_before_any_work),
        cmocka_unit_test(an_index_of_compressed_tensors_is_looked_at),
        cmocka_unit_test(another_group_size_shows_the_shape_that_was_found),
    };
    return cmocka_run_group_tests_name("quantized input", tests, NULL, NULL);
}
