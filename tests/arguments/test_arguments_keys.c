// Every key of the table: a good value, a bad one, and the words about the bad one.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "arguments/keys.h"

#include <stdio.h>

// In front of each pair stand the keys that a file needs; pairs may replace them.
typedef enum job { PTQ, GPTQ, LOAD, EVALUATE } job;
static const char *const job_members[] = {"\"do_ptq\":true", "\"do_gptq\":true",
                                          "\"load_quant_model\":true,\"do_predict\":true", "\"do_eval\":true"};

static const struct {
    job job;
    const char *key, *good, *bad;
    const char *words; // NULL: none but the key
} pairs[] = {
    {EVALUATE, "do_ptq", "true", "2", "true or false"},
    {EVALUATE, "do_gptq", "true", "\"maybe\"", "true or false"},
    {GPTQ, "do_foem", "true", "\"on\"", "true or false"},
    {PTQ, "do_awq", "true", "[]", "true or false"},
    {EVALUATE, "load_quant_model", "true", "\"2\"", "true or false"},
    {PTQ, "do_eval", "true", "{}", "true or false"},
    {PTQ, "do_predict", "true", "1", "true or false"},
    {PTQ, "quant_type", "\"W4A16\"", "\"int4\"", "a8w8, a8w8c8, a8w8_fp8, wint8, wint4"},
    {PTQ, "quant_type", "\"weight_only_int8\"", "\"A8W4\"", "quantization-aware training"},
    {PTQ, "quant_type", "\"w8a8c16\"", "8", "one of"},
    {PTQ, "quant_type", "\"A8W8C8\"", "true", "one of"},
    {PTQ, "weight_quant_method", "\"group_wise\"", "\"per_tensor\"", "abs_max_channel_wise, groupwise"},
    {PTQ, "act_quant_method", "\"MSE\"", "\"none\"", "avg, abs_max"},
    {PTQ, "act_quant_method", "\"per_token\"", "\"\"", "avg, abs_max, per_token, mse"},
    {PTQ, "cachekv_quant_method", "\"abs_max_headwise\"", "\"avg\"", "avg_headwise"},
    {PTQ, "group_size", "64", "48", "32, 64, 128, 256, -1"},
    {PTQ, "group_size", "-1", "0", "32, 64, 128, 256, -1"},
    {PTQ, "group_tail", "\"short\"", "\"long\"", "reject, short"},
    {PTQ, "fp8_type", "[\"e4m3\",\"E5M2\"]", "[\"e4m3\"]", "list of 2"},
    {PTQ, "fp8_type", "[\"e5m2\",\"e5m2\"]", "[\"e4m3\",\"e3m4\"]", "e4m3 or e5m2"},
    {PTQ, "use_fp8", "\"wA\"", "\"wb\"", "wac"},
    {PTQ, "use_fp8", "\"\"", "\"WAC\"", "KV cache"},
    {PTQ, "use_fp8", "\"aw\"", "\"W\"", "both"},
    {PTQ, "skip_list_names", "[\"down_proj\"]", "[1]", "list"},
    {PTQ, "skip_list_names", "\"down_proj\"", "[\"\"]", "list"},
    {PTQ, "skip_list_names", "[]", "{}", "list"},
    {GPTQ, "bits", "3", "5", "one of 2, 3, 4, 8"},
    {PTQ, "symmetric", "false", "0.5", "true or false"},
    {PTQ, "scale_search", "\"MSE\"", "\"best\"", "abs_max, mse, weighted_mse, gram"},
    {PTQ, "signed_scales", "false", "2", NULL},
    {PTQ, "bias_correction", "true", "3", NULL},
    {PTQ, "method_choice", "\"best\"", "\"all\"", "as_given, best"},
    {PTQ, "ptq_step", "-1", "0", "an integer in 1.."},
    {PTQ, "shift_step", "1", "-2", "-1 for the whole data set"},
    {PTQ, "smooth_step", "16", "16.0", "an integer"},
    {GPTQ, "gptq_step", "8", "8.5", "an integer"},
    {PTQ, "awq_step", "\"8\"", "\"8.0\"", "an integer"},
    {PTQ, "autoclip_step", "1", "true", "an integer"},
    {PTQ, "shift", "true", "\"on\"", "true or false"},
    {PTQ, "shift_all_linears", "true", "7", NULL},
    {PTQ, "shift_sampler", "\"EMA\"", "\"multi_step\"", "none, ema"},
    {PTQ, "shift_statistic", "\"mean\"", "\"median\"", "average, midrange, mean"},
    {PTQ, "shift_statistic", "\"Average\"", "\"\"", "average, midrange, mean"},
    {PTQ, "smooth", "\"Yes\"", "\"\"", NULL},
    {PTQ, "smooth_all_linears", "true", "7", NULL},
    {PTQ, "smooth_sampler", "\"multi_step\"", "\"ema\"", "none, multi_step"},
    {PTQ, "smooth_alpha", "1", "1.01", "0..1"},
    {PTQ, "smooth_weight_statistic", "\"abs_max\"", "\"mean\"", "rms, abs_max"},
    {PTQ, "smooth_pow2", "true", "2", NULL},
    {PTQ, "smooth_piecewise_search", "true", "2", NULL},
    {PTQ, "smooth_k_piece", "6", "0", "an integer in 1..1024"},
    {PTQ, "smooth_k_piece", "1024", "1025", "1025: expected an integer in 1..1024"},
    {PTQ, "smooth_k_piece", "true", "false", "an integer"},
    {PTQ, "smooth_search_piece", "true", "2", NULL},
    {PTQ, "search_alpha_min", "0", "0.8", "below search_alpha_max"},
    {PTQ, "search_alpha_min", "0.79", "-0.1", "0..1"},
    {PTQ, "search_alpha_max", "1.0", "1.1", "0..1"},
    {PTQ, "search_alpha_step", "0.1", "0", "0: expected a number in 0.0001..1"},
    {PTQ, "search_alpha_step", "0.0001", "1e-9", "1e-09: expected a number in 0.0001..1"},
    {PTQ, "search_scale_min", "null", "0.9", "1.."},
    {PTQ, "search_scale_min", "5.0", "5.5", "search_scale_min 5.5"},
    {PTQ, "search_scale_max", "null", "0.5", "1.."},
    {PTQ, "search_scale_max", "5001", "200000", "1..100000"},
    {PTQ, "search_scale_step", "0.25", "0.0", "expected a number in 0.0001..100000"},
    {PTQ, "search_scale_step", "0.0005", "1e-9", "1e-09: expected a number in 0.0001..100000"},
    {PTQ, "search_tokens", "512", "0", NULL},
    {PTQ, "search_rounds", "1", "0", NULL},
    {PTQ, "search_loss", "\"nmse\"", "\"kl\"", "residual, mse, nmse"},
    {PTQ, "search_loss", "\"Residual\"", "\"\"", "residual, mse, nmse"},
    {PTQ, "search_crosswise", "false", "2", "true or false"},
    {PTQ, "search_margin", "0", "-0.1", "0..1"},
    {PTQ, "search_margin", "1", "1.1", "0..1"},
    {PTQ, "search_prune", "false", "\"some\"", NULL},
    {PTQ, "smooth_piece_order", "\"falling\"", "\"random\"", "rising, falling"},
    {PTQ, "piecewise_candidates", "\"relative\"", "\"\"", "absolute, relative, log"},
    {PTQ, "gguf_type", "\"Auto\"", "\"q4_1\"", "auto, q4_k"},
    {PTQ, "gguf_embeddings", "\"Float\"", "\"q4_0\"", "float, q8_0"},
    {PTQ, "fold_other_linears", "\"ops\"", "\"on\"", "auto, ops, off"},
    {GPTQ, "damp_percent", "\"auto\"", "0", "a number above 0, at most 1, or \"auto\""},
    {GPTQ, "damp_percent", "1", "1.5", "above 0, at most 1"},
    {GPTQ, "damp_percent", "\"0.01\"", "\"nan\"", "a number"},
    {GPTQ, "block_size", "64", "0", NULL},
    {GPTQ, "act_order", "\"Group_Aware\"", "true", "none, static, dynamic, group_aware"},
    {GPTQ, "true_sequential", "false", "2", NULL},
    {GPTQ, "calibration_inputs", "\"float\"", "\"both\"", "quantized, float"},
    {GPTQ, "calibration_tokens", "65536", "0", NULL},
    {GPTQ, "scale_refit", "false", "2", NULL},
    {GPTQ, "code_sweeps", "0", "-1", NULL},
    {GPTQ, "qep_alpha", "0", "2", "0..1"},
    {GPTQ, "scaling", "\"awq\"", "\"shift\"", "none, smooth, awq"},
    {PTQ, "auto_clip", "false", "3", NULL},
    {PTQ, "awq_n_grid", "10", "0", NULL},
    {PTQ, "clip_n_grid", "10", "0", NULL},
    {PTQ, "clip_max_shrink", "0.3", "0", NULL},
    {PTQ, "awq_inspect", "\"block\"", "\"layer\"", "linear, block"},
    {PTQ, "awq_candidates", "\"published\"", "\"all\"", "extended, published"},
    {PTQ, "clip_skip", "[\"q_proj\"]", "true", "list"},
    {PTQ, "compat", "\"PaddleSlim\"", "\"paddle\"", "none, paddleslim"},
    {PTQ, "seed", "0", "-1", NULL},
    {PTQ, "seed", "9007199254740992", "\"many\"", NULL},
    {PTQ, "device", "\"opencl:nvidia\"", "0", "a text"},
    {PTQ, "format", "\"Compressed-Tensors\"", "\"onnx\"", "compressed-tensors, gptq, awq, gguf, paddle"},
    {PTQ, "compute_dtype", "\"auto\"", "\"fp16\"", "auto, float32, float16, bfloat16"},
    {PTQ, "scale_dtype", "\"bfloat16\"", "\"int8\"", "auto, float32"},
    {PTQ, "skip_bad_sequences", "true", "2", NULL},
    {PTQ, "strict", "false", "2", NULL},
    {PTQ, "keep_order", "true", "2", NULL},
    {PTQ, "allow_unknown", "true", "2", NULL},
    {PTQ, "per_device_train_batch_size", "1", "0", NULL},
    {PTQ, "per_device_eval_batch_size", "\"4\"", "0", NULL},
    {PTQ, "output_dir", "\"out\"", "1", "a text"},
    {PTQ, "overwrite_output_dir", "true", "\"o\"", NULL},
    {PTQ, "dataloader_drop_last", "true", "2", NULL},
    {PTQ, "resume_from_checkpoint", "\"o\"", "[]", "a text"},
    {PTQ, "model_name_or_path", "\"a/b\"", "false", "a text"},
    {PTQ, "tokenizer_name_or_path", "\"a/b\"", "3", "a text"},
    {PTQ, "fp16", "true", "16", NULL},
    {PTQ, "bf16", "true", "16", NULL},
    {PTQ, "fp16_opt_level", "\"o1\"", "\"O3\"", "O0, O1, O2"},
    {PTQ, "dtype", "\"bfloat16\"", "\"auto\"", "float32, float16, bfloat16"},
    {PTQ, "continue_training", "true", "false", "random weights"},
    {PTQ, "dataset_name_or_path", "\"data\"", "[\"a\"]", "a text"},
    {PTQ, "src_length", "2", "1", "2.."},
    {PTQ, "max_length", "1024", "2", "an integer in 3.."},
    {PTQ, "tgt_length", "1", "0", NULL},
    {PTQ, "zero_padding", "true", "2", NULL},
    {PTQ, "greedy_zero_padding", "true", "2", NULL},
    {PTQ, "chat_template", "\"t.json\"", "true", "a text"},
};

