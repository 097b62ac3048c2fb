// Every linear in a table. A column is there when one linear of the record has its number.
#include "report/linears.h"

#include <math.h>
#include <string.h>

typedef enum column_form {
    FORM_ERROR,      // as many digits behind the point as give the largest of the column four digits
    FORM_SCIENTIFIC, // numbers that lie far apart
    FORM_COUNT,      // a whole number
    FORM_GROUP_SIZE, // -1 is one group a channel
    FORM_RATIO,      // in per cent
    FORM_SHORT,      // three digits
    FORM_PERCENT,    // in per cent, four digits behind the point
    FORM_DECIBEL,    // one digit behind the point
    FORM_DAMPING,    // that, or what was done without
} column_form;

typedef struct column {
    const char *key, *words;
    column_form form;
    const char *over; // the number is that of key over that of this key
    const char *part; // of "layer_error" that has the key; NULL: the linear itself has it
} column;

static const column error_columns[] = {
    {"nmse", "relative squared error", FORM_ERROR, NULL, NULL},
    {"bits", "bits", FORM_COUNT, NULL, NULL},
    {"group_size", "group size", FORM_GROUP_SIZE, NULL, NULL},
};
static const column calibration_columns[] = {
    {"output_error_rounding", "output error by rounding", FORM_SCIENTIFIC, NULL, NULL},
    {"output_error", "output error as quantized", FORM_SCIENTIFIC, NULL, NULL},
    {"output_error", "of it left, %", FORM_RATIO, "output_error_rounding", NULL},
    {"damping", "damping", FORM_DAMPING, NULL, NULL},
    {"damping_raised", "raised, times", FORM_COUNT, NULL, NULL},
    {"dead_channels", "channels without input", FORM_COUNT, NULL, NULL},
    {"tokens_per_channel", "tokens a channel", FORM_SHORT, NULL, NULL},
};
static const column weight_columns[] = {
    // where inputs stay float
    {"nmse", "relative error", FORM_SCIENTIFIC, NULL, "both"},
    {"sqnr_db", "SQNR, dB", FORM_DECIBEL, NULL, "both"},
};
static const column layer_columns[] = {
    // where they are quantized
    {"nmse", "quantized weights alone", FORM_SCIENTIFIC, NULL, "weights"},
    {"nmse", "inputs alone", FORM_SCIENTIFIC, NULL, "inputs"},
    {"nmse", "both", FORM_SCIENTIFIC, NULL, "both"},
    {"sqnr_db", "SQNR, dB", FORM_DECIBEL, NULL, "both"},
    {"saturated_share", "inputs saturated, %", FORM_PERCENT, NULL, "both"},
};
enum { MAX_COLUMNS = BM_COUNT(calibration_columns), MAX_OPEN = 10 };

// One table.
typedef struct linear_table {
    const report_linears *linears;
    bool has_shares, has_weights;
    const column *columns;
    size_t num_columns;
    double largest[MAX_COLUMNS]; // number of a column; NAN: the column is not there
} linear_table;

static bool fell_back(const report_linear *linear)
{
    return record_is_true(linear->record, "fell_back");
}

// NAN: the record has none.
static double number_of(const report_linear *linear, const column *c)
{
    if (c->form == FORM_DAMPING && fell_back(linear))
        return 0;
    const bm_json *record =
        c->part ? bm_json_find(bm_json_find(linear->record, "layer_error"), c->part) : linear->record;
    const double number = record_number(record, c->key);
    const double value = c->over ? number / record_number(record, c->over) : number;
    return isfinite(value) ? value : (double)NAN;
}

static linear_table make_table(const report_linears *linears, const column *columns, size_t num_columns)
{
    linear_table table = {.linears = linears, .columns = columns, .num_columns = num_columns};
    for (size_t c = 0; c < num_columns; c++) {
        table.largest[c] = (double)NAN;
        for (uint32_t i = 0; i < linears->count; i++)
            table.largest[c] = fmax(table.largest[c], number_of(&linears->items[i], &columns[c]));
    }
    return table;
}

static void write_error(double value, double largest, bm_string *out)
{
    if (largest < 1e-6 || largest >= 1000)
        (void)bm_string_append_format(out, "%.3e", value);
    else
        (void)bm_string_append_format(out, "%.*f", 3 - (int)floor(log10(largest)), value);
}

static void write_number(const report_linear *linear, const column *c, double value, double largest, bm_string *out)
{
    char text[REPORT_NUMBER_SIZE];
    switch (c->form) {
    case FORM_ERROR:
        write_error(value, largest, out);
        break;
    case FORM_SCIENTIFIC:
        (void)bm_string_append_format(out, "%.2e", value);
        break;
    case FORM_COUNT:
        (void)bm_string_append_format(out, "%.0f", value);
        break;
    case FORM_GROUP_SIZE:
        if (value <= 0)
            (void)bm_string_append(out, "channel");
        else
            (void)bm_string_append_format(out, "%.0f", value);
        break;
    case FORM_RATIO:
        (void)bm_string_append_format(out, "%.1f", 100 * value);
        break;
    case FORM_SHORT:
        (void)bm_string_append(out, short_number(value, text));
        break;
    case FORM_PERCENT:
        (void)bm_string_append_format(out, "%.4f", 100 * value);
        break;
    case FORM_DECIBEL:
        (void)bm_string_append_format(out, "%.1f", value);
        break;
    case FORM_DAMPING:
        (void)bm_string_append(out, fell_back(linear) ? "rounded plainly" : short_number(value, text));
        break;
    }
}

