// A norm of a model: RMSNorm, or LayerNorm where the family has those.
#ifndef BM_MODEL_NORMS_H
#define BM_MODEL_NORMS_H

#include "model/model.h"

typedef struct bm_norm {
    bm_tensor weight; // [1, width]; 1 + that of the file where the family has those (family.h)
    bm_tensor bias;   // [1, width]; empty: none. RMSNorm has one where a fold has shifted what it gives (fold.h)
    float epsilon;
    bool is_layer_norm; // has a bias; else RMSNorm
} bm_norm;

// The type of a norm's weight where others are stored as dtype.
bm_dtype bm_norm_dtype(const bm_family *family, bm_dtype dtype);
// Loads the norm of that module name, weights stored as dtype. Errors: those of bm_model_load_vector. Destroy with
// bm_norm_destroy.
bm_status bm_norm_load(const bm_model *model, bm_device *device, const char *module, uint32_t width, bm_dtype dtype,
                       bm_norm *out, bm_error *err);
void bm_norm_destroy(bm_norm *norm);
// y = norm(x), both [rows, width], real; y may be x. Errors: those of ops/norm.h.
bm_status bm_norm_apply(bm_device *device, const bm_norm *norm, const bm_tensor *x, const bm_tensor *y, bm_error *err);

#endif
