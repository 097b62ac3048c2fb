// Expressions of a template, by recursive descent. From the loosest to the tightest: x if y else z; or; and; not;
// comparisons and "in"; + and -; ~; * / // %; unary signs; then what follows a value: .name, [index], (arguments), filters
// and tests.
//
// Source    Jinja2 3.1 parser.py.
#include "text/chat_internal.h"

#include <string.h>

chat_node *chat_fail_parse(chat_parser *parser, bm_status status, const char *format, ...)
{
    char words[200];
    va_list arguments;
    if (parser->status != BM_OK)
        return NULL;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    parser->status =
        bm_fail(parser->err, status, "%s: line %u: %s", parser->template->name, chat_peek(parser)->line, words);
    return NULL;
}

chat_node *chat_new_node(chat_parser *parser, chat_node_kind kind)
{
    chat_node *node = chat_alloc(&parser->template->arena, 1, sizeof *node);
    if (!node)
        return chat_fail_parse(parser, BM_E_MEMORY, "out of memory");
    node->kind = kind;
    node->line = chat_peek(parser)->line;
    return node;
}

const chat_token *chat_peek(const chat_parser *parser)
{
    return &parser->tokens[parser->at];
}

static bool is_word(const chat_token *token, const char *word)
{
    return (token->kind == CHAT_T_OPERATOR || token->kind == CHAT_T_NAME) && chat_is(token->text, word);
}

bool chat_accept(chat_parser *parser, const char *word)
{
    if (!is_word(chat_peek(parser), word))
        return false;
    parser->at++;
    return true;
}

// The next token in words.
static const char *found(const chat_parser *parser, char *out, size_t size)
{
    const chat_token *token = chat_peek(parser);
    char shown[40];
    if (token->kind == CHAT_T_NAME || token->kind == CHAT_T_OPERATOR || token->kind == CHAT_T_STRING)
        (void)snprintf(out, size, "\"%s\"", bm_printable(token->text.data, token->text.length, shown, sizeof shown));
    else
        (void)snprintf(out, size, "%s",
                       token->kind == CHAT_T_END            ? "the end of the template"
                       : token->kind == CHAT_T_END_BLOCK    ? "\"%}\""
                       : token->kind == CHAT_T_END_VARIABLE ? "\"}}\""
                                                            : "a number");
    return out;
}

bool chat_expect(chat_parser *parser, const char *word)
{
    char shown[64];
    if (chat_accept(parser, word))
        return true;
    chat_fail_parse(parser, BM_E_FORMAT, "expected \"%s\", found %s", word, found(parser, shown, sizeof shown));
    return false;
}

// One more level of the recursion; false: too deep.
static bool enter(chat_parser *parser)
{
    if (++parser->depth <= CHAT_MAX_NESTING)
        return true;
    chat_fail_parse(parser, BM_E_FORMAT, "nested more than %u deep", CHAT_MAX_NESTING);
    return false;
}

static chat_node *join(chat_parser *parser, chat_node_kind kind, chat_operation operation, chat_node *a, chat_node *b)
{
    chat_node *node = a && b ? chat_new_node(parser, kind) : NULL;
    if (!node)
        return NULL;
    node->operation = operation;
    node->a = a;
    node->b = b;
    return node;
}

// ---- values ----

// A run of strings side by side is one.
static chat_node *parse_string(chat_parser *parser)
{
    chat_node *node = chat_new_node(parser, CHAT_N_CONSTANT);
    if (!node)
        return NULL;
    size_t length = 0, last = parser->at, used = 0;
    for (; parser->tokens[last].kind == CHAT_T_STRING; last++)
        length += parser->tokens[last].text.length;
    char *text = chat_alloc(&parser->template->arena, length + 1, 1);
    if (!text)
        return chat_fail_parse(parser, BM_E_MEMORY, "out of memory");
    for (; parser->at < last; parser->at++) {
        memcpy(text + used, chat_peek(parser)->text.data, chat_peek(parser)->text.length);
        used += chat_peek(parser)->text.length;
    }
    node->constant = CHAT_T_STRING;
    node->text = (chat_text){text, length};
    return node;
}

