// Ranges of a stage's channels, before and after. Each side is as high as what it has to hold, so that what is seen is
// the part of the 8-bit codes that a channel uses: a channel that is flat here is rounded coarsely.
#include "report/chart.h"
#include "report/stages.h"

#include <math.h>
#include <stdio.h>

enum { HEIGHT = 126, TOP = 18, PANEL_HEIGHT = 90, PANEL_WIDTH = 150, STEPS = 200, MAX_BINS = 1024 };

typedef struct ranges {
    double low[MAX_BINS], high[MAX_BINS];
    uint32_t num_bins;
    double amax;    // NAN: not known
    double largest; // magnitude that the panel reaches
} ranges;

static bool read_ranges(const bm_json *stage, const char *side, ranges *r)
{
    const bm_json *object = bm_json_find(bm_json_find(stage, "ranges"), side);
    const uint32_t num_high = record_numbers(bm_json_find(object, "high"), r->high, MAX_BINS);
    r->num_bins = record_numbers(bm_json_find(object, "low"), r->low, MAX_BINS);
    r->amax = record_number(bm_json_find(stage, "amax"), side);
    r->largest = r->amax > 0 ? r->amax : 0;
    for (uint32_t i = 0; i < r->num_bins && i < num_high; i++)
        r->largest = fmax(r->largest, fmax(fabs(r->low[i]), fabs(r->high[i]))); // fmax passes NAN over
    return r->num_bins > 0 && r->num_bins == num_high && r->largest > 0 && isfinite(r->largest);
}

// Steps below the top of the panel, whose middle is 0.
static int step_of(const ranges *r, double value)
{
    return isnan(value) ? STEPS / 2 : (int)lround((1 - value / r->largest) * STEPS / 2);
}

// One edge of the ranges, from step *at on; bins of the same height are one stroke.
static void write_edge(const ranges *r, const double *values, bool backward, int *at, bm_string *out)
{
    uint32_t run = 0;
    for (uint32_t i = 0; i < r->num_bins; i++) {
        const int next = step_of(r, values[backward ? r->num_bins - 1 - i : i]);
        if (next != *at) {
            if (run > 0)
                (void)bm_string_append_format(out, "h%s%u", backward ? "-" : "", run);
            (void)bm_string_append_format(out, "v%d", next - *at);
            run = 0;
        }
        *at = next;
        run++;
    }
    (void)bm_string_append_format(out, "h%s%u", backward ? "-" : "", run);
}

static void write_area(const ranges *r, double x, bm_string *out)
{
    int at = STEPS / 2;
    (void)bm_string_append_format(out,
                                  "<svg x=\"%.4g\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %u %d\" "
                                  "preserveAspectRatio=\"none\"><path class=\"area\" d=\"M0 %d",
                                  x, TOP, PANEL_WIDTH, PANEL_HEIGHT, r->num_bins, STEPS, at);
    write_edge(r, r->high, false, &at, out);
    write_edge(r, r->low, true, &at, out);
    (void)bm_string_append(out, "z\"/></svg>");
}

static void write_panel(const ranges *r, const char *title, double x, double channels, bm_string *out)
{
    const chart_axis axis = {-r->largest, r->largest, false, TOP + PANEL_HEIGHT, TOP};
    const double right = x + PANEL_WIDTH, middle = chart_at(&axis, 0);
    chart_words(out, x + PANEL_WIDTH / 2.0, TOP - 6, "middle", title);
    chart_line(out, "axis", x, TOP, x, TOP + PANEL_HEIGHT);
    write_area(r, x, out);
    chart_line(out, "axis", x, middle, right, middle);
    if (r->amax < r->largest) {
        chart_line(out, "limit", x, chart_at(&axis, r->amax), right, chart_at(&axis, r->amax));
        chart_line(out, "limit", x, chart_at(&axis, -r->amax), right, chart_at(&axis, -r->amax));
    }
    chart_number(out, x - 3, TOP + 9, "end", r->largest);
    chart_number(out, x - 3, middle + 4, "end", 0);
    chart_number(out, x - 3, TOP + PANEL_HEIGHT, "end", -r->largest);
    chart_words(out, x, HEIGHT - 4, "start", "channel 0");
    if (channels > 0)
        chart_number(out, right, HEIGHT - 4, "end", channels - 1);
}

void report_range_chart_write(const bm_json *stage, bm_string *out)
{
    ranges *sides = bm_alloc_zero(2, sizeof *sides);
    if (!sides)
        out->failed = true;
    else if (read_ranges(stage, "before", &sides[0]) && read_ranges(stage, "after", &sides[1])) {
        const double channels = record_number(stage, "channels");
        chart_begin(out, HEIGHT, "ranges of the channels, before and after");
        write_panel(&sides[0], "before", 48, channels, out);
        write_panel(&sides[1], "after", CHART_WIDTH - PANEL_WIDTH - 2, channels, out);
        chart_end(out);
    }
    bm_free(sides);
}
