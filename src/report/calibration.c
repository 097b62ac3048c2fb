// What a method that watched inputs did: warnings for the top of the page, and a section.
#include "report/linears.h"
#include "report/report.h"
#include "report/stages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAMED = 10 }; // linears that the warnings name

// The least and the largest of a number over all linears; NAN before the first.
typedef struct range {
    double least, largest;
} range;

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

// Over all linears: that of a member that they have.
static range range_of(const bm_json *record, const char *key)
{
    range r = {(double)NAN, (double)NAN};
    for (const bm_json *linear = first_linear(record); linear; linear = bm_json_next(linear))
        widen(&r, record_number(linear, key));
    return r;
}

static void write_fallen(const bm_json *record, double count, bm_string *out)
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
        (void)bm_string_append_format(out, "<li>So were %.0f more; the table of calibration marks them.</li>\n",
                                      count - num_named);
}

// The linear that the largest share of saturated inputs has, and how many have many of them.
static void write_saturated(const bm_json *record, bm_string *out)
{
    const char *worst = NULL;
    double largest = REPORT_MUCH_SATURATED;
    uint32_t count = 0;
    char text[REPORT_NUMBER_SIZE];
    for (const bm_json *linear = first_linear(record); linear; linear = bm_json_next(linear)) {
        const bm_json *both = bm_json_find(bm_json_find(linear, "layer_error"), "both");
        const double share = record_number(both, "saturated_share");
        count += share > REPORT_MUCH_SATURATED;
        if (share > largest && record_string(linear, "name")) {
            largest = share;
            worst = record_string(linear, "name");
        }
    }
    if (!worst)
        return;
    (void)bm_string_append(out, "<li><b>");
    html_name(out, worst, strlen(worst));
    (void)bm_string_append_format(out, "</b>: %s&nbsp;%% of its inputs are beyond the largest 8-bit value",
                                  short_number(100 * largest, text));
    if (count > 1)
        (void)bm_string_append_format(out, "; %u linears have more than %g&nbsp;%% of such", count,
                                      100 * REPORT_MUCH_SATURATED);
    (void)bm_string_append(out, ".</li>\n");
}

// Searches that did not choose anything, or not as they should, and why.
static const struct {
    const char *object, *key; // of a stage: a flag that says it
    const char *one, *many;   // so many of what
    const char *why;
} poor_searches[] = {{"search", "nothing_finite", "search without a result", "searches without a result",
                      "no candidate had a finite loss. Scales stay 1 there."},
                     {"search", "skipped", "search without a result", "searches without a result",
                      "there were fewer than two tokens. Scales stay 1 there."},
                     {"search", "one_sided", "search not judged crosswise", "searches not judged crosswise",
                      "one half of the sequences has no tokens. Scales were judged by what they are made of there."},
                     {"amax", "skipped", "step without a search", "steps without a search",
                      "there were fewer than two tokens. The largest magnitude decides there."}};

static void write_poor_searches(const bm_json *record, size_t kind, bm_string *out)
{
    const bm_json *first = NULL;
    uint32_t count = 0;
    for (const bm_json *s = report_stage_first(record, NULL); s; s = report_stage_next(s, NULL))
        if (record_is_true(bm_json_find(s, poor_searches[kind].object), poor_searches[kind].key)) {
            first = first ? first : s;
            count++;
        }
    if (!first)
        return;
    (void)bm_string_append_format(out, "<li><b>%u %s</b>", count,
                                  count == 1 ? poor_searches[kind].one : poor_searches[kind].many);
    if (isfinite(record_number(first, "block")))
        (void)bm_string_append_format(out, ", the first in block %.0f", record_number(first, "block"));
    (void)bm_string_append_format(out, ": %s</li>\n", poor_searches[kind].why);
}

static void write_skipped_steps(const bm_json *record, bm_string *out)
{
    uint32_t count = 0;
    for (const bm_json *linear = first_linear(record); linear; linear = bm_json_next(linear))
        count += record_is_true(linear, "search_skipped");
    if (count > 0)
        (void)bm_string_append_format(out,
                                      "<li><b>%u linear%s without a search of steps</b>: there were fewer than two "
                                      "tokens. The largest weights decide there.</li>\n",
                                      count, count == 1 ? "" : "s");
}

