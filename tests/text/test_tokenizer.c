// Tokenizers of both kinds and every component, in small files made here; known ids of real ones where they are
// present.
#include "text/text_fixture.h"

#define ADDED_S                                                                                                        \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true,\"normalized\":false},"                        \
    "{\"id\":1,\"content\":\"<s>\",\"special\":true,\"normalized\":false}]"

// Pieces of a SentencePiece-like tokenizer: abc words, byte fallback for A and the bytes of U+00E9.
#define SPM_MODEL                                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,"                    \
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"<0x41>\":2,\"<0xC3>\":3,\"<0xA9>\":4,\"a\":5,\"b\":6,\"c\":7,"                 \
    "\"\xE2\x96\x81\":8,"                                                                                              \
    "\"ab\":9,\"abc\":10,\"\xE2\x96\x81\x61\x62\":11,\"bc\":12},"                                                      \
    "\"merges\":[\"b c\",\"a b\",[\"ab\",\"c\"],\"\xE2\x96\x81 ab\"]}"

static bm_tokenizer *make(const char *json)
{
    char *folder = fixture_folder("tokenizer");
    fixture_write(folder, "tokenizer.json", json, strlen(json));
    bm_tokenizer *tokenizer = fixture_open(folder);
    bm_free(folder);
    return tokenizer;
}

static void check_ids(const bm_tokenizer *tokenizer, const char *text, bool special, const char *expected)
{
    char *ids = fixture_encode(tokenizer, text, special);
    assert_string_equal(ids, expected);
    bm_free(ids);
}

static void check_pieces(const bm_tokenizer *tokenizer, const char *text, const char *expected)
{
    char *pieces = fixture_pieces(tokenizer, text);
    assert_string_equal(pieces, expected);
    bm_free(pieces);
}

static void check_text(const bm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip,
                       const char *expected)
{
    bm_error err = {BM_OK, ""};
    bm_string text = BM_STRING_INIT;
    assert_int_equal(bm_tokenizer_decode(tokenizer, ids, count, skip, &text, &err), BM_OK);
    assert_string_equal(bm_string_text(&text), expected);
    bm_string_free(&text);
}

static void spm_like_encodes_by_rank_with_fallback(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make(
        "{\"version\":\"1.0\"," ADDED_S ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
        "\"prepend\":\"\xE2\x96\x81\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" "
        "\"},\"content\":\"\xE2\x96\x81\"}]},"
        "\"pre_tokenizer\":null,\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
        "\"id\":"
        "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>"
        "\","
        "\"ids\":[1],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
        "\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
        "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}," SPM_MODEL "}");
    // "b c" has the lower rank, so "abc" is a + bc: the merge "ab c" never gets its chance.
    check_ids(tokenizer, "abc", true, "1 8 5 12");
    check_ids(tokenizer, "ab ab", false, "11 11");
    check_ids(tokenizer, "A\xC3\xA9", false, "8 2 3 4");
    check_ids(tokenizer,
              "xyz\xE2\x82\xAC"
              "a",
              false, "8 0 5");                         // unknown ones fused
    check_ids(tokenizer, "a<s>a", false, "8 5 1 8 5"); // each piece gets its own prefix
    check_ids(tokenizer, "", true, "1");
    check_text(tokenizer, (const uint32_t[]){1, 11, 11, 3, 4}, 5, true, "ab ab\xC3\xA9");
    check_text(tokenizer, (const uint32_t[]){8, 3, 5, 99999}, 4, true,
               "\xEF\xBF\xBD"
               "a"); // half a character; no such id
    uint32_t id = 0;
    assert_true(bm_tokenizer_bos(tokenizer, &id));
    assert_int_equal(id, 1);
    assert_false(bm_tokenizer_eos(tokenizer, &id));
    assert_int_equal(bm_tokenizer_vocabulary_size(tokenizer), 13);
    assert_non_null(strstr(bm_tokenizer_describe(tokenizer), "template of tokenizer.json"));
    bm_tokenizer_close(&tokenizer);
}

