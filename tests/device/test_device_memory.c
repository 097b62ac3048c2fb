// Memory of every backend: how much destroyed buffers may hold, and that nothing is written or freed too late or too
// early when calls fail. The device's spec is the only argument.
#include "device/fixture.h"

static void pending_buffers_stay_below_a_bound(void **state)
{
    (void)state;
    enum { MIB = 1 << 20, SIZE = 3 * MIB, ROUNDS = 100 };
    bm_buffer *y = make_buffer(64);
    test_device->info.limits.memory_bytes = bm_min_u64(test_device->info.limits.memory_bytes, UINT64_C(256) * MIB);
    for (uint32_t i = 0; i < ROUNDS; i++) { // 300 MiB in all, and no wait
        bm_buffer *x = make_buffer(SIZE);
        MUST(bm_fill(test_device, bm_view_part(bm_buffer_view(x), 0, 64), i, &failure));
        MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 16, NULL));
        bm_buffer_destroy(&x);
    }
    assert_true(bm_device_peak_bytes(test_device) <= 64 + (256 / 16 + 2 * 3) * MIB);
    uint32_t word = 0;
    MUST(bm_download(test_device, bm_buffer_view(y), &word, 4, &failure));
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(word, ROUNDS - 1);
    assert_int_equal(bm_device_live_bytes(test_device), 64);
    bm_buffer_destroy(&y);
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(bm_device_live_bytes(test_device), 0);
}

// A large buffer's memory is that of the next one of its size; others release it rather than raise the peak, and so does a
// device without memory. Where buffers lie apart, so that checkers tell them apart, none is kept.
static void large_buffers_are_used_again(void **state)
{
    (void)state;
    enum { SIZE = 16 << 20 };
    if (test_device->backend->keeps_memory)
        skip(); // test_vulkan_memory
    bm_device *own = open_with(NULL, false);
    bm_buffer *x = NULL, *y = NULL;
    own->info.limits.memory_bytes = UINT64_C(64) * SIZE;
    MUST(bm_buffer_create(own, SIZE, "first", &x, &failure));
    const void *first = x->state;
    bm_buffer_destroy(&x);
    MUST(bm_device_wait(own, &failure));
    assert_int_equal(bm_device_live_bytes(own), 0);
    MUST(bm_buffer_create(own, SIZE, "second", &x, &failure));
    assert_ptr_equal(x->state, first);
    assert_string_equal(x->name, "second");
    assert_int_equal(bm_device_live_bytes(own), SIZE);
    assert_int_equal(bm_device_peak_bytes(own), SIZE);
    bm_buffer_destroy(&x);
    MUST(bm_device_wait(own, &failure));
    assert_int_equal(own->spare_bytes, SIZE);
    MUST(bm_buffer_create(own, 64, "small", &y, &failure));
    assert_int_equal(own->spare_bytes, 0); // with it more would be in use than ever was
    bm_buffer_destroy(&y);
    for (uint32_t i = 0; i < 6; i++) { // 6 of a 64th each: a 16th is kept
        bm_buffer *all[6] = {NULL};
        for (uint32_t k = 0; k < 6; k++)
            MUST(bm_buffer_create(own, SIZE, "many", &all[k], &failure));
        for (uint32_t k = 0; k < 6; k++)
            bm_buffer_destroy(&all[k]);
        MUST(bm_device_wait(own, &failure));
        assert_int_equal(own->spare_bytes, 4 * (uint64_t)SIZE);
    }
    bm_device_close(&own);
    x = make_buffer(SIZE);
    bm_buffer_destroy(&x);
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(test_device->spare_bytes, 0);
}

// Locking pages is slow: large ones are kept for the next of the same size, and never become memory of the device.
static void spare_host_memory_is_used_again(void **state)
{
    (void)state;
    enum { SIZE = 32 << 20 };
    bm_device *own = open_with(NULL, false);
    bm_buffer *x = NULL, *y = NULL;
    MUST(bm_host_buffer_create(own, SIZE, "first", &x, &failure));
    const void *first = x->state;
    assert_int_equal(own->host_bytes, SIZE);
    bm_buffer_destroy(&x);
    MUST(bm_device_wait(own, &failure));
    assert_int_equal(own->host_bytes, 0);
    assert_int_equal(own->spare_host_bytes, SIZE);
    MUST(bm_buffer_create(own, SIZE, "on the device", &y, &failure));
    assert_false(y->is_host || y->state == first);
    MUST(bm_host_buffer_create(own, SIZE, "second", &x, &failure));
    assert_ptr_equal(x->state, first);
    assert_int_equal(own->spare_host_bytes, 0);
    assert_int_equal(own->peak_host_bytes, SIZE);
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
    bm_device_close(&own);
}

