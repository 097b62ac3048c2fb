// Functions that a template may call, and methods of strings and mappings.
#include "text/chat_internal.h"

#include "base/clock.h"
#include "text/unicode.h"

#include <string.h>

// ---- strings ----

static bool is_in_set(chat_text set, const char *character, size_t length)
{
    if (set.length == 0)
        return text_is_white_space(text_utf8_decode(character)) || (*character >= 0x1C && *character <= 0x1F);
    for (size_t i = 0; i < set.length; i += text_utf8_length(set.data[i]))
        if (text_utf8_length(set.data[i]) == length && memcmp(set.data + i, character, length) == 0)
            return true;
    return false;
}

static chat_text stripped(chat_text text, chat_text set, bool left, bool right)
{
    while (left && text.length > 0) {
        const size_t length = text_utf8_length(text.data[0]);
        if (!is_in_set(set, text.data, length))
            break;
        text.data += length;
        text.length -= length;
    }
    while (right && text.length > 0) {
        const size_t start = text_utf8_previous(text.data, text.length);
        if (!is_in_set(set, text.data + start, text.length - start))
            break;
        text.length = start;
    }
    return text;
}

bm_status chat_strip(chat_run *run, const chat_node *node, chat_text text, chat_text set, bool left, bool right,
                     chat_value *out)
{
    const bm_status status = chat_spend(run, node, text.length, set.length); // before it is done
    *out = chat_string(status == BM_OK ? stripped(text, set, left, right) : text);
    return status;
}

size_t chat_find(chat_text text, chat_text part, size_t from)
{
    for (size_t i = from; i + part.length <= text.length; i++) {
        if (part.length == 0)
            return i;
        const char *hit = memchr(text.data + i, part.data[0], text.length - part.length - i + 1);
        if (!hit)
            break;
        i = (size_t)(hit - text.data);
        if (memcmp(hit, part.data, part.length) == 0)
            return i;
    }
    return SIZE_MAX;
}

bm_status chat_replace(chat_run *run, const chat_node *node, chat_text text, chat_text from, chat_text to,
                       int64_t limit, chat_value *out)
{
    bm_string result = BM_STRING_INIT;
    size_t done = 0;
    bool fits = true;
    *out = chat_string((chat_text){"", 0});
    if (from.length == 0)
        return chat_fail(run, node, BM_E_UNSUPPORTED, "replacing an empty string is not supported");
    bm_status status = chat_spend(run, node, text.length, from.length);
    for (int64_t count = 0; status == BM_OK && count != limit && fits; count++) {
        const size_t hit = chat_find(text, from, done);
        if (hit == SIZE_MAX)
            break;
        fits = chat_append(run, &result, text.data + done, hit - done) && chat_append(run, &result, to.data, to.length);
        done = hit + from.length;
    }
    fits = fits && chat_append(run, &result, text.data + done, text.length - done);
    if (status == BM_OK && (!fits || !chat_copy(run, bm_string_text(&result), result.length, &out->as.text)))
        status = chat_no_memory(run, node);
    bm_string_free(&result);
    return status;
}

// Letters of ASCII alone: templates change the case of roles and names of types.
bm_status chat_change_case(chat_run *run, const chat_node *node, chat_text text, const char *how, chat_value *out)
{
    char *copy = chat_alloc(&run->arena, text.length + 1, 1);
    bool begins = true;
    if (!copy)
        return chat_no_memory(run, node);
    if (text.length > 0)
        memcpy(copy, text.data, text.length);
    *out = chat_string((chat_text){copy, text.length});
    for (size_t i = 0; i < text.length; i++) {
        const char c = copy[i];
        const bool is_small = c >= 'a' && c <= 'z', is_capital = c >= 'A' && c <= 'Z';
        const bool up = how[0] == 'u' || (how[0] != 'l' && begins);
        if (is_small && up)
            copy[i] = (char)(c - 32);
        else if (is_capital && !up)
            copy[i] = (char)(c + 32);
        begins = how[0] == 't' && !is_small && !is_capital;
    }
    return BM_OK;
}

static bm_status add_part(chat_run *run, const chat_node *node, chat_value *list, const char *data, size_t length)
{
    return chat_list_add(&run->arena, list->as.list, chat_string((chat_text){data, length}))
               ? BM_OK
               : chat_no_memory(run, node);
}

