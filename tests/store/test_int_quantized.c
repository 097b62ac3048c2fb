// The form int-quantized of compressed-tensors: bytes of a linear as its readers want them, what is put is got back, and what
// other programs write or break.
#include "support/unit.h"

#include "base/half.h"
#include "store/compressed_tensors.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

#define MODULE "model.layers.0.mlp.up_proj"
#define FORMAT bm_store_compressed_tensors
#define LOADS_IN_VLLM "vLLM 0.32.0, "
#define LOADS_IN_TRANSFORMERS "transformers 5.17.0 (with compressed-tensors 0.19.0), "
enum { ROWS = 64, COLS = 48 };

static bm_device *device;

static int open_host(void **state)
{
    bm_error err;
    bm_device_params params;
    (void)state;
    bm_device_params_init(&params);
    params.spec = "host";
    return bm_device_open(&device, &params, &err) == BM_OK ? 0 : -1;
}

static int close_host(void **state)
{
    (void)state;
    bm_device_close(&device);
    return 0;
}

static bm_store_linear a_linear(bm_input_kind input)
{
    return (bm_store_linear){.module = MODULE,
                             .out_features = ROWS,
                             .in_features = COLS,
                             .grid = {.bits = 8, .group_size = COLS, .symmetric = true, .scale_dtype = BM_DTYPE_BF16},
                             .per_channel = true,
                             .input = input};
}

static int8_t code_of(uint64_t r, uint64_t c)
{
    return (int8_t)((int32_t)((r * 37 + c * 11) % 256) - 128);
}

static float step_of(uint64_t r)
{
    return (float)(r + 1) / 64; // exact in bfloat16
}

static void put_rows(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first, uint64_t count,
                     float input_step)
{
    bm_error err;
    bm_codes codes;
    bm_store_rows rows;
    int8_t values[ROWS * COLS];
    float steps[ROWS];
    for (uint64_t r = 0; r < count; r++) {
        steps[r] = step_of(first + r);
        for (uint64_t c = 0; c < COLS; c++)
            values[r * COLS + c] = code_of(first + r, c);
    }
    assert_ok(bm_codes_create(device, count, COLS, &linear->grid, &codes, &err), &err);
    assert_ok(bm_tensor_upload(device, &codes.codes, values, &err), &err);
    assert_ok(bm_tensor_upload(device, &codes.step, steps, &err), &err);
    codes.input = (bm_input_grid){linear->input, input_step};
    assert_ok(bm_store_fetch(&FORMAT, device, linear, first, &codes, &rows, &err), &err);
    assert_ok(FORMAT.put(writer, linear, first, &rows, &err), &err);
    bm_store_rows_free(&rows);
    bm_codes_destroy(&codes);
}

static char *write_linear(const bm_store_linear *linear, float input_step)
{
    bm_error err;
    bm_checkpoint_writer *writer = NULL;
    char *folder = support_folder_create();
    assert_ok(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &err), &err);
    assert_ok(FORMAT.check(linear, &err), &err);
    assert_ok(bm_store_declare(&FORMAT, writer, linear, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    put_rows(writer, linear, 0, 32, input_step);
    put_rows(writer, linear, 32, ROWS - 32, input_step);
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    return folder;
}

static const bm_tensor_info *find(const bm_checkpoint *checkpoint, const char *suffix)
{
    char name[BM_STORE_NAME_SIZE];
    snprintf(name, sizeof name, MODULE "%s", suffix);
    return bm_checkpoint_find(checkpoint, name);
}

static void bytes_are_those_of_the_readers(void **state)
{
    static const bm_input_kind kinds[] = {BM_INPUT_STATIC, BM_INPUT_DYNAMIC};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        const bm_store_linear linear = a_linear(kinds[i]);
        int8_t codes[ROWS * COLS];
        uint8_t scales[2 * ROWS], scale[2];
        bm_error err;
        bm_checkpoint *checkpoint = NULL;
        char *folder = write_linear(&linear, 0.15625f);
        assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
        const bm_tensor_info *info = find(checkpoint, ".weight");
        assert_non_null(info);
        assert_int_equal(info->dtype, BM_DTYPE_I8);
        assert_int_equal(info->shape[0], ROWS);
        assert_int_equal(info->shape[1], COLS);
        assert_ok(bm_checkpoint_read(checkpoint, info, 0, codes, sizeof codes, &err), &err);
        for (uint64_t at = 0; at < ROWS * COLS; at++)
            assert_int_equal(codes[at], code_of(at / COLS, at % COLS));
        info = find(checkpoint, ".weight_scale");
        assert_int_equal(info->dtype, BM_DTYPE_BF16);
        assert_int_equal(info->num_dims, 2);
        assert_int_equal(info->shape[1], 1);
        assert_ok(bm_checkpoint_read(checkpoint, info, 0, scales, sizeof scales, &err), &err);
        for (uint64_t r = 0; r < ROWS; r++)
            assert_true(bm_load_real(scales, BM_DTYPE_BF16, r) == step_of(r));
        info = find(checkpoint, ".input_scale");
        assert_int_equal(info != NULL, kinds[i] == BM_INPUT_STATIC);
        if (info) {
            assert_int_equal(info->num_dims, 1);
            assert_int_equal(info->shape[0], 1);
            assert_ok(bm_checkpoint_read(checkpoint, info, 0, scale, sizeof scale, &err), &err);
            assert_int_equal(scale[0] | scale[1] << 8, 0x3e20); // 0.15625
        }
        assert_int_equal(bm_checkpoint_count(checkpoint),
                         kinds[i] == BM_INPUT_STATIC ? 3 : 2); // no zero points, no shape
        bm_checkpoint_close(&checkpoint);
        support_folder_remove(&folder);
    }
}

