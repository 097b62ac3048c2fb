// Running a conversion: a linear at a time, some rows of it at a time.
#include "schedule/convert_run.h"

#include "base/clock.h"
#include "base/str.h"
#include "schedule/companions.h"
#include "schedule/convert_compare.h"
#include "schedule/convert_plan.h"
#include "schedule/gguf.h"
#include "schedule/disk.h"
#include "schedule/output.h"
#include "schedule/record_parts.h"

#include <bitmill/bitmill.h>
#include <string.h>

#define WRITING_BYTES (UINT64_C(128) << 20) // of host memory that waits to be written
#define NUMBER_BYTES UINT64_C(14)           // of a scale file, about

typedef struct conversion {
    const bm_convert_params *params;
    bm_quantize_result *result;
    bm_store_config codes; // the source's
    bm_plan *plan;
    bm_output output;
    bm_emit_context emit;
    bm_phase phase;
} conversion;

static bm_status begin_phase(conversion *c, bm_progress_report report, bm_error *err)
{
    c->phase = (bm_phase){.progress = c->params->progress, .report = report, .start_ns = bm_clock_ns()};
    return bm_phase_step(&c->phase, 0, err);
}

static void end_phase(conversion *c, const char *name)
{
    bm_quantize_result_spend(c->result, name);
}

static void say_plan(const conversion *c)
{
    const bm_model *model = c->params->model;
    const bm_plan_linear *first = bm_plan_first(c->plan);
    bm_string words = BM_STRING_INIT;
    char shown[512];
    (void)bm_string_append_format(&words, "model:   %s, %s, %u block%s\n",
                                  bm_printable(model->folder, strlen(model->folder), shown, sizeof shown),
                                  model->config.model_type, model->config.num_hidden_layers,
                                  bm_plural(model->config.num_hidden_layers));
    (void)bm_string_append_format(&words, "codes:   from %s, %u bits, ", c->codes.format->name, first->grid.bits);
    if (first->per_channel)
        (void)bm_string_append(&words, "one scale a channel");
    else
        (void)bm_string_append_format(&words, "groups of %u", first->grid.group_size);
    (void)bm_string_append_format(
        &words, ", %s%s; %u of %u linears\n", first->grid.symmetric ? "symmetric" : "asymmetric",
        c->plan->params.act_order == BM_COLUMN_ORDER_DYNAMIC ? ", columns name their groups" : "",
        c->plan->num_quantized, c->plan->num_linears);
    bm_plan_describe_output(c->plan, c->params->output, model, &words);
    bm_plan_say_lines(c->params->log, &words);
    bm_string_free(&words);
    for (uint32_t i = 0; i < c->plan->notes.count; i++)
        bm_log_write(c->params->log, BM_LOG_INFO, "note: %s", c->plan->notes.items[i].text);
}

static bm_status make_plan(conversion *c, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(begin_phase(c,
                       (bm_progress_report){.phase = "look at scales",
                                            .total = bm_convert_plan_linears(c->params->model),
                                            .unit = "linears"},
                       err));
    BM_TRY(bm_convert_plan_create(c->params->model, c->params->form, &c->phase, &c->plan, err));
    end_phase(c, "look at scales");
    say_plan(c);
done:
    return status;
}

// Scale files go along where inputs are quantized, as a run of quantize writes them.
static uint64_t scale_file_bytes(const conversion *c)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->plan->num_linears && c->plan->input != BM_INPUT_FLOAT; i++) {
        const bm_plan_linear *p = &c->plan->linears[i];
        bytes += p->quantized ? NUMBER_BYTES * p->out_features * (p->in_features / p->grid.group_size) : 0;
    }
    return bytes;
}

static bm_status begin_checkpoint(conversion *c, bm_error *err)
{
    const bm_model *model = c->params->model;
    bm_status status = BM_OK;
    BM_TRY(bm_emit_writer_create(model, c->plan, c->output.partial, &c->emit.writer, err));
    c->result->output_bytes = bm_checkpoint_writer_total_bytes(c->emit.writer);
    const bm_disk_need need = {.output = c->params->output,
                               .output_folder = c->output.partial,
                               .result_bytes =
                                   c->result->output_bytes + c->plan->companion_bytes + scale_file_bytes(c)};
    BM_TRY(bm_disk_check(&need, err));
    BM_TRY(bm_checkpoint_writer_begin(c->emit.writer, err));
    BM_TRY(
        bm_worker_create(&c->emit.writing, WRITING_BYTES, BM_EMIT_THREADS, c->result->timeline, BM_TRACK_WRITING, err));
    if (c->plan->input != BM_INPUT_FLOAT)
        BM_TRY(bm_scale_files_create(&c->emit.scale_files, c->output.partial, model->config.model_type, err));
    BM_TRY(begin_phase(
        c, (bm_progress_report){.phase = "copy floats", .total = bm_emit_float_bytes(model, c->plan), .unit = "bytes"},
        err));
    BM_TRY(bm_emit_float_tensors(&c->emit, err));
    end_phase(c, "copy floats");
done:
    return status;
}

