// Files and texts that somebody wrote to break us: an error with words, or a result in reasonable time; never a crash.
#include "text/text_fixture.h"

#include "base/clock.h"
#include "text/tokenizer_internal.h"

#define MODEL "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static bm_status try_open(const char *json, size_t length, bm_error *err)
{
    char *folder = fixture_folder("hostile");
    bm_tokenizer *tokenizer = NULL;
    fixture_write(folder, "tokenizer.json", json, length);
    const bm_status status = bm_tokenizer_open(&tokenizer, folder, err);
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
    return status;
}

static void bad_files_are_refused_with_words(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bm_status status;
        const char *words; // that the message must hold
    } cases[] = {
        {"", BM_E_FORMAT, "tokenizer.json"},
        {"[]", BM_E_FORMAT, "expected an object"},
        {"{}", BM_E_FORMAT, "model"},
        {"{\"version\":\"2.0\"," MODEL "}", BM_E_UNSUPPORTED, "version"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", BM_E_UNSUPPORTED, "Unigram"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", BM_E_FORMAT, "vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[\"a\"]}}", BM_E_FORMAT, "vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}", BM_E_FORMAT, "0..16777215"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4294967295}}}", BM_E_FORMAT, "0..16777215"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5}}}", BM_E_FORMAT, "integer"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"}}}", BM_E_FORMAT, "integer"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0}}}", BM_E_FORMAT, "taken"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", BM_E_FORMAT, "merges[0]"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}}", BM_E_FORMAT, "merges[0]"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", BM_E_FORMAT, "merges[0]"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}", BM_E_FORMAT, "merges[0]"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", BM_E_FORMAT, "\"aa\" is not in"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}}}", BM_E_FORMAT, "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"unk_token\":\"u\"}}", BM_E_FORMAT, "unk_token"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"dropout\":0.5}}", BM_E_UNSUPPORTED, "dropout"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"end_of_word_suffix\":\"</w>\"}}", BM_E_UNSUPPORTED,
         "suffix"},
        {"{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL "}", BM_E_UNSUPPORTED, "normalizer: type \"Lowercase\""},
        {"{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}," MODEL "}", BM_E_UNSUPPORTED, "pre_tokenizer"},
        {"{\"decoder\":{\"type\":\"WordPiece\"}," MODEL "}", BM_E_UNSUPPORTED, "decoder"},
        {"{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL "}", BM_E_UNSUPPORTED, "post_processor"},
        {"{\"normalizer\":7," MODEL "}", BM_E_FORMAT, "normalizer"},
        {"{\"normalizer\":{\"type\":\"Sequence\"}," MODEL "}", BM_E_FORMAT, "normalizers"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}," MODEL "}",
         BM_E_FORMAT, "String"},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"x\"}," MODEL "}", BM_E_FORMAT,
         "pattern"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}," MODEL "}",
         BM_E_FORMAT, "regular expression"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}," MODEL
         "}",
         BM_E_UNSUPPORTED, "intersection"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a(?#[)\\\\s\"},\"behavior\":\"Isolated\"}"
         "," MODEL "}",
         BM_E_UNSUPPORTED, "a comment is not supported"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\\\\\"},\"behavior\":\"Isolated\"}," MODEL
         "}",
         BM_E_UNSUPPORTED, "escape"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\Ga\"},\"behavior\":\"Isolated\"}," MODEL
         "}",
         BM_E_UNSUPPORTED, "escape"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"((a{900}){900}){900}\"},\"behavior\":"
         "\"Isolated\"}," MODEL "}",
         BM_E_FORMAT, "regular expression"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Sideways\"}," MODEL "}",
         BM_E_FORMAT, "Sideways"},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}," MODEL "}", BM_E_FORMAT, "one character"},
        {"{\"added_tokens\":{}," MODEL "}", BM_E_FORMAT, "added_tokens"},
        {"{\"added_tokens\":[3]," MODEL "}", BM_E_FORMAT, "added_tokens[0]"},
        {"{\"added_tokens\":[{\"content\":\"x\"}]," MODEL "}", BM_E_FORMAT, "id"},
        {"{\"added_tokens\":[{\"id\":99999999,\"content\":\"x\"}]," MODEL "}", BM_E_FORMAT, "id"},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]," MODEL "}", BM_E_FORMAT, "taken"},
        {"{\"added_tokens\":[{\"id\":9,\"content\":\"ab\"}]," MODEL "}", BM_E_FORMAT, "vocabulary says 2"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL "}", BM_E_FORMAT, "single"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],"
         "\"special_tokens\":{\"x\":{\"ids\":[77]}}}," MODEL "}",
         BM_E_FORMAT, "ids in 0..2"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},"
         "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[]}}}," MODEL "}",
         BM_E_FORMAT, "post_processor: special_tokens \"x\": key \"ids\": expected at least one id, found []"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}],"
         "\"special_tokens\":{\"x\":{\"ids\":7}}}," MODEL "}",
         BM_E_FORMAT, "key \"special_tokens\": expected an array of ids of \"x\", found 7"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {BM_OK, ""};
        const bm_status status = try_open(cases[i].json, strlen(cases[i].json), &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].words))
            fail_msg("case %zu: status %s, \"%s\", expected \"%s\"", i, bm_status_name(status), err.message,
                     cases[i].words);
    }
}

