// Where the time of a run goes: spans on tracks, one track a thread. The run's own track has no gaps: what has passed
// since its last span goes to a phase, and what of it was spent waiting for another thread to a phase of waiting.
//
// Memory is bounded: when a track is full, neighbouring spans of the same phase and block become one. Sums stay what
// they are, and spans of a track never overlap.
#ifndef BM_BASE_TIMELINE_H
#define BM_BASE_TIMELINE_H

#include "base/base.h"

typedef enum bm_track_id { BM_TRACK_RUN, BM_TRACK_READING, BM_TRACK_WRITING, BM_NUM_TRACKS } bm_track_id;

typedef struct bm_span {
    const char *phase; // lives longer than the timeline
    int32_t block;     // -1: of none
    uint64_t begin_ns, end_ns;
} bm_span;

#define BM_MAX_SPANS 2048

typedef struct bm_track {
    uint32_t count;
    uint64_t grain_ns; // in so long a time the order of spans is not kept
    bm_span spans[BM_MAX_SPANS];
} bm_track;

typedef struct bm_timeline {
    uint64_t start_ns, clock_ns; // of the run's track: its beginning, the end of its last span
    int32_t block;               // that the run works on; -1: none
    uint64_t waited_ns[BM_NUM_TRACKS];
    bm_track tracks[BM_NUM_TRACKS]; // each is one thread's
} bm_timeline;

bm_timeline *bm_timeline_create(void); // starts now; NULL: out of memory. bm_free it
const char *bm_track_name(bm_track_id track);
const char *bm_track_waiting(bm_track_id track); // the phase of waiting for it: "wait for reading"

// Of the functions below a NULL timeline is nobody who looks. A span on a track; phase NULL: its name.
void bm_timeline_add(bm_timeline *timeline, bm_track_id track, const char *phase, int32_t block, uint64_t begin_ns,
                     uint64_t end_ns);
// The run waited for a track; for bm_timeline_spend.
void bm_timeline_wait(bm_timeline *timeline, bm_track_id track, uint64_t begin_ns, uint64_t end_ns);
// The run's time since the last call: seconds[BM_TRACK_RUN] went to the phase, the others to waiting for their tracks.
void bm_timeline_spend(bm_timeline *timeline, const char *phase, double seconds[BM_NUM_TRACKS]);
// The same shared by two phases: part (0 to 1) of what was not spent waiting goes to the first.
void bm_timeline_spend_two(bm_timeline *timeline, const char *first, double part, const char *second,
                           double seconds[BM_NUM_TRACKS], double *second_seconds);
int32_t bm_timeline_block(const bm_timeline *timeline);
// Leaves at most so many spans on each track, for a picture.
void bm_timeline_reduce(bm_timeline *timeline, uint32_t max_spans);

#endif
