#include "support/folders.h"

#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

static void stop(const char *what)
{
    perror(what);
    abort();
}

char *support_folder_create(void)
{
    const char *root = getenv("TMPDIR");
    char *path = bm_path_join(root && root[0] ? root : "/tmp", "bitmill-test-XXXXXX");
    if (!path || !mkdtemp(path))
        stop("support: cannot create a temporary folder");
    return path;
}

void support_folder_remove(char **folder)
{
    bm_error err;
    if (!*folder)
        return;
    if (bm_folder_remove(*folder, &err) != BM_OK)
        fprintf(stderr, "support: %s\n", err.message);
    bm_free(*folder);
    *folder = NULL;
}

bool support_folder_has(const char *folder, const char *name)
{
    char *path = bm_path_join(folder, name);
    const bool there = path && bm_path_kind_of(path) != BM_PATH_ABSENT;
    bm_free(path);
    return there;
}

uint32_t support_folder_count(const char *folder)
{
    bm_name_list list = {0};
    bm_error err = {0};
    if (bm_folder_list(folder, &list, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    const uint32_t count = list.count;
    bm_name_list_free(&list);
    return count;
}

char *support_file_write(const char *folder, const char *name, const void *bytes, size_t length)
{
    char *path = bm_path_join(folder, name);
    FILE *file = path ? fopen(path, "wb") : NULL; // not by the functions under test
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        stop("support: cannot write a file");
    return path;
}

char *support_file_read(const char *folder, const char *name, uint64_t *size)
{
    bm_error err = {0};
    char *bytes = NULL, *path = bm_path_join(folder, name);
    if (!path || bm_file_read_all(path, UINT64_C(1) << 30, &bytes, size, &err) != BM_OK) {
        fprintf(stderr, "support: %s\n", err.message);
        abort();
    }
    bm_free(path);
    return bytes;
}

char *support_data_find(const char *name)
{
    const char *folder = getenv("BITMILL_DATA");
    char *path = bm_path_join(folder && folder[0] ? folder : BM_SOURCE_DIR "/../shared/data", name);
    if (path && bm_path_kind_of(path) == BM_PATH_ABSENT) {
        bm_free(path);
        path = NULL;
    }
    return path;
}
