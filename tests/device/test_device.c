// What every backend must do, through the front of the device layer: arguments, order, parallel sections, reports,
// words. The device's spec is the only argument.
#include "device/fixture.h"

#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

// The call is refused with words that hold part.
#define REFUSED(call, part)                                                                                            \
    do {                                                                                                               \
        assert_int_equal((call), BM_E_ARGUMENT);                                                                       \
        if (!strstr(failure.message, (part)))                                                                          \
            fail_msg("\"%s\" lacks \"%s\"", failure.message, (part));                                                  \
    } while (0)

static void views_are_checked(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *foreign = NULL;
    bm_device *other = open_with(NULL, false);
    const bm_view good = bm_buffer_view(x), no_view = {NULL, 0, 0};
    MUST(bm_buffer_create(other, 64, "foreign", &foreign, &failure));
    REFUSED(convert(no_view, good, 16, NULL), "convert: x: no buffer");
    REFUSED(convert(good, bm_view_part(good, 8, 16), 4, NULL), "convert: y: offset 8");
    REFUSED(convert(good, bm_view_part(good, 0, 80), 4, NULL), "convert: y: bytes 0..80");
    REFUSED(convert(good, bm_view_part(good, 80, 0), 4, NULL), "convert: y: bytes 80..80");
    REFUSED(convert(good, bm_view_part(good, 16, UINT64_MAX - 8), 4, NULL), "convert: y: bytes");
    REFUSED(convert(bm_buffer_view(foreign), good, 16, NULL), "belongs to another device");
    bm_buffer_destroy(&foreign);
    bm_device_close(&other);
    bm_buffer_destroy(&x);
}

// A kernel may load the last 16 bytes of any buffer whole.
static void buffers_end_at_a_multiple_of_16(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= 33; size += 8) {
        bm_buffer *x = make_buffer(size);
        assert_int_equal(bm_buffer_view(x).size, bm_round_up(size, 16));
        bm_buffer_destroy(&x);
    }
}

static void rows_are_checked(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *none = NULL;
    const bm_view view = bm_buffer_view(x);
    float values[16] = {0};
    REFUSED(bm_upload(test_device, view, values, 65, &failure), "do not fit a view of 64 bytes");
    REFUSED(bm_upload(test_device, view, values, 0, &failure), "do not fit");
    REFUSED(bm_upload_rows(test_device, view, 16, values, 16, 16, 5, &failure), "5 rows of 16 bytes");
    REFUSED(bm_upload_rows(test_device, view, 16, values, 32, 20, 2, &failure), "at a stride of 16");
    REFUSED(bm_download_rows(test_device, view, UINT64_MAX / 2, values, 16, 16, 3, &failure), "download: 3 rows");
    REFUSED(bm_fill(test_device, bm_view_part(view, 0, 6), 0, &failure), "fill: 6 bytes, expected a multiple of 4");
    REFUSED(bm_buffer_create(test_device, 0, "empty", &none, &failure), "empty: a buffer of 0 bytes");
    REFUSED(bm_buffer_create(test_device, test_device->info.limits.max_allocation_bytes + 1, "huge", &none, &failure),
            "huge: ");
    MUST(bm_upload_rows(test_device, view, 16, values, 16, 20, 1, &failure)); // one row needs no stride
    MUST(bm_device_wait(test_device, &failure));
    bm_buffer_destroy(&x);
}

