// The record and the words of a run that shifts, scales, searches and quantizes activations, from a made-up result.
#include "support/unit.h"

#include "schedule/record.h"
#include "schedule/record_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bm_linear_record linears[] = {
    {.name = "a.0.q",
     .has_layer_error = true,
     .quantizes_inputs = true,
     .by_weights = {0.5, 0.001, 30.5, 0.9995, 2, 0},
     .by_inputs = {0.25, 0.002, 27, 0.999, 1, 0.0005},
     .by_both = {0.75, 0.004, 24, 0.998, 3, 0.0005}},
    {.name = "a.0.down_proj",
     .has_layer_error = true,
     .quantizes_inputs = true,
     .by_weights = {0, 0, (double)INFINITY, 1, 0, 0},
     .by_both = {1, 0.01, 20, 0.99, 4, 0.02}},
    {.name = "a.0.float"},
    {.name = "a.1.q", .has_layer_error = true, .quantizes_inputs = true, .by_both = {1, 0.002, 27, 0.99, 4, 0.003}},
};

// Two numbers of pieces behind a first stage; two were chosen.
static bm_smooth_candidate first_grid[] = {{BM_SMOOTH_CONSTANT, 1}, {BM_SMOOTH_ALPHA, 0.5}};
static bm_smooth_candidate grid[] = {{BM_SMOOTH_FACTOR, 1}, {BM_SMOOTH_RESCALED, 0.25}, {BM_SMOOTH_FACTOR, 2}};
static bm_smooth_move moves[] = {
    {.num_pieces = 0, .chosen = 1, .loss = 8},
    {.num_pieces = 1, .chosen = BM_SMOOTH_KEPT, .loss = 8},
    {.num_pieces = 2, .chosen = 2, .loss = 7},
    {.num_pieces = 2, .piece = 1, .chosen = 1, .loss = 6},
    {.num_pieces = 2, .round = 1, .chosen = BM_SMOOTH_KEPT, .loss = 6},
    {.num_pieces = 2, .round = 1, .piece = 1, .chosen = BM_SMOOTH_KEPT, .loss = 6},
};
#define N ((double)NAN)
static double losses[] = {10, 8, N, 8, 9, N, 8, N, 7, 7, 6, (double)INFINITY, 6, 6, 6, 6, 6, 6};

static bm_stage_record stages[] = {
    {.block = 0,
     .stage = BM_STAGE_GATE_UP,
     .channels = 5,
     .tokens = 100,
     .num_sequences = 4,
     .sample_tokens = 64,
     .shifts = true,
     .scales = true,
     .shift = {.num_small = 2, .amax_before = 16, .amax_after = 8},
     .search = {.grid = {grid, 3},
                .first_grid = {first_grid, 2},
                .moves = moves,
                .losses = losses,
                .num_moves = BM_COUNT(moves),
                .stride = 3,
                .asked_pieces = 3,
                .most_pieces = 2,
                .chosen_pieces = 2,
                .identity_loss = 10,
                .loss = 6,
                .num_evaluated = 17},
     .finish = {.exponent = -1, .num_moved = 3},
     .least_scale = 0.5f,
     .largest_scale = 4,
     .amax_before = 16,
     .amax = 2,
     .amax_share = 0.75,
     .input = {BM_INPUT_STATIC, 0.015625f},
     .num_bins = 3,
     .low_before = {-1.23456f, -2, (float)INFINITY},
     .high_before = {1, 16, 3},
     .low = {-1, -1, -1},
     .high = {1, 2, 1}},
    {.block = 1, .stage = BM_STAGE_QKV, .channels = 4, .amax_before = 1, .amax = 1, .as_operations = true},
    {.block = 1,
     .stage = BM_STAGE_DOWN,
     .channels = 4,
     .shifts = true,
     .scales = true,
     .shift = {.enlarges = true},
     .search = {.asked_pieces = 3, .identity_loss = (double)INFINITY, .loss = (double)INFINITY, .nothing_finite = true},
     .input = {BM_INPUT_DYNAMIC, 0}},
    {.block = 2,
     .stage = BM_STAGE_O,
     .scales = true,
     .search = {.asked_pieces = 1, .skipped = true},
     .amax_share = 1,
     .share_skipped = true},
    {.block = 2, .stage = BM_STAGE_QKV, .scales = true, .search = {.asked_pieces = 1, .one_sided = true}},
};

