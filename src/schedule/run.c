// Running a plan.
#include "schedule/run.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/progress.h"
#include "base/system_memory.h"
#include "formats/checkpoint_writer.h"
#include "schedule/calibrate.h"
#include "schedule/calibration_data.h"
#include "schedule/companions.h"
#include "schedule/group.h"
#include "schedule/disk.h"
#include "schedule/memory_plan.h"
#include "schedule/output.h"
#include "schedule/record.h"
#include "infer/warm_up.h"

#include <stdio.h>
#include <string.h>

#define NUMBER_BYTES UINT64_C(14) // of a scale file, about
// Where there is no budget:
#define READING_SHARE 4                     // of all memory: blocks that are read ahead, two at most
#define WRITING_BYTES (UINT64_C(128) << 20) // of host memory that waits to be written
#define FAR_LOGITS 1.0                      // nats: more than 3 bits took from any trained model that was tried
#define STAGE_BYTES (UINT64_C(32) << 10)    // of bitmill.json and report.html together, for a stage that is equalized

// A run's state.
typedef struct run_state {
    const bm_quantize_run_params *params;
    bm_quantize_result *result;
    bm_output output;
    bm_emit_context emit;  // its writer is open from begin_checkpoint to finish_checkpoint
    bm_phase phase;        // the one that is reported
    bm_read_ahead *reader; // of the checkpoint, while linears are quantized
    uint64_t num_waits;    // of the device, before the run
} run_state;

// Adds the seconds to the phase of that name, or a phase.
static void add_phase(bm_quantize_result *result, const char *name, double seconds)
{
    uint32_t i = 0;
    while (i < result->num_phases && strcmp(result->phases[i].name, name) != 0)
        i++;
    if (i == BM_MAX_PHASES)
        return;
    if (i == result->num_phases) {
        result->phases[i] = (bm_phase_record){0};
        snprintf(result->phases[i].name, sizeof result->phases[i].name, "%s", name);
        result->num_phases++;
    }
    result->phases[i].seconds += seconds;
}

static void add_waiting(bm_quantize_result *result, const double seconds[BM_NUM_TRACKS])
{
    for (bm_track_id track = BM_TRACK_READING; track < BM_NUM_TRACKS; track++)
        if (seconds[track] > 0)
            add_phase(result, bm_track_waiting(track), seconds[track]);
}

void bm_quantize_result_spend(bm_quantize_result *result, const char *name)
{
    double seconds[BM_NUM_TRACKS];
    if (!result->timeline)
        return;
    bm_timeline_spend(result->timeline, name, seconds);
    add_phase(result, name, seconds[BM_TRACK_RUN]);
    add_waiting(result, seconds);
}

void bm_quantize_result_spend_two(bm_quantize_result *result, const char *first, double part, const char *second)
{
    double seconds[BM_NUM_TRACKS], second_seconds;
    if (!result->timeline)
        return;
    bm_timeline_spend_two(result->timeline, first, part, second, seconds, &second_seconds);
    add_phase(result, first, seconds[BM_TRACK_RUN]);
    add_phase(result, second, second_seconds);
    add_waiting(result, seconds);
}

static void end_phase(run_state *run, const char *name)
{
    if (run->result->timeline)
        run->result->timeline->block = -1;
    bm_quantize_result_spend(run->result, name);
}

static bm_status begin_phase(run_state *run, bm_progress_report report, bm_error *err)
{
    run->phase = (bm_phase){.progress = run->params->progress, .report = report, .start_ns = bm_clock_ns()};
    return bm_phase_step(&run->phase, 0, err);
}

static bm_status evaluate_set(const run_state *run, const bm_model *model, bm_run_set set, bm_evaluation *out,
                              bm_error *err)
{
    const bm_arguments *a = run->params->arguments;
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_dataset *dataset = NULL;
    bm_chat_template *template = NULL;
    bm_dataset_params data;
    BM_TRY(bm_open_chat_template(a, &template, err));
    BM_TRY(bm_tokenizer_open(&tokenizer, a->tokenizer_name_or_path, err));
    bm_dataset_params_init(&data);
    data.chat_template = template;
    data.path = a->dataset_name_or_path;
    data.purpose = set == BM_RUN_DEV ? BM_DATASET_EVALUATION : BM_DATASET_PREDICTION;
    data.src_length = run->params->plan->src_length;
    data.max_length = run->params->plan->max_length;
    data.context = run->params->plan->max_length;
    data.seed = (uint64_t)a->seed;
    data.keep_order = true;
    BM_TRY(bm_dataset_load(&dataset, &data, tokenizer, run->params->log, err));
    const bm_evaluate_params params = {.model = model,
                                       .device = run->params->device,
                                       .dtype = a->compute_dtype,
                                       .dataset = dataset,
                                       .progress = run->params->progress};
    BM_TRY(bm_evaluate(&params, out, err));
done:
    bm_dataset_destroy(&dataset);
    bm_chat_template_close(&template);
    bm_tokenizer_close(&tokenizer);
    return status;
}

