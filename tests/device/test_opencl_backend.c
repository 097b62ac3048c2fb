// Facts of the OpenCL backend alone: its cache on disk, its words for a kernel that does not build, and CLBlast. What
// every backend must do is tested in test_device*.c.
#include "base/file.h"
#include "base/random.h"
#include "base/str.h"
#include "device/fixture.h"
#include "device/opencl/opencl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *program; // argv[0], for tests that start processes
// The path of the only file in the cache; bm_free it.
static char *only_file(void)
{
    bm_name_list list = {0};
    bm_error e = {0};
    assert_ok(bm_folder_list(cache_folder, &list, &e), &e);
    assert_int_equal(list.count, 1); // temporary files would count too
    char *path = bm_path_join(cache_folder, list.names[0]);
    bm_name_list_free(&list);
    assert_non_null(path);
    return path;
}

static void cache_second_open_compiles_nothing(void **state)
{
    (void)state;
    assert_int_equal(compile_count(cache_folder), 1);
    assert_int_equal(compile_count(cache_folder), 0);
}

static void cache_truncated_file_is_compiled_again(void **state)
{
    (void)state;
    assert_int_equal(compile_count(cache_folder), 1);
    char *path = only_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    assert_ok(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t cuts[] = {0, 10, 48, 49, size / 2, size - 1};
    for (size_t i = 0; i < BM_COUNT(cuts); i++) {
        assert_ok(bm_file_write_all(path, bytes, cuts[i], &e), &e);
        assert_int_equal(compile_count(cache_folder), 1);
        assert_int_equal(compile_count(cache_folder), 0); // it was replaced
    }
    bm_free(bytes);
    bm_free(path);
}

static void cache_changed_byte_is_compiled_again(void **state)
{
    (void)state;
    assert_int_equal(compile_count(cache_folder), 1);
    char *path = only_file(), *bytes = NULL;
    uint64_t size = 0;
    bm_error e = {0};
    assert_ok(bm_file_read_all(path, UINT32_MAX, &bytes, &size, &e), &e);
    const uint64_t places[] = {0, 8, 16, 48, size / 2, size - 1};
    for (size_t i = 0; i < BM_COUNT(places); i++) {
        bytes[places[i]] ^= 1;
        assert_ok(bm_file_write_all(path, bytes, size, &e), &e);
        bytes[places[i]] ^= 1;
        assert_int_equal(compile_count(cache_folder), 1);
    }
    bm_free(bytes);
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
    bm_free(only_file());
    assert_int_equal(compile_count(cache_folder), 0);
}

static void build_failure_gives_the_drivers_words(void **state)
{
    (void)state;
    test_device = open_with(NULL, false);
    bm_error e = {0};
    const bm_call call = {.kernel = BM_KERNEL_ADD}; // behind device.c's back: GROUP is 0
    ocl_pipeline *pipeline = NULL;
    assert_int_equal(ocl_pipeline_get(test_device, &call, &pipeline, &e), BM_E_DEVICE);
    assert_non_null(strstr(e.message, "add does not build"));
    assert_null(strchr(e.message, '\n'));
    assert_int_equal(bm_device_compiled_kernels(test_device), 0);
    assert_true(add_is_right(test_device)); // the device goes on
    bm_device_close(&test_device);
}

// The device's driver, which calls it a device of another type, with other extensions, at a screen or at none.
static struct {
    const ocl_api *real;
    cl_device_type type;
    const char *extensions;
    cl_bool is_timed;
} disguise;

static cl_int CL_API_CALL disguised_info(cl_device_id id, cl_device_info what, size_t size, void *value,
                                         size_t *size_out)
{
    const void *answer = NULL;
    size_t length = 0;
    if (what == CL_DEVICE_TYPE) {
        answer = &disguise.type;
        length = sizeof disguise.type;
    } else if (what == CL_DEVICE_EXTENSIONS) {
        answer = disguise.extensions;
        length = strlen(disguise.extensions) + 1;
    } else if (what == 0x4005) { // CL_DEVICE_KERNEL_EXEC_TIMEOUT_NV
        answer = &disguise.is_timed;
        length = sizeof disguise.is_timed;
    } else {
        return disguise.real->GetDeviceInfo(id, what, size, value, size_out);
    }
    if (value && size < length)
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, answer, length);
    if (size_out)
        *size_out = length;
    return CL_SUCCESS;
}

