// GPTQ: second-order rounding of the rows of a group of linears that share their inputs.
// Source: Frantar et al., GPTQ, 2023; scales, order and what follows the column loop: see each field.
#ifndef BM_QUANT_GPTQ_ROWS_H
#define BM_QUANT_GPTQ_ROWS_H

#include "quant/inverse_factor.h"
#include "quant/method.h"

// Quantizes rows. Rows are independent: any cut gives the same result, but for the last bits where a product of few rows takes
// another kernel. group_size divides 512, is a multiple of it, or is all channels.
//
//   gram    finished; where it is damped, so are all decisions, and errors are told without the damping
//   factor  of gram, ordered unless act_order is none
//
// Output errors are those of the weights that were to be met: with qep_alpha the ones that make good the propagated error.
//
// A row that plain rounding would leave with a smaller error keeps plain rounding.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_gptq_rows_solve(bm_multiplier *multiplier, const bm_gram *gram, const bm_inverse_factor *factor,
                             const bm_method_params *params, const bm_method_rows *rows, bm_error *err);
// Floating-point operations of it, without the search of grids.
double bm_gptq_rows_operations(uint64_t rows, uint64_t channels, const bm_method_params *params);

#endif
