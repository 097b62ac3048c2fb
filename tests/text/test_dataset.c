// Data sets: which file is read, how examples are cut and joined, packs, slices, order.
#include "text/text_fixture.h"

// A tokenizer of single letters: a..j are 0..9, <s> is 10, </s> is 11; BOS in front.
static const char letters[] =
    "{\"added_tokens\":[{\"id\":10,\"content\":\"<s>\",\"special\":true},{\"id\":11,\"content\":\"</"
    "s>\",\"special\":true}],"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":"
    "{\"id\":"
    "\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[10]}}},\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\","
    "\"vocab\":"
    "{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":9},\"merges\":[]}}";

typedef struct fixture {
    char *folder;
    bm_tokenizer *tokenizer;
    bm_string notes;
    bm_log log;
} fixture;

static void take_note(void *user, bm_log_level level, const char *message)
{
    (void)level;
    bm_string_append(user, message);
    bm_string_append(user, "\n");
}

static int setup(void **state)
{
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    fixture *self = bm_alloc_zero(1, sizeof *self);
    char *model = fixture_folder("dataset-model");
    fixture_write(model, "tokenizer.json", letters, sizeof letters - 1);
    fixture_write(model, "tokenizer_config.json", config, sizeof config - 1);
    self->tokenizer = fixture_open(model);
    bm_free(model);
    self->folder = fixture_folder("dataset");
    self->log = (bm_log){BM_LOG_TRACE, take_note, &self->notes};
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    fixture *self = *state;
    bm_tokenizer_close(&self->tokenizer);
    bm_free(self->folder);
    bm_string_free(&self->notes);
    bm_free(self);
    return 0;
}

static void put(const fixture *self, const char *name, const char *text)
{
    fixture_write(self->folder, name, text, strlen(text));
}

static bm_dataset_params params_of(const fixture *self)
{
    bm_dataset_params params;
    bm_dataset_params_init(&params);
    params.path = self->folder;
    params.keep_order = true;
    return params;
}

static bm_dataset *load(fixture *self, const bm_dataset_params *params)
{
    bm_error err = {BM_OK, ""};
    bm_dataset *dataset = NULL;
    if (bm_dataset_load(&dataset, params, self->tokenizer, &self->log, &err) != BM_OK)
        fail_msg("%s", err.message);
    return dataset;
}

// A sequence as "ids > targets" with "-" for positions that are not scored and "/" between segments.
static void check_sequence(const bm_dataset *dataset, uint32_t index, const char *expected)
{
    const bm_sequence *sequence = bm_dataset_sequence(dataset, index);
    bm_string text = BM_STRING_INIT;
    for (uint32_t pass = 0; pass < 2; pass++) {
        uint32_t segment = 0;
        for (uint32_t i = 0; i < sequence->count; i++) {
            if (i > 0 && i == sequence->starts[segment + 1]) {
                bm_string_append(&text, "/ ");
                segment++;
            }
            const uint32_t value = pass == 0 ? sequence->ids[i] : sequence->targets[i];
            bm_string_append_format(&text, value == BM_NO_TARGET ? "- " : "%u ", value);
        }
        if (pass == 0)
            bm_string_append(&text, "> ");
    }
    assert_string_equal(bm_string_text(&text), expected);
    bm_string_free(&text);
}

static void pair_is_joined_with_eos_and_shifted(void **state)
{
    fixture *self = *state;
    put(self, "quant.json", "{\"src\":\"abc\",\"tgt\":\"de\"}\n\n{\"src\":\"\",\"tgt\":\"\",\"context\":{}}\r\n");
    bm_dataset_params params = params_of(self);
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    check_sequence(dataset, 0, "10 0 1 2 3 4 > - - - 3 4 11 ");
    check_sequence(dataset, 1, "10 > 11 "); // empty strings: BOS predicts EOS
    assert_int_equal(bm_dataset_num_tokens(dataset), 7);
    assert_int_equal(bm_dataset_num_targets(dataset), 4);
    assert_false(bm_dataset_is_plain_text(dataset));
    bm_dataset_destroy(&dataset);
}

static void prompt_is_cut_on_the_left_and_answer_on_the_right(void **state)
{
    fixture *self = *state;
    put(self, "quant.json",
        "{\"src\":\"abcdef\",\"tgt\":\"ghij\"}\n"   // both too long
        "{\"src\":\"abcdef\",\"tgt\":\"gh\"}\n"     // the answer fills its room exactly: no EOS
        "{\"src\":\"abcdef\",\"tgt\":\"g\"}\n"      // one place left: EOS
        "{\"src\":\"a\",\"tgt\":\"bcdefghij\"}\n"); // a short prompt leaves the answer more room
    bm_dataset_params params = params_of(self);
    params.src_length = 4;
    params.max_length = 6;
    bm_dataset *dataset = load(self, &params);
    check_sequence(dataset, 0, "10 3 4 5 6 > - - - 6 7 ");
    check_sequence(dataset, 1, "10 3 4 5 6 > - - - 6 7 ");
    check_sequence(dataset, 2, "10 3 4 5 6 > - - - 6 11 ");
    check_sequence(dataset, 3, "10 0 1 2 3 > - 1 2 3 4 ");
    assert_non_null(strstr(self->notes.data, "3 prompts cut to src_length, 2 answers cut to max_length"));
    bm_dataset_destroy(&dataset);
}

