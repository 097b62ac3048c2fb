// bitmill.json.
#include "schedule/record.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "ops/variants.h"
#include "report/report.h"
#include "schedule/output.h"
#include "schedule/record_parts.h"

#include <bitmill/bitmill.h>
#include <stdio.h>
#include <string.h>

static void put_evaluation(bm_json_writer *json, const char *key, const bm_evaluation *e)
{
    bm_json_begin_object(json, key);
    bm_json_put_double(json, "perplexity", e->perplexity);
    bm_json_put_double(json, "loss", e->loss);
    bm_json_put_double(json, "accuracy", e->accuracy);
    bm_json_put_integer(json, "tokens", (int64_t)e->tokens);
    bm_json_put_double(json, "mean_sequence_loss", e->sequence_loss);
    bm_json_end_object(json);
}

// Whether its error is worth a look beside that of rounding: it was not meant to be rounded.
static bool beside_rounding(const bm_linear_record *linear)
{
    return linear->has_output_error && (linear->group.damping > 0 || linear->group.fell_back);
}

// What a method that watched inputs met. What it does not have is left out.
static void put_calibration(bm_json_writer *json, const bm_linear_record *linear)
{
    const bm_group_record *group = &linear->group;
    if (linear->has_output_error)
        bm_json_put_double(json, "output_error", linear->output_error);
    if (beside_rounding(linear))
        bm_json_put_double(json, "output_error_rounding", linear->output_error_rounding);
    if (group->tokens > 0) {
        bm_json_put_integer(json, "tokens", (int64_t)group->tokens);
        bm_json_put_double(json, "tokens_per_channel", (double)group->tokens / linear->in_features);
    }
    if (group->damping > 0 || group->fell_back)
        bm_json_put_bool(json, "fell_back", group->fell_back);
    if (group->fell_back) {
        bm_json_put_string(json, "reason", group->reason);
    } else if (group->damping > 0) {
        bm_json_put_double(json, "damping", group->damping);
        bm_json_put_integer(json, "damping_raised", group->num_raised);
        bm_json_put_integer(json, "dead_channels", group->num_dead);
        bm_json_put_bool(json, "factored_on_host", group->by_host);
        bm_json_put_integer(json, "guarded_rows", (int64_t)linear->guarded_rows);
    } else if (group->tokens > 0 || group->search_skipped) { // rounding by data needs no factor
        bm_json_put_bool(json, "search_skipped", group->search_skipped);
    }
}

static void put_linear(bm_json_writer *json, const bm_linear_record *linear)
{
    bm_json_begin_object(json, NULL);
    bm_json_put_string(json, "name", linear->name);
    bm_json_begin_array(json, "shape");
    bm_json_put_integer(json, NULL, linear->out_features);
    bm_json_put_integer(json, NULL, linear->in_features);
    bm_json_end_array(json);
    bm_json_put_integer(json, "bits", linear->bits);
    bm_json_put_integer(json, "group_size", linear->group_size);
    if (linear->keeps_range)
        bm_json_put_bool(json, "keeps_range", true);
    bm_json_put_double(json, "nmse", linear->nmse);
    bm_json_put_double(json, "squared_error", linear->squared_error);
    put_calibration(json, linear);
    bm_record_put_layer_error(json, linear);
    bm_json_end_object(json);
}

// What a method that watched inputs met, over the linears whose inputs it watched.
typedef struct calibration_summary {
    uint32_t num_linears;
    double error, error_rounding; // of outputs, over the linears that have it
    bool beside_rounding;
    uint32_t num_raised, num_by_host, num_fell_back;
    uint64_t guarded_rows;
    uint64_t tokens, channels; // of the linear that saw the fewest tokens an input channel
    uint64_t tokens_enough;    // for all; 0: there were enough
} calibration_summary;

