// Linears in the report: a chart a kind of linear (q_proj, down_proj, ...) with one bar a block, all on one scale, and a
// table of every linear.
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHART_WIDTH = 300, CHART_HEIGHT = 90, CHART_FLOOR = 76, MAX_KINDS = 32 };

typedef struct linear_bar {
    const char *name; // "model.layers.3.self_attn.q_proj"
    const char *kind; // its end behind the block's number: "self_attn.q_proj"
    uint32_t block;
    double error;
} linear_bar;

// Splits a name at its first part that is a number; without one the whole name is its kind, in block 0.
static void split_name(linear_bar *bar)
{
    bar->kind = bar->name;
    for (const char *dot = strchr(bar->name, '.'); dot; dot = strchr(dot + 1, '.')) {
        const size_t digits = strspn(dot + 1, "0123456789");
        if (digits > 0 && digits < 7 && dot[1 + digits] == '.') {
            bar->block = (uint32_t)strtoul(dot + 1, NULL, 10);
            bar->kind = dot + 2 + digits;
            return;
        }
    }
}

// The linears that have a name and a finite error; NULL when there is none, or no memory. The caller frees the list.
static linear_bar *read_bars(const bm_json *linears, uint32_t *num_out)
{
    uint32_t count = 0;
    linear_bar *bars = bm_alloc_zero(bm_json_count(linears), sizeof *bars);
    for (const bm_json *item = bm_json_first(linears); item && bars; item = bm_json_next(item)) {
        const linear_bar bar = {.name = record_string(item, "name"), .error = record_number(item, "nmse")};
        if (!bar.name || !(bar.error >= 0) || isinf(bar.error))
            continue;
        bars[count] = bar;
        split_name(&bars[count++]);
    }
    *num_out = count;
    return bars;
}

static void draw_chart(const linear_bar *bars, uint32_t count, const char *kind, uint32_t num_blocks, double largest,
                       bm_string *out)
{
    const double pitch = (double)CHART_WIDTH / num_blocks, width = pitch > 40 ? 32 : pitch * 0.8;
    double sum = 0;
    uint32_t drawn = 0;
    (void)bm_string_append(out, "<figure><figcaption>");
    html_text(out, kind);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(bars[i].kind, kind) == 0) {
            sum += bars[i].error;
            drawn++;
        }
    (void)bm_string_append_format(out, ", mean %.3g</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\">",
                                  sum / drawn, CHART_WIDTH, CHART_HEIGHT);
    (void)bm_string_append_format(out, "<line x1=\"0\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>", CHART_WIDTH, CHART_FLOOR,
                                  CHART_FLOOR);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(bars[i].kind, kind) != 0)
            continue;
        const double height = largest > 0 ? bars[i].error / largest * (CHART_FLOOR - 2) : 0;
        (void)bm_string_append_format(
            out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>block %u: %.4g</title></rect>",
            bars[i].block * pitch + (pitch - width) / 2, CHART_FLOOR - height, width, height, bars[i].block,
            bars[i].error);
    }
    (void)bm_string_append_format(out,
                                  "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">0</text>"
                                  "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%u</text></svg></figure>\n",
                                  pitch / 2, CHART_HEIGHT - 2, CHART_WIDTH - pitch / 2, CHART_HEIGHT - 2,
                                  num_blocks - 1);
}

static void draw_charts(const linear_bar *bars, uint32_t count, bm_string *out)
{
    const char *kinds[MAX_KINDS];
    uint32_t num_kinds = 0, num_blocks = 1;
    double largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = 0;
        while (k < num_kinds && strcmp(kinds[k], bars[i].kind) != 0)
            k++;
        if (k == num_kinds && num_kinds < MAX_KINDS)
            kinds[num_kinds++] = bars[i].kind;
        num_blocks = bars[i].block >= num_blocks ? bars[i].block + 1 : num_blocks;
        largest = fmax(largest, bars[i].error);
    }
    (void)bm_string_append_format(out,
                                  "<p class=\"soft\">|W - Q(W)|&sup2; / |W|&sup2;, one bar a block, all charts on one "
                                  "scale up to %.3g.</p>\n<div class=\"panels\">\n",
                                  largest);
    for (uint32_t k = 0; k < num_kinds; k++)
        draw_chart(bars, count, kinds[k], num_blocks, largest, out);
    (void)bm_string_append(out, "</div>\n");
}

static void write_table(const bm_json *linears, bm_string *out)
{
    (void)bm_string_append(out,
                           "<details><summary>Every linear</summary>\n<table><tr><th>linear</th><th class=\"n\">bits"
                           "</th><th class=\"n\">group size</th><th class=\"n\">relative squared error</th></tr>\n");
    for (const bm_json *item = bm_json_first(linears); item; item = bm_json_next(item)) {
        const double group_size = record_number(item, "group_size");
        (void)bm_string_append(out, "<tr><td>");
        html_text(out, record_string(item, "name"));
        (void)bm_string_append(out, "</td><td class=\"n\">");
        html_value(out, bm_json_find(item, "bits"));
        (void)bm_string_append(out, "</td><td class=\"n\">");
        if (group_size > 0)
            (void)bm_string_append_format(out, "%.0f", group_size);
        else
            (void)bm_string_append(out, "channel");
        (void)bm_string_append_format(out, "</td><td class=\"n\">%.4g</td></tr>\n", record_number(item, "nmse"));
    }
    (void)bm_string_append(out, "</table></details>\n");
}

void report_linears(const bm_json *linears, bm_string *out)
{
    uint32_t count = 0;
    if (!linears || bm_json_kind_of(linears) != BM_JSON_ARRAY || !bm_json_first(linears))
        return;
    linear_bar *bars = read_bars(linears, &count);
    (void)bm_string_append(out, "<h2>Error of each linear</h2>\n");
    if (count > 0)
        draw_charts(bars, count, out);
    write_table(linears, out);
    bm_free(bars);
}
