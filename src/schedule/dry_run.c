// Estimates of time: the first block is run and scaled, or, where that is long, operations are counted.
#include "schedule/dry_run.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/scratch.h"
#include "base/thread.h"
#include "ops/hessian.h"
#include "ops/settle.h"
#include "quant/gptq_rows.h"
#include "schedule/calibration_trial.h"
#include "schedule/emit.h"
#include "schedule/output.h"
#include "schedule/rounding_trial.h"
#include "schedule/verification_trial.h"

#include <stdio.h>
#include <string.h>

#define LONGEST_TRIAL 20.0           // seconds: what a longer one would measure is estimated
#define WRITTEN_BYTES_PER_SECOND 1e9 // of a disk of today; slower ones are hidden by memory for a while
#define SEARCH_OPERATIONS 1000.0     // of a weight, about: a hundred candidates for its scale
#define FACTOR_OPERATIONS (7.0 / 6)  // of a channel cubed: products of halves, whole where triangles would do

char *bm_dry_run_folder(const char *output)
{
    char *path = bm_string_copy(output);
    for (size_t length = path ? strlen(path) : 0; path && bm_path_kind_of(path) != BM_PATH_FOLDER;) {
        while (length > 0 && !bm_path_is_separator(path[length - 1]))
            length--;
        while (length > 1 && bm_path_is_separator(path[length - 1]))
            length--;
        path[length] = '\0';
        if (length <= 1)
            break;
    }
    if (path && path[0])
        return path;
    bm_free(path);
    return bm_string_copy(".");
}

static void add_seconds(bm_dry_run *d, const char *name, double seconds)
{
    if (d->num_phases == BM_MAX_PHASES || seconds <= 0)
        return;
    bm_phase_record *phase = &d->phases[d->num_phases++];
    *phase = (bm_phase_record){.seconds = seconds};
    snprintf(phase->name, sizeof phase->name, "%s", name);
    d->seconds += seconds;
}

// Operations of the block that is tried, in all passes: the part that grows with tokens, of running and of watching, and the part that does not.
typedef struct operations {
    double running, watching, factors, solving;
} operations;

static operations count_operations(const bm_quantize_run_params *p, const bm_memory_claims *c, uint64_t tokens)
{
    const bm_plan *plan = p->plan;
    const bool watches = bm_plan_method_watches(plan), is_gptq = p->arguments->job == BM_JOB_GPTQ;
    const bool searches = plan->params.scale_search != BM_SEARCH_ABS_MAX;
    const double factors = plan->params.qep_alpha > 0 && plan->params.damp_percent > 0 ? 2 : 1;
    operations o = {0};
    bool counted[BM_NUM_STAGES] = {false};
    uint32_t num_blocks;
    const uint32_t block = bm_calibration_trial_block(plan, &num_blocks);
    for (uint32_t i = 0; i < plan->linears_per_block; i++) {
        const bm_plan_linear *l = &plan->linears[block * plan->linears_per_block + i];
        const double square = (double)l->in_features * l->in_features;
        const bm_stage stage = bm_linear_stage(l->linear);
        o.running += c->num_lanes * bm_gemm_operations(tokens, l->out_features, l->in_features);
        if (!l->quantized)
            continue;
        const bm_method_params params = bm_plan_method_params(plan, l);
        o.solving += (searches ? SEARCH_OPERATIONS : 0) * (double)l->out_features * l->in_features +
                     (is_gptq   ? bm_gptq_rows_operations(l->out_features, l->in_features, &params)
                      : watches ? 2 * (double)l->out_features * square
                                : 0) +
                     (plan->equalizes ? 80 * (double)l->out_features * square : 0);
        if (watches && !counted[stage]) {
            o.watching += bm_hessian_operations(tokens, l->in_features, false) * (c->num_lanes > 1 ? 3 : 1);
            o.factors += is_gptq ? factors * FACTOR_OPERATIONS * square * l->in_features : 0;
        }
        counted[stage] = true;
    }
    return o;
}

// Tensors that stay float, and where linears are rounded without inputs, those too.
static bm_status measure_rounding(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_dry_run *d,
                                  double *pace, bm_error *err)
{
    bm_rounding_costs costs = {.num_kinds = 0};
    char *folder = bm_dry_run_folder(p->arguments->output_dir);
    const bm_trial_params params = {p, folder, c->watches};
    bm_status status = BM_OK;
    BM_FAIL_IF(!folder, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_rounding_trial(&params, &costs, err));
    add_seconds(d, "copy floats", bm_lanes_seconds(&costs.floats, 0, bm_processor_count()));
    if (c->watches)
        goto done;
    add_seconds(d, "quantize", costs.loading + bm_lanes_seconds(&costs.linears, costs.pace, bm_processor_count()));
    snprintf(d->how, sizeof d->how, "measured: pieces of %u linears, of %u kind%s, were rounded", costs.num_samples,
             costs.num_kinds, bm_plural(costs.num_kinds));
    *pace = costs.pace;
    if (costs.pace > 0)
        d->processor_seconds = costs.floats.busy + costs.linears.busy;
    d->is_measured = true;
done:
    bm_free(folder);
    return status;
}