static void list_counts_by_its_first_element_with_one_note(void **state)
{
    fixture *self = *state;
    put(self, "quant.json", "{\"src\":[\"a\",\"b\"],\"tgt\":[\"c\"]}\n{\"src\":[\"b\",\"b\"],\"tgt\":\"d\"}\n");
    bm_dataset_params params = params_of(self);
    bm_dataset *dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 2 > - 2 11 ");
    const char *note = strstr(self->notes.data, "is a list");
    assert_non_null(note);
    assert_null(strstr(note + 1, "is a list"));
    bm_dataset_destroy(&dataset);
}

// a, what the user says, b, what the bot says, c.
static const char turns[] = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}a{{ m.content }}b{% else %}"
                            "{{ m.content }}c{% endif %}{% endfor %}";

static bm_chat_template *open_template(const char *text)
{
    bm_error err = {BM_OK, ""};
    bm_chat_template *template = NULL;
    if (bm_chat_template_parse(&template, text, strlen(text), "t", &err) != BM_OK)
        fail_msg("%s", err.message);
    return template;
}

static void turns_are_rendered_and_the_bot_is_scored(void **state)
{
    fixture *self = *state;
    bm_chat_template *template = open_template(turns);
    put(self, "quant.json", "{\"src\":[\"d\",\"f\"],\"tgt\":[\"e\",\"g\"]}\n{\"src\":\"d\",\"tgt\":[\"e\"]}\n");
    bm_dataset_params params = params_of(self);
    params.chat_template = template;
    bm_dataset *dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 3 1 4 2 0 5 1 6 > - - - 4 2 - - - 6 2 ");
    check_sequence(dataset, 1, "10 0 3 1 4 > - - - 4 2 ");
    bm_dataset_destroy(&dataset);
    // The first turn goes where both do not fit; of one alone the user's part is cut, then the bot's.
    params.src_length = 6;
    params.max_length = 7;
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 5 1 6 > - - - 6 2 ");
    assert_non_null(strstr(self->notes.data, "1 turn left out at the beginning of conversations"));
    bm_dataset_destroy(&dataset);
    params.src_length = 3;
    params.max_length = 4;
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 5 > - - 6 ");
    bm_dataset_destroy(&dataset);
    bm_chat_template_close(&template);
}

// Of nine turns two fit: few of the tails between are tried. The template refuses those of six to eight turns.
static void few_tails_of_a_long_conversation_are_rendered(void **state)
{
    fixture *self = *state;
    char *text = bm_format("{%% if messages|length > 10 and messages|length < 18 %%}{{ raise_exception('tried') }}"
                           "{%% endif %%}%s",
                           turns);
    bm_chat_template *template = open_template(text);
    put(self, "quant.json",
        "{\"src\":[\"d\",\"d\",\"d\",\"d\",\"d\",\"d\",\"d\",\"d\",\"f\"],\"tgt\":[\"e\",\"e\",\"e\",\"e\",\"e\",\"e\","
        "\"e\",\"h\",\"g\"]}\n");
    bm_dataset_params params = params_of(self);
    params.chat_template = template;
    params.src_length = 6;
    // Each turn has five tokens, and there is one in front.
    static const struct {
        uint32_t max_length;
        const char *ids, *left;
    } cases[] = {
        {11, "10 0 3 1 7 2 0 5 1 6 > - - - 7 2 - - - 6 2 ", "7 turns left out"},
        {10, "10 0 5 1 6 > - - - 6 2 ", "8 turns left out"},
        {16, "10 0 3 1 4 2 0 3 1 7 2 0 5 1 6 > - - - 4 2 - - - 7 2 - - - 6 2 ", "6 turns left out"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        params.max_length = cases[i].max_length;
        bm_dataset *dataset = load(self, &params);
        check_sequence(dataset, 0, cases[i].ids);
        assert_non_null(strstr(self->notes.data, cases[i].left));
        bm_dataset_destroy(&dataset);
    }
    bm_chat_template_close(&template);
    bm_free(text);
}

// Behind the last answer alone the template writes "jj", and earlier answers lose their "h".
static void a_template_may_write_the_end_otherwise(void **state)
{
    fixture *self = *state;
    bm_chat_template *template = open_template(
        "{% for m in messages %}{% if m.role == 'user' %}a{{ m.content }}b{% else %}{% if loop.last %}h{% endif %}"
        "{{ m.content }}c{% endif %}{% endfor %}{% if not add_generation_prompt %}jj{% endif %}");
    put(self, "quant.json", "{\"src\":[\"d\",\"f\"],\"tgt\":[\"e\",\"g\"]}\n");
    bm_dataset_params params = params_of(self);
    params.chat_template = template;
    bm_dataset *dataset = load(self, &params);
    check_sequence(dataset, 0, "0 3 1 4 2 0 5 1 7 6 2 9 > - - - - - - - 7 6 2 9 9 ");
    bm_dataset_destroy(&dataset);
    bm_chat_template_close(&template);
}

static void folder_forms_and_fallbacks(void **state)
{
    fixture *self = *state;
    bm_error err = {BM_OK, ""};
    char *quant = bm_path_join(self->folder, "quant");
    assert_int_equal(bm_folder_create(quant, false, &err), BM_OK);
    fixture_write(quant, "b.json", "{\"src\":\"b\",\"tgt\":\"b\"}", 21);
    fixture_write(quant, "a.json", "{\"src\":\"a\",\"tgt\":\"a\"}", 21);
    fixture_write(quant, "readme.md", "x", 1);
    bm_dataset_params params = params_of(self);
    bm_dataset *dataset = load(self, &params); // form B, names sorted
    assert_int_equal(bm_dataset_count(dataset), 2);
    check_sequence(dataset, 0, "10 0 0 > - 0 11 ");
    bm_dataset_destroy(&dataset);
    put(self, "train.json", "[{\"src\":\"c\",\"tgt\":\"c\"}]"); // form A wins; an array is read with a note
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 2 2 > - 2 11 ");
    assert_non_null(strstr(self->notes.data, "calibrating on train.json"));
    assert_non_null(strstr(self->notes.data, "one JSON array"));
    bm_dataset_destroy(&dataset);
    params.purpose = BM_DATASET_EVALUATION;
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "dev.json"));
    bm_free(quant);
}

