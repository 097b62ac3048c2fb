// The driver of methods that watch, on the device that the argument names: what a method is shown is what the model sees at
// that place, whichever pass and lane it came through; where activations are kept does not matter; a sequence that overflows
// is named or left out and touches no other.
#include "schedule/on_device.h"

#include "device/backend.h"
#include "infer/stream.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "schedule/calibrate.h"
#include "schedule/memory_plan.h"
#include "support/edits.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUM_BLOCKS = 2, MAX_CHANNELS = 256 };

// What a method was shown of one stage: sums over tokens.
typedef struct seen {
    uint64_t tokens;
    uint32_t channels;
    double inputs[MAX_CHANNELS], squares[MAX_CHANNELS], floats[MAX_CHANNELS];
} seen;

// ---- a method that remembers what it is shown, and rounds

static seen shown[NUM_BLOCKS * BM_NUM_STAGES];
static uint32_t num_begun;
static bm_watches wanted;

// Fails where rows are not finite: those of a run that will end with a better message.
static bm_status add_rows(const bm_tensor *rows, double *sums, double *squares, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tensor real = {0};
    float *host = malloc(rows->rows * rows->cols * sizeof *host);
    assert_non_null(host);
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, rows->rows, rows->cols, "rows", &real, err));
    BM_TRY(bm_convert(device, rows, &real, "rows", err));
    BM_TRY(bm_tensor_download(device, &real, host, err));
    BM_TRY(bm_device_wait(device, err));
    for (uint64_t i = 0; i < rows->rows * rows->cols; i++) {
        sums[i % rows->cols] += (double)host[i];
        if (squares)
            squares[i % rows->cols] += (double)host[i] * (double)host[i];
    }
done:
    bm_tensor_destroy(&real);
    free(host);
    return status;
}

static bm_watches spy_watches(const bm_method_params *params)
{
    (void)params;
    return wanted;
}

static uint64_t state_bytes_a_channel = 1;

static uint64_t spy_state_bytes(const bm_method_params *params, uint32_t channels)
{
    (void)params;
    return state_bytes_a_channel * channels;
}

static bm_status spy_begin(bm_multiplier *m, const bm_method_params *params, uint32_t channels, void **state,
                           bm_error *err)
{
    (void)m, (void)params, (void)err;
    seen *s = &shown[num_begun++];
    *s = (seen){.channels = channels};
    *state = s;
    return BM_OK;
}

static bm_status spy_watch(bm_multiplier *m, void *state, const bm_tensor *inputs, const bm_tensor *float_inputs,
                           bm_error *err)
{
    (void)m;
    seen *s = state;
    assert_int_equal(inputs->cols, s->channels);
    assert_int_equal(float_inputs != NULL, wanted == BM_WATCHES_BOTH_INPUTS);
    s->tokens += inputs->rows;
    const bm_status status = add_rows(inputs, s->inputs, s->squares, err);
    return status == BM_OK && float_inputs ? add_rows(float_inputs, s->floats, NULL, err) : status;
}

static bm_status spy_prepare(bm_multiplier *m, void *state, const bm_method_params *params, bm_group_record *record,
                             bm_error *err)
{
    (void)m, (void)params, (void)err;
    record->tokens = ((seen *)state)->tokens;
    return BM_OK;
}

static bm_status spy_solve(bm_multiplier *m, void *state, const bm_method_params *params, const bm_method_rows *rows,
                           bm_error *err)
{
    (void)state;
    return bm_method_rtn.solve(m, NULL, params, rows, err);
}

static bm_status spy_group_index(const void *state, const bm_method_params *params, uint32_t **out, bm_error *err)
{
    (void)state, (void)params, (void)err;
    *out = NULL;
    return BM_OK;
}

static void spy_end(void **state)
{
    *state = NULL;
}

static const bm_method spy = {.name = "spy",
                              .words = "spy",
                              .watches = spy_watches,
                              .state_bytes = spy_state_bytes,
                              .begin = spy_begin,
                              .watch = spy_watch,
                              .prepare = spy_prepare,
                              .solve = spy_solve,
                              .group_index = spy_group_index,
                              .end = spy_end};

