// Whole files: those that PaddleNLP publishes, the short form, and what is written back.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"

static const struct {
    bm_arguments_short_form form;
    const char *words; // NULL: taken
    bm_job job;
    uint32_t bits;
} short_forms[] = {
    {{.model = "m", .method = "rtn", .output = "o"}, NULL, BM_JOB_ROUNDING, 4},
    {{.model = "m", .method = "RTN", .bits = 8, .data = "d.txt", .output = "o"}, NULL, BM_JOB_ROUNDING, 8},
    {{.model = "m", .method = "rtn", .bits = 3, .output = "o"}, NULL, BM_JOB_ROUNDING, 3},
    {{.model = "m", .method = "gptq", .bits = 4, .output = "o"}, NULL, BM_JOB_GPTQ, 4},
    {{.model = "m", .method = "gptq", .bits = 8, .output = "o"}, NULL, BM_JOB_GPTQ, 8},
    {{.model = "m", .method = "awq", .output = "o"}, NULL, BM_JOB_AWQ, 4},
    {{.model = "m", .method = "a8w8", .bits = 8, .output = "o"}, NULL, BM_JOB_A8W8, 8},
    {{.model = "m", .method = "a8w8", .bits = 4, .output = "o"}, "--bits 4: expected 8", 0, 0},
    {{.model = "m", .method = "rtn", .bits = 5, .output = "o"},
     "--bits 5: expected one of 2, 3, 4, 8 (built: 4, 8)",
     0,
     0},
    {{.model = "m", .method = "rtn", .bits = -1, .output = "o"}, "--bits -1", 0, 0},
    {{.model = "m", .method = "rtn", .bits = 1ll << 40, .output = "o"}, "--bits", 0, 0},
    {{.model = "m", .method = "qat", .output = "o"}, "rtn, gptq, awq, a8w8", 0, 0},
    {{.model = "m", .method = "", .output = "o"}, "rtn, gptq, awq, a8w8", 0, 0},
    {{.model = "m", .output = "o"}, NULL, BM_JOB_ROUNDING, 4},
    {{.model = "m"}, "quantize: \"output_dir\": missing", 0, 0}, // nobody said --method
    {{.method = "rtn", .output = "o"}, "model's folder", 0, 0},
    {{.model = "m", .method = "rtn"}, "\"output_dir\": missing", 0, 0},
};

static void short_form_means_the_same_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(short_forms); i++) {
        static const bm_key_words built[] = {{"bits", "4, 8"}, {NULL, NULL}};
        const bm_arguments_options options = {.built = built};
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status = bm_arguments_from_short_form(&args, &short_forms[i].form, &options, &err);
        if (short_forms[i].words) {
            if (status != BM_E_ARGUMENT || !strstr(err.message, short_forms[i].words))
                fail_msg("%zu: status %d: %s", i, (int)status, err.message);
            continue;
        }
        assert_ok(status, &err);
        assert_int_equal(args->job, short_forms[i].job);
        assert_int_equal(args->weight_bits, short_forms[i].bits);
        assert_int_equal(args->may_choose_group_size, args->job != BM_JOB_A8W8);
        bm_arguments_destroy(&args);
    }
}

// The search of the short form is its own, a parameter file's the published one; what is given stays.
static void short_form_searches_coarsely(void **state)
{
    (void)state;
    static const struct {
        const char *override;
        bm_piece_candidates candidates;
        double alpha_step, alpha_max;
        int64_t tokens, rounds;
    } cases[] = {{"seed=1", BM_PIECES_RELATIVE, 0.1, 0.8, 1024, 1},
                 {"piecewise_candidates=absolute", BM_PIECES_ABSOLUTE, 0.1, 0.8, 1024, 1},
                 {"search_alpha_step=0.01", BM_PIECES_RELATIVE, 0.01, 0.8, 1024, 1},
                 {"search_alpha_max=1", BM_PIECES_RELATIVE, 0.1, 1, 1024, 1},
                 {"search_tokens=2048", BM_PIECES_RELATIVE, 0.1, 0.8, 2048, 1},
                 {"search_rounds=2", BM_PIECES_RELATIVE, 0.1, 0.8, 1024, 2},
                 {"compat=paddleslim", BM_PIECES_ABSOLUTE, 0.01, 0.8, 2048, 2}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = "a8w8", .data = "d", .output = "o"};
        const bm_arguments_options options = {.overrides = &cases[i].override, .num_overrides = 1};
        bm_arguments *args = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        assert_int_equal(args->piecewise_candidates, cases[i].candidates);
        assert_true(args->search_alpha_step == cases[i].alpha_step && args->search_alpha_max == cases[i].alpha_max);
        assert_true(args->search_tokens == cases[i].tokens && args->search_rounds == cases[i].rounds);
        bm_arguments_destroy(&args);
    }
}

