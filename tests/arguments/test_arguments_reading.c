// How a file and the command line are read: forms of values, overrides, unknown keys, hostile files.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"

static bm_arguments *read_ok(const char *members, const char *override)
{
    bm_arguments *args = NULL;
    bm_error err;
    if (fixture_read(&args, members, override, &err) != BM_OK)
        fail_msg("%s --set %s: %s", members, override ? override : "", err.message);
    return args;
}

static void text_forms_are_read_with_a_note(void **state)
{
    (void)state;
    bm_arguments *args = read_ok(NEEDED ",\"smooth\":\"Y\",\"smooth_step\":\"16\",\"smooth_alpha\":\"0.25\","
                                        "\"skip_list_names\":\"down_proj\",\"max_length\":null",
                                 NULL);
    assert_true(args->smooth);
    assert_int_equal(args->smooth_step, 16);
    assert_true(args->smooth_alpha == 0.25);
    assert_int_equal(args->skip_list_names.count, 1);
    assert_string_equal(args->skip_list_names.names[0], "down_proj");
    assert_int_equal(args->max_length, 2048);
    assert_non_null(fixture_note(args, "\"smooth\": \"Y\": a text, read as a boolean"));
    assert_non_null(fixture_note(args, "\"smooth_step\": \"16\": a text, read as an integer"));
    assert_non_null(fixture_note(args, "\"smooth_alpha\": \"0.25\": a text, read as a number"));
    assert_non_null(fixture_note(args, "\"skip_list_names\": \"down_proj\": a text, read as a list of one"));
    assert_non_null(fixture_note(args, "\"max_length\": null: taken as absent"));
    bm_arguments_destroy(&args);
}

static void documented_defaults_hold(void **state)
{
    (void)state;
    bm_arguments *args = read_ok(NEEDED, NULL);
    assert_int_equal(args->notes.count, 0);
    assert_int_equal(args->act_quant_method, BM_ACT_MSE);
    assert_int_equal(args->shift_sampler, BM_SAMPLER_NONE);
    assert_int_equal(args->shift_statistic, BM_SHIFT_AVERAGE);
    assert_int_equal(args->smooth_weight_statistic, BM_SMOOTH_BY_RMS);
    assert_int_equal(args->search_loss, BM_LOSS_RESIDUAL);
    assert_true(args->search_crosswise && args->search_margin == 0.5);
    assert_int_equal(args->ptq_step, 32);
    assert_int_equal(args->gptq_step, 8);
    assert_int_equal(args->smooth_k_piece, 3);
    assert_true(args->search_scale_max == 5.0 && args->search_alpha_min == 0.2);
    assert_int_equal(args->act_order, BM_ORDER_STATIC);
    assert_true(args->symmetric && args->true_sequential && args->scale_refit);
    assert_int_equal(args->seed, 42);
    assert_int_equal(args->src_length, 1024);
    assert_int_equal(args->max_length, 2048);
    assert_string_equal(args->device, "auto");
    assert_string_equal(args->tokenizer_name_or_path, "m");
    assert_true(args->needs_calibration);
    bm_arguments_destroy(&args);
}

// What is not given is PaddleSlim's there; what is given stays.
static void compat_has_defaults_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bm_act_method observer;
        bm_search_loss_kind loss;
    } cases[] = {
        {"", BM_ACT_AVG, BM_LOSS_MSE},
        {",\"act_quant_method\":\"abs_max\"", BM_ACT_ABS_MAX, BM_LOSS_MSE},
        {",\"act_quant_method\":\"per_token\"", BM_ACT_PER_TOKEN, BM_LOSS_MSE},
        {",\"search_loss\":\"nmse\"", BM_ACT_AVG, BM_LOSS_NMSE},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *members = bm_format(NEEDED "%s", cases[i].members);
        bm_arguments *args = read_ok(members, "compat=paddleslim");
        assert_int_equal(args->act_quant_method, cases[i].observer);
        assert_int_equal(args->search_loss, cases[i].loss);
        bm_arguments_destroy(&args);
        bm_free(members);
    }
    bm_arguments *args = read_ok(NEEDED ",\"quant_type\":\"wint4\"", "compat=paddleslim");
    assert_int_equal(args->scale_search, BM_SCALE_ABS_MAX);
    assert_false(args->needs_calibration);
    bm_arguments_destroy(&args);
}

