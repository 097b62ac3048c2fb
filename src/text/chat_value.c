// Memory of a template, and its values: truth, equality, text, JSON.
#include "text/chat_internal.h"

#include "formats/json.h"
#include "text/unicode.h"

#include <math.h>
#include <string.h>

// ---- memory ----

typedef struct chat_block {
    struct chat_block *next;
    uint64_t used, size; // bytes behind this header
} chat_block;

#define BLOCK_BYTES UINT64_C(16384)

void *chat_alloc(chat_arena *arena, uint64_t count, uint64_t size)
{
    uint64_t bytes = 0;
    if (!bm_multiply_u64(count, size, &bytes) || bytes > arena->limit) {
        arena->is_full = true;
        return NULL;
    }
    bytes = (bytes + 15) / 16 * 16;
    chat_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        const uint64_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        if (arena->used + room > arena->limit) {
            arena->is_full = true;
            return NULL;
        }
        block = bm_alloc_zero(1, 32 + room); // the header takes 24, values begin at multiples of 16
        if (!block)
            return NULL;
        block->size = room;
        arena->used += room;
        if (bytes > BLOCK_BYTES && arena->blocks) { // full from the start: the one in use stays in front
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    void *out = (char *)block + 32 + block->used;
    block->used += bytes;
    return out;
}

void chat_arena_free(chat_arena *arena)
{
    while (arena->blocks) {
        chat_block *next = arena->blocks->next;
        bm_free(arena->blocks);
        arena->blocks = next;
    }
}

// ---- small things ----

bool chat_is(chat_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

bool chat_equal(chat_text a, chat_text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

chat_value chat_string(chat_text text)
{
    return (chat_value){.kind = CHAT_STRING, .as.text = text};
}

chat_value chat_integer(int64_t value)
{
    return (chat_value){.kind = CHAT_INTEGER, .as.integer = value};
}

chat_value chat_boolean(bool value)
{
    return (chat_value){.kind = CHAT_BOOL, .as.boolean = value};
}

bool chat_is_number(chat_value value)
{
    return value.kind == CHAT_BOOL || value.kind == CHAT_INTEGER || value.kind == CHAT_FLOAT;
}

double chat_number(chat_value value)
{
    return value.kind == CHAT_FLOAT     ? value.as.real
           : value.kind == CHAT_INTEGER ? (double)value.as.integer
                                        : (double)value.as.boolean;
}

bool chat_truth(chat_value value)
{
    switch (value.kind) {
    case CHAT_UNDEFINED:
    case CHAT_NONE:
        return false;
    case CHAT_BOOL:
        return value.as.boolean;
    case CHAT_INTEGER:
        return value.as.integer != 0;
    case CHAT_FLOAT:
        return value.as.real != 0;
    case CHAT_STRING:
        return value.as.text.length > 0;
    case CHAT_LIST:
        return value.as.list->count > 0;
    case CHAT_DICT:
        return value.as.dict->is_namespace || value.as.dict->count > 0;
    case CHAT_MACRO:
    case CHAT_FUNCTION:
        break;
    }
    return true;
}

const char *chat_kind_name(chat_value value)
{
    static const char *const names[] = {[CHAT_UNDEFINED] = "an undefined value",
                                        [CHAT_NONE] = "none",
                                        [CHAT_BOOL] = "a boolean",
                                        [CHAT_INTEGER] = "an integer",
                                        [CHAT_FLOAT] = "a number",
                                        [CHAT_STRING] = "a string",
                                        [CHAT_LIST] = "a list",
                                        [CHAT_DICT] = "a mapping",
                                        [CHAT_MACRO] = "a macro",
                                        [CHAT_FUNCTION] = "a function"};
    return names[value.kind];
}

static bool equal_lists(chat_run *run, const chat_list *a, const chat_list *b, uint32_t depth)
{
    for (uint32_t i = 0; i < a->count && a->count == b->count; i++)
        if (!chat_values_equal(run, a->items[i], b->items[i], depth + 1))
            return false;
    return a->count == b->count;
}

static bool equal_dicts(chat_run *run, const chat_dict *a, const chat_dict *b, uint32_t depth)
{
    for (uint32_t i = 0; i < a->count && a->count == b->count; i++) {
        const chat_value *other = chat_dict_find(run, b, a->entries[i].key);
        if (!other || !chat_values_equal(run, a->entries[i].value, *other, depth + 1))
            return false;
    }
    return a->count == b->count;
}

// A list may hold another many times over, so that a walk could be endless: it takes steps, and what ran out of them is
// not equal (the comparison then fails).
bool chat_values_equal(chat_run *run, chat_value a, chat_value b, uint32_t depth)
{
    if (++run->steps > CHAT_MAX_STEPS)
        return false;
    if (chat_is_number(a) && chat_is_number(b))
        return a.kind != CHAT_FLOAT && b.kind != CHAT_FLOAT
                   ? (a.kind == CHAT_BOOL ? (int64_t)a.as.boolean : a.as.integer) ==
                         (b.kind == CHAT_BOOL ? (int64_t)b.as.boolean : b.as.integer)
                   : chat_number(a) == chat_number(b);
    if (a.kind != b.kind || depth > CHAT_MAX_NESTING)
        return false;
    if (a.kind == CHAT_STRING) {
        run->steps += a.as.text.length / 256;
        return chat_equal(a.as.text, b.as.text);
    }
    if (a.kind == CHAT_LIST)
        return equal_lists(run, a.as.list, b.as.list, depth);
    if (a.kind == CHAT_DICT)
        return a.as.dict == b.as.dict || (!a.as.dict->is_namespace && equal_dicts(run, a.as.dict, b.as.dict, depth));
    return a.kind == CHAT_NONE || a.kind == CHAT_UNDEFINED;
}

size_t chat_length_of(chat_text text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.length; i += text_utf8_length(text.data[i]))
        count++;
    return count;
}

// ---- lists and mappings ----

bool chat_list_add(chat_arena *arena, chat_list *list, chat_value value)
{
    if (list->count == list->capacity) {
        const uint32_t capacity = list->capacity * 2 + 4;
        chat_value *items = chat_alloc(arena, capacity, sizeof *items);
        if (!items)
            return false;
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = value;
    return true;
}

chat_value *chat_dict_find(chat_run *run, const chat_dict *dict, chat_text key)
{
    run->steps += dict->count / 16;
    for (uint32_t i = 0; i < dict->count; i++) {
        if (dict->entries[i].key.length != key.length)
            continue;
        run->steps += key.length / 256;
        if (chat_equal(dict->entries[i].key, key))
            return &dict->entries[i].value;
    }
    return NULL;
}

bool chat_dict_set(chat_run *run, chat_dict *dict, chat_text key, chat_value value)
{
    chat_value *existing = chat_dict_find(run, dict, key);
    if (existing) {
        *existing = value;
        return true;
    }
    if (dict->count == dict->capacity) {
        const uint32_t capacity = dict->capacity * 2 + 4;
        chat_entry *entries = chat_alloc(&run->arena, capacity, sizeof *entries);
        if (!entries)
            return false;
        if (dict->count > 0)
            memcpy(entries, dict->entries, dict->count * sizeof *entries);
        dict->entries = entries;
        dict->capacity = capacity;
    }
    dict->entries[dict->count++] = (chat_entry){key, value};
    return true;
}

bool chat_new_list(chat_run *run, chat_value *out)
{
    *out = (chat_value){.kind = CHAT_LIST, .as.list = chat_alloc(&run->arena, 1, sizeof(chat_list))};
    return out->as.list != NULL;
}

bool chat_new_dict(chat_run *run, chat_value *out)
{
    *out = (chat_value){.kind = CHAT_DICT, .as.dict = chat_alloc(&run->arena, 1, sizeof(chat_dict))};
    return out->as.dict != NULL;
}

// ---- text ----

bool chat_append(chat_run *run, bm_string *out, const char *data, size_t length)
{
    const uint64_t left = run->arena.limit - run->arena.used;
    if (out->length >= left || length > left - out->length) {
        run->arena.is_full = true;
        return false;
    }
    return bm_string_append_bytes(out, data, length);
}

bool chat_copy(chat_run *run, const char *data, size_t length, chat_text *out)
{
    char *copy = chat_alloc(&run->arena, length + 1, 1);
    if (!copy)
        return false;
    if (length > 0)
        memcpy(copy, data, length);
    *out = (chat_text){copy, length};
    return true;
}

// A number as Python writes it: with a point from 1e-4 to below 1e16, else with an exponent. The digits are the fewest
// that read back equal.
static void print_real(double value, char *out, size_t size)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer writer;
    char digits[32] = "";
    uint32_t count = 0;
    int32_t point = 0, exponent = 0; // 0.digits times 10 to the power of point
    bool has_point = false;
    bm_json_writer_init(&writer, &text, 0);
    bm_json_put_double(&writer, NULL, value);
    const char *at = bm_string_text(&text), *sign = *at == '-' ? "-" : "";
    for (at += *at == '-'; (*at >= '0' && *at <= '9') || *at == '.'; at++) {
        has_point = has_point || *at == '.';
        if (*at == '.' || (count == 0 && *at == '0' && !has_point))
            continue;
        if (count == 0 && *at == '0') {
            point--;
        } else if (count < sizeof digits - 1) {
            digits[count++] = *at;
            point += !has_point;
        }
    }
    if (*at == 'e') {
        const bool is_negative = at[1] == '-';
        for (at += 2; *at >= '0' && *at <= '9'; at++)
            exponent = exponent * 10 + (*at - '0');
        exponent = is_negative ? -exponent : exponent;
    }
    point += exponent;
    while (count > 1 && digits[count - 1] == '0')
        digits[--count] = '\0';
    if (count == 0)
        (void)snprintf(out, size, "%s%s", sign, *at == 'n' ? "nan" : "0.0");
    else if (point <= -4 || point > 16)
        (void)snprintf(out, size, "%s%c%s%se%+03d", sign, digits[0], count > 1 ? "." : "", digits + 1, point - 1);
    else if (point <= 0)
        (void)snprintf(out, size, "%s0.%.*s%s", sign, -point, "0000", digits);
    else if ((uint32_t)point >= count)
        (void)snprintf(out, size, "%s%s%.*s.0", sign, digits, point - (int32_t)count, "0000000000000000");
    else
        (void)snprintf(out, size, "%s%.*s.%s", sign, point, digits, digits + point);
    bm_string_free(&text);
}

bm_status chat_text_of(chat_run *run, const chat_node *node, chat_value value, chat_text *out)
{
    char digits[64] = "";
    switch (value.kind) {
    case CHAT_STRING:
        *out = value.as.text;
        return BM_OK;
    case CHAT_UNDEFINED:
        break;
    case CHAT_NONE:
        (void)snprintf(digits, sizeof digits, "None");
        break;
    case CHAT_BOOL:
        (void)snprintf(digits, sizeof digits, "%s", value.as.boolean ? "True" : "False");
        break;
    case CHAT_INTEGER:
        (void)snprintf(digits, sizeof digits, "%lld", (long long)value.as.integer);
        break;
    case CHAT_FLOAT:
        print_real(value.as.real, digits, sizeof digits);
        break;
    case CHAT_LIST:
    case CHAT_DICT:
    case CHAT_MACRO:
    case CHAT_FUNCTION:
        return chat_fail(run, node, BM_E_UNSUPPORTED, "%s as text is not supported (the filter tojson is)",
                         chat_kind_name(value));
    }
    return chat_copy(run, digits, strlen(digits), out) ? BM_OK : chat_no_memory(run, node);
}

// ---- JSON, as Python's json.dumps with ensure_ascii off writes it ----

static void put_json_string(bm_string *out, chat_text text)
{
    static const char letters[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    bm_string_append(out, "\"");
    for (size_t i = 0; i < text.length; i++) {
        const char c = text.data[i];
        char letter = '\0';
        for (size_t k = 0; k + 1 < sizeof letters; k += 2)
            if (c == letters[k])
                letter = letters[k + 1];
        if (letter)
            bm_string_append_bytes(out, (const char[]){'\\', letter}, 2);
        else if ((uint8_t)c < 0x20)
            bm_string_append_format(out, "\\u%04x", (unsigned)(uint8_t)c);
        else
            bm_string_append_bytes(out, &c, 1);
    }
    bm_string_append(out, "\"");
}

static void put_line(bm_string *out, int64_t indent, uint32_t depth)
{
    if (indent < 0)
        return;
    bm_string_append(out, "\n");
    for (int64_t i = 0; i < indent * depth; i++)
        bm_string_append(out, " ");
}

static bm_status put_json(chat_run *run, const chat_node *node, chat_value value, int64_t indent, uint32_t depth,
                          bm_string *out)
{
    if (depth > CHAT_MAX_NESTING)
        return chat_fail(run, node, BM_E_FORMAT, "tojson: nested more than %u deep", CHAT_MAX_NESTING);
    run->steps++;
    if (!chat_append(run, out, "", 0))
        return chat_no_memory(run, node);
    if (chat_is_spent(run))
        return chat_check_steps(run, node);
    const bool is_list = value.kind == CHAT_LIST;
    const char *comma = indent < 0 ? ", " : ",";
    chat_text text = {NULL, 0};
    bm_status status = BM_OK;
    if (value.kind == CHAT_STRING) {
        put_json_string(out, value.as.text);
    } else if (value.kind == CHAT_BOOL || value.kind == CHAT_NONE) {
        bm_string_append(out, value.kind == CHAT_NONE ? "null" : value.as.boolean ? "true" : "false");
    } else if (value.kind == CHAT_INTEGER || value.kind == CHAT_FLOAT) {
        status = chat_text_of(run, node, value, &text);
        if (status == BM_OK)
            bm_string_append_bytes(out, text.data, text.length);
    } else if (is_list || value.kind == CHAT_DICT) {
        const uint32_t count = is_list ? value.as.list->count : value.as.dict->count;
        bm_string_append(out, is_list ? "[" : "{");
        for (uint32_t i = 0; i < count && status == BM_OK; i++) {
            bm_string_append(out, i > 0 ? comma : "");
            put_line(out, indent, depth + 1);
            if (!is_list) {
                put_json_string(out, value.as.dict->entries[i].key);
                bm_string_append(out, ": ");
            }
            status = put_json(run, node, is_list ? value.as.list->items[i] : value.as.dict->entries[i].value, indent,
                              depth + 1, out);
        }
        if (count > 0)
            put_line(out, indent, depth);
        bm_string_append(out, is_list ? "]" : "}");
    } else {
        status = chat_fail(run, node, BM_E_FORMAT, "tojson: %s has no JSON", chat_kind_name(value));
    }
    return status;
}

bm_status chat_to_json(chat_run *run, const chat_node *node, chat_value value, int64_t indent, chat_text *out)
{
    bm_string text = BM_STRING_INIT;
    bm_status status = put_json(run, node, value, indent, 0, &text);
    if (status == BM_OK && (text.failed || !chat_copy(run, bm_string_text(&text), text.length, out)))
        status = chat_no_memory(run, node);
    bm_string_free(&text);
    return status;
}

bm_status chat_iterate(chat_run *run, const chat_node *node, chat_value value, chat_list **out)
{
    chat_value list;
    if (value.kind == CHAT_LIST) {
        *out = value.as.list;
        return BM_OK;
    }
    if (!chat_new_list(run, &list))
        return chat_no_memory(run, node);
    *out = list.as.list;
    if (value.kind == CHAT_DICT) {
        for (uint32_t i = 0; i < value.as.dict->count; i++)
            if (!chat_list_add(&run->arena, *out, chat_string(value.as.dict->entries[i].key)))
                return chat_no_memory(run, node);
    } else if (value.kind == CHAT_STRING) {
        const chat_text text = value.as.text;
        for (size_t i = 0; i < text.length; i += text_utf8_length(text.data[i]))
            if (!chat_list_add(&run->arena, *out,
                               chat_string((chat_text){text.data + i, text_utf8_length(text.data[i])})))
                return chat_no_memory(run, node);
    } else if (value.kind != CHAT_UNDEFINED) {
        return chat_fail(run, node, BM_E_FORMAT, "%s has no items", chat_kind_name(value));
    }
    return BM_OK;
}
