// What the record, the log and the exit summary say of a method that watched inputs.
#include "support/unit.h"

#include "schedule/record.h"

#include <string.h>

static bm_linear_record linears[] = {
    {.name = "plain", .bits = 4, .group_size = 32, .out_features = 2, .in_features = 64, .keeps_range = true},
    {.name = "good",
     .in_features = 100,
     .group = {.tokens = 300, .damping = 0.01, .num_dead = 5},
     .has_output_error = true,
     .output_error = 1,
     .output_error_rounding = 4,
     .guarded_rows = 3},
    {.name = "hard",
     .in_features = 200,
     .group = {.tokens = 300, .damping = 1, .num_raised = 2, .by_host = true},
     .has_output_error = true,
     .output_error = 2,
     .output_error_rounding = 2,
     .guarded_rows = 4},
    {.name = "bad", .in_features = 100, .group = {.tokens = 300, .fell_back = true, .reason = "no factor"}},
    {.name = "watched", .in_features = 100, .group = {.tokens = 300}}, // rounding by data needs no factor
    {.name = "blind", .in_features = 100, .group = {.search_skipped = true}},
};

// A result's members as an object.
static void put_record(const bm_quantize_run_params *params, const bm_quantize_result *result, bm_string *out)
{
    bm_json_writer json;
    bm_json_writer_init(&json, out, 0);
    bm_json_begin_object(&json, NULL);
    bm_record_put_result(&json, params, result);
    bm_json_end_object(&json);
}

static void the_record_has_what_there_is(void **state)
{
    (void)state;
    static const char *const keys[] = {"tokens",        "tokens_per_channel",
                                       "output_error",  "output_error_rounding",
                                       "damping",       "damping_raised",
                                       "dead_channels", "factored_on_host",
                                       "fell_back",     "reason",
                                       "guarded_rows",  "search_skipped",
                                       "keeps_range"};
    static const char *const want[] = {"------------+", "+++++++++-+--", "+++++++++-+--",
                                       "++------++---", "++---------+-", "-----------+-"};
    char output[] = "o";
    const bm_arguments arguments = {.output_dir = output};
    const bm_plan plan = {0};
    const bm_quantize_run_params params = {.arguments = &arguments, .plan = &plan};
    const bm_quantize_result result = {.linears = linears,
                                       .num_linears = BM_COUNT(linears),
                                       .num_sequences = 12,
                                       .num_solving_sequences = 8,
                                       .num_skipped_sequences = 2,
                                       .key_of_tokens = "gptq_step"};
    bm_string text = BM_STRING_INIT;
    bm_json *record = NULL;
    bm_error err = {0};
    put_record(&params, &result, &text);
    assert_ok(bm_json_parse(&record, text.data, text.length, "record", &err), &err);
    const bm_json *item = bm_json_first(bm_json_find(record, "linears"));
    for (size_t i = 0; i < BM_COUNT(linears); i++, item = bm_json_next(item))
        for (size_t k = 0; k < BM_COUNT(keys); k++)
            if ((bm_json_find(item, keys[k]) != NULL) != (want[i][k] == '+'))
                fail_msg("%s: %s: %s", linears[i].name, keys[k], want[i][k] == '+' ? "lacking" : "not expected");
    item = bm_json_next(bm_json_first(bm_json_find(record, "linears")));
    assert_float_equal(bm_json_number(bm_json_find(item, "output_error")), 1, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "output_error_rounding")), 4, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "tokens")), 300, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "tokens_per_channel")), 3, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "damping")), 0.01, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "dead_channels")), 5, 0);
    assert_float_equal(bm_json_number(bm_json_find(item, "guarded_rows")), 3, 0);
    assert_false(bm_json_bool(bm_json_find(item, "fell_back")));
    item = bm_json_next(item);
    assert_float_equal(bm_json_number(bm_json_find(item, "damping_raised")), 2, 0);
    assert_true(bm_json_bool(bm_json_find(item, "factored_on_host")));
    item = bm_json_next(item);
    assert_true(bm_json_bool(bm_json_find(item, "fell_back")));
    assert_string_equal(bm_json_string(bm_json_find(item, "reason")), "no factor");
    item = bm_json_next(item);
    assert_false(bm_json_bool(bm_json_find(item, "search_skipped")));
    item = bm_json_next(item);
    assert_true(bm_json_bool(bm_json_find(item, "search_skipped")));
    static const struct {
        const char *key;
        double value;
    } sums[] = {{"all_sequences", 12}, {"sequences", 8},       {"skipped_sequences", 2}, {"tokens", 300},
                {"channels", 200},     {"tokens_enough", 400}, {"output_error", 3},      {"output_error_rounding", 6},
                {"guarded_rows", 7},   {"damping_raised", 1},  {"factored_on_host", 1},  {"fell_back", 1}};
    for (size_t i = 0; i < BM_COUNT(sums); i++)
        assert_float_equal(bm_json_number(bm_json_find(bm_json_find(record, "calibration"), sums[i].key)),
                           sums[i].value, 0);
    assert_string_equal(bm_json_string(bm_json_find(bm_json_find(record, "calibration"), "key_to_raise")), "gptq_step");
    bm_json_destroy(&record);
    bm_string_free(&text);
}

