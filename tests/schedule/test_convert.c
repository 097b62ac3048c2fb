// Conversions: every format to every other and back, to the same bytes; what a format does not hold is refused with those that
// do; and verification, which finds what was changed behind the writer's back.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "schedule/convert_run.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/int8_maker.h"
#include "support/model_maker.h"
#include <bitmill/quantize.h>

#include <stdio.h>
#include <string.h>

#define Q_PROJ "model.layers.0.self_attn.q_proj"

static char *parent;
static bm_device *device;

static int set_up(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "host";
    parent = support_folder_create();
    return bm_device_open(&device, &params, &err) != BM_OK;
}

static int tear_down(void **state)
{
    (void)state;
    bm_device_close(&device);
    support_folder_remove(&parent);
    return 0;
}

static char *path_of(const char *name)
{
    return bm_path_join(parent, name);
}

static void make_float(const char *name, bm_dtype dtype)
{
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    p.dtype = dtype;
    p.num_layers = 1;
    char *folder = path_of(name);
    assert_ok(model_maker_write(&p, folder, &err), &err);
    bm_free(folder);
}

static bm_status quantize(const char *model, const char *out, int64_t bits, const char *keys[4],
                          const bm_progress *progress, bm_error *err)
{
    bm_quantize_params params;
    bm_quantize_summary summary;
    char *from = path_of(model), *to = path_of(out);
    bm_quantize_params_init(&params);
    params.model = from;
    params.output = to;
    params.method = "rtn";
    params.bits = bits;
    params.device = "host";
    params.progress = progress;
    params.overrides = keys;
    while (params.num_overrides < 4 && keys[params.num_overrides])
        params.num_overrides++;
    const bm_status status = bm_quantize_model(&params, &summary, err);
    bm_free(from);
    bm_free(to);
    return status;
}

static bm_status convert_with(const char *model, const char *form, const char *out, const bm_progress *progress,
                              bool skips_verification, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *opened = NULL;
    bm_quantize_result result = {0};
    char *from = path_of(model), *to = path_of(out);
    BM_TRY(bm_model_open(&opened, from, err));
    const bm_convert_params params = {.model = opened,
                                      .form = form,
                                      .output = to,
                                      .device = device,
                                      .progress = progress,
                                      .skips_verification = skips_verification};
    status = bm_convert_run(&params, &result, err);
    assert_true(status != BM_OK || result.num_linears == 7);
done:
    bm_quantize_result_free(&result);
    bm_model_close(&opened);
    bm_free(from);
    bm_free(to);
    return status;
}

static bm_status convert(const char *model, const char *form, const char *out, bm_error *err)
{
    return convert_with(model, form, out, NULL, false, err);
}

static void remove_result(const char *name)
{
    bm_error err = {0};
    char *path = path_of(name);
    assert_ok(bm_folder_remove(path, &err), &err);
    bm_free(path);
}

static bool is_same(const char *a, const char *b, const char *file)
{
    uint64_t size_a, size_b;
    char *folder_a = path_of(a), *folder_b = path_of(b);
    char *x = support_file_read(folder_a, file, &size_a), *y = support_file_read(folder_b, file, &size_b);
    const bool same = size_a == size_b && memcmp(x, y, size_a) == 0;
    bm_free(folder_a);
    bm_free(folder_b);
    bm_free(x);
    bm_free(y);
    return same;
}

static void assert_same(const char *a, const char *b)
{
    assert_true(is_same(a, b, "model.safetensors"));
    assert_true(is_same(a, b, "config.json"));
}

// From one form to another and back.
static void assert_round_trip(const char *model, const char *form, const char *through)
{
    bm_error err = {0};
    assert_ok(convert(model, through, "there", &err), &err);
    assert_ok(convert("there", form, "back", &err), &err);
    assert_same(model, "back");
    remove_result("there");
    remove_result("back");
}

static const char *const forms[] = {"compressed-tensors", "int-quantized", "gptq", "gptq_v2", "awq"};

// A result of quantize in the first count of the forms; and what each of them becomes in each other, which is the same bytes.
static void assert_all_pairs(int64_t bits, bool symmetric, size_t count, bool by_the_first)
{
    bm_error err = {0};
    const char *keys[4] = {"scale_search=abs_max", "group_size=32", "weight_quant_method=groupwise",
                           symmetric ? "symmetric=true" : "symmetric=false"};
    assert_ok(quantize("float", forms[0], bits, keys, NULL, &err), &err);
    for (size_t a = 1; a < count; a++)
        assert_ok(convert(forms[0], forms[a], forms[a], &err), &err);
    for (size_t a = 1; a < count; a++)
        for (size_t b = 0; b < (by_the_first ? 1 : count); b++) {
            if (a == b)
                continue;
            assert_ok(convert(forms[a], forms[b], "there", &err), &err);
            assert_same(forms[b], "there");
            remove_result("there");
        }
    for (size_t a = 0; a < count; a++)
        remove_result(forms[a]);
}