// Without a separator: words between runs of white space.
static bm_status split_words(chat_run *run, const chat_node *node, chat_text text, int64_t limit, chat_value *out)
{
    const chat_text white = CHAT_TEXT("");
    bm_status status = chat_spend(run, node, text.length, 1);
    text = stripped(text, white, true, false);
    for (int64_t count = 0; text.length > 0 && status == BM_OK; count++) {
        size_t end = 0;
        if (count == limit) { // the rest is one
            text = stripped(text, white, false, true);
            end = text.length;
        }
        while (end < text.length && !is_in_set(white, text.data + end, text_utf8_length(text.data[end])))
            end += text_utf8_length(text.data[end]);
        status = add_part(run, node, out, text.data, end);
        text = stripped((chat_text){text.data + end, text.length - end}, white, true, false);
    }
    return status;
}

static bm_status split(chat_run *run, const chat_node *node, chat_text text, const chat_arguments *arguments,
                       chat_value *out)
{
    const chat_value *separator = chat_argument(arguments, 0, "sep"), *most = chat_argument(arguments, 1, "maxsplit");
    const int64_t limit = most && most->kind == CHAT_INTEGER ? most->as.integer : -1;
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    if (!separator || separator->kind == CHAT_NONE)
        return split_words(run, node, text, limit, out);
    if (separator->kind != CHAT_STRING || separator->as.text.length == 0)
        return chat_fail(run, node, BM_E_FORMAT, "split needs a separator");
    const chat_text part = separator->as.text;
    bm_status status = chat_spend(run, node, text.length, part.length);
    size_t done = 0;
    for (int64_t count = 0; status == BM_OK && count != limit; count++) {
        const size_t hit = chat_find(text, part, done);
        if (hit == SIZE_MAX)
            break;
        status = add_part(run, node, out, text.data + done, hit - done);
        done = hit + part.length;
    }
    return status == BM_OK ? add_part(run, node, out, text.data + done, text.length - done) : status;
}

// startswith and endswith: of one string, or any of several.
static bm_status has_edge(chat_run *run, const chat_node *node, chat_text text, const chat_arguments *arguments,
                          bool at_start, chat_value *out)
{
    const chat_value *edge = chat_argument(arguments, 0, "");
    chat_list one = {.items = NULL}, *edges = &one;
    chat_value single;
    if (edge && edge->kind == CHAT_STRING) {
        single = *edge;
        one.items = &single;
        one.count = 1;
    } else if (edge && edge->kind == CHAT_LIST) {
        edges = edge->as.list;
    } else {
        return chat_fail(run, node, BM_E_FORMAT, "startswith and endswith need a string");
    }
    bool holds = false;
    for (uint32_t i = 0; i < edges->count && !holds && !chat_is_spent(run); i++) {
        const chat_text part = edges->items[i].kind == CHAT_STRING ? edges->items[i].as.text : CHAT_TEXT("");
        run->steps += 1 + part.length / 256;
        holds = edges->items[i].kind == CHAT_STRING && part.length <= text.length &&
                (part.length == 0 ||
                 memcmp(text.data + (at_start ? 0 : text.length - part.length), part.data, part.length) == 0);
    }
    *out = chat_boolean(holds);
    return chat_check_steps(run, node);
}

static bm_status call_on_string(chat_run *run, const chat_node *node, chat_text text, chat_text name,
                                const chat_arguments *arguments, chat_value *out, bool *known)
{
    static const char *const cases[] = {"upper", "lower", "capitalize", "title"};
    const chat_value *first = chat_argument(arguments, 0, "");
    const bool has_text = first && first->kind == CHAT_STRING;
    *known = true;
    if (chat_is(name, "strip") || chat_is(name, "lstrip") || chat_is(name, "rstrip"))
        return chat_strip(run, node, text, has_text ? first->as.text : CHAT_TEXT(""), name.data[0] != 'r',
                          name.data[0] != 'l', out);
    if (chat_is(name, "split"))
        return split(run, node, text, arguments, out);
    if (chat_is(name, "startswith") || chat_is(name, "endswith"))
        return has_edge(run, node, text, arguments, chat_is(name, "startswith"), out);
    for (size_t i = 0; i < BM_COUNT(cases); i++)
        if (chat_is(name, cases[i]))
            return chat_change_case(run, node, text, cases[i], out);
    if (chat_is(name, "replace") && has_text && arguments->count >= 2 && arguments->values[1].kind == CHAT_STRING)
        return chat_replace(
            run, node, text, first->as.text, arguments->values[1].as.text,
            arguments->count > 2 && arguments->values[2].kind == CHAT_INTEGER ? arguments->values[2].as.integer : -1,
            out);
    if (chat_is(name, "find") && has_text) {
        const bm_status status = chat_spend(run, node, text.length, first->as.text.length);
        const size_t hit = status == BM_OK ? chat_find(text, first->as.text, 0) : SIZE_MAX;
        *out = chat_integer(hit == SIZE_MAX ? -1 : (int64_t)chat_length_of((chat_text){text.data, hit}));
        return status;
    }
    if (chat_is(name, "join") && first)
        return chat_filter(run, node, name, *first,
                           &(chat_arguments){.values = {chat_string(text)}, .names = {{NULL, 0}}, .count = 1}, out);
    *known = false;
    return BM_OK;
}

