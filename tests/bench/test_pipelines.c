// The list of pipelines holds what models and methods dispatch, and a device that was opened to compile only builds all of it
// and runs nothing. Argument: the device.
#include "support/unit.h"

#include "bench/pipelines.h"
#include "device/backend.h"
#include "infer/evaluate.h"
#include "infer/warm_up.h"
#include "ops/variants.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include <bitmill/bitmill.h>

#include <stdio.h>
#include <string.h>

static const char *spec;
static bm_device *device;
static support_log test_log;

// The device's backend, with a dispatch that looks each pipeline up.
static const bm_backend *real;
static bm_backend watching;
static bm_pipeline_list list;
static uint32_t num_seen, num_missing;

static bm_status look_up(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    bool found = false;
    for (uint32_t i = 0; i < list.count && !found; i++) {
        const bm_call *known = &list.items[i].call;
        found = known->kernel == call->kernel && known->variant == call->variant &&
                memcmp(known->types, call->types, sizeof call->types) == 0 &&
                memcmp(known->tunables, call->tunables, info->num_tunables * sizeof call->tunables[0]) == 0;
    }
    num_seen++;
    if (!found && num_missing++ < 5) {
        printf("not in the list: %s%s", info->name, info->variants[call->variant].suffix);
        for (uint32_t i = 0; i < info->num_tunables; i++)
            printf(" %s=%u", info->tunable_names[i], call->tunables[i]);
        for (uint32_t i = 0; i < info->num_buffers; i++)
            printf(" %s", bm_dtype_name(call->types[i]));
        printf("\n");
    }
    return real->dispatch(d, call, subject, barrier, err);
}

static char *make_model(const char *family, bm_dtype type)
{
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    p.dtype = type;
    p.hidden_size = 128;
    p.num_heads = 2;
    p.num_kv_heads = 1;
    p.head_dim = strcmp(family, "bloom") == 0 ? 0 : 64; // one of the list, which 128 / 2 is too
    p.attention_bias = strcmp(family, "qwen3") == 0;    // of o_proj and down_proj too, which add to the residual stream
    p.mlp_bias = strcmp(family, "llama") == 0;
    char *folder = support_folder_create();
    assert_ok(model_maker_write(&p, folder, &err), &err);
    return folder;
}

// A whole evaluation of the quantized model, with divergence from the float one, and what generates from it.
static void evaluate(const char *folder, bm_dtype dtype)
{
    bm_error err = {0};
    char *output = support_folder_create(), *data = support_file_write(output, "text.txt", "one two three four", 18);
    char *quantized = bm_format("%s/quantized", output);
    bm_quantize_params quantize;
    bm_quantize_summary summary;
    bm_quantize_params_init(&quantize);
    quantize.model = folder;
    quantize.output = quantized;
    quantize.device = "host";
    assert_ok(bm_quantize_model(&quantize, &summary, &err), &err);
    bm_evaluate_model_params params;
    bm_evaluation evaluation;
    bm_evaluate_model_params_init(&params);
    params.model = quantized;
    params.reference = folder;
    params.data = data;
    params.dtype = dtype;
    assert_ok(bm_evaluate_model(&params, device, &evaluation, &err), &err);
    bm_model *model = NULL;
    assert_ok(bm_model_open(&model, quantized, &err), &err);
    assert_ok(bm_warm_up_generation(model, device, dtype, NULL, &err), &err); // from codes
    bm_model_close(&model);
    bm_free(data);
    bm_free(quantized);
    support_folder_remove(&output);
}

