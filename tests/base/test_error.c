#include "support/unit.h"

#include "base/base.h"

#include <stdio.h>
#include <string.h>

static void fail_fills_status_and_words(void **state)
{
    bm_error err = {0};
    (void)state;
    assert_int_equal(bm_fail(&err, BM_E_FORMAT, "%s: %d", "file", 7), BM_E_FORMAT);
    assert_int_equal(err.status, BM_E_FORMAT);
    assert_string_equal(err.message, "file: 7");
}

static void fail_without_an_error_returns_the_status(void **state)
{
    (void)state;
    assert_int_equal(bm_fail(NULL, BM_E_IO, "x"), BM_E_IO);
    bm_error_prefix(NULL, "x");
}

static void fail_long_words_are_cut_to_one_line(void **state)
{
    char words[3000];
    bm_error err;
    (void)state;
    memset(words, 'a', sizeof words);
    words[5] = '\n';
    words[sizeof words - 1] = '\0';
    (void)bm_fail(&err, BM_E_DEVICE, "%s", words);
    assert_int_equal(strlen(err.message), BM_ERROR_MESSAGE_SIZE - 1);
    assert_null(strchr(err.message, '\n'));
}

static void words_show_what_a_terminal_would_obey(void **state)
{
    bm_error err;
    (void)state;
    (void)bm_fail(&err, BM_E_IO,
                  "a\x1b[31m\xc2\x9b"
                  "b\xff\xc3\xa4\tc\r\n");
    assert_string_equal(err.message, "a?[31m?b?\xc3\xa4 c  ");
    bm_error_prefix(&err, "\x07");
    assert_string_equal(err.message, "?: a?[31m?b?\xc3\xa4 c  ");
}

static void prefix_stands_in_front(void **state)
{
    bm_error err;
    (void)state;
    (void)bm_fail(&err, BM_E_IO, "no space");
    bm_error_prefix(&err, "block %d", 3);
    assert_string_equal(err.message, "block 3: no space");
    assert_int_equal(err.status, BM_E_IO);
}

static void prefix_of_any_length_stays_within_the_words(void **state)
{
    char prefix[2 * BM_ERROR_MESSAGE_SIZE];
    (void)state;
    for (size_t length = BM_ERROR_MESSAGE_SIZE - 12; length < BM_ERROR_MESSAGE_SIZE + 12; length++) {
        bm_error err;
        memset(prefix, 'p', length);
        prefix[length] = '\0';
        (void)bm_fail(&err, BM_E_IO, "words");
        bm_error_prefix(&err, "%s", prefix);
        assert_true(memchr(err.message, '\0', sizeof err.message) != NULL);
        assert_int_equal(err.message[0], 'p');
    }
}

static void status_names_are_words(void **state)
{
    (void)state;
    for (int status = BM_OK; status <= BM_E_INTERNAL; status++)
        assert_string_not_equal(bm_status_name((bm_status)status), "unknown");
    assert_string_equal(bm_status_name((bm_status)99), "unknown");
    assert_string_equal(bm_status_name(BM_E_FORMAT), "format");
}

typedef struct heard {
    uint32_t count;
    char last[2048];
} heard;

static void listen(void *user, bm_log_level level, const char *message)
{
    heard *h = user;
    (void)level;
    h->count++;
    snprintf(h->last, sizeof h->last, "%s", message);
}

static void log_speaks_up_to_its_level(void **state)
{
    heard h = {0};
    const bm_log log = {.level = BM_LOG_WARNING, .write = listen, .user = &h};
    (void)state;
    bm_log_write(&log, BM_LOG_INFO, "quiet");
    bm_log_write(&log, BM_LOG_WARNING, "a\nb");
    bm_log_write(NULL, BM_LOG_ERROR, "nobody");
    assert_int_equal(h.count, 1);
    assert_string_equal(h.last, "a b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_fills_status_and_words),
        cmocka_unit_test(fail_without_an_error_returns_the_status),
        cmocka_unit_test(fail_long_words_are_cut_to_one_line),
        cmocka_unit_test(words_show_what_a_terminal_would_obey),
        cmocka_unit_test(prefix_stands_in_front),
        cmocka_unit_test(prefix_of_any_length_stays_within_the_words),
        cmocka_unit_test(status_names_are_words),
        cmocka_unit_test(log_speaks_up_to_its_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
