// The upper factor of a damped, ordered inverse Hessian, as GPTQ reads it row by row.
#ifndef BM_QUANT_INVERSE_FACTOR_H
#define BM_QUANT_INVERSE_FACTOR_H

#include "quant/gram.h"

// U upper triangular with U^T U = (H' + d I)^-1, H' the Hessian in the order of columns.
typedef struct bm_inverse_factor {
    uint32_t channels, num_dead;    // dead: channels that no token used; their diagonal became the mean of the others
    uint32_t *order;                // [channels]: column i of the factor is channel order[i]
    uint32_t *place;                // [channels]: the inverse of order
    float *diagonal;                // [channels] of U, by channel
    bool *dead;                     // [channels]
    bm_view order_view, place_view; // the same on the device
    bm_buffer *orders;
    bm_tensor upper,
        transposed;      // U and U^T, [channels, channels] float32; both in the memory of a gram that lies in a file:
                         // there above the diagonal the one, below it the other
    bool is_in_place;    // that
    double damping;      // as a share of the mean of the live diagonal
    double live_mean;    // that mean
    uint32_t num_raised; // how often it had to be raised
    bool by_host;        // float32 was not enough: float64 LAPACK did it
    struct bm_inverse_factor *automatic; // of the same Hessian; NULL: bm_inverse_factor_add_automatic made none
    double residual;                     // largest error of (H' + d I) U^T U z = z for a few z, relative
} bm_inverse_factor;

// gram is finished.
//
//   damping  share of the mean of the live diagonal that is added to it; 0: max(0.01, channels / (2 tokens))
//   ordered  columns by falling diagonal of H, ties by index; false: as they are
//
// A pivot that is not positive, or a residual above 0.05, raises the damping: one below max(0.01, channels / (2 tokens)) to
// that, others tenfold, up to 1; then float64 on the host tries once, where LAPACK is found.
// Errors   BM_E_NUMERIC when no factor was found: the caller falls back to rounding; BM_E_MEMORY, BM_E_DEVICE; BM_E_CANCELLED, which
//          multiplier->phase says within about a second of work.
// Source   Frantar et al., GPTQ, 2023, section 3.3 (the factor, order and damping). With P the reversal and
//          P H P = L L^T, U = P L^-1 P.
bm_status bm_inverse_factor_create(bm_multiplier *multiplier, const bm_gram *gram, double damping, bool ordered,
                                   bm_inverse_factor *out, bm_error *err);
// Makes factor->automatic, which has the automatic damping, where factor has less.
// Errors   as above.
bm_status bm_inverse_factor_add_automatic(bm_multiplier *multiplier, const bm_gram *gram, bm_inverse_factor *factor,
                                          bm_error *err);
// Sets factor->residual; INFINITY where the factor is not finite. For bm_inverse_factor_create alone.
//
//   added  [1, channels]  float32: what was added to the diagonal, by channel
bm_status bm_inverse_factor_measure(bm_multiplier *multiplier, const bm_gram *gram, const bm_tensor *added,
                                    bm_inverse_factor *factor, bm_error *err);
void bm_inverse_factor_destroy(bm_inverse_factor *factor);

#endif
