// libFuzzer: bytes as a tokenizer.json and a text behind it, split at the first zero byte. Whatever opens must encode
// and decode without a crash.
//
//   clang -fsanitize=fuzzer,address,undefined ...; the CMake target is built where the compiler knows the fuzzer.
#include "base/file.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The file that the bytes go through: FUZZ_FILE, or one in the working folder.
static const char *json_path(void)
{
    const char *path = getenv("FUZZ_FILE");
    return path ? path : "fuzz_tokenizer.json";
}

static void use(const bm_tokenizer *tokenizer, const char *text, size_t length)
{
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string back = BM_STRING_INIT;
    bm_text_stream *stream = NULL;
    if (bm_tokenizer_encode(tokenizer, text, length, true, &ids, NULL) == BM_OK) {
        bm_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, NULL);
        if (bm_text_stream_create(&stream, tokenizer, false, NULL) == BM_OK) {
            for (size_t i = 0; i < ids.count; i++)
                bm_text_stream_push(stream, ids.ids[i], &back, NULL);
            bm_text_stream_finish(stream, &back, NULL);
        }
        if (!bm_utf8_is_valid(bm_string_text(&back), back.length))
            abort();
    }
    bm_text_stream_destroy(&stream);
    bm_string_free(&back);
    bm_token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t json_length = zero ? (size_t)(zero - data) : size;
    const char *text = zero ? (const char *)zero + 1 : "It's a caf\xC3\xA9,  na\xC3\xAFve 123\n\n <s>x";
    const size_t text_length = zero ? size - json_length - 1 : strlen(text);
    FILE *file = fopen(json_path(), "wb"); // not through bm_writer: a flush to the disk each time would be slow
    if (!file)
        return 0;
    fwrite(data, 1, json_length, file);
    fclose(file);
    bm_error err;
    bm_tokenizer *tokenizer = NULL;
    if (bm_tokenizer_open(&tokenizer, json_path(), &err) == BM_OK)
        use(tokenizer, text, text_length);
    bm_tokenizer_close(&tokenizer);
    return 0;
}
