// ALiBi: positions as a bias of attention's scores, in place of a rotary embedding.
//
// Head h adds slope(h) * (key - query) to the score of a key, in positions; a later query's own key gets 0.
#ifndef BM_OPS_ALIBI_H
#define BM_OPS_ALIBI_H

#include "device/device.h"

// The slope of one of num_heads heads: with n the largest power of two that is not above num_heads, head h < n has
// 2^(-8 (h + 1) / n); those behind it have, of the slopes of 2 n heads, every second one from the first on.
// Source: Press, Smith and Lewis, Train Short, Test Long, 2022, section 3, and its reference code for other numbers.
double bm_alibi_slope(uint32_t num_heads, uint32_t head);

// Slopes of all heads [num_heads] float32, as bm_attention_params take them. Errors: BM_E_MEMORY; BM_E_DEVICE no memory.
bm_status bm_alibi_slopes_create(bm_device *device, uint32_t num_heads, bm_buffer **out, bm_error *err);

#endif
