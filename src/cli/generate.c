// bitmill generate: text from a float or quantized model.
#include "cli/cli.h"

#include "infer/generation.h"
#include "infer/resident.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

#define MAX_PROMPT_BYTES (UINT64_C(64) << 20)
#define MAX_MESSAGES 4096u

typedef struct generate_options {
    const char *model, *prompt, *system;
    int64_t max_new_tokens, seed;
    double temperature, top_p;
    bool chat, help;
} generate_options;

// What all prompts of a run share.
typedef struct generate_session {
    cli_context *context;
    const generate_options *options;
    bm_model *model;
    bm_tokenizer *tokenizer;
    bm_device *device;
    bm_resident *resident;      // loaded by the first prompt
    bm_chat_template *template; // NULL: no chat
} generate_session;

typedef struct text_sink {
    cli_context *context;
    bm_text_stream *stream;
    bm_string prompt;
    bm_string all;  // of the continuation
    bool has_begun; // the prompt stands on standard output, and its line is open
    bool is_answer; // of a conversation: the prompt is not shown
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
        if (!sink->is_answer)
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
        {"--chat", CLI_FLAG, &o->chat, NULL,
         "answer by the model's chat template: --prompt, else each line of standard input"},
        {"--system", CLI_TEXT, &o->system, "TEXT", "with --chat: what stands in front of the conversation"},
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
    if (num_words == 0 || (!o->prompt && !o->chat))
        return bm_fail(err, BM_E_ARGUMENT,
                       "generate: found no %s, expected a model folder or a gguf file, and --prompt TEXT or --chat",
                       num_words == 0 ? "model" : "--prompt");
    if (o->system && !o->chat)
        return bm_fail(err, BM_E_ARGUMENT, "generate: --system without --chat");
    if (context->json && !o->prompt)
        return bm_fail(err, BM_E_ARGUMENT, "generate: --chat --json without --prompt TEXT");
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

static bm_status print_json(const generate_session *session, const text_sink *sink, const bm_generation *g,
                            size_t num_prompt, bool is_full, bm_error *err)
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
    cli_put_profile(session->context, &w, session->device);
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
static bm_status choose_count(const generate_session *session, size_t num_prompt, uint32_t *out, bm_error *err)
{
    const uint32_t positions = session->model->config.max_position_embeddings;
    const int64_t wanted = session->options->max_new_tokens;
    if (num_prompt >= positions && session->template)
        return bm_fail(
            err, BM_E_ARGUMENT,
            "--chat: the conversation has %zu tokens, and the model's context is %u tokens: no room for an answer; "
            "expected shorter messages, or a new conversation",
            num_prompt, positions);
    if (num_prompt >= positions)
        return bm_fail(err, BM_E_ARGUMENT,
                       "the prompt has %zu tokens, and the model's context is %u tokens: no room for a new one",
                       num_prompt, positions);
    const uint64_t room = positions - num_prompt;
    *out = (uint32_t)bm_min_u64((uint64_t)wanted, room);
    if (*out < (uint64_t)wanted)
        cli_say(session->context,
                "note: --max-new-tokens %lld: the model's context of %u has room for %u behind the %s's %zu",
                (long long)wanted, positions, *out, session->template ? "conversation" : "prompt", num_prompt);
    return BM_OK;
}

// That the text was cut off, by what, and what can be done.
static void say_full(const generate_session *session, size_t num_prompt, uint32_t num_new)
{
    cli_say(session->context, "the model's context of %u tokens is full: %zu of the %s and %u new, which end there%s",
            session->model->config.max_position_embeddings, num_prompt, session->template ? "conversation" : "prompt",
            num_new,
            session->template ? "; a next message has no room: begin a new conversation (run the command again)" : "");
}

// Goes on from sink->prompt, shows it and says the rates.
static bm_status go_on(generate_session *session, text_sink *sink, bm_error *err)
{
    bm_status status = BM_OK;
    cli_context *context = session->context;
    const generate_options *o = session->options;
    bm_token_list prompt = BM_TOKEN_LIST_INIT;
    bm_generation result = {0};
    uint32_t count = 0, scratch = 0;
    bool is_full = false;
    status = bm_tokenizer_encode(session->tokenizer, bm_string_text(&sink->prompt), sink->prompt.length,
                                 !session->template, &prompt, err);
    if (status != BM_OK) {
        bm_error_prefix(err, "--prompt");
        goto done;
    }
    BM_TRY(choose_count(session, prompt.count, &count, err));
    BM_TRY(bm_text_stream_create(&sink->stream, session->tokenizer, true, err));
    BM_TRY(push_prompt(sink, &prompt, err));
    if (!session->device) // a prompt that is refused needs none
        BM_TRY(cli_open_device(context, NULL, &session->device, err));
    const bm_token_list ends = choose_ends(session->model, session->tokenizer, &scratch);
    const bm_generate_params params = {.model = session->model,
                                       .device = session->device,
                                       .prompt = prompt.ids,
                                       .num_prompt = (uint32_t)prompt.count,
                                       .max_new_tokens = count,
                                       .end_ids = ends.ids,
                                       .num_end_ids = ends.count,
                                       .sample = {o->temperature, o->top_p, (uint64_t)o->seed},
                                       .resident = &session->resident,
                                       .progress = &context->progress,
                                       .on_token = write_token,
                                       .user = sink};
    BM_TRY(bm_generate(&params, &result, err));
    BM_TRY(sink->status);
    const size_t before = sink->all.length;
    is_full = !result.ended && prompt.count + result.num_new_tokens == session->model->config.max_position_embeddings;
    BM_TRY(bm_text_stream_finish(sink->stream, &sink->all, err));
    show(sink, before);
    if (context->json)
        BM_TRY(print_json(session, sink, &result, prompt.count, is_full, err));
    BM_FAIL_IF(cli_interrupted(), err, BM_E_CANCELLED, "interrupted");
done:
    if (sink->has_begun) { // what was generated so far stands on a line of its own, before the words on standard error
        printf("\n");
        fflush(stdout);
    }
    if (status == BM_OK) {
        cli_say(context, "%u token%s, %.1f tokens/s; prompt of %zu, %.1f tokens/s", result.num_new_tokens,
                bm_plural(result.num_new_tokens), rate(result.num_steps, result.decode_seconds), prompt.count,
                rate(prompt.count, result.prompt_seconds));
        if (is_full)
            say_full(session, prompt.count, result.num_new_tokens);
    }
    bm_text_stream_destroy(&sink->stream);
    bm_token_list_free(&prompt);
    return status;
}

static void sink_free(text_sink *sink)
{
    bm_string_free(&sink->prompt);
    bm_string_free(&sink->all);
}

// ---- conversations ----

typedef struct conversation {
    bm_chat_message messages[MAX_MESSAGES];
    char *contents[MAX_MESSAGES]; // theirs
    size_t count;
} conversation;

static bm_status add_message(conversation *talk, const char *role, const char *content, size_t length, bm_error *err)
{
    if (talk->count == MAX_MESSAGES)
        return bm_fail(err, BM_E_ARGUMENT, "--chat: more than %u messages in a conversation", MAX_MESSAGES);
    if (length > 0 && memchr(content, 0, length))
        return bm_fail(err, BM_E_FORMAT, "--chat: found a zero byte in the message of the %s, expected none", role);
    char *copy = bm_string_copy(content);
    if (!copy)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    talk->contents[talk->count] = copy;
    talk->messages[talk->count++] = (bm_chat_message){role, copy};
    return BM_OK;
}

// One message of the user and the answer to it, which joins the conversation.
static bm_status take_turn(generate_session *session, conversation *talk, const bm_string *text, bm_error *err)
{
    bm_status status = BM_OK;
    text_sink sink = {
        .context = session->context, .prompt = BM_STRING_INIT, .all = BM_STRING_INIT, .is_answer = true, .err = err};
    BM_TRY(add_message(talk, "user", bm_string_text(text), text->length, err));
    BM_TRY(bm_chat_template_render_for(session->template, session->tokenizer, talk->messages, talk->count, true,
                                       &sink.prompt, err));
    BM_FAIL_IF(sink.prompt.length == 0, err, BM_E_FORMAT,
               "%s: --chat: its chat template makes no text of the conversation, expected a prompt",
               session->options->model);
    BM_TRY(go_on(session, &sink, err));
    BM_TRY(add_message(talk, "assistant", bm_string_text(&sink.all), strlen(bm_string_text(&sink.all)), err));
done:
    sink_free(&sink);
    return status;
}

static bm_status converse(generate_session *session, bm_error *err)
{
    bm_status status = BM_OK;
    const generate_options *o = session->options;
    conversation *talk = bm_alloc_zero(1, sizeof *talk);
    bm_string text = BM_STRING_INIT;
    bool is_end = false;
    BM_FAIL_IF(!talk, err, BM_E_MEMORY, "out of memory");
    if (o->system)
        BM_TRY(add_message(talk, "system", o->system, strlen(o->system), err));
    if (o->prompt) {
        BM_TRY(read_prompt(o->prompt, &text, err));
        status = take_turn(session, talk, &text, err);
        goto done;
    }
    while (!is_end) {
        bm_string_clear(&text);
        BM_TRY(cli_read_line(session->context, &text, MAX_PROMPT_BYTES, &is_end, err));
        if (text.length > 0) // an empty line is no message
            BM_TRY(take_turn(session, talk, &text, err));
    }
done:
    for (size_t i = 0; talk && i < talk->count; i++)
        bm_free(talk->contents[i]);
    bm_free(talk);
    bm_string_free(&text);
    return status;
}

static bm_status generate(cli_context *context, const generate_options *o, bm_error *err)
{
    bm_status status = BM_OK;
    generate_session session = {.context = context, .options = o};
    text_sink sink = {.context = context, .prompt = BM_STRING_INIT, .all = BM_STRING_INIT, .err = err};
    if (!o->chat)
        BM_TRY(read_prompt(o->prompt, &sink.prompt, err));
    BM_TRY(cli_open_model(context, o->model, &session.model, err));
    BM_TRY(bm_tokenizer_open(&session.tokenizer, o->model, err));
    if (o->chat) {
        BM_TRY(bm_chat_template_open(&session.template, o->model, err));
        BM_FAIL_IF(!session.template, err, BM_E_ARGUMENT,
                   "%s: --chat: the model has no chat template (" BM_CHAT_SOURCE_WORDS ")", o->model);
    }
    BM_TRY(o->chat ? converse(&session, err) : go_on(&session, &sink, err));
done:
    sink_free(&sink);
    bm_chat_template_close(&session.template);
    bm_resident_destroy(&session.resident);
    bm_device_close(&session.device);
    bm_tokenizer_close(&session.tokenizer);
    bm_model_close(&session.model);
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

const cli_command cli_command_generate = {
    "generate", "MODEL --prompt TEXT|--chat [--system TEXT] [--temperature T] [--top-p P] [--seed N]",
    "writes text, greedy or sampled, with a float or quantized model", run, CLI_RUNS_ON_DEVICE};
