// GPTQ: second-order rounding of the rows of a group of linears that share their inputs.
// Source: Frantar et al., GPTQ, 2023; scales, order and what follows the column loop: see each field.
#ifndef BM_QUANT_GPTQ_H
#define BM_QUANT_GPTQ_H

#include "ops/rounding.h"
#include "quant/inverse_factor.h"

typedef enum bm_search {
    BM_SEARCH_ABS_MAX = 0,
    BM_SEARCH_MSE,          // every weight counts the same
    BM_SEARCH_WEIGHTED_MSE, // rounding: diag(H); GPTQ: 1 / U[c, c]^2
    BM_SEARCH_GRAM,         // the output error of the group
} bm_search;

typedef enum bm_column_order {
    BM_COLUMN_ORDER_NONE = 0, // columns as they are, each group's grid when it is entered
    BM_COLUMN_ORDER_STATIC,   // by falling diagonal of H; grids before, groups of neighbouring channels
    BM_COLUMN_ORDER_DYNAMIC,  // by falling diagonal of H; groups of columns that follow one another in that order
} bm_column_order;

typedef struct bm_gptq_params {
    bm_grid_params grid;
    bm_search scale_search;
    bm_column_order act_order;
    double damp_percent; // 0: auto, see inverse_factor.h
    double
        qep_alpha; // share of the propagated error that the weights make good; 0: none. Source: QEP, 2025, equation 9
    uint32_t code_sweeps;
    bool scale_refit;
} bm_gptq_params;

// Rows of one or more linears with the same inputs, and what becomes of them.
typedef struct bm_gptq_rows {
    const bm_tensor *weights;    // [rows, channels] float32, finite
    const bm_tensor *codes;      // [rows, channels] int8; written
    const bm_tensor *step;       // [rows, groups] float32; written
    const bm_tensor *zero_point; // [rows, groups] int32; written
    const bm_tensor *rounded;    // [rows, channels] float32; written: values of the codes
    double *row_error;           // [rows] on the host: sum over tokens of the squared output error; written
    double *row_rounding;        // [rows]: the same by plain rounding to the same grid; written
} bm_gptq_rows;

// Quantizes rows. Rows are independent: any cut gives the same result.
//
//   gram    finished
//   factor  of gram, ordered unless act_order is none
//   errors  of the weights that were to be met: with qep_alpha those that make good the propagated error
//
// A row that plain rounding would leave with a smaller error keeps plain rounding.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_gptq_solve(bm_multiplier *multiplier, const bm_gram *gram, const bm_inverse_factor *factor,
                        const bm_gptq_params *params, const bm_gptq_rows *rows, bm_error *err);

#endif
