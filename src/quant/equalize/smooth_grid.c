// Grids of candidates.
#include "quant/equalize/smooth_grid.h"

#include "quant/equalize/smooth_scales.h"

#include <math.h>

#define PADDLESLIM_ALPHAS 100 // at most
#define FACTOR_QUARTERS 8     // factors are 2^-2 .. 2^2 by 2^(1/4)

void bm_smooth_grid_params_init(bm_smooth_grid_params *params)
{
    *params = (bm_smooth_grid_params){.alpha_min = 0.2,
                                      .alpha_max = 0.8,
                                      .alpha_step = 0.01,
                                      .has_constants = true,
                                      .scale_min = 1,
                                      .scale_max = 5,
                                      .scale_step = 0.5};
}

uint32_t bm_smooth_grid_size(double min, double max, double step)
{
    return (uint32_t)floor((max - min) / step + 1e-6) + 1;
}

void bm_smooth_grid_free(bm_smooth_grid *grid)
{
    bm_free(grid->candidates);
    *grid = (bm_smooth_grid){0};
}

static bm_status check(const bm_smooth_grid_params *p, bm_error *err)
{
    bm_status status = BM_OK;
    BM_FAIL_IF(!(p->alpha_min >= 0 && p->alpha_min < p->alpha_max && p->alpha_max <= 1), err, BM_E_ARGUMENT,
               "search_alpha_min %g, search_alpha_max %g: expected 0 <= min < max <= 1", p->alpha_min, p->alpha_max);
    BM_FAIL_IF(!(p->alpha_step >= 1e-4), err, BM_E_ARGUMENT, "search_alpha_step %g: expected 0.0001 or more",
               p->alpha_step);
    if (!p->has_constants)
        return BM_OK;
    BM_FAIL_IF(!(p->scale_min >= 1 && p->scale_min <= p->scale_max && p->scale_max <= BM_SMOOTH_SCALE_MAX), err,
               BM_E_ARGUMENT, "search_scale_min %g, search_scale_max %g: expected 1 <= min <= max <= %g", p->scale_min,
               p->scale_max, BM_SMOOTH_SCALE_MAX);
    BM_FAIL_IF(!(p->scale_step >= 1e-4 && (p->scale_max - p->scale_min) / p->scale_step <= 1e4), err, BM_E_ARGUMENT,
               "search_scale_step %g: expected 0.0001 or more, and 10000 constants at most", p->scale_step);
done:
    return status;
}

static bm_status allocate(bm_smooth_grid *grid, uint32_t most, bm_error *err)
{
    *grid = (bm_smooth_grid){.candidates = bm_alloc(most, sizeof *grid->candidates)};
    return grid->candidates ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

static void put(bm_smooth_grid *grid, bm_smooth_candidate_kind kind, double value)
{
    grid->candidates[grid->count++] = (bm_smooth_candidate){kind, value};
}

static void put_alphas(bm_smooth_grid *grid, const bm_smooth_grid_params *p, bm_smooth_candidate_kind kind)
{
    const uint32_t count = bm_smooth_grid_size(p->alpha_min, p->alpha_max, p->alpha_step);
    for (uint32_t i = 0; i < count; i++)
        put(grid, kind, fmin(p->alpha_min + i * p->alpha_step, p->alpha_max));
}

uint64_t bm_smooth_grid_most(const bm_smooth_grid_params *p)
{
    const uint64_t alphas = bm_smooth_grid_size(p->alpha_min, p->alpha_max, p->alpha_step);
    const uint64_t constants = p->has_constants ? bm_smooth_grid_size(p->scale_min, p->scale_max, p->scale_step) : 0;
    const uint64_t halves = p->has_constants ? 1 + bm_smooth_grid_size(p->scale_min, p->scale_max, 0.5) : 0;
    return bm_max_u64(1 + alphas + bm_max_u64(constants, 2 * FACTOR_QUARTERS), PADDLESLIM_ALPHAS + halves);
}

bm_status bm_smooth_grid_create_absolute(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check(params, err));
    const uint32_t alphas = bm_smooth_grid_size(params->alpha_min, params->alpha_max, params->alpha_step);
    const uint32_t constants =
        params->has_constants ? bm_smooth_grid_size(params->scale_min, params->scale_max, params->scale_step) : 0;
    BM_TRY(allocate(out, 1 + alphas + constants, err));
    put(out, BM_SMOOTH_CONSTANT, 1);
    put_alphas(out, params, BM_SMOOTH_ALPHA);
    for (uint32_t i = 0; i < constants; i++) {
        const double constant = params->scale_min + i * params->scale_step;
        if (constant != 1)
            put(out, BM_SMOOTH_CONSTANT, constant);
    }
done:
    return status;
}

