// Models that cannot be run end generation and evaluation with an error that says why: logits that overflow, heads that
// are too wide, a tokenizer of another model. Argument: a device spec.
#include "support/unit.h"

#include "base/file.h"
#include "infer/evaluate.h"
#include "infer/generation.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bm_device *device;

// A model whose final norm multiplies by a number near the largest float32: each logit is NaN or infinite.
static char *overflowing_model(void)
{
    bm_error err = {0};
    bm_model *model = NULL;
    model_maker_params p;
    model_maker_params_init(&p);
    char *folder = support_folder_create();
    assert_ok(model_maker_write(&p, folder, &err), &err);
    assert_ok(bm_model_open(&model, folder, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, "model.norm.weight");
    assert_non_null(info);
    const long offset = (long)info->offset;
    char *path = bm_path_join(folder, "model.safetensors");
    bm_model_close(&model);
    float weights[64];
    for (uint32_t i = 0; i < BM_COUNT(weights); i++)
        weights[i] = 3e38f;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(weights, sizeof weights, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    bm_free(path);
    return folder;
}

static void generation_names_model_and_position(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip();                                    // whole models have long loops
    static const double temperatures[] = {0, 0.8}; // greedy, sampling
    bm_error err = {0};
    bm_model *model = NULL;
    char *folder = overflowing_model();
    assert_ok(bm_model_open(&model, folder, &err), &err);
    for (size_t i = 0; i < BM_COUNT(temperatures); i++) {
        const uint32_t prompt[] = {1, 5, 9};
        const bm_generate_params params = {.model = model,
                                           .device = device,
                                           .dtype = BM_DTYPE_F32,
                                           .prompt = prompt,
                                           .num_prompt = 3,
                                           .max_new_tokens = 4,
                                           .sample = {.temperature = temperatures[i], .top_p = 0.9, .seed = 1}};
        bm_generation result;
        assert_int_equal(bm_generate(&params, &result, &err), BM_E_NUMERIC);
        assert_non_null(strstr(err.message, folder));
        assert_non_null(strstr(err.message, "position 2"));
    }
    bm_model_close(&model);
    support_folder_remove(&folder);
}

// The row of the head that belongs to token 7 is so large that its logit overflows; all others are finite.
static void one_infinite_logit_is_named(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // whole models have long loops
    static const uint32_t prompt[] = {1, 5, 9};
    bm_error err = {0};
    bm_generation result;
    bm_model *model = NULL;
    model_maker_params p;
    model_maker_params_init(&p);
    char *folder = support_folder_create();
    float rows[8 * 64] = {0};
    for (uint32_t i = 0; i < 64; i++)
        rows[7 * 64 + i] = i == 0 ? 3e38f : 0;
    assert_ok(model_maker_write(&p, folder, &err), &err);
    support_tensor_write(folder, "lm_head.weight", rows, sizeof rows);
    for (uint32_t i = 0; i < 64; i++) // the final norm makes the first channel larger than 2
        rows[i] = i == 0 ? 1e6f : 1;
    support_tensor_write(folder, "model.norm.weight", rows, 64 * sizeof *rows);
    assert_ok(bm_model_open(&model, folder, &err), &err);
    const bm_generate_params params = {.model = model,
                                       .device = device,
                                       .dtype = BM_DTYPE_F32,
                                       .prompt = prompt,
                                       .num_prompt = BM_COUNT(prompt),
                                       .max_new_tokens = 1,
                                       .sample = {.top_p = 1}};
    assert_int_equal(bm_generate(&params, &result, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "the logit of token id 7 at position 2 is infinite"));
    bm_model_close(&model);
    support_folder_remove(&folder);
}

static void evaluation_has_no_loss(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // whole models have long loops
    static const char text[] = "one two three four five six seven eight nine ten";
    bm_error err = {0};
    bm_evaluation result;
    bm_evaluate_model_params params;
    char *folder = overflowing_model(), *data = support_file_write(folder, "data.txt", text, sizeof text - 1);
    bm_evaluate_model_params_init(&params);
    params.model = folder;
    params.data = data;
    params.dtype = BM_DTYPE_F32;
    assert_int_equal(bm_evaluate_model(&params, device, &result, &err), BM_E_NUMERIC);
    assert_non_null(strstr(err.message, "logits"));
    bm_free(data);
    support_folder_remove(&folder);
}

static bm_status evaluate(const char *folder, bm_error *err)
{
    static const char text[] = "one two three";
    bm_evaluation result;
    bm_evaluate_model_params params;
    char *data = support_file_write(folder, "data.txt", text, sizeof text - 1);
    bm_evaluate_model_params_init(&params);
    params.model = folder;
    params.data = data;
    const bm_status status = bm_evaluate_model(&params, device, &result, err);
    bm_free(data);
    return status;
}

static bm_status generate(const char *folder, bm_error *err)
{
    bm_model *model = NULL;
    bm_generation result;
    assert_ok(bm_model_open(&model, folder, err), err);
    const bm_generate_params params = {.model = model,
                                       .device = device,
                                       .prompt = (const uint32_t[]){1},
                                       .num_prompt = 1,
                                       .max_new_tokens = 1,
                                       .sample = {.top_p = 1}};
    const bm_status status = bm_generate(&params, &result, err);
    bm_model_close(&model);
    return status;
}

// What is not built, by file and key: such models can be opened, but neither evaluated nor asked for text.
static void what_cannot_be_run_is_named_by_file_and_key(void **state)
{
    (void)state;
    static const struct {
        uint32_t head_dim;     // 0: the usual
        const char *from, *to; // in config.json
        const char *words;
    } cases[] = {
        {264, NULL, NULL,
         "config.json: key \"head_dim\": found 264, expected a multiple of 8 up to 256 to run the model"},
        {20, NULL, NULL, "config.json: key \"head_dim\": found 20"},
        {0, "\"silu\"", "\"relu\"", "config.json: key \"hidden_act\": found relu"},
        {0, "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4.0}",
         "config.json: key \"rope_scaling.rope_type\": found longrope"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        model_maker_params p;
        model_maker_params_init(&p);
        p.head_dim = cases[i].head_dim;
        char *folder = support_folder_create();
        assert_ok(model_maker_write(&p, folder, &err), &err);
        if (cases[i].from)
            support_text_replace(folder, "config.json", cases[i].from, cases[i].to);
        assert_int_equal(evaluate(folder, &err), BM_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, cases[i].words));
        err.message[0] = '\0';
        assert_int_equal(generate(folder, &err), BM_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, cases[i].words));
        support_folder_remove(&folder);
    }
}

// A text's first ids are the model's, the second or third is not: that one is named.
static void a_foreign_tokenizer_is_told_by_an_id_that_is_too_large(void **state)
{
    (void)state;
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    char *folder = support_folder_create();
    assert_ok(model_maker_write_tokenizer(&p, folder, &err), &err);
    p.vocab_size = 64;
    p.tokenizer = MODEL_MAKER_NO_TOKENIZER;
    assert_ok(model_maker_write(&p, folder, &err), &err);
    assert_int_equal(evaluate(folder, &err), BM_E_ARGUMENT);
    const char *found = strstr(err.message, "token id ");
    assert_non_null(found);
    assert_true(strtoul(found + strlen("token id "), NULL, 10) >= p.vocab_size);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_names_model_and_position),
        cmocka_unit_test(one_infinite_logit_is_named),
        cmocka_unit_test(evaluation_has_no_loss),
        cmocka_unit_test(what_cannot_be_run_is_named_by_file_and_key),
        cmocka_unit_test(a_foreign_tokenizer_is_told_by_an_id_that_is_too_large),
    };
    bm_error err = {0};
    support_log log;
    support_log_init(&log);
    if (support_device_open(argc > 1 ? argv[1] : "auto", &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const int failures = cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
    bm_device_close(&device);
    return failures != 0 || log.num_complaints != 0;
}