static bm_json *write_config(const bm_store_linear *linear)
{
    static const char *const head[] = {"lm_head"};
    const bm_store_description description = {.grid = linear->grid,
                                              .per_channel = linear->per_channel,
                                              .input = linear->input,
                                              .float_modules = head,
                                              .num_float_modules = 1};
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_json *root = NULL;
    bm_error err;
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    FORMAT.config(&json, &description);
    bm_json_end_object(&json);
    assert_ok(bm_json_parse(&root, text.data, text.length, "NAME", &err), &err);
    bm_string_free(&text);
    return root;
}

static void what_is_put_is_got_back(void **state)
{
    static const bm_input_kind kinds[] = {BM_INPUT_STATIC, BM_INPUT_DYNAMIC};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        const bm_store_linear linear = a_linear(kinds[i]);
        bm_store_linear found;
        bm_input_grid input;
        bm_store_rows rows;
        bm_error err;
        bm_checkpoint *checkpoint = NULL;
        bm_store_config config = {0};
        bm_tensor tensor = {0};
        float values[32 * COLS];
        char *folder = write_linear(&linear, 0.15625f);
        bm_json *root = write_config(&linear);
        assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
        assert_ok(bm_store_open(&config, root, "NAME", &err), &err);
        assert_false(bm_store_match(&config, checkpoint, "lm_head", ROWS, COLS, &found));
        assert_true(bm_store_match(&config, checkpoint, MODULE, ROWS, COLS, &found));
        assert_int_equal(found.input, kinds[i]);
        assert_int_equal(found.version, BM_COMPRESSED_TENSORS_UNPACKED);
        assert_int_equal(found.grid.bits, 8);
        assert_true(found.per_channel && found.grid.symmetric && !found.per_tensor);
        assert_ok(FORMAT.check_values(checkpoint, &found, &err), &err);
        assert_ok(bm_store_read_input(&config, checkpoint, &found, &input, &err), &err);
        assert_int_equal(input.kind, kinds[i]);
        assert_true(input.step == (kinds[i] == BM_INPUT_STATIC ? 0.15625f : 0));
        assert_ok(bm_store_get_rows(&config, checkpoint, &found, 32, 32, &rows, &err), &err);
        assert_int_equal(rows.input.kind, kinds[i]);
        assert_true(rows.input.step == input.step);
        bm_store_rows_free(&rows);
        assert_ok(bm_store_read_rows(&config, checkpoint, &found, device, 32, 32, &tensor, &err), &err);
        assert_ok(bm_tensor_download(device, &tensor, values, &err), &err);
        assert_ok(bm_device_wait(device, &err), &err);
        for (uint64_t at = 0; at < 32 * COLS; at++)
            assert_true(values[at] == (float)code_of(32 + at / COLS, at % COLS) * step_of(32 + at / COLS));
        bm_tensor_destroy(&tensor);
        bm_store_close(&config);
        bm_checkpoint_close(&checkpoint);
        bm_json_destroy(&root);
        support_folder_remove(&folder);
    }
}

