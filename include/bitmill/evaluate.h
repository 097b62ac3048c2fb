// Evaluating a model: what `bitmill eval` does, as one call.
#ifndef BITMILL_EVALUATE_H
#define BITMILL_EVALUATE_H

#include <bitmill/device.h>
#include <bitmill/error.h>
#include <bitmill/log.h>
#include <bitmill/tensor.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bm_evaluate_model_params {
    uint32_t size;                   // set by bm_evaluate_model_params_init
    const char *model;               // a Hugging Face model folder, float or quantized, or a GGUF file
    const char *reference;           // also the KL divergence from this model; NULL: none
    const char *data;                // a text file, JSON lines of src and tgt or of input_ids, or a data folder
    uint32_t context;                // tokens a slice of plain text; 0: the smaller of 2048 and the model's
    bool drop_last;                  // leave out the last, shorter slice
    uint32_t src_length, max_length; // most tokens of a prompt, of prompt and answer; 0: 1024, 2048, or what fits
    bm_dtype dtype;                  // storage of weights and activations; BM_DTYPE_NONE: chosen for the device
    uint32_t max_sequences;          // the first so many alone; 0: all
    uint64_t max_tokens;             // at most so many: of plain text the first, of lines whole ones; 0: all
    const bm_progress *progress;     // NULL: none
} bm_evaluate_model_params;
void bm_evaluate_model_params_init(bm_evaluate_model_params *params);

typedef struct bm_evaluation {
    uint64_t tokens; // scored
    uint64_t sequences;
    uint32_t context;     // tokens a slice of plain text; 0: the data are lines
    double loss;          // mean negative log-likelihood a scored token, nats
    double perplexity;    // exp(loss)
    double accuracy;      // share of scored tokens that are the most likely one
    double sequence_loss; // mean over sequences of each one's mean loss: the way of PaddleNLP's evaluation, batch of 1
    bool has_reference;
    double reference_loss;
    double kl_divergence;  // mean over scored positions of KL(reference || model), nats
    double top1_agreement; // share of scored positions where both have the same most likely token
    double seconds;
    double model_seconds; // of these, on the model itself: without compiling kernels and the reference
} bm_evaluation;

// Evaluates on an opened device. Errors: as bm_quantize_model, and BM_E_NUMERIC where a logit is not finite: weights or
// activations overflowed.
bm_status bm_evaluate_model(const bm_evaluate_model_params *params, bm_device *device, bm_evaluation *out,
                            bm_error *err);

#ifdef __cplusplus
}
#endif
#endif
