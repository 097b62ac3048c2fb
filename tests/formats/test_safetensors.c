// Headers as an attacker would write them. Each case is a header and a number of data bytes.
#include "support/unit.h"

#include "base/str.h"
#include "cjson_memory.h"
#include "formats/safetensors.h"
#include "support/folders.h"
#include "support/own_folder.h"

#include <stdio.h>
#include <string.h>

// Writes the 8 bytes of length, the header and zeros as data, and reads it back.
static bm_status read_file(uint64_t length, const char *header, size_t header_size, size_t data_size,
                           bm_tensor_list *list, bm_error *err)
{
    const size_t size = 8 + header_size + data_size;
    uint8_t *bytes = bm_alloc_zero(size, 1);
    bm_file *file = NULL;
    bm_store_le64(bytes, length);
    memcpy(bytes + 8, header, header_size);
    char *path = support_file_write(folder, "t.safetensors", bytes, size);
    bm_status status = bm_file_open(&file, path, err);
    if (status == BM_OK)
        status = bm_safetensors_read_header(file, list, err);
    bm_file_close(&file);
    bm_free(path);
    bm_free(bytes);
    return status;
}

#define ENTRY(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data_size;
    const char *words;
} refused[] = {
    {"", 0, "'{'"},
    {" {}", 0, "'{'"},
    {"[]", 0, "'{'"},
    {"{", 0, "JSON"},
    {"{} {}", 0, "follows"},
    {"{}", 1, "expected"}, // trailing bytes
    {"{\"a\":" ENTRY("[2]", "0", "8") "}", 7, "within"},
    {"{\"a\":" ENTRY("[2]", "0", "8") "}", 9, "expected"},
    {"{\"a\":" ENTRY("[2]", "8", "0") "}", 8, "within"},
    {"{\"a\":" ENTRY("[2]", "0", "7") "}", 7, "by its shape and type"},
    {"{\"a\":" ENTRY("[3]", "0", "8") "}", 8, "by its shape and type"},
    {"{\"a\":" ENTRY("[]", "0", "8") "}", 8, "by its shape and type"},
    {"{\"a\":" ENTRY("[2]", "4", "12") "}", 12, "hole"},
    {"{\"a\":" ENTRY("[1]", "0", "4") ",\"b\":" ENTRY("[1]", "8", "12") "}", 12, "hole"},
    {"{\"a\":" ENTRY("[2]", "0", "8") ",\"b\":" ENTRY("[2]", "4", "12") "}", 12, "overlap"},
    {"{\"a\":" ENTRY("[2]", "0", "8") ",\"b\":" ENTRY("[2]", "0", "8") "}", 8, "overlap"},
    {"{\"a\":" ENTRY("[1]", "0", "4") ",\"a\":" ENTRY("[1]", "4", "8") "}", 8, "twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "string"},
    {"{\"__metadata__\":{\"a\":null}}", 0, "string"},
    {"{\"__metadata__\":[]}", 0, "object"},
    {"{\"a\":[]}", 0, "object"},
    {"{\"a\":null}", 0, "object"},
    {"{\"a\":{}}", 0, "tensor \"a\": dtype: expected a string, found none"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype: expected a string, found 7"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype"},
    {"{\"a\":{\"dtype\":\"?\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "unknown dtype \"?\", expected one of F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, BOOL, F8_E4M3, "
     "F8_E5M2"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape: expected a list, found none"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "shape: expected a list, found 4"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets: expected a list of two integers, found none"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
     "data_offsets: expected a list of two integers, found an array of another length"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"b\":0,\"e\":4}}}", 4, "data_offsets"},
    {"{\"a\":" ENTRY("[1.0]", "0", "4") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[-1]", "0", "4") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[1e0]", "0", "4") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[\"1\"]", "0", "4") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[true]", "0", "4") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[1]", "-4", "0") "}", 4, "non-negative integer"},
    {"{\"a\":" ENTRY("[4294967296,4294967296]", "0", "4") "}", 4, "overflow"},
    {"{\"a\":" ENTRY("[4611686018427387904]", "0", "4") "}", 4, "2^53"},
    {"{\"a\":" ENTRY("[9007199254740992,1024]", "0", "4") "}", 4, "by its shape and type"}, // times 4 overflows
    {"{\"a\":" ENTRY("[1]", "0", "18446744073709551615") "}", 4, "2^53"},
    {"{\"a\":" ENTRY("[1]", "9007199254740990", "9007199254740992") "}", 4, "within"},
    {"{\"a\":" ENTRY("[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "dimensions"},
    {"{\"a\\u0000\":" ENTRY("[1]", "0", "4") "}", 4, "zero character"},
    {"{\"\xff\":" ENTRY("[1]", "0", "4") "}", 4, "UTF-8"},
};

static void hostile_headers_are_format_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        const size_t length = strlen(refused[i].header);
        bm_tensor_list list = {0};
        bm_error err = {0};
        const bm_status status = read_file(length, refused[i].header, length, refused[i].data_size, &list, &err);
        if (status != BM_E_FORMAT || list.count || !strstr(err.message, refused[i].words))
            fail_msg("case %zu: %s: status %s, words \"%s\", expected \"%s\"", i, refused[i].header,
                     bm_status_name(status), err.message, refused[i].words);
    }
}

