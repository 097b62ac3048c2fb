// The search of a stage: losses of the candidates that each piece tried, and what it got.
#include "report/chart.h"
#include "report/stages.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HEIGHT = 142, TOP = 18, BOTTOM = 110, MAX_POINTS = 512, MAX_PIECES = 8 };

// What candidates of a kind are called, the panel that their values are an axis of, and that axis.
static const struct {
    const char *kind, *words, *end;
    int panel;
    const char *axis;
} kinds[] = {{"alpha", "alpha ", "", 0, "alpha"},
             {"rescaled_alpha", "alpha ", " at the same mean", 0, "alpha"},
             {"constant", "scale ", "", 1, "scale, factor (log)"},
             {"factor", "times ", "", 1, "scale, factor (log)"},
             {"awq", "ratio ", " of inputs alone", 0, "ratio of inputs alone"},
             {"awq_duo", "ratio ", " of inputs against weights", 0, "ratio; broken: against weights"}};

typedef struct curve {
    double values[MAX_POINTS], losses[MAX_POINTS];
    uint32_t count;
} curve;

// Losses as parts of the loss without scales, or as they are where that is not known.
typedef struct search {
    const bm_json *object, *curves, *moves;
    double identity;       // NAN: not known
    chart_axis x[2];       // of alphas; of constants and factors
    const char *titles[2]; // of the panels; NULL: has no points
    chart_axis loss;
} search;

static const bm_json *array_of(const bm_json *object, const char *key)
{
    const bm_json *array = bm_json_find(object, key);
    return array && bm_json_kind_of(array) == BM_JSON_ARRAY ? array : NULL;
}

static void read_curve(const search *s, const bm_json *object, size_t kind, curve *c)
{
    const bm_json *points = bm_json_find(object, kinds[kind].kind);
    const uint32_t num_losses = record_numbers(bm_json_find(points, "loss"), c->losses, MAX_POINTS);
    const uint32_t num_values = record_numbers(bm_json_find(points, "value"), c->values, MAX_POINTS);
    const uint32_t num = num_values < num_losses ? num_values : num_losses;
    c->count = 0;
    for (uint32_t i = 0; i < num; i++) {
        const double loss = c->losses[i] / (s->identity > 0 ? s->identity : 1), value = c->values[i];
        if (!isfinite(loss) || loss < 0 || !isfinite(value) || (kinds[kind].panel == 1 && !(value > 0)))
            continue;
        c->losses[c->count] = loss;
        c->values[c->count++] = value;
    }
}

// The axes hold all points of all curves.
static void find_axes(search *s, curve *c)
{
    s->loss = s->x[0] = s->x[1] = chart_axis_empty();
    for (const bm_json *item = bm_json_first(s->curves); item; item = bm_json_next(item))
        for (size_t k = 0; k < BM_COUNT(kinds); k++) {
            read_curve(s, item, k, c);
            if (c->count > 0)
                s->titles[kinds[k].panel] = kinds[k].axis;
            for (uint32_t i = 0; i < c->count; i++) {
                chart_axis_widen(&s->x[kinds[k].panel], c->values[i]);
                chart_axis_widen(&s->loss, c->losses[i]);
            }
        }
    const bool both = s->titles[0] && s->titles[1];
    s->loss = chart_axis_make(s->loss.low, s->loss.high, true, BOTTOM, TOP);
    s->x[0] = (chart_axis){s->x[0].low, s->x[0].high, false, 48, both ? 250 : CHART_WIDTH - 8};
    s->x[1] = (chart_axis){s->x[1].low, s->x[1].high, true, both ? 280 : 48, CHART_WIDTH - 8};
}

// A hue a piece; the stage in front of all is grey.
static void write_colour(double pieces, double piece, bm_string *out)
{
    if (pieces > 0 && piece >= 0)
        (void)bm_string_append_format(out, "hsl(%.0f,45%%,55%%)", fmod(210 + 67 * piece, 360));
    else
        (void)bm_string_append(out, "hsl(0,0%,55%)");
}

// A line, and a dot at its least loss.
static void write_curve(const search *s, const bm_json *object, size_t kind, curve *c, bm_string *out)
{
    const chart_axis *x = &s->x[kinds[kind].panel];
    uint32_t best = 0;
    read_curve(s, object, kind, c);
    if (c->count == 0)
        return;
    (void)bm_string_append(out, "<g style=\"color:");
    write_colour(record_number(object, "pieces"), record_number(object, "piece"), out);
    (void)bm_string_append_format(out, "\"><polyline class=\"curve%s\" points=\"",
                                  strcmp(kinds[kind].kind, "awq_duo") == 0 ? " broken" : "");
    for (uint32_t i = 0; i < c->count; i++) {
        (void)bm_string_append_format(out, "%s%.4g,%.4g", i > 0 ? " " : "", chart_at(x, c->values[i]),
                                      chart_at(&s->loss, c->losses[i]));
        best = c->losses[i] < c->losses[best] ? i : best;
    }
    (void)bm_string_append_format(out, "\"/><circle class=\"dot\" cx=\"%.4g\" cy=\"%.4g\" r=\"3\"/></g>",
                                  chart_at(x, c->values[best]), chart_at(&s->loss, c->losses[best]));
}

