// Reading examples: JSON lines, or one JSON array, with "src" and "tgt", or with "text".
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
    uint64_t line;        // counted from 1; in an array: of the element
    const char *unit;     // "line" or "element"
    bool has_noted_lists; // once a file
} reader;

// A string, or the first element of a list of strings.
static bm_status read_field(reader *in, const bm_json *object, const char *key, const char **out)
{
    const bm_json *value = bm_json_find(object, key);
    if (!value)
        return bm_fail(in->err, BM_E_FORMAT, "%s: %s %llu: key \"%s\" is missing", in->path, in->unit,
                       (unsigned long long)in->line, key);
    if (bm_json_kind_of(value) == BM_JSON_ARRAY) {
        const bm_json *first = bm_json_first(value);
        for (const bm_json *item = first; item; item = bm_json_next(item))
            if (bm_json_kind_of(item) != BM_JSON_STRING)
                first = NULL;
        if (!first)
            return bm_fail(in->err, BM_E_FORMAT, "%s: %s %llu: key \"%s\": expected a string or a list of strings",
                           in->path, in->unit, (unsigned long long)in->line, key);
        if (bm_json_next(first) && !in->has_noted_lists) {
            in->has_noted_lists = true;
            bm_log_write(in->log, BM_LOG_INFO,
                         "%s: %s %llu: key \"%s\" is a list; without a chat template its first element alone counts "
                         "(said once for this file)",
                         in->path, in->unit, (unsigned long long)in->line, key);
        }
        value = first;
    }
    if (bm_json_kind_of(value) != BM_JSON_STRING)
        return bm_fail(in->err, BM_E_FORMAT,
                       "%s: %s %llu: key \"%s\": expected a string or a list of strings, found %s", in->path, in->unit,
                       (unsigned long long)in->line, key, bm_json_kind_name(bm_json_kind_of(value)));
    *out = bm_json_string(value);
    return BM_OK;
}

static bool append_example(dataset_examples *examples, const char *src, const char *tgt)
{
    if (examples->count == examples->capacity) {
        const size_t capacity = examples->capacity * 2 + 64;
        dataset_example *items = bm_resize(examples->items, capacity, sizeof *items);
        if (!items)
            return false;
        examples->items = items;
        examples->capacity = capacity;
    }
    dataset_example example = {examples->storage.length, strlen(src), 0, strlen(tgt)};
    bm_string_append_bytes(&examples->storage, src, example.src_length);
    example.tgt = examples->storage.length;
    examples->items[examples->count++] = example;
    return bm_string_append_bytes(&examples->storage, tgt, example.tgt_length);
}

static bm_status add_object(reader *in, const bm_json *object)
{
    if (bm_json_kind_of(object) != BM_JSON_OBJECT)
        return bm_fail(in->err, BM_E_FORMAT, "%s: %s %llu: expected an object, found %s", in->path, in->unit,
                       (unsigned long long)in->line, bm_json_kind_name(bm_json_kind_of(object)));
    const char *src = "", *tgt = "";
    const bool is_text = bm_json_find(object, "text") && !bm_json_find(object, "src") && !bm_json_find(object, "tgt");
    bm_status status = read_field(in, object, is_text ? "text" : "src", &src);
    if (status == BM_OK && !is_text)
        status = read_field(in, object, "tgt", &tgt);
    if (status != BM_OK)
        return status;
    const dataset_kind kind = is_text ? DATASET_KIND_TEXT : DATASET_KIND_PAIRS;
    if (in->examples->kind != DATASET_KIND_NONE && in->examples->kind != kind)
        return bm_fail(in->err, BM_E_FORMAT,
                       "%s: %s %llu: lines with \"text\" and lines with \"src\" and \"tgt\" are mixed", in->path,
                       in->unit, (unsigned long long)in->line);
    in->examples->kind = kind;
    if (!append_example(in->examples, src, tgt))
        return bm_fail(in->err, BM_E_MEMORY, "%s: out of memory for the examples", in->path);
    if (in->examples->storage.length > DATASET_MAX_FILE_BYTES)
        return bm_fail(in->err, BM_E_FORMAT, "%s: %s %llu: more than 1 GiB of examples; use a part of the data",
                       in->path, in->unit, (unsigned long long)in->line);
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
    bm_json *root = NULL;
    bm_error inner = {BM_OK, ""};
    bm_status status = bm_json_parse(&root, text, length, in->path, &inner);
    if (status != BM_OK) {
        // The parser counts lines from this one: replace its place by ours.
        const size_t path_length = strlen(in->path);
        const char *words = strstr(inner.message, ": line 1: ");
        if (words)
            words += strlen(": line 1: ");
        else // some words are about the whole text and have no line
            words =
                strncmp(inner.message, in->path, path_length) == 0 && strncmp(inner.message + path_length, ": ", 2) == 0
                    ? inner.message + path_length + 2
                    : inner.message;
        status = bm_fail(in->err, status, "%s: line %llu: %s", in->path, (unsigned long long)in->line, words);
    } else {
        status = add_object(in, root);
    }
    bm_json_destroy(&root);
    return status;
}

static bm_status add_array(reader *in)
{
    bm_json *root = NULL;
    bm_log_write(in->log, BM_LOG_INFO, "%s: one JSON array, read as one example an element", in->path);
    in->unit = "element";
    bm_status status = bm_json_read_file(&root, in->path, DATASET_MAX_FILE_BYTES, in->err);
    for (const bm_json *item = status == BM_OK ? bm_json_first(root) : NULL; item && status == BM_OK;
         item = bm_json_next(item)) {
        in->line++;
        status = add_object(in, item);
    }
    bm_json_destroy(&root);
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
    reader in = {.examples = examples, .path = path, .log = log, .err = err, .unit = "line"};
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
    bm_free(examples->items);
    *examples = (dataset_examples){0};
}
