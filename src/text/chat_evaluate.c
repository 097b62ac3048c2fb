// Expressions to values.
//
// Source    Jinja2 3.1 runtime; Python's operators where it hands them through.
#include "text/chat_internal.h"

#include "text/unicode.h"

#include <math.h>
#include <string.h>

#define MAX_DEPTH 300u // of evaluations in each other: long chains of operators count, too

bm_status chat_fail(chat_run *run, const chat_node *node, bm_status status, const char *format, ...)
{
    char words[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return bm_fail(run->err, status, "%s: line %u: %s", run->template->name, node->line, words);
}

bm_status chat_no_memory(chat_run *run, const chat_node *node)
{
    return run->arena.is_full
               ? chat_fail(run, node, BM_E_FORMAT, "more than %u MiB of memory", (unsigned)(CHAT_MAX_MEMORY >> 20))
               : chat_fail(run, node, BM_E_MEMORY, "out of memory");
}

bool chat_is_spent(const chat_run *run)
{
    return run->steps > CHAT_MAX_STEPS;
}

bm_status chat_check_steps(chat_run *run, const chat_node *node)
{
    return chat_is_spent(run) ? chat_fail(run, node, BM_E_FORMAT, "more than %u steps", (unsigned)CHAT_MAX_STEPS)
                              : BM_OK;
}

bm_status chat_spend(chat_run *run, const chat_node *node, uint64_t bytes, uint64_t times)
{
    uint64_t steps = 0;
    if (bm_multiply_u64(bytes / 16 + 1, times / 16 + 1, &steps) && steps <= CHAT_MAX_STEPS)
        run->steps += steps;
    else
        run->steps = CHAT_MAX_STEPS + 1;
    return chat_check_steps(run, node);
}

static bm_status undefined(chat_run *run, const chat_node *node, chat_value value, const char *what)
{
    char shown[64];
    if (value.kind != CHAT_UNDEFINED)
        return chat_fail(run, node, BM_E_FORMAT, "%s of %s", what, chat_kind_name(value));
    return chat_fail(run, node, BM_E_FORMAT, "%s of \"%s\", which is undefined", what,
                     bm_printable(value.as.text.data, value.as.text.length, shown, sizeof shown));
}

static chat_value undefined_value(chat_text name)
{
    return (chat_value){.kind = CHAT_UNDEFINED, .as.text = name};
}

// ---- names, attributes, items ----

static bool is_function(chat_text name)
{
    static const char *const names[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (chat_is(name, names[i]))
            return true;
    return false;
}

static chat_value look_up(chat_run *run, chat_text name)
{
    uint32_t looked_at = 0;
    for (const chat_scope *scope = run->scope; scope; scope = scope->parent) {
        looked_at += 1 + (scope->names.count & 15); // the others are counted where they are compared
        run->steps += looked_at / 16;
        looked_at %= 16;
        const chat_value *value = chat_dict_find(run, &scope->names, name);
        if (value)
            return *value;
    }
    return is_function(name) ? (chat_value){.kind = CHAT_FUNCTION, .as.text = name} : undefined_value(name);
}

bm_status chat_get(chat_run *run, const chat_node *node, chat_value object, chat_text key, chat_value *out)
{
    *out = undefined_value(key);
    if (object.kind == CHAT_UNDEFINED)
        return undefined(run, node, object, "an attribute");
    if (object.kind == CHAT_DICT) {
        const chat_value *value = chat_dict_find(run, object.as.dict, key);
        if (value)
            *out = *value;
    }
    return BM_OK;
}

static bm_status get_position(chat_run *run, const chat_node *node, chat_value object, int64_t index, chat_value *out)
{
    *out = undefined_value(CHAT_TEXT("an item"));
    if (object.kind == CHAT_LIST) {
        const int64_t count = object.as.list->count, at = index < 0 ? index + count : index;
        if (at >= 0 && at < count)
            *out = object.as.list->items[at];
    } else if (object.kind == CHAT_STRING) {
        const chat_text text = object.as.text;
        const int64_t count = (int64_t)chat_length_of(text), at = index < 0 ? index + count : index;
        size_t place = 0;
        run->steps += text.length / 16;
        if (at < 0 || at >= count)
            return BM_OK;
        for (int64_t i = 0; i < at; i++)
            place += text_utf8_length(text.data[place]);
        *out = chat_string((chat_text){text.data + place, text_utf8_length(text.data[place])});
    } else if (object.kind == CHAT_UNDEFINED) {
        return undefined(run, node, object, "an item");
    }
    return BM_OK;
}

static bm_status evaluate_item(chat_run *run, const chat_node *node, chat_value *out)
{
    chat_value object, index;
    bm_status status = BM_OK;
    BM_TRY(chat_evaluate(run, node->a, &object));
    BM_TRY(chat_evaluate(run, node->b, &index));
    if (index.kind == CHAT_STRING)
        BM_TRY(chat_get(run, node, object, index.as.text, out));
    else if (index.kind == CHAT_INTEGER || index.kind == CHAT_BOOL)
        BM_TRY(get_position(run, node, object, index.kind == CHAT_BOOL ? index.as.boolean : index.as.integer, out));
    else if (object.kind == CHAT_UNDEFINED)
        BM_TRY(undefined(run, node, object, "an item"));
    else
        *out = undefined_value(CHAT_TEXT("an item"));
done:
    return status;
}

// A bound of a slice: none is the fallback; else cut to low..high after negative ones were counted from the end.
static bm_status get_bound(chat_run *run, const chat_node *node, int64_t count, int64_t fallback, int64_t low,
                           int64_t high, int64_t *out)
{
    chat_value value = {.kind = CHAT_NONE};
    const bm_status status = node ? chat_evaluate(run, node, &value) : BM_OK;
    *out = fallback;
    if (status != BM_OK || value.kind == CHAT_NONE)
        return status;
    if (value.kind != CHAT_INTEGER)
        return chat_fail(run, node, BM_E_FORMAT, "a slice needs integers, not %s", chat_kind_name(value));
    const int64_t at = value.as.integer < 0 ? value.as.integer + count : value.as.integer;
    *out = at < low ? low : at > high ? high : at;
    return BM_OK;
}

// Characters start, start + by, ... before stop.
static bm_status slice_text(chat_run *run, const chat_node *node, chat_text text, int64_t start, int64_t stop,
                            int64_t by, chat_value *out)
{
    bm_string piece = BM_STRING_INIT;
    chat_list *items = NULL;
    bm_status status = chat_spend(run, node, text.length, 1);
    *out = chat_string((chat_text){"", 0});
    if (status != BM_OK || (by > 0 ? start >= stop : start <= stop))
        return status;
    if (by == 1) { // a part of the text
        size_t first = 0, last = 0;
        for (int64_t i = 0; i < stop; i++) {
            first = i == start ? last : first;
            last += text_utf8_length(text.data[last]);
        }
        out->as.text = (chat_text){text.data + first, last - first};
        return BM_OK;
    }
    status = chat_iterate(run, node, chat_string(text), &items);
    for (int64_t i = start; status == BM_OK && (by > 0 ? i < stop : i > stop); i += by)
        bm_string_append_bytes(&piece, items->items[i].as.text.data, items->items[i].as.text.length);
    if (status == BM_OK && (piece.failed || !chat_copy(run, bm_string_text(&piece), piece.length, &out->as.text)))
        status = chat_no_memory(run, node);
    bm_string_free(&piece);
    return status;
}

static bm_status evaluate_slice(chat_run *run, const chat_node *node, chat_value *out)
{
    bm_status status = BM_OK;
    chat_value object, step = chat_integer(1);
    int64_t start = 0, stop = 0;
    BM_TRY(chat_evaluate(run, node->a, &object));
    if (object.kind != CHAT_STRING && object.kind != CHAT_LIST)
        return undefined(run, node, object, "a slice");
    if (node->d)
        BM_TRY(chat_evaluate(run, node->d, &step));
    if (step.kind == CHAT_NONE)
        step = chat_integer(1);
    if (step.kind != CHAT_INTEGER || step.as.integer == 0 || step.as.integer > 1 << 30 || step.as.integer < -(1 << 30))
        return chat_fail(run, node, BM_E_FORMAT, "the step of a slice must be an integer other than 0");
    const int64_t count = object.kind == CHAT_LIST ? object.as.list->count : (int64_t)chat_length_of(object.as.text);
    const int64_t by = step.as.integer, low = by > 0 ? 0 : -1, high = by > 0 ? count : count - 1;
    BM_TRY(get_bound(run, node->b, count, by > 0 ? low : high, low, high, &start));
    BM_TRY(get_bound(run, node->c, count, by > 0 ? high : low, low, high, &stop));
    if (object.kind == CHAT_STRING)
        return slice_text(run, node, object.as.text, start, stop, by, out);
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (int64_t i = start; by > 0 ? i < stop : i > stop; i += by)
        if (!chat_list_add(&run->arena, out->as.list, object.as.list->items[i]))
            return chat_no_memory(run, node);
done:
    return status;
}

// ---- operators ----

static bm_status concatenate(chat_run *run, const chat_node *node, chat_text a, chat_text b, chat_value *out)
{
    char *text = chat_alloc(&run->arena, a.length + b.length + 1, 1);
    if (!text)
        return chat_no_memory(run, node);
    if (a.length > 0)
        memcpy(text, a.data, a.length);
    if (b.length > 0)
        memcpy(text + a.length, b.data, b.length);
    *out = chat_string((chat_text){text, a.length + b.length});
    return BM_OK;
}

static bm_status join_lists(chat_run *run, const chat_node *node, const chat_list *a, const chat_list *b,
                            chat_value *out)
{
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (uint32_t i = 0; i < a->count + b->count; i++)
        if (!chat_list_add(&run->arena, out->as.list, i < a->count ? a->items[i] : b->items[i - a->count]))
            return chat_no_memory(run, node);
    return BM_OK;
}

static bm_status repeat(chat_run *run, const chat_node *node, chat_text text, int64_t count, chat_value *out)
{
    const uint64_t times = count > 0 ? (uint64_t)count : 0;
    uint64_t length = 0;
    if (!bm_multiply_u64(times, text.length, &length) || length > CHAT_MAX_MEMORY)
        length = CHAT_MAX_MEMORY; // which is refused
    char *copy = chat_alloc(&run->arena, length + 1, 1);
    if (!copy)
        return chat_no_memory(run, node);
    for (uint64_t i = 0; i < times && text.length > 0; i++)
        memcpy(copy + i * text.length, text.data, text.length);
    *out = chat_string((chat_text){copy, length});
    return BM_OK;
}

static bool add_checked(int64_t a, int64_t b, int64_t *out)
{
    if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b))
        return false;
    *out = a + b;
    return true;
}

