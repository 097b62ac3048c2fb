// What a search's loss is made of: made once by search_loss.c, used for each candidate by search_candidates.c.
#ifndef BM_QUANT_SEARCH_WORK_H
#define BM_QUANT_SEARCH_WORK_H

#include "quant/search_loss.h"

#include "ops/gemm_int8.h"
#include "ops/matrix.h"

#define BM_SEARCH_AT_ONCE 16 // candidates between two waits

// Linears that are multiplied as one: their rows lie behind one another, and their errors count the same.
typedef struct bm_search_product {
    uint64_t rows;
    double weighting;
    bm_int8_weights *weights; // NULL: products are of float32
} bm_search_product;

// Rows of a linear that are made at once.
typedef struct bm_search_piece {
    bm_tensor rows;      // of the master
    bm_grid_params grid; // of the linear
    uint32_t product;    // and where they lie in it
    uint64_t first;
} bm_search_piece;

// Tokens that fit an allocation; as a rule all of them.
typedef struct bm_search_slab {
    uint64_t first;
    bm_tensor inputs; // [tokens, channels] float32, without the zero point
    bm_tensor *wants; // [num_products]: [tokens, rows] float32
} bm_search_slab;

struct bm_search_loss {
    bm_device *device;
    bm_search_loss_params params;
    uint64_t tokens, channels, rows;
    uint64_t first_of_second; // tokens of part 1 lie in front of it; tokens: there are no parts
    double *weights;          // [tokens]
    bool is_integer;
    bm_search_product *products;
    bm_search_piece *pieces;
    bm_search_slab *slabs;
    uint32_t num_products, num_pieces, num_slabs, num_sums; // sums: of a candidate and a token
    float *host_factors;                                    // [2 BM_SEARCH_AT_ONCE, channels]
    float *host_sums;                                       // as sums
    bm_tensor factors;        // [2 BM_SEARCH_AT_ONCE, channels]: s and 1 / s of each candidate
    bm_tensor sums;           // [candidates, num_sums, tokens] rows of 4
    bm_int8_rows input_codes; // of a slab
    bm_int8_rows piece_codes; // of a piece
    // Of products in float32.
    bm_multiplier multiplier;
    bm_tensor scaled_inputs;    // of a slab
    bm_tensor scaled;           // [rows of a piece, channels]
    bm_tensor step, zero_point; // room for those of a piece
    bm_tensor outputs;          // [tokens of a slab, rows of a piece]
    bm_tensor zeros;            // [tokens of a slab, 1]: zero points of inputs
};

// The weighted sum of errors of `count` tokens; weights NULL: ones.
static inline double bm_search_add_rows(const float *sums, const double *weights, uint64_t count)
{
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (weights ? weights[i] : 1) * (double)sums[4 * i];
    return sum;
}

#endif
