// Clocks.
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include <windows.h>

uint64_t bm_clock_ns(void)
{
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    const uint64_t c = (uint64_t)count.QuadPart, f = (uint64_t)frequency.QuadPart;
    return c / f * UINT64_C(1000000000) + c % f * UINT64_C(1000000000) / f;
}

uint64_t bm_clock_processors_ns(void)
{
    return bm_clock_ns(); // GetProcessTimes goes by 15 ms
}

void bm_clock_sleep_ms(uint32_t milliseconds)
{
    Sleep(milliseconds);
}

static void utc_now(struct tm *out)
{
    const time_t now = time(NULL);
    gmtime_s(out, &now);
}
#else
uint64_t bm_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t bm_clock_processors_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0)
        return bm_clock_ns();
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void bm_clock_sleep_ms(uint32_t milliseconds)
{
    const struct timespec pause = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000L};
    nanosleep(&pause, NULL);
}

static void utc_now(struct tm *out)
{
    const time_t now = time(NULL);
    gmtime_r(&now, out);
}
#endif

void bm_clock_utc_text(char out[21])
{
    struct tm now;
    memset(&now, 0, sizeof now);
    utc_now(&now);
    if (strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &now) == 0)
        out[0] = '\0';
}
