// What the tests of the text room share: files in a folder of the build tree, tokenizers written as strings, ids as
// text.
#ifndef BM_TESTS_TEXT_FIXTURE_H
#define BM_TESTS_TEXT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// BIN/test-text-NAME, new and empty; free with bm_free.
static inline char *fixture_folder(const char *name)
{
    bm_error err = {BM_OK, ""};
    char *folder = bm_format("%s/test-text-%s", BM_BINARY_DIR, name);
    assert_non_null(folder);
    if (bm_path_kind_of(folder) == BM_PATH_FOLDER)
        assert_int_equal(bm_folder_remove(folder, &err), BM_OK);
    assert_int_equal(bm_folder_create(folder, true, &err), BM_OK);
    return folder;
}

static inline void fixture_write(const char *folder, const char *name, const char *text, size_t length)
{
    bm_error err = {BM_OK, ""};
    char *path = bm_path_join(folder, name);
    if (bm_file_write_all(path, text, length, &err) != BM_OK)
        fail_msg("%s", err.message);
    bm_free(path);
}

static inline bm_tokenizer *fixture_open(const char *folder)
{
    bm_error err = {BM_OK, ""};
    bm_tokenizer *tokenizer = NULL;
    if (bm_tokenizer_open(&tokenizer, folder, &err) != BM_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

// Ids of text as "1 2 3"; bm_free it.
static inline char *fixture_encode(const bm_tokenizer *tokenizer, const char *text, bool special)
{
    bm_error err = {BM_OK, ""};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string out = BM_STRING_INIT;
    if (bm_tokenizer_encode(tokenizer, text, strlen(text), special, &ids, &err) != BM_OK)
        fail_msg("%s", err.message);
    bm_string_append(&out, "");
    for (size_t i = 0; i < ids.count; i++)
        bm_string_append_format(&out, "%s%u", i ? " " : "", ids.ids[i]);
    bm_token_list_free(&ids);
    return out.data;
}

// Pieces of text joined by "|"; bm_free it.
static inline char *fixture_pieces(const bm_tokenizer *tokenizer, const char *text)
{
    bm_error err = {BM_OK, ""};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string out = BM_STRING_INIT;
    if (bm_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, &err) != BM_OK)
        fail_msg("%s", err.message);
    bm_string_append(&out, "");
    for (size_t i = 0; i < ids.count; i++)
        bm_string_append_format(&out, "%s%s", i ? "|" : "", bm_tokenizer_piece(tokenizer, ids.ids[i], NULL));
    bm_token_list_free(&ids);
    return out.data;
}

// The folder of real models and texts: $BITMILL_DATA or shared/data beside the repository; NULL: none.
static inline const char *fixture_data(void)
{
    const char *path = getenv("BITMILL_DATA");
    if (!path)
        path = BM_SOURCE_DIR "/../shared/data";
    return bm_path_kind_of(path) == BM_PATH_FOLDER ? path : NULL;
}

#endif
