// bitmill quantize: a parameter file, or a model and a method, to a quantized checkpoint.
#include "cli/cli.h"

#include "schedule/output.h"
#include "schedule/quantize.h"
#include "schedule/record.h"

#include <stdio.h>
#include <string.h>

typedef struct quantize_options {
    const char *subject; // parameter file, or model folder
    const char *method, *data, *output;
    int64_t bits;
    cli_list set;
    bool resume, allow_unknown, strict, help;
} quantize_options;

static bm_status parse(cli_context *context, int argc, char **argv, quantize_options *o, bm_error *err)
{
    const char *words[1];
    uint32_t num_words;
    *o = (quantize_options){0};
    const cli_option options[] = {
        {"--set", CLI_LIST, &o->set, "K=V", "overrides a key of the parameter file; may be given several times"},
        {"--output", CLI_TEXT, &o->output, "DIR", "the folder to create (output_dir)"},
        {"--method", CLI_TEXT, &o->method, "M", "without a file: rtn, gptq, awq or a8w8"},
        {"--bits", CLI_INTEGER, &o->bits, "N", "without a file: bits of a weight (4)"},
        {"--data", CLI_TEXT, &o->data, "FILE", "without a file: calibration and evaluation data"},
        {"--resume", CLI_FLAG, &o->resume, NULL, "go on with an interrupted run (not built yet)"},
        {"--allow-unknown", CLI_FLAG, &o->allow_unknown, NULL, "unknown keys of the file become notes"},
        {"--strict", CLI_FLAG, &o->strict, NULL, "notes on the file become errors"},
    };
    const bm_status status =
        cli_parse(context, &cli_command_quantize, options, BM_COUNT(options), argc, argv, words, 1, &num_words, &o->help, err);
    if (status != BM_OK || o->help)
        return status;
    if (num_words == 0)
        return bm_fail(err, BM_E_ARGUMENT, "quantize: expected a parameter file, or a model folder and --method");
    o->subject = words[0];
    if (o->resume)
        return bm_fail(err, BM_E_UNSUPPORTED, "quantize: --resume is not built yet in this version");
    if (bm_ends_with(o->subject, ".json") && (o->method || o->bits || o->data))
        return bm_fail(err, BM_E_ARGUMENT, "quantize: --method, --bits and --data go with a model folder; for a parameter file use --set");
    return BM_OK;
}

// The overrides of --set, and options that are short for keys, as "key=value" texts.
typedef struct override_list {
    char *items[72];
    uint32_t count;
} override_list;

static bm_status add_override(override_list *list, const char *key, const char *value, bm_error *err)
{
    char *text = key ? bm_format("%s=%s", key, value) : bm_string_copy(value);
    if (!text)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    list->items[list->count++] = text;
    return BM_OK;
}

static bm_status collect_overrides(const cli_context *context, const quantize_options *o, bool short_form, override_list *list,
                                   bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < o->set.count; i++)
        BM_TRY(add_override(list, NULL, o->set.items[i], err));
    if (o->output && !short_form)
        BM_TRY(add_override(list, "output_dir", o->output, err));
    if (context->device)
        BM_TRY(add_override(list, "device", context->device, err));
    if (o->allow_unknown)
        BM_TRY(add_override(list, "allow_unknown", "true", err));
    if (o->strict)
        BM_TRY(add_override(list, "strict", "true", err));
done:
    return status;
}

static bm_status read_arguments(const cli_context *context, const quantize_options *o, bm_arguments **out, bm_error *err)
{
    const bool short_form = o->method != NULL || !bm_ends_with(o->subject, ".json");
    override_list list = {.count = 0};
    bm_status status = collect_overrides(context, o, short_form, &list, err);
    if (status == BM_OK && short_form) {
        const bm_arguments_short_form form = {o->subject, o->method ? o->method : "rtn", o->bits, o->data, o->output};
        status = bm_arguments_from_short_form(out, &form, (const char *const *)list.items, list.count, err);
    } else if (status == BM_OK) {
        status = bm_arguments_read_file(out, o->subject, (const char *const *)list.items, list.count, err);
    }
    for (uint32_t i = 0; i < list.count; i++)
        bm_free(list.items[i]);
    return status;
}

