// Where generation ends: at a token that ends the text, at the number of tokens that was asked for, when the caller says so,
// and before the end of the model's context. On the host: nothing here depends on the device.
#include "support/unit.h"

#include "infer/generation.h"
#include "infer/resident.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <string.h>

enum { CONTEXT = 12, NUM_PROMPT = 4 };
static const uint32_t prompt[NUM_PROMPT] = {1, 100, 200, 300};

static bm_error failure;
static bm_device *device;
static bm_model *model;
static char *folder;

#define MUST(call) assert_ok(call, &failure)

static int open_model(void **state)
{
    (void)state;
    model_maker_params params;
    model_maker_params_init(&params);
    params.max_positions = CONTEXT;
    folder = support_folder_create();
    return model_maker_write(&params, folder, &failure) != BM_OK || bm_model_open(&model, folder, &failure) != BM_OK ||
           bm_device_open(&device, &(bm_device_params){.spec = "host"}, &failure) != BM_OK;
}

static int close_model(void **state)
{
    (void)state;
    bm_model_close(&model);
    bm_device_close(&device);
    support_folder_remove(&folder);
    return 0;
}

// The tokens that came, and when the caller has enough.
typedef struct tokens {
    uint32_t ids[CONTEXT], count, enough;
} tokens;

static bool keep_token(void *user, uint32_t id)
{
    tokens *t = user;
    t->ids[t->count++] = id;
    return t->count != t->enough;
}

static bm_status generate(uint32_t num_new, const uint32_t *end_ids, size_t num_end_ids, tokens *out,
                          bm_generation *result)
{
    return bm_generate(&(bm_generate_params){.model = model,
                                             .device = device,
                                             .prompt = prompt,
                                             .num_prompt = NUM_PROMPT,
                                             .max_new_tokens = num_new,
                                             .end_ids = end_ids,
                                             .num_end_ids = num_end_ids,
                                             .sample = {.top_p = 1},
                                             .on_token = keep_token,
                                             .user = out},
                       result, &failure);
}

static void any_end_token_ends_the_text(void **state)
{
    (void)state;
    tokens all = {0};
    bm_generation result;
    MUST(generate(5, NULL, 0, &all, &result));
    assert_true(!result.ended && result.num_new_tokens == 5 && all.count == 5);
    assert_int_equal(result.num_steps, 4); // the prompt gave the first
    uint32_t place = 1;                    // where a token comes for the first time
    while (place < 4 && (all.ids[place] == all.ids[0] || (place > 1 && all.ids[place] == all.ids[1])))
        place++;
    const uint32_t ends[] = {511, all.ids[place]};
    tokens some = {0};
    MUST(generate(5, ends, 2, &some, &result));
    assert_true(result.ended && result.num_new_tokens == place && some.count == place);
    assert_int_equal(result.num_steps, place);
    assert_memory_equal(some.ids, all.ids, place * sizeof *all.ids);
}

static void the_caller_may_have_enough(void **state)
{
    (void)state;
    tokens some = {.enough = 2};
    bm_generation result;
    MUST(generate(5, NULL, 0, &some, &result));
    assert_true(!result.ended && result.num_new_tokens == 2 && some.count == 2);
}

static void the_context_may_be_filled_and_not_exceeded(void **state)
{
    (void)state;
    tokens all = {0};
    bm_generation result;
    MUST(generate(CONTEXT - NUM_PROMPT, NULL, 0, &all, &result));
    assert_int_equal(all.count, CONTEXT - NUM_PROMPT);
    assert_int_equal(generate(CONTEXT - NUM_PROMPT + 1, NULL, 0, &all, &result), BM_E_ARGUMENT);
    assert_string_equal(failure.message, "prompt of 4 tokens, 9 new, and the model takes 12 in all");
}

typedef struct loads {
    uint32_t count;
} loads;

static int count_loads(void *user, const bm_progress_report *report)
{
    loads *l = user;
    l->count += strcmp(report->phase, "load the model") == 0 && report->done == 0;
    return 1;
}

// Of a conversation each line is a call; the model is loaded once, and answers are those of calls of their own.
static void a_model_that_is_kept_is_loaded_once(void **state)
{
    (void)state;
    bm_resident *resident = NULL;
    loads l = {0};
    const bm_progress progress = {count_loads, &l};
    tokens kept[2] = {{.count = 0}}, own = {0};
    bm_generation result;
    bm_generate_params params = {.model = model,
                                 .device = device,
                                 .resident = &resident,
                                 .progress = &progress,
                                 .prompt = prompt,
                                 .num_prompt = NUM_PROMPT,
                                 .max_new_tokens = 5,
                                 .sample = {.top_p = 1},
                                 .on_token = keep_token};
    for (int i = 0; i < 2; i++) {
        params.user = &kept[i];
        MUST(bm_generate(&params, &result, &failure));
        assert_int_equal(l.count, 1);
        assert_non_null(resident);
    }
    params.resident = NULL;
    params.user = &own;
    MUST(bm_generate(&params, &result, &failure));
    assert_int_equal(l.count, 2);
    assert_memory_equal(kept[0].ids, own.ids, sizeof own.ids);
    assert_memory_equal(kept[1].ids, own.ids, sizeof own.ids);
    bm_resident_destroy(&resident);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_is_kept_is_loaded_once),
        cmocka_unit_test(any_end_token_ends_the_text),
        cmocka_unit_test(the_caller_may_have_enough),
        cmocka_unit_test(the_context_may_be_filled_and_not_exceeded),
    };
    return cmocka_run_group_tests_name("generation", tests, open_model, close_model);
}
