// GGUF files as they are written: bytes by hand, places of tensors, rows that change places, and what is refused.
#include "support/unit.h"

#include "base/file.h"
#include "formats/gguf_writer.h"
#include "support/folders.h"

#include <string.h>

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

static bm_checkpoint_writer *create(const char *folder, const bm_gguf_metadata *metadata)
{
    bm_checkpoint_writer *writer = NULL;
    MUST(bm_gguf_writer_create(&writer, folder, "m.gguf", metadata, &failure));
    return writer;
}

// A file of two values and two tensors, byte by byte from the format's description.
static const uint8_t small_file[] = {
    'G',  'G',  'U',  'F',  3,    0,    0,    0,                               // magic, version
    2,    0,    0,    0,    0,    0,    0,    0,                               // tensors
    2,    0,    0,    0,    0,    0,    0,    0,                               // values
    1,    0,    0,    0,    0,    0,    0,    0,    'a',  4,    0,    0,    0, // "a": UINT32
    7,    0,    0,    0,                                                       // 7
    1,    0,    0,    0,    0,    0,    0,    0,    'b',  9,    0,    0,    0, // "b": ARRAY
    8,    0,    0,    0,    1,    0,    0,    0,    0,    0,    0,    0,       // of 1 STRING
    2,    0,    0,    0,    0,    0,    0,    0,    'h',  'i',                 // "hi"
    1,    0,    0,    0,    0,    0,    0,    0,    'q',                       // tensor "q"
    2,    0,    0,    0,    32,   0,    0,    0,    0,    0,    0,    0,       // 2 dimensions: {32, 1}
    1,    0,    0,    0,    0,    0,    0,    0,    2,    0,    0,    0,       // type Q4_0
    0,    0,    0,    0,    0,    0,    0,    0,                               // at 0
    1,    0,    0,    0,    0,    0,    0,    0,    'n',                       // tensor "n"
    1,    0,    0,    0,    2,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0, // 1 dimension: {2}, type F32
    32,   0,    0,    0,    0,    0,    0,    0,                                                 // at 32
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,                                     // to 160
    0x00, 0x40, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3, 0xc4, 0xc4, 0xd5, 0xd5, 0xe6, 0xe6, 0xf7, 0xf7, 0xf8, // "q"
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,                            // to 32
    0,    0,    0x80, 0x3f, 0,    0,    0,    0xc0, // "n": 1, -2
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0, // to 64
};

static void a_small_file_has_the_bytes_of_the_description(void **state)
{
    (void)state;
    const uint64_t matrix[] = {1, 32}, vector[] = {2};
    bm_gguf_metadata metadata = {.count = 0};
    uint64_t size = 0;
    char *folder = support_folder_create();
    bm_gguf_put_u32(&metadata, "a", 7);
    bm_gguf_begin_array(&metadata, "b", BM_GGUF_STRING, 1);
    bm_gguf_add_string(&metadata, "hi", 2);
    bm_checkpoint_writer *writer = create(folder, &metadata);
    MUST(bm_gguf_writer_declare(writer, "Q", &(bm_gguf_declaration){"q", BM_GGUF_Q4_0, 0, matrix, 2}, &failure));
    MUST(bm_gguf_writer_declare(writer, "N", &(bm_gguf_declaration){"n", BM_GGUF_F32, 0, vector, 1}, &failure));
    assert_int_equal(bm_checkpoint_writer_total_bytes(writer) + bm_checkpoint_writer_beside_bytes(writer),
                     sizeof small_file);
    MUST(bm_checkpoint_writer_begin(writer, &failure));
    MUST(bm_checkpoint_writer_put(writer, "N", 0, small_file + sizeof small_file - 32, 8, &failure));
    MUST(bm_checkpoint_writer_put(writer, "Q", 0, small_file + sizeof small_file - 64, 18, &failure));
    MUST(bm_checkpoint_writer_finish(&writer, &failure));
    uint8_t *bytes = (uint8_t *)support_file_read(folder, "m.gguf", &size);
    assert_int_equal(size, sizeof small_file);
    assert_memory_equal(bytes, small_file, sizeof small_file);
    bm_free(bytes);
    bm_gguf_metadata_free(&metadata);
    support_folder_remove(&folder);
}

