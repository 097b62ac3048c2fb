// Pieces of a page, and members of a record read without words: what is not there gives nothing.
#ifndef BM_REPORT_HTML_H
#define BM_REPORT_HTML_H

#include "formats/json.h"

// Appends text with the characters that HTML gives a meaning (& < > " ') written as references and '?' for control
// characters. NULL appends nothing.
void html_text(bm_string *out, const char *text);
// The same for length bytes of a name or path, which a narrow page may break behind "." "_" and "/".
void html_name(bm_string *out, const char *name, size_t length);
// style.c: what stands between <style> and </style>; of charts apart.
extern const char html_style[], html_chart_style[];
// Appends one row of a table: a heading and its value, both as text. Nothing when value is NULL.
void html_row(bm_string *out, const char *heading, const char *value);
// The head of the page with its styles, up to <body>, and its end.
void html_begin(bm_string *out, const char *title);
void html_end(bm_string *out);

// Text of a member: NULL when it is absent or no string.
const char *record_string(const bm_json *object, const char *key);
// Number of a member: NAN when it is absent or no number.
double record_number(const bm_json *object, const char *key);
// Whether a member is there and true.
bool record_is_true(const bm_json *object, const char *key);
// Three digits, "0.01", "1.25", "12.5", and whole numbers from 100 on; returns text.
#define REPORT_NUMBER_SIZE 32
const char *short_number(double value, char text[REPORT_NUMBER_SIZE]);
// Appends a member's value as text: "yes", "no", "none", a number, the string itself; an array as all its elements with
// commas. Nothing when value is NULL or an object.
void html_value(bm_string *out, const bm_json *value);
// The same as a row of a table.
void html_value_row(bm_string *out, const char *heading, const bm_json *value);

#endif
