// What a run will take of device, host and disk, phase by phase, told before any of it is taken.
#ifndef BM_SCHEDULE_MEMORY_CLAIMS_H
#define BM_SCHEDULE_MEMORY_CLAIMS_H

#include "infer/kept.h"
#include "schedule/emit.h"
#include "schedule/memory_budget.h"

// Phases that differ in what they take.
typedef enum bm_memory_phase {
    BM_MEMORY_COPYING,    // tensors that stay float
    BM_MEMORY_SCORING,    // do_eval, do_predict
    BM_MEMORY_LOADING,    // a block, for methods that watch
    BM_MEMORY_EQUALIZING, // AWQ, shift and smooth
    BM_MEMORY_WATCHING,   // blocks run, and the method watches
    BM_MEMORY_SOLVING,    // rows become codes
    BM_MEMORY_COMPARING,  // logits of the input and of the result
    BM_NUM_MEMORY_PHASES
} bm_memory_phase;

typedef enum bm_memory_kind { BM_MEMORY_DEVICE, BM_MEMORY_HOST, BM_MEMORY_DISK, BM_NUM_MEMORY_PLACES } bm_memory_kind;

typedef struct bm_memory_claim {
    const char *what;
    bm_memory_kind place;
    unsigned phases; // a bit each
    uint64_t bytes;
    uint64_t least;   // of it, what must be had: the rest is given up where it is not there
    const char *cure; // what to do where it is too much, as a request; NULL: nothing
} bm_memory_claim;

#define BM_MAX_MEMORY_CLAIMS 40 // more than are ever made

typedef struct bm_memory_claims {
    bm_memory_claim items[BM_MAX_MEMORY_CLAIMS];
    uint32_t count;
    uint64_t largest_bytes; // of one buffer
    const char *largest;    // whose
    bool watches;           // the rest is of runs that do
    uint64_t num_tokens;
    uint32_t num_sequences, num_batches, batch_tokens; // batch_tokens: of the largest
    uint32_t batch_sequences;                          // of the batch that has most
    uint32_t num_lanes, num_passes;                    // passes of a block
    bm_kept_place stream_place, kept_place;
} bm_memory_claims;

const char *bm_memory_phase_name(const bm_emit_context *emit, bm_memory_phase phase);
// folder: where a file of activations would lie; NULL: nowhere.
void bm_memory_claims_make(const bm_emit_context *emit, const bm_memory_budget *budget, const char *folder,
                           bm_memory_claims *out);
// Device memory that a batch of so many tokens takes at most on its way through a model and a result of it, one after the other, and
// two slices of heads that together are no larger than a block, but of 64 words at least.
uint64_t bm_memory_comparing_bytes(const bm_emit_context *emit, uint64_t tokens);
// What inputs that are kept between passes may take of the device, at most: three quarters of what is left.
uint64_t bm_memory_claims_kept_room(const bm_emit_context *emit);
// Of a phase; 0: the run has no such phase.
uint64_t bm_memory_claims_bytes(const bm_memory_claims *claims, bm_memory_phase phase, bm_memory_kind place);
// The most of any phase. The process: what it takes of the host, and of a device that shares its memory.
uint64_t bm_memory_claims_peak(const bm_memory_claims *claims, bm_memory_kind place);
uint64_t bm_memory_claims_process(const bm_memory_claims *claims, const bm_memory_budget *budget);
// What must be had: the most of any phase, and which that is. of_process: of the process, else of the device.
uint64_t bm_memory_claims_need(const bm_memory_claims *claims, const bm_memory_budget *budget, bool of_the_process,
                               bm_memory_phase *worst);

#endif
