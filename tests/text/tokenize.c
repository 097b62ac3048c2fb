// A development program: prints the token ids of a file, one a line, for tools/compare_tokenizers.py.
//
//   tokenize TOKENIZER FILE [--special] [--decode] [--time] [--parts]
//
// --special adds what the post-processor adds. --decode prints the text of the ids instead. --time prints the
// throughput on standard error and no ids. --parts takes the tokenizer to parts, as GGUF holds them, and back first.
#include "base/clock.h"
#include "base/file.h"
#include "text/tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

typedef struct options {
    bool special, decode, time, parts;
} options;

static bm_status print_ids(const bm_tokenizer *tokenizer, const bm_token_list *ids, const options *chosen,
                           bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_status status = BM_OK;
    if (chosen->decode) {
        status = bm_tokenizer_decode(tokenizer, ids->ids, ids->count, false, &text, err);
        if (status == BM_OK)
            fwrite(bm_string_text(&text), 1, text.length, stdout);
    }
    for (size_t i = 0; i < ids->count && !chosen->decode; i++)
        printf("%u\n", ids->ids[i]);
    bm_string_free(&text);
    return status;
}

// The same tokenizer made from its parts.
static bm_status take_apart(bm_tokenizer **tokenizer, bm_error *err)
{
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    bm_tokenizer *again = NULL;
    bm_status status = bm_tokenizer_to_parts(&parts, *tokenizer, 0, err);
    if (status == BM_OK)
        status = bm_tokenizer_from_parts(&again, &parts, err);
    bm_tokenizer_parts_free(&parts);
    if (status == BM_OK) {
        bm_tokenizer_close(tokenizer);
        *tokenizer = again;
    }
    return status;
}

static bm_status run(const char *tokenizer_path, const char *path, const options *chosen, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    char *text = NULL;
    uint64_t size = 0;
    BM_TRY(bm_tokenizer_open(&tokenizer, tokenizer_path, err));
    if (chosen->parts)
        BM_TRY(take_apart(&tokenizer, err));
    BM_TRY(bm_file_read_all(path, UINT64_C(1) << 30, &text, &size, err));
    const uint64_t begin = bm_clock_ns();
    BM_TRY(bm_tokenizer_encode(tokenizer, text, size, chosen->special, &ids, err));
    const double seconds = (double)(bm_clock_ns() - begin) * 1e-9;
    if (chosen->time)
        fprintf(stderr, "%llu bytes, %zu tokens, %.3f s, %.2f MB/s; %s\n", (unsigned long long)size, ids.count, seconds,
                (double)size * 1e-6 / seconds, bm_tokenizer_describe(tokenizer));
    else
        BM_TRY(print_ids(tokenizer, &ids, chosen, err));
done:
    bm_token_list_free(&ids);
    bm_free(text);
    bm_tokenizer_close(&tokenizer);
    return status;
}

int main(int argc, char **argv)
{
    options chosen = {false, false, false, false};
    for (int i = 3; i < argc; i++) {
        chosen.special = chosen.special || strcmp(argv[i], "--special") == 0;
        chosen.decode = chosen.decode || strcmp(argv[i], "--decode") == 0;
        chosen.time = chosen.time || strcmp(argv[i], "--time") == 0;
        chosen.parts = chosen.parts || strcmp(argv[i], "--parts") == 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: tokenize TOKENIZER FILE [--special] [--decode] [--time] [--parts]\n");
        return 2;
    }
    bm_error err = {BM_OK, ""};
    if (run(argv[1], argv[2], &chosen, &err) == BM_OK)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}