static bool multiply_checked(int64_t a, int64_t b, int64_t *out)
{
    const double product = (double)a * (double)b;
    if (fabs(product) > 9.0e18)
        return false;
    *out = a * b;
    return true;
}

static bm_status calculate_integers(chat_run *run, const chat_node *node, int64_t a, int64_t b, chat_value *out)
{
    int64_t result = 0;
    bool fits = true;
    const bool divides = node->operation == CHAT_OP_DIVIDE || node->operation == CHAT_OP_FLOOR_DIVIDE ||
                         node->operation == CHAT_OP_REMAINDER;
    if (divides && b == 0)
        return chat_fail(run, node, BM_E_FORMAT, "a division by zero");
    if (node->operation == CHAT_OP_DIVIDE) {
        *out = (chat_value){.kind = CHAT_FLOAT, .as.real = (double)a / (double)b};
        return BM_OK;
    }
    if (node->operation == CHAT_OP_ADD)
        fits = add_checked(a, b, &result);
    else if (node->operation == CHAT_OP_SUBTRACT)
        fits = b != INT64_MIN && add_checked(a, -b, &result);
    else if (node->operation == CHAT_OP_MULTIPLY)
        fits = multiply_checked(a, b, &result);
    else if (a == INT64_MIN && b == -1)
        fits = false;
    else if (node->operation == CHAT_OP_FLOOR_DIVIDE)
        result = a / b - (a % b != 0 && (a < 0) != (b < 0));
    else
        result = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
    *out = chat_integer(result);
    return fits ? BM_OK : chat_fail(run, node, BM_E_FORMAT, "an integer beyond 64 bits");
}