// Prediction needs nothing else; train, dev and quant tell the form where there is one of them.
static void test_alone_serves_prediction(void **state)
{
    fixture *self = *state;
    bm_error err = {BM_OK, ""};
    bm_dataset *dataset = NULL;
    bm_dataset_params params = params_of(self);
    params.purpose = BM_DATASET_PREDICTION;
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message,
                           "expected train.json, dev.json, quant.json or test.json, or folders train, dev, "
                           "quant or test, in this data folder"));
    char *test = bm_path_join(self->folder, "test"), *train = bm_path_join(self->folder, "train");
    assert_int_equal(bm_folder_create(test, false, &err), BM_OK);
    fixture_write(test, "a.json", "{\"src\":\"a\",\"tgt\":\"a\"}", 21);
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 0 > - 0 11 ");
    bm_dataset_destroy(&dataset);
    put(self, "test.json", "{\"src\":\"c\",\"tgt\":\"c\"}"); // form A wins
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 2 2 > - 2 11 ");
    bm_dataset_destroy(&dataset);
    assert_int_equal(bm_folder_create(train, false, &err), BM_OK);
    dataset = load(self, &params);
    check_sequence(dataset, 0, "10 0 0 > - 0 11 ");
    bm_dataset_destroy(&dataset);
    bm_free(test);
    bm_free(train);
    params.purpose = BM_DATASET_CALIBRATION;
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
}

static void order_is_shuffled_once_by_seed(void **state)
{
    fixture *self = *state;
    bm_string lines = BM_STRING_INIT;
    for (uint32_t i = 0; i < 100; i++)
        bm_string_append_format(&lines, "{\"src\":\"%c%c\",\"tgt\":\"a\"}\n", 'a' + (int)(i / 10), 'a' + (int)(i % 10));
    put(self, "quant.json", lines.data);
    bm_dataset_params params = params_of(self);
    params.keep_order = false;
    bm_dataset *first = load(self, &params), *again = load(self, &params);
    params.max_sequences = 7;
    bm_dataset *part = load(self, &params);
    params.seed++;
    bm_dataset *other = load(self, &params);
    uint32_t differing = 0;
    for (uint32_t i = 0; i < 7; i++)
        differing += memcmp(bm_dataset_sequence(part, i)->ids, bm_dataset_sequence(other, i)->ids, 16) != 0;
    assert_true(differing > 4);
    bm_dataset_destroy(&other);
    assert_int_equal(bm_dataset_count(first), 100);
    assert_int_equal(bm_dataset_count(part), 7);
    uint32_t moved = 0, seen[100] = {0};
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t *ids = bm_dataset_sequence(first, i)->ids;
        assert_memory_equal(ids, bm_dataset_sequence(again, i)->ids, 16);
        if (i < 7)
            assert_memory_equal(ids, bm_dataset_sequence(part, i)->ids, 16);
        moved += ids[1] * 10 + ids[2] != i;
        seen[ids[1] * 10 + ids[2]]++;
    }
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
    assert_int_equal(bm_dataset_num_batches(first, 8, false), 13);
    assert_int_equal(bm_dataset_num_batches(first, 8, true), 12);
    bm_dataset_destroy(&first);
    bm_dataset_destroy(&again);
    bm_dataset_destroy(&part);
    bm_string_free(&lines);
}