// ---- a run

typedef struct run {
    char *folder, *output; // of the model, with data.txt in it; of the result
    bm_arguments *arguments;
    bm_model *model;
    bm_plan *plan;
    bm_quantize_result result;
} run;

static run begin_run(char *folder, const char *const *keys, uint32_t num_keys)
{
    bm_error err = {0};
    run r = {.folder = folder, .output = support_folder_create()};
    const char *overrides[16] = {"compute_dtype=float32",         "max_length=48", "gptq_step=4",
                                 "per_device_train_batch_size=3", "group_size=32", "weight_quant_method=groupwise"};
    for (uint32_t i = 0; i < num_keys; i++)
        overrides[6 + i] = keys[i];
    char *data = bm_path_join(folder, "data.txt");
    const bm_arguments_short_form form = {folder, "gptq", 4, data, r.output};
    const bm_arguments_options options = {.overrides = overrides, .num_overrides = 6 + num_keys};
    assert_ok(bm_arguments_from_short_form(&r.arguments, &form, &options, &err), &err);
    assert_ok(bm_model_open(&r.model, folder, &err), &err);
    assert_ok(bm_plan_create(r.arguments, r.model, &r.plan, &err), &err);
    assert_ok(bm_plan_load_data(r.plan, r.arguments, r.model, NULL, &err), &err);
    r.result.linears = calloc(r.plan->num_linears, sizeof *r.result.linears);
    bm_free(data);
    return r;
}

// The line that says where the residual stream is.
static char stream_line[160];

static void remember_stream(void *user, bm_log_level level, const char *message)
{
    (void)user, (void)level;
    if (strncmp(message, "residual stream", 15) == 0)
        snprintf(stream_line, sizeof stream_line, "%s", message);
}

// Runs the driver. place below 0: as memory says.
static bm_status calibrate(run *r, const bm_method *method, int place, bm_error *err)
{
    bm_status status = BM_OK;
    bm_phase phase = {0};
    bm_read_ahead *reader = NULL;
    if (method)
        r->plan->method = method;
    bm_emit_context emit = {
        .model = r->model, .device = device, .plan = r->plan, .arguments = r->arguments, .phase = &phase};
    num_begun = 0;
    r->result.num_linears = 0;
    r->result.num_skipped_sequences = 0;
    BM_TRY(bm_checkpoint_writer_create(&emit.writer, r->output, BM_DEFAULT_SHARD_BYTES, err));
    BM_TRY(bm_emit_declare(r->model, r->plan, emit.writer, err));
    BM_TRY(bm_checkpoint_writer_begin(emit.writer, err));
    emit.writing_bytes = 1000;
    BM_TRY(bm_worker_create(&emit.writing, 1000, BM_EMIT_THREADS, NULL, BM_TRACK_WRITING,
                            err)); // so little that it is often waited for
    BM_TRY(bm_read_ahead_start(&reader, r->model->checkpoint, UINT64_MAX, false, NULL, err));
    BM_TRY(bm_emit_float_tensors(&emit, err));
    phase = (bm_phase){0};
    const bm_calibrate_params params = {.emit = &emit,
                                        .reader = reader,
                                        .folder = r->output,
                                        .forces_place = place >= 0,
                                        .place = place >= 0 ? (bm_kept_place)place : BM_KEPT_DEVICE,
                                        .log = &(bm_log){BM_LOG_DEBUG, remember_stream, NULL}};
    BM_TRY(bm_calibrate(&params, &r->result, err));
    assert_int_equal(phase.report.done, phase.report.total);
    BM_TRY(bm_worker_finish(emit.writing, err));
    BM_TRY(bm_checkpoint_writer_finish(&emit.writer, err));
    BM_TRY(bm_emit_config(r->model, r->plan, r->output, err));
done:
    bm_read_ahead_stop(&reader);
    bm_worker_destroy(&emit.writing);
    bm_checkpoint_writer_destroy(&emit.writer);
    return status;
}