// What is pending release is released first; nothing beyond that is taken.
static void memory_stays_within_what_is_allowed(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    bm_buffer *z = NULL;
    bm_device_limit_memory(test_device, 2 * SIZE, "--device-memory");
    bm_device_limit_memory(test_device, 3 * SIZE, "--host-memory"); // more than before: nothing changes
    assert_true(bm_device_get_info(test_device)->limits.memory_bytes == 2 * SIZE);
    bm_buffer *x = make_buffer(SIZE), *y = make_buffer(SIZE);
    assert_int_equal(bm_buffer_create(test_device, SIZE / 2, "third", &z, &failure), BM_E_MEMORY);
    assert_null(z);
    assert_string_equal(failure.message, "third: 0.5 MB of device memory beside the 2.1 MB that are taken, expected at "
                                         "most 2.1 MB in all, as --device-memory says");
    bm_buffer_destroy(&y);
    y = make_buffer(SIZE);
    assert_int_equal(bm_device_peak_bytes(test_device), 2 * SIZE);
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
    bm_device_size_work(test_device, SIZE); // what may be taken stays
    assert_true(bm_device_get_info(test_device)->limits.memory_bytes == SIZE);
    assert_true(bm_device_memory_bytes(test_device) == 2 * SIZE);
    bm_device_size_work(test_device, SIZE / 2);
    assert_true(bm_device_memory_bytes(test_device) == 2 * SIZE);
    x = make_buffer(2 * SIZE);
    bm_buffer_destroy(&x);
}

static int buffers_left; // for which there is memory

static bm_status scarce_create(bm_device *d, bm_buffer *buffer, bm_error *err)
{
    if (buffers_left == 0)
        return bm_fail(err, BM_E_DEVICE, "%s: no memory", buffer->name);
    buffers_left--;
    return real->buffer_create(d, buffer, err);
}

static void scarce_destroy(bm_device *d, bm_buffer *buffer)
{
    buffers_left++;
    real->buffer_destroy(d, buffer);
}

static void used_up_memory_is_freed_and_asked_again(void **state)
{
    (void)state;
    bm_buffer *x = NULL, *y = NULL, *z = NULL;
    make_faulty();
    faulty.buffer_create = scarce_create;
    faulty.buffer_destroy = scarce_destroy;
    buffers_left = 2;
    x = make_values(16);
    y = make_buffer(64);
    MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 16, NULL));
    bm_buffer_destroy(&x);
    x = make_buffer(64); // the memory of the one pending release
    assert_int_equal(bm_buffer_create(test_device, 64, "third", &z, &failure), BM_E_DEVICE);
    assert_null(z);
    assert_string_equal(failure.message, "third: no memory");
    float values[16] = {0};
    MUST(bm_download(test_device, bm_buffer_view(y), values, sizeof values, &failure));
    MUST(bm_device_wait(test_device, &failure));
    assert_true(values[15] == 15.0f);
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

// A function that fails at its n-th call.
static int calls_left;

static bm_status is_failing(const char *what, bm_error *err)
{
    return --calls_left == 0 ? bm_fail(err, BM_E_DEVICE, "%s: injected", what) : BM_OK;
}

static bm_status failing_download(bm_device *d, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                                  uint64_t row_bytes, uint64_t num_rows, bm_error *err)
{
    const bm_status status = is_failing("download", err);
    return status == BM_OK ? real->download_rows(d, src, src_stride, dst, dst_stride, row_bytes, num_rows, err)
                           : status;
}

static bm_status failing_dispatch(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    const bm_status status = is_failing("dispatch", err);
    return status == BM_OK ? real->dispatch(d, call, subject, barrier, err) : status;
}

static bm_status failing_submit(bm_device *d, bm_error *err)
{
    const bm_status status = is_failing("submit", err);
    return status == BM_OK ? real->submit(d, err) : status;
}

static bm_status failing_wait(bm_device *d, uint32_t status_word[4], bm_error *err)
{
    const bm_status status = is_failing("wait", err);
    return status == BM_OK ? real->wait(d, status_word, err) : status;
}

enum { NUM_DOWNLOADS = 5 };

// Downloads x into all destinations; stops at the first failure.
static bm_status download_all(bm_buffer *x, float *out[NUM_DOWNLOADS])
{
    bm_status status = BM_OK;
    for (int i = 0; i < NUM_DOWNLOADS && status == BM_OK; i++)
        status = bm_download(test_device, bm_buffer_view(x), out[i], 64, &failure);
    return status;
}

static void make_destinations(float *out[NUM_DOWNLOADS])
{
    for (int i = 0; i < NUM_DOWNLOADS; i++) {
        out[i] = bm_alloc_zero(16, sizeof(float));
        assert_non_null(out[i]);
    }
}

