// Tokenizers made from parts, as GGUF files carry them, against sentencepiece and the tokenizers package.
#include "golden/golden.h"
#include "support/folders.h"
#include "text/tokenizer_parts.h"

#include <string.h>

typedef struct held_parts {
    bm_tokenizer_parts parts;
    bm_text_span *tokens, *merges;
    float *scores;
    int32_t *types;
} held_parts;

static bm_text_span *spans(const bm_json *object, const char *key, uint32_t *count)
{
    const bm_json *list = golden_find(object, key);
    *count = bm_json_count(list);
    bm_text_span *out = bm_alloc(*count, sizeof *out);
    uint32_t i = 0;
    for (const bm_json *item = bm_json_first(list); item; item = bm_json_next(item), i++)
        out[i] = (bm_text_span){bm_json_string(item), strlen(bm_json_string(item))};
    return out;
}

static void hold(held_parts *h, const bm_json *object, const char *model)
{
    *h = (held_parts){.parts = BM_TOKENIZER_PARTS_INIT};
    h->parts.name = "model.gguf";
    h->parts.model = (bm_text_span){model, strlen(model)};
    h->tokens = spans(object, "tokens", &h->parts.num_tokens);
    h->parts.tokens = h->tokens;
}

static void drop(held_parts *h)
{
    bm_free(h->tokens);
    bm_free(h->merges);
    bm_free(h->scores);
    bm_free(h->types);
}

static void check(const bm_tokenizer *tokenizer, const char *name, const char *text, const bm_json *want)
{
    bm_error err = {0};
    bm_token_list got = BM_TOKEN_LIST_INIT;
    assert_ok(bm_tokenizer_encode(tokenizer, text, strlen(text), false, &got, &err), &err);
    uint32_t i = 0;
    for (const bm_json *item = bm_json_first(want); item; item = bm_json_next(item), i++)
        if (i >= got.count || got.ids[i] != (uint32_t)bm_json_number(item))
            fail_msg("%s: \"%s\": id %u is %u, want %u", name, text, i, i < got.count ? got.ids[i] : UINT32_MAX,
                     (uint32_t)bm_json_number(item));
    assert_int_equal(got.count, i);
    bm_token_list_free(&got);
}

// The tokenizer of a folder that was written from the parts.
static bm_tokenizer *through_a_folder(const bm_tokenizer_parts *parts)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"};
    bm_error err = {0};
    bm_string files[3] = {BM_STRING_INIT, BM_STRING_INIT, BM_STRING_INIT};
    bm_tokenizer *tokenizer = NULL;
    char *folder = support_folder_create();
    assert_ok(bm_tokenizer_parts_to_files(parts, &files[0], &files[1], &files[2], &err), &err);
    for (uint32_t i = 0; i < 3; i++) {
        bm_free(support_file_write(folder, names[i], files[i].data, files[i].length));
        bm_string_free(&files[i]);
    }
    assert_ok(bm_tokenizer_open(&tokenizer, folder, &err), &err);
    support_folder_remove(&folder);
    return tokenizer;
}

static void scores_merge_as_in_sentencepiece(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_json *file = golden_open("tokenizer-parts");
    const bm_json *object = golden_find(file, "llama");
    held_parts h;
    hold(&h, object, "llama");
    h.scores = bm_alloc(h.parts.num_tokens, sizeof *h.scores);
    h.types = bm_alloc(h.parts.num_tokens, sizeof *h.types);
    const bm_json *score = bm_json_first(golden_find(object, "scores"));
    const bm_json *type = bm_json_first(golden_find(object, "types"));
    for (uint32_t i = 0; i < h.parts.num_tokens; i++, score = bm_json_next(score), type = bm_json_next(type)) {
        h.scores[i] = (float)bm_json_number(score);
        h.types[i] = (int32_t)bm_json_number(type);
    }
    h.parts.scores = h.scores;
    h.parts.types = h.types;
    bm_tokenizer *tokenizers[2] = {NULL, through_a_folder(&h.parts)};
    assert_ok(bm_tokenizer_from_parts(&tokenizers[0], &h.parts, &err), &err);
    for (uint32_t i = 0; i < 2; i++) {
        for (const bm_json *item = bm_json_first(golden_find(object, "texts")); item; item = bm_json_next(item))
            check(tokenizers[i], "llama", golden_text(item, "text"), golden_find(item, "ids"));
        bm_tokenizer_close(&tokenizers[i]);
    }
    drop(&h);
    bm_json_destroy(&file);
}

static void words_end_where_the_name_says(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_json *file = golden_open("tokenizer-parts");
    const bm_json *object = golden_find(file, "gpt2");
    held_parts h;
    hold(&h, object, "gpt2");
    h.merges = spans(object, "merges", &h.parts.num_merges);
    h.parts.merges = h.merges;
    for (const bm_json *answer = bm_json_first(golden_find(object, "answers")); answer; answer = bm_json_next(answer)) {
        const char *pre = golden_text(answer, "pre");
        h.parts.pre = (bm_text_span){pre, strlen(pre)};
        bm_tokenizer *tokenizer = NULL;
        assert_ok(bm_tokenizer_from_parts(&tokenizer, &h.parts, &err), &err);
        const bm_json *ids = bm_json_first(golden_find(answer, "ids"));
        for (const bm_json *text = bm_json_first(golden_find(object, "texts")); text;
             text = bm_json_next(text), ids = bm_json_next(ids))
            check(tokenizer, pre, bm_json_string(text), ids);
        bm_tokenizer_parts back = BM_TOKENIZER_PARTS_INIT; // the name is found again, and nothing is lost
        assert_ok(bm_tokenizer_to_parts(&back, tokenizer, 0, &err), &err);
        assert_int_equal(back.pre.length, strlen(pre));
        assert_memory_equal(back.pre.data, pre, strlen(pre));
        assert_int_equal(back.num_merges, h.parts.num_merges);
        for (uint32_t i = 0; i < back.num_merges; i++) {
            assert_int_equal(back.merges[i].length, h.merges[i].length);
            assert_memory_equal(back.merges[i].data, h.merges[i].data, h.merges[i].length);
        }
        bm_tokenizer_parts_free(&back);
        bm_tokenizer_close(&tokenizer);
    }
    drop(&h);
    bm_json_destroy(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_merge_as_in_sentencepiece),
        cmocka_unit_test(words_end_where_the_name_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
