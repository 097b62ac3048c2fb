// The search's loop: order of pieces and rounds, ties, losses that are no numbers, the number of pieces, what is
// recorded.
#include "quant/equalize/toy_loss.h"

static bm_error failure;

// Two channels of inputs 1 and 16, weights 1: alphas leave the first at 1.
static const double a[2] = {1, 16}, magnitudes[6] = {1, 16, 0.5, 9, 1, 3};
static const float w[2] = {1, 1};

typedef struct outcome {
    float scales[2];
    bm_smooth_record record;
    bm_status status;
} outcome;

static outcome search(toy *t, const bm_smooth_search_params *params, uint64_t tokens)
{
    outcome out = {.status = BM_OK};
    bm_smooth_problem problem = make_smooth_problem(2, a, w, tokens, toy_loss, t);
    observe(&problem, BM_ACTIVATION_AVG, magnitudes, 3);
    t->problem = &problem;
    out.status = search_pieces(&problem, params, out.scales, &out.record, &failure);
    return out;
}

static bm_smooth_search_params two_pieces(void)
{
    bm_smooth_search_params params;
    bm_smooth_search_params_init(&params);
    params.k_piece = 2;
    params.prune = false;
    return params;
}

// 3 is a constant, 8 is 16^0.75: index 1 + 55 of alphas.
static void pieces_find_their_candidates(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 8}};
    bm_smooth_search_params params = two_pieces();
    params.search_piece = true;
    outcome out = search(&t, &params, 100);
    const bm_smooth_record *record = &out.record;
    assert_ok(out.status, &failure);
    assert_true(out.scales[0] == 3 && out.scales[1] == 8);
    assert_true(record->chosen_pieces == 2 && record->loss == 0 && record->identity_loss == 4 + 49);
    assert_int_equal(record->num_moves, 5); // one piece once, two pieces twice
    assert_true(record->moves[1].num_pieces == 2 && record->moves[1].piece == 0 && record->moves[1].round == 0);
    assert_close(record->grid.candidates[record->moves[1].chosen].value, 3, 0);
    assert_true(record->moves[2].piece == 1 && record->moves[2].chosen == 56 && record->moves[2].loss == 0);
    assert_close(record->grid.candidates[56].value, 0.75, 1e-12);
    assert_true(record->moves[3].round == 1 && record->moves[3].chosen == BM_SMOOTH_KEPT);
    assert_true(record->losses[record->stride] == 53 && record->losses[record->stride + 69] == 4 + 49); // 1 and 5
    assert_int_equal(record->num_evaluated, 62 + 4 * 70); // no constants for all channels
    bm_smooth_record_free(&out.record);
    params.search_piece = false; // two pieces alone, the same result
    out = search(&t, &params, 100);
    assert_true(out.scales[0] == 3 && out.scales[1] == 8 && out.record.num_moves == 4);
    bm_smooth_record_free(&out.record);
}

static double falling_a_little(const toy *t, const float *scales, uint32_t i)
{
    (void)t, (void)scales;
    return 5 - 1e-14 * i;
}

static double falling_enough(const toy *t, const float *scales, uint32_t i)
{
    (void)t, (void)scales;
    return 5 - 1e-10 * i;
}

static void among_equals_the_first_stays(void **state)
{
    (void)state;
    bm_smooth_search_params params = two_pieces();
    params.search_piece = true;
    toy t = {.loss = toy_constant};
    outcome out = search(&t, &params, 100);
    assert_true(out.scales[0] == 1 && out.scales[1] == 1 && out.record.chosen_pieces == 1);
    assert_int_equal(out.record.num_moves, 3); // one round each: nothing improved
    assert_int_equal(out.record.moves[0].chosen, 0);
    assert_int_equal(out.record.moves[2].chosen, BM_SMOOTH_KEPT);
    bm_smooth_record_free(&out.record);
    t.loss = falling_a_little;
    out = search(&t, &params, 100);
    assert_true(out.scales[0] == 1 && out.scales[1] == 1 && out.record.chosen_pieces == 1);
    bm_smooth_record_free(&out.record);
    t.loss = falling_enough;
    out = search(&t, &params, 100);
    assert_true(out.scales[0] == 5 && out.scales[1] == 1 && out.record.chosen_pieces == 2); // no second piece gains
    bm_smooth_record_free(&out.record);
}