static bm_status calculate_reals(chat_run *run, const chat_node *node, double a, double b, chat_value *out)
{
    double result = 0;
    if (b == 0 && node->operation != CHAT_OP_ADD && node->operation != CHAT_OP_SUBTRACT &&
        node->operation != CHAT_OP_MULTIPLY)
        return chat_fail(run, node, BM_E_FORMAT, "a division by zero");
    switch ((int)node->operation) {
    case CHAT_OP_ADD:
        result = a + b;
        break;
    case CHAT_OP_SUBTRACT:
        result = a - b;
        break;
    case CHAT_OP_MULTIPLY:
        result = a * b;
        break;
    case CHAT_OP_DIVIDE:
        result = a / b;
        break;
    case CHAT_OP_FLOOR_DIVIDE:
        result = floor(a / b);
        break;
    default:
        result = a - b * floor(a / b);
        break;
    }
    *out = (chat_value){.kind = CHAT_FLOAT, .as.real = result};
    return BM_OK;
}

static int64_t integer_of(chat_value value)
{
    return value.kind == CHAT_BOOL ? (int64_t)value.as.boolean : value.as.integer;
}

static bm_status evaluate_binary(chat_run *run, const chat_node *node, chat_value *out)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "~"};
    bm_status status = BM_OK;
    chat_value a, b;
    chat_text left, right;
    BM_TRY(chat_evaluate(run, node->a, &a));
    BM_TRY(chat_evaluate(run, node->b, &b));
    if (node->operation == CHAT_OP_CONCATENATE) {
        BM_TRY(chat_text_of(run, node, a, &left));
        BM_TRY(chat_text_of(run, node, b, &right));
        return concatenate(run, node, left, right, out);
    }
    if (chat_is_number(a) && chat_is_number(b))
        return a.kind == CHAT_FLOAT || b.kind == CHAT_FLOAT
                   ? calculate_reals(run, node, chat_number(a), chat_number(b), out)
                   : calculate_integers(run, node, integer_of(a), integer_of(b), out);
    if (node->operation == CHAT_OP_ADD && a.kind == CHAT_STRING && b.kind == CHAT_STRING)
        return concatenate(run, node, a.as.text, b.as.text, out);
    if (node->operation == CHAT_OP_ADD && a.kind == CHAT_LIST && b.kind == CHAT_LIST)
        return join_lists(run, node, a.as.list, b.as.list, out);
    if (node->operation == CHAT_OP_MULTIPLY && a.kind == CHAT_STRING && b.kind == CHAT_INTEGER)
        return repeat(run, node, a.as.text, b.as.integer, out);
    status = chat_fail(run, node, BM_E_FORMAT, "\"%s\" of %s and %s", names[node->operation], chat_kind_name(a),
                       chat_kind_name(b));