static void null_turns_constant_factors_off(void **state)
{
    (void)state;
    bm_arguments *args = read_ok(NEEDED ",\"search_scale_min\":null", NULL);
    assert_true(args->search_scale_min == 0);
    bm_arguments_destroy(&args);
}

static void device_text_is_canonical(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"gpu", "auto"},    {"CPU", "host"},
                                           {"Auto", "auto"},   {"VULKAN:1", "vulkan:1"},
                                           {"GPU:2", "gpu:2"}, {"OpenCL:NVIDIA", "opencl:NVIDIA"}};
    for (size_t i = 0; i < BM_COUNT(texts); i++) {
        char *override = bm_format("device=%s", texts[i][0]);
        bm_arguments *args = read_ok(NEEDED, override);
        assert_string_equal(args->device, texts[i][1]);
        assert_int_equal(fixture_note(args, "taken as auto") != NULL, strcmp(texts[i][0], "gpu") == 0);
        bm_arguments_destroy(&args);
        bm_free(override);
    }
}

static void old_lengths_add_up(void **state)
{
    (void)state;
    bm_arguments *args = read_ok(NEEDED ",\"src_length\":300,\"max_target_length\":100", NULL);
    assert_int_equal(args->max_length, 400);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"src_length\":300,\"tgt_length\":100", "max_length=2000");
    assert_int_equal(args->max_length, 2000);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"src_length\":300,\"max_length\":2000", "tgt_length=100");
    assert_int_equal(args->max_length, 400);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"max_length\":64", NULL); // a short one leaves the prompt half
    assert_int_equal(args->src_length, 32);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"max_length\":3", NULL);
    assert_int_equal(args->src_length, 2);
    bm_arguments_destroy(&args);
}

static void override_wins(void **state)
{
    (void)state;
    static const char *const quoted[] = {"quant_type=\"WINT4\"", "tokenizer_name_or_path=\"a \\\"b\\u00e9\""};
    bm_arguments *unquoted = read_ok(NEEDED, quoted[0]); // as it would stand in a file
    assert_int_equal(unquoted->quant_type, BM_QUANT_WINT4);
    bm_arguments_destroy(&unquoted);
    unquoted = read_ok(NEEDED, quoted[1]);
    assert_string_equal(unquoted->tokenizer_name_or_path, "a \"b\xc3\xa9");
    bm_arguments_destroy(&unquoted);
    unquoted = read_ok(NEEDED, "tokenizer_name_or_path=\"a\"b"); // no text of JSON
    assert_string_equal(unquoted->tokenizer_name_or_path, "\"a\"b");
    bm_arguments_destroy(&unquoted);
    bm_arguments *args = read_ok(NEEDED ",\"quant_type\":\"wint8\"", "quant_type=WINT4");
    assert_int_equal(args->quant_type, BM_QUANT_WINT4);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"smooth_step\":0", "smooth_step=5"); // the replaced value is not judged
    assert_int_equal(args->smooth_step, 5);
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"lora\":true", "lora=false");
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"src_length\":8", "max_source_length=9");
    assert_int_equal(args->src_length, 9);
    assert_null(fixture_note(args, "src_length"));
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"src_length\":8", "src_length=null");
    assert_int_equal(args->src_length, 1024);
    bm_arguments_destroy(&args);
}

static void later_override_wins(void **state)
{
    (void)state;
    static const char text[] = "{" NEEDED "}";
    const char *const overrides[] = {"seed=1", "output_dir=a=b", "seed=2"};
    bm_arguments *args = NULL;
    bm_error err;
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 3};
    assert_ok(bm_arguments_read_text(&args, text, strlen(text), FIXTURE_NAME, &options, &err), &err);
    assert_int_equal(args->seed, 2);
    assert_string_equal(args->output_dir, "a=b");
    bm_arguments_destroy(&args);
}

static const struct {
    const char *override;
    uint32_t count;
    const char *last;
} lists[] = {
    {"skip_list_names=down_proj", 1, "down_proj"},
    {"skip_list_names=down_proj,o_proj", 2, "o_proj"},
    {"skip_list_names=[\"a,b\", \"c\"]", 2, "c"},
    {"skip_list_names=", 0, NULL},
    {"skip_list_names=[]", 0, NULL},
};

