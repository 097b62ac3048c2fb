// Whether a run fits its budget, and how its work is sized so that it does.
#ifndef BM_SCHEDULE_MEMORY_FIT_H
#define BM_SCHEDULE_MEMORY_FIT_H

#include "schedule/memory_claims.h"

// The least budgets with which the run would be accepted. What the program itself takes varies from run to run: the process's has
// some more.
typedef struct bm_memory_least {
    uint64_t device_bytes, process_bytes;
} bm_memory_least;

// Sizes the work of the run by all of the device's memory, or, where its claims do not fit then, by so much less that they
// do: batches, rows at a time and what is kept on the device go by it (bm_device_size_work). A host that is short of memory
// reads nothing ahead, and where that is not enough activations lie in a file instead. What the budget allows is the device's limit from then on.
//
//   budget  reduced where the host is short
//   folder  where a file of activations would lie; NULL: nowhere
//   claims  of the run as it will be; where it does not fit, of the smallest
//
// Errors: BM_E_ARGUMENT where nothing fits, with the least that would, the claims and the option or key to change.
bm_status bm_memory_fit(const bm_emit_context *emit, bm_memory_budget *budget, const char *folder,
                        bm_memory_claims *claims, bm_memory_least *least, bm_error *err);

#endif
