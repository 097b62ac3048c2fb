// bitmill quantize: a parameter file, or a model and a method, to a quantized checkpoint.
#include "cli/cli.h"

#include "formats/gguf_locate.h"
#include "schedule/job.h"
#include "schedule/record.h"

#include <stdio.h>
#include <string.h>

typedef struct quantize_options {
    const char *subject; // parameter file, or a model: a folder or a gguf file
    const char *method, *data, *output, *device_memory, *host_memory, *cache_dir;
    uint64_t device_bytes, host_bytes; // of those; 0: not given
    int64_t bits;
    cli_list set;
    bool dry_run, resume, allow_unknown, strict, no_verify, help;
} quantize_options;

// A folder is a model, whatever its name.
static bool is_parameter_file(const char *subject)
{
    return bm_ends_with(subject, ".json") && bm_path_kind_of(subject) != BM_PATH_FOLDER;
}

// A number alone could be bytes as well as gigabytes.
static bm_status parse_size(const char *option, const char *text, uint64_t *out, bm_error *err)
{
    if (!text || bm_parse_size(text, out))
        return BM_OK;
    const bool is_number = text[0] && text[strspn(text, "0123456789.")] == '\0', is_short = strlen(text) <= 4;
    if (is_number && strspn(text, "0.") < strlen(text))
        return bm_fail(err, BM_E_ARGUMENT, "%s %s: has no unit, expected a size such as %s%s", option, text, text,
                       is_short ? "GB" : "B (bytes)");
    return bm_fail(err, BM_E_ARGUMENT, "%s \"%s\": expected a size such as 6GB or 5.5GiB, below 2^64 bytes", option,
                   text);
}

static bm_status parse(cli_context *context, int argc, char **argv, quantize_options *o, bm_error *err)
{
    const char *words[1];
    uint32_t num_words;
    *o = (quantize_options){.bits = CLI_NOT_GIVEN};
    const cli_option options[] = {
        {"--set", CLI_LIST, &o->set, "K=V",
         "overrides a key of the parameter file; may be given several times (keys: README, man bitmill)"},
        {"--output", CLI_TEXT, &o->output, "DIR", "the folder to create (output_dir)"},
        {"--method", CLI_TEXT, &o->method, "M", "without a file: rtn (default), gptq, awq or a8w8"},
        {"--bits", CLI_INTEGER, &o->bits, "N",
         "without a file: bits of a weight: 2, 3, 4 (default) or 8; a8w8: 8, of an input too"},
        {"--data", CLI_TEXT, &o->data, "FILE",
         "without a file: data, as eval takes them; gptq, awq and a8w8, which calibrate, need them; also for --set "
         "do_eval=true"},
        {"--device-memory", CLI_TEXT, &o->device_memory, "SIZE",
         "of the device's memory at most so much: 6GB, 5.5GiB, ...; what does not fit is kept elsewhere or computed "
         "again"},
        {"--no-verify", CLI_FLAG, &o->no_verify, NULL,
         "the result is not read back and compared with what was to be stored, nor its logits with the input's"},
        {"--host-memory", CLI_TEXT, &o->host_memory, "SIZE",
         "of the system's memory at most so much for this process, on a CPU the device's among it"},
        {"--cache-dir", CLI_TEXT, &o->cache_dir, "DIR",
         "where files of activations lie that memory does not hold (in the output folder, while it is made)"},
        {"--dry-run", CLI_FLAG, &o->dry_run, NULL,
         "say what the run would take of memory, disk and time, and whether it fits; write nothing"},
        {"--resume", CLI_FLAG, &o->resume, NULL, "go on with an interrupted run (not built yet)"},
        {"--allow-unknown", CLI_FLAG, &o->allow_unknown, NULL, "unknown keys of the file become notes"},
        {"--strict", CLI_FLAG, &o->strict, NULL, "notes on the file become errors"},
    };
    const bm_status status = cli_parse(context, &cli_command_quantize, options, BM_COUNT(options), argc, argv, words, 1,
                                       &num_words, &o->help, err);
    if (status != BM_OK || o->help)
        return status;
    if (num_words == 0)
        return bm_fail(err, BM_E_ARGUMENT,
                       "quantize: found neither, expected a parameter file, or a model folder or gguf file and "
                       "--output DIR");
    o->subject = words[0];
    if (o->resume)
        return bm_fail(err, BM_E_UNSUPPORTED, "quantize: --resume is not built yet in this version");
    const bm_status sized = parse_size("--device-memory", o->device_memory, &o->device_bytes, err);
    if (sized != BM_OK || parse_size("--host-memory", o->host_memory, &o->host_bytes, err) != BM_OK)
        return BM_E_ARGUMENT;
    if (is_parameter_file(o->subject) && (o->method || o->bits != CLI_NOT_GIVEN || o->data))
        return bm_fail(err, BM_E_ARGUMENT,
                       "quantize: --method, --bits and --data go with a model folder; for a parameter file use --set");
    // Without .json the word is a model's: what it is instead is said in the word that the user typed.
    if (!is_parameter_file(o->subject) && o->subject[0]) {
        const bm_path_kind kind = bm_path_kind_of(o->subject);
        char *gguf_path = NULL;
        const bm_status located = bm_gguf_locate(o->subject, &gguf_path, err);
        if (located != BM_OK)
            return located;
        const bool is_gguf = gguf_path != NULL;
        bm_free(gguf_path);
        if (kind == BM_PATH_FILE && !is_gguf)
            return bm_fail(err, BM_E_ARGUMENT,
                           "%s: is a file; a parameter file ends in .json, a model is a folder or a gguf file",
                           o->subject);
        if (kind == BM_PATH_ABSENT)
            return bm_fail(err, BM_E_IO, "%s: no such model folder or parameter file", o->subject);
    }
    if (o->bits == 0) // means the method's own number further down
        return bm_fail(err, BM_E_ARGUMENT, "--bits 0: expected one of 2, 3, 4, 8");
    return BM_OK;
}

