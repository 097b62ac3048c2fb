// GGUF containers: what is in them, and files as an attacker would write them.
#include "support/unit.h"

#include "base/file.h"
#include "formats/gguf.h"
#include "formats/gguf_locate.h"
#include "formats/gguf_view.h"
#include "support/folders.h"
#include "support/gguf_maker.h"
#include "support/own_folder.h"

#include <stdio.h>
#include <string.h>

static bm_status open_maker(const gguf_maker *maker, bm_gguf **out, bm_error *err)
{
    char *path = gguf_maker_write(maker, folder, "t.gguf");
    const bm_status status = bm_gguf_open(out, path, err);
    bm_free(path);
    return status;
}

// A value of every kind, an array of most, three tensors.
static void fill(gguf_maker *m)
{
    static const char *const texts[] = {"", "zwei", "\xe2\x96\x81x"};
    static const uint8_t minus_two[8] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t one_and_a_half[8] = {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, bytes[200] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const struct {
        const char *key;
        uint32_t kind;
        size_t size;
    } integers[] = {{"u8", 0, 1},  {"i8", 1, 1},  {"u16", 2, 2},  {"i16", 3, 2},
                    {"u32", 4, 4}, {"i32", 5, 4}, {"u64", 10, 8}, {"i64", 11, 8}};
    gguf_maker_init(m);
    for (size_t i = 0; i < BM_COUNT(integers); i++)
        gguf_maker_add_value(m, integers[i].key, integers[i].kind, minus_two, integers[i].size);
    gguf_maker_add_f32(m, "f32", -0.25f);
    gguf_maker_add_value(m, "f64", 12, one_and_a_half, 8);
    gguf_maker_add_bool(m, "bool", true);
    gguf_maker_add_string(m, "text", "llama");
    gguf_maker_add_strings(m, "texts", texts, BM_COUNT(texts));
    gguf_maker_add_array(m, "shorts", 3, 2, minus_two, 4);
    gguf_maker_add_array(m, "doubles", 12, 1, one_and_a_half, 8);
    gguf_maker_add_array(m, "none", 8, 0, "", 0);
    gguf_maker_add_tensor(m, "a", 0, (const uint64_t[]){3, 2}, 2, bytes, 24);
    gguf_maker_add_tensor(m, "b", 8, (const uint64_t[]){32, 1, 2}, 3, bytes, 68);
    gguf_maker_add_tensor(m, "c", 1, (const uint64_t[]){5}, 1, bytes, 10);
}

static void values_are_found_by_key_and_kind(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int64_t value;
    } integers[] = {{"u8", 254}, {"i8", -2},  {"u16", 65534},     {"i16", -2},  {"u32", 4294967294},
                    {"i32", -2}, {"i64", -2}, {"u64", INT64_MAX}, {"absent", 7}};
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    int64_t integer;
    double number;
    bool yes = false;
    bm_gguf_string text;
    const bm_gguf_value *array = NULL;
    fill(&m);
    assert_ok(open_maker(&m, &g, &err), &err);
    for (size_t i = 0; i < BM_COUNT(integers); i++) {
        assert_ok(bm_gguf_get_integer(g, integers[i].key, INT64_MIN, INT64_MAX, 7, &integer, &err), &err);
        assert_true(integer == integers[i].value);
    }
    assert_ok(bm_gguf_get_number(g, "f32", -1, 1, 0, &number, &err), &err);
    assert_true(number == -0.25);
    assert_ok(bm_gguf_get_number(g, "f64", 1, 2, 0, &number, &err), &err);
    assert_true(number == 1.5);
    assert_ok(bm_gguf_get_number(g, "i8", -3, 2, 0, &number, &err), &err);
    assert_true(number == -2);
    assert_ok(bm_gguf_get_bool(g, "bool", false, &yes, &err), &err);
    assert_true(yes);
    assert_ok(bm_gguf_get_string(g, "text", &text, &err), &err);
    assert_true(bm_gguf_string_is(text, "llama") && !bm_gguf_string_is(text, "llam"));
    assert_ok(bm_gguf_get_strings(g, "texts", &array, &err), &err);
    assert_int_equal(bm_gguf_count(array), 3);
    assert_true(bm_gguf_string_is(bm_gguf_string_at(array, 0), ""));
    assert_true(bm_gguf_string_is(bm_gguf_string_at(array, 2), "\xe2\x96\x81x"));
    assert_null(bm_gguf_string_at(array, 3).bytes);
    assert_ok(bm_gguf_get_integers(g, "shorts", &array, &err), &err);
    assert_int_equal(bm_gguf_integer_at(array, 1), -1);
    assert_ok(bm_gguf_get_numbers(g, "doubles", &array, &err), &err);
    assert_true(bm_gguf_number_at(array, 0) == 1.5);
    assert_ok(bm_gguf_get_numbers(g, "none", &array, &err), &err); // no element is of a wrong kind
    assert_int_equal(bm_gguf_count(array), 0);
    bm_gguf_close(&g);
    gguf_maker_free(&m);
}

