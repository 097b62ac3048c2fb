#include "ops/fixture.h"

#include <stdio.h>

#define MAX_MADE 64

bm_device *test_device;
bm_error failure;
static bm_buffer *made[MAX_MADE];
static uint32_t num_made;

static int destroy_after_test(void **state)
{
    (void)state;
    destroy_tensors();
    bm_error err = {0};
    return bm_device_wait(test_device, &err) != BM_OK;
}

int run_on_device(int argc, char **argv, const struct CMUnitTest *tests, size_t num_tests)
{
    bm_error err = {0};
    support_log log;
    if (argc != 2) {
        fprintf(stderr, "usage: %s SPEC\n", argv[0]);
        return 2;
    }
    support_log_init(&log);
    if (support_device_open(argv[1], &log, &test_device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (!test_device)
        return SUPPORT_SKIP;
    printf("device: %s (%s)\n", bm_device_get_info(test_device)->name, bm_device_get_info(test_device)->driver);
    struct CMUnitTest *cleaned = bm_alloc(num_tests, sizeof *cleaned);
    for (size_t i = 0; cleaned && i < num_tests; i++) {
        cleaned[i] = tests[i];
        cleaned[i].teardown_func = destroy_after_test;
    }
    const int result = cleaned ? _cmocka_run_group_tests(argv[0], cleaned, num_tests, NULL, NULL) : 1;
    bm_free(cleaned);
    bm_device_close(&test_device);
    return result != 0 || log.num_complaints != 0;
}

static void remember(bm_buffer *buffer)
{
    assert_true(num_made < MAX_MADE);
    made[num_made++] = buffer;
}

bm_tensor make_tensor(uint64_t rows, uint64_t cols, const float *values)
{
    return make_typed(BM_DTYPE_F32, rows, cols, values);
}

bm_tensor make_typed(bm_dtype dtype, uint64_t rows, uint64_t cols, const void *values)
{
    bm_tensor tensor = {0};
    MUST(bm_tensor_create(test_device, dtype, rows, cols, "test", &tensor, &failure));
    remember(tensor.view.buffer);
    if (values)
        MUST(bm_tensor_upload(test_device, &tensor, values, &failure));
    else
        MUST(bm_fill(test_device, tensor.view, 0, &failure));
    return tensor;
}

bm_view make_integers(uint32_t count, const uint32_t *values)
{
    bm_buffer *buffer = NULL;
    MUST(bm_buffer_create(test_device, 4 * (uint64_t)count, "test integers", &buffer, &failure));
    remember(buffer);
    MUST(bm_upload(test_device, bm_buffer_view(buffer), values, 4 * (uint64_t)count, &failure));
    return bm_buffer_view(buffer);
}

void destroy_tensors(void)
{
    while (num_made > 0)
        bm_buffer_destroy(&made[--num_made]);
}

void read_tensor(const bm_tensor *tensor, float *values)
{
    MUST(bm_tensor_download(test_device, tensor, values, &failure));
    MUST(bm_device_wait(test_device, &failure));
}

void fill_normal(bm_random *random, uint64_t count, double scale, float *out)
{
    for (uint64_t i = 0; i < count; i++)
        out[i] = (float)(scale * bm_random_normal(random));
}
