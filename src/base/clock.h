// Time: a monotonic clock for measuring and a wall clock for records.
#ifndef BM_BASE_CLOCK_H
#define BM_BASE_CLOCK_H

#include <stdint.h>

uint64_t bm_clock_ns(void); // monotonic, unspecified origin
// Seconds since bm_clock_ns was begin_ns.
static inline double bm_clock_seconds_since(uint64_t begin_ns)
{
    return (double)(bm_clock_ns() - begin_ns) * 1e-9;
}
// What this process took of processors, all threads together, unspecified origin. Where the system does not tell finely: bm_clock_ns.
uint64_t bm_clock_processors_ns(void);
void bm_clock_utc_text(char out[21]); // "2026-11-24T12:34:56Z"
void bm_clock_sleep_ms(uint32_t milliseconds);

#endif
