// Reading: defaults, then the file's members and the command line's overrides, then the checks. A value that a later one
// replaces is never judged.
#include "arguments/keys.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE_BYTES (1u << 20)

// One key and its value, of the file or of the command line.
typedef struct setting {
    const char *name;
    char *owned, *unquoted; // name, and text of the value, where they are copies
    key_value value;
    const key_row *row; // NULL: a key that fills no field
} setting;

typedef struct reader {
    bm_arguments *args;
    const bm_arguments_options *options;
    setting *settings; // the file's, then the command line's
    uint32_t num_settings, num_of_file;
    bm_string *named; // [key_groups_count] names of the keys that were given
} reader;

const char *bm_arguments_source_of(const bm_arguments *args, const char *key)
{
    const key_row *row = key_find(key);
    const uint8_t origin = row ? args->origin[row - key_table] : ORIGIN_DEFAULT;
    if (origin == ORIGIN_OPTION)
        return row->field == offsetof(bm_arguments, device) ? "--device" : "--output";
    return origin == ORIGIN_COMMAND ? "--set" : args->source_name;
}

// The first key of the command line that stands in quotes in words, or NULL; *is_of_file: one of the file does so too.
static const key_row *find_named(const bm_arguments *args, const char *words, bool *is_of_file)
{
    const key_row *of_command = NULL;
    char name[KEY_SHOWN_SIZE];
    *is_of_file = false;
    for (const char *quote = strchr(words, '"'); quote; quote = strchr(quote, '"')) {
        const size_t length = strcspn(++quote, "\"");
        if (length >= sizeof name || quote[length] == '\0')
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length, quote);
        const key_row *row = key_find(name);
        const uint8_t origin = row ? args->origin[row - key_table] : ORIGIN_DEFAULT;
        *is_of_file = *is_of_file || origin == ORIGIN_FILE;
        if (!of_command && origin > ORIGIN_FILE)
            of_command = row;
    }
    return of_command;
}

// Whoever typed a value looks for it on the command line, not in the file that it replaced.
bm_status bm_arguments_reject(const bm_arguments *args, bm_error *err, const char *format, ...)
{
    char words[BM_ERROR_MESSAGE_SIZE];
    bool is_of_file;
    va_list values;
    va_start(values, format);
    vsnprintf(words, sizeof words, format, values);
    va_end(values);
    const key_row *row = find_named(args, words, &is_of_file);
    const char *source = row ? bm_arguments_source_of(args, row->name) : args->source_name;
    if (!row || !is_of_file)
        return bm_fail(err, BM_E_ARGUMENT, "%s: %s", source, words);
    return bm_fail(err, BM_E_ARGUMENT, "%s with %s%s%s: %s", args->source_name, source,
                   strcmp(source, "--set") == 0 ? " " : "", strcmp(source, "--set") == 0 ? row->name : "", words);
}

static bm_status out_of_memory(const char *name, bm_error *err)
{
    return bm_fail(err, BM_E_MEMORY, "%s: out of memory", name);
}

bool bm_arguments_is_given(const bm_arguments *args, const char *key)
{
    const key_row *row = key_find(key);
    assert(row);
    return args->origin[row - key_table] != ORIGIN_DEFAULT;
}

static bm_status create_with_defaults(bm_arguments **out, const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    bm_arguments *args = bm_alloc_zero(1, sizeof *args);
    *out = args;
    if (!args || !(args->source_name = bm_string_copy(name)))
        return out_of_memory(name, err);
    for (const key_row *row = key_table; row < key_table + key_table_count && status == BM_OK; row++)
        if (row->fallback) {
            const key_value value = key_value_of_text(row->fallback);
            status = key_store(args, row, row->name, &value, NULL, err);
        }
    return status;
}