static chat_node *parse_word(chat_parser *parser)
{
    static const char *const constants[] = {"true", "True", "false", "False", "none", "None"};
    static const char *const reserved[] = {"and", "or", "not", "if", "else", "in", "is"};
    char shown[64];
    const chat_token *token = chat_peek(parser);
    for (size_t i = 0; i < BM_COUNT(reserved); i++)
        if (chat_is(token->text, reserved[i]))
            return chat_fail_parse(parser, BM_E_FORMAT, "expected a value, found %s",
                                   found(parser, shown, sizeof shown));
    chat_node *node = chat_new_node(parser, CHAT_N_NAME);
    if (!node)
        return NULL;
    node->text = token->text;
    for (size_t i = 0; i < BM_COUNT(constants); i++)
        if (chat_is(token->text, constants[i])) {
            node->kind = CHAT_N_CONSTANT;
            node->constant = CHAT_T_NAME;
            node->integer = i < 2 ? 1 : i < 4 ? 0 : -1; // -1: none
        }
    parser->at++;
    return node;
}

// Values up to close, with commas between; of a mapping "key: value".
static chat_node *parse_items(chat_parser *parser, const char *close, bool has_keys)
{
    chat_node *first = NULL, **last = &first;
    while (!chat_accept(parser, close)) {
        if (first && (!chat_expect(parser, ",") || chat_accept(parser, close)))
            break;
        for (uint32_t part = 0; part < (has_keys ? 2u : 1u); part++) {
            if (part == 1 && !chat_expect(parser, ":"))
                return NULL;
            *last = chat_parse_expression(parser);
            if (!*last)
                return NULL;
            last = &(*last)->next;
        }
    }
    return parser->status == BM_OK ? first : NULL;
}

static chat_node *parse_collection(chat_parser *parser, chat_node_kind kind, const char *close)
{
    chat_node *node = chat_new_node(parser, kind);
    if (!node)
        return NULL;
    node->a = parse_items(parser, close, kind == CHAT_N_DICT);
    return parser->status == BM_OK ? node : NULL;
}

static chat_node *parse_value(chat_parser *parser)
{
    char shown[64];
    const chat_token *token = chat_peek(parser);
    if (token->kind == CHAT_T_STRING)
        return parse_string(parser);
    if (token->kind == CHAT_T_NAME)
        return parse_word(parser);
    if (token->kind == CHAT_T_INTEGER || token->kind == CHAT_T_FLOAT) {
        chat_node *node = chat_new_node(parser, CHAT_N_CONSTANT);
        if (!node)
            return NULL;
        node->constant = token->kind;
        node->integer = token->integer;
        node->real = token->real;
        parser->at++;
        return node;
    }
    if (chat_accept(parser, "["))
        return parse_collection(parser, CHAT_N_LIST, "]");
    if (chat_accept(parser, "{"))
        return parse_collection(parser, CHAT_N_DICT, "}");
    if (chat_accept(parser, "(")) {
        if (is_word(chat_peek(parser), ")"))
            return parse_collection(parser, CHAT_N_TUPLE, ")");
        chat_node *inner = chat_parse_tuple(parser);
        return inner && chat_expect(parser, ")") ? inner : NULL;
    }
    return chat_fail_parse(parser, BM_E_FORMAT, "expected a value, found %s", found(parser, shown, sizeof shown));
}

// ---- what follows a value ----

