// Whole runs that shift, smooth, search and quantize inputs, on the device that the argument names: the function is kept by every
// fold, whichever linears stay float; degenerate inputs end as they should; devices agree, and a device agrees with itself.
#include "support/unit.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "device/backend.h"
#include "infer/evaluate.h"
#include "schedule/equalize.h"
#include "schedule/run.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *spec;
static bm_device *device;

// ---- models and data

static model_maker_params small_model(void)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.hidden_size = 32;
    p.intermediate_size = 64;
    p.vocab_size = 260;
    return p;
}

// Lines of ids: sequence i has lengths[i] tokens.
static void write_ids(const char *folder, const char *name, const uint32_t *lengths, uint32_t count)
{
    bm_string text = BM_STRING_INIT;
    uint32_t state = 12345;
    for (uint32_t i = 0; i < count; i++) {
        (void)bm_string_append(&text, "{\"input_ids\": [");
        for (uint32_t t = 0; t < lengths[i]; t++) {
            state = state * 1664525u + 1013904223u;
            (void)bm_string_append_format(&text, "%s%u", t ? ", " : "", 3 + (state >> 8) % 250);
        }
        (void)bm_string_append(&text, "]}\n");
    }
    bm_free(support_file_write(folder, name, bm_string_text(&text), text.length));
    bm_string_free(&text);
}

static char *made_model(const model_maker_params *p)
{
    static const uint32_t lengths[] = {12, 20, 7, 16, 3, 24}, few[] = {40, 40};
    bm_error err = {0};
    char *folder = support_folder_create();
    assert_ok(model_maker_write(p, folder, &err), &err);
    write_ids(folder, "ids.jsonl", lengths, BM_COUNT(lengths));
    write_ids(folder, "evaluation.jsonl", few, BM_COUNT(few));
    return folder;
}

static float *read_floats(const bm_model *model, const char *name, uint64_t *count)
{
    bm_error err = {0};
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    *count = 0;
    if (!info) {
        fail_msg("no tensor %s", name);
        return NULL;
    }
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    *count = info->size_bytes / bm_dtype_size(info->dtype);
    float *values = bm_alloc(*count, sizeof *values);
    assert_ok(bm_checkpoint_read(model->checkpoint, info, 0, bytes, info->size_bytes, &err), &err);
    for (uint64_t i = 0; i < *count; i++)
        values[i] = bm_load_real(bytes, info->dtype, i);
    bm_free(bytes);
    return values;
}

static float *read_from(const char *folder, const char *name, uint64_t *count)
{
    bm_error err = {0};
    bm_model *model = NULL;
    assert_ok(bm_model_open(&model, folder, &err), &err);
    float *values = read_floats(model, name, count);
    bm_model_close(&model);
    return values;
}

// Multiplies rows first_row .. and columns of a float32 tensor of a made model; -1: all of them.
static void scale_tensor(const char *folder, const char *name, int64_t row, int64_t col, uint64_t cols, float factor)
{
    uint64_t count;
    float *values = read_from(folder, name, &count);
    for (uint64_t i = 0; i < count; i++)
        if ((row < 0 || (int64_t)(i / cols) == row) && (col < 0 || (int64_t)(i % cols) == col))
            values[i] *= factor;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

static void set_element(const char *folder, const char *name, uint64_t index, float value)
{
    uint64_t count;
    float *values = read_from(folder, name, &count);
    values[index] = value;
    support_tensor_write(folder, name, values, count * sizeof *values);
    bm_free(values);
}

// ---- runs

#define A8W8 "\"quant_type\":\"a8w8\""
#define WINT8 "\"quant_type\":\"wint8\""
#define SHIFT ",\"shift\":true,\"shift_all_linears\":true"
#define SMOOTH ",\"smooth\":true,\"smooth_all_linears\":true"
#define SEARCH ",\"smooth_piecewise_search\":true,\"search_alpha_step\":0.2,\"search_scale_step\":2"
#define OPS ",\"fold_other_linears\":\"ops\""

typedef struct run {
    const char *folder, *data, *keys;
    bm_device *device; // NULL: the program's
    char *output;
    bm_quantize_result result;
    bm_string log;
} run;

static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append_format(user, "%s\n", message);
}