static const bm_quantize_result result = {
    .linears = linears, .num_linears = BM_COUNT(linears), .stages = stages, .num_stages = BM_COUNT(stages)};

// What a writer of that indent makes of the result's stages, and reads back. The caller frees both.
static bm_json *read_stages(uint32_t indent, const bm_quantize_result *r, bm_string *text)
{
    bm_json_writer json;
    bm_json *record = NULL;
    bm_error err = {0};
    bm_json_writer_init(&json, text, indent);
    bm_json_begin_object(&json, NULL);
    bm_record_put_stages(&json, r);
    bm_json_begin_array(&json, "linears");
    for (uint32_t i = 0; i < r->num_linears; i++) {
        bm_json_begin_object(&json, NULL);
        bm_record_put_layer_error(&json, &r->linears[i]);
        bm_json_end_object(&json);
    }
    bm_json_end_array(&json);
    bm_json_end_object(&json);
    assert_ok(bm_json_parse(&record, text->data, text->length, "record", &err), &err);
    return record;
}

static void contains(const bm_string *text, const char *part)
{
    if (!strstr(bm_string_text(text), part))
        fail_msg("lacking: %s\nin: %s", part, bm_string_text(text));
}

static void a_linear_has_three_errors(void **state)
{
    (void)state;
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &result, &text);
    contains(&text, "{\"layer_error\":{"
                    "\"weights\":{\"mse\":0.5,\"nmse\":0.001,\"sqnr_db\":30.5,\"cosine\":0.9995,\"max_error\":2.0,"
                    "\"saturated_share\":0.0},"
                    "\"inputs\":{\"mse\":0.25,\"nmse\":0.002,\"sqnr_db\":27.0,\"cosine\":0.999,\"max_error\":1.0,"
                    "\"saturated_share\":0.0005},"
                    "\"both\":{\"mse\":0.75,\"nmse\":0.004,\"sqnr_db\":24.0,\"cosine\":0.998,\"max_error\":3.0,"
                    "\"saturated_share\":0.0005}}}");
    contains(&text, "\"nmse\":0.0,\"sqnr_db\":null,\"cosine\":1.0"); // JSON has no infinity
    const bm_json *linear = bm_json_first(bm_json_find(record, "linears"));
    assert_null(bm_json_find(bm_json_next(bm_json_next(linear)), "layer_error"));
    bm_json_destroy(&record);
    bm_string_free(&text);
}

static void a_stage_has_what_was_done(void **state)
{
    (void)state;
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &result, &text);
    contains(&text, "{\"stages\":[{\"block\":0,\"stage\":\"gate_up\",\"channels\":5,\"tokens\":100,\"sequences\":4,"
                    "\"sample_tokens\":64,\"as_operations\":false,"
                    "\"shift\":{\"applied\":true,\"small_channels\":2,\"amax_before\":16.0,\"amax_after\":8.0},"
                    "\"scales\":{\"least\":0.5,\"largest\":4.0,\"exponent\":-1,\"limited_channels\":3},\"search\":{");
    contains(&text, "\"amax\":{\"before\":16.0,\"after\":2.0,\"share\":0.75,\"skipped\":false},\"input\":{\"kind\":"
                    "\"static\",\"step\":0.015625},"
                    "\"ranges\":{\"channels_per_bin\":2,"
                    "\"before\":{\"low\":[-1.235,-2.0,null],\"high\":[1.0,16.0,3.0]},"
                    "\"after\":{\"low\":[-1.0,-1.0,-1.0],\"high\":[1.0,2.0,1.0]}}}");
    contains(&text, "{\"block\":1,\"stage\":\"qkv\",\"channels\":4,\"tokens\":0,\"sequences\":0,\"sample_tokens\":0,"
                    "\"as_operations\":true,\"amax\":{\"before\":1.0,\"after\":1.0},\"input\":{\"kind\":\"float\"}}");
    contains(&text, "\"shift\":{\"applied\":false,");
    contains(&text, "\"input\":{\"kind\":\"dynamic\"}");
    bm_json_destroy(&record);
    bm_string_free(&text);
}

