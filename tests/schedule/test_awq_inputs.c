// AWQ and clipping on inputs that say little or nothing: few tokens, channels and groups of zeros, linears that cannot be scaled,
// activations that overflow. On the device that the argument names.
#include "schedule/awq_reference.h"
#include "support/unit.h"

#include "base/str.h"
#include "schedule/record.h"
#include "support/folders.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)
#define AWQ                                                                                                            \
    "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\","  \
    "\"group_size\":32,\"awq_n_grid\":4,\"smooth_all_linears\":true"
#define CLIP ",\"auto_clip\":true"
#define THRESHOLDS CLIP ",\"scale_search\":\"abs_max\""
#define GPTQ                                                                                                           \
    "\"do_gptq\":true,\"scaling\":\"awq\",\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"awq_n_grid\":4,"   \
    "\"smooth_all_linears\":true"
#define INPUT_NORM "model.layers.0.input_layernorm.weight"

static const char *const all_keys[] = {AWQ, AWQ CLIP, AWQ THRESHOLDS, GPTQ};

static void run_well(awq_run *r)
{
    awq_run_must(r);
    (void)awq_divergence(r->folder, r->output); // it can be read back, and gives finite logits
}

// Steps of q, whose scales are 1, are of the largest weight of their group.
static void check_ranges(const awq_run *r)
{
    uint64_t count, size;
    float *w = awq_read(r->folder, "model.layers.0.self_attn.q_proj.weight", &size);
    float *steps = awq_read(r->output, "model.layers.0.self_attn.q_proj.weight_scale", &count);
    assert_true(count == size / 32);
    for (uint64_t k = 0; k < count; k++) {
        float amax = 0;
        for (uint64_t c = 32 * k; c < 32 * (k + 1); c++)
            amax = fmaxf(amax, fabsf(w[c]));
        // One end of the grid is a step farther out than the other.
        if (!(fabsf(fabsf(steps[k]) * 7 / amax - 1) < 1e-5f || fabsf(fabsf(steps[k]) * 8 / amax - 1) < 1e-5f))
            fail_msg("%s: step %llu is %.9g, of %.9g", r->keys, (unsigned long long)k, (double)steps[k], (double)amax);
    }
    bm_free(w);
    bm_free(steps);
}

// What took the time is called what it is.
static void check_phases(const awq_run *r)
{
    bool any = false;
    for (uint32_t i = 0; i < r->result.num_phases; i++) {
        any |= strcmp(r->result.phases[i].name, "AWQ") == 0;
        assert_string_not_equal(r->result.phases[i].name, "shift and smooth");
    }
    assert_true(any);
}

// Less than a step, which is two sequences; one token has nothing to search by, and is rounded all the same.
static void small_data_are_enough(void **state)
{
    (void)state;
    static const uint32_t one[] = {1}, two[] = {2, 2}, sequence[] = {9};
    static const struct {
        const char *name;
        const uint32_t *lengths;
        uint32_t count, tokens;
    } data[] = {{"one.jsonl", one, 1, 1}, {"two.jsonl", two, 2, 4}, {"sequence.jsonl", sequence, 1, 9}};
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    for (size_t d = 0; d < BM_COUNT(data); d++) {
        model_maker_ids_write(folder, data[d].name, data[d].lengths, data[d].count);
        for (size_t i = 0; i < BM_COUNT(all_keys); i++) {
            awq_run r = {.folder = folder, .data = data[d].name, .keys = all_keys[i]};
            bm_string words = BM_STRING_INIT;
            run_well(&r);
            for (uint32_t s = 0; s < r.result.num_stages; s++) {
                const bm_stage_record *record = &r.result.stages[s];
                assert_int_equal(record->tokens, data[d].tokens);
                assert_int_equal(record->search.skipped, data[d].tokens < 2);
                assert_true(data[d].tokens > 1 || (record->least_scale == 1 && record->largest_scale == 1));
            }
            for (uint32_t l = 0; l < r.result.num_linears; l++) {
                assert_int_equal(r.result.linears[l].group.tokens, data[d].tokens);
                assert_false(r.result.linears[l].quantizes_inputs);
            }
            bm_record_describe(&r.result, &words);
            assert_true((strstr(bm_string_text(&words), "fewer than two tokens: 8 of 8; scales stay 1") != NULL) ==
                        (data[d].tokens < 2));
            // Rounding by inputs takes the range; GPTQ, and abs_max without clipping, search no steps.
            const bool skips = data[d].tokens < 2 && (i == 0 || i == 1 || i == 2);
            assert_true((strstr(bm_string_text(&words), "of the largest weights, fewer than two tokens: 14 of 14") !=
                         NULL) == skips);
            assert_true((strstr(bm_string_text(&r.log), "scale_search: 14 of 14 linears had fewer than two tokens") !=
                         NULL) == skips);
            assert_true((strstr(bm_string_text(&r.log), "nothing was scaled") != NULL) == (data[d].tokens < 2));
            assert_true((strstr(bm_string_text(&r.log), "nothing was scaled, the result is plain rounding: ") !=
                         NULL) == skips);
            check_phases(&r);
            if (skips)
                check_ranges(&r);
            bm_string_free(&words);
            awq_run_end(&r);
        }
    }
    support_folder_remove(&folder);
}

