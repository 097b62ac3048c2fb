// One value: how it is read, converted by the type of its key, checked against what the key allows, and stored.
#include "arguments/keys.h"

#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(bm_job) == sizeof(int) && sizeof(bm_dtype) == sizeof(int), "enumerations are stored as int");

static const char *const texts_true[] = {"true", "yes", "t", "y", "1"};
static const char *const texts_false[] = {"false", "no", "f", "n", "0"};
static const char *const texts_off[] = {"", "off", "none", "-1"};

key_value key_value_of_json(const bm_json *json)
{
    const bm_json_kind kind = bm_json_kind_of(json);
    return (key_value){.kind = kind, .text = kind == BM_JSON_STRING ? bm_json_string(json) : NULL, .json = json};
}

key_value key_value_of_text(const char *text)
{
    return (key_value){.kind = strcmp(text, "null") == 0 ? BM_JSON_NULL : BM_JSON_STRING, .text = text};
}

static bool is_one_of(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bm_equal_ignore_case(text, list[i]))
            return true;
    return false;
}

bool key_value_is_off(const key_value *value)
{
    const bm_json_kind kind = value->kind;
    if (kind == BM_JSON_BOOL)
        return !bm_json_bool(value->json);
    if (kind == BM_JSON_NUMBER)
        return bm_json_number(value->json) == 0 || bm_json_number(value->json) == -1;
    if (kind == BM_JSON_STRING)
        return is_one_of(value->text, texts_off, BM_COUNT(texts_off)) ||
               is_one_of(value->text, texts_false, BM_COUNT(texts_false));
    return kind == BM_JSON_NULL ||
           ((kind == BM_JSON_ARRAY || kind == BM_JSON_OBJECT) && bm_json_first(value->json) == NULL);
}

void key_value_print(const key_value *value, bm_string *out)
{
    bm_json_writer writer;
    bm_json_writer_init(&writer, out, 0);
    if (value->json)
        bm_json_put_value(&writer, NULL, value->json);
    else if (value->kind == BM_JSON_NULL)
        bm_json_put_null(&writer, NULL);
    else
        bm_json_put_string(&writer, NULL, value->text);
    const bool is_number = value->kind == BM_JSON_NUMBER && !bm_json_is_integer(value->json);
    if (is_number && !strpbrk(bm_string_text(out), ".eE"))
        bm_string_append(out, ".0"); // 8.0, which is no integer here
}

const char *key_value_show(const key_value *value, char *out, size_t capacity)
{
    bm_string text = BM_STRING_INIT;
    key_value_print(value, &text);
    bm_printable(bm_string_text(&text), text.length, out, capacity);
    bm_string_free(&text);
    return out;
}

// The conversions: false when the value is none of the type or not allowed.

static bool to_bool(const key_value *value, bool *out)
{
    if (value->kind == BM_JSON_BOOL)
        *out = bm_json_bool(value->json);
    else if (value->kind == BM_JSON_STRING)
        *out = is_one_of(value->text, texts_true, BM_COUNT(texts_true));
    return value->kind == BM_JSON_BOOL || *out ||
           (value->kind == BM_JSON_STRING && is_one_of(value->text, texts_false, BM_COUNT(texts_false)));
}

static bool is_true(const key_value *value)
{
    return (value->kind == BM_JSON_BOOL && bm_json_bool(value->json)) ||
           (value->kind == BM_JSON_STRING && bm_equal_ignore_case(value->text, "true"));
}

static bool to_int(const key_row *row, const key_value *value, int64_t *out)
{
    if (is_true(value) && (row->flags & KEY_TRUE_IS_ONE))
        *out = 1;
    else if (value->kind == BM_JSON_NUMBER && bm_json_is_integer(value->json))
        *out = (int64_t)bm_json_number(value->json); // |number| <= 2^53: exact
    else if (value->kind != BM_JSON_STRING || !bm_parse_i64(value->text, out))
        return false;
    for (const char *const *name = row->names; name && *name; name++) {
        int64_t allowed;
        if (bm_parse_i64(*name, &allowed) && allowed == *out)
            return true;
    }
    const bool is_all = *out == -1 && (row->flags & KEY_ALL_IS_MINUS_ONE);
    return !row->names && (is_all || ((double)*out >= row->low && (double)*out <= row->high));
}

