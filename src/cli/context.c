// How the program speaks: words, progress, JSON, interruption.
#include "cli/cli.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "model/block.h"
#include "base/process.h"
#include "ops/variants.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Set by the signal handlers alone; the one piece of process-wide state, owned by main.
static volatile sig_atomic_t interrupted, pipe_is_closed;
static volatile sig_atomic_t interrupted_ms; // when, by a clock that may wrap

#define SAME_INTERRUPT_MS 1000

// A second one ends the program the hard way, should the clean end hang. Within a second it is the first one once more:
// timeout signals its child and then the child's group, and a terminal and a shell may both pass a Ctrl-C on.
static void on_interrupt(int signal_number)
{
    const unsigned now_ms = (unsigned)(bm_clock_ns() / 1000000);
    if (!interrupted) {
        interrupted_ms = (sig_atomic_t)now_ms;
        interrupted = 1;
    } else if (now_ms - (unsigned)interrupted_ms >= SAME_INTERRUPT_MS) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
        return;
    }
    bm_process_take_signal(signal_number, on_interrupt);
}

// While nothing is open that wants a clean end.
static void on_interrupt_at_once(int signal_number)
{
    (void)signal_number;
    _Exit(CLI_INTERRUPTED);
}

#ifdef SIGPIPE
static void on_closed_pipe(int signal_number)
{
    (void)signal_number;
    interrupted = pipe_is_closed = 1;
}
#endif

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_end_of_closed_pipe(void)
{
#ifdef SIGPIPE
    if (pipe_is_closed) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
#endif
}

static void take_interrupts(void (*handler)(int))
{
    bm_process_take_signal(SIGINT, handler);
    bm_process_take_signal(SIGTERM, handler);
#ifdef SIGHUP
    bm_process_take_signal(SIGHUP, handler); // the terminal is gone
#endif
}

int cli_exit_code(bm_status status)
{
    switch (status) {
    case BM_OK:
        return CLI_DONE;
    case BM_E_ARGUMENT:
    case BM_E_FORMAT:
    case BM_E_UNSUPPORTED:
    case BM_E_IO:
    case BM_E_NUMERIC:
        return CLI_BAD_INPUT;
    case BM_E_CANCELLED:
        return CLI_INTERRUPTED;
    case BM_E_DEVICE:
        return CLI_NO_DEVICE;
    case BM_E_MEMORY:
    case BM_E_INTERNAL:
        break;
    }
    return CLI_FAILED;
}

// One line; what it quotes may hold anything.
static void print_line(FILE *out, const char *format, va_list arguments)
{
    char line[8192]; // a path of 4096 bytes, and words around it
    vsnprintf(line, sizeof line, format, arguments);
    bm_make_printable(line);
    fprintf(out, "%s\n", line);
}

void cli_say(cli_context *context, const char *format, ...)
{
    va_list arguments;
    if (context->quiet)
        return;
    cli_end_progress(context);
    va_start(arguments, format);
    print_line(stderr, format, arguments);
    va_end(arguments);
}

void cli_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(stdout, format, arguments);
    va_end(arguments);
}

void cli_write_text(const cli_context *context, const char *text, size_t length)
{
    if (!context->stdout_is_terminal) {
        fwrite(text, 1, length, stdout);
        return;
    }
    for (size_t i = 0; i < length;) {
        const size_t control = bm_control_length(text + i, length - i);
        if (control > 0 && text[i] != '\n' && text[i] != '\t')
            fputs("\xEF\xBF\xBD", stdout); // U+FFFD
        else
            fputc(text[i], stdout);
        i += control > 0 ? control : 1;
    }
}

bm_status cli_read_input(bm_string *out, uint64_t max_bytes, bm_error *err)
{
    char block[4096];
    bm_status status = BM_OK;
    take_interrupts(on_interrupt_at_once); // a read that waits for somebody to type must not outlast them
    if (interrupted)                       // before they were taken so
        on_interrupt_at_once(0);
    // On a terminal a read behind its end would wait for a second one.
    for (size_t got; status == BM_OK && !feof(stdin) && (got = fread(block, 1, sizeof block, stdin)) > 0;) {
        if (got > max_bytes - bm_min_u64(out->length, max_bytes))
            status = bm_fail(err, BM_E_ARGUMENT, "standard input: more than %llu bytes", (unsigned long long)max_bytes);
        else if (!bm_string_append_bytes(out, block, got))
            status = bm_fail(err, BM_E_MEMORY, "standard input: out of memory");
    }
    if (status == BM_OK && ferror(stdin))
        status = bm_fail(err, BM_E_IO, "standard input: cannot read");
    take_interrupts(on_interrupt);
    return status;
}

