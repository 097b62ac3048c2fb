// Sums of outputs, and the figures that come of them.
#include "quant/equalize/output_error.h"

#include <math.h>

void bm_output_sums_add(bm_output_sums *sums, const float *outputs, const float *quantized, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const double y = (double)outputs[i], q = (double)quantized[i];
        sums->error_square += (y - q) * (y - q);
        sums->output_square += y * y;
        sums->quantized_square += q * q;
        sums->product += y * q;
        sums->max_error = fmax(sums->max_error, fabs(y - q));
    }
    sums->count += count;
}

void bm_output_sums_add_inputs(bm_output_sums *sums, const float *inputs, uint64_t count, float amax)
{
    for (uint64_t i = 0; i < count; i++)
        sums->saturated += fabsf(inputs[i]) > amax;
    sums->inputs += count;
}

void bm_output_sums_merge(bm_output_sums *sums, const bm_output_sums *more)
{
    sums->count += more->count;
    sums->error_square += more->error_square;
    sums->output_square += more->output_square;
    sums->quantized_square += more->quantized_square;
    sums->product += more->product;
    sums->max_error = fmax(sums->max_error, more->max_error);
    sums->inputs += more->inputs;
    sums->saturated += more->saturated;
}

static double cosine(const bm_output_sums *sums)
{
    const double lengths = sqrt(sums->output_square) * sqrt(sums->quantized_square);
    if (lengths > 0)
        return sums->product / lengths;
    return sums->output_square == sums->quantized_square ? 1 : 0;
}

bm_output_error bm_output_error_of(const bm_output_sums *sums)
{
    bm_output_error error = {.max_error = sums->max_error, .cosine = cosine(sums)};
    error.mse = sums->count ? sums->error_square / (double)sums->count : 0;
    error.nmse = sums->error_square == 0 ? 0 : sums->error_square / sums->output_square;
    error.sqnr_db = -10 * log10(error.nmse);
    error.saturated_share = sums->inputs ? (double)sums->saturated / (double)sums->inputs : 0;
    return error;
}
