// Reading: defaults, overrides, the file's members, then the checks. Overrides are stored first and keep the file's
// values out, so that a value which the command line replaces is never judged.
#include "arguments/keys.h"

#include <stdio.h>
#include <string.h>

#define MAX_FILE_BYTES (1u << 20)
#define SHOWN_NAME_SIZE 80 // of a key in a message

// What is collected while keys are read.
typedef struct reader {
    bm_arguments *args;
    bm_string training; // names of training keys, separated by ", "
} reader;

bm_status arguments_reject(const bm_arguments *args, bm_error *err, const char *format, ...)
{
    char words[BM_ERROR_MESSAGE_SIZE];
    va_list values;
    va_start(values, format);
    vsnprintf(words, sizeof(words), format, values);
    va_end(values);
    return bm_fail(err, BM_E_ARGUMENT, "%s: %s", args->source_name, words);
}

static bm_status arguments_create(bm_arguments **out, const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    bm_arguments *args = bm_alloc_zero(1, sizeof(*args));
    BM_FAIL_IF(!args, err, BM_E_MEMORY, "%s: out of memory", name);
    args->source_name = bm_string_copy(name);
    BM_FAIL_IF(!args->source_name, err, BM_E_MEMORY, "%s: out of memory", name);
    for (uint32_t i = 0; i < key_table_count; i++) {
        const key_row *row = &key_table[i];
        if (!row->fallback)
            continue;
        const key_value value = key_value_from_text(row->fallback);
        BM_TRY(key_store(args, row, row->name, &value, err));
    }
    *out = args;
    return BM_OK;
done:
    bm_arguments_destroy(&args);
    return status;
}

void bm_arguments_destroy(bm_arguments **args)
{
    if (!*args)
        return;
    for (uint32_t i = 0; i < key_table_count; i++)
        key_field_free(*args, &key_table[i]);
    for (uint32_t i = 0; i < (*args)->num_notes; i++)
        bm_free((*args)->notes[i].text);
    bm_free((*args)->notes);
    bm_free((*args)->source_name);
    bm_free(*args);
    *args = NULL;
}

// A key given under two names: fine with a note when both say the same.
static bm_status compare_spellings(bm_arguments *args, const key_row *row, const char *name, const key_value *value,
                                   bm_error *err)
{
    bm_arguments *other = NULL;
    bm_status status = arguments_create(&other, args->source_name, err);
    if (status == BM_OK)
        status = key_store(other, row, name, value, err);
    if (status == BM_OK && !key_field_equals(args, other, row))
        status = arguments_reject(args, err, "\"%s\": given under two names with different values", row->name);
    if (status == BM_OK)
        note_add(args, "\"%s\": given under two names with the same value", row->name);
    bm_arguments_destroy(&other);
    return status;
}

static bm_status apply_honoured(bm_arguments *args, uint32_t index, const char *name, const key_value *value,
                                bm_error *err)
{
    const key_row *row = &key_table[index];
    const uint8_t origin = value->from_command ? ORIGIN_OVERRIDE : ORIGIN_FILE;
    if (value->kind == BM_JSON_NULL && (row->flags & KEY_NULL_IS_ZERO)) {
        const double zero = 0;
        memcpy((char *)args + row->field, &zero, sizeof(zero));
        args->origin[index] = origin;
        return BM_OK;
    }
    if (value->kind == BM_JSON_NULL) {
        if (value->from_command)
            args->origin[index] = ORIGIN_UNSET;
        note_add(args, "\"%s\": null: taken as absent", name);
        return BM_OK;
    }
    if (origin == ORIGIN_FILE && args->origin[index] == ORIGIN_FILE)
        return compare_spellings(args, row, name, value, err);
    const bm_status status = key_store(args, row, name, value, err);
    if (status == BM_OK)
        args->origin[index] = origin;
    return status;
}