// All kinds of values, and tensors of which one is written in pieces, read back.
static void what_is_written_is_read(void **state)
{
    (void)state;
    const uint64_t matrix[] = {3, 64}, vector[] = {3};
    bm_gguf_metadata metadata = {.count = 0};
    bm_gguf *gguf = NULL;
    uint8_t blocks[3 * 2 * 34], got[sizeof blocks], floats[3 * 4] = {1, 2, 3, 4};
    char *folder = support_folder_create(), *path = bm_path_join(folder, "m.gguf");
    for (size_t i = 0; i < sizeof blocks; i++)
        blocks[i] = (uint8_t)(i * 7);
    bm_gguf_put_f32(&metadata, "f", 0.5f);
    bm_gguf_put_bool(&metadata, "b", true);
    bm_gguf_put_string(&metadata, "s", "a\0b", 3);
    bm_gguf_begin_array(&metadata, "i", BM_GGUF_INT32, 2);
    bm_gguf_add_u32(&metadata, 6);
    bm_gguf_add_u32(&metadata, (uint32_t)-1);
    bm_gguf_begin_array(&metadata, "g", BM_GGUF_FLOAT32, 1);
    bm_gguf_add_f32(&metadata, -2.5f);
    bm_checkpoint_writer *writer = create(folder, &metadata);
    MUST(bm_gguf_writer_declare(writer, "v", &(bm_gguf_declaration){"vector", BM_GGUF_F32, 0, vector, 1}, &failure));
    MUST(bm_gguf_writer_declare(writer, "m", &(bm_gguf_declaration){"matrix", BM_GGUF_Q8_0, 0, matrix, 2}, &failure));
    MUST(bm_checkpoint_writer_begin(writer, &failure));
    MUST(bm_checkpoint_writer_put(writer, "m", 100, blocks + 100, sizeof blocks - 100, &failure));
    MUST(bm_checkpoint_writer_put(writer, "m", 0, blocks, 100, &failure));
    MUST(bm_checkpoint_writer_put(writer, "v", 0, floats, sizeof floats, &failure));
    MUST(bm_checkpoint_writer_finish(&writer, &failure));
    MUST(bm_gguf_open(&gguf, path, &failure));
    assert_true(bm_gguf_number_at(bm_gguf_find(gguf, "f"), 0) == 0.5);
    assert_int_equal(bm_gguf_kind_of(bm_gguf_find(gguf, "b")), BM_GGUF_BOOL);
    assert_int_equal(bm_gguf_string_at(bm_gguf_find(gguf, "s"), 0).length, 3);
    assert_int_equal(bm_gguf_integer_at(bm_gguf_find(gguf, "i"), 1), -1);
    assert_true(bm_gguf_number_at(bm_gguf_find(gguf, "g"), 0) == -2.5);
    const bm_gguf_tensor *t = bm_gguf_find_tensor(gguf, "matrix");
    assert_int_equal(t->type, BM_GGUF_Q8_0);
    assert_int_equal(t->dims[0], 64);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->offset % 32, 0);
    MUST(bm_gguf_read(gguf, t, 0, got, sizeof got, &failure));
    assert_memory_equal(got, blocks, sizeof blocks);
    bm_gguf_close(&gguf);
    bm_free(path);
    bm_gguf_metadata_free(&metadata);
    support_folder_remove(&folder);
}

// A file may have any number of keys: each that goes along is looked for among those that were put by name, not among all.
static void keys_of_another_file_are_not_looked_through(void **state)
{
    (void)state;
    bm_gguf_metadata first = {.count = 0}, second = {.count = 0};
    bm_gguf *gguf = NULL;
    char *folder = support_folder_create(), *path = bm_path_join(folder, "m.gguf");
    bm_gguf_put_u32(&first, "a", 1);
    bm_gguf_put_u32(&first, "b", 2);
    bm_checkpoint_writer *writer = create(folder, &first);
    MUST(bm_checkpoint_writer_begin(writer, &failure));
    MUST(bm_checkpoint_writer_finish(&writer, &failure));
    MUST(bm_gguf_open(&gguf, path, &failure));
    bm_gguf_put_u32(&second, "a", 3);
    const size_t length = second.keys.length;
    bm_gguf_put_stored(&second, bm_gguf_find(gguf, "b"));
    assert_int_equal(second.count, 2);
    assert_int_equal(second.keys.length, length);
    assert_true(bm_gguf_metadata_has(&second, (bm_gguf_string){"a", 1}));
    assert_false(bm_gguf_metadata_has(&second, (bm_gguf_string){"c", 1}));
    bm_gguf_close(&gguf);
    bm_gguf_metadata_free(&first);
    bm_gguf_metadata_free(&second);
    bm_free(path);
    support_folder_remove(&folder);
}