// Evaluates a model on what the keys ask for.
static bm_status evaluate(const run_state *run, const bm_model *model, bool is_result, bm_error *err)
{
    bm_status status = BM_OK;
    for (bm_run_set set = BM_RUN_DEV; set < BM_NUM_RUN_SETS && status == BM_OK; set++) {
        bm_run_evaluation *e = &run->result->evaluations[set];
        if (e->is_there)
            status = evaluate_set(run, model, set, is_result ? &e->after : &e->before, err);
    }
    return status;
}

// The next block is read while this one is worked on.
static void enter_block(run_state *run, uint32_t block)
{
    bm_timeline *timeline = run->result->timeline;
    if (timeline->block == (int32_t)block)
        return;
    if (block > 0)
        bm_read_ahead_drop(run->reader, block - 1);
    bm_block_read_ahead(run->reader, run->params->model, block + 1);
    bm_quantize_result_spend(run->result, "quantize"); // the block before
    timeline->block = (int32_t)block;
}

// Block by block: each linear is read, solved by the method and written; plain rounding needs no inputs, so a block is
// done in one go.
static bm_status quantize_linears(run_state *run, bm_error *err)
{
    const bm_plan *plan = run->params->plan;
    bm_status status = BM_OK;
    bm_multiplier multiplier;
    bm_multiplier_init(&multiplier, run->params->device);
    const bm_emit_solving solving = {.multiplier = &multiplier, .input = {.kind = plan->input}};
    BM_TRY(begin_phase(run,
                       (bm_progress_report){.phase = "quantize",
                                            .total = plan->num_linears,
                                            .unit = "linears",
                                            .num_blocks = run->params->model->config.num_hidden_layers},
                       err));
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        run->phase.report.block = p->block;
        enter_block(run, p->block);
        if (!p->quantized) {
            BM_TRY(bm_phase_step(&run->phase, 1, err));
            continue;
        }
        bm_linear_record *record = &run->result->linears[run->result->num_linears++];
        bm_emit_member member = {.linear = p};
        BM_TRY(bm_emit_member_keep_steps(&run->emit, &member, err));
        status = bm_emit_linears(&run->emit, &member, 1, &solving, err);
        if (status == BM_OK)
            status = bm_emit_tell_scales(&run->emit, &member, &solving.input, err);
        bm_free(member.steps);
        BM_TRY(status);
        bm_group_record_linear(record, plan, p, &member.errors);
        bm_log_write(run->params->log, BM_LOG_DEBUG, "%s: relative squared error %.3e", record->name, record->nmse);
        BM_TRY(bm_phase_step(&run->phase, 1, err));
    }
done:
    bm_multiplier_free(&multiplier);
    return status;
}

// Methods that watch inputs.
static bm_status calibrate(run_state *run, bm_error *err)
{
    const bm_quantize_run_params *p = run->params;
    const bm_calibrate_params params = {.emit = &run->emit,
                                        .reader = run->reader,
                                        .folder = p->folder ? p->folder : run->output.partial,
                                        .spares_host = p->budget && p->budget->spares_host,
                                        .log = p->log};
    const bm_status status = begin_phase(run,
                                         (bm_progress_report){.phase = "quantize",
                                                              .unit = "tokens x passes",
                                                              .num_blocks = p->model->config.num_hidden_layers},
                                         err);
    return status == BM_OK ? bm_calibrate(&params, run->result, err) : status; // it adds its phases itself
}

