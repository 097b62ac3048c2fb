// The layer-wise error: how far the outputs of a quantized linear are from the float one's, over all tokens, without
// bias.
#ifndef BM_QUANT_EQUALIZE_OUTPUT_ERROR_H
#define BM_QUANT_EQUALIZE_OUTPUT_ERROR_H

#include "base/base.h"

// Begins with zeros; all sums in float64.
typedef struct bm_output_sums {
    uint64_t count;             // outputs
    double error_square;        // sum of (Y - Yq)^2
    double output_square;       // of Y^2
    double quantized_square;    // of Yq^2
    double product;             // of Y Yq
    double max_error;           // largest |Y - Yq|
    uint64_t inputs, saturated; // activations, and those whose magnitude exceeds the amax
} bm_output_sums;

typedef struct bm_output_error {
    double mse;  // mean of (Y - Yq)^2
    double nmse; // sum of (Y - Yq)^2 / sum of Y^2; 0 where there is no error, INFINITY where Y is zeros and Yq is not
    double sqnr_db; // -10 log10(nmse); INFINITY where nmse is 0
    double cosine;  // of Y and Yq as one vector each; 1 where both are zeros, 0 where one is
    double max_error;
    double saturated_share; // of activations; 0 of none
} bm_output_error;

void bm_output_sums_add(bm_output_sums *sums, const float *outputs, const float *quantized, uint64_t count);
void bm_output_sums_add_inputs(bm_output_sums *sums, const float *inputs, uint64_t count, float amax);
void bm_output_sums_merge(bm_output_sums *sums, const bm_output_sums *more);
bm_output_error bm_output_error_of(const bm_output_sums *sums);

#endif
