// Quantization jobs.
#include "schedule/job.h"

#include "base/clock.h"
#include "base/process.h"
#include "base/scratch.h"
#include "base/str.h"
#include "model/block.h"
#include "ops/variants.h"
#include "schedule/check.h"
#include "schedule/equalize.h"
#include "schedule/memory_plan.h"
#include "schedule/output.h"
#include "schedule/record.h"

#include <string.h>

void bm_quantize_params_init(bm_quantize_params *params)
{
    *params = (bm_quantize_params){.size = sizeof *params};
}

static bm_status read_arguments(const bm_quantize_params *p, bm_arguments **out, bm_error *err)
{
    const bm_arguments_options options = {.overrides = p->overrides,
                                          .num_overrides = p->num_overrides,
                                          .device = p->device,
                                          .output = p->arguments_file ? p->output : NULL,
                                          .built = bm_built_values};
    const bm_arguments_short_form form = {p->model, p->method, p->bits, p->data, p->output};
    return p->arguments_file ? bm_arguments_read_file(out, p->arguments_file, &options, err)
                             : bm_arguments_from_short_form(out, &form, &options, err);
}

// The form alone: whether the device is there is seen when it is opened.
static bm_status check_device(const bm_quantize_params *p, const bm_arguments *arguments, bm_error *err)
{
    char shown[64];
    const char *spec = arguments->device;
    if (bm_device_spec_is_valid(spec))
        return BM_OK;
    if (p->device)
        return bm_fail(err, BM_E_ARGUMENT, "--device %s: expected " BM_DEVICE_SPEC_WORDS, spec);
    return bm_arguments_reject(
        arguments, err, "\"device\": \"%s\": expected " BM_DEVICE_SPEC_WORDS "; bitmill devices lists what is here",
        bm_printable(spec, strlen(spec), shown, sizeof shown));
}

static void say_notes(const bm_log *log, const bm_notes *notes)
{
    for (uint32_t i = 0; i < notes->count; i++)
        bm_log_write(log, BM_LOG_INFO, "note: %s", notes->items[i].text);
}

static void say_plan(const bm_log *log, const bm_plan *plan, const bm_arguments *arguments, const bm_model *model)
{
    bm_string words = BM_STRING_INIT;
    bm_plan_describe(plan, arguments, model, &words);
    bm_plan_say_lines(log, &words);
    bm_string_free(&words);
}

static bm_status open_device(const bm_quantize_params *p, const bm_arguments *arguments, bm_device **out, bm_error *err)
{
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = arguments->device;
    params.cache_folder = p->cache_folder;
    params.log = p->log;
    params.variants = p->variants;
    params.profile = p->profile;
    params.memory = p->device_memory;
    bm_status status = bm_device_open(out, &params, err);
    if (status == BM_OK)
        status = bm_variants_resolve(*out, err);
    if (status == BM_OK)
        bm_log_write(p->log, BM_LOG_INFO, "device:  %s, %s (%s)", bm_device_get_info(*out)->spec,
                     bm_device_get_info(*out)->name, bm_device_get_info(*out)->driver);
    return status;
}

// A run's parameters, as far as the job has come.
static bm_quantize_run_params run_params(const bm_quantize_job *job)
{
    return (bm_quantize_run_params){.arguments = job->arguments,
                                    .plan = job->plan,
                                    .model = job->model,
                                    .device = job->device,
                                    .folder = job->folder,
                                    .scratch_bytes = bm_memory_claims_peak(&job->claims, BM_MEMORY_DISK),
                                    .budget = job->plan->method ? &job->budget : NULL};
}

// Of the tensors of one block in the checkpoint, on average: all are alike.
static uint64_t block_bytes(const bm_model *model)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (bm_model_reads(model, info) && bm_emit_is_of_block(model, info->name))
            bytes += info->size_bytes;
    }
    return bm_max_u64(1, bytes / model->config.num_hidden_layers);
}

// That which the command line names: somebody may make files there.
static bm_status try_folder(const char *folder, bm_error *err)
{
    const bm_path_kind kind = bm_path_kind_of(folder);
    bm_scratch *trial = NULL;
    if (kind != BM_PATH_FOLDER)
        return bm_fail(err, BM_E_ARGUMENT, "--cache-dir: \"%s\": %s", folder,
                       kind == BM_PATH_ABSENT ? "no such folder" : "not a folder");
    const bm_status status = bm_scratch_create(&trial, folder, 0, err);
    bm_scratch_close(&trial);
    if (status != BM_OK)
        bm_error_prefix(err, "--cache-dir");
    return status;
}

