// Checkpoints: what the writer writes the reader reads; indexes of strangers.
#include "support/unit.h"

#include "base/str.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_writer.h"
#include "formats/json.h"
#include "support/folders.h"
#include "support/own_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

// Small tensors of several types, named so that the order of types and the order of names differ.
static const struct {
    const char *name;
    bm_dtype dtype;
    uint64_t shape[2];
    uint32_t num_dims;
} tensors[] = {
    {"z.weight", BM_DTYPE_F32, {3, 5}, 2}, {"a.bias", BM_DTYPE_BF16, {7}, 1},     {"m.codes", BM_DTYPE_I32, {2, 2}, 2},
    {"b.shape", BM_DTYPE_I64, {2}, 1},     {"scalar", BM_DTYPE_F16, {0}, 0},      {"empty", BM_DTYPE_F32, {0, 4}, 2},
    {"q.bytes", BM_DTYPE_U8, {13}, 1},     {"k.weight", BM_DTYPE_F32, {4, 4}, 2},
};

static uint8_t byte_of(size_t tensor, uint64_t at)
{
    return (uint8_t)(tensor * 37 + at * 11 + 1);
}

static uint64_t size_of(size_t tensor)
{
    uint64_t size = bm_dtype_size(tensors[tensor].dtype);
    for (uint32_t d = 0; d < tensors[tensor].num_dims; d++)
        size *= tensors[tensor].shape[d];
    return size;
}

// Pieces are put in reverse order: the writer promises any.
static void write_checkpoint(uint64_t max_shard_bytes)
{
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    uint64_t total = 0;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, max_shard_bytes, &err), &err);
    for (size_t i = 0; i < BM_COUNT(tensors); i++) {
        assert_ok(bm_checkpoint_writer_declare(writer, tensors[i].name, tensors[i].dtype, tensors[i].shape,
                                               tensors[i].num_dims, &err),
                  &err);
        total += size_of(i);
    }
    assert_true(bm_checkpoint_writer_total_bytes(writer) == total);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (size_t i = BM_COUNT(tensors); i-- > 0;)
        for (uint64_t at = size_of(i); at-- > 0;) {
            const uint8_t byte = byte_of(i, at);
            assert_ok(bm_checkpoint_writer_put(writer, tensors[i].name, at, &byte, 1, &err), &err);
        }
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    assert_null(writer);
}

static void expect_checkpoint(void)
{
    bm_checkpoint *c = NULL;
    bm_error err;
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    assert_int_equal(bm_checkpoint_count(c), BM_COUNT(tensors));
    assert_int_equal(bm_checkpoint_num_unlisted(c), 0);
    for (uint32_t i = 1; i < bm_checkpoint_count(c); i++)
        assert_true(strcmp(bm_checkpoint_at(c, i - 1)->name, bm_checkpoint_at(c, i)->name) < 0);
    for (size_t i = 0; i < BM_COUNT(tensors); i++) {
        uint8_t bytes[64];
        const bm_tensor_info *info = bm_checkpoint_find(c, tensors[i].name);
        assert_non_null(info);
        assert_int_equal(info->dtype, tensors[i].dtype);
        assert_int_equal(info->num_dims, tensors[i].num_dims);
        for (uint32_t d = 0; d < info->num_dims; d++)
            assert_true(info->shape[d] == tensors[i].shape[d]);
        assert_true(info->size_bytes == size_of(i));
        assert_true(info->offset % bm_dtype_size(info->dtype) == 0); // the order of types keeps tensors aligned
        assert_true(bm_starts_with(bm_checkpoint_file_name(info), folder));
        assert_ok(bm_checkpoint_read(c, info, 0, bytes, info->size_bytes, &err), &err);
        for (uint64_t at = 0; at < info->size_bytes; at++)
            assert_int_equal(bytes[at], byte_of(i, at));
        assert_int_equal(bm_checkpoint_read(c, info, info->size_bytes, bytes, 1, &err), BM_E_ARGUMENT);
        assert_int_equal(bm_checkpoint_read(c, info, UINT64_MAX, bytes, 2, &err), BM_E_ARGUMENT);
    }
    assert_null(bm_checkpoint_find(c, "absent"));
    bm_checkpoint_close(&c);
    assert_null(c);
}

