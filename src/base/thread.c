// Threads over POSIX threads or Windows.
#ifdef __linux__
#define _GNU_SOURCE // sched_getaffinity
#endif
#include "base/thread.h"

#ifdef _WIN32
#include <windows.h>

struct bm_thread {
    HANDLE handle;
    void (*run)(void *);
    void *user;
};
struct bm_mutex {
    CRITICAL_SECTION section;
};
struct bm_condition {
    CONDITION_VARIABLE variable;
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
static bool mutex_init(bm_mutex *m)
{
    return InitializeCriticalSection(&m->section), true;
}
static void mutex_end(bm_mutex *m)
{
    DeleteCriticalSection(&m->section);
}
void bm_mutex_lock(bm_mutex *m)
{
    EnterCriticalSection(&m->section);
}
void bm_mutex_unlock(bm_mutex *m)
{
    LeaveCriticalSection(&m->section);
}
static bool condition_init(bm_condition *c)
{
    return InitializeConditionVariable(&c->variable), true;
}
static void condition_end(bm_condition *c)
{
    (void)c;
}
void bm_condition_wait(bm_condition *c, bm_mutex *m)
{
    SleepConditionVariableCS(&c->variable, &m->section, INFINITE);
}
void bm_condition_broadcast(bm_condition *c)
{
    WakeAllConditionVariable(&c->variable);
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
struct bm_mutex {
    pthread_mutex_t mutex;
};
struct bm_condition {
    pthread_cond_t condition;
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
static bool mutex_init(bm_mutex *m)
{
    return pthread_mutex_init(&m->mutex, NULL) == 0;
}
static void mutex_end(bm_mutex *m)
{
    pthread_mutex_destroy(&m->mutex);
}
void bm_mutex_lock(bm_mutex *m)
{
    pthread_mutex_lock(&m->mutex);
}
void bm_mutex_unlock(bm_mutex *m)
{
    pthread_mutex_unlock(&m->mutex);
}
static bool condition_init(bm_condition *c)
{
    return pthread_cond_init(&c->condition, NULL) == 0;
}
static void condition_end(bm_condition *c)
{
    pthread_cond_destroy(&c->condition);
}
void bm_condition_wait(bm_condition *c, bm_mutex *m)
{
    pthread_cond_wait(&c->condition, &m->mutex);
}
void bm_condition_broadcast(bm_condition *c)
{
    pthread_cond_broadcast(&c->condition);
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

bm_mutex *bm_mutex_create(void)
{
    bm_mutex *mutex = bm_alloc_zero(1, sizeof *mutex);
    if (mutex && !mutex_init(mutex)) {
        bm_free(mutex);
        mutex = NULL;
    }
    return mutex;
}

void bm_mutex_destroy(bm_mutex **mutex)
{
    if (!mutex || !*mutex)
        return;
    mutex_end(*mutex);
    bm_free(*mutex);
    *mutex = NULL;
}

bm_condition *bm_condition_create(void)
{
    bm_condition *condition = bm_alloc_zero(1, sizeof *condition);
    if (condition && !condition_init(condition)) {
        bm_free(condition);
        condition = NULL;
    }
    return condition;
}

void bm_condition_destroy(bm_condition **condition)
{
    if (!condition || !*condition)
        return;
    condition_end(*condition);
    bm_free(*condition);
    *condition = NULL;
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
