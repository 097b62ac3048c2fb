// A run that is not done: what it would take of memory and disk, and how long.
#ifndef BM_SCHEDULE_DRY_RUN_H
#define BM_SCHEDULE_DRY_RUN_H

#include "schedule/memory_fit.h"
#include "schedule/run.h"

typedef struct bm_dry_run {
    bm_phase_record phases[BM_MAX_PHASES]; // estimated
    uint32_t num_phases;
    double seconds;           // of all phases
    double processor_seconds; // of rounding by a device that is made of the processors; 0: unknown
    bool is_measured;         // by the first block, or by pieces of linears; else by the rate of a product
    char how[256];            // the same in words
    uint64_t disk_bytes;      // of the result, with its words; and of a file of activations meanwhile
    bool knows_disk;
    uint64_t free_bytes; // on that disk
    bm_memory_least least;
    const char *refusal; // why the run does not fit, and what to change; nothing was measured then. NULL: it fits
} bm_dry_run;

// The nearest folder above an output that there is; bm_free it. NULL: no memory.
char *bm_dry_run_folder(const char *output);

// Measures, where that takes seconds: the first block is worked on, with a part of the tokens, and nothing is written. Larger work
// is estimated. What compiling takes is told where the device keeps no kernels, so that the run will compile them again.
// Errors: BM_E_IO where the disk has no room for the result; those of a run.
bm_status bm_dry_run_make(const bm_quantize_run_params *params, const bm_memory_claims *claims, bm_dry_run *out,
                          bm_error *err);

// bm_settle (ops/settle.h), for what measures. Where the run is known to need no compiler, for which the budget has no room then,
// nothing is compiled for it, and where it is not in the cache, nothing is done.
bm_status bm_dry_run_settle(const bm_quantize_run_params *params, bm_phase *phase, double *rate, bm_error *err);

// Whether the run would take less than a second even where the estimate is off as it may be. Then that is said in words: of so short
// a run what starts and ends it is told too coarsely.
bool bm_dry_run_is_below_a_second(const bm_dry_run *dry);
// In words, a line each; and as members of an open object.
void bm_dry_run_describe(const bm_dry_run *dry, const bm_quantize_run_params *params, const bm_memory_claims *claims,
                         bm_string *out);
void bm_dry_run_put(const bm_dry_run *dry, const bm_quantize_run_params *params, const bm_memory_claims *claims,
                    bm_json_writer *json);

#endif
