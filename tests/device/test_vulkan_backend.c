// Facts of the Vulkan backend alone: its cache on disk, several instances at once, and that the validation layer, when the environment loads it, stays silent and would not have been. What every backend
// must do is tested in test_device*.c.
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "device/fixture.h"
#include "device/vulkan/vulkan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER_BYTES 40 // of a cache file

static const char *program; // argv[0], for tests that start processes

static bool environment_has(const char *name, const char *part)
{
    const char *value = getenv(name);
    return value && strstr(value, part);
}

// compile_count with the cache; and whether the device took one from its file.
static bool was_loaded;
static uint64_t compile_with_cache(void)
{
    test_device = open_with(cache_folder, false);
    was_loaded = vk_state_of(test_device)->cache_loaded;
    assert_true(add_is_right(test_device));
    const uint64_t count = bm_device_compiled_kernels(test_device);
    bm_device_close(&test_device);
    return count;
}

// The path of the cache file, the only one beside its lock; bm_free it.
static char *cache_file(void)
{
    bm_name_list list = {0};
    bm_error e = {0};
    char *path = NULL;
    assert_ok(bm_folder_list(cache_folder, &list, &e), &e);
    assert_int_equal(list.count, 2); // temporary files would count too
    for (uint32_t i = 0; i < list.count; i++)
        if (bm_ends_with(list.names[i], ".bin"))
            path = bm_path_join(cache_folder, list.names[i]);
    bm_name_list_free(&list);
    assert_non_null(path);
    return path;
}

static void assert_is_whole(const char *path)
{
    char *bytes = NULL, hex[65];
    uint64_t size = 0;
    bm_error e = {0};
    assert_ok(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    assert_true(size > HEADER_BYTES);
    assert_memory_equal(bytes, "bmvk0001", 8);
    bm_sha256_hex(bytes + HEADER_BYTES, (size_t)size - HEADER_BYTES, hex);
    for (int i = 0; i < 32; i++) {
        char two[3];
        snprintf(two, sizeof two, "%02x", (unsigned)(uint8_t)bytes[8 + i]);
        assert_memory_equal(two, hex + 2 * i, 2);
    }
    bm_free(bytes);
}

// Mesa's llvmpipe ends loops at so many rounds; no other driver is known to.
static void loops_are_limited_on_lavapipe(void **state)
{
    (void)state;
    test_device = open_with(NULL, false);
    const bm_device_info *info = bm_device_get_info(test_device);
    assert_int_equal(info->limits.max_loop_rounds, strstr(info->driver, "llvmpipe") ? 65535 : 0);
    bm_device_close(&test_device);
}

static void cache_second_open_compiles_nothing(void **state)
{
    (void)state;
    assert_int_equal(compile_with_cache(), 1);
    assert_false(was_loaded);
    char *path = cache_file();
    assert_is_whole(path);
    bm_free(path);
    // lavapipe's cache holds nothing but its header: there the kernel is compiled again, and counted so. That the file
    // was read and the driver took it is seen there too.
    test_device = open_with(NULL, false);
    const bool keeps_nothing = strstr(bm_device_get_info(test_device)->driver, "llvmpipe") != NULL;
    bm_device_close(&test_device);
    assert_int_equal(compile_with_cache(), keeps_nothing ? 1 : 0);
    assert_true(was_loaded);
}

static void cache_truncated_file_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(compile_count(cache_folder), 1);
    char *path = cache_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    assert_ok(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t cuts[] = {0, 10, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, size - 1};
    for (size_t i = 0; i < BM_COUNT(cuts); i++) {
        assert_ok(bm_file_write_all(path, bytes, cuts[i], &e), &e);
        assert_int_equal(compile_with_cache(), 1);
        assert_false(was_loaded);
        assert_is_whole(path);
    }
    bm_free(bytes);
    bm_free(path);
}

static void cache_changed_byte_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(compile_count(cache_folder), 1);
    char *path = cache_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    assert_ok(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t places[] = {0, 7, 8, HEADER_BYTES - 1, HEADER_BYTES, size - 1};
    for (size_t i = 0; i < BM_COUNT(places); i++) {
        bytes[places[i]] ^= 1;
        assert_ok(bm_file_write_all(path, bytes, size, &e), &e);
        bytes[places[i]] ^= 1;
        assert_int_equal(compile_with_cache(), 1);
        assert_false(was_loaded);
        assert_is_whole(path);
    }
    bm_free(bytes);
    bm_free(path);
}

// A whole file whose blob is not the driver's: the checksum is right, the driver must refuse it or make nothing of it.
static void cache_of_foreign_bytes_is_harmless(void **state)
{
    (void)state;
    uint8_t bytes[HEADER_BYTES + 100] = "bmvk0001";
    bm_error e = {0};
    bm_sha256 hash;
    assert_int_equal(compile_count(cache_folder), 1);
    char *path = cache_file();
    memset(bytes + HEADER_BYTES, 0x5a, 100);
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, bytes + HEADER_BYTES, 100);
    bm_sha256_final(&hash, bytes + 8);
    assert_ok(bm_file_write_all(path, bytes, sizeof bytes, &e), &e);
    assert_int_equal(compile_count(cache_folder), 1);
    device_log.num_complaints = 0; // the layer may complain of the blob
    assert_is_whole(path);
    bm_free(path);
}