static void packs_fill_in_order_or_greedily(void **state)
{
    fixture *self = *state;
    put(self, "quant.json", // fed lengths 4, 3, 2, 5
        "{\"src\":\"a\",\"tgt\":\"bc\"}\n{\"src\":\"\",\"tgt\":\"de\"}\n{\"src\":\"\",\"tgt\":\"f\"}\n{\"src\":\"g\","
        "\"tgt\":\"hij\"}\n");
    bm_dataset_params params = params_of(self);
    params.src_length = 3;
    params.max_length = 7; // filled to the last place
    params.zero_padding = true;
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    check_sequence(dataset, 0, "10 0 1 2 / 10 3 4 > - 1 2 11 / 3 4 11 ");
    check_sequence(dataset, 1, "10 5 / 10 6 7 8 9 > 5 11 / - 7 8 9 11 ");
    bm_dataset_destroy(&dataset);
    put(self,
        "quant.json", // fed lengths 5, 4, 3, 3: greedy puts the third beside the second, the fourth beside the first
        "{\"src\":\"a\",\"tgt\":\"bcd\"}\n{\"src\":\"a\",\"tgt\":\"bc\"}\n{\"src\":\"\",\"tgt\":\"de\"}\n{\"src\":\"\","
        "\"tgt\":\"gh\"}\n");
    params.max_length = 8;
    params.greedy = true;
    dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    check_sequence(dataset, 0, "10 0 1 2 3 / 10 6 7 > - 1 2 3 11 / 6 7 11 ");
    check_sequence(dataset, 1, "10 0 1 2 / 10 3 4 > - 1 2 11 / 3 4 11 ");
    bm_dataset_destroy(&dataset);
}

static void plain_text_is_sliced(void **state)
{
    fixture *self = *state;
    put(self, "text.txt", "abcdefghij"); // 11 tokens with BOS
    char *path = bm_path_join(self->folder, "text.txt");
    bm_dataset_params params = params_of(self);
    params.path = path;
    params.purpose = BM_DATASET_EVALUATION;
    params.context = 4;
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 3);
    check_sequence(dataset, 0, "10 0 1 2 > 0 1 2 - ");
    check_sequence(dataset, 2, "7 8 9 > 8 9 - ");
    assert_true(bm_dataset_is_plain_text(dataset));
    bm_dataset_destroy(&dataset);
    params.drop_last = true;
    dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    bm_dataset_destroy(&dataset);
    params.drop_last = false;
    params.context = 5; // a last slice of one token has nothing to score
    dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    bm_dataset_destroy(&dataset);
    bm_free(path);
}

// A byte order mark and the carriage returns of line ends are the file's, not the text's; in JSON a text says itself
// what it holds.
static void files_of_other_systems_hold_the_same_text(void **state)
{
    fixture *self = *state;
    static const char json[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"\\n\":2,\"\\r\":3,"
                               "\"\\ufeff\":4},\"merges\":[]}}";
    static const struct {
        const char *name, *text, *expected, *note;
    } cases[] = {
        {"t.txt", "a\nb\n\na", "0 2 1 2 2 0 > 2 1 2 2 0 - ", NULL},
        {"t.txt",
         "\xEF\xBB\xBF"
         "a\nb\n\na",
         "0 2 1 2 2 0 > 2 1 2 2 0 - ", "the byte order mark in front is left out"},
        {"t.txt", "a\r\nb\r\n\r\na", "0 2 1 2 2 0 > 2 1 2 2 0 - ", "3 line ends with a carriage return"},
        {"t.txt", "a\rb\n\ra", "0 2 1 2 2 0 > 2 1 2 2 0 - ", "2 line ends with a carriage return"},
        {"t.txt", "a\r\r\nb\r", "0 2 2 1 2 > 2 2 1 2 - ", "3 line ends with a carriage return"},
        {"t.txt",
         "a\xEF\xBB\xBF"
         "b",
         "0 4 1 > 4 1 - ", NULL},
        {"t.json", "\xEF\xBB\xBF{\"text\":\"a\\r\\nb\"}\r\n", "0 3 2 1 > 3 2 1 - ", NULL},
        {"t.json", "\xEF\xBB\xBF[{\"text\":\"\\ufeffab\"}]\r\n", "4 0 1 > 0 1 - ", NULL},
    };
    char *model = fixture_folder("dataset-line-ends");
    fixture_write(model, "tokenizer.json", json, sizeof json - 1);
    bm_tokenizer_close(&self->tokenizer);
    self->tokenizer = fixture_open(model);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_dataset_params params = params_of(self);
        char *path = bm_path_join(self->folder, cases[i].name);
        put(self, cases[i].name, cases[i].text);
        params.path = path;
        bm_string_clear(&self->notes);
        bm_dataset *dataset = load(self, &params);
        check_sequence(dataset, 0, cases[i].expected);
        if (cases[i].note)
            assert_non_null(strstr(bm_string_text(&self->notes), cases[i].note));
        else
            assert_null(strstr(bm_string_text(&self->notes), "line ends"));
        bm_dataset_destroy(&dataset);
        bm_free(path);
    }
    bm_free(model);
}

// What is refused is the error alone.
static void a_text_that_is_refused_has_no_notes(void **state)
{
    fixture *self = *state;
    bm_dataset_params params = params_of(self);
    bm_dataset *dataset = NULL;
    bm_error err = {0};
    char *path = bm_path_join(self->folder, "t.txt");
    put(self, "t.txt",
        "\xEF\xBB\xBF"
        "a\r\n\xFF");
    params.path = path;
    bm_string_clear(&self->notes);
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, &self->log, &err), BM_E_FORMAT);
    assert_string_equal(bm_string_text(&self->notes), "");
    bm_free(path);
}

