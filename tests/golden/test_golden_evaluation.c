// The whole chain on examples/model, from text to figures, against what transformers computed: of the float model, and of
// the folder that quantizing to 4 bits writes, which compressed-tensors unpacked there. Argument: a device spec.
#include "golden/continuation.h"
#include "golden/golden.h"
#include "base/file.h"
#include "ops/fixture.h"
#include "support/folders.h"
#include <bitmill/bitmill.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static char *parent, *rounded; // a folder, and the model of 4 bits in it

static char *source_path(const char *name)
{
    char *path = bm_path_join(BM_SOURCE_DIR, name);
    assert_non_null(path);
    return path;
}

// The first bytes of the file's text, in a file of its own.
static char *write_text(const bm_json *file)
{
    char *path = source_path(golden_text(file, "text")), *text = NULL;
    uint64_t size;
    const double bytes = golden_number(file, "bytes");
    MUST(bm_file_read_all(path, 1 << 20, &text, &size, &failure));
    assert_true(bytes <= (double)size);
    bm_free(path);
    path = support_file_write(parent, "text.txt", text, (size_t)bytes);
    bm_free(text);
    return path;
}

static void assert_near(const char *what, double got, double want, double bound)
{
    printf("  %s: %.9g, off by %.1e\n", what, got, fabs(got - want));
    if (!(fabs(got - want) <= bound)) // true for NaN
        fail_msg("%s: got %.9g, want %.9g, bound %g", what, got, want, bound);
}

// Both add in float64 what one token gives. Measured on the host, PoCL and lavapipe: losses off by at most 2.4e-7, the
// divergence by 2.3e-8, no token otherwise. Two logits of one row may be so close that arithmetic decides which is larger:
// of the part's 274 tokens one may fall otherwise.
#define LOSS_BOUND 1.2e-6
#define DIVERGENCE_BOUND 2e-7
#define SHARE_BOUND 0.004

static void check_figures(const bm_json *want, const bm_evaluation *got)
{
    assert_int_equal(got->tokens, golden_number(want, "tokens"));
    assert_int_equal(got->sequences, golden_number(want, "sequences"));
    assert_near("loss", got->loss, golden_number(want, "loss"), LOSS_BOUND);
    assert_near("perplexity", got->perplexity, golden_number(want, "perplexity"), LOSS_BOUND * got->perplexity);
    assert_near("sequence_loss", got->sequence_loss, golden_number(want, "sequence_loss"), LOSS_BOUND);
    assert_near("accuracy", got->accuracy, golden_number(want, "accuracy"), SHARE_BOUND);
    if (!got->has_reference)
        return;
    assert_near("reference_loss", got->reference_loss, golden_number(want, "reference_loss"), LOSS_BOUND);
    assert_near("kl_divergence", got->kl_divergence, golden_number(want, "kl_divergence"), DIVERGENCE_BOUND);
    assert_near("top1_agreement", got->top1_agreement, golden_number(want, "top1_agreement"), SHARE_BOUND);
}

// Evaluates a model on the text of a file and holds the result against the figures under key.
static void check_evaluation(const bm_json *file, const char *model, const char *reference, const char *key)
{
    char *data = write_text(file);
    bm_evaluation got;
    bm_evaluate_model_params params;
    bm_evaluate_model_params_init(&params);
    params.model = model;
    params.reference = reference;
    params.data = data;
    params.context = (uint32_t)golden_number(file, "context");
    params.dtype = BM_DTYPE_F32;
    MUST(bm_evaluate_model(&params, test_device, &got, &failure));
    assert_int_equal(got.has_reference, reference != NULL);
    check_figures(golden_find(file, key), &got);
    bm_free(data);
}

static void figures_of_a_part_of_the_text(void **state)
{
    (void)state;
    bm_json *file = golden_open("evaluation-part");
    char *model = source_path(golden_text(file, "model"));
    check_evaluation(file, rounded, model, "wint4");
    bm_free(model);
    bm_json_destroy(&file);
}

static void figures_of_made_models(void **state)
{
    static const char *const names[] = {"evaluation-made", "evaluation-gemma2"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(names); i++) {
        bm_json *file = golden_open(names[i]);
        char *model = bm_path_join(parent, names[i]);
        const model_maker_params params = golden_params(file);
        MUST(model_maker_write(&params, model, &failure));
        check_evaluation(file, model, NULL, "float");
        bm_free(model);
        bm_json_destroy(&file);
    }
}

static void figures_of_the_whole_text(void **state)
{
    (void)state;
    const bm_device_info *info = bm_device_get_info(test_device);
    if (info->kind == BM_DEVICE_HOST || (info->kind == BM_DEVICE_CPU && strcmp(info->backend, "vulkan") == 0)) {
        printf("  left out: takes half a minute on this device\n");
        skip();
    }
    bm_json *file = golden_open("evaluation");
    char *model = source_path(golden_text(file, "model"));
    check_evaluation(file, rounded, model, "wint4");
    bm_free(model);
    bm_json_destroy(&file);
}

static void check_text(const char *folder, const bm_json *file, const char *key)
{
    uint32_t num_prompt;
    uint32_t *prompt = golden_ids(file, "prompt_ids", &num_prompt);
    bm_model *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string text = BM_STRING_INIT;
    MUST(bm_model_open(&model, folder, &failure));
    MUST(bm_tokenizer_open(&tokenizer, folder, &failure));
    assert_true(bm_token_list_append(&ids, prompt, num_prompt));
    MUST(golden_continue(model, test_device, (uint32_t)golden_number(file, "new_tokens"), &ids, &failure));
    MUST(bm_tokenizer_decode(tokenizer, ids.ids, ids.count, true, &text, &failure));
    assert_string_equal(bm_string_text(&text), golden_text(file, key));
    bm_string_free(&text);
    bm_token_list_free(&ids);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    bm_free(prompt);
}

static void the_most_likely_text(void **state)
{
    (void)state;
    bm_json *file = golden_open("generation");
    char *model = source_path(golden_text(file, "model"));
    check_text(model, file, "float");
    check_text(rounded, file, "wint4");
    bm_free(model);
    bm_json_destroy(&file);
}

static void quantizing_as_in_the_first_example(void **state)
{
    (void)state;
    bm_quantize_params params;
    bm_quantize_summary summary;
    char *model = source_path("examples/model");
    bm_quantize_params_init(&params);
    params.model = model;
    params.bits = 4;
    params.output = rounded;
    params.device = bm_device_get_info(test_device)->spec;
    MUST(bm_quantize_model(&params, &summary, &failure));
    assert_int_equal(summary.num_linears, 21);
    bm_free(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantizing_as_in_the_first_example), // the others need its folder
        cmocka_unit_test(figures_of_a_part_of_the_text),
        cmocka_unit_test(figures_of_the_whole_text),
        cmocka_unit_test(figures_of_made_models),
        cmocka_unit_test(the_most_likely_text),
    };
    if (support_is_instrumented()) {
        printf("skip: whole models run too long loops for lavapipe under GPU-assisted validation\n");
        return SUPPORT_SKIP;
    }
    parent = support_folder_create();
    rounded = bm_path_join(parent, "rounded");
    const int result = run_on_device(argc, argv, tests, BM_COUNT(tests));
    bm_free(rounded);
    support_folder_remove(&parent);
    return result;
}