static bool is_one_device(const key_value *value)
{
    return key_value_is_off(value) || (value->kind == BM_JSON_NUMBER && value->number == 1) ||
           (value->kind == BM_JSON_STRING && strcmp(value->text, "1") == 0);
}

static bm_status apply_other(reader *read, const key_row *row, const char *name, const key_value *value, bm_error *err)
{
    bm_arguments *args = read->args;
    char text[96];
    switch (row->class_of) {
    case KEY_NOTE:
        note_add(args, "\"%s\": %s: %s", name, key_value_text(value, text, sizeof(text)), row->words);
        break;
    case KEY_PARALLEL:
        if (!is_one_device(value))
            note_add(args, "\"%s\": %s: %s", name, key_value_text(value, text, sizeof(text)), row->words);
        break;
    case KEY_REJECT:
        if (!key_value_is_off(value))
            return arguments_reject(args, err, "\"%s\": %s: %s", name, key_value_text(value, text, sizeof(text)),
                                    row->words);
        break;
    case KEY_TRAINING:
        if (read->training.length)
            bm_string_append(&read->training, ", ");
        bm_string_append(&read->training, name);
        break;
    case KEY_HONOUR:
        break;
    }
    return BM_OK;
}

static bm_status apply_key(reader *read, const char *name, const key_value *value, bm_error *err)
{
    bm_arguments *args = read->args;
    char shown[SHOWN_NAME_SIZE];
    const int32_t found = key_find(name, NULL);
    if (found < 0)
        return BM_OK; // apply_unknown
    const uint32_t index = (uint32_t)found;
    const key_row *row = &key_table[index];
    const bool is_replaced = args->origin[index] == ORIGIN_OVERRIDE || args->origin[index] == ORIGIN_UNSET;
    if (!value->from_command && is_replaced)
        return BM_OK;
    bm_printable(name, strlen(name), shown, sizeof(shown));
    if (row->class_of == KEY_HONOUR)
        return apply_honoured(args, index, shown, value, err);
    if (value->from_command && !strchr(row->name, '*'))
        args->origin[index] = ORIGIN_OVERRIDE;
    return apply_other(read, row, shown, value, err);
}

// Runs after all known keys, so that allow_unknown may stand anywhere in the file.
static bm_status apply_unknown(bm_arguments *args, const char *name, bm_error *err)
{
    char shown[SHOWN_NAME_SIZE];
    if (key_find(name, NULL) >= 0)
        return BM_OK;
    bm_printable(name, strlen(name), shown, sizeof(shown));
    const char *nearest = key_nearest(name);
    if (!args->allow_unknown && nearest)
        return arguments_reject(args, err, "\"%s\": unknown key; did you mean \"%s\"?", shown, nearest);
    if (!args->allow_unknown)
        return arguments_reject(args, err, "\"%s\": unknown key", shown);
    note_add(args, "\"%s\": unknown key, ignored%s%s%s", shown, nearest ? "; did you mean \"" : "",
             nearest ? nearest : "", nearest ? "\"?" : "");
    return BM_OK;
}

// Splits KEY=VALUE. *key is the caller's to free; *value points into text.
static bm_status split_override(const bm_arguments *args, const char *text, char **key, const char **value,
                                bm_error *err)
{
    const char *equals = strchr(text, '=');
    char shown[SHOWN_NAME_SIZE];
    if (!bm_utf8_is_valid(text, strlen(text)))
        return arguments_reject(args, err, "--set: a text that is not UTF-8");
    if (!equals || equals == text)
        return arguments_reject(args, err, "--set %s: expected KEY=VALUE",
                                bm_printable(text, strlen(text), shown, sizeof(shown)));
    *key = bm_format("%.*s", (int)(equals - text), text);
    *value = equals + 1;
    return *key ? BM_OK : bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
}