// ---- mappings ----

static bm_status list_entries(chat_run *run, const chat_node *node, const chat_dict *dict, chat_text name,
                              chat_value *out)
{
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (uint32_t i = 0; i < dict->count; i++) {
        chat_value item = chat_is(name, "keys") ? chat_string(dict->entries[i].key) : dict->entries[i].value;
        if (chat_is(name, "items")) {
            const chat_value value = item;
            if (!chat_new_list(run, &item) ||
                !chat_list_add(&run->arena, item.as.list, chat_string(dict->entries[i].key)) ||
                !chat_list_add(&run->arena, item.as.list, value))
                return chat_no_memory(run, node);
        }
        if (!chat_list_add(&run->arena, out->as.list, item))
            return chat_no_memory(run, node);
    }
    return BM_OK;
}

bm_status chat_call_method(chat_run *run, const chat_node *node, chat_value object, chat_text name,
                           const chat_arguments *arguments, chat_value *out)
{
    char shown[64];
    if (object.kind == CHAT_STRING) {
        bool known = false;
        const bm_status status = call_on_string(run, node, object.as.text, name, arguments, out, &known);
        if (known)
            return status;
    }
    if (object.kind == CHAT_DICT && (chat_is(name, "items") || chat_is(name, "keys") || chat_is(name, "values")))
        return list_entries(run, node, object.as.dict, name, out);
    if (object.kind == CHAT_DICT && chat_is(name, "get") && arguments->count > 0 &&
        arguments->values[0].kind == CHAT_STRING) {
        const chat_value *value = chat_dict_find(run, object.as.dict, arguments->values[0].as.text);
        *out = value ? *value : arguments->count > 1 ? arguments->values[1] : (chat_value){.kind = CHAT_NONE};
        return BM_OK;
    }
    return chat_fail(run, node, BM_E_UNSUPPORTED, "the method \"%s\" of %s is not supported",
                     bm_printable(name.data, name.length, shown, sizeof shown), chat_kind_name(object));
}

// ---- functions ----

static bm_status call_range(chat_run *run, const chat_node *node, const chat_arguments *arguments, chat_value *out)
{
    int64_t bounds[3] = {0, 0, 1};
    for (uint32_t i = 0; i < arguments->count && i < 3; i++) {
        if (arguments->values[i].kind != CHAT_INTEGER)
            return chat_fail(run, node, BM_E_FORMAT, "range needs integers");
        bounds[i] = arguments->values[i].as.integer;
    }
    if (arguments->count == 1) {
        bounds[1] = bounds[0];
        bounds[0] = 0;
    }
    const int64_t limit = 100000; // as Jinja's sandbox has it
    if (arguments->count == 0 || arguments->count > 3 || bounds[2] == 0 || bounds[0] > INT32_MAX ||
        bounds[0] < INT32_MIN || bounds[1] > INT32_MAX || bounds[1] < INT32_MIN || bounds[2] > INT32_MAX ||
        bounds[2] < INT32_MIN || (bounds[1] - bounds[0]) / bounds[2] > limit)
        return chat_fail(run, node, BM_E_FORMAT, "range needs one to three integers and gives at most %lld",
                         (long long)limit);
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    chat_list *list = out->as.list; // in one piece, not by doubling
    list->capacity =
        (bounds[2] > 0) == (bounds[1] > bounds[0]) ? (uint32_t)((bounds[1] - bounds[0]) / bounds[2]) + 1 : 1;
    list->items = chat_alloc(&run->arena, list->capacity, sizeof *list->items);
    if (!list->items)
        return chat_no_memory(run, node);
    for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2])
        if (!chat_list_add(&run->arena, out->as.list, chat_integer(i)))
            return chat_no_memory(run, node);
    return BM_OK;
}

