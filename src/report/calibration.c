// What a method that watched inputs did: warnings for the top of the page, and a section.
#include "report/linears.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAMED = 10 }; // linears that the warnings name

// The least and the largest of a number over all linears; NAN before the first.
typedef struct range {
    double least, largest;
} range;

typedef struct calibration {
    range tokens, per_channel, damping;
    double channels;      // of the widest linear that saw tokens
    double enough_tokens; // for it; 0: there were enough
    double error, rounding;
    uint32_t num_raised, num_on_host, num_fell_back;
    double num_dead; // of the linear that has the most
} calibration;

static void widen(range *r, double value)
{
    r->least = fmin(r->least, value); // of a number and NAN both give the number
    r->largest = fmax(r->largest, value);
}

static const bm_json *first_linear(const bm_json *record)
{
    const bm_json *linears = bm_json_find(record, "linears");
    return linears && bm_json_kind_of(linears) == BM_JSON_ARRAY ? bm_json_first(linears) : NULL;
}

static void add_linear(calibration *c, const bm_json *linear)
{
    const double tokens = record_number(linear, "tokens"), per_channel = record_number(linear, "tokens_per_channel");
    const double error = record_number(linear, "output_error");
    const double rounding = record_number(linear, "output_error_rounding");
    widen(&c->tokens, tokens);
    widen(&c->per_channel, per_channel);
    widen(&c->damping, record_number(linear, "damping"));
    if (per_channel > 0)
        c->channels = fmax(c->channels, tokens / per_channel);
    if (error >= 0 && rounding >= 0) {
        c->error += error;
        c->rounding += rounding;
    }
    c->num_raised += record_number(linear, "damping_raised") > 0;
    c->num_on_host += record_is_true(linear, "factored_on_host");
    c->num_fell_back += record_is_true(linear, "fell_back");
    c->num_dead = fmax(c->num_dead, record_number(linear, "dead_channels"));
}

static calibration summarize(const bm_json *record)
{
    const range none = {(double)NAN, (double)NAN};
    calibration c = {.tokens = none, .per_channel = none, .damping = none};
    for (const bm_json *linear = first_linear(record); linear; linear = bm_json_next(linear))
        add_linear(&c, linear);
    if (c.per_channel.least < REPORT_ENOUGH_TOKENS)
        c.enough_tokens = round(REPORT_ENOUGH_TOKENS * c.channels);
    return c;
}

static void write_fallen(const bm_json *record, uint32_t count, bm_string *out)
{
    uint32_t num_named = 0;
    for (const bm_json *linear = first_linear(record); linear && num_named < MAX_NAMED; linear = bm_json_next(linear)) {
        const char *name = record_string(linear, "name"), *reason = record_string(linear, "reason");
        if (!record_is_true(linear, "fell_back") || !name)
            continue;
        num_named++;
        (void)bm_string_append(out, "<li><b>");
        html_name(out, name, strlen(name));
        (void)bm_string_append(out, "</b> was rounded plainly");
        if (reason) {
            (void)bm_string_append(out, ": ");
            html_text(out, reason);
        }
        (void)bm_string_append(out, "</li>\n");
    }
    if (count > num_named)
        (void)bm_string_append_format(out, "<li>So were %u more; the table of calibration marks them.</li>\n",
                                      count - num_named);
}

void report_warnings_write(const bm_json *record, bm_string *out)
{
    const calibration c = summarize(record);
    if (c.num_fell_back == 0 && !(c.enough_tokens > 0))
        return;
    (void)bm_string_append(out, "<ul class=\"warn\">\n");
    write_fallen(record, c.num_fell_back, out);
    if (c.enough_tokens > 0)
        (void)bm_string_append_format(out,
                                      "<li><b>Few calibration tokens</b>: %.0f for up to %.0f input channels; %.0f "
                                      "would be enough, %d a channel.</li>\n",
                                      c.tokens.least, c.channels, c.enough_tokens, REPORT_ENOUGH_TOKENS);
    (void)bm_string_append(out, "</ul>\n");
}

// "0.01", or "0.01 to 0.4".
static void write_range(const char *heading, const range *r, bm_string *out)
{
    char least[REPORT_NUMBER_SIZE], largest[REPORT_NUMBER_SIZE], text[2 * REPORT_NUMBER_SIZE + 4];
    if (isnan(r->least))
        return;
    short_number(r->least, least);
    short_number(r->largest, largest);
    if (strcmp(least, largest) != 0)
        snprintf(text, sizeof text, "%s to %s", least, largest);
    html_row(out, heading, strcmp(least, largest) != 0 ? text : least);
}

static void write_count(const char *heading, const char *words, uint32_t count, bm_string *out)
{
    char text[64];
    snprintf(text, sizeof text, "%u linear%s%s", count, count == 1 ? "" : "s", words);
    if (count > 0)
        html_row(out, heading, text);
}

void report_calibration_write(const bm_json *record, bm_string *out)
{
    const calibration c = summarize(record);
    char text[64];
    if (isnan(c.tokens.least))
        return;
    const bm_json *data = bm_json_find(bm_json_find(record, "resolved"), "calibration");
    (void)bm_string_append(out, "<h2>Calibration</h2>\n<table>\n");
    html_row(out, "data", record_string(data, "source"));
    html_value_row(out, "sequences", bm_json_find(data, "sequences"));
    snprintf(text, sizeof text, "%.0f", c.tokens.least);
    html_row(out, "tokens", text);
    write_range("tokens an input channel", &c.per_channel, out);
    if (c.error != c.rounding && isfinite(c.error / c.rounding)) { // plain rounding has nothing to compare
        snprintf(text, sizeof text, "%.1f %% of rounding to the same grids%s", 100 * c.error / c.rounding,
                 c.enough_tokens > 0 ? " (few tokens)" : "");
        html_row(out, "error of outputs", text);
    }
    write_range("damping", &c.damping, out);
    write_count("damping raised", "", c.num_raised, out);
    write_count("factored on the host", ", in float64", c.num_on_host, out);
    write_count("rounded plainly", "", c.num_fell_back, out);
    if (c.num_dead > 0) {
        snprintf(text, sizeof text, "up to %.0f in a linear", c.num_dead);
        html_row(out, "channels that no token used", text);
    }
    (void)bm_string_append(out, "</table>\n");
}
