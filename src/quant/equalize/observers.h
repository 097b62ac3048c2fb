// Observers: the largest magnitude that a code range has to cover, of activations (one number a tensor) and of weights
// (one a row or group). An amax is the magnitude itself, not the step of the grid: step = amax / 127.
#ifndef BM_QUANT_EQUALIZE_OBSERVERS_H
#define BM_QUANT_EQUALIZE_OBSERVERS_H

#include "base/base.h"

#define BM_ACTIVATION_AMAX_FLOOR 1e-7 // of a linear that no input ever reached
#define BM_WEIGHT_AMAX_FLOOR 1e-8f    // of a row of zeros

typedef enum bm_activation_observer {
    BM_ACTIVATION_AVG,       // the mean over sequences of the largest magnitude of a sequence
    BM_ACTIVATION_ABS_MAX,   // the largest magnitude of all
    BM_ACTIVATION_PER_TOKEN, // each token has its own at run time; what is said here is avg, for comparisons
} bm_activation_observer;

// The observer's amax of X / s, s > 0, from the largest magnitudes of sequences and channels: exact for every s,
// without a look at tokens. At least BM_ACTIVATION_AMAX_FLOOR.
//
//   magnitudes  [num_sequences, channels], channel_statistics makes them
//   scales      [channels]; NULL: ones
double bm_activation_amax(bm_activation_observer observer, const double *magnitudes, uint64_t num_sequences,
                          uint32_t channels, const float *scales);
// The same from the largest magnitude of each sequence.
double bm_activation_amax_of(bm_activation_observer observer, const double *largest, uint64_t num_sequences);

// amax[r, g] = max over the channels c of group g of |W[r, c] * s[c]|, products rounded to float32, as folded weights
// are; a group of zeros: BM_WEIGHT_AMAX_FLOOR. One group of all channels is abs_max_channel_wise, more are groupwise.
//
//   weights  [rows, channels];  scales [channels], NULL: ones;  amax [rows, ceil(channels / group_size)]
void bm_weight_amax(const float *weights, uint64_t rows, uint32_t channels, uint32_t group_size, const float *scales,
                    float *amax);

// w[c] = max(w[c], max over rows of |W[r, c]|); w [channels] begins with zeros. One call a linear of the group.
void bm_column_amax_add(const float *weights, uint64_t rows, uint32_t channels, float *w);

#endif
