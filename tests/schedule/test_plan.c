// What the plan decides: group sizes, lengths, and the notes on them.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "schedule/plan.h"
#include "support/folders.h"
#include "support/model_maker.h"

// A made model of one block, opened.
typedef struct made {
    char *folder;
    bm_model *model;
} made;

static made make_model(uint32_t hidden, uint32_t intermediate, uint32_t positions)
{
    made m = {.folder = support_folder_create()};
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    p.hidden_size = hidden;
    p.intermediate_size = intermediate;
    p.num_heads = p.num_kv_heads = 2;
    p.num_layers = 1;
    p.max_positions = positions;
    assert_ok(model_maker_write(&p, m.folder, &err), &err);
    assert_ok(bm_model_open(&m.model, m.folder, &err), &err);
    return m;
}

static void unmake_model(made *m)
{
    bm_model_close(&m->model);
    support_folder_remove(&m->folder);
}

// Members with the model's folder behind them.
static bm_arguments *read_arguments(const made *m, const char *members)
{
    bm_arguments *args = NULL;
    bm_error err = {0};
    char *text = bm_format("\"model_name_or_path\":\"%s\",\"output_dir\":\"o\",\"dataset_name_or_path\":\"d\",%s",
                           m->folder, members);
    assert_ok(fixture_read(&args, text, NULL, &err), &err);
    bm_free(text);
    return args;
}

static void largest_group_that_divides_all_is_chosen(void **state)
{
    (void)state;
    static const struct {
        uint32_t hidden, intermediate;
        int32_t chosen;
    } cases[] = {{256, 768, 128}, {256, 704, 64}, {128, 64, 64}, {64, 96, 32}, {256, 100, -1}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_model(cases[i].hidden, cases[i].intermediate, 512);
        const bm_arguments_short_form form = {.model = m.folder, .method = "rtn", .output = "o"};
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, NULL, &err), &err);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        for (uint32_t l = 0; l < plan->num_linears; l++) {
            const bm_plan_linear *linear = &plan->linears[l];
            assert_int_equal(bm_plan_group_size(linear), cases[i].chosen);
            assert_int_equal(linear->grid.group_size,
                             cases[i].chosen < 0 ? linear->in_features : (uint32_t)cases[i].chosen);
        }
        const bm_note *note = fixture_find_note(&plan->notes, "group_size: ");
        assert_true(note && note->is_choice);
        assert_int_equal(args->group_size, 128); // what was read stays
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
        unmake_model(&m);
    }
}

static void linears_that_stay_float_choose_no_group(void **state)
{
    (void)state;
    made m = make_model(256, 100, 512);
    const bm_arguments_short_form form = {.model = m.folder, .method = "rtn", .output = "o"};
    const char *const overrides[] = {"skip_list_names=down_proj"};
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 1};
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
    assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
    assert_int_equal(plan->num_quantized, plan->num_linears - 1);
    assert_int_equal(bm_plan_group_size(bm_plan_first(plan)), 128);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
    unmake_model(&m);
}

