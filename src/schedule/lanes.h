// How long work takes that goes on side by side: arithmetic on seconds, for estimates.
#ifndef BM_SCHEDULE_LANES_H
#define BM_SCHEDULE_LANES_H

#include "base/base.h"

// Seconds of each lane, as if it were alone.
typedef struct bm_lanes {
    double device;  // of the device and of the thread that feeds it and takes what it has done
    double reading; // ahead, by as many threads as there are processors
    double writing; // of one thread; up to BM_EMIT_THREADS share it
    double busy;    // of processors, for all three
} bm_lanes;

// Beside a device of its own the longest lane is what it takes. A device that is made of the processors shares them with the other
// lanes: then it is the processors' time for all of them, and pace of it passes in a second.
//
//   pace  above 0; 0: the device is none of the processors'
double bm_lanes_seconds(const bm_lanes *lanes, double pace, uint32_t processors);

// The pace at which a device worked that took so many seconds: of processors' seconds beside it, those of one thread that then wrote
// are none of its own. Between a tenth and all of the processors.
double bm_lanes_pace(const bm_lanes *lanes, uint32_t processors);

// What is left to wait for when so many seconds of work that goes on meanwhile have passed.
double bm_lanes_rest(double seconds, double passed);

// Of values, which are sorted; 0 where there are none.
double bm_median(double *values, uint32_t count);

#endif
