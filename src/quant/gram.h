// What a method that watches inputs keeps of them: sums of products, in memory that does not grow with tokens.
#ifndef BM_QUANT_GRAM_H
#define BM_QUANT_GRAM_H

#include "base/scratch.h"
#include "ops/hessian.h"

// What inputs must not hold, in words: sums of their products would not be finite.
#define BM_GRAM_NOT_FINITE "NaN or infinity, or numbers whose squares float32 cannot hold"

typedef struct bm_gram {
    uint32_t channels;
    uint64_t tokens;      // watched so far
    bm_tensor hessian;    // [channels, channels] float32: X^T X. The lower triangle while watching, whole when finished
    bm_tensor difference; // [channels, channels] float32: X^T (F - X), F the float model's inputs; empty: not watched
    bm_tensor scratch;    // (F - X) / 2 of a batch
    double damping;       // what bm_gram_damp added to the diagonal of hessian
    bm_scratch *file;     // behind bm_gram_spill: the Hessian, whole, a record a row; its memory is another's
} bm_gram;

// Sums of zero. with_difference: the float model's inputs are watched too. Destroy with bm_gram_destroy.
// Errors   BM_E_DEVICE when memory is used up, BM_E_ARGUMENT above the device's largest allocation.
bm_status bm_gram_create(bm_device *device, uint32_t channels, bool with_difference, bm_gram *out, bm_error *err);
void bm_gram_destroy(bm_gram *gram);
// Whether a search may go by it: one token tells of one direction alone.
static inline bool bm_gram_is_enough(const bm_gram *gram)
{
    return gram->tokens >= 2;
}
// Device memory, without what one batch needs beside it.
uint64_t bm_gram_bytes(uint32_t channels, bool with_difference);

// Adds a batch: inputs [tokens, channels] real; float_inputs of the same shape when the difference is watched, else NULL.
//
// Where the device multiplies inputs as they are stored, in 16 bits, F - X is rounded to their type: one product on matrix units
// instead of the three of float32 in parts. Where one is within a factor of two of the other F - X is of that type already (Sterbenz);
// elsewhere half a unit in its last place is lost, as often too much as too little. Activations of prose-8m in bfloat16: of the norm
// of X^T (F - X) that is 1.9e-4 after 2048 tokens and 1.1e-4 after 15775, falling with their root, while X^T F - X^T X, as cheap,
// lacks 2.5e-4 in the second block and more with more tokens (test_gram has both). Of F - X its half is stored, which has the same
// bits, and which float16 holds whatever the two are; what is lost so lies below 2^-24, where float16 ends.
bm_status bm_gram_add(bm_multiplier *multiplier, bm_gram *gram, const bm_tensor *inputs, const bm_tensor *float_inputs,
                      bm_error *err);
// Completes the hessian's upper triangle, or, with a folder, puts all of it into a file there (bm_gram_spill). Nothing may be added
// behind it.
// Errors   BM_E_NUMERIC inputs that are not finite, or whose squares are not: the words name the channel, not the linears;
//          BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_gram_finish(bm_device *device, bm_gram *gram, const char *folder, bm_error *err);
// Adds amount to the hessian's diagonal, behind bm_gram_finish.
bm_status bm_gram_damp(bm_device *device, bm_gram *gram, double amount, bm_error *err);

// Instead of bm_gram_finish's second part, where there is memory for one square alone: puts the whole Hessian into a file
// (bm_scratch_create), and leaves its memory to a factor (factor_in_place.h). Without a difference. Errors: BM_E_IO too.
#define BM_GRAM_ROWS 512 // that come back at a time
bm_status bm_gram_spill(bm_device *device, bm_gram *gram, const char *folder, bm_error *err);
// Rows of it from the file, with the damping; out on the host.
bm_status bm_gram_read_rows(const bm_gram *gram, uint64_t first, uint64_t count, float *out, bm_error *err);
// y = a H, wherever H is; y apart from a.
bm_status bm_gram_multiply(bm_multiplier *multiplier, const bm_gram *gram, const bm_tensor *a, const bm_tensor *y,
                           bm_error *err);

#endif