done:
    return status;
}

static bm_status is_in(chat_run *run, const chat_node *node, chat_value item, chat_value container, bool *out)
{
    *out = false;
    if (container.kind == CHAT_STRING && item.kind == CHAT_STRING) {
        const bm_status status = chat_spend(run, node, container.as.text.length, item.as.text.length);
        if (status != BM_OK)
            return status;
        *out = chat_find(container.as.text, item.as.text, 0) != SIZE_MAX;
    } else if (container.kind == CHAT_LIST) {
        for (uint32_t i = 0; i < container.as.list->count && !*out && !chat_is_spent(run); i++)
            *out = chat_values_equal(run, container.as.list->items[i], item, 0);
    } else if (container.kind == CHAT_DICT) {
        *out = item.kind == CHAT_STRING && chat_dict_find(run, container.as.dict, item.as.text);
    } else if (container.kind != CHAT_UNDEFINED) {
        return chat_fail(run, node, BM_E_FORMAT, "\"in\" of %s and %s", chat_kind_name(item),
                         chat_kind_name(container));
    }
    return chat_check_steps(run, node);
}

bm_status chat_compare(chat_run *run, const chat_node *node, chat_operation operation, chat_value a, chat_value b,
                       bool *out)
{
    if (operation == CHAT_OP_EQUAL || operation == CHAT_OP_NOT_EQUAL) {
        *out = chat_values_equal(run, a, b, 0) == (operation == CHAT_OP_EQUAL);
        return chat_check_steps(run, node);
    }
    if (operation == CHAT_OP_IN || operation == CHAT_OP_NOT_IN) {
        const bm_status status = is_in(run, node, a, b, out);
        *out = *out == (operation == CHAT_OP_IN);
        return status;
    }
    int order = 0;
    if (chat_is_number(a) && chat_is_number(b)) {
        const double x = chat_number(a), y = chat_number(b);
        order = x < y ? -1 : x > y;
    } else if (a.kind == CHAT_STRING && b.kind == CHAT_STRING) {
        const size_t x = a.as.text.length, y = b.as.text.length, shared = x < y ? x : y;
        run->steps += shared / 256;
        order = shared ? memcmp(a.as.text.data, b.as.text.data, shared) : 0;
        order = order ? order : x < y ? -1 : x > y;
    } else {
        return chat_fail(run, node, BM_E_FORMAT, "a comparison of %s and %s", chat_kind_name(a), chat_kind_name(b));
    }
    *out = operation == CHAT_OP_LESS         ? order < 0
           : operation == CHAT_OP_LESS_EQUAL ? order <= 0
           : operation == CHAT_OP_GREATER    ? order > 0
                                             : order >= 0;
    return BM_OK;
}