static void override_list_is_json_or_commas(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(lists); i++) {
        bm_arguments *args = read_ok(NEEDED ",\"skip_list_names\":[\"x\"],\"quant_type\":\"wint4\"", lists[i].override);
        assert_int_equal(args->skip_list_names.count, lists[i].count);
        if (lists[i].count)
            assert_string_equal(args->skip_list_names.names[lists[i].count - 1], lists[i].last);
        assert_null(fixture_note(args, "a text"));
        bm_arguments_destroy(&args);
    }
}

static const struct {
    const char *override, *words;
} bad_overrides[] = {
    {"smooth", "KEY=VALUE"},
    {"=1", "KEY=VALUE"},
    {"", "KEY=VALUE"},
    {"smooth=maybe", "true or false"},
    {"smooth_stp=3", "did you mean \"smooth_step\"?"},
    {"smooth_step=", "an integer"},
    {"smooth_step=8.0", "an integer"},
    {"smooth_step= 8", "an integer"},
    {"smooth_step=99999999999999999999", "an integer"},
    {"smooth_alpha=inf", "a number"},
    {"quant_type=int3", "one of"},
    {"skip_list_names=a,,b", "non-empty"},
    {"skip_list_names=a,", "non-empty"},
    {"skip_list_names=[\"a\"", "JSON"},
    {"skip_list_names=[1]", "list"},
    {"lora=true", "merge the adapter"},
    {"seed=\xff", "UTF-8"},
    {"smooth\n=1", "unknown key"},
};

static void bad_override_is_rejected(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(bad_overrides); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status = fixture_read(&args, NEEDED, bad_overrides[i].override, &err);
        if (status == BM_OK || !strstr(err.message, bad_overrides[i].words) || !strstr(err.message, "--set"))
            fail_msg("--set %s: status %d: %s", bad_overrides[i].override, (int)status, err.message);
        assert_null(strchr(err.message, '\n'));
        assert_null(args);
    }
}

// Errors begin with where the values come from: the file, the command line, or both.
static void errors_name_the_source_of_the_value(void **state)
{
    (void)state;
    static const struct {
        const char *members, *override, *output, *words;
    } cases[] = {
        {",\"smooth_step\":-7", NULL, NULL, "t: \"smooth_step\": -7: "},
        {",\"smooth_step\":-7", "smooth_step=-8", NULL, "--set: \"smooth_step\": \"-8\": "},
        {"", "smooth_stp=3", NULL, "--set: \"smooth_stp\": unknown key"},
        {",\"smooth_stp\":3", NULL, NULL, "t: \"smooth_stp\": unknown key"},
        {"", "lora=true", NULL, "--set: \"lora\": \"true\": "},
        {",\"src_length\":100", "max_length=50", NULL, "--set: \"max_length\": 50: must be above src_length 100"},
        {"", "do_gptq=true", NULL, "t with --set do_gptq: \"do_ptq\", \"do_gptq\", "},
        {"", NULL, "", "--output: \"output_dir\": "},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *text = bm_format("{%s%s}", NEEDED, cases[i].members);
        const bm_arguments_options options = {
            .overrides = &cases[i].override, .num_overrides = cases[i].override ? 1 : 0, .output = cases[i].output};
        const bm_status status = bm_arguments_read_text(&args, text, strlen(text), "t", &options, &err);
        if (status == BM_OK || !bm_starts_with(err.message, cases[i].words))
            fail_msg("%zu: status %d: %s", i, (int)status, err.message);
        bm_free(text);
    }
}

static const struct {
    const char *key, *nearest; // NULL: none is near
} unknown[] = {
    {"do_gtpq", "do_gptq"},
    {"quant_typ", "quant_type"},
    {"smooth_all_liners", "smooth_all_linears"},
    {"Do_ptq", "do_ptq"},
    {"dataset_name_or_pat", "dataset_name_or_path"},
    {"groupsize", "group_size"},
    {"max_lenght", "max_length"},
    {"zzzzzzzzzzzz", NULL},
    {"desc_act", "act_order"}, // as checkpoints call it
    {"sym", "symmetric"},
    {"shift_all", NULL},
    {"", NULL},
    {"a", NULL},
};

