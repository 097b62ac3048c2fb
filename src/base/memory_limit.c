// How much of the machine's memory this process may use: containers get less of it by Linux's control groups.
#include "base/process.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

// A number in a file of one line; "max", no file and anything else: no limit.
static uint64_t read_limit(const char *root, const char *below, const char *group, const char *file)
{
    char line[32] = "";
    uint64_t limit = UINT64_MAX;
    char *path = bm_format("%s%s%s/%s", root, below, group, file);
    FILE *stream = path ? fopen(path, "r") : NULL;
    if (stream) {
        if (fgets(line, sizeof line, stream)) {
            line[strcspn(line, "\n")] = '\0';
            if (!bm_parse_u64(line, &limit))
                limit = UINT64_MAX;
        }
        fclose(stream);
    }
    bm_free(path);
    return limit;
}

// The least limit of a group and of all above it. group: a path from "/" on, which is cut.
static uint64_t least_limit(const char *root, const char *below, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        char *slash = strrchr(group, '/');
        least = bm_min_u64(least, read_limit(root, below, group, file));
        if (!slash)
            return least;
        *slash = '\0';
    }
}

bool bm_control_group_names_memory(const char *words)
{
    for (const char *at = words; *at;) {
        const size_t length = strcspn(at, ",");
        if (length == 6 && strncmp(at, "memory", 6) == 0)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

// A line is NUMBER:CONTROLLERS:PATH; version 2 has no controllers there. In a container the path may be the host's, which is not
// to be seen; what stands at the root is the container's own then.
uint64_t bm_process_memory_limit(const char *groups, const char *root)
{
    char line[4096];
    uint64_t limit = UINT64_MAX;
    FILE *stream = fopen(groups, "r");
    while (stream && fgets(line, sizeof line, stream)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        controllers++;
        *path++ = '\0';
        if (*controllers == '\0')
            limit = bm_min_u64(limit, least_limit(root, "", path, "memory.max"));
        else if (bm_control_group_names_memory(controllers))
            limit = bm_min_u64(limit, least_limit(root, "/memory", path, "memory.limit_in_bytes"));
    }
    if (stream)
        fclose(stream);
    return limit;
}
