// Memory of this machine and of this process, as the system tells it.
#ifndef BM_BASE_SYSTEM_MEMORY_H
#define BM_BASE_SYSTEM_MEMORY_H

#include "base/base.h"

// What processes could take now without pushing others out, at most what the control groups leave that this process is in.
// 0: the system does not say.
uint64_t bm_system_available_bytes(void);
// The same on Linux, by the files below root instead of /: proc/meminfo, proc/self/cgroup, sys/fs/cgroup.
uint64_t bm_system_available_below(const char *root);

// Of this process in physical memory: now, and at most so far. 0: unknown.
uint64_t bm_process_resident_bytes(void);
uint64_t bm_process_peak_bytes(void);

#endif