static void what_models_dispatch_is_listed(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_F16};
    static const char *const families[] = {"qwen2", "qwen3", "llama", "bloom"};
    bm_error err = {0};
    if (support_is_instrumented())
        skip(); // whole models have long loops
    assert_ok(bm_pipelines_list(device, &list, &err), &err);
    assert_string_equal(bm_device_variants(device), ""); // the words that were there
    real = device->backend;
    watching = *real;
    watching.dispatch = look_up;
    device->backend = &watching;
    for (uint32_t m = 0; m < BM_COUNT(families); m++) { // each family in another type, and each variant
        char *folder = make_model(families[m], types[m]), words[64], weight[BM_TENSOR_NAME_SIZE];
        bm_model *model = NULL;
        assert_ok(bm_model_open(&model, folder, &err), &err);
        const bm_method_params params = {
            .grid = {.bits = 4, .group_size = 128, .symmetric = true, .scale_dtype = types[m]},
            .scale_search = BM_SEARCH_MSE};
        bm_method_params watching_params = params;
        watching_params.qep_alpha = m == 0 ? 0 : 0.5; // both kinds of products of columns
        bm_linear_tensor_name(model->family, 0, BM_LINEAR_O, ".weight", weight);
        assert_ok(bm_warm_up_method(model, device, &bm_method_rtn, weight, &params, NULL, &err), &err);
        for (uint32_t k = 0; k < BM_NUM_VARIANT_SETS; k++)
            for (uint32_t i = 0; bm_variant_sets[k].name(device, i); i++) {
                snprintf(words, sizeof words, "%s=%s", bm_variant_sets[k].kernel, bm_variant_sets[k].name(device, i));
                assert_ok(bm_device_set_variants(device, words, &err), &err);
                assert_ok(bm_warm_up_evaluation(model, model, device, types[m], NULL, &err), &err);
                assert_ok(bm_warm_up_method(model, device, &bm_method_gptq, weight, &watching_params, NULL, &err),
                          &err);
                assert_ok(bm_warm_up_generation(model, device, types[m], NULL, &err), &err);
            }
        assert_ok(bm_device_set_variants(device, "", &err), &err);
        evaluate(folder, types[m]);
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
    device->backend = real;
    bm_pipelines_free(&list);
    assert_true(bm_device_is_host(device) || num_seen > 100);
    assert_int_equal(num_missing, 0);
}

static bool is_like(const bm_call *a, const bm_call *b, bool exactly)
{
    return a->kernel == b->kernel && a->variant == b->variant &&
           (!exactly || (memcmp(a->types, b->types, sizeof a->types) == 0 &&
                         memcmp(a->tunables, b->tunables, sizeof a->tunables) == 0));
}

static void a_device_to_compile_only_compiles(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device *only = NULL;
    bm_buffer *buffer = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = spec;
    params.compile_only = true;
    params.log = &test_log.log;
    assert_ok(bm_device_open(&only, &params, &err), &err);
    assert_int_equal(bm_buffer_create(only, 16, "none", &buffer, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "compile only"));
    assert_null(buffer);
    assert_ok(bm_device_wait(only, &err), &err); // nothing to wait for
    assert_ok(bm_pipelines_list(only, &list, &err), &err);
    uint32_t num_default = 0, num_compiled = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        const bm_call *call = &list.items[i].call;
        bool is_first = true; // of its kernel and variant: the others take too long here
        bm_compile_report report;
        for (uint32_t k = 0; k < i; k++) {
            assert_false(is_like(&list.items[k].call, call, true));
            is_first &= !is_like(&list.items[k].call, call, false);
        }
        num_default += list.items[i].is_default;
        if (!is_first)
            continue;
        if (bm_device_is_host(device)) {
            assert_int_equal(bm_device_compile(only, call, &report, &err), BM_E_UNSUPPORTED);
            continue;
        }
        assert_ok(bm_device_compile(only, call, &report, &err), &err);
        num_compiled += !bm_kernel_table[call->kernel].variants[call->variant].wgmma; // which is no source but PTX
        if (call->kernel == BM_KERNEL_GEMM && call->variant == BM_VARIANT_GEMM_TILE &&
            report.shared_bytes != BM_COMPILE_UNKNOWN)
            assert_true(report.shared_bytes >= call->tunables[1] * 8 * (16 * call->tunables[2] + 128));
        assert_true(report.shared_bytes != BM_COMPILE_UNKNOWN ||
                    strcmp(bm_device_get_info(only)->backend, "opencl") != 0);
    }
    assert_true(num_default > 0 && num_default <= list.count);
    assert_int_equal(bm_device_compiled_kernels(only), num_compiled); // nothing comes from a cache
    bm_call wrong = list.items[0].call;
    bm_compile_report report;
    wrong.tunables[0] = UINT32_MAX;
    assert_int_equal(bm_device_compile(only, &wrong, &report, &err),
                     bm_device_is_host(device) ? BM_E_UNSUPPORTED : BM_E_ARGUMENT);
    bm_pipelines_free(&list);
    bm_device_close(&only);
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    support_log_init(&test_log);
    spec = argc == 2 ? argv[1] : NULL;
    if (!spec || support_device_open(spec, &test_log, &device, &err) != BM_OK) {
        fprintf(stderr, "usage: test_pipelines SPEC\n%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_models_dispatch_is_listed),
        cmocka_unit_test(a_device_to_compile_only_compiles),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || test_log.num_complaints != 0;
}
