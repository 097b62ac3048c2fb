// Facts of the OpenCL backend alone: its cache on disk, its count of driver objects, its staging ring, its words for a
// kernel that does not build, and CLBlast. What every backend must do is tested in test_device.c.
#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "device/opencl/opencl.h"

#include <math.h>
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
#define STRIDE 8 // elements

static const char *program; // argv[0], for tests that start processes
static char folder[512];    // the cache under test; removed before each test
static unsigned errors_logged;

static void log_line(void *user, bm_log_level level, const char *message)
{
    (void)user;
    if (level == BM_LOG_ERROR) {
        errors_logged++;
        fprintf(stderr, "log: %s\n", message);
    }
}
static const bm_log test_log = {.level = BM_LOG_TRACE, .write = log_line};

static bm_device *open_device(const char *cache_folder)
{
    bm_device *device = NULL;
    bm_error error = {0};
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "opencl";
    params.cache_folder = cache_folder;
    params.log = &test_log;
    if (bm_device_open(&device, &params, &error) != BM_OK)
        fail_msg("%s", error.message);
    return device;
}

static void check(bm_status status, const bm_error *error)
{
    if (status != BM_OK)
        fail_msg("%s: %s", bm_status_name(status), error->message);
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
    bm_call call = {.kernel = BM_KERNEL_ADD, .scalars = &scalars, .groups = {1, 1, 1}};
    for (int i = 0; i < 3; i++) {
        call.buffers[i] = bm_buffer_view(buffers[i]);
        call.types[i] = BM_DTYPE_F32;
    }
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
static uint64_t compile_count(const char *cache_folder)
{
    bm_device *device = open_device(cache_folder);
    assert_true(add_is_right(device));
    const uint64_t count = bm_device_compiled_kernels(device);
    bm_device_close(&device);
    return count;
}

// The path of the only file in the cache; bm_free it.
static char *only_file(void)
{
    bm_name_list list = {0};
    bm_error e = {0};
    check(bm_folder_list(folder, &list, &e), &e);
    assert_int_equal(list.count, 1); // temporary files would count too
    char *path = bm_path_join(folder, list.names[0]);
    bm_name_list_free(&list);
    assert_non_null(path);
    return path;
}

static int clear_cache(void **state)
{
    (void)state;
    errors_logged = 0;
    return bm_path_kind_of(folder) != BM_PATH_ABSENT && bm_folder_remove(folder, NULL) != BM_OK;
}

static int no_errors_logged(void **state)
{
    (void)state;
    return errors_logged != 0; // bm_device_close logs one when driver objects were not released
}

static void cache_second_open_compiles_nothing(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    assert_int_equal(compile_count(folder), 0);
}

static void cache_truncated_file_is_compiled_again(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    char *path = only_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    check(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t cuts[] = {0, 10, 48, 49, size / 2, size - 1};
    for (size_t i = 0; i < BM_COUNT(cuts); i++) {
        check(bm_file_write_all(path, bytes, cuts[i], &e), &e);
        assert_int_equal(compile_count(folder), 1);
        assert_int_equal(compile_count(folder), 0); // it was replaced
    }
    bm_free(bytes);
    bm_free(path);
}

static void cache_changed_byte_is_compiled_again(void **state)
{
    (void)state;
    assert_int_equal(compile_count(folder), 1);
    char *path = only_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    check(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t places[] = {0, 8, 16, 48, size / 2, size - 1};
    for (size_t i = 0; i < BM_COUNT(places); i++) {
        bytes[places[i]] ^= 1;
        check(bm_file_write_all(path, bytes, size, &e), &e);
        bytes[places[i]] ^= 1;
        assert_int_equal(compile_count(folder), 1);
    }
    bm_free(bytes);
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
    bm_free(only_file());
    assert_int_equal(compile_count(folder), 0);
}

static void handles_return_to_their_count(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL);
    bm_error e = {0};
    double ns = -1;
    assert_true(add_is_right(device)); // makes the pipeline and the staging ring
    const uint64_t before = bm_device_live_handles(device);
    for (int i = 0; i < 5; i++)
        assert_true(add_is_right(device));
    assert_int_equal(bm_device_live_handles(device), before);
    for (int i = 0; i < 3; i++) { // a slot may be recorded again
        check(bm_timestamp_record(device, 0, &e), &e);
        assert_true(add_is_right(device));
        check(bm_timestamp_record(device, 1, &e), &e);
    }
    assert_int_equal(bm_device_live_handles(device), before + 2);
    check(bm_device_wait(device, &e), &e);
    check(bm_timestamp_elapsed_ns(device, 0, 1, &ns, &e), &e);
    assert_true(ns > 0 && ns < 60e9);
    assert_int_equal(bm_timestamp_elapsed_ns(device, 0, 2, &ns, &e), BM_E_ARGUMENT); // never recorded
    bm_device_close(&device); // its log is checked by the teardown
}

// More than the ring holds, in rows of every kind, with unrelated bytes between that must survive.
static void staging_ring_wraps(void **state)
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
        {4, 64, 4, 1000},
    };
    bm_device *device = open_device(NULL);
    bm_error e = {0};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint64_t rows = cases[i].num_rows, stride = cases[i].dst_stride, bytes = cases[i].row_bytes;
        const uint64_t size = 16 + rows * stride, src_bytes = (rows - 1) * cases[i].src_stride + bytes;
        bm_buffer *buffer = NULL;
        uint8_t *src = bm_alloc(src_bytes, 1), *back = bm_alloc(size, 1);
        assert_true(src && back);
        for (uint64_t b = 0; b < src_bytes; b++)
            src[b] = (uint8_t)(b * 31 + b / 251);
        check(bm_buffer_create(device, size, "wide", &buffer, &e), &e);
        const bm_view whole = bm_view_part(bm_buffer_view(buffer), 0, bm_round_up(size, 16));
        check(bm_fill(device, whole, 0xabababab, &e), &e);
        check(bm_upload_rows(device, bm_view_part(whole, 16, size - 16), stride, src, cases[i].src_stride, bytes, rows,
                             &e),
              &e);
        memset(back, 0, size);
        check(bm_download(device, whole, back, size, &e), &e);
        check(bm_device_wait(device, &e), &e);
        for (uint64_t b = 0; b < 16; b++)
            assert_int_equal(back[b], 0xab);
        for (uint64_t r = 0; r < rows; r++) {
            const uint8_t *row = back + 16 + r * stride;
            assert_memory_equal(row, src + r * cases[i].src_stride, bytes);
            for (uint64_t b = bm_round_up(bytes, 16); b < stride; b++) // up to there it is padding: undefined
                assert_int_equal(row[b], 0xab);
        }
        // And back in rows: what lies between the rows of the caller stays.
        memset(src, 0xcd, src_bytes);
        check(bm_download_rows(device, bm_view_part(whole, 16, size - 16), stride, src, cases[i].src_stride, bytes,
                               rows, &e),
              &e);
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

// 2,000 uploads of four bytes: more than the queue of segments holds; the source is reused at once.
static void staging_ring_takes_many_small_uploads(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL);
    bm_error e = {0};
    bm_buffer *buffer = NULL;
    static uint32_t back[2000 * 4];
    check(bm_buffer_create(device, sizeof back, "small", &buffer, &e), &e);
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t word = i * 2654435761u;
        check(bm_upload(device, bm_view_part(bm_buffer_view(buffer), (uint64_t)i * 16, 4), &word, 4, &e), &e);
        word = 0;
    }
    check(bm_download(device, bm_buffer_view(buffer), back, sizeof back, &e), &e);
    check(bm_device_wait(device, &e), &e);
    for (uint32_t i = 0; i < 2000; i++)
        assert_int_equal(back[i * 4], i * 2654435761u);
    bm_buffer_destroy(&buffer);
    bm_device_close(&device);
}