static void end_run(run *r)
{
    free(r->result.linears);
    bm_plan_destroy(&r->plan);
    bm_model_close(&r->model);
    bm_arguments_destroy(&r->arguments);
    support_folder_remove(&r->output);
}

static const char text[] =
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way. In short, the period was "
    "so far like the present period, that some of its noisiest authorities insisted on its being received.";

static char *made_model(model_maker_params *p)
{
    bm_error err = {0};
    char *folder = support_folder_create();
    p->num_layers = NUM_BLOCKS;
    assert_ok(model_maker_write(p, folder, &err), &err);
    bm_free(support_file_write(folder, "data.txt", text, sizeof text - 1));
    return folder;
}

// ---- what the model sees

// Blocks before `last` with the weights of prefix; of block `last`, linears before `stage` with those of within.
static seen expected(const run *r, const bm_model *prefix, const bm_model *within, uint32_t last, bm_stage stage)
{
    bm_error err = {0};
    const bm_calibration_data *data = &r->plan->calibration;
    const bm_dtype dtype = r->arguments->compute_dtype;
    const bm_stream_params params = {.model = r->model,
                                     .device = device,
                                     .dtype = dtype,
                                     .sequences = data->segments,
                                     .num_sequences = data->num_segments};
    bm_stream *stream = NULL;
    seen s = {0};
    assert_ok(bm_stream_create(&params, &stream, &err), &err);
    for (uint32_t index = 0; index <= last; index++) {
        bm_block block;
        assert_ok(bm_block_load(index < last ? prefix : within, device, index, dtype, &block, &err), &err);
        for (uint32_t b = 0; b < stream->num_batches; b++) {
            const bm_batch *batch = &stream->batches[b].batch;
            bm_tensor hidden, input;
            assert_ok(bm_stream_acquire(stream, b, &hidden, &err), &err);
            for (bm_stage i = 0; i < BM_NUM_STAGES; i++) {
                assert_ok(bm_block_stage_input(device, &block, i, batch, &stream->workspace, &hidden, &input, &err),
                          &err);
                if (index == last && i == stage) {
                    s.channels = (uint32_t)input.cols;
                    s.tokens += input.rows;
                    assert_ok(add_rows(&input, s.inputs, s.squares, &err), &err);
                    break;
                }
                assert_ok(
                    bm_block_stage_output(device, &block, i, batch, &stream->workspace, NULL, &input, &hidden, &err),
                    &err);
            }
            assert_ok(bm_stream_release(stream, b, &hidden, true, &err), &err);
        }
        bm_block_destroy(&block);
    }
    bm_stream_destroy(&stream);
    return s;
}

static double tolerance = 2e-5; // of the largest

static void assert_near(const double *found, const double *expected_sums, uint32_t count, const char *what)
{
    double largest = 0;
    for (uint32_t c = 0; c < count; c++)
        largest = fmax(largest, fabs(expected_sums[c]));
    for (uint32_t c = 0; c < count; c++)
        if (!(fabs(found[c] - expected_sums[c]) <= tolerance * largest))
            fail_msg("%s, channel %u: found %.9g, expected %.9g", what, c, found[c], expected_sums[c]);
}

typedef enum source { FLOAT_MODEL, QUANTIZED_MODEL } source;

// All that was shown, against the model itself. The spy rounds: the output holds what its linears became.
static void check_shown(const run *r, source prefix, source within)
{
    bm_error err = {0};
    bm_model *quantized = NULL;
    assert_ok(bm_model_open(&quantized, r->output, &err), &err);
    assert_int_equal(num_begun, NUM_BLOCKS * BM_NUM_STAGES);
    for (uint32_t block = 0; block < NUM_BLOCKS; block++)
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
            const seen *s = &shown[block * BM_NUM_STAGES + stage];
            char what[64];
            snprintf(what, sizeof what, "block %u, stage %d", block, (int)stage);
            const seen e = expected(r, prefix == FLOAT_MODEL ? r->model : quantized,
                                    within == FLOAT_MODEL ? r->model : quantized, block, stage);
            assert_int_equal(s->tokens, e.tokens);
            assert_int_equal(s->channels, e.channels);
            assert_near(s->inputs, e.inputs, e.channels, what);
            assert_near(s->squares, e.squares, e.channels, what);
            if (wanted == BM_WATCHES_BOTH_INPUTS) {
                const seen f = expected(r, r->model, r->model, block, stage);
                assert_near(s->floats, f.inputs, f.channels, what);
            }
        }
    bm_model_close(&quantized);
}

