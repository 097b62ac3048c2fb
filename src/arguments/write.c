// What the user asked for, for bitmill.json; and notes, the lines that go with it.
#include "arguments/keys.h"

#include <stdio.h>

static void add_note(bm_notes *notes, bool is_choice, const char *format, va_list values)
{
    va_list again;
    va_copy(again, values);
    const int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = length < 0 ? NULL : bm_alloc((uint64_t)length + 1, 1);
    bm_note *items = bm_resize(notes->items, (uint64_t)notes->count + 1, sizeof *items);
    notes->items = items ? items : notes->items;
    if (!items || !text) {
        bm_free(text);
        notes->failed = true;
        return;
    }
    vsnprintf(text, (size_t)length + 1, format, values);
    items[notes->count++] = (bm_note){.text = text, .is_choice = is_choice};
}

void bm_notes_add(bm_notes *notes, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    add_note(notes, false, format, values);
    va_end(values);
}

void bm_notes_add_choice(bm_notes *notes, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    add_note(notes, true, format, values);
    va_end(values);
}

void bm_notes_free(bm_notes *notes)
{
    for (uint32_t i = 0; i < notes->count; i++)
        bm_free(notes->items[i].text);
    bm_free(notes->items);
    *notes = (bm_notes){0};
}

bm_status bm_arguments_check_notes(const bm_arguments *args, const bm_notes *notes, bm_error *err)
{
    if (notes->failed)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    for (uint32_t i = 0; args->strict && i < notes->count; i++)
        REJECT_IF(!notes->items[i].is_choice, "a note, which --strict refuses: %s", notes->items[i].text);
    return BM_OK;
}

static void write_list(const char *key, const bm_name_list *list, bm_json_writer *writer)
{
    bm_json_begin_array(writer, key);
    for (uint32_t i = 0; i < list->count; i++)
        bm_json_put_string(writer, NULL, list->names[i]);
    bm_json_end_array(writer);
}

static void write_int(const key_row *row, int64_t number, bm_json_writer *writer)
{
    const bool is_unset = number == 0 && (row->names || row->low > 0);
    if (is_unset)
        bm_json_put_null(writer, row->name);
    else
        bm_json_put_integer(writer, row->name, number);
}

static void write_double(const key_row *row, double number, bm_json_writer *writer)
{
    if (number == 0 && (row->flags & KEY_AUTO_IS_ZERO))
        bm_json_put_string(writer, row->name, "auto");
    else if (number == 0 && (row->flags & KEY_NULL_IS_ZERO))
        bm_json_put_null(writer, row->name);
    else
        bm_json_put_double(writer, row->name, number);
}

static void write_field(const key_row *row, const void *field, bm_json_writer *writer)
{
    switch (row->type) {
    case KEY_BOOL:
        bm_json_put_bool(writer, row->name, *(const bool *)field);
        break;
    case KEY_INT:
        write_int(row, *(const int64_t *)field, writer);
        break;
    case KEY_DOUBLE:
        write_double(row, *(const double *)field, writer);
        break;
    case KEY_STRING:
        bm_json_put_string(writer, row->name, *(char *const *)field);
        break;
    case KEY_ENUM: {
        const char *name = row->names[*(const int *)field];
        bm_json_put_string(writer, row->name, name[0] ? name : NULL); // unset: null
        break;
    }
    case KEY_LIST:
        write_list(row->name, field, writer);
        break;
    }
}

void bm_arguments_write_json(const bm_arguments *args, bm_json_writer *writer)
{
    const key_row *end = key_table + key_table_count;
    bm_json_begin_object(writer, "arguments");
    for (const key_row *row = key_table; row < end; row++)
        write_field(row, (const char *)args + row->field, writer);
    bm_json_end_object(writer);
    bm_json_begin_array(writer, "given");
    for (const key_row *row = key_table; row < end; row++)
        if (bm_arguments_is_given(args, row->name))
            bm_json_put_string(writer, NULL, row->name);
    bm_json_end_array(writer);
}