// A linear of two outputs and four inputs as another program wrote it.
typedef struct foreign {
    const char *weights, *input; // of the scheme
    const char *scales;          // safetensors' shape of weight_scale and weight_zero_point
    uint64_t num_scales;
    int8_t codes[8];
    float steps[4];
    int8_t zero_points[4];
    uint32_t input_scale; // bits of a float32; 0 with no such tensor
    float values[8];
    const char *words; // of the refusal; NULL: read
} foreign;

#define TOKEN "{\"dynamic\":true,\"strategy\":\"token\"}"
#define TENSOR "{\"dynamic\":false,\"strategy\":\"tensor\"}"
static const foreign foreigners[] = {
    {"\"strategy\":\"tensor\"",
     "null",
     "",
     1,
     {1, 2, 3, 4, -5, 6, 7, -128},
     {0.5f},
     {0},
     0,
     {0.5f, 1, 1.5f, 2, -2.5f, 3, 3.5f, -64},
     NULL},
    {"\"symmetric\":false",
     TOKEN,
     "",
     1,
     {1, 2, 3, 4, -5, 6, 7, -128},
     {0.5f},
     {-2},
     0,
     {1.5f, 2, 2.5f, 3, -1.5f, 4, 4.5f, -63},
     NULL},
    {"\"strategy\":\"channel\",\"symmetric\":false",
     TOKEN,
     "2,1",
     2,
     {1, 2, 3, 4, -5, 6, 7, -128},
     {0.5f, 2},
     {1, -1},
     0,
     {0, 0.5f, 1, 1.5f, -8, 14, 16, -254},
     NULL},
    {"\"num_bits\":4,\"strategy\":\"group\",\"group_size\":2",
     TOKEN,
     "2,2",
     4,
     {1, 2, 3, 4, -5, 6, 7, -8},
     {1, 2, 3, 4},
     {0},
     0,
     {1, 2, 6, 8, -15, 18, 28, -32},
     NULL},
    {"\"num_bits\":4,\"strategy\":\"group\",\"group_size\":2",
     TOKEN,
     "2,2",
     4,
     {1, 2, 3, 4, -5, 8, 7, -8},
     {1, 2, 3, 4},
     {0},
     0,
     {0},
     "up_proj.weight\": found code 8 at element 5, expected -8 to 7 by config.json: 4 bits"},
    {"\"strategy\":\"channel\"", TENSOR, "2,1", 2, {1}, {1, 1}, {0}, 0x3e200000, {1}, NULL},
    {"\"strategy\":\"channel\"",
     TENSOR,
     "2,1",
     2,
     {1},
     {1, 1},
     {0},
     0x80000000,
     {0},
     "up_proj.input_scale\": found -0, expected a step above 0"},
    {"\"strategy\":\"channel\"",
     TENSOR,
     "2,1",
     2,
     {1},
     {1, 1},
     {0},
     0xbf800000,
     {0},
     "up_proj.input_scale\": found -1, expected a step above 0"},
    {"\"strategy\":\"channel\"",
     TENSOR,
     "2,1",
     2,
     {1},
     {1, 1},
     {0},
     0x00400000,
     {0},
     "up_proj.input_scale\": found 5.87747e-39, expected a step above 0"}, // its reciprocal is no normal number
    {"\"strategy\":\"channel\"",
     TENSOR,
     "2,1",
     2,
     {1},
     {1, 1},
     {0},
     0x7f000000,
     {0},
     "up_proj.input_scale\": found 1.70141e+38, expected a step above 0"},
    {"\"strategy\":\"channel\"",
     TENSOR,
     "2,1",
     2,
     {1},
     {1, 1},
     {0},
     0x7fc00000,
     {0},
     "up_proj.input_scale\": NaN or infinity at element 0"},
    {"\"strategy\":\"channel\"", TENSOR, "2,1", 2, {1}, {1, 1}, {0}, 0, {0}, "up_proj.input_scale\" is missing"},
};