static void values_of_other_kinds_are_refused(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    int64_t integer;
    double number;
    bool yes;
    bm_gguf_string text;
    const bm_gguf_value *array;
    fill(&m);
    assert_ok(open_maker(&m, &g, &err), &err);
    assert_int_equal(bm_gguf_get_integer(g, "i8", 0, 9, 0, &integer, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "t.gguf: key \"i8\": found INT8 -2, expected an integer from 0 to 9"));
    assert_int_equal(bm_gguf_get_integer(g, "bool", 0, 9, 0, &integer, &err), BM_E_FORMAT);
    assert_int_equal(bm_gguf_get_integer(g, "shorts", -9, 9, 0, &integer, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "found an array of 2 INT16"));
    assert_int_equal(bm_gguf_get_number(g, "text", 0, 9, 0, &number, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "found STRING \"llama\""));
    assert_int_equal(bm_gguf_get_bool(g, "u8", false, &yes, &err), BM_E_FORMAT);
    assert_int_equal(bm_gguf_get_string(g, "texts", &text, &err), BM_E_FORMAT);
    assert_int_equal(bm_gguf_get_strings(g, "text", &array, &err), BM_E_FORMAT);
    assert_int_equal(bm_gguf_get_integers(g, "doubles", &array, &err), BM_E_FORMAT);
    assert_int_equal(bm_gguf_get_numbers(g, "texts", &array, &err), BM_E_FORMAT);
    bm_gguf_close(&g);
    gguf_maker_free(&m);
}

static void tensors_lie_where_the_file_says(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    uint8_t bytes[8];
    fill(&m);
    m.version = 2; // the same layout
    assert_ok(open_maker(&m, &g, &err), &err);
    assert_int_equal(bm_gguf_version(g), 2);
    assert_int_equal(bm_gguf_num_tensors(g), 3);
    const bm_gguf_tensor *b = bm_gguf_find_tensor(g, "b");
    assert_ptr_equal(b, bm_gguf_tensor_at(g, 1));
    assert_int_equal(b->size_bytes, 68);
    assert_true(b->dims[0] == 32 && b->dims[1] == 1 && b->dims[2] == 2 && b->dims[3] == 1);
    assert_int_equal(b->offset % 32, 0);
    assert_ok(bm_gguf_read(g, b, 4, bytes, 2, &err), &err);
    assert_true(bytes[0] == 5 && bytes[1] == 6);
    assert_int_equal(bm_gguf_read(g, b, 60, bytes, 9, &err), BM_E_ARGUMENT);
    assert_null(bm_gguf_find_tensor(g, "d"));
    bm_gguf_close(&g);
    gguf_maker_free(&m);
}

