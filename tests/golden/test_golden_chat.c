// Chat templates against Jinja2 with the settings of transformers.
#include "golden/golden.h"
#include "text/chat_template.h"

#include <string.h>

static const bm_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
#define MAX_TURNS 8u

static uint32_t num_failures;

// Each case is told, not the first alone.
#define fail_later(...)                                                                                                \
    do {                                                                                                               \
        print_error(__VA_ARGS__);                                                                                      \
        print_error("\n");                                                                                             \
        num_failures++;                                                                                                \
    } while (0)

static uint32_t read_turns(const bm_json *file, const char *name, bm_chat_message messages[MAX_TURNS])
{
    uint32_t count = 0;
    for (const bm_json *turn = bm_json_first(golden_find(golden_find(file, "turns"), name)); turn && count < MAX_TURNS;
         turn = bm_json_next(turn), count++)
        messages[count] = (bm_chat_message){golden_text(turn, "role"), golden_text(turn, "content")};
    return count;
}

// The text, or that there is none: a template that does not parse, or fails on the messages.
static void check(const bm_json *file, const char *name, const char *source, const char *turns, bool prompt,
                  const bm_json *want)
{
    bm_error err = {0};
    bm_chat_template *template = NULL;
    bm_chat_message messages[MAX_TURNS];
    const uint32_t count = read_turns(file, turns, messages);
    const bool refuses = bm_json_kind_of(want) == BM_JSON_NULL;
    bm_string text = BM_STRING_INIT;
    bm_status status = bm_chat_template_parse(&template, source, strlen(source), name, &err);
    if (status == BM_OK)
        status = bm_chat_template_render(template, messages, count, variables, 2, prompt, &text, &err);
    if (refuses && (status == BM_OK || strlen(err.message) == 0 || strchr(err.message, '\n')))
        fail_later("%s: \"%s\": \"%s\", expected to be refused in one line", name, source, bm_string_text(&text));
    if (!refuses && status != BM_OK)
        fail_later("%s: \"%s\": %s", name, source, err.message);
    if (!refuses && strcmp(bm_string_text(&text), bm_json_string(want)) != 0)
        fail_later("%s: \"%s\": \"%s\", expected \"%s\"", name, source, bm_string_text(&text), bm_json_string(want));
    bm_string_free(&text);
    bm_chat_template_close(&template);
}

static void templates_of_families(void **state)
{
    (void)state;
    bm_json *file = golden_open("chat-templates");
    for (const bm_json *item = bm_json_first(golden_find(file, "templates")); item; item = bm_json_next(item))
        for (const bm_json *answer = bm_json_first(golden_find(item, "answers")); answer; answer = bm_json_next(answer))
            check(file, golden_text(item, "name"), golden_text(item, "template"), golden_text(answer, "turns"),
                  bm_json_bool(golden_find(answer, "prompt")), golden_find(answer, "text"));
    bm_json_destroy(&file);
    assert_int_equal(num_failures, 0);
}

static void what_the_language_can_do(void **state)
{
    (void)state;
    bm_json *file = golden_open("chat-templates");
    for (const bm_json *item = bm_json_first(golden_find(file, "lines")); item; item = bm_json_next(item))
        check(file, "line", golden_text(item, "template"), "system", true, golden_find(item, "text"));
    bm_json_destroy(&file);
    assert_int_equal(num_failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_of_families),
        cmocka_unit_test(what_the_language_can_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