// Without scales too.
static void one_token_finds_no_steps_of_weights(void **state)
{
    (void)state;
    static const uint32_t one[] = {1};
    static const char *const searches[] = {"gram", "weighted_mse", "mse"};
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    model_maker_ids_write(folder, "one.jsonl", one, 1);
    for (size_t i = 0; i < BM_COUNT(searches); i++) {
        char *keys = bm_format("\"do_ptq\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\","
                               "\"group_size\":32,\"scale_search\":\"%s\"",
                               searches[i]);
        awq_run r = {.folder = folder, .data = "one.jsonl", .keys = keys};
        run_well(&r);
        const bool skips = i < 2; // what looks at weights alone needs no tokens
        assert_true((strstr(bm_string_text(&r.log), "scale_search: 14 of 14 linears had fewer than two tokens") !=
                     NULL) == skips);
        if (skips)
            check_ranges(&r);
        awq_run_end(&r);
        bm_free(keys);
    }
    support_folder_remove(&folder);
}

// Channel 5 of q, k and v is dead, channel 7 has no weights in any of the three, row 3 of q none in its first group, and all that o
// reads in the second block is zeros.
static void zeros_have_no_scales(void **state)
{
    (void)state;
    static const char *const linears[] = {"q_proj", "k_proj", "v_proj"};
    const model_maker_params p = awq_model();
    uint64_t count;
    char *folder = awq_model_write(&p);
    awq_set_element(folder, INPUT_NORM, 5, 0);
    for (size_t l = 0; l < BM_COUNT(linears); l++) {
        char *name = bm_format("model.layers.0.self_attn.%s.weight", linears[l]);
        awq_scale_tensor(folder, name, -1, 7, p.hidden_size, 0);
        bm_free(name);
    }
    for (uint32_t c = 0; c < 32; c++)
        awq_scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", 3, c, p.hidden_size, 0);
    awq_scale_tensor(folder, "model.layers.1.self_attn.v_proj.weight", -1, -1, p.hidden_size, 0);
    float *before = awq_read(folder, INPUT_NORM, &count);
    for (size_t i = 0; i < BM_COUNT(all_keys); i++) {
        awq_run r = {.folder = folder, .keys = all_keys[i]};
        run_well(&r);
        const bm_stage_record *qkv = awq_run_stage(&r, 0, BM_STAGE_QKV), *o = awq_run_stage(&r, 1, BM_STAGE_O);
        float *after = awq_read(r.output, INPUT_NORM, &count);
        float *steps = awq_read(r.output, "model.layers.0.self_attn.q_proj.weight_scale", &count);
        assert_true(after[5] == 0.0f && fabsf(steps[3 * 2 + 1]) > 1e-3f);
        if (r.arguments->job == BM_JOB_AWQ) // GPTQ's weights make up for errors of others there
            assert_true(steps[3 * 2] == 1e-8f);
        assert_true(qkv->search.num_moves == 1 && isfinite(qkv->search.loss) && qkv->search.loss > 0);
        // The channel without weights has the scale 1, but for the free power of two of all.
        assert_true(fabsf(after[7] - before[7] / ldexpf(1, qkv->finish.exponent)) <= 1e-6f * fabsf(before[7]));
        assert_true(o->search.loss == 0 && o->search.moves[0].chosen == 0 && !o->search.nothing_finite);
        assert_true(o->least_scale == 1 && o->largest_scale == 1);
        bm_free(after);
        bm_free(steps);
        awq_run_end(&r);
    }
    bm_free(before);
    support_folder_remove(&folder);
}

