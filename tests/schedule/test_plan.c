// What the plan decides: group sizes, lengths, and the notes on them.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "schedule/calibrate.h"
#include "schedule/plan.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <string.h>

// A made model of one block, opened.
typedef struct made {
    char *folder;
    bm_model *model;
} made;

static made make_family_model(const char *family, uint32_t hidden, uint32_t intermediate, uint32_t positions)
{
    made m = {.folder = support_folder_create()};
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    p.hidden_size = hidden;
    p.intermediate_size = intermediate;
    p.num_heads = p.num_kv_heads = 2;
    p.num_layers = 1;
    p.max_positions = positions;
    assert_ok(model_maker_write(&p, m.folder, &err), &err);
    assert_ok(bm_model_open(&m.model, m.folder, &err), &err);
    return m;
}

static made make_model(uint32_t hidden, uint32_t intermediate, uint32_t positions)
{
    return make_family_model("llama", hidden, intermediate, positions);
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

static void a_format_that_does_not_hold_a_linear_names_it(void **state)
{
    (void)state;
    static const struct {
        const char *members, *words;
    } cases[] = {
        {"\"format\":\"gptq\"",
         "\"format\": \"gptq\": gptq: found 100 outputs of model.layers.0.mlp.gate_proj, expected a multiple of 32"},
        {"\"format\":\"awq\",\"weight_quant_method\":\"groupwise\",\"group_size\":32,"
         "\"skip_list_names\":[\"down_proj\"]",
         "\"format\": \"awq\": awq: found 100 outputs of model.layers.0.mlp.gate_proj, expected a multiple of 8"},
        {"\"format\":\"awq\",\"weight_quant_method\":\"groupwise\",\"group_size\":32",
         "\"group_size\": 32: layer \"model.layers.0.mlp.down_proj\" has 100 inputs, which it does not divide"},
        {"\"format\":\"awq\"",
         "\"weight_quant_method\": absent: abs_max_channel_wise: the format awq holds groups alone; expected "
         "\"weight_quant_method\": \"groupwise\" and a group_size of 32, 64, 128 or 256 that divides the inputs of "
         "every "
         "linear"},
        {"\"format\":\"awq\",\"weight_quant_method\":\"abs_max_channel_wise\"",
         "\"weight_quant_method\": \"abs_max_channel_wise\": the format awq holds groups alone"},
        {"\"format\":\"awq\",\"weight_quant_method\":\"groupwise\",\"group_size\":-1",
         "\"group_size\": -1 (per channel): the format awq holds groups alone"},
    };
    made m = make_model(64, 100, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *members = bm_format("\"do_ptq\":true,\"quant_type\":\"wint4\",%s", cases[i].members);
        bm_arguments *args = read_arguments(&m, members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_int_equal(bm_plan_create(args, m.model, &plan, &err), BM_E_ARGUMENT);
        if (!strstr(err.message, cases[i].words))
            fail_msg("%s", err.message);
        bm_arguments_destroy(&args);
        bm_free(members);
    }
    unmake_model(&m);
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
        const char *size, *words;
    } cases[] = {
        {704, "128",
         "\"group_size\": 128: layer \"model.layers.0.mlp.down_proj\" has 704 inputs, which it does not divide; "
         "possible for all linears: 32, 64, -1 (per channel)"},
        {100, "128", "has 100 inputs, which it does not divide; possible for all linears: -1 (per channel)"},
        // The first layer that fails has more to offer than the last.
        {352, "256",
         "q_proj\" has 384 inputs, which it does not divide; possible for all linears: 32, -1 (per channel)"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_model(cases[i].intermediate == 352 ? 384 : 256, cases[i].intermediate, 512);
        char *members = bm_format("\"do_ptq\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\","
                                  "\"group_size\":%s",
                                  cases[i].size);
        bm_arguments *args = read_arguments(&m, members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_int_equal(bm_plan_create(args, m.model, &plan, &err), BM_E_ARGUMENT);
        if (!strstr(err.message, cases[i].words) || !strstr(err.message, FIXTURE_NAME ": "))
            fail_msg("%s", err.message);
        assert_null(plan);
        bm_arguments_destroy(&args);
        bm_free(members);
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

#define GPTQ "\"do_gptq\":true"
#define W4 "\"do_ptq\":true,\"quant_type\":\"wint4\""

// A text has no prompts.
static void lengths_of_prompts_are_not_told_of_texts(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        bool is_said;
    } cases[] = {{"dataset_name_or_path=d.txt", false}, {"dataset_name_or_path=d.json", true}};
    made m = make_model(64, 96, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const bm_arguments_short_form form = {.model = m.folder, .method = "gptq", .output = "o"};
        const bm_arguments_options options = {.overrides = &cases[i].data, .num_overrides = 1};
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(bm_arguments_from_short_form(&args, &form, &options, &err), &err);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        const bm_note *note = fixture_find_note(&plan->notes, "lowered to 512");
        assert_non_null(note);
        assert_int_equal(strstr(note->text, "src_length") != NULL, cases[i].is_said);
        assert_true(plan->src_length < plan->max_length);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// Every key of the method arrives where the method reads it.
static void keys_of_gptq_reach_the_method(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        bm_method_params expected; // without the grid
    } cases[] = {
        {GPTQ, {{0}, BM_SEARCH_WEIGHTED_MSE, BM_COLUMN_ORDER_STATIC, 0, 0.5, 2, true, NULL}},
        {GPTQ ",\"scale_search\":\"abs_max\",\"act_order\":\"none\",\"damp_percent\":0.1,\"qep_alpha\":0,"
              "\"code_sweeps\":0,\"scale_refit\":false",
         {{0}, BM_SEARCH_ABS_MAX, BM_COLUMN_ORDER_NONE, 0.1, 0, 0, false, NULL}},
        {GPTQ ",\"scale_search\":\"mse\",\"act_order\":\"dynamic\",\"weight_quant_method\":\"groupwise\","
              "\"group_size\":32,\"qep_alpha\":1,\"code_sweeps\":7",
         {{0}, BM_SEARCH_MSE, BM_COLUMN_ORDER_DYNAMIC, 0, 1, 7, true, NULL}},
        {GPTQ ",\"scale_search\":\"gram\",\"act_order\":\"static\",\"damp_percent\":\"auto\"",
         {{0}, BM_SEARCH_GRAM, BM_COLUMN_ORDER_STATIC, 0, 0.5, 2, true, NULL}},
        {W4 ",\"scale_search\":\"gram\",\"act_order\":\"dynamic\"",
         {{0}, BM_SEARCH_GRAM, BM_COLUMN_ORDER_NONE, 0, 0, 0, false, NULL}},
        {W4 ",\"scale_search\":\"weighted_mse\"",
         {{0}, BM_SEARCH_WEIGHTED_MSE, BM_COLUMN_ORDER_NONE, 0, 0, 0, false, NULL}},
    };
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = read_arguments(&m, cases[i].members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        const bm_method_params *e = &cases[i].expected;
        const bm_method_params p = bm_plan_method_params(plan, bm_plan_first(plan));
        assert_string_equal(plan->method->name, args->job == BM_JOB_GPTQ ? "gptq" : "rtn");
        if (p.scale_search != e->scale_search || p.act_order != e->act_order || p.damp_percent != e->damp_percent ||
            p.qep_alpha != e->qep_alpha || p.code_sweeps != e->code_sweeps || p.scale_refit != e->scale_refit)
            fail_msg("%s: search %d, order %d, damping %g, qep %g, %u sweeps, refit %d", cases[i].members,
                     (int)p.scale_search, (int)p.act_order, p.damp_percent, p.qep_alpha, p.code_sweeps, p.scale_refit);
        assert_int_equal(p.grid.search, e->scale_search != BM_SEARCH_ABS_MAX);
        assert_int_equal(p.grid.bits, 4);
        assert_int_equal(p.grid.group_size, bm_plan_first(plan)->grid.group_size);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

static void one_group_a_channel_has_no_order_of_groups(void **state)
{
    (void)state;
    made m = make_model(64, 128, 512);
    bm_arguments *args = read_arguments(&m, GPTQ ",\"act_order\":\"dynamic\"");
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
    assert_int_equal(plan->params.act_order, BM_COLUMN_ORDER_STATIC);
    assert_non_null(fixture_find_note(&plan->notes, "\"act_order\": \"dynamic\": taken as static"));
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
    unmake_model(&m);
}

static void steps_of_both_signs_are_searched_where_they_count(void **state)
{
    (void)state;
#define GROUPS ",\"weight_quant_method\":\"groupwise\",\"group_size\":32"
    static const struct {
        const char *members;
        bool is_signed;
    } cases[] = {
        {W4, true},
        {GPTQ, true},
        {W4 ",\"bits\":2", true},
        {W4 ",\"signed_scales\":false", false},
        {W4 ",\"symmetric\":false", false},
        {W4 ",\"scale_search\":\"abs_max\"", false},
        {W4 ",\"scale_search\":\"abs_max\",\"signed_scales\":true", false},
        {W4 ",\"bits\":8" GROUPS, true},
        {W4 ",\"bits\":8", false},
        {W4 ",\"bits\":8,\"signed_scales\":true", true},
        {GPTQ ",\"bits\":8", false},
        {"\"do_ptq\":true,\"quant_type\":\"a8w8\",\"act_quant_method\":\"per_token\",\"scale_search\":\"mse\","
         "\"signed_scales\":true",
         false},
    };
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = read_arguments(&m, cases[i].members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        if (bm_plan_first(plan)->grid.signed_scales != cases[i].is_signed)
            fail_msg("%s: signed scales are %s", cases[i].members, cases[i].is_signed ? "off" : "on");
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// A bit for each of q, k, v, o, gate, up and down. One scale a channel is one grid, however wide; a range that is kept is another.
static void grids_begin_where_no_linear_before_has_them(void **state)
{
    (void)state;
    enum { Q = 1, K = 2, V = 4, O = 8, DOWN = 64 };
    static const struct {
        const char *members;
        uint32_t begun, unsearched;
    } cases[] = {
        {W4 GROUPS, Q, 0},
        {W4, Q, 0},
        {W4 GROUPS ",\"skip_list_names\":[\"q_proj\"]", K, Q}, // which has no grid
        {W4 GROUPS ",\"auto_clip\":true,\"clip_skip\":[\"k_proj\",\"o_proj\"]", Q | K, K | O},
        {W4 GROUPS ",\"clip_skip\":[\"k_proj\"]", Q, 0},
        // Of the one block v has more bits, and down, whose inputs are whole blocks of 256.
        {W4 ",\"format\":\"gguf\",\"gguf_type\":\"q4_k_m\"", Q | V | DOWN, 0},
    };
    made m = make_model(64, 256, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = read_arguments(&m, cases[i].members);
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        for (uint32_t l = 0; l < plan->num_linears; l++)
            if (bm_plan_begins_grid(plan, l) != (cases[i].begun >> l & 1) ||
                plan->linears[l].grid.search == (cases[i].unsearched >> l & 1))
                fail_msg("%s: linear %u: begins %d, search %d", cases[i].members, l, bm_plan_begins_grid(plan, l),
                         plan->linears[l].grid.search);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// A search by data that nobody asked for gives way; one that was asked for does not.
static void search_by_data_needs_data_and_a_model_that_runs(void **state)
{
    (void)state;
    static const struct {
        const char *file, *rope, *members, *note; // file: in the folder of the data
        bm_search search;
    } cases[] = {
        {"train.json", "", "\"seed\":1", NULL, BM_SEARCH_GRAM},
        {"quant.json", "", "\"seed\":1", NULL, BM_SEARCH_GRAM},
        {"dev.json", "", "\"seed\":1", "mse instead of gram: the data have no part for calibration", BM_SEARCH_MSE},
        {"dev.json", "", "\"scale_search\":\"gram\"", NULL, BM_SEARCH_GRAM},
        {"train.json", "yarn", "\"seed\":1", "mse instead of gram: bitmill does not run the model", BM_SEARCH_MSE},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_model(64, 128, 512);
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        char *data = support_folder_create();
        bm_free(support_file_write(data, cases[i].file, "{}", 2));
        char *text =
            bm_format("\"model_name_or_path\":\"%s\",\"output_dir\":\"o\",\"dataset_name_or_path\":\"%s\"," W4 ",%s",
                      m.folder, data, cases[i].members);
        assert_ok(fixture_read(&args, text, NULL, &err), &err);
        if (cases[i].rope[0])
            strcpy(m.model->config.not_built, "a rope");
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        assert_int_equal(plan->params.scale_search, cases[i].search);
        assert_int_equal(bm_plan_watches(plan), cases[i].search == BM_SEARCH_GRAM);
        const bm_note *note = fixture_find_note(&plan->notes, cases[i].note ? cases[i].note : "instead of");
        assert_int_equal(note != NULL, cases[i].note != NULL);
        assert_true(!note || note->is_choice);
        bm_free(text);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
        support_folder_remove(&data);
        unmake_model(&m);
    }
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

// Of Q4_K_M the first linears have zero points, v and down steps of both signs.
static void signs_are_told_where_any_linear_has_both(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool expected;
    } cases[] = {{"q4_k", false}, {"q4_k_m", true}};
    made m = make_model(256, 256, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *members = bm_format(W4 ",\"format\":\"gguf\",\"gguf_type\":\"%s\"", cases[i].type);
        bm_arguments *args = read_arguments(&m, members);
        bm_plan *plan = NULL;
        bm_json *root = NULL;
        bm_error err = {0};
        bm_string text = BM_STRING_INIT;
        bm_json_writer writer;
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        bm_json_writer_init(&writer, &text, 2);
        bm_json_begin_object(&writer, NULL);
        bm_plan_write_json(plan, args, &writer);
        bm_json_end_object(&writer);
        assert_ok(bm_json_parse(&root, text.data, text.length, "written", &err), &err);
        assert_int_equal(bm_json_bool(bm_json_find(bm_json_find(root, "resolved"), "signed_scales")),
                         cases[i].expected);
        bm_json_destroy(&root);
        bm_string_free(&text);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
        bm_free(members);
    }
    unmake_model(&m);
}

// The original's codes are of float32 scales, symmetric: that is what is stored, and another wish is refused before any work.
static void compat_stores_float32_scales(void **state)
{
    static const struct {
        const char *members, *words; // NULL: it is planned
    } cases[] = {
        {"", NULL},
        {",\"scale_dtype\":\"float16\"", "\"compat\": \"paddleslim\": its codes are of scales in float32; found "
                                         "\"scale_dtype\": F16"},
        {",\"symmetric\":false", "\"compat\": \"paddleslim\": its codes are symmetric; found \"symmetric\": false"},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_model(64, 128, 512);
        bm_plan *plan = NULL;
        bm_error err = {0};
        char *members =
            bm_format("\"do_ptq\":true,\"compat\":\"paddleslim\",\"dtype\":\"bfloat16\"%s", cases[i].members);
        bm_arguments *args = read_arguments(&m, members);
        const bm_status status = bm_plan_create(args, m.model, &plan, &err);
        if (cases[i].words) {
            assert_int_equal(status, BM_E_ARGUMENT);
            assert_non_null(strstr(err.message, cases[i].words));
        } else {
            assert_ok(status, &err);
            assert_int_equal(bm_plan_first(plan)->grid.scale_dtype, BM_DTYPE_F32);
        }
        bm_free(members);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
        unmake_model(&m);
    }
}

// What becomes of inputs stands in words in front of a run, and in its record.
static void changes_of_inputs_are_said(void **state)
{
#define SHIFTED "\"shift\":true,\"shift_all_linears\":true,\"shift_step\":5,"
#define SMOOTHED "\"smooth\":true,\"smooth_all_linears\":true,"
    static const struct {
        const char *family, *members, *lines;
        uint32_t num_sequences;
    } cases[] = {
        {"llama", "\"act_quant_method\":\"abs_max\",\"ptq_step\":1",
         "inputs:  8 bits, static: one step for the inputs of a stage, by the largest magnitude (abs_max) over 1 "
         "step\n",
         0},
        {"llama", "\"act_quant_method\":\"per_token\"",
         "inputs:  8 bits, dynamic (per_token): each token has its own step\n", 0},
        {"llama", "\"search_tokens\":100,\"ptq_step\":3",
         "inputs:  8 bits, static: one step for the inputs of a stage, by the share of the largest magnitude that "
         "loses least (mse) on 100 tokens, over 3 steps\n",
         0},
        {"llama", "\"act_quant_method\":\"avg\",\"smooth\":true,\"smooth_alpha\":0.7,\"smooth_step\":-1,\"ptq_step\":3",
         "inputs:  8 bits, static: one step for the inputs of a stage, by the mean of the sequences' largest (avg) "
         "over 3 steps\n"
         "smooth:  alpha 0.7, weights by rms, over all steps\n"
         "folds:   q, k, v into the norm before them; gate, up into the norm before them\n",
         0},
        {"llama",
         SHIFTED SMOOTHED "\"act_quant_method\":\"per_token\",\"smooth_piecewise_search\":true,\"smooth_search_piece\":"
                          "true,\"smooth_step\":2",
         "shift:   by the middle of the sequences' mean range of each channel, over 5 steps\n"
         "smooth:  piecewise search, 1 to 3 pieces of channels, alphas 0.2 to 0.8 by 0.01, constants 1 to 5 by 0.5, "
         "weights by rms, judged crosswise, 2048 tokens, over 2 steps\n"
         "folds:   q, k, v into the norm before them; o into v; gate, up into the norm before them; down into up "
         "(scale alone); norms get biases, which bitmill alone reads\n",
         2},
        {"llama", // the second sequence is of the second step
         SHIFTED SMOOTHED "\"shift_statistic\":\"midrange\",\"smooth_piecewise_search\":true,\"smooth_step\":1,\"per_"
                          "device_train_batch_size\":1,\"smooth_sampler\":\"multi_step\",\"smooth_weight_statistic\":"
                          "\"abs_max\",\"piecewise_candidates\":\"relative\"",
         "inputs:  8 bits, static: one step for the inputs of a stage, by the share of the largest magnitude that "
         "loses least (mse) on all tokens, over 32 steps\n"
         "shift:   by the middle of the range of each channel, over 5 steps\n"
         "smooth:  piecewise search, 3 pieces of channels, alphas 0.2 to 0.8 by 0.01, constants 1 to 5 by 0.5, weights "
         "by abs_max, alphas for all channels, then for each piece from there (relative), all tokens, over 1 step\n",
         2},
        {"llama",
         SHIFTED SMOOTHED "\"smooth_piecewise_search\":true,\"compat\":\"paddleslim\",\"piecewise_candidates\":"
                          "\"relative\",\"search_alpha_"
                          "step\":0.1,\"search_scale_step\":1,\"smooth_sampler\":\"multi_step\"",
         "inputs:  8 bits, static: one step for the inputs of a stage, by the mean of the sequences' largest (avg) "
         "over 32 steps\n"
         "shift:   by the middle of the range of each channel, over 5 steps\n"
         "smooth:  piecewise search, 3 pieces of channels, alphas 0.2 to 0.8 by 0.01, constants 1 to 5 by 0.5, weights "
         "by abs_max, those of the last step, over 32 steps\n",
         2},
        {"llama", SMOOTHED "\"smooth_piecewise_search\":true,\"search_crosswise\":false,\"search_tokens\":1",
         "smooth:  piecewise search, 1 or 3 pieces of channels, alphas 0.2 to 0.8 by 0.01, constants 1 to 5 by 0.5, "
         "weights by rms, 1 token, over 32 steps\n",
         2},
        {"llama",
         SHIFTED SMOOTHED "\"shift_sampler\":\"ema\",\"shift_statistic\":\"mean\",\"fold_other_linears\":\"ops\"",
         "shift:   by the mean of each channel, averaged from step to step (ema), over 5 steps\n"
         "smooth:  alpha 0.5, weights by rms, over 32 steps\n"
         "folds:   q, k, v into the norm before them; o by operations that bitmill alone runs; gate, up into the norm "
         "before them; down by operations that bitmill alone runs; norms get biases, which bitmill alone reads\n",
         0},
        {"llama", "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"awq_step\":-1",
         "smooth:  by AWQ, ratios in steps of 1/20 (extended), losses of the linears, over all steps\n"
         "folds:   q, k, v into the norm before them; o into v; gate, up into the norm before them; down into up\n",
         0},
        {"llama",
         "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"awq_inspect\":\"block\",\"awq_candidates\":"
         "\"published\",\"search_"
         "tokens\":100,\"awq_n_grid\":8",
         "smooth:  by AWQ, ratios in steps of 1/8 (published), losses behind attention and behind the MLP (block), on "
         "whole sequences of about 100 tokens, over 32 steps\n",
         0},
        {"llama", "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"auto_clip\":true,\"autoclip_step\":1",
         "method:  AWQ, then plain rounding (RTN), 4 bits, one scale a channel, symmetric, scale search gram, scales "
         "of "
         "both signs\n",
         0},
        {"llama", "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"auto_clip\":true,\"autoclip_step\":1",
         "down into up\nclip:    factors of scale_search gram, by the error of outputs over 1 step\n", 0},
        {"llama",
         "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"auto_clip\":true,\"clip_max_shrink\":0.25",
         ", symmetric, clipped\n", 0},
        {"llama",
         "\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"auto_clip\":true,\"clip_max_shrink\":0.25,\"clip_"
         "n_grid\":8,"
         "\"skip_list_names\":[\"k_proj\"],\"clip_skip\":[\"q_proj\",\"k_proj\"],\"autoclip_step\":-1",
         "clip:    thresholds 1 - i/8 above 0.75, by the error of outputs over all steps; 1 of 6 linears keep their "
         "range "
         "(clip_skip: q_proj, k_proj)\n",
         0},
        {"bloom",
         SHIFTED SMOOTHED "\"smooth_piecewise_search\":true,\"smooth_k_piece\":1,\"search_scale_min\":null,\"search_"
                          "scale_max\":null,\"piecewise_candidates\":\"relative\",\"search_tokens\":100",
         "smooth:  piecewise search, 1 piece of channels, alphas 0.2 to 0.8 by 0.01, weights by rms, for all channels, "
         "then for each piece from there (relative), 100 tokens, over 32 steps\n"
         "folds:   query_key_value into the norm before it; dense into values; dense_h_to_4h into the norm before it\n",
         0},
    };
    static uint32_t sequences[] = {0, 1};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        made m = make_family_model(cases[i].family, 64, 128, 512);
        bm_plan *plan = NULL;
        bm_error err = {0};
        bm_string words = BM_STRING_INIT, record = BM_STRING_INIT;
        bm_json_writer writer;
        char *members = bm_format("\"do_ptq\":true,%s", cases[i].members);
        bm_arguments *args = read_arguments(&m, members);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        plan->calibration.num_segments = cases[i].num_sequences;
        plan->calibration.segment_sequences = sequences;
        plan->calibration.step_sequences = (uint32_t)args->per_device_train_batch_size;
        bm_plan_describe(plan, args, m.model, &words);
        if (!strstr(bm_string_text(&words), cases[i].lines))
            fail_msg("%s lacks %s", bm_string_text(&words), cases[i].lines);
        bm_json_writer_init(&writer, &record, 0);
        bm_json_begin_object(&writer, NULL);
        bm_plan_write_json(plan, args, &writer);
        bm_json_end_object(&writer);
        plan->calibration = (bm_calibration_data){0};
        assert_int_equal(strstr(bm_string_text(&record), "\"folds\":\"") != NULL, strstr(members, "smooth") != NULL);
        assert_int_equal(strstr(bm_string_text(&record), "\"inputs\":\"8 bits, ") != NULL, !strstr(members, "do_awq"));
        assert_int_equal(strstr(bm_string_text(&record), ", by the error of outputs over ") != NULL,
                         strstr(members, "auto_clip") != NULL);
        bm_string_free(&words);
        bm_string_free(&record);
        bm_free(members);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
        unmake_model(&m);
    }
}

// Where all that AWQ could scale stays float, linears are solved like those of plain rounding, and it is said.
static void scales_of_nothing_are_noted(void **state)
{
#define KEPT "\"skip_list_names\":[\"q_proj\",\"k_proj\",\"v_proj\",\"gate_proj\",\"up_proj\"]"
#define NORMS ",\"smooth_all_linears\":false"
    static const struct {
        const char *members, *note; // NULL: none
        bool equalizes, by_float;
        uint32_t passes;
    } cases[] = {
        {"\"do_ptq\":true,\"do_awq\":true," KEPT, NULL, true, true, 1},
        {"\"do_ptq\":true,\"do_awq\":true," KEPT NORMS,
         "\"do_awq\": true: scales nothing: linears whose inputs it can scale stay float; \"smooth_all_linears\": true "
         "scales inputs of o and down too",
         false, false, 5},
        {"\"do_ptq\":true,\"do_awq\":true,\"smooth_all_linears\":true,\"fold_other_linears\":\"off\"," KEPT,
         "\"do_awq\": true: scales nothing: linears whose inputs it can scale stay float", false, false, 5},
        {GPTQ ",\"scaling\":\"awq\"," KEPT NORMS, "\"scaling\": \"awq\": scales nothing", false, false, 5},
        {GPTQ ",\"scaling\":\"awq\"" NORMS, NULL, true, false, 6},
        {GPTQ ",\"scaling\":\"smooth\"," KEPT, NULL, false, false, 5},
    };
    (void)state;
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_plan *plan = NULL;
        bm_error err = {0};
        bm_arguments *args = read_arguments(&m, cases[i].members);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        const bm_note *note = fixture_find_note(&plan->notes, "scales nothing");
        if ((note != NULL) != (cases[i].note != NULL) || (note && !strstr(note->text, cases[i].note)) ||
            (note && args->smooth_all_linears && strstr(note->text, "smooth_all_linears")))
            fail_msg("%s: %s", cases[i].members, note ? note->text : "no note");
        if (plan->equalizes != cases[i].equalizes || bm_plan_solves_by_float(plan) != cases[i].by_float ||
            bm_calibrate_passes(plan, args) != cases[i].passes)
            fail_msg("%s: %u passes", cases[i].members, bm_calibrate_passes(plan, args));
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// What AWQ cannot fold it leaves alone: operations, which others' scales may become, are not offered.
static void operations_are_offered_where_they_can_be(void **state)
{
    static const struct {
        const char *members;
        bool are_offered;
    } cases[] = {{"\"do_ptq\":true,\"quant_type\":\"wint4\",\"smooth\":true,\"smooth_all_linears\":true", true},
                 {"\"do_ptq\":true,\"do_awq\":true", false}};
    (void)state;
    made m = make_family_model("bloom", 64, 256, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_plan *plan = NULL;
        bm_error err = {0};
        bm_arguments *args = read_arguments(&m, cases[i].members);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        const bm_note *note =
            fixture_find_note(&plan->notes, "inputs of down are not scaled, which nothing before them");
        assert_non_null(note);
        assert_int_equal(strstr(note->text, "\"ops\"") != NULL, cases[i].are_offered);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// Groups of weights beside codes of inputs are multiplied by bitmill alone: the notes, what loads the result, and its config.json
// say so.
static void groups_of_integers_are_for_bitmill_alone(void **state)
{
    static const struct {
        const char *members;
        bool needs_bitmill;
    } cases[] = {
        {"\"quant_type\":\"a8w8\"", false},
        {"\"quant_type\":\"a8w8\"" GROUPS, true},
        {"\"quant_type\":\"a8w8\",\"act_quant_method\":\"per_token\"" GROUPS, true},
        {"\"quant_type\":\"wint8\"" GROUPS, false},
    };
    (void)state;
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_plan *plan = NULL;
        bm_error err = {0};
        bm_string words = BM_STRING_INIT;
        char *members = bm_format("\"do_ptq\":true,%s", cases[i].members);
        bm_arguments *args = read_arguments(&m, members);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        bm_plan_describe(plan, args, m.model, &words);
        const bm_note *note = fixture_find_note(&plan->notes, "no other runtime multiplies groups");
        if (plan->needs_bitmill != cases[i].needs_bitmill || (note != NULL) != cases[i].needs_bitmill ||
            (strstr(bm_string_text(&words), "loads in: vLLM") != NULL) == cases[i].needs_bitmill)
            fail_msg("%s: %s", members, bm_string_text(&words));
        bm_string_free(&words);
        bm_free(members);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

// A piece has a channel at least; the narrowest inputs that are scaled say so.
static void pieces_are_no_more_than_channels(void **state)
{
    static const struct {
        const char *members;
        const char *note; // NULL: none
    } cases[] = {
        {"\"smooth_k_piece\":64", NULL},
        {"\"smooth_k_piece\":65", "\"smooth_k_piece\": 65: taken as 64 for the inputs of q, k and v"},
        {"\"smooth_k_piece\":65,\"skip_list_names\":[\"q_proj\",\"k_proj\",\"v_proj\"]",
         "\"smooth_k_piece\": 65: taken as 64 for the inputs of o"},
        {"\"smooth_k_piece\":65,\"skip_list_names\":[\"self_attn\",\"gate_proj\",\"up_proj\"]", NULL}, // down has 128
    };
    (void)state;
    made m = make_model(64, 128, 512);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_plan *plan = NULL;
        bm_error err = {0};
        char *members =
            bm_format("\"do_ptq\":true,\"smooth\":true,\"smooth_all_linears\":true,\"smooth_piecewise_search\":true,%s",
                      cases[i].members);
        bm_arguments *args = read_arguments(&m, members);
        assert_ok(bm_plan_create(args, m.model, &plan, &err), &err);
        if (cases[i].note ? !fixture_find_note(&plan->notes, cases[i].note)
                          : fixture_find_note(&plan->notes, "smooth_k_piece") != NULL)
            fail_msg("%s: expected %s", members, cases[i].note ? cases[i].note : "no note");
        bm_free(members);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
    unmake_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(largest_group_that_divides_all_is_chosen),
        cmocka_unit_test(linears_that_stay_float_choose_no_group),
        cmocka_unit_test(a_format_that_does_not_hold_a_linear_names_it),
        cmocka_unit_test(lengths_of_prompts_are_not_told_of_texts),
        cmocka_unit_test(group_size_that_does_not_divide_names_layer_and_sizes),
        cmocka_unit_test(lengths_are_fitted_to_the_context),
        cmocka_unit_test(a_context_too_short_is_refused),
        cmocka_unit_test(a_lowered_length_is_said_where_it_matters),
        cmocka_unit_test(a_note_of_the_plan_is_an_error_under_strict),
        cmocka_unit_test(keys_of_gptq_reach_the_method),
        cmocka_unit_test(one_group_a_channel_has_no_order_of_groups),
        cmocka_unit_test(steps_of_both_signs_are_searched_where_they_count),
        cmocka_unit_test(grids_begin_where_no_linear_before_has_them),
        cmocka_unit_test(search_by_data_needs_data_and_a_model_that_runs),
        cmocka_unit_test(what_was_decided_is_written),
        cmocka_unit_test(signs_are_told_where_any_linear_has_both),
        cmocka_unit_test(changes_of_inputs_are_said),
        cmocka_unit_test(compat_stores_float32_scales),
        cmocka_unit_test(groups_of_integers_are_for_bitmill_alone),
        cmocka_unit_test(pieces_are_no_more_than_channels),
        cmocka_unit_test(scales_of_nothing_are_noted),
        cmocka_unit_test(operations_are_offered_where_they_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