static void unknown_key_is_rejected_with_the_nearest(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(unknown); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *members = bm_format(NEEDED ",\"%s\":1", unknown[i].key);
        assert_int_equal(fixture_read(&args, members, NULL, &err), BM_E_ARGUMENT);
        bm_free(members);
        char *words = unknown[i].nearest ? bm_format("unknown key; did you mean \"%s\"?", unknown[i].nearest)
                                         : bm_format("unknown key");
        if (!strstr(err.message, words) || (!unknown[i].nearest && strstr(err.message, "did you mean")))
            fail_msg("%s: %s", unknown[i].key, err.message);
        bm_free(words);
    }
}

static void unknown_key_is_a_note_when_allowed(void **state)
{
    (void)state;
    bm_arguments *args = read_ok(NEEDED ",\"do_gtpq\":1,\"allow_unknown\":true", NULL);
    assert_non_null(fixture_note(args, "\"do_gtpq\": unknown key, ignored; did you mean \"do_gptq\"?"));
    bm_arguments_destroy(&args);
    args = read_ok(NEEDED ",\"zzzzzzzzz\":{\"a\":[1]}", "allow_unknown=true");
    assert_non_null(fixture_note(args, "\"zzzzzzzzz\": unknown key, ignored"));
    bm_arguments_destroy(&args);
}

// The words of the one who reads stand behind what the key allows.
static void what_is_built_stands_in_the_error(void **state)
{
    (void)state;
    static const char text[] = "{" NEEDED ",\"bits\":5}";
    static const bm_key_words built[] = {{"group_size", "32"}, {"bits", "4, 8"}, {NULL, NULL}};
    const bm_arguments_options options = {.built = built};
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    assert_int_equal(bm_arguments_read_text(&args, text, strlen(text), FIXTURE_NAME, &options, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"bits\": 5: expected one of 2, 3, 4, 8 (built: 4, 8)"));
}

// Of the command line: taken at its word, and what the file says is not judged.
static void device_of_the_command_line_wins(void **state)
{
    (void)state;
    static const char text[] = "{" NEEDED ",\"device\":7}";
    const bm_arguments_options options = {.device = "GPU"};
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    assert_ok(bm_arguments_read_text(&args, text, strlen(text), FIXTURE_NAME, &options, &err), &err);
    assert_string_equal(args->device, "GPU");
    assert_true(bm_arguments_is_given(args, "device"));
    assert_int_equal(args->notes.count, 0);
    bm_arguments_destroy(&args);
}

static void first_piece_count_trap_is_loud(void **state)
{
    (void)state;
    bm_arguments *args =
        read_ok(NEEDED ",\"smooth\":true,\"smooth_piecewise_search\":true,\"smooth_k_piece\":true", NULL);
    assert_int_equal(args->smooth_k_piece, 1);
    assert_non_null(fixture_note(args, "TAKEN AS 1"));
    bm_arguments_destroy(&args);
}

static void byte_order_mark_is_noted(void **state)
{
    (void)state;
    static const char text[] = "\xEF\xBB\xBF{" NEEDED "}";
    bm_arguments *args = NULL;
    bm_error err;
    assert_ok(bm_arguments_read_text(&args, text, strlen(text), FIXTURE_NAME, NULL, &err), &err);
    assert_non_null(fixture_note(args, "byte order mark"));
    bm_arguments_destroy(&args);
}

static const char *const hostile[] = {
    "",
    " ",
    "{",
    "[]",
    "null",
    "true",
    "7",
    "\"do_ptq\"",
    "[{\"do_ptq\":true}]",
    "{\"do_ptq\":true,}",
    "{\"do_ptq\":true}{}",
    "{\"do_ptq\":true}x",
    "{\"do_ptq\":true // no\n}",
    "# no\n{}",
    "{\"do_ptq\":true,\"do_ptq\":true}",
    "{\"a\\u0000b\":1}",
    "{\"\xff\":1}",
    "{\"model_name_or_path\":\"a\\u12\"}", // would be the path "a"
    "{\"do_ptq\":tru",
    "\xEF\xBB\xBF",
};

static void malformed_file_is_a_format_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(hostile); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status =
            bm_arguments_read_text(&args, hostile[i], strlen(hostile[i]), FIXTURE_NAME, NULL, &err);
        if (status != BM_E_FORMAT || !strstr(err.message, FIXTURE_NAME))
            fail_msg("%s: status %d: %s", hostile[i], (int)status, err.message);
        assert_null(args);
    }
}

