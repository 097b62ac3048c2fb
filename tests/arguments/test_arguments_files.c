// The parameter files that come with bitmill, the short form, folders on the disk, group sizes, and what is written
// back.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "support/folders.h"

static const struct {
    const char *name;
    bm_job job;
    const char *refused; // words of check_built; NULL: built
} files[] = {
    {"ptq_argument.json", BM_JOB_A8W8, "ptq_argument.json: \"smooth\": true: smooth is not built yet in this version"},
    {"gptq_argument.json", BM_JOB_GPTQ,
     "gptq_argument.json: \"do_gptq\": true: GPTQ is not built yet in this version; built: plain rounding (WINT8, "
     "WINT4)"},
    {"awq_argument.json", BM_JOB_AWQ, "awq_argument.json: \"do_awq\": true: AWQ is not built yet in this version"},
    {"wint8_argument.json", BM_JOB_ROUNDING, NULL},
    {"wint4_argument.json", BM_JOB_ROUNDING, NULL},
};

static void files_of_ours_are_taken_or_refused_by_name(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "qwen2"};
    for (size_t i = 0; i < BM_COUNT(families) * BM_COUNT(files); i++) {
        const size_t f = i % BM_COUNT(files);
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        char *path = bm_format("%s/configs/%s/%s", BM_SOURCE_DIR, families[i / BM_COUNT(files)], files[f].name);
        assert_ok(bm_arguments_read_file(&args, path, NULL, 0, &err), &err);
        assert_int_equal(args->job, files[f].job);
        assert_int_equal(args->src_length, 256);
        assert_int_equal(args->max_length, 512);
        assert_int_equal(args->storage_dtype, BM_DTYPE_BF16);
        assert_true(args->do_eval);
        const bm_status status = bm_arguments_check_built(args, &err);
        if (status != (files[f].refused ? BM_E_UNSUPPORTED : BM_OK) ||
            (files[f].refused && !strstr(err.message, files[f].refused)))
            fail_msg("%s: status %d: %s", path, (int)status, err.message);
        bm_free(path);
        bm_arguments_destroy(&args);
    }
}

// One key each that is valid and not built, beside plain rounding or alone.
static const struct {
    const char *members, *words;
} unbuilt[] = {
    {NEEDED, "\"quant_type\": \"a8w8\" (the default): quantized activations are not built yet"},
    {NEEDED ",\"quant_type\":\"a8w8c8\"", "\"quant_type\": \"a8w8c8\": "},
    {NEEDED ",\"quant_type\":\"wint4\",\"shift\":true", "\"shift\": true: "},
    {NEEDED ",\"quant_type\":\"wint4\",\"smooth\":true", "\"smooth\": true: "},
    {NEEDED ",\"quant_type\":\"wint4\",\"auto_clip\":true", "\"auto_clip\": true: "},
    {NEEDED ",\"quant_type\":\"wint4\",\"scale_search\":\"gram\"", "\"scale_search\": \"gram\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"scale_search\":\"weighted_mse\"", "\"scale_search\": \"weighted_mse\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"bits\":3", "\"bits\": 3: not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"bits\":2", "\"bits\": 2: not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"format\":\"gptq\"", "\"format\": \"gptq\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"format\":\"awq\"", "\"format\": \"awq\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"format\":\"gguf\"", "\"format\": \"gguf\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"format\":\"paddle\"", "\"format\": \"paddle\": not built yet"},
    {NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_size\":256",
     "\"group_size\": 256"},
    {NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_tail\":\"short\"",
     "\"group_tail\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"method_choice\":\"best\"", "\"method_choice\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"bias_correction\":true", "\"bias_correction\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"compat\":\"paddleslim\"", "\"compat\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"resume_from_checkpoint\":\"true\"", "\"resume_from_checkpoint\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"chat_template\":\"t\"", "\"chat_template\""},
    {NEEDED ",\"quant_type\":\"wint4\",\"do_predict\":true", "\"do_predict\""},
    {MODEL_AND_DATA ",\"load_quant_model\":true", "\"load_quant_model\": true"},
};
static const char *const built[] = {
    NEEDED ",\"quant_type\":\"wint8\"",
    NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"symmetric\":false",
    NEEDED
    ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\",\"group_size\":-1,\"scale_search\":\"abs_max\"",
    NEEDED ",\"quant_type\":\"wint8\",\"skip_list_names\":[\"down_proj\"],\"do_eval\":true",
    MODEL_AND_DATA ",\"do_eval\":true",
};

