#pragma once
#include "base/progress.h"
#include "ops/gemm.h"
#include "ops/rounding.h"
#include "quant/codes.h"
#include "quant/equalize/smooth_search.h"
typedef struct bm_search_loss bm_search_loss;
typedef struct bm_search_loss_params {
      const bm_tensor *inputs;
      const double *zero_point;
      const bm_weights *const *linears; uint32_t num_linears;
      bm_grid_params grid; bm_input_kind input; bool nmse; bm_phase *phase; } bm_search_loss_params;
bm_status bm_search_loss_create(bm_device*, const bm_search_loss_params*, bm_search_loss **out, bm_error*);
void bm_search_loss_destroy(bm_search_loss **);
bm_status bm_search_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err);