// keys: of the parameter file, from the type on.
static bm_status quantize(run *r, bm_error *err)
{
    bm_arguments *arguments = NULL;
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_status status = BM_OK;
    bm_device *on = r->device ? r->device : device;
    char *text =
        bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s/out\",\"dataset_name_or_path\":\"%s/%s\","
                  "\"do_ptq\":true,\"per_device_train_batch_size\":2,\"max_length\":64,\"src_length\":32,%s}",
                  r->folder, r->output = support_folder_create(), r->folder, r->data ? r->data : "ids.jsonl", r->keys);
    const bm_log log = {.level = BM_LOG_WARNING, .write = gather, .user = &r->log};
    r->log = (bm_string)BM_STRING_INIT;
    r->result = (bm_quantize_result){0};
    BM_TRY(bm_arguments_read_text(&arguments, text, strlen(text), "test", NULL, err));
    if (arguments->compute_dtype == BM_DTYPE_NONE)
        arguments->compute_dtype = BM_DTYPE_F32;
    BM_TRY(bm_model_open(&model, r->folder, err));
    BM_TRY(bm_plan_create(arguments, model, &plan, err));
    BM_TRY(bm_plan_load_data(plan, arguments, model, NULL, err));
    const bm_quantize_run_params params = {
        .arguments = arguments, .plan = plan, .model = model, .device = on, .log = &log};
    status = bm_quantize_run(&params, &r->result, err);
done:
    bm_plan_destroy(&plan);
    bm_model_close(&model);
    bm_arguments_destroy(&arguments);
    bm_free(text);
    return status;
}

static void end_run(run *r)
{
    bm_quantize_result_free(&r->result);
    bm_string_free(&r->log);
    support_folder_remove(&r->output);
}

static char *output_of(const run *r)
{
    return bm_path_join(r->output, "out");
}

// The result of a run that works, evaluated against the float model: nats by which the distributions differ.
static double divergence(run *r)
{
    bm_error err = {0};
    bm_model *reference = NULL, *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_dataset_params data;
    bm_evaluation evaluation;
    char *output = output_of(r), *path = bm_path_join(r->folder, "evaluation.jsonl");
    assert_ok(bm_model_open(&reference, r->folder, &err), &err);
    assert_ok(bm_model_open(&model, output, &err), &err);
    assert_ok(bm_tokenizer_open(&tokenizer, r->folder, &err), &err);
    bm_dataset_params_init(&data);
    data.path = path;
    data.purpose = BM_DATASET_EVALUATION;
    data.src_length = 32;
    data.max_length = 64;
    data.context = 64;
    assert_ok(bm_dataset_load(&dataset, &data, tokenizer, NULL, &err), &err);
    const bm_evaluate_params params = {
        .model = model, .reference = reference, .device = device, .dtype = BM_DTYPE_F32, .dataset = dataset};
    assert_ok(bm_evaluate(&params, &evaluation, &err), &err);
    assert_true(isfinite(evaluation.loss) && evaluation.kl_divergence >= 0);
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    bm_model_close(&reference);
    bm_free(output);
    bm_free(path);
    return evaluation.kl_divergence;
}

static double run_and_compare(const char *folder, const char *keys)
{
    bm_error err = {0};
    run r = {.folder = folder, .keys = keys};
    if (quantize(&r, &err) != BM_OK)
        fail_msg("%s: %s", keys, err.message);
    const double nats = divergence(&r);
    end_run(&r);
    return nats;
}

// ---- the function is kept

