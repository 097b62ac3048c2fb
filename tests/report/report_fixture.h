// report_fixture: pages of records written as text, and looks at them.
#ifndef BM_TESTS_REPORT_FIXTURE_H
#define BM_TESTS_REPORT_FIXTURE_H

#include "support/unit.h"

#include "report/report.h"

#include <string.h>

// The caller frees the page with bm_free.
static inline char *page_of(const char *record_text)
{
    bm_error err = {0};
    bm_json *record = NULL;
    bm_string page = BM_STRING_INIT;
    assert_ok(bm_json_parse(&record, record_text, strlen(record_text), "bitmill.json", &err), &err);
    assert_ok(bm_report_write(record, &page, &err), &err);
    bm_json_destroy(&record);
    return page.data;
}

static inline uint32_t count_of(const char *text, const char *part)
{
    uint32_t count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}

// Every element that is opened is closed, in order. Void elements of this page: meta and wbr.
static inline void check_nesting(const char *page)
{
    char open[32][16];
    uint32_t depth = 0;
    for (const char *at = strchr(page, '<'); at; at = strchr(at + 1, '<')) {
        char name[16] = {0};
        const bool closes = at[1] == '/';
        const char *start = at + 1 + closes;
        const size_t length = strspn(start, "abcdefghijklmnopqrstuvwxyz0123456789");
        const char *end = strchr(start, '>');
        assert_non_null(end);
        if (at[1] == '!')
            continue;
        assert_in_range(length, 1, sizeof name - 1);
        memcpy(name, start, length);
        if (closes) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/' && strcmp(name, "meta") != 0 && strcmp(name, "wbr") != 0) {
            assert_true(depth < 32);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    assert_int_equal(depth, 0);
}

#endif