static bm_status evaluate_comparison(chat_run *run, const chat_node *node, chat_value *out)
{
    bm_status status = BM_OK;
    chat_value left, right;
    bool holds = true;
    BM_TRY(chat_evaluate(run, node->a, &left));
    for (const chat_node *step = node->b; step && holds; step = step->next) {
        BM_TRY(chat_evaluate(run, step->a, &right));
        BM_TRY(chat_compare(run, step, step->operation, left, right, &holds));
        left = right;
    }
    *out = chat_boolean(holds);
done:
    return status;
}

// ---- the rest ----

static void evaluate_constant(const chat_node *node, chat_value *out)
{
    if (node->constant == CHAT_T_STRING)
        *out = chat_string(node->text);
    else if (node->constant == CHAT_T_INTEGER)
        *out = chat_integer(node->integer);
    else if (node->constant == CHAT_T_FLOAT)
        *out = (chat_value){.kind = CHAT_FLOAT, .as.real = node->real};
    else if (node->integer < 0)
        *out = (chat_value){.kind = CHAT_NONE};
    else
        *out = chat_boolean(node->integer == 1);
}

static bm_status evaluate_list(chat_run *run, const chat_node *node, chat_value *out)
{
    if (!chat_new_list(run, out))
        return chat_no_memory(run, node);
    for (const chat_node *item = node->a; item; item = item->next) {
        chat_value value;
        const bm_status status = chat_evaluate(run, item, &value);
        if (status != BM_OK)
            return status;
        if (!chat_list_add(&run->arena, out->as.list, value))
            return chat_no_memory(run, node);
    }
    return BM_OK;
}

static bm_status evaluate_dict(chat_run *run, const chat_node *node, chat_value *out)
{
    if (!chat_new_dict(run, out))
        return chat_no_memory(run, node);
    for (const chat_node *item = node->a; item; item = item->next->next) {
        chat_value key, value;
        bm_status status = chat_evaluate(run, item, &key);
        if (status == BM_OK)
            status = chat_evaluate(run, item->next, &value);
        if (status != BM_OK)
            return status;
        if (key.kind != CHAT_STRING)
            return chat_fail(run, node, BM_E_UNSUPPORTED, "a mapping with %s as a key is not supported",
                             chat_kind_name(key));
        if (!chat_dict_set(run, out->as.dict, key.as.text, value))
            return chat_no_memory(run, node);
    }
    return BM_OK;
}

static bm_status evaluate_arguments(chat_run *run, const chat_node *list, chat_arguments *out)
{
    out->count = 0;
    for (; list; list = list->next) { // the parser bounds their number
        const bm_status status = chat_evaluate(run, list->a, &out->values[out->count]);
        if (status != BM_OK)
            return status;
        out->names[out->count++] = list->text;
    }
    return BM_OK;
}

static bm_status evaluate_call(chat_run *run, const chat_node *node, chat_value *out)
{
    bm_status status = BM_OK;
    chat_value callee, object = {.kind = CHAT_NONE};
    chat_arguments arguments;
    const chat_node *what = node->a;
    bool is_method = false;
    if (what->kind == CHAT_N_ATTRIBUTE) {
        BM_TRY(chat_evaluate(run, what->a, &object));
        BM_TRY(chat_get(run, what, object, what->text, &callee));
        is_method = callee.kind != CHAT_MACRO;
    } else {
        BM_TRY(chat_evaluate(run, what, &callee));
    }
    BM_TRY(evaluate_arguments(run, node->b, &arguments));
    if (is_method)
        return chat_call_method(run, node, object, what->text, &arguments, out);
    if (callee.kind == CHAT_MACRO)
        return chat_call_macro(run, node, callee.as.macro, &arguments, out);
    if (callee.kind == CHAT_FUNCTION)
        return chat_call_function(run, node, callee.as.text, &arguments, out);
    return undefined(run, node, callee, "a call");
done:
    return status;
}