static calibration_summary summarize(const bm_quantize_result *result)
{
    calibration_summary sum = {0};
    uint64_t widest = 0;
    for (uint32_t i = 0; i < result->num_linears; i++) {
        const bm_linear_record *linear = &result->linears[i];
        const bm_group_record *group = &linear->group;
        sum.num_fell_back += group->fell_back;
        if (group->tokens == 0)
            continue;
        sum.error += linear->has_output_error ? linear->output_error : 0;
        sum.error_rounding += beside_rounding(linear) ? linear->output_error_rounding : 0;
        sum.beside_rounding = sum.beside_rounding || beside_rounding(linear);
        sum.guarded_rows += linear->guarded_rows;
        sum.num_raised += group->num_raised > 0;
        sum.num_by_host += group->by_host;
        if (sum.num_linears++ == 0 || group->tokens * sum.channels < sum.tokens * linear->in_features) {
            sum.tokens = group->tokens;
            sum.channels = linear->in_features;
        }
        widest = bm_max_u64(widest, linear->in_features);
    }
    if (sum.tokens < REPORT_ENOUGH_TOKENS * sum.channels)
        sum.tokens_enough = REPORT_ENOUGH_TOKENS * widest;
    return sum;
}

static void put_summary(bm_json_writer *json, const bm_plan *plan, const bm_quantize_result *result)
{
    const calibration_summary sum = summarize(result);
    if (sum.num_linears == 0)
        return;
    bm_json_begin_object(json, "calibration");
    bm_json_put_integer(json, "all_sequences", result->num_sequences);
    bm_json_put_integer(json, "skipped_sequences", result->num_skipped_sequences);
    bm_json_put_integer(json, "sequences", result->num_solving_sequences);
    bm_json_put_integer(json, "tokens", (int64_t)sum.tokens);
    bm_json_put_integer(json, "channels", (int64_t)sum.channels);
    if (sum.tokens_enough > 0) {
        bm_json_put_integer(json, "tokens_enough", (int64_t)sum.tokens_enough);
        bm_json_put_string(json, "key_to_raise", result->key_of_tokens); // null: the data have no more
    }
    bm_json_put_double(json, "output_error", sum.error);
    if (sum.beside_rounding)
        bm_json_put_double(json, "output_error_rounding", sum.error_rounding);
    bm_json_put_integer(json, "guarded_rows", (int64_t)sum.guarded_rows);
    bm_json_put_integer(json, "damping_raised", sum.num_raised);
    bm_json_put_integer(json, "factored_on_host", sum.num_by_host);
    bm_json_put_integer(json, "fell_back", sum.num_fell_back);
    bm_json_put_bool(json, "hessians_in_files", plan->params.folder != NULL);
    bm_json_end_object(json);
}

void bm_record_put_costs(bm_json_writer *json, const bm_quantize_result *result)
{
    bm_json_put_double(json, "seconds", result->seconds);
    if (result->output_bytes > 0) { // else the run wrote nothing
        bm_json_put_integer(json, "input_bytes", (int64_t)result->input_bytes);
        bm_json_put_integer(json, "output_bytes", (int64_t)result->output_bytes);
    }
    bm_json_put_integer(json, "peak_device_bytes", (int64_t)result->peak_device_bytes);
    if (result->peak_process_bytes > 0)
        bm_json_put_integer(json, "peak_process_bytes", (int64_t)result->peak_process_bytes);
    bm_json_put_integer(json, "device_waits", (int64_t)result->num_device_waits);
    bm_json_begin_array(json, "phases");
    for (uint32_t i = 0; i < result->num_phases; i++) {
        bm_json_begin_object(json, NULL);
        bm_json_put_string(json, "name", result->phases[i].name);
        bm_json_put_double(json, "seconds", result->phases[i].seconds);
        bm_json_end_object(json);
    }
    bm_json_end_array(json);
    bm_record_put_timeline(json, result);
}

