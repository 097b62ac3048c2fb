// What a piece's scales may become in the search.
#ifndef BM_QUANT_EQUALIZE_SMOOTH_GRID_H
#define BM_QUANT_EQUALIZE_SMOOTH_GRID_H

#include "base/base.h"

typedef enum bm_smooth_candidate_kind {
    BM_SMOOTH_CONSTANT, // s = value
    BM_SMOOTH_ALPHA,    // s = a^value / w^(1-value)
    BM_SMOOTH_FACTOR,   // s = what it is, times value
    BM_SMOOTH_RESCALED, // s = that of BM_SMOOTH_ALPHA times what keeps the geometric mean of the piece as it is
    BM_SMOOTH_AWQ,      // of awq_scales.h, for all channels at once: s ~ m^value
    BM_SMOOTH_AWQ_DUO,  // s ~ m^value / w^(1-value)
} bm_smooth_candidate_kind;

typedef struct bm_smooth_candidate {
    bm_smooth_candidate_kind kind;
    double value;
} bm_smooth_candidate;

typedef struct bm_smooth_grid {
    bm_smooth_candidate *candidates; // from what changes least to what changes most; the first is the identity
    uint32_t count;
} bm_smooth_grid;

typedef struct bm_smooth_grid_params {
    double alpha_min, alpha_max, alpha_step; // search_alpha_*
    bool has_constants;                      // false: search_scale_min or _max is null
    double scale_min, scale_max, scale_step; // search_scale_*
} bm_smooth_grid_params;
void bm_smooth_grid_params_init(bm_smooth_grid_params *params); // 0.2 .. 0.8 by 0.01, 1 .. 5 by 0.5

// min + i * step as far as max reaches, ends included: never max itself by adding up, never above it.
uint32_t bm_smooth_grid_size(double min, double max, double step);

// Candidates of a grid, at most.
uint64_t bm_smooth_grid_most(const bm_smooth_grid_params *params);

// absolute: 1, then alphas rising, then the other constants rising.
// relative: factor 1, then rescaled alphas rising, then the other factors 2^-2 .. 2^2 by 2^(1/4).
// Errors   BM_E_ARGUMENT a bound is out of range, or the two are crossed; BM_E_MEMORY. bm_smooth_grid_free.
bm_status bm_smooth_grid_create_absolute(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err);
bm_status bm_smooth_grid_create_relative(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err);
// PaddleSlim's: alphas from min + 0.01 to below max, constants from min by 0.5 to one step beyond max.
bm_status bm_smooth_grid_create_paddleslim(const bm_smooth_grid_params *params, bm_smooth_grid *out, bm_error *err);
void bm_smooth_grid_free(bm_smooth_grid *grid);

// Puts a candidate's scales at scales[members[..]]; the others stay. Dead channels get 1 whatever it is; all are
// clamped.
//
//   a, w   [channels]: largest inputs and weights
//   scales [channels]: before, what the scales of the piece are
void bm_smooth_candidate_apply(const bm_smooth_candidate *candidate, const uint32_t *members, uint32_t num_members,
                               const double *a, const float *w, bool pow2, float *scales);

#endif
