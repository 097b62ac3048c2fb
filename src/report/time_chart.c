// Where the time of a run went: a track a thread, a colour a phase.
#include "report/time_chart.h"

#include "report/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WAITING "wait for "
#define COMPILING "compile kernels"
#define CUT_SHARE (1.0 / 3) // of the run: a longer span of compiling is drawn short, so that the work can be read
#define CUT_WIDTH 32
#define MAX_PHASES 24
#define MAX_TRACKS 8
#define TRACK_HEIGHT 16
#define TRACK_STEP 32  // with the numbers above it
#define NAMES_WIDTH 76 // of tracks, beside them
#define AXIS_HEIGHT 16

typedef struct phases {
    const char *names[MAX_PHASES];
    uint32_t count;
} phases;

// The place of a phase among those so far, to which it is added.
static uint32_t phase_index(phases *p, const char *name)
{
    uint32_t i = 0;
    while (i < p->count && strcmp(p->names[i], name) != 0)
        i++;
    if (i == p->count && p->count < MAX_PHASES)
        p->names[p->count++] = name;
    return i < MAX_PHASES ? i : MAX_PHASES - 1;
}

void report_phase_fill(bm_string *out, const char *name, uint32_t index)
{
    if (name && strncmp(name, WAITING, strlen(WAITING)) == 0)
        (void)bm_string_append(out, "hsl(0,0%,55%)");
    else
        (void)bm_string_append_format(out, "hsl(%u,45%%,55%%)", (210 + 67 * index) % 360);
}

static bool is_span(const bm_json *span, double *begin, double *end)
{
    *begin = record_number(span, "begin");
    *end = record_number(span, "end");
    return isfinite(*begin) && isfinite(*end) && *begin >= 0 && *end >= *begin && record_string(span, "phase");
}

static const bm_json *spans_of(const bm_json *track)
{
    const bm_json *spans = bm_json_find(track, "spans");
    return spans && bm_json_kind_of(spans) == BM_JSON_ARRAY ? bm_json_first(spans) : NULL;
}

// Words that a pointer over the span shows: "solve, block 3: 1.25 s".
static void write_title(const bm_json *span, double seconds, bm_string *out)
{
    const double block = record_number(span, "block");
    (void)bm_string_append(out, "<title>");
    html_text(out, record_string(span, "phase"));
    if (isfinite(block))
        (void)bm_string_append_format(out, ", block %.0f", block);
    (void)bm_string_append_format(out, ": %.3g s</title>", seconds);
}

// The time of the run, with a piece that is drawn short.
typedef struct time_axis {
    chart_axis before, cut, after;
    bool is_cut; // else before is all of it
} time_axis;

static double time_at(const time_axis *time, double seconds)
{
    const chart_axis *piece = !time->is_cut || seconds < time->cut.low ? &time->before
                              : seconds <= time->cut.high              ? &time->cut
                                                                       : &time->after;
    return chart_at(piece, seconds);
}

// The longest span of compiling on a track, if it is long; what is left of the width goes to what lies around it by its time.
static time_axis make_time(const bm_json *track, double last)
{
    time_axis time = {.before = chart_axis_make(0, last, false, NAMES_WIDTH, CHART_WIDTH)};
    double begin, end, from = 0, to = 0;
    for (const bm_json *span = spans_of(track); span; span = bm_json_next(span))
        if (is_span(span, &begin, &end) && end - begin > to - from &&
            strcmp(record_string(span, "phase"), COMPILING) == 0) {
            from = begin;
            to = end;
        }
    const double around = last - (to - from);
    if (to - from <= CUT_SHARE * last || !(around > 0))
        return time;
    const double left = NAMES_WIDTH + (CHART_WIDTH - NAMES_WIDTH - CUT_WIDTH) * from / around;
    time.is_cut = true;
    time.before = chart_axis_make(0, from, false, NAMES_WIDTH, left);
    time.cut = chart_axis_make(from, to, false, left, left + CUT_WIDTH);
    time.after = chart_axis_make(to, last, false, left + CUT_WIDTH, CHART_WIDTH);
    return time;
}

static void write_cut(const time_axis *time, double height, bm_string *out)
{
    chart_line(out, "curve broken", time->cut.from, 8, time->cut.from, height);
    chart_line(out, "curve broken", time->cut.to, 8, time->cut.to, height);
    chart_number(out, time->cut.to, height + AXIS_HEIGHT - 2, "middle", time->cut.high);
}