static void types_that_are_not_built_are_unsupported_by_name(void **state)
{
    static const char *const dtypes[] = {"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(dtypes); i++) {
        bm_tensor_list list = {0};
        bm_error err = {0};
        char *header = bm_format("{\"a\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,8]}}", dtypes[i]);
        assert_int_equal(read_file(strlen(header), header, strlen(header), 8, &list, &err), BM_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, dtypes[i]));
        assert_non_null(strstr(err.message, "\"a\""));
        bm_free(header);
    }
}

static void header_lengths_beyond_the_file_are_format_errors(void **state)
{
    static const uint64_t lengths[] = {3,         100,        100000000,      100000001,
                                       INT64_MAX, UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 8};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(lengths); i++) {
        bm_tensor_list list = {0};
        bm_error err;
        assert_int_equal(read_file(lengths[i], "{}", 2, 0, &list, &err), BM_E_FORMAT);
    }
}

static void files_shorter_than_the_length_are_format_errors(void **state)
{
    (void)state;
    for (size_t size = 0; size < 8; size++) {
        bm_tensor_list list = {0};
        bm_file *file = NULL;
        bm_error err;
        char *path = support_file_write(folder, "short", "\0\0\0\0\0\0\0", size);
        assert_ok(bm_file_open(&file, path, &err), &err);
        assert_int_equal(bm_safetensors_read_header(file, &list, &err), BM_E_FORMAT);
        bm_file_close(&file);
        bm_free(path);
    }
}

static void deep_nesting_is_a_format_error(void **state)
{
    bm_string header = BM_STRING_INIT;
    bm_tensor_list list = {0};
    bm_error err;
    (void)state;
    assert_true(bm_string_append(&header, "{\"a\":"));
    for (int i = 0; i < 200000; i++)
        assert_true(bm_string_append(&header, "["));
    assert_int_equal(read_file(header.length, header.data, header.length, 0, &list, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "nested"));
    bm_string_free(&header);
}

static void words_show_hostile_names_harmlessly(void **state)
{
    static const char header[] = "{\"\\u001b[2J\":" ENTRY("[3]", "0", "8") "}";
    bm_tensor_list list = {0};
    bm_error err;
    (void)state;
    assert_int_equal(read_file(strlen(header), header, strlen(header), 8, &list, &err), BM_E_FORMAT);
    assert_null(strchr(err.message, 0x1b));
}

