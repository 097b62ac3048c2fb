// Between the files of GPTQ's rows (gptq_rows.h) alone: what they work on, and the steps of the work in their order.
#ifndef BM_QUANT_GPTQ_WORK_H
#define BM_QUANT_GPTQ_WORK_H

#include "ops/elementwise.h"
#include "ops/gptq_block.h"
#include "quant/gptq_rows.h"

#define BM_GPTQ_SUPER_BLOCK 512 // columns behind a super-block learn of its errors in one product

// All matrices are [rows, channels] float32 unless stated.
typedef struct bm_gptq_work {
    bm_multiplier *multiplier;
    bm_device *device;
    const bm_gram *gram;
    const bm_inverse_factor *factor;
    const bm_method_params *params;
    const bm_method_rows *rows;
    // Target, current and rounding lie above themselves by the offset of their group, once that is found: those of nested steps. What
    // is compared is moved alike, so that nothing else of the work knows of offsets.
    bm_tensor target;                // the weights that are to be met
    bm_tensor current;               // those that the column loop works on, then rounded ones
    bm_tensor other;                 // memory for one more
    bm_tensor rounding;              // plain rounding of the target
    bm_tensor residual;              // (target - rounded) H
    bm_tensor errors;                // [rows, BM_GPTQ_SUPER_BLOCK]: of the column loop; changes of the refinement
    bm_tensor hessian;               // with groups in the order of the loop: H in that order
    bm_tensor group_index;           // [1, channels] u32: the group of each column in the order of the loop
    bm_tensor column_weights;        // [1, channels]: for the search of grids
    bm_tensor error, rounding_error; // [rows, 4]
    bm_tensor norm, rounding_norm;   // [rows, 4]: of target - current and of target - rounding
    uint64_t waited_ns;              // when the device was last waited for to report progress
} bm_gptq_work;

static inline bool bm_gptq_is_static(const bm_gptq_work *w)
{
    return w->params->act_order == BM_COLUMN_ORDER_STATIC;
}

// H in the order of the columns of target and current.
static inline const bm_tensor *bm_gptq_hessian(const bm_gptq_work *w)
{
    return w->hessian.view.buffer ? &w->hessian : &w->gram->hessian;
}

static inline uint32_t bm_gptq_group_size(const bm_gptq_work *w)
{
    return w->params->grid.group_size;
}

// Columns whose steps are found at once, when the loop enters the first.
static inline uint32_t bm_gptq_span(const bm_gptq_work *w)
{
    return w->params->grid.nested ? BM_NESTED_COLUMNS : bm_gptq_group_size(w);
}

// Between parts of the work: whoever wants it stopped is heard. Errors: BM_E_CANCELLED; BM_E_DEVICE.
bm_status bm_gptq_report_progress(bm_gptq_work *w, bm_error *err);

// ---- gptq_columns.c

// Grids of columns first .. of matrix (whole groups), into the groups that begin there.
bm_status bm_gptq_search_grids(bm_gptq_work *w, const bm_tensor *matrix, uint64_t first, uint64_t count, bm_error *err);
// The column loop over current, in the order of the factor: current becomes its rounded weights.
bm_status bm_gptq_run_columns(bm_gptq_work *w, bm_error *err);

// ---- gptq_refine.c; all in the order of bm_gptq_hessian

// residual = (target - rounded) H, and the error of each row.
bm_status bm_gptq_measure(bm_gptq_work *w, const bm_tensor *rounded, const bm_tensor *residual, const bm_tensor *error,
                          bm_error *err);
// Sweeps and a refit behind the first of them; residual is up to date before and behind.
bm_status bm_gptq_refine(bm_gptq_work *w, bm_error *err);
// Rows that plain rounding serves better keep it; errors to the host.
bm_status bm_gptq_guard(bm_gptq_work *w, bm_error *err);

#endif
