// Shift: a zero point a channel, taken off the inputs of a group of linears, X' = X - z, and given back by their
// biases, b' = b + W z. One-sided channels lose half of their largest magnitude.
// Source: Wei et al., Outlier Suppression+, 2023, section 4.1.
#ifndef BM_QUANT_EQUALIZE_SHIFT_H
#define BM_QUANT_EQUALIZE_SHIFT_H

#include "quant/equalize/channel_statistics.h"
#include "quant/equalize/observers.h"

typedef enum bm_shift_sampler {
    BM_SHIFT_SAMPLER_NONE, // the statistic over all sequences at once
    BM_SHIFT_SAMPLER_EMA,  // the exponential average over steps, beta 0.98, of each step's statistic
} bm_shift_sampler;

typedef enum bm_channel_center {
    BM_CENTER_MIDRANGE, // half of maximum + minimum
    BM_CENTER_AVERAGE,  // the same of their means over sequences, which one sequence's outlier hardly moves
    BM_CENTER_MEAN,     // over tokens; the statistics must keep means
} bm_channel_center;

typedef struct bm_shift_params {
    bm_shift_sampler sampler;
    bm_channel_center statistic;
    int64_t shift_step, ptq_step; // steps that the zero point sees, and the observer; -1: all
    bm_activation_observer observer;
    // PaddleSlim's way: quant/equalize/paddleslim.h says how. Nothing is left at 0, whatever becomes of the observer's
    // scale; with ema the statistic is the mean, whatever `statistic` says.
    bool compat_paddleslim;
    uint32_t calls_a_step; // for it: 3 for q, k, v; 2 for gate, up; 1 for others
} bm_shift_params;

typedef struct bm_shift_record {
    uint32_t num_small;             // channels left at 0: |z| < 1e-3 (max - min), which buys nothing
    double amax_before, amax_after; // the observer's, with the zero points that were found
    bool enlarges;                  // amax_after is larger: not applied, all are 0
} bm_shift_record;

// zero_point [channels]: numbers that float32 holds. stats->zero_point is not looked at and stays; to go on behind the
// shift the caller copies the result there.
// Errors   BM_E_ARGUMENT means are asked for and not kept; BM_E_MEMORY.
bm_status bm_shift_find(const bm_channel_statistics *stats, const bm_shift_params *params, double *zero_point,
                        bm_shift_record *record, bm_error *err);

// The statistic of sequences first to end - 1, tokens weighing the same; out [channels]. None: zeros. No zero point is
// taken off.
void bm_shift_statistic_of(const bm_channel_statistics *stats, bm_channel_center statistic, uint64_t first,
                           uint64_t end, double *out);

// Exponential averages of channels: m_n = beta m_(n-1) + (1 - beta) v_n from m_0 = 0, estimate m_n / (1 - beta^n). sum
// [channels] holds m and begins with zeros.
#define BM_EMA_BETA 0.98
void bm_ema_add(double *sum, const double *values, uint32_t channels);
void bm_ema_estimate(const double *sum, uint64_t num_added, uint32_t channels, double *out); // none added: zeros

#endif
