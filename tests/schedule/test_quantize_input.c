// Runs on models that are odd in some way, and runs that are stopped while they write. On the host: nothing here
// depends on the device.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "model/model.h"
#include "schedule/plan.h"
#include "support/edits.h"
#include "base/half.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <stdio.h>
#include <string.h>

// A model and the place of a result.
typedef struct place {
    char *model, *parent, *output;
} place;

// A small float32 llama.
static place place_create(void)
{
    bm_error err = {0};
    place p = {.model = support_folder_create(), .parent = support_folder_create()};
    model_maker_params params;
    model_maker_params_init(&params);
    assert_ok(model_maker_write(&params, p.model, &err), &err);
    p.output = bm_path_join(p.parent, "out");
    return p;
}

static void place_remove(place *p)
{
    bm_free(p->output);
    support_folder_remove(&p->parent);
    support_folder_remove(&p->model);
}

// What a run says, a line each.
static void gather(void *user, bm_log_level level, const char *message)
{
    (void)level;
    (void)bm_string_append_format(user, "%s\n", message);
}

// override and log may be NULL.
static bm_status quantize(const place *p, const char *override, const bm_progress *progress, bm_string *log,
                          bm_quantize_summary *summary, bm_error *err)
{
    bm_quantize_params params;
    const char *overrides[2] = {"device=host", override};
    const bm_log lines = {.level = BM_LOG_INFO, .write = gather, .user = log};
    bm_quantize_params_init(&params);
    params.model = p->model;
    params.method = "rtn";
    params.output = p->output;
    params.overrides = overrides;
    params.num_overrides = override ? 2 : 1;
    params.progress = progress;
    params.log = log ? &lines : NULL;
    return bm_quantize_model(&params, summary, err);
}

static void quantization_keys_that_are_null_give_way(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_quantize_summary summary;
    bm_model *opened = NULL;
    place p = place_create();
    support_text_replace(p.model, "config.json", "\"architectures\"",
                         "\"quantization_config\":null,\"compression_config\":null,\"architectures\"");
    assert_ok(quantize(&p, NULL, NULL, NULL, &summary, &err), &err);
    assert_ok(bm_model_open(&opened, p.output, &err), &err);
    assert_true(opened->is_quantized);
    bm_model_close(&opened);
    place_remove(&p);
}

#define EMBEDDING "model.embed_tokens.weight"

// Puts a float32 into element 5 of a tensor, behind zeros.
static void put_element(const place *p, const char *tensor, uint32_t word)
{
    uint8_t bytes[6 * 4] = {0};
    bm_store_le32(bytes + 5 * 4, word);
    support_tensor_write(p->model, tensor, bytes, sizeof bytes);
}

// Numbers that the output's type does not hold, and what is no number at all.
static void what_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *dtype, *words;
        uint32_t word;
        bm_status status;
    } cases[] = {
        {EMBEDDING, "dtype=bfloat16", "element 5 is 3.40282e+38, which BF16 does not hold", 0x7f7fffff, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", "element 5 is -3.40282e+38, which F16 does not hold", 0xff7fffff, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", "element 5 is 65520, which F16 does not hold", 0x477ff000, BM_E_NUMERIC},
        {EMBEDDING, "dtype=float16", NULL, 0x477fef00, BM_OK},
        {EMBEDDING, "dtype=bfloat16", NULL, 0x7f7f7fff, BM_OK},
        {EMBEDDING, "dtype=float32", NULL, 0x7f7fffff, BM_OK},
        {EMBEDDING, "dtype=float16", "NaN or infinity at element 5", 0x7fc00000, BM_E_FORMAT},
        {EMBEDDING, NULL, "NaN or infinity at element 5", 0xff800000, BM_E_FORMAT},
        {"model.layers.1.mlp.up_proj.weight", NULL, "NaN or infinity at element 5", 0x7fc00000, BM_E_FORMAT},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        bm_quantize_summary summary;
        place p = place_create();
        put_element(&p, cases[i].tensor, cases[i].word);
        const bm_status status = quantize(&p, cases[i].dtype, NULL, NULL, &summary, &err);
        if (status != cases[i].status ||
            (cases[i].words && (!strstr(err.message, cases[i].words) || !strstr(err.message, cases[i].tensor))))
            fail_msg("%zu: status %d: %s", i, (int)status, err.message);
        assert_int_equal(support_folder_count(p.parent), cases[i].status == BM_OK);
        place_remove(&p);
    }
}