static chat_node *parse_arguments(chat_parser *parser)
{
    chat_node *first = NULL, **last = &first;
    uint32_t count = 0;
    while (!chat_accept(parser, ")")) {
        if (first && (!chat_expect(parser, ",") || chat_accept(parser, ")")))
            break;
        chat_node *node = chat_new_node(parser, CHAT_N_ARGUMENT);
        if (!node)
            return NULL;
        const chat_token *token = chat_peek(parser);
        if (token->kind == CHAT_T_NAME && is_word(token + 1, "=")) {
            node->text = token->text;
            parser->at += 2;
        }
        node->a = chat_parse_expression(parser);
        if (!node->a)
            return NULL;
        if (++count > CHAT_MAX_ARGUMENTS)
            return chat_fail_parse(parser, BM_E_UNSUPPORTED, "more than %u arguments", CHAT_MAX_ARGUMENTS);
        *last = node;
        last = &node->next;
    }
    return parser->status == BM_OK ? first : NULL;
}

// [index] or [start:stop:step], behind the bracket.
static chat_node *parse_index(chat_parser *parser, chat_node *object)
{
    chat_node *parts[3] = {NULL, NULL, NULL};
    uint32_t at = 0;
    while (!chat_accept(parser, "]")) {
        if (at < 2 && chat_accept(parser, ":")) {
            at++;
            continue;
        }
        if (parts[at]) {
            chat_expect(parser, "]");
            return NULL;
        }
        parts[at] = chat_parse_expression(parser);
        if (!parts[at])
            return NULL;
    }
    if (at == 0 && !parts[0])
        return chat_fail_parse(parser, BM_E_FORMAT, "expected an index in \"[]\"");
    chat_node *node = chat_new_node(parser, at == 0 ? CHAT_N_ITEM : CHAT_N_SLICE);
    if (!node)
        return NULL;
    node->a = object;
    node->b = parts[0];
    node->c = parts[1];
    node->d = parts[2];
    return node;
}

static chat_node *parse_attribute(chat_parser *parser, chat_node *object)
{
    char shown[64];
    const chat_token *token = chat_peek(parser);
    chat_node *node = NULL;
    if (token->kind == CHAT_T_INTEGER) { // loop.0 is loop[0]
        chat_node *index = parse_value(parser);
        return join(parser, CHAT_N_ITEM, CHAT_OP_ADD, object, index);
    }
    if (token->kind != CHAT_T_NAME)
        return chat_fail_parse(parser, BM_E_FORMAT, "expected a name behind \".\", found %s",
                               found(parser, shown, sizeof shown));
    node = chat_new_node(parser, CHAT_N_ATTRIBUTE);
    if (!node)
        return NULL;
    node->a = object;
    node->text = token->text;
    parser->at++;
    return node;
}

static chat_node *parse_postfix(chat_parser *parser, chat_node *node)
{
    while (node) {
        if (chat_accept(parser, ".")) {
            node = parse_attribute(parser, node);
        } else if (chat_accept(parser, "[")) {
            node = parse_index(parser, node);
        } else if (chat_accept(parser, "(")) {
            chat_node *call = chat_new_node(parser, CHAT_N_CALL);
            if (!call)
                return NULL;
            call->a = node;
            call->b = parse_arguments(parser);
            node = parser->status == BM_OK ? call : NULL;
        } else {
            break;
        }
    }
    return node;
}

// Behind "is": [not] name, then arguments in brackets or one value without.
static chat_node *parse_test(chat_parser *parser, chat_node *value)
{
    static const char *const ends[] = {"else", "or", "and", "is", "if", "in", "not"};
    char shown[64];
    const bool is_not = chat_accept(parser, "not");
    chat_node *node = chat_new_node(parser, CHAT_N_TEST);
    const chat_token *token = chat_peek(parser);
    if (!node)
        return NULL;
    if (token->kind != CHAT_T_NAME && !is_word(token, "=="))
        return chat_fail_parse(parser, BM_E_FORMAT, "expected a test behind \"is\", found %s",
                               found(parser, shown, sizeof shown));
    node->a = value;
    node->text = token->text;
    parser->at++;
    token = chat_peek(parser);
    bool has_value = token->kind == CHAT_T_NAME || token->kind == CHAT_T_STRING || token->kind == CHAT_T_INTEGER ||
                     token->kind == CHAT_T_FLOAT || is_word(token, "[") || is_word(token, "{");
    for (size_t i = 0; i < BM_COUNT(ends); i++)
        has_value = has_value && !is_word(token, ends[i]);
    if (chat_accept(parser, "(")) {
        node->b = parse_arguments(parser);
    } else if (has_value) {
        node->b = chat_new_node(parser, CHAT_N_ARGUMENT);
        if (node->b)
            node->b->a = parse_postfix(parser, parse_value(parser));
    }
    if (parser->status != BM_OK || !is_not)
        return parser->status == BM_OK ? node : NULL;
    chat_node *negated = chat_new_node(parser, CHAT_N_NOT);
    if (negated)
        negated->a = node;
    return negated;
}

