// The worst linears in words, and how to leave them out of the next run.
#include "report/linears.h"

#include <string.h>

enum { MAX_WORST = 5, STANDS_OUT = 4 };
static const char *const titles[MAX_WORST + 1] = {
    NULL, "The worst", "The two worst", "The three worst", "The four worst", "The five worst"};

// The linears that a runtime like vLLM computes as one layer, and so loads all as floats or none.
static const char *const layers[][3] = {{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj", NULL}};

static bool is_of_layer(const char *const layer[3], const char *kind)
{
    for (size_t i = 0; i < BM_COUNT(layers[0]) && layer[i]; i++)
        if (strcmp(layer[i], kind) == 0)
            return true;
    return false;
}

// Whether two linears of these names are parts of one layer: the same but for the last words, which belong together.
static bool is_one_layer(const char *a, const char *b)
{
    const char *a_end = strrchr(a, '.'), *b_end = strrchr(b, '.');
    if (!a_end || !b_end || a_end - a != b_end - b || memcmp(a, b, (size_t)(a_end - a)) != 0)
        return false;
    for (size_t i = 0; i < BM_COUNT(layers); i++)
        if (is_of_layer(layers[i], a_end + 1) && is_of_layer(layers[i], b_end + 1))
            return true;
    return false;
}

// Whether a linear is one of the num_worst, or of a layer with one of them.
static bool is_left_out(const report_linears *linears, uint32_t num_worst, const report_linear *linear)
{
    for (uint32_t i = 0; i < num_worst; i++)
        if (linears->by_share[i] == linear || is_one_layer(linears->by_share[i]->name, linear->name))
            return true;
    return false;
}

typedef struct left_out {
    uint32_t count;
    double share, weights;
} left_out;

static left_out sum_left_out(const report_linears *linears, uint32_t num_worst)
{
    left_out sum = {0};
    for (uint32_t i = 0; i < linears->count; i++)
        if (is_left_out(linears, num_worst, &linears->items[i])) {
            sum.count++;
            sum.share += linears->items[i].share;
            sum.weights += linears->items[i].weights;
        }
    return sum;
}

static void append_name(bm_string *list, const char *name)
{
    bm_json_writer json;
    (void)bm_string_append(list, list->length > 1 ? ", " : "");
    bm_json_writer_init(&json, list, 0);
    bm_json_put_string(&json, NULL, name);
}

// The value of skip_list_names as JSON: what was skipped already, then the worst, each with the rest of
// its layer.
static void append_skip_list(bm_string *list, const report_linears *linears, uint32_t num_worst, const bm_json *skipped)
{
    (void)bm_string_append(list, "[");
    for (const bm_json *item = skipped ? bm_json_first(skipped) : NULL; item; item = bm_json_next(item))
        if (bm_json_kind_of(item) == BM_JSON_STRING)
            append_name(list, bm_json_string(item));
    for (uint32_t i = 0; i < linears->count; i++)
        if (is_left_out(linears, num_worst, linears->by_share[i]) &&
            !bm_json_holds_string(skipped, linears->by_share[i]->name))
            append_name(list, linears->by_share[i]->name);
    (void)bm_string_append(list, "]");
}

// A word of a POSIX shell in single quotes; a quote in it ends them, stands behind a backslash, and begins them again.
static void append_shell_word(bm_string *out, const char *text)
{
    (void)bm_string_append(out, "'");
    for (const char *quote = strchr(text, '\''); quote; quote = strchr(text, '\'')) {
        (void)bm_string_append_bytes(out, text, (size_t)(quote - text));
        (void)bm_string_append(out, "'\\''");
        text = quote + 1;
    }
    (void)bm_string_append(out, text);
    (void)bm_string_append(out, "'");
}

static void write_line(const char *words, const bm_string *line, bm_string *out)
{
    (void)bm_string_append_format(out, "<p>%s</p>\n<pre>", words);
    html_text(out, bm_string_text(line));
    (void)bm_string_append(out, "</pre>\n");
    out->failed |= line->failed;
}

static void write_lines(const report_linears *linears, uint32_t num_worst, const bm_json *skipped, bm_string *out)
{
    bm_string list = BM_STRING_INIT, value = BM_STRING_INIT, line = BM_STRING_INIT;
    append_skip_list(&list, linears, num_worst, skipped);
    (void)bm_string_append_format(&line, "\"skip_list_names\": %s", bm_string_text(&list));
    write_line("In a parameter file:", &line, out);
    bm_string_clear(&line);
    (void)bm_string_append_format(&value, "skip_list_names=%s", bm_string_text(&list));
    (void)bm_string_append(&line, "--set ");
    append_shell_word(&line, bm_string_text(&value));
    write_line("On the command line:", &line, out);
    out->failed |= list.failed || value.failed;
    bm_string_free(&list);
    bm_string_free(&value);
    bm_string_free(&line);
}

static const char fused[] = "<p class=\"soft\">A runtime that computes several linears as one layer (vLLM: q, k and v; "
                            "gate and up) loads a result "
                            "only when all of them are in this list, or none: so each layer is whole in it.</p>\n";

static void write_one(const report_linears *linears, const report_linear *linear, bm_string *out)
{
    const int digits = linears->percent_digits;
    (void)bm_string_append(out, "<li><b>");
    html_name(out, linear->name, strlen(linear->name));
    (void)bm_string_append_format(out, "</b> has %.*f&nbsp;%% of the %s", digits, 100 * linear->share, linears->error);
    if (linears->has_weights)
        (void)bm_string_append_format(out, " in %.*f&nbsp;%% of the weights", digits, 100 * linear->weights);
    (void)bm_string_append(out, "</li>\n");
}

// The largest STANDS_OUT times the one in the middle, 6 dB, or less: then relative errors have no worst ones, and how far
// the largest is from it is said instead. Squared errors grow with the linears: of those the worst always count.
static uint32_t num_worst_of(const report_linears *linears, bm_string *out)
{
    const double middle = linears->by_share[linears->count / 2]->share, largest = linears->by_share[0]->share;
    const double least = linears->of_layers ? STANDS_OUT * middle : 0;
    uint32_t num = 0;
    while (num < MAX_WORST && num < linears->count && linears->by_share[num]->share > least)
        num++;
    if (num == 0 && largest > 0)
        (void)bm_string_append_format(out,
                                      "<p>No linear stands out: the largest %s is %.1f times the one in the "
                                      "middle.</p>\n",
                                      linears->error, largest / middle);
    return num;
}

void report_worst_write(const report_linears *linears, const bm_json *skipped, bm_string *out)
{
    uint32_t num = num_worst_of(linears, out);
    left_out sum = sum_left_out(linears, num);
    while (num > 0 && sum.count == linears->count) // one at least stays quantized: a run refuses to leave out all
        sum = sum_left_out(linears, --num);
    if (num == 0)
        return;
    (void)bm_string_append_format(out, "<h3>%s</h3>\n<ol>\n", titles[num]);
    for (uint32_t i = 0; i < num; i++)
        write_one(linears, linears->by_share[i], out);
    (void)bm_string_append(out, "</ol>\n<p>Left as floats in the next run, ");
    if (sum.count > num)
        (void)bm_string_append_format(out, "with the %u that make whole layers of them, ", sum.count - num);
    (void)bm_string_append_format(out, "%s %.1f&nbsp;%% of the %s away", sum.count == 1 ? "it takes" : "they take",
                                  100 * sum.share, linears->error);
    if (linears->has_weights)
        (void)bm_string_append_format(out, " and %s %.1f&nbsp;%% of these weights as large as they were",
                                      sum.count == 1 ? "leaves" : "leave", 100 * sum.weights);
    (void)bm_string_append(out, ".</p>\n");
    write_lines(linears, num, bm_json_kind_of(skipped) == BM_JSON_ARRAY ? skipped : NULL, out);
    (void)bm_string_append(out, fused);
}
