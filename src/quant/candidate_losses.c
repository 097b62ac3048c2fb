// Roughly, then well.
#include "quant/candidate_losses.h"

#include "quant/gram_rough.h"

#include <math.h>

typedef struct candidate_work {
    bm_multiplier *multiplier;
    const bm_gram_loss_params *params;
    const bm_candidate_source *source;
    const bm_rough_gram *rough; // NULL: in float32
    float *scales;              // [BM_CANDIDATES_AT_ONCE, channels]
} candidate_work;

// Of the candidates in the list.
static bm_status find(const candidate_work *w, const uint32_t *list, uint32_t count, double *losses, bm_error *err)
{
    const uint64_t channels = w->params->gram->cols;
    double found[BM_CANDIDATES_AT_ONCE];
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count; i += BM_CANDIDATES_AT_ONCE) {
        const uint32_t some = (uint32_t)bm_min_u64(BM_CANDIDATES_AT_ONCE, count - i);
        for (uint32_t k = 0; k < some; k++)
            w->source->scales(w->source->context, list[i + k], w->scales + k * channels);
        BM_TRY(w->rough ? bm_rough_losses(w->multiplier, w->rough, w->params, w->scales, some, found, err)
                        : bm_gram_losses(w->multiplier, w->params, w->scales, some, found, err));
        for (uint32_t k = 0; k < some; k++)
            losses[list[i + k]] = found[k];
    }
done:
    return status;
}

// The first, and those that may be the best.
static uint32_t list_near(const double *losses, uint32_t count, uint32_t *list)
{
    double least = INFINITY;
    uint32_t num = 0;
    for (uint32_t i = 0; i < count; i++)
        least = fmin(least, losses[i]); // NaN is no minimum
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || !(losses[i] > least + fabs(least) * BM_ROUGH_SHARE)) // NaN may be anything
            list[num++] = i;
    return num;
}

bm_status bm_candidate_losses(bm_multiplier *m, const bm_gram_loss_params *p, const bm_candidate_source *source,
                              uint32_t count, double *losses, bm_error *err)
{
    const uint64_t channels = p->gram->cols;
    bm_status status = BM_OK;
    bm_rough_gram rough = {0};
    candidate_work w = {.multiplier = m, .params = p, .source = source};
    uint32_t *list = bm_alloc(count, sizeof *list), num = count;
    w.scales = bm_alloc(BM_CANDIDATES_AT_ONCE * channels, sizeof *w.scales);
    BM_FAIL_IF(!list || !w.scales, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        list[i] = i;
    if (bm_rough_gram_pays(m, channels)) {
        BM_TRY(bm_rough_gram_create(m->device, p->gram, &rough, err));
        w.rough = &rough;
        BM_TRY(find(&w, list, count, losses, err));
        w.rough = NULL;
        bm_rough_gram_destroy(&rough);
        num = list_near(losses, count, list);
    }
    BM_TRY(find(&w, list, num, losses, err));
done:
    bm_rough_gram_destroy(&rough);
    bm_free(w.scales);
    bm_free(list);
    return status;
}
