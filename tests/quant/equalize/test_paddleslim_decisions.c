// Compat against searches that the original implementation recorded: all decisions, losses and scales, given the
// recorded partitions. Skipped where the data are not there.
#include "quant/equalize/close.h"
#include "quant/equalize/int8_loss.h"
#include "quant/equalize/recorded_group.h"
#include "quant/equalize/smooth_problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bm_error failure;

// The bounds of a recorded partition lie between values that are recorded to nine digits.
static void make_partition(const bm_json *trace, const double *a, uint32_t channels, bm_channel_pieces *out)
{
    double upper[8];
    uint32_t count = 0;
    for (const bm_json *bound = bm_json_first(bm_json_find(trace, "upper")); bound; bound = bm_json_next(bound))
        upper[count++] = bm_json_number(bound) * (1 + 1e-6);
    assert_ok(bm_channel_pieces_from_upper(a, channels, upper, count + 1, out, &failure), &failure);
    uint32_t p = 0;
    for (const bm_json *size = bm_json_first(bm_json_find(trace, "size")); size; size = bm_json_next(size))
        assert_int_equal(out->size[p++], bm_json_number(size));
    assert_int_equal(p, count + 1);
}

static void check_move(const bm_smooth_record *record, uint32_t move, const bm_json *trace)
{
    const bm_json *alpha = bm_json_first(bm_json_find(trace, "alpha")),
                  *loss = bm_json_first(bm_json_find(trace, "loss"));
    for (uint32_t i = 0; i < record->moves[move].piece; i++) {
        alpha = bm_json_next(alpha);
        loss = bm_json_next(loss);
    }
    assert_close(record->grid.candidates[record->moves[move].chosen].value, bm_json_number(alpha), 1e-9);
    assert_close(record->moves[move].loss, bm_json_number(loss), 3e-3 * bm_json_number(loss)); // theirs: float32 sums
}

// Every decision of a linear's search, and, for the linear that decides, the scales.
static void check_search(const char *model, group *g, const bm_json *json, const char *linear, bool searches_piece)
{
    char name[128];
    uint32_t rows = 0, cols = 0, num_partitions = 0, move = 0;
    snprintf(name, sizeof name, "%s.weight", linear);
    float *weights = recorded_tensor(model, name, &rows, &cols);
    double a[MOST_CHANNELS], magnitudes[RECORDED_BATCH * MOST_CHANNELS];
    float w[MOST_CHANNELS], scales[MOST_CHANNELS];
    const uint64_t all_rows = rows;
    find_a_and_w(g, weights, rows, a, w);
    bm_channel_statistics_magnitudes(&g->stats, RECORDED_SEQUENCES - RECORDED_BATCH, RECORDED_SEQUENCES, magnitudes);
    const uint64_t tokens = (uint64_t)RECORDED_BATCH * RECORDED_LENGTH;
    const bm_int8_loss_params loss_params = {.inputs =
                                                 g->inputs + (RECORDED_SEQUENCES * RECORDED_LENGTH - tokens) * cols,
                                             .weights = weights,
                                             .tokens = tokens,
                                             .rows = rows,
                                             .channels = cols,
                                             .linear_rows = &all_rows,
                                             .num_linears = 1,
                                             .group_size = cols,
                                             .compat_paddleslim = true};
    bm_int8_loss loss;
    assert_ok(bm_int8_loss_init(&loss, &loss_params, &failure), &failure);
    bm_smooth_problem problem = make_smooth_problem(cols, a, w, tokens, bm_int8_loss_run, &loss);
    observe(&problem, BM_ACTIVATION_AVG, magnitudes, RECORDED_BATCH);
    const bm_json *traces = recorded_find(json, "steps", "smooth", "search", linear, "trace", NULL);
    bm_channel_pieces pieces[8] = {{0}};
    for (const bm_json *trace = bm_json_first(traces); trace; trace = bm_json_next(trace)) {
        num_partitions = (uint32_t)bm_json_number(bm_json_find(trace, "k"));
        make_partition(trace, a, cols, &pieces[num_partitions - 1]);
    }
    bm_smooth_search_params params;
    bm_smooth_search_params_init(&params);
    params.k_piece = num_partitions;
    params.search_piece = searches_piece;
    params.compat_paddleslim = true;
    bm_smooth_record record;
    assert_ok(bm_smooth_search(&problem, &params, pieces, num_partitions, scales, &record, &failure), &failure);
    for (const bm_json *trace = bm_json_first(traces); trace; trace = bm_json_next(trace))
        for (uint32_t i = 0; i < (uint32_t)bm_json_number(bm_json_find(trace, "k")); i++)
            check_move(&record, move++, trace);
    assert_int_equal(move, record.num_moves);
    if (strcmp(linear, ATTENTION "v_proj") == 0)
        check_vector(recorded_find(json, "steps", "smooth", "scale", NORM, NULL), scales, cols, 1e-5);
    for (uint32_t i = 0; i < 8; i++)
        bm_channel_pieces_free(&pieces[i]);
    bm_smooth_record_free(&record);
    bm_int8_loss_free(&loss);
    free(weights);
}

static void decisions_of_the_search_are_the_recorded(void **state)
{
    const char *model = *state;
    // The reference loss is plain C: of wide models only what takes seconds.
    static const struct {
        const char *model, *strategy, *linear;
    } cases[] = {
        {"stories260K", "pss_search3", ATTENTION "q_proj"}, {"stories260K", "pss_search3", ATTENTION "k_proj"},
        {"stories260K", "pss_search3", ATTENTION "v_proj"}, {"stories260K", "pss_k3", ATTENTION "q_proj"},
        {"stories260K", "pss_k3", ATTENTION "k_proj"},      {"stories260K", "pss_k3", ATTENTION "v_proj"},
        {"babyllama-tok105", "pss_k3", ATTENTION "k_proj"}, {"babyllama-tok105", "pss_search3_all", ATTENTION "v_proj"},
        {"prose-8m", "pss_k3_all", ATTENTION "v_proj"},
    };
    group g = make_group(model);
    for (uint32_t i = 0; i < BM_COUNT(cases); i++) {
        if (strcmp(cases[i].model, model) != 0)
            continue;
        bm_json *json = recorded_read(model, cases[i].strategy);
        check_search(model, &g, json, cases[i].linear, strstr(cases[i].strategy, "search3"));
        bm_json_destroy(&json);
    }
    free_group(&g);
}

int main(void)
{
    struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions_of_the_search_are_the_recorded),
    };
    return run_on_recorded_models(tests, BM_COUNT(tests));
}
