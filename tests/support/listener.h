// listener: whoever is told of progress; it counts the reports and may stop the work in one of them.
#ifndef BM_TESTS_LISTENER_H
#define BM_TESTS_LISTENER_H

#include "base/progress.h"

typedef struct listener {
    uint32_t reports, stop_at; // stop_at 0: never
} listener;

static inline int hear(void *user, const bm_progress_report *report)
{
    listener *l = user;
    (void)report;
    return ++l->reports != l->stop_at;
}

#endif
