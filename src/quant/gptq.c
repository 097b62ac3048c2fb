// GPTQ as a method: what it watches, its Hessian and factor, and what happens where there is no factor.
// Source: Frantar et al., GPTQ, 2023.
#include "quant/factor_in_place.h"
#include "quant/gptq_rows.h"
#include "quant/rtn.h"

#include <stdio.h>

typedef struct gptq_state {
    bm_gram gram;
    bm_inverse_factor factor;
    bool falls_back;
} gptq_state;

static bm_watches watches(const bm_method_params *params)
{
    return params->qep_alpha > 0 ? BM_WATCHES_BOTH_INPUTS : BM_WATCHES_INPUTS;
}

static uint64_t state_bytes(const bm_method_params *params, uint32_t channels)
{
    // The Hessian, the factor and its transpose, H in another order; the difference, and where a damping is given a second
    // factor with the automatic one.
    const uint32_t squares =
        4 + (params->qep_alpha > 0 ? 1 : 0) + (params->qep_alpha > 0 && params->damp_percent > 0 ? 2 : 0);
    return params->folder ? bm_factor_in_place_bytes(channels) : squares * bm_gram_bytes(channels, false);
}

static void end(void **state)
{
    gptq_state *s = *state;
    if (!s)
        return;
    bm_gram_destroy(&s->gram);
    bm_inverse_factor_destroy(&s->factor);
    bm_free(s);
    *state = NULL;
}

static bm_status begin(bm_multiplier *m, const bm_method_params *params, uint32_t channels, void **out, bm_error *err)
{
    gptq_state *s = bm_alloc_zero(1, sizeof *s);
    if (!s)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = bm_gram_create(m->device, channels, params->qep_alpha > 0, &s->gram, err);
    if (status != BM_OK)
        bm_free(s);
    else
        *out = s;
    return status;
}

static bm_status watch(bm_multiplier *m, void *state, const bm_tensor *inputs, const bm_tensor *float_inputs,
                       bm_error *err)
{
    gptq_state *s = state;
    return bm_gram_add(m, &s->gram, inputs, float_inputs, err);
}

static bm_status prepare(bm_multiplier *m, void *state, const bm_method_params *params, bm_group_record *record,
                         bm_error *err)
{
    gptq_state *s = state;
    bm_status status = BM_OK;
    bm_error reason = {0};
    BM_TRY(bm_gram_finish(m->device, &s->gram, params->folder, err));
    record->tokens = s->gram.tokens;
    status = bm_inverse_factor_create(m, &s->gram, params->damp_percent, params->act_order != BM_COLUMN_ORDER_NONE,
                                      &s->factor, &reason);
    if (status == BM_OK && params->qep_alpha > 0) {
        const bm_status second = bm_inverse_factor_add_automatic(m, &s->gram, &s->factor, &reason);
        status = second == BM_E_NUMERIC ? BM_OK : second; // the first is good without it
    }
    if (status == BM_E_NUMERIC) {
        s->falls_back = record->fell_back = true;
        snprintf(record->reason, sizeof record->reason, "%s", reason.message);
        status = BM_OK;
    } else if (status == BM_OK) {
        record->num_dead = s->factor.num_dead;
        record->damping = s->factor.damping;
        record->num_raised = s->factor.num_raised;
        record->by_host = s->factor.by_host;
        // What the column loop holds true of other tokens than these, sweeps, refits and the guard must hold true too: with
        // few tokens they would fit codes to those alone.
        BM_TRY(bm_gram_damp(m->device, &s->gram, s->factor.damping * s->factor.live_mean, err));
    } else {
        status = bm_fail(err, status, "%s", reason.message);
    }
done:
    return status;
}

static bm_status solve(bm_multiplier *m, void *state, const bm_method_params *params, const bm_method_rows *rows,
                       bm_error *err)
{
    gptq_state *s = state;
    if (!s->falls_back)
        return bm_gptq_rows_solve(m, &s->gram, &s->factor, params, rows, err);
    // Where the Hessian has no factor it tells little of what a column counts.
    bm_method_params plain = *params;
    if (plain.scale_search != BM_SEARCH_ABS_MAX)
        plain.scale_search = BM_SEARCH_MSE;
    return bm_rtn_solve_rows(m, &s->gram, &plain, rows, err);
}

static bm_status group_index(const void *state, const bm_method_params *params, uint32_t **out, bm_error *err)
{
    const gptq_state *s = state;
    *out = NULL;
    if (params->act_order != BM_COLUMN_ORDER_DYNAMIC || s->falls_back)
        return BM_OK;
    uint32_t *index = bm_alloc(s->gram.channels, sizeof *index);
    if (!index)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t c = 0; c < s->gram.channels; c++)
        index[c] = s->factor.place[c] / params->grid.group_size;
    *out = index;
    return BM_OK;
}

const bm_method bm_method_gptq = {.name = "gptq",
                                  .words = "GPTQ",
                                  .watches = watches,
                                  .state_bytes = state_bytes,
                                  .begin = begin,
                                  .watch = watch,
                                  .prepare = prepare,
                                  .solve = solve,
                                  .group_index = group_index,
                                  .end = end};
