// Tokenizers from parts and back: what decides among equal scores, flags, what is refused; real tokenizers where the
// data is present.
#include "text/text_fixture.h"

#include "base/random.h"
#include "text/tokenizer_parts.h"

#define SPACE "\xE2\x96\x81"
#define SPAN(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }

// Two ways to put "aaa" together, and tokens of every type.
static const bm_text_span small_tokens[] = {SPAN("<unk>"), SPAN("<s>"), SPAN("</s>"), SPAN("<0x41>"), SPAN(SPACE),
                                            SPAN("a"),     SPAN("aa"),  SPAN("aaa"),  SPAN("b"),      SPAN("ab"),
                                            SPAN("ba"),    SPAN("<u>"), SPAN("")};
static const float small_scores[] = {0, 0, 0, 0, -9, -9, -1, -2, -9, -3, -3, 0, 0};
static const int32_t small_types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 4, 5};

static bm_tokenizer_parts small_parts(void)
{
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    parts.name = "small.gguf";
    parts.model = (bm_text_span)SPAN("llama");
    parts.tokens = small_tokens;
    parts.scores = small_scores;
    parts.types = small_types;
    parts.num_tokens = sizeof small_tokens / sizeof small_tokens[0];
    return parts;
}

static bm_tokenizer *make(const bm_tokenizer_parts *parts)
{
    bm_error err = {BM_OK, ""};
    bm_tokenizer *tokenizer = NULL;
    if (bm_tokenizer_from_parts(&tokenizer, parts, &err) != BM_OK)
        fail_msg("%s", err.message);
    return tokenizer;
}

static void check(const bm_tokenizer *tokenizer, const char *text, bool special, const char *want)
{
    char *ids = fixture_encode(tokenizer, text, special);
    assert_string_equal(ids, want);
    bm_free(ids);
}

static void equal_scores_merge_from_the_left(void **state)
{
    (void)state;
    bm_tokenizer_parts parts = small_parts();
    bm_tokenizer *tokenizer = make(&parts);
    check(tokenizer, "aaaaa", true, "1 4 6 7"); // aa aa a, then aa+a
    check(tokenizer, "aba", false, "4 9 5");    // ab and ba have one score
    check(tokenizer, "bab", false, "4 10 8");
    check(tokenizer, "A<u>b </s>", false, "4 3 11 4 8 4 2"); // a space in front of each stretch; bytes
    uint32_t id = 0;
    assert_true(bm_tokenizer_bos(tokenizer, &id));
    assert_int_equal(id, 1);
    assert_true(bm_tokenizer_is_special(tokenizer, 2));
    assert_false(bm_tokenizer_is_special(tokenizer, 11));
    assert_string_equal(bm_tokenizer_piece(tokenizer, 12, NULL), "[EMPTY_12]");
    bm_tokenizer_close(&tokenizer);
}

static void flags_are_followed(void **state)
{
    (void)state;
    bm_tokenizer_parts parts = small_parts();
    parts.add_bos = BM_PARTS_FALSE;
    parts.add_eos = BM_PARTS_TRUE;
    parts.add_space_prefix = BM_PARTS_FALSE;
    parts.eot = 11;
    bm_tokenizer *tokenizer = make(&parts);
    check(tokenizer, "a", true, "5 2");
    const bm_token_list *ends = bm_tokenizer_ends(tokenizer);
    assert_int_equal(ends->count, 3);
    assert_int_equal(ends->ids[2], 11);
    bm_tokenizer_close(&tokenizer);
}

static void refuses(const bm_tokenizer_parts *parts, const char *words)
{
    bm_error err = {BM_OK, ""};
    bm_tokenizer *tokenizer = NULL;
    assert_int_not_equal(bm_tokenizer_from_parts(&tokenizer, parts, &err), BM_OK);
    assert_null(tokenizer);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" lacks \"%s\"", err.message, words);
}