static bm_status fit(const bm_quantize_params *p, bm_quantize_job *job, const bm_emit_context *emit, bm_error *err)
{
    job->budget = bm_memory_budget_make(job->device, p->device_memory, p->host_memory, block_bytes(job->model));
    if (job->has_kernels)
        bm_memory_budget_spare_compiler(&job->budget);
    return bm_memory_fit(emit, &job->budget, job->file_folder, &job->claims, &job->least, err);
}

// With Hessians in files where nothing else fits, unless that takes more: slices of small ones are no less than all of them.
static bm_status fit_or_spill(const bm_quantize_params *p, bm_quantize_job *job, const bm_emit_context *emit,
                              bm_error *err)
{
    bm_status status = fit(p, job, emit, err);
    const bm_memory_least own = job->least;
    if (status != BM_E_ARGUMENT || !bm_plan_may_spill(job->plan))
        return status;
    job->plan->params.folder = job->file_folder;
    status = fit(p, job, emit, err);
    const bool takes_less =
        p->host_memory ? job->least.process_bytes < own.process_bytes : job->least.device_bytes < own.device_bytes;
    if (status != BM_E_ARGUMENT || takes_less)
        return status;
    job->plan->params.folder = NULL;
    return fit(p, job, emit, err);
}

// A plan that fits but for the compiler's memory: whether it needs none.
static bool finds_kernels(const bm_quantize_params *p, bm_quantize_job *job, bm_emit_context *emit)
{
    bm_quantize_run_params run = run_params(job);
    bm_phase phase = {.progress = p->progress, .report = {.phase = "look for kernels"}, .start_ns = bm_clock_ns()};
    run.progress = p->progress;
    run.log = p->log;
    emit->phase = &phase;
    bm_device_keep_to_cache(job->device, true);
    const bool found = bm_quantize_run_find_kernels(&run, emit) == BM_OK;
    bm_device_keep_to_cache(job->device, false);
    emit->phase = NULL;
    return bm_device_discard_reports(job->device, NULL) == BM_OK && found;
}

// Where the process's budget is too small, without room for a compiler, if nothing has to be compiled.
static bm_status fit_with_kernels(const bm_quantize_params *p, bm_quantize_job *job, bm_emit_context *emit,
                                  bm_error *err)
{
    bm_error ignored = {0};
    bm_status status = fit_or_spill(p, job, emit, err);
    if (status != BM_E_ARGUMENT || !p->host_memory || !p->cache_folder || job->budget.driver_bytes == 0)
        return status;
    job->plan->params.folder = NULL;
    job->has_kernels = true;
    if (fit_or_spill(p, job, emit, &ignored) == BM_OK && finds_kernels(p, job, emit))
        return BM_OK;
    job->plan->params.folder = NULL;
    job->has_kernels = false;
    return fit_or_spill(p, job, emit, err);
}

static bm_status plan_memory(const bm_quantize_params *p, bm_quantize_job *job, bm_error *err)
{
    bm_emit_context emit = {.model = job->model,
                            .device = job->device,
                            .plan = job->plan,
                            .arguments = job->arguments,
                            .skips_verification = p->skips_verification};
    bm_status status = BM_OK;
    job->file_folder =
        p->activation_folder ? bm_string_copy(p->activation_folder) : bm_dry_run_folder(job->arguments->output_dir);
    BM_FAIL_IF(!job->file_folder, err, BM_E_MEMORY, "out of memory");
    job->is_planned = true;
    if (p->host_memory)
        bm_process_return_memory();
    BM_TRY(fit_with_kernels(p, job, &emit, err));
    if (job->plan->params.folder)
        bm_log_write(p->log, BM_LOG_INFO, "memory:  each Hessian lies in a file while its factor takes its place");
    const uint64_t process = bm_memory_claims_process(&job->claims, &job->budget);
    if (process > job->budget.host_bytes) // that nobody gave
        bm_log_write(p->log, BM_LOG_WARNING,
                     "memory: the plan takes up to %.1f MB of the process, where the system has %.1f MB",
                     (double)process / 1e6, (double)job->budget.host_bytes / 1e6);
    BM_TRY(bm_memory_check_sums(&emit, err));
    if (job->plan->equalizes)
        BM_TRY(bm_equalizer_check_sample(&emit, err));
done:
    return status;
}