static void a_search_has_moves_and_curves_of_what_was_chosen(void **state)
{
    (void)state;
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &result, &text);
    contains(&text,
             "\"search\":{\"identity_loss\":1e+01,\"loss\":6.0,\"asked_pieces\":3,\"most_pieces\":2,\"pieces\":2,"
             "\"evaluated\":17,\"skipped\":false,\"nothing_finite\":false,\"one_sided\":false,"
             "\"loss_by_pieces\":[{\"pieces\":0,\"loss\":8.0},{\"pieces\":1,\"loss\":8.0},{\"pieces\":2,\"loss\":6.0}],"
             "\"moves\":["
             "{\"pieces\":0,\"round\":0,\"piece\":0,\"candidate\":{\"kind\":\"alpha\",\"value\":0.5},\"loss\":8.0},"
             "{\"pieces\":2,\"round\":0,\"piece\":0,\"candidate\":{\"kind\":\"factor\",\"value\":2.0},\"loss\":7.0},"
             "{\"pieces\":2,\"round\":0,\"piece\":1,\"candidate\":{\"kind\":\"rescaled_alpha\",\"value\":0.25},"
             "\"loss\":6.0},"
             "{\"pieces\":2,\"round\":1,\"piece\":0,\"candidate\":null,\"loss\":6.0},"
             "{\"pieces\":2,\"round\":1,\"piece\":1,\"candidate\":null,\"loss\":6.0}],\"curves\":["
             "{\"pieces\":0,\"round\":0,\"piece\":0,\"constant\":{\"value\":[1.0],\"loss\":[1e+01]},"
             "\"alpha\":{\"value\":[0.5],\"loss\":[8.0]}},"
             "{\"pieces\":2,\"round\":0,\"piece\":0,\"factor\":{\"value\":[1.0,2.0],\"loss\":[8.0,7.0]},"
             "\"rescaled_alpha\":{\"value\":[],\"loss\":[]}}," // pruned
             "{\"pieces\":2,\"round\":0,\"piece\":1,\"factor\":{\"value\":[1.0],\"loss\":[7.0]},"
             "\"rescaled_alpha\":{\"value\":[0.25],\"loss\":[6.0]}}]}");
    contains(&text, "\"identity_loss\":null,\"loss\":null,");
    contains(&text, "\"skipped\":true,\"nothing_finite\":false,\"one_sided\":false,");
    contains(&text, "\"skipped\":false,\"nothing_finite\":false,\"one_sided\":true,");
    contains(&text, "\"share\":1.0,\"skipped\":true},");
    bm_json_destroy(&record);
    bm_string_free(&text);
}

