// The plan of a run: what will be done to each linear, decided before any work, and said in words.
#ifndef BM_SCHEDULE_PLAN_H
#define BM_SCHEDULE_PLAN_H

#include "store/compressed_tensors.h"
#include "model/model.h"
#include "quant/method.h"
#include "arguments/arguments.h"

typedef struct bm_plan_linear {
    uint32_t block;
    bm_linear_id linear;
    uint32_t out_features, in_features;
    bool quantized; // false: an entry of skip_list_names matches its name
} bm_plan_linear;

// The tokenizer that goes along with the output.
typedef enum bm_plan_tokenizer {
    BM_PLAN_TOKENIZER_READ,
    BM_PLAN_TOKENIZER_NOT_BUILT, // of a kind that bitmill does not read; others may
    BM_PLAN_TOKENIZER_ABSENT,
} bm_plan_tokenizer;

typedef struct bm_plan {
    const bm_method *method;
    bm_compressed_tensors_scheme scheme;
    bm_dtype scale_dtype;    // of stored scales
    bm_dtype storage_dtype;  // of float tensors in the output
    bm_plan_linear *linears; // block by block, in the order of computation
    uint32_t num_linears, num_quantized;
    uint64_t output_bytes; // of all tensors
    bm_plan_tokenizer tokenizer;
} bm_plan;

// Decides. Errors: BM_E_ARGUMENT naming the layer whose inputs group_size does not divide, BM_E_UNSUPPORTED for a model
// that is quantized already, those of bm_tokenizer_open for a tokenizer.json that is broken.
bm_status bm_plan_create(bm_arguments *arguments, const bm_model *model, bm_plan **out, bm_error *err);
void bm_plan_destroy(bm_plan **plan);
// The first lines of a run, one idea a line: method, bits, groups, format, size, which runtimes load it.
void bm_plan_describe(const bm_plan *plan, const bm_arguments *arguments, const bm_model *model, bm_string *out);

#endif
