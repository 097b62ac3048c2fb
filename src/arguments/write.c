// What was asked for and what was used, for bitmill.json.
#include "arguments/keys.h"

#include <string.h>

static void write_int(const key_row *row, int64_t number, bm_json_writer *writer)
{
    const bool is_unset = number == 0 && (row->choices || row->low > 0);
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

static void write_list(const char *key, const bm_name_list *list, bm_json_writer *writer)
{
    bm_json_begin_array(writer, key);
    for (uint32_t i = 0; i < list->count; i++)
        bm_json_put_string(writer, NULL, list->names[i]);
    bm_json_end_array(writer);
}

static void write_enum(const key_row *row, int value, bm_json_writer *writer)
{
    const char *name = enum_text(row->names, value);
    bm_json_put_string(writer, row->name, strcmp(name, "?") == 0 ? NULL : name); // unset: null
}

static void write_field(const bm_arguments *args, const key_row *row, bm_json_writer *writer)
{
    const void *field = (const char *)args + row->field;
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
        int value = 0;
        memcpy(&value, field, sizeof(value));
        write_enum(row, value, writer);
        break;
    }
    case KEY_LIST:
        write_list(row->name, field, writer);
        break;
    case KEY_ANY:
        break;
    }
}

static void write_dtype(const char *key, bm_dtype dtype, bm_json_writer *writer)
{
    bm_json_put_string(writer, key, dtype == BM_DTYPE_NONE ? NULL : bm_dtype_name(dtype));
}

static void write_resolved(const bm_arguments *args, bm_json_writer *writer)
{
    bm_json_begin_object(writer, "resolved");
    bm_json_put_string(writer, "job", bm_job_name(args->job));
    if (job_quantizes(args->job)) {
        bm_json_put_string(writer, "quant_type", bm_quant_type_name(args->quant_type));
        bm_json_put_integer(writer, "weight_bits", args->weight_bits);
        bm_json_put_string(writer, "weight_quant_method", bm_weight_method_name(args->weight_quant_method));
        bm_json_put_integer(writer, "group_size", args->group_size);
        bm_json_put_bool(writer, "symmetric", args->symmetric);
        bm_json_put_string(writer, "scale_search", bm_scale_search_name(args->scale_search));
        bm_json_put_string(writer, "format", bm_checkpoint_format_name(args->format));
        bm_json_put_bool(writer, "needs_calibration", args->needs_calibration);
    }
    if (args->fp8_weight != BM_DTYPE_NONE) {
        write_dtype("fp8_activation", args->fp8_activation, writer);
        write_dtype("fp8_weight", args->fp8_weight, writer);
    }
    write_dtype("storage_dtype", args->storage_dtype, writer);
    bm_json_end_object(writer);
}

void bm_arguments_write_json(const bm_arguments *args, bm_json_writer *writer)
{
    bm_json_begin_object(writer, "arguments");
    for (uint32_t i = 0; i < key_table_count; i++)
        if (key_table[i].class_of == KEY_HONOUR)
            write_field(args, &key_table[i], writer);
    bm_json_end_object(writer);
    bm_json_begin_array(writer, "given");
    for (uint32_t i = 0; i < key_table_count; i++)
        if (key_table[i].class_of == KEY_HONOUR && key_is_given(args, i))
            bm_json_put_string(writer, NULL, key_table[i].name);
    bm_json_end_array(writer);
    write_resolved(args, writer);
    bm_json_begin_array(writer, "notes");
    for (uint32_t i = 0; i < args->num_notes; i++)
        bm_json_put_string(writer, NULL, args->notes[i].text);
    bm_json_end_array(writer);
}
