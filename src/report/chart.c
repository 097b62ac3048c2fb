// Pieces of a chart.
#include "report/chart.h"

#include <math.h>

chart_axis chart_axis_make(double low, double high, bool may_be_log, double from, double to)
{
    const bool is_log = may_be_log && low > 0 && high / low > CHART_FAR;
    return (chart_axis){.low = low, .high = high, .is_log = is_log, .from = from, .to = to};
}

chart_axis chart_axis_empty(void)
{
    return (chart_axis){.low = (double)NAN, .high = (double)NAN};
}

void chart_axis_widen(chart_axis *axis, double value)
{
    axis->low = fmin(axis->low, value); // of a number and NAN both give the number
    axis->high = fmax(axis->high, value);
}

double chart_at(const chart_axis *axis, double value)
{
    const double inside = fmin(fmax(value, axis->low), axis->high);
    double part = 0.5; // of an axis of one value
    if (axis->high > axis->low)
        part = axis->is_log ? log(inside / axis->low) / log(axis->high / axis->low)
                            : (inside - axis->low) / (axis->high - axis->low);
    return axis->from + part * (axis->to - axis->from);
}

void chart_begin(bm_string *out, double height, const char *words)
{
    (void)bm_string_append_format(out, "<svg class=\"chart\" viewBox=\"0 0 %d %.4g\" role=\"img\" aria-label=\"",
                                  CHART_WIDTH, height);
    html_text(out, words);
    (void)bm_string_append(out, "\">");
}

void chart_end(bm_string *out)
{
    (void)bm_string_append(out, "</svg>\n");
}

void chart_words(bm_string *out, double x, double y, const char *anchor, const char *words)
{
    (void)bm_string_append_format(out, "<text x=\"%.4g\" y=\"%.4g\" text-anchor=\"%s\">", x, y, anchor);
    html_text(out, words);
    (void)bm_string_append(out, "</text>");
}

void chart_number(bm_string *out, double x, double y, const char *anchor, double value)
{
    char text[REPORT_NUMBER_SIZE];
    chart_words(out, x, y, anchor, short_number(value, text));
}

void chart_ends(bm_string *out, const chart_axis *axis, double y)
{
    if (axis->high > axis->low) {
        chart_number(out, axis->from, y, "start", axis->low);
        chart_number(out, axis->to, y, "end", axis->high);
    } else {
        chart_number(out, chart_at(axis, axis->low), y, "middle", axis->low);
    }
}

void chart_line(bm_string *out, const char *line, double x0, double y0, double x1, double y1)
{
    (void)bm_string_append_format(out, "<path class=\"%s\" d=\"M%.4g %.4gL%.4g %.4g\"/>", line, x0, y0, x1, y1);
}

uint32_t record_numbers(const bm_json *array, double *numbers, uint32_t most)
{
    uint32_t count = 0;
    if (!array || bm_json_kind_of(array) != BM_JSON_ARRAY)
        return 0;
    for (const bm_json *item = bm_json_first(array); item && count < most; item = bm_json_next(item))
        numbers[count++] = bm_json_kind_of(item) == BM_JSON_NUMBER ? bm_json_number(item) : (double)NAN;
    return count;
}