// "b c" comes first, and what is left of "a b" then is another merge; of the pairs of one merge the first comes first.
static void merges_follow_what_was_merged_before(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"bc\":4,"
                                   "\"abc\":5,\"aa\":6,\"bca\":7},"
                                   "\"merges\":[\"b c\",\"a b\",\"a bc\",\"a a\",\"bc a\"]}}");
    check_ids(tokenizer, "abc", false, "5");
    check_ids(tokenizer, "ab", false, "3");
    check_ids(tokenizer, "aaaaa", false, "6 6 0");
    check_ids(tokenizer, "aabcaabcab", false, "0 5 0 5 3");
    bm_tokenizer_close(&tokenizer);
}

// A byte-level tokenizer without merges shows the words as they are cut: its words are the pieces "ignore_merges"
// finds.
#define WORDS(pre, vocab)                                                                                              \
    "{\"version\":\"1.0\",\"pre_tokenizer\":" pre                                                                      \
    ",\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{" vocab "},"                                       \
    "\"merges\":[]}}"

static void split_behaviors_cut_as_named(void **state)
{
    (void)state;
    static const struct {
        const char *behavior, *invert, *expected;
    } cases[] = {
        {"Isolated", "false", "a|-|-|b"},          {"Removed", "false", "a|b"},
        {"MergedWithPrevious", "false", "a-|-|b"}, {"MergedWithNext", "false", "a|-|-b"},
        {"Contiguous", "false", "a|--|b"},         {"Removed", "true", "-|-"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *json =
            bm_format(WORDS("{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},\"behavior\":\"%s\",\"invert\":%s}",
                            "\"a\":0,\"b\":1,\"-\":2,\"a-\":3,\"-b\":4,\"--\":5,\"a--b\":6"),
                      cases[i].behavior, cases[i].invert);
        bm_tokenizer *tokenizer = make(json);
        check_pieces(tokenizer, "a--b", cases[i].expected);
        bm_tokenizer_close(&tokenizer);
        bm_free(json);
    }
}

static void digits_alone_or_in_runs(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer =
        make(WORDS("{\"type\":\"Digits\",\"individual_digits\":true}", "\"a\":0,\"1\":1,\"2\":2,\"12\":3"));
    check_pieces(tokenizer, "a12a", "a|1|2|a");
    bm_tokenizer_close(&tokenizer);
    tokenizer = make(WORDS("{\"type\":\"Digits\",\"individual_digits\":false}", "\"a\":0,\"1\":1,\"2\":2,\"12\":3"));
    check_pieces(tokenizer, "a12a", "a|12|a");
    bm_tokenizer_close(&tokenizer);
}

static void metaspace_prepends_by_scheme(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *split, *expected;
    } cases[] = {{"always", "true", "_a|_b|<x>|_b"}, {"first", "false", "_a_b|<x>|b"}, {"never", "true", "a|_b|<x>|b"}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *json =
            bm_format("{\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"normalized\":false}],\"pre_tokenizer\":{"
                      "\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"%s\",\"split\":%s},"
                      "\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{\"a\":0,\"b\":1,\"_a\":2,\"_b\":3,"
                      "\"_a_b\":4},\"merges\":[]}}",
                      cases[i].scheme, cases[i].split);
        bm_tokenizer *tokenizer = make(json);
        check_pieces(tokenizer, "a b<x>b", cases[i].expected);
        bm_tokenizer_close(&tokenizer);
        bm_free(json);
    }
}

static void byte_level_maps_bytes_and_splits(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer =
        make("{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},\"decoder\":{\"type\":"
             "\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xC4\xA0\":0,\"a\":1,\"\xC3\x83\":2,"
             "\"\xC2\xA9\":3,\"'\":4,\"s\":5,\"\xC4\xA0"
             "a\":6,\"'s\":7},\"merges\":[\"\xC4\xA0 a\","
             "\"' s\"]}}");
    check_pieces(tokenizer, "a's\xC3\xA9",
                 "\xC4\xA0"
                 "a|'s|\xC3\x83|\xC2\xA9");
    check_text(tokenizer, (const uint32_t[]){6, 7, 2, 3}, 4, false, " a's\xC3\xA9");
    check_text(tokenizer, (const uint32_t[]){6, 2, 6}, 3, false, " a\xEF\xBF\xBD a");
    bm_tokenizer_close(&tokenizer);
}

