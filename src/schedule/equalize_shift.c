// Which shift a stage gets.
#include "schedule/equalize.h"

#include <math.h>
#include <string.h>

static bm_shift_params shift_params(const bm_arguments *a, bm_stage stage, bm_channel_center statistic)
{
    return (bm_shift_params){.sampler =
                                 a->shift_sampler == BM_SAMPLER_EMA ? BM_SHIFT_SAMPLER_EMA : BM_SHIFT_SAMPLER_NONE,
                             .statistic = statistic,
                             .shift_step = a->shift_step,
                             .ptq_step = a->ptq_step,
                             .observer = bm_equalizer_observer(a),
                             .compat_paddleslim = a->compat == BM_COMPAT_PADDLESLIM,
                             .calls_a_step = stage == BM_STAGE_QKV       ? 3
                                             : stage == BM_STAGE_GATE_UP ? 2
                                                                         : 1};
}

// The statistics that are tried, in the order in which they win ties. Returns their number.
static uint32_t list_statistics(const bm_equalizer *e, const bm_equalized_stage *s, bm_channel_center out[2])
{
    const bm_arguments *a = e->emit->arguments;
    out[0] = a->shift_statistic == BM_SHIFT_MEAN               ? BM_CENTER_MEAN
             : a->shift_statistic == BM_SHIFT_AVERAGE_MIDRANGE ? BM_CENTER_AVERAGE_MIDRANGE
                                                               : BM_CENTER_MIDRANGE;
    out[1] = BM_CENTER_AVERAGE_MIDRANGE;
    const bool chooses = a->shift_statistic == BM_SHIFT_AUTO && a->compat == BM_COMPAT_NONE &&
                         e->emit->plan->input != BM_INPUT_FLOAT && s->watched.num_sample > 1;
    return chooses ? 2 : 1;
}

// Zero points of least loss, none at all among them: what enlarges the observer's magnitude is none (bm_shift_find).
//
//   tried  [channels], memory
static bm_status choose(bm_equalizer *e, bm_stage stage, const bm_channel_center *statistics, uint32_t count,
                        double *tried, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_status status = BM_OK;
    double least = INFINITY, loss;
    memset(tried, 0, s->channels * sizeof *tried);
    for (uint32_t i = 0; i <= count; i++) {
        bm_shift_record record = {0};
        if (i < count) {
            const bm_shift_params params = shift_params(e->emit->arguments, stage, statistics[i]);
            BM_TRY(bm_shift_find(&s->statistics, &params, tried, &record, err));
            record.statistic = statistics[i];
        } else { // none
            memset(tried, 0, s->channels * sizeof *tried);
            record = s->record->shift;
            record.num_small = 0;
            record.enlarges = true;
        }
        const double amax = record.enlarges ? record.amax_before : record.amax_after;
        BM_TRY(bm_equalizer_loss(e, stage, tried, amax, &loss, err));
        if (i > 0 && !(loss < least * (1 - 1e-12)))
            continue;
        least = isfinite(loss) ? loss : INFINITY;
        s->record->shift = record;
        memcpy(s->shift, tried, s->channels * sizeof *tried);
    }
done:
    return status;
}

bm_status bm_equalizer_find_shift(bm_equalizer *e, bm_stage stage, bm_error *err)
{
    bm_equalized_stage *s = &e->stages[stage];
    bm_channel_center statistics[2];
    const uint32_t count = list_statistics(e, s, statistics);
    const bm_shift_params params = shift_params(e->emit->arguments, stage, statistics[0]);
    bm_status status = BM_OK;
    double *tried = bm_alloc(s->channels, sizeof *tried);
    s->shift = bm_alloc(s->channels, sizeof *s->shift);
    BM_FAIL_IF(!s->shift || !tried, err, BM_E_MEMORY, "out of memory");
    if (count > 1)
        BM_TRY(choose(e, stage, statistics, count, tried, err));
    else
        BM_TRY(bm_shift_find(&s->statistics, &params, s->shift, &s->record->shift, err));
    if (count == 1)
        s->record->shift.statistic = statistics[0];
    memcpy(s->statistics.zero_point, s->shift, s->channels * sizeof *s->shift);
done:
    bm_free(tried);
    return status;
}