static void write_track(const bm_json *track, const time_axis *time, double y, phases *p, double *sum, bm_string *out)
{
    const char *name = record_string(track, "track");
    double begin, end;
    for (const bm_json *span = spans_of(track); span; span = bm_json_next(span)) {
        if (!is_span(span, &begin, &end))
            continue;
        const char *phase = record_string(span, "phase");
        const double from = time_at(time, begin), to = time_at(time, end);
        (void)bm_string_append_format(out, "<rect x=\"%.5g\" y=\"%.4g\" width=\"%.4g\" height=\"%d\" fill=\"", from, y,
                                      fmax(to - from, 0.1), TRACK_HEIGHT);
        report_phase_fill(out, phase, phase_index(p, phase));
        (void)bm_string_append(out, "\">");
        write_title(span, end - begin, out);
        (void)bm_string_append(out, "</rect>");
        *sum += strncmp(phase, WAITING, strlen(WAITING)) == 0 ? 0 : end - begin;
    }
    chart_words(out, 0, y + TRACK_HEIGHT - 4, "start", name ? name : "");
}

// Blocks' boundaries on the run's track, where they are far enough from each other.
static void write_blocks(const bm_json *track, const time_axis *time, double y, bm_string *out)
{
    double last = -1, last_x = -100, begin, end;
    for (const bm_json *span = spans_of(track); span; span = bm_json_next(span)) {
        const double block = record_number(span, "block");
        if (!is_span(span, &begin, &end) || !isfinite(block) || block <= last)
            continue;
        const double x = time_at(time, begin);
        last = block;
        if (x - last_x < 24)
            continue;
        chart_line(out, "curve", x, y - 2, x, y + TRACK_HEIGHT + 2);
        chart_number(out, x + 2, y - 4, "start", block);
        last_x = x;
    }
}

void report_time_chart_write(const bm_json *record, bm_string *out)
{
    const bm_json *timeline = bm_json_find(record, "timeline"), *tracks[MAX_TRACKS];
    const bm_json *table = bm_json_find(record, "phases");
    phases seen = {0};
    uint32_t count = 0;
    double last = 0, begin, end;
    if (!timeline || bm_json_kind_of(timeline) != BM_JSON_ARRAY)
        return;
    for (const bm_json *track = bm_json_first(timeline); track && count < MAX_TRACKS; track = bm_json_next(track)) {
        if (!spans_of(track))
            continue;
        tracks[count++] = track;
        for (const bm_json *span = spans_of(track); span; span = bm_json_next(span))
            last = is_span(span, &begin, &end) ? fmax(last, end) : last;
    }
    if (count == 0 || !(last > 0))
        return;
    for (const bm_json *phase = table ? bm_json_first(table) : NULL; phase; phase = bm_json_next(phase))
        if (record_string(phase, "name"))
            (void)phase_index(&seen, record_string(phase, "name"));
    const chart_axis ends = chart_axis_make(0, last, false, NAMES_WIDTH, CHART_WIDTH);
    const time_axis time = make_time(tracks[0], last);
    const double height = count * TRACK_STEP + AXIS_HEIGHT;
    (void)bm_string_append(out, "<figure class=\"timeline\">");
    chart_begin(out, height, "What each thread of the run did, and when");
    for (uint32_t i = 0; i < count; i++) {
        const double y = i * TRACK_STEP + TRACK_STEP - TRACK_HEIGHT;
        double sum = 0;
        char text[64], digits[REPORT_NUMBER_SIZE];
        chart_line(out, "axis", NAMES_WIDTH, y + TRACK_HEIGHT, CHART_WIDTH, y + TRACK_HEIGHT);
        write_track(tracks[i], &time, y, &seen, &sum, out);
        if (i == 0) {
            write_blocks(tracks[i], &time, y, out);
        } else {
            snprintf(text, sizeof text, "%s s in all", short_number(sum, digits));
            chart_words(out, CHART_WIDTH, y - 4, "end", text);
        }
    }
    if (time.is_cut)
        write_cut(&time, height - AXIS_HEIGHT, out);
    chart_ends(out, &ends, height - 2);
    chart_end(out);
    (void)bm_string_append(
        out, "<figcaption class=\"soft\">Seconds from the start of the run, in the colours of the table; "
             "numbers at the lines are blocks. Reading and writing go on beside the run; where it is grey "
             "it waits for one of them.");
    if (time.is_cut)
        (void)bm_string_append_format(out, " Compiling kernels, %.3g s between the broken lines, is drawn short.",
                                      time.cut.high - time.cut.low);
    (void)bm_string_append(out, "</figcaption></figure>\n");
}