// (s0 - s1)^2 + (s0 - 4)^2 + (s1 - 4)^2 from 1, 1: round 1 finds 2.5 and (3 and 3.5 being equal) 3; round 2 3.5
// (of 3.5: 0.5) and 3.5 (of 3.5 and 4, equal); round 3 nothing. The largest first: the same with the two exchanged.
static double coupled(const toy *t, const float *scales, uint32_t i)
{
    const double x = (double)scales[0], y = (double)scales[1];
    (void)t, (void)i;
    return (x - y) * (x - y) + (x - 4) * (x - 4) + (y - 4) * (y - 4);
}

static void rounds_go_on_while_they_help(void **state)
{
    (void)state;
    static const struct {
        uint32_t rounds, num_moves;
        float scales[2];
        double loss;
    } cases[] = {{1, 2, {2.5f, 3}, 3.5}, {2, 4, {3.5f, 3.5f}, 0.5}, {5, 6, {3.5f, 3.5f}, 0.5}};
    for (uint32_t i = 0; i < BM_COUNT(cases); i++)
        for (uint32_t falling = 0; falling < 2; falling++) {
            bm_smooth_search_params params = two_pieces();
            toy t = {.loss = coupled};
            params.grid.alpha_min = 0; // 16^0.. is far from what wins
            params.grid.alpha_max = 0.01;
            params.rounds = cases[i].rounds;
            params.falling = falling;
            outcome out = search(&t, &params, 100);
            assert_close(out.scales[falling], cases[i].scales[0], 0);
            assert_close(out.scales[!falling], cases[i].scales[1], 0);
            assert_close(out.record.loss, cases[i].loss, 1e-12);
            assert_int_equal(out.record.num_moves, cases[i].num_moves);
            assert_int_equal(out.record.moves[0].piece, falling);
            bm_smooth_record_free(&out.record);
        }
}

static double never_finite(const toy *t, const float *scales, uint32_t i)
{
    (void)t, (void)scales;
    return i % 2 ? (double)NAN : (double)INFINITY;
}

static double finite_at_7(const toy *t, const float *scales, uint32_t i)
{
    return i == 7 ? 1 : never_finite(t, scales, i);
}

static void losses_that_are_no_numbers_lose(void **state)
{
    (void)state;
    bm_smooth_search_params params = two_pieces();
    params.search_piece = true;
    toy t = {.loss = never_finite};
    outcome out = search(&t, &params, 100);
    assert_ok(out.status, &failure);
    assert_true(out.record.nothing_finite && out.record.chosen_pieces == 0);
    assert_true(out.scales[0] == 1 && out.scales[1] == 1);
    bm_smooth_record_free(&out.record);
    t.loss = finite_at_7;
    out = search(&t, &params, 100);
    assert_true(!out.record.nothing_finite && out.record.loss == 1 && isinf(out.record.identity_loss));
    assert_int_equal(out.record.moves[0].chosen, 7);
    assert_int_equal(out.record.chosen_pieces, 1);
    bm_smooth_record_free(&out.record);
}

static void one_token_is_not_searched(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 8}};
    const bm_smooth_search_params params = two_pieces();
    for (uint64_t tokens = 0; tokens < 2; tokens++) {
        outcome out = search(&t, &params, tokens);
        assert_ok(out.status, &failure);
        assert_true(out.record.skipped && out.scales[0] == 1 && out.scales[1] == 1 && t.num_calls == 0);
        bm_smooth_record_free(&out.record);
    }
}

