#include "support/unit.h"

#include "cjson_memory.h"
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
    {"", 0, "is empty, expected JSON"},
    {" \t\r\n", 0, "is empty, expected JSON"},
    {"{", 0, "not valid JSON"},
    {"[1,]", 0, "not valid JSON"},
    {"{\"a\":1,}", 0, "not valid JSON"},
    {"{a:1}", 0, "not valid JSON"},
    {"{'a':1}", 0, "not valid JSON"},
    {"[1 2]", 0, "not valid JSON"},
    {"nul", 0, "not valid JSON"},
    {"nan", 0, "not valid JSON"},
    {"-NaN", 0, "no number"},
    {"NaNs", 0, "follows"},
    {"[1NaN]", 0, "not valid JSON"},
    {"[NaN1]", 0, "not valid JSON"},
    {"[NaNNaN]", 0, "not valid JSON"},
    {"[1-Infinity]", 0, "no number"},
    {"{NaN:1}", 0, "not valid JSON"},
    {"+Infinity", 0, "not valid JSON"},
    {"+1", 0, "not valid JSON"},
    {".5", 0, "not valid JSON"},
    {"\"abc", 0, "not valid JSON"},
    {"\"\\x41\"", 0, "not valid JSON"},
    {"\"\\u\"", 0, "four hexadecimal digits"},
    {"\"a\\u12\"", 0, "four hexadecimal digits"},
    {"\"\\u12g4 and more\"", 0, "four hexadecimal digits"},
    {"\"\\u+123\"", 0, "four hexadecimal digits"},
    {"\"\\ud83d\\ude0\"", 0, "four hexadecimal digits"},
    {"{\"\\u00\":1}", 0, "four hexadecimal digits"},
    {"\"\\u004", 0, "four hexadecimal digits"},
    {"\"\\", 0, "not valid JSON"},
    {"[\"\\ud800\",\"abc", 0, "not valid JSON"},
    {"[\"\\ud800\",\"abc\\", 0, "not valid JSON"},
    {"\xef\xbb\xbf", 0, "is empty, expected JSON"},
    {"\xef\xbb\xbf\xef\xbb\xbf{}", 0, "byte order mark twice"},
    {"\xef\xbb\xbf\xef\xbb\xbf[1,2,3,4]", 0, "byte order mark twice"},
    {"[\xef\xbb\xbf 1]", 0, "not valid JSON"},
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
    {"{\"a\\u0000b\":1}", 0, "key \"a??b\" holds a zero character"},
    {"{\"\\ud800\":1}", 0, "half of a surrogate pair"},
    {"01", 0, "no number"},
    {"-01", 0, "no number"},
    {"1.", 0, "no number"},
    {"-.5", 0, "no number"},
    {"1.e3", 0, "no number"},
    {"1e", 0, "no number"},
    {"1e+", 0, "no number"},
    {"-", 0, "no number"},
    {"1.2.3", 0, "no number"},
    {"1-2", 0, "no number"},
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

