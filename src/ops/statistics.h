// What columns of a matrix of tokens hold, sequence by sequence.
#ifndef BM_OPS_STATISTICS_H
#define BM_OPS_STATISTICS_H

#include "device/tensor.h"

// What else than elements is summed: the kernel has these numbers.
typedef enum bm_moment { BM_MOMENT_NONE = 0, BM_MOMENT_SQUARES = 1, BM_MOMENT_MAGNITUDES = 2 } bm_moment;

// Least element, largest element, sum and sum of squares or magnitudes of every channel in each of the sequences that lie one behind
// the other in x.
//
//   x                      [tokens, channels]         real
//   counts                 [num_sequences]            tokens of each, at least one, tokens in all; on the host
//   minimum, maximum, sum  [num_sequences, channels]  float32, of one stride
//   moments                [num_sequences, channels]  as these: sums of what moment says; NULL: not wanted, whatever it says
//
// Minimum and maximum are exact, with -0 below 0. A NaN makes one of the two NaN, and both sums; an infinity is one of them. Sums are
// float32, added token by token in pieces of 64, and piece by piece: the same bits on every device but the host, which rounds a
// piece's float64 sum, cut or whole, and off by at most 2^-24 (64 + tokens / 64) of the sum of magnitudes. Magnitudes are exact
// and added alike; so are squares, rounded to float32 before: one rounding more. A square or a sum beyond float32 is infinite; a
// square below 2^-126 may count as 0.
//
// Cost     x is read once; two dispatches, and an upload of where sequences begin; bm_column_range_bytes of scratch.
// Errors   BM_E_ARGUMENT shapes disagree, or moments of none; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_column_range(bm_device *device, const bm_tensor *x, const uint32_t *counts, uint32_t num_sequences,
                          const bm_tensor *minimum, const bm_tensor *maximum, const bm_tensor *sum, bm_moment moment,
                          const bm_tensor *moments, bm_error *err);
double bm_column_range_operations(uint64_t tokens, uint64_t channels);
// Scratch memory, at most, for so many tokens of so many sequences.
uint64_t bm_column_range_bytes(uint64_t tokens, uint64_t num_sequences, uint64_t channels, bool has_moments);

#endif
