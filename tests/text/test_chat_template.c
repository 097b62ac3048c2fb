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

// Whatever a template asks for, it is its own fault: never "out of memory".
static void refuses(const char *text, const char *words)
{
    bm_error err = {BM_OK, ""};
    bm_string out = BM_STRING_INIT;
    bm_chat_template *template = NULL;
    bm_status status = bm_chat_template_parse(&template, text, strlen(text), "t", &err);
    if (status == BM_OK)
        status = bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err);
    if (status == BM_OK || status == BM_E_MEMORY || !strstr(err.message, words))
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
            "steps");
    refuses("{% set a = 'a' * 9000000 %}{{ (a + 'b') in (a + a) }}{{ (a + 'c') in (a + a) }}", "steps");
    refuses("a\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "t: chat template: line 2: more than 4194304 steps");
    refuses("{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}", "steps");
    refuses("{{ 1 }}\n{{ 'ab' * 999999999 }}", "t: chat template: line 2: more than 64 MiB of memory");
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

// What takes long in one expression is counted where it is done.
static void comparisons_take_steps(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "-1 in n",  "n == n", "a < b",    "b.startswith(a)", "b.endswith((a,))", "a == c",
        "(a) in d", "d[a]",   "d.get(a)", "white|trim",      "many|join",
    };
    for (size_t i = 0; i < BM_COUNT(bodies); i++) {
        bm_string text = BM_STRING_INIT;
        bm_string_append_format(&text,
                                "{%% set n = range(90000)|list %%}{%% set a = 'a' * 900000 %%}{%% set b = a ~ 'b' %%}"
                                "{%% set c = a ~ '' %%}{%% set d = {c: 1} %%}{%% set white = ' ' * 900000 %%}"
                                "{%% set many = (' ' * 9999).split(' ') %%}"
                                "{%% for i in n %%}{%% if %s %%}{%% endif %%}{%% endfor %%}",
                                bodies[i]);
        refuses(text.data, "steps");
        bm_string_free(&text);
    }
    refuses("{% set n = range(90000)|list %}{% set n = [n,n,n,n,n,n,n,n,n,n] %}{% set n = [n,n,n,n,n,n,n,n,n,n] %}"
            "{% if n == n %}{% endif %}",
            "steps"); // the last expression of all
    // Characters times set. The second lot would take half an hour, where it is counted behind the work.
    refuses("{{ ('a' * 50000).strip('b' * 50000 ~ 'a') }}", "steps");
    refuses("{{ ('a' * 50000)|trim('b' * 50000 ~ 'a') }}", "steps");
    refuses("{{ ('a' * 2000000).strip('b' * 2000000 ~ 'a') }}", "steps");
    refuses("{{ ('a' * 2000000)|trim('b' * 2000000 ~ 'a') }}", "steps");
}

static void texts_that_are_open_count_together(void **state)
{
    (void)state;
    refuses("{% set x = 'x' * 30000000 %}{{ x }}{% set a %}{{ x }}{% set b %}{{ x }}{% endset %}{% endset %}",
            "line 1: a text of more than 67108864 bytes");
    refuses("{% set x = 'x' * 30000000 %}{% macro f(n) %}{{ x }}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(9) }}",
            "line 1: a text of more than 67108864 bytes");
    refuses("{% set x = 'x' * 30000000 %}{{ [x, x, x, x]|join }}", "line 1: more than 64 MiB of memory");
    refuses("{% set x = 'x' * 3000000 %}{{ x.replace('x', x) }}", "line 1: more than 64 MiB of memory");
}

static void gives(const char *text, const char *want)
{
    bm_error err = {BM_OK, ""};
    bm_string out = BM_STRING_INIT;
    bm_chat_template *template = parse(text);
    if (bm_chat_template_render(template, question, 1, NULL, 0, true, &out, &err) != BM_OK)
        fail_msg("%s", err.message);
    assert_string_equal(bm_string_text(&out), want);
    bm_chat_template_close(&template);
    bm_string_free(&out);
}