static chat_node *parse_filters(chat_parser *parser, chat_node *node)
{
    char shown[64];
    while (node) {
        if (chat_accept(parser, "|")) {
            const chat_token *token = chat_peek(parser);
            chat_node *filter = chat_new_node(parser, CHAT_N_FILTER);
            if (!filter)
                return NULL;
            if (token->kind != CHAT_T_NAME)
                return chat_fail_parse(parser, BM_E_FORMAT, "expected a filter behind \"|\", found %s",
                                       found(parser, shown, sizeof shown));
            filter->a = node;
            filter->text = token->text;
            parser->at++;
            if (chat_accept(parser, "("))
                filter->b = parse_arguments(parser);
            node = parser->status == BM_OK ? filter : NULL;
        } else if (chat_accept(parser, "is")) {
            node = parse_test(parser, node);
        } else if (is_word(chat_peek(parser), "(")) { // the result of a filter may be called
            node = parse_postfix(parser, node);
        } else {
            break;
        }
    }
    return node;
}

// ---- operators ----

static chat_node *parse_unary(chat_parser *parser, bool has_filters)
{
    chat_node *node = NULL;
    if (!enter(parser))
        return NULL;
    if (chat_accept(parser, "-")) {
        chat_node *value = parse_unary(parser, false);
        node = value ? chat_new_node(parser, CHAT_N_NEGATIVE) : NULL;
        if (node)
            node->a = value;
    } else if (chat_accept(parser, "+")) {
        node = parse_unary(parser, false);
    } else {
        node = parse_value(parser);
    }
    node = parse_postfix(parser, node);
    parser->depth--;
    return has_filters ? parse_filters(parser, node) : node;
}

static chat_node *parse_product(chat_parser *parser)
{
    static const struct {
        const char *text;
        chat_operation operation;
    } operators[] = {
        {"*", CHAT_OP_MULTIPLY}, {"/", CHAT_OP_DIVIDE}, {"//", CHAT_OP_FLOOR_DIVIDE}, {"%", CHAT_OP_REMAINDER}};
    chat_node *node = parse_unary(parser, true);
    for (size_t i = 0; node && i < BM_COUNT(operators);) {
        if (chat_accept(parser, operators[i].text)) {
            node = join(parser, CHAT_N_BINARY, operators[i].operation, node, parse_unary(parser, true));
            i = 0;
        } else {
            i++;
        }
    }
    if (node && is_word(chat_peek(parser), "**"))
        return chat_fail_parse(parser, BM_E_UNSUPPORTED, "the operator \"**\" is not supported");
    return node;
}

static chat_node *parse_joined(chat_parser *parser)
{
    chat_node *node = parse_product(parser);
    while (node && chat_accept(parser, "~"))
        node = join(parser, CHAT_N_BINARY, CHAT_OP_CONCATENATE, node, parse_product(parser));
    return node;
}

static chat_node *parse_sum(chat_parser *parser)
{
    chat_node *node = parse_joined(parser);
    while (node) {
        if (chat_accept(parser, "+"))
            node = join(parser, CHAT_N_BINARY, CHAT_OP_ADD, node, parse_joined(parser));
        else if (chat_accept(parser, "-"))
            node = join(parser, CHAT_N_BINARY, CHAT_OP_SUBTRACT, node, parse_joined(parser));
        else
            break;
    }
    return node;
}