static void write_cell(const report_linear *linear, const column *c, double largest, bm_string *out)
{
    const double value = number_of(linear, c);
    (void)bm_string_append(out, "<td class=\"n\">");
    if (!isnan(value))
        write_number(linear, c, value, largest, out);
    (void)bm_string_append(out, "</td>");
}

static void write_head(const linear_table *table, bm_string *out)
{
    (void)bm_string_append(out, "<thead><tr><th class=\"n\"></th><th>linear</th>");
    if (table->has_shares)
        (void)bm_string_append(out,
                               "<th class=\"n\">share, %</th><th class=\"bars\"></th><th class=\"n sums\">sum, %</th>");
    if (table->has_weights)
        (void)bm_string_append(out, "<th class=\"n\">of the weights, %</th>");
    for (size_t c = 0; c < table->num_columns; c++)
        if (!isnan(table->largest[c]))
            (void)bm_string_append_format(out, "<th class=\"n\">%s</th>", table->columns[c].words);
    (void)bm_string_append(out, "</tr></thead>\n");
}

// sum: of the shares down to this one.
static void write_row(const linear_table *table, uint32_t index, double sum, bm_string *out)
{
    const report_linears *linears = table->linears;
    const report_linear *linear = linears->by_share[index];
    const int digits = linears->percent_digits;
    (void)bm_string_append_format(out, "<tr><td class=\"n soft\">%u</td><td class=\"name\">", index + 1);
    html_name(out, linear->name, strlen(linear->name));
    (void)bm_string_append(out, "</td>");
    if (table->has_shares)
        (void)bm_string_append_format(out,
                                      "<td class=\"n\">%.*f</td><td class=\"bars\"><i style=\"width:%.1f%%\"></i></td>"
                                      "<td class=\"n sums\">%.*f</td>",
                                      digits, 100 * linear->share, 100 * linear->share / linears->by_share[0]->share,
                                      digits, 100 * sum);
    if (table->has_weights)
        (void)bm_string_append_format(out, "<td class=\"n\">%.*f</td>", digits, 100 * linear->weights);
    for (size_t c = 0; c < table->num_columns; c++)
        if (!isnan(table->largest[c]))
            write_cell(linear, &table->columns[c], table->largest[c], out);
    (void)bm_string_append(out, "</tr>\n");
}

// The first rows of the table.
static void write_rows(const linear_table *table, uint32_t count, bm_string *out)
{
    double sum = 0;
    (void)bm_string_append(out, "<div class=\"wide\"><table>\n");
    write_head(table, out);
    for (uint32_t i = 0; i < count; i++) {
        sum += table->linears->by_share[i]->share;
        write_row(table, i, sum, out);
    }
    (void)bm_string_append(out, "</table></div>");
}

static void write_table(const linear_table *table, const char *title, bm_string *out)
{
    (void)bm_string_append_format(out, "<details><summary>%s%s</summary>\n", title,
                                  table->linears->has_shares ? ", the largest share first" : "");
    write_rows(table, table->linears->count, out);
    (void)bm_string_append(out, "</details>\n");
}

static bool has_columns(const linear_table *table)
{
    bool any = false;
    for (size_t c = 0; c < table->num_columns; c++)
        any |= !isnan(table->largest[c]);
    return any;
}

// The largest for all to see, the others folded: that is where the error of a linear comes from.
static void write_layers(const linear_table *table, bm_string *out)
{
    const uint32_t count = table->linears->count;
    const uint32_t num_open = count < MAX_OPEN ? count : MAX_OPEN;
    (void)bm_string_append_format(out, "<h3>%s of outputs</h3>\n",
                                  table->columns == layer_columns ? "Where it comes from: relative error"
                                                                  : "Relative error");
    write_rows(table, num_open, out);
    (void)bm_string_append(out, "\n");
    if (num_open < count)
        write_table(table, "Relative error of every linear's outputs", out);
}

void report_linear_table_write(const report_linears *linears, bm_string *out)
{
    const linear_table layers = linears->quantizes_inputs
                                    ? make_table(linears, layer_columns, BM_COUNT(layer_columns))
                                    : make_table(linears, weight_columns, BM_COUNT(weight_columns));
    linear_table errors = make_table(linears, error_columns, BM_COUNT(error_columns));
    const linear_table calibration = make_table(linears, calibration_columns, BM_COUNT(calibration_columns));
    errors.has_shares = linears->has_shares;
    errors.has_weights = linears->has_weights;
    if (has_columns(&layers))
        write_layers(&layers, out);
    write_table(&errors, "Every linear", out);
    if (has_columns(&calibration))
        write_table(&calibration, "Calibration of every linear", out);
}
