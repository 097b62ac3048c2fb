// Threads that do tasks while who hands them over goes on. Tasks are begun in the order in which they are handed over, by one thread
// one after the other. Tasks that wait are bounded by the memory that they hold. The first error ends it: later tasks are not begun.
#ifndef BM_BASE_WORKER_H
#define BM_BASE_WORKER_H

#include "base/base.h"
#include "base/timeline.h"

typedef struct bm_task {
    bm_status (*run)(void *context, bm_error *err);
    void (*discard)(void *context); // frees what belongs to the task, behind run or instead of it
    void *context;
    uint64_t bytes; // of memory that it holds
} bm_task;

typedef struct bm_worker bm_worker;

// max_bytes    of tasks that wait or run; a larger one waits until it is alone. 0: no thread, a task is done where it is
//              handed over, and so it is where the system has no thread left
// max_threads  at most; above 1, tasks must not mind others beside them
// timeline     gets a span for each task, on track, or for what of it no other's covers, and what handing over waited; NULL: nobody
//              looks
//
// Errors: BM_E_MEMORY.
bm_status bm_worker_create(bm_worker **out, uint64_t max_bytes, uint32_t max_threads, bm_timeline *timeline,
                           bm_track_id track, bm_error *err);
// Hands a task over; its block (timeline.h) is that of who hands it over. Waits while too much waits. Errors: that of a
// task before, once and for all; the task is then discarded.
bm_status bm_worker_push(bm_worker *worker, const bm_task *task, bm_error *err);
// Waits until all tasks are done. Errors: that of the first task that failed.
bm_status bm_worker_finish(bm_worker *worker, bm_error *err);
void bm_worker_destroy(bm_worker **worker); // tasks that run are waited for; those that wait are discarded

#endif