// AWQ's: one move of all channels, by ratios; skipped, without a candidate; without a finite loss.
static void a_search_of_ratios_is_told(void **state)
{
    (void)state;
    bm_smooth_candidate ratios[] = {
        {BM_SMOOTH_AWQ, 0}, {BM_SMOOTH_AWQ, 0.5}, {BM_SMOOTH_AWQ_DUO, 0}, {BM_SMOOTH_AWQ_DUO, 0.5}};
    bm_smooth_move chosen = {.chosen = 3, .loss = 5}, kept = {.chosen = BM_SMOOTH_KEPT, .loss = (double)INFINITY};
    double by_ratio[] = {10, 8, N, 5}, none[] = {N, N, N, (double)INFINITY};
    bm_stage_record records[] = {
        {.scales = true,
         .search = {.first_grid = {ratios, 4},
                    .moves = &chosen,
                    .losses = by_ratio,
                    .num_moves = 1,
                    .stride = 4,
                    .identity_loss = 10,
                    .loss = 5,
                    .num_evaluated = 4}},
        {.block = 1, .scales = true, .search = {.skipped = true}},
        {.block = 2,
         .scales = true,
         .search = {.first_grid = {ratios, 4},
                    .moves = &kept,
                    .losses = none,
                    .num_moves = 1,
                    .stride = 4,
                    .identity_loss = (double)INFINITY,
                    .loss = (double)INFINITY,
                    .num_evaluated = 4,
                    .nothing_finite = true}},
        {.block = 3, .scales = true}, // by alpha: nothing was searched
    };
    const bm_quantize_result r = {.stages = records, .num_stages = BM_COUNT(records)};
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &r, &text);
    contains(&text,
             "\"search\":{\"identity_loss\":1e+01,\"loss\":5.0,\"asked_pieces\":0,\"most_pieces\":0,\"pieces\":0,"
             "\"evaluated\":4,\"skipped\":false,\"nothing_finite\":false,\"one_sided\":false,"
             "\"loss_by_pieces\":[{\"pieces\":0,\"loss\":5.0}],\"moves\":["
             "{\"pieces\":0,\"round\":0,\"piece\":0,\"candidate\":{\"kind\":\"awq_duo\",\"value\":0.5},\"loss\":5.0}],"
             "\"curves\":[{\"pieces\":0,\"round\":0,\"piece\":0,"
             "\"awq\":{\"value\":[0.0,0.5],\"loss\":[1e+01,8.0]},\"awq_duo\":{\"value\":[0.5],\"loss\":[5.0]}}]}");
    contains(&text, "\"evaluated\":0,\"skipped\":true,\"nothing_finite\":false,\"one_sided\":false,"
                    "\"loss_by_pieces\":[],\"moves\":[],\"curves\":[]}");
    contains(&text, "\"search\":{\"identity_loss\":null,\"loss\":null,");
    contains(&text, "\"candidate\":null,\"loss\":null}],\"curves\":[{\"pieces\":0,\"round\":0,\"piece\":0,"
                    "\"awq\":{\"value\":[],\"loss\":[]},\"awq_duo\":{\"value\":[],\"loss\":[]}}]}");
    uint32_t num_searches = 0;
    for (const bm_json *s = bm_json_first(bm_json_find(record, "stages")); s; s = bm_json_next(s))
        num_searches += bm_json_find(s, "search") != NULL;
    assert_int_equal(num_searches, 3);
    bm_json_destroy(&record);
    bm_string_free(&text);
}

// None: what all channels chose at first, or no scales; nothing where neither was tried.
static void numbers_of_pieces_begin_with_none(void **state)
{
    (void)state;
    bm_smooth_candidate one[] = {{BM_SMOOTH_CONSTANT, 1}};
    bm_smooth_move move = {.num_pieces = 3, .loss = 6};
    double loss = 6;
    bm_stage_record stage = {.scales = true,
                             .search = {.grid = {one, 1},
                                        .moves = &move,
                                        .losses = &loss,
                                        .num_moves = 1,
                                        .stride = 1,
                                        .asked_pieces = 3,
                                        .chosen_pieces = 3,
                                        .identity_loss = 10}};
    const bm_quantize_result r = {.stages = &stage, .num_stages = 1};
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &r, &text);
    bm_json_destroy(&record);
    contains(&text, "\"loss_by_pieces\":[{\"pieces\":0,\"loss\":1e+01},{\"pieces\":3,\"loss\":6.0}]");
    bm_string_clear(&text);
    stage.search.identity_loss = (double)INFINITY; // of compat
    record = read_stages(0, &r, &text);
    bm_json_destroy(&record);
    contains(&text, "\"loss_by_pieces\":[{\"pieces\":3,\"loss\":6.0}]");
    bm_string_free(&text);
}

