// AWQ's losses at the output of attention and of the MLP (awq_inspect "block"), on the device that the argument names, beside the same
// in double from the checkpoint's tensors and the token ids alone: families, grouped queries, windows, linears that stay float,
// several batches, sequences that are left out; what does not fit is refused.
#include "base/half.h"
#include "base/str.h"
#include "device/backend.h"
#include "quant/equalize/awq_scales.h"
#include "schedule/double_block.h"
#include "schedule/on_device.h"
#include "schedule/run.h"
#include "support/edits.h"
#include "support/folders.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { NO_SEQUENCE = -1 };

// ---- losses in double

typedef struct expectation {
    uint32_t bits, group_size; // 0: one step a row
    bool symmetric;
    uint32_t num_sampled; // sequences from the first
    int32_t left_out;     // a sequence that gate and up no longer see; NO_SEQUENCE
    uint32_t floats;      // a bit a linear: not quantized
    uint32_t n_grid;
    uint32_t bits_of_v; // above 0: v is symmetric with so many bits, and all steps are of float16
} expectation;

static void round_group(double *w, uint32_t count, const expectation *e, bm_linear_id linear)
{
    const bool is_v = e->bits_of_v > 0 && linear == BM_LINEAR_V, symmetric = is_v || e->symmetric;
    const double half = ldexp(1, (int)(is_v ? e->bits_of_v : e->bits) - 1);
    double low = 0, high = 0, zero = 0;
    for (uint32_t i = 0; i < count; i++) {
        low = fmin(low, w[i]);
        high = fmax(high, w[i]);
    }
    double step = (double)(float)(symmetric ? fmax(-low, high) / (half - 1) : (high - low) / (2 * half - 1));
    if (e->bits_of_v > 0)
        step = (double)bm_f16_to_f32(bm_f32_to_f16((float)step));
    if (!symmetric)
        zero = fmin(fmax(rint(-low / step) - half, -half), half - 1);
    for (uint32_t i = 0; i < count; i++)
        w[i] = (fmin(fmax(rint((double)((float)w[i] / (float)step)) + zero, -half), half - 1) - zero) * step;
}

static bool is_member(const reference *r, const expectation *e, bm_stage stage, bm_linear_id linear)
{
    return r->linears[linear] && bm_linear_stage(linear) == stage && !(e->floats >> linear & 1);
}

