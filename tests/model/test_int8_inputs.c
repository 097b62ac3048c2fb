// Inputs that are quantized where a model runs: values worked by hand, models that disagree with themselves, and that it is done
// at all. Argument: a device spec.
#include "base/file.h"
#include "model/inputs.h"
#include "model/logits.h"
#include "model/masters.h"
#include "ops/fixture.h"
#include "support/folders.h"
#include "support/int8_maker.h"
#include "support/model_maker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLS = 10 };

static void expect_rounded(const bm_input_grid *grid, uint64_t rows, const float *x, const float *expected)
{
    float got[4 * COLS];
    const bm_tensor tensor = make_tensor(rows, COLS, x);
    MUST(bm_round_inputs(test_device, grid, "inputs", &tensor, &failure));
    read_tensor(&tensor, got);
    for (uint64_t i = 0; i < rows * COLS; i++)
        if (got[i] != expected[i])
            fail_msg("element %u: %.9g, expected %.9g", (unsigned)i, (double)got[i], (double)expected[i]);
    destroy_tensors();
}

// A step of 0.5: halves go to even codes, and what is beyond saturates at 127 and -128.
static void one_step_serves_all(void **state)
{
    static const float x[2 * COLS] = {0.25f, 0.75f, -0.25f, 1, 100, -100, 0.24f, 0, -0.26f, 63.7f,
                                      0,     0,     0,      0, 0,   0,    0,     1, 0,      0};
    static const float expected[2 * COLS] = {0, 1, 0, 1, 63.5f, -64, 0, 0, -0.5f, 63.5f, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0};
    (void)state;
    expect_rounded(&(bm_input_grid){BM_INPUT_STATIC, 0.5f}, 2, x, expected);
    expect_rounded(&(bm_input_grid){BM_INPUT_FLOAT, 0}, 2, x, x);
}

// The step of the file is the step: one that 127 times it, divided by 127, does not give back.
static void the_step_is_the_stored_one(void **state)
{
    float step = 0.1f, x[COLS] = {0}, expected[COLS] = {0};
    (void)state;
    while (127 * step / 127 == step)
        step = nextafterf(step, 1);
    x[0] = expected[0] = step;
    x[1] = 2.4f * step;
    expected[1] = 2 * step;
    x[2] = 1000;
    expected[2] = 127 * step;
    expect_rounded(&(bm_input_grid){BM_INPUT_STATIC, step}, 1, x, expected);
}

// Largest magnitudes 63.5, so that the step is 0.5 again; 0; and 1, where 0.5 is half a code above 63.
static void each_token_has_its_own_step(void **state)
{
    const float small = 1.0f / 127;
    const float x[3 * COLS] = {-63.5f, 0.25f, 0.75f, -0.25f, 1, 60, 0.24f, 0, -0.26f, 2, 0, 0, 0, 0, 0,
                               0,      0,     0,     0,      0, 1,  0.5f,  0, -1,     0, 0, 0, 0, 0, 0};
    const float expected[3 * COLS] = {-63.5f, 0, 1, 0, 1, 60,          0,          0, -0.5f,        2, 0, 0, 0, 0, 0,
                                      0,      0, 0, 0, 0, 127 * small, 64 * small, 0, -127 * small, 0, 0, 0, 0, 0, 0};
    (void)state;
    expect_rounded(&(bm_input_grid){BM_INPUT_DYNAMIC, 0}, 3, x, expected);
}

static const float steps[8] = {0.03f, 0.02f, 0.03f, 0.055f, 0.03f, 0.017f, 0.03f, 0.056f};

static char *make_family(const char *family, const float *input_steps, const char *left_out)
{
    model_maker_params params;
    model_maker_params_init(&params);
    params.family = family;
    char *original = support_folder_create(), *folder = support_folder_create();
    MUST(model_maker_write(&params, original, &failure));
    MUST(int8_maker_write(original, folder, input_steps, 8, left_out, &failure));
    support_folder_remove(&original);
    return folder;
}

static char *make_int8(const float *input_steps)
{
    return make_family("llama", input_steps, NULL);
}

static void replace_in(const char *folder, const char *name, const void *from, const void *to, size_t length)
{
    char *path = bm_path_join(folder, name), *bytes = NULL;
    uint64_t size = 0, at = 0;
    MUST(bm_file_read_all(path, UINT64_C(1) << 30, &bytes, &size, &failure));
    while (at + length <= size && memcmp(bytes + at, from, length) != 0)
        at++;
    assert_true(at + length <= size);
    memcpy(bytes + at, to, length);
    MUST(bm_file_write_all(path, bytes, size, &failure));
    bm_free(bytes);
    bm_free(path);
}

