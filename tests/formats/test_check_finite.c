// NaN and infinity are found wherever they lie, and the largest finite numbers pass: every real type, lengths around
// the blocks in which elements are looked at.
#include "support/unit.h"

#include "base/file.h"
#include "formats/checkpoint.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

static const struct {
    bm_dtype dtype;
    uint8_t infinite[4], nan[4], largest[4]; // as a file holds them; the largest finite number is negative
} types[] = {
    {BM_DTYPE_F16, {0x00, 0x7c}, {0x01, 0xfc}, {0xff, 0xfb}},
    {BM_DTYPE_BF16, {0x80, 0xff}, {0xff, 0x7f}, {0x7f, 0xff}},
    {BM_DTYPE_F32, {0x00, 0x00, 0x80, 0x7f}, {0x00, 0x00, 0xc0, 0xff}, {0xff, 0xff, 0x7f, 0xff}},
};

static void what_is_not_finite_is_found_at_its_place(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {1, 2, 7, 4095, 4096, 4097, 12289};
    char *folder = support_folder_create(), *path = support_file_write(folder, "weights", "", 0);
    bm_file *file = NULL;
    bm_error err = {0};
    assert_ok(bm_file_open(&file, path, &err), &err);
    for (size_t t = 0; t < BM_COUNT(types); t++)
        for (size_t l = 0; l < BM_COUNT(lengths); l++) {
            const uint64_t n = lengths[l], size = bm_dtype_size(types[t].dtype);
            const uint64_t places[] = {0, n / 2, n - 1};
            bm_tensor_info info = {.dtype = types[t].dtype, .path = path};
            uint8_t *bytes = bm_alloc(n, size);
            info.name = (char[]){"some.weight"};
            assert_non_null(bytes);
            for (uint64_t i = 0; i < n; i++)
                memcpy(bytes + i * size, types[t].largest, size);
            assert_ok(bm_checkpoint_check_finite(&info, bytes, 5, n, &err), &err);
            for (size_t p = 0; p < 2 * BM_COUNT(places); p++) {
                char place[64];
                uint8_t *element = bytes + places[p / 2] * size;
                memcpy(element, p % 2 ? types[t].nan : types[t].infinite, size);
                assert_int_equal(bm_checkpoint_check_finite(&info, bytes, 5, n, &err), BM_E_FORMAT);
                snprintf(place, sizeof place, "element %llu,", (unsigned long long)(places[p / 2] + 5));
                assert_non_null(strstr(err.message, place));
                assert_non_null(strstr(err.message, "some.weight"));
                memcpy(element, types[t].largest, size);
            }
            bm_free(bytes);
        }
    bm_file_close(&file);
    bm_free(path);
    support_folder_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_not_finite_is_found_at_its_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
