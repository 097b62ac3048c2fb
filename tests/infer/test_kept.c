// Memory on the device for matrices that are kept: it is there for the next ones, and grows where they are larger.
#include "infer/kept.h"
#include "device/backend.h"
#include "support/folders.h"
#include "support/support.h"
#include "support/unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static bm_device *device; // the host, a new one for each test
static support_log log_lines;

static int open_host(void **state)
{
    bm_error err = {0};
    (void)state;
    support_log_init(&log_lines);
    assert_ok(support_device_open("host", &log_lines, &device, &err), &err);
    return 0;
}

static int close_host(void **state)
{
    (void)state;
    bm_device_close(&device);
    return 0;
}

static bm_tensor make(bm_dtype dtype, uint64_t rows, uint64_t cols)
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
    bm_tensor wide = make(BM_DTYPE_F32, 6, 20), narrow = make(BM_DTYPE_F32, 5, 7), wider = make(BM_DTYPE_F32, 6, 21),
              half = make(BM_DTYPE_F16, 5, 7), slot, again;
    bm_kept kept = {0};
    assert_ok(bm_kept_slot(&kept, 0, &wide, &slot, &err), &err); // nothing is kept
    assert_ptr_equal(slot.view.buffer, wide.view.buffer);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_DEVICE, 2, 0, NULL, &err), &err);
    assert_ok(bm_kept_slot(&kept, 1, &wide, &slot, &err), &err);
    assert_ptr_not_equal(slot.view.buffer, wide.view.buffer);
    assert_int_equal(bm_kept_device_bytes(&kept), 6 * 20 * 4);
    assert_ok(bm_kept_put(&kept, 1, &slot, &err), &err);
    assert_ok(bm_kept_take(&kept, 1, &wide, &again, &err), &err);
    assert_ptr_equal(again.view.buffer, slot.view.buffer);

    bm_kept_clear(&kept);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_DEVICE, 2, 0, NULL, &err), &err);
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
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_HOST, 2, 0, NULL, &err), &err); // another place
    assert_int_equal(bm_kept_device_bytes(&kept), 0);
    assert_ok(bm_kept_slot(&kept, 1, &wide, &again, &err), &err);
    assert_ptr_equal(again.view.buffer, wide.view.buffer);
    bm_kept_end(&kept);
    bm_tensor *const all[] = {&wide, &narrow, &wider, &half};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        bm_tensor_destroy(all[i]);
}

// The device has room for the first of three. is_tight: which is found only when the second is to be kept.
static void keep_first(bool is_tight)
{
    bm_error err = {0};
    bm_tensor own = make(BM_DTYPE_F32, 6, 20);
    bm_kept kept = {0};
    device->allowed_bytes = is_tight ? bm_device_live_bytes(device) + 6 * 20 * 4 : 0;
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_HOST, 3, is_tight ? 3 : 1, NULL, &err), &err);
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
}

static void first_batches_lie_on_the_device(void **state)
{
    (void)state;
    keep_first(false);
}

static void first_batches_that_fit_lie_on_the_device(void **state)
{
    (void)state;
    keep_first(true);
}

// Of a file of this process that lies in the folder and has no name any more.
static bool find_nameless(const char *folder, struct stat *out)
{
    bool is_found = false;
    for (int descriptor = 0; descriptor < 256 && !is_found; descriptor++) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        const ssize_t length = readlink(link, path, sizeof path - 1);
        path[length > 0 ? length : 0] = '\0';
        is_found = strncmp(path, folder, strlen(folder)) == 0 && fstat(descriptor, out) == 0 && out->st_nlink == 0;
    }
    return is_found;
}

// What lies in a file changes as often as it is put, and nobody else sees it.
static void files_are_the_users_alone_and_have_no_name(void **state)
{
    (void)state;
    bm_error err = {0};
    char *folder = support_folder_create();
    bm_tensor own = make(BM_DTYPE_F32, 6, 20), again;
    bm_kept kept = {0};
    struct stat info;
    const mode_t mask = umask(0);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_FILE, 2, 0, folder, &err), &err);
    umask(mask);
    assert_int_equal(support_folder_count(folder), 0);
    assert_true(find_nameless(folder, &info));
    assert_int_equal(info.st_mode & 0777, 0600);
    for (uint32_t i = 0; i < 6; i++) {
        float first = 0;
        assert_ok(bm_fill(device, own.view, 0x3f800000u + i, &err), &err);
        assert_ok(bm_kept_put(&kept, i % 2, &own, &err), &err);
        assert_ok(bm_fill(device, own.view, 0, &err), &err);
        assert_ok(bm_kept_take(&kept, i == 0 ? 0 : 1 - i % 2, &own, &again, &err), &err);
        assert_ok(bm_download(device, again.view, &first, sizeof first, &err), &err);
        assert_ok(bm_device_wait(device, &err), &err);
        assert_true(first == 1 + (float)(i == 0 ? 0 : i - 1) * 0x1p-23f);
    }
    assert_true(find_nameless(folder, &info));
    assert_int_equal(info.st_size, 2 * 6 * 20 * 4);
    bm_kept_end(&kept);
    assert_false(find_nameless(folder, &info));
    bm_tensor_destroy(&own);
    support_folder_remove(&folder);
}

// A disk without room, as the limit of a file's size stands for it, and a folder that is not there.
static void files_without_room_name_the_option(void **state)
{
    (void)state;
    bm_error err = {0};
    char *folder = support_folder_create();
    bm_tensor own = make(BM_DTYPE_F32, 6, 20);
    bm_kept kept = {0};
    struct rlimit size, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &size), 0);
    small = size;
    small.rlim_cur = 6 * 20 * 4;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_ok(bm_kept_begin(&kept, device, BM_KEPT_FILE, 2, 0, folder, &err), &err);
    assert_ok(bm_kept_put(&kept, 0, &own, &err), &err);
    const bm_status status = bm_kept_put(&kept, 1, &own, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &size), 0);
    assert_int_equal(status, BM_E_IO);
    assert_non_null(strstr(err.message, "--cache-dir"));
    assert_non_null(strstr(err.message, folder));
    bm_kept_end(&kept);
    support_folder_remove(&folder);
    assert_int_equal(bm_kept_begin(&kept, device, BM_KEPT_FILE, 1, 0, "/no/such/folder", &err), BM_E_IO);
    assert_non_null(strstr(err.message, "--cache-dir"));
    bm_tensor_destroy(&own);
}

#define WITH_HOST(test) cmocka_unit_test_setup_teardown(test, open_host, close_host)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HOST(slots_stay_while_they_are_large_enough),   WITH_HOST(first_batches_lie_on_the_device),
        WITH_HOST(first_batches_that_fit_lie_on_the_device), WITH_HOST(files_are_the_users_alone_and_have_no_name),
        WITH_HOST(files_without_room_name_the_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
