// What an error of each token of the sample weighs.
#include "schedule/equalize.h"

#include "ops/matrix.h"

#include <math.h>

// Of a sequence that is found bad in the middle of a block, stages in front of that have tokens in their sample, but no residual
// stream behind them was looked at: a NaN.
#define NOTHING_SEEN 0x7fc00000u

bm_status bm_equalizer_begin_energies(bm_equalizer *e, bm_error *err)
{
    const bm_arguments *a = e->emit->arguments;
    const bool searches = a->smooth && a->smooth_piecewise_search;
    bm_sample_energies *s = &e->energies;
    bm_status status = BM_OK;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES && !s->watched; stage++)
        if (e->stages[stage].is_quantized)
            s->watched = &e->stages[stage].watched;
    s->least = (double)e->emit->model->config.hidden_size * (double)e->emit->model->config.norm_epsilon;
    s->wanted = s->watched && s->watched->num_sample > 0 && a->search_loss == BM_LOSS_RESIDUAL &&
                a->compat == BM_COMPAT_NONE &&
                (searches || (e->emit->plan->input == BM_INPUT_STATIC && a->act_quant_method == BM_ACT_MSE));
    if (!s->wanted)
        return BM_OK;
    s->num = s->watched->num_sample;
    s->tokens = bm_alloc(s->num, sizeof *s->tokens);
    BM_FAIL_IF(!s->tokens, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < s->num; i++)
        s->tokens[i] = s->watched->sample_tokens[i];
    for (size_t i = 0; i < BM_COUNT(s->sample); i++) {
        s->host[i] = bm_alloc(s->num, 4 * sizeof *s->host[i]);
        BM_FAIL_IF(!s->host[i], err, BM_E_MEMORY, "out of memory");
        BM_TRY(bm_tensor_create(e->emit->device, BM_DTYPE_F32, s->num, 4, "sample of the residual stream",
                                &s->sample[i], err));
        BM_TRY(bm_fill(e->emit->device, s->sample[i].view, NOTHING_SEEN, err));
    }
done:
    return status;
}

void bm_equalizer_free_energies(bm_equalizer *e)
{
    bm_sample_energies *s = &e->energies;
    bm_tensor_destroy(&s->rows);
    for (size_t i = 0; i < BM_COUNT(s->sample); i++) {
        bm_tensor_destroy(&s->sample[i]);
        bm_free(s->host[i]);
    }
    bm_free(s->tokens);
    *s = (bm_sample_energies){0};
}

bm_status bm_equalizer_watch_residual(bm_equalizer *e, bool behind_mlp, const bm_tensor *hidden, uint32_t first,
                                      bm_error *err)
{
    bm_sample_energies *s = &e->energies;
    bm_status status = BM_OK;
    if (!s->wanted)
        return BM_OK;
    if (s->rows.rows < hidden->rows) {
        BM_TRY(bm_device_wait(e->emit->device, err));
        bm_tensor_destroy(&s->rows);
        BM_TRY(bm_tensor_create(e->emit->device, BM_DTYPE_F32, hidden->rows, 4, "squares of the residual stream",
                                &s->rows, err));
    }
    const bm_tensor sums = bm_tensor_rows(&s->rows, 0, hidden->rows);
    BM_TRY(bm_row_dot(e->emit->device, hidden, hidden, &sums, err));
    BM_TRY(bm_activation_statistics_sample(e->emit->device, s->watched, &sums, first, &s->sample[behind_mlp], err));
done:
    return status;
}

bm_status bm_equalizer_fetch_energies(bm_equalizer *e, bm_error *err)
{
    bm_sample_energies *s = &e->energies;
    bm_status status = BM_OK;
    for (size_t i = 0; i < BM_COUNT(s->sample) && s->wanted; i++)
        BM_TRY(bm_tensor_download(e->emit->device, &s->sample[i], s->host[i], err));
    BM_TRY(bm_device_wait(e->emit->device, err));
done:
    return status;
}

bm_status bm_equalizer_token_weights(const bm_equalizer *e, bm_stage stage, double **out, bm_error *err)
{
    const bm_sample_energies *s = &e->energies;
    const bm_activation_statistics *watched = &e->stages[stage].watched;
    const float *energies = s->host[stage >= BM_STAGE_GATE_UP];
    double sum = 0;
    *out = NULL;
    if (!s->wanted)
        return BM_OK;
    double *weights = bm_alloc(watched->num_sample, sizeof *weights);
    if (!weights)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    uint32_t num_known = 0;
    for (uint32_t i = 0, at = 0; i < watched->num_sample; i++) {
        while (s->tokens[at] < watched->sample_tokens[i]) // those of sequences that were left out
            at++;
        const double energy = (double)energies[4 * (size_t)at];
        const bool known = isfinite(energy);
        weights[i] = known ? 1 / (energy + s->least) : NAN;
        sum += known ? weights[i] : 0;
        num_known += known;
    }
    for (uint32_t i = 0; i < watched->num_sample; i++) // of tokens of which nothing was seen, the mean
        weights[i] = isfinite(weights[i]) && sum > 0 && isfinite(sum) ? weights[i] * num_known / sum : 1;
    *out = weights;
    return BM_OK;
}
