// Runs that shift, smooth and search, on the device that the argument names: what is counted, and numbers worked by hand.
#include "schedule/equalize_fixture.h"

#include "support/edits.h"
#include "support/folders.h"

#include <math.h>

// ---- what is counted

// Packs: statistics are of the sequences in them.
static void packed_sequences_count_one_by_one(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    run r = {.folder = folder, .keys = A8W8 SHIFT SMOOTH SEARCH ",\"zero_padding\":true,\"ptq_step\":1"};
    quantize_well(&r);
    assert_int_equal(r.result.num_stages, 2 * BM_NUM_STAGES);
    assert_int_equal(r.result.stages[0].num_sequences, 6);
    assert_int_equal(r.result.stages[0].tokens, 82);
    end_run(&r);
    support_folder_remove(&folder);
}

// A step of two packs has the six sequences in them, though the step behind it has two.
static void steps_of_packs_are_whole(void **state)
{
    static const uint32_t lengths[] = {30, 20, 10, 30, 20, 10, 60, 50};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    model_maker_ids_write(folder, "packs.jsonl", lengths, BM_COUNT(lengths));
    run packs = {.folder = folder,
                 .data = "packs.jsonl",
                 .keys = A8W8 SMOOTH ",\"keep_order\":true,\"zero_padding\":true,\"ptq_step\":1,\"smooth_step\":2"};
    run apart = {.folder = folder,
                 .data = "packs.jsonl",
                 .keys = A8W8 SMOOTH ",\"keep_order\":true,\"ptq_step\":3,\"smooth_step\":4"};
    quantize_well(&packs);
    quantize_well(&apart);
    assert_int_equal(packs.result.stages[0].num_sequences, 8);
    for (uint32_t i = 0; i < packs.result.num_stages; i++) {
        const bm_stage_record *packed = &packs.result.stages[i], *alone = &apart.result.stages[i];
        assert_true(fabs(packed->amax_before - alone->amax_before) <= 1e-5 * alone->amax_before);
    }
    end_run(&packs);
    end_run(&apart);
    support_folder_remove(&folder);
}

// A linear that stays float reads floats: q, which is zeros here, loses nothing where it is quantized, and does not count among
// the outputs where it is not.
static void floats_do_not_count_in_the_search(void **state)
{
    model_maker_params p = small_model();
    uint64_t all = 0, counted = 0;
    (void)state;
    char *folder = made_model(&p);
    scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", -1, -1, 32, 0);
    run whole = {.folder = folder, .keys = A8W8 SMOOTH SEARCH};
    run part = {.folder = folder, .keys = A8W8 SMOOTH SEARCH ",\"skip_list_names\":[\"q_proj\"]"};
    quantize_well(&whole);
    quantize_well(&part);
    for (uint32_t i = 0; i < 3; i++) { // q, k, v of the first block
        all += whole.result.linears[i].out_features;
        counted += i > 0 ? whole.result.linears[i].out_features : 0;
    }
    const double a = stage_of(&whole, 0, BM_STAGE_QKV)->search.identity_loss * (double)all;
    const double b = stage_of(&part, 0, BM_STAGE_QKV)->search.identity_loss * (double)counted;
    assert_true(a > 0 && fabs(a - b) <= 1e-4 * a);
    end_run(&whole);
    end_run(&part);
    support_folder_remove(&folder);
}

// ---- numbers worked by hand

