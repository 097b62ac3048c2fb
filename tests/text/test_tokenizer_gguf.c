// Tokenizers inside GGUF files: keys become parts, and a whole tokenizer.json counts before them.
#include "support/unit.h"

#include "formats/json.h"
#include "support/gguf_maker.h"
#include "support/own_folder.h"
#include "text/chat_template.h"
#include "text/tokenizer_gguf.h"

#include <stdlib.h>
#include <string.h>

static const char *const pieces[] = {"a", "b", "c", "ab", "<end>"};

// A small byte-level tokenizer; types: how many of them are given.
static void add_parts(gguf_maker *m, uint64_t types)
{
    static const char *const merges[] = {"a b"};
    static const uint8_t kinds[20] = {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0};
    gguf_maker_init(m);
    gguf_maker_add_string(m, "tokenizer.ggml.model", "gpt2");
    gguf_maker_add_string(m, "tokenizer.ggml.pre", "gpt-2");
    gguf_maker_add_strings(m, "tokenizer.ggml.tokens", pieces, BM_COUNT(pieces));
    gguf_maker_add_strings(m, "tokenizer.ggml.merges", merges, 1);
    gguf_maker_add_array(m, "tokenizer.ggml.token_type", 5, types, kinds, 4 * (size_t)types);
    gguf_maker_add_u32(m, "tokenizer.ggml.eos_token_id", 4);
    gguf_maker_add_bool(m, "tokenizer.ggml.add_bos_token", false);
}

// The ids of "ab<end>"; the file is closed before.
static bm_status encode(const gguf_maker *m, bm_token_list *ids, bm_tokenizer **tokenizer, bm_error *err)
{
    char *path = gguf_maker_write(m, folder, "t.gguf");
    bm_status status = bm_tokenizer_open(tokenizer, path, err);
    if (status == BM_OK)
        status = bm_tokenizer_encode(*tokenizer, "ab<end>", 7, true, ids, err);
    bm_free(path);
    return status;
}

static void keys_become_parts(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_tokenizer *tokenizer = NULL;
    gguf_maker m;
    uint32_t eos = 0;
    add_parts(&m, 5);
    assert_ok(encode(&m, &ids, &tokenizer, &err), &err);
    assert_int_equal(ids.count, 2);
    assert_memory_equal(ids.ids, ((const uint32_t[]){3, 4}), 2 * sizeof *ids.ids);
    assert_true(bm_tokenizer_is_special(tokenizer, 4));
    assert_true(bm_tokenizer_eos(tokenizer, &eos) && eos == 4);
    bm_tokenizer_close(&tokenizer);
    bm_token_list_free(&ids);
    gguf_maker_free(&m);
}

static void lengths_that_disagree_are_refused(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_tokenizer *tokenizer = NULL;
    gguf_maker m;
    add_parts(&m, 4);
    assert_int_equal(encode(&m, &ids, &tokenizer, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "key \"tokenizer.ggml.token_type\": an array of 4, expected 5"));
    gguf_maker_free(&m);
    gguf_maker_init(&m);
    assert_int_equal(encode(&m, &ids, &tokenizer, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "the file has no tokenizer"));
    gguf_maker_add_u32(&m, "tokenizer.ggml.model", 1);
    assert_int_equal(encode(&m, &ids, &tokenizer, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "found UINT32 1, expected STRING"));
    gguf_maker_free(&m);
}

