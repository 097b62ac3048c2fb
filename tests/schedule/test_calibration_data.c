// Which sequences a method watches: how many, in which order, cut where, and what is said of them.
#include "support/unit.h"

#include "arguments/arguments_fixture.h"
#include "schedule/plan.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <stdio.h>

#define NUM_EXAMPLES 20u

// A made model, a text of 1000 letters and a folder of 20 examples: of example i, from 1, a prompt of i letters and an
// answer of 2. A byte is a token; one in front of everything, one behind an answer.
typedef struct fixture {
    char *model_folder, *data_folder;
    char *text;
    bm_model *model;
} fixture;

static int setup(void **state)
{
    fixture *self = bm_alloc_zero(1, sizeof *self);
    bm_error err = {0};
    bm_string lines = BM_STRING_INIT;
    char letters[1001];
    model_maker_params p;
    model_maker_params_init(&p);
    p.num_layers = 1;
    p.vocab_size = 260;
    p.max_positions = 128;
    p.tokenizer = MODEL_MAKER_BYTE_LEVEL;
    self->model_folder = support_folder_create();
    self->data_folder = support_folder_create();
    assert_ok(model_maker_write(&p, self->model_folder, &err), &err);
    assert_ok(bm_model_open(&self->model, self->model_folder, &err), &err);
    memset(letters, 'x', sizeof letters);
    for (uint32_t i = 1; i <= NUM_EXAMPLES; i++)
        bm_string_append_format(&lines, "{\"src\":\"%.*s\",\"tgt\":\"ab\"}\n", (int)i, letters);
    bm_free(support_file_write(self->data_folder, "quant.json", lines.data, lines.length));
    bm_string_free(&lines);
    for (size_t i = 0; i < 1000; i++)
        letters[i] = (char)('a' + i % 26);
    self->text = support_file_write(self->model_folder, "text.txt", letters, 1000);
    *state = self;
    return 0;
}

static int teardown(void **state)
{
    fixture *self = *state;
    bm_model_close(&self->model);
    bm_free(self->text);
    support_folder_remove(&self->model_folder);
    support_folder_remove(&self->data_folder);
    bm_free(self);
    return 0;
}

// Plans the members with the data of path, and returns what reading the data gives.
static bm_status plan_with(const fixture *self, const char *path, const char *members, bm_arguments **args,
                           bm_plan **plan, bm_error *err)
{
    char *text = bm_format("\"model_name_or_path\":\"%s\",\"output_dir\":\"o\",\"dataset_name_or_path\":\"%s\",%s",
                           self->model_folder, path, members);
    assert_ok(fixture_read(args, text, NULL, err), err);
    assert_ok(bm_plan_create(*args, self->model, plan, err), err);
    bm_free(text);
    return bm_plan_load_data(*plan, *args, self->model, NULL, err);
}

#define G "\"do_gptq\":true,\"src_length\":64,\"max_length\":100"