static uint32_t num_files(void)
{
    bm_name_list list = {0};
    bm_error err;
    assert_ok(bm_folder_list(folder, &list, &err), &err);
    const uint32_t count = list.count;
    bm_name_list_free(&list);
    return count;
}

static void one_file_is_read_as_written(void **state)
{
    (void)state;
    write_checkpoint(BM_DEFAULT_SHARD_BYTES);
    assert_int_equal(num_files(), 1);
    expect_checkpoint();
}

static void shards_of_every_size_are_read_as_written(void **state)
{
    static const uint64_t sizes[] = {1, 14, 60, 61, 100, 150};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(sizes); i++) {
        write_checkpoint(sizes[i]);
        assert_true(num_files() > 2);
        expect_checkpoint();
        support_folder_remove(&folder);
        folder = support_folder_create();
    }
}

static void header_is_padded_and_marked_as_the_reference_does(void **state)
{
    char *text = NULL, *path = bm_path_join(folder, "model.safetensors");
    uint64_t size = 0;
    bm_error err;
    bm_json *root = NULL;
    (void)state;
    write_checkpoint(BM_DEFAULT_SHARD_BYTES);
    assert_ok(bm_file_read_all(path, 1 << 20, &text, &size, &err), &err);
    const uint64_t length = bm_load_le64(text);
    assert_true(length % 8 == 0);
    assert_ok(bm_json_parse(&root, text + 8, length, "header", &err), &err);
    const bm_json *entry = bm_json_first(root);
    assert_string_equal(bm_json_key(entry), "__metadata__");
    assert_string_equal(bm_json_string(bm_json_find(entry, "format")), "pt");
    static const char *const order[] = {"b.shape", "empty",  "k.weight", "z.weight",
                                        "m.codes", "a.bias", "scalar",   "q.bytes"};
    for (size_t i = 0; i < BM_COUNT(order); i++) {
        entry = bm_json_next(entry);
        assert_string_equal(bm_json_key(entry), order[i]);
    }
    bm_json_destroy(&root);
    bm_free(text);
    bm_free(path);
}

static void index_gives_the_total_and_every_name(void **state)
{
    char *path = bm_path_join(folder, "model.safetensors.index.json");
    uint64_t total = 0;
    bm_json *root = NULL;
    bm_error err;
    (void)state;
    write_checkpoint(60);
    for (size_t i = 0; i < BM_COUNT(tensors); i++)
        total += size_of(i);
    assert_ok(bm_json_read_file(&root, path, 1 << 20, &err), &err);
    assert_true(bm_json_number(bm_json_find(bm_json_find(root, "metadata"), "total_size")) == (double)total);
    assert_int_equal(bm_json_count(bm_json_find(root, "weight_map")), BM_COUNT(tensors));
    assert_string_equal(bm_json_string(bm_json_find(bm_json_find(root, "weight_map"), "z.weight")),
                        "model-00001-of-00004.safetensors");
    bm_json_destroy(&root);
    bm_free(path);
}

static void writer_refuses_what_does_not_fit_the_declaration(void **state)
{
    const uint64_t shape[2] = {2, 2}, huge[3] = {UINT64_MAX, UINT64_MAX, 2};
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 1000, &err), &err);
    assert_ok(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_F32, shape, 2, &err), &err);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_F32, shape, 2, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "b", BM_DTYPE_F32, huge, 3, &err), BM_E_ARGUMENT);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    assert_int_equal(bm_checkpoint_writer_put(writer, "b", 0, shape, 4, &err), BM_E_INTERNAL);
    assert_int_equal(bm_checkpoint_writer_put(writer, "a", 8, shape, 9, &err), BM_E_INTERNAL);
    assert_int_equal(bm_checkpoint_writer_put(writer, "a", UINT64_MAX, shape, 2, &err), BM_E_INTERNAL);
    assert_ok(bm_checkpoint_writer_put(writer, "a", 0, shape, 12, &err), &err);
    assert_int_equal(bm_checkpoint_writer_finish(&writer, &err), BM_E_INTERNAL); // 4 bytes are missing
    assert_null(writer);
    assert_int_equal(num_files(), 0);
}

