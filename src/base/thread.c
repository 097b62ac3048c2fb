// Threads over POSIX threads or Windows.
#ifdef __linux__
#define _GNU_SOURCE // sched_getaffinity
#endif
#include "base/thread.h"

#include <string.h>

#define COPY_BYTES (UINT64_C(1) << 20) // that a thread is worth

#ifdef _WIN32
#include <windows.h>

struct bm_thread {
    HANDLE handle;
    void (*run)(void *);
    void *user;
};

static DWORD WINAPI enter(void *thread)
{
    bm_thread *t = thread;
    t->run(t->user);
    return 0;
}

static bool start(bm_thread *t)
{
    return (t->handle = CreateThread(NULL, 0, enter, t, 0, NULL)) != NULL;
}
static void join(bm_thread *t)
{
    WaitForSingleObject(t->handle, INFINITE);
    CloseHandle(t->handle);
}

struct bm_monitor {
    SRWLOCK lock;
    CONDITION_VARIABLE changed;
};
static bool open_monitor(bm_monitor *m)
{
    InitializeSRWLock(&m->lock);
    InitializeConditionVariable(&m->changed);
    return true;
}
static void close_monitor(bm_monitor *m)
{
    (void)m;
}
void bm_monitor_enter(bm_monitor *m)
{
    AcquireSRWLockExclusive(&m->lock);
}
void bm_monitor_leave(bm_monitor *m)
{
    ReleaseSRWLockExclusive(&m->lock);
}
void bm_monitor_wait(bm_monitor *m)
{
    (void)SleepConditionVariableSRW(&m->changed, &m->lock, INFINITE, 0);
}
void bm_monitor_notify(bm_monitor *m)
{
    WakeAllConditionVariable(&m->changed);
}

uint32_t bm_processor_count(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors > 0 ? info.dwNumberOfProcessors : 1;
}
#else
#include <pthread.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

struct bm_thread {
    pthread_t handle;
    void (*run)(void *);
    void *user;
};

static void *enter(void *thread)
{
    bm_thread *t = thread;
    t->run(t->user);
    return NULL;
}

static bool start(bm_thread *t)
{
    return pthread_create(&t->handle, NULL, enter, t) == 0;
}
static void join(bm_thread *t)
{
    pthread_join(t->handle, NULL);
}

struct bm_monitor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
};
static bool open_monitor(bm_monitor *m)
{
    if (pthread_mutex_init(&m->lock, NULL) != 0)
        return false;
    if (pthread_cond_init(&m->changed, NULL) == 0)
        return true;
    pthread_mutex_destroy(&m->lock);
    return false;
}
static void close_monitor(bm_monitor *m)
{
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
}
void bm_monitor_enter(bm_monitor *m)
{
    pthread_mutex_lock(&m->lock);
}
void bm_monitor_leave(bm_monitor *m)
{
    pthread_mutex_unlock(&m->lock);
}
void bm_monitor_wait(bm_monitor *m)
{
    pthread_cond_wait(&m->changed, &m->lock);
}
void bm_monitor_notify(bm_monitor *m)
{
    pthread_cond_broadcast(&m->changed);
}

uint32_t bm_processor_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
#endif
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}
#endif

bm_status bm_thread_start(bm_thread **out, void (*run)(void *user), void *user, bm_error *err)
{
    bm_thread *thread = bm_alloc_zero(1, sizeof *thread);
    if (!thread)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    thread->run = run;
    thread->user = user;
    if (!start(thread)) {
        bm_free(thread);
        return bm_fail(err, BM_E_MEMORY, "cannot start a thread");
    }
    *out = thread;
    return BM_OK;
}

void bm_thread_join(bm_thread **thread)
{
    if (!thread || !*thread)
        return;
    join(*thread);
    bm_free(*thread);
    *thread = NULL;
}

bm_monitor *bm_monitor_create(void)
{
    bm_monitor *m = bm_alloc_zero(1, sizeof *m);
    if (m && !open_monitor(m)) {
        bm_free(m);
        m = NULL;
    }
    return m;
}

void bm_monitor_destroy(bm_monitor **monitor)
{
    if (!monitor || !*monitor)
        return;
    close_monitor(*monitor);
    bm_free(*monitor);
    *monitor = NULL;
}

typedef struct range_job {
    void (*body)(void *, uint64_t, uint64_t);
    void *user;
    uint64_t begin, end;
} range_job;

static void run_range(void *job)
{
    const range_job *j = job;
    j->body(j->user, j->begin, j->end);
}

void bm_parallel_for(uint64_t count, uint64_t min_per_range, void (*body)(void *user, uint64_t begin, uint64_t end),
                     void *user)
{
    enum { MAX_RANGES = 64 };
    range_job jobs[MAX_RANGES];
    bm_thread *threads[MAX_RANGES] = {0};
    uint64_t ranges = bm_min_u64(bm_processor_count(), MAX_RANGES);
    ranges = bm_max_u64(1, bm_min_u64(ranges, count / bm_max_u64(min_per_range, 1)));
    for (uint64_t i = 0; i < ranges; i++)
        jobs[i] = (range_job){body, user, count * i / ranges, count * (i + 1) / ranges};
    for (uint64_t i = 1; i < ranges; i++)
        if (bm_thread_start(&threads[i], run_range, &jobs[i], NULL) != BM_OK)
            run_range(&jobs[i]); // no thread to be had: do it here
    run_range(&jobs[0]);
    for (uint64_t i = 1; i < ranges; i++)
        bm_thread_join(&threads[i]);
}

typedef struct copy_job {
    uint8_t *to;
    const uint8_t *from;
    uint64_t size;
} copy_job;

static void copy_range(void *user, uint64_t begin, uint64_t end)
{
    const copy_job *job = user;
    const uint64_t at = begin * COPY_BYTES, length = bm_min_u64(end * COPY_BYTES, job->size) - at;
    memcpy(job->to + at, job->from + at, (size_t)length);
}

void bm_parallel_copy(void *to, const void *from, uint64_t size)
{
    copy_job job = {to, from, size};
    if (size < 2 * COPY_BYTES)
        memcpy(to, from, (size_t)size);
    else
        bm_parallel_for(bm_divide_up(size, COPY_BYTES), 1, copy_range, &job);
}