static void build_failure_gives_the_drivers_words(void **state)
{
    (void)state;
    bm_device *device = open_device(NULL);
    bm_error e = {0};
    const bm_call call = {.kernel = BM_KERNEL_ADD}; // behind device.c's back: GROUP is 0
    assert_int_equal(bm_backend_opencl.prepare(device, &call, &e), BM_E_DEVICE);
    assert_non_null(strstr(e.message, "add does not build"));
    assert_null(strchr(e.message, '\n'));
    assert_int_equal(bm_device_compiled_kernels(device), 0);
    assert_true(add_is_right(device)); // the device goes on
    bm_device_close(&device);
}

static void clblast_product_is_the_plain_loop(void **state)
{
    (void)state;
    enum { M = 37, N = 21, K = 65, A_STRIDE = 68, B_STRIDE = 72, C_STRIDE = 24 };
    static float a[M][A_STRIDE], b[N][B_STRIDE], c[M][C_STRIDE];
    bm_device *device = open_device(NULL);
    bm_error e = {0};
    bm_random random;
    bm_buffer *buffer = NULL;
    bm_random_init(&random, 7, 1);
    for (int r = 0; r < M; r++)
        for (int k = 0; k < A_STRIDE; k++)
            a[r][k] = k < K ? (float)(2.0 * bm_random_double(&random) - 1.0) : NAN;
    for (int r = 0; r < N; r++)
        for (int k = 0; k < B_STRIDE; k++)
            b[r][k] = k < K ? (float)(2.0 * bm_random_double(&random) - 1.0) : NAN;
    check(bm_buffer_create(device, sizeof a + sizeof b + sizeof c, "operands", &buffer, &e), &e);
    const bm_view whole = bm_buffer_view(buffer);
    const bm_product gemm = {.m = M,
                             .n = N,
                             .k = K,
                             .a_stride = A_STRIDE,
                             .b_stride = B_STRIDE,
                             .c_stride = C_STRIDE,
                             .a = bm_view_part(whole, sizeof c, sizeof a), // offsets other than zero
                             .b = bm_view_part(whole, sizeof c + sizeof a, sizeof b),
                             .c = bm_view_part(whole, 0, sizeof c)};
    check(bm_upload(device, gemm.a, a, sizeof a, &e), &e);
    check(bm_upload(device, gemm.b, b, sizeof b, &e), &e);
    check(bm_fill(device, gemm.c, 0x7fc00000u, &e), &e); // NaN: what is not written shows
    if (!bm_device_has_product(device)) {
        assert_int_equal(ocl_clblast_gemm(device, &gemm, &e), BM_E_DEVICE);
        assert_non_null(strstr(e.message, "libclblast1"));
        bm_buffer_destroy(&buffer);
        bm_device_close(&device);
        skip();
    }
    check(bm_device_product(device, &gemm, &e), &e);
    check(bm_download(device, gemm.c, c, sizeof c, &e), &e);
    check(bm_device_wait(device, &e), &e);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)a[i][k] * b[j][k];
                magnitude += fabs((double)a[i][k] * b[j][k]);
            }
            // A float32 dot product of K terms in any order: K * 2^-24 * sum |a||b|, and one rounding.
            if (!(fabs(c[i][j] - sum) <= (K + 1) * 0x1p-24 * magnitude))
                fail_msg("c[%d][%d] = %g, expected %g", i, j, (double)c[i][j], sum);
        }
    bm_buffer_destroy(&buffer);
    bm_device_close(&device);
}

