// Evaluation in windows of sequences: sums do not depend on the window, memory is bounded by it, and two models of other
// widths are cut into the same batches. The device's spec is the only argument.
#include "base/clock.h"
#include "base/str.h"
#include "device/backend.h"
#include "infer/evaluate.h"
#include "infer/evaluate_window.h"
#include "model/block.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static const char *spec;
static support_log test_log;
static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

// A narrow and a wide model of one vocabulary, and a text.
typedef struct fixture {
    char *folders[2];
    bm_model *models[2];
    bm_dataset *dataset;
} fixture;

enum { NARROW, WIDE, LETTERS = 1500, CONTEXT = 32 };

static void open_fixture(fixture *f)
{
    char text[LETTERS];
    bm_tokenizer *tokenizer = NULL;
    bm_dataset_params data;
    for (int i = 0; i < 2; i++) {
        model_maker_params p;
        model_maker_params_init(&p);
        p.seed += (uint64_t)i;
        p.hidden_size *= i == WIDE ? 2 : 1;
        p.intermediate_size *= i == WIDE ? 3 : 1;
        f->folders[i] = support_folder_create();
        MUST(model_maker_write(&p, f->folders[i], &failure));
        MUST(bm_model_open(&f->models[i], f->folders[i], &failure));
    }
    for (uint32_t i = 0; i < LETTERS; i++)
        text[i] = (char)('a' + i * i % 23);
    char *path = support_file_write(f->folders[0], "text.txt", text, sizeof text);
    MUST(bm_tokenizer_open(&tokenizer, f->folders[0], &failure));
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.context = CONTEXT;
    MUST(bm_dataset_load(&f->dataset, &data, tokenizer, NULL, &failure));
    bm_tokenizer_close(&tokenizer);
    bm_free(path);
}

static void close_fixture(fixture *f)
{
    bm_dataset_destroy(&f->dataset);
    for (int i = 0; i < 2; i++) {
        bm_model_close(&f->models[i]);
        support_folder_remove(&f->folders[i]);
    }
}

typedef struct run {
    bm_evaluation result;
    uint64_t peak;       // of the device's memory
    uint32_t num_phases; // reports that name another phase than the one before
    char phase[64];
    char words[256];       // said beforehand
    uint64_t elsewhere_ns; // that the callback took in phases that are not the model's own
} run;

enum { LINGER_NS = 20000 };

static void listen(void *user, bm_log_level level, const char *message)
{
    run *r = user;
    if (level == BM_LOG_INFO && strncmp(message, "evaluate: ", 10) == 0 && r->num_phases == 0)
        snprintf(r->words, sizeof r->words, "%s", message);
}

static int watch(void *user, const bm_progress_report *report)
{
    run *r = user;
    r->num_phases += strcmp(r->phase, report->phase) != 0;
    snprintf(r->phase, sizeof r->phase, "%s", report->phase);
    if (bm_starts_with(report->phase, "compile") || strstr(report->phase, "reference") ||
        bm_starts_with(report->phase, "compare")) {
        const uint64_t start = bm_clock_ns();
        while (bm_clock_ns() - start < LINGER_NS)
            ;
        r->elsewhere_ns += bm_clock_ns() - start;
    }
    return 1;
}

// reference NULL: none. memory_bytes of the device, 0: what it has; window_bytes, 0: chosen.
static run evaluate(const fixture *f, const bm_model *model, const bm_model *reference, uint64_t memory_bytes,
                    uint64_t window_bytes)
{
    run r = {0};
    bm_device *device = NULL;
    const bm_progress progress = {watch, &r};
    MUST(support_device_open(spec, &test_log, &device, &failure));
    const bm_log log = {BM_LOG_INFO, listen, &r}, *tests_log = device->log;
    device->log = &log;
    if (memory_bytes)
        device->info.limits.memory_bytes = memory_bytes;
    const bm_evaluate_params params = {.model = model,
                                       .reference = reference,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .dataset = f->dataset,
                                       .progress = &progress,
                                       .max_batch_tokens = 4 * CONTEXT,
                                       .window_bytes = window_bytes};
    MUST(bm_evaluate(&params, &r.result, &failure));
    r.peak = bm_device_peak_bytes(device);
    assert_true(r.result.model_seconds > 0);
    assert_true(r.result.model_seconds + (double)r.elsewhere_ns * 1e-9 <= r.result.seconds);
    assert_true(r.elsewhere_ns > 0 || !reference);
    device->log = tests_log;
    bm_device_close(&device);
    return r;
}

