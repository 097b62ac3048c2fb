// Quantization jobs.
#include "schedule/job.h"

#include "base/str.h"
#include "model/block.h"
#include "ops/variants.h"
#include "schedule/output.h"
#include "schedule/record.h"

#include <string.h>

void bm_quantize_params_init(bm_quantize_params *params)
{
    *params = (bm_quantize_params){.size = sizeof *params};
}

static bm_status read_arguments(const bm_quantize_params *p, bm_arguments **out, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t count = p->num_overrides;
    char *output = NULL, *device = NULL;
    const char **overrides = bm_alloc((uint64_t)count + 2, sizeof *overrides);
    BM_FAIL_IF(!overrides, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(p->device && !bm_device_spec_is_valid(p->device), err, BM_E_ARGUMENT,
               "device \"%s\": expected " BM_DEVICE_SPEC_WORDS, p->device);
    for (uint32_t i = 0; i < count; i++)
        overrides[i] = p->overrides[i];
    if (p->arguments_file && p->output) {
        output = bm_format("output_dir=%s", p->output);
        BM_FAIL_IF(!output, err, BM_E_MEMORY, "out of memory");
        overrides[count++] = output;
    }
    if (p->device)
        overrides[count++] = "device=auto"; // what the file says is replaced, so nothing need be said about it
    if (p->arguments_file) {
        BM_TRY(bm_arguments_read_file(out, p->arguments_file, overrides, count, err));
    } else {
        const bm_arguments_short_form form = {p->model, p->method ? p->method : "rtn", p->bits, p->data, p->output};
        BM_TRY(bm_arguments_from_short_form(out, &form, overrides, count, err));
    }
    if (p->device) {
        device = bm_string_copy(p->device);
        BM_FAIL_IF(!device, err, BM_E_MEMORY, "out of memory");
        bm_free((*out)->device);
        (*out)->device = device;
    }
done:
    bm_free(output);
    bm_free(overrides);
    return status;
}

// Notes from number first on; each is said once. Returns the number of the next.
static uint32_t say_notes(const bm_log *log, const bm_arguments *arguments, uint32_t first)
{
    for (; first < arguments->num_notes; first++)
        bm_log_write(log, BM_LOG_INFO, "note: %s", arguments->notes[first].text);
    return first;
}

// One log line a line of the plan.
static void say_plan(const bm_log *log, const bm_plan *plan, const bm_arguments *arguments, const bm_model *model)
{
    bm_string words = BM_STRING_INIT;
    bm_plan_describe(plan, arguments, model, &words);
    for (char *line = words.data; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        bm_log_write(log, BM_LOG_INFO, "%s", line);
        line = end ? end + 1 : NULL;
    }
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
    bm_status status = bm_device_open(out, &params, err);
    if (status == BM_OK)
        status = bm_variants_settle(*out, err);
    if (status == BM_OK)
        bm_log_write(p->log, BM_LOG_INFO, "device:  %s, %s (%s)", bm_device_get_info(*out)->spec,
                     bm_device_get_info(*out)->name, bm_device_get_info(*out)->driver);
    return status;
}

bm_status bm_quantize_job_run(const bm_quantize_params *p, bm_quantize_job *job, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t said = 0;
    *job = (bm_quantize_job){0};
    BM_TRY(read_arguments(p, &job->arguments, err));
    said = say_notes(p->log, job->arguments, said);
    BM_TRY(bm_arguments_check_built(job->arguments, err));
    BM_TRY(bm_arguments_check_paths(job->arguments, err));
    BM_TRY(bm_model_open(&job->model, job->arguments->model_name_or_path, err));
    if (job->arguments->do_eval || job->arguments->do_predict)
        BM_TRY(bm_block_check_runnable(job->model, err));
    BM_TRY(bm_arguments_fit_context(job->arguments, job->model->config.max_position_embeddings, err));
    if (job->arguments->job != BM_JOB_EVALUATE) {
        BM_TRY(bm_output_check_apart(job->arguments->output_dir, job->arguments->model_name_or_path, err));
        BM_TRY(bm_plan_create(job->arguments, job->model, &job->plan, err));
        say_plan(p->log, job->plan, job->arguments, job->model);
    }
    say_notes(p->log, job->arguments, said);
    BM_TRY(open_device(p, job->arguments, &job->device, err));
    const bm_quantize_run_params run = {.arguments = job->arguments,
                                        .plan = job->plan,
                                        .model = job->model,
                                        .device = job->device,
                                        .progress = p->progress,
                                        .log = p->log};
    BM_TRY(bm_quantize_run(&run, &job->result, err));
done:
    return status;
}

void bm_quantize_job_free(bm_quantize_job *job)
{
    bm_quantize_result_free(&job->result);
    bm_device_close(&job->device);
    bm_plan_destroy(&job->plan);
    bm_model_close(&job->model);
    bm_arguments_destroy(&job->arguments);
}

void bm_quantize_job_put_result(const bm_quantize_job *job, bm_json_writer *json)
{
    const bm_quantize_run_params run = {
        .arguments = job->arguments, .plan = job->plan, .model = job->model, .device = job->device};
    bm_record_put_result(json, &run, &job->result);
}

bm_status bm_quantize_model(const bm_quantize_params *params, bm_quantize_summary *out, bm_error *err)
{
    bm_quantize_job job;
    const bm_status status = bm_quantize_job_run(params, &job, err);
    if (status == BM_OK) {
        const bm_quantize_result *r = &job.result;
        *out = (bm_quantize_summary){.seconds = r->seconds,
                                     .input_bytes = r->input_bytes,
                                     .output_bytes = r->output_bytes,
                                     .num_linears = r->num_linears,
                                     .has_evaluation = r->has_evaluation,
                                     .perplexity_before = r->before.perplexity,
                                     .perplexity_after = r->after.perplexity};
        for (uint32_t i = 0; i < r->num_linears; i++)
            if (r->linears[i].nmse > out->largest_nmse)
                out->largest_nmse = r->linears[i].nmse;
    }
    bm_quantize_job_free(&job);
    return status;
}
