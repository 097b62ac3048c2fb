// Whole runs that shift, smooth and search, on the device that the argument names: inputs and settings that leave nothing to do, or
// too little room, end as they should.
#include "schedule/equalize_fixture.h"

#include "device/backend.h"
#include "support/folders.h"

#include <math.h>
#include <string.h>

// Channel 5 of q, k and v is dead, row 3 of q has no weights, channel 7 none in any of the three, k none at all: o reads nothing
// but zeros in the second block.
static void zeros_have_no_scales(void **state)
{
    model_maker_params p = small_model();
    uint64_t count;
    (void)state;
    char *folder = made_model(&p);
    set_element(folder, INPUT_NORM, 5, 0);
    scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", 3, -1, 32, 0);
    scale_tensor(folder, "model.layers.0.self_attn.k_proj.weight", -1, -1, 32, 0);
    scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", -1, 7, 32, 0);
    scale_tensor(folder, "model.layers.0.self_attn.v_proj.weight", -1, 7, 32, 0);
    scale_tensor(folder, "model.layers.1.self_attn.v_proj.weight", -1, -1, 32, 0);
    float *before = read_from(folder, INPUT_NORM, &count);
    static const char *const keys[] = {A8W8, A8W8 SHIFT SMOOTH, A8W8 SMOOTH SEARCH,
                                       A8W8 SMOOTH ",\"dtype\":\"float16\"", WINT8 SHIFT SMOOTH OPS};
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        run r = {.folder = folder, .keys = keys[i]};
        quantize_well(&r);
        const bm_stage_record *qkv = stage_of(&r, 0, BM_STAGE_QKV), *o = stage_of(&r, 1, BM_STAGE_O);
        assert_true(fabs(o->amax - 1e-7) < 1e-12); // the floor
        char *output = output_of(&r);
        float *after = read_from(output, INPUT_NORM, &count);
        assert_true(after[5] == 0.0f); // not a NaN of 0 / 0
        // The channel without weights has the scale 1, but for the free power of two of all.
        if (qkv->scales && !strstr(keys[i], "float16"))
            assert_true(fabsf(after[7] - before[7] / ldexpf(1, qkv->finish.exponent)) < 1e-5f * fabsf(before[7]));
        bm_free(after);
        bm_free(output);
        end_run(&r);
    }
    bm_free(before);
    support_folder_remove(&folder);
}

// A norm of weight 0 and bias b is b in each token: shift takes it off, and the channel is then dead for smooth.
static void constant_channels_become_zeros(void **state)
{
    static const char weight[] = "transformer.h.0.input_layernorm.weight",
                      bias[] = "transformer.h.0.input_layernorm.bias";
    model_maker_params p = small_model();
    uint64_t count;
    (void)state;
    p.family = "bloom";
    char *folder = made_model(&p);
    set_element(folder, weight, 5, 0);
    set_element(folder, bias, 5, 3.7f);
    set_element(folder, bias, 6, 100);
    run r = {.folder = folder, .keys = A8W8 SHIFT SMOOTH SEARCH};
    quantize_well(&r);
    const bm_stage_record *qkv = stage_of(&r, 0, BM_STAGE_QKV);
    char *output = output_of(&r);
    float *after = read_from(output, bias, &count);
    assert_true(qkv->amax_before > 95 && qkv->amax < 10);
    assert_true(qkv->search.loss > 0 && qkv->search.loss < 1e-2 && qkv->search.loss <= qkv->search.identity_loss);
    assert_true(qkv->high_before[6] > qkv->low_before[6] && qkv->high[6] > 0 && qkv->low[6] < 0);
    for (uint32_t i = 0; i < r.result.num_linears;
         i++) { // outputs of the shifted sample beside those of the float model
        const bm_linear_record *l = &r.result.linears[i];
        assert_true(l->has_layer_error && l->quantizes_inputs && l->by_weights.nmse > 0 && l->by_weights.nmse < 1e-3);
        assert_true(l->by_inputs.nmse > 0 && l->by_inputs.nmse < 0.01 && l->by_both.nmse < 0.01);
    }
    assert_true(after[5] == 0.0f);
    assert_true(qkv->low_before[5] == 3.7f && qkv->low[5] == 0.0f && qkv->high[5] == 0.0f);
    bm_free(after);
    bm_free(output);
    end_run(&r);
    support_folder_remove(&folder);
}