// Without support_file_write's wait for the disk, a thousand times.
static char *write_beginning(const bm_string *bytes, size_t length)
{
    char *path = bm_path_join(folder, "cut.gguf");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

// Every beginning of a file is refused, up to the last byte of data; the padding behind it may lack.
static void truncated_files_are_refused(void **state)
{
    (void)state;
    bm_string bytes = BM_STRING_INIT;
    gguf_maker m;
    fill(&m);
    gguf_maker_build(&m, &bytes);
    for (size_t length = 0; length < bytes.length; length++) {
        bm_error err = {0};
        bm_gguf *g = NULL;
        char *path = write_beginning(&bytes, length);
        const bm_status status = bm_gguf_open(&g, path, &err);
        const bool is_whole = length >= bytes.length - 22; // of 10 bytes in 32
        if (is_whole ? status != BM_OK : status == BM_OK || !err.message[0] || strchr(err.message, '\n'))
            fail_msg("%zu of %zu bytes: %s", length, bytes.length, err.message);
        bm_gguf_close(&g);
        bm_free(path);
    }
    bm_string_free(&bytes);
    gguf_maker_free(&m);
}

// Padding is no byte too many; all else behind the last tensor is counted.
static void bytes_behind_the_last_tensor_are_counted(void **state)
{
    (void)state;
    static const char more[70] = "more";
    gguf_maker m;
    bm_string bytes = BM_STRING_INIT;
    fill(&m);
    gguf_maker_build(&m, &bytes);
    const size_t whole = bytes.length;
    (void)bm_string_append_bytes(&bytes, more, sizeof more);
    for (size_t i = 0; i <= sizeof more + 22; i++) {
        bm_error err = {0};
        bm_gguf *g = NULL;
        const char *where = NULL;
        char *path = write_beginning(&bytes, whole - 22 + i);
        assert_ok(bm_gguf_open(&g, path, &err), &err);
        assert_int_equal(bm_gguf_bytes_behind(g, &where), i > 22 ? i - 22 : 0);
        assert_string_equal(where, path);
        bm_gguf_close(&g);
        bm_free(path);
    }
    bm_string_free(&bytes);
    gguf_maker_free(&m);
}

// What a maker makes is refused with words.
static void refuse(const gguf_maker *m, bm_status expected, const char *words)
{
    bm_error err = {0};
    bm_gguf *g = NULL;
    const bm_status status = open_maker(m, &g, &err);
    if (status != expected || !strstr(err.message, words))
        fail_msg("expected %d \"%s\", got %d \"%s\"", expected, words, status, err.message);
    bm_gguf_close(&g);
}

static void hostile_heads_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t version;
        uint64_t tensors, values;
        bm_status status;
        const char *words;
    } heads[] = {
        {1, 0, 0, BM_E_UNSUPPORTED, "version 1, expected 2 or 3"},
        {4, 0, 0, BM_E_UNSUPPORTED, "version 4"},
        {0x03000000, 0, 0, BM_E_UNSUPPORTED, "big-endian"},
        {3, UINT64_MAX, 0, BM_E_FORMAT, "found a number of tensors"},
        {3, 0, UINT64_C(1) << 60, BM_E_FORMAT, "found a number of keys"},
        {3, 1, 0, BM_E_FORMAT, "found a number of tensors"}, // of no bytes
    };
    for (size_t i = 0; i < BM_COUNT(heads); i++) {
        gguf_maker m;
        gguf_maker_init(&m);
        m.version = heads[i].version;
        m.num_tensors = heads[i].tensors;
        m.num_values = heads[i].values;
        refuse(&m, heads[i].status, heads[i].words);
    }
}

