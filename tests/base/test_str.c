#include "support/unit.h"

#include "base/str.h"

#include <locale.h>
#include <string.h>

static void string_grows_and_stays_terminated(void **state)
{
    bm_string s = BM_STRING_INIT;
    (void)state;
    assert_string_equal(bm_string_text(&s), "");
    for (int i = 0; i < 1000; i++) {
        assert_true(bm_string_append_format(&s, "%d,", i % 10));
        assert_int_equal(strlen(s.data), s.length);
    }
    assert_int_equal(s.length, 2000);
    bm_string_clear(&s);
    assert_string_equal(bm_string_text(&s), "");
    assert_true(bm_string_append_bytes(&s, "a\0b", 3));
    assert_int_equal(s.length, 3);
    assert_true(bm_string_append_bytes(&s, NULL, 0));
    bm_string_free(&s);
    assert_null(s.data);
}

static void string_remembers_that_memory_ran_out(void **state)
{
    bm_string s = BM_STRING_INIT;
    (void)state;
    assert_true(bm_string_append(&s, "kept"));
    assert_false(bm_string_append_bytes(&s, "x", SIZE_MAX - 2));
    assert_true(s.failed);
    assert_false(bm_string_append(&s, "more"));
    assert_string_equal(s.data, "kept");
    bm_string_free(&s);
}