static void watch_and_check(const char *sequential, const char *inputs, bm_watches watches, source prefix,
                            source within)
{
    bm_error err = {0};
    static const char *const families[] = {"llama", "bloom"};
    static const uint32_t num_linears[] = {7, 4};
    for (size_t i = 0; i < BM_COUNT(families); i++) {
        model_maker_params p;
        model_maker_params_init(&p);
        p.family = families[i];
        char *folder = made_model(&p);
        const char *keys[] = {sequential, inputs};
        run r = begin_run(folder, keys, 2);
        wanted = watches;
        assert_ok(calibrate(&r, &spy, -1, &err), &err);
        assert_int_equal(r.result.num_linears, NUM_BLOCKS * num_linears[i]);
        check_shown(&r, prefix, within);
        end_run(&r);
        support_folder_remove(&folder);
    }
}

static void stages_see_quantized_ones_before_them(void **state)
{
    (void)state;
    watch_and_check("true_sequential=true", "calibration_inputs=quantized", BM_WATCHES_BOTH_INPUTS, QUANTIZED_MODEL,
                    QUANTIZED_MODEL);
    watch_and_check("true_sequential=true", "calibration_inputs=quantized", BM_WATCHES_INPUTS, QUANTIZED_MODEL,
                    QUANTIZED_MODEL);
}

static void blocks_are_watched_at_once(void **state)
{
    (void)state;
    watch_and_check("true_sequential=false", "calibration_inputs=quantized", BM_WATCHES_BOTH_INPUTS, QUANTIZED_MODEL,
                    FLOAT_MODEL);
    watch_and_check("true_sequential=false", "calibration_inputs=quantized", BM_WATCHES_INPUTS, QUANTIZED_MODEL,
                    FLOAT_MODEL);
}

static void blocks_begin_with_the_float_model(void **state)
{
    (void)state;
    watch_and_check("true_sequential=true", "calibration_inputs=float", BM_WATCHES_INPUTS, FLOAT_MODEL,
                    QUANTIZED_MODEL);
    watch_and_check("true_sequential=false", "calibration_inputs=float", BM_WATCHES_INPUTS, FLOAT_MODEL, FLOAT_MODEL);
}

// ---- places

// Small things stay on the device; what has no room there goes to the host's own memory or, where computing it again takes
// longer than reading it back, to a file.
static void places_follow_from_room_and_time(void **state)
{
    enum { BYTES = 1 << 20 };
    char *folder = support_folder_create();
    const bool has_own_memory = bm_device_get_info(device)->kind == BM_DEVICE_DISCRETE_GPU;
    (void)state;
    assert_int_equal(bm_memory_place(device, BYTES, BYTES, 0, NULL, false), BM_KEPT_DEVICE);
    assert_int_equal(bm_memory_place(device, BYTES, BYTES - 1, 1e18, folder, false),
                     has_own_memory ? BM_KEPT_HOST : BM_KEPT_FILE);
    assert_int_equal(bm_memory_place(device, BYTES, BYTES - 1, 0, folder, false), BM_KEPT_NOWHERE);
    assert_int_equal(bm_memory_place(device, UINT64_C(1) << 60, 0, 1e18, folder, false),
                     BM_KEPT_NOWHERE); // no disk has that
    assert_int_equal(bm_memory_place(device, UINT64_C(1) << 60, 0, 1e18, NULL, false), BM_KEPT_NOWHERE);
    support_folder_remove(&folder);
}