static void all_pairs(void **state)
{
    (void)state;
    make_float("float", BM_DTYPE_F16);
    assert_all_pairs(4, false, 5, false);
    assert_all_pairs(4, true, 5, true);
    assert_all_pairs(8, true, 4, true);
    assert_all_pairs(3, false, 4, true);
    remove_result("float");
}

static void one_scale_an_output(void **state)
{
    (void)state;
    bm_error err = {0};
    const char *keys[4] = {"scale_search=abs_max", "weight_quant_method=abs_max_channel_wise"};
    make_float("float", BM_DTYPE_F16);
    assert_ok(quantize("float", "q", 8, keys, NULL, &err), &err);
    assert_round_trip("q", "compressed-tensors", "gptq");
    assert_round_trip("q", "compressed-tensors", "int-quantized");
    assert_int_equal(convert("q", "awq", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message,
                           "cannot be converted to awq: awq: found one scale an output, expected groups; "
                           "formats that hold it: compressed-tensors, pack-quantized, int-quantized, gptq, "
                           "gptq_v2"));
    remove_result("float");
    remove_result("q");
}

// Columns name their groups: kept where the format has a place for it.
static void columns_that_name_their_groups(void **state)
{
    (void)state;
    bm_error err = {0};
    uint32_t index[64];
    const char *keys[4] = {"scale_search=abs_max", "group_size=32", "weight_quant_method=groupwise", "format=gptq"};
    make_float("float", BM_DTYPE_F16);
    assert_ok(quantize("float", "q", 4, keys, NULL, &err), &err);
    for (uint32_t c = 0; c < 64; c++)
        bm_store_le32(&index[c], c % 2);
    char *folder = path_of("q");
    support_tensor_write(folder, Q_PROJ ".g_idx", index, sizeof index);
    support_text_replace(folder, "config.json", "\"desc_act\": false", "\"desc_act\": true");
    assert_round_trip("q", "gptq", "compressed-tensors");
    assert_round_trip("q", "gptq", "gptq_v2");
    assert_int_equal(convert("q", "awq", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "columns of " Q_PROJ " that name their groups"));
    assert_int_equal(convert("q", "int-quantized", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "formats that hold it: compressed-tensors, pack-quantized, gptq, gptq_v2"));
    bm_free(folder);
    remove_result("float");
    remove_result("q");
}

static void quantized_inputs(void **state)
{
    (void)state;
    static const float steps[] = {0.0625f, 0.125f, 0.25f, 0.5f};
    bm_error err = {0};
    make_float("float", BM_DTYPE_F32);
    char *from = path_of("float"), *to = path_of("q"), *back = path_of("back");
    assert_ok(int8_maker_write(from, to, steps, 4, NULL, &err), &err);
    assert_ok(convert("q", "compressed-tensors", "back", &err), &err);
    assert_true(is_same("q", "back", "model.safetensors"));
    assert_true(support_folder_has(back, "act_scales.json") && support_folder_has(back, "weight_scales.json"));
    assert_int_equal(convert("q", "gptq", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "; formats that hold it: compressed-tensors, int-quantized"));
    bm_free(from);
    bm_free(to);
    bm_free(back);
    remove_result("float");
    remove_result("q");
    remove_result("back");
}

// bfloat16 has small numbers that float16 has not.
static void scales_that_a_type_does_not_hold(void **state)
{
    (void)state;
    bm_error err = {0};
    uint16_t tiny;
    const char *keys[4] = {"scale_search=abs_max", "group_size=32", "weight_quant_method=groupwise"};
    make_float("float", BM_DTYPE_BF16);
    assert_ok(quantize("float", "q", 4, keys, NULL, &err), &err);
    assert_round_trip("q", "compressed-tensors", "int-quantized");
    assert_ok(convert("q", "gptq", "there", &err), &err); // these it has
    remove_result("there");
    char *folder = path_of("q");
    bm_store_le16(&tiny, 0x3081);
    support_tensor_write(folder, Q_PROJ ".weight_scale", &tiny, sizeof tiny);
    assert_int_equal(convert("q", "gptq", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "of " Q_PROJ ", which F16, the type of its scales, does not hold; formats that "
                                        "hold it: compressed-tensors, pack-quantized, int-quantized"));
    bm_free(folder);
    remove_result("float");
    remove_result("q");
}