static void expect_refused(const char *folder, const char *words)
{
    bm_model *model = NULL;
    bm_error err = {0};
    assert_int_equal(bm_model_open(&model, folder, &err), BM_E_FORMAT);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" lacks \"%s\"", err.message, words);
}

// Runtimes that compute q, k and v as one layer take the last scale that they read for all three.
static void linears_of_a_stage_agree(void **state)
{
    (void)state;
    char *folder = make_int8(steps);
    bm_checkpoint *checkpoint = NULL;
    MUST(bm_checkpoint_open(&checkpoint, folder, &failure));
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, "model.layers.1.mlp.up_proj.input_scale");
    assert_non_null(info);
    char *path = bm_path_join(folder, "model.safetensors"), *bytes = NULL;
    uint64_t size;
    MUST(bm_file_read_all(path, UINT64_C(1) << 30, &bytes, &size, &failure));
    const float other = 0.04f;
    memcpy(bytes + info->offset, &other, sizeof other);
    MUST(bm_file_write_all(path, bytes, size, &failure));
    bm_checkpoint_close(&checkpoint);
    expect_refused(folder, "inputs of model.layers.1.mlp.gate_proj are in steps of 0.0299999993, those of "
                           "model.layers.1.mlp.up_proj in steps of 0.0399999991; expected one kind and step");
    bm_free(bytes);
    bm_free(path);
    support_folder_remove(&folder);
}

static void a_missing_scale_is_told(void **state)
{
    static const char there[] = "layers.0.mlp.down_proj.input_scale", gone[] = "layers.0.mlp.down_proj.input_scalX";
    (void)state;
    char *folder = make_int8(steps);
    replace_in(folder, "model.safetensors", there, gone, sizeof there - 1);
    expect_refused(folder, "model.layers.0.mlp.down_proj.input_scale\" is missing");
    support_folder_remove(&folder);
}

// What is computed depends on the inputs' steps, and 16 bits are no choice of ours where they are quantized.
static void models_run_on_rounded_inputs(void **state)
{
    static const float coarse[8] = {0.3f, 0.2f, 0.3f, 0.5f, 0.3f, 0.2f, 0.3f, 0.5f};
    static const uint32_t ids[] = {1, 20, 300, 4, 77, 150};
    const float *const kinds[] = {NULL, steps, coarse};
    double *logits[BM_COUNT(kinds)];
    uint32_t vocabulary = 0;
    (void)state;
    support_shorten_loops(test_device);
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        bm_model *model = NULL;
        char *folder = make_int8(kinds[i]);
        MUST(bm_model_open(&model, folder, &failure));
        assert_true(model->quantizes_inputs);
        assert_int_equal(bm_model_compute_dtype(model, test_device), BM_DTYPE_F32);
        vocabulary = model->config.vocab_size;
        logits[i] = bm_alloc(BM_COUNT(ids) * (uint64_t)vocabulary, sizeof(double));
        MUST(model_logits(model, test_device, BM_DTYPE_F32, ids, BM_COUNT(ids), logits[i], &failure));
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
    const double fine = logits_compare(logits[0], logits[1], BM_COUNT(ids), vocabulary).relative;
    const double rough = logits_compare(logits[0], logits[2], BM_COUNT(ids), vocabulary).relative;
    printf("  static beside dynamic: %.2e, coarse %.2e\n", fine, rough);
    assert_true(fine > 1e-4 && fine < 0.1 && rough > 3 * fine);
    for (size_t i = 0; i < BM_COUNT(kinds); i++)
        bm_free(logits[i]);
}

static bool is_held_in_integers(const bm_block *block, bm_linear_id linear)
{
    const bm_int8_weights *codes = block->int8_linears[linear];
    if (!codes)
        return false;
    assert_null(block->linears[linear]);
    const bool is_wide = codes->codes->choice.form == BM_GEMM_PANELS;
    assert_int_equal(codes->codes->dtype, is_wide ? BM_DTYPE_F32 : BM_DTYPE_I8);
    return true;
}

