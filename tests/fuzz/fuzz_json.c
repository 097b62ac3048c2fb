// libFuzzer: bytes as JSON. What parses is written, read again and written again: the two texts must be equal.
#include "formats/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bm_string write_text(const bm_json *root, uint32_t indent)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    bm_json_writer_init(&writer, &text, indent);
    bm_json_put_value(&writer, NULL, root);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bm_json *root = NULL, *again = NULL;
    bm_error err;
    if (bm_json_parse(&root, (const char *)data, size, "input", &err) != BM_OK)
        return 0;
    bm_string first = write_text(root, size % 3);
    if (bm_json_parse(&again, first.data, first.length, "written", &err) != BM_OK)
        abort();
    bm_string second = write_text(again, size % 3);
    if (first.length != second.length || memcmp(first.data, second.data, first.length) != 0)
        abort();
    bm_string_free(&first);
    bm_string_free(&second);
    bm_json_destroy(&root);
    bm_json_destroy(&again);
    return 0;
}