static void text_lines_are_documents(void **state)
{
    fixture *self = *state;
    put(self, "text.jsonl", "{\"text\":\"abc\"}\n{\"text\":\"defgh\"}\n");
    char *path = bm_path_join(self->folder, "text.jsonl");
    bm_dataset_params params = params_of(self);
    params.path = path;
    params.src_length = 3;
    params.max_length = 4;
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 3);
    check_sequence(dataset, 0, "10 0 1 2 > 0 1 2 - ");
    check_sequence(dataset, 1, "10 3 4 5 > 3 4 5 - ");
    check_sequence(dataset, 2, "6 7 > 7 - ");
    bm_dataset_destroy(&dataset);
    bm_free(path);
}

// Ids as they are: nothing in front, nothing behind, all but the first scored, cut on the right.
static void lines_of_ids_are_taken_as_they_are(void **state)
{
    fixture *self = *state;
    put(self, "ids.jsonl",
        "{\"input_ids\":[3,0,11,7],\"attention_mask\":[1,1,1,1]}\n\n"
        "{\"id\":\"x\",\"input_ids\":[1,2,3,4,5,6,7],\"labels\":[-100,2,3,4,5,6,7],\"text\":\"b\"}\n"
        "{\"input_ids\":[9],\"token_type_ids\":[0],\"labels\":[9]}\n{\"input_ids\":[10,9]}");
    char *path = bm_path_join(self->folder, "ids.jsonl");
    bm_dataset_params params = params_of(self);
    params.path = path;
    params.src_length = 2;
    params.max_length = 5;
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 4);
    check_sequence(dataset, 0, "3 0 11 7 > 0 11 7 - ");
    check_sequence(dataset, 1, "1 2 3 4 5 > 2 3 4 5 - ");
    check_sequence(dataset, 2, "9 > - ");
    check_sequence(dataset, 3, "10 9 > 9 - ");
    assert_true(bm_dataset_is_token_ids(dataset));
    assert_false(bm_dataset_is_plain_text(dataset));
    assert_non_null(strstr(self->notes.data, "ids.jsonl: 1 line of ids cut to max_length"));
    const char *note = strstr(self->notes.data, "key \"labels\" beside \"input_ids\" is not read");
    assert_non_null(note);
    assert_null(strstr(note + 1, "key \""));
    bm_dataset_destroy(&dataset);
    params.purpose = BM_DATASET_EVALUATION; // where one id alone has nothing to score
    dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 3);
    assert_int_equal(bm_dataset_num_targets(dataset), 8);
    assert_non_null(strstr(self->notes.data, "ids.jsonl: line 4: too short to feed or score anything, left out"));
    bm_dataset_destroy(&dataset);
    params.max_tokens = 9; // whole lines
    dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    bm_dataset_destroy(&dataset);
    bm_free(path);
}

static void lines_of_ids_are_shuffled_and_packed_as_others(void **state)
{
    fixture *self = *state;
    put(self, "quant.json",
        "[{\"input_ids\":[0,1,2]},{\"input_ids\":[3,4]},{\"input_ids\":[5,6,7]},{\"input_ids\":[8]}]");
    bm_dataset_params params = params_of(self);
    params.src_length = 2;
    params.max_length = 5;
    params.keep_order = false;
    uint32_t moved = 0, sum = 0;
    for (params.seed = 0; params.seed < 8; params.seed++) {
        bm_dataset *dataset = load(self, &params);
        for (uint32_t i = 0; i < 4; i++)
            sum += bm_dataset_sequence(dataset, i)->ids[0];
        moved += bm_dataset_sequence(dataset, 0)->number != 1;
        bm_dataset_destroy(&dataset);
    }
    assert_int_equal(sum, 8 * 16);
    assert_true(moved > 2);
    params.keep_order = true;
    params.zero_padding = true;
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_count(dataset), 2);
    check_sequence(dataset, 0, "0 1 2 / 3 4 > 1 2 - / 4 - ");
    check_sequence(dataset, 1, "5 6 7 / 8 > 6 7 - / - ");
    bm_dataset_destroy(&dataset);
}

static void ids_beyond_the_vocabulary_name_their_line(void **state)
{
    fixture *self = *state;
    bm_error err = {BM_OK, ""};
    put(self, "quant.json", "{\"input_ids\":[0,11]}\n{\"input_ids\":[0,1,12]}\n");
    bm_dataset_params params = params_of(self);
    bm_dataset *dataset = load(self, &params);
    assert_int_equal(bm_dataset_check_ids(dataset, 13, &err), BM_OK);
    assert_int_equal(bm_dataset_check_ids(dataset, 12, &err), BM_E_ARGUMENT);
    assert_non_null(
        strstr(err.message, "quant.json: line 2: token id 12, the model's vocabulary has 12; were the ids"));
    bm_dataset_destroy(&dataset);
}