static void wrong_parts_are_refused(void **state)
{
    (void)state;
    bm_tokenizer_parts parts = small_parts();
    parts.model = (bm_text_span)SPAN("bert");
    refuses(&parts, "tokenizer.ggml.model\": \"bert\" is not supported, expected llama or gpt2");
    parts.model = (bm_text_span)SPAN("gpt2");
    parts.pre = (bm_text_span)SPAN("klingon");
    refuses(&parts, "tokenizer.ggml.pre\": \"klingon\" is not supported, expected one of gpt-2, ");
    parts = small_parts();
    parts.scores = NULL;
    refuses(&parts, "tokenizer.ggml.scores");
    parts = small_parts();
    parts.bos = 13;
    refuses(&parts, "tokenizer.ggml.bos_token_id\": expected 0..12, found 13");
    parts = small_parts();
    parts.num_tokens = 0;
    refuses(&parts, "0 tokens");
    parts = small_parts();
    const bm_text_span twice[] = {SPAN("a"), SPAN("b"), SPAN("a")};
    parts.tokens = twice;
    parts.num_tokens = 3;
    refuses(&parts, "tokens 0 and 2 are both \"a\"");
    const bm_text_span broken[] = {SPAN("a"), SPAN("\xFF")};
    parts.tokens = broken;
    parts.num_tokens = 2;
    refuses(&parts, "token 1, \"?\": expected valid UTF-8");
    parts.tokens = small_tokens;
    const int32_t types[] = {1, 9};
    parts.types = types;
    refuses(&parts, "tokenizer.ggml.token_type\": token 1: expected 1..6, found 9");
    parts.types = NULL;
    const bm_text_span merges[] = {SPAN("a")};
    parts.model = (bm_text_span)SPAN("gpt2");
    parts.merges = merges;
    parts.num_merges = 1;
    refuses(&parts, "tokenizer.ggml.merges\": merge 0: expected \"left right\", found \"a\"");
    parts.add_eos = BM_PARTS_TRUE;
    refuses(&parts, "tokenizer.ggml.add_eos_token\" is true, but there is no such token");
}

// Pieces "x", "xx", ... of every length: their ways to be put together grow with the square.
static void many_ways_to_merge_are_refused(void **state)
{
    (void)state;
    static char text[257];
    static bm_text_span tokens[256];
    static float scores[256];
    memset(text, 'x', sizeof text - 1);
    for (uint32_t i = 0; i < 256; i++) {
        tokens[i] = (bm_text_span){text, i + 1};
        scores[i] = (float)i;
    }
    bm_tokenizer_parts parts = small_parts();
    parts.tokens = tokens;
    parts.scores = scores;
    parts.types = NULL;
    parts.num_tokens = 256;
    refuses(&parts, "ways on average");
}

static void refuses_to_take_apart(const char *json, const char *words)
{
    bm_error err = {BM_OK, ""};
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    char *folder = fixture_folder("tokenizer-parts");
    fixture_write(folder, "tokenizer.json", json, strlen(json));
    bm_tokenizer *tokenizer = fixture_open(folder);
    assert_int_equal(bm_tokenizer_to_parts(&parts, tokenizer, 0, &err), BM_E_UNSUPPORTED);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" lacks \"%s\"", err.message, words);
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
}

