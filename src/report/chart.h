// Small charts as pictures within the page: lines and words on a canvas of CHART_WIDTH units, which a narrow screen
// shrinks. Colours are classes of the page's style.
#ifndef BM_REPORT_CHART_H
#define BM_REPORT_CHART_H

#include "report/html.h"

#define CHART_WIDTH 400

typedef struct chart_axis {
    double low, high; // values at its ends; of a logarithmic one above 0
    bool is_log;
    double from, to; // where its ends are, in units
} chart_axis;

// An axis between two values, low <= high: logarithmic where that is allowed and they lie more than CHART_FAR times
// apart.
#define CHART_FAR 10
chart_axis chart_axis_make(double low, double high, bool may_be_log, double from, double to);
// The range of no value yet, NAN; and that with one more, NAN adding nothing.
chart_axis chart_axis_empty(void);
void chart_axis_widen(chart_axis *axis, double value);
// Where a value is; one beyond an end is at that end.
double chart_at(const chart_axis *axis, double value);

// The picture from <svg> to </svg>. words: what it shows, for programs that read aloud.
void chart_begin(bm_string *out, double height, const char *words);
void chart_end(bm_string *out);
// Words at a place; anchor "start", "middle" or "end".
void chart_words(bm_string *out, double x, double y, const char *anchor, const char *words);
void chart_number(bm_string *out, double x, double y, const char *anchor, double value);
// The numbers at both ends of a level axis, below it; of an axis of one value that, in its middle.
void chart_ends(bm_string *out, const chart_axis *axis, double y);
// A straight line of a class of the style.
void chart_line(bm_string *out, const char *line, double x0, double y0, double x1, double y1);

// Numbers of an array, at most `most` of them; NAN where there is none. Returns their number; 0 of no array.
uint32_t record_numbers(const bm_json *array, double *numbers, uint32_t most);

#endif