// Without a word in config.json, as AutoGPTQ and AutoAWQ left it long ago.
static void config_files_of_older_writers(void **state)
{
    (void)state;
    static const char awq[] = "{\"zero_point\": true, \"q_group_size\": 32, \"w_bit\": 4, \"version\": \"GEMM\"}";
    bm_error err = {0};
    const char *keys[4] = {"scale_search=abs_max", "group_size=32", "weight_quant_method=groupwise", "format=gptq"};
    make_float("float", BM_DTYPE_F16);
    assert_ok(quantize("float", "q", 4, keys, NULL, &err), &err);
    assert_ok(convert("q", "compressed-tensors", "ct", &err), &err);
    assert_ok(convert("q", "awq", "awq", &err), &err);
    char *gptq_folder = path_of("q"), *awq_folder = path_of("awq");
    support_text_replace(gptq_folder, "config.json", "\"quantization_config\"", "\"another\"");
    support_text_replace(gptq_folder, "quantize_config.json", "\"quant_method\": \"gptq\",", "");
    support_text_replace(awq_folder, "config.json", "\"quantization_config\"", "\"another\"");
    assert_true(convert("awq", "compressed-tensors", "no", &err) != BM_OK); // no such file
    bm_free(support_file_write(awq_folder, "quant_config.json", awq, strlen(awq)));
    for (int i = 0; i < 2; i++) {
        assert_ok(convert(i ? "q" : "awq", "compressed-tensors", "there", &err), &err);
        assert_true(is_same("ct", "there", "model.safetensors"));
        remove_result("there");
    }
    bm_free(support_file_write(awq_folder, "quant_config.json", "[]", 2));
    assert_int_equal(convert("awq", "compressed-tensors", "no", &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "quant_config.json: is no JSON object"));
    bm_free(gptq_folder);
    bm_free(awq_folder);
    remove_result("float");
    remove_result("q");
    remove_result("ct");
    remove_result("awq");
}

static void nothing_to_convert(void **state)
{
    (void)state;
    bm_error err = {0};
    make_float("float", BM_DTYPE_F16);
    assert_int_equal(convert("float", "gptq", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "is not quantized"));
    assert_int_equal(convert("float", "paper", "no", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"paper\", expected one of compressed-tensors, pack-quantized, int-quantized, "
                                        "gptq, gptq_v2, awq, gguf"));
    assert_int_equal(convert("float", "gptq", "float", &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "exists"));
    remove_result("float");
}

// What somebody else does to the files when they are about to be read back.
typedef struct mischief {
    const char *folder; // unfinished
    const char *tensor;
    uint8_t bytes[2];
    bool is_done;
} mischief;

static int spoil(void *user, const bm_progress_report *report)
{
    mischief *m = user;
    if (!m->is_done && strcmp(report->phase, "verify") == 0) {
        support_tensor_write(m->folder, m->tensor, m->bytes, sizeof m->bytes);
        m->is_done = true;
    }
    return 1;
}

static void assert_nothing_is_kept(const char *name)
{
    bm_string partial = BM_STRING_INIT;
    (void)bm_string_append_format(&partial, "%s.partial", name);
    assert_false(support_folder_has(parent, name) || support_folder_has(parent, bm_string_text(&partial)));
    bm_string_free(&partial);
}

static void verification_finds_what_differs(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        uint8_t bytes[2];
        const char *words;
    } cases[] = {
        {Q_PROJ ".qweight", {0x12, 0x34}, "linear \"" Q_PROJ "\": codes of rows 0 to 63 differ"},
        {Q_PROJ ".scales", {0x34, 0x12}, "linear \"" Q_PROJ "\": scales of rows 0 to 63 differ"},
        {Q_PROJ ".scales", {0x00, 0x7c}, "tensor \"" Q_PROJ ".scales\""}, // infinite
        {Q_PROJ ".g_idx", {0x01, 0x00}, Q_PROJ ".g_idx"},
        {"model.norm.weight", {0x12, 0x34}, "tensor \"model.norm.weight\": bytes 0 to 127 differ"},
        {"model.embed_tokens.weight", {0x12, 0x34}, "tensor \"model.embed_tokens.weight\""},
    };
    bm_error err = {0};
    const char *keys[4] = {"scale_search=abs_max", "group_size=32", "weight_quant_method=groupwise", "format=gptq"};
    char *partial = path_of("no.partial");
    make_float("float", BM_DTYPE_F16);
    assert_ok(quantize("float", "q", 4, keys, NULL, &err), &err);
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        for (int converts = 0; converts < 2; converts++) {
            mischief m = {.folder = partial, .tensor = cases[i].tensor};
            memcpy(m.bytes, cases[i].bytes, sizeof m.bytes);
            const bm_progress progress = {spoil, &m};
            const bm_status status = converts ? convert_with("q", "gptq", "no", &progress, false, &err)
                                              : quantize("float", "no", 4, keys, &progress, &err);
            if (status != BM_E_INTERNAL || !strstr(err.message, "verification failed: ") ||
                !strstr(err.message, cases[i].words) || !strstr(err.message, "nothing is kept"))
                fail_msg("%s: %s", cases[i].words, err.message);
            assert_nothing_is_kept("no");
        }
    mischief m = {.folder = partial, .tensor = Q_PROJ ".qweight"};
    const bm_progress progress = {spoil, &m};
    assert_ok(convert_with("q", "gptq", "no", &progress, true, &err), &err); // nobody looks
    assert_false(m.is_done);
    bm_free(partial);
    remove_result("no");
    remove_result("float");
    remove_result("q");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs),
        cmocka_unit_test(one_scale_an_output),
        cmocka_unit_test(columns_that_name_their_groups),
        cmocka_unit_test(quantized_inputs),
        cmocka_unit_test(scales_that_a_type_does_not_hold),
        cmocka_unit_test(config_files_of_older_writers),
        cmocka_unit_test(nothing_to_convert),
        cmocka_unit_test(verification_finds_what_differs),
    };
    return cmocka_run_group_tests_name("convert", tests, set_up, tear_down);
}
