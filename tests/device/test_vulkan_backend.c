// Facts of the Vulkan backend alone: its cache on disk, its count of driver objects, the blocks of small buffers, its
// staging memory, several instances at once, and that the validation layer, when the environment loads it, stays silent
// and would not have been. What every backend must do is tested in test_device.c.
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/thread.h"
#include "device/vulkan/vulkan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 3
#define COLS 5
#define STRIDE 8        // elements
#define HEADER_BYTES 40 // of a cache file

static const char *program; // argv[0], for tests that start processes
static char folder[512];    // the cache under test; removed before each test
static unsigned errors_logged;
static bool errors_are_wanted; // by a test that breaks a rule on purpose

static void log_line(void *user, bm_log_level level, const char *message)
{
    (void)user;
    if (level == BM_LOG_ERROR && !errors_are_wanted) {
        errors_logged++;
        fprintf(stderr, "log: %s\n", message);
    }
}
static const bm_log test_log = {.level = BM_LOG_TRACE, .write = log_line};

static bm_device *open_device(const char *cache_folder, bool separate_allocations)
{
    bm_device *device = NULL;
    bm_error error = {0};
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "vulkan";
    params.cache_folder = cache_folder;
    params.log = &test_log;
    params.separate_allocations = separate_allocations;
    if (bm_device_open(&device, &params, &error) != BM_OK)
        fail_msg("%s", error.message);
    return device;
}

static void check(bm_status status, const bm_error *error)
{
    if (status != BM_OK)
        fail_msg("%s: %s", bm_status_name(status), error->message);
}

static bool environment_has(const char *name, const char *part)
{
    const char *value = getenv(name);
    return value && strstr(value, part);
}

// The addition z = x + y of rows in three buffers; operands must be destroyed by the caller.
static bm_call add_call(bm_buffer *const operands[3], const bm_add_scalars *scalars)
{
    bm_call call = {.kernel = BM_KERNEL_ADD, .scalars = scalars, .groups = {1, 1, 1}};
    for (int i = 0; i < 3; i++) {
        call.buffers[i] = bm_buffer_view(operands[i]);
        call.types[i] = BM_DTYPE_F32;
    }
    return call;
}

// z = x + y on the device; true when every element is right.
static bool add_is_right(bm_device *device)
{
    bm_error e = {0};
    float x[ROWS][COLS], y[ROWS][COLS], z[ROWS][COLS] = {{0}};
    bm_buffer *buffers[3] = {NULL};
    bool right = true;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            x[r][c] = (float)(r + 1);
            y[r][c] = (float)c * 0.25f;
        }
    for (int i = 0; i < 3; i++)
        check(bm_buffer_create(device, ROWS * STRIDE * sizeof(float), "operand", &buffers[i], &e), &e);
    const uint64_t row = sizeof x[0];
    check(bm_upload_rows(device, bm_buffer_view(buffers[0]), STRIDE * 4, x, row, row, ROWS, &e), &e);
    check(bm_upload_rows(device, bm_buffer_view(buffers[1]), STRIDE * 4, y, row, row, ROWS, &e), &e);
    const bm_add_scalars scalars = {
        .rows = ROWS, .cols = COLS, .x_stride = STRIDE, .y_stride = STRIDE, .z_stride = STRIDE};
    const bm_call call = add_call(buffers, &scalars);
    check(bm_dispatch(device, &call, &e), &e);
    check(bm_download_rows(device, bm_buffer_view(buffers[2]), STRIDE * 4, z, row, row, ROWS, &e), &e);
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    check(bm_device_wait(device, &e), &e);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            right = right && z[r][c] == x[r][c] + y[r][c];
    return right;
}

// Opens a device, runs the kernel, closes; returns how many kernels were compiled.
static bool was_loaded; // whether the device took a cache from its file
static uint64_t compile_count(const char *cache_folder)
{
    bm_device *device = open_device(cache_folder, false);
    was_loaded = vk_state_of(device)->cache_loaded;
    assert_true(add_is_right(device));
    const uint64_t count = bm_device_compiled_kernels(device);
    bm_device_close(&device);
    return count;
}