// Without true_sequential the states of all stages of a block are there at once, and the residual stream makes room.
static void states_that_are_held_at_once_are_counted(void **state)
{
    bm_error err = {0};
    model_maker_params p;
    const uint64_t memory = bm_device_get_info(device)->limits.memory_bytes;
    (void)state;
    model_maker_params_init(&p);
    char *folder = made_model(&p);
    for (uint32_t at_once = 0; at_once < 2; at_once++) {
        const char *keys[] = {at_once ? "true_sequential=false" : "true_sequential=true",
                              "calibration_inputs=quantized"};
        run r = begin_run(folder, keys, 2);
        const uint64_t hidden = r.model->config.hidden_size, intermediate = r.model->config.intermediate_size;
        const uint64_t q = hidden; // channels of o_proj: heads of all queries
        assert_true(intermediate > hidden);
        wanted = BM_WATCHES_INPUTS;
        r.plan->method = &spy;
        const bm_gemm_choice choice = bm_gemm_choose(device);
        const bool packs = choice.form == BM_GEMM_PANELS;
        // The copy of a square that products by it take, where the device wants one; else transposed inputs of 10 tokens.
        const uint64_t packed = 4 * intermediate * (packs ? bm_round_up(intermediate, choice.panel_cols) : 12);
        const uint64_t channels = at_once ? 2 * hidden + q + intermediate : intermediate;
        state_bytes_a_channel = 7;
        assert_int_equal(bm_memory_state_bytes(device, r.plan, at_once, 10), 7 * channels + packed);
        wanted = BM_WATCHES_BOTH_INPUTS;
        assert_int_equal(bm_memory_state_bytes(device, r.plan, at_once, 10),
                         (7 + 4 * 10) * channels + packed * (packs ? 1 : 2));
        wanted = BM_WATCHES_INPUTS;
        state_bytes_a_channel = memory / (hidden + q + intermediate); // all of them: more than there is
        assert_ok(calibrate(&r, &spy, -1, &err), &err);
        assert_non_null(strstr(stream_line, at_once ? "kept in host memory" : "kept on the device"));
        end_run(&r);
    }
    state_bytes_a_channel = 1;
    support_folder_remove(&folder);
}

// Of one lane and of two, on a device with room for a few sequences in a batch.
static void the_place_of_activations_does_not_matter(void **state)
{
    bm_error err = {0};
    model_maker_params p;
    const uint64_t memory = device->info.limits.memory_bytes;
    (void)state;
    model_maker_params_init(&p);
    char *folder = made_model(&p);
    for (uint32_t lanes = 1; lanes <= 2; lanes++) {
        const char *const keys[] = {lanes == 2 ? "qep_alpha=0.5" : "qep_alpha=0"};
        char *first = NULL;
        uint64_t first_size = 0;
        for (int place = -1; place <= BM_KEPT_NOWHERE; place++) {
            uint64_t size, num_tokens = 0;
            run r = begin_run(folder, keys, 1);
            const bm_calibration_data *data = &r.plan->calibration;
            for (uint32_t s = 0; s < data->num_segments; s++)
                num_tokens += data->segments[s].count;
            const uint64_t per_token =
                bm_workspace_bytes_per_token(r.model, BM_DTYPE_F32) + 4 * (uint64_t)p.hidden_size;
            device->info.limits.memory_bytes = per_token * 4 * (num_tokens / 3);
            assert_true(bm_stream_batch_tokens(r.model, device, BM_DTYPE_F32, data->segments, data->num_segments, 0) <
                        num_tokens / 2);
            assert_ok(calibrate(&r, NULL, place, &err), &err);
            device->info.limits.memory_bytes = memory;
            char *bytes = support_file_read(r.output, "model.safetensors", &size);
            if (!first) {
                first = bytes;
                first_size = size;
            } else {
                assert_int_equal(size, first_size);
                assert_memory_equal(bytes, first, size);
                bm_free(bytes);
            }
            end_run(&r);
        }
        bm_free(first);
    }
    support_folder_remove(&folder);
}

// ---- sequences that overflow

