// Whole quantization runs: what is written obeys the loaders' rules, decodes to what the method gave, evaluates as the
// same weights stored as floats, is the same bytes each time and on every device, and is whole or not there.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "formats/checkpoint_writer.h"
#include "ops/elementwise.h"
#include "quant/method.h"
#include "infer/evaluate.h"
#include "support/folders.h"
#include "support/loaders_rules.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Keys of a run, as --set takes them; the last is NULL.
typedef const char *const *key_list;

// Notes of a run, gathered from its log.
static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append_format(user, "%s\n", message);
}

typedef struct run {
    const char *model, *output, *device; // device NULL: spec
    const char *data;                    // for GPTQ; NULL: rounding
    int64_t bits;
    key_list keys;
    const bm_progress *progress;
    bm_string *log; // NULL: none
} run;

static bm_status quantize(const run *r, bm_error *err)
{
    const char *overrides[8];
    uint32_t count = 0;
    char device_key[64];
    bm_quantize_params params;
    bm_quantize_summary summary;
    bm_quantize_params_init(&params);
    snprintf(device_key, sizeof device_key, "device=%s", r->device ? r->device : spec);
    overrides[count++] = device_key;
    for (key_list key = r->keys; key && *key; key++)
        overrides[count++] = *key;
    const bm_log log = {.level = BM_LOG_INFO, .write = gather, .user = r->log};
    params.model = r->model;
    params.method = r->data ? "gptq" : "rtn";
    params.data = r->data;
    params.bits = r->bits;
    params.output = r->output;
    params.overrides = overrides;
    params.num_overrides = count;
    params.progress = r->progress;
    params.log = r->log ? &log : NULL;
    return bm_quantize_model(&params, &summary, err);
}

static char *made_model(const model_maker_params *params)
{
    bm_error err = {0};
    char *folder = support_folder_create();
    assert_ok(model_maker_write(params, folder, &err), &err);
    return folder;
}

static model_maker_params small_model(void)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.dtype = BM_DTYPE_BF16;
    return p;
}