static bm_status read_pair(bm_arguments **out, job with, const char *key, const char *value, bm_error *err)
{
    static const struct {
        const char *key, *member;
    } needed[] = {{"model_name_or_path", "\"model_name_or_path\":\"m\""},
                  {"output_dir", "\"output_dir\":\"o\""},
                  {"dataset_name_or_path", "\"dataset_name_or_path\":\"d\""}};
    bm_string text = BM_STRING_INIT;
    bm_string_append_format(&text, "%s,\"%s\":%s", job_members[with], key, value);
    for (size_t i = 0; i < BM_COUNT(needed); i++)
        if (strcmp(needed[i].key, key) != 0)
            bm_string_append_format(&text, ",%s", needed[i].member);
    const bm_status status = fixture_read(out, bm_string_text(&text), NULL, err);
    bm_string_free(&text);
    return status;
}

static void good_value_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(pairs); i++) {
        bm_arguments *args = NULL;
        bm_error err;
        const bm_status status = read_pair(&args, pairs[i].job, pairs[i].key, pairs[i].good, &err);
        if (status != BM_OK)
            fail_msg("%s: %s: %s", pairs[i].key, pairs[i].good, err.message);
        bm_arguments_destroy(&args);
        assert_null(args);
    }
}

static void bad_value_is_rejected_with_key_and_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(pairs); i++) {
        bm_arguments *args = NULL;
        bm_error err = {BM_OK, ""};
        const bm_status status = read_pair(&args, pairs[i].job, pairs[i].key, pairs[i].bad, &err);
        const bool has_words = !pairs[i].words || strstr(err.message, pairs[i].words);
        const bool has_key = strstr(err.message, FIXTURE_NAME ": \"") && strstr(err.message, pairs[i].key);
        if (status != BM_E_ARGUMENT || !has_key || !has_words)
            fail_msg("%s: %s: status %d: %s", pairs[i].key, pairs[i].bad, (int)status, err.message);
        assert_null(args);
    }
}