// Notes number first.. are said once.
static uint32_t say_notes(cli_context *context, const bm_arguments *arguments, uint32_t first)
{
    for (; first < arguments->num_notes; first++)
        cli_say(context, "note: %s", arguments->notes[first].text);
    return first;
}

static void print_people(const bm_quantize_result *r, const bm_arguments *a)
{
    if (a->job == BM_JOB_EVALUATE) {
        printf("perplexity %.4f, %llu tokens scored; %.1f s\n", r->before.perplexity, (unsigned long long)r->before.tokens,
               r->seconds);
        return;
    }
    printf("%s: %.2f MB, was %.2f MB; %u linears; %.1f s\n", a->output_dir, (double)r->output_bytes / 1e6,
           (double)r->input_bytes / 1e6, r->num_linears, r->seconds);
    if (r->has_evaluation)
        printf("perplexity %.4f before, %.4f after (%+.2f %%), %llu tokens scored\n", r->before.perplexity, r->after.perplexity,
               100.0 * (r->after.perplexity / r->before.perplexity - 1.0), (unsigned long long)r->after.tokens);
}

static bm_status print_json(const bm_quantize_run_params *params, const bm_quantize_result *r, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_record_put_result(&w, params, r);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

static void say_plan(cli_context *context, const bm_plan *plan, const bm_arguments *arguments, const bm_model *model)
{
    bm_string words = BM_STRING_INIT;
    bm_plan_describe(plan, arguments, model, &words);
    if (words.length > 0)
        words.data[words.length - 1] = '\0'; // its last newline: cli_say ends the line
    cli_say(context, "%s", bm_string_text(&words));
    bm_string_free(&words);
}

// do_eval or do_predict alone: the baseline.
static bm_status quantize(cli_context *context, const quantize_options *o, bm_error *err)
{
    bm_status status = BM_OK;
    bm_arguments *arguments = NULL;
    bm_model *model = NULL;
    bm_plan *plan = NULL;
    bm_device *device = NULL;
    bm_quantize_result result = {0};
    uint32_t said = 0;
    BM_TRY(read_arguments(context, o, &arguments, err));
    said = say_notes(context, arguments, said);
    BM_TRY(bm_arguments_check_built(arguments, err));
    BM_TRY(bm_arguments_check_paths(arguments, err));
    BM_TRY(bm_model_open(&model, arguments->model_name_or_path, err));
    BM_TRY(bm_arguments_fit_context(arguments, model->config.max_position_embeddings, err));
    if (arguments->job != BM_JOB_EVALUATE) {
        BM_TRY(bm_output_check(arguments->output_dir, arguments->overwrite_output_dir, err));
        BM_TRY(bm_plan_create(arguments, model, &plan, err));
        say_plan(context, plan, arguments, model);
    }
    said = say_notes(context, arguments, said);
    BM_TRY(cli_open_device(context, arguments->device, &device, err));
    const bm_quantize_run_params params = {.arguments = arguments,
                                           .plan = plan,
                                           .model = model,
                                           .device = device,
                                           .progress = &context->progress,
                                           .log = &context->log};
    BM_TRY(bm_quantize_run(&params, &result, err));
    if (context->json)
        BM_TRY(print_json(&params, &result, err));
    else
        print_people(&result, arguments);
done:
    bm_quantize_result_free(&result);
    bm_device_close(&device);
    bm_plan_destroy(&plan);
    bm_model_close(&model);
    bm_arguments_destroy(&arguments);
    return status;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    quantize_options options;
    bm_status status = parse(context, argc, argv, &options, &err);
    if (status == BM_OK && !options.help)
        status = quantize(context, &options, &err);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_quantize = {"quantize", "ARGS.json [--set k=v]... | MODEL --method M [--bits N] --output DIR",
                                          "quantizes a model as a parameter file or the options say", run};
