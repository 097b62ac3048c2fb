// Fake quantization to 8 bits, with the codes that a runtime would have.
#include "quant/equalize/int8_loss.h"

#include "quant/equalize/paddleslim.h"

#include <math.h>

#define ZERO_AMAX 1e-30f // below: 127 / amax could overflow

static uint32_t num_groups(const bm_int8_loss *loss)
{
    return loss->params.channels / loss->params.group_size;
}

static void compute_outputs(bm_int8_loss *loss)
{
    const bm_int8_loss_params *p = &loss->params;
    for (uint64_t t = 0; t < p->tokens; t++)
        for (uint64_t r = 0; r < p->rows; r++) {
            double sum = 0;
            for (uint32_t c = 0; c < p->channels; c++)
                sum += (double)p->inputs[t * p->channels + c] * (double)p->weights[r * p->channels + c];
            loss->outputs[t * p->rows + r] = sum;
        }
}

// nmse: 1 / mean square of the linear's outputs; 1 for a linear whose outputs are zeros.
static void compute_weighting(bm_int8_loss *loss)
{
    const bm_int8_loss_params *p = &loss->params;
    for (uint64_t l = 0, first = 0; l < p->num_linears; first += p->linear_rows[l], l++) {
        double sum = 0;
        for (uint64_t t = 0; t < p->tokens; t++)
            for (uint64_t r = first; r < first + p->linear_rows[l]; r++)
                sum += loss->outputs[t * p->rows + r] * loss->outputs[t * p->rows + r];
        const double mean = sum / ((double)p->tokens * (double)p->linear_rows[l]);
        for (uint64_t r = first; r < first + p->linear_rows[l]; r++)
            loss->weighting[r] = p->nmse && mean > 0 ? 1 / mean : 1;
    }
}

bm_status bm_int8_loss_init(bm_int8_loss *loss, const bm_int8_loss_params *params, bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t rows = 0;
    *loss = (bm_int8_loss){.params = *params};
    BM_FAIL_IF(params->channels == 0 || params->group_size == 0 || params->channels % params->group_size != 0, err,
               BM_E_ARGUMENT, "group_size %u: expected a divisor of %u channels", params->group_size, params->channels);
    for (uint32_t l = 0; l < params->num_linears; l++)
        rows += params->linear_rows[l];
    BM_FAIL_IF(rows != params->rows, err, BM_E_ARGUMENT, "linears have %llu rows together, expected %llu",
               (unsigned long long)rows, (unsigned long long)params->rows);
    const uint64_t groups = num_groups(loss);
    loss->outputs = bm_alloc(params->tokens, params->rows * sizeof *loss->outputs);
    loss->weighting = bm_alloc(params->rows, sizeof *loss->weighting);
    loss->scaled = bm_alloc(bm_max_u64(params->tokens, params->rows), params->channels * sizeof *loss->scaled);
    loss->input_codes = bm_alloc(params->tokens, params->channels);
    loss->weight_codes = bm_alloc(params->rows, params->channels);
    loss->input_steps = bm_alloc(params->tokens, sizeof *loss->input_steps);
    loss->weight_amax = bm_alloc(params->rows, groups * sizeof *loss->weight_amax);
    loss->weight_steps = bm_alloc(params->rows, groups * sizeof *loss->weight_steps);
    BM_FAIL_IF(!loss->outputs || !loss->weighting || !loss->scaled || !loss->input_codes || !loss->weight_codes ||
                   !loss->input_steps || !loss->weight_amax || !loss->weight_steps,
               err, BM_E_MEMORY, "out of memory");
    compute_outputs(loss);
    compute_weighting(loss);
    loss->params.linear_rows = NULL;
done:
    return status;
}