void bm_arguments_destroy(bm_arguments **args)
{
    if (!*args)
        return;
    for (const key_row *row = key_table; row < key_table + key_table_count; row++)
        key_field_free(*args, row);
    bm_notes_free(&(*args)->notes);
    bm_free((*args)->source_name);
    bm_free(*args);
    *args = NULL;
}

// A text in the quotes of JSON, as it would stand in a file, is meant without them. *out stays NULL for any other.
static bm_status unquote(const char *text, char **out, bm_error *err)
{
    bm_json *json = NULL;
    bm_status status = text[0] == '"' ? bm_json_parse(&json, text, strlen(text), "--set", err) : BM_OK;
    if (json && bm_json_kind_of(json) == BM_JSON_STRING && !(*out = bm_string_copy(bm_json_string(json))))
        status = bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_json_destroy(&json);
    return status == BM_E_MEMORY ? status : BM_OK;
}

// KEY=VALUE of the command line. The value points into text, or is a copy.
static bm_status split_override(const bm_arguments *args, const char *text, setting *out, bm_error *err)
{
    const char *equals = strchr(text, '=');
    char shown[KEY_SHOWN_SIZE];
    if (!bm_utf8_is_valid(text, strlen(text)))
        return bm_fail(err, BM_E_ARGUMENT, "--set %s: is not valid UTF-8",
                       bm_printable(text, strlen(text), shown, sizeof shown));
    if (!equals || equals == text)
        return bm_fail(err, BM_E_ARGUMENT, "--set %s: expected KEY=VALUE",
                       bm_printable(text, strlen(text), shown, sizeof shown));
    out->name = out->owned = bm_format("%.*s", (int)(equals - text), text);
    if (!out->owned)
        return out_of_memory(args->source_name, err);
    const bm_status status = unquote(equals + 1, &out->unquoted, err);
    out->value = key_value_of_text(out->unquoted ? out->unquoted : equals + 1);
    out->row = key_find(out->name);
    return status;
}

static bm_status collect_settings(reader *r, const bm_json *root, bm_error *err)
{
    const bm_arguments_options *o = r->options;
    bm_status status = BM_OK;
    r->settings = bm_alloc_zero((uint64_t)bm_json_count(root) + o->num_overrides, sizeof *r->settings);
    if (!r->settings)
        return out_of_memory(r->args->source_name, err);
    for (const bm_json *member = bm_json_first(root); member; member = bm_json_next(member)) {
        const char *name = bm_json_key(member);
        r->settings[r->num_settings++] =
            (setting){.name = name, .value = key_value_of_json(member), .row = key_find(name)};
    }
    r->num_of_file = r->num_settings;
    for (uint32_t i = 0; i < o->num_overrides && status == BM_OK; i++) {
        status = split_override(r->args, o->overrides[i], &r->settings[r->num_settings], err);
        r->num_settings++;
    }
    return status;
}

static bool is_replaced(const reader *r, const setting *s)
{
    const bool is_device = s->row && s->row->field == offsetof(bm_arguments, device);
    const bool is_output = s->row && s->row->field == offsetof(bm_arguments, output_dir);
    for (const setting *later = r->settings + r->num_of_file; later < r->settings + r->num_settings; later++)
        if (later > s && (s->row ? later->row == s->row : strcmp(later->name, s->name) == 0))
            return true;
    return (is_device && r->options->device) || (is_output && r->options->output);
}

// A key that the file gives under both of its names: fine with a note when both say the same.
static bm_status compare_with_earlier(const reader *r, const setting *s, bm_error *err)
{
    bm_arguments *args = r->args;
    const setting *earlier = r->settings;
    bm_string one = BM_STRING_INIT, other = BM_STRING_INIT;
    while (earlier->row != s->row)
        earlier++;
    key_value_print(&earlier->value, &one);
    key_value_print(&s->value, &other);
    const bool is_same = strcmp(bm_string_text(&one), bm_string_text(&other)) == 0;
    bm_string_free(&one);
    bm_string_free(&other);
    REJECT_IF(!is_same, "\"%s\": given under two names with different values", s->row->name);
    bm_notes_add(&args->notes, "\"%s\": given under two names with the same value", s->row->name);
    return BM_OK;
}

