// What the inputs of a group of linears look like, channel by channel: all that Shift, Smooth, AWQ, observers and the
// search need of the calibration data besides a sample of tokens. One pass is enough, since shift and smooth leave the float
// function as it is: statistics behind them follow by arithmetic. Padding never comes here.
#ifndef BM_QUANT_EQUALIZE_CHANNEL_STATISTICS_H
#define BM_QUANT_EQUALIZE_CHANNEL_STATISTICS_H

#include "base/base.h"

typedef struct bm_channel_statistics {
    uint32_t channels;
    uint32_t batch; // sequences a step, where step does not say it
    uint64_t num_sequences, capacity;
    float *minimum, *maximum; // [num_sequences, channels], over the tokens of a sequence, as they were measured
    float *mean;              // the same; NULL: means are not kept
    float *mean_magnitude;    // the same, the means of |x|; NULL: these are not kept
    uint64_t *tokens;         // [num_sequences]
    double *zero_point;       // [channels]: what a shift takes off; 0 at first
    uint32_t *step; // [num_sequences]: which step each was of, rising; set behind the last add, or NULL. Owned.
} bm_channel_statistics;

// Errors: BM_E_ARGUMENT one of the two is 0; BM_E_MEMORY. bm_channel_statistics_destroy in any case.
bm_status bm_channel_statistics_init(bm_channel_statistics *stats, uint32_t channels, uint32_t batch, bool keeps_mean,
                                     bool keeps_mean_magnitude, bm_error *err);
void bm_channel_statistics_destroy(bm_channel_statistics *stats);

// Appends sequences.
//
//   minimum, maximum, mean, mean_magnitude  [count, channels]; the last two are not read where they are not kept
//   tokens                                  [count], each at least 1
//
// Errors   BM_E_NUMERIC with sequence (from 0) and channel: a value is not finite; BM_E_ARGUMENT: a sequence without
//          tokens, or a minimum above its maximum; BM_E_MEMORY. Nothing is appended then.
bm_status bm_channel_statistics_add(bm_channel_statistics *stats, uint64_t count, const float *minimum,
                                    const float *maximum, const float *mean, const float *mean_magnitude,
                                    const uint64_t *tokens, bm_error *err);

// Sequences of the first `steps` steps: fewer where there are fewer; -1: all.
uint64_t bm_channel_statistics_first(const bm_channel_statistics *stats, int64_t steps);
// Where the step ends that begins with sequence first: the first sequence of the next, or their number.
uint64_t bm_channel_statistics_step_end(const bm_channel_statistics *stats, uint64_t first);

// Query heads that share a key/value head must share what a fold into v_proj does: each sequence's minimum, maximum,
// mean and mean magnitude of a channel become those over the heads_a_group heads that share it. channels = groups *
// heads_a_group * head_dim.
void bm_channel_statistics_join_heads(bm_channel_statistics *stats, uint32_t head_dim, uint32_t heads_a_group);

// Over sequences first to end - 1, behind the shift; out [channels]. None: zeros.
void bm_channel_statistics_extremes(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *low,
                                    double *high);
void bm_channel_statistics_amax(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *amax);
// Largest magnitude of each sequence and channel behind the shift: max(maximum - z, z - minimum); out [end - first,
// channels].
void bm_channel_statistics_magnitudes(const bm_channel_statistics *stats, uint64_t first, uint64_t end, double *out);

// Mean of |x| over the tokens of sequences first to end - 1, each token counting as much as the next; out [channels].
// As measured: no shift is known to it. None: zeros. Only where mean magnitudes are kept.
void bm_channel_statistics_mean_magnitude(const bm_channel_statistics *stats, uint64_t first, uint64_t end,
                                          double *out);

// values [channels]: what the heads of a group have in the same dimension becomes the largest of it, as for weights'
// columns.
void bm_join_heads_max(float *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group);
// Their mean.
void bm_join_heads_mean(double *values, uint32_t channels, uint32_t head_dim, uint32_t heads_a_group);

#endif
