// Verification's last look: a few tokens through the model that was read and through the result, as its readers will run it.
//
// Codes and floats are known to be on the disk as they were made (verify.h). What that does not show is whether they mean what they
// should: a configuration, a fold or a grid that is wrong gives a result that loads and then talks garbage.
#ifndef BM_SCHEDULE_VERIFY_LOGITS_H
#define BM_SCHEDULE_VERIFY_LOGITS_H

#include "schedule/emit.h"
#include "schedule/memory_budget.h"

#define BM_VERIFY_LOGITS_TOKENS 16 // at most
#define BM_VERIFY_LOGITS_BLOCKS 3  // of the checkpoint, that readers hold at most

typedef struct bm_logits_comparison {
    uint32_t num_tokens;  // 0: not compared
    double kl_divergence; // mean of KL(input || result), nats
    uint32_t num_same;    // tokens behind which both choose the same next one
    bool is_of_data;      // the tokens are those of the calibration data; false: arbitrary ids
} bm_logits_comparison;

// Whether the model can be run, and a block of it fits the budget beside what the comparison takes. budget: NULL: none.
bool bm_verify_logits_fits(const bm_emit_context *emit, const bm_memory_budget *budget);
// Runs the first tokens of the calibration data, or ids without a meaning where there are none, through both. folder: of the result.
// Errors: BM_E_NUMERIC where a logit of the result is not finite, and where it says less of the input's than a guess would: a divergence
// of more than ln(vocabulary), or of half of it where no first choice is the same; BM_E_FORMAT for another vocabulary; BM_E_CANCELLED;
// those of loading; of the device and of memory, which are no fault of the result's. Where the input's own logits are not finite nothing
// is compared.
bm_status bm_verify_logits(const bm_emit_context *emit, const char *folder, bm_logits_comparison *out, bm_error *err);
// Whether such an error says that the result is bad, or ends the run; what else there is is the device's, or memory that is not there
// after all: nothing is compared then, and the result stands.
bool bm_verify_logits_is_fault(bm_status status);
// The same of a model and itself, for its time. progress: hears of each block, of one side behind the other (infer/stream.h).
// Errors: those of loading and of the device; BM_E_NUMERIC; BM_E_CANCELLED.
bm_status bm_verify_logits_try(const bm_emit_context *emit, const bm_model *model, const bm_progress *progress,
                               bm_error *err);

#endif
