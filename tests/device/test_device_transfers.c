// Transfers and clocks of every backend. The device's spec is the only argument.
#include "device/fixture.h"

#include <string.h>

// More than any staging memory holds, in rows of every kind; what is no padding (behind the next 16 bytes) survives.
static void rows_of_every_kind_arrive_and_spare_neighbours(void **state)
{
    (void)state;
    static const struct {
        uint64_t row_bytes, dst_stride, src_stride, num_rows;
    } cases[] = {
        {1 << 20, 1 << 20, 1 << 20, 70},          // dense, longer than a ring
        {1000001, 1000016, 1000001, 40},          // padded to 16 bytes
        {999999, 1000064, 1000003, 40},           // a slice of wider rows
        {9u << 20, (9u << 20) + 32, 9u << 20, 5}, // rows longer than a piece
        {4, 16, 4, 100000},                       // short rows
        {4, 32, 4, 1000},                         // a slice of short rows
        {4, 64, 4, 1000},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint64_t rows = cases[i].num_rows, stride = cases[i].dst_stride, bytes = cases[i].row_bytes;
        const uint64_t size = 16 + rows * stride, src_bytes = (rows - 1) * cases[i].src_stride + bytes;
        uint8_t *src = bm_alloc(src_bytes, 1), *back = bm_alloc_zero(size, 1);
        assert_true(src && back);
        for (uint64_t b = 0; b < src_bytes; b++)
            src[b] = (uint8_t)(b * 31 + b / 251);
        bm_buffer *buffer = make_buffer(size);
        const bm_view whole = bm_buffer_view(buffer), body = bm_view_part(whole, 16, size - 16);
        MUST(bm_fill(test_device, whole, 0xabababab, &failure));
        MUST(bm_upload_rows(test_device, body, stride, src, cases[i].src_stride, bytes, rows, &failure));
        MUST(bm_download(test_device, whole, back, size, &failure));
        MUST(bm_device_wait(test_device, &failure));
        for (uint64_t b = 0; b < 16; b++)
            assert_int_equal(back[b], 0xab);
        for (uint64_t r = 0; r < rows; r++) {
            const uint8_t *row = back + 16 + r * stride;
            assert_memory_equal(row, src + r * cases[i].src_stride, bytes);
            for (uint64_t b = bm_round_up(bytes, 16); b < stride; b++)
                assert_int_equal(row[b], 0xab);
        }
        memset(src, 0xcd, src_bytes); // and back in rows: what lies between the caller's rows stays
        MUST(bm_download_rows(test_device, body, stride, src, cases[i].src_stride, bytes, rows, &failure));
        MUST(bm_device_wait(test_device, &failure));
        for (uint64_t r = 0; r < rows; r++) {
            assert_memory_equal(src + r * cases[i].src_stride, back + 16 + r * stride, bytes);
            for (uint64_t b = bytes; r + 1 < rows && b < cases[i].src_stride; b++)
                assert_int_equal(src[r * cases[i].src_stride + b], 0xcd);
        }
        bm_free(src);
        bm_free(back);
        bm_buffer_destroy(&buffer);
    }
}

