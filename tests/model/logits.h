// Logits of a whole model on a device, and how far two devices lie apart: the check that a forward pass is right.
#ifndef BM_TESTS_MODEL_LOGITS_H
#define BM_TESTS_MODEL_LOGITS_H

#include "model/block.h"

// logits [count, vocab_size] of one sequence as doubles, computed with weights and activations stored as dtype.
bm_status model_logits(const bm_model *model, bm_device *device, bm_dtype dtype, const uint32_t *ids, uint32_t count,
                       double *logits, bm_error *err);

// The same with blocks that make(user, index, &block) makes instead of loading them; they are destroyed here.
typedef bm_status logits_make_block(void *user, uint32_t index, bm_block *out, bm_error *err);
bm_status model_logits_of_blocks(const bm_model *model, bm_device *device, bm_dtype dtype, logits_make_block *make,
                                 void *user, const uint32_t *ids, uint32_t count, double *logits, bm_error *err);

typedef struct logits_difference {
    double relative; // max |a - b| / max |a|
    double kl;       // mean over rows of KL(softmax a || softmax b), nats
    double top1;     // share of rows with the same largest element
} logits_difference;
// want [rows, cols] is the reference. A NaN in got makes relative NaN.
logits_difference logits_compare(const double *want, const double *got, uint64_t rows, uint64_t cols);

// The bounds that the float32, float16 and bfloat16 paths must keep against float64. float32: five times the largest
// difference that was measured, 1.2e-6 (host, PoCL, lavapipe, an H100 by both interfaces).
double logits_bound(bm_dtype dtype);

#endif
