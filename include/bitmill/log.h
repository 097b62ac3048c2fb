// Log and progress: what the library tells its caller while it works.
//
// A level is defined by how often it may speak: error and warning when something is wrong (a warning says what the user
// can do), info once a run or phase, debug once a block or linear, trace once an API call.
#ifndef BITMILL_LOG_H
#define BITMILL_LOG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bm_log_level {
    BM_LOG_ERROR = 0,
    BM_LOG_WARNING,
    BM_LOG_INFO,
    BM_LOG_DEBUG,
    BM_LOG_TRACE,
} bm_log_level;

// Where messages go. Pass a pointer to one down; NULL is silence.
typedef struct bm_log {
    bm_log_level level;                                                 // messages above this level are not formatted
    void (*write)(void *user, bm_log_level level, const char *message); // one line, no newline at its end
    void *user;                                                         // handed to write
} bm_log;

// One report of progress within a phase.
typedef struct bm_progress_report {
    const char *phase;          // "compile kernels", "calibrate", "quantize", "evaluate", ...
    uint64_t done, total;       // units of work of this phase; total 0: unknown
    const char *unit;           // what done counts: "kernels", "blocks", "tokens"
    uint32_t block, num_blocks; // the block in work, counted from 0; num_blocks 0: none
    double tokens_per_second;   // 0: unknown
    double seconds_left;        // of this phase; negative: unknown
} bm_progress_report;

// Called at every step of a phase, on the caller's thread: that may be thousands of times a second, so a function that
// does more than look at a flag must limit itself. Return non-zero to go on; 0 asks the library to stop cleanly with
// BM_E_CANCELLED. A NULL report function is allowed.
typedef struct bm_progress {
    int (*report)(void *user, const bm_progress_report *report);
    void *user;
} bm_progress;

#ifdef __cplusplus
}
#endif
#endif
