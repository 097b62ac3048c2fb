// The section on the inputs of linears: shifted, scaled, searched and quantized.
#include "report/stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPEN = 4 }; // blocks: of more the first alone is not folded

const report_stage_kind report_stage_kinds[REPORT_NUM_STAGE_KINDS] = {
    {"qkv", "q, k, v"}, {"o", "o"}, {"gate_up", "gate, up"}, {"down", "down"}};

static bool is_of(const bm_json *stage, const report_stage_kind *kind)
{
    const char *name = record_string(stage, "stage");
    return bm_json_kind_of(stage) == BM_JSON_OBJECT && (!kind || (name && strcmp(name, kind->name) == 0));
}

static const bm_json *skip_others(const bm_json *stage, const report_stage_kind *kind)
{
    while (stage && !is_of(stage, kind))
        stage = bm_json_next(stage);
    return stage;
}

const bm_json *report_stage_first(const bm_json *record, const report_stage_kind *kind)
{
    const bm_json *stages = bm_json_find(record, "stages");
    return stages && bm_json_kind_of(stages) == BM_JSON_ARRAY ? skip_others(bm_json_first(stages), kind) : NULL;
}

const bm_json *report_stage_next(const bm_json *stage, const report_stage_kind *kind)
{
    return skip_others(bm_json_next(stage), kind);
}

double report_stage_amax(const bm_json *stage, const char *side)
{
    const double amax = record_number(bm_json_find(stage, "amax"), side);
    return amax > 0 && isfinite(amax) ? amax : (double)NAN;
}

double report_stage_outliers(const bm_json *stage, const char *side)
{
    const bm_json *ranges = bm_json_find(bm_json_find(stage, "ranges"), side);
    const bm_json *low = bm_json_find(ranges, "low"), *high = bm_json_find(ranges, "high");
    double sum = 0;
    uint32_t count = 0;
    if (!low || !high)
        return (double)NAN;
    low = bm_json_first(low);
    high = bm_json_first(high);
    for (; low && high; low = bm_json_next(low), high = bm_json_next(high), count++) {
        if (bm_json_kind_of(low) != BM_JSON_NUMBER || bm_json_kind_of(high) != BM_JSON_NUMBER)
            return (double)NAN;
        sum += fmax(fabs(bm_json_number(low)), fabs(bm_json_number(high)));
    }
    return sum > 0 && isfinite(sum) ? report_stage_amax(stage, side) / (sum / count) : (double)NAN;
}

double report_stage_loss(const bm_json *stage)
{
    const bm_json *search = bm_json_find(stage, "search");
    const double part = record_number(search, "loss") / record_number(search, "identity_loss");
    return isfinite(part) && part >= 0 ? part : (double)NAN;
}

// ---- all blocks together