// Of few tokens: what gives more of them.
static void a_key_bounds_the_tokens_or_the_data_do(void **state)
{
    const fixture *self = *state;
#define AWQ "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"max_length\":100"
    static const struct {
        const char *members;
        bool is_text;
        const char *key;
    } cases[] = {
        {G ",\"gptq_step\":2,\"per_device_train_batch_size\":5", false, "gptq_step"},
        {G ",\"gptq_step\":4,\"per_device_train_batch_size\":5", false, "gptq_step"}, // there may be more
        {G ",\"gptq_step\":5,\"per_device_train_batch_size\":5", false, NULL},
        {G ",\"gptq_step\":-1", false, NULL},
        {G ",\"gptq_step\":-1,\"calibration_tokens\":250", true, "calibration_tokens"},
        {G ",\"gptq_step\":16,\"calibration_tokens\":250", true, "calibration_tokens"},
        {G ",\"gptq_step\":16,\"calibration_tokens\":5000", true, NULL},
        {G ",\"gptq_step\":1,\"calibration_tokens\":5000", true, "gptq_step"},
        {AWQ ",\"ptq_step\":1", false, "ptq_step"},
        {AWQ ",\"ptq_step\":1,\"auto_clip\":true", false, NULL}, // autoclip_step is 8
        {AWQ ",\"autoclip_step\":1,\"auto_clip\":true", false, "autoclip_step"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        assert_ok(
            plan_with(self, cases[i].is_text ? self->text : self->data_folder, cases[i].members, &args, &plan, &err),
            &err);
        const char *key = bm_plan_key_of_tokens(plan, args);
        if (!key != !cases[i].key || (key && strcmp(key, cases[i].key) != 0))
            fail_msg("%s: %s, expected %s", cases[i].members, key ? key : "none", cases[i].key ? cases[i].key : "none");
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

static void steps_bound_the_sequences(void **state)
{
    const fixture *self = *state;
    static const struct {
        const char *members;
        bool is_text;
        uint32_t sequences, step;
        uint64_t tokens;  // 0: not looked at
        const char *note; // NULL: none
    } cases[] = {
        {G ",\"gptq_step\":2,\"per_device_train_batch_size\":5", false, 10, 5, 0, NULL},
        {G ",\"gptq_step\":4,\"per_device_train_batch_size\":5", false, 20, 5, 0, NULL},
        {G ",\"gptq_step\":5,\"per_device_train_batch_size\":6", false, 20, 6, 0,
         "20 sequences, fewer than the 30 of gptq_step 5 and per_device_train_batch_size 6: all are used"},
        {G ",\"gptq_step\":5,\"per_device_train_batch_size\":6,\"dataloader_drop_last\":true", false, 18, 6, 0,
         "fewer than the 30 of gptq_step 5 and per_device_train_batch_size 6: whole steps of them are used"},
        {G ",\"gptq_step\":-1", false, 20, 8, 0, NULL},
        {G ",\"gptq_step\":-1,\"per_device_train_batch_size\":2147483647", false, 20, 2147483647, 0, NULL},
        {G ",\"gptq_step\":2147483647,\"per_device_train_batch_size\":2147483647", false, 20, 2147483647, 0,
         "fewer than the 4611686014132420609"},
        {G ",\"keep_order\":true,\"gptq_step\":3,\"per_device_train_batch_size\":2", true, 6, 2, 600, NULL},
        {G ",\"gptq_step\":-1", true, 10, 8, 1000, NULL},
        // The end of the tokens in the middle of a sequence, at the end of one, and behind all of them.
        {G ",\"gptq_step\":-1,\"keep_order\":true,\"calibration_tokens\":250", true, 3, 8, 250, NULL},
        {G ",\"gptq_step\":-1,\"keep_order\":true,\"calibration_tokens\":300", true, 3, 8, 300, NULL},
        {G ",\"gptq_step\":1,\"keep_order\":true,\"calibration_tokens\":5000", true, 8, 8, 800, NULL},
        {G ",\"gptq_step\":1,\"keep_order\":true,\"calibration_tokens\":1", true, 1, 8, 1, NULL},
        // Where they bound, no step is said to lack sequences.
        {G ",\"gptq_step\":16,\"keep_order\":true,\"calibration_tokens\":250", true, 3, 8, 250, NULL},
        {G ",\"gptq_step\":16,\"keep_order\":true,\"calibration_tokens\":1000", true, 10, 8, 1000, NULL},
        {G ",\"gptq_step\":16,\"keep_order\":true,\"calibration_tokens\":5000", true, 10, 8, 1000,
         "10 sequences, fewer than the 128 of gptq_step 16"},
        // Rounding that weighs by data takes ptq_step.
        {"\"do_ptq\":true,\"quant_type\":\"wint4\",\"max_length\":100,\"ptq_step\":1,\"gptq_step\":2,\"keep_order\":"
         "true",
         true, 8, 8, 800, NULL},
        // Nothing observes inputs that stay float: ptq_step says nothing.
        {"\"do_ptq\":true,\"quant_type\":\"wint4\",\"smooth\":true,\"scale_search\":\"abs_max\",\"max_length\":100,"
         "\"src_length\":64,\"smooth_step\":1,\"ptq_step\":4,\"per_device_train_batch_size\":5",
         false, 5, 5, 0, NULL},
        // A length beyond the model's context.
        {"\"do_gptq\":true,\"gptq_step\":1,\"keep_order\":true", true, 8, 8, 1001,
         "\"max_length\": 2048: lowered to 128"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        const char *path = cases[i].is_text ? self->text : self->data_folder;
        if (plan_with(self, path, cases[i].members, &args, &plan, &err) != BM_OK)
            fail_msg("%s: %s", cases[i].members, err.message);
        const bm_calibration_data *data = &plan->calibration;
        uint64_t tokens = 0;
        for (uint32_t s = 0; s < data->num_segments; s++)
            tokens += data->segments[s].count;
        assert_int_equal(tokens, data->num_tokens);
        assert_int_equal(data->num_segments, data->num_sequences);
        const bm_note *note = fixture_find_note(&plan->notes, cases[i].note ? cases[i].note : "sequences");
        if (data->num_sequences != cases[i].sequences || data->step_sequences != cases[i].step ||
            (cases[i].tokens && tokens != cases[i].tokens) || (note != NULL) != (cases[i].note != NULL))
            fail_msg("%s: %u sequences, %u a step, %llu tokens, note %s", cases[i].members, data->num_sequences,
                     data->step_sequences, (unsigned long long)tokens, note ? note->text : "absent");
        bm_string words = BM_STRING_INIT;
        char *expected =
            bm_format(", %u sequence%s, %llu token%s for calibration\n", data->num_sequences,
                      data->num_sequences == 1 ? "" : "s", (unsigned long long)tokens, tokens == 1 ? "" : "s");
        bm_plan_describe(plan, args, self->model, &words);
        assert_non_null(strstr(bm_string_text(&words), expected));
        bm_string_free(&words);
        bm_free(expected);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

// Told before any work: PaddleSlim's shift takes nothing of the first step.
static void a_shift_of_one_step_is_refused_under_compat(void **state)
{
    const fixture *self = *state;
    static const char *const members[] = {
#define SHIFT "\"do_ptq\":true,\"quant_type\":\"a8w8\",\"shift\":true,\"max_length\":100,\"src_length\":64,"
        SHIFT "\"compat\":\"paddleslim\",\"shift_step\":1",
        SHIFT "\"compat\":\"paddleslim\",\"per_device_train_batch_size\":20", // all there are are one step
        SHIFT "\"shift_step\":1", SHIFT "\"compat\":\"paddleslim\",\"shift_step\":2"};
    for (size_t i = 0; i < BM_COUNT(members); i++) {
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        const bm_status status = plan_with(self, self->data_folder, members[i], &args, &plan, &err);
        assert_int_equal(status, i < 2 ? BM_E_ARGUMENT : BM_OK);
        if (i < 2)
            assert_non_null(strstr(err.message, "\"shift_step\": "));
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

// The order in which the examples come, by their names.
static void read_order(const fixture *self, const char *members, uint32_t order[NUM_EXAMPLES])
{
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    char name[512], expected[512];
    assert_ok(plan_with(self, self->data_folder, members, &args, &plan, &err), &err);
    assert_int_equal(plan->calibration.num_segments, NUM_EXAMPLES);
    const uint32_t first_count = plan->calibration.segments[0].count;
    for (uint32_t i = 0; i < NUM_EXAMPLES; i++) {
        const uint32_t number = bm_dataset_sequence(plan->calibration.dataset, i)->number;
        order[i] = number;
        snprintf(expected, sizeof expected, "%s/quant.json: line %u", self->data_folder, number);
        assert_string_equal(bm_calibration_data_name(&plan->calibration, i, name, sizeof name), expected);
        // The name is the example's: each has a prompt one letter longer than the one before it.
        assert_int_equal(plan->calibration.segments[i].count - number, first_count - order[0]);
    }
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

static void order_is_drawn_with_the_seed(void **state)
{
    const fixture *self = *state;
    uint32_t kept[NUM_EXAMPLES], first[NUM_EXAMPLES], again[NUM_EXAMPLES], other[NUM_EXAMPLES];
    bool seen[NUM_EXAMPLES + 1] = {0};
    read_order(self, G ",\"gptq_step\":-1,\"keep_order\":true", kept);
    read_order(self, G ",\"gptq_step\":-1", first);
    read_order(self, G ",\"gptq_step\":-1", again);
    read_order(self, G ",\"gptq_step\":-1,\"seed\":43", other);
    for (uint32_t i = 0; i < NUM_EXAMPLES; i++) {
        assert_int_equal(kept[i], i + 1);
        assert_in_range(first[i], 1, NUM_EXAMPLES);
        assert_false(seen[first[i]]);
        seen[first[i]] = true;
    }
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, kept, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
}

// Attention must not cross from one packed example into the next: each is a segment, the pack a sequence.
static void packs_come_apart(void **state)
{
    const fixture *self = *state;
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    char name[512];
    assert_ok(plan_with(self, self->data_folder,
                        G ",\"zero_padding\":true,\"keep_order\":true,\"gptq_step\":1,"
                          "\"per_device_train_batch_size\":2",
                        &args, &plan, &err),
              &err);
    const bm_calibration_data *data = &plan->calibration;
    assert_int_equal(data->num_sequences, 2);
    assert_true(data->num_segments > 4);
    uint32_t segment = 0;
    for (uint32_t s = 0; s < 2; s++) {
        const bm_sequence *pack = bm_dataset_sequence(data->dataset, s);
        assert_true(pack->num_segments > 1);
        for (uint32_t k = 0; k < pack->num_segments; k++, segment++) {
            assert_ptr_equal(data->segments[segment].ids, pack->ids + pack->starts[k]);
            assert_int_equal(data->segments[segment].count, pack->starts[k + 1] - pack->starts[k]);
            assert_int_equal(data->segment_sequences[segment], s);
        }
    }
    assert_int_equal(segment, data->num_segments);
    bm_calibration_data_name(data, segment - 1, name, sizeof name);
    assert_non_null(strstr(name, "/quant.json: pack 2"));
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

// Two tokens for each channel of the widest linear, where strict asks for them.
static void few_tokens_are_refused_under_strict(void **state)
{
    const fixture *self = *state;
    const uint32_t widest = self->model->config.intermediate_size;
    for (uint32_t i = 0; i < 4; i++) {
        const bool is_strict = i < 2, is_short = i % 2 == 0;
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        char *members = bm_format(G ",\"quant_type\":\"wint4\",\"calibration_tokens\":%u,\"strict\":%s",
                                  2 * widest - is_short, is_strict ? "true" : "false");
        const bm_status status = plan_with(self, self->text, members, &args, &plan, &err);
        assert_int_equal(status, is_strict && is_short ? BM_E_ARGUMENT : BM_OK);
        if (status != BM_OK)
            assert_non_null(
                strstr(err.message, "channels of layer \"model.layers.0.mlp.down_proj\", which --strict refuses"));
        bm_free(members);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

// Tokens of GPTQ's own steps count, not those that scales look at.
static void tokens_of_scales_are_not_enough_under_strict(void **state)
{
    const fixture *self = *state;
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    const bm_status status =
        plan_with(self, self->text,
                  G ",\"quant_type\":\"wint4\",\"scaling\":\"smooth\",\"smooth_step\":-1,\"gptq_step\":1,"
                    "\"per_device_train_batch_size\":1,\"strict\":true",
                  &args, &plan, &err);
    assert_int_equal(status, BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, ": 100 tokens for the "));
    assert_non_null(strstr(err.message, "which --strict refuses"));
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

static void data_that_do_not_do_are_refused(void **state)
{
    const fixture *self = *state;
    static const struct {
        const char *name, *content; // a file beside the model; NULL: the folder of examples
        const char *members, *words;
        bm_status status;
    } cases[] = {
        {NULL, NULL, G ",\"per_device_train_batch_size\":21,\"dataloader_drop_last\":true",
         "\"dataloader_drop_last\": true: ", BM_E_ARGUMENT},
        {NULL, NULL, G ",\"per_device_train_batch_size\":21,\"dataloader_drop_last\":true",
         "/quant.json has 20 sequences, fewer than a step of 21", BM_E_ARGUMENT},
        {NULL, NULL, G ",\"gptq_step\":30,\"strict\":true", "a note, which --strict refuses", BM_E_ARGUMENT},
        {"empty.txt", "", G, "empty.txt: is empty, expected a text", BM_E_FORMAT},
        {"empty.json", "", G, "empty.json: no examples, expected lines of JSON with \"src\" and \"tgt\", or \"text\"",
         BM_E_FORMAT},
        {"bad.json", "{\"src\":\"a\"}", G, "bad.json: line 1: key \"tgt\" is missing", BM_E_FORMAT},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_arguments *args = NULL;
        bm_plan *plan = NULL;
        bm_error err = {0};
        char *path = cases[i].name ? support_file_write(self->model_folder, cases[i].name, cases[i].content,
                                                        strlen(cases[i].content))
                                   : bm_string_copy(self->data_folder);
        const bm_status status = plan_with(self, path, cases[i].members, &args, &plan, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].words))
            fail_msg("%s: status %d: %s", cases[i].words, (int)status, err.message);
        bm_free(path);
        bm_plan_destroy(&plan);
        bm_arguments_destroy(&args);
    }
}

// Fewer sequences than steps that nobody asked for are no fault.
static void steps_that_nobody_gave_are_a_choice(void **state)
{
    const fixture *self = *state;
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_ok(plan_with(self, self->data_folder,
                        "\"do_ptq\":true,\"quant_type\":\"wint4\",\"max_length\":100,\"strict\":true", &args, &plan,
                        &err),
              &err);
    const bm_note *note = fixture_find_note(&plan->notes, "fewer than the 256 of ptq_step 32");
    assert_true(note && note->is_choice);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

// The tokenizer of another model.
static void ids_beyond_the_vocabulary_are_refused(void **state)
{
    const fixture *self = *state;
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    bm_model small = *self->model;
    char *text = bm_format("\"model_name_or_path\":\"%s\",\"output_dir\":\"o\",\"dataset_name_or_path\":\"%s\"," G,
                           self->model_folder, self->text);
    assert_ok(fixture_read(&args, text, NULL, &err), &err);
    assert_ok(bm_plan_create(args, self->model, &plan, &err), &err);
    small.config.vocab_size = 40;
    assert_int_equal(bm_plan_load_data(plan, args, &small, NULL, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "the model's vocabulary has 40; does the tokenizer belong to the model?"));
    bm_free(text);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

// A method that looks at weights alone reads no file, whatever is named.
static void rounding_by_weights_reads_nothing(void **state)
{
    const fixture *self = *state;
    bm_arguments *args = NULL;
    bm_plan *plan = NULL;
    bm_error err = {0};
    assert_ok(plan_with(self, "nowhere.txt", "\"do_ptq\":true,\"quant_type\":\"wint4\",\"scale_search\":\"mse\"", &args,
                        &plan, &err),
              &err);
    assert_null(plan->calibration.dataset);
    bm_plan_destroy(&plan);
    bm_arguments_destroy(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shift_of_one_step_is_refused_under_compat, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_bound_the_sequences, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_bounds_the_tokens_or_the_data_do, setup, teardown),
        cmocka_unit_test_setup_teardown(order_is_drawn_with_the_seed, setup, teardown),
        cmocka_unit_test_setup_teardown(packs_come_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(few_tokens_are_refused_under_strict, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens_of_scales_are_not_enough_under_strict, setup, teardown),
        cmocka_unit_test_setup_teardown(data_that_do_not_do_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_that_nobody_gave_are_a_choice, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_beyond_the_vocabulary_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(rounding_by_weights_reads_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
