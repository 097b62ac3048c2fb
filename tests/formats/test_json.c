#include "support/unit.h"

#include "formats/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    size_t length; // 0: strlen
    const char *words;
} refused[] = {
    {"", 0, "not valid JSON"},
    {"{", 0, "not valid JSON"},
    {"[1,]", 0, "not valid JSON"},
    {"{\"a\":1,}", 0, "not valid JSON"},
    {"{a:1}", 0, "not valid JSON"},
    {"{'a':1}", 0, "not valid JSON"},
    {"[1 2]", 0, "not valid JSON"},
    {"nul", 0, "not valid JSON"},
    {"NaN", 0, "not valid JSON"},
    {"Infinity", 0, "not valid JSON"},
    {"+1", 0, "not valid JSON"},
    {".5", 0, "not valid JSON"},
    {"\"abc", 0, "not valid JSON"},
    {"\"\\x41\"", 0, "not valid JSON"},
    {"\"\\ud800\"", 0, "not valid JSON"},
    {"\"\\udc00\\ud800\"", 0, "not valid JSON"},
    {"{} x", 0, "follows"},
    {"1 1", 0, "follows"},
    {"{}{}", 0, "follows"},
    {"nullx", 0, "follows"},
    {"// no\n1", 0, "comment"},
    {"/* no */ 1", 0, "comment"},
    {"{\"a\":1 # no\n}", 0, "comment"},
    {"\"\xff\"", 0, "UTF-8"},
    {"\"\xed\xa0\x80\"", 0, "UTF-8"},
    {"{\"a\":1,\"a\":2}", 0, "twice"},
    {"[{\"b\":{\"a\":1,\"a\":2}}]", 0, "twice"},
    {"{\"a\":1,\"\\u0061\":2}", 0, "twice"},
    {"01", 0, "number"},
    {"-01", 0, "number"},
    {"1.", 0, "number"},
    {"-.5", 0, "number"},
    {"1.e3", 0, "number"},
    {"1e", 0, "number"},
    {"1e+", 0, "number"},
    {"-", 0, "number"},
    {"1.2.3", 0, "number"},
    {"1-2", 0, "number"},
    {"9007199254740993", 0, "2^53"},
    {"-9007199254740993", 0, "2^53"},
    {"18446744073709551616", 0, "2^53"},
    {"1e999", 0, "finite"},
    {"\"a\\u0000b\"", 0, "zero character"},
    {"\"\\\\\\u0000\"", 0, "zero character"}, // an escaped backslash, then an escape
    {"\"a\0b\"", 5, "control"},
    {"\"a\nb\"", 0, "control"},
    {"\"a\x01\"", 0, "control"},
    {"{\x0b}", 0, "control"},
    {"1\0", 2, "control"},
};

static void parse_refuses_what_json_has_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(refused); i++) {
        const size_t length = refused[i].length ? refused[i].length : strlen(refused[i].text);
        char *copy = bm_alloc(length, 1); // without a terminating zero: reading behind the end is seen
        bm_json *root = NULL;
        bm_error err = {0};
        memcpy(copy, refused[i].text, length);
        const bm_status status = bm_json_parse(&root, copy, length, "NAME", &err);
        if (status != BM_E_FORMAT || root || !strstr(err.message, refused[i].words) ||
            !bm_starts_with(err.message, "NAME: "))
            fail_msg("case %zu: %s: status %s, words \"%s\", expected \"%s\"", i, refused[i].text,
                     bm_status_name(status), err.message, refused[i].words);
        bm_free(copy);
    }
}

static bm_json *parse(const char *text)
{
    bm_json *root = NULL;
    bm_error err;
    assert_ok(bm_json_parse(&root, text, strlen(text), "NAME", &err), &err);
    return root;
}