// Without merges, so that it is seen; its files say the same.
static void a_tokenizer_json_counts(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2},\"merges\":[]},"
        "\"added_tokens\":[{\"id\":4,\"content\":\"<end>\",\"special\":true,\"single_word\":false,"
        "\"lstrip\":false,\"rstrip\":false,\"normalized\":false}]}";
    bm_error err = {0};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_tokenizer *tokenizer = NULL;
    bm_gguf *gguf = NULL;
    bm_string json = BM_STRING_INIT, config = BM_STRING_INIT, generation = BM_STRING_INIT;
    gguf_maker m;
    uint32_t eos = 0;
    add_parts(&m, 5);
    gguf_maker_add_string(&m, "tokenizer.huggingface.json", text);
    assert_ok(encode(&m, &ids, &tokenizer, &err), &err);
    assert_int_equal(ids.count, 3);
    assert_memory_equal(ids.ids, ((const uint32_t[]){0, 1, 4}), 3 * sizeof *ids.ids);
    assert_true(bm_tokenizer_eos(tokenizer, &eos) && eos == 4);
    char *path = gguf_maker_write(&m, folder, "t.gguf");
    assert_ok(bm_gguf_open(&gguf, path, &err), &err);
    assert_ok(bm_gguf_tokenizer_files(gguf, &json, &config, &generation, &err), &err);
    assert_string_equal(bm_string_text(&json), text);
    assert_non_null(strstr(bm_string_text(&config), "\"eos_token\": \"<end>\""));
    assert_true(generation.length > 0);
    char words[BM_GGUF_TOKENIZER_SIZE];
    assert_string_equal(bm_gguf_describe_tokenizer(gguf, words), "gpt2 (gpt-2), 5 tokens; with its tokenizer.json");
    bm_string_free(&json);
    bm_string_free(&config);
    bm_string_free(&generation);
    bm_gguf_close(&gguf);
    bm_free(path);
    bm_tokenizer_close(&tokenizer);
    bm_token_list_free(&ids);
    gguf_maker_free(&m);
}

static void the_chat_template_is_found(void **state)
{
    (void)state;
    const bm_chat_message message = {"user", "x"};
    bm_error err = {0};
    bm_chat_template *template = NULL;
    bm_string text = BM_STRING_INIT;
    gguf_maker m;
    add_parts(&m, 5);
    char *path = gguf_maker_write(&m, folder, "t.gguf");
    assert_ok(bm_chat_template_open(&template, path, &err), &err);
    assert_null(template);
    bm_free(path);
    gguf_maker_add_string(&m, "tokenizer.chat_template", "<{{ messages[0]['content'] }}>");
    path = gguf_maker_write(&m, folder, "t.gguf");
    assert_ok(bm_chat_template_open(&template, path, &err), &err);
    assert_ok(bm_chat_template_render(template, &message, 1, NULL, 0, false, &text, &err), &err);
    assert_string_equal(bm_string_text(&text), "<x>");
    bm_chat_template_close(&template);
    assert_ok(bm_chat_template_open(&template, folder, &err), &err); // the only model of its folder
    assert_non_null(template);
    bm_chat_template_close(&template);
    bm_string_free(&text);
    bm_free(path);
    gguf_maker_free(&m);
}

// As many bytes as the file tokenizer.json may have.
static void a_tokenizer_json_is_bounded(void **state)
{
    (void)state;
    const size_t most = (size_t)64 << 20;
    char *text = malloc(most + 2);
    assert_non_null(text);
    for (size_t more = 0; more < 2; more++) {
        bm_error err = {0};
        bm_token_list ids = BM_TOKEN_LIST_INIT;
        bm_tokenizer *tokenizer = NULL;
        gguf_maker m;
        memset(text, ' ', most + more);
        memcpy(text, "{}", 2);
        text[most + more] = 0;
        gguf_maker_init(&m);
        gguf_maker_add_string(&m, "tokenizer.huggingface.json", text);
        assert_int_equal(encode(&m, &ids, &tokenizer, &err), BM_E_FORMAT);
        const char *words =
            "t.gguf: key \"tokenizer.huggingface.json\": found 67108865 bytes, expected at most 67108864";
        if ((strstr(err.message, words) != NULL) != (more == 1))
            fail_msg("%s", err.message);
        gguf_maker_free(&m);
    }
    free(text);
}

// It keeps nobody from the tokenizer; who wants to chat is told.
static void a_template_that_is_no_utf_8_is_left_out(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_tokenizer *tokenizer = NULL;
    bm_chat_template *template = NULL;
    bm_gguf *gguf = NULL;
    bm_json *root = NULL;
    bm_string json = BM_STRING_INIT, config = BM_STRING_INIT, generation = BM_STRING_INIT;
    gguf_maker m;
    add_parts(&m, 5);
    gguf_maker_add_string(&m, "tokenizer.chat_template", "caf\xe9");
    assert_ok(encode(&m, &ids, &tokenizer, &err), &err);
    char *path = gguf_maker_write(&m, folder, "t.gguf");
    assert_ok(bm_gguf_open(&gguf, path, &err), &err);
    assert_ok(bm_gguf_tokenizer_files(gguf, &json, &config, &generation, &err), &err);
    assert_ok(bm_json_parse(&root, config.data, config.length, "config", &err), &err);
    assert_null(bm_json_find(root, "chat_template"));
    assert_non_null(bm_json_find(root, "eos_token"));
    assert_int_equal(bm_chat_template_open(&template, path, &err), BM_E_FORMAT);
    assert_non_null(
        strstr(err.message, "t.gguf: key \"tokenizer.chat_template\": chat template: expected valid UTF-8"));
    bm_json_destroy(&root);
    bm_string_free(&json);
    bm_string_free(&config);
    bm_string_free(&generation);
    bm_gguf_close(&gguf);
    bm_free(path);
    bm_tokenizer_close(&tokenizer);
    bm_token_list_free(&ids);
    gguf_maker_free(&m);
}

