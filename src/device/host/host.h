// The host backend: plain C, the readable definition of every kernel and the reference in tests. It runs each dispatch
// at once. Elements of type `real` may also be float64 here; all arithmetic on them is in double, so with float64
// storage the host is the reference that other backends are compared with. It is no fast path.
#ifndef BM_HOST_HOST_H
#define BM_HOST_HOST_H

#include "device/backend.h"

// What a host kernel gets: pointers to its views, the storage type of each, its scalars (bm_NAME_scalars).
typedef struct host_call {
    void *buffers[BM_MAX_BUFFERS]; // NULL: optional and absent
    bm_dtype types[BM_MAX_BUFFERS];
    const void *scalars;
    uint32_t tunables[BM_MAX_TUNABLES]; // layout tunables (panel widths) matter to the host too
    uint32_t *status_word;
    uint32_t subject;
} host_call;

// Element i of a `real` buffer, and storing one (rounded once, half to even).
double host_load(const void *buffer, bm_dtype type, uint64_t i);
void host_store(void *buffer, bm_dtype type, uint64_t i, double value);
// count elements from i on, as doubles.
void host_load_row(const void *buffer, bm_dtype type, uint64_t i, uint64_t count, double *out);
// Writes code, subject and position into the status word, unless a report of this batch is there already.
void host_report(const host_call *call, uint32_t code, uint32_t position);

#endif