static void small_data_are_enough(void **state)
{
    static const uint32_t one[] = {1}, two[] = {2, 2}, sequence[] = {9};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    model_maker_ids_write(folder, "one.jsonl", one, 1);
    model_maker_ids_write(folder, "two.jsonl", two, 2);
    model_maker_ids_write(folder, "sequence.jsonl", sequence, 1);
    const struct {
        const char *data;
        uint32_t tokens;
        bool one_sided; // one sequence has no halves
    } cases[] = {{"one.jsonl", 1, false}, {"two.jsonl", 4, false}, {"sequence.jsonl", 9, true}};
    static const char *const keys[] = {A8W8 SHIFT ",\"shift_sampler\":\"ema\"", A8W8 SHIFT SMOOTH SEARCH};
    for (size_t c = 0; c < BM_COUNT(cases); c++)
        for (size_t i = 0; i < BM_COUNT(keys); i++) {
            run r = {.folder = folder, .keys = keys[i], .data = cases[c].data};
            quantize_well(&r);
            for (uint32_t s = 0; s < r.result.num_stages; s++) {
                const bm_stage_record *record = &r.result.stages[s];
                assert_int_equal(record->tokens, cases[c].tokens);
                assert_int_equal(record->share_skipped, cases[c].tokens < 2);
                if (!strstr(keys[i], SEARCH))
                    continue;
                assert_int_equal(record->search.skipped, cases[c].tokens < 2); // needs two tokens
                assert_int_equal(record->search.one_sided, cases[c].one_sided);
            }
            const bool warns = cases[c].one_sided && strstr(keys[i], SEARCH);
            if ((strstr(bm_string_text(&r.log), "search_crosswise: 8 of 8 searches") != NULL) != warns ||
                (strstr(bm_string_text(&r.log), "act_quant_method mse: 8 of 8 steps") != NULL) != (cases[c].tokens < 2))
                fail_msg("%s, %s: %s", cases[c].data, keys[i], bm_string_text(&r.log));
            end_run(&r);
        }
    support_folder_remove(&folder);
}

// More pieces than there are channels, or distinct ones: as many as there are.
static void pieces_are_as_many_as_channels_differ(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    for (uint64_t c = 3; c < 32; c++)
        set_element(folder, INPUT_NORM, c, 0);
    run r = {.folder = folder, .keys = A8W8 SMOOTH SEARCH ",\"smooth_k_piece\":40,\"search_rounds\":1"};
    quantize_well(&r);
    assert_int_equal(stage_of(&r, 0, BM_STAGE_QKV)->search.most_pieces, 4); // three, and those without inputs
    assert_int_equal(stage_of(&r, 0, BM_STAGE_QKV)->search.asked_pieces, 40);
    assert_int_equal(stage_of(&r, 1, BM_STAGE_QKV)->search.most_pieces, 32);
    end_run(&r);
    support_folder_remove(&folder);
}

static void crossed_bounds_are_refused(void **state)
{
    bm_error err = {0};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    run r = {.folder = folder, .keys = A8W8 SMOOTH SEARCH ",\"search_alpha_min\":0.7,\"search_alpha_max\":0.4"};
    assert_int_equal(quantize(&r, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"search_alpha_min\": 0.7: must be below search_alpha_max 0.4"));
    end_run(&r);
    support_folder_remove(&folder);
}

// Outputs of q of 1e21, whose errors float32 cannot square, and keys as much smaller.
static void losses_beyond_float32_leave_scales_at_one(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    scale_tensor(folder, "model.layers.0.self_attn.q_proj.weight", -1, -1, 32, 1e25f);
    scale_tensor(folder, "model.layers.0.self_attn.k_proj.weight", -1, -1, 32, 1e-25f);
    run r = {.folder = folder, .keys = A8W8 SMOOTH SEARCH};
    quantize_well(&r);
    const bm_stage_record *qkv = stage_of(&r, 0, BM_STAGE_QKV);
    assert_true(qkv->search.nothing_finite && qkv->least_scale == 1 && qkv->largest_scale == 1);
    assert_false(stage_of(&r, 0, BM_STAGE_O)->search.nothing_finite);
    assert_non_null(strstr(bm_string_text(&r.log), "block 0, inputs of model.layers.0.self_attn.q_proj"));
    assert_non_null(strstr(bm_string_text(&r.log), "no candidate's loss was finite; scales stay 1"));
    end_run(&r);
    support_folder_remove(&folder);
}