static void examples_of_one_id_name_their_line(void **state)
{
    fixture *self = *state;
    static const char *const forms[][2] = {
        {"\n{\"input_ids\":[5]}\n", "dev.json: line 2: nothing of 2 tokens or more"},
        {"[{\"input_ids\":[5]},{\"input_ids\":[6]}]", "dev.json: element 1 and 1 more: nothing of 2 tokens or more"},
        {"{\"text\":\"\"}\n\n{\"text\":\"\"}", "dev.json: line 1 and 1 more: nothing of 2 tokens or more"},
    };
    bm_dataset_params params = params_of(self);
    params.purpose = BM_DATASET_EVALUATION;
    for (size_t i = 0; i < BM_COUNT(forms); i++) {
        bm_error err = {BM_OK, ""};
        bm_dataset *dataset = NULL;
        put(self, "dev.json", forms[i][0]);
        assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, forms[i][1]));
    }
}

// What cannot be read in a key that is not.
static void unread_keys_do_not_matter(void **state)
{
    fixture *self = *state;
    static const char *const forms[] = {
        "{\"id\":1234567890123456789,\"src\":\"a\",\"tgt\":\"b\"}\n",
        "{\"score\":NaN,\"src\":\"a\",\"tgt\":\"b\",\"list\":[-Infinity,1e999]}",
        "{\"src\":\"a\",\"note\":\"cut \\ud83d\",\"tgt\":\"b\"}",
        "{\"src\":\"a\",\"note\":\"\\u0000\",\"tgt\":\"b\"}",
        "[{\"id\":1234567890123456789,\"src\":\"a\",\"tgt\":\"b\"}]",
    };
    bm_dataset_params params = params_of(self);
    for (size_t i = 0; i < BM_COUNT(forms); i++) {
        put(self, "quant.json", forms[i]);
        bm_dataset *dataset = load(self, &params);
        check_sequence(dataset, 0, "10 0 1 > - 1 11 ");
        bm_dataset_destroy(&dataset);
    }
}

static void at_most_so_many_tokens_and_sequences(void **state)
{
    static const struct {
        const char *name;
        uint64_t max_tokens;
        uint32_t max_sequences, count, num_tokens;
    } cases[] = {
        {"text.txt", 0, 0, 3, 11},  {"text.txt", 11, 0, 3, 11}, {"text.txt", 10, 0, 3, 10}, {"text.txt", 9, 0, 2, 8},
        {"text.txt", 5, 0, 1, 4},   {"text.txt", 3, 0, 1, 3},   {"text.txt", 0, 2, 2, 8},   {"text.txt", 6, 1, 1, 4},
        {"text.jsonl", 9, 0, 2, 8}, {"text.jsonl", 7, 0, 2, 7}, {"text.jsonl", 5, 0, 1, 4}, {"text.jsonl", 2, 0, 1, 2},
        {"dev.json", 0, 0, 3, 15},  {"dev.json", 15, 0, 3, 15}, {"dev.json", 14, 0, 2, 8},  {"dev.json", 4, 0, 1, 4},
        {"dev.json", 0, 2, 2, 8},   {"dev.json", 7, 2, 1, 4},
    };
    fixture *self = *state;
    bm_error err = {BM_OK, ""};
    put(self, "text.txt", "abcdefghij");                                  // 11 tokens with BOS
    put(self, "text.jsonl", "{\"text\":\"abc\"}\n{\"text\":\"defg\"}\n"); // 4 and 5
    put(self, "dev.json",
        "{\"src\":\"ab\",\"tgt\":\"c\"}\n{\"src\":\"a\",\"tgt\":\"bc\"}\n" // 4, 4, 7
        "{\"src\":\"abc\",\"tgt\":\"def\"}\n");
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *path = bm_path_join(self->folder, cases[i].name);
        bm_dataset_params params = params_of(self);
        params.path = path;
        params.purpose = BM_DATASET_EVALUATION;
        params.context = 4;
        params.max_tokens = cases[i].max_tokens;
        params.max_sequences = cases[i].max_sequences;
        bm_dataset *dataset = load(self, &params);
        assert_int_equal(bm_dataset_count(dataset), cases[i].count);
        assert_int_equal(bm_dataset_num_tokens(dataset), cases[i].num_tokens);
        bm_dataset_destroy(&dataset);
        params.max_tokens = 1;
        assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
        assert_non_null(strstr(err.message, "more tokens than the 1"));
        bm_free(path);
    }
    assert_null(strstr(bm_string_text(&self->notes), "left out"));
}