static void normalizer_nfc_and_regex_replace(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make(
        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":"
        "{\"Regex\":\"\\\\s+\"},\"content\":\"_\"}]},\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":"
        "0,"
        "\"_\":1,\"a\":2,\"\xC3\xA9\":3,\"\xEA\xB0\x81\":4,\"\xE1\xB9\xA9\":5},\"merges\":[]}}");
    check_ids(tokenizer,
              "a \t\n\xE2\x80\x83"
              "a",
              false, "2 1 2");
    check_ids(tokenizer, "e\xCC\x81", false, "3");                            // e + acute
    check_ids(tokenizer, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", false, "4"); // Hangul jamo
    check_ids(tokenizer, "s\xCC\x87\xCC\xA3", false, "5");                    // marks in the wrong order
    check_ids(tokenizer, "\xE1\xA0\x8E", false, "0");                         // U+180E is no white space
    bm_tokenizer_close(&tokenizer);
}

// What Oniguruma's intervals with "+" or "?" behind them and its borders of words match, by tokenizers 0.23.3: matches
// are "_", the rest stands as it is.
static void expressions_mean_what_oniguruma_means(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *text, *expected;
    } cases[] = {
        {"\\\\p{N}{1,3}+", "1231b12", "_|b|_"},
        {"\\\\p{N}{1,3}+1", "1231231b", "_|b"},
        {"a{2}?b", "aabb", "_|_"},
        {"a{2}+b", "aaaab", "_"},
        {"a{2,}+ab", "aaaab", "_"},
        {"xa{1,2}+a", "xaaa", "_"},
        {"(b(?:x|a)){2}+", "bxbabxbabx", "_|b|x"},
        {"[x}\\\\]a]{2}+b", "xaxabb", "_|b"},
        {"\xC3\xA9"
         "{2}+a",
         "\xC3\xA9"
         "\xC3\xA9"
         "\xC3\xA9"
         "\xC3\xA9"
         "a",
         "_"},
        {"\\\\x{61}+b", "aab", "_"},
        {"\\\\x61{2}+ab", "aaaaab", "_"},
        {"\\\\x{61}{2}+ab", "aaaaab", "_"},
        {"\\\\}{2}+\\\\}b", "}}}b", "_"},
        {"((a{1,2}+b){2}+x){1,2}+", "aabaabxababxa", "_|a"},
        {"a{2,3}?", "aaa", "_|a"},
        {"{a}+", "{a}}}a", "_|a"},
        {"x|a{2}+b", "xaaaab", "_|_"},
        {".\\\\b.",
         "a\xC2\xB2"
         "b a\xC2\xBD"
         " a\xCC\x81"
         " -",
         "a|\xC2\xB2"
         "|_|a|_|a|_|-"},
        {".\\\\B.",
         "a\xC2\xB2"
         "b a\xC2\xBD"
         " a\xCC\x81"
         " -",
         "_|b| |_| |_|_"},
        {"\\\\b[^a]",
         "a\xE2\x92\xB6"
         "a x\xE0\xA7\xB4"
         "-",
         "a|\xE2\x92\xB6"
         "|a|_|_|_|-"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *json =
            bm_format("{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"%s\"},\"content\":\"_\"},"
                      "\"model\":{\"type\":\"BPE\",\"vocab\":{\"_\":0,\"a\":1,\"b\":2,\"x\":3,\" \":4,\"-\":5,"
                      "\"\xC2\xB2\":6,\"\xE2\x92\xB6\":7},\"merges\":[]}}",
                      cases[i].expression);
        bm_tokenizer *tokenizer = make(json);
        char *pieces = fixture_pieces(tokenizer, cases[i].text);
        if (strcmp(pieces, cases[i].expected) != 0)
            fail_msg("\"%s\" in \"%s\": \"%s\", expected \"%s\"", cases[i].expression, cases[i].text, pieces,
                     cases[i].expected);
        bm_free(pieces);
        bm_tokenizer_close(&tokenizer);
        bm_free(json);
    }
}

static void added_tokens_strip_and_stand_alone(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer = make(
        "{\"added_tokens\":[{\"id\":10,\"content\":\"<l>\",\"lstrip\":true,\"normalized\":false},{\"id\":11,"
        "\"content\":"
        "\"<r>\",\"rstrip\":true},{\"id\":12,\"content\":\"word\",\"single_word\":true},{\"id\":13,\"content\":\"aa\"},"
        "{\"id\":14,\"content\":\"aaa\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{\" "
        "\":0,\"a\":1,\"w\":2,\"o\":3,\"r\":4,"
        "\"d\":5},\"merges\":[]}}");
    check_ids(tokenizer, "a  <l>  a", false, "1 10 0 0 1");
    check_ids(tokenizer, "a  <r>  a", false, "1 0 0 11 1");
    check_ids(tokenizer, "word a word", false, "12 0 1 0 12");
    check_ids(tokenizer, "words", false, "2 3 4 5"); // s is unknown and dropped
    check_ids(tokenizer, "aaaaa", false, "14 13");   // longest first
    bm_tokenizer_close(&tokenizer);
}

static void config_flags_count_without_post_processor(void **state)
{
    (void)state;
    char *folder = fixture_folder("flags");
    static const char json[] = "{" ADDED_S "," SPM_MODEL "}";
    static const char config[] = "{\"add_bos_token\":true,\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":null}";
    static const char generation[] = "{\"eos_token_id\":[10,3]}";
    fixture_write(folder, "tokenizer.json", json, sizeof json - 1);
    fixture_write(folder, "tokenizer_config.json", config, sizeof config - 1);
    fixture_write(folder, "generation_config.json", generation, sizeof generation - 1);
    bm_tokenizer *tokenizer = fixture_open(folder);
    check_ids(tokenizer, "a", true, "1 5");
    uint32_t id = 0;
    assert_true(bm_tokenizer_eos(tokenizer, &id));
    assert_int_equal(id, 10);
    assert_non_null(strstr(bm_tokenizer_describe(tokenizer), "flags"));
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
}

