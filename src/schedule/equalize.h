// Equalizing a block before its linears are solved: a pass of the float block, whose inputs give shifts, scales and the steps of
// the inputs; folded into masters of the block. Linears are then solved and written from those. What the block reads is what the
// float model gives; before GPTQ, what the quantized blocks in front of it give, unless calibration_inputs is float.
//
//   begin, watch for each stage of each batch, finish, then solve (or the stages of a method that watches), end
#ifndef BM_SCHEDULE_EQUALIZE_H
#define BM_SCHEDULE_EQUALIZE_H

#include "infer/stream.h"
#include "model/masters.h"
#include "quant/activation_statistics.h"
#include "quant/gram.h"
#include "quant/search_loss.h"
#include "schedule/emit.h"
#include "schedule/run.h"

#define BM_MEASURED_TOKENS 2048 // of the sample, at most: what errors of outputs are measured on

typedef struct bm_equalized_stage {
    bool is_quantized; // has linears that are: else nothing is looked at
    bm_fold_wanted wanted;
    uint32_t channels;
    bm_activation_statistics watched;
    bm_channel_statistics statistics;
    double *shift;        // [channels]: what was taken off; NULL: nothing
    double *scale;        // [channels]: what was divided by; NULL: nothing
    bm_search_loss *loss; // while the stage is searched
    bm_gram gram;         // AWQ: of the inputs, as far as both the search of scales and that of steps see them
    bm_gram later_gram;   // of those further on that one of the two sees; finished, of all
    bm_tensor
        sequences; // [tokens, channels]: inputs of whole sequences from the first, for losses at the block's output
    uint64_t sequence_tokens; // of them, those that were seen
    double share;             // act_quant_method mse: of the largest input, what steps reach
    bm_input_grid input;      // of its linears, once they are folded
    bm_stage_record *record;  // of the result
} bm_equalized_stage;

// What an error of a token weighs: the norm behind the residual stream divides by the token's root mean square (a LayerNorm by the
// deviation, which is taken for it), errors with it.
// So errors of q, k, v and o count relative to the mean square of the stream behind attention, those of gate, up and down to
// that behind the MLP. Without it a few tokens of large activations, which hardly matter, decide a search.
typedef struct bm_sample_energies {
    bool wanted;
    double least;        // what the norm adds: epsilon, times channels
    bm_tensor rows;      // [tokens of a batch, 4]: their sums of squares, first column
    bm_tensor sample[2]; // [num_sample, 4]: behind attention, behind the MLP
    uint32_t *tokens;    // [num]: which of all tokens, rising, as the samples of the stages had them at first
    float *host[2];      // [num, 4]: as the samples
    uint32_t num;
    const bm_activation_statistics *watched; // of the first stage that is watched: all samples are of the same tokens
} bm_sample_energies;

typedef struct bm_equalizer {
    const bm_emit_context *emit;
    bm_multiplier *multiplier;
    uint32_t block;
    bm_block masters; // float32
    // Of whoever runs the block, set behind begin: the sequences and the workspace, and the block as it ran, whose linears finish
    // writes over. Read where losses are those of the block's outputs.
    bm_stream *stream;
    bm_block *scratch;
    bm_equalized_stage stages[BM_NUM_STAGES];
    bm_sample_energies energies; // of the residual stream
    bm_folds folds;
} bm_equalizer;

// Loads the masters of a block and makes room for statistics. End with bm_equalizer_end, also after an error.
// Errors: of reading; BM_E_MEMORY, BM_E_DEVICE.
bm_status bm_equalizer_begin(bm_equalizer *equalizer, const bm_emit_context *emit, bm_multiplier *multiplier,
                             uint32_t block, bm_error *err);
