// Losses by a Gram matrix as well as it takes to tell candidates apart: differences and matrix in float16, one product on matrix units
// instead of the three of float32 in parts.
//
//   J(s) = sum over rows of e G e^T = sum of e' G' e'^T,  e' = e D^-1,  G' = D G D,  D[c] = 1 / sqrt(G[c, c])
//
// So the diagonal of G' is 1, which float16 holds, and nothing else is larger, whatever channels are (Cauchy and Schwarz): each is
// rounded by 2^-12 of itself (down to 2^-26, below which it hardly counts), and so are differences, once the largest of a row is
// brought near 2^14. Roundings are as often up as down, and those of G' are the same for all candidates. In 30 stages of
// prose-8m and babyllama-tok105 losses were off by at most 4.2e-5, the best candidate was the same in each, and one pair of 24600, some
// 1e-5 apart, came in another order. Matrix units that cut sums cut those of all candidates alike.
#ifndef BM_QUANT_GRAM_ROUGH_H
#define BM_QUANT_GRAM_ROUGH_H

#include "quant/gram_loss.h"

// Of each panel of rows the matrix has G' in the panel's own columns, 2 G' behind them and nothing before, since G' is symmetric.
typedef struct bm_rough_gram {
    uint64_t width;   // columns of a panel
    bm_tensor matrix; // [channels, channels] float16
    bm_tensor factor; // [1, channels]: D^-1; 0 where G has nothing
    double unit;      // what e' G' e'^T is multiplied by
} bm_rough_gram;

// Whether the device multiplies so faster.
bool bm_rough_gram_pays(const bm_multiplier *multiplier, uint64_t channels);
// Of a finished Gram matrix. bm_rough_gram_destroy in any case. Waits.
// Errors   BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_rough_gram_create(bm_device *device, const bm_tensor *gram, bm_rough_gram *out, bm_error *err);
void bm_rough_gram_destroy(bm_rough_gram *rough);

// As bm_gram_losses, of params->gram as rough has it. Less memory than that takes and the matrix together. Waits once.
bm_status bm_rough_losses(bm_multiplier *multiplier, const bm_rough_gram *rough, const bm_gram_loss_params *params,
                          const float *scales, uint32_t count, double *losses, bm_error *err);

#endif