// Tokens whose norms are 1, so that q, k and v read (even, odd channels) = (1, 1), (7/5, 1/5) and (1/5, 7/5); the third
// comes in the second step alone. The first step is what is shifted by: z = (6/5, 3/5). Behind it inputs reach (1, 4/5)
// in both steps, and where the largest weights are (1/4, 16/5), scales of alpha 1/2 are sqrt(1 / (1/4)) = 2 and
// sqrt((4/5) / (16/5)) = 1/2, whose logarithms cancel: no power of two is free. A sequence's largest is then 4/5 in the
// first step, 8/5 in the second.
static void scales_behind_a_shift_are_those_of_shifted_inputs(void **state)
{
    static const char lines[] =
        "{\"input_ids\":[5,6]}\n{\"input_ids\":[6,5]}\n{\"input_ids\":[5,7]}\n{\"input_ids\":[7]}\n";
    static const float tokens[3][2] = {{1, 1}, {1.4f, 0.2f}, {0.2f, 1.4f}};
    enum { WIDTH = 32, FIRST = 5 };
    float one[WIDTH], q[WIDTH * WIDTH] = {0}, k[WIDTH / 2 * WIDTH] = {0}, v[WIDTH / 2 * WIDTH] = {0};
    model_maker_params p = small_model();
    uint64_t count;
    (void)state;
    char *folder = made_model(&p);
    float *embedding = read_from(folder, "model.embed_tokens.weight", &count);
    for (int c = 0; c < WIDTH; c++) {
        one[c] = 1;
        for (int t = 0; t < 3; t++)
            embedding[(FIRST + t) * WIDTH + c] = tokens[t][c % 2];
        if (c % 2 == 0)
            q[c] = 0.25f; // row 0
        else
            v[3 * WIDTH + c] = -3.2f;
    }
    support_tensor_write(folder, "model.embed_tokens.weight", embedding, count * sizeof *embedding);
    support_tensor_write(folder, INPUT_NORM, one, sizeof one);
    support_tensor_write(folder, "model.layers.0.self_attn.q_proj.weight", q, sizeof q);
    support_tensor_write(folder, "model.layers.0.self_attn.k_proj.weight", k, sizeof k);
    support_tensor_write(folder, "model.layers.0.self_attn.v_proj.weight", v, sizeof v);
    bm_free(support_file_write(folder, "hand.jsonl", lines, sizeof lines - 1));
    run r = {.folder = folder,
             .data = "hand.jsonl",
             .keys = A8W8
             ",\"keep_order\":true,\"shift\":true,\"shift_step\":1,\"smooth\":true,\"act_quant_method\":\"avg\","
             "\"smooth_weight_statistic\":\"abs_max\""};
    quantize_well(&r);
    char *output = output_of(&r);
    float *weight = read_from(output, INPUT_NORM, &count);
    float *bias = read_from(output, "model.layers.0.input_layernorm.bias", &count);
    float *q_bias = read_from(output, "model.layers.0.self_attn.q_proj.bias", &count);
    float *v_bias = read_from(output, "model.layers.0.self_attn.v_proj.bias", &count);
    float *step = read_from(output, "model.layers.0.self_attn.q_proj.input_scale", &count);
    for (int c = 0; c < WIDTH; c++) {
        assert_near((double)weight[c], c % 2 == 0 ? 0.5 : 2, "weight of the norm, 1 / s");
        assert_near((double)bias[c], c % 2 == 0 ? -0.6 : -1.2, "bias of the norm, -z / s");
    }
    assert_near((double)q_bias[0], 16 * 0.25 * 1.2, "bias of q, W z");
    assert_near((double)v_bias[3], 16 * -3.2 * 0.6, "bias of v, W z");
    assert_near((double)step[0] * 127, 1.2, "largest input, the mean of four sequences");
    bm_free(embedding);
    bm_free(weight);
    bm_free(bias);
    bm_free(q_bias);
    bm_free(v_bias);
    bm_free(step);
    bm_free(output);
    end_run(&r);
    support_folder_remove(&folder);
}