static void bad_lines_name_file_and_line(void **state)
{
    fixture *self = *state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"src\":\"a\",\"tgt\":\"b\"}\n\n{\"src\":\"a\"\n", "quant.json: line 3: byte 10: is not valid JSON"},
        {"{\"src\":\"a\"}", "line 1: key \"tgt\" is missing"},
        {"\n{\"tgt\":\"a\"}", "line 2: key \"src\" is missing"},
        {"{\"src\":[],\"tgt\":\"a\"}", "line 1: key \"src\": expected a string or a list"},
        {"{\"src\":[\"a\",1],\"tgt\":\"a\"}", "line 1: key \"src\": expected a string or a list"},
        {"{\"src\":1,\"tgt\":\"a\"}", "line 1: key \"src\": expected a string or a list of strings, found 1"},
        {"7", "line 1: expected an object, found number"},
        {"[{\"src\":\"a\",\"tgt\":\"b\"},7]", "quant.json: element 2: expected an object"},
        {"[{\"src\":\"a\",\"tgt\":\"b\"},{]", "quant.json: element 2: byte 4: is not valid JSON"},
        {"\n{\"src\":\"a\\ud83d\",\"tgt\":\"b\"}",
         "line 2: key \"src\": expected a string or a list of strings, found a string with half of a surrogate pair"},
        {"{\"src\":\"a\",\"tgt\":[\"b\",\"\\u0000\"]}", "found a string with a zero character in a list"},
        {"{\"src\":9007199254740993,\"tgt\":\"b\"}", "key \"src\": expected a string or a list of strings, found 9007"},
        {"{\"src\":\"a\\u12\",\"tgt\":\"b\"}", "quant.json: line 1: byte 10: \"\\u\" in a string"},
        {"{\"src\":\"a\",\"tgt\":\"\xFF\"}", "line 1"},
        {"{\"src\":\"a\",\"tgt\":\"b\"}\n{\"text\":\"a\"}", "line 2: lines with \"text\""},
        {"{\"input_ids\":[1]}\n\n{\"src\":\"a\",\"tgt\":\"b\"}",
         "line 3: lines with \"src\" and \"tgt\" and lines with \"input_ids\" are mixed"},
        {"{\"text\":\"a\"}\n{\"text\":\"a\",\"input_ids\":[1]}",
         "line 2: lines with \"input_ids\" and lines with \"text\""},
        {"{\"input_ids\":[]}",
         "quant.json: line 1: key \"input_ids\": expected a list of integers, found an empty one"},
        {"{\"input_ids\":7}", "key \"input_ids\": expected a list of integers, found 7"},
        {"{\"input_ids\":null}", "key \"input_ids\": expected a list of integers, found null"},
        {"{\"input_ids\":[1,-1]}",
         "line 1: key \"input_ids\": element 2: expected an integer from 0 to 2147483647, found -1"},
        {"{\"input_ids\":[1,2,1.5]}", "element 3: expected an integer from 0 to 2147483647, found 1.5"},
        {"{\"input_ids\":[2147483648]}", "element 1: expected an integer from 0 to 2147483647, found 2147483648"},
        {"{\"input_ids\":[9007199254740993]}",
         "element 1: expected an integer from 0 to 2147483647, found 9007199254740993"},
        {"{\"input_ids\":[NaN]}", "element 1: expected an integer from 0 to 2147483647, found NaN"},
        {"{\"input_ids\":[\"1\"]}", "element 1: expected an integer from 0 to 2147483647, found \"1\""},
        {"{\"input_ids\":[[1,2]]}", "element 1: expected an integer from 0 to 2147483647, found an array"},
        {"\n{\"input_ids\":[1,2],\"attention_mask\":[0,1]}",
         "line 2: key \"attention_mask\": element 1: expected 1 (padding is not read: leave it out), found 0"},
        {"{\"input_ids\":[1,2],\"attention_mask\":[1,2]}", "element 2: expected 1 (padding"},
        {"{\"input_ids\":[1,2],\"attention_mask\":[1]}",
         "key \"attention_mask\": expected 2 elements, as \"input_ids\" has, found 1"},
        {"{\"input_ids\":[1,2],\"attention_mask\":1}", "key \"attention_mask\": expected a list of integers, found 1"},
        {"[{\"input_ids\":[1,2]},{\"input_ids\":[true]}]", "quant.json: element 2: key \"input_ids\": element 1"},
        {"", "no examples"},
        {"\n \n", "no examples"},
        {"[]", "no examples"},
    };
    bm_dataset_params params = params_of(self);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {BM_OK, ""};
        bm_dataset *dataset = NULL;
        put(self, "quant.json", cases[i].text);
        const bm_status status = bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err);
        if (status != BM_E_FORMAT || !strstr(err.message, cases[i].words))
            fail_msg("case %zu: %s, \"%s\", expected \"%s\"", i, bm_status_name(status), err.message, cases[i].words);
    }
}

static void bad_turns_name_their_example(void **state)
{
    fixture *self = *state;
    bm_error err = {BM_OK, ""};
    bm_dataset *dataset = NULL;
    bm_dataset_params params = params_of(self);
    bm_chat_template *template = open_template("{{ raise_exception('not so') }}");
    params.chat_template = template;
    put(self, "quant.json", "{\"src\":[\"a\",\"b\"],\"tgt\":[\"c\"]}");
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "quant.json: line 1: keys \"src\" and \"tgt\": lists of different lengths"));
    put(self, "quant.json", "{\"src\":\"a\",\"tgt\":\"c\"}");
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "quant.json: line 1: t: chat template: line 1: the template refuses: not so"));
    bm_chat_template_close(&template);
}

static void a_line_without_end_is_refused(void **state)
{
    fixture *self = *state;
    const size_t length = 18u << 20;
    char *text = bm_alloc(length, 1);
    assert_non_null(text);
    memset(text, 'x', length);
    fixture_write(self->folder, "quant.json", text, length);
    bm_free(text);
    bm_error err = {BM_OK, ""};
    bm_dataset *dataset = NULL;
    bm_dataset_params params = params_of(self);
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "line 1: more than"));
}