static void unbuilt_is_refused_by_name(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    for (size_t i = 0; i < BM_COUNT(unbuilt); i++) {
        assert_ok(fixture_read(&args, unbuilt[i].members, NULL, &err), &err);
        const bm_status status = bm_arguments_check_built(args, &err);
        if (status != BM_E_UNSUPPORTED || !strstr(err.message, unbuilt[i].words))
            fail_msg("%s: status %d: %s", unbuilt[i].members, (int)status, err.message);
        bm_arguments_destroy(&args);
    }
    for (size_t i = 0; i < BM_COUNT(built); i++) {
        assert_ok(fixture_read(&args, built[i], NULL, &err), &err);
        assert_ok(bm_arguments_check_built(args, &err), &err);
        bm_arguments_destroy(&args);
    }
}

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
    {{.model = "m", .output = "o"}, "rtn, gptq, awq, a8w8", 0, 0},
    {{.method = "rtn", .output = "o"}, "model's folder", 0, 0},
    {{.model = "m", .method = "rtn"}, "\"output_dir\": missing", 0, 0},
};

static void short_form_means_the_same_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(short_forms); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status = bm_arguments_from_short_form(&args, &short_forms[i].form, NULL, 0, &err);
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

static void data_that_nothing_reads_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *method, *override;
        bool is_said;
    } cases[] = {{"rtn", "seed=1", true}, {"rtn", "do_eval=true", false}, {"gptq", "seed=1", false}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = cases[i].method, .data = "d", .output = "o"};
        const char *const strict[] = {cases[i].override, "strict=true"};
        bm_arguments *args = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, strict, 1, &err), &err);
        assert_int_equal(fixture_note(args, "--data: not read") != NULL, cases[i].is_said);
        bm_arguments_destroy(&args);
        assert_int_equal(bm_arguments_from_short_form(&args, &form, strict, 2, &err),
                         cases[i].is_said ? BM_E_ARGUMENT : BM_OK);
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
    assert_ok(bm_arguments_from_short_form(&args, &form, overrides, 2, &err), &err);
    assert_int_equal(args->group_size, 64);
    assert_false(args->may_choose_group_size);
    assert_string_equal(args->device, "host");
    bm_arguments_destroy(&args);
}

static const struct {
    uint32_t widths[3];
    int64_t chosen;
} choices[] = {
    {{256, 768, 128}, 128}, {{256, 64, 704}, 64},       {{96, 256, 512}, 32},
    {{100, 256, 512}, -1},  {{4096, 11008, 4096}, 128},
};

static void largest_group_that_divides_all_is_chosen(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(choices); i++) {
        const bm_arguments_short_form form = {.model = "m", .method = "rtn", .output = "o"};
        bm_arguments *args = NULL;
        bm_error err;
        assert_ok(bm_arguments_from_short_form(&args, &form, NULL, 0, &err), &err);
        assert_ok(bm_arguments_choose_group_size(args, choices[i].widths, 3, &err), &err);
        assert_int_equal(args->group_size, choices[i].chosen);
        assert_int_equal(args->weight_quant_method,
                         choices[i].chosen < 0 ? BM_WEIGHT_CHANNEL_WISE : BM_WEIGHT_GROUPWISE);
        assert_non_null(fixture_note(args, "group_size: "));
        const uint32_t num_notes = args->num_notes;
        for (size_t w = 0; w < 3; w++)
            assert_ok(bm_arguments_check_group_size(args, "x", choices[i].widths[w], &err), &err);
        assert_ok(bm_arguments_choose_group_size(args, choices[i].widths, 3, &err), &err);
        assert_int_equal(args->num_notes, num_notes); // nothing is left to choose
        bm_arguments_destroy(&args);
    }
}

static void group_size_that_does_not_divide_names_layer_and_sizes(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    assert_ok(fixture_read(&args, NEEDED ",\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\"", NULL, &err),
              &err);
    assert_int_equal(bm_arguments_check_group_size(args, "model.layers.0.mlp.down_proj", 704, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"group_size\": 128: layer \"model.layers.0.mlp.down_proj\" has 704 inputs"));
    assert_non_null(strstr(err.message, "possible: 32, 64, -1 (per channel)"));
    assert_int_equal(bm_arguments_check_group_size(args, "x", 100, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "possible: -1 (per channel)"));
    bm_arguments_destroy(&args);
}