static void every_row_has_a_pair(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < key_table_count; k++) {
        bool found = false;
        for (size_t i = 0; i < BM_COUNT(pairs) && !found; i++)
            found = strcmp(pairs[i].key, key_table[k].name) == 0;
        if (!found)
            fail_msg("%s: no pair of values", key_table[k].name);
    }
}

// Enumerators and names are in the same order.
static void enumerators_have_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int value;
        const char *name;
    } cases[] = {
        {"quant_type", BM_QUANT_A8W8, "a8w8"},
        {"quant_type", BM_QUANT_A8W8C8, "a8w8c8"},
        {"quant_type", BM_QUANT_A8W8_FP8, "a8w8_fp8"},
        {"quant_type", BM_QUANT_WINT8, "wint8"},
        {"quant_type", BM_QUANT_WINT4, "wint4"},
        {"quant_type", BM_QUANT_A8W4, "a8w4"},
        {"weight_quant_method", BM_WEIGHT_GROUPWISE, "groupwise"},
        {"weight_quant_method", BM_WEIGHT_AVG, "avg"},
        {"act_quant_method", BM_ACT_ABS_MAX, "abs_max"},
        {"act_quant_method", BM_ACT_MSE, "mse"},
        {"act_quant_method", BM_ACT_PERCENTILE, "percentile"},
        {"cachekv_quant_method", BM_KV_ABS_MAX_HEADWISE, "abs_max_headwise"},
        {"cachekv_quant_method", BM_KV_ABS_MAX, "abs_max"},
        {"group_tail", BM_TAIL_SHORT, "short"},
        {"scale_search", BM_SCALE_MSE, "mse"},
        {"scale_search", BM_SCALE_WEIGHTED_MSE, "weighted_mse"},
        {"scale_search", BM_SCALE_GRAM, "gram"},
        {"method_choice", BM_CHOICE_BEST, "best"},
        {"shift_sampler", BM_SAMPLER_EMA, "ema"},
        {"shift_statistic", BM_SHIFT_AVERAGE, "average"},
        {"shift_statistic", BM_SHIFT_MIDRANGE, "midrange"},
        {"shift_statistic", BM_SHIFT_MEAN, "mean"},
        {"smooth_sampler", BM_SAMPLER_MULTI_STEP, "multi_step"},
        {"smooth_weight_statistic", BM_SMOOTH_BY_RMS, "rms"},
        {"smooth_weight_statistic", BM_SMOOTH_BY_ABS_MAX, "abs_max"},
        {"search_loss", BM_LOSS_RESIDUAL, "residual"},
        {"search_loss", BM_LOSS_MSE, "mse"},
        {"search_loss", BM_LOSS_NMSE, "nmse"},
        {"smooth_piece_order", BM_PIECES_FALLING, "falling"},
        {"piecewise_candidates", BM_PIECES_RELATIVE, "relative"},
        {"fold_other_linears", BM_FOLD_OPS, "ops"},
        {"fold_other_linears", BM_FOLD_OFF, "off"},
        {"act_order", BM_ORDER_NONE, "none"},
        {"act_order", BM_ORDER_DYNAMIC, "dynamic"},
        {"act_order", BM_ORDER_GROUP_AWARE, "group_aware"},
        {"calibration_inputs", BM_INPUTS_FLOAT, "float"},
        {"scaling", BM_SCALING_SMOOTH, "smooth"},
        {"scaling", BM_SCALING_AWQ, "awq"},
        {"awq_inspect", BM_INSPECT_BLOCK, "block"},
        {"awq_candidates", BM_AWQ_PUBLISHED, "published"},
        {"compat", BM_COMPAT_PADDLESLIM, "paddleslim"},
        {"format", BM_FORMAT_GPTQ, "gptq"},
        {"format", BM_FORMAT_AWQ, "awq"},
        {"format", BM_FORMAT_GGUF, "gguf"},
        {"gguf_embeddings", BM_EMBEDDINGS_Q8_0, "q8_0"},
        {"format", BM_FORMAT_PADDLE, "paddle"},
        {"fp16_opt_level", BM_OPT_O0, "O0"},
        {"fp16_opt_level", BM_OPT_O2, "O2"},
        {"compute_dtype", BM_DTYPE_F32, "float32"},
        {"scale_dtype", BM_DTYPE_F16, "float16"},
        {"dtype", BM_DTYPE_BF16, "bfloat16"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        assert_string_equal(key_enum_name(cases[i].key, cases[i].value), cases[i].name);
    assert_string_equal(bm_job_name(BM_JOB_EVALUATE), "evaluate");
    assert_string_equal(bm_job_name(BM_JOB_ROUNDING), "rounding");
    assert_string_equal(bm_job_name(BM_JOB_GPTQ), "gptq");
    assert_string_equal(bm_job_name(BM_JOB_LOAD), "load");
}

// wanted BM_OK: taken, with the group's note on the key or (is_silent) without a word on it.
static void expect_group_key(const key_group *group, const char *name, const char *value, bm_status wanted,
                             bool is_silent)
{
    bm_arguments *args = NULL;
    bm_error err = {BM_OK, ""};
    char *members = bm_format(NEEDED ",\"%s\":%s", name, value);
    char *note = bm_format("\"%s\": %s", name, group->words);
    const bm_status status = fixture_read(&args, members, NULL, &err);
    if (status != wanted || (wanted != BM_OK && !strstr(err.message, group->words)))
        fail_msg("%s: status %d: %s", members, (int)status, err.message);
    if (wanted == BM_OK && (fixture_note(args, is_silent ? name : note) != NULL) == is_silent)
        fail_msg("%s: the note \"%s\"", members, note);
    bm_free(members);
    bm_free(note);
    bm_arguments_destroy(&args);
}

static void expect_reaction(const key_group *group, const char *name)
{
    static const char *const off[] = {"false", "\"\"", "null", "[]", "0", "\"off\""};
    static const char *const set[] = {"true", "\"set\"", "7", "[1]"};
    for (size_t i = 0; i < BM_COUNT(off); i++)
        expect_group_key(group, name, off[i], BM_OK, group->reaction != KEY_NO_EFFECT);
    for (size_t i = 0; i < BM_COUNT(set); i++)
        expect_group_key(group, name, set[i], group->reaction == KEY_REFUSED ? BM_E_ARGUMENT : BM_OK, false);
    if (group->reaction == KEY_ONE_DEVICE)
        expect_group_key(group, name, "1", BM_OK, true);
}

// Calls back for each name of each group, a wildcard with a name of its own.
static void each_group_key(void (*expect)(const key_group *group, const char *name))
{
    for (const key_group *group = key_groups; group < key_groups + key_groups_count; group++)
        for (const char *at = group->names; *at;) {
            char name[64];
            const size_t length = strcspn(at, " ");
            snprintf(name, sizeof name, "%.*s", (int)length, at);
            if (name[length - 1] == '*')
                snprintf(name + length - 1, sizeof name - length, "some");
            expect(group, name);
            at += length + strspn(at + length, " ");
        }
}

static void key_that_fills_no_field_behaves_by_its_group(void **state)
{
    (void)state;
    each_group_key(expect_reaction);
}

static void keys_of_a_group_share_one_note(void **state)
{
    (void)state;
    bm_arguments *args = NULL;
    bm_error err;
    assert_ok(fixture_read(&args,
                           NEEDED ",\"learning_rate\":3e-5,\"few_shot\":true,\"warmup_steps\":30,"
                                  "\"report_to\":[\"none\"],\"ntrain\":5",
                           NULL, &err),
              &err);
    assert_non_null(
        fixture_note(args, "\"learning_rate\", \"warmup_steps\", \"report_to\": training keys have no effect here"));
    assert_non_null(fixture_note(args, "\"few_shot\", \"ntrain\": C-Eval is not built"));
    assert_int_equal(args->notes.count, 2);
    bm_arguments_destroy(&args);
}

static void expect_found(const key_group *group, const char *name)
{
    assert_null(key_find(name));
    if (key_find_group(name) != group)
        fail_msg("%s: another group has it", name);
}

static void names_are_unique(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < key_table_count; k++) {
        assert_ptr_equal(key_find(key_table[k].name), &key_table[k]);
        assert_null(key_find_group(key_table[k].name));
        if (key_table[k].alias)
            assert_ptr_equal(key_find(key_table[k].alias), &key_table[k]);
    }
    each_group_key(expect_found);
}