static void contradicting_lengths_are_refused(void **state)
{
    fixture *self = *state;
    static const uint32_t lengths[][2] = {{1, 10}, {10, 10}, {10, 5}, {0, 0}, {5, UINT32_MAX}};
    put(self, "quant.json", "{\"src\":\"a\",\"tgt\":\"b\"}\n");
    for (size_t i = 0; i < BM_COUNT(lengths); i++) {
        bm_error err = {BM_OK, ""};
        bm_dataset *dataset = NULL;
        bm_dataset_params params = params_of(self);
        params.src_length = lengths[i][0];
        params.max_length = lengths[i][1];
        assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
    }
}

// A prompt needs room beside the special tokens around it; plain text has no prompt.
static void special_tokens_bound_prompts_alone(void **state)
{
    fixture *self = *state;
    static const char two[] = "{\"added_tokens\":[{\"id\":2,\"content\":\"<s>\",\"special\":true}],\"post_processor\":{"
                              "\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{"
                              "\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"<s>\"}}],\"special_tokens\":{"
                              "\"<s>\":{\"ids\":[2]}}},\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\","
                              "\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    bm_error err = {BM_OK, ""};
    bm_dataset *dataset = NULL;
    char *model = fixture_folder("dataset-two"), *path = bm_path_join(self->folder, "text.txt");
    fixture_write(model, "tokenizer.json", two, sizeof two - 1);
    bm_tokenizer_close(&self->tokenizer);
    self->tokenizer = fixture_open(model);
    bm_dataset_params params = params_of(self);
    params.src_length = 2;
    put(self, "quant.json", "{\"src\":\"a\",\"tgt\":\"b\"}\n");
    assert_int_equal(bm_dataset_load(&dataset, &params, self->tokenizer, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "\"src_length\": 2 leaves no room beside 2 special tokens"));
    put(self, "text.txt", "abab");
    params.path = path;
    dataset = load(self, &params);
    check_sequence(dataset, 0, "2 0 1 0 1 > 0 1 0 1 - ");
    bm_dataset_destroy(&dataset);
    bm_free(path);
    bm_free(model);
}

static void real_text_known_counts(void **state)
{
    fixture *self = *state;
    const char *data = fixture_data();
    if (!data)
        skip();
    char *model = bm_path_join(data, "prose-8m"), *text = bm_path_join(data, "text/prose/valid.txt");
    char *pairs = bm_path_join(data, "text/advertisegen/advertisegen-sample.jsonl");
    bm_error err = {BM_OK, ""};
    bm_tokenizer *tokenizer = fixture_open(model);
    bm_dataset *dataset = NULL;
    bm_dataset_params params = params_of(self);
    params.path = text;
    params.purpose = BM_DATASET_EVALUATION;
    params.context = 512;
    assert_int_equal(bm_dataset_load(&dataset, &params, tokenizer, NULL, &err), BM_OK);
    assert_int_equal(bm_dataset_num_tokens(dataset), 219523);
    assert_int_equal(bm_dataset_num_targets(dataset), 219094);
    assert_int_equal(bm_dataset_count(dataset), 429);
    bm_dataset_destroy(&dataset);
    params.path = pairs;
    assert_int_equal(bm_dataset_load(&dataset, &params, tokenizer, NULL, &err), BM_OK);
    assert_int_equal(bm_dataset_count(dataset), 700);
    bm_dataset_destroy(&dataset);
    bm_tokenizer_close(&tokenizer);
    bm_free(model);
    bm_free(text);
    bm_free(pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pair_is_joined_with_eos_and_shifted, setup, teardown),
        cmocka_unit_test_setup_teardown(prompt_is_cut_on_the_left_and_answer_on_the_right, setup, teardown),
        cmocka_unit_test_setup_teardown(list_counts_by_its_first_element_with_one_note, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_are_rendered_and_the_bot_is_scored, setup, teardown),
        cmocka_unit_test_setup_teardown(few_tails_of_a_long_conversation_are_rendered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_template_may_write_the_end_otherwise, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_turns_name_their_example, setup, teardown),
        cmocka_unit_test_setup_teardown(folder_forms_and_fallbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alone_serves_prediction, setup, teardown),
        cmocka_unit_test_setup_teardown(order_is_shuffled_once_by_seed, setup, teardown),
        cmocka_unit_test_setup_teardown(packs_fill_in_order_or_greedily, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_text_is_sliced, setup, teardown),
        cmocka_unit_test_setup_teardown(special_tokens_bound_prompts_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_other_systems_hold_the_same_text, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_that_is_refused_has_no_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(text_lines_are_documents, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_of_ids_are_taken_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_of_ids_are_shuffled_and_packed_as_others, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_beyond_the_vocabulary_name_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(examples_of_one_id_name_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(unread_keys_do_not_matter, setup, teardown),
        cmocka_unit_test_setup_teardown(at_most_so_many_tokens_and_sequences, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_lines_name_file_and_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_without_end_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(contradicting_lengths_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(real_text_known_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