static void failures_of_the_loss_are_passed_on(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 8}, .fails = true};
    bm_smooth_search_params params = two_pieces();
    outcome out = search(&t, &params, 100);
    assert_int_equal(out.status, BM_E_DEVICE);
    assert_string_equal(failure.message, "the device is gone");
    bm_smooth_record_free(&out.record);
    params.rounds = 0;
    out = search(&t, &params, 100);
    assert_int_equal(out.status, BM_E_ARGUMENT);
    bm_smooth_record_free(&out.record);
}

// All candidates by a part of the tokens, 1 + 18 of 70 by all; the same choice.
static void pruned_candidates_see_few_tokens(void **state)
{
    (void)state;
    toy t = {.loss = toy_distance, .target = (const double[]){3, 8}};
    bm_smooth_search_params params = two_pieces();
    params.prune = true;
    params.rounds = 1;
    outcome out = search(&t, &params, 1000);
    assert_true(out.scales[0] == 3 && out.scales[1] == 8 && out.record.loss == 0);
    assert_int_equal(t.num_calls, 4);
    assert_int_equal(t.num_parts, 2);
    uint32_t finished = 0;
    for (uint32_t i = 0; i < 70; i++)
        finished += !isnan(out.record.losses[i]);
    assert_int_equal(finished, 19);
    assert_true(out.record.losses[0] == 53 && out.record.identity_loss == 53); // the identity is always finished
    assert_int_equal(out.record.num_evaluated, 2 * (19 + 9));
    bm_smooth_record_free(&out.record);
    out = search(&t, &params, 100); // an eighth of them says too little
    assert_int_equal(t.num_parts, 2);
    bm_smooth_record_free(&out.record);
}

// ---- crosswise

// Of two halves of three sequences. The first part is judged with scales from the sequence behind it, where the second channel
// reaches 16: least for 4, alpha 1/2. The second with those of the two in front, which reach 4: least for sqrt(2), alpha 1/4.
// Alpha 1/4 costs the first part 4, alpha 1/2 the second (2 - sqrt(2))^2 = 0.343.
typedef struct halves {
    const bm_smooth_problem *problem;
    uint32_t num_calls;
} halves;

static const double halves_a[2] = {1, 64}, halves_part_a[4] = {1, 16, 1, 4};
static const double halves_magnitudes[6] = {1, 4, 1, 3, 1, 16};

static bm_status halves_loss(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    halves *h = context;
    const bm_smooth_problem *p = h->problem;
    (void)err;
    assert_true(batch->part == 1 || batch->part == 2);
    const uint64_t first = batch->part == 1 ? p->split : 0, end = batch->part == 1 ? p->num_sequences : p->split;
    h->num_calls++;
    for (uint32_t i = 0; i < batch->count; i++) {
        const float *s = batch->scales + 2 * (size_t)i;
        assert_true(batch->act_amax[i] ==
                    bm_activation_amax(p->observer, p->magnitudes + 2 * first, end - first, 2, s));
        losses[i] = pow((double)s[1] - (batch->part == 1 ? 4 : sqrt(2)), 2);
    }
    return BM_OK;
}

static float judge_crosswise(uint64_t first_tokens, uint64_t second_tokens, double *loss)
{
    halves h = {0};
    bm_smooth_problem problem = make_smooth_problem(2, halves_a, w, first_tokens + second_tokens, halves_loss, &h);
    observe(&problem, BM_ACTIVATION_AVG, halves_magnitudes, 3);
    problem.part_a = halves_part_a;
    problem.split = 2;
    problem.part_weights[0] = (double)first_tokens;
    problem.part_weights[1] = (double)second_tokens;
    bm_smooth_search_params params = two_pieces();
    bm_smooth_record record;
    float scales[2];
    h.problem = &problem;
    params.k_piece = 1;
    params.grid = (bm_smooth_grid_params){.alpha_min = 0.25, .alpha_max = 0.5, .alpha_step = 0.25};
    assert_ok(search_pieces(&problem, &params, scales, &record, &failure), &failure);
    assert_true(h.num_calls == 2 && record.num_evaluated == 3 && scales[0] == 1);
    assert_close(record.identity_loss,
                 ((double)first_tokens * 9 + (double)second_tokens * pow(1 - sqrt(2), 2)) /
                     (double)(first_tokens + second_tokens),
                 1e-6);
    *loss = record.loss;
    bm_smooth_record_free(&record);
    return scales[1];
}