static int compare_numbers(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double outliers_before(const bm_json *stage)
{
    return report_stage_outliers(stage, "before");
}

static double outliers_after(const bm_json *stage)
{
    return report_stage_outliers(stage, "after");
}

static double amax_share(const bm_json *stage)
{
    const double share = record_number(bm_json_find(stage, "amax"), "share");
    return share > 0 && share <= 1 ? share : (double)NAN;
}

static double num_pieces(const bm_json *stage)
{
    return record_number(bm_json_find(stage, "search"), "pieces");
}

// A cell: the number in the middle of all blocks, and the least and largest where they differ.
static void write_spread(const bm_json *record, const report_stage_kind *kind, double (*of)(const bm_json *),
                         double factor, double *numbers, bm_string *out)
{
    char middle[REPORT_NUMBER_SIZE], least[REPORT_NUMBER_SIZE], largest[REPORT_NUMBER_SIZE];
    uint32_t count = 0;
    for (const bm_json *s = report_stage_first(record, kind); s; s = report_stage_next(s, kind))
        if (isfinite(of(s)))
            numbers[count++] = factor * of(s);
    (void)bm_string_append(out, "<td class=\"n\">");
    if (count > 0) {
        qsort(numbers, count, sizeof *numbers, compare_numbers);
        short_number(numbers[count / 2], middle);
        short_number(numbers[0], least);
        short_number(numbers[count - 1], largest);
        (void)bm_string_append(out, middle);
        if (strcmp(least, largest) != 0)
            (void)bm_string_append_format(out, " <span class=\"soft sums\">(%s to %s)</span>", least, largest);
    }
    (void)bm_string_append(out, "</td>");
}

static uint32_t count_with(const bm_json *record, const report_stage_kind *kind, const char *key)
{
    uint32_t count = 0;
    for (const bm_json *s = report_stage_first(record, kind); s; s = report_stage_next(s, kind))
        count += bm_json_find(s, key) != NULL;
    return count;
}

// AWQ's search has none.
static bool searches_pieces(const bm_json *record)
{
    for (const bm_json *s = report_stage_first(record, NULL); s; s = report_stage_next(s, NULL))
        if (record_number(bm_json_find(s, "search"), "most_pieces") > 0)
            return true;
    return false;
}

// Whether all that is said of inputs is that they stay float: nothing of theirs has 8 bits then.
static bool inputs_stay_float(const bm_json *record)
{
    bool any = false;
    for (const bm_json *s = report_stage_first(record, NULL); s; s = report_stage_next(s, NULL)) {
        const char *kind = record_string(bm_json_find(s, "input"), "kind");
        if (kind && strcmp(kind, "float") != 0)
            return false;
        any |= kind != NULL;
    }
    return any;
}

static void write_overview(const bm_json *record, double *numbers, bm_string *out)
{
    const bool searched = count_with(record, NULL, "search") > 0, has_pieces = searches_pieces(record);
    const bool shifted = count_with(record, NULL, "shift") > 0;
    bool has_shares = false;
    for (const bm_json *s = report_stage_first(record, NULL); s; s = report_stage_next(s, NULL))
        has_shares |= isfinite(amax_share(s));
    (void)bm_string_append_format(
        out,
        "<div class=\"wide\"><table>\n<thead><tr><th>inputs of</th>%s"
        "<th class=\"n\">scaled</th><th class=\"n\">outliers before</th>"
        "<th class=\"n\">after</th>%s%s%s</tr></thead>\n",
        shifted ? "<th class=\"n\">shifted</th>" : "", has_shares ? "<th class=\"n\">amax, % of the largest</th>" : "",
        searched ? "<th class=\"n\">loss left, %</th>" : "", has_pieces ? "<th class=\"n\">pieces</th>" : "");
    for (const report_stage_kind *kind = report_stage_kinds; kind < report_stage_kinds + REPORT_NUM_STAGE_KINDS;
         kind++) {
        if (!report_stage_first(record, kind))
            continue;
        (void)bm_string_append_format(out, "<tr><td>%s</td>", kind->words);
        if (shifted)
            (void)bm_string_append_format(out, "<td class=\"n\">%u</td>", count_with(record, kind, "shift"));
        (void)bm_string_append_format(out, "<td class=\"n\">%u</td>", count_with(record, kind, "scales"));
        write_spread(record, kind, outliers_before, 1, numbers, out);
        write_spread(record, kind, outliers_after, 1, numbers, out);
        if (has_shares)
            write_spread(record, kind, amax_share, 100, numbers, out);
        if (searched)
            write_spread(record, kind, report_stage_loss, 100, numbers, out);
        if (has_pieces)
            write_spread(record, kind, num_pieces, 1, numbers, out);
        (void)bm_string_append(out, "</tr>\n");
    }
    (void)bm_string_append(out, "</table></div>\n");
}

// ---- one stage

static void write_title(const bm_json *stage, bm_string *out)
{
    const char *name = record_string(stage, "stage"), *words = name;
    const double channels = record_number(stage, "channels");
    for (size_t k = 0; k < REPORT_NUM_STAGE_KINDS && name; k++)
        if (strcmp(name, report_stage_kinds[k].name) == 0)
            words = report_stage_kinds[k].words;
    (void)bm_string_append(out, "<figure>\n<figcaption>inputs of <b>");
    html_text(out, words ? words : "?");
    (void)bm_string_append(out, "</b>");
    if (channels > 0)
        (void)bm_string_append_format(out, ", %.0f channels", channels);
    (void)bm_string_append(out, "</figcaption>\n");
}

static void append_part(bm_string *line, const char *words)
{
    (void)bm_string_append(line, line->length > 0 ? "; " : "");
    (void)bm_string_append(line, words);
}

// "amax 81.2, then 4.31, 85 % of the largest"
static void append_amax(const bm_json *stage, bm_string *line)
{
    char was[REPORT_NUMBER_SIZE], is[REPORT_NUMBER_SIZE];
    const double before = report_stage_amax(stage, "before"), after = report_stage_amax(stage, "after");
    if (isnan(before) || isnan(after))
        return;
    append_part(line, "amax ");
    (void)bm_string_append_format(line, "%s, then %s", short_number(before, was), short_number(after, is));
    if (isfinite(amax_share(stage)))
        (void)bm_string_append_format(line, ", %s %% of the largest", short_number(100 * amax_share(stage), is));
}

static void append_input(const bm_json *stage, bm_string *line)
{
    char text[REPORT_NUMBER_SIZE];
    const bm_json *input = bm_json_find(stage, "input");
    const char *kind = record_string(input, "kind");
    const double step = record_number(input, "step");
    if (kind && strcmp(kind, "dynamic") == 0)
        append_part(line, "a step a token");
    else if (step > 0) {
        append_part(line, "step ");
        (void)bm_string_append(line, short_number(step, text));
    }
}

static void append_shift(const bm_json *stage, bm_string *line)
{
    const bm_json *shift = bm_json_find(stage, "shift");
    const bm_json *applied = bm_json_find(shift, "applied");
    if (shift)
        append_part(line, applied && bm_json_kind_of(applied) == BM_JSON_BOOL && !bm_json_bool(applied)
                              ? "a shift would have enlarged them"
                              : "shifted");
}

static void append_scales(const bm_json *stage, bm_string *line)
{
    char least[REPORT_NUMBER_SIZE], largest[REPORT_NUMBER_SIZE];
    const bm_json *scales = bm_json_find(stage, "scales");
    const double from = record_number(scales, "least"), to = record_number(scales, "largest");
    const double limited = record_number(scales, "limited_channels");
    if (!isfinite(from) || !isfinite(to))
        return;
    append_part(line, "scales ");
    (void)bm_string_append_format(line, "%s to %s", short_number(from, least), short_number(to, largest));
    if (limited > 0)
        (void)bm_string_append_format(line, ", %.0f of them limited by the type of weights", limited);
}

// The share of the loss that more pieces have to take off; NAN: none is asked.
static double margin_of(const bm_json *record)
{
    const bm_json *arguments = bm_json_find(record, "arguments");
    const char *compat = record_string(arguments, "compat");
    const double margin = record_number(arguments, "search_margin");
    return margin > 0 && !(compat && strcmp(compat, "paddleslim") == 0) ? margin : (double)NAN;
}

// The largest number of pieces that was tried.
static double num_tried_of(const bm_json *search)
{
    const bm_json *numbers = bm_json_find(search, "loss_by_pieces");
    double most = 0;
    if (numbers && bm_json_kind_of(numbers) == BM_JSON_ARRAY)
        for (const bm_json *item = bm_json_first(numbers); item; item = bm_json_next(item))
            most = fmax(most, record_number(item, "pieces"));
    return most;
}

// How many pieces, and why not more.
static void append_pieces(const bm_json *record, const bm_json *search, bm_string *line)
{
    char text[REPORT_NUMBER_SIZE];
    const double pieces = record_number(search, "pieces"), num_tried = num_tried_of(search);
    const double margin = margin_of(record);
    if (pieces > 0)
        (void)bm_string_append_format(line, " with %.0f piece%s of up to %.0f", pieces, pieces == 1 ? "" : "s",
                                      record_number(search, "most_pieces"));
    else if (pieces == 0)
        (void)bm_string_append(line, " with one choice for all channels");
    if (num_tried > pieces) {
        append_part(line, pieces > 0 ? "more pieces did not lower it" : "pieces did not lower it");
        if (margin > 0)
            (void)bm_string_append_format(line, " by search_margin (%s %%)", short_number(100 * margin, text));
    }
}

static void append_search(const bm_json *record, const bm_json *stage, bm_string *line)
{
    char text[REPORT_NUMBER_SIZE];
    const bm_json *search = bm_json_find(stage, "search");
    const double loss = report_stage_loss(stage);
    if (record_is_true(search, "skipped"))
        append_part(line, "no search: fewer than two tokens");
    else if (record_is_true(search, "nothing_finite"))
        append_part(line, "no loss of the search was finite");
    if (isnan(loss))
        return;
    if (loss >= 1) {
        append_part(line, "no scales: no candidate lost less than without");
        return;
    }
    append_part(line, "loss left ");
    (void)bm_string_append_format(line, "%s %%", short_number(100 * loss, text));
    append_pieces(record, search, line);
}

static void write_stage(const bm_json *record, const bm_json *stage, bm_string *out)
{
    bm_string line = BM_STRING_INIT;
    append_amax(stage, &line);
    append_input(stage, &line);
    append_shift(stage, &line);
    append_scales(stage, &line);
    if (record_is_true(stage, "as_operations"))
        append_part(&line, "by operations before the linears");
    append_search(record, stage, &line);
    write_title(stage, out);
    if (line.length > 0) {
        (void)bm_string_append(out, "<p class=\"soft\">");
        html_text(out, bm_string_text(&line));
        (void)bm_string_append(out, "</p>\n");
    }
    report_range_chart_write(stage, out);
    report_search_chart_write(stage, out);
    report_pieces_write(stage, out);
    (void)bm_string_append(out, "</figure>\n");
    out->failed |= line.failed;
    bm_string_free(&line);
}

// ---- block by block

static bool begins_block(const bm_json *stage, const bm_json *previous)
{
    return !previous || record_number(stage, "block") != record_number(previous, "block");
}

static void write_block_head(const bm_json *stage, bool is_open, bm_string *out)
{
    const double block = record_number(stage, "block");
    char text[64] = "?";
    if (isfinite(block))
        snprintf(text, sizeof text, "%.0f", block);
    (void)bm_string_append_format(out, "<details%s><summary>block %s</summary>\n<div class=\"charts\">\n",
                                  is_open ? " open" : "", text);
}

static void write_blocks(const bm_json *record, bm_string *out)
{
    uint32_t num_blocks = 0;
    const bm_json *previous = NULL;
    for (const bm_json *s = report_stage_first(record, NULL); s; previous = s, s = report_stage_next(s, NULL))
        num_blocks += begins_block(s, previous);
    previous = NULL;
    for (const bm_json *s = report_stage_first(record, NULL); s; previous = s, s = report_stage_next(s, NULL)) {
        if (begins_block(s, previous)) {
            (void)bm_string_append(out, previous ? "</div></details>\n" : "");
            write_block_head(s, num_blocks <= MAX_OPEN || !previous, out);
        }
        write_stage(record, s, out);
    }
    (void)bm_string_append(out, "</div></details>\n");
}

static const char what_outliers_of_floats_are[] =
    "<p class=\"soft\">amax: what the observer takes for the largest input, over the calibration. Outliers: amax over "
    "how far a channel reaches, the mean of all: where it is 1, all channels reach as far. A row sums up all blocks: "
    "the "
    "number in the middle, and the least and the largest.</p>\n";
static const char what_ranges_of_floats_are[] =
    "<p class=\"soft\">Ranges: each side is as high as what it has to hold; channels are shown several neighbours at a "
    "time where they are many. Dashed: amax.</p>\n";
static const char what_losses_of_ratios_are[] =
    "<p class=\"soft\">Losses: of each ratio that was tried for the scales of all channels; the dot is the least of a "
    "line. Dashed: without scales.</p>\n";
static const char what_outliers_are[] =
    "<p class=\"soft\">amax: what the observer takes for the largest input, over the calibration, or the share of the "
    "largest that loses least; the largest 8-bit value stands for it, and inputs beyond it saturate. Outliers: amax "
    "over how far a channel reaches, the mean of all: "
    "where it is 100, most channels have one or two of the 127 values, where it is 1, all of them. A row sums up all "
    "blocks: the number in the middle, and the least and the largest.</p>\n";
static const char what_ranges_are[] =
    "<p class=\"soft\">Ranges: each side is as high as what it has to hold, so that it shows how much of the 8-bit "
    "values a channel uses; channels are shown several neighbours at a time where they are many. Dashed: amax.</p>\n";
static const char what_losses_are[] =
    "<p class=\"soft\">Losses: a line a piece, which tries each candidate for the first time while the other pieces "
    "stay; the dot is its least. Candidates that a part of the tokens ruled out have no point. Dashed: without scales. "
    "Pieces count from the smallest channels on; 0 of them: one choice for all channels, or none.</p>\n";

void report_stages_write(const bm_json *record, bm_string *out)
{
    if (!report_stage_first(record, NULL))
        return;
    double *numbers = bm_alloc(bm_json_count(bm_json_find(record, "stages")), sizeof *numbers);
    if (!numbers) {
        out->failed = true;
        return;
    }
    (void)bm_string_append(out, "<h2>Inputs of the linears</h2>\n");
    const bool is_float = inputs_stay_float(record);
    (void)bm_string_append(out, is_float ? what_outliers_of_floats_are : what_outliers_are);
    write_overview(record, numbers, out);
    report_outlier_charts_write(record, out);
    (void)bm_string_append(out, "<h3>Channels and losses, block by block</h3>\n");
    (void)bm_string_append(out, is_float ? what_ranges_of_floats_are : what_ranges_are);
    if (count_with(record, NULL, "search") > 0)
        (void)bm_string_append(out, searches_pieces(record) ? what_losses_are : what_losses_of_ratios_are);
    write_blocks(record, out);
    bm_free(numbers);
}
