// Inputs of linears that are quantized where the model runs: once a stage, since its linears read the same matrix.
#ifndef BM_MODEL_INPUTS_H
#define BM_MODEL_INPUTS_H

#include "model/model.h"

// How the inputs of a stage of a block are quantized, for those of its linears that do not take floats. Errors: BM_E_FORMAT where
// these disagree, which runtimes that compute them as one layer refuse or get wrong; those of bm_store_read_input.
bm_status bm_model_stage_input(const bm_model *model, uint32_t block, bm_stage stage, bm_input_grid *out,
                               bm_error *err);

// Whether a stage is computed in integers (ops/gemm_int8.h): all its linears have quantized inputs, and symmetric weights of 8
// bits with one step an output. Those of other kinds, one of them enough, make it one of floats.
bool bm_model_stage_in_integers(const bm_model *model, uint32_t block, bm_stage stage);

// Whether a linear reads the inputs of its stage as they are, whatever becomes of them for others.
bool bm_model_linear_takes_floats(const bm_model *model, uint32_t block, bm_linear_id linear);

// The codes of x. out has its shape; name is that of the stage, for reports. Errors: as of bm_quantize_rows.
bm_status bm_quantize_inputs(bm_device *device, const bm_input_grid *grid, const char *name, const bm_tensor *x,
                             const bm_int8_rows *out, bm_error *err);

// For stages of floats: what the codes of x stand for, in the place of x: the products behind it are then those of the integers, but for the
// roundings of their sums. Nothing where grid leaves x as it is.
//
//   x     [tokens, channels]  real; float32, or code times step is rounded once more
//   name  of the stage, for reports
//
// Errors   as of bm_quantize_rows and bm_dequantize.
bm_status bm_round_inputs(bm_device *device, const bm_input_grid *grid, const char *name, const bm_tensor *x,
                          bm_error *err);

#endif
