// Records of scratch files, on disks that are full or lose what they have taken. The linker puts functions of this file in the place
// of those that would have to lie (__wrap_NAME for NAME).
#include "support/unit.h"

#include "base/file_system.h"
#include "base/scratch.h"
#include "support/folders.h"

#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
bm_status __wrap_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
bm_status __real_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err);
bm_status __wrap_bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err);
bm_status __real_bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err);

static uint64_t kept_bytes; // of a write; what lies behind them is lost
static uint64_t reserved;   // so far, all told
static bool is_full;

bm_status __wrap_bm_system_write_at(bm_file *scratch, uint64_t offset, const void *bytes, uint64_t size, bm_error *err)
{
    assert_true(offset + size <= reserved);
    return __real_bm_system_write_at(scratch, offset, bytes, bm_min_u64(size, kept_bytes), err);
}

bm_status __wrap_bm_system_reserve(bm_file *scratch, uint64_t offset, uint64_t size, bm_error *err)
{
    if (is_full)
        return bm_fail(err, BM_E_IO, "full");
    assert_int_equal(offset, reserved);
    reserved += size;
    return __real_bm_system_reserve(scratch, offset, size, err);
}

static char *folder;
static bm_scratch *scratch; // of four records

static int make_scratch(void **state)
{
    bm_error err = {0};
    (void)state;
    folder = support_folder_create();
    kept_bytes = UINT64_MAX;
    reserved = 0;
    is_full = false;
    assert_ok(bm_scratch_create(&scratch, folder, 4, &err), &err);
    return 0;
}

static int close_scratch(void **state)
{
    (void)state;
    bm_scratch_close(&scratch);
    assert_int_equal(support_folder_count(folder), 0);
    support_folder_remove(&folder);
    return 0;
}

static const char text[] = "0123456789abcdefghijABCDEFGHIJklmnopqrst";

static void records_come_back_in_any_order_and_number(void **state)
{
    bm_error err = {0};
    char out[41] = "";
    (void)state;
    assert_ok(bm_scratch_put(scratch, 2, 2, text, 10, &err), &err);
    assert_ok(bm_scratch_put(scratch, 0, 2, text + 20, 10, &err), &err);
    assert_ok(bm_scratch_get(scratch, 0, 4, out, 10, &err), &err);
    assert_string_equal(out, "ABCDEFGHIJklmnopqrst0123456789abcdefghij");
    assert_ok(bm_scratch_put(scratch, 3, 1, "aBcDeFgHiJ", 10, &err), &err);
    assert_ok(bm_scratch_get(scratch, 3, 1, out, 10, &err), &err);
    assert_memory_equal(out, "aBcDeFgHiJ", 10);
    assert_int_equal(reserved, 40); // a record that changes stays where it is
}

static void records_that_were_never_put_are_errors(void **state)
{
    bm_error err = {0};
    char out[10];
    (void)state;
    assert_int_equal(bm_scratch_get(scratch, 0, 1, out, 10, &err), BM_E_INTERNAL);
    assert_ok(bm_scratch_put(scratch, 0, 1, text, 10, &err), &err);
    assert_int_equal(bm_scratch_get(scratch, 0, 1, out, 9, &err), BM_E_INTERNAL);
}

static void expect_loss(uint64_t record)
{
    bm_error err = {0};
    char out[10];
    assert_int_equal(bm_scratch_get(scratch, record, 1, out, 10, &err), BM_E_IO);
    assert_non_null(strstr(err.message, folder));
    assert_non_null(strstr(err.message, "the disk has lost what was written: bytes 10 to 19 are read back as others"));
}

// Zeros where nothing was kept, what was there before, and all but the last byte.
static void what_a_disk_loses_is_an_error(void **state)
{
    bm_error err = {0};
    char out[10];
    (void)state;
    assert_ok(bm_scratch_put(scratch, 0, 1, text, 10, &err), &err);
    kept_bytes = 0;
    assert_ok(bm_scratch_put(scratch, 1, 1, text, 10, &err), &err);
    kept_bytes = UINT64_MAX;
    assert_ok(bm_scratch_put(scratch, 2, 1, text, 10, &err), &err);
    expect_loss(1);
    assert_ok(bm_scratch_put(scratch, 1, 1, text, 10, &err), &err);
    assert_ok(bm_scratch_get(scratch, 1, 1, out, 10, &err), &err);
    kept_bytes = 0;
    assert_ok(bm_scratch_put(scratch, 1, 1, text + 10, 10, &err), &err);
    expect_loss(1);
    kept_bytes = 9;
    assert_ok(bm_scratch_put(scratch, 1, 1, text + 20, 10, &err), &err);
    expect_loss(1);
    assert_ok(bm_scratch_get(scratch, 2, 1, out, 10, &err), &err);
}

static void a_full_disk_is_an_error_before_anything_is_written(void **state)
{
    bm_error err = {0};
    (void)state;
    assert_ok(bm_scratch_put(scratch, 0, 1, text, 10, &err), &err);
    is_full = true;
    assert_ok(bm_scratch_put(scratch, 0, 1, text, 10, &err), &err); // it has its room
    assert_int_equal(bm_scratch_put(scratch, 1, 1, text, 10, &err), BM_E_IO);
    assert_string_equal(err.message, "full");
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, make_scratch, close_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(records_come_back_in_any_order_and_number),
        WITH_SCRATCH(records_that_were_never_put_are_errors),
        WITH_SCRATCH(what_a_disk_loses_is_an_error),
        WITH_SCRATCH(a_full_disk_is_an_error_before_anything_is_written),
    };
    return cmocka_run_group_tests_name("scratch", tests, NULL, NULL);
}