static void more_dimensions_than_the_reader_takes_are_refused(void **state)
{
    const uint64_t shape[BM_MAX_DIMS + 1] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 1000, &err), &err);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_F32, shape, BM_MAX_DIMS + 1, &err),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_NONE, shape, 1, &err), BM_E_ARGUMENT);
    bm_checkpoint_writer_destroy(&writer);
}

// Places are JSON integers: beyond 2^53 readers would disagree about them.
static void declarations_beyond_2_53_bytes_in_all_are_refused(void **state)
{
    const uint64_t half[1] = {UINT64_C(1) << 52}, empty[2] = {0, UINT64_C(1) << 54}, most[1] = {half[0] + 1};
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 1000, &err), &err);
    assert_ok(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_U8, half, 1, &err), &err);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "b", BM_DTYPE_U8, most, 1, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_checkpoint_writer_declare(writer, "c", BM_DTYPE_U8, empty, 2, &err), BM_E_ARGUMENT);
    assert_ok(bm_checkpoint_writer_declare(writer, "d", BM_DTYPE_U8, half, 1, &err), &err);
    assert_true(bm_checkpoint_writer_total_bytes(writer) == UINT64_C(1) << 53);
    bm_checkpoint_writer_destroy(&writer);
}

static void destroyed_writer_leaves_nothing(void **state)
{
    const uint64_t shape[1] = {4};
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 1000, &err), &err);
    assert_ok(bm_checkpoint_writer_declare(writer, "a", BM_DTYPE_F32, shape, 1, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    bm_checkpoint_writer_destroy(&writer);
    assert_null(writer);
    bm_checkpoint_writer_destroy(&writer);
    assert_int_equal(num_files(), 0);
}

// A file of one-byte tensors with the names given, separated by spaces.
static void write_shard(const char *name, const char *tensor_names)
{
    bm_string file = BM_STRING_INIT, header = BM_STRING_INIT;
    uint8_t length[8];
    int count = 0;
    assert_true(bm_string_append(&header, "{"));
    for (const char *at = tensor_names; *at; count++) {
        const size_t n = strcspn(at, " ");
        assert_true(bm_string_append_format(&header,
                                            "%s\"%.*s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                                            count ? "," : "", (int)n, at, count, count + 1));
        at += n + (at[n] == ' ');
    }
    assert_true(bm_string_append(&header, "}"));
    bm_store_le64(length, header.length);
    assert_true(bm_string_append_bytes(&file, length, 8));
    assert_true(bm_string_append_bytes(&file, header.data, header.length));
    for (int i = 0; i < count; i++)
        assert_true(bm_string_append(&file, "x"));
    bm_free(support_file_write(folder, name, file.data, file.length));
    bm_string_free(&file);
    bm_string_free(&header);
}

static bm_status open_with_index(const char *index, uint32_t *count, uint32_t *unlisted, bm_error *err)
{
    bm_checkpoint *c = NULL;
    bm_free(support_file_write(folder, "model.safetensors.index.json", index, strlen(index)));
    const bm_status status = bm_checkpoint_open(&c, folder, err);
    if (status == BM_OK) {
        *count = bm_checkpoint_count(c);
        *unlisted = bm_checkpoint_num_unlisted(c);
    }
    bm_checkpoint_close(&c);
    return status;
}

static void unlisted_tensors_are_counted_and_left_out(void **state)
{
    uint32_t count = 0, unlisted = 0;
    bm_error err;
    (void)state;
    write_shard("one", "a b extra");
    write_shard("two", "b c"); // b is there twice: the map decides
    assert_ok(open_with_index("{\"weight_map\":{\"a\":\"one\",\"b\":\"two\",\"c\":\"two\"}}", &count, &unlisted, &err),
              &err);
    assert_int_equal(count, 3);
    assert_int_equal(unlisted, 2);
}

static const struct {
    const char *index;
    bm_status status;
    const char *words;
} bad_indexes[] = {
    {"{\"weight_map\":{\"a\":\"../one\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"sub/one\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"sub\\\\one\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"c:one\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"..\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\".\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"\"}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":7}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":null}}", BM_E_FORMAT, "plain name"},
    {"{\"weight_map\":{\"a\":\"one\\u0000\"}}", BM_E_FORMAT, "zero character"},
    {"{\"weight_map\":{\"a\":\"absent\"}}", BM_E_IO, "absent"},
    {"{\"weight_map\":{\"a\":\"one\",\"b\":\"one\"}}", BM_E_FORMAT, "tensor \"b\": is not in \"one\""},
    {"{\"weight_map\":{\"a\":\"one\",\"a\":\"one\"}}", BM_E_FORMAT, "twice"},
    {"{\"weight_map\":[]}", BM_E_FORMAT, "weight_map"},
    {"{}", BM_E_FORMAT, "weight_map"},
    {"[]", BM_E_FORMAT, "weight_map"},
    {"x", BM_E_FORMAT, "JSON"},
};

static void bad_indexes_are_refused_with_words(void **state)
{
    (void)state;
    write_shard("one", "a");
    for (size_t i = 0; i < BM_COUNT(bad_indexes); i++) {
        uint32_t count = 0, unlisted = 0;
        bm_error err = {0};
        const bm_status status = open_with_index(bad_indexes[i].index, &count, &unlisted, &err);
        if (status != bad_indexes[i].status || !strstr(err.message, bad_indexes[i].words))
            fail_msg("case %zu: %s: status %s, words \"%s\"", i, bad_indexes[i].index, bm_status_name(status),
                     err.message);
    }
}

static void a_folder_without_weights_says_so(void **state)
{
    bm_checkpoint *c = NULL;
    bm_error err;
    char *absent = bm_path_join(folder, "absent");
    (void)state;
    assert_int_equal(bm_checkpoint_open(&c, folder, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "model.safetensors"));
    assert_int_equal(bm_checkpoint_open(&c, absent, &err), BM_E_IO);
    assert_null(c);
    bm_free(absent);
}

// What other programs leave in an index: a tensor that it does not name, one that it places in another shard.
static void where_a_tensor_lies_is_known_though_the_index_does_not_say(void **state)
{
    static const char index[] = "{\"weight_map\":{\"a\":\"one\",\"c\":\"two\"}}";
    uint32_t count = 0, unlisted = 0;
    bm_error err = {0};
    bm_checkpoint *c = NULL;
    (void)state;
    write_shard("one", "a");
    write_shard("two", "b c");
    bm_free(support_file_write(folder, "model.safetensors.index.json", index, sizeof index - 1));
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    assert_null(bm_checkpoint_find(c, "b"));
    assert_null(bm_checkpoint_find_unlisted(c, "a"));
    const bm_tensor_info *b = bm_checkpoint_find_unlisted(c, "b");
    assert_non_null(b);
    assert_true(bm_ends_with(bm_checkpoint_file_name(b), "/two"));
    bm_checkpoint_close(&c);
    assert_int_equal(
        open_with_index("{\"weight_map\":{\"a\":\"one\",\"b\":\"one\",\"c\":\"two\"}}", &count, &unlisted, &err),
        BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tensor \"b\": is not in \"one\", as the weight_map says, but in two"));
}

// Lets the process open `more` files beside those that are open; returns the limit that it had.
static struct rlimit limit_files(int more)
{
    struct rlimit limit, small;
    int number = 0; // of descriptors below it, as many are free as may be opened
    for (; more > 0; number++)
        if (fcntl(number, F_GETFD) < 0)
            more--;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    small = limit;
    small.rlim_cur = (rlim_t)number;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    return limit;
}

enum { MANY = 30 }; // shards

// A tensor a shard, written in order, holds one file open; reading holds eight.
static void many_shards_need_few_open_files(void **state)
{
    const uint64_t shape[1] = {3};
    bm_checkpoint_writer *writer = NULL;
    bm_checkpoint *c = NULL;
    bm_error err = {0};
    char name[16];
    (void)state;
    struct rlimit limit = limit_files(1);
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 1, &err), &err);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t%02d", i);
        assert_ok(bm_checkpoint_writer_declare(writer, name, BM_DTYPE_U8, shape, 1, &err), &err);
    }
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (int i = 0; i < MANY; i++) {
        const uint8_t bytes[3] = {(uint8_t)i, 1, 2};
        snprintf(name, sizeof name, "t%02d", i);
        assert_ok(bm_checkpoint_writer_put(writer, name, 0, bytes, 3, &err), &err);
    }
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(num_files(), MANY + 1);
    limit = limit_files(8);
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    for (int i = 0; i < 3 * MANY; i++) {
        uint8_t byte = 255;
        const int t = i < MANY ? i : i * 7 % MANY; // in order, then jumping
        snprintf(name, sizeof name, "t%02d", t);
        assert_ok(bm_checkpoint_read(c, bm_checkpoint_find(c, name), 0, &byte, 1, &err), &err);
        assert_int_equal(byte, t);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    bm_checkpoint_close(&c);
}

