// Every linear in a table. A column is there when one linear of the record has its number.
#include "report/linears.h"

#include <math.h>
#include <string.h>

typedef enum column_form {
    FORM_ERROR,      // as many digits behind the point as give the largest of the column four digits
    FORM_COUNT,      // a whole number
    FORM_GROUP_SIZE, // -1 is one group a channel
} column_form;

static const struct column {
    const char *key, *words;
    column_form form;
} columns[] = {
    {"nmse", "relative squared error", FORM_ERROR},
    {"bits", "bits", FORM_COUNT},
    {"group_size", "group size", FORM_GROUP_SIZE},
};

// The largest number of a column; NAN: the column is not there.
static double largest_of(const report_linears *linears, const char *key)
{
    double largest = (double)NAN;
    for (uint32_t i = 0; i < linears->count; i++)
        largest = fmax(largest, record_number(linears->items[i].record, key));
    return largest;
}

static void write_number(double value, column_form form, double largest, bm_string *out)
{
    (void)bm_string_append(out, "<td class=\"n\">");
    if (form == FORM_GROUP_SIZE && value <= 0)
        (void)bm_string_append(out, "channel");
    else if (isfinite(value) && form != FORM_ERROR)
        (void)bm_string_append_format(out, "%.0f", value);
    else if (isfinite(value) && (largest < 1e-6 || largest >= 1000))
        (void)bm_string_append_format(out, "%.3e", value);
    else if (isfinite(value))
        (void)bm_string_append_format(out, "%.*f", 3 - (int)floor(log10(largest)), value);
    (void)bm_string_append(out, "</td>");
}

static void write_head(const report_linears *linears, const double *largest, bm_string *out)
{
    (void)bm_string_append(out, "<tr><th class=\"n\"></th><th>linear</th>");
    if (linears->has_shares)
        (void)bm_string_append(out,
                               "<th class=\"n\">share, %</th><th class=\"bars\"></th><th class=\"n sums\">sum, %</th>");
    if (linears->has_weights)
        (void)bm_string_append(out, "<th class=\"n\">of the weights, %</th>");
    for (size_t c = 0; c < BM_COUNT(columns); c++)
        if (!isnan(largest[c]))
            (void)bm_string_append_format(out, "<th class=\"n\">%s</th>", columns[c].words);
    (void)bm_string_append(out, "</tr>\n");
}

// sum: of the shares down to this one.
static void write_row(const report_linears *linears, uint32_t index, double sum, const double *largest, bm_string *out)
{
    const report_linear *linear = linears->by_share[index];
    const int digits = linears->percent_digits;
    (void)bm_string_append_format(out, "<tr><td class=\"n soft\">%u</td><td class=\"name\">", index + 1);
    html_name(out, linear->name, strlen(linear->name));
    (void)bm_string_append(out, "</td>");
    if (linears->has_shares)
        (void)bm_string_append_format(out,
                                      "<td class=\"n\">%.*f</td><td class=\"bars\"><i style=\"width:%.1f%%\"></i></td>"
                                      "<td class=\"n sums\">%.*f</td>",
                                      digits, 100 * linear->share, 100 * linear->share / linears->by_share[0]->share,
                                      digits, 100 * sum);
    if (linears->has_weights)
        (void)bm_string_append_format(out, "<td class=\"n\">%.*f</td>", digits, 100 * linear->weights);
    for (size_t c = 0; c < BM_COUNT(columns); c++)
        if (!isnan(largest[c]))
            write_number(record_number(linear->record, columns[c].key), columns[c].form, largest[c], out);
    (void)bm_string_append(out, "</tr>\n");
}

void report_linear_table_write(const report_linears *linears, bm_string *out)
{
    double largest[BM_COUNT(columns)], sum = 0;
    for (size_t c = 0; c < BM_COUNT(columns); c++)
        largest[c] = largest_of(linears, columns[c].key);
    (void)bm_string_append_format(out, "<details><summary>Every linear%s</summary>\n<div class=\"wide\"><table>\n",
                                  linears->has_shares ? ", the largest share first" : "");
    write_head(linears, largest, out);
    for (uint32_t i = 0; i < linears->count; i++) {
        sum += linears->by_share[i]->share;
        write_row(linears, i, sum, largest, out);
    }
    (void)bm_string_append(out, "</table></div></details>\n");
}
