// libFuzzer: bytes as the parts of a tokenizer. The first byte chooses the kind and the flags, lines are tokens up to an
// empty one, then merges; a token's first byte is its type, its second its score. What opens must encode and decode, and
// what is taken apart again must open.
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_ITEMS 256u

typedef struct drawn_parts {
    bm_text_span tokens[MAX_ITEMS], merges[MAX_ITEMS];
    float scores[MAX_ITEMS];
    int32_t types[MAX_ITEMS];
} drawn_parts;

static bm_text_span next_line(const char **at, const char *end)
{
    const char *start = *at, *line_end = memchr(start, '\n', (size_t)(end - start));
    *at = line_end ? line_end + 1 : end;
    return (bm_text_span){start, (size_t)((line_end ? line_end : end) - start)};
}

static void draw(bm_tokenizer_parts *parts, drawn_parts *drawn, const char *at, const char *end)
{
    while (at < end && parts->num_tokens < MAX_ITEMS) {
        const bm_text_span line = next_line(&at, end);
        if (line.length < 2)
            break;
        drawn->types[parts->num_tokens] = line.data[0] - '0';
        drawn->scores[parts->num_tokens] = line.data[1];
        drawn->tokens[parts->num_tokens++] = (bm_text_span){line.data + 2, line.length - 2};
    }
    while (at < end && parts->num_merges < MAX_ITEMS)
        drawn->merges[parts->num_merges++] = next_line(&at, end);
}

static void use(const bm_tokenizer *tokenizer)
{
    static const char text[] = "It's a caf\xC3\xA9,  na\xC3\xAFve 123\n\n <s>xaaaa";
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string back = BM_STRING_INIT;
    if (bm_tokenizer_encode(tokenizer, text, sizeof text - 1, true, &ids, NULL) == BM_OK)
        bm_tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, NULL);
    bm_string_free(&back);
    bm_token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const pres[] = {"default",     "llama-bpe", "qwen2", "smollm",
                                       "deepseek-v3", "tekken",    "gpt-2", "?"};
    if (size == 0)
        return 0;
    drawn_parts *drawn = calloc(1, sizeof *drawn);
    if (!drawn)
        return 0;
    const char *pre = pres[data[0] >> 1 & 7];
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    parts.name = "fuzz";
    parts.model = data[0] & 1 ? (bm_text_span){"gpt2", 4} : (bm_text_span){"llama", 5};
    parts.pre = (bm_text_span){pre, strlen(pre)};
    parts.add_bos = data[0] & 16 ? BM_PARTS_FALSE : BM_PARTS_ABSENT;
    parts.add_space_prefix = data[0] & 32 ? BM_PARTS_FALSE : BM_PARTS_ABSENT;
    parts.bos = data[0] & 64 ? 0 : BM_PARTS_NO_ID;
    draw(&parts, drawn, (const char *)data + 1, (const char *)data + size);
    parts.tokens = drawn->tokens;
    parts.merges = drawn->merges;
    parts.scores = drawn->scores;
    parts.types = data[0] & 128 ? NULL : drawn->types;
    bm_tokenizer *tokenizer = NULL, *again = NULL;
    bm_tokenizer_parts back = BM_TOKENIZER_PARTS_INIT;
    if (bm_tokenizer_from_parts(&tokenizer, &parts, NULL) == BM_OK) {
        use(tokenizer);
        if (bm_tokenizer_to_parts(&back, tokenizer, 0, NULL) == BM_OK &&
            bm_tokenizer_from_parts(&again, &back, NULL) != BM_OK)
            abort();
    }
    bm_tokenizer_parts_free(&back);
    bm_tokenizer_close(&again);
    bm_tokenizer_close(&tokenizer);
    free(drawn);
    return 0;
}