static void free_destinations(float *out[NUM_DOWNLOADS])
{
    for (int i = 0; i < NUM_DOWNLOADS; i++)
        bm_free(out[i]);
}

static void failed_download_leaves_none_pending(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16);
    make_faulty();
    faulty.download_rows = failing_download;
    for (int n = 1; n <= NUM_DOWNLOADS; n++) {
        float *out[NUM_DOWNLOADS];
        make_destinations(out);
        calls_left = n;
        assert_int_equal(download_all(x, out), BM_E_DEVICE);
        assert_string_equal(failure.message, "download: injected");
        for (int i = 0; i < NUM_DOWNLOADS; i++)
            assert_true(out[i][15] == (i + 1 < n ? 15.0f : 0.0f));
        free_destinations(out); // a sanitizer sees who still writes there
        MUST(bm_device_wait(test_device, &failure));
    }
    bm_buffer_destroy(&x);
}

static void any_failed_call_leaves_no_download_pending(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *y = make_buffer(64), *z = NULL;
    make_faulty();
    faulty.dispatch = failing_dispatch;
    faulty.submit = failing_submit;
    const bm_view no_view = {NULL, 0, 0};
    for (int kind = 0; kind < 5; kind++) {
        float *out[NUM_DOWNLOADS];
        make_destinations(out);
        MUST(download_all(x, out));
        calls_left = 1;
        const bm_status status = kind == 0   ? convert(bm_buffer_view(x), bm_buffer_view(y), 16, NULL)
                                 : kind == 1 ? bm_device_submit(test_device, &failure)
                                 : kind == 2 ? convert(no_view, bm_buffer_view(y), 16, NULL)
                                 : kind == 3 ? bm_fill(test_device, bm_view_part(bm_buffer_view(y), 8, 8), 0, &failure)
                                             : bm_buffer_create(test_device, UINT64_MAX, "huge", &z, &failure);
        assert_int_equal(status, kind < 2 ? BM_E_DEVICE : BM_E_ARGUMENT);
        for (int i = 0; i < NUM_DOWNLOADS; i++)
            assert_true(out[i][15] == 15.0f);
        free_destinations(out);
        MUST(bm_device_wait(test_device, &failure));
    }
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

static void failed_wait_leaves_no_download_pending(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16);
    float *out[NUM_DOWNLOADS];
    make_destinations(out);
    make_faulty();
    faulty.wait = failing_wait;
    MUST(download_all(x, out));
    calls_left = 1;
    assert_int_equal(bm_device_wait(test_device, &failure), BM_E_DEVICE);
    free_destinations(out);
    MUST(bm_device_wait(test_device, &failure));
    bm_buffer_destroy(&x);
}

static bool was_idle;

static void watched_idle(bm_device *d)
{
    was_idle = true;
    real->idle(d);
}

static void watched_destroy(bm_device *d, bm_buffer *buffer)
{
    assert_true(was_idle);
    real->buffer_destroy(d, buffer);
}

// The work is running when the wait fails: buffers must outlive it.
static void close_after_a_failed_wait_lets_work_end(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip(); // the work is a long loop
    for (int is_lost = 0; is_lost < 2; is_lost++) {
        if (!test_device)
            test_device = open_with(NULL, true);
        bm_buffer *x = make_buffer(32 << 20), *y = make_buffer(32 << 20);
        MUST(bm_fill(test_device, bm_buffer_view(x), 0x3f800000, &failure));
        MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 8 << 20, NULL));
        MUST(bm_device_submit(test_device, &failure));
        make_faulty();
        faulty.wait = failing_wait;
        faulty.idle = watched_idle;
        faulty.buffer_destroy = watched_destroy;
        calls_left = 1;
        was_idle = false;
        bm_buffer_destroy(&x);
        bm_buffer_destroy(&y);
        test_device->lost = is_lost;
        bm_device_close(&test_device);
        assert_true(was_idle);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_A_DEVICE(large_buffers_are_used_again),
        ON_A_DEVICE(spare_host_memory_is_used_again),
        ON_A_DEVICE(memory_stays_within_what_is_allowed),
        ON_A_DEVICE(pending_buffers_stay_below_a_bound),
        ON_A_DEVICE(used_up_memory_is_freed_and_asked_again),
        ON_A_DEVICE(failed_download_leaves_none_pending),
        ON_A_DEVICE(any_failed_call_leaves_no_download_pending),
        ON_A_DEVICE(failed_wait_leaves_no_download_pending),
        ON_A_DEVICE(close_after_a_failed_wait_lets_work_end),
    };
    return device_fixture_main(argc, argv, tests, BM_COUNT(tests));
}