// The phases of a run, in order.
static int list_phases(void *user, const bm_progress_report *report)
{
    bm_string *phases = user;
    if (!strstr(bm_string_text(phases), report->phase))
        (void)bm_string_append_format(phases, "%s;", report->phase);
    return 1;
}

// What stays float is looked at before the long part of the work.
static void a_bad_embedding_ends_a_run_before_its_linears(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_quantize_summary summary;
    bm_string phases = BM_STRING_INIT;
    const bm_progress watch = {list_phases, &phases};
    place p = place_create();
    put_element(&p, EMBEDDING, 0x7fc00000);
    assert_int_equal(quantize(&p, NULL, &watch, NULL, &summary, &err), BM_E_FORMAT);
    assert_string_equal(bm_string_text(&phases), "copy floats;");
    put_element(&p, EMBEDDING, 0);
    assert_ok(quantize(&p, NULL, &watch, NULL, &summary, &err), &err);
    assert_true(bm_starts_with(phases.data, "copy floats;") &&
                bm_ends_with(phases.data, "quantize;write;verify;compare logits;"));
    bm_string_free(&phases);
    place_remove(&p);
}

static uint64_t bytes_of_tensors(const char *folder)
{
    bm_error err = {0};
    uint64_t bytes = 0;
    bm_checkpoint *c = NULL;
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    for (uint32_t i = 0; i < bm_checkpoint_count(c); i++)
        bytes += bm_checkpoint_at(c, i)->size_bytes;
    bm_checkpoint_close(&c);
    return bytes;
}

static uint64_t planned_bytes(const place *p, const char *override)
{
    bm_error err = {0};
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_arguments *arguments = NULL;
    const bm_arguments_short_form form = {.model = p->model, .method = "rtn", .output = p->output};
    assert_ok(bm_model_open(&model, p->model, &err), &err);
    const bm_arguments_options options = {.overrides = &override, .num_overrides = override ? 1 : 0};
    assert_ok(bm_arguments_from_short_form(&arguments, &form, &options, &err), &err);
    assert_ok(bm_plan_create(arguments, model, &plan, &err), &err);
    const uint64_t bytes = plan->output_bytes;
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&arguments);
    bm_model_close(&model);
    return bytes;
}

static void assert_config_says(const char *folder, const char *words)
{
    uint64_t size;
    char *text = support_file_read(folder, "config.json", &size);
    assert_non_null(strstr(text, words));
    bm_free(text);
}

// Each element of the output's embedding is the input's, rounded.
static void assert_embedding_is_rounded(const place *p, bm_checkpoint *output)
{
    bm_error err = {0};
    bm_checkpoint *input = NULL;
    assert_ok(bm_checkpoint_open(&input, p->model, &err), &err);
    const bm_tensor_info *from = bm_checkpoint_find(input, EMBEDDING), *to = bm_checkpoint_find(output, EMBEDDING);
    uint8_t *values = bm_alloc(from->size_bytes, 1), *stored = bm_alloc(to->size_bytes, 1);
    assert_ok(bm_checkpoint_read(input, from, 0, values, from->size_bytes, &err), &err);
    assert_ok(bm_checkpoint_read(output, to, 0, stored, to->size_bytes, &err), &err);
    for (uint64_t i = 0; i < from->size_bytes / sizeof(float); i++) {
        const float value = bm_load_real(values, BM_DTYPE_F32, i);
        assert_true(bm_load_real(stored, to->dtype, i) ==
                    (to->dtype == BM_DTYPE_F16 ? bm_f16_to_f32(bm_f32_to_f16(value)) : value));
    }
    bm_free(values);
    bm_free(stored);
    bm_checkpoint_close(&input);
}

