// Logits of made models, and the tokens with which they go on, against what transformers computed from the same files.
// The device, each storage type. Argument: a device spec.
#include "golden/continuation.h"
#include "golden/golden.h"
#include "model/logits.h"
#include "ops/fixture.h"
#include "support/folders.h"
#include "support/int8_maker.h"

#include <stdio.h>

// Of the largest |logit| of a file. float32: both programs lie within 1.2e-6 of float64 arithmetic, of a model's largest
// logit, which those in a file may miss by a little. float16, bfloat16: as far as test_logits lets them go.
static double bound_of(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F32 ? 5e-6 : logits_bound(dtype);
}

// Of a model with quantized inputs, in float32 alone: a number at the border of two codes may fall to either, which moves what
// follows by a share of a step. Measured: 4.1e-7, without one at a border.
#define INT8_BOUND 2e-3

// max |got - want| / max |want| at the positions and columns of the file. A NaN gives NaN.
static double difference_of(const bm_json *file, const double *logits, uint32_t tokens, uint32_t vocabulary)
{
    uint32_t num_positions, num_columns, p = 0;
    uint32_t *positions = golden_ids(file, "positions", &num_positions);
    uint32_t *columns = golden_ids(file, "columns", &num_columns);
    const uint64_t count = (uint64_t)num_positions * num_columns;
    double *want = bm_alloc(count, sizeof *want), *got = bm_alloc(count, sizeof *got);
    const bm_json *rows = golden_find(file, "logits");
    assert_int_equal(bm_json_count(rows), num_positions);
    for (const bm_json *row = bm_json_first(rows); row; row = bm_json_next(row), p++) {
        uint32_t c = 0;
        assert_int_equal(bm_json_count(row), num_columns);
        for (const bm_json *value = bm_json_first(row); value; value = bm_json_next(value), c++) {
            assert_true(positions[p] < tokens && columns[c] < vocabulary);
            want[p * num_columns + c] = bm_json_number(value);
            got[p * num_columns + c] = logits[(uint64_t)positions[p] * vocabulary + columns[c]];
        }
    }
    const double difference = logits_compare(want, got, num_positions, num_columns).relative;
    bm_free(positions);
    bm_free(columns);
    bm_free(want);
    bm_free(got);
    return difference;
}

static void check_logits(const char *name, const bm_json *file, const bm_model *model)
{
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_F64};
    const bool is_host = bm_device_get_info(test_device)->kind == BM_DEVICE_HOST;
    const size_t num_types = model->quantizes_inputs ? 1 : BM_COUNT(types) - !is_host; // float64 is the host's alone
    const uint32_t vocabulary = model->config.vocab_size;
    uint32_t tokens;
    uint32_t *ids = golden_ids(file, "ids", &tokens);
    double *logits = bm_alloc((uint64_t)tokens * vocabulary, sizeof *logits);
    for (size_t t = 0; t < num_types; t++) {
        MUST(model_logits(model, test_device, types[t], ids, tokens, logits, &failure));
        const double difference = difference_of(file, logits, tokens, vocabulary);
        printf("  %-18s %-4s  max |d| / max |logit| %.2e\n", name, bm_dtype_name(types[t]), difference);
        assert_true(difference <= (model->quantizes_inputs ? INT8_BOUND : bound_of(types[t])));
    }
    bm_free(ids);
    bm_free(logits);
}

// One token at a time, with the cache of keys and values; where the file was made there was none.
static void check_next_ids(const bm_json *file, const bm_model *model)
{
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    uint32_t num_prompt, count;
    uint32_t *prompt = golden_ids(file, "ids", &num_prompt), *next = golden_ids(file, "next_ids", &count);
    assert_true(bm_token_list_append(&ids, prompt, num_prompt));
    MUST(golden_continue(model, test_device, count, &ids, &failure));
    assert_int_equal(ids.count, num_prompt + count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(ids.ids[num_prompt + i], next[i]);
    bm_token_list_free(&ids);
    bm_free(prompt);
    bm_free(next);
}

// The made model of a file that names steps of inputs ([]: each token has its own), in 8 bits.
static void quantize_made(const bm_json *file, char **folder)
{
    const bm_json *list = golden_find(file, "input_steps");
    const uint32_t count = bm_json_count(list);
    float *steps = bm_alloc_zero((uint64_t)count + 1, sizeof *steps);
    uint32_t n = 0;
    char *out = support_folder_create();
    for (const bm_json *step = bm_json_first(list); step; step = bm_json_next(step))
        steps[n++] = (float)bm_json_number(step);
    MUST(int8_maker_write(*folder, out, count > 0 ? steps : NULL, count, NULL, &failure));
    support_folder_remove(folder);
    *folder = out;
    bm_free(steps);
}

static void check_model(const char *name)
{
    char *file_name = bm_format("logits-%s", name), *folder = support_folder_create();
    bm_json *file = golden_open(file_name);
    bm_model *model = NULL;
    const model_maker_params params = golden_params(file);
    MUST(model_maker_write(&params, folder, &failure));
    if (bm_json_find(file, "input_steps"))
        quantize_made(file, &folder);
    MUST(bm_model_open(&model, folder, &failure));
    check_logits(name, file, model);
    check_next_ids(file, model);
    bm_model_close(&model);
    bm_json_destroy(&file);
    support_folder_remove(&folder);
    bm_free(file_name);
}

static void llama_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("llama");
    check_model("llama-biases");
    check_model("llama-gelu");
    check_model("llama-gelu-tanh");
}

static void rope_scalings_are_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("llama-rope-linear");
    check_model("llama-rope-llama3");
    check_model("llama-rope-dynamic");
    check_model("llama-rope-yarn");
    check_model("llama-rope-yarn-mscale");
}

static void mistral_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("mistral-window");
}

static void qwen2_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("qwen2");
    check_model("qwen2-window");
}

static void qwen3_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("qwen3");
    check_model("qwen3-window");
}

static void phi3_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("phi3");
}

static void gemma2_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("gemma2");
}

static void gemma3_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("gemma3");
    check_model("gemma3-bias");
}

static void bloom_is_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("bloom");
    check_model("bloom-six-heads");
}

static void inputs_in_8_bits_are_as_computed_elsewhere(void **state)
{
    (void)state;
    check_model("llama-int8-static");
    check_model("llama-int8-dynamic");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_is_as_computed_elsewhere),
        cmocka_unit_test(rope_scalings_are_as_computed_elsewhere),
        cmocka_unit_test(mistral_is_as_computed_elsewhere),
        cmocka_unit_test(qwen2_is_as_computed_elsewhere),
        cmocka_unit_test(qwen3_is_as_computed_elsewhere),
        cmocka_unit_test(phi3_is_as_computed_elsewhere),
        cmocka_unit_test(gemma2_is_as_computed_elsewhere),
        cmocka_unit_test(gemma3_is_as_computed_elsewhere),
        cmocka_unit_test(bloom_is_as_computed_elsewhere),
        cmocka_unit_test(inputs_in_8_bits_are_as_computed_elsewhere),
    };
    if (support_is_instrumented()) {
        printf("skip: whole models run too long loops for lavapipe under GPU-assisted validation\n");
        return SUPPORT_SKIP;
    }
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
