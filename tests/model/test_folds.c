// A folded float model computes what the original does: each fold alone and all together, in every family, by random
// scales and shifts. Argument: a device spec; on the host in float64 too.
#include "model/fold.h"
#include "model/logits.h"
#include "model/masters.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include "support/unit.h"

#include "base/half.h"
#include "base/random.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 24, INTERMEDIATE = 300 };
static bm_device *device;

// Which folds, and what is asked of them.
typedef struct trial {
    const char *name;
    bm_fold_wanted wanted[BM_NUM_STAGES];
    bm_dtype stored; // BM_DTYPE_NONE: the masters' type
    bool powers_of_two;
    bm_dtype stored_shift; // BM_DTYPE_NONE: as stored
} trial;

typedef struct folded_model {
    const bm_model *model;
    bm_dtype dtype;
    const trial *trial;
} folded_model;

static bool has(const bm_tensor *tensor)
{
    return tensor->view.buffer != NULL;
}

// The tensors of the block that the model's checkpoint does not have, by the names of bm_fold_added_tensors.
static uint32_t count_added(const bm_block *block)
{
    const bm_model *model = block->model;
    uint32_t count = 0;
    for (bm_norm_id n = 0; n < BM_NUM_NORMS; n++)
        count += has(&block->norms[n].bias) && !model->family->has_layer_norms;
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++) {
        bm_linear_id parts[BM_MAX_LINEAR_PARTS];
        bool any = false;
        for (uint32_t p = 0; p < bm_linear_parts(l, parts); p++)
            any = any || has(&block->biases[parts[p]]);
        count += bm_family_has_linear(model->family, l) && any && !bm_linear_has_bias(model->family, &model->config, l);
    }
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++)
        count += has(&block->changes[s].shift) + has(&block->changes[s].factor);
    return count;
}

static double *draw(bm_random *random, uint32_t width, bool is_scale)
{
    double *values = bm_alloc(width, sizeof *values);
    for (uint32_t i = 0; i < width; i++)
        values[i] = is_scale ? exp(log(3) * bm_random_normal(random)) : bm_random_normal(random);
    return values;
}

static void make_folds(const folded_model *m, uint32_t index, bm_folds *folds)
{
    const bm_dtype stored = m->trial->stored ? m->trial->stored : m->dtype;
    *folds = (bm_folds){.powers_of_two = m->trial->powers_of_two};
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++) {
        bm_random random;
        const bm_fold_wanted *w = &m->trial->wanted[s];
        const uint32_t width = bm_fold_width(&m->model->config, s, w->as_operations);
        bm_random_init(&random, 7 + index, s);
        folds->stages[s].as_operations = w->as_operations;
        folds->stages[s].scale_dtype = stored;
        folds->stages[s].shift_dtype = m->trial->stored_shift ? m->trial->stored_shift : stored;
        folds->stages[s].scale = w->scale ? draw(&random, width, true) : NULL;
        folds->stages[s].shift = w->shift ? draw(&random, width, false) : NULL;
    }
}

static void free_folds(bm_folds *folds)
{
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++) {
        bm_free(folds->stages[s].scale);
        bm_free(folds->stages[s].shift);
    }
}

static bm_status make_folded(void *user, uint32_t index, bm_block *out, bm_error *err)
{
    const folded_model *m = user;
    bm_fold_added added[BM_FOLD_MAX_ADDED];
    bm_folds folds;
    bm_block masters = {0};
    bm_status status = BM_OK;
    make_folds(m, index, &folds);
    BM_TRY(bm_masters_load(m->model, device, index, m->dtype, &masters, err));
    BM_TRY(bm_masters_make_block(device, &masters, m->dtype, out, err)); // what comes of it is written over
    BM_TRY(bm_fold_apply(device, &masters, &folds, err));
    BM_TRY(bm_masters_make_block(device, &masters, m->dtype, out, err));
    BM_TRY(bm_device_wait(device, err));
    assert_int_equal(bm_fold_added_tensors(m->model, index, m->trial->wanted, added), count_added(out));
done:
    bm_block_destroy(&masters);
    free_folds(&folds);
    return status;
}

