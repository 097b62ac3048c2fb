// AWQ worked out in double, token by token, from weights and inputs of a block: what a run should have found.
#ifndef BM_TESTS_AWQ_REFERENCE_H
#define BM_TESTS_AWQ_REFERENCE_H

#include "schedule/awq_run.h"

#define AWQ_MAX_CANDIDATES 48

// Steps of the abs-max, or of the range with a zero point.
typedef struct awq_grid {
    uint32_t bits, group_size;
    bool has_zero_points;
    bool half_steps; // of float16
} awq_grid;

typedef struct awq_search {
    uint64_t tokens; // the first so many are looked at
    uint32_t n_grid;
    bool extended;
    awq_grid grids[BM_NUM_LINEARS];
} awq_search;

// Losses of the candidates, a mean over tokens and outputs, and their scales [candidates, channels]. Returns their number.
uint32_t awq_reference_search(const awq_block *block, bm_stage stage, const awq_search *search,
                              double losses[AWQ_MAX_CANDIDATES], float *scales);

// Scales of a block's stages as they were folded; NULL: ones.
typedef struct awq_folded {
    double *scales[BM_NUM_STAGES];
} awq_folded;
// A linear's weights [rows, channels] behind the folds, rounded once; bm_free them.
float *awq_reference_fold(const awq_block *block, const awq_folded *folded, bm_linear_id linear);

// What the norm in front of a stage was really divided by in the run's output: [channels]; bm_free it.
double *awq_divided_norm(const awq_run *run, uint32_t block, bm_stage stage);
// The folded linears of a block, and the norms of the run's output, into a copy of its model.
void awq_fold_write(const awq_run *run, const awq_block *block, const awq_folded *folded, const char *copy);

// Sum over the first tokens of x_i x_j behind the stage's scales: [channels, channels]; bm_free it.
double *awq_reference_gram(const awq_block *block, const awq_folded *folded, bm_stage stage, uint64_t tokens);
// What a row loses in channels first .. first + count - 1 when it is rounded to multiples of step.
double awq_reference_loss(const float *w, const double *gram, uint32_t channels, uint32_t first, uint32_t count,
                          double step, uint32_t bits);

#endif
