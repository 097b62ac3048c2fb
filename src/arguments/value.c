// One value: how it is read, converted by the type of its key, checked against the key's range, stored and compared.
#include "arguments/keys.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(bm_job) == sizeof(int) && sizeof(bm_dtype) == sizeof(int), "enumerations are stored as int");

#define VALUE_TEXT_SIZE 96 // of a value in a message

static const char *const texts_true[] = {"true", "yes", "t", "y", "1"};
static const char *const texts_false[] = {"false", "no", "f", "n", "0"};

key_value key_value_from_json(const bm_json *json)
{
    key_value value = {.kind = bm_json_kind_of(json), .json = json};
    if (value.kind == BM_JSON_BOOL)
        value.boolean = bm_json_bool(json);
    if (value.kind == BM_JSON_NUMBER) {
        value.number = bm_json_number(json);
        value.is_integer = bm_json_is_integer(json);
    }
    if (value.kind == BM_JSON_STRING)
        value.text = bm_json_string(json);
    return value;
}

key_value key_value_from_text(const char *text)
{
    const bool is_null = strcmp(text, "null") == 0;
    return (key_value){.kind = is_null ? BM_JSON_NULL : BM_JSON_STRING, .text = text, .from_command = true};
}

static bool text_is_in(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bm_equal_ignore_case(text, list[i]))
            return true;
    return false;
}

bool key_value_is_off(const key_value *value)
{
    switch (value->kind) {
    case BM_JSON_NULL:
        return true;
    case BM_JSON_BOOL:
        return !value->boolean;
    case BM_JSON_NUMBER:
        return value->number == 0 || value->number == -1;
    case BM_JSON_STRING:
        return value->text[0] == '\0' || strcmp(value->text, "-1") == 0 || bm_equal_ignore_case(value->text, "off") ||
               bm_equal_ignore_case(value->text, "none") || text_is_in(value->text, texts_false, BM_COUNT(texts_false));
    case BM_JSON_ARRAY:
    case BM_JSON_OBJECT:
        return bm_json_first(value->json) == NULL;
    }
    return false;
}

// ["a", "b"], with "..." for elements that do not fit.
static void array_text(const bm_json *array, char *out, size_t capacity)
{
    static const char rest[] = "...]";
    size_t length = (size_t)snprintf(out, capacity, "[");
    for (const bm_json *item = bm_json_first(array); item; item = bm_json_next(item)) {
        char text[VALUE_TEXT_SIZE];
        const bm_json_kind kind = bm_json_kind_of(item);
        const key_value value = key_value_from_json(item);
        if (kind == BM_JSON_ARRAY)
            snprintf(text, sizeof(text), "[...]"); // lists of lists mean nothing here
        else
            (void)key_value_text(&value, text, sizeof(text));
        const bool has_more = bm_json_next(item) != NULL;
        if (length + strlen(text) + strlen(", ") + sizeof(rest) > capacity) {
            snprintf(out + length, capacity - length, "%s", rest);
            return;
        }
        length += (size_t)snprintf(out + length, capacity - length, "%s%s", text, has_more ? ", " : "");
    }
    snprintf(out + length, capacity - length, "]");
}

const char *key_value_text(const key_value *value, char *out, size_t capacity)
{
    char printable[VALUE_TEXT_SIZE - 16];
    switch (value->kind) {
    case BM_JSON_NULL:
        snprintf(out, capacity, "null");
        break;
    case BM_JSON_BOOL:
        snprintf(out, capacity, "%s", value->boolean ? "true" : "false");
        break;
    case BM_JSON_NUMBER:
        if (value->is_integer)
            snprintf(out, capacity, "%.0f", value->number);
        else if (value->number == floor(value->number) && fabs(value->number) < 1e15)
            snprintf(out, capacity, "%.1f", value->number); // 8.0, which is no integer here
        else
            snprintf(out, capacity, "%.10g", value->number);
        break;
    case BM_JSON_STRING:
        snprintf(out, capacity, "\"%s\"", bm_printable(value->text, strlen(value->text), printable, sizeof(printable)));
        break;
    case BM_JSON_ARRAY:
        array_text(value->json, out, capacity);
        break;
    case BM_JSON_OBJECT:
        snprintf(out, capacity, "{...}");
        break;
    }
    return out;
}