// The path of the cache file, the only one beside its lock; bm_free it.
static char *cache_file(void)
{
    bm_name_list list = {0};
    bm_error e = {0};
    char *path = NULL;
    check(bm_folder_list(folder, &list, &e), &e);
    assert_int_equal(list.count, 2); // temporary files would count too
    for (uint32_t i = 0; i < list.count; i++)
        if (bm_ends_with(list.names[i], ".bin"))
            path = bm_path_join(folder, list.names[i]);
    bm_name_list_free(&list);
    assert_non_null(path);
    return path;
}

static void assert_is_whole(const char *path)
{
    char *bytes = NULL, hex[65];
    uint64_t size = 0;
    bm_error e = {0};
    check(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
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

static int clear_cache(void **state)
{
    (void)state;
    errors_logged = 0;
    errors_are_wanted = false;
    return bm_path_kind_of(folder) != BM_PATH_ABSENT && bm_folder_remove(folder, NULL) != BM_OK;
}

static int no_errors_logged(void **state)
{
    (void)state;
    return errors_logged != 0; // validation messages, and bm_device_close's when driver objects were not released
}

static void cache_second_open_compiles_nothing(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    assert_false(was_loaded);
    char *path = cache_file();
    assert_is_whole(path);
    bm_free(path);
    // lavapipe's cache holds nothing but its header: there the kernel is compiled again, and counted so. That the file was
    // read and the driver took it is seen there too.
    bm_device *device = open_device(NULL, false);
    const bool keeps_nothing = strstr(bm_device_get_info(device)->driver, "llvmpipe") != NULL;
    bm_device_close(&device);
    assert_int_equal(compile_count(folder), keeps_nothing ? 1 : 0);
    assert_true(was_loaded);
}

static void cache_truncated_file_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    char *path = cache_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    check(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t cuts[] = {0, 10, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 1, size - 1};
    for (size_t i = 0; i < BM_COUNT(cuts); i++) {
        check(bm_file_write_all(path, bytes, cuts[i], &e), &e);
        assert_int_equal(compile_count(folder), 1);
        assert_false(was_loaded);
        assert_is_whole(path);
    }
    bm_free(bytes);
    bm_free(path);
}

static void cache_changed_byte_is_replaced(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    char *path = cache_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    check(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t places[] = {0, 7, 8, HEADER_BYTES - 1, HEADER_BYTES, size - 1};
    for (size_t i = 0; i < BM_COUNT(places); i++) {
        bytes[places[i]] ^= 1;
        check(bm_file_write_all(path, bytes, size, &e), &e);
        bytes[places[i]] ^= 1;
        assert_int_equal(compile_count(folder), 1);
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
    assert_int_equal(compile_count(folder), 1);
    char *path = cache_file();
    memset(bytes + HEADER_BYTES, 0x5a, 100);
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, bytes + HEADER_BYTES, 100);
    bm_sha256_final(&hash, bytes + 8);
    check(bm_file_write_all(path, bytes, sizeof bytes, &e), &e);
    errors_are_wanted = true; // the layer may complain of the blob
    assert_int_equal(compile_count(folder), 1);
    assert_is_whole(path);
    bm_free(path);
}

static void cache_unwritable_folder_is_harmless(void **state)
{
    (void)state;
    bm_error e = {0};
    check(bm_folder_create(folder, true, &e), &e);
    char *file = bm_path_join(folder, "file");
    char *below = bm_path_join(file, "cache"); // no folder can be made below a file, by root neither
    check(bm_file_write_all(file, "x", 1, &e), &e);
    assert_int_equal(compile_count(below), 1);
    assert_int_equal(compile_count(below), 1);
    assert_int_equal(compile_count(NULL), 1);
    bm_free(file);
    bm_free(below);
}

static void cache_shared_by_processes_stays_whole(void **state)
{
    (void)state;
    pid_t workers[3];
    for (size_t i = 0; i < BM_COUNT(workers); i++) {
        workers[i] = fork();
        assert_int_not_equal(workers[i], -1);
        if (workers[i] == 0) {
            execl(program, program, "worker", folder, (char *)NULL);
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

static void handles_return_to_their_count(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL, false);
    assert_true(add_is_right(device)); // makes the pipeline and the staging memory
    const uint64_t before = bm_device_live_handles(device);
    for (int i = 0; i < 5; i++)
        assert_true(add_is_right(device));
    assert_int_equal(bm_device_live_handles(device), before);
    bm_device_close(&device); // its log is checked by the teardown
}

// Small buffers of a long run, with one in sixteen that stays: the room of the others is used again.
static void blocks_reuse_the_room_of_dead_buffers(void **state)
{
    (void)state;
    enum { ROUNDS = 40, KEPT = ROUNDS };
    bm_device *device = open_device(NULL, false);
    bm_error e = {0};
    bm_buffer *kept[KEPT] = {NULL}, *passing[16] = {NULL};
    uint64_t most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        check(bm_buffer_create(device, 5000, "kept", &kept[round], &e), &e);
        for (size_t i = 0; i < BM_COUNT(passing); i++)
            check(bm_buffer_create(device, 700000, "passing", &passing[i], &e), &e);
        most = bm_max_u64(most, bm_device_live_handles(device) - (uint64_t)round);
        for (size_t i = 0; i < BM_COUNT(passing); i++)
            bm_buffer_destroy(&passing[i]);
        check(bm_device_wait(device, &e), &e);
        if (round == 0) // 11 MB fit one block: no more is ever needed
            assert_true(most < 40);
    }
    assert_true(most < 40);
    for (int i = 0; i < KEPT; i++)
        bm_buffer_destroy(&kept[i]);
    bm_device_close(&device);
}

static void blocks_give_no_byte_twice(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    bm_device *device = open_device(NULL, false);
    bm_error e = {0};
    static bm_buffer *buffers[COUNT];
    static uint32_t back[COUNT][4];
    uint64_t size = 1;
    for (int i = 0; i < COUNT; i++, size = size * 48271 % 300007) // sizes from 1 byte to 300 kB, 45 MB in all
        check(bm_buffer_create(device, size, "one of many", &buffers[i], &e), &e);
    for (int i = 0; i < COUNT; i += 3)
        bm_buffer_destroy(&buffers[i]);
    check(bm_device_wait(device, &e), &e);
    for (int i = 0; i < COUNT; i += 3, size = size * 48271 % 300007)
        check(bm_buffer_create(device, size + 1, "one of many", &buffers[i], &e), &e);
    for (int i = 0; i < COUNT; i++)
        check(bm_fill(device, bm_buffer_view(buffers[i]), 1000u + (uint32_t)i, &e), &e);
    for (int i = 0; i < COUNT; i++) { // the ends of a buffer would show a neighbour's number
        const bm_view whole = bm_buffer_view(buffers[i]);
        check(bm_download(device, bm_view_part(whole, 0, 8), back[i], 8, &e), &e);
        check(bm_download(device, bm_view_part(whole, whole.size - 16, 8), &back[i][2], 8, &e), &e);
    }
    check(bm_device_wait(device, &e), &e);
    for (int i = 0; i < COUNT; i++)
        for (int word = 0; word < 4; word++)
            assert_int_equal(back[i][word], 1000 + i);
    for (int i = 0; i < COUNT; i++)
        bm_buffer_destroy(&buffers[i]);
    bm_device_close(&device);
}

// More than the staging memory holds, in rows of every kind; what is no padding (behind the next 16 bytes) survives.
static void staging_wraps_and_spares_neighbours(void **state)
{
    (void)state;
    static const struct {
        uint64_t row_bytes, dst_stride, src_stride, num_rows;
    } cases[] = {
        {1 << 20, 1 << 20, 1 << 20, 70},          // dense, longer than the ring
        {1000001, 1000016, 1000001, 40},          // padded to 16 bytes
        {999999, 1000064, 1000003, 40},           // a slice of wider rows
        {9u << 20, (9u << 20) + 32, 9u << 20, 5}, // rows longer than a piece
        {4, 16, 4, 100000},                       // short rows
        {4, 32, 4, 1000},                         // a slice of short rows
    };
    bm_device *device = open_device(NULL, true);
    bm_error e = {0};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint64_t rows = cases[i].num_rows, stride = cases[i].dst_stride, bytes = cases[i].row_bytes;
        const uint64_t size = 16 + rows * stride, src_bytes = (rows - 1) * cases[i].src_stride + bytes;
        bm_buffer *buffer = NULL;
        uint8_t *src = bm_alloc(src_bytes, 1), *back = bm_alloc_zero(size, 1);
        assert_true(src && back);
        for (uint64_t b = 0; b < src_bytes; b++)
            src[b] = (uint8_t)(b * 31 + b / 251);
        check(bm_buffer_create(device, size, "wide", &buffer, &e), &e);
        const bm_view whole = bm_buffer_view(buffer), body = bm_view_part(whole, 16, size - 16);
        check(bm_fill(device, whole, 0xabababab, &e), &e);
        check(bm_upload_rows(device, body, stride, src, cases[i].src_stride, bytes, rows, &e), &e);
        check(bm_download(device, whole, back, size, &e), &e);
        check(bm_device_wait(device, &e), &e);
        for (uint64_t b = 0; b < 16; b++)
            assert_int_equal(back[b], 0xab);
        for (uint64_t r = 0; r < rows; r++) {
            const uint8_t *row = back + 16 + r * stride;
            assert_memory_equal(row, src + r * cases[i].src_stride, bytes);
            for (uint64_t b = bm_round_up(bytes, 16); b < stride; b++)
                assert_int_equal(row[b], 0xab);
        }
        memset(src, 0xcd, src_bytes); // and back in rows: what lies between the caller's rows stays
        check(bm_download_rows(device, body, stride, src, cases[i].src_stride, bytes, rows, &e), &e);
        check(bm_device_wait(device, &e), &e);
        for (uint64_t r = 0; r < rows; r++) {
            assert_memory_equal(src + r * cases[i].src_stride, back + 16 + r * stride, bytes);
            for (uint64_t b = bytes; r + 1 < rows && b < cases[i].src_stride; b++)
                assert_int_equal(src[r * cases[i].src_stride + b], 0xcd);
        }
        bm_free(src);
        bm_free(back);
        bm_buffer_destroy(&buffer);
    }
    bm_device_close(&device);
}

static void timestamps_may_be_recorded_again(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL, false);
    bm_error e = {0};
    double ns = -1, back = 1;
    for (int i = 0; i < 3; i++) {
        check(bm_timestamp_record(device, 0, &e), &e);
        assert_true(add_is_right(device));
        check(bm_timestamp_record(device, BM_MAX_TIMESTAMPS - 1, &e), &e);
        check(bm_device_wait(device, &e), &e);
        check(bm_timestamp_elapsed_ns(device, 0, BM_MAX_TIMESTAMPS - 1, &ns, &e), &e);
        check(bm_timestamp_elapsed_ns(device, BM_MAX_TIMESTAMPS - 1, 0, &back, &e), &e);
        assert_true(ns > 0 && ns < 60e9);
        assert_true(back == -ns);
    }
    assert_int_equal(bm_timestamp_elapsed_ns(device, 0, 1, &ns, &e), BM_E_ARGUMENT); // never recorded
    bm_device_close(&device);
}

// Systems time submissions: one that would grow beyond a quarter of a second, by the estimates, is ended before.
static void long_work_goes_in_several_submissions(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL, false);
    const vk_state *vulkan = vk_state_of(device);
    bm_error e = {0};
    bm_buffer *buffers[3] = {NULL};
    static const double seconds[] = {0, 0.1, 0.1, 0.1, 0, 5, 0, 0.2}; // the fourth, the sixth and the seventh begin one
    static const uint64_t submissions[] = {0, 0, 0, 1, 1, 2, 3, 3};
    for (int i = 0; i < 3; i++)
        check(bm_buffer_create(device, 256, "operand", &buffers[i], &e), &e);
    const bm_add_scalars scalars = {.rows = 1, .cols = 64, .x_stride = 64, .y_stride = 64, .z_stride = 64};
    bm_call call = add_call(buffers, &scalars);
    check(bm_device_wait(device, &e), &e);
    const uint64_t before = vulkan->submitted;
    for (size_t i = 0; i < BM_COUNT(seconds); i++) {
        call.seconds = seconds[i];
        check(bm_dispatch(device, &call, &e), &e);
        assert_int_equal(vulkan->submitted - before, submissions[i]);
    }
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    bm_device_close(&device);
}

// An instance without a log has no messenger functions; it must not take them away from one that has.
static void listing_beside_an_open_device_is_harmless(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL, false), *second = open_device(NULL, false);
    bm_device_params params;
    bm_device_list list = {0};
    bm_error e = {0};
    bm_device_params_init(&params);
    check(bm_device_list_create(&params, &list, &e), &e);
    bm_device_list_free(&list);
    assert_true(add_is_right(device));
    bm_device_close(&device);
    assert_true(add_is_right(second));
    bm_device_close(&second);
}

