// Warming up an evaluation builds what both models need: their kernels and the divergence's, in steps that are told. Argument: the
// device; the host has nothing to build.
#include "support/unit.h"

#include "device/backend.h"
#include "infer/warm_up.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <stdio.h>
#include <string.h>

static bm_device *device;

// The device's backend, with a dispatch that takes note of what two models differ in.
static const bm_backend *real;
static bm_backend watching;
static bool seen_head_dim[65], seen_divergence;

static bm_status take_note(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    for (uint32_t i = 0; call->kernel == BM_KERNEL_ATTENTION && i < info->num_tunables; i++)
        if (strcmp(info->tunable_names[i], "HEAD_DIM") == 0)
            seen_head_dim[call->tunables[i] < 64 ? call->tunables[i] : 64] = true;
    seen_divergence = seen_divergence || call->kernel == BM_KERNEL_KL_DIVERGENCE;
    return real->dispatch(d, call, subject, barrier, err);
}

static uint64_t last_done, last_total;

static int count_steps(void *user, const bm_progress_report *report)
{
    (void)user;
    assert_true(report->done >= last_done && report->done <= report->total);
    last_done = report->done;
    last_total = report->total;
    return 1; // go on
}

static bm_model *make_model(uint32_t head_dim, char **folder)
{
    bm_error err = {0};
    bm_model *model = NULL;
    model_maker_params p;
    model_maker_params_init(&p);
    p.head_dim = head_dim;
    *folder = support_folder_create();
    assert_ok(model_maker_write(&p, *folder, &err), &err);
    assert_ok(bm_model_open(&model, *folder, &err), &err);
    return model;
}

static void kernels_of_both_models_are_built(void **state)
{
    (void)state;
    bm_error err = {0};
    char *folders[2];
    bm_model *model = make_model(8, &folders[0]), *reference = make_model(16, &folders[1]);
    const bm_progress progress = {count_steps, NULL};
    real = device->backend;
    watching = *real;
    watching.dispatch = take_note;
    device->backend = &watching;
    assert_ok(bm_warm_up_evaluation(model, NULL, device, BM_DTYPE_F32, &progress, &err), &err);
    assert_true(seen_head_dim[8] && !seen_head_dim[16] && !seen_divergence);
    assert_true(last_total > 0 && last_done == last_total);
    const uint64_t alone = last_total;
    last_done = 0;
    assert_ok(bm_warm_up_evaluation(model, reference, device, BM_DTYPE_F32, &progress, &err), &err);
    device->backend = real;
    assert_true(seen_head_dim[16] && seen_divergence);
    assert_true(last_total == 2 * alone && last_done == last_total);
    bm_model_close(&model);
    bm_model_close(&reference);
    support_folder_remove(&folders[0]);
    support_folder_remove(&folders[1]);
}

// Weights that are finite and overflow in products: where, the run itself says.
static void numbers_that_overflow_are_no_matter(void **state)
{
    (void)state;
    static const float large = 3e38f;
    bm_error err = {0};
    const bm_progress progress = {count_steps, NULL};
    const bm_method_params params = {
        .grid = {.bits = 4, .group_size = 32, .symmetric = true, .scale_dtype = BM_DTYPE_F16},
        .scale_search = BM_SEARCH_WEIGHTED_MSE};
    char *folder;
    bm_model *model = make_model(16, &folder);
    bm_model_close(&model);
    support_tensor_write(folder, "model.layers.0.self_attn.q_proj.weight", &large, sizeof large);
    support_tensor_write(folder, "model.layers.0.self_attn.v_proj.weight", &large, sizeof large);
    assert_ok(bm_model_open(&model, folder, &err), &err);
    last_done = 0;
    assert_ok(bm_warm_up_evaluation(model, NULL, device, BM_DTYPE_F32, &progress, &err), &err);
    assert_true(last_done == last_total);
    last_done = 0;
    assert_ok(bm_warm_up_method(model, device, &bm_method_gptq, "model.layers.0.self_attn.q_proj.weight", &params,
                                &progress, &err),
              &err);
    assert_ok(bm_device_wait(device, &err), &err);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_of_both_models_are_built),
                                       cmocka_unit_test(numbers_that_overflow_are_no_matter)};
    support_log log;
    bm_error err = {0};
    if (argc != 2)
        return 2;
    support_log_init(&log);
    if (support_device_open(argv[1], &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!device || bm_device_is_host(device) || support_is_instrumented()) {
        bm_device_close(&device);
        return SUPPORT_SKIP;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || log.num_complaints != 0;
}