// Channel 9 of the stream is in the last token of the vocabulary alone, which is in the last sequence alone.
static void inputs_that_overflow_are_named_or_left_out(void **state)
{
    static const char embedding[] = "model.embed_tokens.weight", down[] = "model.layers.0.mlp.down_proj.weight";
    static const char lines[] =
        "{\"input_ids\":[5,6,7,8,9]}\n{\"input_ids\":[5,259,7]}\n{\"input_ids\":[11,12,13,14]}\n";
    bm_error err = {0};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    scale_tensor(folder, embedding, -1, 9, 32, 0);
    scale_tensor(folder, "model.layers.0.self_attn.o_proj.weight", 9, -1, 32, 0);
    scale_tensor(folder, down, 9, -1, 64, 0);
    set_element(folder, embedding, 259 * 32 + 9, 1);
    set_element(folder, "model.layers.0.post_attention_layernorm.weight", 9, 1e30f);
    bm_free(support_file_write(folder, "bad.jsonl", lines, sizeof lines - 1));
    for (uint32_t skips = 0; skips < 2; skips++) {
        run r = {.folder = folder,
                 .data = "bad.jsonl",
                 .keys = skips ? A8W8 SHIFT SMOOTH ",\"keep_order\":true,\"skip_bad_sequences\":true"
                               : A8W8 SHIFT SMOOTH ",\"keep_order\":true"};
        const bm_status status = quantize(&r, &err);
        if (!skips) {
            assert_int_equal(status, BM_E_NUMERIC);
            assert_non_null(strstr(err.message, "line 2: NaN or infinity"));
            assert_non_null(strstr(err.message, "in the inputs of model.layers.0.mlp.gate_proj"));
            assert_false(support_folder_has(r.output, "out"));
        } else {
            assert_ok(status, &err);
            assert_int_equal(r.result.num_skipped_sequences, 1);
            for (uint32_t s = 0; s < r.result.num_stages; s++) { // stages before it have seen them all
                const bool sees_all = s < BM_STAGE_GATE_UP;
                assert_int_equal(r.result.stages[s].num_sequences, sees_all ? 3 : 2);
                assert_int_equal(r.result.stages[s].tokens, sees_all ? 12 : 9);
                assert_int_equal(r.result.stages[s].sample_tokens, sees_all ? 12 : 9);
            }
            (void)divergence(&r);
        }
        end_run(&r);
    }
    support_folder_remove(&folder);
}

// 82 tokens: of the inputs of q, o, gate and down 32, 32, 32 and 64 numbers each; the widest search, of gate and up, copies
// 32 and wants 128. Where one buffer, or all memory, is too small for them, nothing is begun.
static void samples_beyond_the_device_are_refused(void **state)
{
    static const uint64_t samples = UINT64_C(82) * 4 * (32 + 32 + 32 + 64), search = UINT64_C(82) * 4 * (32 + 128);
    static const struct {
        const char *keys;
        uint64_t memory_bytes, max_allocation_bytes; // 0: the device's
        const char *words;                           // NULL: it runs
    } cases[] = {
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\"", samples + search, 0, NULL},
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\"", samples + search - 1, 0,
         "test: \"smooth_sampler\": \"multi_step\": a sample of 82 tokens takes 0.1 MB, expected at most 0.1 MB, the "
         "memory of "},
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\",\"smooth_step\":1", samples + search - 1, 0, NULL},
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\"", 0, UINT64_C(82) * 4 * 64 - 1,
         "\"multi_step\": 82 tokens of inputs of model.layers.0.mlp.down_proj take 0.0 MB, expected at most 0.0 MB, "
         "the "
         "largest "
         "buffer of "},
        {A8W8 SMOOTH SEARCH ",\"search_tokens\":81", samples + search - 1, 0, NULL},
        {A8W8 SMOOTH, samples + search, 0, NULL}, // steps are searched
        {A8W8 SMOOTH, samples + search - 1, 0, "test: \"search_tokens\": 2048: a sample of 82 tokens takes "},
        {A8W8 SMOOTH ",\"act_quant_method\":\"avg\"", samples, 0, NULL},
        {A8W8 SMOOTH ",\"act_quant_method\":\"avg\"", samples - 1, 0,
         "test: \"search_tokens\": 2048: a sample of 82 tokens takes "},
        {A8W8 SMOOTH ",\"act_quant_method\":\"avg\",\"skip_list_names\":[\"down_proj\"]", samples - 1, 0, NULL},
        {A8W8 SMOOTH SEARCH ",\"compat\":\"paddleslim\",\"keep_order\":true", UINT64_C(27) * 4 * 160 - 1, 0,
         "test: \"per_device_train_batch_size\": 2: a sample of 27 tokens takes "},
    };
    const bm_device_limits limits = device->info.limits;
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        run r = {.folder = folder, .keys = cases[i].keys};
        if (cases[i].memory_bytes)
            device->info.limits.memory_bytes = cases[i].memory_bytes;
        if (cases[i].max_allocation_bytes)
            device->info.limits.max_allocation_bytes = cases[i].max_allocation_bytes;
        const bm_status status = quantize(&r, &err);
        device->info.limits = limits;
        if (status != (cases[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (cases[i].words && !strstr(err.message, cases[i].words)))
            fail_msg("case %zu: %d: %s", i, (int)status, err.message);
        assert_int_equal(support_folder_has(r.output, "out"), status == BM_OK);
        end_run(&r);
    }
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_have_no_scales),
        cmocka_unit_test(constant_channels_become_zeros),
        cmocka_unit_test(small_data_are_enough),
        cmocka_unit_test(pieces_are_as_many_as_channels_differ),
        cmocka_unit_test(crossed_bounds_are_refused),
        cmocka_unit_test(losses_beyond_float32_leave_scales_at_one),
        cmocka_unit_test(inputs_that_overflow_are_named_or_left_out),
        cmocka_unit_test(samples_beyond_the_device_are_refused),
    };
    return run_on_device(argc, argv, "equalize_degenerate", LONG_LOOPS, tests, BM_COUNT(tests));
}