static bm_status parse_nested(uint32_t depth, char bracket)
{
    bm_string text = BM_STRING_INIT;
    bm_json *root = NULL;
    for (uint32_t i = 0; i < depth; i++)
        assert_true(bm_string_append(&text, bracket == '[' ? "[" : "{\"a\":"));
    assert_true(bm_string_append(&text, "1"));
    for (uint32_t i = 0; i < depth; i++)
        assert_true(bm_string_append(&text, bracket == '[' ? "]" : "}"));
    const bm_status status = bm_json_parse(&root, text.data, text.length, "NAME", NULL);
    bm_json_destroy(&root);
    bm_string_free(&text);
    return status;
}

static void nesting_ends_at_64(void **state)
{
    (void)state;
    assert_int_equal(parse_nested(64, '['), BM_OK);
    assert_int_equal(parse_nested(65, '['), BM_E_FORMAT);
    assert_int_equal(parse_nested(64, '{'), BM_OK);
    assert_int_equal(parse_nested(100000, '['), BM_E_FORMAT);
}

static void values_are_read_as_written(void **state)
{
    bm_json *root = parse("\xef\xbb\xbf {\"s\":\"a\\n\\u00e4\\ud83d\\ude00\\\\\",\"i\":-9007199254740992,\"d\":2.5e-3,"
                          "\"t\":true,\"f\":false,\"n\":null,\"a\":[1,2.0,[],{}],\"\":7} \r\n\t");
    (void)state;
    assert_int_equal(bm_json_kind_of(root), BM_JSON_OBJECT);
    assert_int_equal(bm_json_count(root), 8);
    assert_string_equal(bm_json_string(bm_json_find(root, "s")), "a\n\xc3\xa4\xf0\x9f\x98\x80\\");
    assert_true(bm_json_number(bm_json_find(root, "i")) == -9007199254740992.0);
    assert_true(bm_json_is_integer(bm_json_find(root, "i")));
    assert_true(bm_json_number(bm_json_find(root, "d")) == 2.5e-3);
    assert_false(bm_json_is_integer(bm_json_find(root, "d")));
    assert_true(bm_json_bool(bm_json_find(root, "t")) && !bm_json_bool(bm_json_find(root, "f")));
    assert_int_equal(bm_json_kind_of(bm_json_find(root, "n")), BM_JSON_NULL);
    assert_null(bm_json_find(root, "S")); // exact in case
    assert_non_null(bm_json_find(root, ""));
    const bm_json *item = bm_json_first(bm_json_find(root, "a"));
    assert_true(bm_json_is_integer(item));
    item = bm_json_next(item);
    assert_false(bm_json_is_integer(item)); // written with a fraction
    item = bm_json_next(item);
    assert_int_equal(bm_json_kind_of(item), BM_JSON_ARRAY);
    assert_null(bm_json_first(item));
    assert_null(bm_json_key(item));
    assert_null(bm_json_find(bm_json_find(root, "a"), "s"));
    assert_null(bm_json_first(bm_json_find(root, "i")));
    bm_json_destroy(&root);
    assert_null(root);
    bm_json_destroy(&root);
}

static void a_key_given_twice_among_thousands_is_found(void **state)
{
    bm_string text = BM_STRING_INIT;
    bm_json *root = NULL;
    bm_error err;
    (void)state;
    assert_true(bm_string_append(&text, "{"));
    for (int i = 0; i < 5000; i++)
        assert_true(bm_string_append_format(&text, "\"k%d\":%d,", i, i));
    const size_t length = text.length;
    assert_true(bm_string_append(&text, "\"last\":0}"));
    assert_ok(bm_json_parse(&root, text.data, text.length, "NAME", &err), &err);
    assert_int_equal(bm_json_count(root), 5001);
    bm_json_destroy(&root);
    text.length = length;
    assert_true(bm_string_append(&text, "\"k17\":0}"));
    assert_int_equal(bm_json_parse(&root, text.data, text.length, "NAME", &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "\"k17\" is given twice"));
    bm_string_free(&text);
}

static void words_name_the_line(void **state)
{
    static const char text[] = "{\n\"a\": 1,\n\"b\": 012\n}";
    bm_json *root = NULL;
    bm_error err;
    (void)state;
    assert_int_equal(bm_json_parse(&root, text, strlen(text), "NAME", &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "line 3"));
}