// Logits of the model and of its folded form.
static logits_difference compare(const bm_model *model, bm_dtype dtype, const trial *t)
{
    bm_error err = {0};
    folded_model m = {model, dtype, t};
    const uint64_t cols = model->config.vocab_size;
    double *want = bm_alloc(TOKENS * cols, sizeof *want), *got = bm_alloc(TOKENS * cols, sizeof *got);
    uint32_t ids[TOKENS];
    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = i == 0 ? 1 : (i * 7919u + 13u) % model->config.vocab_size;
    assert_ok(model_logits(model, device, dtype, ids, TOKENS, want, &err), &err);
    assert_ok(model_logits_of_blocks(model, device, dtype, make_folded, &m, ids, TOKENS, got, &err), &err);
    const logits_difference d = logits_compare(want, got, TOKENS, cols);
    bm_free(want);
    bm_free(got);
    return d;
}

#define A BM_STAGE_QKV
#define O BM_STAGE_O
#define F BM_STAGE_GATE_UP
#define D BM_STAGE_DOWN
static const bm_fold_wanted scaled = {true, false, false}, shifted = {false, true, false}, both = {true, true, false},
                            both_by_operations = {true, true, true};

// Exact folds of a stage, and operations before o and down.
static uint32_t make_trials(const bm_model *model, trial out[24])
{
    static const char *const names[BM_NUM_STAGES] = {"qkv", "o", "gate,up", "down"};
    uint32_t n = 0;
    trial all = {.name = "all"}, operations = {.name = "all, o and down by operations"};
    for (bm_stage s = 0; s < BM_NUM_STAGES; s++) {
        const bool can_scale = bm_fold_is_exact(model->family, s, false),
                   can_shift = bm_fold_is_exact(model->family, s, true);
        if (can_scale)
            out[n] = (trial){.name = names[s]}, out[n++].wanted[s] = scaled;
        if (can_shift)
            out[n] = (trial){.name = names[s]}, out[n++].wanted[s] = shifted;
        if (can_shift)
            out[n] = (trial){.name = names[s]}, out[n++].wanted[s] = both;
        if (bm_norm_of_stage(s) == BM_NUM_NORMS)
            for (uint32_t k = 0; k < 3; k++) {
                out[n] = (trial){.name = names[s]};
                out[n++].wanted[s] = (bm_fold_wanted){k != 1, k != 0, true};
            }
        all.wanted[s] = (bm_fold_wanted){can_scale, can_shift, false};
        operations.wanted[s] = bm_norm_of_stage(s) == BM_NUM_NORMS ? both_by_operations : both;
    }
    out[n++] = all;
    out[n++] = operations;
    return n;
}

static void check_model(const char *name, const bm_model *model)
{
    const bool is_host = bm_device_is_host(device);
    trial trials[24];
    const uint32_t count = make_trials(model, trials);
    double worst[2] = {0};
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t wide = 0; wide < 1u + is_host; wide++) {
            const double d = compare(model, wide ? BM_DTYPE_F64 : BM_DTYPE_F32, &trials[i]).relative;
            if (!(d <= (wide ? 1e-12 : 1e-5)))
                fail_msg("%s: %s, trial %u: %.2e in %s", name, trials[i].name, i, d, wide ? "F64" : "F32");
            worst[wide] = fmax(worst[wide], d);
        }
    printf("  %-28s %2u folds  max|d|/max|logit| %.2e  %.2e\n", name, count, worst[0], worst[1]);
}

static bm_model *open_made(const model_maker_params *params, char **folder)
{
    bm_error err = {0};
    bm_model *model = NULL;
    *folder = support_folder_create();
    assert_ok(model_maker_write(params, *folder, &err), &err);
    assert_ok(bm_model_open(&model, *folder, &err), &err);
    return model;
}

static model_maker_params base_of(const char *family)
{
    model_maker_params p;
    model_maker_params_init(&p);
    p.family = family;
    p.vocab_size = 128;
    p.intermediate_size = INTERMEDIATE; // more than a row's piece on the host
    p.tokenizer = MODEL_MAKER_NO_TOKENIZER;
    return p;
}

static void folds_change_no_logit_of_any_family(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        bool attention_bias, mlp_bias;
        uint32_t kv_heads;
    } cases[] = {{"llama", false, false, 2}, {"llama", true, true, 1},   {"mistral", false, false, 4},
                 {"qwen2", false, false, 2}, {"qwen3", false, false, 2}, {"qwen3", true, false, 1},
                 {"bloom", false, false, 4}, {"phi3", false, false, 2},  {"gemma3_text", false, false, 1}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *folder, name[64];
        model_maker_params p = base_of(cases[i].family);
        p.attention_bias = cases[i].attention_bias;
        p.mlp_bias = cases[i].mlp_bias;
        p.num_kv_heads = cases[i].kv_heads;
        bm_model *model = open_made(&p, &folder);
        snprintf(name, sizeof name, "%s, %u of 4 heads%s", p.family, p.num_kv_heads,
                 p.attention_bias ? ", biases" : "");
        check_model(name, model);
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
}