// Norms of a type of their own keep it, unless a type was given; what the plan and config.json say goes by that.
static void tensors_keep_their_types(void **state)
{
    (void)state;
    static const struct {
        const char *override, *said;
        bm_dtype norm, embedding, scale;
    } cases[] = {
        {NULL, "\"torch_dtype\": \"float32\"", BM_DTYPE_BF16, BM_DTYPE_F32, BM_DTYPE_F32},
        {"scale_dtype=float16", "\"torch_dtype\": \"float32\"", BM_DTYPE_BF16, BM_DTYPE_F32, BM_DTYPE_F16},
        {"dtype=float16", "\"torch_dtype\": \"float16\"", BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_F16},
        {"dtype=float32", "\"torch_dtype\": \"float32\"", BM_DTYPE_F32, BM_DTYPE_F32, BM_DTYPE_F32},
    };
    bm_error err = {0};
    bm_quantize_summary summary;
    place p = place_create();
    support_header_replace(p.model, "\"model.norm.weight\"", "\"once\"");
    support_tensor_add(p.model, "model.norm.weight", BM_DTYPE_BF16, 64);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_model *opened = NULL;
        assert_ok(quantize(&p, cases[i].override, NULL, NULL, &summary, &err), &err);
        assert_ok(bm_model_open(&opened, p.output, &err), &err);
        bm_checkpoint *c = opened->checkpoint;
        assert_embedding_is_rounded(&p, c);
        assert_int_equal(bm_checkpoint_find(c, "model.norm.weight")->dtype, cases[i].norm);
        assert_int_equal(bm_checkpoint_find(c, EMBEDDING)->dtype, cases[i].embedding);
        assert_int_equal(bm_checkpoint_find(c, "model.layers.0.mlp.up_proj.weight_scale")->dtype, cases[i].scale);
        bm_model_close(&opened);
        assert_int_equal(summary.output_bytes, bytes_of_tensors(p.output));
        assert_int_equal(planned_bytes(&p, cases[i].override), summary.output_bytes);
        assert_config_says(p.output, cases[i].said);
        assert_ok(bm_folder_remove(p.output, &err), &err);
    }
    place_remove(&p);
}

static void what_the_model_does_not_read_is_left_out(void **state)
{
    (void)state;
    static const char *const names[] = {"v_head.counts", "model.layers.0.mlp.up_proj.bias"};
    bm_error err = {0};
    bm_quantize_summary summary;
    bm_checkpoint *c = NULL;
    bm_string log = BM_STRING_INIT;
    place p = place_create();
    support_tensor_add(p.model, names[0], BM_DTYPE_I64, 3000);
    support_tensor_add(p.model, names[1], BM_DTYPE_F32, 192);
    assert_ok(quantize(&p, NULL, NULL, &log, &summary, &err), &err);
    assert_non_null(
        strstr(bm_string_text(&log), "note: 1 tensor that a llama model does not compute with is left out"));
    assert_non_null(strstr(bm_string_text(&log), "note: 1 bias that config.json does not declare is left out"));
    assert_non_null(strstr(bm_string_text(&log), "loads in: vLLM 0.32.0, transformers 5.24.0"));
    assert_int_equal(summary.output_bytes, bytes_of_tensors(p.output));
    assert_ok(bm_checkpoint_open(&c, p.output, &err), &err);
    for (size_t i = 0; i < BM_COUNT(names); i++)
        assert_null(bm_checkpoint_find(c, names[i]));
    bm_checkpoint_close(&c);
    assert_ok(bm_folder_remove(p.output, &err), &err);
    // Who wants no notes gets no result.
    assert_int_equal(quantize(&p, "strict=true", NULL, NULL, &summary, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "v_head.counts"));
    bm_string_free(&log);
    place_remove(&p);
}

// What only running needs keeps nobody from rounding; what the result is good for is said.
static void what_cannot_be_run_is_quantized_all_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *words, *loads;
    } cases[] = {
        {"\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4.0}",
         "config.json: key \"rope_scaling.rope_type\": found longrope, expected default, linear, dynamic, llama3 "
         "or yarn to run the model; it is quantized all the same",
         "loads in: vLLM 0.32.0, transformers 5.24.0 (with compressed-tensors 0.20.0), bitmill (to inspect, not to "
         "run)"},
        {"\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu\"", "key \"hidden_act\": found relu",
         "loads in: transformers 5.24.0 (with compressed-tensors 0.20.0), bitmill (to inspect, not to run)"},
        {"\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "loads in",
         "loads in: transformers 5.24.0 (with compressed-tensors 0.20.0), bitmill\n"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        bm_quantize_summary summary;
        bm_model *opened = NULL;
        bm_string log = BM_STRING_INIT;
        place p = place_create();
        support_text_replace(p.model, "config.json", cases[i].from, cases[i].to);
        assert_ok(quantize(&p, NULL, NULL, &log, &summary, &err), &err);
        assert_non_null(strstr(bm_string_text(&log), cases[i].words));
        assert_non_null(strstr(bm_string_text(&log), cases[i].loads));
        assert_ok(bm_model_open(&opened, p.output, &err), &err);
        bm_model_close(&opened);
        bm_string_free(&log);
        place_remove(&p);
    }
}

