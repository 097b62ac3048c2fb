// bitmill convert: a quantized checkpoint in another format, with the same codes.
#include "cli/cli.h"

#include "schedule/convert_plan.h"
#include "schedule/convert_run.h"

#include <stdio.h>

typedef struct convert_options {
    const char *model, *format, *output;
    bool no_verify, help;
} convert_options;

// "one of compressed-tensors, gptq, ...".
static void list_names(char *out, size_t size)
{
    const bm_store_format *format;
    uint32_t version;
    const char *name;
    size_t length = 0;
    for (uint32_t i = 0; (name = bm_store_form_at(i, &format, &version)) != NULL && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s", i == 0 ? "one of " : ", ", name);
}

static bm_status parse(cli_context *context, int argc, char **argv, convert_options *o, bm_error *err)
{
    const char *words[1];
    uint32_t num_words, version;
    const bm_store_format *format;
    char names[256];
    *o = (convert_options){.model = NULL};
    list_names(names, sizeof names);
    const cli_option options[] = {
        {"--format", CLI_TEXT, &o->format, "F", names},
        {"--output", CLI_TEXT, &o->output, "DIR", "the folder to create"},
        {"--no-verify", CLI_FLAG, &o->no_verify, NULL,
         "the result is not read back and compared with what was to be stored"},
    };
    const bm_status status = cli_parse(context, &cli_command_convert, options, BM_COUNT(options), argc, argv, words, 1,
                                       &num_words, &o->help, err);
    if (status != BM_OK || o->help)
        return status;
    if (num_words == 0 || !o->format || !o->output)
        return bm_fail(err, BM_E_ARGUMENT,
                       "convert: found no %s, expected a model folder or a gguf file, --format F and --output DIR",
                       num_words == 0 ? "model"
                       : !o->format   ? "--format"
                                      : "--output");
    o->model = words[0];
    return bm_convert_find_form(o->format, &format, &version, err);
}

static void put_json(const cli_context *context, bm_json_writer *w, bm_device *device, const convert_options *o,
                     const bm_quantize_result *r)
{
    bm_json_begin_object(w, NULL);
    bm_json_put_string(w, "output", o->output);
    bm_json_put_string(w, "format", o->format);
    bm_json_put_integer(w, "num_linears", r->num_linears);
    bm_json_put_double(w, "seconds", r->seconds);
    bm_json_put_integer(w, "input_bytes", (int64_t)r->input_bytes);
    bm_json_put_integer(w, "output_bytes", (int64_t)r->output_bytes);
    bm_json_put_bool(w, "verified", !o->no_verify);
    bm_json_begin_array(w, "phases");
    for (uint32_t i = 0; i < r->num_phases; i++) {
        bm_json_begin_object(w, NULL);
        bm_json_put_string(w, "name", r->phases[i].name);
        bm_json_put_double(w, "seconds", r->phases[i].seconds);
        bm_json_end_object(w);
    }
    bm_json_end_array(w);
    cli_put_profile(context, w, device);
    bm_json_end_object(w);
}

static bm_status print_result(const cli_context *context, bm_device *device, const convert_options *o,
                              const bm_quantize_result *r, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    if (!context->json) {
        cli_print("%s: %.2f MB, was %.2f MB; %u linear%s, the same codes%s; %.1f s", o->output,
                  (double)r->output_bytes / 1e6, (double)r->input_bytes / 1e6, r->num_linears,
                  bm_plural(r->num_linears), o->no_verify ? " (not verified)" : "", r->seconds);
        return BM_OK;
    }
    bm_json_writer_init(&w, &text, 2);
    put_json(context, &w, device, o, r);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

static bm_status convert(cli_context *context, const convert_options *o, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL;
    bm_device *device = NULL;
    bm_quantize_result result = {0};
    BM_TRY(bm_model_open(&model, o->model, err));
    bm_convert_params params = {.model = model,
                                .form = o->format,
                                .output = o->output,
                                .progress = &context->progress,
                                .log = &context->log,
                                .skips_verification = o->no_verify};
    BM_TRY(bm_convert_check(&params, err));
    BM_TRY(cli_open_device(context, "host", &device, err));
    params.device = device;
    BM_TRY(bm_convert_run(&params, &result, err));
    cli_end_progress(context);
    BM_TRY(print_result(context, device, o, &result, err));
done:
    bm_quantize_result_free(&result);
    bm_device_close(&device);
    bm_model_close(&model);
    return status;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    convert_options options;
    bm_status status = parse(context, argc, argv, &options, &err);
    if (status == BM_OK && !options.help)
        status = convert(context, &options, &err);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_convert = {"convert", "MODEL --format F --output DIR",
                                         "the same codes in another checkpoint format", run, CLI_RUNS_ON_DEVICE};