void bm_equalizer_end(bm_equalizer *equalizer);
// Device memory that it takes at most.
typedef struct bm_equalizer_memory {
    uint64_t
        kept; // masters, statistics, samples, what the multiplier keeps where the method has no use of it: while there is one
    uint64_t grams;                  // until stages are finished, or where it solves, solved
    uint64_t search;                 // meanwhile, at most
    uint64_t measured;               // beside what solves
    uint64_t multiplied;             // elements of rows that go into one product
    uint64_t host_kept, host_search; // of the host's memory: statistics of all stages; meanwhile, at most
} bm_equalizer_memory;
bm_equalizer_memory bm_equalizer_claim(const bm_emit_context *emit, uint32_t batch_tokens);
// From begin to solve.
uint64_t bm_equalizer_bytes(const bm_emit_context *emit, uint32_t batch_tokens);
// Whether the device can have the sample of inputs that the keys ask for, told before anything is written.
// Errors: BM_E_ARGUMENT with the key, what it takes and what there is.
bm_status bm_equalizer_check_sample(const bm_emit_context *emit, bm_error *err);

// Compiles what the rest of this needs, as a phase with progress.
bm_status bm_equalizer_warm_up(const bm_emit_context *emit, bm_dtype dtype, const bm_progress *progress, bm_error *err);

//   inputs  [tokens of sequences first .. first + count - 1, channels]  real: as the float block has them
bm_status bm_equalizer_watch(bm_equalizer *equalizer, bm_stage stage, const bm_tensor *inputs, uint32_t first,
                             uint32_t count, bm_error *err);
//   hidden  [tokens of sequences first .., hidden_size] float32: the residual stream behind attention, or behind the MLP
bm_status bm_equalizer_watch_residual(bm_equalizer *equalizer, bool behind_mlp, const bm_tensor *hidden, uint32_t first,
                                      bm_error *err);
// Behind the last batch: shifts, scales, their folds into masters, steps of inputs. Appends a record a stage to result.
// Errors   BM_E_NUMERIC a sum of inputs, or a folded tensor, is not finite, with the name of a linear or of the tensor; BM_E_MEMORY, BM_E_DEVICE,
//          BM_E_CANCELLED.
bm_status bm_equalizer_finish(bm_equalizer *equalizer, bm_quantize_result *result, const bm_log *log, bm_error *err);
// Solves and writes the block's linears without another pass of its inputs, measures the error of their outputs, and adds a
// record for each to result. measured: an empty block, or one that was made of masters in float32: overwritten.
bm_status bm_equalizer_solve(bm_equalizer *equalizer, bm_block *measured, bm_quantize_result *result, const bm_log *log,
                             bm_error *err);
// ---- between the files of an equalizer alone

// The first linear of a stage, and the channels of its inputs.
bm_linear_id bm_equalizer_first(const bm_family *family, bm_stage stage);
uint32_t bm_equalizer_channels(const bm_model *model, bm_stage stage);
// What is watched of inputs, and the tokens that a search and errors of outputs look at; tokens of sequences are not set.
bm_activation_statistics_params bm_equalizer_statistics(const bm_emit_context *emit, uint32_t channels);

// The linears of a stage that a block computes with; those alone that are quantized, or all. grids: of each, the plan's; NULL: not
// wanted. Returns their number.
uint32_t bm_equalizer_members(const bm_equalizer *equalizer, bm_stage stage, bool quantized,
                              const bm_weights *out[BM_NUM_LINEARS], bm_grid_params grids[BM_NUM_LINEARS]);
// Candidates of a move of the piecewise search, at most.
uint64_t bm_equalizer_most_candidates(const bm_arguments *arguments);
// The search of a stage's scales [channels]: problem lacks tokens and the loss.
bm_status bm_equalizer_search(bm_equalizer *equalizer, bm_stage stage, bm_smooth_problem *problem, const bm_log *log,
                              float *scales, bm_error *err);

// *share, 0.3 to 1: of `largest`, the largest magnitude of the stage's inputs behind shift and scales, what steps reach when the
// quantized linears lose least on the sample of at least two tokens.
bm_status bm_equalizer_search_share(bm_equalizer *equalizer, bm_stage stage, double largest, double *share,
                                    bm_error *err);
// equalize_solve.c: out [1, channels] = 1 / values, or -values; values NULL: nothing is made.
bm_status bm_equalizer_upload_vector(bm_device *device, const double *values, uint32_t channels, bool inverse,
                                     bm_tensor *out, bm_error *err);