// Weights of 8 bits leave little error; a fold that is not undone somewhere leaves a great one. Skipped names are those that a
// fold goes into, and parts of stages: they are written as floats from the masters.
static void folds_keep_the_function(void **state)
{
    static const char *const llama_skips[] = {
        "",
        ",\"skip_list_names\":[\"v_proj\",\"up_proj\"]",
        ",\"skip_list_names\":[\"q_proj\",\"k_proj\",\"gate_proj\"]",
        ",\"skip_list_names\":[\"self_attn\"]",
        ",\"skip_list_names\":[\"o_proj\",\"down_proj\",\"layers.1\"]",
        ",\"skip_list_names\":[\"q_proj\",\"k_proj\",\"v_proj\",\"gate_proj\",\"up_proj\"]"};
    static const char *const bloom_skips[] = {"", ",\"skip_list_names\":[\"query_key_value\"]",
                                              ",\"skip_list_names\":[\"dense_h_to_4h\",\"self_attention.dense\"]"};
    static const char *const folds[] = {SHIFT SMOOTH, SHIFT SMOOTH OPS, SMOOTH ",\"smooth_pow2\":true"};
    const struct {
        const char *family;
        uint32_t num_kv_heads;
        bool biases;
    } models[] = {{"llama", 4, false}, {"llama", 2, true}, {"mistral", 1, false},
                  {"qwen2", 2, false}, {"qwen3", 2, true}, {"bloom", 4, true}};
    (void)state;
    for (size_t m = 0; m < BM_COUNT(models); m++) {
        model_maker_params p = small_model();
        const bool is_bloom = strcmp(models[m].family, "bloom") == 0, is_llama = strcmp(models[m].family, "llama") == 0;
        const char *const *skips = is_bloom ? bloom_skips : llama_skips;
        const size_t num_skips = is_bloom ? BM_COUNT(bloom_skips) : m == 1 ? BM_COUNT(llama_skips) : 1;
        p.family = models[m].family;
        p.num_kv_heads = models[m].num_kv_heads;
        p.attention_bias = models[m].biases && !is_bloom;
        p.mlp_bias = models[m].biases && is_llama;
        char *folder = made_model(&p);
        for (size_t s = 0; s < num_skips; s++) {
            char *plain = bm_format(WINT8 "%s", skips[s]);
            const double without = run_and_compare(folder, plain);
            bm_free(plain);
            for (size_t f = 0; f < (s == 0 ? BM_COUNT(folds) : 1); f++) {
                char *keys = bm_format(WINT8 "%s%s", folds[f], skips[s]);
                const double with = run_and_compare(folder, keys);
                if (!(with < 2.5 * without))
                    fail_msg("%s, %s: divergence %.3g, without folds %.3g", p.family, keys, with, without);
                bm_free(keys);
            }
        }
        support_folder_remove(&folder);
    }
}

// Channels of which inputs are 20 times larger than others: what smooth is for. A search that sees six sequences does not find much
// worse scales.
static void smooth_meets_outliers(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    p.num_outlier_channels = 2;
    p.outlier_scale = 20;
    char *folder = made_model(&p);
    const double plain = run_and_compare(folder, A8W8), smooth = run_and_compare(folder, A8W8 SMOOTH);
    const double search = run_and_compare(folder, A8W8 SMOOTH SEARCH);
    const double dynamic = run_and_compare(folder, A8W8 SMOOTH ",\"act_quant_method\":\"per_token\"");
    print_message("plain %.3g, smooth %.3g, search %.3g, dynamic %.3g\n", plain, smooth, search, dynamic);
    assert_true(smooth < plain / 4 && search < 2 * smooth && dynamic < smooth);
    support_folder_remove(&folder);
}

// ---- degenerate inputs

// The record of a block's stage.
static const bm_stage_record *stage_of(const run *r, uint32_t block, bm_stage stage)
{
    for (uint32_t i = 0; i < r->result.num_stages; i++)
        if (r->result.stages[i].block == block && r->result.stages[i].stage == stage)
            return &r->result.stages[i];
    fail_msg("block %u, stage %d: no record", block, (int)stage);
    return NULL;
}

static void quantize_well(run *r)
{
    bm_error err = {0};
    if (quantize(r, &err) != BM_OK)
        fail_msg("%s: %s", r->keys, err.message);
    (void)divergence(r); // it can be read back, and gives finite logits
}