bm_status bm_smooth_grid_create_relative(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check(params, err));
    const uint32_t alphas = bm_smooth_grid_size(params->alpha_min, params->alpha_max, params->alpha_step);
    BM_TRY(allocate(out, alphas + 1 + 2 * FACTOR_QUARTERS, err));
    put(out, BM_SMOOTH_FACTOR, 1);
    put_alphas(out, params, BM_SMOOTH_RESCALED);
    for (int quarters = -FACTOR_QUARTERS; quarters <= FACTOR_QUARTERS; quarters++)
        if (quarters != 0)
            put(out, BM_SMOOTH_FACTOR, exp2(quarters / 4.0));
done:
    return status;
}

bm_status bm_smooth_grid_create_paddleslim(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(check(params, err));
    const uint32_t constants =
        params->has_constants ? 1 + bm_smooth_grid_size(params->scale_min, params->scale_max, 0.5) : 0;
    BM_TRY(allocate(out, PADDLESLIM_ALPHAS + constants, err));
    for (uint32_t i = 1; round(100 * params->alpha_min + i) < round(100 * params->alpha_max); i++)
        put(out, BM_SMOOTH_ALPHA, round(100 * params->alpha_min + i) / 100);
    for (uint32_t i = 0; i < constants; i++)
        put(out, BM_SMOOTH_CONSTANT, params->scale_min + i * 0.5);
done:
    return status;
}

static double alpha_scale(const double *a, const float *w, uint32_t c, double alpha)
{
    return (double)bm_smooth_scale(a[c], (double)w[c], alpha);
}

// The factor that gives scales of alpha the geometric mean that the piece has.
static double rescaling(const uint32_t *members, uint32_t num_members, const double *a, const float *w, double alpha,
                        const float *scales)
{
    double sum = 0;
    uint32_t living = 0;
    for (uint32_t i = 0; i < num_members; i++) {
        const uint32_t c = members[i];
        if (bm_channel_is_dead(a[c], (double)w[c]))
            continue;
        sum += log2((double)scales[c]) - log2(alpha_scale(a, w, c, alpha));
        living++;
    }
    return living ? exp2(sum / living) : 1;
}

void bm_smooth_candidate_apply(const bm_smooth_candidate *candidate, const uint32_t *members, uint32_t num_members,
                               const double *a, const float *w, bool pow2, float *scales)
{
    const double value = candidate->value;
    const double factor =
        candidate->kind == BM_SMOOTH_RESCALED ? rescaling(members, num_members, a, w, value, scales) : 1;
    for (uint32_t i = 0; i < num_members; i++) {
        const uint32_t c = members[i];
        double scale = 1;
        switch (candidate->kind) {
        case BM_SMOOTH_CONSTANT:
            scale = value;
            break;
        case BM_SMOOTH_ALPHA:
            scale = alpha_scale(a, w, c, value);
            break;
        case BM_SMOOTH_FACTOR:
            scale = (double)scales[c] * value;
            break;
        case BM_SMOOTH_RESCALED:
            scale = alpha_scale(a, w, c, value) * factor;
            break;
        case BM_SMOOTH_AWQ:
        case BM_SMOOTH_AWQ_DUO: // never of a piece
            break;
        }
        scale = bm_channel_is_dead(a[c], (double)w[c]) ? 1 : (double)bm_smooth_scale_clamp(scale);
        scales[c] = pow2 ? bm_smooth_scale_pow2(scale) : (float)scale;
    }
}