static bool is_auto(const key_row *row, const key_value *value)
{
    return (row->flags & KEY_AUTO_IS_ZERO) && value->kind == BM_JSON_STRING &&
           bm_equal_ignore_case(value->text, "auto");
}

static bool to_double(const key_row *row, const key_value *value, double *out)
{
    *out = 0;
    if (is_auto(row, value))
        return true;
    if (value->kind == BM_JSON_NUMBER)
        *out = bm_json_number(value->json);
    else if (value->kind != BM_JSON_STRING || !bm_parse_double(value->text, out))
        return false;
    return (*out > row->low || (*out == row->low && !(row->flags & KEY_ABOVE_LOW))) && *out <= row->high;
}

static bool to_enum(const key_row *row, const key_value *value, int *out)
{
    if (value->kind != BM_JSON_STRING || !value->text[0])
        return false;
    for (*out = 0; row->names[*out]; ++*out)
        if (bm_equal_ignore_case(row->names[*out], key_canonical(value->text)))
            return true;
    return false;
}

static bool add_name(bm_arguments *args, bm_name_list *list, const char *name, size_t length)
{
    char *copy = bm_format("%.*s", (int)length, name);
    args->notes.failed = args->notes.failed || !copy || !bm_name_list_add(list, copy);
    bm_free(copy);
    return length > 0;
}

static bool add_array(bm_arguments *args, const bm_json *array, bm_name_list *list)
{
    for (const bm_json *item = bm_json_first(array); item; item = bm_json_next(item))
        if (bm_json_kind_of(item) != BM_JSON_STRING ||
            !add_name(args, list, bm_json_string(item), strlen(bm_json_string(item))))
            return false;
    return true;
}

// The command line's ["a","b"] or a,b; nothing is an empty list.
static bool add_command(bm_arguments *args, const char *text, bm_name_list *list)
{
    if (text[0] == '[') {
        bm_json *json = NULL;
        const bool is_good = bm_json_parse(&json, text, strlen(text), "", NULL) == BM_OK && add_array(args, json, list);
        bm_json_destroy(&json);
        return is_good;
    }
    while (*text) {
        const size_t length = strcspn(text, ",");
        if (!add_name(args, list, text, length) || strcmp(text + length, ",") == 0)
            return false;
        text += length + (text[length] == ',');
    }
    return true;
}

static bool to_list(bm_arguments *args, const key_value *value, bm_name_list *out)
{
    if (value->kind == BM_JSON_ARRAY)
        return add_array(args, value->json, out);
    if (value->kind != BM_JSON_STRING)
        return false;
    return value->json ? add_name(args, out, value->text, strlen(value->text)) : add_command(args, value->text, out);
}

// Room for a value of any type on its way into the field.
typedef union converted {
    bool boolean;
    int64_t integer;
    double number;
    char *text;
    int enumerator;
    bm_name_list list;
} converted;

static bool convert(bm_arguments *args, const key_row *row, const key_value *value, converted *out, size_t *size)
{
    switch (row->type) {
    case KEY_BOOL:
        *size = sizeof out->boolean;
        return to_bool(value, &out->boolean);
    case KEY_INT:
        *size = sizeof out->integer;
        return to_int(row, value, &out->integer);
    case KEY_DOUBLE:
        *size = sizeof out->number;
        return to_double(row, value, &out->number);
    case KEY_STRING:
        *size = sizeof out->text;
        if (value->kind != BM_JSON_STRING)
            return false;
        out->text = value->text[0] ? bm_string_copy(value->text) : NULL;
        args->notes.failed = args->notes.failed || (value->text[0] && !out->text);
        return true;
    case KEY_ENUM:
        *size = sizeof out->enumerator;
        return to_enum(row, value, &out->enumerator);
    case KEY_LIST:
        *size = sizeof out->list;
        if (to_list(args, value, &out->list))
            return true;
        bm_name_list_free(&out->list);
        return false;
    }
    return false;
}