// From the source's format to the canonical form, and from there to the one of the output.
static bm_status convert_rows(conversion *c, const bm_store_linear *from, const bm_store_linear *to, uint64_t first,
                              uint64_t count, float *steps, bm_error *err)
{
    const bm_model *model = c->params->model;
    bm_status status = BM_OK;
    bm_codes codes = {0};
    bm_store_rows rows = {0};
    BM_TRY(bm_store_read_codes(&c->codes, model->checkpoint, from, c->params->device, first, count, &codes, err));
    BM_TRY(bm_store_fetch(c->plan->format, c->params->device, to, first, &codes, &rows, err));
    if (steps)
        memcpy(steps + first * rows.groups, rows.steps, count * rows.groups * sizeof *steps);
    BM_TRY(bm_emit_put_rows(&c->emit, to, first, &rows, err));
done:
    bm_store_rows_free(&rows);
    bm_codes_destroy(&codes);
    return status;
}

static bm_status convert_linear(conversion *c, const bm_plan_linear *p, bm_error *err)
{
    const bm_model *model = c->params->model;
    const uint64_t at_once = bm_round_up(bm_model_rows_per_read(p->in_features, BM_DTYPE_F32), BM_STORE_ROWS);
    char module[BM_TENSOR_NAME_SIZE];
    const bm_store_linear to = bm_emit_store_linear(c->plan, p, module);
    bm_store_linear from;
    bm_input_grid input = {0};
    bm_emit_member member = {.linear = p};
    bm_status status = BM_OK;
    bm_store_match(&c->codes, model->checkpoint, module, p->out_features, p->in_features, &from);
    BM_TRY(bm_emit_member_keep_steps(&c->emit, &member, err));
    for (uint64_t first = 0; first < p->out_features; first += at_once) {
        BM_TRY(convert_rows(c, &from, &to, first, bm_min_u64(at_once, p->out_features - first), member.steps, err));
        BM_TRY(bm_phase_step(&c->phase, 0, err));
    }
    BM_TRY(bm_store_read_input(&c->codes, model->checkpoint, &from, &input, err));
    BM_TRY(bm_emit_tell_scales(&c->emit, &member, &input, err));
done:
    bm_free(member.steps);
    return status;
}

static bm_status convert_linears(conversion *c, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(begin_phase(c,
                       (bm_progress_report){.phase = "convert",
                                            .total = bm_plan_num_modules(c->plan),
                                            .unit = "linears",
                                            .num_blocks = c->params->model->config.num_hidden_layers},
                       err));
    for (uint32_t i = 0; i < bm_plan_num_modules(c->plan); i++) {
        c->phase.report.block = c->plan->linears[i].block;
        if (c->plan->linears[i].quantized)
            BM_TRY(convert_linear(c, &c->plan->linears[i], err));
        BM_TRY(bm_phase_step(&c->phase, 1, err));
    }
    end_phase(c, "convert");
done:
    return status;
}

static bm_status finish_checkpoint(conversion *c, bm_error *err)
{
    const bm_model *model = c->params->model;
    bm_status status = BM_OK;
    BM_TRY(begin_phase(c, (bm_progress_report){.phase = "write"}, err));
    BM_TRY(bm_worker_finish(c->emit.writing, err));
    bm_worker_destroy(&c->emit.writing);
    BM_TRY(bm_checkpoint_writer_finish(&c->emit.writer, err));
    if (c->emit.scale_files)
        BM_TRY(bm_scale_files_finish(&c->emit.scale_files, err));
    BM_TRY(bm_emit_config(model, c->plan, c->output.partial, err));
    BM_TRY(bm_companions_copy(&c->emit, model->folder, c->output.partial, err));
    end_phase(c, "write");
done:
    return status;
}

