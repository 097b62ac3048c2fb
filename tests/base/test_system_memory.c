// What the system's files say of memory, by folders that look like them.
#include "support/unit.h"

#include "base/file.h"
#include "base/system_memory.h"
#include "support/folders.h"

#include <string.h>

typedef struct text_file {
    const char *path, *text;
} text_file;

static uint64_t available(const text_file *files, size_t count)
{
    bm_error err;
    char *root = support_folder_create();
    static const char *const folders[] = {"proc",
                                          "proc/self",
                                          "sys",
                                          "sys/fs",
                                          "sys/fs/cgroup",
                                          "sys/fs/cgroup/a",
                                          "sys/fs/cgroup/a/b",
                                          "sys/fs/cgroup/memory",
                                          "sys/fs/cgroup/memory/a"};
    for (size_t i = 0; i < BM_COUNT(folders); i++) {
        char *path = bm_path_join(root, folders[i]);
        assert_int_equal(bm_folder_create(path, true, &err), BM_OK);
        bm_free(path);
    }
    for (size_t i = 0; i < count; i++) {
        char *path = bm_path_join(root, files[i].path);
        assert_int_equal(bm_file_write_all(path, files[i].text, strlen(files[i].text), &err), BM_OK);
        bm_free(path);
    }
    const uint64_t bytes = bm_system_available_below(root);
    support_folder_remove(&root);
    return bytes;
}

#define MEMINFO                                                                                                        \
    {                                                                                                                  \
        "proc/meminfo", "MemTotal:       24000000 kB\nMemFree:  5 kB\nMemAvailable:    8000 kB\n"                      \
    }

static void the_machine_says_it(void **state)
{
    (void)state;
    const text_file files[] = {MEMINFO};
    assert_true(available(files, 1) == 8000 * 1024);
    assert_true(available(files, 0) == 0);
    const text_file broken[] = {{"proc/meminfo", "MemAvailable: many\n"}};
    assert_true(available(broken, 1) == 0);
}

// Each group bounds those below it; pages of files count as free.
static void control_groups_bound_it(void **state)
{
    (void)state;
    const text_file files[] = {MEMINFO,
                               {"proc/self/cgroup", "0::/a/b\n"},
                               {"sys/fs/cgroup/a/b/memory.max", "max\n"},
                               {"sys/fs/cgroup/a/b/memory.current", "700000\n"},
                               {"sys/fs/cgroup/a/memory.max", "1000000\n"},
                               {"sys/fs/cgroup/a/memory.current", "800000\n"},
                               {"sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 300000\nactive_file 1\n"}};
    assert_true(available(files, BM_COUNT(files)) == 500000);
    assert_true(available(files, 4) == 8000 * 1024);
    const text_file first[] = {MEMINFO,
                               {"proc/self/cgroup", "5:cpu:/x\n4:memory:/a\n"},
                               {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000000\n"},
                               {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1500000\n"}};
    assert_true(available(first, BM_COUNT(first)) == 500000);
    const text_file full[] = {MEMINFO,
                              {"proc/self/cgroup", "0::/\n"},
                              {"sys/fs/cgroup/memory.max", "1000\n"},
                              {"sys/fs/cgroup/memory.current", "2000\n"}};
    assert_true(available(full, BM_COUNT(full)) == 0);
}

static void this_process_has_memory(void **state)
{
    (void)state;
    enum { BYTES = 32 << 20 };
    const uint64_t before = bm_process_resident_bytes();
    char *memory = bm_alloc(BYTES, 1);
    memset(memory, 1, BYTES);
    assert_true(bm_process_peak_bytes() >= before + BYTES / 2);
    assert_true(bm_process_peak_bytes() >= bm_process_resident_bytes() / 2);
    bm_free(memory);
    assert_true(bm_system_available_bytes() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_says_it),
        cmocka_unit_test(control_groups_bound_it),
        cmocka_unit_test(this_process_has_memory),
    };
    return cmocka_run_group_tests_name("system_memory", tests, NULL, NULL);
}
