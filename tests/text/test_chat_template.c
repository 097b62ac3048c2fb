// Chat templates: where they are found, what is said of broken ones, and that hostile ones end. What they make of
// conversations is compared with Jinja2 in tests/golden.
#include "text/text_fixture.h"

#include "text/chat_template.h"

static const bm_chat_message question[] = {{"user", "hi"}};

static bm_chat_template *parse(const char *text)
{
    bm_error err = {BM_OK, ""};
    bm_chat_template *template = NULL;
    if (bm_chat_template_parse(&template, text, strlen(text), "t", &err) != BM_OK)
        fail_msg("%s", err.message);
    return template;
}

static void refuses(const char *text, const char *words)
{
    bm_error err = {BM_OK, ""};
    bm_string out = BM_STRING_INIT;
    bm_chat_template *template = NULL;
    bm_status status = bm_chat_template_parse(&template, text, strlen(text), "t", &err);
    if (status == BM_OK)
        status = bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err);
    if (status == BM_OK || !strstr(err.message, words))
        fail_msg("\"%s\" (%d) lacks \"%s\"", err.message, (int)status, words);
    assert_int_equal(out.length, 0);
    bm_chat_template_close(&template);
    bm_string_free(&out);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    refuses("a\n{{ b.c }}", "t: chat template: line 2: an attribute of \"b\", which is undefined");
    refuses("a\n\n{% include 'x' %}", "line 3: the statement \"include\" is not supported, expected if, for, set");
    refuses("{{ raise_exception('no\nway') }}", "line 1: the template refuses: no?way");
    refuses("{{ 'a' | sort }}", "the filter \"sort\" is not supported");
    refuses("{{ 'a'.swapcase() }}", "the method \"swapcase\" of a string is not supported");
    refuses("{% if true %}\nx", "line 2: expected \"{% endif %}\" of the tag in line 1, found the end");
    refuses("{{ [1] }}", "a list as text is not supported");
    refuses("{% for m in messages %}{% macro f() %}{% endmacro %}{% endfor %}", "a macro inside of a loop");
    refuses("{{ strftime_now('%Q') }}", "the letter \"Q\" is not supported");
}

static void repeat(bm_string *out, const char *text, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bm_string_append(out, text);
}

static void refuses_nested(const char *open, const char *middle, const char *close, const char *words)
{
    bm_string text = BM_STRING_INIT;
    bm_string_append(&text, "{{ ");
    repeat(&text, open, 20000);
    bm_string_append(&text, middle);
    repeat(&text, close, 20000);
    bm_string_append(&text, " }}");
    refuses(text.data, words);
    bm_string_free(&text);
}

static void hostile_templates_end(void **state)
{
    (void)state;
    refuses("{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}", "");
    refuses("{% set ns = namespace(t='ab') %}{% for i in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}",
            "memory");
    refuses("{{ 'ab' * 999999999 }}", "memory");
    refuses("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "macros in macros");
    refuses("{% set ns = namespace(a=['x'], b=['x']) %}{% for i in range(50) %}{% set ns.a = [ns.a, ns.a] %}"
            "{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}{{ 1 }}",
            "steps");
    refuses("{% set ns = namespace(a=['x']) %}{% for i in range(50) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}"
            "{{ ns.a | tojson }}",
            "memory");
    refuses("{% set a = 'a' * 9000000 %}{{ (a + 'b') in (a + a) }}{{ (a + 'c') in (a + a) }}", "steps");
    refuses("{{ range(100000000) }}", "range");
    refuses("{{ 9223372036854775807 + 1 }}", "beyond 64 bits");
    refuses("{{ (0 - 9223372036854775807 - 1) // -1 }}", "beyond 64 bits");
    refuses_nested("(", "1", ")", "nested more than");
    refuses_nested("[", "1", "]", "nested more than");
    refuses_nested("not ", "1", "", "nested more than");
    refuses_nested("-", "1", "", "nested more than");
    refuses_nested("1 + ", "1", "", "nested more than");
    refuses_nested("", "a", "|trim", "nested more than");
    refuses_nested("", "messages", "[0]", "nested more than");
}

static void long_chains_of_elif_run(void **state)
{
    (void)state;
    bm_error err = {BM_OK, ""};
    bm_string text = BM_STRING_INIT, out = BM_STRING_INIT;
    bm_string_append(&text, "{% if x %}");
    repeat(&text, "{% elif x %}", 10000);
    bm_string_append(&text, "{% else %}end{% endif %}");
    bm_chat_template *template = parse(text.data);
    assert_int_equal(bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err), BM_OK);
    assert_string_equal(out.data, "end");
    bm_chat_template_close(&template);
    bm_string_free(&text);
    bm_string_free(&out);
}

static void the_date_has_its_form(void **state)
{
    (void)state;
    bm_error err = {BM_OK, ""};
    bm_string out = BM_STRING_INIT;
    bm_chat_template *template =
        parse("{{ strftime_now('%d %b %Y')|length }} {{ strftime_now('%Y-%m-%d %H:%M:%S %%') }}");
    assert_int_equal(bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err), BM_OK);
    unsigned year = 0, month = 0, day = 0;
    assert_int_equal(sscanf(out.data, "11 %u-%u-%u", &year, &month, &day), 3);
    assert_in_range(year, 2024, 9999);
    assert_in_range(month, 1, 12);
    bm_chat_template_close(&template);
    bm_string_free(&out);
}

static void check_folder(const char *folder, const char *want)
{
    bm_error err = {BM_OK, ""};
    bm_string out = BM_STRING_INIT;
    bm_chat_template *template = NULL;
    if (bm_chat_template_open(&template, folder, &err) != BM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(template != NULL, want != NULL);
    if (want) {
        assert_int_equal(bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err), BM_OK);
        assert_string_equal(out.data, want);
    }
    bm_chat_template_close(&template);
    bm_string_free(&out);
}

static void folders_hold_templates_in_three_ways(void **state)
{
    (void)state;
    static const char one[] = "{\"chat_template\":\"1{{ messages[0].content }}\"}";
    static const char several[] = "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
                                  "{\"name\":\"default\",\"template\":\"2\"}]}";
    static const char wrong[] = "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]}";
    bm_error err = {BM_OK, ""};
    bm_chat_template *template = NULL;
    char *folder = fixture_folder("chat-template");
    check_folder(folder, NULL);
    fixture_write(folder, "tokenizer_config.json", "{}", 2);
    check_folder(folder, NULL);
    fixture_write(folder, "tokenizer_config.json", one, strlen(one));
    check_folder(folder, "1hi");
    fixture_write(folder, "tokenizer_config.json", several, strlen(several));
    check_folder(folder, "2");
    fixture_write(folder, "tokenizer_config.json", wrong, strlen(wrong));
    assert_int_equal(bm_chat_template_open(&template, folder, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer_config.json: key \"chat_template\""));
    fixture_write(folder, "chat_template.jinja", "3\n", 2);
    check_folder(folder, "3");
    bm_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(hostile_templates_end),
        cmocka_unit_test(long_chains_of_elif_run),
        cmocka_unit_test(the_date_has_its_form),
        cmocka_unit_test(folders_hold_templates_in_three_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