static void lengths_are_fitted_to_the_context(void **state)
{
    (void)state;
    static const int64_t cases[][3] = {{0, 2048, 1024},   {4096, 2048, 1024}, {2048, 2048, 1024}, {2000, 2000, 1024},
                                       {1024, 1024, 512}, {512, 512, 256},    {3, 3, 2}}; // context, max, src
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        assert_ok(fixture_read(&args, NEEDED, NULL, &err), &err);
        assert_ok(bm_arguments_fit_context(args, (uint32_t)cases[i][0], &err), &err);
        assert_int_equal(args->max_length, cases[i][1]);
        assert_int_equal(args->src_length, cases[i][2]);
        assert_int_equal(args->num_notes, cases[i][1] < 2048);
        bm_arguments_destroy(&args);
    }
}

// Nothing is said where nothing is read; a length that nobody gave is a choice, one that was given a note.
static void a_lowered_length_is_said_where_it_matters(void **state)
{
    (void)state;
#define ROUNDING NEEDED ",\"quant_type\":\"wint4\",\"strict\":true"
    static const struct {
        const char *members;
        int64_t max_length;
        bm_status status;
    } cases[] = {
        {ROUNDING, 2048, BM_OK},
        {ROUNDING ",\"max_length\":2000", 2000, BM_OK},
        {ROUNDING ",\"do_eval\":true", 512, BM_OK},
        {ROUNDING ",\"do_eval\":true,\"max_length\":2000", 512, BM_E_ARGUMENT},
        {ROUNDING ",\"do_eval\":true,\"tgt_length\":900", 512, BM_E_ARGUMENT},
        {ROUNDING ",\"do_eval\":true,\"src_length\":900", 512, BM_E_ARGUMENT},
        {ROUNDING ",\"do_eval\":true,\"src_length\":300", 512, BM_OK},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_error err = {0};
        assert_ok(fixture_read(&args, cases[i].members, NULL, &err), &err);
        const bm_status status = bm_arguments_fit_context(args, 512, &err);
        const bm_arguments_note *note = fixture_note(args, "lowered to 512");
        if (status != cases[i].status || args->max_length != cases[i].max_length ||
            (note != NULL) != (cases[i].max_length == 512) || (note && note->is_choice != (status == BM_OK)))
            fail_msg("%s: status %d: %s", cases[i].members, (int)status, err.message);
        bm_arguments_destroy(&args);
    }
}

static void late_note_is_an_error_under_strict(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    assert_ok(fixture_read(&args, NEEDED ",\"strict\":true", NULL, &err), &err);
    assert_int_equal(bm_arguments_add_note(args, &err, "skip_list_names: \"%s\" matches no linear", "x"),
                     BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "a note, which --strict refuses: skip_list_names: \"x\" matches no linear"));
    bm_arguments_destroy(&args);
}

// Folders of one test; each file is made as the case asks.
typedef struct disk {
    char *root;
    bm_arguments *args;
    bm_error err;
} disk;

static void disk_create(disk *d, const char *members)
{
    static const char *const folders[] = {"model", "data", "empty", "ours", "theirs", "form_b", "form_b/dev"};
    static const char *const names[] = {"model/config.json", "data/dev.json", "data/train.json", "ours/bitmill.json",
                                        "theirs/thesis.tex", "text.txt",      "image.png"};
    d->root = support_folder_create();
    for (size_t i = 0; i < BM_COUNT(folders); i++) {
        char *path = bm_path_join(d->root, folders[i]);
        assert_ok(bm_folder_create(path, true, &d->err), &d->err);
        bm_free(path);
    }
    for (size_t i = 0; i < BM_COUNT(names); i++)
        bm_free(support_file_write(d->root, names[i], "{}", 2));
    bm_string text = BM_STRING_INIT; // '$' stands for the folder
    for (const char *c = members; *c; c++)
        if (*c == '$')
            bm_string_append(&text, d->root);
        else
            bm_string_append_bytes(&text, c, 1);
    assert_ok(fixture_read(&d->args, bm_string_text(&text), NULL, &d->err), &d->err);
    bm_string_free(&text);
}

static void disk_destroy(disk *d)
{
    bm_arguments_destroy(&d->args);
    support_folder_remove(&d->root);
}

