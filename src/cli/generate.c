// bitmill generate: text from a float or quantized model.
#include "cli/cli.h"

#include "infer/generation.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

#define MAX_PROMPT_BYTES (UINT64_C(64) << 20)

typedef struct generate_options {
    const char *model, *prompt;
    int64_t max_new_tokens, seed;
    double temperature, top_p;
    bool help;
} generate_options;

typedef struct text_sink {
    cli_context *context;
    bm_text_stream *stream;
    bm_string prompt;
    bm_string all;  // of the continuation
    bool has_begun; // the prompt stands on standard output, and its line is open
    bm_status status;
    bm_error *err;
} text_sink;

// Shows the continuation behind its first length bytes. The prompt goes out before the first of them: one that is refused
// is not shown.
static void show(text_sink *sink, size_t length)
{
    if (sink->context->json)
        return;
    if (!sink->has_begun) {
        cli_end_progress(sink->context);
        cli_write_text(sink->context, bm_string_text(&sink->prompt), sink->prompt.length);
    }
    sink->has_begun = true;
    cli_write_text(sink->context, bm_string_text(&sink->all) + length, sink->all.length - length);
    fflush(stdout);
}

static bool write_token(void *user, uint32_t id)
{
    text_sink *sink = user;
    const size_t before = sink->all.length;
    sink->status = bm_text_stream_push(sink->stream, id, &sink->all, sink->err);
    if (sink->status == BM_OK)
        show(sink, before);
    return sink->status == BM_OK && !cli_interrupted();
}