// What cannot be read matters in a key that is.
static void unreadable_values_are_refused_where_they_count(void **state)
{
    static const char *const refused[][2] = {
        {"\"seed\":9007199254740993", "\"seed\": 9007199254740993: expected an integer"},
        {"\"smooth_alpha\":1e999", "\"smooth_alpha\": 1e999: expected a number"},
        {"\"smooth_alpha\":NaN", "\"smooth_alpha\": NaN: expected a number"},
        {"\"smooth\":\"\\ud800\"", "\"smooth\": \"\\ud800\": expected"},
        {"\"tokenizer_name_or_path\":\"a\\u0000b\"", "\"tokenizer_name_or_path\": \"a\\u0000b\": expected"},
        {"\"skip_list_names\":[\"\\u0000\"]", "\"skip_list_names\": [\"\\u0000\"]: expected"},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *members = bm_format(NEEDED ",%s", refused[i][0]);
        const bm_status status = fixture_read(&args, members, NULL, &err);
        if (status != BM_E_ARGUMENT || !strstr(err.message, refused[i][1]))
            fail_msg("%s: status %d: %s", refused[i][0], (int)status, err.message);
        bm_free(members);
    }
    bm_arguments *args =
        read_ok(NEEDED ",\"learning_rate\":NaN,\"weight_decay\":1e999,\"max_steps\":-9007199254740993", NULL);
    assert_non_null(
        fixture_note(args, "\"learning_rate\", \"weight_decay\", \"max_steps\": training keys have no effect here"));
    bm_arguments_destroy(&args);
}

// Names and values of any length, and control characters, do not break a message.
static void long_and_ugly_texts_make_one_line(void **state)
{
    (void)state;
    char *longest = bm_alloc_zero(5001, 1);
    memset(longest, 'k', 5000);
    const char *const forms[] = {
        ",\"%s\":1",           ",\"quant_type\":\"%s\"", ",\"smooth_step\":\"%s\"",    ",\"fp8_type\":[\"%s\",7]",
        ",\"use_fp8\":\"%s\"", ",\"\\n%s\":1",           ",\"use_fp8\":\"\\u0007%s\"", ",\"aistudio_\\n%s\":true"};
    for (size_t i = 0; i < BM_COUNT(forms); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        bm_string members = BM_STRING_INIT;
        bm_string_append(&members, NEEDED);
        bm_string_append_format(&members, forms[i], longest);
        assert_int_equal(fixture_read(&args, bm_string_text(&members), NULL, &err), BM_E_ARGUMENT);
        assert_true(strlen(err.message) < 600);
        assert_null(strchr(err.message, '\n'));
        assert_null(strchr(err.message, '\a'));
        bm_string_free(&members);
    }
    bm_free(longest);
}

static void missing_file_is_an_io_error(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    assert_int_equal(bm_arguments_read_file(&args, "/nowhere/job.json", NULL, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "/nowhere/job.json"));
    assert_int_equal(bm_arguments_read_file(&args, "/nowhere/job.json", NULL, NULL), BM_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_forms_are_read_with_a_note),
        cmocka_unit_test(documented_defaults_hold),
        cmocka_unit_test(compat_has_defaults_of_its_own),
        cmocka_unit_test(null_turns_constant_factors_off),
        cmocka_unit_test(device_text_is_canonical),
        cmocka_unit_test(old_lengths_add_up),
        cmocka_unit_test(override_wins),
        cmocka_unit_test(later_override_wins),
        cmocka_unit_test(override_list_is_json_or_commas),
        cmocka_unit_test(bad_override_is_rejected),
        cmocka_unit_test(errors_name_the_source_of_the_value),
        cmocka_unit_test(unknown_key_is_rejected_with_the_nearest),
        cmocka_unit_test(unknown_key_is_a_note_when_allowed),
        cmocka_unit_test(what_is_built_stands_in_the_error),
        cmocka_unit_test(device_of_the_command_line_wins),
        cmocka_unit_test(first_piece_count_trap_is_loud),
        cmocka_unit_test(byte_order_mark_is_noted),
        cmocka_unit_test(malformed_file_is_a_format_error),
        cmocka_unit_test(unreadable_values_are_refused_where_they_count),
        cmocka_unit_test(long_and_ugly_texts_make_one_line),
        cmocka_unit_test(missing_file_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
