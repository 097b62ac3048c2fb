// do_predict, and load_quant_model: what a result is worth on test data, at the end of its run or later.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <stdio.h>
#include <string.h>

// A model, data, and the place of a result.
typedef struct place {
    char *root, *model, *data, *output;
} place;

static const char dev[] = "{\"src\":\"Once upon\",\"tgt\":\" a time there was a model.\"}\n";
static const char test[] =
    "{\"src\":\"It read\",\"tgt\":\" a short text.\"}\n{\"src\":\"And\",\"tgt\":\" it was glad\"}\n";

static place place_create(void)
{
    bm_error err = {0};
    place p = {.root = support_folder_create()};
    model_maker_params params;
    model_maker_params_init(&params);
    p.model = bm_path_join(p.root, "model");
    p.data = bm_path_join(p.root, "data");
    p.output = bm_path_join(p.root, "out");
    assert_ok(model_maker_write(&params, p.model, &err), &err);
    assert_ok(bm_folder_create(p.data, true, &err), &err);
    bm_free(support_file_write(p.data, "dev.json", dev, sizeof dev - 1));
    bm_free(support_file_write(p.data, "test.json", test, sizeof test - 1));
    return p;
}

static void place_remove(place *p)
{
    bm_free(p->model);
    bm_free(p->data);
    bm_free(p->output);
    support_folder_remove(&p->root);
}

// Runs a parameter file; members follow those that name the folders.
static bm_status run(const place *p, const char *model, const char *members, bm_quantize_summary *summary,
                     bm_error *err)
{
    char *text = bm_format("{\"model_name_or_path\":\"%s\",\"dataset_name_or_path\":\"%s\",\"output_dir\":\"%s\","
                           "\"device\":\"host\",%s}",
                           model, p->data, p->output, members);
    char *path = support_file_write(p->root, "arguments.json", text, strlen(text));
    bm_quantize_params params;
    bm_quantize_params_init(&params);
    params.arguments_file = path;
    *summary = (bm_quantize_summary){0};
    const bm_status status = bm_quantize_model(&params, summary, err);
    bm_free(path);
    bm_free(text);
    return status;
}

static double perplexity_of(const char *model, const place *p, const char *name)
{
    bm_error err = {0};
    bm_device *device = NULL;
    bm_evaluation result;
    bm_evaluate_model_params params;
    char *data = bm_path_join(p->data, name);
    bm_evaluate_model_params_init(&params);
    params.model = model;
    params.data = data;
    assert_ok(bm_device_open(&device, &(bm_device_params){.spec = "host"}, &err), &err);
    assert_ok(bm_evaluate_model(&params, device, &result, &err), &err);
    bm_device_close(&device);
    bm_free(data);
    return result.perplexity;
}

#define WINT4 "\"quant_type\":\"wint4\",\"scale_search\":\"abs_max\""

static void both_sets_are_measured_before_and_after(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_quantize_summary s;
    place p = place_create();
    assert_ok(run(&p, p.model, WINT4 ",\"do_ptq\":true,\"do_eval\":true,\"do_predict\":true", &s, &err), &err);
    assert_true(s.has_evaluation && s.has_prediction);
    assert_true(s.perplexity_before == perplexity_of(p.model, &p, "dev.json"));
    assert_true(s.perplexity_after == perplexity_of(p.output, &p, "dev.json"));
    assert_true(s.test_perplexity_before == perplexity_of(p.model, &p, "test.json"));
    assert_true(s.test_perplexity_after == perplexity_of(p.output, &p, "test.json"));
    assert_true(s.test_perplexity_after != s.perplexity_after && s.test_perplexity_after != s.test_perplexity_before);

    // Later, without the model that it was made from: nothing is written.
    const double after = s.test_perplexity_after;
    assert_ok(run(&p, "gone", WINT4 ",\"load_quant_model\":true,\"do_predict\":true", &s, &err), &err);
    assert_true(s.has_prediction && !s.has_evaluation && s.test_perplexity_after == after);
    place_remove(&p);
}

static void refuses(const place *p, const char *members, const char *words)
{
    bm_error err = {0};
    bm_quantize_summary s;
    const bm_status status = run(p, p->model, members, &s, &err);
    if (status != BM_E_ARGUMENT || !strstr(err.message, words))
        fail_msg("%s: status %d: %s", members, (int)status, err.message);
}

#define LOAD "\"load_quant_model\":true,\"do_eval\":true"

static void results_are_those_that_the_keys_describe(void **state)
{
    (void)state;
    static const char *const agreeing[] = {
        "\"bits\":4,\"group_size\":32,\"weight_quant_method\":\"groupwise\"",
        "\"quant_type\":\"wint4\",\"smooth\":false,\"skip_list_names\":[\"down_proj\"],\"ptq_step\":3"};
    static const struct {
        const char *members, *words;
    } disagreeing[] = {
        {"\"quant_type\":\"wint8\"", "\"quant_type\": \"wint8\": the result was made with \"wint4\" ("},
        {"\"bits\":3", "\"bits\": 3: the result was made with 4 ("},
        {"\"group_size\":64", "\"group_size\": 64: the result was made with 32"},
        {"\"smooth\":true", "\"smooth\": true: the result was made with false"},
        {"\"skip_list_names\":[]", "\"skip_list_names\": []: the result was made with [\"down_proj\"]"},
    };
    bm_error err = {0};
    bm_quantize_summary s;
    place p = place_create();
    refuses(&p, LOAD, "\"output_dir\": \"");
    assert_ok(run(&p, p.model,
                  WINT4 ",\"do_ptq\":true,\"weight_quant_method\":\"groupwise\",\"group_size\":32,"
                        "\"skip_list_names\":[\"down_proj\"]",
                  &s, &err),
              &err);
    for (size_t i = 0; i < BM_COUNT(agreeing); i++) {
        char *members = bm_format(LOAD ",%s", agreeing[i]);
        assert_ok(run(&p, p.model, members, &s, &err), &err);
        assert_true(s.has_evaluation && s.perplexity_before == s.perplexity_after);
        bm_free(members);
    }
    for (size_t i = 0; i < BM_COUNT(disagreeing); i++) {
        char *members = bm_format(LOAD ",%s", disagreeing[i].members);
        refuses(&p, members, disagreeing[i].words);
        bm_free(members);
    }
    // Of another program there is no record: a note, which strict refuses.
    char *record = bm_path_join(p.output, "bitmill.json");
    assert_int_equal(remove(record), 0);
    assert_ok(run(&p, p.model, LOAD ",\"quant_type\":\"wint8\"", &s, &err), &err);
    refuses(&p, LOAD ",\"strict\":true", "bitmill.json: no such file");
    bm_free(record);
    bm_free(p.output); // a model of floats
    p.output = bm_string_copy(p.model);
    refuses(&p, LOAD, "the model in \"output_dir\" is not quantized");
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sets_are_measured_before_and_after),
        cmocka_unit_test(results_are_those_that_the_keys_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
