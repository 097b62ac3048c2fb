// The page, part by part.
#include "report/report.h"

#include "report/linears.h"
#include "report/stages.h"
#include "report/time_chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void write_card(bm_string *out, const char *value, const char *words)
{
    (void)bm_string_append(out, "<div class=\"card\"><b>");
    html_text(out, value);
    (void)bm_string_append(out, "</b>");
    html_text(out, words);
    (void)bm_string_append(out, "</div>\n");
}

static void write_cards(const bm_json *record, bm_string *out)
{
    const double input = record_number(record, "input_bytes"), output = record_number(record, "output_bytes");
    const double before = record_number(bm_json_find(record, "before"), "perplexity");
    const double after = record_number(bm_json_find(record, "after"), "perplexity");
    const double seconds = record_number(record, "seconds");
    char value[64], words[128];
    (void)bm_string_append(out, "<div class=\"cards\">\n");
    if (output > 0 && input > 0) {
        snprintf(value, sizeof value, "%.2f MB", output / 1e6);
        snprintf(words, sizeof words, "of weights, was %.2f MB (%.1f %%)", input / 1e6, 100 * output / input);
        write_card(out, value, words);
    }
    if (before > 0 && after > 0) {
        snprintf(value, sizeof value, "%.4f", after);
        snprintf(words, sizeof words, "perplexity, was %.4f (%+.2f %%)", before, 100 * (after / before - 1));
        write_card(out, value, words);
    }
    if (seconds >= 0) {
        snprintf(value, sizeof value, "%.1f s", seconds);
        write_card(out, value, "in all");
    }
    (void)bm_string_append(out, "</div>\n");
}

// Words for what the arguments came to. A key without words says nothing that another one does not.
static const struct {
    const char *key, *words;
} resolved_words[] = {{"job", "method"},
                      {"quant_type", NULL}, // method and bits
                      {"weight_bits", "bits"},
                      {"weight_quant_method", NULL}, // group size
                      {"group_size", "scales"},
                      {"symmetric", "symmetric"},
                      {"scale_search", "scale search"},
                      {"signed_scales", "scales of both signs"},
                      {"clip", "clipping"},
                      {"needs_calibration", "reads calibration data"},
                      {"fp8_activation", "type of activations"},
                      {"fp8_weight", "type of weights"},
                      {"storage_dtype", "float tensors as"}};
static const char *const value_words[][2] = {
    {"rounding", "plain rounding"},        {"gptq", "GPTQ"},
    {"awq", "AWQ, then plain rounding"},   {"evaluate", "evaluation alone"},
    {"mse", "least squared error (mse)"},  {"weighted_mse", "least squared error, weighted by channels (weighted_mse)"},
    {"gram", "least output error (gram)"}, {"abs_max", "the largest weight decides (abs_max)"}};

// Nothing is said of null, nor of calibration data that nobody read.
static bool says_nothing(const char *key, const bm_json *value)
{
    const bm_json_kind kind = bm_json_kind_of(value);
    return kind == BM_JSON_NULL ||
           (strcmp(key, "needs_calibration") == 0 && kind == BM_JSON_BOOL && !bm_json_bool(value));
}

static void write_scales(const bm_json *resolved, bm_string *out)
{
    const char *method = record_string(resolved, "weight_quant_method");
    const double group_size = record_number(resolved, "group_size");
    char text[64] = "one a channel";
    if (group_size > 0 && (!method || strcmp(method, "groupwise") == 0))
        snprintf(text, sizeof text, "one a group of %.0f weights", group_size);
    html_row(out, "scales", text);
}

static void write_resolved(const bm_json *resolved, const bm_json *item, bm_string *out)
{
    const char *key = bm_json_key(item), *words = key;
    const char *text = record_string(resolved, key);
    for (size_t i = 0; i < BM_COUNT(resolved_words); i++)
        if (strcmp(resolved_words[i].key, key) == 0)
            words = resolved_words[i].words;
    for (size_t i = 0; i < BM_COUNT(value_words) && text; i++)
        if (strcmp(value_words[i][0], text) == 0)
            text = value_words[i][1];
    if (!words || says_nothing(key, item))
        return;
    if (strcmp(key, "group_size") == 0)
        write_scales(resolved, out);
    else if (text)
        html_row(out, words, text);
    else
        html_value_row(out, words, item);
}

// "24 of 28 quantized": the others are in skip_list_names.
static void write_num_linears(const bm_json *record, bm_string *out)
{
    const bm_json *linears = bm_json_find(record, "linears");
    const double all = record_number(record, "num_linears");
    char text[64];
    if (!linears || bm_json_kind_of(linears) != BM_JSON_ARRAY || !(all > 0))
        return;
    snprintf(text, sizeof text, "%u of %.0f quantized", (unsigned)bm_json_count(linears), all);
    html_row(out, "linears", text);
}

// How: what the arguments came to, and where it ran.
static void write_summary(const bm_json *record, bm_string *out)
{
    const bm_json *device = bm_json_find(record, "device"), *resolved = bm_json_find(record, "resolved");
    (void)bm_string_append(out, "<h2>What was done</h2>\n<table>\n");
    for (const bm_json *item = resolved ? bm_json_first(resolved) : NULL; item; item = bm_json_next(item))
        if (bm_json_key(item))
            write_resolved(resolved, item, out);
    write_num_linears(record, out);
    html_row(out, "device", record_string(device, "name"));
    html_row(out, "driver", record_string(device, "driver"));
    html_row(out, "output", record_string(record, "output"));
    html_row(out, "finished", record_string(record, "finished"));
    html_row(out, "bitmill", record_string(record, "bitmill_version"));
    (void)bm_string_append(out, "</table>\n");
}

