// A few tokens through the input and the result: equal models, one that says the opposite, one whose logits are not finite.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "schedule/job.h"
#include "schedule/memory_claims.h"
#include "schedule/verify_logits.h"
#include "support/edits.h"
#include "support/folders.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define MODEL BM_SOURCE_DIR "/examples/model" // trained: its distributions are no flat ones
#define NORM "model.norm.weight"
enum { NUM_TOKENS = 16, WIDTH = 256, VOCABULARY = 1024 };

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

static void copy_file(const char *folder, const char *name)
{
    uint64_t size = 0;
    char *bytes = support_file_read(MODEL, name, &size);
    bm_free(support_file_write(folder, name, bytes, size));
    bm_free(bytes);
}

// The model with other weights of its last norm.
static char *model_with_norm(const uint16_t weights[WIDTH])
{
    char *folder = support_folder_create();
    copy_file(folder, "config.json");
    copy_file(folder, "model.safetensors");
    support_tensor_write(folder, NORM, weights, WIDTH * sizeof *weights);
    return folder;
}

static void read_norm(uint16_t out[WIDTH])
{
    bm_checkpoint *c = NULL;
    MUST(bm_checkpoint_open(&c, MODEL, &failure));
    const bm_tensor_info *info = bm_checkpoint_find(c, NORM);
    assert_int_equal(info->size_bytes, WIDTH * sizeof *out);
    MUST(bm_checkpoint_read(c, info, 0, out, info->size_bytes, &failure));
    bm_checkpoint_close(&c);
}

static bm_status compare(const char *input, const char *result, const bm_calibration_data *data,
                         bm_logits_comparison *out, bm_error *err)
{
    const bm_arguments arguments = {0};
    bm_plan plan = {.calibration = data ? *data : (bm_calibration_data){0}};
    bm_phase phase = {0};
    bm_emit_context emit = {.device = device, .plan = &plan, .arguments = &arguments, .phase = &phase};
    bm_model *model = NULL;
    MUST(bm_model_open(&model, input, &failure));
    emit.model = model;
    const bm_status status = bm_verify_logits(&emit, result, out, err);
    bm_model_close(&model);
    return status;
}

static void a_model_is_like_itself(void **state)
{
    (void)state;
    bm_logits_comparison c;
    uint32_t ids[] = {5, 1000, 17}, others[20] = {7};
    bm_batch_sequence segments[] = {{ids, BM_COUNT(ids)}, {others, BM_COUNT(others)}, {ids, BM_COUNT(ids)}};
    bm_calibration_data data = {.segments = segments, .num_segments = 1};
    MUST(compare(MODEL, MODEL, NULL, &c, &failure));
    assert_false(c.is_of_data);
    assert_int_equal(c.num_tokens, NUM_TOKENS);
    assert_int_equal(c.num_same, NUM_TOKENS);
    assert_true(fabs(c.kl_divergence) < 1e-6);
    MUST(compare(MODEL, MODEL, &data, &c, &failure));
    assert_true(c.is_of_data);
    assert_int_equal(c.num_tokens, BM_COUNT(ids));
    assert_int_equal(c.num_same, BM_COUNT(ids));
    data.num_segments = 3; // as many of them as it takes
    MUST(compare(MODEL, MODEL, &data, &c, &failure));
    assert_int_equal(c.num_tokens, NUM_TOKENS);
    assert_int_equal(c.num_same, NUM_TOKENS);
}

// Without a last norm all words are as likely: a divergence of ln(vocabulary) less the input's entropy, a mean over tokens.
static void a_result_that_knows_nothing_is_as_far_as_a_guess(void **state)
{
    (void)state;
    bm_logits_comparison c;
    const uint16_t zeros[WIDTH] = {0};
    char *guess = model_with_norm(zeros);
    bm_error err;
    assert_int_equal(compare(MODEL, guess, NULL, &c, &err), BM_E_NUMERIC);
    assert_true(fabs(c.kl_divergence - 3.484) < 2e-3);
    assert_int_equal(c.num_same, 0);
    support_folder_remove(&guess);
}

