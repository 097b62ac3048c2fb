// Statements of a template.
#include "text/chat_internal.h"

#include <string.h>

static chat_node *parse_statement(chat_parser *parser);

static bool end_tag(chat_parser *parser)
{
    if (chat_peek(parser)->kind == CHAT_T_END_BLOCK) {
        parser->at++;
        return true;
    }
    chat_expect(parser, "%}"); // no such operator: it fails with what is there
    return false;
}

// Is the next tag one of these words?
static const char *end_word(const chat_parser *parser, const char *const *ends)
{
    const chat_token *token = chat_peek(parser);
    if (token->kind != CHAT_T_BEGIN_BLOCK || token[1].kind != CHAT_T_NAME)
        return NULL;
    for (; *ends; ends++)
        if (chat_is(token[1].text, *ends))
            return *ends;
    return NULL;
}

static chat_node *parse_piece(chat_parser *parser)
{
    const chat_token *token = chat_peek(parser);
    chat_node *node = NULL;
    if (token->kind == CHAT_T_TEXT) {
        node = chat_new_node(parser, CHAT_N_TEXT);
        if (node)
            node->text = token->text;
        parser->at++;
        return node;
    }
    if (token->kind == CHAT_T_BEGIN_VARIABLE) {
        node = chat_new_node(parser, CHAT_N_PRINT);
        parser->at++;
        chat_node *value = node ? chat_parse_tuple(parser) : NULL;
        if (!value)
            return NULL;
        node->a = value;
        if (chat_peek(parser)->kind != CHAT_T_END_VARIABLE) {
            chat_expect(parser, "}}");
            return NULL;
        }
        parser->at++;
        return node;
    }
    return parse_statement(parser);
}

// Pieces up to a tag with one of the words, which is taken up to the word; with ends NULL up to the end. *end: the word.
chat_node *chat_parse_body(chat_parser *parser, const char *const *ends, const char **end)
{
    chat_node *first = NULL, **last = &first;
    const uint32_t line = parser->at > 0 ? parser->tokens[parser->at - 1].line : 1; // of the tag that opened it
    if (++parser->depth > CHAT_MAX_NESTING)
        return chat_fail_parse(parser, BM_E_FORMAT, "nested more than %u deep", CHAT_MAX_NESTING);
    while (parser->status == BM_OK) {
        const char *word = ends ? end_word(parser, ends) : NULL;
        if (word) {
            *end = word;
            parser->at += 2;
            break;
        }
        if (chat_peek(parser)->kind == CHAT_T_END) {
            if (ends)
                chat_fail_parse(parser, BM_E_FORMAT, "expected \"{%% %s %%}\" of the tag in line %u, found the end",
                                ends[0], line);
            break;
        }
        chat_node *node = parse_piece(parser);
        if (!node)
            break;
        *last = node;
        while (*last)
            last = &(*last)->next;
    }
    parser->depth--;
    return parser->status == BM_OK ? first : NULL;
}

static chat_node *parse_if(chat_parser *parser)
{
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    static const char *const last_ends[] = {"endif", NULL};
    const char *end = NULL;
    chat_node *node = chat_new_node(parser, CHAT_N_IF), *first = node;
    while (node) {
        node->a = chat_parse_tuple(parser);
        if (!node->a || !end_tag(parser))
            return NULL;
        node->b = chat_parse_body(parser, ends, &end);
        if (parser->status != BM_OK)
            return NULL;
        if (strcmp(end, "elif") != 0)
            break;
        node->c = chat_new_node(parser, CHAT_N_IF);
        node = node->c;
    }
    if (node && strcmp(end, "else") == 0 && end_tag(parser))
        node->c = chat_parse_body(parser, last_ends, &end);
    return parser->status == BM_OK && end_tag(parser) ? first : NULL;
}

chat_node *chat_parse_targets(chat_parser *parser)
{
    chat_node *first = NULL, **last = &first;
    const bool has_brackets = chat_accept(parser, "(");
    do {
        const chat_token *token = chat_peek(parser);
        chat_node *node = chat_new_node(parser, CHAT_N_NAME);
        if (!node)
            return NULL;
        if (token->kind != CHAT_T_NAME || chat_is(token->text, "loop"))
            return chat_fail_parse(parser, BM_E_FORMAT, "expected a name to assign to");
        node->text = token->text;
        parser->at++;
        if (chat_accept(parser, ".")) {
            chat_node *attribute = chat_new_node(parser, CHAT_N_ATTRIBUTE);
            if (!attribute)
                return NULL;
            if (chat_peek(parser)->kind != CHAT_T_NAME)
                return chat_fail_parse(parser, BM_E_FORMAT, "expected a name behind \".\"");
            attribute->a = node;
            attribute->text = chat_peek(parser)->text;
            parser->at++;
            node = attribute;
        }
        *last = node;
        last = &node->next;
    } while (chat_accept(parser, ","));
    return !has_brackets || chat_expect(parser, ")") ? first : NULL;
}