// Behind no gate, and behind a fusion: what cannot be folded is said, and left.
static void linears_that_nothing_is_in_front_of_are_left(void **state)
{
    (void)state;
    model_maker_params p = awq_model();
    p.family = "bloom";
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(all_keys); i++) {
        awq_run r = {.folder = folder, .keys = all_keys[i]};
        run_well(&r);
        assert_true(awq_run_notes(&r, "\"smooth_all_linears\": inputs of down are not scaled"));
        assert_true(!awq_run_stage(&r, 0, BM_STAGE_DOWN)->scales && awq_run_stage(&r, 0, BM_STAGE_QKV)->scales);
        assert_int_equal(awq_run_stage(&r, 0, BM_STAGE_DOWN)->search.num_moves, 0);
        awq_run_end(&r);
    }
    support_folder_remove(&folder);
}

// Channel 9 of the stream is in the last token of the vocabulary alone; the norm in front of gate and up makes its inputs too
// large for sums of products.
static char *overflowing_model(const model_maker_params *p)
{
    static const char embedding[] = "model.embed_tokens.weight";
    char *folder = awq_model_write(p);
    awq_scale_tensor(folder, embedding, -1, 9, p->hidden_size, 0);
    awq_scale_tensor(folder, "model.layers.0.self_attn.o_proj.weight", 9, -1, p->hidden_size, 0);
    awq_scale_tensor(folder, "model.layers.0.mlp.down_proj.weight", 9, -1, p->intermediate_size, 0);
    awq_set_element(folder, embedding, 259 * p->hidden_size + 9, 1);
    awq_set_element(folder, "model.layers.0.post_attention_layernorm.weight", 9, 1e30f);
    return folder;
}

static void inputs_that_overflow_are_named_or_left_out(void **state)
{
    (void)state;
    static const char bad[] = "{\"input_ids\":[5,6,7,8,9]}\n{\"input_ids\":[5,259,7]}\n{\"input_ids\":[11,12,13,14]}\n";
    static const char first_step[] = "{\"input_ids\":[5,259]}\n{\"input_ids\":[5,259,7]}\n{\"input_ids\":[11,12,13]}\n";
    // Steps of scales and of weights: the first of two, or both.
    static const struct {
        const char *keys;
        uint32_t tokens_of_weights,
            tokens_before; // of gate and up, which the second sequence does not reach; of q, k and v
    } cases[] = {{AWQ ",\"smooth_step\":1,\"ptq_step\":2", 9, 12},
                 {AWQ CLIP ",\"smooth_step\":2,\"autoclip_step\":1", 5, 8},
                 {GPTQ ",\"smooth_step\":2,\"gptq_step\":1,\"qep_alpha\":0", 5, 5},
                 {GPTQ ",\"smooth_step\":2,\"gptq_step\":1,\"true_sequential\":false", 5, 5}};
    const model_maker_params p = awq_model();
    char *folder = overflowing_model(&p);
    bm_free(support_file_write(folder, "bad.jsonl", bad, sizeof bad - 1));
    bm_free(support_file_write(folder, "first.jsonl", first_step, sizeof first_step - 1));
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *keeps = bm_format("%s,\"keep_order\":true", cases[i].keys);
        char *skips = bm_format("%s,\"skip_bad_sequences\":true", keeps);
        awq_run named = {.folder = folder, .data = "bad.jsonl", .keys = keeps};
        awq_run left = {.folder = folder, .data = "bad.jsonl", .keys = skips};
        awq_run none = {.folder = folder, .data = "first.jsonl", .keys = skips};
        assert_int_equal(awq_run_quantize(&named, &failure), BM_E_NUMERIC);
        assert_non_null(strstr(failure.message, "line 2: NaN or infinity"));
        assert_non_null(strstr(failure.message, "in the inputs of model.layers.0.mlp.gate_proj"));
        assert_false(support_folder_has(named.parent, "out"));
        run_well(&left);
        assert_int_equal(left.result.num_skipped_sequences, 1);
        for (uint32_t l = 0; l < left.result.num_linears; l++) {
            const bm_linear_record *record = &left.result.linears[l];
            const bool is_before = strncmp(record->name, "model.layers.0.self_attn", 24) == 0;
            if (record->group.tokens != (is_before ? cases[i].tokens_before : cases[i].tokens_of_weights))
                fail_msg("%s: %s: %u tokens", skips, record->name, (unsigned)record->group.tokens);
        }
        // All that the first step has is bad: without it no weights are solved, and scales are not searched.
        const bm_status status = awq_run_quantize(&none, &failure);
        if (i > 0) {
            assert_int_equal(status, BM_E_NUMERIC);
            assert_non_null(strstr(failure.message, "no sequence is left to calibrate on"));
        } else {
            assert_ok(status, &failure);
            assert_true(awq_run_stage(&none, 0, BM_STAGE_GATE_UP)->search.skipped);
            assert_false(awq_run_stage(&none, 0, BM_STAGE_QKV)->search.skipped);
        }
        awq_run_end(&named);
        awq_run_end(&left);
        awq_run_end(&none);
        bm_free(keeps);
        bm_free(skips);
    }
    support_folder_remove(&folder);
}

