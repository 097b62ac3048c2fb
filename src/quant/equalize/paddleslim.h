// What PaddleSlim computes where the mathematics says otherwise, for `"compat": "paddleslim"`. Its figures can be met
// with these; nobody should want them for their own sake.
// Source: the behaviour of paddleslim.quant.advanced (2024) as it was observed; the formulas stand at each function.
#ifndef BM_QUANT_EQUALIZE_PADDLESLIM_H
#define BM_QUANT_EQUALIZE_PADDLESLIM_H

#include "quant/equalize/shift.h"

// Zero points from steps 1 .. of the first num_sequences (step 0 only records the order of layers), each counted
// calls_a_step times, once a linear.
//
//   none  minimum and maximum each become (what was there + the step's) / 2 at a call; z is half of their sum
//   ema   of means over tokens: the first call keeps its value; the n-th after it is m_n / (1 - beta^(n-1)) instead of
//         m_n / (1 - beta^n), and m_1 alone as it is, a fiftieth of the value
//
// memory [2, channels].
// Errors   BM_E_ARGUMENT: fewer than two steps.
bm_status bm_paddleslim_zero_point(const bm_channel_statistics *stats, const bm_shift_params *params,
                                   uint64_t num_sequences, double *memory, double *zero_point, bm_error *err);

// One call each. average [channels] after `num_calls` calls before this one.
void bm_paddleslim_halve_add(double *average, const double *values, uint32_t channels, uint64_t num_calls);
// sum [channels] begins with zeros; out [channels]: what would be taken if this call were the last.
void bm_paddleslim_ema_add(double *sum, const double *values, uint32_t channels, uint64_t num_calls, double *out);

// avg: the mean over steps of `batch` sequences of the mean over the step's sequences, which weighs a last short step
// as a whole one. magnitudes [num_sequences, channels], scales as in observers.h.
double bm_paddleslim_activation_avg(const double *magnitudes, uint64_t num_sequences, uint32_t batch, uint32_t channels,
                                    const float *scales);

// a^alpha / w^(1-alpha), at least 1e-5; w = 0 gives infinity, and a = 0 the least.
float bm_paddleslim_smooth_scale(double a, double w, double alpha);

// The code of x in the losses of searches: x / amax, times 127, in float32, halves away from zero; amax > 0.
int32_t bm_paddleslim_search_code(float x, float amax);
// The code of w in the checkpoint: w times (largest * (1 / amax)), in float32, halves to even; largest is 127 or 7.
int32_t bm_paddleslim_stored_code(float w, float amax, int32_t largest);

#endif