// Those of other stages are floats, and all are where masters are wanted. Memory is what was foretold.
static void blocks_hold_codes(void **state)
{
    static const char *const left_out[] = {NULL, "self_attn.o_proj"};
    (void)state;
    const uint64_t wide = bm_gemm_int8_choose(test_device).form == BM_GEMM_PANELS ? 4 : 1;
    for (size_t i = 0; i < BM_COUNT(left_out); i++) {
        bm_model *model = NULL;
        bm_block block, masters;
        char *folder = make_family("llama", NULL, left_out[i]);
        MUST(bm_model_open(&model, folder, &failure));
        MUST(bm_block_load(model, test_device, 1, BM_DTYPE_F32, &block, &failure));
        MUST(bm_masters_load(model, test_device, 1, BM_DTYPE_F32, &masters, &failure));
        uint64_t bytes = 0;
        for (bm_linear_id linear = BM_LINEAR_Q; linear < BM_NUM_LINEARS; linear++) {
            const bool is_float = left_out[i] && linear == BM_LINEAR_O;
            uint32_t rows, cols;
            if (!bm_family_has_linear(model->family, linear))
                continue;
            bm_linear_shape(&model->config, linear, &rows, &cols);
            bytes += (uint64_t)rows * cols * (is_float ? 4 : wide);
            assert_int_equal(is_held_in_integers(&block, linear), !is_float);
            assert_int_equal(block.in_integers[bm_linear_stage(linear)], !is_float);
            assert_true(masters.linears[linear] && !masters.int8_linears[linear]);
        }
        assert_int_equal(bm_block_bytes(model, test_device, 1, BM_DTYPE_F32), bytes);
        bm_block_destroy(&block);
        bm_block_destroy(&masters);
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
}

// What is not symmetric, of 8 bits, with one step an output and inputs in 8 bits beside it stays one of floats.
static void other_linears_are_no_integers(void **state)
{
#define TOKEN "\"input_activations\":{\"strategy\":\"token\",\"dynamic\":true}"
    static const struct {
        const char *weights, *more;
        bool fits;
    } cases[] = {
        {"\"strategy\":\"channel\"", "," TOKEN, true},
        {"\"strategy\":\"tensor\"", "," TOKEN, true},
        {"\"strategy\":\"group\",\"group_size\":64", "," TOKEN, true}, // all 64 inputs of q
        {"\"strategy\":\"group\",\"group_size\":32", "," TOKEN, false},
        {"\"strategy\":\"channel\",\"symmetric\":false", "," TOKEN, false},
        {"\"strategy\":\"channel\",\"num_bits\":4", "," TOKEN, false},
        {"\"strategy\":\"channel\"", "", false},
    };
    (void)state;
    bm_model *model = NULL;
    char *folder = make_int8(NULL);
    MUST(bm_model_open(&model, folder, &failure));
    const bm_store_config own = model->quantization;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_json *root = NULL;
        char *text = bm_format("{\"format\":\"int-quantized\",\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],"
                               "\"weights\":{%s}%s}},\"ignore\":[\"re:.*up_proj\"]}",
                               cases[i].weights, cases[i].more);
        MUST(bm_json_parse(&root, text, strlen(text), "NAME", &failure));
        MUST(bm_store_open(&model->quantization, root, "NAME", &failure));
        assert_int_equal(bm_model_stage_in_integers(model, 0, BM_STAGE_QKV), cases[i].fits);
        assert_false(bm_model_stage_in_integers(model, 0, BM_STAGE_GATE_UP)); // one of its two linears is float
        bm_store_close(&model->quantization);
        bm_json_destroy(&root);
        bm_free(text);
    }
    model->quantization = own;
    bm_model_close(&model);
    support_folder_remove(&folder);
}

enum { TOKENS = 6 };

// What a stage makes of a few tokens, where masters compute the stages before it: its block alone is another. The caller's.
static float *outputs_of(const bm_model *model, const bm_block *masters, const bm_block *block, bm_stage stage,
                         uint64_t *count)
{
    static const uint32_t ids[TOKENS] = {1, 20, 300, 4, 77, 150};
    const bm_batch_sequence sequence = {ids, TOKENS};
    bm_batch batch;
    bm_workspace w;
    bm_tensor hidden, input;
    MUST(bm_batch_create(test_device, &sequence, 1, 0, &batch, &failure));
    MUST(bm_workspace_create(model, test_device, TOKENS, TOKENS, BM_DTYPE_F32, &w, &failure));
    MUST(bm_tensor_create(test_device, BM_DTYPE_F32, TOKENS, model->config.hidden_size, "hidden", &hidden, &failure));
    MUST(bm_model_embed(model, test_device, ids, TOKENS, &hidden, &failure));
    for (bm_stage s = 0; s <= stage; s++) {
        const bm_block *runs = s == stage ? block : masters;
        MUST(bm_block_stage_input(test_device, runs, s, &batch, &w, &hidden, &input, &failure));
        MUST(bm_block_stage_output(test_device, runs, s, &batch, &w, NULL, &input, &hidden, &failure));
    }
    const bm_tensor *outputs[2] = {stage == BM_STAGE_QKV       ? &w.attended
                                   : stage == BM_STAGE_GATE_UP ? &w.gate
                                                               : &hidden,
                                   stage == BM_STAGE_GATE_UP && w.up.view.buffer ? &w.up : NULL};
    float *values = bm_alloc(2 * outputs[0]->rows * outputs[0]->cols, sizeof *values);
    *count = 0;
    for (uint32_t i = 0; i < 2 && outputs[i]; i++) {
        read_tensor(outputs[i], values + *count);
        *count += outputs[i]->rows * outputs[i]->cols;
    }
    bm_tensor_destroy(&hidden);
    bm_workspace_destroy(&w);
    bm_batch_destroy(&batch);
    return values;
}