static double perplexity_of(const char *folder, const char *data)
{
    bm_error err = {0};
    bm_device *device = NULL;
    bm_evaluation result;
    bm_evaluate_model_params params;
    bm_evaluate_model_params_init(&params);
    params.model = folder;
    params.data = data;
    assert_ok(bm_device_open(&device, &(bm_device_params){.spec = "host"}, &err), &err);
    assert_ok(bm_evaluate_model(&params, device, &result, &err), &err);
    bm_device_close(&device);
    return result.perplexity;
}

// What a run says of itself is what evaluating its model and its result says.
static void perplexities_are_those_of_the_model_and_the_result(void **state)
{
    (void)state;
    static const char text[] = "Once upon a time there was a small model. It read a short text.";
    static const char *const overrides[] = {"device=host", "do_eval=true", "scale_search=abs_max"};
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_summary summary;
    place p = place_create();
    char *data = support_file_write(p.parent, "text.txt", text, sizeof text - 1);
    bm_quantize_params_init(&params);
    params.model = p.model;
    params.data = data;
    params.output = p.output;
    params.overrides = overrides;
    params.num_overrides = BM_COUNT(overrides);
    assert_ok(bm_quantize_model(&params, &summary, &err), &err);
    assert_true(summary.has_evaluation && summary.perplexity_before != summary.perplexity_after);
    assert_true(summary.perplexity_before == perplexity_of(p.model, data));
    assert_true(summary.perplexity_after == perplexity_of(p.output, data));
    bm_free(data);
    place_remove(&p);
}

// Stops at report number `at` of the phase, counted from 0.
typedef struct stop {
    const char *phase;
    uint32_t at, seen;
    uint64_t done, total;
} stop;

static int count_reports(void *user, const bm_progress_report *report)
{
    stop *s = user;
    if (strcmp(report->phase, s->phase) != 0)
        return 1;
    assert_true(report->done <= report->total);
    s->done = report->done;
    s->total = report->total;
    return s->seen++ != s->at;
}

static void a_run_can_be_stopped_at_every_step(void **state)
{
    (void)state;
    // Of 7 float tensors: before them and after each. Of 14 linears: before each, after each piece of rows, at the end.
    // Of the rest: before it, before each of 2 companions. Of reading back: before it, after each batch of pieces.
    static const struct {
        const char *phase;
        uint32_t reports, stride;
    } phases[] = {{"copy floats", 8, 1}, {"quantize", 29, 1}, {"write", 3, 1}, {"verify", 2, 1}};
    bm_error err = {0};
    bm_quantize_summary summary;
    place p = place_create();
    for (size_t i = 0; i < BM_COUNT(phases); i++) {
        stop all = {.phase = phases[i].phase, .at = UINT32_MAX};
        const bm_progress watch = {count_reports, &all};
        assert_ok(quantize(&p, NULL, &watch, NULL, &summary, &err), &err);
        assert_int_equal(all.done, all.total);
        assert_true(all.seen >= phases[i].reports);
        assert_ok(bm_folder_remove(p.output, &err), &err);
        for (uint32_t at = 0; at < all.seen; at += phases[i].stride) {
            stop one = {.phase = phases[i].phase, .at = at};
            const bm_progress early = {count_reports, &one};
            assert_int_equal(quantize(&p, NULL, &early, NULL, &summary, &err), BM_E_CANCELLED);
            assert_int_equal(one.seen, at + 1); // nothing is asked again
            assert_int_equal(support_folder_count(p.parent), 0);
        }
    }
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantization_keys_that_are_null_give_way),
        cmocka_unit_test(what_cannot_be_stored_is_refused),
        cmocka_unit_test(a_bad_embedding_ends_a_run_before_its_linears),
        cmocka_unit_test(tensors_keep_their_types),
        cmocka_unit_test(what_the_model_does_not_read_is_left_out),
        cmocka_unit_test(what_cannot_be_run_is_quantized_all_the_same),
        cmocka_unit_test(perplexities_are_those_of_the_model_and_the_result),
        cmocka_unit_test(a_run_can_be_stopped_at_every_step),
    };
    return cmocka_run_group_tests_name("quantize_input", tests, NULL, NULL);
}