void report_warnings_write(const bm_json *record, bm_string *out)
{
    const bm_json *sum = bm_json_find(record, "calibration");
    const double num_fell_back = record_number(sum, "fell_back"), tokens_enough = record_number(sum, "tokens_enough");
    const double num_skipped = record_number(sum, "skipped_sequences");
    bm_string items = BM_STRING_INIT;
    if (num_fell_back > 0)
        write_fallen(record, num_fell_back, &items);
    if (num_skipped > 0)
        (void)bm_string_append_format(&items,
                                      "<li><b>%.0f of %.0f sequences left out</b>: their activations "
                                      "overflowed.</li>\n",
                                      num_skipped, record_number(sum, "all_sequences"));
    if (tokens_enough > 0) {
        const char *key = record_string(sum, "key_to_raise");
        (void)bm_string_append_format(&items,
                                      "<li><b>Few calibration tokens</b>: %.0f for %.0f input channels; %.0f would be "
                                      "enough, %d a channel",
                                      record_number(sum, "tokens"), record_number(sum, "channels"), tokens_enough,
                                      REPORT_ENOUGH_TOKENS);
        if (key)
            (void)bm_string_append(&items, ": raise ");
        html_text(&items, key);
        (void)bm_string_append(&items, ".</li>\n");
    }
    write_saturated(record, &items);
    for (size_t kind = 0; kind < BM_COUNT(poor_searches); kind++)
        write_poor_searches(record, kind, &items);
    write_skipped_steps(record, &items);
    if (items.length > 0)
        (void)bm_string_append_format(out, "<ul class=\"warn\">\n%s</ul>\n", bm_string_text(&items));
    out->failed |= items.failed;
    bm_string_free(&items);
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

static void write_count(const char *heading, double count, const char *one, const char *words, bm_string *out)
{
    char text[64];
    snprintf(text, sizeof text, "%.0f %s%s%s", count, one, count == 1 ? "" : "s", words);
    if (count > 0)
        html_row(out, heading, text);
}

// "8 sequences, 407 tokens".
static void write_extent(const char *heading, const bm_json *object, bm_string *out)
{
    const double sequences = record_number(object, "sequences"), tokens = record_number(object, "tokens");
    char text[128];
    snprintf(text, sizeof text, "%.0f sequence%s, %.0f token%s", sequences, sequences == 1 ? "" : "s", tokens,
             tokens == 1 ? "" : "s");
    if (isfinite(sequences) && isfinite(tokens))
        html_row(out, heading, text);
}

void report_calibration_write(const bm_json *record, bm_string *out)
{
    const bm_json *sum = bm_json_find(record, "calibration");
    const bm_json *data = bm_json_find(bm_json_find(record, "resolved"), "calibration");
    const double left = record_number(sum, "output_error") / record_number(sum, "output_error_rounding");
    const range per_channel = range_of(record, "tokens_per_channel"), damping = range_of(record, "damping");
    const double num_dead = range_of(record, "dead_channels").largest;
    char text[64];
    if (isnan(record_number(sum, "tokens")))
        return;
    (void)bm_string_append(out, "<h2>Calibration</h2>\n<table>\n");
    html_row(out, "data", record_string(data, "source"));
    write_extent("inputs looked at", report_stage_first(record, NULL), out); // each phase has steps of its own
    write_extent("linears solved by", sum, out);
    write_count("left out", record_number(sum, "skipped_sequences"), "sequence", "", out);
    write_range("tokens an input channel", &per_channel, out);
    if (left != 1 && isfinite(left)) { // plain rounding has nothing to compare
        snprintf(text, sizeof text, "%.1f %% of rounding to the same grids%s", 100 * left,
                 record_number(sum, "tokens_enough") > 0 ? " (few tokens)" : "");
        html_row(out, "error of outputs", text);
    }
    write_count("kept as plainly rounded", record_number(sum, "guarded_rows"), "row", "", out);
    write_range("damping", &damping, out);
    write_count("damping raised", record_number(sum, "damping_raised"), "linear", "", out);
    write_count("factored on the host", record_number(sum, "factored_on_host"), "linear", ", in float64", out);
    write_count("rounded plainly", record_number(sum, "fell_back"), "linear", "", out);
    if (num_dead > 0) {
        snprintf(text, sizeof text, "up to %.0f in a linear", num_dead);
        html_row(out, "channels that no token used", text);
    }
    (void)bm_string_append(out, "</table>\n");
}