// model.safetensors by hand, so that nothing of the writer takes part.
static char *write_foreign(const foreign *f)
{
    const bool has_zero_points = strstr(f->weights, "symmetric\":false") != NULL;
    const char *shape = f->scales[0] ? f->scales : "1";
    uint8_t bytes[2048];
    char header[1024];
    uint64_t at = 8, scale_bytes = 4 * f->num_scales, end = 0;
    int length = snprintf(header, sizeof header,
                          "{\"" MODULE ".weight_scale\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,%llu]}",
                          shape, (unsigned long long)scale_bytes);
    end = scale_bytes;
    if (f->input_scale) {
        length += snprintf(header + length, sizeof header - (size_t)length,
                           ",\"" MODULE ".input_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%llu,%llu]}",
                           (unsigned long long)end, (unsigned long long)end + 4);
        end += 4;
    }
    length += snprintf(header + length, sizeof header - (size_t)length,
                       ",\"" MODULE ".weight\":{\"dtype\":\"I8\",\"shape\":[2,4],\"data_offsets\":[%llu,%llu]}",
                       (unsigned long long)end, (unsigned long long)end + 8);
    if (has_zero_points)
        length +=
            snprintf(header + length, sizeof header - (size_t)length,
                     ",\"" MODULE ".weight_zero_point\":{\"dtype\":\"I8\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
                     shape, (unsigned long long)end + 8, (unsigned long long)(end + 8 + f->num_scales));
    length += snprintf(header + length, sizeof header - (size_t)length, "}");
    bm_store_le64(bytes, (uint64_t)length);
    memcpy(bytes + at, header, (size_t)length);
    at += (uint64_t)length;
    for (uint64_t i = 0; i < f->num_scales; i++)
        bm_store_real(bytes + at, BM_DTYPE_F32, i, f->steps[i]);
    at += scale_bytes;
    if (f->input_scale) {
        bm_store_le32(bytes + at, f->input_scale);
        at += 4;
    }
    memcpy(bytes + at, f->codes, 8);
    memcpy(bytes + at + 8, f->zero_points, f->num_scales);
    at += has_zero_points ? 8 + f->num_scales : 8;
    char *folder = support_folder_create();
    bm_free(support_file_write(folder, "model.safetensors", bytes, at));
    return folder;
}

static void what_others_write_is_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(foreigners); i++) {
        const foreign *f = &foreigners[i];
        bm_error err = {0};
        bm_store_linear found;
        bm_checkpoint *checkpoint = NULL;
        bm_store_config config = {0};
        bm_json *root = NULL;
        bm_tensor tensor = {0};
        float values[8];
        char *folder = write_foreign(f);
        char *text = bm_format("{\"format\":\"int-quantized\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
                               "\"weights\":{%s},\"input_activations\":%s}}}",
                               f->weights, f->input);
        assert_ok(bm_json_parse(&root, text, strlen(text), "NAME", &err), &err);
        assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
        assert_ok(bm_store_open(&config, root, "NAME", &err), &err);
        assert_true(bm_store_match(&config, checkpoint, MODULE, 2, 4, &found));
        assert_ok(FORMAT.check(&found, &err), &err);
        bm_status status = FORMAT.check_values(checkpoint, &found, &err);
        if (status == BM_OK)
            status = bm_store_read_rows(&config, checkpoint, &found, device, 0, 2, &tensor, &err);
        if ((status == BM_OK) != (f->words == NULL) || (f->words && !strstr(err.message, f->words)))
            fail_msg("case %zu: %s, \"%s\"", i, bm_status_name(status), err.message);
        if (status == BM_OK) {
            assert_ok(bm_tensor_download(device, &tensor, values, &err), &err);
            assert_ok(bm_device_wait(device, &err), &err);
            for (uint32_t v = 0; v < 8; v++)
                if (values[v] != f->values[v])
                    fail_msg("case %zu: value %u is %g, expected %g", i, v, values[v], f->values[v]);
        }
        bm_tensor_destroy(&tensor);
        bm_store_close(&config);
        bm_checkpoint_close(&checkpoint);
        bm_json_destroy(&root);
        bm_free(text);
        support_folder_remove(&folder);
    }
}