// A token of one segment alone, neither the first nor the last segment; returns the segment.
static uint32_t find_lonely_token(const bm_calibration_data *data, uint32_t *token)
{
    for (uint32_t segment = 1; segment + 1 < data->num_segments; segment++)
        for (uint32_t i = 0; i < data->segments[segment].count; i++) {
            bool is_elsewhere = false;
            *token = data->segments[segment].ids[i];
            for (uint32_t other = 0; other < data->num_segments; other++)
                for (uint32_t j = 0; j < data->segments[other].count; j++)
                    is_elsewhere = is_elsewhere || (other != segment && data->segments[other].ids[j] == *token);
            if (!is_elsewhere)
                return segment;
        }
    fail_msg("no token is in one segment alone");
    return 0;
}

static float *read_floats(const bm_model *model, const char *name, uint64_t *size)
{
    bm_error err = {0};
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    assert_non_null(info);
    float *values = malloc(info->size_bytes);
    assert_non_null(values);
    assert_ok(bm_checkpoint_read(model->checkpoint, info, 0, values, info->size_bytes, &err), &err);
    *size = info->size_bytes;
    return values;
}

// What overflows, and the first stage that sees it.
typedef struct overflow {
    const char *weight, *stage;
    uint32_t num_good; // stages before it
} overflow;

// Only the token has something in channel 5 (o_proj adds nothing there), and the first block's weight makes 240,000 of it:
// too much for float16.
static void make_token_overflow(const run *r, uint32_t token, const char *weight)
{
    static const char embedding[] = "model.embed_tokens.weight", output[] = "model.layers.0.self_attn.o_proj.weight";
    const uint32_t hidden = r->model->config.hidden_size, channel = 5;
    uint64_t size;
    float *rows = read_floats(r->model, embedding, &size);
    for (uint32_t id = 0; id < r->model->config.vocab_size; id++)
        rows[id * hidden + channel] = 0;
    memset(rows + token * hidden, 0, hidden * sizeof *rows);
    rows[token * hidden + channel] = 1;
    support_tensor_write(r->folder, embedding, rows, size);
    free(rows);
    rows = read_floats(r->model, output, &size);
    memset(rows + channel * hidden, 0, hidden * sizeof *rows);
    support_tensor_write(r->folder, output, rows, size);
    free(rows);
    rows = read_floats(r->model, weight, &size);
    memset(rows, 0, hidden * sizeof *rows);
    rows[channel] = 3e4f;
    support_tensor_write(r->folder, weight, rows, size);
    free(rows);
}

// Everything that is shown from the stage on, against the model without that sequence.
static void check_without(run *r, uint32_t bad, uint32_t num_good, source prefix, source within)
{
    bm_error err = {0};
    bm_calibration_data *data = &r->plan->calibration;
    const uint64_t all = data->num_tokens, without = all - data->segments[bad].count;
    bm_model *quantized = NULL;
    memmove(data->segments + bad, data->segments + bad + 1, (data->num_segments - bad - 1) * sizeof *data->segments);
    data->num_segments--;
    assert_ok(bm_model_open(&quantized, r->output, &err), &err);
    tolerance = 2e-3; // float16
    for (uint32_t n = 0; n < NUM_BLOCKS * BM_NUM_STAGES; n++) {
        assert_int_equal(shown[n].tokens, n < num_good ? all : without);
        if (n < num_good)
            continue;
        const seen e = expected(r, prefix == QUANTIZED_MODEL ? quantized : r->model,
                                within == QUANTIZED_MODEL ? quantized : r->model, n / BM_NUM_STAGES, n % BM_NUM_STAGES);
        assert_near(shown[n].squares, e.squares, e.channels, "without the bad sequence");
        for (uint32_t c = 0; c < e.channels; c++)
            assert_true(isfinite(shown[n].floats[c]));
        const seen f = expected(r, r->model, r->model, n / BM_NUM_STAGES, n % BM_NUM_STAGES);
        assert_near(shown[n].floats, f.inputs, f.channels, "the float model without the bad sequence");
    }
    tolerance = 2e-5;
    bm_model_close(&quantized);
}

