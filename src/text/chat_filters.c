// What may stand behind "|".
#include "text/chat_internal.h"

#include <math.h>
#include <string.h>

const chat_value *chat_argument(const chat_arguments *arguments, uint32_t position, const char *name)
{
    for (uint32_t i = 0; i < arguments->count; i++)
        if (arguments->names[i].length ? chat_is(arguments->names[i], name) : i == position)
            return &arguments->values[i];
    return NULL;
}

static bm_status wrong(chat_run *run, const chat_node *node, chat_text name, chat_value value)
{
    char shown[64];
    return chat_fail(run, node, BM_E_FORMAT, "the filter \"%s\" of %s",
                     bm_printable(name.data, name.length, shown, sizeof shown), chat_kind_name(value));
}

// ---- of texts ----

static bm_status filter_text(chat_run *run, const chat_node *node, chat_text name, chat_value value,
                             const chat_arguments *arguments, chat_value *out)
{
    chat_text text;
    const bm_status status = chat_text_of(run, node, value, &text);
    if (status != BM_OK)
        return status;
    if (chat_is(name, "trim")) {
        const chat_value *set = chat_argument(arguments, 0, "chars");
        const chat_text characters = set && set->kind == CHAT_STRING ? set->as.text : CHAT_TEXT("");
        return chat_strip(run, node, text, characters, true, true, out);
    }
    if (chat_is(name, "upper") || chat_is(name, "lower") || chat_is(name, "capitalize") || chat_is(name, "title"))
        return chat_change_case(run, node, text,
                                chat_is(name, "upper")        ? "upper"
                                : chat_is(name, "lower")      ? "lower"
                                : chat_is(name, "capitalize") ? "capitalize"
                                                              : "title",
                                out);
    *out = chat_string(text); // string, safe
    return BM_OK;
}

static bm_status filter_replace(chat_run *run, const chat_node *node, chat_value value, const chat_arguments *arguments,
                                chat_value *out)
{
    const chat_value *from = chat_argument(arguments, 0, "old"), *to = chat_argument(arguments, 1, "new");
    const chat_value *count = chat_argument(arguments, 2, "count");
    chat_text text;
    const bm_status status = chat_text_of(run, node, value, &text);
    if (status != BM_OK)
        return status;
    if (!from || !to || from->kind != CHAT_STRING || to->kind != CHAT_STRING)
        return chat_fail(run, node, BM_E_FORMAT, "the filter \"replace\" needs two strings");
    return chat_replace(run, node, text, from->as.text, to->as.text,
                        count && count->kind == CHAT_INTEGER ? count->as.integer : -1, out);
}

// Lines behind the first (or all) that are not empty move to the right.
static bm_status filter_indent(chat_run *run, const chat_node *node, chat_value value, const chat_arguments *arguments,
                               chat_value *out)
{
    const chat_value *width = chat_argument(arguments, 0, "width"), *first = chat_argument(arguments, 1, "first");
    chat_text text;
    bm_string result = BM_STRING_INIT;
    bm_status status = chat_text_of(run, node, value, &text);
    const int64_t blanks = width && width->kind == CHAT_INTEGER ? width->as.integer : 4;
    if (status == BM_OK && (blanks < 0 || blanks > 256))
        status = chat_fail(run, node, BM_E_FORMAT, "the filter \"indent\" needs a width of 0 to 256");
    if (status != BM_OK)
        return status;
    bool begins = first && chat_truth(*first), fits = true;
    for (size_t i = 0; i < text.length && fits; i++) {
        if (begins && text.data[i] != '\n')
            for (int64_t k = 0; k < blanks; k++)
                bm_string_append(&result, " ");
        begins = text.data[i] == '\n';
        fits = chat_append(run, &result, text.data + i, 1);
    }
    *out = chat_string((chat_text){"", 0});
    if (!fits || result.failed || !chat_copy(run, bm_string_text(&result), result.length, &out->as.text))
        status = chat_no_memory(run, node);
    bm_string_free(&result);
    return status;
}

// ---- of lists ----

