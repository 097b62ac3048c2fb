// What was found and done about the inputs of one stage of one block, before its linears were quantized: for the record.
#ifndef BM_SCHEDULE_STAGE_RECORD_H
#define BM_SCHEDULE_STAGE_RECORD_H

#include "model/family.h"
#include "quant/codes.h"
#include "quant/equalize/shift.h"
#include "quant/equalize/smooth_scales.h"
#include "quant/equalize/smooth_search.h"

#define BM_STAGE_BINS 128 // ranges of channels are kept for so many neighbours together

typedef struct bm_stage_record {
    uint32_t block;
    bm_stage stage;
    uint32_t channels;
    uint64_t tokens;                  // that statistics saw
    uint32_t num_sequences;           // that they lay in
    uint32_t sample_tokens;           // of those: losses of the search and errors of linears are theirs
    bool shifts, scales;              // what was done to the inputs
    bool as_operations;               // by operations before the linear, where no fold hides it
    bm_shift_record shift;            // where a shift was asked for
    bm_smooth_record search;          // num_moves 0: nothing was searched. Owned
    bm_smooth_finish_record finish;   // where scales were asked for
    float least_scale, largest_scale; // of all channels
    double amax_before, amax;         // the observer's, of the inputs as they were and as they are quantized
    double amax_share;                // of their largest magnitude, where amax was searched; else 0
    bool share_skipped;               // fewer than two tokens: a share of 1
    bm_input_grid input;              // how they are quantized
    // Least and largest input of a channel, over so many neighbouring channels, before and after.
    uint32_t num_bins;
    float low_before[BM_STAGE_BINS], high_before[BM_STAGE_BINS], low[BM_STAGE_BINS], high[BM_STAGE_BINS];
} bm_stage_record;

// Frees what a record owns.
void bm_stage_record_free(bm_stage_record *record);

#endif
