// Blocks of GGUF's types against the elements that its own Python package gets from them: bit by bit.
#include "golden/golden.h"

#include "formats/gguf_blocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *bytes_of(const char *hex, size_t *count)
{
    *count = strlen(hex) / 2;
    uint8_t *bytes = bm_alloc(*count, 1);
    for (size_t i = 0; i < *count; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        char *end;
        bytes[i] = (uint8_t)strtoul(digits, &end, 16);
        assert_ptr_equal(end, digits + 2);
    }
    return bytes;
}

static void blocks_are_decoded_as_elsewhere(void **state)
{
    (void)state;
    bm_json *file = golden_open("gguf-blocks");
    const bm_json *types = golden_find(file, "types");
    assert_int_equal(bm_json_count(types), 10);
    for (const bm_json *type = bm_json_first(types); type; type = bm_json_next(type)) {
        const bm_gguf_layout *layout = bm_gguf_layout_of((uint32_t)golden_number(type, "type"));
        size_t size, values_size;
        uint8_t *bytes = bytes_of(golden_text(type, "bytes"), &size);
        uint8_t *values = bytes_of(golden_text(type, "values"), &values_size);
        const size_t count = values_size / 4;
        float *got = bm_alloc(count, sizeof *got);
        assert_non_null(layout);
        assert_true(layout->is_read);
        assert_int_equal(size, count / layout->block_elements * layout->block_bytes);
        bm_gguf_decode(layout->type, bytes, count, got);
        for (size_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, &got[i], sizeof bits);
            if (bits != bm_load_le32(values + 4 * i))
                fail_msg("%s: element %zu: %08x, expected %08x", layout->name, i, bits, bm_load_le32(values + 4 * i));
        }
        bm_free(got);
        bm_free(values);
        bm_free(bytes);
    }
    bm_json_destroy(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_are_decoded_as_elsewhere)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