// --set wins, as over a file, and it is said.
static void options_that_set_replaces_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *override, *words; // NULL: no note
        uint32_t bits;
    } cases[] = {
        {"bits=3", "--bits: replaced by --set bits=3", 3},
        {"seed=3", NULL, 8},
        {"bitss=3", NULL, 8},
        {"dataset_name_or_path=e", "--data: replaced by --set dataset_name_or_path=e", 8},
        {"output_dir=p", "--output: replaced by --set output_dir=p", 8},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = "gptq", .bits = 8, .data = "d", .output = "o"};
        const char *const overrides[] = {cases[i].override, "allow_unknown=true"};
        const bm_arguments_options options = {.overrides = overrides, .num_overrides = 2};
        bm_arguments *args = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        assert_int_equal(fixture_note(args, "replaced by") != NULL, cases[i].words != NULL);
        if (cases[i].words)
            assert_non_null(fixture_note(args, cases[i].words));
        assert_int_equal(args->weight_bits, cases[i].bits);
        assert_null(fixture_note(args, "GPTQ with 8 bits")); // --bits says so
        bm_arguments_destroy(&args);
    }
}

static void data_that_nothing_reads_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *method, *override;
        bool is_said;
    } cases[] = {{"rtn", "scale_search=mse", true}, {"rtn", "seed=1", false}, {"gptq", "seed=1", false}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = cases[i].method, .data = "d", .output = "o"};
        const char *const strict[] = {cases[i].override, "strict=true"};
        bm_arguments *args = NULL;
        bm_error err = {0};
        bm_arguments_options options = {.overrides = strict, .num_overrides = 1};
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        assert_int_equal(fixture_note(args, "--data: not read") != NULL, cases[i].is_said);
        bm_arguments_destroy(&args);
        options.num_overrides = 2;
        assert_int_equal(bm_arguments_from_short_form(&args, &form, &options, &err),
                         cases[i].is_said ? BM_E_ARGUMENT : BM_OK);
        bm_arguments_destroy(&args);
    }
}

static void short_form_takes_128_sequences(void **state)
{
    (void)state;
    const char *const overrides[] = {"gptq_step=4", "ptq_step=5"};
    for (uint32_t given = 0; given <= 2; given += 2) {
        const bm_arguments_short_form form = {.model = "m", .method = "gptq", .data = "d", .output = "o"};
        const bm_arguments_options options = {.overrides = overrides, .num_overrides = given};
        bm_arguments *args = NULL;
        bm_error err;
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        assert_int_equal(args->per_device_train_batch_size, 8);
        assert_int_equal(args->gptq_step, given ? 4 : 16);
        assert_int_equal(args->ptq_step, given ? 5 : 16);
        bm_arguments_destroy(&args);
    }
}

// awq_step, where it is given, is what AWQ takes instead of smooth_step; absent, it is what that says.
static void short_form_scales_and_clips_by_128_sequences(void **state)
{
    (void)state;
    static const struct {
        const char *method, *override;
        int64_t smooth_step, awq_step, autoclip_step;
    } cases[] = {{"awq", "seed=1", 16, 16, 16},      {"awq", "awq_step=2", 2, 2, 16},
                 {"awq", "smooth_step=3", 3, 3, 16}, {"awq", "autoclip_step=4", 16, 16, 4},
                 {"gptq", "awq_step=2", 16, 2, 16},  {"a8w8", "awq_step=2", 16, 2, 16},
                 {"gptq", "scaling=awq", 16, 16, 16}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = cases[i].method, .data = "d", .output = "o"};
        const bm_arguments_options options = {.overrides = &cases[i].override, .num_overrides = 1};
        bm_arguments *args = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        if (args->smooth_step != cases[i].smooth_step || args->awq_step != cases[i].awq_step ||
            args->autoclip_step != cases[i].autoclip_step)
            fail_msg("%s, %s: %d and %d steps, clipping %d", cases[i].method, cases[i].override, (int)args->smooth_step,
                     (int)args->awq_step, (int)args->autoclip_step);
        bm_arguments_destroy(&args);
    }
}