static bool accept_comparison(chat_parser *parser, chat_operation *operation)
{
    static const struct {
        const char *text;
        chat_operation operation;
    } operators[] = {{"==", CHAT_OP_EQUAL}, {"!=", CHAT_OP_NOT_EQUAL},     {"<=", CHAT_OP_LESS_EQUAL},
                     {"<", CHAT_OP_LESS},   {">=", CHAT_OP_GREATER_EQUAL}, {">", CHAT_OP_GREATER},
                     {"in", CHAT_OP_IN}};
    for (size_t i = 0; i < BM_COUNT(operators); i++)
        if (chat_accept(parser, operators[i].text)) {
            *operation = operators[i].operation;
            return true;
        }
    if (!is_word(chat_peek(parser), "not") || !is_word(chat_peek(parser) + 1, "in"))
        return false;
    parser->at += 2;
    *operation = CHAT_OP_NOT_IN;
    return true;
}

static chat_node *parse_comparison(chat_parser *parser)
{
    chat_node *node = parse_sum(parser), *chain = NULL, **last = NULL;
    chat_operation operation = CHAT_OP_EQUAL;
    while (node && accept_comparison(parser, &operation)) {
        if (!chain) {
            chain = chat_new_node(parser, CHAT_N_COMPARE);
            if (!chain)
                return NULL;
            chain->a = node;
            last = &chain->b;
            node = chain;
        }
        chat_node *step = chat_new_node(parser, CHAT_N_ARGUMENT);
        if (!step)
            return NULL;
        step->operation = operation;
        step->a = parse_sum(parser);
        if (!step->a)
            return NULL;
        *last = step;
        last = &step->next;
    }
    return node;
}

static chat_node *parse_not(chat_parser *parser)
{
    if (!is_word(chat_peek(parser), "not"))
        return parse_comparison(parser);
    if (!enter(parser))
        return NULL;
    parser->at++;
    chat_node *value = parse_not(parser);
    chat_node *node = value ? chat_new_node(parser, CHAT_N_NOT) : NULL;
    if (node)
        node->a = value;
    parser->depth--;
    return node;
}

static chat_node *parse_and(chat_parser *parser)
{
    chat_node *node = parse_not(parser);
    while (node && chat_accept(parser, "and"))
        node = join(parser, CHAT_N_AND, CHAT_OP_ADD, node, parse_not(parser));
    return node;
}

chat_node *chat_parse_or(chat_parser *parser)
{
    chat_node *node = parse_and(parser);
    while (node && chat_accept(parser, "or"))
        node = join(parser, CHAT_N_OR, CHAT_OP_ADD, node, parse_and(parser));
    return node;
}

chat_node *chat_parse_expression(chat_parser *parser)
{
    if (!enter(parser))
        return NULL;
    chat_node *node = chat_parse_or(parser);
    while (node && chat_accept(parser, "if")) {
        chat_node *choice = chat_new_node(parser, CHAT_N_CHOICE);
        if (!choice)
            return NULL;
        choice->b = node;
        choice->a = chat_parse_or(parser);
        choice->c = choice->a && chat_accept(parser, "else") ? chat_parse_expression(parser) : NULL;
        node = parser->status == BM_OK ? choice : NULL;
    }
    parser->depth--;
    return node;
}

chat_node *chat_parse_tuple(chat_parser *parser)
{
    chat_node *first = chat_parse_expression(parser), *tuple = NULL, **last = NULL;
    while (first && chat_accept(parser, ",")) {
        if (!tuple) {
            tuple = chat_new_node(parser, CHAT_N_TUPLE);
            if (!tuple)
                return NULL;
            tuple->a = first;
            last = &first->next;
        }
        if (is_word(chat_peek(parser), ")") || chat_peek(parser)->kind == CHAT_T_END_BLOCK ||
            chat_peek(parser)->kind == CHAT_T_END_VARIABLE)
            break;
        *last = chat_parse_expression(parser);
        if (!*last)
            return NULL;
        last = &(*last)->next;
    }
    return tuple ? tuple : first;
}