// README and the manual have every key that a run of this version may read, but those that change nothing in it: what
// they ask for is not built, or belongs to calibration.
static void keys_that_change_a_result_are_documented(void **state)
{
    (void)state;
    static const char *const left_out[] = {"do_gptq",
                                           "do_awq",
                                           "load_quant_model",
                                           "do_predict",
                                           "group_tail",
                                           "bias_correction",
                                           "method_choice",
                                           "shift",
                                           "smooth",
                                           "auto_clip",
                                           "compat",
                                           "seed",
                                           "per_device_train_batch_size",
                                           "per_device_eval_batch_size",
                                           "dataloader_drop_last",
                                           "resume_from_checkpoint",
                                           "continue_training",
                                           "zero_padding"};
    static const char *const documents[] = {BM_SOURCE_DIR "/README.md", BM_SOURCE_DIR "/docs/bitmill.1"};
    const uint32_t read = PHASE_RUN | PHASE_QUANTIZE | PHASE_GROUP | PHASE_INT;
    for (size_t d = 0; d < BM_COUNT(documents); d++) {
        char *text = NULL;
        uint64_t size = 0;
        bm_error err;
        assert_ok(bm_file_read_all(documents[d], 1 << 20, &text, &size, &err), &err);
        for (char *at = text; (at = strchr(at, '\n'));)
            *at = ' ';
        for (const key_row *row = key_table; row < key_table + key_table_count; row++) {
            char *in_markdown = bm_format("`%s`", row->name), *in_mdoc = bm_format(" %s ", row->name);
            bool is_left_out = !(row->phases & read);
            for (size_t i = 0; i < BM_COUNT(left_out); i++)
                is_left_out = is_left_out || strcmp(left_out[i], row->name) == 0;
            if (!is_left_out && !strstr(text, d == 0 ? in_markdown : in_mdoc))
                fail_msg("%s: lacks %s", documents[d], row->name);
            bm_free(in_markdown);
            bm_free(in_mdoc);
        }
        bm_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_value_is_taken),
        cmocka_unit_test(bad_value_is_rejected_with_key_and_words),
        cmocka_unit_test(every_row_has_a_pair),
        cmocka_unit_test(enumerators_have_their_names),
        cmocka_unit_test(key_that_fills_no_field_behaves_by_its_group),
        cmocka_unit_test(keys_of_a_group_share_one_note),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(keys_that_change_a_result_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