static bm_status call_namespace(chat_run *run, const chat_node *node, const chat_arguments *arguments,
                                bool is_namespace, chat_value *out)
{
    if (!chat_new_dict(run, out))
        return chat_no_memory(run, node);
    for (uint32_t i = 0; i < arguments->count; i++) {
        if (arguments->names[i].length == 0)
            return chat_fail(run, node, BM_E_UNSUPPORTED, "namespace and dict are supported with name=value alone");
        if (!chat_dict_set(run, out->as.dict, arguments->names[i], arguments->values[i]))
            return chat_no_memory(run, node);
    }
    out->as.dict->is_namespace = is_namespace;
    return BM_OK;
}

// The day of the week of a date, 0: Sunday (Sakamoto's rule).
static uint32_t day_of_week(uint32_t year, uint32_t month, uint32_t day)
{
    static const uint32_t shifts[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    const uint32_t y = year - (month < 3);
    return (y + y / 4 - y / 100 + y / 400 + shifts[month - 1] + day) % 7;
}

static uint32_t two_digits(const char *text)
{
    return (uint32_t)(text[0] - '0') * 10 + (uint32_t)(text[1] - '0');
}

// The present time, UTC, by the letters of strftime that templates use; names in English.
static bm_status call_strftime(chat_run *run, const chat_node *node, const chat_arguments *arguments, chat_value *out)
{
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    char now[21], text[256] = "";
    size_t used = 0;
    if (arguments->count != 1 || arguments->values[0].kind != CHAT_STRING || arguments->values[0].as.text.length > 64)
        return chat_fail(run, node, BM_E_FORMAT, "strftime_now needs a format of at most 64 bytes");
    bm_clock_utc_text(now);
    const uint32_t year = two_digits(now) * 100 + two_digits(now + 2), month = two_digits(now + 5) % 13;
    const uint32_t day = two_digits(now + 8), hour = two_digits(now + 11), minute = two_digits(now + 14);
    const uint32_t second = two_digits(now + 17);
    if (month == 0)
        return chat_fail(run, node, BM_E_IO, "strftime_now: the clock of the system says no date");
    const chat_text format = arguments->values[0].as.text;
    for (size_t i = 0; i < format.length && used + 16 < sizeof text; i++) {
        const char letter = format.data[i] == '%' && i + 1 < format.length ? format.data[++i] : '\0';
        char *at = text + used;
        const size_t room = sizeof text - used;
        const char *name = letter == 'B' || letter == 'b' ? months[month - 1] : days[day_of_week(year, month, day)];
        int count = 1;
        if (letter == '\0' || letter == '%')
            *at = format.data[i];
        else if (letter == 'B' || letter == 'A')
            count = snprintf(at, room, "%s", name);
        else if (letter == 'b' || letter == 'a')
            count = snprintf(at, room, "%.3s", name);
        else if (letter == 'Y')
            count = snprintf(at, room, "%04u", year);
        else if (strchr("ymdHMS", letter))
            count = snprintf(at, room, "%02u",
                             letter == 'y'   ? year % 100
                             : letter == 'm' ? month
                             : letter == 'd' ? day
                             : letter == 'H' ? hour
                             : letter == 'M' ? minute
                                             : second);
        else
            return chat_fail(run, node, BM_E_UNSUPPORTED, "strftime_now: the letter \"%c\" is not supported",
                             letter >= ' ' && letter <= '~' ? letter : '?');
        used += (size_t)count;
    }
    *out = chat_string((chat_text){"", 0});
    return chat_copy(run, text, used, &out->as.text) ? BM_OK : chat_no_memory(run, node);
}

bm_status chat_call_function(chat_run *run, const chat_node *node, chat_text name, const chat_arguments *arguments,
                             chat_value *out)
{
    if (chat_is(name, "range"))
        return call_range(run, node, arguments, out);
    if (chat_is(name, "namespace") || chat_is(name, "dict"))
        return call_namespace(run, node, arguments, chat_is(name, "namespace"), out);
    if (chat_is(name, "strftime_now"))
        return call_strftime(run, node, arguments, out);
    char shown[200] = "";
    if (arguments->count > 0 && arguments->values[0].kind == CHAT_STRING)
        bm_printable(arguments->values[0].as.text.data, arguments->values[0].as.text.length, shown, sizeof shown);
    return chat_fail(run, node, BM_E_FORMAT, "the template refuses: %s", shown);
}