// A model whose first block reads two tokens of which norms are 1: 5 has sqrt(32) in channel 0 and nothing else, 6 has 1 and -1 in
// turn; 7 to 13 reach 1.63. The first is `length` times as long before the norm, in the residual stream. q reads rows of 1/4 in
// even channels behind the first, as many as asked for; v 0.4 in row 0 of odd channels and `first` of channel 0.
static char *model_by_hand(float length, uint32_t rows_of_q, float first)
{
    enum { WIDTH = 32 };
    float one[WIDTH], q[WIDTH * WIDTH] = {0}, k[WIDTH / 2 * WIDTH] = {0}, v[WIDTH / 2 * WIDTH] = {0};
    model_maker_params p = small_model();
    uint64_t count;
    char *folder = made_model(&p);
    float *embedding = read_from(folder, "model.embed_tokens.weight", &count);
    for (int c = 0; c < WIDTH; c++) {
        one[c] = 1;
        embedding[5 * WIDTH + c] = c == 0 ? sqrtf(WIDTH) * length : 0;
        embedding[6 * WIDTH + c] = c % 2 == 0 ? 1 : -1;
        for (int t = 7; t < 14; t++) // evenly from -7.5 to 7.5: 1.63 behind the norm
            embedding[t * WIDTH + c] = (float)((5 * c + 3 * t) % 16) - 7.5f;
        for (uint32_t r = 0; r < rows_of_q && c % 2 == 0 && c > 0; r++)
            q[r * WIDTH + c] = 0.25f;
        v[c] = c % 2 == 1 ? 0.4f : 0;
    }
    v[0] = first;
    support_tensor_write(folder, "model.embed_tokens.weight", embedding, count * sizeof *embedding);
    support_tensor_write(folder, INPUT_NORM, one, sizeof one);
    support_tensor_write(folder, "model.layers.0.self_attn.q_proj.weight", q, sizeof q);
    support_tensor_write(folder, "model.layers.0.self_attn.k_proj.weight", k, sizeof k);
    support_tensor_write(folder, "model.layers.0.self_attn.v_proj.weight", v, sizeof v);
    bm_free(embedding);
    return folder;
}

// Inputs reach 1 in odd and even channels, but sqrt(32) in channel 0. Four rows of 1/4 among 64 have a root mean square of 1/16, one
// of 0.4 has 1/20: scales of alpha 1/2 are 4 and sqrt(20); by largest weights 2 and sqrt(2.5).
static void scales_follow_the_length_of_columns(void **state)
{
    static const char lines[] = "{\"input_ids\":[5,6]}\n";
    static const struct {
        const char *keys;
        double ratio;
    } cases[] = {{"", 4.472135955 / 4}, {",\"smooth_weight_statistic\":\"abs_max\"", 1.5811388301 / 2}};
    (void)state;
    char *folder = model_by_hand(1, 4, 0);
    bm_free(support_file_write(folder, "hand.jsonl", lines, sizeof lines - 1));
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint64_t count;
        char *keys = bm_format(A8W8 ",\"smooth\":true%s", cases[i].keys);
        run r = {.folder = folder, .data = "hand.jsonl", .keys = keys};
        quantize_well(&r);
        char *output = output_of(&r);
        float *weight = read_from(output, INPUT_NORM, &count);
        assert_near((double)weight[2] / (double)weight[1], cases[i].ratio, "scale of odd by even channels");
        bm_free(weight);
        bm_free(output);
        bm_free(keys);
        end_run(&r);
    }
    support_folder_remove(&folder);
}