static bm_status verify(conversion *c, bm_error *err)
{
    bm_status status = BM_OK;
    if (!c->emit.verification)
        return BM_OK;
    BM_TRY(begin_phase(c, bm_verification_report(c->emit.verification), err));
    BM_TRY(bm_verification_run(c->emit.verification, c->output.partial, WRITING_BYTES, &c->phase, err));
    if (bm_plan_writes_gguf(c->plan)) {
        BM_TRY(begin_phase(
            c, (bm_progress_report){.phase = "compare codes", .total = bm_plan_num_modules(c->plan), .unit = "linears"},
            err));
        BM_TRY(bm_convert_compare(c->plan, &c->codes, c->params->model, c->output.partial, &c->phase, err));
    }
    end_phase(c, "verify");
done:
    return status;
}

static bm_status write_record(const conversion *c, bm_error *err)
{
    static const char *const files[] = {"bitmill.json", NULL};
    char now[21];
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_clock_utc_text(now);
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_put_string(&json, "bitmill_version", bm_version());
    bm_json_put_string(&json, "finished", now);
    bm_json_begin_object(&json, "converted");
    bm_json_put_string(&json, "model", c->params->model->folder);
    bm_json_put_string(&json, "from", c->codes.format->name);
    bm_json_put_string(&json, "to", c->params->form);
    bm_json_put_integer(&json, "linears", c->result->num_linears);
    bm_json_put_bool(&json, "verified", c->emit.verification != NULL);
    bm_json_end_object(&json);
    bm_json_put_string(&json, "output", c->params->output);
    bm_record_put_costs(&json, c->result);
    bm_status status = bm_record_put_files(&json, c->output.partial, files, err);
    bm_json_end_object(&json);
    (void)bm_string_append(&text, "\n");
    if (status == BM_OK)
        status = bm_record_write_file(c->output.partial, "bitmill.json", &text, err);
    bm_string_free(&text);
    return status;
}

bm_status bm_convert_check(const bm_convert_params *params, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_store_format *format;
    uint32_t version;
    BM_TRY(bm_convert_find_form(params->form, &format, &version, err));
    BM_FAIL_IF(params->output[0] && bm_path_kind_of(params->output) != BM_PATH_ABSENT, err, BM_E_ARGUMENT,
               "%s: exists; choose another with --output DIR", params->output);
    BM_TRY(bm_output_check(params->output, false, err));
    BM_TRY(bm_output_check_apart(params->output, params->model->folder, err));
    BM_FAIL_IF(!bm_convert_source(params->model).format, err, BM_E_ARGUMENT,
               "%s: is not quantized: there are no codes to convert; bitmill quantize makes them",
               params->model->folder);
done:
    return status;
}

bm_status bm_convert_run(const bm_convert_params *params, bm_quantize_result *out, bm_error *err)
{
    bm_status status = BM_OK;
    conversion c = {.params = params, .result = out, .codes = bm_convert_source(params->model)};
    *out = (bm_quantize_result){.timeline = bm_timeline_create()};
    BM_FAIL_IF(!out->timeline, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_convert_check(params, err));
    BM_TRY(bm_device_discard_reports(params->device, err));
    BM_TRY(make_plan(&c, err));
    out->num_linears = c.plan->num_quantized + c.plan->has_head;
    out->input_bytes = bm_checkpoint_stored_bytes(params->model->checkpoint);
    c.emit = (bm_emit_context){.model = params->model, .device = params->device, .plan = c.plan, .phase = &c.phase};
    if (!params->skips_verification)
        BM_TRY(bm_verification_create(&c.emit.verification, err));
    BM_TRY(bm_output_begin(&c.output, params->output, false, params->log, err));
    BM_TRY(begin_checkpoint(&c, err));
    BM_TRY(convert_linears(&c, err));
    BM_TRY(finish_checkpoint(&c, err));
    BM_TRY(verify(&c, err));
    out->seconds = (double)(out->timeline->clock_ns - out->timeline->start_ns) * 1e-9;
    out->peak_device_bytes = bm_device_peak_bytes(params->device);
    BM_TRY(write_record(&c, err));
    BM_TRY(bm_phase_step(&c.phase, 0, err)); // the last chance to stop
    status = bm_output_commit(&c.output, err);
done:
    bm_worker_destroy(&c.emit.writing);
    bm_checkpoint_writer_destroy(&c.emit.writer);
    bm_scale_files_destroy(&c.emit.scale_files);
    bm_verification_destroy(&c.emit.verification);
    bm_output_abort(&c.output);
    bm_plan_destroy(&c.plan);
    return status;
}