void bm_int8_loss_free(bm_int8_loss *loss)
{
    bm_free(loss->outputs);
    bm_free(loss->weighting);
    bm_free(loss->scaled);
    bm_free(loss->input_codes);
    bm_free(loss->weight_codes);
    bm_free(loss->input_steps);
    bm_free(loss->weight_amax);
    bm_free(loss->weight_steps);
    *loss = (bm_int8_loss){0};
}

// Codes of count values of one amax; returns their step.
static float quantize(const float *values, uint64_t count, float amax, bool compat, int8_t *codes)
{
    const float inverse = amax < ZERO_AMAX ? 0.0f : 127.0f / amax;
    for (uint64_t i = 0; i < count; i++)
        codes[i] = compat && inverse > 0 ? (int8_t)bm_paddleslim_search_code(values[i], amax)
                                         : (int8_t)fminf(fmaxf(rintf(values[i] * inverse), -128.0f), 127.0f);
    return amax / 127.0f;
}

static void quantize_inputs(bm_int8_loss *loss, const float *scales, float act_amax)
{
    const bm_int8_loss_params *p = &loss->params;
    for (uint64_t t = 0; t < p->tokens; t++) {
        const float *inputs = p->inputs + t * p->channels;
        float *scaled = loss->scaled + t * p->channels, largest = 0;
        for (uint32_t c = 0; c < p->channels; c++) {
            scaled[c] = p->compat_paddleslim ? inputs[c] / scales[c] : inputs[c] * (1.0f / scales[c]);
            largest = fmaxf(largest, fabsf(scaled[c]));
        }
        loss->input_steps[t] = quantize(scaled, p->channels, p->per_token ? largest : act_amax, p->compat_paddleslim,
                                        loss->input_codes + t * p->channels);
    }
}

static void quantize_weights(bm_int8_loss *loss, const float *scales)
{
    const bm_int8_loss_params *p = &loss->params;
    const uint32_t groups = num_groups(loss);
    bm_weight_amax(p->weights, p->rows, p->channels, p->group_size, scales, loss->weight_amax);
    for (uint64_t i = 0; i < p->rows * p->channels; i++)
        loss->scaled[i] = p->weights[i] * scales[i % p->channels];
    for (uint64_t i = 0; i < p->rows * groups; i++) {
        const uint64_t at = i * p->group_size;
        loss->weight_steps[i] = quantize(loss->scaled + at, p->group_size, loss->weight_amax[i], p->compat_paddleslim,
                                         loss->weight_codes + at);
    }
}

// Output of token t and row r.
static double output(const bm_int8_loss *loss, uint64_t t, uint64_t r)
{
    const bm_int8_loss_params *p = &loss->params;
    const uint32_t groups = num_groups(loss);
    const int8_t *x = loss->input_codes + t * p->channels, *w = loss->weight_codes + r * p->channels;
    double value = 0;
    for (uint32_t g = 0; g < groups; g++) {
        int64_t sum = 0;
        for (uint32_t c = g * p->group_size; c < (g + 1) * p->group_size; c++)
            sum += (int64_t)x[c] * w[c];
        value += (double)sum * (double)loss->weight_steps[r * groups + g];
    }
    return value * (double)loss->input_steps[t];
}

bm_status bm_int8_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err)
{
    bm_int8_loss *loss = context;
    const bm_int8_loss_params *p = &loss->params;
    const uint64_t counted = bm_divide_up(p->tokens, batch->token_share);
    (void)err;
    for (uint32_t i = 0; i < batch->count; i++) {
        const float *scales = batch->scales + (size_t)i * p->channels;
        double sum = 0;
        quantize_inputs(loss, scales, (float)batch->act_amax[i]);
        quantize_weights(loss, scales);
        for (uint64_t t = 0; t < p->tokens; t += batch->token_share)
            for (uint64_t r = 0; r < p->rows; r++) {
                const double error = loss->outputs[t * p->rows + r] - output(loss, t, r);
                sum += loss->weighting[r] * error * error;
            }
        losses[i] = sum / ((double)counted * (double)p->rows);
    }
    return BM_OK;
}
