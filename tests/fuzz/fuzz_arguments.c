// libFuzzer: bytes as a parameter file; what stands behind a zero byte is an override. What is taken is checked further
// and written, and the writing must be JSON.
#include "arguments/arguments.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(bm_arguments *args)
{
    static const uint32_t widths[] = {64, 192};
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    bm_json *root = NULL;
    bm_error err;
    (void)bm_arguments_check_built(args, &err);
    (void)bm_arguments_check_group_size(args, "q_proj", 80, &err);
    (void)bm_arguments_choose_group_size(args, widths, 2, &err);
    (void)bm_arguments_fit_context(args, 512, &err);
    bm_json_writer_init(&writer, &text, 2);
    bm_json_begin_object(&writer, NULL);
    bm_arguments_write_json(args, &writer);
    bm_json_end_object(&writer);
    if (bm_json_parse(&root, bm_string_text(&text), text.length, "written", &err) != BM_OK)
        abort();
    bm_json_destroy(&root);
    bm_string_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_arguments *args = NULL;
    bm_error err;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t length = zero ? (size_t)(zero - data) : size;
    char *override = bm_alloc_zero((uint64_t)(size - length) + 1, 1);
    if (!override)
        return 0;
    if (zero)
        memcpy(override, zero + 1, size - length - 1);
    const char *const overrides[] = {override};
    if (bm_arguments_read_text(&args, (const char *)data, length, "input", overrides, zero ? 1 : 0, &err) == BM_OK)
        use(args);
    bm_arguments_destroy(&args);
    bm_free(override);
    return 0;
}