static void cache_shared_by_processes_stays_whole(void **state)
{
    (void)state;
    pid_t workers[3];
    for (size_t i = 0; i < BM_COUNT(workers); i++) {
        workers[i] = fork();
        assert_int_not_equal(workers[i], -1);
        if (workers[i] == 0) {
            execl(program, program, "worker", cache_folder, (char *)NULL);
            _exit(127);
        }
    }
    for (size_t i = 0; i < BM_COUNT(workers); i++) {
        int exit_status = -1;
        assert_int_equal(waitpid(workers[i], &exit_status, 0), workers[i]);
        assert_int_equal(exit_status, 0);
    }
    char *path = cache_file();
    assert_is_whole(path);
    bm_free(path);
}

// An instance without a log has no messenger functions; it must not take them away from one that has.
static void listing_beside_an_open_device_is_harmless(void **state)
{
    (void)state;
    test_device = open_with(NULL, false);
    bm_device *second = open_with(NULL, false);
    bm_device_params params;
    bm_device_list list = {0};
    bm_error e = {0};
    bm_device_params_init(&params);
    assert_ok(bm_device_list_create(&params, &list, &e), &e);
    bm_device_list_free(&list);
    assert_true(add_is_right(test_device));
    bm_device_close(&test_device);
    assert_true(add_is_right(second));
    bm_device_close(&second);
}

static void open_and_add(void *user)
{
    bool *right = user;
    bm_device_params params;
    bm_device *opened = NULL;
    bm_device_params_init(&params);
    params.spec = "vulkan";
    if (bm_device_open(&opened, &params, NULL) == BM_OK)
        *right = add_is_right(opened);
    bm_device_close(&opened);
}

static void devices_of_several_threads_do_not_meet(void **state)
{
    (void)state;
    bm_thread *threads[4] = {NULL};
    bool right[4] = {false};
    bm_error e = {0};
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        assert_ok(bm_thread_start(&threads[i], open_and_add, &right[i], &e), &e);
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        bm_thread_join(&threads[i]);
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        assert_true(right[i]);
}