#define INPUT_NORM "model.layers.0.input_layernorm.weight"

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
        assert_true(l->has_layer_error && l->by_weights.nmse > 0 && l->by_weights.nmse < 1e-3);
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
    write_ids(folder, "one.jsonl", one, 1);
    write_ids(folder, "two.jsonl", two, 2);
    write_ids(folder, "sequence.jsonl", sequence, 1);
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
            assert_non_null(strstr(err.message, "example 2: NaN or infinity"));
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

// A channel of weight 60000 that has small inputs and large weights wants a scale by which float16 would overflow.
static void folds_stay_in_the_range_of_their_type(void **state)
{
    static const char norm[] = "model.layers.0.post_attention_layernorm.weight";
    static const char *const types[] = {"float16", "bfloat16", "float32"};
    model_maker_params p = small_model();
    uint64_t count;
    (void)state;
    char *folder = made_model(&p);
    scale_tensor(folder, "model.embed_tokens.weight", -1, 9, 32, 1e-6f);
    scale_tensor(folder, "model.layers.0.self_attn.o_proj.weight", 9, -1, 32, 0);
    scale_tensor(folder, "model.layers.0.mlp.gate_proj.weight", -1, 9, 32, 1e2f);
    set_element(folder, norm, 9, 60000);
    for (size_t i = 0; i < BM_COUNT(types); i++) {
        char *keys = bm_format(A8W8 SMOOTH ",\"dtype\":\"%s\",\"skip_list_names\":[\"up_proj\",\"v_proj\"]", types[i]);
        run r = {.folder = folder, .keys = keys};
        quantize_well(&r);
        char *output = output_of(&r);
        float *after = read_from(output, norm, &count);
        assert_true(isfinite(after[9]) && after[9] > 0);
        assert_true(i == 0 ? after[9] == 65504 : after[9] > 65504); // the scale is moved no farther than it must be
        assert_int_equal(stage_of(&r, 0, BM_STAGE_GATE_UP)->finish.num_moved, i == 0);
        assert_true(divergence(&r) < 0.05);
        const bm_stage_record *stage = stage_of(&r, 0, BM_STAGE_GATE_UP);
        float *step = read_from(output, "model.layers.0.mlp.gate_proj.input_scale", &count);
        assert_true(step[0] == stage->input.step && fabs(step[0] * 127 / stage->amax - 1) < 0.005);
        // Scales are what norms were really divided by once they are stored.
        float *original = read_from(folder, norm, &count), least = INFINITY, largest = 0;
        for (uint64_t c = 0; c < count; c++) {
            least = fminf(least, original[c] / after[c]);
            largest = fmaxf(largest, original[c] / after[c]);
        }
        assert_true(fabsf(stage->least_scale / least - 1) < 1e-6f && fabsf(stage->largest_scale / largest - 1) < 1e-6f);
        bm_free(step);
        bm_free(original);
        bm_free(after);
        bm_free(output);
        bm_free(keys);
        end_run(&r);
    }
    support_folder_remove(&folder);
}

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
    write_ids(folder, "packs.jsonl", lengths, BM_COUNT(lengths));
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