// What scale files and the records of stages take beside tensors.
static uint64_t words_bytes(const bm_quantize_run_params *p)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->plan->num_linears && p->arguments->job == BM_JOB_A8W8; i++) {
        const bm_plan_linear *l = &p->plan->linears[i];
        bytes += l->quantized ? NUMBER_BYTES * l->out_features * (l->in_features / l->grid.group_size) : 0;
    }
    return bytes +
           (p->plan->equalizes ? STAGE_BYTES * BM_NUM_STAGES * (uint64_t)p->model->config.num_hidden_layers : 0);
}

uint64_t bm_quantize_run_output_bytes(const bm_quantize_run_params *p)
{
    return p->plan->output_bytes + p->plan->companion_bytes + words_bytes(p);
}

bm_status bm_quantize_run_check_disk(const bm_quantize_run_params *p, const char *output_folder, bm_error *err)
{
    const bm_disk_need need = {.output = p->arguments->output_dir,
                               .output_folder = output_folder,
                               .result_bytes = bm_quantize_run_output_bytes(p),
                               .scratch_folder = p->folder,
                               .scratch_bytes = p->scratch_bytes};
    return bm_disk_check(&need, err);
}

// Of host memory: what waits to be written, and then what is read of that to be compared.
static uint64_t writing_bytes(const bm_quantize_run_params *p)
{
    return p->budget ? p->budget->writing_bytes : WRITING_BYTES;
}

// Lays the output out and writes the tensors that stay float. They are looked at as they are copied, so that a bad one
// ends the run before the long part of it, and so does a disk that is too small.
static bm_status begin_checkpoint(run_state *run, bm_error *err)
{
    const bm_quantize_run_params *p = run->params;
    bm_status status = BM_OK;
    BM_TRY(bm_emit_writer_create(p->model, p->plan, run->output.partial, &run->emit.writer, err));
    run->result->output_bytes = bm_checkpoint_writer_total_bytes(run->emit.writer);
    BM_TRY(bm_quantize_run_check_disk(p, run->output.partial, err));
    BM_TRY(bm_checkpoint_writer_begin(run->emit.writer, err));
    run->emit.writing_bytes = writing_bytes(p);
    BM_TRY(bm_worker_create(&run->emit.writing, writing_bytes(p), BM_EMIT_THREADS, run->result->timeline,
                            BM_TRACK_WRITING, err));
    BM_TRY(begin_phase(
        run,
        (bm_progress_report){.phase = "copy floats", .total = bm_emit_float_bytes(p->model, p->plan), .unit = "bytes"},
        err));
    BM_TRY(bm_emit_float_tensors(&run->emit, err));
    if (p->arguments->job == BM_JOB_A8W8)
        BM_TRY(bm_scale_files_create(&run->emit.scale_files, run->output.partial, p->model->config.model_type, err));
    end_phase(run, "copy floats");
done:
    return status;
}

static bm_status finish_checkpoint(run_state *run, bm_error *err)
{
    const bm_quantize_run_params *p = run->params;
    bm_status status = BM_OK;
    BM_TRY(begin_phase(run, (bm_progress_report){.phase = "write"}, err));
    BM_TRY(bm_worker_finish(run->emit.writing, err));
    bm_worker_destroy(&run->emit.writing);
    BM_TRY(bm_checkpoint_writer_finish(&run->emit.writer, err));
    if (run->emit.scale_files)
        BM_TRY(bm_scale_files_finish(&run->emit.scale_files, err));
    BM_TRY(bm_emit_config(p->model, p->plan, run->output.partial, err));
    BM_TRY(bm_companions_copy(&run->emit, p->arguments->tokenizer_name_or_path, run->output.partial, err));
    end_phase(run, "write");
done:
    return status;
}