// The first shard was closed when the last was read. It is another file when it is opened again.
static void a_shard_that_changes_its_size_is_an_io_error(void **state)
{
    uint8_t byte;
    bm_string index = BM_STRING_INIT;
    bm_checkpoint *c = NULL;
    bm_error err = {0};
    char name[16];
    (void)state;
    assert_true(bm_string_append(&index, "{\"weight_map\":{"));
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "s%02d", i);
        write_shard(name, name);
        assert_true(bm_string_append_format(&index, "%s\"%s\":\"%s\"", i ? "," : "", name, name));
    }
    assert_true(bm_string_append(&index, "}}"));
    bm_free(support_file_write(folder, "model.safetensors.index.json", index.data, index.length));
    bm_string_free(&index);
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    write_shard("s00", "s00 more");
    assert_int_equal(bm_checkpoint_read(c, bm_checkpoint_find(c, "s00"), 0, &byte, 1, &err), BM_E_IO);
    assert_non_null(strstr(err.message, "when it was opened first"));
    assert_ok(bm_checkpoint_read(c, bm_checkpoint_find(c, "s01"), 0, &byte, 1, &err), &err);
    bm_checkpoint_close(&c);
}

static void the_single_file_comes_before_the_index(void **state)
{
    uint32_t count = 0, unlisted = 0;
    bm_error err;
    (void)state;
    write_shard("model.safetensors", "a b");
    write_shard("one", "c");
    assert_ok(open_with_index("{\"weight_map\":{\"c\":\"one\"}}", &count, &unlisted, &err), &err);
    assert_int_equal(count, 2);
}