static void hostile_values_are_refused(void **state)
{
    (void)state;
    const uint8_t two = 2, huge[16] = {0, 0, 0, 0, 0, 0, 0, 0x80}, bytes[64] = {0};
    static const uint8_t alignment[8] = {24};
    char long_key[70000];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = '\0';
    const struct {
        const char *key;
        uint32_t kind, element; // element: of an array
        uint64_t count;
        const void *bytes;
        size_t size;
        const char *words;
    } values[] = {
        {"", 0, 0, 0, &two, 1, "a key at byte"},
        {long_key, 0, 0, 0, &two, 1, "expected 1 to 65535"},
        {"bad\xff", 0, 0, 0, &two, 1, "expected UTF-8"},
        {"k", 13, 0, 0, bytes, 8, "a value of kind 13"},
        {"k", 7, 0, 0, &two, 1, "a BOOL of 2"},
        {"k", 8, 0, 0, huge, 8, "a string at byte"},
        {"k", 9, 7, 1, &two, 1, "a BOOL of 2"},
        {"k", 9, 9, 1, bytes, 16, "an array of arrays"},
        {"k", 9, 13, 1, bytes, 16, "elements of kind 13"},
        {"k", 9, 0, UINT64_MAX, bytes, 8, "an array of 18446744073709551615 UINT8"},
        {"k", 9, 12, UINT64_C(1) << 61, bytes, 8, "an array of"},
        {"k", 9, 8, UINT64_C(1) << 61, bytes, 8, "an array of"},
        {"k", 9, 8, 2, huge, 16, "a string of an array at byte"},
        {"general.alignment", 4, 0, 0, alignment, 4, "found 24, expected a power of two"},
        {"general.alignment", 4, 0, 0, bytes, 4, "found 0, expected a power of two"},
        {"general.alignment", 10, 0, 0, alignment, 8, "found UINT64, expected UINT32"},
    };
    for (size_t i = 0; i < BM_COUNT(values); i++) {
        gguf_maker m;
        gguf_maker_init(&m);
        if (values[i].kind == 9)
            gguf_maker_add_array(&m, values[i].key, values[i].element, values[i].count, values[i].bytes,
                                 values[i].size);
        else
            gguf_maker_add_value(&m, values[i].key, values[i].kind, values[i].bytes, values[i].size);
        refuse(&m, BM_E_FORMAT, values[i].words);
        gguf_maker_free(&m);
    }
    gguf_maker m;
    gguf_maker_init(&m);
    gguf_maker_add_u32(&m, "twice", 1);
    gguf_maker_add_u32(&m, "twice", 1);
    refuse(&m, BM_E_FORMAT, "key \"twice\" is given twice");
    gguf_maker_free(&m);
}

// An array may not fill a file that is larger than a header may be: a sparse one costs nothing to make.
static void arrays_end_with_the_header(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    bm_string bytes = BM_STRING_INIT;
    gguf_maker_init(&m);
    gguf_maker_add_array(&m, "k", 8, 140000000, "", 0);
    gguf_maker_build(&m, &bytes);
    char *path = write_beginning(&bytes, bytes.length);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 1200000000, SEEK_SET), 0);
    assert_int_equal(fputc(0, file), 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(bm_gguf_open(&g, path, &err), BM_E_FORMAT);
    if (!strstr(err.message, "key \"k\": an array of 140000000 STRING in 10737"))
        fail_msg("%s", err.message);
    (void)remove(path);
    bm_free(path);
    bm_string_free(&bytes);
    gguf_maker_free(&m);
}

static void hostile_tensors_are_refused(void **state)
{
    (void)state;
    static const uint8_t bytes[256] = {0};
    const struct {
        const char *name;
        uint32_t type, num_dims;
        uint64_t dims[5];
        size_t size;
        const char *words;
    } tensors[] = {
        {"", 0, 1, {2}, 8, "a tensor's name"},
        {"a.name.of.sixty-four.bytes.is.one.byte.more.than.ggml.can.hold..",
         0,
         1,
         {2},
         8,
         "64 bytes, expected 1 to 63"},
        {"t", 0, 5, {1, 1, 1, 1, 1}, 4, "5 dimensions"},
        {"t", 99, 1, {2}, 8, "type 99, which is unknown"},
        {"t", 4, 1, {32}, 20, "type 4, which is unknown"}, // Q4_2, removed
        {"t", 2, 1, {31}, 18, "rows of 31 elements, expected a multiple of 32 by its type Q4_0"},
        {"t", 12, 2, {128, 2}, 144, "rows of 128 elements"},
        {"t", 0, 2, {UINT64_C(1) << 32, UINT64_C(1) << 32}, 8, "overflows 63 bits"},
        {"t", 0, 1, {UINT64_C(1) << 63}, 8, "overflows 63 bits"},
        {"t", 0, 1, {UINT64_C(1) << 62}, 8, "its size overflows"},
        {"t", 0, 1, {9}, 32, "36 bytes from byte"},
        {"t", 0, 1, {UINT64_C(1) << 61}, 8, "bytes from byte"},
    };
    gguf_maker m;
    for (size_t i = 0; i < BM_COUNT(tensors); i++) {
        gguf_maker_init(&m);
        gguf_maker_add_tensor(&m, tensors[i].name, tensors[i].type, tensors[i].dims, tensors[i].num_dims, bytes,
                              tensors[i].size);
        refuse(&m, BM_E_FORMAT, tensors[i].words);
        gguf_maker_free(&m);
    }
    gguf_maker_init(&m);
    gguf_maker_add_tensor(&m, "t", 0, (const uint64_t[]){2}, 1, bytes, 8);
    gguf_maker_add_tensor(&m, "t", 0, (const uint64_t[]){2}, 1, bytes, 8);
    refuse(&m, BM_E_FORMAT, "tensor \"t\" is given twice");
    gguf_maker_free(&m);
    gguf_maker_init(&m);
    gguf_maker_add_tensor(&m, "t", 0, (const uint64_t[]){2}, 1, bytes, 40); // a hole behind it
    gguf_maker_add_tensor(&m, "u", 0, (const uint64_t[]){2}, 1, bytes, 8);
    refuse(&m, BM_E_FORMAT, "tensor \"u\": offset 64, expected 32");
    gguf_maker_free(&m);
}

