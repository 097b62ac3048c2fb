// Reading examples: JSON lines, or one JSON array, with "src" and "tgt", with "text", or with "input_ids".
//
// A file is read line by line; a line has a size cap, and so has everything together. Errors name file and line.
//
// Source    parameters.md 5.1, 5.2.
#include "text/dataset_internal.h"

#include <string.h>

#define CHUNK_BYTES (1u << 20)

typedef struct reader {
    dataset_examples *examples;
    const char *path;
    const bm_log *log;
    bm_error *err;
    uint64_t line;        // counted from 1
    const char *unit;     // "line" or "element"
    uint64_t number;      // of these, from 1
    const char *where;    // file and line, or file and element of an array, for errors
    bool has_noted_lists; // once a file
    bool has_noted_beside;
} reader;

// A string, or the first element of a list of strings.
static bm_status read_field(reader *in, const bm_json *object, const char *key, const char **out)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = bm_json_find(object, key), *first = value, *wrong = NULL;
    const bool is_list = value && bm_json_kind_of(value) == BM_JSON_ARRAY;
    if (!value)
        return bm_fail(in->err, BM_E_FORMAT,
                       "%s: key \"%s\" is missing; expected \"src\" and \"tgt\", or \"text\", "
                       "or \"input_ids\"",
                       in->where, key);
    if (is_list)
        first = bm_json_first(value);
    for (const bm_json *item = first; item && !wrong; item = is_list ? bm_json_next(item) : NULL)
        if (bm_json_kind_of(item) != BM_JSON_STRING)
            wrong = item;
    if (wrong || !first)
        return bm_fail(in->err, BM_E_FORMAT, "%s: key \"%s\": expected a string or a list of strings, found %s%s",
                       in->where, key, wrong ? bm_json_found(wrong, found, sizeof found) : "nothing",
                       is_list ? " in a list" : "");
    if (is_list && bm_json_next(first) && !in->examples->has_turns && !in->has_noted_lists) {
        in->has_noted_lists = true;
        bm_log_write(
            in->log, BM_LOG_INFO,
            "note: %s: key \"%s\" is a list; without a chat template its first element alone counts (said once for "
            "this file)",
            in->where, key);
    }
    *out = bm_json_string(first);
    return BM_OK;
}

// A place for one more; false: no memory.
static bool reserve_example(dataset_examples *examples)
{
    if (examples->count < examples->capacity)
        return true;
    const size_t capacity = examples->capacity * 2 + 64;
    dataset_example *items = bm_resize(examples->items, capacity, sizeof *items);
    if (!items)
        return false;
    examples->items = items;
    examples->capacity = capacity;
    return true;
}

static bool append_example(dataset_examples *examples, const char *src, const char *tgt)
{
    if (!reserve_example(examples))
        return false;
    dataset_example example = {.src = examples->storage.length, .src_length = strlen(src), .tgt_length = strlen(tgt)};
    bm_string_append_bytes(&examples->storage, src, example.src_length);
    example.tgt = examples->storage.length;
    examples->items[examples->count++] = example;
    return bm_string_append_bytes(&examples->storage, tgt, example.tgt_length);
}

// The next of a string's or list's items; NULL: none.
static const bm_json *next_item(const bm_json *value, const bm_json *item)
{
    return bm_json_kind_of(value) == BM_JSON_ARRAY ? bm_json_next(item) : NULL;
}

static bool append_text(dataset_examples *examples, const bm_json *item, size_t *place)
{
    *place = examples->storage.length;
    return bm_string_append_bytes(&examples->storage, bm_json_string(item), strlen(bm_json_string(item)) + 1);
}

static bool append_turn(dataset_examples *examples, const bm_json *src, const bm_json *tgt)
{
    if (examples->num_turns == examples->turn_capacity) {
        const size_t capacity = examples->turn_capacity * 2 + 64;
        dataset_turn *turns = bm_resize(examples->turns, capacity, sizeof *turns);
        if (!turns)
            return false;
        examples->turns = turns;
        examples->turn_capacity = capacity;
    }
    dataset_turn *turn = &examples->turns[examples->num_turns++];
    return append_text(examples, src, &turn->src) && append_text(examples, tgt, &turn->tgt);
}