static void a_file_is_opened_by_its_path(void **state)
{
    bm_checkpoint *c = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "other.safetensors");
    (void)state;
    write_shard("other.safetensors", "a");
    assert_ok(bm_checkpoint_open(&c, path, &err), &err);
    assert_int_equal(bm_checkpoint_count(c), 1);
    bm_checkpoint_close(&c);
    bm_free(path);
}

static void a_file_cut_after_opening_is_an_io_error(void **state)
{
    uint8_t byte;
    bm_checkpoint *c = NULL;
    bm_error err;
    char *path = bm_path_join(folder, "model.safetensors");
    (void)state;
    write_shard("model.safetensors", "a b");
    assert_ok(bm_checkpoint_open(&c, folder, &err), &err);
    bm_free(support_file_write(folder, "model.safetensors", "cut", 3));
    assert_int_equal(bm_checkpoint_read(c, bm_checkpoint_find(c, "b"), 0, &byte, 1, &err), BM_E_IO);
    assert_non_null(strstr(err.message, path));
    bm_checkpoint_close(&c);
    bm_free(path);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(one_file_is_read_as_written),
        WITH_FOLDER(shards_of_every_size_are_read_as_written),
        WITH_FOLDER(header_is_padded_and_marked_as_the_reference_does),
        WITH_FOLDER(index_gives_the_total_and_every_name),
        WITH_FOLDER(writer_refuses_what_does_not_fit_the_declaration),
        WITH_FOLDER(more_dimensions_than_the_reader_takes_are_refused),
        WITH_FOLDER(declarations_beyond_2_53_bytes_in_all_are_refused),
        WITH_FOLDER(destroyed_writer_leaves_nothing),
        WITH_FOLDER(unlisted_tensors_are_counted_and_left_out),
        WITH_FOLDER(bad_indexes_are_refused_with_words),
        WITH_FOLDER(a_folder_without_weights_says_so),
        WITH_FOLDER(where_a_tensor_lies_is_known_though_the_index_does_not_say),
        WITH_FOLDER(many_shards_need_few_open_files),
        WITH_FOLDER(a_shard_that_changes_its_size_is_an_io_error),
        WITH_FOLDER(the_single_file_comes_before_the_index),
        WITH_FOLDER(a_file_is_opened_by_its_path),
        WITH_FOLDER(a_file_cut_after_opening_is_an_io_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
