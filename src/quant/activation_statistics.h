// What is kept of the inputs of a group of linears while calibration data pass through, once: least element, largest element,
// mean and, where wanted, mean magnitude of every channel in each sequence, and a sample of tokens. Statistics stay on the device
// until the last batch; which tokens are in the sample is known before the first.
#ifndef BM_QUANT_ACTIVATION_STATISTICS_H
#define BM_QUANT_ACTIVATION_STATISTICS_H

#include "device/tensor.h"
#include "quant/equalize/channel_statistics.h"

#define BM_SEARCH_TOKENS 2048 // search_tokens, unless the parameter file says another number

typedef struct bm_activation_statistics_params {
    uint32_t channels;
    const uint32_t *tokens; // [num_sequences]: of each, at least one. Copied
    uint32_t num_sequences;
    bool magnitudes; // means of |x| are wanted, too
    // The sample: search_tokens of the tokens of num_sampled sequences from first_sampled on, all where there are not so many;
    // each choice as likely as any other. 0 of either: none.
    uint32_t first_sampled, num_sampled;
    uint32_t search_tokens;
    uint64_t seed;
    bm_dtype sample_dtype; // a real one: usually that of inputs
} bm_activation_statistics_params;

typedef struct bm_activation_statistics {
    bm_activation_statistics_params params; // tokens: those below
    uint32_t *tokens;                       // [num_sequences]
    uint32_t *first_token;                  // [num_sequences + 1]: of each, among all tokens
    uint8_t *watched;                       // [num_sequences]
    // [num_sequences, channels] float32; rows of sequences that were not watched: undefined
    bm_tensor minimum, maximum, sum;
    bm_tensor magnitudes;    // the same: sums of them; no tensor where they are not wanted
    bm_tensor sample;        // [num_sample, channels]: in the order of tokens
    uint32_t *sample_tokens; // [num_sample]: which of all tokens, rising
    uint32_t num_sample;
    bm_buffer *ids;        // sample_tokens on the device
    uint32_t bad_sequence; // that finish found not finite; UINT32_MAX: none
} bm_activation_statistics;

// Errors   BM_E_ARGUMENT no channels, sequences or tokens, or more than 2^31 tokens; BM_E_MEMORY, BM_E_DEVICE.
//          bm_activation_statistics_destroy in any case.
bm_status bm_activation_statistics_begin(bm_device *device, const bm_activation_statistics_params *params,
                                         bm_activation_statistics *out, bm_error *err);
void bm_activation_statistics_destroy(bm_activation_statistics *statistics);
// Device memory that begin takes with a sample of so many tokens, without what one batch needs beside it (bm_column_range_bytes).
uint64_t bm_activation_statistics_bytes(const bm_activation_statistics_params *params, uint64_t sample_tokens);

// A batch, or the part of it that is wanted: whole sequences one behind the other. Each sequence comes once, in any order; one that
// is left out (skip_bad_sequences) never does. Nothing waits.
//
//   inputs  [tokens of sequences first .. first + count - 1, channels]  real
//
// Errors   BM_E_ARGUMENT other sequences than params have, one for the second time, or another number of tokens or channels.
bm_status bm_activation_statistics_watch(bm_device *device, bm_activation_statistics *statistics,
                                         const bm_tensor *inputs, uint32_t first, uint32_t count, bm_error *err);

// The sample's tokens of those batches go to their rows of `sample`.
//
//   rows    [tokens of sequences first .., n]  real, n a multiple of 4 where it is float32: anything that tokens have
//   sample  [num_sample, n]                    real
//
// Errors   as of bm_embedding.
bm_status bm_activation_statistics_sample(bm_device *device, const bm_activation_statistics *statistics,
                                          const bm_tensor *rows, uint32_t first, const bm_tensor *sample,
                                          bm_error *err);

// Behind the last batch: appends the sequences that were watched to out, in their order; what was left out counts nowhere: not as a
// sequence, not in the sample, which loses its tokens (num_sample, sample_tokens; an empty sample has no tensor). Waits.
//
//   out  bm_channel_statistics_init's, of as many channels; it keeps mean magnitudes only where params want them
//
// Errors   BM_E_NUMERIC an input was not finite, or a sum of inputs or of magnitudes: names sequence (bad_sequence) and channel;
//          BM_E_ARGUMENT out keeps mean magnitudes that params do not want; BM_E_MEMORY, BM_E_DEVICE. Nothing is appended then.
bm_status bm_activation_statistics_finish(bm_device *device, bm_activation_statistics *statistics,
                                          bm_channel_statistics *out, bm_error *err);

#endif