// Codes times steps in floats round their sums, integers do not: there is nothing else between the two.
static void integers_give_what_their_values_give(void **state)
{
    static const struct {
        const char *family;
        bool is_static;
    } cases[] = {{"llama", true}, {"llama", false}, {"qwen2", false}, {"bloom", false}};
    (void)state;
    support_shorten_loops(test_device);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_model *model = NULL;
        bm_block masters, block;
        char *folder = make_family(cases[i].family, cases[i].is_static ? steps : NULL, NULL);
        MUST(bm_model_open(&model, folder, &failure));
        MUST(bm_masters_load(model, test_device, 1, BM_DTYPE_F32, &masters, &failure));
        MUST(bm_block_load(model, test_device, 1, BM_DTYPE_F32, &block, &failure));
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
            uint64_t count;
            double largest = 0, difference = 0;
            float *want = outputs_of(model, &masters, &masters, stage, &count);
            float *got = outputs_of(model, &masters, &block, stage, &count);
            for (uint64_t v = 0; v < count; v++) {
                largest = fmax(largest, fabs((double)want[v]));
                difference = fmax(difference, fabs((double)want[v] - (double)got[v]));
                assert_true(isfinite(got[v]));
            }
            printf("  %s, %s, stage %d: %.2e\n", cases[i].family, cases[i].is_static ? "static" : "dynamic", (int)stage,
                   difference / largest);
            assert_true(block.in_integers[stage] && largest > 0);
            assert_true(difference <= 2e-6 * largest);
            bm_free(want);
            bm_free(got);
        }
        bm_block_destroy(&masters);
        bm_block_destroy(&block);
        bm_model_close(&model);
        support_folder_remove(&folder);
    }
}

// A linear that stays float beside one whose inputs are quantized reads them as they are: steps too wide for any code but 0 leave
// nothing of the other's outputs, and all of its own.
static void floats_of_a_mixed_stage_read_floats(void **state)
{
    static const struct {
        bm_stage stage;
        const char *left_out;
        float wide[8]; // steps
    } cases[] = {
        {BM_STAGE_GATE_UP, "mlp.up_proj", {0.03f, 0.02f, 0.03f, 0.055f, 0.03f, 0.017f, 1e3f, 0.056f}},
        {BM_STAGE_QKV, "self_attn.v_proj", {0.03f, 0.02f, 0.03f, 0.055f, 1e3f, 0.017f, 0.03f, 0.056f}},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        float *outputs[2];
        uint64_t count;
        for (uint32_t k = 0; k < 2; k++) {
            bm_model *model = NULL;
            bm_block block;
            char *folder = make_family("llama", k ? cases[i].wide : steps, cases[i].left_out);
            MUST(bm_model_open(&model, folder, &failure));
            assert_true(model->quantizes_inputs);
            MUST(bm_block_load(model, test_device, 1, BM_DTYPE_F32, &block, &failure));
            assert_false(block.in_integers[cases[i].stage]);
            outputs[k] = outputs_of(model, &block, &block, cases[i].stage, &count);
            bm_block_destroy(&block);
            bm_model_close(&model);
            support_folder_remove(&folder);
        }
        // gate, which is nothing, and up behind it; the first token's attention, whose only value is its own
        const uint64_t first = cases[i].stage == BM_STAGE_GATE_UP ? count / 2 : 0;
        const uint64_t end = cases[i].stage == BM_STAGE_GATE_UP ? count : count / TOKENS;
        for (uint64_t v = 0; v < first; v++)
            assert_true(outputs[0][v] != 0 && outputs[1][v] == 0);
        for (uint64_t v = first; v < end; v++)
            assert_true(outputs[0][v] != 0 && outputs[0][v] == outputs[1][v]);
        bm_free(outputs[0]);
        bm_free(outputs[1]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_serves_all),
        cmocka_unit_test(the_step_is_the_stored_one),
        cmocka_unit_test(each_token_has_its_own_step),
        cmocka_unit_test(linears_of_a_stage_agree),
        cmocka_unit_test(a_missing_scale_is_told),
        cmocka_unit_test(models_run_on_rounded_inputs),
        cmocka_unit_test(blocks_hold_codes),
        cmocka_unit_test(other_linears_are_no_integers),
        cmocka_unit_test(integers_give_what_their_values_give),
        cmocka_unit_test(floats_of_a_mixed_stage_read_floats),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
