#include "device/fixture.h"

#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 3, COLS = 5, STRIDE = 8 };

const char *device_spec;
support_log device_log;
char cache_folder[512];
bm_device *test_device;
bm_error failure;

bool device_fixture_begin(const char *spec)
{
    device_spec = spec;
    support_log_init(&device_log);
    snprintf(cache_folder, sizeof cache_folder, "%s/%s-cache-%ld", BM_BINARY_DIR, spec, (long)getpid());
    if (support_device_open(spec, &device_log, &test_device, &failure) != BM_OK)
        fprintf(stderr, "%s\n", failure.message); // each test will say it again
    const bool is_here = test_device || failure.status != BM_OK;
    bm_device_close(&test_device);
    return is_here;
}

int begin_test(void **state)
{
    (void)state;
    device_log.num_complaints = 0;
    return bm_path_kind_of(cache_folder) != BM_PATH_ABSENT && bm_folder_remove(cache_folder, NULL) != BM_OK;
}

int end_test(void **state)
{
    const bool complained = device_log.num_complaints != 0;
    return begin_test(state) != 0 || complained;
}

int begin_test_on_device(void **state)
{
    if (begin_test(state) != 0)
        return 1;
    test_device = open_with(NULL, true);
    return 0;
}

int end_test_on_device(void **state)
{
    bm_device_close(&test_device);
    return end_test(state);
}

bm_device *open_with(const char *cache, bool separate_allocations)
{
    bm_device *opened = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = device_spec;
    params.cache_folder = cache;
    params.log = &device_log.log;
    params.separate_allocations = separate_allocations;
    MUST(bm_device_open(&opened, &params, &failure));
    return opened;
}

bm_buffer *make_buffer(uint64_t size)
{
    bm_buffer *buffer = NULL;
    MUST(bm_buffer_create(test_device, size, "test", &buffer, &failure));
    return buffer;
}

bm_buffer *make_values(uint32_t bad)
{
    float values[16];
    for (uint32_t i = 0; i < 16; i++)
        values[i] = i == bad ? NAN : (float)i;
    bm_buffer *buffer = make_buffer(sizeof values);
    MUST(bm_upload(test_device, bm_buffer_view(buffer), values, sizeof values, &failure));
    return buffer;
}

bm_status convert(bm_view x, bm_view y, uint32_t count, const char *subject)
{
    const bm_convert_scalars scalars = {1, count, count, count};
    const bm_call call = {.kernel = BM_KERNEL_CONVERT,
                          .buffers = {x, y},
                          .types = {BM_DTYPE_F32, BM_DTYPE_F32},
                          .scalars = &scalars,
                          .groups = {1, 1, 1},
                          .subject = subject};
    return bm_dispatch(test_device, &call, &failure);
}

bm_call add_call(bm_buffer *const operands[3], const bm_add_scalars *scalars)
{
    bm_call call = {.kernel = BM_KERNEL_ADD, .scalars = scalars, .groups = {1, 1, 1}};
    for (int i = 0; i < 3; i++) {
        call.buffers[i] = bm_buffer_view(operands[i]);
        call.types[i] = BM_DTYPE_F32;
    }
    return call;
}

bool add_is_right(bm_device *on)
{
    bm_error e = {0}; // threads add too
    float x[ROWS][COLS], y[ROWS][COLS], z[ROWS][COLS] = {{0}};
    bm_buffer *buffers[3] = {NULL};
    bool right = true;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            x[r][c] = (float)(r + 1);
            y[r][c] = (float)c * 0.25f;
        }
    for (int i = 0; i < 3; i++)
        assert_ok(bm_buffer_create(on, ROWS * STRIDE * sizeof(float), "operand", &buffers[i], &e), &e);
    const uint64_t row = sizeof x[0];
    assert_ok(bm_upload_rows(on, bm_buffer_view(buffers[0]), STRIDE * 4, x, row, row, ROWS, &e), &e);
    assert_ok(bm_upload_rows(on, bm_buffer_view(buffers[1]), STRIDE * 4, y, row, row, ROWS, &e), &e);
    const bm_add_scalars scalars = {
        .rows = ROWS, .cols = COLS, .x_stride = STRIDE, .y_stride = STRIDE, .z_stride = STRIDE, .factor = 1};
    const bm_call call = add_call(buffers, &scalars);
    assert_ok(bm_dispatch(on, &call, &e), &e);
    assert_ok(bm_download_rows(on, bm_buffer_view(buffers[2]), STRIDE * 4, z, row, row, ROWS, &e), &e);
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    assert_ok(bm_device_wait(on, &e), &e);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++)
            right = right && z[r][c] == x[r][c] + y[r][c];
    return right;
}

uint64_t compile_count(const char *cache)
{
    bm_device *opened = open_with(cache, false);
    assert_true(add_is_right(opened));
    const uint64_t count = bm_device_compiled_kernels(opened);
    bm_device_close(&opened);
    return count;
}

const bm_backend *real;
bm_backend faulty;

void make_faulty(void)
{
    real = test_device->backend;
    faulty = *real;
    test_device->backend = &faulty;
}

int device_fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t num_tests)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s SPEC\n", argv[0]);
        return 2;
    }
    return device_fixture_begin(argv[1]) ? _cmocka_run_group_tests(argv[0], tests, num_tests, NULL, NULL)
                                         : SUPPORT_SKIP;
}