// Curves of many pieces: of the eight of the largest magnitudes.
static void curves_are_bounded(void **state)
{
    (void)state;
    bm_smooth_move many[20] = {{0}};
    static double flat[20] = {0};
    bm_smooth_candidate one[] = {{BM_SMOOTH_CONSTANT, 1}};
    for (uint32_t i = 0; i < BM_COUNT(many); i++)
        many[i] = (bm_smooth_move){.num_pieces = 20, .piece = i};
    bm_stage_record stage = {.scales = true,
                             .search = {.grid = {one, 1},
                                        .moves = many,
                                        .losses = flat,
                                        .num_moves = 20,
                                        .stride = 1,
                                        .asked_pieces = 20,
                                        .chosen_pieces = 20}};
    const bm_quantize_result r = {.stages = &stage, .num_stages = 1};
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &r, &text);
    const bm_json *search = bm_json_find(bm_json_first(bm_json_find(record, "stages")), "search");
    assert_int_equal(bm_json_count(bm_json_find(search, "moves")), 20);
    assert_int_equal(bm_json_count(bm_json_find(search, "curves")), 8);
    assert_float_equal(bm_json_number(bm_json_find(bm_json_first(bm_json_find(search, "curves")), "piece")), 12, 0);
    bm_json_destroy(&record);
    bm_string_free(&text);
}

// A list of numbers, a move and a curve take one line each of an indented file.
static void lists_are_one_line(void **state)
{
    (void)state;
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(2, &result, &text);
    contains(&text, "\n          \"low\": [-1.235,-2.0,null],\n          \"high\": [1.0,16.0,3.0]\n        }");
    contains(&text, "\n          {\"pieces\":2,\"round\":1,\"piece\":1,\"candidate\":null,\"loss\":6.0}\n        ],\n");
    bm_json_destroy(&record);
    bm_string_free(&text);
}

static void without_stages_nothing_is_written(void **state)
{
    (void)state;
    const bm_quantize_result none = {.linears = linears + 2, .num_linears = 1};
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &none, &text);
    assert_string_equal(bm_string_text(&text), "{\"linears\":[{}]}");
    bm_json_destroy(&record);
    bm_string_free(&text);
    bm_record_describe_errors(&none, &text);
    assert_string_equal(bm_string_text(&text), "");
    bm_string_free(&text);
}

static void append_line(void *user, bm_log_level level, const char *message)
{
    bm_string_append_format(user, "%d %s\n", level, message);
}

static void the_end_of_a_run_lists_the_worst(void **state)
{
    (void)state;
    bm_string lines = BM_STRING_INIT;
    const bm_log log = {.level = BM_LOG_INFO, .write = append_line, .user = &lines};
    bm_record_warn(&result, &log);
    assert_string_equal(bm_string_text(&lines),
                        "1 1 of 4 searches of scales had fewer than two tokens: scales stay 1\n"
                        "1 search_crosswise: 1 of 4 searches of scales were judged by what the scales are made of: one "
                        "half of the sequences has no tokens\n"
                        "1 act_quant_method mse: 1 of 2 steps of inputs are of the largest magnitude: there were fewer "
                        "than two tokens\n"
                        "1 a.0.down_proj: 2 % of its inputs are beyond the largest 8-bit value; 2 of 3 linears have "
                        "more than 0.1 % of such\n");
    bm_string_clear(&lines);
    bm_record_describe(&result, &lines);
    assert_string_equal(bm_string_text(&lines),
                        "relative squared error of outputs, by quantized weights, inputs and both:\n"
                        "  linear          weights    inputs      both  SQNR, dB  saturated, %\n"
                        "  a.0.down_proj  0.00e+00  0.00e+00  1.00e-02      20.0        2.0000\n"
                        "  a.0.q          1.00e-03  2.00e-03  4.00e-03      24.0        0.0500\n"
                        "  a.1.q          0.00e+00  0.00e+00  2.00e-03      27.0        0.3000\n"
                        "saturated inputs: more than 0.1 % in 2 of 3 linears, most in a.0.down_proj, 2 %\n"
                        "searches skipped, fewer than two tokens: 1 of 4; scales stay 1\n"
                        "searches without a finite loss: 1 of 4; scales stay 1\n"
                        "searches not judged crosswise, one half of the sequences has no tokens: 1 of 4\n"
                        "steps of inputs of the largest magnitude, fewer than two tokens: 1 of 2\n");
    bm_string_free(&lines);
}