// The observer may see fewer steps than smooth: halves have sequences of both, or nothing is judged crosswise.
static void fewer_steps_are_observed_than_smoothed(void **state)
{
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    const double plain = run_and_compare(folder, A8W8);
    for (int ptq = 1; ptq <= 3; ptq++)
        for (int smooth = 1; smooth <= 3; smooth++) {
            char *keys = bm_format(A8W8 SMOOTH SEARCH ",\"ptq_step\":%d,\"smooth_step\":%d", ptq, smooth);
            const double nats = run_and_compare(folder, keys);
            if (!(nats < 20 * plain))
                fail_msg("%s: divergence %.3g, plain %.3g", keys, nats, plain);
            bm_free(keys);
        }
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

// Inputs of a stage are looked at where one of its linears is quantized, and there alone.
static void stages_that_stay_float_are_left_alone(void **state)
{
    static const char keys[] = A8W8 SMOOTH ",\"skip_list_names\":[\"self_attn\",\"layers.1.mlp.down_proj\"]";
    const bm_stage expected[] = {BM_STAGE_GATE_UP, BM_STAGE_DOWN, BM_STAGE_GATE_UP};
    model_maker_params p = small_model();
    (void)state;
    char *folder = made_model(&p);
    run r = {.folder = folder, .keys = keys};
    quantize_well(&r);
    assert_int_equal(r.result.num_stages, BM_COUNT(expected));
    for (uint32_t i = 0; i < BM_COUNT(expected); i++)
        assert_int_equal(r.result.stages[i].stage, expected[i]);
    end_run(&r);
    support_folder_remove(&folder);
}

// ---- numbers worked by hand

static void assert_near(double found, double expected, const char *what)
{
    if (!(fabs(found - expected) <= 1e-5 * fabs(expected)))
        fail_msg("%s: found %.9g, expected %.9g", what, found, expected);
}

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

// Token 5 has the largest input alone. Where nothing reads it, steps that just reach the others lose least: 0.3 to 0.4 of it. Where v does, at
// ten times the other weights, clipping costs more than it gains. But the residual stream of a token that is 1e5 times as
// long divides its errors by as much: behind the next norm they are nothing, and steps are those of the others again.
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

// Puts another tensor of `count` numbers, rounded to a type of 16 bits, in the place of a float32 one of a made model.
static void change_type(const char *folder, const char *name, bm_dtype dtype)
{
    uint64_t count;
    char from[200], to[200];
    float *values = read_from(folder, name, &count);
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(dtype));
    for (uint64_t i = 0; i < count; i++)
        bm_store_real(bytes, dtype, i, values[i]);
    snprintf(from, sizeof from, "\"%s\"", name);
    snprintf(to, sizeof to, "\"-%s\"", name + 1); // one that nobody reads
    support_header_replace(folder, from, to);
    support_tensor_add(folder, name, dtype, count);
    support_tensor_write(folder, name, bytes, count * bm_dtype_size(dtype));
    bm_free(values);
    bm_free(bytes);
}