static void write_evaluation(const bm_json *before, const bm_json *after, const char *title, bm_string *out)
{
    // As many digits as `bitmill eval` prints, the same in both columns.
    static const struct {
        const char *key, *words;
        int digits;
    } rows[] = {{"perplexity", "perplexity", 4},
                {"loss", "loss, nats a token", 5},
                {"accuracy", "accuracy of the next token", 4},
                {"tokens", "tokens scored", 0}};
    if (!before || !after)
        return;
    (void)bm_string_append_format(out, "<h2>%s</h2>\n", title);
    (void)bm_string_append(out, "<table><thead><tr><th></th><th class=\"n\">before</th>"
                                "<th class=\"n\">after</th></tr></thead>\n");
    for (size_t i = 0; i < BM_COUNT(rows); i++) {
        const double was = record_number(before, rows[i].key), is = record_number(after, rows[i].key);
        if (isfinite(was) && isfinite(is))
            (void)bm_string_append_format(out,
                                          "<tr><th>%s</th><td class=\"n\">%.*f</td><td class=\"n\">%.*f</td></tr>\n",
                                          rows[i].words, rows[i].digits, was, rows[i].digits, is);
    }
    (void)bm_string_append(out, "</table>\n");
}

// A colour a phase, in the bar and in the table that explains it.
static void write_phase_colour(const bm_json *phase, uint32_t index, bm_string *out)
{
    (void)bm_string_append(out, "background:");
    report_phase_fill(out, record_string(phase, "name"), index);
    (void)bm_string_append(out, "\"></i>");
}

// Of a record that lacks it: 0.
static double phase_seconds(const bm_json *phase)
{
    const double seconds = record_number(phase, "seconds");
    return isfinite(seconds) && seconds > 0 ? fmin(seconds, 1e9) : 0;
}

static void write_phases(const bm_json *record, bm_string *out)
{
    const bm_json *phases = bm_json_find(record, "phases");
    double sum = 0;
    if (!phases || bm_json_kind_of(phases) != BM_JSON_ARRAY)
        return;
    for (const bm_json *phase = bm_json_first(phases); phase; phase = bm_json_next(phase))
        sum += phase_seconds(phase);
    (void)bm_string_append(out, "<h2>Time</h2>\n<div class=\"time\">");
    uint32_t index = 0;
    for (const bm_json *phase = bm_json_first(phases); phase && sum > 0; phase = bm_json_next(phase)) {
        (void)bm_string_append_format(out, "<i style=\"width:%.3f%%;", 100 * phase_seconds(phase) / sum);
        write_phase_colour(phase, index++, out);
    }
    (void)bm_string_append(out, "</div>\n<table>\n");
    index = 0;
    for (const bm_json *phase = bm_json_first(phases); phase; phase = bm_json_next(phase)) {
        (void)bm_string_append(out, "<tr><th><i class=\"key\" style=\"");
        write_phase_colour(phase, index++, out);
        html_text(out, record_string(phase, "name"));
        (void)bm_string_append_format(out, "</th><td class=\"n\">%.2f s</td></tr>\n", phase_seconds(phase));
    }
    (void)bm_string_append(out, "</table>\n");
}

static void write_notes(const bm_json *record, bm_string *out)
{
    const bm_json *notes = bm_json_find(record, "notes");
    if (!notes || bm_json_kind_of(notes) != BM_JSON_ARRAY || !bm_json_first(notes))
        return;
    (void)bm_string_append(out, "<h2>Notes</h2>\n<ul>\n");
    for (const bm_json *note = bm_json_first(notes); note; note = bm_json_next(note)) {
        (void)bm_string_append(out, "<li>");
        html_value(out, note);
        (void)bm_string_append(out, "</li>\n");
    }
    (void)bm_string_append(out, "</ul>\n");
}

// Arguments that were given, or (given false) those that had their defaults.
static void write_arguments(const bm_json *record, bool given, bm_string *out)
{
    const bm_json *arguments = bm_json_find(record, "arguments");
    for (const bm_json *item = arguments ? bm_json_first(arguments) : NULL; item; item = bm_json_next(item))
        if (bm_json_key(item) && bm_json_holds_string(bm_json_find(record, "given"), bm_json_key(item)) == given)
            html_value_row(out, bm_json_key(item), item);
}

bm_status bm_report_write(const bm_json *record, bm_string *out, bm_error *err)
{
    const bm_json *arguments = bm_json_find(record, "arguments");
    const char *model = record_string(arguments, "model_name_or_path");
    html_begin(out, model ? model : "bitmill");
    (void)bm_string_append(out, "<h1>");
    html_text(out, model ? model : "A quantized model");
    (void)bm_string_append(out, "</h1>\n<p class=\"soft\">quantized by bitmill</p>\n");
    write_cards(record, out);
    report_warnings_write(record, out);
    write_summary(record, out);
    write_evaluation(bm_json_find(record, "before"), bm_json_find(record, "after"), "Evaluation", out);
    write_evaluation(bm_json_find(record, "test_before"), bm_json_find(record, "test_after"), "Evaluation on test data",
                     out);
    report_calibration_write(record, out);
    report_linears_write(record, out);
    report_stages_write(record, out);
    write_phases(record, out);
    report_time_chart_write(record, out);
    write_notes(record, out);
    (void)bm_string_append(out, "<h2>Arguments</h2>\n<table>\n");
    write_arguments(record, true, out);
    (void)bm_string_append(out, "</table>\n<details><summary>Defaults</summary>\n<table>\n");
    write_arguments(record, false, out);
    (void)bm_string_append(out, "</table></details>\n");
    html_end(out);
    return out->failed ? bm_fail(err, BM_E_MEMORY, "out of memory") : BM_OK;
}