bm_status bm_quantize_job_plan(const bm_quantize_params *p, bm_quantize_job *job, bm_error *err)
{
    bm_status status = BM_OK;
    *job = (bm_quantize_job){.folder = p->activation_folder};
    if (job->folder)
        BM_TRY(try_folder(job->folder, err));
    BM_TRY(read_arguments(p, &job->arguments, err));
    const bm_arguments *arguments = job->arguments;
    BM_TRY(check_device(p, arguments, err));
    BM_TRY(bm_check_built(arguments, err));
    BM_TRY(bm_check_paths(arguments, err));
    BM_TRY(bm_model_open(&job->model, bm_arguments_model(arguments), err));
    if (arguments->do_eval || arguments->do_predict)
        BM_TRY(bm_block_check_runnable(job->model, err));
    BM_TRY(bm_plan_create(arguments, job->model, &job->plan, err));
    BM_TRY(bm_plan_load_data(job->plan, arguments, job->model, p->log, err));
    say_notes(p->log, &arguments->notes); // behind what refuses: an error is the one line
    if (job->plan->method)
        say_plan(p->log, job->plan, arguments, job->model);
    say_notes(p->log, &job->plan->notes);
    BM_TRY(open_device(p, arguments, &job->device, err));
    if (job->plan->method)
        BM_TRY(plan_memory(p, job, err));
done:
    return status;
}

bm_status bm_quantize_job_run(const bm_quantize_params *p, bm_quantize_job *job, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(bm_quantize_job_plan(p, job, err));
    bm_quantize_run_params run = run_params(job);
    run.progress = p->progress;
    run.log = p->log;
    run.skips_verification = p->skips_verification;
    BM_TRY(bm_quantize_run(&run, &job->result, err));
done:
    return status;
}

bm_status bm_quantize_job_dry_run(const bm_quantize_params *p, bm_quantize_job *job, bm_dry_run *out, bm_error *err)
{
    bm_quantize_run_params run = run_params(job);
    run.progress = p->progress;
    run.log = p->log;
    run.skips_verification = p->skips_verification;
    if (!job->plan->method)
        return bm_arguments_reject(job->arguments, err, "--dry-run: the file quantizes nothing, it only evaluates");
    const bm_status status = bm_dry_run_make(&run, &job->claims, out, err);
    out->least = job->least;
    return status;
}

bm_dry_run bm_quantize_job_refused(const bm_quantize_job *job, const bm_error *why)
{
    return (bm_dry_run){.least = job->least, .refusal = why->message};
}

void bm_quantize_job_describe_dry_run(const bm_quantize_job *job, const bm_dry_run *dry, bm_string *out)
{
    const bm_quantize_run_params run = run_params(job);
    bm_dry_run_describe(dry, &run, &job->claims, out);
}

void bm_quantize_job_put_dry_run(const bm_quantize_job *job, const bm_dry_run *dry, bm_json_writer *json)
{
    const bm_quantize_run_params run = run_params(job);
    bm_dry_run_put(dry, &run, &job->claims, json);
}

void bm_quantize_job_free(bm_quantize_job *job)
{
    bm_quantize_result_free(&job->result);
    bm_free(job->file_folder);
    bm_device_close(&job->device);
    bm_plan_destroy(&job->plan);
    bm_model_close(&job->model);
    bm_arguments_destroy(&job->arguments);
}

void bm_quantize_job_put_result(const bm_quantize_job *job, bm_json_writer *json)
{
    const bm_quantize_run_params run = run_params(job);
    bm_record_put_result(json, &run, &job->result);
}

bm_status bm_quantize_model(const bm_quantize_params *params, bm_quantize_summary *out, bm_error *err)
{
    bm_quantize_job job;
    const bm_status status = bm_quantize_job_run(params, &job, err);
    if (status == BM_OK) {
        const bm_quantize_result *r = &job.result;
        const bm_run_evaluation *dev = &r->evaluations[BM_RUN_DEV], *test = &r->evaluations[BM_RUN_TEST];
        *out = (bm_quantize_summary){.seconds = r->seconds,
                                     .input_bytes = r->input_bytes,
                                     .output_bytes = r->output_bytes,
                                     .num_linears = r->num_linears,
                                     .has_evaluation = dev->is_there,
                                     .perplexity_before = dev->before.perplexity,
                                     .perplexity_after = dev->after.perplexity,
                                     .has_prediction = test->is_there,
                                     .test_perplexity_before = test->before.perplexity,
                                     .test_perplexity_after = test->after.perplexity};
        for (uint32_t i = 0; i < r->num_linears; i++)
            if (r->linears[i].nmse > out->largest_nmse)
                out->largest_nmse = r->linears[i].nmse;
    }
    bm_quantize_job_free(&job);
    return status;
}