static bm_status measure_verification(const bm_quantize_run_params *p, double pace, bm_dry_run *d, bm_error *err)
{
    bm_status status = BM_OK;
    bm_lanes logits = {0};
    double seconds = 0;
    BM_TRY(bm_verification_trial(p, &seconds, err));
    add_seconds(d, "verify", seconds);
    BM_TRY(bm_logits_trial(p, &logits, &seconds, err));
    add_seconds(d, "compare logits", seconds + bm_lanes_seconds(&logits, pace, bm_processor_count()));
    if (pace > 0) {
        const size_t length = strlen(d->how);
        d->processor_seconds += logits.busy;
        snprintf(d->how + length, sizeof d->how - length, "; %.2g s of processors, of which %.2g pass in a second now",
                 d->processor_seconds, pace);
    }
done:
    return status;
}

static bm_status measure_calibration(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_emit_context *emit,
                                     bm_dry_run *d, bm_error *err)
{
    bm_calibration_costs costs = {.num_phases = 0};
    bm_status status = bm_calibration_trial(p, c, emit, &costs, err);
    for (uint32_t i = 0; i < costs.num_phases; i++)
        add_seconds(d, costs.phases[i].name, costs.phases[i].seconds);
    uint32_t num_quantized;
    snprintf(d->how, sizeof d->how, "measured: block %u of %u ran, on %llu tokens of %llu",
             bm_calibration_trial_block(p->plan, &num_quantized) + 1, p->model->config.num_hidden_layers,
             (unsigned long long)costs.num_tokens, (unsigned long long)c->num_tokens);
    d->is_measured = status == BM_OK;
    return status;
}

static void estimate(const bm_quantize_run_params *p, const bm_memory_claims *c, const operations *o, double rate,
                     bm_dry_run *d)
{
    uint32_t num_quantized;
    (void)bm_calibration_trial_block(p->plan, &num_quantized);
    add_seconds(d, "run blocks", p->model->config.num_hidden_layers * o->running / rate);
    add_seconds(d, "watch inputs", num_quantized * o->watching / rate);
    add_seconds(d, "factor", num_quantized * o->factors / rate);
    add_seconds(d, c->watches ? "solve" : "quantize", num_quantized * o->solving / rate);
    snprintf(d->how, sizeof d->how,
             "not measured, as one block would take too long: by %.0f GFLOP/s, as a product on the device has",
             rate / 1e9);
}

bm_status bm_dry_run_settle(const bm_quantize_run_params *p, bm_phase *phase, double *rate, bm_error *err)
{
    bm_device_keep_to_cache(p->device, p->budget && p->budget->has_kernels);
    const bm_status status = bm_settle(p->device, phase, rate, err);
    bm_device_keep_to_cache(p->device, false);
    return status;
}

static bm_status check_disk(const bm_quantize_run_params *p, bm_dry_run *d, bm_error *err)
{
    char *folder = bm_dry_run_folder(p->arguments->output_dir);
    d->disk_bytes = bm_quantize_run_output_bytes(p) + BM_OUTPUT_WORDS_BYTES;
    d->knows_disk = folder && bm_folder_free_bytes(folder, &d->free_bytes);
    bm_scratch *trial = NULL;
    bm_status status = folder ? bm_scratch_create(&trial, folder, 0, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_scratch_close(&trial);
    if (status != BM_OK)
        bm_error_prefix(err, "output folder \"%s\"", p->arguments->output_dir);
    else
        status = bm_quantize_run_check_disk(p, folder, err);
    bm_free(folder);
    return status;
}

bm_status bm_dry_run_make(const bm_quantize_run_params *p, const bm_memory_claims *c, bm_dry_run *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_dry_run d = {.num_phases = 0};
    double pace = 0;
    bm_phase phase = {.progress = p->progress,
                      .report = {.phase = "measure", .unit = "tokens x passes", .num_blocks = 1},
                      .start_ns = bm_clock_ns()};
    bm_emit_context emit = {
        .model = p->model, .device = p->device, .plan = p->plan, .arguments = p->arguments, .phase = &phase};
    BM_TRY(check_disk(p, &d, err));
    const operations all = count_operations(p, c, c->num_tokens),
                     part = count_operations(p, c, bm_min_u64(c->num_tokens, bm_calibration_trial_tokens(p)));
    const double rate = bm_gemm_choose(p->device).gflops * 1e9;
    const bool is_short =
        !c->watches || (part.running + part.watching + part.factors + part.solving) / rate < LONGEST_TRIAL;
    if (is_short) {
        const uint64_t begin = bm_clock_ns(), compiled = bm_device_compiled_kernels(p->device);
        BM_TRY(bm_quantize_run_warm_up(p, &emit, err));
        if (!bm_device_keeps_kernels(p->device) || bm_device_compiled_kernels(p->device) == compiled)
            add_seconds(&d, "compile kernels", bm_clock_seconds_since(begin));
    }
    BM_TRY(measure_rounding(p, c, &d, &pace, err));
    if (c->watches && is_short) {
        BM_TRY(measure_calibration(p, c, &emit, &d, err));
    } else if (c->watches) {
        double measured = rate;
        BM_TRY(bm_dry_run_settle(p, &phase, &measured, err));
        estimate(p, c, &all, measured, &d);
    }
    add_seconds(&d, "write", bm_lanes_rest((double)d.disk_bytes / WRITTEN_BYTES_PER_SECOND, d.seconds));
    BM_TRY(measure_verification(p, pace, &d, err));
    *out = d;
done:
    return status;
}