// So many items that each add a token: 64 on each side of the text, and no more.
static void templates_are_short(void **state)
{
    (void)state;
    for (uint32_t more = 0; more < 2; more++) {
        bm_string json = BM_STRING_INIT;
        bm_string_append(&json, "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
        for (uint32_t i = 0; i < 64; i++)
            bm_string_append(&json, "{\"SpecialToken\":{\"id\":\"x\"}},");
        bm_string_append(&json, "{\"Sequence\":{\"id\":\"A\"}}");
        for (uint32_t i = 0; i < 64 + more; i++)
            bm_string_append(&json, ",{\"SpecialToken\":{\"id\":\"x\"}}");
        bm_string_append(&json, "],\"special_tokens\":{\"x\":{\"ids\":[0]}}}," MODEL "}");
        bm_error err = {BM_OK, ""};
        assert_int_equal(try_open(json.data, json.length, &err), more ? BM_E_FORMAT : BM_OK);
        if (more)
            assert_non_null(strstr(err.message, "more than 64 special tokens"));
        bm_string_free(&json);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"}],\"normalizer\":{\"type\":\"NFC\"},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"ByteLevel\"}," MODEL "}";
    bm_error err = {BM_OK, ""};
    assert_int_equal(try_open(json, sizeof json - 1, &err), BM_OK);
    for (size_t length = 0; length < sizeof json - 1; length++)
        assert_int_equal(try_open(json, length, &err), BM_E_FORMAT);
}

// Something inside 4999 of its kind, between a head and a tail.
static bm_status try_open_deep(const char *head, const char *open, const char *close, const char *tail, bm_error *err)
{
    bm_string json = BM_STRING_INIT;
    bm_string_append(&json, head);
    for (uint32_t i = 0; i < 5000; i++)
        bm_string_append(&json, open);
    for (uint32_t i = 0; i < 5000; i++)
        bm_string_append(&json, close);
    bm_string_append(&json, tail);
    *err = (bm_error){BM_OK, ""};
    const bm_status status = try_open(json.data, json.length, err);
    bm_string_free(&json);
    return status;
}

static void deep_sequences_are_refused(void **state)
{
    (void)state;
    bm_error err;
    assert_int_equal(
        try_open_deep("{\"normalizer\":", "{\"type\":\"Sequence\",\"normalizers\":[", "]}", "," MODEL "}", &err),
        BM_E_FORMAT);
}

static void deep_groups_are_refused(void **state)
{
    (void)state;
    bm_error err;
    assert_int_equal(try_open_deep("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"", "(", ")",
                                   "\"},\"behavior\":\"Isolated\"}," MODEL "}", &err),
                     BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a group inside 250 others is not supported"));
}

static bm_tokenizer *make(const char *json)
{
    char *folder = fixture_folder("hostile");
    fixture_write(folder, "tokenizer.json", json, strlen(json));
    bm_tokenizer *tokenizer = fixture_open(folder);
    bm_free(folder);
    return tokenizer;
}

static bm_status encode(const bm_tokenizer *tokenizer, const char *text, size_t length, size_t *count, bm_error *err)
{
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    const bm_status status = bm_tokenizer_encode(tokenizer, text, length, false, &ids, err);
    *count = ids.count;
    bm_token_list_free(&ids);
    return status;
}

// One word of millions of characters that all merge: n log n, not n^2 (which would take hours).
static void one_letter_ten_million_times(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer =
        make("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2,\"aaaaaaaa\":3},\"merges\":[\"a a\","
             "\"aa aa\",\"aaaa aaaa\"]}}");
    const size_t length = 10 << 20;
    char *text = bm_alloc(length, 1);
    assert_non_null(text);
    memset(text, 'a', length);
    bm_error err = {BM_OK, ""};
    size_t count = 0;
    const uint64_t begin = bm_clock_ns();
    assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_OK);
    assert_int_equal(count, length / 8);
    assert_true(bm_clock_ns() - begin < UINT64_C(120000000000));
    bm_free(text);
    bm_tokenizer_close(&tokenizer);
}

// A run of marks in descending order of class: sorting it must not be quadratic.
static void a_million_combining_marks(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make("{\"normalizer\":{\"type\":\"NFC\"}," MODEL "}");
    const size_t pairs = 500000;
    char *text = bm_alloc(pairs, 4);
    assert_non_null(text);
    for (size_t i = 0; i < pairs; i++)
        memcpy(text + 4 * i, "\xCC\x81\xCC\xA3", 4); // NOLINT(bugprone-not-null-terminated-result): class 230, 220
    bm_error err = {BM_OK, ""};
    size_t count = 0;
    assert_int_equal(encode(tokenizer, text, pairs * 4, &count, &err), BM_OK);
    assert_int_equal(count, 0);
    bm_free(text);
    bm_tokenizer_close(&tokenizer);
}

static void exponential_regex_ends_with_an_error(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a|aa|a+)+[^ab]\"},"
                                   "\"behavior\":\"Isolated\"}," MODEL "}");
    char text[4096];
    memset(text, 'a', sizeof text);
    bm_error err = {BM_OK, ""};
    size_t count = 0;
    assert_int_equal(encode(tokenizer, text, sizeof text, &count, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer.json: pre_tokenizer: a regular expression fails"));
    bm_tokenizer_close(&tokenizer);
}

static bm_tokenizer *make_split(const char *regex, bool by_words)
{
    bm_string json = BM_STRING_INIT;
    bm_string_append(&json, "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    if (by_words)
        bm_string_append(&json, "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"Removed\"},");
    bm_string_append_format(
        &json, "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}]}," MODEL "}", regex);
    bm_tokenizer *tokenizer = make(json.data);
    bm_string_free(&json);
    return tokenizer;
}

static char *repeat(const char *word, size_t count, size_t *length)
{
    const size_t width = strlen(word);
    char *text = bm_alloc(count, width);
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * width, word, width); // NOLINT(bugprone-not-null-terminated-result): a text has a length
    *length = count * width;
    return text;
}

// Each place is expensive, none too expensive: the text has one budget, however it is cut.
static void many_expensive_words_end_with_an_error(void **state)
{
    (void)state;
    static const char *const words[] = {"aaaaaaaaaaaaaaaac ", "aaaaaaaaaaaaaaaac"}; // as words, and as one
    for (uint32_t i = 0; i < 2; i++) {
        bm_tokenizer *tokenizer = make_split("(?:a|a)+[bd]", i == 0);
        size_t length = 0, count = 0;
        char *text = repeat(words[i], 700, &length);
        bm_error err = {BM_OK, ""};
        assert_int_equal(encode(tokenizer, text, 20 * strlen(words[i]), &count, &err), BM_OK);
        assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, "too many steps"));
        bm_free(text);
        bm_tokenizer_close(&tokenizer);
    }
}

