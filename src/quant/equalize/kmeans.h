// Channels in pieces of similar magnitude: one-dimensional k-means, exact, without seeds.
#ifndef BM_QUANT_EQUALIZE_KMEANS_H
#define BM_QUANT_EQUALIZE_KMEANS_H

#include "base/base.h"

typedef struct bm_channel_pieces {
    uint32_t channels, num_pieces;
    uint32_t *piece;  // [channels]: 0 holds the least values
    double *centroid; // [num_pieces]: mean of a piece
    double *upper;    // [num_pieces]: its largest value
    uint32_t *size;   // [num_pieces]: its channels
} bm_channel_pieces;

// For each k of 1 .. max_pieces the partition of values into k pieces of least sum of squared distances to the pieces'
// means. Equal values are never parted; where partitions are equally good, by less than 1e-12 of the sum, pieces above
// begin as low as they can.
//
//   values   [channels], that float32 could hold
//   out      [max_pieces]; out[k - 1] has k pieces; bm_channel_pieces_free each of the num_found
//   num_found  max_pieces, or the number of distinct values where that is less
//
// Cost     max_pieces * channels * log(channels) steps, 12 bytes a channel and piece.
// Errors   BM_E_NUMERIC a value is none of these; BM_E_ARGUMENT no channels or no pieces; BM_E_MEMORY. *num_found is 0
//          then.
// Source   Wu, Optimal quantization by matrix searching, 1991; divide and conquer over rows of a totally monotone
//          matrix.
bm_status bm_kmeans(const double *values, uint32_t channels, uint32_t max_pieces, bm_channel_pieces *out,
                    uint32_t *num_found, bm_error *err);

// The pieces that lie between given bounds: upper [num_pieces - 1] rising, each the largest value of its piece.
// Errors   BM_E_MEMORY.
bm_status bm_channel_pieces_from_upper(const double *values, uint32_t channels, const double *upper,
                                       uint32_t num_pieces, bm_channel_pieces *out, bm_error *err);
void bm_channel_pieces_free(bm_channel_pieces *pieces);

#endif