// FILE: "KEY": VALUE: expected ...
static bm_status reject(const bm_arguments *args, const char *name, const key_value *value, bm_error *err,
                        const char *expected)
{
    char text[VALUE_TEXT_SIZE];
    return bm_fail(err, BM_E_ARGUMENT, "%s: \"%s\": %s: expected %s", args->source_name, name,
                   key_value_text(value, text, sizeof(text)), expected);
}

static void note_text_form(bm_arguments *args, const char *name, const key_value *value, const char *kind)
{
    char text[VALUE_TEXT_SIZE];
    if (!value->from_command)
        note_add(args, "\"%s\": %s: a text, read as %s", name, key_value_text(value, text, sizeof(text)), kind);
}

static void *field_of(bm_arguments *args, const key_row *row)
{
    return (char *)args + row->field;
}

static const void *const_field_of(const bm_arguments *args, const key_row *row)
{
    return (const char *)args + row->field;
}

static bm_status store_bool(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                            bm_error *err)
{
    bool result = value->boolean;
    if (value->kind == BM_JSON_STRING) {
        result = text_is_in(value->text, texts_true, BM_COUNT(texts_true));
        if (!result && !text_is_in(value->text, texts_false, BM_COUNT(texts_false)))
            return reject(args, name, value, err, "true or false");
        note_text_form(args, name, value, "a boolean");
    } else if (value->kind != BM_JSON_BOOL) {
        return reject(args, name, value, err, "true or false");
    }
    memcpy(field_of(args, row), &result, sizeof(result));
    return BM_OK;
}

// "one of 32, 64, 128, 256, -1" or "an integer in 1..2147483647".
static void expected_integer(const key_row *row, char *out, size_t capacity)
{
    const char *all = (row->flags & KEY_ALL_IS_MINUS_ONE) ? ", or -1 for the whole data set" : "";
    if (!row->choices) {
        snprintf(out, capacity, "an integer in %.0f..%.0f%s", row->low, row->high, all);
        return;
    }
    size_t length = (size_t)snprintf(out, capacity, "one of ");
    for (const int64_t *choice = row->choices; *choice != 0 && length < capacity; choice++)
        length += (size_t)snprintf(out + length, capacity - length, choice == row->choices ? "%lld" : ", %lld",
                                   (long long)*choice);
    if (row->words && length < capacity)
        snprintf(out + length, capacity - length, " (%s)", row->words);
}

static bool integer_is_allowed(const key_row *row, int64_t number)
{
    if (row->choices) {
        for (const int64_t *choice = row->choices; *choice != 0; choice++)
            if (*choice == number)
                return true;
        return false;
    }
    if (number == -1 && (row->flags & KEY_ALL_IS_MINUS_ONE))
        return true;
    return (double)number >= row->low && (double)number <= row->high;
}

static bm_status store_int(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                           bm_error *err)
{
    char expected[128];
    int64_t number = 0;
    expected_integer(row, expected, sizeof(expected));
    const bool is_true = (value->kind == BM_JSON_BOOL && value->boolean) ||
                         (value->kind == BM_JSON_STRING && bm_equal_ignore_case(value->text, "true"));
    if (is_true && (row->flags & KEY_TRUE_IS_ONE)) {
        number = 1;
        note_add(args, "\"%s\": true: TAKEN AS 1; if three pieces are meant, write \"%s\": 3", name, name);
    } else if (value->kind == BM_JSON_STRING) {
        if (!bm_parse_i64(value->text, &number))
            return reject(args, name, value, err, expected);
        note_text_form(args, name, value, "an integer");
    } else if (value->kind == BM_JSON_NUMBER && value->is_integer) {
        number = (int64_t)value->number; // |number| <= 2^53: exact
    } else {
        return reject(args, name, value, err, expected);
    }
    if (!integer_is_allowed(row, number))
        return reject(args, name, value, err, expected);
    memcpy(field_of(args, row), &number, sizeof(number));
    return BM_OK;
}