static bm_status evaluate_filter(chat_run *run, const chat_node *node, chat_value *out)
{
    bm_status status = BM_OK;
    chat_value value;
    chat_arguments arguments;
    bool holds = false;
    BM_TRY(chat_evaluate(run, node->a, &value));
    BM_TRY(evaluate_arguments(run, node->b, &arguments));
    if (node->kind == CHAT_N_FILTER)
        return chat_filter(run, node, node->text, value, &arguments, out);
    BM_TRY(chat_test(run, node, node->text, value, &arguments, &holds));
    *out = chat_boolean(holds);
done:
    return status;
}

static bm_status evaluate_negative(chat_run *run, const chat_node *node, chat_value *out)
{
    const bm_status status = chat_evaluate(run, node->a, out);
    if (status != BM_OK)
        return status;
    if (!chat_is_number(*out) || (out->kind == CHAT_INTEGER && out->as.integer == INT64_MIN))
        return chat_fail(run, node, BM_E_FORMAT, "\"-\" of %s", chat_kind_name(*out));
    if (out->kind == CHAT_FLOAT)
        out->as.real = -out->as.real;
    else
        *out = chat_integer(-integer_of(*out));
    return BM_OK;
}

static bm_status evaluate(chat_run *run, const chat_node *node, chat_value *out)
{
    bm_status status = BM_OK;
    switch ((int)node->kind) {
    case CHAT_N_CONSTANT:
        evaluate_constant(node, out);
        return BM_OK;
    case CHAT_N_NAME:
        *out = look_up(run, node->text);
        return BM_OK;
    case CHAT_N_LIST:
    case CHAT_N_TUPLE:
        return evaluate_list(run, node, out);
    case CHAT_N_DICT:
        return evaluate_dict(run, node, out);
    case CHAT_N_ITEM:
        return evaluate_item(run, node, out);
    case CHAT_N_SLICE:
        return evaluate_slice(run, node, out);
    case CHAT_N_CALL:
        return evaluate_call(run, node, out);
    case CHAT_N_FILTER:
    case CHAT_N_TEST:
        return evaluate_filter(run, node, out);
    case CHAT_N_NEGATIVE:
        return evaluate_negative(run, node, out);
    case CHAT_N_BINARY:
        return evaluate_binary(run, node, out);
    case CHAT_N_COMPARE:
        return evaluate_comparison(run, node, out);
    default:
        break;
    }
    status = chat_evaluate(run, node->a, out);
    if (status != BM_OK)
        return status;
    const bool holds = chat_truth(*out);
    switch ((int)node->kind) {
    case CHAT_N_ATTRIBUTE: {
        const chat_value object = *out;
        return chat_get(run, node, object, node->text, out);
    }
    case CHAT_N_NOT:
        *out = chat_boolean(!holds);
        return BM_OK;
    case CHAT_N_AND:
        return holds ? chat_evaluate(run, node->b, out) : BM_OK;
    case CHAT_N_OR:
        return holds ? BM_OK : chat_evaluate(run, node->b, out);
    default: // CHAT_N_CHOICE
        if (holds || node->c)
            return chat_evaluate(run, holds ? node->b : node->c, out);
        *out = undefined_value(CHAT_TEXT("if without else"));
        return BM_OK;
    }
}

bm_status chat_evaluate(chat_run *run, const chat_node *node, chat_value *out)
{
    *out = (chat_value){.kind = CHAT_NONE};
    run->steps++;
    if (chat_is_spent(run))
        return chat_check_steps(run, node);
    if (run->depth >= MAX_DEPTH)
        return chat_fail(run, node, BM_E_FORMAT, "expressions nested more than %u deep", MAX_DEPTH);
    run->depth++;
    const bm_status status = evaluate(run, node, out);
    run->depth--;
    return status;
}