static void calls_are_checked(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *y = make_buffer(64);
    const bm_device_limits *limits = &bm_device_get_info(test_device)->limits;
    const bm_convert_scalars scalars = {1, 16, 16, 16};
    const bm_call good = {.kernel = BM_KERNEL_CONVERT,
                          .buffers = {bm_buffer_view(x), bm_buffer_view(y)},
                          .types = {BM_DTYPE_F32, BM_DTYPE_F32},
                          .scalars = &scalars,
                          .groups = {1, 1, 1}};
    bm_call call = good;
    call.kernel = BM_NUM_KERNELS;
    REFUSED(bm_dispatch(test_device, &call, &failure), "no kernel");
    call = good;
    call.variant = 1;
    REFUSED(bm_dispatch(test_device, &call, &failure), "convert: variant 1 is not on");
    call = good;
    call.groups[1] = 0;
    REFUSED(bm_dispatch(test_device, &call, &failure), "convert: 0 work-groups in dimension 1");
    for (uint32_t d = 0; d < 3; d++)
        if (limits->max_groups[d] < UINT32_MAX) {
            call = good;
            call.groups[d] = limits->max_groups[d] + 1;
            REFUSED(bm_dispatch(test_device, &call, &failure), "work-groups in dimension");
        }
    call = good;
    call.tunables[0] = limits->max_group_invocations + 1;
    REFUSED(bm_dispatch(test_device, &call, &failure), "convert: GROUP");
    call = good;
    call.types[0] = BM_DTYPE_I8;
    REFUSED(bm_dispatch(test_device, &call, &failure), "convert: x: storage type I8");
    call = good;
    call.types[1] = BM_DTYPE_F64;
    if (!bm_device_is_host(test_device))
        REFUSED(bm_dispatch(test_device, &call, &failure), "convert: y: storage type F64");
    call = good;
    call.scalars = NULL;
    REFUSED(bm_dispatch(test_device, &call, &failure), "convert: no scalars");
    MUST(bm_dispatch(test_device, &good, &failure));
    MUST(bm_device_wait(test_device, &failure));
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

// Enough dispatches that the list of views grows; what follows the section sees all of it.
static void parallel_sections_give_the_same(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static float back[COUNT][16];
    bm_buffer *x = make_values(16), *y = make_buffer(sizeof back), *z = make_buffer(sizeof back);
    const bm_view from = bm_buffer_view(x), whole = bm_buffer_view(y);
    for (int round = 0; round < 2; round++) {
        MUST(bm_fill(test_device, whole, 0, &failure));
        MUST(bm_batch_parallel_begin(test_device, &failure));
        for (uint32_t i = 0; i < COUNT; i++)
            MUST(convert(from, bm_view_part(whole, 64 * i, 64), 16, NULL));
        MUST(bm_batch_parallel_end(test_device, &failure));
        MUST(convert(whole, bm_buffer_view(z), 16 * COUNT, NULL));
        MUST(bm_download(test_device, bm_buffer_view(z), back, sizeof back, &failure));
        MUST(bm_device_wait(test_device, &failure));
        for (uint32_t i = 0; i < COUNT; i++)
            for (uint32_t k = 0; k < 16; k++)
                assert_true(back[i][k] == (float)k);
    }
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
    bm_buffer_destroy(&z);
}

static void parallel_sections_refuse_what_depends(void **state)
{
    (void)state;
    static const char touches[] = "touches what another dispatch of the section writes";
    bm_buffer *x = make_values(16), *y = make_buffer(256);
    const bm_view from = bm_buffer_view(x), to = bm_buffer_view(y);
    float value = 0;
    REFUSED(bm_batch_parallel_end(test_device, &failure), "no parallel section is open");
    MUST(bm_batch_parallel_begin(test_device, &failure));
    REFUSED(bm_batch_parallel_begin(test_device, &failure), "open already");
    MUST(convert(from, bm_view_part(to, 0, 64), 16, NULL));
    REFUSED(convert(from, bm_view_part(to, 48, 64), 16, NULL), touches);                     // written twice
    REFUSED(convert(bm_view_part(to, 0, 64), bm_view_part(to, 128, 64), 16, NULL), touches); // written, then read
    REFUSED(convert(bm_view_part(to, 192, 64), from, 16, NULL), touches);                    // read, then written
    MUST(convert(from, bm_view_part(to, 128, 64), 16, NULL)); // what was refused has left nothing
    REFUSED(bm_upload(test_device, to, &value, 4, &failure), "no transfers inside a parallel section");
    REFUSED(bm_download(test_device, to, &value, 4, &failure), "no transfers inside a parallel section");
    REFUSED(bm_fill(test_device, to, 0, &failure), "no transfers inside a parallel section");
    REFUSED(bm_copy(test_device, bm_view_part(to, 64, 16), from, &failure), "no transfers inside a parallel section");
    MUST(bm_batch_parallel_end(test_device, &failure));
    MUST(convert(from, bm_view_part(to, 48, 64), 16, NULL)); // outside everything is ordered
    MUST(bm_device_wait(test_device, &failure));
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

static uint32_t num_submits;

static bm_status counted_submit(bm_device *d, bm_error *err)
{
    num_submits++;
    return real->submit(d, err);
}

// The first behind a wait early, for the device stands idle; later ones are longer.
static void long_batches_are_submitted_in_between(void **state)
{
    (void)state;
    static const uint32_t ends[] = {8, 24, 56, 120, 184};
    bm_buffer *x = make_values(16), *y = make_buffer(64);
    make_faulty();
    faulty.submit = counted_submit;
    for (uint32_t round = 0; round < 2; round++) {
        num_submits = 0;
        for (uint32_t i = 1; i <= ends[4]; i++) {
            MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 16, NULL));
            assert_int_equal(num_submits,
                             (i >= ends[0]) + (i >= ends[1]) + (i >= ends[2]) + (i >= ends[3]) + (i >= ends[4]));
        }
        if (round == 0)
            MUST(bm_device_wait(test_device, &failure));
    }
    MUST(bm_batch_parallel_begin(test_device, &failure));
    for (uint32_t i = 0; i < 2 * BM_AUTO_SUBMIT; i++)
        MUST(convert(bm_buffer_view(x), bm_view_part(bm_buffer_view(y), 0, 0), 0, NULL));
    assert_int_equal(num_submits, 5); // never inside a section
    MUST(bm_batch_parallel_end(test_device, &failure));
    MUST(bm_device_wait(test_device, &failure));
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

// Systems time submissions: one that would grow beyond a quarter of a second, by the estimates, is ended before.
static void long_work_goes_in_several_submissions(void **state)
{
    (void)state;
    static const double seconds[] = {0, 0.1, 0.1, 0.1, 0, 5, 0, 0.2}; // the fourth, the sixth and the seventh begin one
    static const uint32_t submissions[] = {0, 0, 0, 1, 1, 2, 3, 3};
    bm_buffer *buffers[3] = {make_buffer(256), make_buffer(256), make_buffer(256)};
    const bm_add_scalars scalars = {.rows = 1, .cols = 64, .x_stride = 64, .y_stride = 64, .z_stride = 64, .factor = 1};
    bm_call call = add_call(buffers, &scalars);
    make_faulty();
    faulty.submit = counted_submit;
    num_submits = 0;
    for (size_t i = 0; i < BM_COUNT(seconds); i++) {
        call.seconds = seconds[i];
        MUST(bm_dispatch(test_device, &call, &failure));
        assert_int_equal(num_submits, submissions[i]);
    }
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
}

static void report_survives_a_wait_for_memory(void **state)
{
    (void)state;
    bm_buffer *bad = make_values(5), *worse = make_values(0), *y = make_buffer(64);
    MUST(convert(bm_buffer_view(bad), bm_buffer_view(y), 16, "first tensor"));
    MUST(bm_device_drain(test_device, &failure));
    MUST(convert(bm_buffer_view(worse), bm_buffer_view(y), 16, "second tensor"));
    assert_int_equal(bm_device_wait(test_device, &failure), BM_E_NUMERIC);
    assert_non_null(strstr(failure.message, "first tensor: NaN or infinity at element 4"));
    MUST(bm_device_wait(test_device, &failure)); // said once
    bm_buffer_destroy(&bad);
    bm_buffer_destroy(&worse);
    bm_buffer_destroy(&y);
}

// A report is found inside a call that fails for another reason, or never: its job gives up, and the next one begins
// anew.
static void reports_of_an_earlier_job_are_forgotten(void **state)
{
    (void)state;
    float back[16];
    bm_buffer *bad = make_values(5), *good = make_values(16), *y = make_buffer(64);
    const bm_view to = bm_buffer_view(y);
    for (int found = 0; found < 2; found++) {
        MUST(convert(bm_buffer_view(bad), to, 16, "of the first job"));
        if (found) {
            MUST(bm_download(test_device, to, back, sizeof back, &failure));
            REFUSED(bm_upload(test_device, to, back, 65, &failure), "do not fit");
            assert_int_equal(test_device->report.status, BM_E_NUMERIC);
        }
        MUST(bm_device_discard_reports(test_device, &failure));
        MUST(convert(bm_buffer_view(good), to, 16, "of the second job"));
        MUST(bm_device_wait(test_device, &failure));
        MUST(convert(bm_buffer_view(bad), to, 16, "of the second job"));
        assert_int_equal(bm_device_wait(test_device, &failure), BM_E_NUMERIC);
        assert_non_null(strstr(failure.message, "of the second job"));
    }
    test_device->lost = true;
    assert_int_equal(bm_device_discard_reports(test_device, &failure), BM_E_DEVICE);
    bm_buffer_destroy(&bad);
    bm_buffer_destroy(&good);
    bm_buffer_destroy(&y);
}

static void subjects_beyond_the_table_keep_their_names(void **state)
{
    (void)state;
    bm_buffer *good = make_values(16), *bad = make_values(8), *y = make_buffer(64);
    for (uint32_t place = BM_MAX_SUBJECTS - 1; place < BM_MAX_SUBJECTS + 2; place++) {
        char name[32], expected[64];
        for (uint32_t i = 0; i < 2 * BM_MAX_SUBJECTS; i++) {
            snprintf(name, sizeof name, "tensor %u", i);
            MUST(convert(bm_buffer_view(i == place ? bad : good), bm_buffer_view(y), 16, name));
        }
        assert_int_equal(bm_device_wait(test_device, &failure), BM_E_NUMERIC);
        snprintf(expected, sizeof expected, "tensor %u: NaN or infinity at element 8", place);
        assert_string_equal(failure.message, expected);
    }
    bm_buffer_destroy(&good);
    bm_buffer_destroy(&bad);
    bm_buffer_destroy(&y);
}

// The status word of the next wait, in place of the device's.
static uint32_t word_to_come[4];

static bm_status reporting_wait(bm_device *d, uint32_t status_word[4], bm_error *err)
{
    const bm_status status = real->wait(d, status_word, err);
    memcpy(status_word, word_to_come, sizeof word_to_come);
    memset(word_to_come, 0, sizeof word_to_come);
    return status;
}

static void reports_have_words(void **state)
{
    (void)state;
    static const struct {
        uint32_t word[4];
        const char *words;
    } cases[] = {
        {{BM_REPORT_NOT_FINITE, 1, 17, 0}, "tensor: NaN or infinity at element 17"},
        {{BM_REPORT_INDEX, 1, 0, 0}, "tensor: index out of range at element 0"},
        {{BM_REPORT_PIVOT, 1, 3, 0}, "tensor: non-positive pivot at element 3"},
        {{99, 1, 3, 0}, "tensor: unknown report at element 3"},
        {{BM_REPORT_INDEX, 0, 5, 0}, "a kernel: index out of range at element 5"},
        {{BM_REPORT_INDEX, 77, 5, 0}, "a kernel: index out of range at element 5"},
    };
    bm_buffer *x = make_values(16), *y = make_buffer(64);
    make_faulty();
    faulty.wait = reporting_wait;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        MUST(convert(bm_buffer_view(x), bm_buffer_view(y), 16, "tensor"));
        memcpy(word_to_come, cases[i].word, sizeof word_to_come);
        assert_int_equal(bm_device_wait(test_device, &failure), BM_E_NUMERIC);
        assert_string_equal(failure.message, cases[i].words);
        MUST(bm_device_wait(test_device, &failure));
    }
    bm_buffer_destroy(&x);
    bm_buffer_destroy(&y);
}