// Before the long part of the run: nothing was looked at yet.
static void a_norm_that_is_no_number_is_found_at_once(void **state)
{
    (void)state;
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    awq_set_element(folder, "model.layers.1.post_attention_layernorm.weight", 3, (float)NAN);
    awq_run r = {.folder = folder, .keys = AWQ};
    assert_int_equal(awq_run_quantize(&r, &failure), BM_E_FORMAT);
    assert_non_null(strstr(failure.message, "tensor \"model.layers.1.post_attention_layernorm.weight\": "));
    assert_int_equal(r.result.num_phases, 0);
    assert_false(support_folder_has(r.parent, "out"));
    awq_run_end(&r);
    support_folder_remove(&folder);
}

// Outputs of q of 1e21, whose errors float32 cannot square, and keys as much smaller: scales stay 1, and it is said.
static void losses_beyond_float32_leave_scales_at_one(void **state)
{
    (void)state;
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    awq_scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", -1, -1, p.hidden_size, 1e25f);
    awq_scale_tensor(folder, "model.layers.0.self_attn.k_proj.weight", -1, -1, p.hidden_size, 1e-25f);
    awq_run r = {.folder = folder, .keys = AWQ ",\"scale_search\":\"abs_max\""};
    run_well(&r);
    const bm_stage_record *qkv = awq_run_stage(&r, 0, BM_STAGE_QKV);
    assert_true(qkv->search.nothing_finite && qkv->least_scale == 1 && qkv->largest_scale == 1);
    assert_false(awq_run_stage(&r, 0, BM_STAGE_O)->search.nothing_finite);
    assert_non_null(strstr(bm_string_text(&r.log), "block 0, inputs of model.layers.0.self_attn.q_proj"));
    assert_non_null(strstr(bm_string_text(&r.log), "no candidate's loss was finite; scales stay 1"));
    awq_run_end(&r);
    support_folder_remove(&folder);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_data_are_enough),
        cmocka_unit_test(one_token_finds_no_steps_of_weights),
        cmocka_unit_test(zeros_have_no_scales),
        cmocka_unit_test(linears_that_nothing_is_in_front_of_are_left),
        cmocka_unit_test(inputs_that_overflow_are_named_or_left_out),
        cmocka_unit_test(a_norm_that_is_no_number_is_found_at_once),
        cmocka_unit_test(losses_beyond_float32_leave_scales_at_one),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "awq_inputs", run);
}