static void good_headers_give_tensors_by_offset(void **state)
{
    static const char header[] = "{\"b\":{\"dtype\":\"BF16\",\"shape\":[3,2],\"data_offsets\":[8,20]},"
                                 "\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8],\"extra\":{\"x\":[1]}},"
                                 "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,5],\"data_offsets\":[20,20]},"
                                 "\"\\u00e4\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[20,21]}}     ";
    const size_t length = strlen(header);
    bm_tensor_list list = {0};
    bm_error err;
    (void)state;
    assert_ok(read_file(length, header, length, 21, &list, &err), &err);
    if (list.count != 4 || !list.tensors) {
        fail_msg("%u tensors, expected 4", list.count);
        return;
    }
    assert_string_equal(list.tensors[0].name, "a");
    assert_int_equal(list.tensors[0].num_dims, 0);
    assert_int_equal(list.tensors[0].offset, 8 + length);
    assert_string_equal(list.tensors[1].name, "b");
    assert_int_equal(list.tensors[1].dtype, BM_DTYPE_BF16);
    assert_int_equal(list.tensors[1].shape[0], 3);
    assert_int_equal(list.tensors[1].shape[1], 2);
    assert_int_equal(list.tensors[1].shape[2], 0);
    assert_int_equal(list.tensors[1].size_bytes, 12);
    assert_string_equal(list.tensors[2].name, "empty");
    assert_int_equal(list.tensors[2].size_bytes, 0);
    assert_string_equal(list.tensors[3].name, "\xc3\xa4");
    bm_tensor_list_free(&list);
    assert_int_equal(list.count, 0);
}

static void a_file_without_tensors_is_valid(void **state)
{
    bm_tensor_list list = {0};
    bm_error err;
    (void)state;
    assert_ok(read_file(2, "{}", 2, 0, &list, &err), &err);
    assert_int_equal(list.count, 0);
    bm_tensor_list_free(&list);
}

static void thousands_of_empty_tensors_are_quick_and_small(void **state)
{
    bm_string header = BM_STRING_INIT;
    bm_tensor_list list = {0};
    bm_error err;
    (void)state;
    for (int i = 0; i < 20000; i++)
        assert_true(bm_string_append_format(&header, "%s\"t%d\":" ENTRY("[0]", "0", "0"), i ? "," : "{", i));
    assert_true(bm_string_append(&header, "}"));
    assert_ok(read_file(header.length, header.data, header.length, 0, &list, &err), &err);
    assert_int_equal(list.count, 20000);
    assert_true(cjson_memory.calls > 20000 && cjson_memory.peak < 4096); // one tensor at a time
    bm_tensor_list_free(&list);
    bm_string_free(&header);
}

static void dtype_names_are_those_of_the_format(void **state)
{
    (void)state;
    assert_int_equal(bm_safetensors_dtype("BF16"), BM_DTYPE_BF16);
    assert_int_equal(bm_safetensors_dtype("F8_E4M3"), BM_DTYPE_F8_E4M3);
    assert_int_equal(bm_safetensors_dtype("BOOL"), BM_DTYPE_BOOL);
    assert_int_equal(bm_safetensors_dtype("bf16"), BM_DTYPE_NONE);
    assert_int_equal(bm_safetensors_dtype(""), BM_DTYPE_NONE);
}

static int make_folder_and_count(void **state)
{
    (void)count_memory(state);
    return make_folder(state);
}

static int remove_folder_and_stop(void **state)
{
    (void)stop_counting(state);
    return remove_folder(state);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(hostile_headers_are_format_errors),
        WITH_FOLDER(types_that_are_not_built_are_unsupported_by_name),
        WITH_FOLDER(header_lengths_beyond_the_file_are_format_errors),
        WITH_FOLDER(files_shorter_than_the_length_are_format_errors),
        WITH_FOLDER(deep_nesting_is_a_format_error),
        WITH_FOLDER(words_show_hostile_names_harmlessly),
        WITH_FOLDER(good_headers_give_tensors_by_offset),
        WITH_FOLDER(a_file_without_tensors_is_valid),
        cmocka_unit_test_setup_teardown(thousands_of_empty_tensors_are_quick_and_small, make_folder_and_count,
                                        remove_folder_and_stop),
        cmocka_unit_test(dtype_names_are_those_of_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