// Every kernel has one, before which the mode that keeps subnormal numbers is put; nothing is read behind a module's
// end.
static void execution_modes_are_found(void **state)
{
    (void)state;
    enum { NONE = 99, CAPABILITY = 2 << 16 | 17, MODE = 3 << 16 | 16 };
    static const struct {
        uint32_t words[10], count;
        size_t at;
    } cases[] = {
        {{0, 0, 0, 0, 0, CAPABILITY, 1, MODE, 4, 17}, 10, 7},
        {{0, 0, 0, 0, 0, MODE, 4, 17}, 8, 5},
        {{0, 0, 0, 0, 0, CAPABILITY, 1}, 7, NONE},
        {{0}, 5, NONE},
        {{0, 0, 0, 0, 0, 17, MODE, 4}, 8, NONE},         // an instruction of no words
        {{0, 0, 0, 0, 0, CAPABILITY, 1, MODE}, 8, NONE}, // cut
        {{0, 0, 0, 0, 0, 9 << 16 | 17, MODE}, 7, NONE},  // longer than the module
        {{0, 0, 0, 0, 0, 0xffffu << 16 | 16}, 6, NONE},  // cut behind its first word
    };
    size_t at;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const vk_module module = {cases[i].words, cases[i].count * 4};
        at = NONE;
        assert_int_equal(vk_find_entry_mode(&module, &at), cases[i].at != NONE);
        assert_int_equal(at, cases[i].at);
    }
    for (uint32_t kernel = 0; kernel < BM_NUM_KERNELS; kernel++)
        for (uint32_t variant = 0; variant < bm_kernel_table[kernel].num_variants; variant++) {
            const vk_module *module = &vk_modules[vk_first_module[kernel] + variant];
            if (module->words)
                assert_true(vk_find_entry_mode(module, &at));
        }
}

// With the layer in place, a broken rule reaches the log and the count: so silence elsewhere means something.
static void validation_message_is_counted(void **state)
{
    (void)state;
    if (!environment_has("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"))
        skip();
    test_device = open_with(NULL, false);
    const uint64_t before = vk_validation_messages();
    VkQueryPool pool = VK_NULL_HANDLE;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 0}; // must be greater than 0
    if (vk_state_of(test_device)->api.vkCreateQueryPool(vk_state_of(test_device)->device, &info, NULL, &pool) ==
            VK_SUCCESS &&
        pool)
        vk_state_of(test_device)->api.vkDestroyQueryPool(vk_state_of(test_device)->device, pool, NULL);
    assert_true(vk_validation_messages() > before);
    device_log.num_complaints = 0; // they were wanted
    bm_device_close(&test_device);
}

// GPU-assisted validation sees a write behind a buffer that has memory of its own.
static void write_out_of_bounds_is_reported(void **state)
{
    (void)state;
    if (!environment_has("VK_LAYER_ENABLES", "GPU_ASSISTED"))
        skip();
    test_device = open_with(NULL, true);
    bm_error e = {0};
    bm_buffer *buffers[3] = {NULL};
    const uint64_t sizes[3] = {8192, 8192, 256};
    for (int i = 0; i < 3; i++)
        assert_ok(bm_buffer_create(test_device, sizes[i], "operand", &buffers[i], &e), &e);
    const bm_add_scalars scalars = {
        .rows = 1, .cols = 128, .x_stride = 128, .y_stride = 128, .z_stride = 128, .factor = 1};
    const bm_call call = add_call(buffers, &scalars); // z has room for 64 columns
    const uint64_t before = vk_validation_messages();
    assert_ok(bm_dispatch(test_device, &call, &e), &e);
    assert_ok(bm_device_wait(test_device, &e), &e);
    assert_true(vk_validation_messages() > before);
    device_log.num_complaints = 0; // they were wanted
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    bm_device_close(&test_device);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        PLAIN(loops_are_limited_on_lavapipe),
        PLAIN(cache_second_open_compiles_nothing),
        PLAIN(cache_truncated_file_is_replaced),
        PLAIN(cache_changed_byte_is_replaced),
        PLAIN(cache_of_foreign_bytes_is_harmless),
        PLAIN(cache_shared_by_processes_stays_whole),
        PLAIN(listing_beside_an_open_device_is_harmless),
        PLAIN(devices_of_several_threads_do_not_meet),
        PLAIN(execution_modes_are_found),
        PLAIN(validation_message_is_counted),
        PLAIN(write_out_of_bounds_is_reported),
    };
    if (!device_fixture_begin("vulkan")) {
        printf("skipped: no Vulkan device\n");
        return SUPPORT_SKIP;
    }
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        return compile_count(argv[2]) <= 1 ? 0 : 1;
    program = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
