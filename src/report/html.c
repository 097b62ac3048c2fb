// Pieces of a page.
#include "report/html.h"

#include <math.h>
#include <string.h>

// Colours come in pairs for light and dark screens. Bars of one chart share one colour: length alone carries the number.
static const char style[] =
    ":root{color-scheme:light "
    "dark;--ink:#1c2026;--soft:#5b6470;--line:#d9dde3;--page:#fff;--card:#f5f6f8;--bar:#2f6fb5}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b1;--line:#363c45;--page:#15181c;--card:#1f2329;"
    "--bar:#6ea8e6}}\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:62rem;margin:2rem auto;"
    "padding:0 1rem}\n"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}p{margin:.3rem 0}\n"
    ".soft{color:var(--soft)}\n"
    ".cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}\n"
    ".card{background:var(--card);border-radius:.5rem;padding:.7rem 1rem;flex:1 1 11rem}\n"
    ".card b{display:block;font-size:1.35rem;font-weight:600}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{text-align:left;padding:.2rem 1.2rem .2rem 0;vertical-align:top;border-bottom:1px solid var(--line);"
    "overflow-wrap:anywhere}th{font-weight:500;color:var(--soft);white-space:nowrap}\n"
    "td.n,th.n{text-align:right}\n"
    ".panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}figure{margin:0}\n"
    "figcaption{font-size:.9rem;color:var(--soft)}svg{width:100%;height:auto;display:block}\n"
    "svg rect{fill:var(--bar)}svg line{stroke:var(--line)}svg text{fill:var(--soft);font:10px system-ui,sans-serif}\n"
    ".time{display:flex;height:1.1rem;border-radius:.3rem;overflow:hidden;margin:.5rem 0}\n"
    ".key{display:inline-block;width:.8em;height:.8em;border-radius:.2em;margin-right:.5em}\n"
    "summary{cursor:pointer;margin:.6rem 0}\n";

void html_text(bm_string *out, const char *text)
{
    for (; text && *text; text++) {
        const size_t plain = strcspn(text, "&<>\"'");
        (void)bm_string_append_bytes(out, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        (void)bm_string_append_format(out, "&#%d;", *text);
    }
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
    (void)bm_string_append(out, style);
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