// What cannot be read is no error until it is asked for, and then it is one in words.
static void unreadable_values_matter_when_asked_for(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"9007199254740993", "found 9007199254740993, which is no integer within 2^53"},
        {"-9007199254740993", "found -9007199254740993,"},
        {"1000000000000000019884624838656", "found 1000000000000000019884624838656,"},
        {"18446744073709551616", "18446744073709551616"},
        {"1000000000000000000000000000000000000000000000000000000000000000000000000000000000", "10000000000000000000"},
        {"0.1000000000000000000000000000000000000000000000000000000000000000", "0.1000000000000"},
        {"1e999", "found 1e999, which is no integer within 2^53 and no finite number"},
        {"-1e999", "found -1e999,"},
        {"NaN", "found NaN,"},
        {"Infinity", "found Infinity,"},
        {"-Infinity", "found -Infinity,"},
        {"\"\\ud800\"", "found a string with half of a surrogate pair"},
        {"\"x\\uDFFF\\u00e4\"", "found a string with half of a surrogate pair"},
        {"\"\\udc00\\ud800\"", "found a string with half of a surrogate pair"},
        {"\"\\ud800\\ud800\\udc00\"", "found a string with half of a surrogate pair"},
        {"\"a\\u0000b\"", "found a string with a zero character"},
        {"\"\\\\\\u0000\"", "found a string with a zero character"}, // an escaped backslash, then an escape
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_error err = {0};
        int64_t integer = 7;
        double number = 7;
        bool boolean = false;
        const char *string = "x";
        char *text = bm_format("{\"before\":[1,2.5,\"y 3\"],\"k\":%s,\"behind\":[4,5.0,\"z\"]}", cases[i].text);
        bm_json *root = parse(text);
        const bm_json *value = bm_json_find(root, "k");
        assert_int_equal(bm_json_kind_of(value), BM_JSON_UNREADABLE);
        assert_false(bm_json_is_integer(value));
        assert_int_equal(bm_json_get_integer(root, "k", INT64_MIN, INT64_MAX, 9, &integer, "NAME", &err), BM_E_FORMAT);
        if (!strstr(err.message, "NAME: key \"k\": expected an integer") || !strstr(err.message, cases[i].words))
            fail_msg("case %zu: words \"%s\", expected \"%s\"", i, err.message, cases[i].words);
        assert_int_equal(bm_json_get_double(root, "k", -DBL_MAX, DBL_MAX, 9, &number, "NAME", &err), BM_E_FORMAT);
        assert_int_equal(bm_json_get_bool(root, "k", true, &boolean, "NAME", &err), BM_E_FORMAT);
        assert_int_equal(bm_json_get_string(root, "k", "", &string, "NAME", &err), BM_E_FORMAT);
        assert_true(integer == 7 && number == 7 && !boolean && strcmp(string, "x") == 0);
        // What stands beside it is read as ever.
        const bm_json *item = bm_json_first(bm_json_find(root, "before"));
        assert_true(bm_json_is_integer(item) && !bm_json_is_integer(bm_json_next(item)));
        item = bm_json_first(bm_json_find(root, "behind"));
        assert_true(bm_json_is_integer(item) && bm_json_number(item) == 4 && !bm_json_is_integer(bm_json_next(item)));
        assert_string_equal(bm_json_string(bm_json_next(bm_json_next(item))), "z");
        bm_json_destroy(&root);
        bm_free(text);
    }
}

static void the_longest_numbers_that_are_read(void **state)
{
    bm_json *root = parse("[9007199254740992,-9007199254740992,1e308,"
                          "0.1000000000000000000000000000000000000000000000000000000000000]");
    (void)state;
    for (const bm_json *item = bm_json_first(root); item; item = bm_json_next(item))
        assert_int_equal(bm_json_kind_of(item), BM_JSON_NUMBER);
    bm_json_destroy(&root);
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
    assert_non_null(strstr(err.message, "NAME: line 3: byte 6: 012 is no number"));
}