static bm_status apply_override(reader *read, const char *text, bool known_pass, bm_error *err)
{
    char *key = NULL;
    const char *value_text = NULL;
    bm_status status = split_override(read->args, text, &key, &value_text, err);
    if (status == BM_OK && key && known_pass) {
        const key_value value = key_value_from_text(value_text);
        status = apply_key(read, key, &value, err);
    } else if (status == BM_OK && key) {
        status = apply_unknown(read->args, key, err);
    }
    if (status != BM_OK && status != BM_E_MEMORY)
        bm_error_prefix(err, "--set");
    bm_free(key);
    return status;
}

static bm_status check_strict(const bm_arguments *args, bm_error *err)
{
    if (args->out_of_memory)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    for (uint32_t i = 0; args->strict && i < args->num_notes; i++)
        if (!args->notes[i].is_choice)
            return arguments_reject(args, err, STRICT_WORDS "%s", args->notes[i].text);
    return BM_OK;
}

static bm_status check_and_resolve(bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(arguments_check_jobs(args, err));
    BM_TRY(arguments_resolve_type(args, err));
    BM_TRY(arguments_check_methods(args, err));
    BM_TRY(arguments_resolve_run(args, err));
    arguments_resolve_method(args);
    BM_TRY(check_strict(args, err));
done:
    return status;
}

static bm_status read_members(reader *read, const bm_json *root, const char *const *overrides, uint32_t num_overrides,
                              bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < num_overrides; i++)
        BM_TRY(apply_override(read, overrides[i], true, err));
    for (const bm_json *member = bm_json_first(root); member; member = bm_json_next(member)) {
        const key_value value = key_value_from_json(member);
        BM_TRY(apply_key(read, bm_json_key(member), &value, err));
    }
    for (uint32_t i = 0; i < num_overrides; i++)
        BM_TRY(apply_override(read, overrides[i], false, err));
    for (const bm_json *member = bm_json_first(root); member; member = bm_json_next(member))
        BM_TRY(apply_unknown(read->args, bm_json_key(member), err));
    if (read->training.length)
        note_add(read->args, "training keys have no effect here: %s", bm_string_text(&read->training));
    BM_FAIL_IF(read->training.failed, err, BM_E_MEMORY, "%s: out of memory", read->args->source_name);
done:
    return status;
}

bm_status bm_arguments_read_text(bm_arguments **out, const char *text, size_t length, const char *name,
                                 const char *const *overrides, uint32_t num_overrides, bm_error *err)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    bm_status status = BM_OK;
    bm_json *root = NULL;
    reader read = {NULL, BM_STRING_INIT};
    BM_TRY(arguments_create(&read.args, name, err));
    BM_TRY(bm_json_parse(&root, text, length, name, err));
    BM_FAIL_IF(bm_json_kind_of(root) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: expected one JSON object, found %s",
               name, bm_json_kind_name(bm_json_kind_of(root)));
    if (length >= 3 && memcmp(text, byte_order_mark, 3) == 0)
        note_add(read.args, "the file begins with a byte order mark");
    BM_TRY(read_members(&read, root, overrides, num_overrides, err));
    BM_TRY(check_and_resolve(read.args, err));
    *out = read.args;
    read.args = NULL;
done:
    bm_json_destroy(&root);
    bm_string_free(&read.training);
    bm_arguments_destroy(&read.args);
    return status;
}

bm_status bm_arguments_read_file(bm_arguments **out, const char *path, const char *const *overrides,
                                 uint32_t num_overrides, bm_error *err)
{
    bm_status status = BM_OK;
    char *text = NULL;
    uint64_t size = 0;
    BM_TRY(bm_file_read_all(path, MAX_FILE_BYTES, &text, &size, err));
    BM_FAIL_IF(strspn(text, " \t\r\n") == size, err, BM_E_FORMAT, "%s: is empty", path);
    BM_TRY(bm_arguments_read_text(out, text, (size_t)size, path, overrides, num_overrides, err));
done:
    bm_free(text);
    return status;
}