static void typed_members_check_kind_and_range(void **state)
{
    bm_json *root = parse("{\"i\":5,\"d\":1.5,\"b\":true,\"s\":\"x\",\"n\":null}");
    int64_t i = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    bm_error err;
    (void)state;
    assert_ok(bm_json_get_integer(root, "i", 0, 5, 9, &i, "NAME", &err), &err);
    assert_int_equal(i, 5);
    assert_ok(bm_json_get_integer(root, "absent", 0, 5, 9, &i, "NAME", &err), &err);
    assert_int_equal(i, 9);
    assert_ok(bm_json_get_integer(root, "n", 0, 5, 8, &i, "NAME", &err), &err);
    assert_int_equal(i, 8);
    assert_int_equal(bm_json_get_integer(root, "i", 0, 4, 9, &i, "NAME", &err), BM_E_FORMAT);
    assert_string_equal(err.message, "NAME: key \"i\": expected an integer in 0..4, found 5");
    assert_int_equal(bm_json_get_integer(root, "d", 0, 4, 9, &i, "NAME", &err), BM_E_FORMAT);
    assert_int_equal(bm_json_get_integer(root, "b", 0, 4, 9, &i, "NAME", &err), BM_E_FORMAT);
    assert_int_equal(i, 8); // untouched
    assert_ok(bm_json_get_double(root, "i", 0, 10, 9, &d, "NAME", &err), &err);
    assert_true(d == 5);
    assert_int_equal(bm_json_get_double(root, "s", 0, 10, 9, &d, "NAME", &err), BM_E_FORMAT);
    assert_int_equal(bm_json_get_double(root, "d", 0, 1, 9, &d, "NAME", &err), BM_E_FORMAT);
    assert_ok(bm_json_get_bool(root, "b", false, &b, "NAME", &err), &err);
    assert_true(b);
    assert_int_equal(bm_json_get_bool(root, "i", false, &b, "NAME", &err), BM_E_FORMAT);
    assert_ok(bm_json_get_string(root, "s", NULL, &s, "NAME", &err), &err);
    assert_string_equal(s, "x");
    assert_int_equal(bm_json_get_string(root, "i", NULL, &s, "NAME", &err), BM_E_FORMAT);
    bm_json_destroy(&root);
}

static void written_text_has_the_plain_form(void **state)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    (void)state;
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_put_string(&w, "s", "a\"\\\n\x01\xc3\xa4");
    bm_json_put_string(&w, "none", NULL);
    bm_json_begin_array(&w, "a");
    bm_json_put_integer(&w, NULL, INT64_MIN);
    bm_json_put_double(&w, NULL, 3);
    bm_json_end_array(&w);
    bm_json_begin_object(&w, "empty");
    bm_json_end_object(&w);
    bm_json_put_bool(&w, "b", true);
    bm_json_end_object(&w);
    assert_string_equal(text.data, "{\n  \"s\": \"a\\\"\\\\\\n\\u0001\xc3\xa4\",\n  \"none\": null,\n  \"a\": [\n"
                                   "    -9223372036854775808,\n    3.0\n  ],\n  \"empty\": {},\n  \"b\": true\n}");
    bm_string_clear(&text);
    bm_json_writer_init(&w, &text, 0);
    bm_json_begin_array(&w, NULL);
    bm_json_put_integer(&w, NULL, 1);
    bm_json_put_null(&w, NULL);
    bm_json_end_array(&w);
    assert_string_equal(text.data, "[1,null]");
    bm_string_free(&text);
}