// A folder with the files beside tokenizer.json that are not NULL.
static bm_status open_with(const char *tokenizer_config, const char *generation, const char *config, bm_tokenizer **out,
                           bm_error *err)
{
    static const char json[] = "{" ADDED_S "," SPM_MODEL "}";
    char *folder = fixture_folder("ends");
    fixture_write(folder, "tokenizer.json", json, sizeof json - 1);
    if (tokenizer_config)
        fixture_write(folder, "tokenizer_config.json", tokenizer_config, strlen(tokenizer_config));
    if (generation)
        fixture_write(folder, "generation_config.json", generation, strlen(generation));
    if (config)
        fixture_write(folder, "config.json", config, strlen(config));
    const bm_status status = bm_tokenizer_open(out, folder, err);
    bm_free(folder);
    return status;
}

static void end_tokens_are_those_of_all_files(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer_config, *generation, *config, *ends;
        uint32_t eos; // UINT32_MAX: none
    } cases[] = {
        {NULL, NULL, NULL, "", UINT32_MAX},
        {"{\"eos_token\":\"<s>\"}", "{\"eos_token_id\":[10,3]}", "{\"eos_token_id\":4}", "1 10 3 4 ", 1},
        {"{\"eos_token\":{\"content\":\"<s>\"}}", NULL, "{\"eos_token_id\":[1]}", "1 1 ", 1},
        {"{\"eos_token\":\"<none>\"}", "{\"eos_token_id\":128009}", "{\"eos_token_id\":2}", "128009 2 ", 2},
        {NULL, "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12]}", NULL, "1 2 3 4 5 6 7 8 9 10 11 12 ", 1},
        {"{\"eos_token\":null}", "{\"eos_token_id\":null}", "{\"eos_token_id\":[]}", "", UINT32_MAX},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {BM_OK, ""};
        bm_tokenizer *tokenizer = NULL;
        bm_string ends = BM_STRING_INIT;
        uint32_t eos = UINT32_MAX;
        if (open_with(cases[i].tokenizer_config, cases[i].generation, cases[i].config, &tokenizer, &err) != BM_OK)
            fail_msg("case %zu: %s", i, err.message);
        const bm_token_list *list = bm_tokenizer_ends(tokenizer);
        for (size_t k = 0; k < list->count; k++)
            bm_string_append_format(&ends, "%u ", list->ids[k]);
        assert_string_equal(bm_string_text(&ends), cases[i].ends);
        assert_int_equal(bm_tokenizer_eos(tokenizer, &eos), cases[i].eos != UINT32_MAX);
        assert_int_equal(eos, cases[i].eos);
        bm_tokenizer_close(&tokenizer);
        bm_string_free(&ends);
    }
}