static bool opencl_is_here(void)
{
    bm_device_params params;
    bm_device_list list = {0};
    bool here = false;
    bm_device_params_init(&params);
    if (bm_device_list_create(&params, &list, NULL) != BM_OK)
        return false;
    for (uint32_t i = 0; i < list.num_devices; i++)
        here = here || (list.devices[i].usable && strcmp(list.devices[i].backend, "opencl") == 0);
    bm_device_list_free(&list);
    return here;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define FACT(function) cmocka_unit_test_setup_teardown(function, clear_cache, no_errors_logged)
        FACT(cache_second_open_compiles_nothing),
        FACT(cache_truncated_file_is_compiled_again),
        FACT(cache_changed_byte_is_compiled_again),
        FACT(cache_unwritable_folder_is_harmless),
        FACT(cache_shared_by_processes_stays_whole),
        FACT(handles_return_to_their_count),
        FACT(staging_ring_wraps),
        FACT(staging_ring_takes_many_small_uploads),
        FACT(build_failure_gives_the_drivers_words),
        FACT(clblast_product_is_the_plain_loop),
#undef FACT
    };
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        return compile_count(argv[2]) <= 1 ? 0 : 1;
    if (!opencl_is_here()) {
        printf("skipped: no OpenCL device\n");
        return 77;
    }
    program = argv[0];
    snprintf(folder, sizeof folder, "%s/opencl-cache-%ld", BM_BINARY_DIR, (long)getpid());
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)clear_cache(NULL);
    return failed;
}
