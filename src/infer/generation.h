// Generation: text from a model, one token at a time, with a key/value cache.
#ifndef BM_INFER_GENERATION_H
#define BM_INFER_GENERATION_H

#include "model/model.h"
#include "infer/token_choice.h"

typedef struct bm_generate_params {
    const bm_model *model;
    bm_device *device;
    bm_dtype dtype;         // BM_DTYPE_NONE: bm_model_compute_dtype
    const uint32_t *prompt; // token ids, at least one
    uint32_t num_prompt;
    uint32_t max_new_tokens;
    const uint32_t *end_ids; // [num_end_ids] any of them ends the text
    size_t num_end_ids;
    bm_sample_params sample;
    // Where the loaded model stays for the next call with the same model, device and type: *resident is NULL before the first,
    // and the caller's to destroy (resident.h). NULL: it is loaded for this call alone.
    struct bm_resident **resident;
    const bm_progress *progress; // of what comes before the first token: compiling kernels, loading the model
    // Called with each new token, in order; return false to stop. A token that ends the text is not handed over.
    bool (*on_token)(void *user, uint32_t id);
    void *user;
} bm_generate_params;

typedef struct bm_generation {
    uint32_t num_new_tokens;
    uint32_t num_steps; // tokens that ran behind the prompt, in decode_seconds: the prompt gives the first new one
    bool ended;         // by one of end_ids
    double prompt_seconds, decode_seconds;
} bm_generation;

// Blocks stay on the device where they fit in its memory; where they do not, they are loaded anew for every token
// (slow, said in the log). Errors: BM_E_ARGUMENT when prompt and new tokens exceed max_position_embeddings or the
// prompt is empty; BM_E_NUMERIC when a logit is not finite: weights or activations overflowed.
bm_status bm_generate(const bm_generate_params *params, bm_generation *out, bm_error *err);

#endif
