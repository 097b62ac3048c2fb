// What may stand behind "is".
#include "text/chat_internal.h"

#include <string.h>

static bool is_kind(chat_text name, chat_value value, bool *known)
{
    const chat_kind kind = value.kind;
    const bool is_integer = kind == CHAT_INTEGER;
    const struct {
        const char *name;
        bool holds;
    } kinds[] = {
        {"defined", kind != CHAT_UNDEFINED},
        {"undefined", kind == CHAT_UNDEFINED},
        {"none", kind == CHAT_NONE},
        {"string", kind == CHAT_STRING},
        {"number", chat_is_number(value)},
        {"integer", is_integer},
        {"float", kind == CHAT_FLOAT},
        {"boolean", kind == CHAT_BOOL},
        {"true", kind == CHAT_BOOL && value.as.boolean},
        {"false", kind == CHAT_BOOL && !value.as.boolean},
        {"mapping", kind == CHAT_DICT && !value.as.dict->is_namespace},
        {"sequence", kind == CHAT_LIST || kind == CHAT_STRING || kind == CHAT_DICT || kind == CHAT_UNDEFINED},
        {"iterable", kind == CHAT_LIST || kind == CHAT_STRING || kind == CHAT_DICT || kind == CHAT_UNDEFINED},
        {"callable", kind == CHAT_MACRO || kind == CHAT_FUNCTION},
        {"odd", is_integer && value.as.integer % 2 != 0},
        {"even", is_integer && value.as.integer % 2 == 0},
    };
    *known = true;
    for (size_t i = 0; i < BM_COUNT(kinds); i++)
        if (chat_is(name, kinds[i].name))
            return kinds[i].holds;
    *known = false;
    return false;
}

bm_status chat_test(chat_run *run, const chat_node *node, chat_text name, chat_value value,
                    const chat_arguments *arguments, bool *out)
{
    static const struct {
        const char *name;
        chat_operation operation;
    } comparisons[] = {{"==", CHAT_OP_EQUAL},
                       {"eq", CHAT_OP_EQUAL},
                       {"equalto", CHAT_OP_EQUAL},
                       {"!=", CHAT_OP_NOT_EQUAL},
                       {"ne", CHAT_OP_NOT_EQUAL},
                       {"in", CHAT_OP_IN},
                       {"lt", CHAT_OP_LESS},
                       {"lessthan", CHAT_OP_LESS},
                       {"le", CHAT_OP_LESS_EQUAL},
                       {"gt", CHAT_OP_GREATER},
                       {"greaterthan", CHAT_OP_GREATER},
                       {"ge", CHAT_OP_GREATER_EQUAL},
                       {"<", CHAT_OP_LESS},
                       {">", CHAT_OP_GREATER},
                       {"<=", CHAT_OP_LESS_EQUAL},
                       {">=", CHAT_OP_GREATER_EQUAL}};
    char shown[64];
    bool known = false;
    *out = is_kind(name, value, &known);
    if (known)
        return BM_OK;
    const chat_value *other = chat_argument(arguments, 0, "other");
    for (size_t i = 0; i < BM_COUNT(comparisons); i++)
        if (chat_is(name, comparisons[i].name) && other)
            return chat_compare(run, node, comparisons[i].operation, value, *other, out);
    if (chat_is(name, "divisibleby") && other && other->kind == CHAT_INTEGER && value.kind == CHAT_INTEGER &&
        other->as.integer > 0) {
        *out = value.as.integer % other->as.integer == 0;
        return BM_OK;
    }
    return chat_fail(run, node, BM_E_UNSUPPORTED, "the test \"%s\" is not supported with these values",
                     bm_printable(name.data, name.length, shown, sizeof shown));
}