// What a scheme says of inputs; the kind that it means, or the words of the refusal.
static const struct {
    const char *format, *weights, *input;
    bm_input_kind kind;
    const char *words;
} schemes[] = {
    {"int-quantized", "\"strategy\":\"channel\"", TOKEN, BM_INPUT_DYNAMIC, NULL},
    {"int-quantized", "\"strategy\":\"channel\"", TENSOR, BM_INPUT_STATIC, NULL},
    {"int-quantized", "\"strategy\":\"channel\"", "{}", BM_INPUT_STATIC, NULL}, // what all defaults mean
    {"int-quantized", "\"strategy\":\"channel\"", "null", BM_INPUT_FLOAT, NULL},
    {"int-quantized", "\"strategy\":\"channel\"",
     "{\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,\"group_size\":null,\"strategy\":\"token\",\"dynamic\":true,"
     "\"scale_dtype\":null,\"zp_dtype\":null,\"observer\":null}",
     BM_INPUT_DYNAMIC, NULL},
    {"pack-quantized", "\"strategy\":\"channel\"", TOKEN, 0, "in the format int-quantized alone"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"dynamic\":true}", 0,
     "NAME: quantization_config: input_activations of 8 bits, type int, symmetric, dynamic, strategy \"tensor\" are "
     "not"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"strategy\":\"token\"}", 0, "static, strategy \"token\" are not"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"symmetric\":false}", 0, "asymmetric"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"num_bits\":4}", 0, "of 4 bits"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"type\":\"float\"}", 0, "type float"},
    {"int-quantized", "\"strategy\":\"channel\"", "{\"dynamic\":\"local\"}", 0, "\"dynamic\": \"local\" is not built"},
    {"int-quantized", "\"strategy\":\"channel\"", "[]", 0, "\"input_activations\": found"},
    {"int-quantized", "\"strategy\":\"group\",\"group_size\":2,\"actorder\":\"group\"", TOKEN, 0,
     "actorder \"group\" is not built in the format int-quantized"},
    {"pack-quantized", "\"strategy\":\"tensor\"", "null", 0, "strategy \"tensor\" is not built; built: channel, group"},
    {"int-quantized", "\"strategy\":\"block\"", "null", 0, "built: channel, group, tensor"},
    {"int-quantized", "\"strategy\":\"channel\"", TOKEN ",\"output_activations\":{}", 0, "output activations are not"},
};

static void schemes_of_inputs_are_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(schemes); i++) {
        bm_error err = {0};
        bm_json *root = NULL;
        bm_compressed_tensors_config *config = NULL;
        char *text = bm_format("{\"format\":\"%s\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
                               "\"weights\":{%s},\"input_activations\":%s}}}",
                               schemes[i].format, schemes[i].weights, schemes[i].input);
        assert_ok(bm_json_parse(&root, text, strlen(text), "NAME", &err), &err);
        const bm_status status = bm_compressed_tensors_parse(&config, root, "NAME", &err);
        if ((status == BM_OK) != (schemes[i].words == NULL) ||
            (schemes[i].words && !strstr(err.message, schemes[i].words)))
            fail_msg("case %zu: %s, \"%s\"", i, bm_status_name(status), err.message);
        if (status == BM_OK)
            assert_int_equal(bm_compressed_tensors_match(config, MODULE)->input, schemes[i].kind);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

static void presets_are_read(void **state)
{
    static const struct {
        const char *groups;
        bm_input_kind input;
        bool is_unpacked;
    } cases[] = {{"\"config_groups\":{\"W8A8\":[\"Linear\"]}", BM_INPUT_DYNAMIC, true},
                 {"\"config_groups\":{\"INT8\":[\"Linear\"]}", BM_INPUT_DYNAMIC, true},
                 {"\"format\":\"int-quantized\",\"config_groups\":{\"W8A16\":[\"Linear\"]}", BM_INPUT_FLOAT, true},
                 {"\"config_groups\":{\"W8A16\":[\"Linear\"]}", BM_INPUT_FLOAT, false}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err;
        bm_json *root = NULL;
        bm_compressed_tensors_config *config = NULL;
        char *text = bm_format("{%s}", cases[i].groups);
        assert_ok(bm_json_parse(&root, text, strlen(text), "NAME", &err), &err);
        assert_ok(bm_compressed_tensors_parse(&config, root, "NAME", &err), &err);
        const bm_compressed_tensors_scheme *scheme = bm_compressed_tensors_match(config, MODULE);
        assert_int_equal(scheme->num_bits, 8);
        assert_true(scheme->symmetric && scheme->group_size == 0);
        assert_int_equal(scheme->input, cases[i].input);
        assert_int_equal(scheme->is_unpacked, cases[i].is_unpacked);
        bm_compressed_tensors_destroy(&config);
        bm_json_destroy(&root);
        bm_free(text);
    }
}

static void expect_not_held(const bm_store_format *format, const bm_store_linear *linear, const char *words)
{
    bm_error err = {0};
    assert_int_equal(format->check(linear, &err), BM_E_FORMAT);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" lacks \"%s\"", err.message, words);
}