// The error of rounding itself stands alone.
static void rounding_is_beside_nothing(void **state)
{
    (void)state;
    const bm_arguments arguments = {0};
    const bm_plan plan = {0};
    const bm_quantize_run_params params = {.arguments = &arguments, .plan = &plan};
    bm_linear_record rounded = linears[4];
    rounded.has_output_error = true;
    rounded.output_error = rounded.output_error_rounding = 5;
    const bm_quantize_result result = {.linears = &rounded, .num_linears = 1};
    bm_string text = BM_STRING_INIT;
    put_record(&params, &result, &text);
    assert_non_null(strstr(text.data, "\"output_error\":5"));
    assert_null(strstr(text.data, "output_error_rounding"));
    bm_string_clear(&text);
    bm_record_describe(&result, &text);
    assert_null(strstr(bm_string_text(&text), "of rounding"));
    bm_string_free(&text);
}

// A run that quantizes nothing says what its one model is worth, once, and nothing of linears or of bytes written.
static void an_evaluation_alone_is_recorded_once(void **state)
{
    (void)state;
    static const struct {
        bm_job job;
        const char *there, *absent;
    } cases[] = {{BM_JOB_LOAD, "\"test_after\":{\"perplexity\":7", "before"},
                 {BM_JOB_EVALUATE, "\"test_before\":{\"perplexity\":7", "after"}};
    const bm_plan plan = {0};
    const bm_evaluation seven = {.perplexity = 7};
    const bm_quantize_result result = {.peak_device_bytes = 5, .evaluations[BM_RUN_TEST] = {true, seven, seven}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments arguments = {.job = cases[i].job};
        const bm_quantize_run_params params = {.arguments = &arguments, .plan = &plan};
        bm_string text = BM_STRING_INIT;
        put_record(&params, &result, &text);
        assert_non_null(strstr(text.data, cases[i].there));
        assert_null(strstr(text.data, cases[i].absent));
        assert_null(strstr(text.data, "linears"));
        assert_null(strstr(text.data, "put_bytes"));
        assert_non_null(strstr(text.data, "\"peak_device_bytes\":5"));
        bm_string_free(&text);
    }
}

static void append_line(void *user, bm_log_level level, const char *message)
{
    bm_string_append_format(user, "%d %s\n", level, message);
}

static const char *key_of_tokens;

// The lines of log and summary for num linears from first on.
static void check_words(uint32_t first, uint32_t num, const char *logged, const char *described)
{
    bm_string lines = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_INFO, .write = append_line, .user = &lines};
    const bm_quantize_result result = {.linears = linears + first,
                                       .num_linears = num,
                                       .num_sequences = 12,
                                       .num_skipped_sequences = num > 1 ? 2 : 0,
                                       .key_of_tokens = key_of_tokens};
    bm_record_warn(&result, &log);
    assert_string_equal(bm_string_text(&lines), logged);
    bm_string_clear(&lines);
    bm_record_describe(&result, &lines);
    assert_string_equal(bm_string_text(&lines), described);
    bm_string_free(&lines);
}

static void the_end_of_a_run_says_it(void **state)
{
    (void)state;
    check_words(0, BM_COUNT(linears),
                "1 scale_search: 1 of 6 linears had fewer than two tokens: their steps are of the largest weights\n"
                "1 calibration: 300 tokens are few for 200 input channels; 400 would be enough (2 a channel)\n"
                "1 calibration: 1 of 6 linears were rounded plainly; report.html names them\n",
                "error of outputs: 50.0 % of rounding to the same grids (few tokens)\n"
                "damping raised: 1 of 4 linears\n"
                "factored in float64 on the host: 1 of 4 linears\n"
                "rounded plainly: 1 of 6 linears; report.html names them\n"
                "sequences left out: 2 of 12\n"
                "few calibration tokens: 300 for 200 input channels; 400 would be enough\n"
                "steps of the largest weights, fewer than two tokens: 1 of 6 linears\n");
}

static void nothing_is_said_without_cause(void **state)
{
    (void)state;
    check_words(0, 0, "", "");
    check_words(0, 1, "", "");
    check_words(1, 1, "", "error of outputs: 25.0 % of rounding to the same grids\n");
    linears[2].group.tokens = 399; // the fewest that are too few
    check_words(2, 1, "1 calibration: 399 tokens are few for 200 input channels; 400 would be enough (2 a channel)\n",
                "damping raised: 1 of 1 linears\n"
                "factored in float64 on the host: 1 of 1 linears\n"
                "few calibration tokens: 399 for 200 input channels; 400 would be enough\n");
    linears[2].group.tokens = 1;
    check_words(2, 1, "1 calibration: 1 token is few for 200 input channels; 400 would be enough (2 a channel)\n",
                "damping raised: 1 of 1 linears\n"
                "factored in float64 on the host: 1 of 1 linears\n"
                "few calibration tokens: 1 for 200 input channels; 400 would be enough\n");
    key_of_tokens = "autoclip_step";
    check_words(2, 1,
                "1 calibration: 1 token is few for 200 input channels; 400 would be enough (2 a channel): raise "
                "autoclip_step\n",
                "damping raised: 1 of 1 linears\n"
                "factored in float64 on the host: 1 of 1 linears\n"
                "few calibration tokens: 1 for 200 input channels; 400 would be enough: raise autoclip_step\n");
    key_of_tokens = NULL;
    linears[2].group.tokens = 400;
    check_words(2, 1, "",
                "damping raised: 1 of 1 linears\n"
                "factored in float64 on the host: 1 of 1 linears\n");
    linears[2].group.tokens = 300;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_record_has_what_there_is),         cmocka_unit_test(rounding_is_beside_nothing),
        cmocka_unit_test(an_evaluation_alone_is_recorded_once), cmocka_unit_test(the_end_of_a_run_says_it),
        cmocka_unit_test(nothing_is_said_without_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