// Nothing is said of inputs that stay float.
static void float_inputs_have_no_errors(void **state)
{
    (void)state;
    bm_linear_record one = {.name = "a",
                            .has_layer_error = true,
                            .by_weights = {0.5, 0.25, 6, 0.5, 2, 0},
                            .by_both = {0.5, 0.25, 6, 0.5, 2, 0}};
    const bm_quantize_result r = {.linears = &one, .num_linears = 1};
    bm_string text = BM_STRING_INIT;
    bm_json *record = read_stages(0, &r, &text);
    contains(
        &text,
        "{\"layer_error\":{\"weights\":{\"mse\":0.5,\"nmse\":0.25,\"sqnr_db\":6.0,\"cosine\":0.5,\"max_error\":2.0},"
        "\"both\":{\"mse\":0.5,\"nmse\":0.25,\"sqnr_db\":6.0,\"cosine\":0.5,\"max_error\":2.0}}}");
    bm_string_clear(&text);
    bm_record_describe(&r, &text);
    assert_string_equal(bm_string_text(&text), "relative squared error of outputs, by quantized weights:\n"
                                               "  linear     error  SQNR, dB\n"
                                               "  a       2.50e-01       6.0\n");
    bm_json_destroy(&record);
    bm_string_free(&text);
}

// Five of more, and one whose sums overflowed before all.
static void the_list_is_short(void **state)
{
    (void)state;
    bm_linear_record many[7];
    bm_string lines = BM_STRING_INIT;
    for (uint32_t i = 0; i < BM_COUNT(many); i++) {
        many[i] = (bm_linear_record){.has_layer_error = true, .by_both = {.nmse = i == 4 ? N : i}};
        snprintf(many[i].name, sizeof many[i].name, "x%u", i);
    }
    const bm_quantize_result r = {.linears = many, .num_linears = BM_COUNT(many)};
    bm_record_describe_errors(&r, &lines);
    contains(&lines, "by quantized weights; the 5 largest of 7:\n");
    assert_null(strstr(bm_string_text(&lines), "x1"));
    assert_true(strstr(bm_string_text(&lines), "x4") < strstr(bm_string_text(&lines), "x6"));
    assert_true(strstr(bm_string_text(&lines), "x6") < strstr(bm_string_text(&lines), "x5"));
    bm_string_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_has_three_errors),
        cmocka_unit_test(a_stage_has_what_was_done),
        cmocka_unit_test(a_search_has_moves_and_curves_of_what_was_chosen),
        cmocka_unit_test(a_search_of_ratios_is_told),
        cmocka_unit_test(numbers_of_pieces_begin_with_none),
        cmocka_unit_test(curves_are_bounded),
        cmocka_unit_test(lists_are_one_line),
        cmocka_unit_test(without_stages_nothing_is_written),
        cmocka_unit_test(the_end_of_a_run_lists_the_worst),
        cmocka_unit_test(float_inputs_have_no_errors),
        cmocka_unit_test(the_list_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
