// Threads for the host backend's loops.
#ifndef BM_BASE_THREAD_H
#define BM_BASE_THREAD_H

#include "base/base.h"

typedef struct bm_thread bm_thread;

bm_status bm_thread_start(bm_thread **out, void (*run)(void *user), void *user, bm_error *err);
void bm_thread_join(bm_thread **thread);
uint32_t bm_processor_count(void); // those this process may use, at least 1

// Runs body(user, begin, end) over 0..count-1 cut into contiguous ranges on up to bm_processor_count() threads;
// returns when all are done. Ranges must be independent: the cut does not change results then.
void bm_parallel_for(uint64_t count, uint64_t min_per_range, void (*body)(void *user, uint64_t begin, uint64_t end),
                     void *user);

#endif