static void a_list_holds_a_string_or_not(void **state)
{
    (void)state;
    bm_json *root = parse("[\"a\",7,[\"b\"],null,\"c\"]");
    assert_true(bm_json_holds_string(root, "a") && bm_json_holds_string(root, "c"));
    assert_false(bm_json_holds_string(root, "b") || bm_json_holds_string(root, "7") || bm_json_holds_string(NULL, "a"));
    bm_json_destroy(&root);
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

// A copy says what was written, whether it could be read or not.
static void a_copied_value_that_cannot_be_read_is_written_as_it_was(void **state)
{
    static const char source[] = "{\"a\":1000000000000000019884624838656,\"b\":[NaN,-Infinity,1e999],\"c\":"
                                 "\"x\\u0000y\\ud83d\\udc00\\udfff\\ud800\",\"d\":\"\xf0\x9f\x98\x80\"}";
    static const char expected[] = "{\"a\":1000000000000000019884624838656,\"b\":[NaN,-Infinity,1e999],\"c\":"
                                   "\"x\\u0000y\xf0\x9f\x90\x80\\udfff\\ud800\",\"d\":\"\xf0\x9f\x98\x80\"}";
    bm_string text = BM_STRING_INIT;
    bm_json *root = parse(source);
    bm_json_writer w;
    (void)state;
    bm_json_writer_init(&w, &text, 0);
    bm_json_put_value(&w, NULL, root);
    assert_string_equal(text.data, expected);
    bm_json_destroy(&root);
    bm_string_free(&text);
}

// A list of count times the same value, without white space.
static bm_string list_of(const char *value, size_t count)
{
    bm_string text = BM_STRING_INIT;
    bm_string_append(&text, "[");
    for (size_t i = 0; i < count; i++) {
        bm_string_append(&text, i ? "," : "");
        bm_string_append(&text, value);
    }
    assert_true(bm_string_append(&text, "]"));
    return text;
}

static void a_text_that_would_take_too_much_memory_is_refused_before_any(void **state)
{
    static const char *const values[] = {"0", "[]", "{\"a\":0}", "\"\""}; // 2 to 8 bytes with a comma
    (void)state;
    for (size_t i = 0; i < BM_COUNT(values); i++) {
        bm_string text = list_of(values[i], (size_t)8000000 / (strlen(values[i]) + 1));
        bm_json *root = NULL;
        bm_error err = {0};
        assert_int_equal(bm_json_parse(&root, text.data, text.length, "NAME", &err), BM_E_FORMAT);
        assert_non_null(strstr(err.message, "NAME: its values would take"));
        assert_int_equal(cjson_memory.calls, 0);
        bm_string_free(&text);
    }
}

static void memory_is_bounded_by_the_text(void **state)
{
    static const char *const values[] = {"0",    "[\"ab\",\"cd\"]", "{\"piece\":12345}", "\"a b\"", "null", "NaN",
                                         "1e999"};
    (void)state;
    for (size_t i = 0; i < BM_COUNT(values); i++) {
        bm_json *root = NULL;
        bm_error err = {0};
        for (size_t count = 1 << 20; !root; count -= count / 8) { // the longest list that is taken, about
            bm_string text = list_of(values[i], count);
            cjson_memory.peak = 0;
            const bm_status status = bm_json_parse(&root, text.data, text.length, "NAME", &err);
            assert_true(status == BM_OK || status == BM_E_FORMAT);
            if (cjson_memory.peak > 16 * text.length + (64u << 20))
                fail_msg("%s: %zu bytes of memory for %zu of text", values[i], cjson_memory.peak, text.length);
            bm_string_free(&text);
        }
        assert_true(cjson_memory.peak > 1 << 20);
        bm_json_destroy(&root);
        assert_int_equal(cjson_memory.now, 0);
    }
}

static bm_status note_member(void *user, const bm_json *member, uint64_t index, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    if (bm_json_kind_of(member) == BM_JSON_NULL)
        return bm_fail(err, BM_E_ARGUMENT, "null");
    bm_string_append_format(user, "%llu %s %s;", (unsigned long long)index,
                            bm_json_key(member) ? bm_json_key(member) : "-",
                            bm_json_found(member, found, sizeof found));
    return BM_OK;
}

static void members_are_visited_one_by_one(void **state)
{
    static const struct {
        const char *text, *expected; // what was visited, or words
        bm_status status;
    } cases[] = {
        {"{}", "", BM_OK},
        {" [ ] \n", "", BM_OK},
        {"\xef\xbb\xbf{ \"a\" : 1 , \"b,}\\\"\":[2,{\"c\":3}]}", "0 a 1;1 b,}\" an array;", BM_OK},
        {"[1,\n\"],\",{},NaN]",
         "0 - 1;1 - \"],\";2 - an object;3 - NaN, which is no integer within 2^53 and no finite "
         "number;",
         BM_OK},
        {"[1,null,x]", "null", BM_E_ARGUMENT},
        {"", "expected one JSON object or array", BM_E_FORMAT},
        {"7", "expected one JSON object or array", BM_E_FORMAT},
        {"{", "NAME: member 1: is not valid JSON", BM_E_FORMAT},
        {"[1,]", "NAME: element 2: is not valid JSON", BM_E_FORMAT},
        {"[1,\xef\xbb\xbf 2]", "NAME: element 2: byte 2: is not valid JSON", BM_E_FORMAT},
        {"[,1]", "NAME: element 1: is not valid JSON", BM_E_FORMAT},
        {"{\"a\":1,}", "NAME: member 2: is not valid JSON", BM_E_FORMAT},
        {"{\"a\":1", "it has no end", BM_E_FORMAT},
        {"[1}", "it has no end", BM_E_FORMAT},
        {"{\"a\":1]", "it has no end", BM_E_FORMAT},
        {"[\"a", "element 1: byte 3: is not valid JSON", BM_E_FORMAT},
        {"{\"a\"}", "member 1: byte 5: is not valid JSON", BM_E_FORMAT},
        {"{\"a\":1} x", "something follows", BM_E_FORMAT},
        {"[1]]", "something follows", BM_E_FORMAT},
    };
    bm_string large = BM_STRING_INIT;
    bm_string seen_before = BM_STRING_INIT;
    bm_error too_large = {0};
    assert_true(bm_string_append(&large, "[1,\""));
    for (size_t i = 0; i < 1 << 20; i++)
        assert_true(bm_string_append(&large, "0123456789abcdef"));
    assert_true(bm_string_append(&large, "\"]"));
    assert_int_equal(bm_json_visit(large.data, large.length, "NAME", note_member, &seen_before, &too_large),
                     BM_E_FORMAT);
    assert_non_null(strstr(too_large.message, "NAME: element 2 has 16777218 bytes, expected at most 16777216"));
    bm_string_free(&large);
    bm_string_free(&seen_before);
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_string seen = BM_STRING_INIT;
        bm_error err = {0};
        const size_t length = strlen(cases[i].text);
        char *copy = bm_alloc(length, 1);
        memcpy(copy, cases[i].text, length);
        const bm_status status = bm_json_visit(copy, length, "NAME", note_member, &seen, &err);
        const char *found = status == BM_OK ? bm_string_text(&seen) : err.message;
        if (status != cases[i].status ||
            (status == BM_OK ? strcmp(found, cases[i].expected) != 0 : !strstr(found, cases[i].expected)))
            fail_msg("case %zu: %s, \"%s\", expected \"%s\"", i, bm_status_name(status), found, cases[i].expected);
        bm_free(copy);
        bm_string_free(&seen);
    }
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
        cmocka_unit_test(unreadable_values_matter_when_asked_for),
        cmocka_unit_test(the_longest_numbers_that_are_read),
        cmocka_unit_test(nesting_ends_at_64),
        cmocka_unit_test(values_are_read_as_written),
        cmocka_unit_test(a_key_given_twice_among_thousands_is_found),
        cmocka_unit_test(words_name_the_line),
        cmocka_unit_test(typed_members_check_kind_and_range),
        cmocka_unit_test(a_list_holds_a_string_or_not),
        cmocka_unit_test(written_text_has_the_plain_form),
        cmocka_unit_test(written_doubles_read_back_equal),
        cmocka_unit_test(what_is_not_finite_is_written_as_null),
        cmocka_unit_test(control_characters_are_written_as_escapes),
        cmocka_unit_test(a_copied_value_keeps_everything),
        cmocka_unit_test(a_copied_value_that_cannot_be_read_is_written_as_it_was),
        cmocka_unit_test_setup_teardown(a_text_that_would_take_too_much_memory_is_refused_before_any, count_memory,
                                        stop_counting),
        cmocka_unit_test_setup_teardown(memory_is_bounded_by_the_text, count_memory, stop_counting),
        cmocka_unit_test(members_are_visited_one_by_one),
        cmocka_unit_test(a_file_larger_than_the_limit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
