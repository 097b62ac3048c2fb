// How far outliers stand out in each block, before and after. Unlike amax that does not change when all channels are
// scaled alike.
#include "report/chart.h"
#include "report/stages.h"

#include <math.h>
#include <stdio.h>

enum { HEIGHT = 122, TOP = 18, BOTTOM = 92, LEFT = 44, LEAST_BLOCKS = 3 };

typedef struct outlier_chart {
    const bm_json *record;
    const report_stage_kind *kind;
    uint32_t num_blocks;
    chart_axis blocks, outliers;
} outlier_chart;

static outlier_chart make_chart(const bm_json *record, const report_stage_kind *kind)
{
    outlier_chart chart = {.record = record, .kind = kind};
    chart_axis blocks = chart_axis_empty(), outliers = blocks;
    for (const bm_json *s = report_stage_first(record, kind); s; s = report_stage_next(s, kind)) {
        chart.num_blocks++;
        chart_axis_widen(&blocks, record_number(s, "block"));
        chart_axis_widen(&outliers, report_stage_outliers(s, "before"));
        chart_axis_widen(&outliers, report_stage_outliers(s, "after"));
    }
    chart.blocks = chart_axis_make(blocks.low, blocks.high, false, LEFT + 6, CHART_WIDTH - 8);
    chart.outliers = chart_axis_make(outliers.low, outliers.high, true, BOTTOM, TOP);
    if (!chart.outliers.is_log)
        chart.outliers.low = 0 * outliers.low; // NAN stays
    return chart;
}

static void write_side(const outlier_chart *chart, const char *side, bm_string *out)
{
    (void)bm_string_append_format(out, "<polyline class=\"curve %s\" points=\"", side);
    for (const bm_json *s = report_stage_first(chart->record, chart->kind); s; s = report_stage_next(s, chart->kind)) {
        const double block = record_number(s, "block"), ratio = report_stage_outliers(s, side);
        if (isfinite(block) && isfinite(ratio))
            (void)bm_string_append_format(out, "%.4g,%.4g ", chart_at(&chart->blocks, block),
                                          chart_at(&chart->outliers, ratio));
    }
    (void)bm_string_append(out, "\"/>");
}

static void write_chart(const outlier_chart *chart, bm_string *out)
{
    char title[64];
    snprintf(title, sizeof title, "%s%s", chart->kind->words, chart->outliers.is_log ? " (log)" : "");
    chart_begin(out, HEIGHT, "outliers by block, before and after");
    chart_words(out, LEFT, TOP - 6, "start", title);
    chart_line(out, "axis", LEFT, TOP, LEFT, BOTTOM);
    chart_line(out, "axis", LEFT, BOTTOM, CHART_WIDTH - 8, BOTTOM);
    chart_number(out, LEFT - 3, TOP + 9, "end", chart->outliers.high);
    if (chart->outliers.high > chart->outliers.low)
        chart_number(out, LEFT - 3, BOTTOM, "end", chart->outliers.low);
    chart_ends(out, &chart->blocks, HEIGHT - 14);
    chart_words(out, (LEFT + CHART_WIDTH) / 2.0, HEIGHT - 14, "middle", "block");
    write_side(chart, "before", out);
    write_side(chart, "after", out);
    chart_end(out);
}

void report_outlier_charts_write(const bm_json *record, bm_string *out)
{
    bool any = false;
    for (size_t k = 0; k < REPORT_NUM_STAGE_KINDS; k++) {
        const outlier_chart chart = make_chart(record, &report_stage_kinds[k]);
        if (chart.num_blocks < LEAST_BLOCKS || isnan(chart.outliers.low) || isnan(chart.blocks.low))
            continue;
        if (!any)
            (void)bm_string_append(out, "<h3>Outliers, block by block</h3>\n<p class=\"sides\">"
                                        "<span class=\"before\">before</span> <span class=\"after\">after</span></p>\n"
                                        "<div class=\"charts\">\n");
        any = true;
        write_chart(&chart, out);
    }
    (void)bm_string_append(out, any ? "</div>\n" : "");
}
