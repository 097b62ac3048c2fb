// Errors of the outputs of linears, as members of bitmill.json and in words.
#include "schedule/record_parts.h"

#include "base/str.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LISTED = 5 };

static void put_error(bm_json_writer *json, const char *key, const bm_output_error *e, bool quantizes_inputs)
{
    bm_json_begin_object(json, key);
    bm_json_put_double(json, "mse", e->mse);
    bm_json_put_double(json, "nmse", e->nmse);
    bm_json_put_double(json, "sqnr_db", e->sqnr_db); // null where there is no error
    bm_json_put_double(json, "cosine", e->cosine);
    bm_json_put_double(json, "max_error", e->max_error);
    if (quantizes_inputs)
        bm_json_put_double(json, "saturated_share", e->saturated_share);
    bm_json_end_object(json);
}

void bm_record_put_layer_error(bm_json_writer *json, const bm_linear_record *linear)
{
    if (!linear->has_layer_error)
        return;
    bm_json_begin_object(json, "layer_error");
    put_error(json, "weights", &linear->by_weights, linear->quantizes_inputs);
    if (linear->quantizes_inputs)
        put_error(json, "inputs", &linear->by_inputs, true);
    put_error(json, "both", &linear->by_both, linear->quantizes_inputs);
    bm_json_end_object(json);
}

// The linears that have errors, and among them those with many saturated inputs.
typedef struct errors_summary {
    uint32_t num_linears, num_saturated;
    bool quantizes_inputs;                  // of any
    const bm_linear_record *most_saturated; // of those; NULL: none is
} errors_summary;

static errors_summary summarize(const bm_quantize_result *result)
{
    errors_summary sum = {0};
    for (uint32_t i = 0; i < result->num_linears; i++) {
        const bm_linear_record *linear = &result->linears[i];
        const double share = linear->by_both.saturated_share;
        if (!linear->has_layer_error)
            continue;
        sum.num_linears++;
        sum.quantizes_inputs = sum.quantizes_inputs || linear->quantizes_inputs;
        if (!(share > REPORT_MUCH_SATURATED))
            continue;
        sum.num_saturated++;
        if (!sum.most_saturated || share > sum.most_saturated->by_both.saturated_share)
            sum.most_saturated = linear;
    }
    return sum;
}

// What was chosen without what other tokens say.
typedef struct searches_summary {
    uint32_t num_searches, num_skipped, num_lost, num_one_sided; // of scales
    uint32_t num_shares, num_shares_skipped;                     // of steps, by act_quant_method mse
    uint32_t num_steps_skipped;                                  // of linears' weights, by inputs
} searches_summary;

static searches_summary summarize_searches(const bm_quantize_result *result)
{
    searches_summary sum = {0};
    for (uint32_t i = 0; i < result->num_stages; i++) {
        const bm_stage_record *stage = &result->stages[i];
        sum.num_searches += bm_smooth_record_is_search(&stage->search);
        sum.num_skipped += stage->search.skipped;
        sum.num_lost += stage->search.nothing_finite;
        sum.num_one_sided += stage->search.one_sided;
        sum.num_shares += stage->amax_share > 0;
        sum.num_shares_skipped += stage->share_skipped;
    }
    for (uint32_t i = 0; i < result->num_linears; i++)
        sum.num_steps_skipped += result->linears[i].group.search_skipped;
    return sum;
}

// One token or none: what was asked for did not happen, which stands in front of all other warnings.
static void warn_nothing(const searches_summary *sum, uint32_t num_linears, const bm_log *log)
{
    bm_log_write(log, BM_LOG_WARNING,
                 "nothing was scaled%s: calibration has fewer than two tokens, too few for each of the %u searches of "
                 "scales",
                 sum->num_steps_skipped == num_linears ? ", the result is plain rounding" : "", sum->num_searches);
}

void bm_record_warn_searches(const bm_quantize_result *result, const bm_log *log)
{
    const searches_summary sum = summarize_searches(result);
    if (sum.num_skipped > 0 && sum.num_skipped == sum.num_searches)
        warn_nothing(&sum, result->num_linears, log);
    else if (sum.num_skipped > 0)
        bm_log_write(log, BM_LOG_WARNING, "%u of %u searches of scales had fewer than two tokens: scales stay 1",
                     sum.num_skipped, sum.num_searches);
    if (sum.num_one_sided > 0)
        bm_log_write(
            log, BM_LOG_WARNING,
            "search_crosswise: %u of %u searches of scales were judged by what the scales are made of: one half "
            "of the sequences has no tokens",
            sum.num_one_sided, sum.num_searches);
    if (sum.num_shares_skipped > 0)
        bm_log_write(
            log, BM_LOG_WARNING,
            "act_quant_method mse: %u of %u steps of inputs are of the largest magnitude: there were fewer than "
            "two tokens",
            sum.num_shares_skipped, sum.num_shares);
    if (sum.num_steps_skipped > 0)
        bm_log_write(log, BM_LOG_WARNING,
                     "scale_search: %u of %u linears had fewer than two tokens: their steps are of the largest weights",
                     sum.num_steps_skipped, result->num_linears);
}