static void written_doubles_read_back_equal(void **state)
{
    static const double values[] = {0.0,     -0.0,      1.0,     0.1,      1e-6,     1e-5,
                                    10000.0, 5e5,       1.0 / 3, DBL_MAX,  DBL_MIN,  DBL_TRUE_MIN,
                                    1e22,    -1.5e-300, 1e16,    123456.0, 1e15 + 1, 0.7853981633974483};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(values); i++) {
        bm_string text = BM_STRING_INIT;
        bm_json_writer w;
        bm_json_writer_init(&w, &text, 0);
        bm_json_put_double(&w, NULL, values[i]);
        bm_json *root = parse(text.data);
        assert_true(bm_json_number(root) == values[i]);
        assert_false(bm_json_is_integer(root)); // stays a float for strict readers
        bm_json_destroy(&root);
        bm_string_free(&text);
    }
}

static void what_is_not_finite_is_written_as_null(void **state)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    (void)state;
    bm_json_writer_init(&w, &text, 0);
    bm_json_begin_array(&w, NULL);
    bm_json_put_double(&w, NULL, (double)NAN);
    bm_json_put_double(&w, NULL, HUGE_VAL);
    bm_json_end_array(&w);
    assert_string_equal(text.data, "[null,null]");
    bm_string_free(&text);
}

static void control_characters_are_written_as_escapes(void **state)
{
    static const char value[] = "a\0b\x1b[1m\x7f\xc2\x80\xc2\x9f\xc2\xa0\n";
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    (void)state;
    bm_json_writer_init(&w, &text, 0);
    bm_json_put_text(&w, NULL, value, sizeof value - 1);
    assert_string_equal(text.data, "\"a\\u0000b\\u001b[1m\\u007f\\u0080\\u009f\xc2\xa0\\n\"");
    bm_string_clear(&text);
    bm_json_writer_init(&w, &text, 0);
    bm_json_put_text(&w, NULL, "\xc2", 1); // cut in the middle of a character
    assert_string_equal(text.data, "\"\xc2\"");
    bm_string_free(&text);
}

static void a_copied_value_keeps_everything(void **state)
{
    static const char source[] =
        "{\"a\": [1, 2.5, 3.0, \"x\\ty\", true, null, {\"b\": [], \"c\": {}}], \"d\": 9007199254740992}";
    bm_string first = BM_STRING_INIT, second = BM_STRING_INIT;
    bm_json *root = parse(source), *again = NULL;
    bm_json_writer w;
    (void)state;
    bm_json_writer_init(&w, &first, 2);
    bm_json_put_value(&w, NULL, root);
    again = parse(first.data);
    bm_json_writer_init(&w, &second, 2);
    bm_json_put_value(&w, NULL, again);
    assert_string_equal(first.data, second.data);
    assert_string_equal(
        bm_json_string(bm_json_next(bm_json_next(bm_json_next(bm_json_first(bm_json_find(again, "a")))))), "x\ty");
    bm_json_destroy(&root);
    bm_json_destroy(&again);
    bm_string_free(&first);
    bm_string_free(&second);
}

static void a_file_larger_than_the_limit_is_refused(void **state)
{
    bm_json *root = NULL;
    bm_error err;
    (void)state;
    assert_int_equal(bm_json_read_file(&root, "/nowhere/at/all.json", 100, &err), BM_E_IO);
    assert_int_equal(bm_json_read_file(&root, BM_SOURCE_DIR "/CMakeLists.txt", 10, &err), BM_E_FORMAT);
    assert_int_equal(bm_json_read_file(&root, BM_SOURCE_DIR "/CMakeLists.txt", 1 << 20, &err), BM_E_FORMAT);
    assert_null(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_refuses_what_json_has_not),
        cmocka_unit_test(nesting_ends_at_64),
        cmocka_unit_test(values_are_read_as_written),
        cmocka_unit_test(a_key_given_twice_among_thousands_is_found),
        cmocka_unit_test(words_name_the_line),
        cmocka_unit_test(typed_members_check_kind_and_range),
        cmocka_unit_test(written_text_has_the_plain_form),
        cmocka_unit_test(written_doubles_read_back_equal),
        cmocka_unit_test(what_is_not_finite_is_written_as_null),
        cmocka_unit_test(control_characters_are_written_as_escapes),
        cmocka_unit_test(a_copied_value_keeps_everything),
        cmocka_unit_test(a_file_larger_than_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
