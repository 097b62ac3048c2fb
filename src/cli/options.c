// Command-line words to options, by a table.
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void print_option(const char *name, const char *value, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", name, value ? " " : "", value ? value : "");
    printf("  %-28s %s\n", left, help);
}

static void print_help(const cli_command *command, const cli_option *options, uint32_t num_options,
                       const cli_option *common, uint32_t num_common)
{
    printf("Usage: bitmill %s %s\n\n%s\n\nOptions:\n", command->name, command->usage, command->summary);
    for (uint32_t i = 0; i < num_options; i++)
        print_option(options[i].name, options[i].value, options[i].help);
    for (uint32_t i = 0; i < num_common; i++)
        print_option(common[i].name, common[i].value, common[i].help);
    print_option("--help", NULL, "this text");
}

static const cli_option *find_option(const cli_option *options, uint32_t count, const char *word, size_t length)
{
    for (uint32_t i = 0; i < count; i++)
        if (strlen(options[i].name) == length && strncmp(options[i].name, word, length) == 0)
            return &options[i];
    return NULL;
}

static bm_status unknown_option(const cli_command *command, const cli_option *options, uint32_t num_options,
                                const cli_option *common, uint32_t num_common, const char *word, bm_error *err)
{
    char given[32]; // the word without "=value"; longer than any option, should it be cut
    snprintf(given, sizeof given, "%.*s", (int)bm_min_u64(strcspn(word, "="), sizeof given), word);
    // Beyond three letters, or half of the word, a guess helps nobody.
    const char *best = NULL;
    uint32_t nearest = 4;
    for (uint32_t i = 0; i <= num_options + num_common; i++) {
        const char *name = i < num_options                ? options[i].name
                           : i < num_options + num_common ? common[i - num_options].name
                                                          : "--help";
        const uint32_t distance = bm_edit_distance(given, name);
        if (distance < nearest && 2 * (uint64_t)distance < strlen(given + strspn(given, "-"))) {
            best = name;
            nearest = distance;
        }
    }
    if (best)
        return bm_fail(err, BM_E_ARGUMENT, "%s: unknown option \"%s\"; did you mean %s?", command->name, word, best);
    return bm_fail(err, BM_E_ARGUMENT, "%s: unknown option \"%s\"; bitmill %s --help lists them", command->name, word,
                   command->name);
}

static bm_status store(const cli_command *command, const cli_option *option, const char *value, bm_error *err)
{
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)option->out = true;
        return BM_OK;
    case CLI_TEXT:
        *(const char **)option->out = value;
        return BM_OK;
    case CLI_LIST: {
        cli_list *list = option->out;
        if (list->count == BM_COUNT(list->items))
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s given more than %u times", command->name, option->name,
                           (unsigned)BM_COUNT(list->items));
        list->items[list->count++] = value;
        return BM_OK;
    }
    case CLI_INTEGER:
        if (!bm_parse_i64(value, option->out) || *(int64_t *)option->out == CLI_NOT_GIVEN)
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s \"%s\", expected an integer%s", command->name, option->name,
                           value, value[strspn(value, "-0123456789")] ? "" : " of at most 64 bits");
        return BM_OK;
    case CLI_NUMBER:
        if (!bm_parse_double(value, option->out))
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s \"%s\", expected a number", command->name, option->name, value);
        return BM_OK;
    }
    return BM_E_INTERNAL;
}

bool cli_find_dtype(const char *text, bm_dtype *out)
{
    static const struct {
        const char *name;
        bm_dtype dtype;
    } names[] = {
        {"float32", BM_DTYPE_F32}, {"float16", BM_DTYPE_F16}, {"bfloat16", BM_DTYPE_BF16}, {"float64", BM_DTYPE_F64}};
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (bm_equal_ignore_case(text, names[i].name) || bm_equal_ignore_case(text, bm_dtype_name(names[i].dtype))) {
            *out = names[i].dtype;
            return true;
        }
    return false;
}

bm_status cli_parse(cli_context *context, const cli_command *command, const cli_option *options, uint32_t num_options,
                    int argc, char **argv, const char **positional, uint32_t max_positional, uint32_t *num_positional,
                    bool *help, bm_error *err)
{
    const cli_option shared[] = {
        {"--variant", CLI_LIST, &context->variants, "K=NAME",
         "a kernel by name: gemm=generic, attention=plain, gemm_int8=generic; gemm=auto: no tuning"},
        {"--profile", CLI_FLAG, &context->profile, NULL,
         "how long each kernel took on the device: a table at the end, and in --json"},
        {"--device", CLI_TEXT, &context->device, "D",
         "auto, gpu, gpu:1, host, vulkan:0, opencl:nvidia, ... (see bitmill devices)"},
        {"--json", CLI_FLAG, &context->json, NULL, "results as JSON on standard output"},
        {"--quiet", CLI_FLAG, &context->quiet, NULL, "no words or progress on standard error"},
        {"--verbose", CLI_FLAG, &context->verbose, NULL, "say which kernels were chosen, and more"},
    };
    // Those that a command has no use for stand first.
    const uint32_t unused = command->device_use == CLI_RUNS_ON_DEVICE ? 0
                            : command->device_use == CLI_NAMES_DEVICE ? 2
                                                                      : 3;
    const cli_option *common = shared + unused;
    const uint32_t num_common = BM_COUNT(shared) - unused;
    *num_positional = 0;
    *help = false;
    bool only_words = false; // behind "--"
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_words || word[0] != '-' || word[1] == '\0') {
            if (*num_positional == max_positional || word[0] == '\0')
                return bm_fail(
                    err, BM_E_ARGUMENT,
                    "%s: unexpected word \"%s\" (a name with blanks is given in quotes); usage: bitmill %s %s",
                    command->name, word, command->name, command->usage);
            positional[(*num_positional)++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command, options, num_options, common, num_common);
            *help = true;
            return BM_OK;
        }
        const char *equals = strchr(word, '=');
        const size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const cli_option *option = find_option(options, num_options, word, length);
        if (!option)
            option = find_option(common, num_common, word, length);
        if (!option)
            return unknown_option(command, options, num_options, common, num_common, word, err);
        const char *value = equals ? equals + 1 : NULL;
        if (option->kind == CLI_FLAG && value)
            return bm_fail(err, BM_E_ARGUMENT, "%s: %s takes no value", command->name, option->name);
        if (option->kind != CLI_FLAG && !value) {
            if (i + 1 >= argc)
                return bm_fail(err, BM_E_ARGUMENT, "%s: %s needs a value", command->name, option->name);
            // The next option is not taken for the value of one whose value was forgotten.
            if (strncmp(argv[i + 1], "--", 2) == 0)
                return bm_fail(err, BM_E_ARGUMENT, "%s: %s needs a value (one that starts with -- is given as %s=%s)",
                               command->name, option->name, option->name, argv[i + 1]);
            value = argv[++i];
        }
        const bm_status status = store(command, option, value, err);
        if (status != BM_OK)
            return status;
    }
    if (context->profile && context->quiet && !context->json)
        return bm_fail(err, BM_E_ARGUMENT,
                       "%s: --profile: its table goes to standard error, which --quiet silences; --json has it too",
                       command->name);
    if (context->verbose)
        context->log.level = BM_LOG_DEBUG;
    for (uint32_t i = 0; i < context->variants.count; i++)
        (void)bm_string_append_format(&context->variant_words, "%s%s", i ? "," : "", context->variants.items[i]);
    return context->variant_words.failed ? bm_fail(err, BM_E_MEMORY, "out of memory") : BM_OK;
}