bm_status cli_read_line(const cli_context *context, bm_string *out, uint64_t max_bytes, bool *is_end, bm_error *err)
{
    bm_status status = BM_OK;
    int c = EOF;
    if (context->stdout_is_terminal && bm_process_terminal_columns(0) > 0) {
        printf("> ");
        fflush(stdout);
    }
    take_interrupts(on_interrupt_at_once);
    if (interrupted)
        on_interrupt_at_once(0);
    while (status == BM_OK && !feof(stdin) && (c = getc(stdin)) != EOF && c != '\n') {
        if (out->length >= max_bytes)
            status = bm_fail(err, BM_E_ARGUMENT, "standard input: more than %llu bytes in a line",
                             (unsigned long long)max_bytes);
        else if (!bm_string_append_bytes(out, &(char){(char)c}, 1))
            status = bm_fail(err, BM_E_MEMORY, "standard input: out of memory");
    }
    if (out->length > 0 && out->data[out->length - 1] == '\r')
        out->data[--out->length] = '\0';
    *is_end = c == EOF;
    if (status == BM_OK && ferror(stdin))
        status = bm_fail(err, BM_E_IO, "standard input: cannot read");
    take_interrupts(on_interrupt);
    return status;
}

// Facts on kernels and weights come again at each pass and batch. Two that meet in one place may both be said again.
static bool has_been_said(cli_context *context, const char *message)
{
    const uint64_t hash = bm_hash64(message, strlen(message), 0);
    uint64_t *place = &context->said[hash % BM_COUNT(context->said)];
    const bool has = *place == hash;
    *place = hash;
    return has;
}

static void write_log(void *user, bm_log_level level, const char *message)
{
    static const char *const prefixes[] = {"error: ", "warning: ", "", "", ""};
    cli_context *context = user;
    if ((context->quiet && level > BM_LOG_ERROR) || (level >= BM_LOG_DEBUG && has_been_said(context, message)))
        return;
    cli_end_progress(context);
    fprintf(stderr, "%s%s\n", prefixes[level], message);
}

void cli_context_init(cli_context *context, const char *program)
{
    *context = (cli_context){.program = program,
                             .stdout_is_terminal = bm_process_terminal_columns(1) > 0,
                             .stderr_is_terminal = bm_process_terminal_columns(2) > 0};
    context->cache_folder = bm_user_cache_folder();
    context->log = (bm_log){.level = BM_LOG_INFO, .write = write_log, .user = context};
    context->progress = (bm_progress){.report = cli_report_progress, .user = context};
    take_interrupts(on_interrupt);
#ifdef SIGPIPE
    bm_process_take_signal(SIGPIPE, on_closed_pipe);
#endif
#ifdef SIGXFSZ
    bm_process_take_signal(SIGXFSZ, SIG_IGN); // a file beyond the user's limit is a write that fails, as on a full disk
#endif
}

void cli_context_free(cli_context *context)
{
    cli_end_progress(context);
    bm_free(context->cache_folder);
    bm_string_free(&context->variant_words);
}

const char *cli_variants(const cli_context *context)
{
    return context->variant_words.length > 0 ? context->variant_words.data : NULL;
}

int cli_fail(cli_context *context, bm_status status, const bm_error *err)
{
    cli_end_progress(context);
    cli_end_of_closed_pipe();
    if (status == BM_E_CANCELLED)
        fprintf(stderr, "bitmill: interrupted\n");
    else
        fprintf(stderr, "bitmill: %s\n", err->message[0] ? err->message : bm_status_name(status));
    return cli_exit_code(status);
}

bm_status cli_print_json(bm_string *json, bm_error *err)
{
    if (json->failed)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    if (fputs(bm_string_text(json), stdout) < 0 || fputc('\n', stdout) == EOF || fflush(stdout) != 0)
        return bm_fail(err, BM_E_IO, "standard output: cannot write");
    return BM_OK;
}

bm_status cli_open_model(cli_context *context, const char *folder, bm_model **out, bm_error *err)
{
    bm_model_words remarks[BM_MAX_MODEL_REMARKS];
    bm_status status = bm_model_open(out, folder, err);
    if (status == BM_OK)
        status = bm_block_check_runnable(*out, err);
    if (status != BM_OK) {
        bm_model_close(out);
        return status;
    }
    const uint32_t count = bm_model_remarks(*out, "not read", remarks);
    for (uint32_t i = 0; i < count; i++)
        cli_say(context, "note: %s: %s", folder, remarks[i].text);
    return BM_OK;
}

bm_status cli_open_device(cli_context *context, const char *fallback, bm_device **out, bm_error *err)
{
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = context->device ? context->device : fallback ? fallback : "auto";
    params.cache_folder = context->cache_folder;
    params.log = &context->log;
    params.variants = cli_variants(context);
    params.profile = context->profile;
    bm_status status = bm_device_open(out, &params, err);
    if (status == BM_OK)
        status = bm_variants_resolve(*out, err);
    if (status != BM_OK)
        bm_device_close(out);
    else
        cli_say(context, "device: %s, %s (%s)", bm_device_get_info(*out)->spec, bm_device_get_info(*out)->name,
                bm_device_get_info(*out)->driver);
    return status;
}