static void a_display_is_taken_as_attached_where_that_is_unknown(void **state)
{
    (void)state;
    static const struct {
        cl_device_type type;
        const char *extensions;
        cl_bool is_timed;
        bool attached;
    } cases[] = {
        {CL_DEVICE_TYPE_CPU, "", CL_FALSE, false},
        {CL_DEVICE_TYPE_GPU, "", CL_FALSE, true},
        {CL_DEVICE_TYPE_GPU, "cl_khr_fp16 cl_amd_device_attribute_query", CL_FALSE, true},
        {CL_DEVICE_TYPE_ACCELERATOR, "", CL_FALSE, true},
        {CL_DEVICE_TYPE_GPU, "cl_nv_device_attribute_query", CL_FALSE, false},
        {CL_DEVICE_TYPE_GPU, "cl_nv_device_attribute_query", CL_TRUE, true},
    };
    test_device = open_with(NULL, false);
    const ocl_state *opened = test_device->state;
    ocl_api api = *opened->cl;
    cl_platform_id platform = NULL;
    assert_int_equal(api.GetDeviceInfo(opened->id, CL_DEVICE_PLATFORM, sizeof(cl_platform_id), &platform, NULL),
                     CL_SUCCESS);
    api.GetDeviceInfo = disguised_info;
    disguise.real = opened->cl;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_device_info info;
        disguise.type = cases[i].type;
        disguise.extensions = cases[i].extensions;
        disguise.is_timed = cases[i].is_timed;
        ocl_device_describe(&api, platform, opened->id, 0, &info);
        assert_int_equal(info.limits.display_attached, cases[i].attached);
    }
    bm_device_close(&test_device);
}

static void clblast_product_is_the_plain_loop(void **state)
{
    (void)state;
    enum { M = 37, N = 21, K = 65, A_STRIDE = 68, B_STRIDE = 72, C_STRIDE = 24 };
    static float a[M][A_STRIDE], b[N][B_STRIDE], c[M][C_STRIDE];
    test_device = open_with(NULL, false);
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
    assert_ok(bm_buffer_create(test_device, sizeof a + sizeof b + sizeof c, "operands", &buffer, &e), &e);
    const bm_view whole = bm_buffer_view(buffer);
    bm_product gemm = {.m = M,
                       .n = N,
                       .k = K,
                       .a_stride = A_STRIDE,
                       .b_stride = B_STRIDE,
                       .c_stride = C_STRIDE,
                       .factor = 1,
                       .a = bm_view_part(whole, sizeof c, sizeof a), // offsets other than zero
                       .b = bm_view_part(whole, sizeof c + sizeof a, sizeof b),
                       .c = bm_view_part(whole, 0, sizeof c)};
    assert_ok(bm_upload(test_device, gemm.a, a, sizeof a, &e), &e);
    assert_ok(bm_upload(test_device, gemm.b, b, sizeof b, &e), &e);
    assert_ok(bm_fill(test_device, gemm.c, 0x7fc00000u, &e), &e); // NaN: what is not written shows
    if (!bm_device_has_product(test_device)) {
        assert_int_equal(ocl_clblast_gemm(test_device, &gemm, &e), BM_E_DEVICE);
        assert_non_null(strstr(e.message, "libclblast1"));
        bm_buffer_destroy(&buffer);
        bm_device_close(&test_device);
        skip();
    }
    assert_ok(bm_device_product(test_device, &gemm, &e), &e);
    gemm.factor = -0.25f; // three quarters are left
    gemm.adds = true;
    assert_ok(bm_device_product(test_device, &gemm, &e), &e);
    assert_ok(bm_download(test_device, gemm.c, c, sizeof c, &e), &e);
    assert_ok(bm_device_wait(test_device, &e), &e);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < K; k++) {
                sum += (double)a[i][k] * b[j][k];
                magnitude += fabs((double)a[i][k] * b[j][k]);
            }
            // Float32 dot products of K terms in any order: K * 2^-24 * sum |a||b| each, and two roundings.
            if (!(fabs(c[i][j] - 0.75 * sum) <= (1.25 * K + 3) * 0x1p-24 * magnitude))
                fail_msg("c[%d][%d] = %g, expected %g", i, j, (double)c[i][j], 0.75 * sum);
        }
    bm_buffer_destroy(&buffer);
    bm_device_close(&test_device);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        PLAIN(cache_second_open_compiles_nothing),
        PLAIN(cache_truncated_file_is_compiled_again),
        PLAIN(cache_changed_byte_is_compiled_again),
        PLAIN(cache_shared_by_processes_stays_whole),
        PLAIN(build_failure_gives_the_drivers_words),
        PLAIN(clblast_product_is_the_plain_loop),
        PLAIN(a_display_is_taken_as_attached_where_that_is_unknown),
    };
    if (!device_fixture_begin("opencl")) {
        printf("skipped: no OpenCL device\n");
        return SUPPORT_SKIP;
    }
    if (argc == 3 && strcmp(argv[1], "worker") == 0)
        return compile_count(argv[2]) <= 1 ? 0 : 1;
    program = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