// --set and the options that are short for keys, as "key=value" texts.
typedef struct override_list {
    const char *items[BM_COUNT(((cli_list *)0)->items) + 2];
    uint32_t count;
} override_list;

static void collect_overrides(const quantize_options *o, override_list *list)
{
    for (uint32_t i = 0; i < o->set.count; i++)
        list->items[list->count++] = o->set.items[i];
    if (o->allow_unknown)
        list->items[list->count++] = "allow_unknown=true";
    if (o->strict)
        list->items[list->count++] = "strict=true";
}

static void print_calibration(const bm_quantize_result *r)
{
    bm_string lines = BM_STRING_INIT;
    bm_record_describe(r, &lines);
    fputs(bm_string_text(&lines), stdout);
    bm_string_free(&lines);
}

// is_whole: of a run that does nothing else, with all three of PaddleNLP's figures.
static void print_evaluation(const bm_quantize_result *r, bm_run_set set, bool is_whole)
{
    const bm_run_evaluation *e = &r->evaluations[set];
    const char *words = set == BM_RUN_TEST ? "test: " : "";
    if (!e->is_there)
        return;
    if (is_whole)
        cli_print("%sperplexity %.4f, loss %.5f, accuracy %.4f, %llu token%s scored; %.1f s", words,
                  e->after.perplexity, e->after.loss, e->after.accuracy, (unsigned long long)e->after.tokens,
                  bm_plural(e->after.tokens), e->after.seconds);
    else
        cli_print("%sperplexity %.4f before, %.4f after (%+.2f %%), %llu token%s scored", words, e->before.perplexity,
                  e->after.perplexity, 100.0 * (e->after.perplexity / e->before.perplexity - 1.0),
                  (unsigned long long)e->after.tokens, bm_plural(e->after.tokens));
}

