// What is read ahead is what is read; what cannot be read is an error where it is asked for.
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "formats/checkpoint_writer.h"
#include "formats/read_ahead.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

enum { NUM_BLOCKS = 5, NUM_TENSORS = 4, COUNT = 3000, BYTES = COUNT * 4 };

static char *folder;
static bm_checkpoint *checkpoint;

static float value_of(uint32_t block, uint32_t tensor, uint32_t i)
{
    return (float)(block * 1000 + tensor * 100) + (float)i / 16;
}

static const bm_tensor_info *find(uint32_t block, uint32_t tensor)
{
    char name[64];
    snprintf(name, sizeof name, "blocks.%u.%u", block, tensor);
    return bm_checkpoint_find(checkpoint, name);
}

// The last tensor of block 2 holds an infinity.
static int make(void **state)
{
    static const uint64_t shape[] = {COUNT};
    static float values[COUNT];
    bm_checkpoint_writer *writer = NULL;
    bm_error err;
    char name[64];
    (void)state;
    folder = support_folder_create();
    assert_ok(bm_checkpoint_writer_create(&writer, folder, 3 * BYTES, &err), &err); // files are opened and closed
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t b = 0; b < NUM_BLOCKS; b++)
            for (uint32_t t = 0; t < NUM_TENSORS; t++) {
                snprintf(name, sizeof name, "blocks.%u.%u", b, t);
                for (uint32_t i = 0; i < COUNT; i++)
                    values[i] = value_of(b, t, i);
                if (b == 2 && t == 3)
                    memcpy(&values[7], &(uint32_t){0x7f800000}, 4);
                if (pass == 0)
                    assert_ok(bm_checkpoint_writer_declare(writer, name, BM_DTYPE_F32, shape, 1, &err), &err);
                else
                    assert_ok(bm_checkpoint_writer_put(writer, name, 0, values, BYTES, &err), &err);
            }
        if (pass == 0)
            assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    }
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    bm_checkpoint_close(&checkpoint);
    support_folder_remove(&folder);
    return 0;
}

static void want(bm_read_ahead *reader, uint32_t block)
{
    const bm_tensor_info *tensors[NUM_TENSORS];
    for (uint32_t t = 0; t < NUM_TENSORS; t++)
        tensors[t] = find(block, t);
    bm_read_ahead_want(reader, block, tensors, NUM_TENSORS);
}

static void check_piece(uint32_t block, uint32_t tensor, bool is_ahead)
{
    bm_checkpoint_piece piece;
    bm_error err;
    float read[10];
    assert_ok(bm_checkpoint_take(checkpoint, find(block, tensor), 100, 2000, &piece, &err), &err);
    assert_true((piece.own == NULL) == is_ahead);
    for (uint32_t i = 0; i < 2000; i++) {
        float found;
        memcpy(&found, piece.bytes + 4 * (uint64_t)i, sizeof found);
        assert_true(found == value_of(block, tensor, 100 + i));
    }
    bm_checkpoint_piece_free(&piece);
    assert_ok(bm_checkpoint_read(checkpoint, find(block, tensor), 40, read, sizeof read, &err), &err);
    assert_true(read[0] == value_of(block, tensor, 10) && read[9] == value_of(block, tensor, 19));
}

static void blocks_are_read_one_ahead(void **state)
{
    bm_read_ahead *reader = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_read_ahead_start(&reader, checkpoint, 2 * NUM_TENSORS * BYTES, false, NULL, &err), &err);
    want(reader, 0);
    for (uint32_t b = 0; b < NUM_BLOCKS; b++) {
        if (b + 1 < NUM_BLOCKS)
            want(reader, b + 1);
        for (uint32_t t = 0; t < NUM_TENSORS; t++)
            if (b != 2 || t != 3)
                check_piece(b, t, true);
        if (b == 0)
            check_piece(3, 0, false); // nobody wanted it
        bm_read_ahead_drop(reader, b);
    }
    bm_read_ahead_stop(&reader);
    check_piece(0, 0, false);
}

static void all_is_read_behind_a_wait(void **state)
{
    bm_error err;
    bm_read_ahead *reader = NULL;
    bm_timeline *timeline = bm_timeline_create();
    (void)state;
    assert_non_null(timeline);
    assert_ok(bm_read_ahead_start(&reader, checkpoint, UINT64_MAX, false, timeline, &err), &err);
    want(reader, 0);
    want(reader, 2); // of which one cannot be
    bm_read_ahead_wait(reader);
    assert_int_equal(timeline->tracks[BM_TRACK_READING].count, 2 * NUM_TENSORS);
    bm_read_ahead_wait(reader); // for nothing more
    bm_read_ahead_wait(NULL);
    bm_read_ahead_stop(&reader);
    bm_free(timeline);
}

static void memory_is_bounded(void **state)
{
    bm_read_ahead *reader = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_read_ahead_start(&reader, checkpoint, 2 * NUM_TENSORS * BYTES - 1, false, NULL, &err), &err);
    want(reader, 0);
    want(reader, 1); // does not fit beside it
    check_piece(0, 3, true);
    check_piece(1, 0, false);
    bm_read_ahead_drop(reader, 0);
    want(reader, 1);
    check_piece(1, 0, true);
    bm_read_ahead_stop(&reader);
}

