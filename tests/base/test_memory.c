#include "support/unit.h"

#include "base/base.h"

#include <string.h>

static void alloc_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    assert_null(bm_alloc(UINT64_MAX, 2));
    assert_null(bm_alloc_zero(UINT64_C(1) << 63, 2));
    assert_null(bm_alloc(UINT64_C(1) << 63, 1));
    void *block = bm_alloc(8, 1);
    assert_null(bm_resize(block, UINT64_MAX / 2, 3)); // block stays valid
    memset(block, 1, 8);
    bm_free(block);
}

static void alloc_of_nothing_is_a_pointer(void **state)
{
    (void)state;
    void *none = bm_alloc(0, 16), *zeros = bm_alloc_zero(16, 0);
    assert_non_null(none);
    assert_non_null(zeros);
    bm_free(none);
    bm_free(zeros);
    bm_free(NULL);
}

static void alloc_zero_is_zero(void **state)
{
    (void)state;
    uint8_t *bytes = bm_alloc_zero(1000, 3);
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(bytes[i], 0);
    bm_free(bytes);
}

static void checked_arithmetic_finds_every_overflow_at_the_edge(void **state)
{
    uint64_t out = 7;
    (void)state;
    assert_true(bm_add_u64(UINT64_MAX - 1, 1, &out));
    assert_true(out == UINT64_MAX);
    out = 7;
    assert_false(bm_add_u64(UINT64_MAX, 1, &out));
    assert_false(bm_multiply_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    assert_false(bm_multiply_u64(3, UINT64_MAX / 3 + 1, &out));
    assert_true(out == 7);
    assert_true(bm_multiply_u64(3, UINT64_MAX / 3, &out));
    assert_true(bm_multiply_u64(0, UINT64_MAX, &out));
    assert_true(out == 0);
    assert_true(bm_divide_up(UINT64_MAX, 2) == (UINT64_C(1) << 63));
    assert_true(bm_round_up(17, 16) == 32 && bm_round_up(16, 16) == 16 && bm_round_up(0, 16) == 0);
}

static void little_endian_loads_and_stores_agree(void **state)
{
    static const uint8_t bytes[] = {0xee, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xf8};
    uint8_t out[9] = {0};
    (void)state;
    assert_int_equal(bm_load_le16(bytes + 1), 0x0201);
    assert_int_equal(bm_load_le32(bytes + 1), 0x04030201);
    assert_true(bm_load_le64(bytes + 1) == UINT64_C(0xf807060504030201));
    bm_store_le64(out + 1, UINT64_C(0xf807060504030201));
    assert_memory_equal(out + 1, bytes + 1, 8);
    bm_store_le32(out + 1, 0x04030201);
    bm_store_le16(out + 5, 0x0605);
    assert_memory_equal(out + 1, bytes + 1, 6);
}

static void string_copy_of_null_is_null(void **state)
{
    (void)state;
    assert_null(bm_string_copy(NULL));
    char *copy = bm_string_copy("");
    assert_string_equal(copy, "");
    bm_free(copy);
}

static void dtype_sizes_and_names_are_known(void **state)
{
    (void)state;
    assert_int_equal(bm_dtype_size(BM_DTYPE_BF16), 2);
    assert_int_equal(bm_dtype_size(BM_DTYPE_F64), 8);
    assert_int_equal(bm_dtype_size(BM_DTYPE_NONE), 0);
    assert_int_equal(bm_dtype_size((bm_dtype)1000), 0);
    assert_string_equal(bm_dtype_name(BM_DTYPE_F8_E4M3), "F8_E4M3");
    assert_string_equal(bm_dtype_name((bm_dtype)1000), "?");
    for (int dtype = BM_DTYPE_F32; dtype <= BM_DTYPE_F8_E5M2; dtype++)
        assert_true(bm_dtype_size((bm_dtype)dtype) > 0 && strcmp(bm_dtype_name((bm_dtype)dtype), "?") != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_refuses_sizes_that_overflow),
        cmocka_unit_test(alloc_of_nothing_is_a_pointer),
        cmocka_unit_test(alloc_zero_is_zero),
        cmocka_unit_test(checked_arithmetic_finds_every_overflow_at_the_edge),
        cmocka_unit_test(little_endian_loads_and_stores_agree),
        cmocka_unit_test(string_copy_of_null_is_null),
        cmocka_unit_test(dtype_sizes_and_names_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