static void formats_say_what_they_do_not_hold(void **state)
{
    bm_error err;
    (void)state;
    bm_store_linear linear = a_linear(BM_INPUT_STATIC);
    linear.in_features = 64;
    linear.grid.group_size = 64;
    assert_ok(FORMAT.check(&linear, &err), &err);
    expect_not_held(&bm_store_gptq, &linear,
                    "gptq: found quantized inputs of " MODULE ", expected float ones: it holds weights alone");
    linear.grid.symmetric = false;
    expect_not_held(&FORMAT, &linear, "int-quantized: found asymmetric weights of 8 bits beside quantized inputs of");
    linear.grid.symmetric = true;
    linear.grid.bits = 4;
    expect_not_held(&FORMAT, &linear, "found symmetric weights of 4 bits beside quantized inputs of " MODULE);
    linear.grid.bits = 8;
    linear.grid.group_size = 32;
    linear.per_channel = false;
    assert_ok(FORMAT.check(&linear, &err), &err); // of plans that need bitmill
    linear.input = BM_INPUT_FLOAT;
    assert_ok(FORMAT.check(&linear, &err), &err);
}

static void runtimes_are_those_that_were_tried(void **state)
{
    bm_string words = BM_STRING_INIT;
    bm_store_description description = {.grid = {.bits = 8, .symmetric = true}, .per_channel = true};
    (void)state;
    assert_string_equal(FORMAT.words(&description), "compressed-tensors (pack-quantized)");
    description.input = BM_INPUT_DYNAMIC;
    assert_string_equal(FORMAT.words(&description), "compressed-tensors (int-quantized)");
    FORMAT.loads_in(&description, true, &words);
    assert_string_equal(bm_string_text(&words), LOADS_IN_VLLM LOADS_IN_TRANSFORMERS);
    bm_string_clear(&words);
    FORMAT.loads_in(&description, false, &words);
    assert_string_equal(bm_string_text(&words), LOADS_IN_TRANSFORMERS);
    bm_string_clear(&words);
    description.needs_bitmill = true;
    assert_string_equal(FORMAT.words(&description), "compressed-tensors (int-quantized, bitmill only)");
    FORMAT.loads_in(&description, true, &words);
    assert_string_equal(bm_string_text(&words), "");
    description.input = BM_INPUT_FLOAT;
    assert_string_equal(FORMAT.words(&description), "compressed-tensors (pack-quantized, bitmill only)");
    bm_string_free(&words);
}

static char *config_of(bool needs_bitmill)
{
    const bm_store_description description = {.grid = {.bits = 8, .symmetric = true},
                                              .per_channel = true,
                                              .input = BM_INPUT_STATIC,
                                              .needs_bitmill = needs_bitmill};
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    FORMAT.config(&json, &description);
    bm_json_end_object(&json);
    char *copy = bm_string_copy(bm_string_text(&text));
    bm_string_free(&text);
    return copy;
}

// Other runtimes know no such method: all else in the object is the same, and read by the same row.
static void what_others_would_get_wrong_has_our_name(void **state)
{
    static const char theirs[] = "\"quant_method\": \"compressed-tensors\"", ours[] = "\"quant_method\": \"bitmill\"";
    char *config[2] = {config_of(false), config_of(true)};
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        bm_error err = {0};
        bm_json *root = NULL;
        bm_store_config opened;
        assert_ok(bm_json_parse(&root, config[i], strlen(config[i]), "NAME", &err), &err);
        assert_ok(bm_store_open(&opened, root, "NAME", &err), &err);
        assert_ptr_equal(opened.format, &FORMAT);
        assert_int_equal(opened.needs_bitmill, i);
        bm_store_close(&opened);
        bm_json_destroy(&root);
    }
    const char *at = strstr(config[0], theirs);
    assert_non_null(at);
    char *want = bm_format("%.*s%s%s", (int)(at - config[0]), config[0], ours, at + sizeof theirs - 1);
    assert_string_equal(want, config[1]);
    bm_free(want);
    bm_free(config[0]);
    bm_free(config[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_the_readers),
        cmocka_unit_test(what_is_put_is_got_back),
        cmocka_unit_test(what_others_write_is_read_or_refused),
        cmocka_unit_test(schemes_of_inputs_are_read_or_refused),
        cmocka_unit_test(presets_are_read),
        cmocka_unit_test(formats_say_what_they_do_not_hold),
        cmocka_unit_test(runtimes_are_those_that_were_tried),
        cmocka_unit_test(what_others_would_get_wrong_has_our_name),
    };
    return cmocka_run_group_tests_name("int-quantized", tests, open_host, close_host);
}
