// Piecewise search: scales of a group's channels, chosen piece by piece by what the quantized linears then compute.
//
// Channels are split into pieces of similar magnitude. A piece tries each candidate while the others stay; what wins
// stays. A few rounds over the pieces, then the number of pieces of least loss. The identity is a candidate: what comes
// out is never worse than no scales at all, on the sample.
//
// A few thousand tokens do not show how far a channel reaches: scales that fit their largest inputs exactly saturate on
// other text, and least so by the loss of the same tokens. So candidates are judged crosswise where there are sequences
// enough: made from the largest inputs of one half of the sequences, they lose what the tokens of the other half lose,
// both ways. What wins is then made from all of them.
// Source: Stone, Cross-Validatory Choice and Assessment of Statistical Predictions, 1974, with two folds.
#ifndef BM_QUANT_EQUALIZE_SMOOTH_SEARCH_H
#define BM_QUANT_EQUALIZE_SMOOTH_SEARCH_H

#include "quant/equalize/kmeans.h"
#include "quant/equalize/observers.h"
#include "quant/equalize/smooth_grid.h"

#define BM_SMOOTH_PRUNE_SHARE 8 // search_prune: all candidates see an eighth of the tokens
#define BM_SMOOTH_KEPT UINT32_MAX
#define BM_SMOOTH_WHOLE 0 // bm_smooth_batch.part: all tokens of the sample

// Candidates whose losses are wanted together, so that a device may compute them at once.
typedef struct bm_smooth_batch {
    uint32_t count;
    const float *scales;    // [count, channels]
    const double *act_amax; // [count]: the observer's amax of X / s, over the whole calibration set
    uint32_t token_share;   // 1: all tokens of the part; 8: about every eighth of them, the same ones each time
    uint32_t part;          // 1, 2: of the sample's tokens those of that half of the sequences; or BM_SMOOTH_WHOLE
} bm_smooth_batch;

// losses [count]: what the group's outputs lose, a mean over tokens; a NaN or an infinity loses against everything.
typedef bm_status bm_smooth_loss(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err);

// A group of linears, as the search sees it. Nothing is owned.
typedef struct bm_smooth_problem {
    uint32_t channels;
    const double *a;          // [channels]: largest inputs, of the steps of smooth_step
    const float *w;           // [channels]: largest weights of all linears of the group
    const double *magnitudes; // [num_sequences, channels], of the steps of ptq_step
    uint64_t num_sequences;
    bm_activation_observer observer;
    uint64_t tokens; // of the sample
    // Judged crosswise: of both halves of the sequences what the other half tells. part_a NULL: judged by what they are made of.
    const double *part_a;   // [2, channels]: largest inputs of the second half, which part 1 judges, then of the first
    uint64_t split;         // rows of magnitudes in front of it are the first half: 1 to num_sequences - 1
    double part_weights[2]; // of the sample's tokens, as the loss weighs them: both above 0
    bm_smooth_loss *loss;
    void *context;
} bm_smooth_problem;

typedef enum bm_piecewise_candidates {
    BM_PIECEWISE_ABSOLUTE, // the published grid
    BM_PIECEWISE_RELATIVE, // the best candidate for all channels first, from where each piece moves
    BM_PIECEWISE_LOG,      // the published grid, pieces by the logarithms of magnitudes
} bm_piecewise_candidates;

typedef struct bm_smooth_search_params {
    bm_smooth_grid_params grid;
    bm_piecewise_candidates candidates;
    uint32_t k_piece;  // smooth_k_piece
    bool search_piece; // 1 .. k_piece, each afresh; false: k_piece alone, or with a margin 1 and k_piece
    uint32_t rounds;   // search_rounds, at least 1
    bool falling;      // smooth_piece_order: the largest magnitudes first
    bool prune;        // search_prune: the best quarter by an eighth of the tokens is finished with all
    bool pow2;         // smooth_pow2
    double margin;     // more pieces have to lower the loss by this share of it: fewer are surer to be right elsewhere
    bool compat_paddleslim; // its grid, ties, accumulation; paddleslim_search.c says how
} bm_smooth_search_params;
void bm_smooth_search_params_init(bm_smooth_search_params *params);

// One piece that tried all candidates.
typedef struct bm_smooth_move {
    uint32_t num_pieces; // of the partition; 0: the stage in front of relative candidates, all channels
    uint32_t round, piece;
    uint32_t chosen; // of record->grid (of record->first_grid in that stage), or BM_SMOOTH_KEPT: nothing was better
    double loss;     // after it
} bm_smooth_move;

typedef struct bm_smooth_record {
    bm_smooth_grid grid, first_grid; // first_grid: of relative candidates alone
    bm_smooth_move *moves;
    double *losses; // [num_moves, stride] by candidate; NaN where pruned, or past the grid
    uint32_t num_moves, capacity, stride;
    uint32_t asked_pieces, most_pieces; // k_piece, and what distinct magnitudes allow
    uint32_t chosen_pieces;             // 0: nothing was searched, or nothing was better than the first stage
    double identity_loss, loss;         // without scales, and with those that came out; INFINITY: not finite
    bool skipped;                       // fewer than two tokens: the identity
    bool nothing_finite;                // no loss was: the identity
    bool one_sided; // the caller's: crosswise was asked for, and one half of the sequences has no tokens in the sample
    uint64_t num_evaluated; // candidates, those on a part of the tokens as a part
} bm_smooth_record;
void bm_smooth_record_free(bm_smooth_record *record);
// Whether a search was asked for, in pieces or of all channels, also where it was skipped or had no candidate.
bool bm_smooth_record_is_search(const bm_smooth_record *record);

// Partitions for the search into 1 .. k_piece pieces, fewer where magnitudes are the same: pieces [k_piece], free each
// of num_found.
// Errors   as bm_kmeans.
bm_status bm_smooth_partition(const bm_smooth_problem *problem, const bm_smooth_search_params *params,
                              bm_channel_pieces *pieces, uint32_t *num_found, bm_error *err);

// The search over partitions [num_partitions], pieces[k - 1] of k pieces. They outlive the call alone.
//
//   scales  [channels]; bm_smooth_scales_finish is the caller's
//   record  bm_smooth_record_free in any case
//
// Errors   of the loss; BM_E_ARGUMENT: the grid's, or no partition; BM_E_MEMORY.
bm_status bm_smooth_search(const bm_smooth_problem *problem, const bm_smooth_search_params *params,
                           const bm_channel_pieces *pieces, uint32_t num_partitions, float *scales,
                           bm_smooth_record *record, bm_error *err);

#endif