// Energies 1 and 3 with an epsilon that adds 1 weigh 1/2 and 1/4, on average 1: 4/3 and 2/3. What was not seen weighs the mean.
// Tokens of a sequence that was left out are passed over. gate, up and down look behind the MLP.
static void tokens_weigh_by_what_the_next_norm_divides_by(void **state)
{
    float behind_attention[16] = {1, 0, 0, 0, 9, 0, 0, 0, NAN, 0, 0, 0, 3, 0, 0, 0};
    float behind_mlp[16] = {3, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, INFINITY, 0, 0, 0};
    uint32_t drawn[4] = {1, 4, 6, 9}, left[3] = {1, 6, 9};
    static const double expected[2][3] = {{4.0 / 3, 1, 2.0 / 3}, {2.0 / 3, 4.0 / 3, 1}};
    static const bm_stage stages[BM_NUM_STAGES] = {BM_STAGE_QKV, BM_STAGE_O, BM_STAGE_GATE_UP, BM_STAGE_DOWN};
    bm_error err = {0};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(stages); i++) {
        bm_equalizer e = {.energies = {.wanted = true, .least = 1, .tokens = drawn, .num = 4}};
        double *weights = NULL;
        e.energies.host[0] = behind_attention;
        e.energies.host[1] = behind_mlp;
        e.stages[stages[i]].watched.num_sample = 3;
        e.stages[stages[i]].watched.sample_tokens = left;
        assert_ok(bm_equalizer_token_weights(&e, stages[i], &weights, &err), &err);
        for (int t = 0; t < 3; t++)
            assert_near(weights[t], expected[i / 2][t], "weight of a token");
        bm_free(weights);
    }
}

// Token 5 has the largest input alone. Where nothing reads it, steps that just reach the others lose least: 0.3 to 0.4 of it. Where
// v does, at ten times the other weights, clipping costs more than it gains. But the residual stream of a token that is 1e5 times
// as long divides its errors by as much: behind the next norm they are nothing, and steps are those of the others again.
static void steps_lose_least_where_it_matters(void **state)
{
    static const char lines[] = "{\"input_ids\":[5,7,8,9,10,11,12,13]}\n";
    static const struct {
        float length, first;
        const char *keys;
        double least, most;
    } cases[] = {{1, 0, "", 0.3, 0.4},
                 {1, 4, "", 0.85, 1},
                 {1e5f, 4, "", 0.3, 0.4},
                 {1e5f, 4, ",\"search_loss\":\"mse\"", 0.85, 1}};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *folder = model_by_hand(cases[i].length, 1, cases[i].first), *keys = bm_format(A8W8 "%s", cases[i].keys);
        bm_free(support_file_write(folder, "hand.jsonl", lines, sizeof lines - 1));
        run r = {.folder = folder, .data = "hand.jsonl", .keys = keys};
        quantize_well(&r);
        const double share = stage_of(&r, 0, BM_STAGE_QKV)->amax / sqrt(32);
        if (!(share >= cases[i].least - 1e-6 && share <= cases[i].most + 1e-6))
            fail_msg("case %zu: a step of %.4f of the largest, expected %.2f to %.2f", i, share, cases[i].least,
                     cases[i].most);
        bm_free(keys);
        end_run(&r);
        support_folder_remove(&folder);
    }
}

// Then ptq_step has nothing to say, whatever it is.
static void inputs_that_stay_float_are_not_observed(void **state)
{
    (void)state;
    const bm_arguments arguments = {.ptq_step = 7};
    bm_plan plan = {.input = BM_INPUT_FLOAT};
    const bm_emit_context emit = {.plan = &plan, .arguments = &arguments};
    assert_int_equal(bm_equalizer_observed_steps(&emit, 3), 3);
    plan.input = BM_INPUT_STATIC;
    assert_int_equal(bm_equalizer_observed_steps(&emit, 3), 7);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_that_stay_float_are_not_observed),
        cmocka_unit_test(packed_sequences_count_one_by_one),
        cmocka_unit_test(steps_of_packs_are_whole),
        cmocka_unit_test(floats_do_not_count_in_the_search),
        cmocka_unit_test(scales_behind_a_shift_are_those_of_shifted_inputs),
        cmocka_unit_test(scales_follow_the_length_of_columns),
        cmocka_unit_test(tokens_weigh_by_what_the_next_norm_divides_by),
        cmocka_unit_test(steps_lose_least_where_it_matters),
    };
    return run_on_device(argc, argv, "equalize_numbers", LONG_LOOPS, tests, BM_COUNT(tests));
}