static void open_and_add(void *user)
{
    bool *right = user;
    bm_device_params params;
    bm_device *device = NULL;
    bm_device_params_init(&params);
    params.spec = "vulkan";
    if (bm_device_open(&device, &params, NULL) == BM_OK)
        *right = add_is_right(device);
    bm_device_close(&device);
}

static void devices_of_several_threads_do_not_meet(void **state)
{
    (void)state;
    bm_thread *threads[4] = {NULL};
    bool right[4] = {false};
    bm_error e = {0};
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        check(bm_thread_start(&threads[i], open_and_add, &right[i], &e), &e);
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        bm_thread_join(&threads[i]);
    for (size_t i = 0; i < BM_COUNT(threads); i++)
        assert_true(right[i]);
}

// With the layer in place, a broken rule reaches the log and the count: so silence elsewhere means something.
static void validation_message_is_counted(void **state)
{
    (void)state;
    if (!environment_has("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"))
        skip();
    bm_device *device = open_device(NULL, false);
    const uint64_t before = vk_validation_messages();
    VkQueryPool pool = VK_NULL_HANDLE;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 0}; // must be greater than 0
    errors_are_wanted = true;
    if (vk_state_of(device)->api.vkCreateQueryPool(vk_state_of(device)->device, &info, NULL, &pool) == VK_SUCCESS &&
        pool)
        vk_state_of(device)->api.vkDestroyQueryPool(vk_state_of(device)->device, pool, NULL);
    assert_true(vk_validation_messages() > before);
    errors_are_wanted = false;
    bm_device_close(&device);
}