// Memory of a block serves the next but one; of another size it is given back.
static void memory_is_used_again(void **state)
{
    bm_read_ahead *reader = NULL;
    bm_error err;
    const uint8_t *before[NUM_TENSORS];
    (void)state;
    assert_ok(bm_read_ahead_start(&reader, checkpoint, 2 * NUM_TENSORS * BYTES, false, NULL, &err), &err);
    want(reader, 0);
    for (uint32_t t = 0; t < NUM_TENSORS; t++)
        assert_non_null(before[t] = bm_read_ahead_find(reader, find(0, t), false));
    want(reader, 1);
    for (uint32_t t = 0; t < NUM_TENSORS; t++)
        assert_non_null(bm_read_ahead_find(reader, find(1, t), false));
    bm_read_ahead_drop(reader, 0);
    want(reader, 3);
    for (uint32_t t = 0, found = 0; t < NUM_TENSORS; t++, found = 0) {
        const uint8_t *bytes = bm_read_ahead_find(reader, find(3, t), false);
        for (uint32_t i = 0; i < NUM_TENSORS; i++)
            found += bytes == before[i];
        assert_int_equal(found, 1);
        check_piece(3, t, true);
    }
    bm_read_ahead_stop(&reader);
}

static void errors_arise_where_it_is_asked_for(void **state)
{
    bm_read_ahead *reader = NULL;
    bm_checkpoint_piece piece;
    bm_error err;
    (void)state;
    assert_ok(bm_read_ahead_start(&reader, checkpoint, UINT64_MAX, false, NULL, &err), &err);
    want(reader, 2);
    check_piece(2, 2, true);
    assert_int_equal(bm_checkpoint_take(checkpoint, find(2, 3), 0, COUNT, &piece, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tensor \"blocks.2.3\": NaN or infinity at element 7"));
    assert_int_equal(bm_checkpoint_take(checkpoint, find(2, 1), 1, COUNT, &piece, &err), BM_E_ARGUMENT);
    bm_read_ahead_stop(&reader);
}

// Stopped and dropped at once, while it reads.
static void it_may_stop_at_any_time(void **state)
{
    bm_error err;
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        bm_read_ahead *reader = NULL;
        assert_ok(bm_read_ahead_start(&reader, checkpoint, UINT64_MAX, false, NULL, &err), &err);
        for (uint32_t b = 0; b < NUM_BLOCKS; b++)
            want(reader, b);
        for (uint32_t b = 0; b < i % NUM_BLOCKS; b++)
            bm_read_ahead_drop(reader, b);
        if (i % 2 == 0)
            check_piece(4, i % NUM_TENSORS, true);
        bm_read_ahead_stop(&reader);
    }
}

// More than two pieces, which several threads read. The larger one ends in a NaN.
static void large_tensors_are_whole(void **state)
{
    enum { LARGE = (9 << 20) / 4 + 13 };
    static const uint64_t shapes[] = {LARGE, LARGE + 1};
    static const char *const names[] = {"large", "larger"};
    (void)state;
    bm_error err;
    bm_checkpoint_writer *writer = NULL;
    bm_checkpoint *large = NULL;
    bm_read_ahead *reader = NULL;
    char *place = support_folder_create();
    float *values = bm_alloc(LARGE + 1, sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < LARGE; i++)
        values[i] = (float)i;
    memcpy(&values[LARGE], &(uint32_t){0x7fc00000}, 4);
    assert_ok(bm_checkpoint_writer_create(&writer, place, UINT64_MAX, &err), &err);
    for (uint32_t t = 0; t < 2; t++)
        assert_ok(bm_checkpoint_writer_declare(writer, names[t], BM_DTYPE_F32, &shapes[t], 1, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (uint32_t t = 0; t < 2; t++)
        assert_ok(bm_checkpoint_writer_put(writer, names[t], 0, values, 4 * shapes[t], &err), &err);
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    assert_ok(bm_checkpoint_open(&large, place, &err), &err);
    assert_ok(bm_read_ahead_start(&reader, large, UINT64_MAX, false, NULL, &err), &err);
    const bm_tensor_info *tensors[2] = {bm_checkpoint_find(large, "large"), bm_checkpoint_find(large, "larger")};
    bm_read_ahead_want(reader, 0, tensors, 2);
    const uint8_t *bytes = bm_read_ahead_find(reader, tensors[0], false);
    assert_non_null(bytes);
    assert_memory_equal(bytes, values, 4 * (uint64_t)LARGE);
    assert_null(bm_read_ahead_find(reader, tensors[1], false));
    bm_read_ahead_stop(&reader);
    bm_checkpoint_close(&large);
    support_folder_remove(&place);
    bm_free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_read_one_ahead),
        cmocka_unit_test(all_is_read_behind_a_wait),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(memory_is_used_again),
        cmocka_unit_test(errors_arise_where_it_is_asked_for),
        cmocka_unit_test(large_tensors_are_whole),
        cmocka_unit_test(it_may_stop_at_any_time),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