// Norms of several types, from block to block and in one: each keeps its own, and scales are what each was really divided
// by.
static void norms_keep_their_types(void **state)
{
    static const struct {
        uint32_t block;
        bm_stage stage;
        const char *norm;
        bm_dtype dtype;
    } norms[] = {{0, BM_STAGE_QKV, "input_layernorm", BM_DTYPE_F32},
                 {0, BM_STAGE_GATE_UP, "post_attention_layernorm", BM_DTYPE_BF16},
                 {1, BM_STAGE_QKV, "input_layernorm", BM_DTYPE_F16},
                 {1, BM_STAGE_GATE_UP, "post_attention_layernorm", BM_DTYPE_F32}};
    static const char *const families[][2] = {{"llama", "model.layers"}, {"bloom", "transformer.h"}};
    for (size_t f = 0; f < BM_COUNT(families); f++) {
        model_maker_params p = small_model();
        bm_error err = {0};
        bm_model *model = NULL;
        (void)state;
        p.family = families[f][0];
        p.num_kv_heads = p.num_heads;
        char *folder = made_model(&p);
        for (size_t i = 0; i < BM_COUNT(norms); i++)
            for (int is_bias = 0; is_bias < (f == 0 ? 1 : 2); is_bias++) { // biases: of the next norm's type
                const bm_dtype dtype = norms[(i + (size_t)is_bias) % BM_COUNT(norms)].dtype;
                char *name = bm_format("%s.%u.%s.%s", families[f][1], norms[i].block, norms[i].norm,
                                       is_bias ? "bias" : "weight");
                if (dtype != BM_DTYPE_F32)
                    change_type(folder, name, dtype);
                bm_free(name);
            }
        const double plain = run_and_compare(folder, WINT8);
        run r = {.folder = folder, .keys = WINT8 SHIFT SMOOTH};
        quantize_well(&r);
        assert_true(divergence(&r) < 2.5 * plain);
        char *output = output_of(&r);
        assert_ok(bm_model_open(&model, output, &err), &err);
        for (size_t i = 0; i < BM_COUNT(norms); i++) {
            char *name = bm_format("%s.%u.%s.weight", families[f][1], norms[i].block, norms[i].norm);
            const bm_stage_record *record = stage_of(&r, norms[i].block, norms[i].stage);
            float least = INFINITY, largest = 0;
            uint64_t count;
            float *before = read_from(folder, name, &count), *after = read_floats(model, name, &count);
            char *bias = bm_format("%s.%u.%s.bias", families[f][1], norms[i].block, norms[i].norm);
            float *added = f == 0 ? bm_alloc_zero(count, sizeof *added) : read_from(folder, bias, &count);
            float *shifted = read_floats(model, bias, &count);
            assert_int_equal(record->num_bins, count);
            for (uint64_t c = 0; c < count; c++) {
                const float scale = before[c] / after[c];
                const double taken = (double)(record->low_before[c] - record->low[c] * scale);
                least = fminf(least, scale);
                largest = fmaxf(largest, scale);
                if (!(fabs(taken - (double)(added[c] - shifted[c] * scale)) <= 2e-5)) // of inputs up to 5
                    fail_msg("%s: channel %u: %.9g was taken off", bias, (uint32_t)c, taken);
            }
            bm_free(bias);
            bm_free(added);
            bm_free(shifted);
            assert_int_equal(bm_checkpoint_find(model->checkpoint, name)->dtype, norms[i].dtype);
            assert_near((double)record->least_scale, (double)least, name);
            assert_near((double)record->largest_scale, (double)largest, name);
            bm_free(before);
            bm_free(after);
            bm_free(name);
        }
        bm_model_close(&model);
        bm_free(output);
        end_run(&r);
        support_folder_remove(&folder);
    }
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
         "test: \"smooth_sampler\": \"multi_step\": a sample of 82 tokens takes 0.1 MB, expected at most 0.1, the "
         "memory of "},
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\",\"smooth_step\":1", samples + search - 1, 0, NULL},
        {A8W8 SMOOTH SEARCH ",\"smooth_sampler\":\"multi_step\"", 0, UINT64_C(82) * 4 * 64 - 1,
         "\"multi_step\": 82 tokens of inputs of model.layers.0.mlp.down_proj take 0.0 MB, expected at most 0.0, the "
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

// ---- agreement

static char *read_file(const char *folder, const char *name, uint64_t *size)
{
    bm_error err = {0};
    char *bytes = NULL, *path = bm_path_join(folder, name);
    assert_ok(bm_file_read_all(path, UINT64_C(1) << 30, &bytes, size, &err), &err);
    bm_free(path);
    return bytes;
}

// Codes that differ, of all; other numbers are near.
typedef struct agreement {
    uint64_t codes, differing;
    double scales; // largest relative difference of those of weights and inputs
} agreement;

static agreement compare(const char *a, const char *b)
{
    bm_error err = {0};
    bm_model *models[2] = {NULL, NULL};
    agreement found = {0};
    assert_ok(bm_model_open(&models[0], a, &err), &err);
    assert_ok(bm_model_open(&models[1], b, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(models[0]->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(models[0]->checkpoint, i);
        uint64_t count;
        if (info->dtype == BM_DTYPE_I8) {
            const bm_tensor_info *other = bm_checkpoint_find(models[1]->checkpoint, info->name);
            int8_t *x = bm_alloc(info->size_bytes, 1), *y = bm_alloc(info->size_bytes, 1);
            assert_ok(bm_checkpoint_read(models[0]->checkpoint, info, 0, x, info->size_bytes, &err), &err);
            assert_ok(bm_checkpoint_read(models[1]->checkpoint, other, 0, y, info->size_bytes, &err), &err);
            for (uint64_t e = 0; e < info->size_bytes; e++) {
                found.differing += x[e] != y[e];
                assert_true(abs(x[e] - y[e]) <= 1);
            }
            found.codes += info->size_bytes;
            bm_free(x);
            bm_free(y);
        } else if (strstr(info->name, "scale")) {
            float *x = read_floats(models[0], info->name, &count), *y = read_floats(models[1], info->name, &count);
            for (uint64_t e = 0; e < count; e++)
                found.scales = fmax(found.scales, (double)(fabsf(x[e] - y[e]) / x[e]));
            bm_free(x);
            bm_free(y);
        }
    }
    bm_model_close(&models[0]);
    bm_model_close(&models[1]);
    return found;
}

// The device twice: the same bytes. The host beside it: scales but for rounding, and so nearly all codes.
static void devices_agree(void **state)
{
    static const char *const keys[] = {A8W8, A8W8 SHIFT SMOOTH, A8W8 SMOOTH SEARCH};
    bm_error err = {0};
    support_log log;
    bm_device *host = NULL;
    model_maker_params p = small_model();
    (void)state;
    p.num_outlier_channels = 2;
    p.outlier_scale = 20;
    char *folder = made_model(&p);
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &host, &err), &err);
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        run once = {.folder = folder, .keys = keys[i]}, again = once, beside = once;
        uint64_t size, size_again;
        beside.device = host;
        assert_ok(quantize(&once, &err), &err);
        assert_ok(quantize(&again, &err), &err);
        assert_ok(quantize(&beside, &err), &err);
        char *a = output_of(&once), *b = output_of(&again), *c = output_of(&beside);
        char *bytes = read_file(a, "model.safetensors", &size), *same = read_file(b, "model.safetensors", &size_again);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, same, size);
        const agreement found = compare(a, c);
        print_message("%s: %llu of %llu codes differ from the host's, scales by %.2g\n", keys[i],
                      (unsigned long long)found.differing, (unsigned long long)found.codes, found.scales);
        assert_true(found.codes > 10000 && found.differing * 1000 <= found.codes && found.scales < 1e-5);
        bm_free(bytes);
        bm_free(same);
        bm_free(a);
        bm_free(b);
        bm_free(c);
        end_run(&once);
        end_run(&again);
        end_run(&beside);
    }
    bm_device_close(&host);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_keep_the_function),
        cmocka_unit_test(smooth_meets_outliers),
        cmocka_unit_test(zeros_have_no_scales),
        cmocka_unit_test(constant_channels_become_zeros),
        cmocka_unit_test(small_data_are_enough),
        cmocka_unit_test(pieces_are_as_many_as_channels_differ),
        cmocka_unit_test(crossed_bounds_are_refused),
        cmocka_unit_test(losses_beyond_float32_leave_scales_at_one),
        cmocka_unit_test(inputs_that_overflow_are_named_or_left_out),
        cmocka_unit_test(folds_stay_in_the_range_of_their_type),
        cmocka_unit_test(packed_sequences_count_one_by_one),
        cmocka_unit_test(steps_of_packs_are_whole),
        cmocka_unit_test(floats_do_not_count_in_the_search),
        cmocka_unit_test(stages_that_stay_float_are_left_alone),
        cmocka_unit_test(scales_behind_a_shift_are_those_of_shifted_inputs),
        cmocka_unit_test(scales_follow_the_length_of_columns),
        cmocka_unit_test(fewer_steps_are_observed_than_smoothed),
        cmocka_unit_test(tokens_weigh_by_what_the_next_norm_divides_by),
        cmocka_unit_test(steps_lose_least_where_it_matters),
        cmocka_unit_test(norms_keep_their_types),
        cmocka_unit_test(samples_beyond_the_device_are_refused),
        cmocka_unit_test(devices_agree),
    };
    support_log log;
    bm_error err = {0};
    spec = argc > 1 ? argv[1] : "host";
    support_log_init(&log);
    if (support_device_open(spec, &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s: %s\n", spec, err.message);
        return 1;
    }
    if (device && support_is_instrumented()) // its loops are long
        bm_device_close(&device);
    if (!device)
        return SUPPORT_SKIP;
    int failures = cmocka_run_group_tests_name("equalize", tests, NULL, NULL);
    bm_device_close(&device);
    if (log.num_complaints > 0) {
        printf("%u complaints of validation\n", log.num_complaints);
        failures++;
    }
    return failures;
}