void bm_record_warn_errors(const bm_quantize_result *result, const bm_log *log)
{
    const errors_summary sum = summarize(result);
    if (sum.most_saturated)
        bm_log_write(log, BM_LOG_WARNING,
                     "%s: %.3g %% of its inputs are beyond the largest 8-bit value; %u of %u linears have more than "
                     "%g %% of such",
                     sum.most_saturated->name, 100 * sum.most_saturated->by_both.saturated_share, sum.num_saturated,
                     sum.num_linears, 100 * REPORT_MUCH_SATURATED);
}

// Largest nmse first; NAN, which a sum that overflowed leaves, before all; equal ones in the record's order.
static int compare_errors(const void *a, const void *b)
{
    const bm_linear_record *x = *(const bm_linear_record *const *)a, *y = *(const bm_linear_record *const *)b;
    const double p = isnan(x->by_both.nmse) ? INFINITY : x->by_both.nmse;
    const double q = isnan(y->by_both.nmse) ? INFINITY : y->by_both.nmse;
    if (p != q)
        return p > q ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void describe_linear(const bm_linear_record *linear, int width, bool quantizes_inputs, bm_string *out)
{
    const bm_output_error *both = &linear->by_both;
    (void)bm_string_append_format(out, "  %-*s  ", width, linear->name);
    if (quantizes_inputs)
        (void)bm_string_append_format(out, "%8.2e  %8.2e  ", linear->by_weights.nmse, linear->by_inputs.nmse);
    (void)bm_string_append_format(out, "%8.2e  %8.1f", both->nmse, both->sqnr_db);
    if (quantizes_inputs)
        (void)bm_string_append_format(out, "  %12.4f", 100 * both->saturated_share);
    (void)bm_string_append(out, "\n");
}

static void describe_largest(const bm_quantize_result *result, const errors_summary *sum, bm_string *out)
{
    const bool quantizes_inputs = sum->quantizes_inputs;
    const bm_linear_record **order = bm_alloc(sum->num_linears, sizeof(const bm_linear_record *));
    uint32_t count = 0, listed = sum->num_linears < MAX_LISTED ? sum->num_linears : MAX_LISTED;
    int width = (int)strlen("linear");
    if (!order) {
        out->failed = true;
        return;
    }
    for (uint32_t i = 0; i < result->num_linears; i++)
        if (result->linears[i].has_layer_error)
            order[count++] = &result->linears[i];
    qsort(order, count, sizeof(const bm_linear_record *), compare_errors);
    for (uint32_t i = 0; i < listed; i++)
        width = (int)bm_max_u64((uint64_t)width, strlen(order[i]->name));
    (void)bm_string_append_format(out, "relative squared error of outputs, by quantized weights%s",
                                  quantizes_inputs ? ", inputs and both" : "");
    if (listed < count)
        (void)bm_string_append_format(out, "; the %u largest of %u", listed, count);
    (void)bm_string_append_format(out, ":\n  %-*s  ", width, "linear");
    if (quantizes_inputs)
        (void)bm_string_append_format(out, "%8s  %8s  %8s  %8s  %s\n", "weights", "inputs", "both", "SQNR, dB",
                                      "saturated, %");
    else
        (void)bm_string_append_format(out, "%8s  %8s\n", "error", "SQNR, dB");
    for (uint32_t i = 0; i < listed; i++)
        describe_linear(order[i], width, quantizes_inputs, out);
    bm_free(order);
}

static void describe_searches(const bm_quantize_result *result, bm_string *out)
{
    const searches_summary sum = summarize_searches(result);
    if (sum.num_skipped > 0)
        (void)bm_string_append_format(out, "searches skipped, fewer than two tokens: %u of %u; scales stay 1\n",
                                      sum.num_skipped, sum.num_searches);
    if (sum.num_lost > 0)
        (void)bm_string_append_format(out, "searches without a finite loss: %u of %u; scales stay 1\n", sum.num_lost,
                                      sum.num_searches);
    if (sum.num_one_sided > 0)
        (void)bm_string_append_format(
            out, "searches not judged crosswise, one half of the sequences has no tokens: %u of %u\n",
            sum.num_one_sided, sum.num_searches);
    if (sum.num_shares_skipped > 0)
        (void)bm_string_append_format(out,
                                      "steps of inputs of the largest magnitude, fewer than two tokens: %u of %u\n",
                                      sum.num_shares_skipped, sum.num_shares);
    if (sum.num_steps_skipped > 0)
        (void)bm_string_append_format(out, "steps of the largest weights, fewer than two tokens: %u of %u linears\n",
                                      sum.num_steps_skipped, result->num_linears);
}

void bm_record_describe_errors(const bm_quantize_result *result, bm_string *out)
{
    const errors_summary sum = summarize(result);
    if (sum.num_linears > 0)
        describe_largest(result, &sum, out);
    if (sum.most_saturated)
        (void)bm_string_append_format(out,
                                      "saturated inputs: more than %g %% in %u of %u linears, most in %s, %.3g %%\n",
                                      100 * REPORT_MUCH_SATURATED, sum.num_saturated, sum.num_linears,
                                      sum.most_saturated->name, 100 * sum.most_saturated->by_both.saturated_share);
    describe_searches(result, out);
}
