// Unicode: UTF-8 steps, three character properties, normalization form C.
//
// Source    Unicode 15: PropList White_Space, UTS 18 annex C (\w), UAX 15 (NFC); tables of utf8proc.
#include "text/unicode.h"

#include <utf8proc.h>

#include <string.h>

// Runs of marks up to this length are sorted by insertion (typical: 1 or 2), longer ones by counting.
#define SHORT_RUN 24

uint32_t text_utf8_decode(const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    if (s[0] < 0x80)
        return s[0];
    if (s[0] < 0xE0)
        return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    if (s[0] < 0xF0)
        return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 | (s[3] & 0x3F);
}

uint32_t text_utf8_encode(uint32_t code_point, char out[4])
{
    return (uint32_t)utf8proc_encode_char((utf8proc_int32_t)code_point, (utf8proc_uint8_t *)out);
}

size_t text_utf8_previous(const char *text, size_t position)
{
    do
        position--;
    while (position > 0 && ((uint8_t)text[position] & 0xC0) == 0x80);
    return position;
}

size_t text_utf8_valid_length(const char *text, size_t length)
{
    size_t position = 0;
    while (position < length) {
        if ((uint8_t)text[position] < 0x80) {
            position++;
            continue;
        }
        utf8proc_int32_t code_point;
        const size_t left = length - position;
        const utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + position,
                                                       (utf8proc_ssize_t)(left < 4 ? left : 4), &code_point);
        if (step <= 0)
            break;
        position += (size_t)step;
    }
    return position;
}

bool text_is_white_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool text_is_number(uint32_t c)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool text_is_word(uint32_t c)
{
    const utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    // Lu Ll Lt Lm Lo Mn Mc Me Nd Nl stand in this order in utf8proc's enumeration.
    if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL)
        return true;
    if (category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D)
        return true;
    // The only Alphabetic characters outside L, M and Nl: letters in circles and squares.
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

// Code points of one stretch of text, and room to sort a run of marks.
typedef struct code_points {
    int32_t *items, *spare;
    size_t count, capacity;
} code_points;

static bool code_points_reserve(code_points *list, size_t more)
{
    if (list->capacity - list->count >= more)
        return true;
    const size_t capacity = (list->count + more) * 2 + 64;
    int32_t *items = bm_resize(list->items, capacity, sizeof *items);
    if (!items)
        return false;
    list->items = items;
    int32_t *spare = bm_resize(list->spare, capacity, sizeof *spare);
    if (!spare)
        return false;
    list->spare = spare;
    list->capacity = capacity;
    return true;
}

static uint8_t mark_class(int32_t code_point)
{
    return (uint8_t)utf8proc_get_property(code_point)->combining_class;
}

static void sort_run(int32_t *run, int32_t *spare, size_t count)
{
    if (count <= SHORT_RUN) {
        for (size_t i = 1; i < count; i++) {
            const int32_t moving = run[i];
            size_t j = i;
            for (; j > 0 && mark_class(run[j - 1]) > mark_class(moving); j--)
                run[j] = run[j - 1];
            run[j] = moving;
        }
        return;
    }
    size_t starts[257] = {0};
    for (size_t i = 0; i < count; i++)
        starts[mark_class(run[i]) + 1]++;
    for (uint32_t c = 1; c < 257; c++)
        starts[c] += starts[c - 1];
    for (size_t i = 0; i < count; i++)
        spare[starts[mark_class(run[i])]++] = run[i];
    memcpy(run, spare, count * sizeof *run);
}

// Canonical ordering (UAX 15): each run of characters of a class other than 0, stably by class.
static void order_marks(code_points *list)
{
    for (size_t i = 0; i < list->count;) {
        size_t end = i;
        while (end < list->count && mark_class(list->items[end]) != 0)
            end++;
        if (end > i + 1)
            sort_run(list->items + i, list->spare, end - i);
        i = end > i ? end : i + 1;
    }
}

static bool append_composed(bm_string *out, code_points *list, const char *text, size_t length)
{
    list->count = 0;
    for (size_t i = 0; i < length; i += text_utf8_length(text[i])) {
        if (!code_points_reserve(list,
                                 18)) // no canonical decomposition is longer than 4; 18 is the compatibility bound
            return false;
        int boundary = 0;
        const utf8proc_ssize_t added =
            utf8proc_decompose_char((utf8proc_int32_t)text_utf8_decode(text + i), list->items + list->count, 18,
                                    UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        if (added < 0)
            return false;
        list->count += (size_t)added;
    }
    order_marks(list);
    const utf8proc_ssize_t count =
        utf8proc_normalize_utf32(list->items, (utf8proc_ssize_t)list->count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (count < 0)
        return false;
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char bytes[4];
        if (!bm_string_append_bytes(out, bytes, text_utf8_encode((uint32_t)list->items[i], bytes)))
            return false;
    }
    return true;
}

bool text_append_nfc(bm_string *out, const char *text, size_t length)
{
    // No ASCII character joins one before it, so the text may be cut in front of every ASCII character; ASCII followed
    // by ASCII is copied as it is.
    code_points list = {NULL, NULL, 0, 0};
    bool good = true;
    size_t begin = 0;
    while (good && begin < length) {
        size_t plain = begin; // first non-ASCII byte
        while (plain < length && (uint8_t)text[plain] < 0x80)
            plain++;
        const size_t base = plain < length && plain > begin ? plain - 1 : plain; // may join what follows
        good = base == begin || bm_string_append_bytes(out, text + begin, base - begin);
        size_t end = plain;
        while (end < length && (uint8_t)text[end] >= 0x80)
            end++;
        if (good && end > base)
            good = append_composed(out, &list, text + base, end - base);
        begin = end;
    }
    bm_free(list.items);
    bm_free(list.spare);
    return good;
}