static bm_status store_double(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                              bm_error *err)
{
    char expected[128];
    double number = value->number;
    snprintf(expected, sizeof(expected), "a number in %s%.10g..%.10g%s", (row->flags & KEY_ABOVE_LOW) ? "above " : "",
             row->low, row->high, (row->flags & KEY_AUTO_IS_ZERO) ? " or \"auto\"" : "");
    const bool is_auto =
        (row->flags & KEY_AUTO_IS_ZERO) && value->kind == BM_JSON_STRING && bm_equal_ignore_case(value->text, "auto");
    if (is_auto) {
        number = 0;
    } else {
        if (value->kind == BM_JSON_STRING) {
            if (!bm_parse_double(value->text, &number))
                return reject(args, name, value, err, expected);
            note_text_form(args, name, value, "a number");
        } else if (value->kind != BM_JSON_NUMBER) {
            return reject(args, name, value, err, expected);
        }
        const bool is_low_enough = (row->flags & KEY_ABOVE_LOW) ? number > row->low : number >= row->low;
        if (!is_low_enough || !(number <= row->high))
            return reject(args, name, value, err, expected);
    }
    memcpy(field_of(args, row), &number, sizeof(number));
    return BM_OK;
}

static bm_status store_string(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                              bm_error *err)
{
    if (value->kind != BM_JSON_STRING)
        return reject(args, name, value, err, "a text");
    char *copy = value->text[0] ? bm_string_copy(value->text) : NULL; // "" is unset
    if (value->text[0] && !copy)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    key_field_free(args, row);
    memcpy(field_of(args, row), &copy, sizeof(copy));
    return BM_OK;
}

static bm_status store_enum(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                            bm_error *err)
{
    int number = 0;
    if (value->kind != BM_JSON_STRING || !enum_find(row->names, value->text, &number)) {
        bm_string expected = BM_STRING_INIT;
        bm_string_append(&expected, "one of ");
        enum_append_names(row->names, &expected);
        if (row->words)
            bm_string_append_format(&expected, " (%s)", row->words);
        const bm_status status = reject(args, name, value, err, bm_string_text(&expected));
        bm_string_free(&expected);
        return status;
    }
    memcpy(field_of(args, row), &number, sizeof(number));
    return BM_OK;
}