static void a_tokenizer_json_alone_is_one(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_gguf *gguf = NULL;
    gguf_maker m;
    char words[BM_GGUF_TOKENIZER_SIZE];
    for (int has = 0; has < 2; has++) {
        gguf_maker_init(&m);
        if (has)
            gguf_maker_add_string(&m, "tokenizer.huggingface.json", "{}");
        char *path = gguf_maker_write(&m, folder, "t.gguf");
        assert_ok(bm_gguf_open(&gguf, path, &err), &err);
        assert_string_equal(bm_gguf_describe_tokenizer(gguf, words), has ? "that of its tokenizer.json" : "none");
        bm_gguf_close(&gguf);
        bm_free(path);
        gguf_maker_free(&m);
    }
}

// What llama.cpp ends at, and what it passes over though it is refused here.
static void peers_read_more_than_is_read_here(void **state)
{
    (void)state;
    static const char *const twins[] = {"a", "b", "", "a", ""}, *const merges[] = {"ab"};
    static const float scores[6] = {0};
    static const struct {
        const char *model, *const *tokens, *const *merges;
        uint64_t num_scores;
        const char *words;
    } cases[] = {
        {"gpt2", pieces, merges, 6, NULL}, // a merge without a space, a score too many
        {"llama", pieces, NULL, 5, NULL},
        {NULL, NULL, NULL, 0, NULL},
        {"no_vocab", NULL, NULL, 0, NULL}, // what bitmill writes beside a tokenizer.json
        {"none", NULL, NULL, 0, NULL},
        {"gpt2", NULL, merges, 0, "no key \"tokenizer.ggml.tokens\" beside"},
        {"gpt2", pieces, NULL, 0, "no key \"tokenizer.ggml.merges\" beside"},
        {"gpt2", pieces, merges, 4, "key \"tokenizer.ggml.scores\": an array of 4, expected 5, one for each token"},
        {"gpt2", twins, merges, 5, "key \"tokenizer.ggml.tokens\": tokens 0 and 3 are both \"a\""},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        bm_gguf *gguf = NULL;
        gguf_maker m;
        gguf_maker_init(&m);
        if (cases[i].model)
            gguf_maker_add_string(&m, "tokenizer.ggml.model", cases[i].model);
        if (cases[i].tokens)
            gguf_maker_add_strings(&m, "tokenizer.ggml.tokens", cases[i].tokens, 5);
        if (cases[i].merges)
            gguf_maker_add_strings(&m, "tokenizer.ggml.merges", cases[i].merges, 1);
        if (cases[i].num_scores)
            gguf_maker_add_array(&m, "tokenizer.ggml.scores", BM_GGUF_FLOAT32, cases[i].num_scores, scores,
                                 4 * (size_t)cases[i].num_scores);
        char *path = gguf_maker_write(&m, folder, "t.gguf");
        assert_ok(bm_gguf_open(&gguf, path, &err), &err);
        assert_int_equal(bm_gguf_tokenizer_check_peers(gguf, &err), cases[i].words ? BM_E_FORMAT : BM_OK);
        if (cases[i].words && !strstr(err.message, cases[i].words))
            fail_msg("%s", err.message);
        bm_gguf_close(&gguf);
        bm_free(path);
        gguf_maker_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_parts),
        cmocka_unit_test(lengths_that_disagree_are_refused),
        cmocka_unit_test(a_tokenizer_json_counts),
        cmocka_unit_test(a_tokenizer_json_is_bounded),
        cmocka_unit_test(a_template_that_is_no_utf_8_is_left_out),
        cmocka_unit_test(a_tokenizer_json_alone_is_one),
        cmocka_unit_test(the_chat_template_is_found),
        cmocka_unit_test(peers_read_more_than_is_read_here),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