// Logits with the other sign.
static void a_result_that_says_the_opposite_is_refused(void **state)
{
    (void)state;
    bm_logits_comparison c;
    uint16_t weights[WIDTH];
    read_norm(weights);
    for (uint32_t i = 0; i < WIDTH; i++)
        weights[i] ^= 0x8000;
    char *opposite = model_with_norm(weights);
    bm_error err;
    assert_int_equal(compare(MODEL, opposite, NULL, &c, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "logits behind 16 tokens have nothing to do with the input's: KL divergence"));
    assert_non_null(strstr(err.message, "expected at most 3.47, or 6.93 and a first choice that is the same"));
    support_folder_remove(&opposite);
}

// A steep result: some choices are the same, and all the rest is far beyond a guess.
static void a_result_that_is_sure_of_the_wrong_is_refused(void **state)
{
    (void)state;
    bm_logits_comparison c;
    uint16_t weights[WIDTH];
    read_norm(weights);
    for (uint32_t i = 0; i < WIDTH; i++)
        weights[i] = bm_f32_to_f16((i % 16 == 0 ? 0 : 64) * bm_f16_to_f32(weights[i]));
    char *steep = model_with_norm(weights);
    bm_error err;
    assert_int_equal(compare(MODEL, steep, NULL, &c, &err), BM_E_NUMERIC);
    assert_true(c.num_same > 0 && c.kl_divergence > log(VOCABULARY));
    support_folder_remove(&steep);
}

static void logits_that_are_not_finite_are_refused_where_the_inputs_are(void **state)
{
    (void)state;
    bm_logits_comparison c;
    uint16_t weights[WIDTH];
    for (uint32_t i = 0; i < WIDTH; i++)
        weights[i] = 0x7f7f; // the largest of bfloat16
    char *broken = model_with_norm(weights);
    support_header_replace(broken, "\"" NORM "\":{\"dtype\":\"F16\"", "\"" NORM "\":{\"dtype\":\"BF16\"");
    bm_error err;
    assert_int_equal(compare(MODEL, broken, NULL, &c, &err), BM_E_NUMERIC);
    // Of the logits, or of the norm, where its weights are made 16-bit ones.
    assert_non_null(strstr(err.message, "the result, run on 16 tokens: "));
    assert_non_null(strstr(err.message, ": NaN or infinity at element ")); // of the group that was the first
    MUST(compare(broken, broken, NULL, &c, &failure));
    assert_int_equal(c.num_tokens, 0);
    support_folder_remove(&broken);
}

static void it_must_fit_and_run(void **state)
{
    (void)state;
    const bm_arguments arguments = {0};
    bm_plan plan = {0};
    bm_emit_context emit = {.device = device, .plan = &plan, .arguments = &arguments};
    char *folder = support_folder_create();
    bm_model *model = NULL, *other = NULL;
    MUST(bm_model_open(&model, MODEL, &failure));
    emit.model = model;
    const uint64_t need = bm_memory_comparing_bytes(&emit, NUM_TOKENS);
    bm_memory_budget b = {.device_bytes = need, .host_bytes = UINT64_MAX};
    assert_true(need > bm_block_bytes(model, device, 0, BM_DTYPE_F16));
    assert_true(bm_verify_logits_fits(&emit, NULL) && bm_verify_logits_fits(&emit, &b));
    b.device_bytes--;
    assert_false(bm_verify_logits_fits(&emit, &b));
    b = (bm_memory_budget){
        .device_bytes = need, .is_shared = true, .resident_bytes = 500, .block_bytes = 100, .host_bytes = need + 800};
    assert_true(bm_verify_logits_fits(&emit, &b));
    b.host_bytes--;
    assert_false(bm_verify_logits_fits(&emit, &b));
    copy_file(folder, "config.json");
    copy_file(folder, "model.safetensors");
    support_text_replace(folder, "config.json", "\"silu\"", "\"relu\"");
    MUST(bm_model_open(&other, folder, &failure));
    emit.model = other;
    assert_false(bm_verify_logits_fits(&emit, NULL)); // it can be rounded and not be run
    bm_model_close(&other);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

// What is said to fit does: the device has no more than the claim.
static void it_takes_no_more_than_its_claim(void **state)
{
    (void)state;
    bm_device *whole = device;
    support_log log;
    const bm_arguments arguments = {0};
    bm_plan plan = {0};
    bm_logits_comparison c;
    bm_model *model = NULL;
    support_log_init(&log);
    MUST(support_device_open(spec, &log, &device, &failure));
    MUST(bm_model_open(&model, MODEL, &failure));
    const bm_emit_context emit = {.model = model, .device = device, .plan = &plan, .arguments = &arguments};
    const uint64_t claim = bm_memory_comparing_bytes(&emit, NUM_TOKENS);
    bm_model_close(&model);
    bm_device_limit_memory(device, claim, "--device-memory");
    MUST(compare(MODEL, MODEL, NULL, &c, &failure));
    assert_int_equal(c.num_tokens, NUM_TOKENS);
    assert_true(bm_device_peak_bytes(device) <= claim && bm_device_peak_bytes(device) > claim / 2);
    bm_device_close(&device);
    device = whole;
    assert_int_equal(log.num_complaints, 0);
}

static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append(user, message);
}

