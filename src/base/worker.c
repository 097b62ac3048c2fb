// Threads for tasks.
#include "base/worker.h"

#include "base/clock.h"
#include "base/thread.h"

typedef struct entry {
    bm_task task;
    int32_t block;
    uint64_t number; // in the order of handing over
    struct entry *next;
} entry;

#define MAX_THREADS 8

struct bm_worker {
    bm_monitor *monitor; // guards what follows; NULL without a thread
    bm_thread *threads[MAX_THREADS];
    uint32_t num_threads;
    entry *first, *last; // tasks that wait
    uint64_t num_pushed;
    uint64_t held_bytes; // of those and of the ones that run
    uint32_t num_busy;
    bool stops;
    bm_error error;        // of the first task that failed
    uint64_t error_number; // of that task
    uint64_t max_bytes;
    bm_timeline *timeline; // the track is the threads', while there are any
    bm_track_id track;
    uint64_t covered_ns; // by spans of the track
};

// Runs a task and forgets it, outside the monitor.
static bm_status run_task(const bm_task *task, bm_error *err)
{
    const bm_status status = task->run(task->context, err);
    task->discard(task->context);
    return status;
}

// Spans of tasks that ran side by side do not overlap.
static void add_span(bm_worker *w, int32_t block, uint64_t begin_ns)
{
    const uint64_t end_ns = bm_clock_ns();
    bm_timeline_add(w->timeline, w->track, NULL, block, bm_max_u64(begin_ns, w->covered_ns), end_ns);
    w->covered_ns = end_ns;
}

static void discard_all(bm_worker *w)
{
    while (w->first) {
        entry *e = w->first;
        w->first = e->next;
        w->held_bytes -= e->task.bytes;
        e->task.discard(e->task.context);
        bm_free(e);
    }
    w->last = NULL;
}

static void work(void *worker)
{
    bm_worker *w = worker;
    bm_monitor_enter(w->monitor);
    while (true) {
        while (!w->first && !w->stops)
            bm_monitor_wait(w->monitor);
        if (!w->first || w->stops)
            break;
        entry *e = w->first;
        bm_error err = {0};
        w->first = e->next;
        w->last = w->first ? w->last : NULL;
        w->num_busy++;
        bm_monitor_leave(w->monitor);
        const uint64_t begin_ns = bm_clock_ns();
        const bm_status status = run_task(&e->task, &err);
        bm_monitor_enter(w->monitor);
        add_span(w, e->block, begin_ns);
        w->num_busy--;
        w->held_bytes -= e->task.bytes;
        if (status != BM_OK && (w->error.status == BM_OK || e->number < w->error_number)) {
            w->error = err;
            w->error_number = e->number;
            discard_all(w);
        }
        bm_free(e);
        bm_monitor_notify(w->monitor);
    }
    bm_monitor_leave(w->monitor);
}

bm_status bm_worker_create(bm_worker **out, uint64_t max_bytes, uint32_t max_threads, bm_timeline *timeline,
                           bm_track_id track, bm_error *err)
{
    bm_worker *w = bm_alloc_zero(1, sizeof *w);
    if (!w)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    w->max_bytes = max_bytes;
    w->timeline = timeline;
    w->track = track;
    if (max_bytes > 0)
        w->monitor = bm_monitor_create();
    while (w->monitor && w->num_threads < bm_min_u64(max_threads, MAX_THREADS) &&
           bm_thread_start(&w->threads[w->num_threads], work, w, NULL) == BM_OK)
        w->num_threads++;
    if (w->num_threads == 0)
        bm_monitor_destroy(&w->monitor);
    *out = w;
    return BM_OK;
}

static bm_status tell(const bm_error *error, bm_error *err)
{
    return error->status == BM_OK ? BM_OK : bm_fail(err, error->status, "%s", error->message);
}

static bm_status run_here(bm_worker *w, const bm_task *task, bm_error *err)
{
    const uint64_t begin = bm_clock_ns();
    if (w->error.status != BM_OK)
        task->discard(task->context);
    else
        (void)run_task(task, &w->error);
    add_span(w, bm_timeline_block(w->timeline), begin);
    bm_timeline_wait(w->timeline, w->track, begin, bm_clock_ns());
    return tell(&w->error, err);
}

bm_status bm_worker_push(bm_worker *w, const bm_task *task, bm_error *err)
{
    if (!w->monitor)
        return run_here(w, task, err);
    entry *e = bm_alloc(1, sizeof *e);
    if (!e) {
        task->discard(task->context);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *e = (entry){.task = *task, .block = bm_timeline_block(w->timeline)};
    const uint64_t begin = bm_clock_ns();
    bm_monitor_enter(w->monitor);
    while (w->error.status == BM_OK && w->held_bytes > 0 &&
           task->bytes > w->max_bytes - bm_min_u64(w->max_bytes, w->held_bytes))
        bm_monitor_wait(w->monitor);
    const bm_status status = tell(&w->error, err);
    if (status == BM_OK) {
        if (w->last)
            w->last->next = e;
        else
            w->first = e;
        w->last = e;
        e->number = w->num_pushed++;
        w->held_bytes += task->bytes;
        bm_monitor_notify(w->monitor);
    }
    bm_monitor_leave(w->monitor);
    bm_timeline_wait(w->timeline, w->track, begin, bm_clock_ns());
    if (status != BM_OK) {
        task->discard(task->context);
        bm_free(e);
    }
    return status;
}

bm_status bm_worker_finish(bm_worker *w, bm_error *err)
{
    if (!w->monitor)
        return tell(&w->error, err);
    const uint64_t begin = bm_clock_ns();
    bm_monitor_enter(w->monitor);
    while (w->first || w->num_busy > 0)
        bm_monitor_wait(w->monitor);
    const bm_status status = tell(&w->error, err);
    bm_monitor_leave(w->monitor);
    bm_timeline_wait(w->timeline, w->track, begin, bm_clock_ns());
    return status;
}

void bm_worker_destroy(bm_worker **worker)
{
    if (!worker || !*worker)
        return;
    bm_worker *w = *worker;
    if (w->monitor) {
        bm_monitor_enter(w->monitor);
        w->stops = true;
        bm_monitor_notify(w->monitor);
        bm_monitor_leave(w->monitor);
        for (uint32_t i = 0; i < w->num_threads; i++)
            bm_thread_join(&w->threads[i]);
        discard_all(w);
        bm_monitor_destroy(&w->monitor);
    }
    bm_free(w);
    *worker = NULL;
}