// A run that quantizes nothing has one model: an earlier result is what comes after, any other what was before.
static void put_evaluations(bm_json_writer *json, const bm_quantize_run_params *params,
                            const bm_quantize_result *result)
{
    static const char *const keys[][2] = {{"before", "after"}, {"test_before", "test_after"}};
    const bool quantizes = params->plan->method != NULL, is_result = params->arguments->job == BM_JOB_LOAD;
    for (bm_run_set set = BM_RUN_DEV; set < BM_NUM_RUN_SETS; set++) {
        const bm_run_evaluation *e = &result->evaluations[set];
        if (e->is_there && (quantizes || !is_result))
            put_evaluation(json, keys[set][0], &e->before);
        if (e->is_there && (quantizes || is_result))
            put_evaluation(json, keys[set][1], &e->after);
    }
}

// What verification found; absent where logits were not compared.
static void put_logits(bm_json_writer *json, const bm_logits_comparison *c)
{
    if (c->num_tokens == 0)
        return;
    bm_json_begin_object(json, "logits");
    bm_json_put_integer(json, "tokens", c->num_tokens);
    bm_json_put_double(json, "kl_divergence", c->kl_divergence);
    bm_json_put_double(json, "top1_agreement", (double)c->num_same / c->num_tokens);
    bm_json_end_object(json);
}

void bm_record_put_result(bm_json_writer *json, const bm_quantize_run_params *params, const bm_quantize_result *result)
{
    bm_json_put_string(json, "output", params->arguments->output_dir);
    bm_record_put_costs(json, result);
    if (params->budget) {
        bm_json_put_integer(json, "device_budget_bytes", (int64_t)params->budget->device_bytes);
        bm_json_put_integer(json, "process_budget_bytes", (int64_t)params->budget->host_bytes);
    }
    if (params->plan->method)
        bm_json_put_integer(json, "num_linears", params->plan->num_linears); // skipped ones too
    if (result->num_linears > 0) {
        bm_json_begin_array(json, "linears");
        for (uint32_t i = 0; i < result->num_linears; i++)
            put_linear(json, &result->linears[i]);
        bm_json_end_array(json);
    }
    put_summary(json, params->plan, result);
    put_evaluations(json, params, result);
    put_logits(json, &result->logits);
}

// ": raise gptq_step", where a key bounds the tokens.
static const char *describe_remedy(const bm_quantize_result *result, char out[64])
{
    snprintf(out, 64, "%s%s", result->key_of_tokens ? ": raise " : "",
             result->key_of_tokens ? result->key_of_tokens : "");
    return out;
}

void bm_record_warn(const bm_quantize_result *result, const bm_log *log)
{
    const calibration_summary sum = summarize(result);
    char remedy[64];
    bm_record_warn_searches(result, log);
    if (sum.tokens_enough > 0)
        bm_log_write(log, BM_LOG_WARNING,
                     "calibration: %llu token%s few for %llu input channels; %llu would be enough (%d a channel)%s",
                     (unsigned long long)sum.tokens, sum.tokens == 1 ? " is" : "s are",
                     (unsigned long long)sum.channels, (unsigned long long)sum.tokens_enough, REPORT_ENOUGH_TOKENS,
                     describe_remedy(result, remedy));
    if (sum.num_fell_back > 0)
        bm_log_write(log, BM_LOG_WARNING, "calibration: %u of %u linears were rounded plainly; report.html names them",
                     sum.num_fell_back, result->num_linears);
    bm_record_warn_errors(result, log);
}

static void append_count(bm_string *out, const char *words, uint32_t count, uint32_t all, const char *end)
{
    if (count > 0)
        (void)bm_string_append_format(out, "%s: %u of %u%s\n", words, count, all, end);
}