static void special_tokens_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tokenizer_config, *generation, *config, *words;
    } cases[] = {
        {"{\"eos_token\":7}", NULL, NULL, "tokenizer_config.json: key \"eos_token\": expected a string or an object"},
        {"{\"bos_token\":{\"content\":null}}", NULL, NULL, "key \"bos_token\": expected a string or an object"},
        {"{\"eos_token\":{}}", NULL, NULL,
         "key \"eos_token\": expected a string or an object with \"content\", found an"},
        {"{\"eos_token\":\"\\ud800\"}", NULL, NULL, "found a string with half of a surrogate pair"},
        {NULL, "{\"eos_token_id\":\"2\"}", NULL,
         "generation_config.json: key \"eos_token_id\": expected token ids in 0..4294967294, found \"2\""},
        {NULL, NULL, "{\"eos_token_id\":-1}", "/config.json: key \"eos_token_id\": expected token ids"},
        {NULL, NULL, "{\"eos_token_id\":[1,2.0]}", "found 2"},
        {NULL, NULL, "{\"eos_token_id\":[1,null]}", "found null"},
        {NULL, NULL, "{\"eos_token_id\":4294967295}", "found 4294967295"},
        {NULL, NULL, "{\"eos_token_id\":9007199254740993}", "found 9007199254740993, which is no integer within 2^53"},
        {NULL, "{\"bos_token_id\":true}", NULL, "key \"bos_token_id\": expected token ids"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {BM_OK, ""};
        bm_tokenizer *tokenizer = NULL;
        const bm_status status =
            open_with(cases[i].tokenizer_config, cases[i].generation, cases[i].config, &tokenizer, &err);
        if (status != BM_E_FORMAT || !strstr(err.message, cases[i].words))
            fail_msg("case %zu: %s, \"%s\", expected \"%s\"", i, bm_status_name(status), err.message, cases[i].words);
    }
}