static void what_parts_cannot_say_is_refused(void **state)
{
    (void)state;
    refuses_to_take_apart("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "neither those of a byte-level model");
    refuses_to_take_apart("{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},"
                          "\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
                          "no pre-tokenizer that llama.cpp knows");
    refuses_to_take_apart(
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE
        "\"},\"model\":{\"unk_token\":\"a\",\"byte_fallback\":true,\"vocab\":{\"a\":0},\"merges\":[]}}",
        "lacks pieces of bytes");
    // "abc" may be a+bc as well, which is no merge here.
    bm_string json = BM_STRING_INIT;
    bm_string_append(&json, "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE
                            "\"},\"model\":{\"unk_token\":\"u\",\"byte_fallback\":true,\"vocab\":{\"u\":256,\"a\":257,"
                            "\"b\":258,\"c\":259,\"ab\":260,\"bc\":261,\"abc\":262");
    for (uint32_t byte = 0; byte < 256; byte++)
        bm_string_append_format(&json, ",\"<0x%02X>\":%u", byte, byte);
    bm_string_append(&json, "},\"merges\":[\"a b\",\"b c\",\"ab c\"]}}");
    refuses_to_take_apart(json.data, "\"abc\" can be put together in a way that is no merge");
    bm_string_free(&json);
}

// How a token can be put together is looked for in as many steps as the square of its length.
static void long_tokens_have_no_parts(void **state)
{
    (void)state;
    bm_string json = BM_STRING_INIT;
    bm_string_append(&json, "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SPACE
                            "\"},\"model\":{\"unk_token\":\"u\",\"byte_fallback\":true,\"vocab\":{\"u\":256");
    for (uint32_t byte = 0; byte < 256; byte++)
        bm_string_append_format(&json, ",\"<0x%02X>\":%u", byte, byte);
    bm_string_append(&json, ",\"");
    for (uint32_t i = 0; i < 256; i++)
        bm_string_append(&json, "x");
    bm_string longer = BM_STRING_INIT;
    bm_string_append(&longer, json.data);
    bm_string_append(&longer, "x\":257},\"merges\":[]}}");
    bm_string_append(&json, "\":257},\"merges\":[]}}");
    bm_error err = {BM_OK, ""};
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    char *folder = fixture_folder("tokenizer-parts");
    fixture_write(folder, "tokenizer.json", json.data, json.length);
    bm_tokenizer *tokenizer = fixture_open(folder);
    assert_int_equal(bm_tokenizer_to_parts(&parts, tokenizer, 0, &err), BM_OK);
    bm_tokenizer_parts_free(&parts);
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
    refuses_to_take_apart(longer.data, "token 257 has 257 bytes, expected at most 256");
    bm_string_free(&json);
    bm_string_free(&longer);
}

// ---- the tokenizers of the data folder ----

// A few thousand characters: runs, mixed scripts, control characters, what looks like tokens.
static void draw_text(bm_string *out, bm_random *random)
{
    static const char *const words[] = {"<s>", "</s>", "<|endoftext|>", "<0x0A>", SPACE, " ",   "   ", "\n", "\r\n\n",
                                        "'s",  "12",   "0000",          "----",   "aaa", "the", " of", "\t", "."};
    bm_string_clear(out);
    while (out->length < 6000) {
        if (bm_random_below(random, 2)) {
            bm_string_append(out, words[bm_random_below(random, sizeof words / sizeof words[0])]);
            continue;
        }
        const uint32_t code =
            bm_random_below(random, 4) ? bm_random_below(random, 0x3100) : 0x3100 + bm_random_below(random, 0xA000);
        if (code == 0)
            continue;
        const char bytes[3] = {(char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 0x3F)),
                               (char)(0x80 | (code & 0x3F))};
        if (code < 0x80)
            bm_string_append_bytes(out, &(char){(char)code}, 1);
        else if (code < 0x800)
            bm_string_append_bytes(out, (const char[]){(char)(0xC0 | code >> 6), bytes[2]}, 2);
        else if (code < 0xD800)
            bm_string_append_bytes(out, bytes, 3);
    }
}