void bm_record_describe(const bm_quantize_result *result, bm_string *out)
{
    const calibration_summary sum = summarize(result);
    char remedy[64];
    if (sum.error_rounding > 0 && sum.error != sum.error_rounding)
        (void)bm_string_append_format(out, "error of outputs: %.1f %% of rounding to the same grids%s\n",
                                      100 * sum.error / sum.error_rounding,
                                      sum.tokens_enough > 0 ? " (few tokens)" : "");
    append_count(out, "damping raised", sum.num_raised, sum.num_linears, " linears");
    append_count(out, "factored in float64 on the host", sum.num_by_host, sum.num_linears, " linears");
    append_count(out, "rounded plainly", sum.num_fell_back, result->num_linears, " linears; report.html names them");
    append_count(out, "sequences left out", result->num_skipped_sequences, result->num_sequences, "");
    if (sum.tokens_enough > 0)
        (void)bm_string_append_format(out,
                                      "few calibration tokens: %llu for %llu input channels; %llu would be enough%s\n",
                                      (unsigned long long)sum.tokens, (unsigned long long)sum.channels,
                                      (unsigned long long)sum.tokens_enough, describe_remedy(result, remedy));
    bm_record_describe_errors(result, out);
}

bm_status bm_record_write_file(const char *folder, const char *name, const bm_string *text, bm_error *err)
{
    char *path = bm_path_join(folder, name);
    const bm_status status = text->failed || !path ? bm_fail(err, BM_E_MEMORY, "out of memory")
                                                   : bm_file_write_all(path, text->data, text->length, err);
    bm_free(path);
    return status;
}

// report.html, from the record as a reader of bitmill.json would see it.
static bm_status write_report(const char *folder, const bm_string *record_text, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *record = NULL;
    bm_string page = BM_STRING_INIT;
    BM_TRY(bm_json_parse(&record, record_text->data, record_text->length, "bitmill.json", err));
    BM_TRY(bm_report_write(record, &page, err));
    status = bm_record_write_file(folder, "report.html", &page, err);
done:
    bm_json_destroy(&record);
    bm_string_free(&page);
    return status;
}

bm_status bm_record_put_files(bm_json_writer *json, const char *folder, const char *const *more, bm_error *err)
{
    bm_name_list list = {0};
    const bm_status status = bm_folder_list(folder, &list, err);
    bm_json_begin_array(json, "files");
    for (uint32_t i = 0; i < list.count; i++)
        if (strcmp(list.names[i], BM_OUTPUT_JOURNAL) != 0)
            bm_json_put_string(json, NULL, list.names[i]);
    for (; *more; more++)
        bm_json_put_string(json, NULL, *more);
    bm_json_end_array(json);
    bm_name_list_free(&list);
    return status;
}

bm_status bm_record_write(const bm_quantize_run_params *params, const bm_quantize_result *result, const char *folder,
                          bm_error *err)
{
    static const char *const files[] = {"bitmill.json", "report.html", NULL};
    const bm_device_info *device = bm_device_get_info(params->device);
    char now[21];
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_clock_utc_text(now);
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_put_string(&json, "bitmill_version", bm_version());
    bm_json_put_string(&json, "finished", now);
    bm_json_begin_object(&json, "device");
    bm_json_put_string(&json, "spec", device->spec);
    bm_json_put_string(&json, "name", device->name);
    bm_json_put_string(&json, "driver", device->driver);
    bm_json_put_string(&json, "kind", bm_device_kind_name(device->kind));
    bm_json_begin_object(&json, "variants");
    for (uint32_t i = 0; i < BM_NUM_VARIANT_SETS; i++)
        bm_json_put_string(&json, bm_variant_sets[i].kernel, bm_variant_sets[i].chosen(params->device));
    bm_json_end_object(&json);
    bm_json_end_object(&json);
    bm_record_put_result(&json, params, result);
    bm_record_put_stages(&json, result);
    bm_status status = bm_record_put_files(&json, folder, files, err);
    bm_arguments_write_json(params->arguments, &json);
    bm_plan_write_json(params->plan, params->arguments, &json);
    bm_json_end_object(&json);
    (void)bm_string_append(&text, "\n");
    if (status == BM_OK)
        status = bm_record_write_file(folder, "bitmill.json", &text, err);
    if (status == BM_OK)
        status = write_report(folder, &text, err);
    bm_string_free(&text);
    return status;
}
