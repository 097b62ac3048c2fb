// bitmill eval: perplexity of a model over a text or a data set; against a reference also KL divergence and agreement.
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct eval_options {
    const char *model, *data, *reference, *dtype;
    int64_t context, src_length, max_length, chunks, max_tokens;
    bool drop_last, help;
} eval_options;

static bm_status parse(cli_context *context, int argc, char **argv, eval_options *o, bm_error *err)
{
    const char *words[1];
    uint32_t num_words;
    *o = (eval_options){.context = CLI_NOT_GIVEN,
                        .src_length = CLI_NOT_GIVEN,
                        .max_length = CLI_NOT_GIVEN,
                        .chunks = CLI_NOT_GIVEN,
                        .max_tokens = CLI_NOT_GIVEN};
    const cli_option options[] = {
        {"--data", CLI_TEXT, &o->data, "FILE",
         "a .txt file; src and tgt lines, or input_ids, as .json or .jsonl; or a folder with dev.json"},
        {"--reference", CLI_TEXT, &o->reference, "MODEL", "also the KL divergence from this model and top-1 agreement"},
        {"--context", CLI_INTEGER, &o->context, "N",
         "tokens a slice of plain text (the smaller of 2048 and the model's)"},
        {"--chunks", CLI_INTEGER, &o->chunks, "N", "the first N sequences alone: slices of plain text, or lines"},
        {"--max-tokens", CLI_INTEGER, &o->max_tokens, "N",
         "at most N tokens: of plain text the first, of lines whole ones"},
        {"--drop-last", CLI_FLAG, &o->drop_last, NULL, "leave out the last, shorter slice of plain text"},
        {"--src-length", CLI_INTEGER, &o->src_length, "N", "most tokens of a prompt, for src and tgt lines (1024)"},
        {"--max-length", CLI_INTEGER, &o->max_length, "N", "most tokens of prompt and answer, or of input_ids (2048)"},
        {"--dtype", CLI_TEXT, &o->dtype, "T",
         "auto (default: the checkpoint's on a GPU, else float32), float32, float16, bfloat16, and float64 on host: "
         "storage of weights and activations"},
    };
    const bm_status status = cli_parse(context, &cli_command_eval, options, BM_COUNT(options), argc, argv, words, 1,
                                       &num_words, &o->help, err);
    if (status != BM_OK || o->help)
        return status;
    if (num_words == 0 || !o->data || !o->data[0])
        return bm_fail(err, BM_E_ARGUMENT, "eval: found no %s, expected a model folder or a gguf file, and --data FILE",
                       num_words == 0 ? "model" : "--data");
    if (o->context != CLI_NOT_GIVEN && (o->context < 2 || o->context > 1 << 24))
        return bm_fail(err, BM_E_ARGUMENT, "eval: --context %lld, expected 2..16777216", (long long)o->context);
    const int64_t max_length = o->max_length == CLI_NOT_GIVEN ? 2048 : o->max_length;
    if (max_length < 3 || max_length > 1 << 24)
        return bm_fail(err, BM_E_ARGUMENT, "eval: --max-length %lld, expected 3..16777216", (long long)max_length);
    if (o->src_length != CLI_NOT_GIVEN && (o->src_length < 2 || o->src_length >= max_length))
        return bm_fail(err, BM_E_ARGUMENT,
                       "eval: --src-length %lld, expected at least 2 and less than --max-length %lld",
                       (long long)o->src_length, (long long)max_length);
    if (o->chunks != CLI_NOT_GIVEN && (o->chunks < 1 || o->chunks > UINT32_MAX))
        return bm_fail(err, BM_E_ARGUMENT, "eval: --chunks %lld, expected 1..4294967295", (long long)o->chunks);
    if (o->max_tokens != CLI_NOT_GIVEN && o->max_tokens < 2)
        return bm_fail(err, BM_E_ARGUMENT, "eval: --max-tokens %lld, expected at least 2", (long long)o->max_tokens);
    o->model = words[0];
    return BM_OK;
}

static bm_status read_dtype(const char *text, bm_dtype *out, bm_error *err)
{
    *out = BM_DTYPE_NONE;
    if (!text || bm_equal_ignore_case(text, "auto") || cli_find_dtype(text, out))
        return BM_OK;
    return bm_fail(err, BM_E_ARGUMENT,
                   "eval: --dtype \"%s\", expected auto, float32, float16 or bfloat16 (and float64 on host)", text);
}

static void put_limit(bm_json_writer *w, const char *key, int64_t limit)
{
    if (limit == CLI_NOT_GIVEN)
        bm_json_put_null(w, key);
    else
        bm_json_put_integer(w, key, limit);
}

static double speed(const bm_evaluation *e)
{
    return e->model_seconds > 0 ? (double)e->tokens / e->model_seconds : 0;
}