// Rows of one byte each, cut anywhere: of a head of 8, row s 4 + i becomes row 2 i + s (formats.md section 10).
static void halves_of_heads_become_pairs_of_neighbours(void **state)
{
    (void)state;
    enum { HEADS = 3, HEAD_ROWS = 8, ROWS = HEADS * HEAD_ROWS };
    static const uint8_t places[HEAD_ROWS] = {0, 2, 4, 6, 1, 3, 5, 7};
    static const uint64_t pieces[][4] = {{24}, {8, 16}, {5, 6, 13}, {1, 1, 1, 21}, {12, 12}};
    const uint64_t shape[] = {ROWS, 1};
    for (size_t c = 0; c < BM_COUNT(pieces); c++) {
        bm_gguf_metadata metadata = {.count = 0};
        uint8_t rows[ROWS][4];
        uint64_t size = 0, first = 0;
        char *folder = support_folder_create();
        for (uint32_t r = 0; r < ROWS; r++)
            memset(rows[r], (int)r + 1, sizeof rows[r]);
        bm_checkpoint_writer *writer = create(folder, &metadata);
        MUST(bm_gguf_writer_declare(writer, "k", &(bm_gguf_declaration){"k", BM_GGUF_F32, HEADS, shape, 2}, &failure));
        MUST(bm_checkpoint_writer_begin(writer, &failure));
        for (size_t p = 0; p < 4 && pieces[c][p] > 0; first += pieces[c][p++])
            MUST(bm_checkpoint_writer_put(writer, "k", first * 4, rows[first], pieces[c][p] * 4, &failure));
        MUST(bm_checkpoint_writer_finish(&writer, &failure));
        uint8_t *bytes = (uint8_t *)support_file_read(folder, "m.gguf", &size);
        for (uint32_t r = 0; r < ROWS; r++) {
            const uint32_t place = r / HEAD_ROWS * HEAD_ROWS + places[r % HEAD_ROWS];
            assert_int_equal(bytes[size - ROWS * 4 + place * 4 + 3], r + 1);
        }
        bm_free(bytes);
        bm_gguf_metadata_free(&metadata);
        support_folder_remove(&folder);
    }
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const char long_name[] = "0123456789012345678901234567890123456789012345678901234567890123";
    const uint64_t odd[] = {6, 33}, huge[] = {UINT64_C(1) << 53, 32}, rows[] = {6, 32};
    bm_gguf_metadata metadata = {.count = 0};
    char *folder = support_folder_create();
    bm_checkpoint_writer *writer = create(folder, &metadata);
    const struct {
        bm_gguf_declaration tensor;
        const char *words;
    } cases[] = {
        {{long_name, BM_GGUF_F32, 0, rows, 2}, "a name of 64 bytes, expected at most 63"},
        {{"t", BM_GGUF_Q4_0, 0, odd, 2}, "rows of 33 elements, expected a multiple of 32 for Q4_0"},
        {{"t", BM_GGUF_Q4_0, 4, rows, 2}, "6 rows, expected an even number for each of 4 heads"},
        {{"t", BM_GGUF_Q4_0, 2, rows, 2}, "6 rows, expected an even number for each of 2 heads"},
        {{"t", BM_GGUF_F32, 0, rows, 0}, "0 dimensions, expected 1 to 4"},
        {{"t", BM_GGUF_F32, 0, huge, 2}, "beyond 2^53 bytes"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        assert_int_equal(bm_gguf_writer_declare(writer, "t", &cases[i].tensor, &failure), BM_E_ARGUMENT);
        if (!strstr(failure.message, cases[i].words))
            fail_msg("%s", failure.message);
    }
    MUST(bm_gguf_writer_declare(writer, "t", &(bm_gguf_declaration){"t", BM_GGUF_Q4_0, 1, rows, 2}, &failure));
    assert_int_equal(
        bm_gguf_writer_declare(writer, "t", &(bm_gguf_declaration){"u", BM_GGUF_Q4_0, 1, rows, 2}, &failure),
        BM_E_ARGUMENT);
    MUST(bm_checkpoint_writer_begin(writer, &failure));
    assert_int_equal(bm_checkpoint_writer_put(writer, "t", 9, small_file, 18, &failure), BM_E_INTERNAL);
    assert_non_null(strstr(failure.message, "expected whole rows of 18"));
    assert_int_equal(bm_checkpoint_writer_finish(&writer, &failure), BM_E_INTERNAL);
    assert_int_equal(support_folder_count(folder), 0);
    bm_gguf_metadata_free(&metadata);
    support_folder_remove(&folder);
}

// To measure what writing takes: tensors may come again, and nothing is left however many are whole.
static void a_trial_leaves_nothing(void **state)
{
    (void)state;
    const uint64_t heads[] = {8, 32}, vector[] = {2};
    const float values[8 * 32] = {0};
    bm_gguf_metadata metadata = {.count = 0};
    char *folder = support_folder_create();
    bm_checkpoint_writer *writer = create(folder, &metadata);
    MUST(bm_gguf_writer_declare(writer, "Q", &(bm_gguf_declaration){"q", BM_GGUF_F32, 2, heads, 2}, &failure));
    MUST(bm_gguf_writer_declare(writer, "N", &(bm_gguf_declaration){"n", BM_GGUF_F32, 0, vector, 1}, &failure));
    MUST(bm_checkpoint_writer_begin_trial(writer, &failure));
    for (uint32_t i = 0; i < 2; i++) {
        MUST(bm_checkpoint_writer_put(writer, "Q", 0, values, sizeof values, &failure));
        MUST(bm_checkpoint_writer_put(writer, "Q", 128, values, 128, &failure));
        MUST(bm_checkpoint_writer_put(writer, "N", 0, values, 8, &failure));
        MUST(bm_checkpoint_writer_put(writer, "N", 4, values, 4, &failure));
    }
    assert_int_equal(support_folder_count(folder), 0);
    bm_checkpoint_writer_destroy(&writer);
    assert_int_equal(support_folder_count(folder), 0);
    bm_gguf_metadata_free(&metadata);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_file_has_the_bytes_of_the_description),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(keys_of_another_file_are_not_looked_through),
        cmocka_unit_test(halves_of_heads_become_pairs_of_neighbours),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_trial_leaves_nothing),
    };
    return cmocka_run_group_tests_name("gguf_writer", tests, NULL, NULL);
}