// What the key would have taken, in words.
static void print_expected(const key_row *row, bm_string *out)
{
    static const char *const words[] = {[KEY_BOOL] = "true or false",
                                        [KEY_INT] = "an integer",
                                        [KEY_DOUBLE] = "a number",
                                        [KEY_STRING] = "a text",
                                        [KEY_LIST] = "a JSON list of non-empty texts"};
    const char *separator = "one of ";
    for (const char *const *name = row->names; name && *name; name++)
        if (**name) {
            bm_string_append_format(out, "%s%s", separator, *name);
            separator = ", ";
        }
    if (row->names)
        return;
    bm_string_append(out, words[row->type]);
    if (row->type == KEY_INT || row->type == KEY_DOUBLE)
        bm_string_append_format(
            out, (row->flags & KEY_ABOVE_LOW) ? " above %.16g, at most %.16g%s%s" : " in %.16g..%.16g%s%s", row->low,
            row->high, (row->flags & KEY_AUTO_IS_ZERO) ? ", or \"auto\"" : "",
            (row->flags & KEY_ALL_IS_MINUS_ONE) ? ", or -1 for the whole data set" : "");
}

static bm_status reject(const bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                        const char *built, bm_error *err)
{
    char shown[KEY_SHOWN_SIZE];
    bm_string expected = BM_STRING_INIT;
    print_expected(row, &expected);
    if (built)
        bm_string_append_format(&expected, " (built: %s)", built);
    const bm_status status = bm_arguments_reject(args, err, "\"%s\": %s: expected %s", name,
                                                 key_value_show(value, shown, sizeof shown), bm_string_text(&expected));
    bm_string_free(&expected);
    return status;
}

// Texts are taken for other types with a note, where a file has them.
static void note_form(bm_arguments *args, const key_row *row, const char *name, const key_value *value)
{
    static const char *const words[] = {
        [KEY_BOOL] = "a boolean",     [KEY_INT] = "an integer", [KEY_DOUBLE] = "a number",
        [KEY_LIST] = "a list of one", [KEY_STRING] = NULL,      [KEY_ENUM] = NULL};
    char shown[KEY_SHOWN_SIZE];
    if (is_true(value) && (row->flags & KEY_TRUE_IS_ONE))
        bm_notes_add(&args->notes, "\"%s\": true: TAKEN AS 1; if three pieces are meant, write \"%s\": 3", name, name);
    else if (value->json && value->kind == BM_JSON_STRING && words[row->type] && !is_auto(row, value))
        bm_notes_add(&args->notes, "\"%s\": %s: a text, read as %s", name, key_value_show(value, shown, sizeof shown),
                     words[row->type]);
}

bm_status key_store(bm_arguments *args, const key_row *row, const char *name, const key_value *value, const char *built,
                    bm_error *err)
{
    converted new_value = {0};
    size_t size = 0;
    if (value->kind == BM_JSON_NULL && (row->flags & KEY_NULL_IS_ZERO))
        size = sizeof new_value.number;
    else if (!convert(args, row, value, &new_value, &size))
        return reject(args, row, name, value, built, err);
    note_form(args, row, name, value);
    key_field_free(args, row);
    memcpy((char *)args + row->field, &new_value, size);
    return BM_OK;
}

void key_field_free(bm_arguments *args, const key_row *row)
{
    void *field = (char *)args + row->field;
    if (row->type == KEY_STRING) {
        char **text = field;
        bm_free(*text);
        *text = NULL;
    }
    if (row->type == KEY_LIST)
        bm_name_list_free(field);
}