// Mean magnitudes of inputs, and of weights beside the largest of their groups.
static void find_means(const reference *r, const expectation *e, bm_stage stage, double *const *inputs, double *m,
                       double *w)
{
    const uint32_t channels = r->p.hidden_size, group = e->group_size ? e->group_size : channels;
    uint64_t tokens = 0, rows = 0;
    for (uint32_t c = 0; c < channels; c++)
        m[c] = w[c] = 0;
    for (uint32_t s = 0; s < r->num_sequences; s++) {
        if (stage == BM_STAGE_GATE_UP && (int32_t)s == e->left_out)
            continue;
        tokens += r->lengths[s];
        for (uint32_t i = 0; i < r->lengths[s] * channels; i++)
            m[i % channels] += fabs(inputs[s][i]);
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        for (uint32_t o = 0; is_member(r, e, stage, linear) && o < r->rows[linear]; o++, rows++)
            for (uint32_t first = 0; first < channels; first += group) {
                const double *row = r->linears[linear] + (size_t)o * channels;
                double largest = 0;
                for (uint32_t c = first; c < first + group; c++)
                    largest = fmax(largest, fabs(row[c]));
                for (uint32_t c = first; c < first + group; c++)
                    w[c] += fabs(row[c]) / largest;
            }
    for (uint32_t c = 0; c < channels; c++) {
        m[c] /= (double)tokens;
        w[c] /= (double)rows;
    }
}

static double *rounded(const reference *r, const expectation *e, bm_linear_id linear, const float *scales)
{
    const uint32_t cols = r->cols[linear], group = e->group_size ? e->group_size : cols;
    const uint64_t count = (uint64_t)r->rows[linear] * cols;
    double *w = bm_alloc(count, sizeof *w);
    for (uint64_t i = 0; i < count; i++)
        w[i] = (double)((float)r->linears[linear][i] * scales[i % cols]);
    for (uint64_t i = 0; i < count; i += group)
        round_group(w + i, group, e, linear);
    for (uint64_t i = 0; i < count; i++)
        w[i] /= (double)scales[i % cols];
    return w;
}

static double loss_of(const reference *r, const expectation *e, bm_stage stage, double *const *inputs,
                      const float *scales)
{
    const uint32_t hidden = r->p.hidden_size;
    double *weights[BM_NUM_LINEARS], loss = 0, want[MAX_LENGTH * 64], found[MAX_LENGTH * 64];
    uint64_t tokens = 0;
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        weights[linear] = is_member(r, e, stage, linear) ? rounded(r, e, linear, scales) : r->linears[linear];
    for (uint32_t s = 0; s < e->num_sampled; s++) {
        if ((int32_t)s == e->left_out)
            continue;
        run_part(r, stage, r->linears, r->lengths[s], inputs[s], want);
        run_part(r, stage, weights, r->lengths[s], inputs[s], found);
        for (uint32_t t = 0; t < r->lengths[s]; t++) {
            double error = 0, norm = 0;
            for (uint32_t i = t * hidden; i < (t + 1) * hidden; i++) {
                error += (want[i] - found[i]) * (want[i] - found[i]);
                norm += want[i] * want[i];
            }
            loss += norm < (double)FLT_MAX ? error : 0;
            tokens += norm < (double)FLT_MAX;
        }
    }
    for (bm_linear_id linear = 0; linear < BM_NUM_LINEARS; linear++)
        if (weights[linear] != r->linears[linear])
            bm_free(weights[linear]);
    return loss / (double)tokens / hidden;
}

// ---- runs

typedef struct run {
    char *output;
    bm_quantize_result result;
} run;

static bm_status quantize(run *r, const char *folder, const char *keys, bm_error *err)
{
    bm_arguments *arguments = NULL;
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_status status = BM_OK;
    char *text =
        bm_format("{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s/out\",\"dataset_name_or_path\":\"%s/ids.jsonl\","
                  "\"do_ptq\":true,\"do_awq\":true,%s%s\"keep_order\":true,"
                  "\"per_device_train_batch_size\":2,\"max_length\":64,\"src_length\":32,%s}",
                  folder, r->output = support_folder_create(), folder,
                  strstr(keys, "awq_inspect") ? "" : "\"awq_inspect\":\"block\",",
                  strstr(keys, "awq_n_grid") ? "" : "\"awq_n_grid\":3,", keys);
    const bm_log log = {.level = BM_LOG_ERROR};
    BM_TRY(bm_arguments_read_text(&arguments, text, strlen(text), "test", NULL, err));
    if (arguments->compute_dtype == BM_DTYPE_NONE)
        arguments->compute_dtype = BM_DTYPE_F32;
    BM_TRY(bm_model_open(&model, folder, err));
    BM_TRY(bm_plan_create(arguments, model, &plan, err));
    BM_TRY(bm_plan_load_data(plan, arguments, model, NULL, err));
    const bm_quantize_run_params params = {
        .arguments = arguments, .plan = plan, .model = model, .device = device, .log = &log};
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
    support_folder_remove(&r->output);
}

static void make_ids(reference *r, uint32_t num_sequences, const uint32_t *lengths)
{
    uint32_t state = 12345;
    r->num_sequences = num_sequences;
    for (uint32_t s = 0; s < num_sequences; s++) {
        r->lengths[s] = lengths ? lengths[s] : 30;
        for (uint32_t t = 0; t < r->lengths[s]; t++) {
            state = state * 1664525u + 1013904223u;
            r->ids[s][t] = 3 + (state >> 8) % 250;
        }
    }
}

static void write_ids(const reference *r, const char *folder)
{
    bm_string text = BM_STRING_INIT;
    for (uint32_t s = 0; s < r->num_sequences; s++) {
        (void)bm_string_append(&text, "{\"input_ids\": [");
        for (uint32_t t = 0; t < r->lengths[s]; t++)
            (void)bm_string_append_format(&text, "%s%u", t ? ", " : "", r->ids[s][t]);
        (void)bm_string_append(&text, "]}\n");
    }
    bm_free(support_file_write(folder, "ids.jsonl", bm_string_text(&text), text.length));
    bm_string_free(&text);
}

static reference reference_of(const char *family, uint32_t hidden, uint32_t kv_heads)
{
    reference r = {.is_bloom = strcmp(family, "bloom") == 0};
    model_maker_params_init(&r.p);
    r.p.family = family;
    r.p.hidden_size = hidden;
    r.p.intermediate_size = 64;
    r.p.vocab_size = 260;
    r.p.num_layers = 1;
    r.p.num_kv_heads = r.kv_heads = kv_heads;
    r.p.num_outlier_channels = 2;
    r.p.outlier_scale = 6;
    r.head_dim = r.p.hidden_size / r.p.num_heads;
    r.wide = r.is_bloom ? 4 * r.p.hidden_size : r.p.intermediate_size;
    return r;
}

// Codes are the same but for a few between two that behind scales round the other way, which the identity has not.
static void check_stage(const reference *r, const expectation *e, const bm_stage_record *record, const char *name)
{
    double *inputs[MAX_SEQUENCES], m[64], w[64];
    float scales[64];
    bm_smooth_grid grid;
    bm_error err = {0};
    double least = INFINITY;
    for (uint32_t s = 0; s < r->num_sequences; s++)
        inputs[s] = inputs_of(r, record->stage, s);
    find_means(r, e, record->stage, inputs, m, w);
    assert_ok(bm_awq_grid_create(e->n_grid, true, &grid, &err), &err);
    assert_int_equal(record->search.stride, grid.count);
    assert_int_equal(record->search.num_moves, 1);
    for (uint32_t i = 0; i < grid.count; i++) {
        bm_awq_scales(&grid.candidates[i], r->p.hidden_size, m, w, scales);
        const double want = loss_of(r, e, record->stage, inputs, scales), found = record->search.losses[i];
        least = fmin(least, found);
        if (!(fabs(found - want) <= (i == 0 ? 1e-4 : 1e-2) * want))
            fail_msg("%s, stage %d, candidate %u: found %.10g, expected %.10g", name, (int)record->stage, i, found,
                     want);
    }
    assert_true(record->search.loss == least && record->search.identity_loss == record->search.losses[0]);
    assert_true(isfinite(least));
    bm_smooth_grid_free(&grid);
    for (uint32_t s = 0; s < r->num_sequences; s++)
        bm_free(inputs[s]);
}

static void check(reference *r, const expectation *e, const char *folder, const char *keys)
{
    bm_error err = {0};
    run done = {0};
    uint32_t num_checked = 0;
    char *all = e->bits_of_v > 0
                    ? bm_string_copy(keys)
                    : bm_format("%s,\"bits\":%u,\"symmetric\":%s", keys, e->bits, e->symmetric ? "true" : "false");
    open_reference(r, folder);
    if (quantize(&done, folder, all, &err) != BM_OK)
        fail_msg("%s, %s: %s", r->p.family, all, err.message);
    assert_int_equal(done.result.num_skipped_sequences, e->left_out != NO_SEQUENCE);
    for (uint32_t i = 0; i < done.result.num_stages; i++)
        if (done.result.stages[i].stage == BM_STAGE_QKV || done.result.stages[i].stage == BM_STAGE_GATE_UP) {
            char *name = bm_format("%s, %s", r->p.family, all);
            check_stage(r, e, &done.result.stages[i], name);
            bm_free(name);
            num_checked++;
        }
    assert_int_equal(num_checked, 2);
    end_run(&done);
    close_reference(r);
    bm_free(all);
}

#define ROWS "\"quant_type\":\"wint4\""
#define GROUPS ROWS ",\"weight_quant_method\":\"groupwise\",\"group_size\":32"

static const uint32_t six[] = {12, 20, 7, 16, 3, 24};

static void losses_are_those_of_the_block(void **state)
{
    static const struct {
        const char *family;
        uint32_t kv_heads, window;
        bool biases;
        const char *keys;
        expectation e;
    } cases[] = {
        {"llama", 2, 0, false, ROWS ",\"search_tokens\":40", {4, 0, true, 3, NO_SEQUENCE, 0, 3, 0}},
        {"llama", 4, 0, true, ROWS ",\"search_tokens\":5", {3, 0, true, 1, NO_SEQUENCE, 0, 3, 0}},
        {"llama", 4, 0, true, ROWS ",\"awq_step\":1", {4, 0, false, 2, NO_SEQUENCE, 0, 3, 0}},
        // More candidates than are on the device together.
        {"llama", 2, 0, false, ROWS ",\"search_tokens\":20,\"awq_n_grid\":6", {4, 0, true, 1, NO_SEQUENCE, 0, 6, 0}},
        {"mistral", 1, 6, false, ROWS, {4, 0, true, 6, NO_SEQUENCE, 0, 3, 0}},
        {"qwen2", 2, 0, false, ROWS, {4, 0, false, 6, NO_SEQUENCE, 0, 3, 0}},
        {"qwen3", 2, 0, true, ROWS, {3, 0, true, 6, NO_SEQUENCE, 0, 3, 0}},
        {"bloom", 4, 0, true, ROWS, {4, 0, true, 6, NO_SEQUENCE, 0, 3, 0}},
        {"llama",
         2,
         0,
         false,
         ROWS ",\"skip_list_names\":[\"v_proj\",\"up_proj\",\"o_proj\"]",
         {4, 0, true, 6, NO_SEQUENCE, 1u << BM_LINEAR_V | 1u << BM_LINEAR_UP, 3, 0}},
        // Q5_1, and Q8_0 of v, since no linear's inputs are whole blocks of 256.
        {"llama",
         2,
         0,
         false,
         ROWS ",\"format\":\"gguf\",\"gguf_type\":\"q5_k_m\"",
         {5, 32, false, 6, NO_SEQUENCE, 0, 3, 8}},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        reference r = reference_of(cases[i].family, 32, cases[i].kv_heads);
        char *folder = support_folder_create();
        r.p.sliding_window = cases[i].window;
        r.p.attention_bias = cases[i].biases && !r.is_bloom;
        r.p.mlp_bias = cases[i].biases && strcmp(cases[i].family, "llama") == 0;
        make_ids(&r, cases[i].e.num_sampled == 2 ? 4 : BM_COUNT(six), six);
        assert_ok(model_maker_write(&r.p, folder, &err), &err);
        write_ids(&r, folder);
        if (cases[i].e.num_sampled == 2)
            r.num_sequences = 2; // those that statistics are of
        check(&r, &cases[i].e, folder, cases[i].keys);
        support_folder_remove(&folder);
    }
}

// Of 75 sequences of 30 tokens a batch holds 68, the sample 70.
static void samples_go_over_batches(void **state)
{
    static const expectation e = {4, 32, true, 70, NO_SEQUENCE, 0, 3, 0};
    bm_error err = {0};
    reference r = reference_of("llama", 64, 2);
    char *folder = support_folder_create();
    (void)state;
    make_ids(&r, 75, NULL);
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    write_ids(&r, folder);
    check(&r, &e, folder, GROUPS ",\"search_tokens\":2110,\"awq_step\":-1,\"ptq_step\":-1");
    support_folder_remove(&folder);
}

// Channel 9 of the stream is a token's own, and the norm in front of gate and up multiplies it.
static void check_overflow(const expectation *e, float factor, float row_factor)
{
    static const struct {
        const char *name;
        uint32_t rows, cols;
        bool is_row;
    } cleared[] = {{"model.embed_tokens.weight", 260, 32, false},
                   {"model.layers.0.self_attn.o_proj.weight", 32, 32, true},
                   {"model.layers.0.mlp.down_proj.weight", 32, 64, true}};
    bm_error err = {0};
    reference r = reference_of("llama", 32, 2);
    char *folder = support_folder_create();
    float values[260 * 32];
    make_ids(&r, BM_COUNT(six), six);
    r.ids[2][3] = 259;
    r.p.num_outlier_channels = 0;
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    for (size_t i = 0; i <= BM_COUNT(cleared); i++) {
        const char *name = i < BM_COUNT(cleared) ? cleared[i].name : "model.layers.0.post_attention_layernorm.weight";
        const uint32_t rows = i < BM_COUNT(cleared) ? cleared[i].rows : 1,
                       cols = i < BM_COUNT(cleared) ? cleared[i].cols : 32;
        assert_ok(bm_model_open(&r.model, folder, &err), &err);
        double *old = read_doubles(&r, name);
        bm_model_close(&r.model);
        for (uint32_t k = 0; k < rows * cols; k++)
            values[k] = i < BM_COUNT(cleared) && (cleared[i].is_row ? k / cols : k % cols) == 9 ? 0 : (float)old[k];
        if (i == 0)
            values[259 * 32 + 9] = 1;
        if (i == BM_COUNT(cleared))
            values[9] = factor;
        for (uint32_t k = 0; i == 2 && k < cols; k++)
            values[k] *= row_factor;
        support_tensor_write(folder, name, values, rows * cols * sizeof *values);
        bm_free(old);
    }
    write_ids(&r, folder);
    check(&r, e, folder, ROWS ",\"skip_bad_sequences\":true");
    support_folder_remove(&folder);
}

// Beyond float32: the sequence counts in the means of q, k and v, whose inputs are finite, but in no loss. Less: all inputs are
// finite, but not the square of the token's outputs, so that the token alone does not count.
static void what_overflows_later_loses_nothing(void **state)
{
    static const expectation sequence = {4, 0, true, 6, 2, 0, 3, 0}, token = {4, 0, true, 6, NO_SEQUENCE, 0, 3, 0};
    (void)state;
    check_overflow(&sequence, 1e30f, 1);
    check_overflow(&token, 1e8f, 1e6f);
}

// Sequences of 12, 20 and 7 tokens are kept twice, 32 channels wide, beside two matrices of outputs, sums, gate's 64 rows three
// times, and scales of 8 candidates with their inverses; a single sequence comes whole where fewer tokens are asked for.
static void samples_beyond_the_device_are_refused(void **state)
{
    static const uint64_t sample = UINT64_C(4) * 39 * (2 * 32 + 2 * 32 + 4) + UINT64_C(4) * (3 * 64 + 2 * 8) * 32;
    static const struct {
        const char *keys;
        uint64_t memory_bytes, max_allocation_bytes; // 0: the device's
        const char *words;                           // NULL: it runs
    } cases[] = {
        {ROWS ",\"search_tokens\":40", sample, 0, NULL},
        {ROWS ",\"search_tokens\":40", sample - 1, 0,
         "test: \"awq_inspect\": \"block\": whole sequences of 39 tokens (\"search_tokens\": 40) take 0.0 MB, expected "
         "at most "
         "0.0 MB, the memory of "},
        {ROWS ",\"search_tokens\":40,\"awq_inspect\":\"linear\"", sample - 1, 0, NULL},
        {ROWS ",\"search_tokens\":40,\"skip_list_names\":[\"gate_proj\",\"up_proj\"]", sample - 1, 0, NULL},
        {ROWS ",\"search_tokens\":1,\"smooth_all_linears\":false,\"scale_search\":\"abs_max\"", 0,
         UINT64_C(12) * 32 * 4 - 1,
         "test: \"awq_inspect\": \"block\": outputs of whole sequences of 12 tokens (\"search_tokens\": 1) take 0.0 "
         "MB, expected "
         "at most 0.0 MB, the largest buffer of "},
    };
    const bm_device_limits limits = device->info.limits;
    bm_error err = {0};
    reference r = reference_of("llama", 32, 2);
    char *folder = support_folder_create();
    (void)state;
    make_ids(&r, BM_COUNT(six), six);
    assert_ok(model_maker_write(&r.p, folder, &err), &err);
    write_ids(&r, folder);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        run done = {0};
        if (cases[i].memory_bytes)
            device->info.limits.memory_bytes = cases[i].memory_bytes;
        if (cases[i].max_allocation_bytes)
            device->info.limits.max_allocation_bytes = cases[i].max_allocation_bytes;
        const bm_status status = quantize(&done, folder, cases[i].keys, &err);
        device->info.limits = limits;
        if (status != (cases[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (cases[i].words && !strstr(err.message, cases[i].words)))
            fail_msg("case %zu: %d: %s", i, (int)status, err.message);
        assert_int_equal(support_folder_has(done.output, "out"), status == BM_OK);
        end_run(&done);
    }
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_block),
        cmocka_unit_test(samples_go_over_batches),
        cmocka_unit_test(what_overflows_later_loses_nothing),
        cmocka_unit_test(samples_beyond_the_device_are_refused),
    };
    return run_on_device(argc, argv, "awq_block", LONG_LOOPS, tests, BM_COUNT(tests));
}