// Steps back are counted, and so are the bytes of a long look forward that no step back follows: here half of the
// square of the text's length.
static void long_looks_end_with_an_error(void **state)
{
    (void)state;
    static const char *const expressions[] = {"a++b", "a(?=a*+b)"};
    for (uint32_t i = 0; i < BM_COUNT(expressions); i++) {
        bm_tokenizer *tokenizer = make_split(expressions[i], false);
        size_t length = 0, count = 0;
        char *text = repeat("a", 1 << 20, &length);
        bm_error err = {BM_OK, ""};
        assert_int_equal(encode(tokenizer, text, 2000, &count, &err), BM_OK);
        assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, "too many steps"));
        bm_free(text);
        bm_tokenizer_close(&tokenizer);
    }
}

// The first word that text is cut into has so many bytes.
static size_t first_word(const bm_tokenizer *tokenizer, const char *text, size_t length)
{
    bm_error err = {BM_OK, ""};
    text_encoder encoder = {.tokenizer = tokenizer, .err = &err, .budget_bytes = 1 << 20};
    encoder.regex_effort = text_regex_effort(length);
    const text_words *words = NULL;
    assert_int_equal(text_pretokenize(&encoder, text, length, true, &words), BM_OK);
    const size_t first = words->items[0].length;
    text_words_free(&encoder.words[0]);
    text_words_free(&encoder.words[1]);
    text_words_free(&encoder.matches);
    return first;
}