// equalize_energies.c: room for them, once all stages are begun; what was watched, before any stage is finished; weights
// [num_sample] of a finished stage's tokens, their mean 1: NULL where errors of all tokens weigh the same. Free them.
bm_status bm_equalizer_begin_energies(bm_equalizer *equalizer, bm_error *err);
bm_status bm_equalizer_fetch_energies(bm_equalizer *equalizer, bm_error *err);
bm_status bm_equalizer_token_weights(const bm_equalizer *equalizer, bm_stage stage, double **out, bm_error *err);
void bm_equalizer_free_energies(bm_equalizer *equalizer);

// equalize_awq.c: sums of products of a stage's inputs, where they are wanted: room for them; more of them; behind the last.
bm_status bm_equalizer_begin_grams(bm_equalizer *equalizer, bm_stage stage, bm_error *err);
bm_status bm_equalizer_watch_grams(bm_equalizer *equalizer, bm_stage stage, const bm_tensor *inputs, uint32_t first,
                                   uint32_t count, bm_error *err);
bm_status bm_equalizer_finish_grams(bm_equalizer *equalizer, bm_stage stage, bm_error *err);
void bm_equalizer_free_grams(bm_equalizer *equalizer, bm_stage stage);
// Their device memory; 0: none are wanted.
uint64_t bm_equalizer_gram_bytes(const bm_emit_context *emit, bm_stage stage);
// Its scales [channels] of a stage; all 1 where fewer than two tokens were seen.
bm_status bm_equalizer_search_awq(bm_equalizer *equalizer, bm_stage stage, const bm_log *log, float *scales,
                                  bm_error *err);
// Behind the folds, once: the sums by which steps of weights are found, of the inputs as they are now. Of the equalizer.
bm_status bm_equalizer_solving_gram(bm_equalizer *equalizer, bm_stage stage, bm_gram **out, bm_error *err);
// equalize_block.c: whether a stage's candidates are judged behind attention or the MLP; the inputs of whole sequences that this
// takes: room, more of them, behind the last; losses [candidates of the record's first grid] by mean magnitudes m of inputs and w of weights [channels].
bool bm_judges_block(const bm_emit_context *emit, const bm_fold_wanted *wanted, bm_stage stage); // if it is quantized
bool bm_equalizer_judges_block(const bm_equalizer *equalizer, bm_stage stage);
bm_status bm_equalizer_begin_sequences(bm_equalizer *equalizer, bm_stage stage, bm_error *err);
bm_status bm_equalizer_watch_sequences(bm_equalizer *equalizer, bm_stage stage, const bm_tensor *inputs, uint32_t first,
                                       uint32_t count, bm_error *err);
bm_status bm_equalizer_finish_sequences(bm_equalizer *equalizer, bm_stage stage, bm_error *err);
void bm_equalizer_free_sequences(bm_equalizer *equalizer, bm_stage stage);
bm_status bm_equalizer_block_losses(bm_equalizer *equalizer, bm_stage stage, const double *m, const double *w,
                                    double *losses, bm_error *err);
// Device memory of it, with what the losses need meanwhile; whether the device has it, as bm_equalizer_check_sample.
uint64_t bm_equalizer_block_bytes(const bm_emit_context *emit);
bm_status bm_equalizer_check_sequences(const bm_emit_context *emit, bm_error *err);
// values [channels]: what the heads have that share a key and value head becomes their mean, where o's scales go into v.
void bm_equalizer_share_heads(const bm_equalizer *equalizer, bm_stage stage, double *values);

// What act_quant_method observes.
bm_activation_observer bm_equalizer_observer(const bm_arguments *arguments);
// Steps of the data whose inputs it sees; where inputs are not quantized nothing observes them, and own says what is looked at.
int64_t bm_equalizer_observed_steps(const bm_emit_context *emit, int64_t own);
// Chooses shift and scale of a stage from its statistics; both are what a fold is asked for.
bm_status bm_equalizer_choose(bm_equalizer *equalizer, bm_stage stage, const bm_log *log, bm_error *err);

#endif
