// bitmill convert: recognised from the start, refused by name until it is built.
#include "cli/cli.h"

static int run(cli_context *context, int argc, char **argv)
{
    bm_error err = {0};
    const char *words[2], *format = NULL, *output = NULL;
    uint32_t num_words;
    bool help;
    const cli_option options[] = {
        {"--format", CLI_TEXT, &format, "F", "the format to write"},
        {"--output", CLI_TEXT, &output, "DIR", "the folder to create"},
    };
    bm_status status = cli_parse(context, &cli_command_convert, options, BM_COUNT(options), argc, argv, words, 1,
                                 &num_words, &help, &err);
    if (status == BM_OK && !help)
        status = bm_fail(&err, BM_E_UNSUPPORTED,
                         "convert is not built yet in this version; quantize --set format=F writes compressed-tensors, "
                         "gptq and awq");
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}

const cli_command cli_command_convert = {"convert", "MODEL --format F --output DIR",
                                         "between checkpoint formats (not built yet)", run, CLI_RUNS_ON_DEVICE};
