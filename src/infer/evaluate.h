// Evaluation: cross-entropy, perplexity and accuracy of a model over sequences; against a reference model also the KL
// divergence of the next-token distributions and how often both choose the same token.
#ifndef BM_INFER_EVALUATE_H
#define BM_INFER_EVALUATE_H

#include "model/model.h"
#include <bitmill/evaluate.h>
#include "text/dataset.h"

typedef struct bm_evaluate_params {
    const bm_model *model;
    const bm_model *reference; // NULL: none; same vocabulary
    bm_device *device;
    bm_dtype dtype;            // storage of weights and activations; BM_DTYPE_NONE: bm_model_compute_dtype
    const bm_dataset *dataset; // sequences with their scored positions
    const bm_progress *progress;
    uint32_t max_batch_tokens; // 0: chosen
    uint64_t window_bytes;     // activations that are kept at a time; 0: chosen. Results do not depend on it
} bm_evaluate_params;

// Sequences pass through the models a window at a time, whose activations bound the memory; the log says beforehand how many
// windows there will be. Errors: BM_E_ARGUMENT when nothing is scored or vocabularies differ; those of loading and of the device.
bm_status bm_evaluate(const bm_evaluate_params *params, bm_evaluation *out, bm_error *err);

// Device memory that it takes at most, sized by what the device has.
typedef struct bm_evaluation_memory {
    uint64_t activations, logits; // logits: with the part of the head that makes them
    uint32_t batch_tokens;
} bm_evaluation_memory;
bm_evaluation_memory bm_evaluate_claim(const bm_model *model, bm_device *device, bm_dtype dtype, uint32_t longest);

#endif
