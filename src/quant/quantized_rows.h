// The canonical form of quantized rows, on the host: every checkpoint format is a writer of it, every reader restores
// it.
#ifndef BM_QUANT_QUANTIZED_ROWS_H
#define BM_QUANT_QUANTIZED_ROWS_H

#include "ops/rounding.h"

typedef struct bm_quantized_rows {
    uint64_t rows, cols;
    uint32_t groups; // a row
    uint32_t bits;
    uint32_t *words; // [rows, ceil(cols / (32 / bits))]: codes packed as pack_codes does
    uint64_t words_per_row;
    float *steps;         // [rows, groups], values of the type in which they will be stored
    int32_t *zero_points; // [rows, groups]; zeros when symmetric
    double error, norm;   // sum (W - What)^2 and sum W^2 over the rows
} bm_quantized_rows;

// Memory of that shape, not yet written, and errors of zero. Errors: BM_E_MEMORY. Free with bm_quantized_rows_free.
bm_status bm_quantized_rows_create(uint64_t rows, uint64_t cols, uint32_t bits, uint32_t group_size,
                                   bm_quantized_rows *out, bm_error *err);
void bm_quantized_rows_free(bm_quantized_rows *rows);

#endif