// A match may be longer than what a place looks at first, and what decides may stand behind that: the end of the text,
// a character of several bytes.
static void long_matches_are_whole(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *repeated, *behind;
        size_t left; // bytes of the repeated text that the match leaves out
    } cases[] = {
        {"a+", "a", "b", 0},
        {"a+", "a", "", 0},
        {"a+(?!b)", "a", "b", 1},
        {"a+(?!b)", "a", "", 0},
        {"a+$", "a", "", 0},
        {"a+\\\\z", "a", "", 0},
        {"a+(?=\\\\n)", "a", "\n", 0},
        {"a+\\\\b", "a", " ", 0},
        {"\xC3\xA9+", "\xC3\xA9", "b", 0},
        {"(?:\xC3\xA9)+(?!b)", "\xC3\xA9", "b", 2},
        {"a+?(?=b)", "a", "b", 0},
    };
    static const size_t counts[] = {1, 127, 128, 255, 256, 257, 1023, 1024, 1025, 1281, 5000, 70000};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_tokenizer *tokenizer = make_split(cases[i].expression, false);
        for (size_t k = 0; k < BM_COUNT(counts); k++) {
            if (counts[k] * strlen(cases[i].repeated) == cases[i].left)
                continue; // nothing to match
            bm_string text = BM_STRING_INIT;
            for (size_t n = 0; n < counts[k]; n++)
                bm_string_append(&text, cases[i].repeated);
            const size_t expected = text.length - cases[i].left;
            bm_string_append(&text, cases[i].behind);
            const size_t found = first_word(tokenizer, text.data, text.length);
            if (found != expected)
                fail_msg("case %zu, %zu times: %zu bytes, expected %zu", i, counts[k], found, expected);
            bm_string_free(&text);
        }
        bm_tokenizer_close(&tokenizer);
    }
}