// GPU-assisted validation sees a write behind a buffer that has memory of its own.
static void write_out_of_bounds_is_reported(void **state)
{
    (void)state;
    if (!environment_has("VK_LAYER_ENABLES", "GPU_ASSISTED"))
        skip();
    bm_device *device = open_device(NULL, true);
    bm_error e = {0};
    bm_buffer *buffers[3] = {NULL};
    const uint64_t sizes[3] = {8192, 8192, 256};
    for (int i = 0; i < 3; i++)
        check(bm_buffer_create(device, sizes[i], "operand", &buffers[i], &e), &e);
    const bm_add_scalars scalars = {.rows = 1, .cols = 128, .x_stride = 128, .y_stride = 128, .z_stride = 128};
    const bm_call call = add_call(buffers, &scalars); // z has room for 64 columns
    const uint64_t before = vk_validation_messages();
    errors_are_wanted = true;
    check(bm_dispatch(device, &call, &e), &e);
    check(bm_device_wait(device, &e), &e);
    assert_true(vk_validation_messages() > before);
    errors_are_wanted = false;
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    bm_device_close(&device);
}

static bool vulkan_is_here(void)
{
    bm_device_params params;
    bm_device_list list = {0};
    bool here = false;
    bm_device_params_init(&params);
    if (bm_device_list_create(&params, &list, NULL) != BM_OK)
        return false;
    for (uint32_t i = 0; i < list.num_devices; i++)
        here = here || (list.devices[i].usable && strcmp(list.devices[i].backend, "vulkan") == 0);
    bm_device_list_free(&list);
    return here;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define FACT(function) cmocka_unit_test_setup_teardown(function, clear_cache, no_errors_logged)
        FACT(cache_second_open_compiles_nothing),
        FACT(cache_truncated_file_is_replaced),
        FACT(cache_changed_byte_is_replaced),
        FACT(cache_of_foreign_bytes_is_harmless),
        FACT(cache_unwritable_folder_is_harmless),
        FACT(cache_shared_by_processes_stays_whole),
        FACT(handles_return_to_their_count),
        FACT(blocks_reuse_the_room_of_dead_buffers),
        FACT(blocks_give_no_byte_twice),
        FACT(staging_wraps_and_spares_neighbours),
        FACT(timestamps_may_be_recorded_again),
        FACT(long_work_goes_in_several_submissions),
        FACT(listing_beside_an_open_device_is_harmless),
        FACT(devices_of_several_threads_do_not_meet),
        FACT(validation_message_is_counted),
        FACT(write_out_of_bounds_is_reported),
#undef FACT
    };
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        return compile_count(argv[2]) <= 1 ? 0 : 1;
    if (!vulkan_is_here()) {
        printf("skipped: no Vulkan device\n");
        return 77;
    }
    program = argv[0];
    snprintf(folder, sizeof folder, "%s/vulkan-cache-%ld", BM_BINARY_DIR, (long)getpid());
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)clear_cache(NULL);
    return failed;
}