static bm_status compare_logits(run_state *run, bm_error *err)
{
    const bm_quantize_run_params *p = run->params;
    bm_logits_comparison *c = &run->result->logits;
    bm_error words = {0};
    bm_status status = BM_OK;
    if (!bm_verify_logits_fits(&run->emit, p->budget)) {
        const bool runs = bm_block_check_runnable(p->model, &words) == BM_OK;
        bm_log_write(p->log, BM_LOG_INFO, "logits:  not compared: %s",
                     runs ? "the budget has no room for a block of both models" : words.message);
        return BM_OK;
    }
    BM_TRY(begin_phase(run, (bm_progress_report){.phase = "compare logits"}, err));
    status = bm_verify_logits(&run->emit, run->output.partial, c, &words);
    end_phase(run, "compare logits");
    if (status != BM_OK && !bm_verify_logits_is_fault(status)) {
        *c = (bm_logits_comparison){0};
        bm_log_write(p->log, BM_LOG_WARNING, "logits are not compared: %s", words.message);
        return bm_device_discard_reports(p->device, err);
    }
    if (status == BM_OK && c->num_tokens == 0)
        bm_log_write(p->log, BM_LOG_INFO, "logits:  not compared: the input's own are not finite in this arithmetic");
    else if (status == BM_OK)
        bm_log_write(p->log, BM_LOG_INFO,
                     "logits:  behind %s%u %s KL divergence %.4f nats from the input's, %u first choices the same",
                     c->is_of_data ? "the data's first " : "", c->num_tokens,
                     c->is_of_data ? "tokens" : "arbitrary ids", c->kl_divergence, c->num_same);
    if (status == BM_OK && c->kl_divergence > FAR_LOGITS)
        bm_log_write(p->log, BM_LOG_WARNING,
                     "logits are far from the input's: measure the result by bitmill eval --reference before using it");
    status = bm_verification_end(status, &words, err);
done:
    return status;
}

// Reads what was written as a reader will, and compares it with what was to be written.
static bm_status verify(run_state *run, bm_error *err)
{
    bm_status status = BM_OK;
    if (!run->emit.verification)
        return BM_OK;
    BM_TRY(begin_phase(run, bm_verification_report(run->emit.verification), err));
    BM_TRY(
        bm_verification_run(run->emit.verification, run->output.partial, writing_bytes(run->params), &run->phase, err));
    end_phase(run, "verify");
    BM_TRY(compare_logits(run, err));
done:
    return status;
}

// Evaluates what was written, as a reader will see it.
static bm_status evaluate_output(run_state *run, bm_error *err)
{
    bm_model *model = NULL;
    bm_status status = bm_model_open(&model, run->output.partial, err);
    if (status == BM_OK)
        status = evaluate(run, model, true, err);
    bm_model_close(&model);
    return status;
}

static bm_status warm_up(const bm_quantize_run_params *p, const bm_emit_context *emit, bm_error *err)
{
    bm_status status = BM_OK;
    if (bm_plan_watches(p->plan))
        BM_TRY(bm_warm_up_evaluation(p->model, NULL, p->device, bm_calibrate_dtype(p->arguments, p->model, p->device),
                                     p->progress, err));
    for (uint32_t i = 0; i < p->plan->num_linears; i++) {
        const bm_plan_linear *linear = &p->plan->linears[i];
        const bm_method_params params = bm_emit_method_params(p->plan, linear);
        char name[BM_TENSOR_NAME_SIZE];
        bm_linear_tensor_name(p->plan->family, linear->block, linear->linear, ".weight", name);
        if (bm_plan_begins_grid(p->plan, i))
            BM_TRY(bm_warm_up_method(p->model, p->device, p->plan->method, name, &params, p->progress, err));
    }
    if (p->plan->equalizes)
        BM_TRY(bm_equalizer_warm_up(emit, bm_calibrate_dtype(p->arguments, p->model, p->device), p->progress, err));
done:
    return status;
}

bm_status bm_quantize_run_find_kernels(const bm_quantize_run_params *p, const bm_emit_context *emit)
{
    return warm_up(p, emit, NULL);
}

// Where memory is too short for it, kernels are compiled when they are needed.
bm_status bm_quantize_run_warm_up(const bm_quantize_run_params *p, const bm_emit_context *emit, bm_error *err)
{
    bm_error reason = {0};
    const bm_status status = warm_up(p, emit, &reason);
    if (status == BM_E_MEMORY)
        return bm_device_wait(p->device, err);
    return status == BM_OK ? BM_OK : bm_fail(err, status, "%s", reason.message);
}

static void count_waits(run_state *run)
{
    run->result->num_device_waits = bm_device_num_waits(run->params->device) - run->num_waits;
}

static void finish_costs(run_state *run)
{
    bm_quantize_result *out = run->result;
    out->seconds = (double)(out->timeline->clock_ns - out->timeline->start_ns) * 1e-9;
    out->peak_device_bytes = bm_device_peak_bytes(run->params->device);
    out->peak_process_bytes = bm_process_peak_bytes();
}