static void filters_do_as_jinja_or_are_refused(void **state)
{
    (void)state;
    gives("{{ (-1.5)|abs }} {{ (-3)|abs }} {{ 2.5|abs }}", "1.5 3 2.5");
    gives("{{ [1, 'e']|tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false) }}", "[1, \"e\"]");
    gives("{{ {}|tojson(false, 2) }}", "{}");
    refuses("{{ 1|tojson(ensure_ascii=true) }}", "the argument \"ensure_ascii\" with a boolean is not supported");
    refuses("{{ 1|tojson(true) }}", "the argument \"ensure_ascii\"");
    refuses("{{ 1|tojson(sort_keys=true) }}", "the argument \"sort_keys\"");
    refuses("{{ 1|tojson(separators=(',', ':')) }}", "the argument \"separators\" with a list");
    refuses("{{ 1|tojson(indent='x') }}", "the argument \"indent\" with a string");
    refuses("{{ 1|tojson(default=1) }}", "the argument \"default\"");
}

// "loop" is one mapping, and names of a turn end with it.
static void turns_share_their_loop(void **state)
{
    (void)state;
    gives("{% set ns = namespace(l=0) %}{% for i in [1, 2] %}{% if loop.first %}{% set ns.l = loop %}{% set x = 1 %}"
          "{% endif %}{{ ns.l.index }}{{ x is defined }}{% endfor %}",
          "1True2False");
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
    assert_int_equal(out.length, strlen("11 2024-01-31 12:34:56 %"));
    assert_in_range(strtoul(out.data + 3, NULL, 10), 2024, 9999);
    assert_in_range(strtoul(out.data + 8, NULL, 10), 1, 12);
    assert_in_range(strtoul(out.data + 11, NULL, 10), 1, 31);
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

static void folders_hold_templates_in_three_files(void **state)
{
    (void)state;
    static const char one[] = "{\"chat_template\":\"1{{ messages[0].content }}\"}";
    static const char several[] = "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},"
                                  "{\"name\":\"default\",\"template\":\"2\"}]}";
    static const char null[] = "{\"chat_template\":null}";
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
    fixture_write(folder, "chat_template.json", null, strlen(null)); // has none: the next file is asked
    assert_int_equal(bm_chat_template_open(&template, folder, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer_config.json: key \"chat_template\""));
    fixture_write(folder, "chat_template.json", one, strlen(one));
    check_folder(folder, "1hi");
    fixture_write(folder, "chat_template.json", "[]", 2);
    assert_int_equal(bm_chat_template_open(&template, folder, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "chat_template.json: expected an object"));
    fixture_write(folder, "chat_template.jinja", "3\n", 2);
    check_folder(folder, "3");
    bm_free(folder);
}

// What the key "chat_template" of a parameter file may name beside a folder.
static void files_are_templates(void **state)
{
    (void)state;
    static const char paddle[] = "{\"conversation\":[\"{{query}}\",\"{{bot}}\"],\"query\":\"{{query}}\"}";
    static const struct {
        const char *name, *text, *want; // want NULL: refused
    } files[] = {{"a.jinja", "{{ messages[0].content }}!", "hi!"},
                 {"a.json", "{\"chat_template\":\"{{ messages[0].content }}?\"}", "hi?"},
                 {"b.json", paddle, NULL}};
    char *folder = fixture_folder("chat-files");
    for (size_t i = 0; i < BM_COUNT(files); i++) {
        bm_error err = {BM_OK, ""};
        bm_chat_template *template = NULL;
        fixture_write(folder, files[i].name, files[i].text, strlen(files[i].text));
        char *path = bm_path_join(folder, files[i].name);
        if (files[i].want) {
            check_folder(path, files[i].want);
        } else {
            assert_int_equal(bm_chat_template_open(&template, path, &err), BM_E_FORMAT);
            assert_non_null(strstr(err.message, "expected the key \"chat_template\""));
        }
        bm_free(path);
    }
    bm_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(hostile_templates_end),
        cmocka_unit_test(comparisons_take_steps),
        cmocka_unit_test(texts_that_are_open_count_together),
        cmocka_unit_test(filters_do_as_jinja_or_are_refused),
        cmocka_unit_test(turns_share_their_loop),
        cmocka_unit_test(long_chains_of_elif_run),
        cmocka_unit_test(the_date_has_its_form),
        cmocka_unit_test(folders_hold_templates_in_three_files),
        cmocka_unit_test(files_are_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