static void assert_same_file(const char *a, const char *b, const char *name)
{
    uint64_t size_a, size_b;
    char *x = support_file_read(a, name, &size_a), *y = support_file_read(b, name, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(x, y, size_a);
    bm_free(x);
    bm_free(y);
}

static uint32_t count_violations(const char *folder, uint32_t num_layers, bm_string *words)
{
    bm_error err = {0};
    bm_json *root = NULL;
    char *path = bm_path_join(folder, "config.json");
    assert_ok(bm_json_read_file(&root, path, 1 << 24, &err), &err);
    const uint32_t count =
        bm_compressed_tensors_check_loaders(bm_json_find(root, "quantization_config"), num_layers, words);
    bm_json_destroy(&root);
    bm_free(path);
    return count;
}

static uint8_t *read_tensor(const bm_model *model, uint32_t block, bm_linear_id linear, const char *suffix,
                            const bm_tensor_info **info)
{
    bm_error err = {0};
    char name[BM_TENSOR_NAME_SIZE];
    *info = bm_checkpoint_find(model->checkpoint, bm_linear_tensor_name(model->family, block, linear, suffix, name));
    assert_non_null(*info);
    uint8_t *bytes = bm_alloc((*info)->size_bytes, 1);
    assert_ok(bm_checkpoint_read(model->checkpoint, *info, 0, bytes, (*info)->size_bytes, &err), &err);
    return bytes;
}

// A linear as its file says, decoded here: nothing of the program's own unpacking is used.
typedef struct decoded {
    uint32_t rows, cols, groups, bits;
    int32_t *codes;       // [rows, cols]
    float *steps;         // [rows, groups]
    int32_t *zero_points; // [rows, groups]
} decoded;

static int32_t field(uint32_t word, uint32_t number, uint32_t bits)
{
    return (int32_t)(word >> (number * bits) & ((1u << bits) - 1)) - (1 << (bits - 1));
}

// Of AWQ's tensors: [inputs, outputs / 8], outputs 0 2 4 6 1 3 5 7 of eight from the lowest bits up.
static decoded decode_awq(const bm_model *model, uint32_t block, bm_linear_id linear)
{
    static const uint32_t places[] = {0, 4, 1, 5, 2, 6, 3, 7};
    const bm_tensor_info *word_info, *scale_info, *zero_info;
    uint8_t *words = read_tensor(model, block, linear, ".qweight", &word_info);
    uint8_t *scales = read_tensor(model, block, linear, ".scales", &scale_info);
    uint8_t *zeros = read_tensor(model, block, linear, ".qzeros", &zero_info);
    decoded d = {.rows = (uint32_t)scale_info->shape[1],
                 .cols = (uint32_t)word_info->shape[0],
                 .groups = (uint32_t)scale_info->shape[0],
                 .bits = 4};
    assert_int_equal(word_info->shape[1], d.rows / 8);
    assert_int_equal(scale_info->dtype, BM_DTYPE_F16);
    d.codes = bm_alloc((uint64_t)d.rows * d.cols, sizeof *d.codes);
    d.steps = bm_alloc((uint64_t)d.rows * d.groups, sizeof *d.steps);
    d.zero_points = bm_alloc((uint64_t)d.rows * d.groups, sizeof *d.zero_points);
    for (uint64_t n = 0; n < d.rows; n++) {
        for (uint64_t k = 0; k < d.cols; k++)
            d.codes[n * d.cols + k] = field(bm_load_le32(words + 4 * ((k * d.rows + n) / 8)), places[n % 8], 4);
        for (uint64_t g = 0; g < d.groups; g++) {
            d.steps[n * d.groups + g] = bm_load_real(scales, BM_DTYPE_F16, g * d.rows + n);
            d.zero_points[n * d.groups + g] = field(bm_load_le32(zeros + 4 * ((g * d.rows + n) / 8)), places[n % 8], 4);
        }
    }
    bm_free(words);
    bm_free(scales);
    bm_free(zeros);
    return d;
}

static bool has_tensor(const bm_model *model, uint32_t block, bm_linear_id linear, const char *suffix)
{
    char name[BM_TENSOR_NAME_SIZE];
    return bm_checkpoint_find(model->checkpoint, bm_linear_tensor_name(model->family, block, linear, suffix, name)) !=
           NULL;
}

static decoded decode(const bm_model *model, uint32_t block, bm_linear_id linear, uint32_t bits, bool symmetric)
{
    if (has_tensor(model, block, linear, ".qweight"))
        return decode_awq(model, block, linear);
    const bm_tensor_info *packed_info, *scale_info, *shape_info, *zero_info;
    uint8_t *packed = read_tensor(model, block, linear, ".weight_packed", &packed_info);
    uint8_t *scale = read_tensor(model, block, linear, ".weight_scale", &scale_info);
    uint8_t *shape = read_tensor(model, block, linear, ".weight_shape", &shape_info);
    uint8_t *zero = symmetric ? NULL : read_tensor(model, block, linear, ".weight_zero_point", &zero_info);
    const uint32_t per_word = 32 / bits;
    decoded d = {.rows = (uint32_t)bm_load_le64(shape),
                 .cols = (uint32_t)bm_load_le64(shape + 8),
                 .groups = (uint32_t)scale_info->shape[1],
                 .bits = bits};
    const uint64_t words = packed_info->shape[1], steps = (uint64_t)d.rows * d.groups;
    assert_int_equal(words, (d.cols + per_word - 1) / per_word);
    assert_int_equal(scale_info->shape[0], d.rows);
    d.codes = bm_alloc((uint64_t)d.rows * d.cols, sizeof *d.codes);
    d.steps = bm_alloc(steps, sizeof *d.steps);
    d.zero_points = bm_alloc_zero(steps, sizeof *d.zero_points);
    for (uint64_t r = 0; r < d.rows; r++)
        for (uint32_t c = 0; c < d.cols; c++)
            d.codes[r * d.cols + c] = field(bm_load_le32(packed + 4 * (r * words + c / per_word)), c % per_word, bits);
    for (uint64_t i = 0; i < steps; i++) {
        d.steps[i] = bm_load_real(scale, scale_info->dtype, i);
        if (zero) // packed along the rows
            d.zero_points[i] = field(bm_load_le32(zero + 4 * (i / d.groups / per_word * d.groups + i % d.groups)),
                                     (uint32_t)(i / d.groups % per_word), bits);
    }
    bm_free(packed);
    bm_free(scale);
    bm_free(shape);
    bm_free(zero);
    return d;
}

static void free_decoded(decoded *d)
{
    bm_free(d->codes);
    bm_free(d->steps);
    bm_free(d->zero_points);
}

static float value_of(const decoded *d, uint64_t row, uint32_t col)
{
    const uint64_t group = row * d->groups + (uint64_t)col * d->groups / d->cols; // groups divides cols
    return (float)(d->codes[row * d->cols + col] - d->zero_points[group]) * d->steps[group];
}

// The file holds what the method gives for the whole matrix at once; codes inside the range are the nearest ones.
static void check_against_method(const bm_model *original, const decoded *d, uint32_t block, bm_linear_id linear,
                                 bool symmetric)
{
    bm_error err = {0};
    const bm_tensor_info *info;
    bm_tensor stored = {0}, rows = {0};
    bm_codes codes = {0};
    bm_multiplier multiplier;
    bm_row_errors *errors = bm_alloc_zero(d->rows, sizeof *errors);
    uint8_t *weights = read_tensor(original, block, linear, ".weight", &info);
    const uint64_t count = d->rows * d->cols, num_grids = d->rows * d->groups;
    int8_t *wanted = bm_alloc(count, 1);
    float *steps = bm_alloc(num_grids, sizeof *steps);
    int32_t *zero_points = bm_alloc(num_grids, sizeof *zero_points);
    const bm_method_params params = {.grid = {.bits = d->bits,
                                              .group_size = d->cols / d->groups,
                                              .symmetric = symmetric,
                                              .scale_dtype = info->dtype,
                                              .signed_scales = d->bits < 8 || d->groups > 1},
                                     .scale_search = BM_SEARCH_MSE};
    bm_multiplier_init(&multiplier, device);
    assert_ok(bm_model_read_rows(original, device, info, 0, d->rows, &stored, &err), &err);
    assert_ok(bm_tensor_create(device, BM_DTYPE_F32, d->rows, d->cols, "weights", &rows, &err), &err);
    assert_ok(bm_convert(device, &stored, &rows, NULL, &err), &err);
    assert_ok(bm_codes_create(device, d->rows, d->cols, &params.grid, &codes, &err), &err);
    const bm_method_rows all = {.weights = &rows, .codes = &codes, .errors = errors};
    assert_ok(bm_method_rtn.solve(&multiplier, NULL, &params, &all, &err), &err);
    assert_ok(bm_tensor_download(device, &codes.codes, wanted, &err), &err);
    assert_ok(bm_tensor_download(device, &codes.step, steps, &err), &err);
    assert_ok(bm_tensor_download(device, &codes.zero_point, zero_points, &err), &err);
    assert_ok(bm_device_wait(device, &err), &err);
    const int32_t largest = (1 << (d->bits - 1)) - 1;
    for (uint64_t r = 0; r < d->rows; r++)
        for (uint32_t c = 0; c < d->cols; c++) {
            const uint64_t i = r * d->cols + c, g = r * d->groups + c / params.grid.group_size;
            assert_int_equal(d->codes[i], wanted[i]);
            assert_int_equal(d->zero_points[g], zero_points[g]);
            assert_memory_equal(&d->steps[g], &steps[g], sizeof(float));
            if (abs(d->codes[i]) < largest)
                assert_true(fabsf(bm_load_real(weights, info->dtype, i) - value_of(d, r, c)) <=
                            fabsf(d->steps[g]) * 0.50001f);
        }
    bm_codes_destroy(&codes);
    bm_multiplier_free(&multiplier);
    bm_tensor_destroy(&stored);
    bm_tensor_destroy(&rows);
    bm_free(weights);
    bm_free(wanted);
    bm_free(steps);
    bm_free(zero_points);
    bm_free(errors);
}

static bool is_linear(const bm_model *model, const char *name, uint32_t *block, bm_linear_id *linear)
{
    char candidate[BM_TENSOR_NAME_SIZE];
    for (*block = 0; *block < model->config.num_hidden_layers; ++*block)
        for (*linear = 0; *linear < BM_NUM_LINEARS; ++*linear)
            if (bm_family_has_linear(model->family, *linear) &&
                strcmp(name, bm_linear_tensor_name(model->family, *block, *linear, ".weight", candidate)) == 0)
                return true;
    return false;
}

static bool is_quantized(const bm_model *model, uint32_t block, bm_linear_id linear)
{
    return has_tensor(model, block, linear, ".weight_packed") || has_tensor(model, block, linear, ".qweight");
}

// The float32 values of a tensor of the original, or of its quantized form decoded here.
static float *values_of(const bm_model *original, const bm_model *quantized, const bm_tensor_info *info, uint32_t bits,
                        bool symmetric, bool is_rounded)
{
    bm_error err = {0};
    uint32_t block;
    bm_linear_id linear;
    const uint64_t size = bm_dtype_size(info->dtype), count = info->size_bytes / size;
    float *values = bm_alloc(count, sizeof *values);
    if (is_linear(original, info->name, &block, &linear) && is_quantized(quantized, block, linear)) {
        decoded d = decode(quantized, block, linear, bits, symmetric);
        if (is_rounded)
            check_against_method(original, &d, block, linear, symmetric);
        for (uint64_t i = 0; i < count; i++)
            values[i] = value_of(&d, i / d.cols, (uint32_t)(i % d.cols));
        free_decoded(&d);
        return values;
    }
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    assert_ok(bm_checkpoint_read(original->checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return values;
}

// A float32 model whose linears hold the quantized values.
static char *write_fake_quantized(const bm_model *original, const bm_model *quantized, uint32_t bits, bool symmetric,
                                  bool is_rounded)
{
    static const char *const companions[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    bm_error err = {0};
    char *folder = support_folder_create();
    bm_checkpoint_writer *writer = NULL;
    const bm_checkpoint *c = original->checkpoint;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(c); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(c, i);
        assert_ok(bm_checkpoint_writer_declare(writer, info->name, BM_DTYPE_F32, info->shape, info->num_dims, &err),
                  &err);
    }
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(c); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(c, i);
        const uint64_t count = info->size_bytes / bm_dtype_size(info->dtype);
        float *values = values_of(original, quantized, info, bits, symmetric, is_rounded);
        for (uint64_t e = 0; e < count; e++) {
            uint32_t word;
            memcpy(&word, &values[e], sizeof word);
            bm_store_le32(&values[e], word);
        }
        assert_ok(bm_checkpoint_writer_put(writer, info->name, 0, values, count * 4, &err), &err);
        bm_free(values);
    }
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    for (size_t i = 0; i < BM_COUNT(companions); i++) {
        char *from = bm_path_join(original->folder, companions[i]), *to = bm_path_join(folder, companions[i]);
        assert_ok(bm_file_copy(from, to, &err), &err);
        bm_free(from);
        bm_free(to);
    }
    return folder;
}

static double loss_of(const char *model)
{
    static const char text[] =
        "Once upon a time there was a small model. It read a short text, and each of its words was scored.";
    bm_error err = {0};
    bm_evaluation result;
    bm_evaluate_model_params params;
    char *folder = support_folder_create(), *path = support_file_write(folder, "text.txt", text, sizeof text - 1);
    bm_evaluate_model_params_init(&params);
    params.model = model;
    params.data = path;
    params.context = 64;
    params.dtype = BM_DTYPE_F32;
    assert_ok(bm_evaluate_model(&params, device, &result, &err), &err);
    bm_free(path);
    support_folder_remove(&folder);
    return result.loss;
}

typedef struct variant {
    const char *words;
    int64_t bits;
    bool symmetric;
    uint32_t violations;
    const char *keys[5];
} variant;

static void check_variant(const char *model_folder, const variant *v)
{
    bm_error err = {0};
    bm_string words = BM_STRING_INIT, log = BM_STRING_INIT;
    bm_model *original = NULL, *quantized = NULL;
    char *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    const run r = {.model = model_folder, .output = output, .bits = v->bits, .keys = v->keys, .log = &log};
    if (quantize(&r, &err) != BM_OK)
        fail_msg("%s: %s", v->words, err.message);
    assert_int_equal(support_folder_count(parent), 1);
    assert_ok(bm_model_open(&original, model_folder, &err), &err);
    assert_ok(bm_model_open(&quantized, output, &err), &err);
    if (count_violations(output, original->config.num_hidden_layers, &words) != v->violations)
        fail_msg("%s: %s", v->words, bm_string_text(&words));
    const bool noted = strstr(bm_string_text(&log), "refuses such a checkpoint") != NULL;
    // vLLM's loader does not take a quantized query_key_value.
    const bool has_fusion = bm_checkpoint_find(quantized->checkpoint,
                                               "transformer.h.0.self_attention.query_key_value.weight_packed") != NULL;
    const bool promised = strstr(bm_string_text(&log), "loads in: vLLM") != NULL;
    assert_int_equal(noted, v->violations > 0);
    assert_int_equal(promised,
                     v->violations == 0 && !has_fusion &&
                         (v->bits == 4 || v->symmetric)); // 8 bits with zero points: untried
    char *fake = write_fake_quantized(original, quantized, (uint32_t)v->bits, v->symmetric, true);
    const double want = loss_of(fake), got = loss_of(output);
    if (!(want == got))
        fail_msg("%s: loss %.17g, the same weights as floats have %.17g", v->words, got, want);
    support_folder_remove(&fake);
    bm_model_close(&original);
    bm_model_close(&quantized);
    bm_string_free(&words);
    bm_string_free(&log);
    bm_free(output);
    support_folder_remove(&parent);
}

#define CHANNEL "weight_quant_method=abs_max_channel_wise"
#define GROUP "weight_quant_method=groupwise"

// GPU-assisted validation searches its list of buffers in a loop at every access, and lavapipe ends all loops of a
// work-item after 65535 rounds: whole models compute nonsense then. They run under the other kinds of validation.
static void skip_if_instrumented(void)
{
    if (support_is_instrumented()) {
        printf("  left out under GPU-assisted validation\n");
        skip();
    }
}

// q, k and v are one linear of the file.
static void blooms_with_and_without_prefix(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const variant variants[] = {
        {"bloom, 4 bits, groups", 4, true, 0, {GROUP, "group_size=32"}},
        {"bloom, 8 bits, channel", 8, true, 0, {CHANNEL}},
        {"bloom, 4 bits, groups, asymmetric", 4, false, 0, {GROUP, "group_size=32", "symmetric=false"}},
        {"bloom, dense left out", 4, true, 0, {CHANNEL, "skip_list_names=[\"self_attention.dense\"]"}},
        {"bloom, query_key_value left out", 4, true, 0, {CHANNEL, "skip_list_names=[\"query_key_value\"]"}},
    };
    model_maker_params p = small_model();
    p.family = "bloom";
    p.tie_embeddings = true;
    for (size_t i = 0; i < BM_COUNT(variants); i++) {
        p.without_prefix = i % 2 == 0;
        p.hidden_size = i < 2 ? 96 : 64;
        p.num_heads = i < 2 ? 6 : 4; // of 16: rows of q, k and v alternate
        char *model = made_model(&p);
        check_variant(model, &variants[i]);
        support_folder_remove(&model);
    }
}

// AWQ's words of a float16 model, decoded here, are what the method gives, and evaluate as the floats that they stand for.
static void models_in_awq(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const struct {
        const char *family;
        bool symmetric;
        const char *keys[5];
    } cases[] = {
        {"qwen2", false, {"format=awq", "group_size=32"}}, // with biases
        {"llama", true, {"format=awq", "group_size=32", "symmetric=true"}},
        {"llama", false, {"format=awq", "group_size=32", "skip_list_names=[\"layers.1.mlp.down_proj\"]"}},
        {"bloom", true, {"format=awq", "group_size=32", "symmetric=true"}},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        bm_model *original = NULL, *quantized = NULL;
        model_maker_params p = small_model();
        p.family = cases[i].family;
        p.dtype = BM_DTYPE_F16;
        char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
        const run r = {.model = model, .output = output, .bits = 4, .keys = cases[i].keys};
        assert_ok(quantize(&r, &err), &err);
        assert_ok(bm_model_open(&original, model, &err), &err);
        assert_ok(bm_model_open(&quantized, output, &err), &err);
        char *fake = write_fake_quantized(original, quantized, 4, cases[i].symmetric, true);
        const double want = loss_of(fake), got = loss_of(output);
        if (!(want == got))
            fail_msg("%s: loss %.17g, the same weights as floats have %.17g", cases[i].family, got, want);
        bm_model_close(&original);
        bm_model_close(&quantized);
        support_folder_remove(&fake);
        support_folder_remove(&model);
        support_folder_remove(&parent);
        bm_free(output);
    }
}

// What GPTQ makes of q, k and v in one linear is read back as the codes of its rows say, in every format.
static void blooms_by_gptq(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const char data[] = BM_SOURCE_DIR "/examples/data/evaluation.txt";
    static const char *const grids[] = {"group_size=32", "gptq_step=1", "calibration_tokens=512", NULL},
                             *const gptq[] = {"group_size=32", "gptq_step=1",         "calibration_tokens=512",
                                              "format=gptq",   "scale_dtype=float16", NULL},
                             *const awq[] = {"group_size=32", "gptq_step=1",    "calibration_tokens=512",
                                             "format=awq",    "symmetric=true", NULL},
                             *const float16[] = {"group_size=32", "gptq_step=1", "calibration_tokens=512",
                                                 "scale_dtype=float16", NULL};
    bm_error err = {0};
    bm_model *original = NULL, *quantized = NULL;
    model_maker_params p = small_model();
    p.family = "bloom";
    p.hidden_size = 96;
    p.num_heads = 6;
    char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    char *as_gptq = bm_path_join(parent, "gptq"), *as_float16 = bm_path_join(parent, "float16");
    char *as_awq = bm_path_join(parent, "awq");
    const run runs[] = {{.model = model, .output = output, .bits = 4, .keys = grids, .data = data},
                        {.model = model, .output = as_gptq, .bits = 4, .keys = gptq, .data = data},
                        {.model = model, .output = as_awq, .bits = 4, .keys = awq, .data = data},
                        {.model = model, .output = as_float16, .bits = 4, .keys = float16, .data = data}};
    for (size_t i = 0; i < BM_COUNT(runs); i++)
        assert_ok(quantize(&runs[i], &err), &err);
    assert_ok(bm_model_open(&original, model, &err), &err);
    assert_ok(bm_model_open(&quantized, output, &err), &err);
    char *fake = write_fake_quantized(original, quantized, 4, true, false);
    assert_true(loss_of(fake) == loss_of(output));
    assert_true(loss_of(as_gptq) == loss_of(as_float16));
    assert_true(loss_of(as_awq) == loss_of(as_float16));
    bm_model_close(&original);
    bm_model_close(&quantized);
    support_folder_remove(&fake);
    support_folder_remove(&model);
    support_folder_remove(&parent);
    bm_free(output);
    bm_free(as_gptq);
    bm_free(as_awq);
    bm_free(as_float16);
}

static void made_models_in_every_variant(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const variant variants[] = {
        {"4 bits, channel", 4, true, 0, {CHANNEL}},
        {"8 bits, channel", 8, true, 0, {CHANNEL}},
        {"4 bits, groups", 4, true, 0, {GROUP, "group_size=32"}},
        {"8 bits, groups", 8, true, 0, {GROUP, "group_size=32"}},
        {"4 bits, channel, asymmetric", 4, false, 0, {CHANNEL, "symmetric=false"}},
        {"8 bits, channel, asymmetric", 8, false, 0, {CHANNEL, "symmetric=false"}},
        {"4 bits, groups, asymmetric", 4, false, 0, {GROUP, "group_size=32", "symmetric=false"}},
        {"8 bits, groups, asymmetric", 8, false, 0, {GROUP, "group_size=32", "symmetric=false"}},
        {"down_proj left out", 4, true, 0, {GROUP, "group_size=32", "skip_list_names=[\"down_proj\"]"}},
        {"block 0 left out", 4, true, 0, {CHANNEL, "skip_list_names=[\"layers.0.\"]"}},
        {"q_proj left out", 4, true, 2, {CHANNEL, "skip_list_names=[\"q_proj\"]"}},
        {"up_proj of block 1 left out", 8, true, 1, {CHANNEL, "skip_list_names=[\"layers.1.mlp.up_proj\"]"}},
    };
    const model_maker_params p = small_model();
    char *model = made_model(&p);
    for (size_t i = 0; i < BM_COUNT(variants); i++)
        check_variant(model, &variants[i]);
    support_folder_remove(&model);
}

// Rows and columns that fill no whole words.
static void odd_sizes(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const variant variants[] = {
        {"odd, 4 bits", 4, true, 0, {CHANNEL}},
        {"odd, 4 bits, asymmetric", 4, false, 0, {CHANNEL, "symmetric=false"}},
        {"odd, 8 bits, asymmetric", 8, false, 0, {CHANNEL, "symmetric=false"}},
    };
    model_maker_params p = small_model();
    p.dtype = BM_DTYPE_F32;
    p.hidden_size = 72;
    p.num_heads = 3;
    p.num_kv_heads = 1;
    p.head_dim = 24;
    p.intermediate_size = 131;
    p.vocab_size = 307;
    char *model = made_model(&p);
    for (size_t i = 0; i < BM_COUNT(variants); i++)
        check_variant(model, &variants[i]);
    support_folder_remove(&model);
}

static void the_example_model(void **state)
{
    (void)state;
    skip_if_instrumented();
    static const variant variants[] = {
        {"example, groups of 128", 4, true, 0, {GROUP, "group_size=128"}},
        {"example, 8 bits", 8, true, 0, {CHANNEL}},
        {"example, groups of 64, asymmetric", 4, false, 0, {GROUP, "group_size=64", "symmetric=false"}},
        {"example, down_proj left out", 4, true, 0, {GROUP, "group_size=128", "skip_list_names=[\"down_proj\"]"}},
        {"example, q_proj left out", 4, true, 3, {GROUP, "group_size=128", "skip_list_names=[\"q_proj\"]"}},
    };
    const size_t count = strncmp(spec, "opencl", 6) == 0 ? BM_COUNT(variants) : 1; // the others are slow
    for (size_t i = 0; i < count; i++)
        check_variant(BM_SOURCE_DIR "/examples/model", &variants[i]);
}

// Steps are stored in the model's type: in float32 a difference of the last bit shows.
static void check_same_bytes(bm_dtype dtype)
{
    static const char *const keys[] = {GROUP, "group_size=32", "symmetric=false", NULL};
    static const char *const devices[] = {NULL, NULL, "host"};
    static const char *const names[] = {"a", "b", "c"};
    bm_error err = {0};
    model_maker_params p = small_model();
    p.dtype = dtype;
    char *model = made_model(&p), *parent = support_folder_create(), *outputs[BM_COUNT(devices)];
    for (size_t i = 0; i < BM_COUNT(devices); i++) {
        outputs[i] = bm_path_join(parent, names[i]);
        const run r = {.model = model, .output = outputs[i], .device = devices[i], .bits = 4, .keys = keys};
        assert_ok(quantize(&r, &err), &err);
    }
    for (size_t i = 1; i < BM_COUNT(devices); i++) {
        assert_same_file(outputs[0], outputs[i], "model.safetensors");
        assert_same_file(outputs[0], outputs[i], "config.json");
        bm_free(outputs[i]);
    }
    bm_free(outputs[0]);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

static void the_same_bytes_again_and_on_the_host(void **state)
{
    (void)state;
    check_same_bytes(BM_DTYPE_BF16);
    check_same_bytes(BM_DTYPE_F32);
}

static void existing_outputs_stay_unless_asked(void **state)
{
    (void)state;
    static const char *const keep[] = {CHANNEL, NULL}, *const replace[] = {CHANNEL, "overwrite_output_dir=true", NULL};
    bm_error err = {0};
    const model_maker_params p = small_model();
    char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    char *fresh = bm_path_join(parent, "fresh");
    run r = {.model = model, .output = output, .bits = 4, .keys = keep};
    assert_ok(quantize(&r, &err), &err);
    assert_int_equal(quantize(&r, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "exists"));
    r.keys = replace;
    r.bits = 8;
    assert_ok(quantize(&r, &err), &err);
    r.output = fresh;
    assert_ok(quantize(&r, &err), &err);
    assert_same_file(output, fresh, "model.safetensors");
    assert_int_equal(support_folder_count(output), support_folder_count(fresh));
    assert_int_equal(support_folder_count(parent), 2);
    // A stranger's folder is never replaced.
    char *strange = support_folder_create(), *file = support_file_write(strange, "letter.txt", "dear", 4);
    r.output = strange;
    assert_int_equal(quantize(&r, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_path_kind_of(file), BM_PATH_FILE);
    bm_free(file);
    support_folder_remove(&strange);
    bm_free(output);
    bm_free(fresh);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

static int stop_later(void *user, const bm_progress_report *report)
{
    uint32_t *left = user;
    if (strcmp(report->phase, "quantize") != 0)
        return 1;
    return *left > 0 ? (int)(*left)-- : 0;
}

static void an_interrupted_run_leaves_nothing(void **state)
{
    (void)state;
    static const char *const keys[] = {CHANNEL, NULL};
    bm_error err = {0};
    const model_maker_params p = small_model();
    char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    for (uint32_t after = 0; after < 12; after += 5) {
        uint32_t left = after;
        const bm_progress progress = {stop_later, &left};
        const run r = {.model = model, .output = output, .bits = 4, .keys = keys, .progress = &progress};
        assert_int_equal(quantize(&r, &err), BM_E_CANCELLED);
        assert_int_equal(support_folder_count(parent), 0);
    }
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

// What the phases said of themselves.
typedef struct told {
    uint64_t done, total; // the last report of "quantize"
    uint64_t bytes;       // done at the end of "copy floats"
    uint32_t last_block;
    bool falls; // a count or a block went down
} told;

static int listen(void *user, const bm_progress_report *report)
{
    told *t = user;
    if (strcmp(report->phase, "copy floats") == 0)
        t->bytes = report->done == report->total ? report->done : 0;
    if (strcmp(report->phase, "quantize") != 0)
        return 1;
    t->falls = t->falls || report->done < t->done || report->block < t->last_block;
    t->done = report->done;
    t->total = report->total;
    t->last_block = report->block;
    return 1;
}

static void progress_rises_to_the_end(void **state)
{
    (void)state;
    static const char *const keys[] = {CHANNEL, "skip_list_names=[\"layers.1.mlp\"]", NULL};
    bm_error err = {0};
    told t = {0};
    const bm_progress progress = {listen, &t};
    const model_maker_params p = small_model();
    char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    const run r = {.model = model, .output = output, .bits = 4, .keys = keys, .progress = &progress};
    assert_ok(quantize(&r, &err), &err);
    assert_true(t.done == 14 && t.total == 14); // two blocks; skipped linears count
    assert_int_equal(t.last_block, 1);
    assert_false(t.falls);
    assert_true(t.bytes > 0);
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

static void an_output_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    static const char *const keys[] = {CHANNEL, NULL};
    bm_error err = {0};
    const model_maker_params p = small_model();
    char *model = made_model(&p), *parent = support_folder_create();
    char *file = support_file_write(parent, "file", "x", 1), *output = bm_path_join(file, "out");
    const run r = {.model = model, .output = output, .bits = 4, .keys = keys};
    const bm_status status = quantize(&r, &err);
    assert_true(status == BM_E_IO || status == BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, file));
    assert_int_equal(support_folder_count(parent), 1);
    bm_free(output);
    bm_free(file);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

static void weights_that_are_not_numbers_are_named(void **state)
{
    (void)state;
    static const char *const keys[] = {CHANNEL, NULL}, name[] = "model.layers.1.mlp.up_proj.weight";
    static const uint8_t not_a_number[2] = {0xc0, 0x7f};
    bm_error err = {0};
    bm_model *opened = NULL;
    const model_maker_params p = small_model();
    char *model = made_model(&p), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    char *path = bm_path_join(model, "model.safetensors");
    assert_ok(bm_model_open(&opened, model, &err), &err);
    const uint64_t offset = bm_checkpoint_find(opened->checkpoint, name)->offset;
    bm_model_close(&opened);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset + 2 * 77, SEEK_SET), 0);
    assert_int_equal(fwrite(not_a_number, 1, 2, file), 2);
    fclose(file);
    const run r = {.model = model, .output = output, .bits = 4, .keys = keys};
    assert_int_equal(quantize(&r, &err), BM_E_FORMAT); // a bad file
    assert_non_null(strstr(err.message, name));
    assert_int_equal(support_folder_count(parent), 0);
    bm_free(path);
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_models_in_every_variant),
        cmocka_unit_test(blooms_with_and_without_prefix),
        cmocka_unit_test(models_in_awq),
        cmocka_unit_test(blooms_by_gptq),
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(the_example_model),
        cmocka_unit_test(the_same_bytes_again_and_on_the_host),
        cmocka_unit_test(existing_outputs_stay_unless_asked),
        cmocka_unit_test(an_interrupted_run_leaves_nothing),
        cmocka_unit_test(progress_rises_to_the_end),
        cmocka_unit_test(an_output_that_cannot_be_written_is_named),
        cmocka_unit_test(weights_that_are_not_numbers_are_named),
    };
    return run_on_device(argc, argv, "quantize_run", SHORT_LOOPS, tests, BM_COUNT(tests));
}