static char *write_split(uint32_t split, uint32_t number, uint32_t count)
{
    static const uint8_t bytes[8] = {0};
    char name[40], tensor[8];
    gguf_maker m;
    gguf_maker_init(&m);
    gguf_maker_add_u32(&m, "split.no", number);
    gguf_maker_add_u32(&m, "split.count", count);
    gguf_maker_add_u32(&m, "split.tensors.count", 3);
    snprintf(tensor, sizeof tensor, "t%u", split);
    snprintf(name, sizeof name, "s-%05u-of-%05u.gguf", split + 1, 3u);
    gguf_maker_add_tensor(&m, tensor, 0, (const uint64_t[]){2}, 1, bytes, 8);
    char *path = gguf_maker_write(&m, folder, name);
    gguf_maker_free(&m);
    return path;
}

static void splits_are_one_model(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_gguf *g = NULL;
    char *first = write_split(0, 0, 3), *second = write_split(1, 1, 3);
    assert_int_equal(bm_gguf_open(&g, first, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "s-00003-of-00003.gguf: no such file"));
    char *third = write_split(2, 2, 3);
    assert_ok(bm_gguf_open(&g, first, &err), &err);
    assert_int_equal(bm_gguf_num_files(g), 3);
    assert_int_equal(bm_gguf_num_tensors(g), 3);
    assert_string_equal(bm_gguf_find_tensor(g, "t2")->path, third);
    bm_gguf_close(&g);
    assert_int_equal(bm_gguf_open(&g, second, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "is split 2 of 3, expected the first"));
    bm_free(second);
    second = write_split(1, 2, 3);
    assert_int_equal(bm_gguf_open(&g, first, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "key \"split.no\": found UINT32 2"));
    bm_free(first);
    bm_free(second);
    bm_free(third);
}

static void one_model_of_a_folder_is_located(void **state)
{
    (void)state;
    bm_error err = {0};
    char *path = NULL, *home = support_folder_create();
    assert_ok(bm_gguf_locate(home, &path, &err), &err);
    assert_null(path);
    bm_free(support_file_write(home, "m-00002-of-00002.gguf", "GGUF", 4)); // no model by itself
    bm_free(support_file_write(home, "m-00001-of-00002.gguf", "GGUF", 4));
    assert_ok(bm_gguf_locate(home, &path, &err), &err);
    assert_true(bm_ends_with(path, "m-00001-of-00002.gguf"));
    bm_free(path);
    char *other = support_file_write(home, "without-a-suffix", "GGUF", 4);
    assert_ok(bm_gguf_locate(other, &path, &err), &err); // by its first bytes
    assert_string_equal(path, other);
    bm_free(path);
    bm_free(other);
    bm_free(support_file_write(home, "n.gguf", "GGUF", 4));
    assert_int_equal(bm_gguf_locate(home, &path, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "holds m-00001-of-00002.gguf and n.gguf"));
    bm_free(support_file_write(home, "model.safetensors", "", 0));
    assert_ok(bm_gguf_locate(home, &path, &err), &err);
    assert_null(path);
    support_folder_remove(&home);
}

