// Threads: for the host backend's loops, and for what goes on beside a device (worker.h).
#ifndef BM_BASE_THREAD_H
#define BM_BASE_THREAD_H

#include "base/base.h"

typedef struct bm_thread bm_thread;

bm_status bm_thread_start(bm_thread **out, void (*run)(void *user), void *user, bm_error *err);
void bm_thread_join(bm_thread **thread);

// A lock with a condition: between enter and leave a thread is alone. wait, called inside, lets others in until one
// of them calls notify; it may return without, so what is waited for is looked at again.
typedef struct bm_monitor bm_monitor;
bm_monitor *bm_monitor_create(void); // NULL: out of memory
void bm_monitor_destroy(bm_monitor **monitor);
void bm_monitor_enter(bm_monitor *monitor);
void bm_monitor_leave(bm_monitor *monitor);
void bm_monitor_wait(bm_monitor *monitor);
void bm_monitor_notify(bm_monitor *monitor); // all who wait

uint32_t bm_processor_count(void); // those this process may use, at least 1

// Runs body(user, begin, end) over 0..count-1 cut into contiguous ranges on up to bm_processor_count() threads;
// returns when all are done. Ranges must be independent: the cut does not change results then.
void bm_parallel_for(uint64_t count, uint64_t min_per_range, void (*body)(void *user, uint64_t begin, uint64_t end),
                     void *user);

// memcpy, by several threads where it pays: one core gives less than memory and buses take.
void bm_parallel_copy(void *to, const void *from, uint64_t size);

#endif