static void leave_out_overflow(const overflow *o, const char *sequential, source prefix, source within)
{
    bm_error err = {0};
    model_maker_params p;
    uint32_t token = 0;
    char words[64];
    model_maker_params_init(&p);
    char *folder = made_model(&p);
    run r = begin_run(folder, NULL, 0);
    const uint32_t bad = find_lonely_token(&r.plan->calibration, &token);
    make_token_overflow(&r, token, o->weight);
    end_run(&r);
    const char *keys[] = {sequential,
                          prefix == FLOAT_MODEL ? "calibration_inputs=float" : "calibration_inputs=quantized",
                          "compute_dtype=float16", "skip_bad_sequences=true"};
    r = begin_run(folder, keys, 3);
    assert_int_equal(calibrate(&r, &spy, -1, &err), BM_E_NUMERIC);
    bm_calibration_data_name(&r.plan->calibration, bad, words, sizeof words);
    assert_non_null(strstr(err.message, words));
    assert_non_null(strstr(err.message, o->stage));
    assert_non_null(
        strstr(err.message, ": NaN or infinity, or numbers whose squares float32 cannot hold, in the inputs"));
    end_run(&r);
    r = begin_run(folder, keys, 4);
    assert_ok(calibrate(&r, &spy, -1, &err), &err);
    assert_int_equal(r.result.num_skipped_sequences, 1);
    assert_int_equal(r.result.num_sequences, r.plan->calibration.num_segments);
    check_without(&r, bad, o->num_good, prefix, within);
    end_run(&r);
    support_folder_remove(&folder);
}

static void a_sequence_that_overflows_touches_no_other(void **state)
{
    static const overflow in_value = {"model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj", 1};
    static const overflow in_up = {"model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj", 3};
    bm_error err = {0};
    (void)state;
    wanted = BM_WATCHES_BOTH_INPUTS;
    if (bm_attention_variant(device, 1)) // GPUs' attention reads rows of other sequences, with zero weights
        assert_ok(bm_device_set_variants(device, "attention=tile", &err), &err);
    leave_out_overflow(&in_value, "true_sequential=true", QUANTIZED_MODEL, QUANTIZED_MODEL);
    leave_out_overflow(&in_value, "true_sequential=false", QUANTIZED_MODEL, FLOAT_MODEL);
    leave_out_overflow(&in_up, "true_sequential=true", QUANTIZED_MODEL, QUANTIZED_MODEL);
    leave_out_overflow(&in_up, "true_sequential=false", QUANTIZED_MODEL, FLOAT_MODEL);
    // Where the residual stream is in host memory, batches share the memory that they are worked on in.
    state_bytes_a_channel = bm_device_get_info(device)->limits.memory_bytes;
    leave_out_overflow(&in_up, "true_sequential=true", QUANTIZED_MODEL, QUANTIZED_MODEL);
    assert_non_null(strstr(stream_line, "kept in host memory"));
    leave_out_overflow(&in_up, "true_sequential=true", FLOAT_MODEL, QUANTIZED_MODEL);
    leave_out_overflow(&in_up, "true_sequential=false", QUANTIZED_MODEL, FLOAT_MODEL);
    leave_out_overflow(&in_up, "true_sequential=false", FLOAT_MODEL, FLOAT_MODEL);
    state_bytes_a_channel = 1;
    assert_ok(bm_device_set_variants(device, "", &err), &err);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_see_quantized_ones_before_them),
        cmocka_unit_test(blocks_are_watched_at_once),
        cmocka_unit_test(blocks_begin_with_the_float_model),
        cmocka_unit_test(places_follow_from_room_and_time),
        cmocka_unit_test(states_that_are_held_at_once_are_counted),
        cmocka_unit_test(the_place_of_activations_does_not_matter),
        cmocka_unit_test(a_sequence_that_overflows_touches_no_other),
    };
    return run_on_device(argc, argv, "calibrate", LONG_LOOPS, tests, BM_COUNT(tests));
}