static bm_status parse(cli_context *context, int argc, char **argv, generate_options *o, bm_error *err)
{
    const char *words[1];
    uint32_t num_words;
    *o = (generate_options){.max_new_tokens = 100, .seed = 42, .temperature = 0, .top_p = 1};
    const cli_option options[] = {
        {"--prompt", CLI_TEXT, &o->prompt, "TEXT", "the text to go on from; -: from standard input"},
        {"--max-new-tokens", CLI_INTEGER, &o->max_new_tokens, "N",
         "how many tokens at most (100); the model's context may hold fewer"},
        {"--temperature", CLI_NUMBER, &o->temperature, "T", "0: greedy (default); 1: as the model says"},
        {"--top-p", CLI_NUMBER, &o->top_p, "P", "sample from the likeliest tokens that reach this probability (1)"},
        {"--seed", CLI_INTEGER, &o->seed, "N", "of the random numbers (42)"},
    };
    const bm_status status = cli_parse(context, &cli_command_generate, options, BM_COUNT(options), argc, argv, words, 1,
                                       &num_words, &o->help, err);
    if (status != BM_OK || o->help)
        return status;
    if (num_words == 0 || !o->prompt)
        return bm_fail(err, BM_E_ARGUMENT, "generate: expected a model folder or a gguf file, and --prompt TEXT");
    if (o->max_new_tokens < 1 || o->max_new_tokens > 1 << 20)
        return bm_fail(err, BM_E_ARGUMENT, "generate: --max-new-tokens %lld, expected 1..1048576",
                       (long long)o->max_new_tokens);
    if (!(o->temperature >= 0 && o->temperature <= 1e6))
        return bm_fail(err, BM_E_ARGUMENT, "generate: --temperature %g, expected 0..1000000", o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return bm_fail(err, BM_E_ARGUMENT, "generate: --top-p %g, expected more than 0 and at most 1", o->top_p);
    o->model = words[0];
    return BM_OK;
}

// "-" is standard input, without the line break at its end, which echo and editors put there.
static bm_status read_prompt(const char *option, bm_string *out, bm_error *err)
{
    if (strcmp(option, "-") != 0)
        return bm_string_append(out, option) ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = cli_read_input(out, MAX_PROMPT_BYTES, err);
    for (const char *end = "\n\r"; *end; end++)
        if (out->length > 0 && out->data[out->length - 1] == *end)
            out->data[--out->length] = '\0';
    return status;
}

// Shows the prompt to the stream, whose text is out already: a decoder strips the space in front of the first id it
// sees, and that must not be the continuation's.
static bm_status push_prompt(text_sink *sink, const bm_token_list *prompt, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string shown = BM_STRING_INIT;
    for (size_t i = 0; i < prompt->count; i++)
        BM_TRY(bm_text_stream_push(sink->stream, prompt->ids[i], &shown, err));
done:
    bm_string_free(&shown);
    return status;
}

static double rate(uint64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static bm_status print_json(const text_sink *sink, const bm_generation *g, size_t num_prompt, bool is_full,
                            bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_put_text(&w, "prompt", bm_string_text(&sink->prompt), sink->prompt.length);
    bm_json_put_text(&w, "text", bm_string_text(&sink->all), sink->all.length);
    bm_json_put_integer(&w, "tokens", g->num_new_tokens);
    bm_json_put_bool(&w, "ended", g->ended);
    bm_json_put_bool(&w, "context_full", is_full);
    bm_json_put_integer(&w, "prompt_tokens", (int64_t)num_prompt);
    bm_json_put_double(&w, "prompt_seconds", g->prompt_seconds);
    bm_json_put_double(&w, "prompt_tokens_per_second", rate(num_prompt, g->prompt_seconds));
    bm_json_put_double(&w, "decode_seconds", g->decode_seconds);
    bm_json_put_double(&w, "decode_tokens_per_second", rate(g->num_steps, g->decode_seconds));
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

// The tokens that end the text: what the model's files name, else what its family means by naming none (*scratch).
static bm_token_list choose_ends(const bm_model *model, const bm_tokenizer *tokenizer, uint32_t *scratch)
{
    const bm_token_list *named = bm_tokenizer_ends(tokenizer);
    if (named->count > 0 || model->config.default_eos_token_id < 0)
        return *named;
    *scratch = (uint32_t)model->config.default_eos_token_id;
    return (bm_token_list){.ids = scratch, .count = 1};
}

// What is left of the model's context bounds the number of new tokens: said beforehand where it is less than was asked for.
static bm_status choose_count(cli_context *context, const bm_model *model, size_t num_prompt, int64_t wanted,
                              uint32_t *out, bm_error *err)
{
    const uint32_t positions = model->config.max_position_embeddings;
    if (num_prompt >= positions)
        return bm_fail(err, BM_E_ARGUMENT,
                       "the prompt has %zu tokens, and the model's context is %u: no room for a new one", num_prompt,
                       positions);
    const uint64_t room = positions - num_prompt;
    *out = (uint32_t)bm_min_u64((uint64_t)wanted, room);
    if (*out < (uint64_t)wanted)
        cli_say(context,
                "note: --max-new-tokens %lld: the model's context of %u has room for %u behind the prompt's %zu",
                (long long)wanted, positions, *out, num_prompt);
    return BM_OK;
}

static bm_status generate(cli_context *context, const generate_options *o, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL;
    bm_tokenizer *tokenizer = NULL;
    bm_device *device = NULL;
    bm_token_list prompt = BM_TOKEN_LIST_INIT;
    bm_generation result = {0};
    text_sink sink = {.context = context, .prompt = BM_STRING_INIT, .all = BM_STRING_INIT, .err = err};
    uint32_t count = 0;
    bool is_full = false;
    BM_TRY(read_prompt(o->prompt, &sink.prompt, err));
    BM_TRY(cli_open_model(context, o->model, &model, err));
    BM_TRY(bm_tokenizer_open(&tokenizer, o->model, err));
    status = bm_tokenizer_encode(tokenizer, bm_string_text(&sink.prompt), sink.prompt.length, true, &prompt, err);
    if (status != BM_OK) {
        bm_error_prefix(err, "--prompt");
        goto done;
    }
    BM_TRY(choose_count(context, model, prompt.count, o->max_new_tokens, &count, err));
    BM_TRY(bm_text_stream_create(&sink.stream, tokenizer, true, err));
    BM_TRY(push_prompt(&sink, &prompt, err));
    BM_TRY(cli_open_device(context, NULL, &device, err));
    uint32_t scratch = 0;
    const bm_token_list ends = choose_ends(model, tokenizer, &scratch);
    const bm_generate_params params = {.model = model,
                                       .device = device,
                                       .prompt = prompt.ids,
                                       .num_prompt = (uint32_t)prompt.count,
                                       .max_new_tokens = count,
                                       .end_ids = ends.ids,
                                       .num_end_ids = ends.count,
                                       .sample = {o->temperature, o->top_p, (uint64_t)o->seed},
                                       .progress = &context->progress,
                                       .on_token = write_token,
                                       .user = &sink};
    BM_TRY(bm_generate(&params, &result, err));
    BM_TRY(sink.status);
    const size_t before = sink.all.length;
    is_full = !result.ended && prompt.count + result.num_new_tokens == model->config.max_position_embeddings;
    BM_TRY(bm_text_stream_finish(sink.stream, &sink.all, err));
    show(&sink, before);
    if (context->json)
        BM_TRY(print_json(&sink, &result, prompt.count, is_full, err));
    BM_FAIL_IF(cli_interrupted(), err, BM_E_CANCELLED, "interrupted");
done:
    if (sink.has_begun) { // what was generated so far stands on a line of its own, before the words on standard error
        printf("\n");
        fflush(stdout);
    }
    if (status == BM_OK) {
        cli_say(context, "%u token%s, %.1f tokens/s; prompt of %zu, %.1f tokens/s", result.num_new_tokens,
                bm_plural(result.num_new_tokens), rate(result.num_steps, result.decode_seconds), prompt.count,
                rate(prompt.count, result.prompt_seconds));
        if (is_full)
            cli_say(context, "the model's context of %u tokens is full", model->config.max_position_embeddings);
    }
    bm_text_stream_destroy(&sink.stream);
    bm_string_free(&sink.prompt);
    bm_string_free(&sink.all);
    bm_token_list_free(&prompt);
    bm_device_close(&device);
    bm_tokenizer_close(&tokenizer);
    bm_model_close(&model);
    return status;
}

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    generate_options options;
    bm_status status = parse(context, argc, argv, &options, &err);
    if (status == BM_OK && !options.help)
        status = generate(context, &options, &err);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_generate = {"generate", "MODEL --prompt TEXT [--temperature T] [--top-p P] [--seed N]",
                                          "writes text, greedy or sampled, with a float or quantized model", run,
                                          CLI_RUNS_ON_DEVICE};