// What is not read beside them may be anything: Llama's model_max_length, for one.
static void unread_keys_of_the_files_beside_do_not_matter(void **state)
{
    (void)state;
    bm_error err = {BM_OK, ""};
    bm_tokenizer *tokenizer = NULL;
    if (open_with("{\"model_max_length\":1000000000000000019884624838656,\"x\":\"\\ud800\",\"eos_token\":\"<s>\"}",
                  "{\"temperature\":NaN,\"y\":Infinity}", "{\"z\":[9007199254740993,\"\\u0000\"]}", &tokenizer,
                  &err) != BM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(bm_tokenizer_ends(tokenizer)->count, 1);
    bm_tokenizer_close(&tokenizer);
}

// A zero byte is text like any other: what follows it is held back until it is whole, too.
static void stream_goes_on_behind_a_zero_byte(void **state)
{
    (void)state;
    bm_tokenizer *tokenizer =
        make("{\"version\":\"1.0\",\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{"
             "\"\xC4\x80"
             "a\":0,\"\xC3\x83\":1,\"\xC2\xA9\":2},\"merges\":[]}}"); // \0 a, \xC3, \xA9
    static const uint32_t ids[] = {0, 1, 2, 0};
    static const size_t lengths[] = {2, 2, 4, 6}; // of the text that is out behind each
    bm_error err = {BM_OK, ""};
    bm_text_stream *stream = NULL;
    bm_string text = BM_STRING_INIT;
    assert_int_equal(bm_text_stream_create(&stream, tokenizer, true, &err), BM_OK);
    for (size_t i = 0; i < BM_COUNT(ids); i++) {
        assert_int_equal(bm_text_stream_push(stream, ids[i], &text, &err), BM_OK);
        assert_int_equal(text.length, lengths[i]);
    }
    assert_int_equal(bm_text_stream_finish(stream, &text, &err), BM_OK);
    assert_int_equal(text.length, 6);
    assert_memory_equal(text.data, "\0a\xC3\xA9\0a", 7);
    bm_text_stream_destroy(&stream);
    bm_string_free(&text);
    bm_tokenizer_close(&tokenizer);
}

static void flags_add_a_token_on_each_side(void **state)
{
    (void)state;
    char *folder = fixture_folder("both-flags");
    static const char json[] = "{" ADDED_S "," SPM_MODEL "}";
    static const char config[] =
        "{\"add_bos_token\":true,\"add_eos_token\":true,\"bos_token\":\"<s>\",\"eos_token\":\"abc\"}";
    fixture_write(folder, "tokenizer.json", json, sizeof json - 1);
    fixture_write(folder, "tokenizer_config.json", config, sizeof config - 1);
    bm_tokenizer *tokenizer = fixture_open(folder);
    check_ids(tokenizer, "a", true, "1 5 10");
    check_ids(tokenizer, "a", false, "5");
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
}

// Half a character is held back until the other half comes, or the end.
static void stream_holds_half_characters_back(void **state)
{
    (void)state;
    static const struct {
        uint32_t id;
        const char *text;
    } steps[] = {{5, "a"}, {3, ""}, {4, "\xC3\xA9"}, {6, "b"}, {3, ""}};
    bm_error err = {BM_OK, ""};
    bm_text_stream *stream = NULL;
    bm_string part = BM_STRING_INIT;
    bm_tokenizer *tokenizer =
        make("{" ADDED_S ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
             "{\"type\":\"Fuse\"}]}," SPM_MODEL "}");
    assert_int_equal(bm_text_stream_create(&stream, tokenizer, true, &err), BM_OK);
    for (size_t i = 0; i < BM_COUNT(steps); i++) {
        bm_string_clear(&part);
        assert_int_equal(bm_text_stream_push(stream, steps[i].id, &part, &err), BM_OK);
        assert_string_equal(bm_string_text(&part), steps[i].text);
    }
    assert_int_equal(bm_text_stream_finish(stream, &part, &err), BM_OK);
    assert_string_equal(bm_string_text(&part), "\xEF\xBF\xBD");
    bm_text_stream_destroy(&stream);
    bm_string_free(&part);
    bm_tokenizer_close(&tokenizer);
}

// Whatever the cut, the parts joined are the whole text, and each part is valid UTF-8.
static void stream_never_cuts_a_character(void **state)
{
    (void)state;
    const char *data = fixture_data();
    if (!data)
        skip();
    static const char *const folders[] = {"prose-8m", "stories260K"};
    static const char text[] =
        "Na\xC3\xAFve \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 \xE6\x98\x8E\xE6\x9C\x88, don't  stop";
    for (size_t f = 0; f < BM_COUNT(folders); f++) {
        bm_error err = {BM_OK, ""};
        char *path = bm_path_join(data, folders[f]);
        bm_tokenizer *tokenizer = fixture_open(path);
        bm_token_list ids = BM_TOKEN_LIST_INIT;
        bm_text_stream *stream = NULL;
        bm_string all = BM_STRING_INIT, part = BM_STRING_INIT;
        assert_int_equal(bm_tokenizer_encode(tokenizer, text, strlen(text), true, &ids, &err), BM_OK);
        assert_int_equal(bm_text_stream_create(&stream, tokenizer, true, &err), BM_OK);
        for (size_t i = 0; i < ids.count; i++) {
            bm_string_clear(&part);
            assert_int_equal(bm_text_stream_push(stream, ids.ids[i], &part, &err), BM_OK);
            assert_true(bm_utf8_is_valid(bm_string_text(&part), part.length));
            bm_string_append(&all, bm_string_text(&part));
        }
        assert_int_equal(bm_text_stream_finish(stream, &all, &err), BM_OK);
        assert_string_equal(bm_string_text(&all), text);
        bm_text_stream_destroy(&stream);
        bm_string_free(&all);
        bm_string_free(&part);
        bm_token_list_free(&ids);
        bm_tokenizer_close(&tokenizer);
        bm_free(path);
    }
}

static void real_tokenizer_known_ids(void **state)
{
    (void)state;
    const char *data = fixture_data();
    if (!data)
        skip();
    char *folder = bm_path_join(data, "prose-8m");
    bm_tokenizer *tokenizer = fixture_open(folder);
    check_ids(
        tokenizer, "It's 12345 o'clock;\n\n  \"na\xC3\xAFve\" caf\xC3\xA9 \xE2\x80\x94 don't", true,
        "0 1635 441 222 2002 20 21 22 264 8 540 611 28 293 222 383 79 66 129 109 319 3 269 3204 129 104 3217 1790 802");
    bm_error err = {BM_OK, ""};
    char *path = bm_path_join(data, "text/prose/valid.txt");
    char *text = NULL;
    uint64_t size = 0;
    bm_token_list ids = BM_TOKEN_LIST_INIT;
    bm_string back = BM_STRING_INIT;
    assert_int_equal(bm_file_read_all(path, UINT64_C(1) << 24, &text, &size, &err), BM_OK);
    assert_int_equal(bm_tokenizer_encode(tokenizer, text, size, true, &ids, &err), BM_OK);
    assert_int_equal(ids.count, 219523);
    assert_int_equal(bm_tokenizer_decode(tokenizer, ids.ids, ids.count, true, &back, &err), BM_OK);
    assert_int_equal(back.length, size);
    assert_memory_equal(back.data, text, size);
    bm_string_free(&back);
    bm_token_list_free(&ids);
    bm_free(text);
    bm_free(path);
    bm_tokenizer_close(&tokenizer);
    bm_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_like_encodes_by_rank_with_fallback),
        cmocka_unit_test(merges_follow_what_was_merged_before),
        cmocka_unit_test(split_behaviors_cut_as_named),
        cmocka_unit_test(digits_alone_or_in_runs),
        cmocka_unit_test(metaspace_prepends_by_scheme),
        cmocka_unit_test(byte_level_maps_bytes_and_splits),
        cmocka_unit_test(normalizer_nfc_and_regex_replace),
        cmocka_unit_test(expressions_mean_what_oniguruma_means),
        cmocka_unit_test(added_tokens_strip_and_stand_alone),
        cmocka_unit_test(config_flags_count_without_post_processor),
        cmocka_unit_test(end_tokens_are_those_of_all_files),
        cmocka_unit_test(special_tokens_that_are_none_are_refused),
        cmocka_unit_test(unread_keys_of_the_files_beside_do_not_matter),
        cmocka_unit_test(stream_goes_on_behind_a_zero_byte),
        cmocka_unit_test(flags_add_a_token_on_each_side),
        cmocka_unit_test(stream_holds_half_characters_back),
        cmocka_unit_test(stream_never_cuts_a_character),
        cmocka_unit_test(real_tokenizer_known_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