// No mantissa changes, so nothing does.
static void powers_of_two_change_no_bit(void **state)
{
    (void)state;
    const trial t = {.wanted = {scaled, scaled, scaled, scaled}, .powers_of_two = true};
    char *folder;
    const model_maker_params p = base_of("llama");
    bm_model *model = open_made(&p, &folder);
    assert_true(compare(model, BM_DTYPE_F32, &t).relative == 0);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

// A norm that is stored in 16 bits is off by up to half a percent; the weights make up for it.
static void weights_make_up_for_norms_of_16_bits(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    static const char *const families[] = {"llama", "bloom"};
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        char *folder;
        const model_maker_params p = base_of(families[i]);
        bm_model *model = open_made(&p, &folder);
        const trial scales = {.wanted = {scaled, {0}, scaled, {0}}};
        const trial all = {.wanted = {both, both_by_operations, both, both_by_operations}};
        for (size_t k = 0; k < 3 * BM_COUNT(types); k++) {
            trial t = k % 3 ? all : scales;
            t.stored = types[k / 3];
            t.stored_shift = k % 3 == 2 ? types[1 - k / 3] : BM_DTYPE_NONE;
            const double d = compare(model, BM_DTYPE_F32, &t).relative;
            if (!(d <= 1e-5))
                fail_msg("%s: %s, %s: %.2e", families[i], bm_dtype_name(t.stored), bm_dtype_name(t.stored_shift), d);
        }
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
}

static void read_vector(const bm_tensor *vector, float *out)
{
    bm_error err = {0};
    assert_ok(bm_tensor_download(device, vector, out, &err), &err);
    assert_ok(bm_device_wait(device, &err), &err);
}

// What is stored is what the type holds, and the caller is told what was divided by and subtracted.
static void folded_norms_are_numbers_of_their_type(void **state)
{
    (void)state;
    enum { WIDTH = 64 };
    bm_error err = {0};
    char *folder;
    float before[WIDTH], after[WIDTH], bias[WIDTH];
    double scale[WIDTH], shift[WIDTH];
    bm_block masters = {0};
    const model_maker_params p = base_of("llama");
    bm_model *model = open_made(&p, &folder);
    assert_ok(bm_masters_load(model, device, 0, BM_DTYPE_F32, &masters, &err), &err);
    read_vector(&masters.norms[BM_NORM_INPUT].weight, before);
    for (uint32_t c = 0; c < WIDTH; c++) {
        scale[c] = c == 5 ? 1e9 : c == 6 ? 1e-9 : 1 + c / 7.0; // float16 ends at 6e-5 and 65504
        shift[c] = c == 6 ? 0 : c / 9.0 - 3.3;
    }
    bm_folds folds = {.stages[BM_STAGE_QKV] = {
                          .scale = scale, .shift = shift, .scale_dtype = BM_DTYPE_F16, .shift_dtype = BM_DTYPE_BF16}};
    assert_ok(bm_fold_apply(device, &masters, &folds, &err), &err);
    read_vector(&masters.norms[BM_NORM_INPUT].weight, after);
    read_vector(&masters.norms[BM_NORM_INPUT].bias, bias);
    assert_int_equal(folds.stages[BM_STAGE_QKV].num_moved, 2);
    for (uint32_t c = 0; c < WIDTH; c++) {
        assert_true(after[c] == bm_f16_to_f32(bm_f32_to_f16(after[c])) && fabsf(after[c]) >= 0x1p-14f);
        assert_true(bias[c] == bm_bf16_to_f32(bm_f32_to_bf16(bias[c])) && shift[c] == -(double)bias[c] * scale[c]);
        assert_true(fabs(shift[c] - (c == 6 ? 0 : c / 9.0 - 3.3)) <= 0.02);
        assert_true(scale[c] == (double)before[c] / (double)after[c]);
        assert_true(c == 5 || c == 6 || fabs(scale[c] / (1 + c / 7.0) - 1) < 1e-3);
    }
    assert_true(fabs(scale[5] / 177.83 - 1) < 0.03 &&
                fabs(scale[6] / 3.1623e-5 - 1) < 1e-3); // the fourth and second roots
    bm_block_destroy(&masters);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

static void added_tensors_have_names_and_widths(void **state)
{
    (void)state;
    static const bm_fold_added want[] = {
        {"model.layers.3.input_layernorm.bias", 64},
        {"model.layers.3.self_attn.q_proj.bias", 64},
        {"model.layers.3.self_attn.k_proj.bias", 32},
        {"model.layers.3.self_attn.v_proj.bias", 32},
        {"model.layers.3.self_attn.o_proj.bias", 64},
        {"model.layers.3.mlp.down_proj.bias", 64},
        {"model.layers.3.mlp.down_proj.shift_bias", INTERMEDIATE},
        {"model.layers.3.mlp.down_proj.smooth_weight", INTERMEDIATE},
    };
    const bm_fold_wanted wanted[BM_NUM_STAGES] = {both, both, scaled, both_by_operations};
    const bm_fold_wanted o_alone[BM_NUM_STAGES] = {{0}, shifted, {0}, {0}};
    bm_fold_added got[BM_FOLD_MAX_ADDED];
    char *folder;
    const model_maker_params p = base_of("llama");
    bm_model *model = open_made(&p, &folder);
    assert_int_equal(bm_fold_added_tensors(model, 3, wanted, got), BM_COUNT(want));
    for (size_t i = 0; i < BM_COUNT(want); i++) {
        assert_string_equal(got[i].name, want[i].name);
        assert_int_equal(got[i].width, want[i].width);
    }
    assert_int_equal(bm_fold_added_tensors(model, 3, o_alone, got), 2);
    assert_string_equal(got[0].name, want[3].name);
    bm_model_close(&model);
    support_folder_remove(&folder);
}

static void folds_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        bm_stage stage;
        double scale, shift; // of channel 9; 0: none of all
        bool as_operations;
        bm_status status;
        const char *words;
    } cases[] = {
        {"llama", D, 0, 1, false, BM_E_ARGUMENT, "model.layers.1.mlp.down_proj: its inputs can't be shifted"},
        {"bloom", D, 2, 0, false, BM_E_ARGUMENT, "transformer.h.1.mlp.dense_4h_to_h: its inputs can't be scaled"},
        {"llama", F, 2, 0, true, BM_E_ARGUMENT, "model.layers.1.mlp.gate_proj: its inputs are folded into a norm"},
        {"llama", O, -1, 0, false, BM_E_ARGUMENT, "self_attn.o_proj: channel 9: scale -1, expected a positive"},
        {"llama", A, INFINITY, 0, false, BM_E_ARGUMENT, "self_attn.q_proj: channel 9: scale inf"},
        {"llama", A, 0, NAN, false, BM_E_ARGUMENT, "channel 9: shift nan, expected a number"},
        {"llama", O, 1e-42, 0, false, BM_E_NUMERIC, "self_attn.v_proj: row 9, or its bias, is beyond the range of F32"},
        {"llama", A, 0, 1e39, false, BM_E_NUMERIC, "input_layernorm: channel 9 is beyond the range"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        double scale[INTERMEDIATE], shift[INTERMEDIATE];
        char *folder;
        bm_block masters = {0};
        const model_maker_params p = base_of(cases[i].family);
        bm_model *model = open_made(&p, &folder);
        for (uint32_t c = 0; c < INTERMEDIATE; c++) {
            scale[c] = c == 9 ? cases[i].scale : 1;
            shift[c] = c == 9 ? cases[i].shift : 0;
        }
        bm_folds folds = {0};
        folds.stages[cases[i].stage] = (bm_fold){.scale = cases[i].scale != 0 ? scale : NULL,
                                                 .shift = cases[i].shift != 0 ? shift : NULL,
                                                 .as_operations = cases[i].as_operations};
        assert_ok(bm_masters_load(model, device, 1, BM_DTYPE_F32, &masters, &err), &err);
        const bm_status status = bm_fold_apply(device, &masters, &folds, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].words))
            fail_msg("case %zu: %d, %s", i, (int)status, err.message);
        bm_block_destroy(&masters);
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_change_no_logit_of_any_family),
        cmocka_unit_test(powers_of_two_change_no_bit),
        cmocka_unit_test(weights_make_up_for_norms_of_16_bits),
        cmocka_unit_test(folded_norms_are_numbers_of_their_type),
        cmocka_unit_test(added_tensors_have_names_and_widths),
        cmocka_unit_test(folds_that_cannot_be_are_refused),
    };
    support_log log;
    bm_error err = {0};
    support_log_init(&log);
    if (support_device_open(argc > 1 ? argv[1] : "auto", &log, &device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    support_shorten_loops(device);
    int failures = cmocka_run_group_tests_name("folds", tests, NULL, NULL);
    bm_device_close(&device);
    if (log.num_complaints > 0) {
        printf("%u complaints of validation\n", log.num_complaints);
        failures++;
    }
    return failures;
}
