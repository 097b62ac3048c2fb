// cli: main and one file per subcommand. It alone prints, reads the environment and turns a status into an exit code.
#ifndef BM_CLI_CLI_H
#define BM_CLI_CLI_H

#include <bitmill/bitmill.h>
#include "base/base.h"
#include "base/str.h"
#include "formats/json.h"
#include "model/model.h"

// Exit statuses of the program.
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_BAD_INPUT = 2, CLI_NO_DEVICE = 3, CLI_INTERRUPTED = 130 };
int cli_exit_code(bm_status status);

// Values of an option that may be given several times.
typedef struct cli_list {
    const char *items[64];
    uint32_t count;
} cli_list;

// What every subcommand accepts, and where its output goes: messages for people and progress to standard error, results
// to standard output. --json makes results machine-readable, --quiet silences the messages, --verbose adds debug lines.
typedef struct cli_context {
    const char *program;     // argv[0]
    const char *device;      // --device, NULL: not given
    cli_list variants;       // --variant
    bm_string variant_words; // the same with commas between them
    bool profile;            // --profile
    bool json, quiet, verbose;
    bool stdout_is_terminal, stderr_is_terminal;
    bool progress_open;  // a progress line is on the terminal and must be ended before other output
    bool phase_complete; // that line says 100 %
    uint64_t last_progress_ns;
    char last_phase[64];
    uint64_t said[4096]; // hashes of debug lines: each is said once
    char *cache_folder;
    bm_log log;
    bm_progress progress;
} cli_context;

void cli_context_init(cli_context *context, const char *program);
void cli_context_free(cli_context *context);
// A message for people on standard error; silent under --quiet. In this and the next, control characters of what is quoted
// (paths, names) are shown as '?'.
void cli_say(cli_context *context, const char *format, ...) BM_PRINTF(2, 3);
// A line of a result for people on standard output.
void cli_print(const char *format, ...) BM_PRINTF(1, 2);
// Text of a model, or of the user, on standard output. A terminal would obey control characters in it: there all but line
// breaks and tabs are shown as U+FFFD. Files and pipes get the bytes as they are, zero bytes too.
void cli_write_text(const cli_context *context, const char *text, size_t length);
// Appends what comes from standard input, at most max_bytes, to *out. Ctrl-C, TERM and HUP end the
// program meanwhile.
bm_status cli_read_input(bm_string *out, uint64_t max_bytes, bm_error *err);
// The same of one line, without its end; "> " asks for it where somebody types. *is_end: it was the last.
bm_status cli_read_line(const cli_context *context, bm_string *out, uint64_t max_bytes, bool *is_end, bm_error *err);
// The progress callback; its user is the context.
int cli_report_progress(void *user, const bm_progress_report *report);
// The words of a report in at most columns characters.
void cli_progress_words(const bm_progress_report *report, uint32_t columns, char *out, size_t size);
// Ends a progress line that is on the terminal, so that the results behind it begin a line of their own.
void cli_end_progress(cli_context *context);
// Takes it away instead: the line of a result stands in its place, and it is drawn anew below.
void cli_erase_progress(cli_context *context);
// Prints err's message as the one line "bitmill: ..." and returns the exit code.
int cli_fail(cli_context *context, bm_status status, const bm_error *err);
// Writes a finished JSON text and a newline to standard output.
bm_status cli_print_json(bm_string *json, bm_error *err);
// True once Ctrl-C was pressed, or the reader of what we write has gone.
bool cli_interrupted(void);
// Ends the program by SIGPIPE, as others end, if the reader of what it writes has gone: called when nothing is left that
// wants a clean end.
void cli_end_of_closed_pipe(void);

// One option of a subcommand. A value option takes what follows '=' or the next word, which
// must not start with "--".
typedef enum cli_option_kind { CLI_FLAG, CLI_TEXT, CLI_LIST, CLI_INTEGER, CLI_NUMBER } cli_option_kind;
typedef struct cli_option {
    const char *name; // "--bits"
    cli_option_kind kind;
    void *out;         // bool *, const char **, cli_list *, int64_t *, double *
    const char *value; // name of the value in help, "N"
    const char *help;  // one line
} cli_option;

// An integer option without a default starts as this, so that a given 0 is not taken for no option at all; it is refused as a
// value.
#define CLI_NOT_GIVEN INT64_MIN

// What a subcommand does with a device, and so which of --device and --variant it takes.
typedef enum cli_device_use {
    CLI_RUNS_ON_DEVICE,  // both
    CLI_NAMES_DEVICE,    // --device alone
    CLI_KNOWS_NO_DEVICE, // neither
} cli_device_use;

// A subcommand: its row in the table of main.c.
typedef struct cli_command {
    const char *name;
    const char *usage;                                       // "MODEL --data FILE [--reference MODEL]"
    const char *summary;                                     // one line
    int (*run)(cli_context *context, int argc, char **argv); // argv[0] is the subcommand's name
    cli_device_use device_use;
} cli_command;

// Reads options (and those that all subcommands share) in any place among the positional arguments, which are collected
// in positional, at most max_positional. --help prints and sets *help. Errors: BM_E_ARGUMENT with the nearest known
// option.
bm_status cli_parse(cli_context *context, const cli_command *command, const cli_option *options, uint32_t num_options,
                    int argc, char **argv, const char **positional, uint32_t max_positional, uint32_t *num_positional,
                    bool *help, bm_error *err);

// A storage type by either of its names, in any case: float32 or F32, float16 or F16, bfloat16 or BF16, float64 or F64.
bool cli_find_dtype(const char *text, bm_dtype *out);
// What --variant asked for, as bm_device_params takes it; NULL: nothing was asked for.
const char *cli_variants(const cli_context *context);
// Opens a model that is to be run, with a note on tensors that it does not read. Errors: those of bm_model_open, and
// BM_E_UNSUPPORTED for a model that cannot be run.
bm_status cli_open_model(cli_context *context, const char *folder, bm_model **out, bm_error *err);
// Opens the device that --device (or fallback) names, with cache, log and a progress phase for compilation.
bm_status cli_open_device(cli_context *context, const char *fallback, bm_device **out, bm_error *err);

// With --profile: the array "profile" of a result, what each kernel took on the device so far. device NULL: none was opened.
void cli_put_profile(const cli_context *context, bm_json_writer *w, bm_device *device);

// bitmill bench --compile, once its options are read: returns the exit status.
int cli_bench_compile(cli_context *context);

extern const cli_command cli_command_quantize, cli_command_eval, cli_command_generate, cli_command_inspect,
    cli_command_devices, cli_command_bench, cli_command_convert;

#endif
