// Reading the linears of a record, and the order of the section that shows them.
#include "report/linears.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Splits a name at its first part that is a number.
static void split_name(report_linear *linear)
{
    linear->kind = linear->name;
    linear->block = REPORT_NO_BLOCK;
    for (const char *dot = strchr(linear->name, '.'); dot; dot = strchr(dot + 1, '.')) {
        const size_t digits = strspn(dot + 1, "0123456789");
        if (digits > 0 && digits < 7 && dot[1 + digits] == '.' && dot[2 + digits]) {
            linear->block = (uint32_t)strtoul(dot + 1, NULL, 10);
            linear->kind = dot + 2 + digits;
            return;
        }
    }
}

// out_features times in_features; NAN when the record has no such shape.
static double num_weights(const bm_json *record)
{
    const bm_json *shape = bm_json_find(record, "shape");
    if (!shape || bm_json_kind_of(shape) != BM_JSON_ARRAY || bm_json_count(shape) != 2)
        return (double)NAN;
    double product = 1;
    for (const bm_json *size = bm_json_first(shape); size; size = bm_json_next(size))
        product *= bm_json_kind_of(size) == BM_JSON_NUMBER ? bm_json_number(size) : (double)NAN;
    return product;
}

// Turns quantities into parts of their sum. They are scaled by the largest first, so that no sum overflows. Returns
// false, and leaves them, when one is not finite or negative, or all are zero.
static bool to_parts(report_linears *list, double *(*part_of)(report_linear *))
{
    double largest = 0, sum = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const double value = *part_of(&list->items[i]);
        if (!isfinite(value) || value < 0)
            return false;
        largest = fmax(largest, value);
    }
    if (!(largest > 0))
        return false;
    for (uint32_t i = 0; i < list->count; i++)
        sum += *part_of(&list->items[i]) / largest;
    for (uint32_t i = 0; i < list->count; i++)
        *part_of(&list->items[i]) = *part_of(&list->items[i]) / largest / sum;
    return true;
}

static double *share_of(report_linear *linear)
{
    return &linear->share;
}

// By quantized weights and inputs; NAN where the record has none.
static double layer_error_of(const report_linear *linear)
{
    return record_number(bm_json_find(bm_json_find(linear->record, "layer_error"), "both"), "nmse");
}

static double output_error_of(const report_linear *linear)
{
    return record_number(linear->record, "output_error");
}

static double squared_error_of(const report_linear *linear)
{
    return record_number(linear->record, "squared_error");
}

#define LAYER_SHARES                                                                                                   \
    "; its share is its part of the sum over all linears that were quantized. This is the error where a linear ends, " \
    "not of what the model says: how much of it gets there also depends on what follows.</p>\n"
static const char by_inputs[] = // where they are quantized too
    "<p class=\"soft\">Relative output error: |X W - Q(X) Q(W)|&sup2; over |X W|&sup2;, summed over a sample of the "
    "calibration tokens X and the outputs of a linear, as it will run: with quantized weights, and quantized inputs "
    "where they are" LAYER_SHARES;

// The first that every linear has is what shares are of.
static const struct {
    double (*of)(const report_linear *);
    const char *words, *what;
} errors[] = {
    {layer_error_of, "relative output error",
     "<p class=\"soft\">Relative output error: |X W - X Q(W)|&sup2; over |X W|&sup2;, summed over a sample of the "
     "calibration tokens X and the outputs of a linear" LAYER_SHARES},
    {output_error_of, "output error",
     "<p class=\"soft\">Output error: |X (W - Q(W))|&sup2; summed over the calibration tokens X and the outputs of a "
     "linear; its share is its part of the sum over all linears that were quantized. This is the error where a linear "
     "ends, not of what the model says: how much of it gets there also depends on what follows.</p>\n"},
    {squared_error_of, "squared error",
     "<p class=\"soft\">Squared error: (W - Q(W))&sup2; summed over the weights of a linear; its share is its part of "
     "the sum over all linears that were quantized. This is the error of weights, not of what the model says: how much "
     "of it reaches the output also depends on what goes into a linear.</p>\n"},
};

static void read_shares(report_linears *list)
{
    for (size_t e = 0; e < BM_COUNT(errors) && !list->has_shares; e++) {
        for (uint32_t i = 0; i < list->count; i++)
            list->items[i].share = errors[e].of(&list->items[i]);
        list->has_shares = to_parts(list, share_of);
        list->of_layers = list->has_shares && errors[e].of == layer_error_of;
        list->error = errors[e].words;
        list->what = list->of_layers && list->quantizes_inputs ? by_inputs : errors[e].what;
    }
}

static double *weights_of(report_linear *linear)
{
    return &linear->weights;
}

static int compare_shares(const void *a, const void *b)
{
    const report_linear *x = *(const report_linear *const *)a, *y = *(const report_linear *const *)b;
    if (x->share != y->share)
        return x->share > y->share ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool read_linears(const bm_json *linears, report_linears *list)
{
    const uint32_t capacity = bm_json_count(linears);
    list->items = bm_alloc_zero(capacity, sizeof *list->items);
    list->by_share = bm_alloc_zero(capacity, sizeof(const report_linear *));
    if (!list->items || !list->by_share)
        return false;
    for (const bm_json *item = bm_json_first(linears); item; item = bm_json_next(item)) {
        const report_linear linear = {
            .record = item, .name = record_string(item, "name"), .weights = num_weights(item)};
        if (!linear.name)
            continue;
        list->quantizes_inputs |= bm_json_find(bm_json_find(item, "layer_error"), "inputs") != NULL;
        list->items[list->count] = linear;
        split_name(&list->items[list->count++]);
    }
    read_shares(list);
    list->has_weights = to_parts(list, weights_of);
    list->percent_digits = list->count < 100 ? 1 : 2;
    for (uint32_t i = 0; i < list->count; i++)
        list->by_share[i] = &list->items[i];
    if (list->has_shares)
        qsort(list->by_share, list->count, sizeof(const report_linear *), compare_shares);
    return true;
}

// "Half of it lies in 9 of 28 linears."
static void write_half(const report_linears *list, bm_string *out)
{
    double sum = 0;
    uint32_t num = 0;
    while (num < list->count && sum < 0.5)
        sum += list->by_share[num++]->share;
    (void)bm_string_append_format(out, "<p>Half of the %s lies in %u of %u linears.</p>\n", list->error, num,
                                  list->count);
}

void report_linears_write(const bm_json *record, bm_string *out)
{
    const bm_json *linears = bm_json_find(record, "linears");
    report_linears list = {0};
    if (!linears || bm_json_kind_of(linears) != BM_JSON_ARRAY || !bm_json_first(linears))
        return;
    if (!read_linears(linears, &list))
        out->failed = true;
    else if (list.count > 0) {
        (void)bm_string_append(out, "<h2>Where the error is</h2>\n");
        if (list.has_shares) {
            write_half(&list, out);
            (void)bm_string_append(out, list.what);
            report_worst_write(&list, bm_json_find(bm_json_find(record, "arguments"), "skip_list_names"), out);
            report_heat_map_write(&list, out);
        }
        report_linear_table_write(&list, out);
    }
    bm_free(list.items);
    bm_free(list.by_share);
}