static bm_status filter_join(chat_run *run, const chat_node *node, chat_value value, const chat_arguments *arguments,
                             chat_value *out)
{
    const chat_value *between = chat_argument(arguments, 0, "d");
    chat_list *items = NULL;
    bm_string text = BM_STRING_INIT;
    bool fits = true;
    bm_status status = chat_iterate(run, node, value, &items);
    if (status == BM_OK) {
        run->steps += items->count;
        status = chat_check_steps(run, node);
    }
    for (uint32_t i = 0; status == BM_OK && i < items->count && fits; i++) {
        chat_text item;
        status = chat_text_of(run, node, items->items[i], &item);
        if (status == BM_OK && i > 0 && between && between->kind == CHAT_STRING)
            fits = chat_append(run, &text, between->as.text.data, between->as.text.length);
        if (status == BM_OK)
            fits = fits && chat_append(run, &text, item.data, item.length);
    }
    *out = chat_string((chat_text){"", 0});
    if (status == BM_OK && (!fits || !chat_copy(run, bm_string_text(&text), text.length, &out->as.text)))
        status = chat_no_memory(run, node);
    bm_string_free(&text);
    return status;
}

static bm_status filter_end(chat_run *run, const chat_node *node, chat_value value, bool is_first, chat_value *out)
{
    chat_list *items = NULL;
    const bm_status status = chat_iterate(run, node, value, &items);
    if (status != BM_OK)
        return status;
    *out = (chat_value){.kind = CHAT_UNDEFINED, .as.text = CHAT_TEXT("an item of nothing")};
    if (items->count > 0)
        *out = items->items[is_first ? 0 : items->count - 1];
    return BM_OK;
}

static bm_status filter_list(chat_run *run, const chat_node *node, chat_value value, bool reversed, chat_value *out)
{
    chat_list *items = NULL;
    const bm_status status = chat_iterate(run, node, value, &items);
    if (status != BM_OK)
        return status;
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (uint32_t i = 0; i < items->count; i++)
        if (!chat_list_add(&run->arena, out->as.list, items->items[reversed ? items->count - 1 - i : i]))
            return chat_no_memory(run, node);
    return BM_OK;
}

// A text without its first count arguments, for what a filter hands on.
static chat_arguments behind(const chat_arguments *arguments, uint32_t count)
{
    chat_arguments out = {.count = arguments->count > count ? arguments->count - count : 0};
    for (uint32_t i = 0; i < out.count; i++) {
        out.values[i] = arguments->values[i + count];
        out.names[i] = arguments->names[i + count];
    }
    return out;
}

// select, reject, selectattr, rejectattr: by a test, or by being true.
static bm_status filter_select(chat_run *run, const chat_node *node, chat_value value, bool by_attribute, bool keeps,
                               const chat_arguments *arguments, chat_value *out)
{
    chat_list *items = NULL;
    const uint32_t at = by_attribute ? 1 : 0;
    bm_status status = chat_iterate(run, node, value, &items);
    if (status != BM_OK)
        return status;
    for (uint32_t i = 0; i <= at && i < arguments->count; i++)
        if (arguments->values[i].kind != CHAT_STRING)
            return chat_fail(run, node, BM_E_FORMAT, "a filter that selects needs names");
    if (by_attribute && arguments->count == 0)
        return chat_fail(run, node, BM_E_FORMAT, "a filter that selects needs the name of an attribute");
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    const chat_arguments rest = behind(arguments, at + 1);
    for (uint32_t i = 0; i < items->count && status == BM_OK; i++) {
        chat_value looked_at = items->items[i];
        bool holds = false;
        run->steps++;
        if (by_attribute)
            status = chat_get(run, node, items->items[i], arguments->values[0].as.text, &looked_at);
        if (status == BM_OK && arguments->count > at)
            status = chat_test(run, node, arguments->values[at].as.text, looked_at, &rest, &holds);
        else
            holds = chat_truth(looked_at);
        if (status == BM_OK && holds == keeps && !chat_list_add(&run->arena, out->as.list, items->items[i]))
            status = chat_no_memory(run, node);
    }
    return status;
}

