// Smooth: a scale a channel that moves outliers from the inputs of a group of linears into their weights, X' = X / s,
// W' = W s.
// Source: Xiao et al., SmoothQuant, 2023, equation 4; here the weights of all linears of the group count.
#ifndef BM_QUANT_EQUALIZE_SMOOTH_SCALES_H
#define BM_QUANT_EQUALIZE_SMOOTH_SCALES_H

#include "base/base.h"

#define BM_SMOOTH_SCALE_MIN 1e-5
#define BM_SMOOTH_SCALE_MAX 1e5

// a: the channel's largest input; w: its largest weight. A channel without either is dead: its scale is 1 wherever it
// is chosen.
static inline bool bm_channel_is_dead(double a, double w)
{
    return !(a > 0) || !(w > 0);
}

// a^alpha / w^(1-alpha) in double, clamped to the two above, then float32.
float bm_smooth_scale(double a, double w, double alpha);
float bm_smooth_scale_clamp(double scale);
// The power of two nearest in the logarithm.
float bm_smooth_scale_pow2(double scale);

typedef struct bm_smooth_limits {
    bool pow2; // scales are powers of two (smooth_pow2): folds then change no mantissa
    const float
        *divided; // [channels]: largest magnitude that the fold divides by s (norm weight, rows of v_proj or up_proj)
    double divided_max;      // largest number of the type in which that is stored
    const float *multiplied; // [channels]: the same for what is multiplied by s; either NULL: no limit
    double multiplied_max;
} bm_smooth_limits;

typedef struct bm_smooth_finish_record {
    int32_t exponent;   // all scales were multiplied by 2^exponent
    uint32_t num_moved; // channels whose scale a limit moved toward 1: their codes are not those that a search saw
} bm_smooth_finish_record;

// What scales [channels] go through once they are chosen: powers of two, if asked for; the free power of two,
// 2^-round(mean of log2 s), which changes no code since steps follow it, dead channels included; then the limits.
void bm_smooth_scales_finish(const bm_smooth_limits *limits, uint32_t channels, float *scales,
                             bm_smooth_finish_record *record);

#endif