static void write_loss(const search *s, double y, double loss, bm_string *out)
{
    char number[REPORT_NUMBER_SIZE], text[REPORT_NUMBER_SIZE + 4];
    const bool is_share = s->identity > 0;
    snprintf(text, sizeof text, "%s%s", short_number(is_share ? 100 * loss : loss, number), is_share ? " %" : "");
    chart_words(out, 44, y, "end", text);
}

static void write_frame(const search *s, bm_string *out)
{
    const char *words = s->identity > 0 ? "loss, of that without scales" : "loss";
    char title[64];
    snprintf(title, sizeof title, "%s%s", words, s->loss.is_log ? " (log)" : "");
    chart_words(out, 48, TOP - 6, "start", title);
    write_loss(s, TOP + 9, s->loss.high, out);
    if (s->loss.high > s->loss.low)
        write_loss(s, BOTTOM, s->loss.low, out);
    for (size_t panel = 0; panel < 2; panel++) {
        const chart_axis *x = &s->x[panel];
        if (!s->titles[panel])
            continue;
        chart_line(out, "axis", x->from, BOTTOM, x->to, BOTTOM);
        chart_line(out, "axis", x->from, TOP, x->from, BOTTOM);
        if (s->identity > 0 && s->loss.low <= 1 && s->loss.high >= 1)
            chart_line(out, "limit", x->from, chart_at(&s->loss, 1), x->to, chart_at(&s->loss, 1));
        chart_ends(out, x, BOTTOM + 14);
        chart_words(out, (x->from + x->to) / 2, HEIGHT - 4, "middle", s->titles[panel]);
    }
}

static search read_search(const bm_json *stage)
{
    const bm_json *object = bm_json_find(stage, "search");
    return (search){.object = object,
                    .curves = array_of(object, "curves"),
                    .moves = array_of(object, "moves"),
                    .identity = record_number(object, "identity_loss")};
}

void report_search_chart_write(const bm_json *stage, bm_string *out)
{
    search s = read_search(stage);
    curve *c = bm_alloc(1, sizeof *c);
    if (!c)
        out->failed = true;
    if (!c || !s.curves)
        goto done;
    find_axes(&s, c);
    if (!s.titles[0] && !s.titles[1])
        goto done;
    chart_begin(out, HEIGHT, "loss of the search by candidate");
    write_frame(&s, out);
    for (const bm_json *item = bm_json_first(s.curves); item; item = bm_json_next(item))
        for (size_t k = 0; k < BM_COUNT(kinds); k++)
            write_curve(&s, item, k, c, out);
    chart_end(out);
done:
    bm_free(c);
}

// ---- what the pieces got

static void write_candidate(const bm_json *move, bm_string *out)
{
    const bm_json *candidate = bm_json_find(move, "candidate");
    const char *kind = record_string(candidate, "kind");
    const double value = record_number(candidate, "value");
    char text[REPORT_NUMBER_SIZE];
    for (size_t k = 0; k < BM_COUNT(kinds) && kind; k++)
        if (strcmp(kind, kinds[k].kind) == 0 && isfinite(value)) {
            (void)bm_string_append_format(out, "%s%s%s", kinds[k].words, short_number(value, text), kinds[k].end);
            return;
        }
    (void)bm_string_append(out, "kept");
}

// All moves of one piece, round by round.
static void write_piece(const search *s, double pieces, double piece, bm_string *out)
{
    uint32_t num_written = 0;
    for (const bm_json *move = bm_json_first(s->moves); move; move = bm_json_next(move)) {
        if (record_number(move, "pieces") != pieces || record_number(move, "piece") != piece)
            continue;
        if (num_written == 0) {
            (void)bm_string_append(out, "<li><i class=\"key\" style=\"background:");
            write_colour(pieces, piece, out);
            if (pieces > 0)
                (void)bm_string_append_format(out, "\"></i>piece %.0f: ", piece + 1);
            else
                (void)bm_string_append(out, "\"></i>all channels: ");
        }
        (void)bm_string_append(out, num_written++ > 0 ? ", then " : "");
        write_candidate(move, out);
    }
    (void)bm_string_append(out, num_written > 0 ? "</li>\n" : "");
}

void report_pieces_write(const bm_json *stage, bm_string *out)
{
    const search s = read_search(stage);
    const double chosen = record_number(s.object, "pieces");
    const uint32_t num = chosen > 0 && chosen < 1e6 ? (uint32_t)chosen : 0;
    const uint32_t first = num > MAX_PIECES ? num - MAX_PIECES : 0; // those whose lines are in the picture
    if (!s.moves || !bm_json_first(s.moves))
        return;
    (void)bm_string_append(out, "<ul class=\"pieces soft\">\n");
    write_piece(&s, 0, 0, out);
    for (uint32_t piece = first; piece < num; piece++)
        write_piece(&s, num, piece, out);
    if (first > 0)
        (void)bm_string_append_format(out, "<li>%u piece%s of smaller channels</li>\n", first, bm_plural(first));
    (void)bm_string_append(out, "</ul>\n");
}