static void print_people(const bm_quantize_result *r, const bm_arguments *a)
{
    if (!bm_job_quantizes(a->job)) {
        print_evaluation(r, BM_RUN_DEV, true);
        print_evaluation(r, BM_RUN_TEST, true);
        return;
    }
    cli_print("%s: %.2f MB, was %.2f MB; %u linear%s; %.1f s", a->output_dir, (double)r->output_bytes / 1e6,
              (double)r->input_bytes / 1e6, r->num_linears, bm_plural(r->num_linears), r->seconds);
    print_evaluation(r, BM_RUN_DEV, false);
    print_evaluation(r, BM_RUN_TEST, false);
    print_calibration(r);
}

static bm_status print_json(const cli_context *context, const bm_quantize_job *job, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_quantize_job_put_result(job, &w);
    cli_put_profile(context, &w, job->device);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

static bm_status print_dry_run(cli_context *context, const bm_quantize_job *job, const bm_dry_run *dry, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    cli_end_progress(context);
    if (context->json) {
        bm_json_writer_init(&w, &text, 2);
        bm_json_begin_object(&w, NULL);
        bm_quantize_job_put_dry_run(job, dry, &w);
        bm_json_end_object(&w);
        status = cli_print_json(&text, err);
    } else {
        bm_quantize_job_describe_dry_run(job, dry, &text);
        BM_FAIL_IF(text.failed, err, BM_E_MEMORY, "out of memory");
        fputs(bm_string_text(&text), stdout);
    }
done:
    bm_string_free(&text);
    return status;
}

// A plan that does not fit is printed too, and refused as the run would be.
static bm_status dry_run(cli_context *context, const bm_quantize_params *params, bm_quantize_job *job, bm_error *err)
{
    bm_dry_run dry;
    bm_status status = bm_quantize_job_plan(params, job, err);
    if (status != BM_OK && job->is_planned) {
        bm_error failed = {0};
        dry = bm_quantize_job_refused(job, err);
        const bm_status printed = print_dry_run(context, job, &dry, &failed);
        return printed == BM_OK ? status : bm_fail(err, printed, "%s", failed.message);
    }
    if (status == BM_OK)
        status = bm_quantize_job_dry_run(params, job, &dry, err);
    return status == BM_OK ? print_dry_run(context, job, &dry, err) : status;
}

static bm_status quantize(cli_context *context, const quantize_options *o, bm_error *err)
{
    const bool short_form = !is_parameter_file(o->subject);
    bm_status status = BM_OK;
    override_list overrides = {.count = 0};
    bm_quantize_job job = {0};
    bm_quantize_params params;
    bm_quantize_params_init(&params);
    collect_overrides(o, &overrides);
    params.arguments_file = short_form ? NULL : o->subject;
    params.model = short_form ? o->subject : NULL;
    params.method = o->method;
    params.bits = o->bits == CLI_NOT_GIVEN ? 0 : o->bits;
    params.data = o->data;
    params.output = o->output;
    params.overrides = overrides.items;
    params.num_overrides = overrides.count;
    params.device = context->device;
    params.cache_folder = context->cache_folder;
    params.variants = cli_variants(context);
    params.profile = context->profile;
    params.device_memory = o->device_bytes;
    params.skips_verification = o->no_verify;
    params.host_memory = o->host_bytes;
    params.activation_folder = o->cache_dir;
    params.log = &context->log;
    params.progress = &context->progress;
    if (o->dry_run) {
        BM_TRY(dry_run(context, &params, &job, err));
        goto done;
    }
    BM_TRY(bm_quantize_job_run(&params, &job, err));
    cli_end_progress(context);
    if (context->json)
        BM_TRY(print_json(context, &job, err));
    else
        print_people(&job.result, job.arguments);
done:
    bm_quantize_job_free(&job);
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

const cli_command cli_command_quantize = {
    "quantize", "ARGS.json [--set K=V]... | MODEL [--method M] [--bits N] --output DIR",
    "quantizes a model as a parameter file or the options say", run, CLI_RUNS_ON_DEVICE};