// Any run of a view is that part of the whole, where rows are moved and blocks are cut.
static void views_are_read_from_any_element_on(void **state)
{
    (void)state;
    enum { ROWS = 12, COLS = 64, COUNT = ROWS * COLS };
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    uint8_t blocks[ROWS * 2 * 34];
    uint16_t whole[COUNT], part[COUNT];
    for (size_t i = 0; i < sizeof blocks; i++) // steps of 1, codes that tell rows and columns
        blocks[i] = i % 34 == 0 ? 0x00 : i % 34 == 1 ? 0x3c : (uint8_t)(i / 68 * 9 + i % 7);
    gguf_maker_init(&m);
    gguf_maker_add_tensor(&m, "q", 8, (const uint64_t[]){COLS, ROWS}, 2, blocks, sizeof blocks);
    assert_ok(open_maker(&m, &g, &err), &err);
    bm_gguf_view view = {.tensor = bm_gguf_find_tensor(g, "q"), .name = "q", .num_paired_heads = 2};
    bm_tensor_info info;
    assert_ok(bm_gguf_view_describe(&view, &info, &err), &err);
    assert_true(info.dtype == BM_DTYPE_F16 && info.shape[0] == ROWS && info.shape[1] == COLS);
    assert_ok(bm_gguf_view_read(g, &view, 0, COUNT, whole, &err), &err);
    view.num_paired_heads = 0;
    assert_ok(bm_gguf_view_read(g, &view, 0, COUNT, part, &err), &err);
    static const int from[ROWS] = {0, 2, 4,  1, 3, 5,
                                   6, 8, 10, 7, 9, 11}; // heads of 6 rows: first of pairs, then second
    for (int row = 0; row < ROWS; row++)
        assert_memory_equal(whole + row * COLS, part + from[row] * COLS, 2 * COLS);
    view.num_paired_heads = 2;
    for (uint64_t first = 0; first < COUNT; first += 37)
        for (uint64_t count = 1; first + count <= COUNT; count += 131) {
            assert_ok(bm_gguf_view_read(g, &view, first, count, part, &err), &err);
            assert_memory_equal(part, whole + first, 2 * count);
        }
    bm_free(info.name);
    bm_gguf_close(&g);
    gguf_maker_free(&m);
}

// So many elements that threads share them: as read piece by piece.
static void large_views_are_read_by_several_threads(void **state)
{
    (void)state;
    enum { ROWS = 1500, COLS = 544, COUNT = ROWS * COLS, STEP = 10007 };
    bm_error err = {0};
    bm_gguf *g = NULL;
    gguf_maker m;
    const size_t size = COUNT / 32 * 18;
    uint8_t *blocks = bm_alloc(size, 1);
    uint16_t *whole = bm_alloc(COUNT, 2), *part = bm_alloc(COUNT, 2);
    for (size_t i = 0; i < size; i++)
        blocks[i] = i % 18 == 1 ? 0x3c : (uint8_t)(i * 2654435761u >> 16);
    gguf_maker_init(&m);
    gguf_maker_add_tensor(&m, "q", 2, (const uint64_t[]){COLS, ROWS}, 2, blocks, size);
    assert_ok(open_maker(&m, &g, &err), &err);
    const bm_gguf_view view = {.tensor = bm_gguf_find_tensor(g, "q"), .name = "q", .num_paired_heads = 5};
    assert_ok(bm_gguf_view_read(g, &view, 0, COUNT, whole, &err), &err);
    for (uint64_t first = 0; first < COUNT; first += STEP)
        assert_ok(bm_gguf_view_read(g, &view, first, bm_min_u64(STEP, COUNT - first), part + first, &err), &err);
    assert_memory_equal(whole, part, 2 * (size_t)COUNT);
    bm_gguf_close(&g);
    gguf_maker_free(&m);
    bm_free(blocks);
    bm_free(whole);
    bm_free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found_by_key_and_kind),
        cmocka_unit_test(values_of_other_kinds_are_refused),
        cmocka_unit_test(tensors_lie_where_the_file_says),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(bytes_behind_the_last_tensor_are_counted),
        cmocka_unit_test(hostile_heads_are_refused),
        cmocka_unit_test(hostile_values_are_refused),
        cmocka_unit_test(arrays_end_with_the_header),
        cmocka_unit_test(hostile_tensors_are_refused),
        cmocka_unit_test(splits_are_one_model),
        cmocka_unit_test(one_model_of_a_folder_is_located),
        cmocka_unit_test(views_are_read_from_any_element_on),
        cmocka_unit_test(large_views_are_read_by_several_threads),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