// Little memory: a batch of the wide model is one sequence, one of the narrow model several.
static void models_of_other_widths_are_cut_alike(void **state)
{
    fixture f = {0};
    (void)state;
    open_fixture(&f);
    const uint64_t narrow = bm_workspace_bytes_per_token(f.models[NARROW], BM_DTYPE_F32) + 4 * 64;
    const uint64_t wide = bm_workspace_bytes_per_token(f.models[WIDE], BM_DTYPE_F32) + 4 * 128;
    const uint64_t memory = 4 * wide * (CONTEXT + 1);
    assert_true(memory / 4 / narrow >= 2 * CONTEXT);
    for (int i = 0; i < 2; i++) {
        const bm_model *model = f.models[i], *reference = f.models[1 - i];
        const run large = evaluate(&f, model, reference, 0, 0);
        const run small = evaluate(&f, model, reference, memory, 0);
        assert_float_equal(small.result.loss, large.result.loss, 1e-6);
        assert_float_equal(small.result.reference_loss, large.result.reference_loss, 1e-6);
        assert_float_equal(small.result.kl_divergence, large.result.kl_divergence, 1e-6);
    }
    close_fixture(&f);
}

static void assert_same(const bm_evaluation *a, const bm_evaluation *b)
{
    assert_true(a->tokens == b->tokens && a->sequences == b->sequences);
    assert_true(a->loss == b->loss && a->accuracy == b->accuracy && a->sequence_loss == b->sequence_loss);
    assert_true(a->reference_loss == b->reference_loss && a->kl_divergence == b->kl_divergence &&
                a->top1_agreement == b->top1_agreement);
}

// Windows of one batch, of some, and of all: the same bits.
static void results_do_not_depend_on_the_window(void **state)
{
    fixture f = {0};
    (void)state;
    open_fixture(&f);
    const uint64_t tokens = bm_dataset_num_tokens(f.dataset), batches = bm_divide_up(tokens, 4 * CONTEXT);
    assert_true(batches > 5 && tokens % (4 * CONTEXT) != 0); // the last batch is a short one
    for (int with_reference = 0; with_reference < 2; with_reference++) {
        const bm_model *reference = with_reference ? f.models[WIDE] : NULL;
        const run whole = evaluate(&f, f.models[NARROW], reference, 0, 0);
        for (uint64_t in_window = 1; in_window <= 4; in_window += 3) {
            const uint64_t bytes =
                bm_evaluate_window_token_bytes((const bm_model *const[]){f.models[NARROW], reference}, BM_DTYPE_F32) *
                4 * CONTEXT * in_window;
            const run cut = evaluate(&f, f.models[NARROW], reference, 0, bytes);
            assert_same(&cut.result, &whole.result);
            const uint32_t per_window = with_reference ? 5 : 2; // phases
            const uint32_t before = whole.num_phases - per_window;
            assert_int_equal(cut.num_phases, before + per_window * bm_divide_up(batches, in_window));
        }
        const run least = evaluate(&f, f.models[NARROW], reference, 0, 1); // no window is smaller than a batch
        assert_same(&least.result, &whole.result);
        assert_non_null(strstr(least.phase, ", window "));
        char words[64];
        snprintf(words, sizeof words, "; %u windows of at most %u tokens, ", (unsigned)batches, 4 * CONTEXT);
        assert_non_null(strstr(least.words, words));
        assert_non_null(strstr(whole.words, " sequences, "));
    }
    close_fixture(&f);
}

// The residual stream of a window is all that is kept of it.
static void memory_is_that_of_a_window(void **state)
{
    fixture f = {0};
    (void)state;
    open_fixture(&f);
    const uint64_t tokens = bm_dataset_num_tokens(f.dataset);
    const uint64_t kept = bm_evaluate_window_token_bytes((const bm_model *const[]){f.models[WIDE], NULL}, BM_DTYPE_F32);
    const run whole = evaluate(&f, f.models[WIDE], NULL, 0, 0);
    const run cut = evaluate(&f, f.models[WIDE], NULL, 0, tokens / 8 * kept);
    assert_same(&cut.result, &whole.result);
    // Buffers of a window may wait for their release while the next one begins.
    assert_true(cut.peak + tokens * kept / 2 < whole.peak);
    close_fixture(&f);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_of_other_widths_are_cut_alike),
        cmocka_unit_test(results_do_not_depend_on_the_window),
        cmocka_unit_test(memory_is_that_of_a_window),
    };
    bm_device *device = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s SPEC\n", argv[0]);
        return 2;
    }
    spec = argv[1];
    support_log_init(&test_log);
    if (support_device_open(spec, &test_log, &device, &failure) != BM_OK) {
        fprintf(stderr, "%s\n", failure.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    bm_device_close(&device);
    if (support_is_instrumented())
        return SUPPORT_SKIP; // whole models
    const int num_failed = cmocka_run_group_tests(tests, NULL, NULL);
    return num_failed ? num_failed : test_log.num_complaints != 0;
}