// What wins is made from all sequences, which reach 64.
static void halves_judge_each_other(void **state)
{
    double loss;
    (void)state;
    assert_close((double)judge_crosswise(30, 30, &loss), 8, 1e-6); // 64^(1/2)
    assert_close(loss, (4 - 4 + pow(2 - sqrt(2), 2)) / 2, 1e-6);
    assert_close((double)judge_crosswise(1, 19, &loss), sqrt(8), 1e-6); // 64^(1/4)
    assert_close(loss, 4.0 / 20, 1e-6);
}

// ---- a margin

static double distance_behind_ten(const toy *t, const float *scales, uint32_t i)
{
    return 10 + toy_distance(t, scales, i);
}

// One piece loses 14 with alpha 3/4, (1, 8) beside (3, 8); two lose 10, which is 0.714 of it.
static void more_pieces_have_to_be_much_better(void **state)
{
    static const struct {
        double margin;
        bool search_piece;
        uint32_t pieces;
    } cases[] = {{0, true, 2}, {0.28, true, 2}, {0.29, true, 1}, {0.5, true, 1}, {0.5, false, 1}, {0.1, false, 2}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        toy t = {.loss = distance_behind_ten, .target = (const double[]){3, 8}};
        bm_smooth_search_params params = two_pieces();
        params.search_piece = cases[i].search_piece;
        params.margin = cases[i].margin;
        outcome out = search(&t, &params, 100);
        assert_ok(out.status, &failure);
        assert_int_equal(out.record.chosen_pieces, cases[i].pieces);
        assert_close(out.record.loss, cases[i].pieces == 2 ? 10 : 14, 1e-6);
        assert_true(out.scales[0] == (cases[i].pieces == 2 ? 3 : 1) && out.scales[1] == 8);
        bm_smooth_record_free(&out.record);
    }
}

// With relative candidates the first stage is the one piece: (1, 8), which two pieces do not halve. A piece of which no candidate
// gains an eighth of the loss on a part of the tokens is not finished; where a quarter of that is asked it is.
static void pieces_without_promise_are_not_finished(void **state)
{
    static const double margins[] = {0.5, 0.4};
    uint64_t evaluated[BM_COUNT(margins)];
    (void)state;
    for (size_t i = 0; i < BM_COUNT(margins); i++) {
        toy t = {.loss = distance_behind_ten, .target = (const double[]){1.55, 8}};
        bm_smooth_search_params params = two_pieces();
        params.candidates = BM_PIECEWISE_RELATIVE;
        params.prune = true;
        params.rounds = 1;
        params.margin = i == 0 ? margins[i] : 0.1;
        outcome out = search(&t, &params, 1000);
        assert_ok(out.status, &failure);
        assert_int_equal(out.record.chosen_pieces, 0);
        evaluated[i] = out.record.num_evaluated;
        bm_smooth_record_free(&out.record);
    }
    assert_true(evaluated[0] < evaluated[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_find_their_candidates),       cmocka_unit_test(among_equals_the_first_stays),
        cmocka_unit_test(rounds_go_on_while_they_help),       cmocka_unit_test(losses_that_are_no_numbers_lose),
        cmocka_unit_test(one_token_is_not_searched),          cmocka_unit_test(failures_of_the_loss_are_passed_on),
        cmocka_unit_test(pruned_candidates_see_few_tokens),   cmocka_unit_test(halves_judge_each_other),
        cmocka_unit_test(more_pieces_have_to_be_much_better), cmocka_unit_test(pieces_without_promise_are_not_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