static chat_node *parse_for(chat_parser *parser)
{
    static const char *const ends[] = {"endfor", "else", NULL};
    static const char *const last_ends[] = {"endfor", NULL};
    const char *end = NULL;
    chat_node *node = chat_new_node(parser, CHAT_N_FOR);
    if (!node)
        return NULL;
    node->a = chat_parse_targets(parser);
    if (!node->a || !chat_expect(parser, "in"))
        return NULL;
    node->b = chat_parse_or(parser);
    if (node->b && chat_accept(parser, "if"))
        node->c = chat_parse_expression(parser);
    if (chat_accept(parser, "recursive"))
        return chat_fail_parse(parser, BM_E_UNSUPPORTED, "\"recursive\" is not supported");
    if (parser->status != BM_OK || !end_tag(parser))
        return NULL;
    parser->loops++;
    node->d = chat_parse_body(parser, ends, &end);
    parser->loops--;
    if (parser->status == BM_OK && strcmp(end, "else") == 0 && end_tag(parser))
        node->e = chat_parse_body(parser, last_ends, &end);
    return parser->status == BM_OK && end_tag(parser) ? node : NULL;
}

static chat_node *parse_set(chat_parser *parser)
{
    static const char *const ends[] = {"endset", NULL};
    const char *end = NULL;
    chat_node *node = chat_new_node(parser, CHAT_N_SET);
    if (!node)
        return NULL;
    node->a = chat_parse_targets(parser);
    if (!node->a)
        return NULL;
    if (chat_accept(parser, "=")) {
        node->b = chat_parse_tuple(parser);
        return node->b && end_tag(parser) ? node : NULL;
    }
    node->kind = CHAT_N_SET_TEXT;
    if (!end_tag(parser))
        return NULL;
    node->b = chat_parse_body(parser, ends, &end);
    return parser->status == BM_OK && end_tag(parser) ? node : NULL;
}

static chat_node *parse_macro(chat_parser *parser)
{
    static const char *const ends[] = {"endmacro", NULL};
    const char *end = NULL;
    chat_node *node = chat_new_node(parser, CHAT_N_MACRO);
    if (!node)
        return NULL;
    if (chat_peek(parser)->kind != CHAT_T_NAME)
        return chat_fail_parse(parser, BM_E_FORMAT, "expected the name of a macro");
    node->text = chat_peek(parser)->text;
    parser->at++;
    if (!chat_expect(parser, "("))
        return NULL;
    chat_node **last = &node->a;
    for (uint32_t count = 0; !chat_accept(parser, ")"); count++) {
        if (count > 0 && !chat_expect(parser, ","))
            return NULL;
        chat_node *parameter = chat_new_node(parser, CHAT_N_NAME);
        if (!parameter)
            return NULL;
        if (chat_peek(parser)->kind != CHAT_T_NAME || count == CHAT_MAX_ARGUMENTS)
            return chat_fail_parse(parser, BM_E_FORMAT, "expected up to %u names of parameters", CHAT_MAX_ARGUMENTS);
        parameter->text = chat_peek(parser)->text;
        parser->at++;
        if (chat_accept(parser, "="))
            parameter->a = chat_parse_expression(parser);
        if (parser->status != BM_OK)
            return NULL;
        *last = parameter;
        last = &parameter->next;
    }
    if (!end_tag(parser))
        return NULL;
    const uint32_t loops = parser->loops; // a break in a macro ends none outside
    parser->loops = 0;
    node->b = chat_parse_body(parser, ends, &end);
    parser->loops = loops;
    return parser->status == BM_OK && end_tag(parser) ? node : NULL;
}

// {% generation %}, transformers' mark around what the model says: its body as it is.
static chat_node *parse_generation(chat_parser *parser)
{
    static const char *const ends[] = {"endgeneration", NULL};
    const char *end = NULL;
    chat_node *node = chat_new_node(parser, CHAT_N_TEXT), *body = NULL;
    if (!node || !end_tag(parser))
        return NULL;
    body = chat_parse_body(parser, ends, &end);
    if (parser->status != BM_OK || !end_tag(parser))
        return NULL;
    node->next = body;
    return node;
}

static chat_node *parse_flow(chat_parser *parser, chat_node_kind kind)
{
    if (parser->loops == 0)
        return chat_fail_parse(parser, BM_E_FORMAT, "\"break\" or \"continue\" outside of a loop");
    chat_node *node = chat_new_node(parser, kind);
    return node && end_tag(parser) ? node : NULL;
}

static chat_node *parse_statement(chat_parser *parser)
{
    parser->at++;
    if (chat_accept(parser, "if"))
        return parse_if(parser);
    if (chat_accept(parser, "for"))
        return parse_for(parser);
    if (chat_accept(parser, "set"))
        return parse_set(parser);
    if (chat_accept(parser, "macro"))
        return parse_macro(parser);
    if (chat_accept(parser, "generation"))
        return parse_generation(parser);
    if (chat_accept(parser, "break"))
        return parse_flow(parser, CHAT_N_BREAK);
    if (chat_accept(parser, "continue"))
        return parse_flow(parser, CHAT_N_CONTINUE);
    char shown[64];
    const chat_text word = chat_peek(parser)->kind == CHAT_T_NAME ? chat_peek(parser)->text : CHAT_TEXT("?");
    return chat_fail_parse(parser, BM_E_UNSUPPORTED,
                           "the statement \"%s\" is not supported, expected if, for, set, macro, break or continue",
                           bm_printable(word.data, word.length, shown, sizeof shown));
}

bm_status chat_parse_source(bm_chat_template *template, bm_error *err)
{
    chat_token *tokens = NULL;
    const bm_status status = chat_tokenize(template, &tokens, err);
    if (status != BM_OK)
        return status;
    chat_parser parser = {.template = template, .tokens = tokens, .err = err};
    template->body = chat_parse_body(&parser, NULL, NULL);
    bm_free(tokens);
    return parser.status;
}