static void a_lost_device_stays_lost(void **state)
{
    (void)state;
    bm_buffer *x = make_values(16), *y = NULL;
    const bm_view view = bm_buffer_view(x);
    float value = 0;
    test_device->lost = true;
    assert_int_equal(bm_buffer_create(test_device, 64, "late", &y, &failure), BM_E_DEVICE);
    assert_int_equal(bm_upload(test_device, view, &value, 4, &failure), BM_E_DEVICE);
    assert_int_equal(bm_download(test_device, view, &value, 4, &failure), BM_E_DEVICE);
    assert_int_equal(convert(view, view, 16, NULL), BM_E_DEVICE);
    assert_int_equal(bm_batch_parallel_begin(test_device, &failure), BM_E_DEVICE);
    assert_int_equal(bm_batch_parallel_end(test_device, &failure), BM_E_DEVICE);
    assert_int_equal(bm_device_submit(test_device, &failure), BM_E_DEVICE);
    assert_int_equal(bm_timestamp_record(test_device, 0, &failure), BM_E_DEVICE);
    assert_int_equal(bm_device_wait(test_device, &failure), BM_E_DEVICE);
    assert_string_equal(failure.message, "the device was lost earlier; open it again");
    bm_buffer_destroy(&x);
}

static void handles_return_to_their_count(void **state)
{
    (void)state;
    assert_true(add_is_right(test_device)); // makes the pipeline and the staging memory
    for (int i = 0; i < 2; i++)
        MUST(bm_timestamp_record(test_device, 0, &failure));
    const uint64_t before = bm_device_live_handles(test_device);
    for (int i = 0; i < 5; i++) {
        assert_true(add_is_right(test_device));
        MUST(bm_timestamp_record(test_device, 0, &failure));
    }
    assert_int_equal(bm_device_live_handles(test_device), before);
}

