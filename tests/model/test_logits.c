// The forward pass of every family on a device against the host in float64, in each storage type; and real checkpoints
// where they are found. Argument: a device spec.
#include "model/logits.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { TOKENS = 48 };
static bm_device *device, *host;

// Compares one model on the device with the host; prints the row of the table.
static void check_model(const char *name, const char *folder, uint32_t tokens)
{
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    bm_error err = {0};
    bm_model *model = NULL;
    if (bm_model_open(&model, folder, &err) != BM_OK)
        fail_msg("%s", err.message);
    const uint64_t cols = model->config.vocab_size;
    uint32_t *ids = bm_alloc(tokens, sizeof *ids);
    double *want = bm_alloc(tokens * cols, sizeof *want), *got = bm_alloc(tokens * cols, sizeof *got);
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = i == 0 ? 1 : (i * 7919u + 13u) % model->config.vocab_size;
    if (model_logits(model, host, BM_DTYPE_F64, ids, tokens, want, &err) != BM_OK)
        fail_msg("%s: host: %s", name, err.message);
    for (size_t t = 0; t < BM_COUNT(types); t++) {
        if (model_logits(model, device, types[t], ids, tokens, got, &err) != BM_OK)
            fail_msg("%s: %s", name, err.message);
        const logits_difference d = logits_compare(want, got, tokens, cols);
        printf("  %-24s %-4s  max|d|/max|logit| %.2e  KL %.2e  top-1 %.3f\n", name, bm_dtype_name(types[t]), d.relative,
               d.kl, d.top1);
        assert_true(d.relative <= logits_bound(types[t])); // false for NaN
    }
    bm_free(ids);
    bm_free(want);
    bm_free(got);
    bm_model_close(&model);
}

static void check_made(const char *name, const model_maker_params *params)
{
    bm_error err = {0};
    char *folder = support_folder_create();
    assert_non_null(folder);
    if (model_maker_write(params, folder, &err) != BM_OK)
        fail_msg("%s: %s", name, err.message);
    check_model(name, folder, TOKENS);
    support_folder_remove(&folder);
}

static model_maker_params base_of(const char *family)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    return p;
}

static void a_logit_that_is_no_number_differs(void **state)
{
    (void)state;
    const double want[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < BM_COUNT(want); i++) {
        double got[4] = {1, 2, 3, 4};
        assert_true(logits_compare(want, got, 2, 2).relative == 0);
        got[i] = NAN;
        assert_false(logits_compare(want, got, 2, 2).relative <= 1e9);
    }
}

static void every_family_agrees_with_float64(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "mistral", "qwen2", "qwen3", "bloom"};
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        model_maker_params p = base_of(families[i]);
        p.dtype = i % 2 ? BM_DTYPE_BF16 : BM_DTYPE_F32;
        p.tie_embeddings = i % 2 == 0;
        check_made(families[i], &p);
    }
}

static void biases_and_odd_sizes_agree(void **state)
{
    (void)state;
    model_maker_params p = base_of("llama");
    p.attention_bias = p.mlp_bias = true;
    p.hidden_size = 72;
    p.num_heads = 3;
    p.num_kv_heads = 1;
    p.head_dim = 24;
    p.intermediate_size = 131;
    p.vocab_size = 307;
    check_made("llama, odd, biases", &p);
}

static void bloom_of_odd_sizes_agrees(void **state)
{
    (void)state;
    model_maker_params p = base_of("bloom");
    p.hidden_size = 120;
    p.num_heads = 5; // of 24
    p.vocab_size = 307;
    p.without_prefix = p.tie_embeddings = true;
    check_made("bloom, odd", &p);
}

static void sliding_windows_agree(void **state)
{
    (void)state;
    model_maker_params p = base_of("mistral");
    p.sliding_window = 9;
    check_made("mistral, window 9", &p);
    p = base_of("qwen3");
    p.sliding_window = 9;
    p.max_window_layers = 1;
    check_made("qwen3, window from 1", &p);
}

static void rope_scalings_agree(void **state)
{
    (void)state;
    model_maker_params p = base_of("llama");
    p.rope_scaling = "llama3";
    check_made("llama, rope llama3", &p);
    p.rope_scaling = "linear";
    p.rope_parameters = true;
    check_made("llama, rope linear", &p);
}

static void real_checkpoints_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"stories260K", "stories260K-f16", "babyllama-tok105", "tang-poem-750k",
                                        "prose-8m"};
    if (support_is_instrumented()) {
        printf("  left out: their loops are too long for lavapipe under GPU-assisted validation\n");
        skip();
    }
    check_model("examples/model", BM_SOURCE_DIR "/examples/model", TOKENS);
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        char *folder = support_data_find(names[i]);
        if (folder)
            check_model(names[i], folder, TOKENS);
        else
            printf("  %s: not here, left out\n", names[i]);
        bm_free(folder);
    }
}

static bm_device *open_or_skip(const char *spec, support_log *log)
{
    bm_error err = {0};
    bm_device *opened = NULL;
    if (support_device_open(spec, log, &opened, &err) != BM_OK) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        exit(1);
    }
    if (!opened)
        exit(SUPPORT_SKIP);
    return opened;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logit_that_is_no_number_differs),
        cmocka_unit_test(every_family_agrees_with_float64),
        cmocka_unit_test(biases_and_odd_sizes_agree),
        cmocka_unit_test(bloom_of_odd_sizes_agrees),
        cmocka_unit_test(sliding_windows_agree),
        cmocka_unit_test(rope_scalings_agree),
        cmocka_unit_test(real_checkpoints_agree),
    };
    support_log log;
    support_log_init(&log);
    device = open_or_skip(argc > 1 ? argv[1] : "auto", &log);
    host = open_or_skip("host", &log);
    support_shorten_loops(device);
    int failures = cmocka_run_group_tests_name("logits", tests, NULL, NULL);
    bm_device_close(&device);
    bm_device_close(&host);
    if (log.num_complaints > 0) {
        printf("%u complaints of validation\n", log.num_complaints);
        failures++;
    }
    return failures;
}
