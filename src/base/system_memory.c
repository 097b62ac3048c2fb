// Linux tells of memory in files of text: /proc/meminfo and /proc/self/status in kB, control groups in bytes, of which each
// bounds those below it.
#include "base/system_memory.h"

#include "base/process.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define MAX_TEXT 16384

// Whole files are short. False: there is none.
static bool read_text(const char *root, const char *path, char out[MAX_TEXT])
{
    char *whole = bm_format("%s%s", root, path);
    FILE *file = whole ? fopen(whole, "rb") : NULL;
    bm_free(whole);
    if (!file)
        return false;
    out[fread(out, 1, MAX_TEXT - 1, file)] = '\0';
    fclose(file);
    return true;
}

// The number behind a name at the beginning of a line; `absent` where there is no such line or no number ("max").
static uint64_t number_of(const char *text, const char *name, uint64_t absent)
{
    const size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) != 0)
            continue;
        char digits[24] = "";
        uint64_t value = absent;
        return sscanf(line + length, " %23[0-9]", digits) == 1 && bm_parse_u64(digits, &value) ? value : absent;
    }
    return absent;
}

// What one group leaves; pages of files that were not used of late can be taken from it.
static uint64_t left_in_group(const char *root, const char *folder, const char *limit, const char *usage,
                              const char *reclaimable)
{
    char text[MAX_TEXT], *path = bm_format("%s/%s", folder, limit);
    uint64_t most = UINT64_MAX, used = 0, files = 0;
    if (path && read_text(root, path, text))
        most = number_of(text, "", UINT64_MAX);
    bm_free(path);
    if (most == UINT64_MAX)
        return UINT64_MAX;
    path = bm_format("%s/%s", folder, usage);
    if (path && read_text(root, path, text))
        used = number_of(text, "", 0);
    bm_free(path);
    path = bm_format("%s/memory.stat", folder);
    if (path && read_text(root, path, text))
        files = number_of(text, reclaimable, 0);
    bm_free(path);
    used -= bm_min_u64(used, files);
    return most - bm_min_u64(most, used);
}

// What the group of this path and those above it leave. path is cut short.
static uint64_t left_in_groups(const char *root, const char *mount, char *path, bool is_second_version)
{
    uint64_t least = UINT64_MAX;
    while (true) {
        char *folder = bm_format("%s%s", mount, path);
        if (!folder)
            return least;
        least = bm_min_u64(least, is_second_version
                                      ? left_in_group(root, folder, "memory.max", "memory.current", "inactive_file ")
                                      : left_in_group(root, folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                      "total_inactive_file "));
        bm_free(folder);
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

// A line is NUMBER:CONTROLLERS:PATH; the second version has no controllers.
static uint64_t left_by_control_groups(const char *root)
{
    char text[MAX_TEXT];
    uint64_t least = UINT64_MAX;
    if (!read_text(root, "/proc/self/cgroup", text))
        return least;
    for (char *line = text; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (path) {
            *path++ = '\0';
            controllers++;
            if (*controllers == '\0')
                least = bm_min_u64(least, left_in_groups(root, "/sys/fs/cgroup", path, true));
            else if (bm_control_group_names_memory(controllers))
                least = bm_min_u64(least, left_in_groups(root, "/sys/fs/cgroup/memory", path, false));
        }
        line = end ? end + 1 : NULL;
    }
    return least;
}

uint64_t bm_system_available_below(const char *root)
{
    char text[MAX_TEXT];
    if (!read_text(root, "/proc/meminfo", text))
        return 0;
    const uint64_t kilobytes = number_of(text, "MemAvailable:", 0);
    return bm_min_u64(kilobytes < UINT64_MAX / 1024 ? kilobytes * 1024 : 0, left_by_control_groups(root));
}

#ifdef _WIN32
#include <windows.h>
#include <psapi.h>

uint64_t bm_system_available_bytes(void)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : 0;
}

static PROCESS_MEMORY_COUNTERS own_counters(void)
{
    PROCESS_MEMORY_COUNTERS counters = {.cb = sizeof counters};
    if (!K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters))
        counters = (PROCESS_MEMORY_COUNTERS){0};
    return counters;
}

uint64_t bm_process_resident_bytes(void)
{
    return own_counters().WorkingSetSize;
}

uint64_t bm_process_peak_bytes(void)
{
    return own_counters().PeakWorkingSetSize;
}
#else
#include <sys/resource.h>

uint64_t bm_system_available_bytes(void)
{
    return bm_system_available_below("");
}

static uint64_t own_kilobytes(const char *name)
{
    char text[MAX_TEXT];
    return read_text("", "/proc/self/status", text) ? number_of(text, name, 0) * 1024 : 0;
}

uint64_t bm_process_resident_bytes(void)
{
    return own_kilobytes("VmRSS:");
}

// Not by getrusage where there is another way: it begins with what the parent had when it made this process.
uint64_t bm_process_peak_bytes(void)
{
    struct rusage usage;
    const uint64_t bytes = own_kilobytes("VmHWM:");
    if (bytes > 0 || getrusage(RUSAGE_SELF, &usage) != 0)
        return bytes;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}
#endif