static bm_status apply_to_field(const reader *r, const setting *s, const char *shown, bm_error *err)
{
    uint8_t *origin = &r->args->origin[s->row - key_table];
    if (s->value.kind == BM_JSON_NULL && !(s->row->flags & KEY_NULL_IS_ZERO)) {
        bm_notes_add(&r->args->notes, "\"%s\": null: taken as absent", shown);
        return BM_OK;
    }
    if (s->value.json && *origin == ORIGIN_FILE)
        return compare_with_earlier(r, s, err);
    *origin = s->value.json ? ORIGIN_FILE : ORIGIN_COMMAND;
    return key_store(r->args, s->row, shown, &s->value, key_built(r->options, s->row->name), err);
}

static bool is_one_device(const key_value *value)
{
    char text[KEY_SHOWN_SIZE];
    key_value_show(value, text, sizeof text);
    return key_value_is_off(value) || strcmp(text, "1") == 0 || strcmp(text, "\"1\"") == 0;
}

// Of a key that fills no field: where it stands is not remembered.
static const char *source_of(const reader *r, const setting *s)
{
    return s->value.json ? r->args->source_name : "--set";
}

static bm_status apply_to_group(const reader *r, const key_group *group, const setting *s, const char *shown,
                                bm_error *err)
{
    bm_string *named = &r->named[group - key_groups];
    char value[KEY_SHOWN_SIZE];
    if (group->reaction == KEY_REFUSED && !key_value_is_off(&s->value))
        return bm_fail(err, BM_E_ARGUMENT, "%s: \"%s\": %s: %s", source_of(r, s), shown,
                       key_value_show(&s->value, value, sizeof value), group->words);
    if (group->reaction == KEY_NO_EFFECT || (group->reaction == KEY_ONE_DEVICE && !is_one_device(&s->value)))
        bm_string_append_format(named, named->length ? ", \"%s\"" : "\"%s\"", shown);
    return BM_OK;
}

static bm_status apply_unknown(const reader *r, const setting *s, const char *shown, bm_error *err)
{
    bm_arguments *args = r->args;
    char nearest[KEY_SHOWN_SIZE], hint[2 * KEY_SHOWN_SIZE] = "";
    if (key_nearest(s->name, nearest, sizeof nearest))
        snprintf(hint, sizeof hint, "; did you mean \"%s\"?", nearest);
    if (!args->allow_unknown)
        return bm_fail(err, BM_E_ARGUMENT, "%s: \"%s\": unknown key%s", source_of(r, s), shown, hint);
    bm_notes_add(&args->notes, "\"%s\": unknown key, ignored%s", shown, hint);
    return BM_OK;
}

// Unknown keys come in a second pass: allow_unknown may stand anywhere.
static bm_status apply_settings(const reader *r, bool unknown, bm_error *err)
{
    bm_status status = BM_OK;
    for (const setting *s = r->settings; s < r->settings + r->num_settings && status == BM_OK; s++) {
        const key_group *group = s->row ? NULL : key_find_group(s->name);
        char shown[KEY_SHOWN_SIZE];
        bm_printable(s->name, strlen(s->name), shown, sizeof shown);
        if (unknown != (!s->row && !group) || is_replaced(r, s))
            continue;
        status = s->row  ? apply_to_field(r, s, shown, err)
                 : group ? apply_to_group(r, group, s, shown, err)
                         : apply_unknown(r, s, shown, err);
    }
    return status;
}

static void note_groups(const reader *r)
{
    for (uint32_t i = 0; i < key_groups_count; i++) {
        if (r->named[i].length)
            bm_notes_add(&r->args->notes, "%s: %s", bm_string_text(&r->named[i]), key_groups[i].words);
        r->args->notes.failed = r->args->notes.failed || r->named[i].failed;
    }
}