static void goes_there_and_back(const char *name, const char *model)
{
    bm_error err = {BM_OK, ""};
    const char *data = fixture_data();
    char *path = data ? bm_format("%s/%s", data, name) : NULL;
    if (!path || bm_path_kind_of(path) == BM_PATH_ABSENT) {
        bm_free(path);
        skip();
    }
    bm_tokenizer *tokenizer = fixture_open(path);
    bm_tokenizer_parts parts = BM_TOKENIZER_PARTS_INIT;
    const uint32_t size = bm_tokenizer_vocabulary_size(tokenizer);
    if (bm_tokenizer_to_parts(&parts, tokenizer, size + 2, &err) != BM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(parts.model.length, strlen(model));
    assert_memory_equal(parts.model.data, model, strlen(model));
    assert_int_equal(parts.num_tokens, size + 2);
    assert_int_equal(parts.types[size + 1], BM_TOKEN_UNUSED);
    bm_tokenizer *again = make(&parts);
    bm_random random;
    bm_random_init(&random, 7, 0);
    bm_string text = BM_STRING_INIT;
    for (uint32_t i = 0; i < 4; i++) {
        draw_text(&text, &random);
        char *want = fixture_encode(tokenizer, text.data, true), *got = fixture_encode(again, text.data, true);
        assert_string_equal(got, want);
        bm_free(want);
        bm_free(got);
    }
    bm_string_free(&text);
    bm_tokenizer_close(&again);
    bm_tokenizer_parts_free(&parts);
    bm_tokenizer_close(&tokenizer);
    bm_free(path);
}

static void stories_go_there_and_back(void **state)
{
    (void)state;
    goes_there_and_back("stories260K", "llama");
}

static void prose_goes_there_and_back(void **state)
{
    (void)state;
    goes_there_and_back("prose-8m", "gpt2");
}

// tokenizer.bin of that folder: u32 longest; then f32 score, u32 length, bytes of each token, with spaces for U+2581.
static bm_tokenizer *open_scores(const char *path)
{
    bm_error err = {BM_OK, ""};
    char *file = NULL;
    uint64_t size = 0;
    if (bm_file_read_all(path, 1 << 24, &file, &size, &err) != BM_OK)
        fail_msg("%s", err.message);
    const uint32_t count = 32000;
    bm_text_span *tokens = bm_alloc(count, sizeof *tokens);
    float *scores = bm_alloc(count, sizeof *scores);
    int32_t *types = bm_alloc(count, sizeof *types);
    char **names = bm_alloc_zero(count, sizeof *names);
    const char *at = file + 4;
    for (uint32_t id = 0; id < count; id++) {
        uint32_t length;
        memcpy(&scores[id], at, 4);
        memcpy(&length, at + 4, 4);
        bm_string name = BM_STRING_INIT;
        for (uint32_t i = 0; i < length; i++)
            bm_string_append_bytes(&name, at[8 + i] == ' ' ? SPACE : at + 8 + i, at[8 + i] == ' ' ? 3 : 1);
        if (id < 3) {
            bm_string_clear(&name);
            bm_string_append(&name, id == 0 ? "<unk>" : id == 1 ? "<s>" : "</s>");
        }
        names[id] = name.data;
        tokens[id] = (bm_text_span){name.data, name.length};
        types[id] = id == 0 ? BM_TOKEN_UNKNOWN : id < 3 ? BM_TOKEN_CONTROL : id < 259 ? BM_TOKEN_BYTE : BM_TOKEN_NORMAL;
        at += 8 + length;
    }
    bm_tokenizer_parts parts = small_parts();
    parts.tokens = tokens;
    parts.scores = scores;
    parts.types = types;
    parts.num_tokens = count;
    bm_tokenizer *tokenizer = make(&parts);
    for (uint32_t id = 0; id < count; id++)
        bm_free(names[id]);
    bm_free(names);
    bm_free(tokens);
    bm_free(scores);
    bm_free(types);
    bm_free(file);
    return tokenizer;
}

static void scores_of_llama_2_merge_as_its_ranks(void **state)
{
    (void)state;
    const char *data = fixture_data();
    char *folder = data ? bm_format("%s/tokenizers/llama2-32000", data) : NULL;
    char *path = data ? bm_format("%s/tokenizer.bin", folder) : NULL;
    if (!path || bm_path_kind_of(path) == BM_PATH_ABSENT) {
        bm_free(folder);
        bm_free(path);
        skip();
    }
    bm_tokenizer *ranks = fixture_open(folder), *scores = open_scores(path);
    bm_random random;
    bm_random_init(&random, 8, 0);
    bm_string text = BM_STRING_INIT;
    for (uint32_t i = 0; i < 4; i++) {
        draw_text(&text, &random);
        char *want = fixture_encode(ranks, text.data, true), *got = fixture_encode(scores, text.data, true);
        assert_string_equal(got, want);
        bm_free(want);
        bm_free(got);
    }
    bm_string_free(&text);
    bm_tokenizer_close(&ranks);
    bm_tokenizer_close(&scores);
    bm_free(folder);
    bm_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_scores_merge_from_the_left),
        cmocka_unit_test(flags_are_followed),
        cmocka_unit_test(wrong_parts_are_refused),
        cmocka_unit_test(many_ways_to_merge_are_refused),
        cmocka_unit_test(what_parts_cannot_say_is_refused),
        cmocka_unit_test(long_tokens_have_no_parts),
        cmocka_unit_test(stories_go_there_and_back),
        cmocka_unit_test(prose_goes_there_and_back),
        cmocka_unit_test(scores_of_llama_2_merge_as_its_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
