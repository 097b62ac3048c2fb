// Memory on the device for matrices that are kept: it is there for the next ones, and grows where they are larger.
#include "infer/kept.h"
#include "device/backend.h"
#include "support/folders.h"
#include "support/support.h"
#include "support/unit.h"

#include <sys/resource.h>

static bm_tensor make(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols)
{
    bm_error err = {0};
    bm_tensor own;
    assert_ok(bm_tensor_create(device, dtype, rows, cols, "own", &own, &err), &err);
    return own;
}

static void slots_stay_while_they_are_large_enough(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device *device = NULL;
    support_log log;
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &device, &err), &err);
    bm_tensor wide = make(device, BM_DTYPE_F32, 6, 20), narrow = make(device, BM_DTYPE_F32, 5, 7),
              wider = make(device, BM_DTYPE_F32, 6, 21), half = make(device, BM_DTYPE_F16, 5, 7), slot, again;
    bm_kept kept = {0};
    assert_ok(bm_kept_slot(&kept, 0, &wide, &slot, &err), &err); // nothing is kept
    assert_ptr_equal(slot.view.buffer, wide.view.buffer);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_DEVICE, 2, 0, NULL, "kept", &err), &err);
    assert_ok(bm_kept_slot(&kept, 1, &wide, &slot, &err), &err);
    assert_ptr_not_equal(slot.view.buffer, wide.view.buffer);
    assert_int_equal(bm_kept_device_bytes(&kept), 6 * 20 * 4);
    assert_ok(bm_kept_put(&kept, 1, &slot, &err), &err);
    assert_ok(bm_kept_take(&kept, 1, &wide, &again, &err), &err);
    assert_ptr_equal(again.view.buffer, slot.view.buffer);

    bm_kept_clear(&kept);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_DEVICE, 2, 0, NULL, "kept", &err), &err);
    assert_ok(bm_kept_slot(&kept, 1, &narrow, &again, &err), &err);
    assert_ptr_equal(again.view.buffer, slot.view.buffer);
    assert_true(again.rows == 5 && again.cols == 7 && again.stride == narrow.stride);
    assert_int_equal(bm_kept_device_bytes(&kept), 6 * 20 * 4);
    assert_ok(bm_kept_slot(&kept, 1, &wider, &again, &err), &err);
    assert_int_equal(bm_kept_device_bytes(&kept), 6 * 24 * 4);
    assert_ok(bm_kept_slot(&kept, 1, &half, &again, &err), &err);
    assert_int_equal(again.dtype, BM_DTYPE_F16);
    assert_int_equal(bm_kept_device_bytes(&kept), 5 * 8 * 2);

    bm_kept_clear(&kept);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_HOST, 2, 0, NULL, "kept", &err), &err); // another place
    assert_int_equal(bm_kept_device_bytes(&kept), 0);
    assert_ok(bm_kept_slot(&kept, 1, &wide, &again, &err), &err);
    assert_ptr_equal(again.view.buffer, wide.view.buffer);
    bm_kept_end(&kept);
    bm_tensor *const all[] = {&wide, &narrow, &wider, &half};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
    bm_device_close(&device);
}

// The device has room for the first of three. is_tight: which is found only when the second is to be kept.
static void keep_first(bool is_tight)
{
    bm_error err = {0};
    bm_device *device = NULL;
    support_log log;
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &device, &err), &err);
    bm_tensor own = make(device, BM_DTYPE_F32, 6, 20);
    bm_kept kept = {0};
    device->allowed_bytes = is_tight ? bm_device_live_bytes(device) + 6 * 20 * 4 : 0;
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_HOST, 3, is_tight ? 3 : 1, NULL, "kept", &err), &err);
    for (uint32_t b = 0; b < 3; b++) {
        bm_tensor slot, again;
        float first = 0;
        assert_ok(bm_kept_slot(&kept, b, &own, &slot, &err), &err);
        assert_int_equal(bm_kept_place_of(&kept, b), b == 0 ? BM_KEPT_DEVICE : BM_KEPT_HOST);
        assert_int_equal(slot.view.buffer == own.view.buffer, b > 0);
        assert_ok(bm_fill(device, slot.view, 0x3f800000u + b, &err), &err);
        assert_ok(bm_kept_put(&kept, b, &slot, &err), &err);
        assert_ok(bm_fill(device, own.view, 0, &err), &err);
        assert_ok(bm_kept_take(&kept, b, &own, &again, &err), &err);
        assert_ok(bm_download(device, again.view, &first, sizeof first, &err), &err);
        assert_ok(bm_device_wait(device, &err), &err);
        assert_true(first == 1 + (float)b * 0x1p-23f);
        assert_int_equal(bm_kept_device_bytes(&kept), 6 * 20 * 4);
    }
    bm_kept_end(&kept);
    bm_tensor_destroy(&own);
    bm_device_close(&device);
}

static void first_batches_lie_on_the_device(void **state)
{
    (void)state;
    keep_first(false);
    keep_first(true);
}

// A file that was written and cannot be read back is removed all the same.
static void a_file_that_cannot_be_opened_is_removed(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device *device = NULL;
    support_log log;
    support_log_init(&log);
    assert_ok(support_device_open("host", &log, &device, &err), &err);
    char *folder = support_folder_create();
    bm_tensor own = make(device, BM_DTYPE_F32, 6, 20), again;
    bm_kept kept = {0};
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_FILE, 1, 0, folder, "kept.tmp", &err), &err);
    assert_ok(bm_kept_put(&kept, 0, &own, &err), &err);
    struct rlimit files, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    none = files;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(bm_kept_take(&kept, 0, &own, &again, &err), BM_E_IO);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    bm_kept_end(&kept);
    assert_int_equal(support_folder_count(folder), 0);
    bm_tensor_destroy(&own);
    bm_device_close(&device);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_stay_while_they_are_large_enough),
        cmocka_unit_test(first_batches_lie_on_the_device),
        cmocka_unit_test(a_file_that_cannot_be_opened_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
