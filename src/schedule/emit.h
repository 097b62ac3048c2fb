// Writing the quantized checkpoint: which tensors it has, and how each comes about.
#ifndef BM_SCHEDULE_EMIT_H
#define BM_SCHEDULE_EMIT_H

#include "formats/checkpoint_writer.h"
#include "schedule/plan.h"

typedef struct bm_emit_context {
    const bm_model *model;
    bm_device *device;
    const bm_plan *plan;
    const bm_arguments *arguments;
    bm_checkpoint_writer *writer;
} bm_emit_context;

// Declares every tensor of the output: those of quantized linears by compressed-tensors' names, the others as they are.
bm_status bm_emit_declare(const bm_model *model, const bm_plan *plan, bm_checkpoint_writer *writer, bm_error *err);
// Reads one linear's rows, quantizes them with the plan's method and writes codes, scales and zero points.
bm_status bm_emit_linear(const bm_emit_context *emit, const bm_plan_linear *linear, double *nmse, bm_error *err);
// The grid of linears with in_features inputs: bits, groups, symmetry, search, type of stored steps.
bm_grid_params bm_emit_grid(const bm_plan *plan, const bm_arguments *arguments, uint32_t in_features);
// Copies the tensors that stay float, converted to the plan's storage type.
bm_status bm_emit_float_tensors(const bm_model *model, const bm_plan *plan, bm_checkpoint_writer *writer,
                                bm_error *err);
// config.json: the model's own keys and quantization_config.
bm_status bm_emit_config(const bm_model *model, const bm_plan *plan, const char *folder, bm_error *err);
// The tokenizer's and the generation's files, copied as they are.
bm_status bm_emit_companions(const char *model_folder, const char *tokenizer_folder, const char *folder, bm_error *err);

#endif
