// The linears of one stage of one block, which read the same inputs, while a method watches those and solves them.
#ifndef BM_SCHEDULE_GROUP_H
#define BM_SCHEDULE_GROUP_H

#include "model/block.h"
#include "schedule/equalize.h"
#include "schedule/run.h"

typedef struct bm_group {
    const bm_emit_context *emit;
    bm_multiplier *multiplier;
    const bm_plan_linear *members[BM_NUM_LINEARS]; // those that are quantized
    uint32_t num_members;                          // 0: nothing is watched
    bm_method_params params;                       // of the first: members may have grids of their own
    void *state;                                   // of the method
    const bm_equalizer *equalizer;                 // of the block; NULL: it is as in the checkpoint
    bm_group_record found;                         // by bm_group_prepare
    uint32_t *group_index;                         // [channels]: which group each belongs to; NULL: neighbours
    char name[BM_TENSOR_NAME_SIZE];                // of the first member, for messages
} bm_group;

// Begins to watch the stage's quantized linears, if there are any. equalizer: finished; NULL: none; outlives the group.
// End with bm_group_end.
// Errors: those of the method's begin.
bm_status bm_group_begin(bm_group *group, const bm_emit_context *emit, bm_multiplier *multiplier, uint32_t block,
                         bm_stage stage, const bm_equalizer *equalizer, bm_error *err);
// inputs, float_inputs  [tokens, channels] real and finite; the second NULL where the method does not watch both
bm_status bm_group_watch(bm_group *group, const bm_tensor *inputs, const bm_tensor *float_inputs, bm_error *err);
// Behind the last inputs: what all members need to be solved. Says when the group cannot be solved as the method does, but for
// a reason that result has of a group before: bm_record_warn counts those.
bm_status bm_group_prepare(bm_group *group, const bm_quantize_result *result, const bm_log *log, bm_error *err);
// Solves the members, their rows one below the other, writes them, and puts the values of their codes in the place of the
// block's weights. keep_old: those are not the block's to overwrite (somebody else holds them): it gets new ones. Adds a
// record a member to result.
bm_status bm_group_solve(bm_group *group, bm_block *block, bool keep_old, bm_quantize_result *result, const bm_log *log,
                         bm_error *err);
void bm_group_end(bm_group *group); // an empty one is fine

// What a linear's solving came to, as a record; without what was met in its inputs.
void bm_group_record_linear(bm_linear_record *record, const bm_plan *plan, const bm_plan_linear *p,
                            const bm_row_errors *errors);

#endif