static bm_status print_json(const cli_context *context, bm_device *device, const eval_options *o,
                            const bm_evaluation *e, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_put_double(&w, "perplexity", e->perplexity);
    bm_json_put_double(&w, "loss", e->loss);
    bm_json_put_integer(&w, "tokens", (int64_t)e->tokens);
    bm_json_put_integer(&w, "sequences", (int64_t)e->sequences);
    put_limit(&w, "context", e->context > 0 ? e->context : CLI_NOT_GIVEN);
    put_limit(&w, "chunks", o->chunks);
    put_limit(&w, "max_tokens", o->max_tokens);
    bm_json_put_double(&w, "accuracy", e->accuracy);
    bm_json_put_double(&w, "mean_sequence_loss", e->sequence_loss);
    if (e->has_reference) {
        bm_json_put_double(&w, "reference_loss", e->reference_loss);
        bm_json_put_double(&w, "kl_divergence", e->kl_divergence);
        bm_json_put_double(&w, "top1_agreement", e->top1_agreement);
    }
    bm_json_put_double(&w, "seconds", e->seconds);
    bm_json_put_double(&w, "model_seconds", e->model_seconds);
    bm_json_put_double(&w, "tokens_per_second", speed(e));
    cli_put_profile(context, &w, device);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

static void print_people(const bm_evaluation *e)
{
    printf("perplexity      %.4f\n", e->perplexity);
    printf("loss            %.5f nats a token\n", e->loss);
    printf("accuracy        %.4f\n", e->accuracy);
    printf("tokens scored   %llu in %llu sequence%s", (unsigned long long)e->tokens, (unsigned long long)e->sequences,
           bm_plural(e->sequences));
    if (e->context > 0)
        printf(", context %u", e->context);
    printf("\n");
    printf("speed           %.1f tokens scored a second, without compiling%s\n", speed(e),
           e->has_reference ? " and the reference" : "");
    printf("mean of the sequences' losses  %.5f (as PaddleNLP averages)\n", e->sequence_loss);
    if (e->has_reference) {
        printf("reference loss  %.5f (perplexity ratio %.5f)\n", e->reference_loss,
               e->perplexity > 0 ? e->perplexity / exp(e->reference_loss) : 0);
        printf("KL divergence   %.6f nats a token\n", e->kl_divergence);
        printf("top-1 agreement %.4f\n", e->top1_agreement);
    }
}

// A wrong path is said before a device is opened, which may take seconds.
static bm_status check_inputs(cli_context *context, const eval_options *o, bm_error *err)
{
    const char *const folders[] = {o->model, o->reference};
    for (size_t i = 0; i < BM_COUNT(folders); i++) {
        bm_model *model = NULL;
        const bm_status status = folders[i] ? cli_open_model(context, folders[i], &model, err) : BM_OK;
        bm_model_close(&model);
        if (status != BM_OK)
            return status;
    }
    if (bm_path_kind_of(o->data) == BM_PATH_ABSENT)
        return bm_fail(err, BM_E_IO, "--data %s: no such file or folder", o->data);
    return BM_OK;
}

static uint64_t given_or_0(int64_t value)
{
    return value == CLI_NOT_GIVEN ? 0 : (uint64_t)value;
}

static bm_status evaluate(cli_context *context, const eval_options *o, bm_error *err)
{
    bm_status status = BM_OK;
    bm_device *device = NULL;
    bm_evaluation result = {0};
    bm_evaluate_model_params params;
    bm_evaluate_model_params_init(&params);
    params.model = o->model;
    params.reference = o->reference;
    params.data = o->data;
    params.context = (uint32_t)given_or_0(o->context);
    params.drop_last = o->drop_last;
    params.max_sequences = (uint32_t)given_or_0(o->chunks);
    params.max_tokens = given_or_0(o->max_tokens);
    params.src_length = (uint32_t)given_or_0(o->src_length);
    params.max_length = (uint32_t)given_or_0(o->max_length);
    params.progress = &context->progress;
    BM_TRY(read_dtype(o->dtype, &params.dtype, err));
    BM_TRY(check_inputs(context, o, err));
    BM_TRY(cli_open_device(context, NULL, &device, err));
    BM_FAIL_IF(params.dtype == BM_DTYPE_F64 && bm_device_get_info(device)->kind != BM_DEVICE_HOST, err, BM_E_ARGUMENT,
               "eval: --dtype float64 works on --device host alone");
    BM_TRY(bm_evaluate_model(&params, device, &result, err));
    cli_end_progress(context);
    if (context->json)
        BM_TRY(print_json(context, device, o, &result, err));
    else
        print_people(&result);
done:
    bm_device_close(&device);
    return status;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    eval_options options;
    bm_status status = parse(context, argc, argv, &options, &err);
    if (status == BM_OK && !options.help)
        status = evaluate(context, &options, &err);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_eval = {"eval", "MODEL --data FILE [--reference MODEL] [--chunks N] [--max-tokens N]",
                                      "measures perplexity; against a reference also KL divergence and top-1 agreement",
                                      run, CLI_RUNS_ON_DEVICE};