static bool list_append(bm_name_list *list, const char *text, size_t length)
{
    char **names = bm_resize(list->names, (uint64_t)list->count + 1, sizeof(*names));
    char *copy = bm_alloc((uint64_t)length + 1, 1);
    if (names)
        list->names = names;
    if (!names || !copy) {
        bm_free(copy);
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    names[list->count++] = copy;
    return true;
}

static bm_status list_from_array(const bm_arguments *args, const char *name, const key_value *value, bm_name_list *list,
                                 bm_error *err)
{
    for (const bm_json *item = bm_json_first(value->json); item; item = bm_json_next(item)) {
        if (bm_json_kind_of(item) != BM_JSON_STRING || bm_json_string(item)[0] == '\0')
            return reject(args, name, value, err, "a list of non-empty texts");
        const char *text = bm_json_string(item);
        if (!list_append(list, text, strlen(text)))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    }
    return BM_OK;
}

// The command line's a,b,c. An empty text is an empty list; an empty element is an error.
static bm_status list_from_commas(const bm_arguments *args, const char *name, const key_value *value,
                                  bm_name_list *list, bm_error *err)
{
    const char *start = value->text;
    if (*start == '\0')
        return BM_OK;
    for (;;) {
        const size_t length = strcspn(start, ",");
        if (length == 0)
            return reject(args, name, value, err, "a list of non-empty texts");
        if (!list_append(list, start, length))
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
        if (start[length] == '\0')
            return BM_OK;
        start += length + 1;
    }
}

static bm_status list_from_command(const bm_arguments *args, const char *name, const key_value *value,
                                   bm_name_list *list, bm_error *err)
{
    if (value->text[0] != '[')
        return list_from_commas(args, name, value, list, err);
    bm_json *json = NULL;
    bm_status status = bm_json_parse(&json, value->text, strlen(value->text), name, err);
    if (status == BM_OK) {
        const key_value parsed = key_value_from_json(json);
        status = list_from_array(args, name, &parsed, list, err);
    }
    bm_json_destroy(&json);
    return status;
}

static bm_status store_list(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                            bm_error *err)
{
    bm_status status = BM_OK;
    bm_name_list list = {NULL, 0};
    if (value->kind == BM_JSON_ARRAY) {
        BM_TRY(list_from_array(args, name, value, &list, err));
    } else if (value->kind == BM_JSON_STRING && value->from_command) {
        BM_TRY(list_from_command(args, name, value, &list, err));
    } else if (value->kind == BM_JSON_STRING && value->text[0]) {
        note_text_form(args, name, value, "a list of one");
        BM_FAIL_IF(!list_append(&list, value->text, strlen(value->text)), err, BM_E_MEMORY, "%s: out of memory",
                   args->source_name);
    } else {
        BM_TRY(reject(args, name, value, err, "a list of non-empty texts"));
    }
    key_field_free(args, row);
    memcpy(field_of(args, row), &list, sizeof(list));
    return BM_OK;
done:
    bm_name_list_free(&list);
    return status;
}

bm_status key_store(bm_arguments *args, const key_row *row, const char *name, const key_value *value, bm_error *err)
{
    assert(row->field != NO_FIELD);
    switch (row->type) {
    case KEY_BOOL:
        return store_bool(args, row, name, value, err);
    case KEY_INT:
        return store_int(args, row, name, value, err);
    case KEY_DOUBLE:
        return store_double(args, row, name, value, err);
    case KEY_STRING:
        return store_string(args, row, name, value, err);
    case KEY_ENUM:
        return store_enum(args, row, name, value, err);
    case KEY_LIST:
        return store_list(args, row, name, value, err);
    case KEY_ANY:
        break;
    }
    return bm_fail(err, BM_E_INTERNAL, "%s: \"%s\": a key without a type is stored", args->source_name, name);
}

bool key_field_equals(const bm_arguments *a, const bm_arguments *b, const key_row *row)
{
    const void *left = const_field_of(a, row), *right = const_field_of(b, row);
    switch (row->type) {
    case KEY_BOOL:
        return memcmp(left, right, sizeof(bool)) == 0;
    case KEY_INT:
        return memcmp(left, right, sizeof(int64_t)) == 0;
    case KEY_DOUBLE:
        return memcmp(left, right, sizeof(double)) == 0;
    case KEY_ENUM:
        return memcmp(left, right, sizeof(int)) == 0;
    case KEY_STRING: {
        const char *left_text = NULL, *right_text = NULL;
        memcpy(&left_text, left, sizeof(left_text));
        memcpy(&right_text, right, sizeof(right_text));
        return left_text && right_text ? strcmp(left_text, right_text) == 0 : left_text == right_text;
    }
    case KEY_LIST: // no list has an alias
    case KEY_ANY:
        break;
    }
    return false;
}

void key_field_free(bm_arguments *args, const key_row *row)
{
    if (row->field == NO_FIELD)
        return;
    if (row->type == KEY_STRING) {
        char *text = NULL;
        memcpy(&text, field_of(args, row), sizeof(text));
        bm_free(text);
        text = NULL;
        memcpy(field_of(args, row), &text, sizeof(text));
    }
    if (row->type == KEY_LIST) {
        bm_name_list *list = field_of(args, row);
        bm_name_list_free(list);
        *list = (bm_name_list){NULL, 0};
    }
}