// More than any queue of transfers holds; the source is reused at once.
static void many_small_uploads_arrive(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static uint32_t back[COUNT * 4];
    bm_buffer *buffer = make_buffer(sizeof back);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t word = i * 2654435761u;
        MUST(bm_upload(test_device, bm_view_part(bm_buffer_view(buffer), (uint64_t)i * 16, 4), &word, 4, &failure));
        word = 0;
    }
    MUST(bm_download(test_device, bm_buffer_view(buffer), back, sizeof back, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(back[i * 4], i * 2654435761u);
    bm_buffer_destroy(&buffer);
}

static void copies_keep_their_place_in_the_order(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *y = make_buffer(160);
    const bm_view from = bm_buffer_view(x), to = bm_buffer_view(y);
    float back[40];
    MUST(bm_fill(test_device, to, 0x40000000, &failure)); // 2.0
    MUST(convert(from, bm_view_part(to, 0, 64), 16, NULL));
    MUST(bm_copy(test_device, bm_view_part(to, 80, 64), bm_view_part(to, 0, 64),
                 &failure)); // behind the kernel, one buffer
    MUST(bm_copy(test_device, bm_view_part(to, 16, 32), bm_view_part(from, 32, 32), &failure));
    MUST(bm_copy(test_device, bm_view_part(to, 64, 12), bm_view_part(from, 16, 12), &failure)); // no multiple of 16
    MUST(bm_fill(test_device, from, 0, &failure));
    MUST(bm_download(test_device, to, back, sizeof back, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t i = 0; i < 40; i++) {
        const float expected = i >= 4 && i < 12    ? (float)(i + 4)
                               : i < 16            ? (float)i
                               : i < 19            ? (float)(i - 12)
                               : i >= 20 && i < 36 ? (float)(i - 20)
                                                   : 2.0f;
        assert_true(back[i] == expected);
    }
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

static void copies_that_overlap_or_differ_are_refused(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *y = make_buffer(64);
    const bm_view whole = bm_buffer_view(x);
    assert_int_equal(bm_copy(test_device, bm_view_part(whole, 16, 32), bm_view_part(whole, 32, 32), &failure),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_copy(test_device, whole, whole, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_copy(test_device, bm_buffer_view(y), bm_view_part(whole, 0, 32), &failure), BM_E_ARGUMENT);
    assert_non_null(strstr(failure.message, "copy: views must be of equal size and apart"));
    MUST(bm_copy(test_device, bm_view_part(whole, 0, 32), bm_view_part(whole, 32, 32), &failure)); // side by side
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

// Pieces of memory of the host arrive at their places, there and back, in the order of the calls and without a wait between.
static void host_memory_is_copied_to_and_from(void **state)
{
    (void)state;
    enum { COUNT = 3 << 20, PART = 1 << 20 }; // values
    static float values[COUNT], back[COUNT];
    bm_buffer *host = NULL, *other = NULL, *x = make_buffer(sizeof values), *y = make_buffer(sizeof(float) * PART);
    const uint64_t live = bm_device_live_bytes(test_device), part = sizeof(float) * PART;
    MUST(bm_host_buffer_create(test_device, sizeof values, "kept", &host, &failure));
    assert_int_equal(bm_device_live_bytes(test_device), live);
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = (float)i;
    const bm_view all = bm_buffer_view(x), kept = bm_buffer_view(host), one = bm_buffer_view(y);
    MUST(bm_upload(test_device, all, values, sizeof values, &failure));
    MUST(bm_copy(test_device, kept, all, &failure));
    MUST(bm_fill(test_device, all, 0, &failure));
    for (uint32_t i = 0; i < 3; i++) { // the last part to the first place, and so on
        MUST(bm_copy(test_device, one, bm_view_part(kept, (2 - i) * part, part), &failure));
        MUST(bm_copy(test_device, bm_view_part(all, i * part, part), one, &failure));
    }
    MUST(bm_copy(test_device, bm_view_part(kept, part, part), bm_view_part(all, 0, part), &failure));
    MUST(bm_copy(test_device, bm_view_part(all, 0, part), bm_view_part(kept, part, part), &failure));
    MUST(bm_download(test_device, all, back, sizeof back, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t i = 0; i < 3; i++)
        assert_memory_equal(back + i * PART, values + (2 - i) * PART, part);

    assert_int_equal(bm_upload(test_device, kept, values, sizeof values, &failure), BM_E_ARGUMENT);
    assert_non_null(strstr(failure.message, "buffer \"kept\" is memory of the host"));
    assert_int_equal(convert(kept, all, 16, NULL), BM_E_ARGUMENT);
    MUST(bm_host_buffer_create(test_device, sizeof values, "other", &other, &failure));
    assert_int_equal(bm_copy(test_device, bm_buffer_view(other), kept, &failure), BM_E_ARGUMENT);
    assert_non_null(strstr(failure.message, "both \"kept\" and \"other\" are memory of the host"));
    assert_int_equal(bm_host_buffer_create(test_device, 0, "none", &other, &failure), BM_E_ARGUMENT);
    bm_buffer_destroy(&host);
    bm_buffer_destroy(&other);
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

static void timestamps_may_be_recorded_again(void **state)
{
    (void)state;
    const uint32_t last = BM_MAX_TIMESTAMPS - 1;
    double ns = -1, back = 1;
    for (int i = 0; i < 3; i++) {
        MUST(bm_timestamp_record(test_device, 0, &failure));
        assert_true(add_is_right(test_device));
        MUST(bm_timestamp_record(test_device, last, &failure));
        MUST(bm_device_wait(test_device, &failure));
        MUST(bm_timestamp_elapsed_ns(test_device, 0, last, &ns, &failure));
        MUST(bm_timestamp_elapsed_ns(test_device, last, 0, &back, &failure));
        assert_true(ns > 0 && ns < 60e9);
        assert_true(back == -ns);
    }
    assert_int_equal(bm_timestamp_record(test_device, BM_MAX_TIMESTAMPS, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_timestamp_elapsed_ns(test_device, 0, BM_MAX_TIMESTAMPS, &ns, &failure), BM_E_ARGUMENT);
    if (!bm_device_is_host(test_device)) // never recorded
        assert_int_equal(bm_timestamp_elapsed_ns(test_device, 0, 1, &ns, &failure), BM_E_ARGUMENT);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_A_DEVICE(rows_of_every_kind_arrive_and_spare_neighbours),
        ON_A_DEVICE(many_small_uploads_arrive),
        ON_A_DEVICE(copies_keep_their_place_in_the_order),
        ON_A_DEVICE(copies_that_overlap_or_differ_are_refused),
        ON_A_DEVICE(host_memory_is_copied_to_and_from),
        ON_A_DEVICE(timestamps_may_be_recorded_again),
    };
    return device_fixture_main(argc, argv, tests, BM_COUNT(tests));
}