static void cache_in_an_unwritable_folder_is_harmless(void **state)
{
    (void)state;
    const uint64_t compiled = strcmp(device_spec, "host") == 0 ? 0 : 1;
    MUST(bm_folder_create(cache_folder, true, &failure));
    char *file = bm_path_join(cache_folder, "file");
    char *below = bm_path_join(file, "cache"); // no folder can be made below a file, by root neither
    MUST(bm_file_write_all(file, "x", 1, &failure));
    assert_int_equal(compile_count(below), compiled);
    assert_int_equal(compile_count(below), compiled);
    assert_int_equal(compile_count(NULL), compiled);
    const char *const folders[] = {below, NULL, cache_folder};
    for (size_t i = 0; i < BM_COUNT(folders); i++) {
        bm_device *device = open_with(folders[i], false);
        assert_true(bm_device_keeps_kernels(device) == (i == 2 || (i == 0 && compiled == 0)));
        bm_device_close(&device);
    }
    bm_free(file);
    bm_free(below);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        ON_A_DEVICE(views_are_checked),
        ON_A_DEVICE(buffers_end_at_a_multiple_of_16),
        ON_A_DEVICE(rows_are_checked),
        ON_A_DEVICE(calls_are_checked),
        ON_A_DEVICE(parallel_sections_give_the_same),
        ON_A_DEVICE(parallel_sections_refuse_what_depends),
        ON_A_DEVICE(long_batches_are_submitted_in_between),
        ON_A_DEVICE(long_work_goes_in_several_submissions),
        ON_A_DEVICE(report_survives_a_wait_for_memory),
        ON_A_DEVICE(reports_of_an_earlier_job_are_forgotten),
        ON_A_DEVICE(subjects_beyond_the_table_keep_their_names),
        ON_A_DEVICE(reports_have_words),
        ON_A_DEVICE(a_lost_device_stays_lost),
        ON_A_DEVICE(handles_return_to_their_count),
        PLAIN(cache_in_an_unwritable_folder_is_harmless),
    };
    return device_fixture_main(argc, argv, tests, BM_COUNT(tests));
}