// map(attribute="name", default=...) or map("filter", arguments).
static bm_status filter_map(chat_run *run, const chat_node *node, chat_value value, const chat_arguments *arguments,
                            chat_value *out)
{
    chat_list *items = NULL;
    const chat_value *attribute = chat_argument(arguments, CHAT_MAX_ARGUMENTS, "attribute");
    const chat_value *fallback = chat_argument(arguments, CHAT_MAX_ARGUMENTS, "default");
    const chat_arguments rest = behind(arguments, 1);
    bm_status status = chat_iterate(run, node, value, &items);
    if (status != BM_OK)
        return status;
    if (arguments->count == 0 || (attribute ? attribute : &arguments->values[0])->kind != CHAT_STRING ||
        (!attribute && (arguments->names[0].length || chat_is(arguments->values[0].as.text, "map"))))
        return chat_fail(run, node, BM_E_UNSUPPORTED, "the filter \"map\" needs the name of an attribute or filter");
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (uint32_t i = 0; i < items->count && status == BM_OK; i++) {
        chat_value mapped;
        run->steps++;
        status = attribute ? chat_get(run, node, items->items[i], attribute->as.text, &mapped)
                           : chat_filter(run, node, arguments->values[0].as.text, items->items[i], &rest, &mapped);
        if (status == BM_OK && mapped.kind == CHAT_UNDEFINED && fallback)
            mapped = *fallback;
        if (status == BM_OK && !chat_list_add(&run->arena, out->as.list, mapped))
            status = chat_no_memory(run, node);
    }
    return status;
}

// ---- of all ----

static bm_status filter_length(chat_run *run, const chat_node *node, chat_text name, chat_value value, chat_value *out)
{
    *out = chat_integer(0);
    if (value.kind == CHAT_STRING) {
        const bm_status status = chat_spend(run, node, value.as.text.length, 1);
        *out = chat_integer((int64_t)chat_length_of(value.as.text));
        return status;
    }
    if (value.kind == CHAT_LIST)
        *out = chat_integer(value.as.list->count);
    else if (value.kind == CHAT_DICT)
        *out = chat_integer(value.as.dict->count);
    else if (value.kind != CHAT_UNDEFINED)
        return wrong(run, node, name, value);
    return BM_OK;
}

static bm_status filter_number(chat_run *run, const chat_node *node, chat_text name, chat_value value, chat_value *out)
{
    char digits[64] = "";
    double real = 0;
    int64_t integer = 0;
    if (value.kind == CHAT_STRING && value.as.text.length < sizeof digits)
        memcpy(digits, value.as.text.data, value.as.text.length);
    if (value.kind == CHAT_STRING ? !bm_parse_double(digits, &real) : !chat_is_number(value))
        real = 0;
    else if (value.kind != CHAT_STRING)
        real = chat_number(value);
    if (chat_is(name, "float")) {
        *out = (chat_value){.kind = CHAT_FLOAT, .as.real = real};
        return BM_OK;
    }
    if (value.kind == CHAT_INTEGER)
        *out = value;
    else if (value.kind == CHAT_FLOAT && chat_is(name, "abs"))
        *out = (chat_value){.kind = CHAT_FLOAT, .as.real = fabs(real)};
    else if (value.kind == CHAT_STRING && bm_parse_i64(digits, &integer))
        *out = chat_integer(integer);
    else if (fabs(real) < 9e18)
        *out = chat_integer((int64_t)real);
    else
        return wrong(run, node, name, value);
    if (chat_is(name, "abs") && out->kind == CHAT_INTEGER)
        out->as.integer = out->as.integer < 0 && out->as.integer != INT64_MIN ? -out->as.integer : out->as.integer;
    return BM_OK;
}

static bm_status filter_default(chat_value value, const chat_arguments *arguments, chat_value *out)
{
    const chat_value *fallback = chat_argument(arguments, 0, "default_value");
    const chat_value *also_false = chat_argument(arguments, 1, "boolean");
    const bool is_missing =
        value.kind == CHAT_UNDEFINED || (also_false && chat_truth(*also_false) && !chat_truth(value));
    *out = !is_missing ? value : fallback ? *fallback : chat_string((chat_text){"", 0});
    return BM_OK;
}