// src and tgt as the turns of a conversation; both were looked at.
static bm_status add_turns(reader *in, const bm_json *object)
{
    dataset_examples *examples = in->examples;
    const bm_json *src = bm_json_find(object, "src"), *tgt = bm_json_find(object, "tgt");
    const bm_json *user = bm_json_kind_of(src) == BM_JSON_ARRAY ? bm_json_first(src) : src;
    const bm_json *bot = bm_json_kind_of(tgt) == BM_JSON_ARRAY ? bm_json_first(tgt) : tgt;
    const size_t first = examples->num_turns;
    bool fits = reserve_example(examples);
    for (; user && bot && fits; user = next_item(src, user), bot = next_item(tgt, bot))
        fits = append_turn(examples, user, bot);
    if (!fits)
        return bm_fail(in->err, BM_E_MEMORY, "%s: out of memory for the examples", in->path);
    if (user || bot)
        return bm_fail(in->err, BM_E_FORMAT,
                       "%s: keys \"src\" and \"tgt\": lists of different lengths; with a chat template each text of "
                       "\"src\" has its answer in \"tgt\"",
                       in->where);
    examples->items[examples->count++] = (dataset_example){.src = first, .src_length = examples->num_turns - first};
    return BM_OK;
}

// Data sets hold what the ids were made of, and labels, beside them.
static void note_keys_beside_ids(reader *in, const bm_json *object)
{
    static const char *const keys[] = {"labels", "src", "tgt", "text"};
    for (size_t i = 0; i < BM_COUNT(keys) && !in->has_noted_beside; i++)
        if (bm_json_find(object, keys[i])) {
            in->has_noted_beside = true;
            bm_log_write(in->log, BM_LOG_INFO,
                         "note: %s: key \"%s\" beside \"input_ids\" is not read (said once for this file)", in->path,
                         keys[i]);
        }
}

static bm_status add_ids(reader *in, const bm_json *object)
{
    dataset_examples *examples = in->examples;
    const size_t start = examples->ids.count;
    const bm_status status = dataset_read_ids(object, in->where, &examples->ids, in->err);
    if (status != BM_OK)
        return status;
    if (!reserve_example(examples))
        return bm_fail(in->err, BM_E_MEMORY, "%s: out of memory for the examples", in->path);
    examples->items[examples->count++] = (dataset_example){.src = start, .src_length = examples->ids.count - start};
    note_keys_beside_ids(in, object);
    return BM_OK;
}

static bm_status add_strings(reader *in, const bm_json *object, bool is_text)
{
    const char *src = "", *tgt = "";
    bm_status status = read_field(in, object, is_text ? "text" : "src", &src);
    if (status == BM_OK && !is_text)
        status = read_field(in, object, "tgt", &tgt);
    if (status == BM_OK && !is_text && in->examples->has_turns)
        return add_turns(in, object);
    if (status == BM_OK && !append_example(in->examples, src, tgt))
        return bm_fail(in->err, BM_E_MEMORY, "%s: out of memory for the examples", in->path);
    return status;
}

static dataset_kind kind_of(const bm_json *object)
{
    if (bm_json_find(object, "input_ids"))
        return DATASET_KIND_IDS;
    return bm_json_find(object, "text") && !bm_json_find(object, "src") && !bm_json_find(object, "tgt")
               ? DATASET_KIND_TEXT
               : DATASET_KIND_PAIRS;
}

static bm_status add_object(reader *in, const bm_json *object)
{
    static const char *const keys[] = {"", "\"src\" and \"tgt\"", "\"text\"", "\"input_ids\""};
    dataset_examples *examples = in->examples;
    if (bm_json_kind_of(object) != BM_JSON_OBJECT)
        return bm_fail(in->err, BM_E_FORMAT, "%s: expected an object, found %s", in->where,
                       bm_json_kind_name(bm_json_kind_of(object)));
    const dataset_kind kind = kind_of(object);
    const bm_status status =
        kind == DATASET_KIND_IDS ? add_ids(in, object) : add_strings(in, object, kind == DATASET_KIND_TEXT);
    if (status != BM_OK)
        return status;
    if (examples->kind != DATASET_KIND_NONE && examples->kind != kind)
        return bm_fail(in->err, BM_E_FORMAT, "%s: lines with %s and lines with %s are mixed", in->where, keys[kind],
                       keys[examples->kind]);
    examples->kind = kind;
    dataset_example *added = &examples->items[examples->count - 1];
    added->path = in->path;
    added->unit = in->unit;
    added->number = in->number;
    if (examples->storage.length > DATASET_MAX_FILE_BYTES ||
        examples->ids.count > DATASET_MAX_FILE_BYTES / sizeof *examples->ids.ids)
        return bm_fail(in->err, BM_E_FORMAT, "%s: more than 1 GiB of examples; use a part of the data", in->where);
    return BM_OK;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n')
            return false;
    return true;
}