// What is looked for is found where it is, behind expensive places and inside characters.
static void far_matches_are_found(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make_split("(?:a|a)+b|\\\\p{Sc}", false);
    bm_error err = {BM_OK, ""};
    for (size_t far = 0; far < 9000; far = far * 2 + 1) {
        bm_string text = BM_STRING_INIT;
        for (size_t i = 0; i < far; i++)
            bm_string_append(&text, i % 1000 == 7 ? "aaaaaaaaaaaac" : "\xE2\x82\x80"); // a subscript
        const size_t before = text.length;
        bm_string_append(&text, "\xE2\x82\xAC"
                                "aaab"); // a currency
        text_encoder encoder = {.tokenizer = tokenizer, .err = &err};
        encoder.regex_effort = text_regex_effort(text.length);
        encoder.budget_bytes = 1 << 20;
        const text_words *words = NULL;
        assert_int_equal(text_pretokenize(&encoder, text.data, text.length, true, &words), BM_OK);
        const uint32_t first = before > 0;
        assert_int_equal(words->count, first + 2);
        assert_int_equal(words->items[first].start, before);
        assert_int_equal(words->items[first].length, 3);
        assert_int_equal(words->items[first + 1].length, 4);
        text_words_free(&encoder.words[0]);
        text_words_free(&encoder.words[1]);
        text_words_free(&encoder.matches);
        bm_string_free(&text);
    }
    bm_tokenizer_close(&tokenizer);
}

// A long run of blanks takes the usual expressions as many steps as it has blanks.
static void long_runs_of_blanks_are_no_attack(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make_split("\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+", false);
    size_t length = 0, count = 0;
    char *text = repeat("          ", 300000, &length);
    for (size_t i = 4999; i < length; i += 5000)
        text[i] = 'x';
    bm_error err = {BM_OK, ""};
    assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_OK);
    memset(text, ' ', length);
    assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_OK);
    bm_free(text);
    bm_tokenizer_close(&tokenizer);
}

static void growing_replacements_end_with_an_error(void **state)
{
    (void)state;
    bm_string json = BM_STRING_INIT;
    bm_string_append(&json, "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    for (uint32_t i = 0; i < 60; i++)
        bm_string_append_format(&json, "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaa\"}",
                                i ? "," : "");
    bm_string_append(&json, "]}," MODEL "}");
    bm_tokenizer *tokenizer = make(json.data);
    bm_error err = {BM_OK, ""};
    size_t count = 0;
    assert_int_equal(encode(tokenizer, "a", 1, &count, &err), BM_E_FORMAT);
    bm_tokenizer_close(&tokenizer);
    bm_string_free(&json);
}

static void blank_text_with_stripping_tokens_is_linear(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer =
        make("{\"added_tokens\":[{\"id\":5,\"content\":\" \",\"lstrip\":true,\"rstrip\":true}]," MODEL "}");
    const size_t length = 1 << 20;
    char *text = bm_alloc(length, 1);
    assert_non_null(text);
    memset(text, ' ', length);
    bm_error err = {BM_OK, ""};
    size_t count = 0;
    assert_int_equal(encode(tokenizer, text, length, &count, &err), BM_OK);
    assert_int_equal(count, length);
    bm_free(text);
    bm_tokenizer_close(&tokenizer);
}

static void broken_utf8_is_refused_with_its_place(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make("{" MODEL "}");
    static const char *const texts[] = {"ab\x80",         "ab\xC3",     "ab\xE2\x82",
                                        "ab\xED\xA0\x80", "ab\xC0\x80", "ab\xF5\x80\x80\x80"};
    for (size_t i = 0; i < BM_COUNT(texts); i++) {
        bm_error err = {BM_OK, ""};
        size_t count = 0;
        assert_int_equal(encode(tokenizer, texts[i], strlen(texts[i]), &count, &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, "byte 2"));
    }
    bm_tokenizer_close(&tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_with_words),
        cmocka_unit_test(templates_are_short),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(deep_sequences_are_refused),
        cmocka_unit_test(deep_groups_are_refused),
        cmocka_unit_test(one_letter_ten_million_times),
        cmocka_unit_test(a_million_combining_marks),
        cmocka_unit_test(exponential_regex_ends_with_an_error),
        cmocka_unit_test(many_expensive_words_end_with_an_error),
        cmocka_unit_test(long_looks_end_with_an_error),
        cmocka_unit_test(long_matches_are_whole),
        cmocka_unit_test(far_matches_are_found),
        cmocka_unit_test(long_runs_of_blanks_are_no_attack),
        cmocka_unit_test(growing_replacements_end_with_an_error),
        cmocka_unit_test(blank_text_with_stripping_tokens_is_linear),
        cmocka_unit_test(broken_utf8_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