static bm_status check_and_resolve(const reader *r, bm_error *err)
{
    bm_arguments *args = r->args;
    bm_status status = BM_OK;
    if (r->options->output) {
        char shown[KEY_SHOWN_SIZE];
        const size_t length = strlen(r->options->output);
        BM_FAIL_IF(!bm_utf8_is_valid(r->options->output, length), err, BM_E_ARGUMENT,
                   "--output \"%s\": is not valid UTF-8",
                   bm_printable(r->options->output, length, shown, sizeof shown));
        const key_row *row = key_find("output_dir");
        const key_value value = key_value_of_text(r->options->output);
        args->origin[row - key_table] = ORIGIN_OPTION;
        BM_TRY(key_store(args, row, row->name, &value, NULL, err));
    }
    BM_TRY(arguments_check_jobs(args, err));
    BM_TRY(arguments_resolve_type(args, err));
    BM_TRY(arguments_check_methods(args, err));
    BM_TRY(arguments_resolve_run(args, err));
    arguments_resolve_method(args);
    if (r->options->device) {
        bm_free(args->device);
        args->device = bm_string_copy(r->options->device);
        args->origin[key_find("device") - key_table] = ORIGIN_OPTION;
        args->notes.failed = args->notes.failed || !args->device;
    }
    BM_TRY(bm_arguments_check_notes(args, &args->notes, err));
done:
    return status;
}

static void free_settings(reader *r)
{
    for (uint32_t i = 0; i < r->num_settings; i++) {
        bm_free(r->settings[i].owned);
        bm_free(r->settings[i].unquoted);
    }
    bm_free(r->settings);
    for (uint32_t i = 0; r->named && i < key_groups_count; i++)
        bm_string_free(&r->named[i]);
    bm_free(r->named);
}

bm_status bm_arguments_read_text(bm_arguments **out, const char *text, size_t length, const char *name,
                                 const bm_arguments_options *options, bm_error *err)
{
    static const bm_arguments_options none = {0};
    bm_status status = BM_OK;
    bm_json *root = NULL;
    reader r = {.options = options ? options : &none};
    BM_TRY(create_with_defaults(&r.args, name, err));
    BM_TRY(bm_json_parse(&root, text, length, name, err));
    BM_FAIL_IF(bm_json_kind_of(root) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: expected one JSON object, found %s",
               name, bm_json_kind_name(bm_json_kind_of(root)));
    BM_FAIL_IF(bm_json_find(root, "model_type") && !bm_json_find(root, "model_name_or_path"), err, BM_E_ARGUMENT,
               "%s: is the configuration of a model, not a parameter file; give its folder", name);
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        bm_notes_add(&r.args->notes, "the file begins with a byte order mark");
    r.named = bm_alloc_zero(key_groups_count, sizeof *r.named);
    BM_FAIL_IF(!r.named, err, BM_E_MEMORY, "%s: out of memory", name);
    BM_TRY(collect_settings(&r, root, err));
    BM_TRY(apply_settings(&r, false, err));
    BM_TRY(apply_settings(&r, true, err));
    note_groups(&r);
    BM_TRY(check_and_resolve(&r, err));
    *out = r.args;
    r.args = NULL;
done:
    free_settings(&r);
    bm_json_destroy(&root);
    bm_arguments_destroy(&r.args);
    return status;
}

bm_status bm_arguments_read_file(bm_arguments **out, const char *path, const bm_arguments_options *options,
                                 bm_error *err)
{
    bm_status status = BM_OK;
    char *text = NULL;
    uint64_t size = 0;
    BM_TRY(bm_file_read_all(path, MAX_FILE_BYTES, &text, &size, err));
    BM_TRY(bm_arguments_read_text(out, text, (size_t)size, path, options, err));
done:
    bm_free(text);
    return status;
}