bm_status bm_quantize_run(const bm_quantize_run_params *params, bm_quantize_result *out, bm_error *err)
{
    const bm_arguments *a = params->arguments;
    bm_status status = BM_OK;
    run_state run = {.params = params, .result = out, .num_waits = bm_device_num_waits(params->device)};
    *out = (bm_quantize_result){.timeline = bm_timeline_create()};
    BM_FAIL_IF(!out->timeline, err, BM_E_MEMORY, "out of memory");
    out->evaluations[BM_RUN_DEV].is_there = a->do_eval;
    out->evaluations[BM_RUN_TEST].is_there = a->do_predict;
    if (!params->plan->method) { // the baseline, or an earlier result: nothing is quantized, nothing written
        status = evaluate(&run, params->model, false, err);
        for (bm_run_set set = BM_RUN_DEV; set < BM_NUM_RUN_SETS; set++)
            out->evaluations[set].after = out->evaluations[set].before;
        end_phase(&run, "evaluate");
        count_waits(&run);
        finish_costs(&run);
        return status;
    }
    BM_TRY(bm_device_discard_reports(params->device, err));
    out->linears = bm_alloc_zero(params->plan->num_linears, sizeof *out->linears);
    BM_FAIL_IF(!out->linears, err, BM_E_MEMORY, "out of memory");
    if (params->plan->equalizes) {
        const uint64_t count = (uint64_t)params->model->config.num_hidden_layers * BM_NUM_STAGES;
        out->stages = bm_alloc_zero(count, sizeof *out->stages);
        BM_FAIL_IF(!out->stages, err, BM_E_MEMORY, "out of memory");
    }
    out->input_bytes = bm_checkpoint_stored_bytes(params->model->checkpoint);
    run.emit = (bm_emit_context){
        .model = params->model, .device = params->device, .plan = params->plan, .arguments = a, .phase = &run.phase};
    if (!params->skips_verification)
        BM_TRY(bm_verification_create(&run.emit.verification, err));
    BM_TRY(bm_memory_check_sums(&run.emit, err));
    if (params->plan->equalizes)
        BM_TRY(bm_equalizer_check_sample(&run.emit, err));
    BM_TRY(bm_output_begin(&run.output, a->output_dir, a->overwrite_output_dir, params->log, err));
    BM_TRY(begin_checkpoint(&run, err));
    if (a->do_eval || a->do_predict) {
        BM_TRY(evaluate(&run, params->model, false, err));
        end_phase(&run, "evaluate before");
    }
    BM_TRY(
        bm_read_ahead_start(&run.reader, params->model->checkpoint,
                            params->budget ? params->budget->reading_bytes : bm_process_memory_bytes() / READING_SHARE,
                            bm_model_decodes_on(params->device), out->timeline, err));
    bm_block_read_ahead(run.reader, params->model, 0);
    BM_TRY(bm_quantize_run_warm_up(params, &run.emit, err));
    end_phase(&run, "compile kernels");
    if (bm_plan_watches(params->plan)) {
        BM_TRY(calibrate(&run, err));
    } else {
        BM_TRY(quantize_linears(&run, err));
        bm_quantize_result_spend(out, "quantize");
    }
    bm_read_ahead_stop(&run.reader);
    BM_TRY(finish_checkpoint(&run, err));
    count_waits(&run); // without those of reading back
    BM_TRY(verify(&run, err));
    if (a->do_eval || a->do_predict) {
        BM_TRY(evaluate_output(&run, err));
        end_phase(&run, "evaluate after");
    }
    finish_costs(&run);
    bm_record_warn(out, params->log);
    BM_TRY(bm_record_write(params, out, run.output.partial, err));
    BM_TRY(bm_phase_step(&run.phase, 0, err)); // the last chance to stop: nothing of the output is seen yet
    status = bm_output_commit(&run.output, err);
done:
    bm_read_ahead_stop(&run.reader);
    bm_worker_destroy(&run.emit.writing);
    bm_checkpoint_writer_destroy(&run.emit.writer);
    bm_scale_files_destroy(&run.emit.scale_files);
    bm_verification_destroy(&run.emit.verification);
    bm_output_abort(&run.output);
    return status;
}

void bm_quantize_result_free(bm_quantize_result *result)
{
    for (uint32_t i = 0; i < result->num_stages; i++)
        bm_stage_record_free(&result->stages[i]);
    bm_free(result->timeline);
    bm_free(result->stages);
    bm_free(result->linears);
    *result = (bm_quantize_result){0};
}