static void integers_are_read_whole_or_not_at_all(void **state)
{
    static const char *const bad[] = {
        "", "-", "+", " 1", "1 ", "1.0", "0x1", "--1", "-+1", "1e3", "18446744073709551616", "99999999999999999999"};
    uint64_t u = 5;
    int64_t i = 5;
    (void)state;
    for (size_t k = 0; k < BM_COUNT(bad); k++) {
        assert_false(bm_parse_u64(bad[k], &u));
        assert_false(bm_parse_i64(bad[k], &i));
    }
    assert_true(u == 5 && i == 5);
    assert_false(bm_parse_u64("-1", &u));
    assert_true(bm_parse_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_true(bm_parse_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(bm_parse_i64("9223372036854775807", &i) && i == INT64_MAX);
    assert_true(bm_parse_i64("+7", &i) && i == 7);
    assert_false(bm_parse_i64("9223372036854775808", &i));
    assert_false(bm_parse_i64("-9223372036854775809", &i));
}

static void doubles_are_plain_and_finite(void **state)
{
    static const char *const bad[] = {"",   "nan", "inf", "0x1p3", "1e999", "-1e999", " 1",
                                      "1 ", "1,5", ".",   "e5",    "1e",    "-"};
    double d = 5;
    (void)state;
    for (size_t k = 0; k < BM_COUNT(bad); k++)
        assert_false(bm_parse_double(bad[k], &d));
    assert_true(d == 5);
    assert_true(bm_parse_double("-1.5e-3", &d) && d == -1.5e-3);
    assert_true(bm_parse_double("4.9406564584124654e-324", &d) && d == 4.9406564584124654e-324);
    assert_true(bm_parse_double("1e-999", &d) && d == 0);
}

static void sizes_have_units(void **state)
{
    static const char *const bad[] = {"",    "123456", "GB",          "6 G B",         "6XB", "-6GB",
                                      "1e9", "0",      "0.0000001kB", "99999999999TB", "6GBs"};
    uint64_t bytes = 5;
    (void)state;
    for (size_t k = 0; k < BM_COUNT(bad); k++)
        assert_false(bm_parse_size(bad[k], &bytes) && bytes > 0);
    assert_true(bm_parse_size("6GB", &bytes) && bytes == 6000000000);
    assert_true(bm_parse_size("1.5 gib", &bytes) && bytes == 1610612736);
    assert_true(bm_parse_size("800MB", &bytes) && bytes == 800000000);
    assert_true(bm_parse_size("123456B", &bytes) && bytes == 123456);
}

static void doubles_do_not_depend_on_the_locale(void **state)
{
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8"};
    double d = 0;
    (void)state;
    for (size_t k = 0; k < BM_COUNT(locales); k++)
        if (setlocale(LC_NUMERIC, locales[k])) {
            assert_true(bm_parse_double("1.5", &d) && d == 1.5);
            assert_false(bm_parse_double("1,5", &d));
        }
    setlocale(LC_NUMERIC, "C");
}

static void comparisons_read_as_they_say(void **state)
{
    (void)state;
    assert_true(bm_starts_with("abc", "ab") && bm_starts_with("abc", "") && !bm_starts_with("a", "ab"));
    assert_true(bm_ends_with("abc", "bc") && bm_ends_with("abc", "") && !bm_ends_with("c", "bc"));
    assert_true(bm_equal_ignore_case("BF16", "bf16") && !bm_equal_ignore_case("bf16", "bf1"));
    assert_false(bm_equal_ignore_case("\xc3\x84", "\xc3\xa4")); // ASCII alone
    assert_int_equal(bm_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(bm_edit_distance("", "abc"), 3);
    assert_int_equal(bm_edit_distance("same", "same"), 0);
}

static const struct {
    const char *bytes;
    size_t length;
    bool valid;
} utf8_cases[] = {
    {"", 0, true},
    {"plain", 5, true},
    {"\xc3\xa4", 2, true},
    {"\xe2\x82\xac", 3, true},
    {"\xf0\x9f\x98\x80", 4, true},
    {"\xf4\x8f\xbf\xbf", 4, true},  // U+10FFFF
    {"\xf4\x90\x80\x80", 4, false}, // beyond
    {"\xed\x9f\xbf", 3, true},
    {"\xed\xa0\x80", 3, false}, // a surrogate
    {"\xc0\x80", 2, false},     // overlong
    {"\xc1\xbf", 2, false},
    {"\xe0\x9f\xbf", 3, false},
    {"\xf0\x8f\xbf\xbf", 4, false},
    {"\xc3", 1, false}, // cut
    {"\xe2\x82", 2, false},
    {"\xf0\x9f\x98", 3, false},
    {"\x80", 1, false},
    {"\xff", 1, false},
    {"\xf8\x88\x80\x80\x80", 5, false},
    {"a\xe2\x28\xa1", 4, false},
};

static void utf8_follows_the_unicode_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(utf8_cases); i++)
        if (bm_utf8_is_valid(utf8_cases[i].bytes, utf8_cases[i].length) != utf8_cases[i].valid)
            fail_msg("case %zu", i);
}

static void printable_hides_what_a_terminal_would_obey(void **state)
{
    char out[32];
    (void)state;
    assert_string_equal(bm_printable("a\x1b[31m\n\x7f", 8, out, sizeof out), "a?[31m??");
    assert_string_equal(bm_printable("\xff\xc3\xa4", 3, out, sizeof out), "?\xc3\xa4");
    assert_string_equal(bm_printable("\xc2\x9b"
                                     "31m\xc2\xa0\xc2",
                                     8, out, sizeof out),
                        "?31m\xc2\xa0?");
    assert_string_equal(bm_printable("", 0, out, sizeof out), "");
}

static void printable_fits_every_capacity_and_cuts_between_characters(void **state)
{
    char text[64];
    (void)state;
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2); // NOLINT(bugprone-not-null-terminated-result)
    for (size_t length = 0; length <= sizeof text; length += 2)
        for (size_t capacity = 0; capacity < 80; capacity++) {
            char out[82];
            memset(out, 0x55, sizeof out);
            bm_printable(text, length, out, capacity);
            assert_int_equal(out[capacity], 0x55);
            if (capacity == 0)
                continue;
            assert_true(strlen(out) < capacity);
            assert_true(bm_utf8_is_valid(out, strlen(out)));
            if (capacity > length + 4)
                assert_int_equal(strlen(out), length);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(string_grows_and_stays_terminated),
        cmocka_unit_test(string_remembers_that_memory_ran_out),
        cmocka_unit_test(integers_are_read_whole_or_not_at_all),
        cmocka_unit_test(doubles_are_plain_and_finite),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(doubles_do_not_depend_on_the_locale),
        cmocka_unit_test(comparisons_read_as_they_say),
        cmocka_unit_test(utf8_follows_the_unicode_table),
        cmocka_unit_test(printable_hides_what_a_terminal_would_obey),
        cmocka_unit_test(printable_fits_every_capacity_and_cuts_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
