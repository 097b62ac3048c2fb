// Pieces of a page.
#include "report/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Control characters do nothing on a page and may do something where its text is copied to: they become '?', as in
// error messages. Those of U+0080 to U+009F are two bytes.
static void append_text(bm_string *out, const char *text, size_t length, bool may_break)
{
    for (size_t i = 0; i < length; i++) {
        const uint8_t c = (uint8_t)text[i];
        const bool is_c1 = c == 0xc2 && i + 1 < length && ((uint8_t)text[i + 1] & 0xe0) == 0x80;
        if (c < 0x20 || c == 0x7f || is_c1)
            (void)bm_string_append(out, "?");
        else if (strchr("&<>\"'", c))
            (void)bm_string_append_format(out, "&#%d;", c);
        else
            (void)bm_string_append_bytes(out, text + i, 1);
        if (may_break && strchr("._/", c))
            (void)bm_string_append(out, "<wbr>");
        i += is_c1;
    }
}

void html_text(bm_string *out, const char *text)
{
    if (text)
        append_text(out, text, strlen(text), false);
}

void html_name(bm_string *out, const char *name, size_t length)
{
    append_text(out, name, length, true);
}

void html_row(bm_string *out, const char *heading, const char *value)
{
    if (!value)
        return;
    (void)bm_string_append(out, "<tr><th>");
    html_text(out, heading);
    (void)bm_string_append(out, "</th><td>");
    html_text(out, value);
    (void)bm_string_append(out, "</td></tr>\n");
}

void html_begin(bm_string *out, const char *title)
{
    (void)bm_string_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    html_text(out, title);
    (void)bm_string_append(out, "</title>\n<style>\n");
    (void)bm_string_append(out, html_style);
    (void)bm_string_append(out, html_chart_style);
    (void)bm_string_append(out, "</style>\n</head>\n<body>\n");
}

void html_end(bm_string *out)
{
    (void)bm_string_append(out, "</body>\n</html>\n");
}

const char *record_string(const bm_json *object, const char *key)
{
    const bm_json *value = object ? bm_json_find(object, key) : NULL;
    return value && bm_json_kind_of(value) == BM_JSON_STRING ? bm_json_string(value) : NULL;
}

double record_number(const bm_json *object, const char *key)
{
    const bm_json *value = object ? bm_json_find(object, key) : NULL;
    return value && bm_json_kind_of(value) == BM_JSON_NUMBER ? bm_json_number(value) : (double)NAN;
}

bool record_is_true(const bm_json *object, const char *key)
{
    const bm_json *value = object ? bm_json_find(object, key) : NULL;
    return value && bm_json_kind_of(value) == BM_JSON_BOOL && bm_json_bool(value);
}

const char *short_number(double value, char text[REPORT_NUMBER_SIZE])
{
    snprintf(text, REPORT_NUMBER_SIZE, value >= 100 && value < 1e15 ? "%.0f" : "%.3g", value);
    return text;
}

// A scalar, or the elements of an array with commas between them.
static void append_value(bm_string *out, const bm_json *value)
{
    switch (bm_json_kind_of(value)) {
    case BM_JSON_NULL:
        (void)bm_string_append(out, "none");
        break;
    case BM_JSON_BOOL:
        (void)bm_string_append(out, bm_json_bool(value) ? "yes" : "no");
        break;
    case BM_JSON_STRING:
        html_text(out, bm_json_string(value));
        break;
    case BM_JSON_NUMBER:
        (void)bm_string_append_format(out, "%.10g", bm_json_number(value));
        break;
    case BM_JSON_ARRAY:
        for (const bm_json *item = bm_json_first(value); item; item = bm_json_next(item)) {
            append_value(out, item);
            (void)bm_string_append(out, bm_json_next(item) ? ", " : "");
        }
        (void)bm_string_append(out, bm_json_first(value) ? "" : "none");
        break;
    case BM_JSON_OBJECT:
        (void)bm_string_append(out, "{}");
        break;
    case BM_JSON_UNREADABLE:
        (void)bm_string_append(out, bm_json_kind_name(BM_JSON_UNREADABLE));
        break;
    }
}

void html_value(bm_string *out, const bm_json *value)
{
    if (value && bm_json_kind_of(value) != BM_JSON_OBJECT)
        append_value(out, value);
}

void html_value_row(bm_string *out, const char *heading, const bm_json *value)
{
    if (!value || bm_json_kind_of(value) == BM_JSON_OBJECT)
        return;
    (void)bm_string_append(out, "<tr><th>");
    html_text(out, heading);
    (void)bm_string_append(out, "</th><td>");
    append_value(out, value);
    (void)bm_string_append(out, "</td></tr>\n");
}