// What transformers' tojson takes, in its order: only what is false or none there is how JSON is written here.
static bm_status check_json_arguments(chat_run *run, const chat_node *node, const chat_arguments *arguments)
{
    static const char *const names[] = {"ensure_ascii", "indent", "separators", "sort_keys"};
    char shown[64];
    for (uint32_t i = 0; i < arguments->count; i++) {
        const chat_text name = arguments->names[i].length ? arguments->names[i]
                               : i < BM_COUNT(names)      ? (chat_text){names[i], strlen(names[i])}
                                                          : CHAT_TEXT("a fifth");
        const chat_value value = arguments->values[i];
        bool is_known = false;
        for (size_t k = 0; k < BM_COUNT(names); k++)
            is_known = is_known || chat_is(name, names[k]);
        if (!is_known || (chat_is(name, "indent") ? value.kind != CHAT_INTEGER && value.kind != CHAT_NONE
                                                  : value.kind != CHAT_NONE && chat_truth(value)))
            return chat_fail(run, node, BM_E_UNSUPPORTED, "tojson: the argument \"%s\" with %s is not supported",
                             bm_printable(name.data, name.length, shown, sizeof shown), chat_kind_name(value));
    }
    return BM_OK;
}

static bm_status filter_json(chat_run *run, const chat_node *node, chat_value value, const chat_arguments *arguments,
                             chat_value *out)
{
    const chat_value *indent = chat_argument(arguments, 1, "indent"); // transformers: ensure_ascii, indent, ...
    const int64_t width = indent && indent->kind == CHAT_INTEGER ? indent->as.integer : -1;
    const bm_status status = check_json_arguments(run, node, arguments);
    if (status != BM_OK)
        return status;
    if (width > 64)
        return chat_fail(run, node, BM_E_FORMAT, "tojson: an indent of more than 64");
    *out = chat_string((chat_text){"", 0});
    return chat_to_json(run, node, value, width, &out->as.text);
}

bm_status chat_filter(chat_run *run, const chat_node *node, chat_text name, chat_value value,
                      const chat_arguments *arguments, chat_value *out)
{
    static const char *const of_text[] = {"trim", "upper", "lower", "capitalize", "title", "string", "safe"};
    static const char *const selecting[] = {"select", "reject", "selectattr", "rejectattr"};
    const chat_arguments none = {.count = 0};
    for (size_t i = 0; i < BM_COUNT(of_text); i++)
        if (chat_is(name, of_text[i]))
            return filter_text(run, node, name, value, arguments, out);
    for (uint32_t i = 0; i < BM_COUNT(selecting); i++)
        if (chat_is(name, selecting[i]))
            return filter_select(run, node, value, i >= 2, i % 2 == 0, arguments, out);
    if (chat_is(name, "length") || chat_is(name, "count"))
        return filter_length(run, node, name, value, out);
    if (chat_is(name, "default") || chat_is(name, "d"))
        return filter_default(value, arguments, out);
    if (chat_is(name, "tojson"))
        return filter_json(run, node, value, arguments, out);
    if (chat_is(name, "first") || chat_is(name, "last"))
        return filter_end(run, node, value, chat_is(name, "first"), out);
    if (chat_is(name, "list") || chat_is(name, "reverse"))
        return filter_list(run, node, value, chat_is(name, "reverse"), out);
    if (chat_is(name, "join"))
        return filter_join(run, node, value, arguments, out);
    if (chat_is(name, "map"))
        return filter_map(run, node, value, arguments, out);
    if (chat_is(name, "replace"))
        return filter_replace(run, node, value, arguments, out);
    if (chat_is(name, "indent"))
        return filter_indent(run, node, value, arguments, out);
    if (chat_is(name, "int") || chat_is(name, "float") || chat_is(name, "abs"))
        return filter_number(run, node, name, value, out);
    if (chat_is(name, "items") && value.kind == CHAT_DICT)
        return chat_call_method(run, node, value, name, &none, out);
    char shown[64];
    return chat_fail(run, node, BM_E_UNSUPPORTED, "the filter \"%s\" is not supported",
                     bm_printable(name.data, name.length, shown, sizeof shown));
}