#define W4 "\"do_ptq\":true,\"quant_type\":\"wint4\","
#define MODEL "\"model_name_or_path\":\"$/model\","
#define OUT "\"output_dir\":\"$/out\","
#define DATA "\"dataset_name_or_path\":\"$/data\""
static const struct {
    const char *members, *words; // words NULL: fine
} paths[] = {
    {W4 MODEL OUT DATA ",\"do_eval\":true", NULL},
    {W4 MODEL OUT "\"seed\":1", NULL},
    {W4 OUT "\"model_name_or_path\":\"meta-llama/Meta-Llama-3-8B\"", "--set model_name_or_path=DIR"},
    {W4 OUT "\"model_name_or_path\":\"$/data\"", "has no config.json"},
    {W4 OUT "\"model_name_or_path\":\"$/model/config.json\"", "no such folder"},
    {W4 MODEL OUT "\"tokenizer_name_or_path\":\"$/none\"", "tokenizer_name_or_path"},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/none\"", "no such folder or file"},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/text.txt\"", NULL},
    {W4 MODEL OUT "\"dataset_name_or_path\":\"$/image.png\"", ".jsonl"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/text.txt\"", NULL},
    {"\"do_gptq\":true," MODEL OUT "\"seed\":1", "\"dataset_name_or_path\": missing"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/empty\"", "has no dev.json"},
    {W4 MODEL OUT "\"do_eval\":true,\"dataset_name_or_path\":\"$/form_b\"", NULL},
    {W4 MODEL OUT DATA ",\"do_predict\":true", "has no test.json"},
    {"\"do_gptq\":true," MODEL OUT DATA, NULL},
    {"\"do_gptq\":true," MODEL OUT "\"dataset_name_or_path\":\"$/empty\"", "neither quant.json nor train.json"},
    {W4 MODEL "\"output_dir\":\"$/empty\"", "--output DIR"},
    {W4 MODEL "\"output_dir\":\"$/empty\",\"overwrite_output_dir\":true", NULL},
    {W4 MODEL "\"output_dir\":\"$/ours\",\"overwrite_output_dir\":true", NULL},
    {W4 MODEL "\"output_dir\":\"$/theirs\",\"overwrite_output_dir\":true",
     "no bitmill.json, so it is no result of ours and is not replaced"},
    {W4 MODEL "\"output_dir\":\"$/text.txt\",\"overwrite_output_dir\":true", "is no folder"},
    {"\"do_eval\":true," MODEL DATA, NULL},
    {"\"do_eval\":true," MODEL DATA ",\"output_dir\":\"$/theirs\"", NULL}, // nothing is written there
};

static void paths_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(paths); i++) {
        disk d = {0};
        disk_create(&d, paths[i].members);
        const bm_status status = bm_arguments_check_paths(d.args, &d.err);
        if (status != (paths[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (paths[i].words && !strstr(d.err.message, paths[i].words)))
            fail_msg("%s: status %d: %s", paths[i].members, (int)status, d.err.message);
        disk_destroy(&d);
    }
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
    const bm_json *values = bm_json_find(root, "arguments"), *resolved = bm_json_find(root, "resolved");
    assert_string_equal(bm_json_string(bm_json_find(values, "quant_type")), "wint4");
    assert_string_equal(bm_json_string(bm_json_find(values, "shift_sampler")), "none");
    assert_string_equal(bm_json_string(bm_json_find(values, "damp_percent")), "auto");
    assert_string_equal(bm_json_string(bm_json_first(bm_json_find(values, "skip_list_names"))), "lm_head");
    assert_int_equal(bm_json_kind_of(bm_json_find(values, "bits")), BM_JSON_NULL);
    assert_int_equal(bm_json_kind_of(bm_json_find(values, "dtype")), BM_JSON_NULL);
    assert_string_equal(bm_json_string(bm_json_find(resolved, "job")), "rounding");
    assert_true(bm_json_number(bm_json_find(resolved, "weight_bits")) == 4);
    assert_int_equal(bm_json_count(bm_json_find(root, "given")), 6);
    assert_int_equal(bm_json_count(bm_json_find(root, "notes")), 2);
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
    assert_ok(bm_arguments_read_text(&again, text.data, text.length, "again", NULL, 0, &err), &err);
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
        cmocka_unit_test(files_of_ours_are_taken_or_refused_by_name),
        cmocka_unit_test(unbuilt_is_refused_by_name),
        cmocka_unit_test(short_form_means_the_same_keys),
        cmocka_unit_test(data_that_nothing_reads_is_said),
        cmocka_unit_test(short_form_takes_overrides),
        cmocka_unit_test(largest_group_that_divides_all_is_chosen),
        cmocka_unit_test(group_size_that_does_not_divide_names_layer_and_sizes),
        cmocka_unit_test(lengths_are_fitted_to_the_context),
        cmocka_unit_test(a_lowered_length_is_said_where_it_matters),
        cmocka_unit_test(late_note_is_an_error_under_strict),
        cmocka_unit_test(paths_are_checked),
        cmocka_unit_test(values_used_are_written),
        cmocka_unit_test(written_arguments_can_be_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