// A run of the model, with warnings.
typedef struct tried {
    char *folder, *output;
    bm_string log;
    bm_quantize_job job;
    bm_status status;
    bm_error err;
} tried;

static void try_run(tried *t, int64_t bits, bool skips, const char *const *overrides, uint32_t num_overrides)
{
    *t = (tried){.folder = support_folder_create(), .log = BM_STRING_INIT};
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &t->log};
    bm_quantize_params params;
    bm_quantize_params_init(&params);
    t->output = bm_path_join(t->folder, "out");
    params.model = MODEL;
    params.output = t->output;
    params.device = spec;
    params.bits = bits;
    params.log = &log;
    params.overrides = overrides;
    params.num_overrides = num_overrides;
    params.skips_verification = skips;
    t->status = bm_quantize_job_run(&params, &t->job, &t->err);
}

static void end_run(tried *t)
{
    bm_quantize_job_free(&t->job);
    bm_string_free(&t->log);
    bm_free(t->output);
    support_folder_remove(&t->folder);
}

static void runs_compare_unless_they_are_told_not_to(void **state)
{
    (void)state;
    for (uint32_t skips = 0; skips < 2; skips++) {
        tried t;
        try_run(&t, 8, skips, NULL, 0);
        assert_ok(t.status, &t.err);
        const bm_logits_comparison *c = &t.job.result.logits;
        assert_int_equal(c->num_tokens, skips ? 0 : NUM_TOKENS);
        if (!skips) {
            assert_true(c->kl_divergence > 0 && c->kl_divergence < 0.01);
            assert_true(c->num_same >= NUM_TOKENS - 2);
        }
        assert_null(strstr(bm_string_text(&t.log), "logits"));
        end_run(&t);
    }
}

// Two bits: with scales that were searched, and with the plainest.
static void runs_warn_of_logits_that_are_far_and_keep_none_that_mean_nothing(void **state)
{
    (void)state;
    static const char *const plainest[] = {"group_size=-1", "scale_search=abs_max", "signed_scales=false"};
    tried t;
    try_run(&t, 2, false, NULL, 0);
    assert_ok(t.status, &t.err);
    assert_true(t.job.result.logits.kl_divergence > 1);
    assert_non_null(strstr(bm_string_text(&t.log), "logits are far from the input's"));
    assert_int_equal(access(t.output, F_OK), 0);
    end_run(&t);
    try_run(&t, 2, false, plainest, BM_COUNT(plainest));
    assert_int_equal(t.status, BM_E_INTERNAL);
    assert_non_null(strstr(t.err.message, "verification failed: logits behind 16 tokens"));
    assert_int_not_equal(access(t.output, F_OK), 0);
    end_run(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_like_itself),
        cmocka_unit_test(a_result_that_knows_nothing_is_as_far_as_a_guess),
        cmocka_unit_test(a_result_that_says_the_opposite_is_refused),
        cmocka_unit_test(a_result_that_is_sure_of_the_wrong_is_refused),
        cmocka_unit_test(logits_that_are_not_finite_are_refused_where_the_inputs_are),
        cmocka_unit_test(it_must_fit_and_run),
        cmocka_unit_test(it_takes_no_more_than_its_claim),
        cmocka_unit_test(runs_compare_unless_they_are_told_not_to),
        cmocka_unit_test(runs_warn_of_logits_that_are_far_and_keep_none_that_mean_nothing),
    };
    return run_on_device(argc, argv, "verify_logits", LONG_LOOPS, tests, BM_COUNT(tests));
}