static bm_status add_line(reader *in, const char *text, size_t length)
{
    in->line++;
    if (is_blank(text, length))
        return BM_OK;
    bm_status status = BM_OK;
    bm_json *root = NULL;
    char *where = bm_format("%s: line %llu", in->path, (unsigned long long)in->line);
    BM_FAIL_IF(!where, in->err, BM_E_MEMORY, "%s: out of memory", in->path);
    in->where = where;
    in->unit = "line";
    in->number = in->line;
    BM_TRY(bm_json_parse(&root, text, length, where, in->err));
    BM_TRY(add_object(in, root));
done:
    bm_json_destroy(&root);
    bm_free(where);
    in->where = NULL;
    return status;
}

static bm_status add_element(void *user, const bm_json *element, uint64_t index, bm_error *err)
{
    reader *in = user;
    char *where = bm_format("%s: element %llu", in->path, (unsigned long long)index + 1);
    if (!where)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", in->path);
    in->where = where;
    in->unit = "element";
    in->number = index + 1;
    const bm_status status = add_object(in, element);
    in->where = NULL;
    bm_free(where);
    return status;
}

static bm_status add_array(reader *in)
{
    char *text = NULL;
    uint64_t size = 0;
    bm_log_write(in->log, BM_LOG_INFO, "note: %s: one JSON array, read as one example an element", in->path);
    bm_status status = bm_file_read_all(in->path, DATASET_MAX_FILE_BYTES, &text, &size, in->err);
    if (status == BM_OK)
        status = bm_json_visit(text, (size_t)size, in->path, add_element, in, in->err);
    bm_free(text);
    return status;
}

// Takes the whole lines out of pending, which holds what was read and not used yet; keeps the rest.
static bm_status use_lines(reader *in, bm_string *pending, size_t *scanned)
{
    size_t start = 0;
    for (;;) {
        const char *newline = memchr(pending->data + *scanned, '\n', pending->length - *scanned);
        if (!newline)
            break;
        const size_t end = (size_t)(newline - pending->data);
        const bm_status status = add_line(in, pending->data + start, end - start);
        if (status != BM_OK)
            return status;
        start = *scanned = end + 1;
    }
    memmove(pending->data, pending->data + start, pending->length - start);
    pending->length -= start;
    *scanned = pending->length;
    if (pending->length > DATASET_MAX_LINE_BYTES)
        return bm_fail(in->err, BM_E_FORMAT, "%s: line %llu: more than %u bytes", in->path,
                       (unsigned long long)in->line + 1, DATASET_MAX_LINE_BYTES);
    return BM_OK;
}

static bool begins_with_bracket(const char *text, size_t length)
{
    size_t i = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (i < length && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n'))
        i++;
    return i < length && text[i] == '[';
}

bm_status dataset_examples_read(dataset_examples *examples, const char *path, const bm_log *log, bm_error *err)
{
    bm_status status = BM_OK;
    bm_file *file = NULL;
    bm_string pending = BM_STRING_INIT;
    reader in = {.examples = examples, .path = path, .log = log, .err = err};
    char *chunk = bm_alloc(CHUNK_BYTES, 1);
    BM_FAIL_IF(!chunk, err, BM_E_MEMORY, "%s: out of memory", path);
    BM_TRY(bm_file_open(&file, path, err));
    const uint64_t size = bm_file_size(file);
    size_t scanned = 0; // bytes of pending known to hold no newline
    for (uint64_t offset = 0; offset < size; offset += CHUNK_BYTES) {
        const size_t part = (size_t)bm_min_u64(CHUNK_BYTES, size - offset);
        BM_TRY(bm_file_read_at(file, offset, chunk, part, err));
        if (offset == 0 && begins_with_bracket(chunk, part)) {
            status = add_array(&in);
            goto done;
        }
        BM_FAIL_IF(!bm_string_append_bytes(&pending, chunk, part), err, BM_E_MEMORY, "%s: out of memory", path);
        BM_TRY(use_lines(&in, &pending, &scanned));
    }
    if (pending.length > 0)
        BM_TRY(add_line(&in, pending.data, pending.length));
done:
    bm_free(chunk);
    bm_string_free(&pending);
    bm_file_close(&file);
    return status;
}

void dataset_examples_free(dataset_examples *examples)
{
    bm_string_free(&examples->storage);
    bm_token_list_free(&examples->ids);
    bm_free(examples->turns);
    bm_free(examples->items);
    *examples = (dataset_examples){0};
}