static void group_size_that_does_not_divide_names_layer_and_sizes(void **state)
{
    (void)state;
    static const struct {
        uint32_t intermediate;
        const char *words;
    } cases[] = {
        {704, "\"group_size\": 128: layer \"model.layers.0.mlp.down_proj\" has 704 inputs, which it does not divide; "
              "possible: 32, 64, -1 (per channel)"},
        {100, "has 100 inputs, which it does not divide; possible: -1 (per channel)"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_model(256, cases[i].intermediate, 512);
        bm_arguments *args =
            read_arguments(&m, "\"do_ptq\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\"");
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_int_equal(bm_plan_create(args, m.model, &plan, &err), BM_E_ARGUMENT);
        if (!strstr(err.message, cases[i].words) || !strstr(err.message, FIXTURE_NAME ": "))
            fail_msg("%s", err.message);
        assert_null(plan);
        bm_arguments_destroy(&args);
        unmake_model(&m);
    }
}

static void lengths_are_fitted_to_the_context(void **state)
{
    (void)state;
    static const uint32_t cases[][3] = {{0, 2048, 1024},   {4096, 2048, 1024}, {2048, 2048, 1024}, {2000, 2000, 1024},
                                        {1024, 1024, 512}, {512, 512, 256},    {3, 3, 2}}; // context, max, src
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_model model = {.config.max_position_embeddings = cases[i][0]}; // all that an evaluation asks for
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(fixture_read(&args, MODEL_AND_DATA ",\"do_eval\":true", NULL, &err), &err);
        assert_ok(bm_plan_create(args, &model, &plan, &err), &err);
        assert_null(plan->method);
        assert_int_equal(plan->max_length, cases[i][1]);
        assert_int_equal(plan->src_length, cases[i][2]);
        assert_int_equal(plan->notes.count, cases[i][1] < 2048);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

static void a_context_too_short_is_refused(void **state)
{
    (void)state;
    const bm_model model = {.config.max_position_embeddings = 2};
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_ok(fixture_read(&args, MODEL_AND_DATA ",\"do_eval\":true", NULL, &err), &err);
    assert_int_equal(bm_plan_create(args, &model, &plan, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"max_length\": the model addresses only 2 positions"));
    bm_arguments_destroy(&args);
}

// Nothing is said where nothing is read; a length that nobody gave is a choice, one that was given a note.
static void a_lowered_length_is_said_where_it_matters(void **state)
{
    (void)state;
#define ROUNDING "\"do_ptq\":true,\"quant_type\":\"wint4\",\"strict\":true"
    static const struct {
        const char *members;
        uint32_t max_length; // 0: refused
    } cases[] = {
        {ROUNDING, 2048},
        {ROUNDING ",\"max_length\":2000", 2000},
        {ROUNDING ",\"do_eval\":true", 512},
        {ROUNDING ",\"do_eval\":true,\"max_length\":2000", 0},
        {ROUNDING ",\"do_eval\":true,\"tgt_length\":900", 0},
        {ROUNDING ",\"do_eval\":true,\"src_length\":900", 0},
        {ROUNDING ",\"do_eval\":true,\"src_length\":300", 512},
    };
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = read_arguments(&m, cases[i].members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        const bm_status status = bm_plan_create(args, m.model, &plan, &err);
        const bm_note *note = plan ? fixture_find_note(&plan->notes, "lowered to 512") : NULL;
        if (status != (cases[i].max_length ? BM_OK : BM_E_ARGUMENT) ||
            (plan ? plan->max_length != cases[i].max_length || (note != NULL) != (cases[i].max_length == 512)
                  : !strstr(err.message, "lowered to 512")))
            fail_msg("%s: status %d: %s", cases[i].members, (int)status, err.message);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

static void a_note_of_the_plan_is_an_error_under_strict(void **state)
{
    (void)state;
    made m = make_model(64, 128, 512);
    bm_arguments *args = read_arguments(&m, ROUNDING ",\"skip_list_names\":[\"x\"]");
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_int_equal(bm_plan_create(args, m.model, &plan, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "a note, which --strict refuses: skip_list_names: \"x\" matches no linear"));
    bm_arguments_destroy(&args);
    unmake_model(&m);
}

static void what_was_decided_is_written(void **state)
{
    (void)state;
    made m = make_model(64, 96, 512);
    const bm_arguments_short_form form = {.model = m.folder, .method = "rtn", .output = "o"};
    const char *const overrides[] = {"do_eval=true", "dataset_name_or_path=d", "lazy=true"};
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 3};
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_json *root = NULL;
    bm_error err = {0};
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
    assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
    bm_json_writer_init(&writer, &text, 2);
    bm_json_begin_object(&writer, NULL);
    bm_plan_write_json(plan, args, &writer);
    bm_json_end_object(&writer);
    assert_ok(bm_json_parse(&root, text.data, text.length, "written", &err), &err);
    const bm_json *resolved = bm_json_find(root, "resolved");
    assert_string_equal(bm_json_string(bm_json_find(resolved, "job")), "rounding");
    assert_string_equal(bm_json_string(bm_json_find(resolved, "weight_quant_method")), "groupwise");
    assert_true(bm_json_number(bm_json_find(resolved, "weight_bits")) == 4);
    assert_true(bm_json_number(bm_json_find(resolved, "group_size")) == 32);
    assert_true(bm_json_number(bm_json_find(resolved, "max_length")) == 512);
    assert_true(bm_json_number(bm_json_find(resolved, "src_length")) == 256);
    // Of the reading: lazy, scale_search. Of the plan: the group, the search without data, the length.
    assert_int_equal(bm_json_count(bm_json_find(root, "notes")), 5);
    bm_json_destroy(&root);
    bm_string_free(&text);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
    unmake_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_group_that_divides_all_is_chosen),
        cmocka_unit_test(linears_that_stay_float_choose_no_group),
        cmocka_unit_test(group_size_that_does_not_divide_names_layer_and_sizes),
        cmocka_unit_test(lengths_are_fitted_to_the_context),
        cmocka_unit_test(a_context_too_short_is_refused),
        cmocka_unit_test(a_lowered_length_is_said_where_it_matters),
        cmocka_unit_test(a_note_of_the_plan_is_an_error_under_strict),
        cmocka_unit_test(what_was_decided_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
