// The program: one table of subcommands.
#include "cli/cli.h"

#include "base/process.h"

#include <stdio.h>
#include <string.h>

static const cli_command *const commands[] = {
    &cli_command_quantize, &cli_command_eval,    &cli_command_generate, &cli_command_inspect,
    &cli_command_convert,  &cli_command_devices, &cli_command_bench,
};

static void print_usage(FILE *out)
{
    fprintf(out, "bitmill %s: quantizes large language models on any GPU\n\nUsage:\n", bm_version());
    for (size_t i = 0; i < BM_COUNT(commands); i++)
        fprintf(out, "  bitmill %s %s\n", commands[i]->name, commands[i]->usage);
    fprintf(out, "  bitmill help [COMMAND]\n  bitmill --help | --version\n\n");
    for (size_t i = 0; i < BM_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`bitmill help COMMAND` says more. Exit status: 0 done, 1 failed, 2 bad input or usage, or a file\n"
                 "that cannot be read or written, 3 no usable device, 130 interrupted.\n");
}

// What people's words on standard output come to shows only here: a full disk must not pass for success.
static int finish(int code)
{
    const bool is_written = fflush(stdout) == 0 && !ferror(stdout);
    cli_end_of_closed_pipe();
    if (!is_written && code == CLI_DONE) {
        fprintf(stderr, "bitmill: standard output: cannot write\n");
        return cli_exit_code(BM_E_IO);
    }
    return code;
}

// argv[0] is the command's name.
static int run_command(const char *program, int argc, char **argv)
{
    cli_context context;
    for (size_t i = 0; i < BM_COUNT(commands); i++) {
        if (strcmp(argv[0], commands[i]->name) != 0)
            continue;
        cli_context_init(&context, program);
        const int code = finish(commands[i]->run(&context, argc, argv));
        cli_context_free(&context);
        return code;
    }
    // Beyond two letters a guess helps nobody.
    const char *best = NULL;
    uint32_t nearest = 3;
    for (size_t i = 0; i < BM_COUNT(commands); i++) {
        const uint32_t distance = bm_edit_distance(argv[0], commands[i]->name);
        if (distance < nearest) {
            nearest = distance;
            best = commands[i]->name;
        }
    }
    char shown[80]; // the word as far as it is printable
    bm_printable(argv[0], strlen(argv[0]), shown, sizeof shown);
    if (best)
        fprintf(stderr, "bitmill: unknown command \"%s\"; did you mean %s? (bitmill --help)\n", shown, best);
    else
        fprintf(stderr, "bitmill: unknown command \"%s\"; bitmill --help lists them\n", shown);
    return CLI_BAD_INPUT;
}

static bool is_help_option(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int main(int argc, char **argv)
{
    if (!bm_process_open_standard_streams())
        return CLI_FAILED; // and there is nobody to tell
    if (argc < 2) {
        print_usage(stderr);
        return CLI_BAD_INPUT;
    }
    const bool is_help = strcmp(argv[1], "help") == 0;
    if (is_help && argc > 3) {
        fprintf(stderr, "bitmill: help: expected one command\n");
        return CLI_BAD_INPUT;
    }
    const char *last = argv[argc - 1];
    if (is_help && argc == 3 && !is_help_option(last)) {
        char option[] = "--help";
        char *words[] = {argv[2], option, NULL};
        return run_command(argv[0], 2, words);
    }
    if (is_help || is_help_option(argv[1])) {
        print_usage(stdout);
        return finish(CLI_DONE);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("bitmill %s\n", bm_version());
        return finish(CLI_DONE);
    }
    return run_command(argv[0], argc - 1, argv + 1);
}