static void short_form_takes_overrides(void **state)
{
    (void)state;
    const char *const overrides[] = {"group_size=64", "device=host"};
    const bm_arguments_short_form form = {.model = "m", .method = "rtn", .output = "o"};
    bm_arguments *args = NULL;
    bm_error err;
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 2};
    assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
    assert_int_equal(args->group_size, 64);
    assert_false(args->may_choose_group_size);
    assert_string_equal(args->device, "host");
    bm_arguments_destroy(&args);
}

static bm_json *write_and_read(const bm_arguments *args)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    bm_json *root = NULL;
    bm_error err;
    bm_json_writer_init(&writer, &text, 2);
    bm_json_begin_object(&writer, NULL);
    bm_arguments_write_json(args, &writer);
    bm_json_end_object(&writer);
    assert_ok(bm_json_parse(&root, bm_string_text(&text), text.length, "written", &err), &err);
    bm_string_free(&text);
    return root;
}

static void values_used_are_written(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err;
    assert_ok(fixture_read(&args, NEEDED ",\"quant_type\":\"W4A16\",\"skip_list_names\":[\"lm_head\"],\"lazy\":true",
                           NULL, &err),
              &err);
    bm_json *root = write_and_read(args);
    const bm_json *values = bm_json_find(root, "arguments");
    assert_string_equal(bm_json_string(bm_json_find(values, "quant_type")), "wint4");
    assert_string_equal(bm_json_string(bm_json_find(values, "shift_sampler")), "none");
    assert_string_equal(bm_json_string(bm_json_find(values, "damp_percent")), "auto");
    assert_string_equal(bm_json_string(bm_json_first(bm_json_find(values, "skip_list_names"))), "lm_head");
    assert_int_equal(bm_json_kind_of(bm_json_find(values, "bits")), BM_JSON_NULL);
    assert_int_equal(bm_json_kind_of(bm_json_find(values, "dtype")), BM_JSON_NULL);
    assert_int_equal(bm_json_count(bm_json_find(root, "given")), 6);
    bm_json_destroy(&root);
    bm_arguments_destroy(&args);
}

// The written arguments are a parameter file again, and it means the same.
static void written_arguments_can_be_read_back(void **state)
{
    (void)state;
    bm_arguments *args = NULL, *again = NULL;
    bm_error err;
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    assert_ok(fixture_read(&args, NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\"", NULL, &err),
              &err);
    bm_json *root = write_and_read(args);
    bm_json_writer_init(&writer, &text, 0);
    bm_json_put_value(&writer, NULL, bm_json_find(root, "arguments"));
    assert_ok(bm_arguments_read_text(&again, text.data, text.length, "again", NULL, &err), &err);
    assert_int_equal(again->job, args->job);
    assert_int_equal(again->group_size, args->group_size);
    assert_int_equal(again->scale_search, args->scale_search);
    bm_string_free(&text);
    bm_json_destroy(&root);
    bm_arguments_destroy(&args);
    bm_arguments_destroy(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_form_means_the_same_keys),
        cmocka_unit_test(short_form_searches_coarsely),
        cmocka_unit_test(options_that_set_replaces_are_named),
        cmocka_unit_test(data_that_nothing_reads_is_said),
        cmocka_unit_test(short_form_takes_128_sequences),
        cmocka_unit_test(short_form_scales_and_clips_by_128_sequences),
        cmocka_unit_test(short_form_takes_overrides),
        cmocka_unit_test(values_used_are_written),
        cmocka_unit_test(written_arguments_can_be_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
