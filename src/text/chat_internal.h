// What the files chat_*.c share: tokens, the tree of a template, values and the state of a run.
//
//   chat_open.c        a template's life
//   chat_lexer.c       text -> tokens, white space control
//   chat_parser.c      tokens -> statements
//   chat_expression.c  tokens -> expressions
//   chat_value.c       memory, values, JSON
//   chat_evaluate.c    expressions -> values
//   chat_execute.c     statements -> text
//   chat_filters.c     what stands behind "|"
//   chat_tests.c       what stands behind "is"
//   chat_calls.c       functions and methods
#ifndef BM_TEXT_CHAT_INTERNAL_H
#define BM_TEXT_CHAT_INTERNAL_H

#include "text/chat_template.h"

#include <stdio.h>

// Bounds on what a template may ask for; real ones stay far below all of them.
#define CHAT_MAX_BYTES ((size_t)1 << 18)     // of a template
#define CHAT_MAX_NESTING 60u                 // of expressions and statements
#define CHAT_MAX_CALLS 16u                   // of macros in macros
#define CHAT_MAX_STEPS (UINT64_C(1) << 22)   // expressions and statements of a run
#define CHAT_MAX_MEMORY (UINT64_C(64) << 20) // of a run, beside the messages
#define CHAT_MAX_ARGUMENTS 8u

typedef struct chat_text {
    const char *data;
    size_t length;
} chat_text;
#define CHAT_TEXT(literal) ((chat_text){(literal), sizeof(literal) - 1})
bool chat_is(chat_text text, const char *word);
bool chat_equal(chat_text a, chat_text b);

// ---- memory: blocks that are freed together ----
typedef struct chat_arena {
    struct chat_block *blocks;
    uint64_t used, limit;
    bool is_full; // the limit refused an allocation
} chat_arena;
void *chat_alloc(chat_arena *arena, uint64_t count, uint64_t size); // zeros; NULL: the limit, or no memory
void chat_arena_free(chat_arena *arena);

// ---- tokens ----
typedef enum chat_token_kind {
    CHAT_T_END,
    CHAT_T_TEXT,
    CHAT_T_BEGIN_VARIABLE,
    CHAT_T_END_VARIABLE,
    CHAT_T_BEGIN_BLOCK,
    CHAT_T_END_BLOCK,
    CHAT_T_NAME,
    CHAT_T_STRING,
    CHAT_T_INTEGER,
    CHAT_T_FLOAT,
    CHAT_T_OPERATOR
} chat_token_kind;

typedef struct chat_token {
    chat_token_kind kind;
    uint32_t line;
    chat_text text; // of a string: its value
    int64_t integer;
    double real;
} chat_token;

// ---- the tree ----
typedef enum chat_node_kind {
    // statements
    CHAT_N_TEXT,     // text
    CHAT_N_PRINT,    // a
    CHAT_N_IF,       // a: condition, b: body, c: what else
    CHAT_N_FOR,      // a: targets, b: list, c: condition or NULL, d: body, e: else
    CHAT_N_SET,      // a: targets (NAME or ATTRIBUTE), b: value
    CHAT_N_SET_TEXT, // a: target, b: body
    CHAT_N_MACRO,    // text: name, a: parameters (NAME with a: default), b: body
    CHAT_N_BREAK,
    CHAT_N_CONTINUE,
    // expressions
    CHAT_N_CONSTANT, // token
    CHAT_N_NAME,     // text
    CHAT_N_LIST,     // a: items
    CHAT_N_TUPLE,
    CHAT_N_DICT,      // a: keys and values in turn
    CHAT_N_ATTRIBUTE, // a: object, text
    CHAT_N_ITEM,      // a: object, b: index
    CHAT_N_SLICE,     // a: object, b: start, c: stop, d: step; each may be NULL
    CHAT_N_CALL,      // a: callee, b: arguments
    CHAT_N_ARGUMENT,  // a: value, text: keyword or length 0
    CHAT_N_FILTER,    // a: value, text: name, b: arguments
    CHAT_N_TEST,      // a: value, text: name, b: arguments
    CHAT_N_NOT,       // a
    CHAT_N_NEGATIVE,  // a
    CHAT_N_BINARY,    // a, b, operation
    CHAT_N_AND,       // a, b
    CHAT_N_OR,        // a, b
    CHAT_N_COMPARE,   // a, and b: ARGUMENTs with an operation each, a chain
    CHAT_N_CHOICE     // a: condition, b: then, c: else or NULL
} chat_node_kind;

typedef enum chat_operation {
    CHAT_OP_ADD,
    CHAT_OP_SUBTRACT,
    CHAT_OP_MULTIPLY,
    CHAT_OP_DIVIDE,
    CHAT_OP_FLOOR_DIVIDE,
    CHAT_OP_REMAINDER,
    CHAT_OP_CONCATENATE,
    CHAT_OP_EQUAL,
    CHAT_OP_NOT_EQUAL,
    CHAT_OP_LESS,
    CHAT_OP_LESS_EQUAL,
    CHAT_OP_GREATER,
    CHAT_OP_GREATER_EQUAL,
    CHAT_OP_IN,
    CHAT_OP_NOT_IN
} chat_operation;

typedef struct chat_node {
    chat_node_kind kind;
    chat_operation operation;
    uint32_t line;
    chat_text text;
    chat_token_kind constant; // STRING, INTEGER, FLOAT, or NAME: true, false, none
    int64_t integer;
    double real;
    struct chat_node *a, *b, *c, *d, *e;
    struct chat_node *next; // of a list of nodes
} chat_node;

struct bm_chat_template {
    chat_arena arena;
    char *name;
    char *source;
    chat_node *body;
};

// ---- parsing ----
typedef struct chat_parser {
    bm_chat_template *template;
    const chat_token *tokens;
    size_t at;
    uint32_t depth;
    uint32_t loops; // that are open
    bm_error *err;
    bm_status status;
} chat_parser;

bm_status chat_tokenize(bm_chat_template *template, chat_token **out, bm_error *err);
// All return NULL after a failure, whose words are in parser->err.
chat_node *chat_fail_parse(chat_parser *parser, bm_status status, const char *format, ...) BM_PRINTF(3, 4);
chat_node *chat_new_node(chat_parser *parser, chat_node_kind kind);
const chat_token *chat_peek(const chat_parser *parser);
bool chat_accept(chat_parser *parser, const char *operation_or_name); // takes the token if it is that
bool chat_expect(chat_parser *parser, const char *operation_or_name);
chat_node *chat_parse_expression(chat_parser *parser);
chat_node *chat_parse_tuple(chat_parser *parser);                       // a, b, c is a tuple
chat_node *chat_parse_or(chat_parser *parser);                          // an expression without "x if y"
chat_node *chat_parse_targets(chat_parser *parser);                     // names, or name.attribute, separated by commas
bm_status chat_parse_source(bm_chat_template *template, bm_error *err); // to template->body
chat_node *chat_parse_body(chat_parser *parser, const char *const *ends, const char **end);

// ---- values ----
typedef enum chat_kind {
    CHAT_UNDEFINED, // text: the name
    CHAT_NONE,
    CHAT_BOOL,
    CHAT_INTEGER,
    CHAT_FLOAT,
    CHAT_STRING,
    CHAT_LIST,
    CHAT_DICT,
    CHAT_MACRO,
    CHAT_FUNCTION // text: the name
} chat_kind;

typedef struct chat_value {
    chat_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        chat_text text;
        struct chat_list *list;
        struct chat_dict *dict;
        const struct chat_macro *macro;
    } as;
} chat_value;

typedef struct chat_list {
    chat_value *items;
    uint32_t count, capacity;
} chat_list;

typedef struct chat_entry {
    chat_text key;
    chat_value value;
} chat_entry;

typedef struct chat_dict {
    chat_entry *entries;
    uint32_t count, capacity;
    bool is_namespace; // may be assigned to
} chat_dict;

// Names of one block; those of the blocks around it are seen through parent.
typedef struct chat_scope {
    chat_dict names;
    struct chat_scope *parent;
} chat_scope;

typedef struct chat_macro {
    const chat_node *node;
    chat_scope *scope; // where it was defined
} chat_macro;

typedef enum chat_flow { CHAT_GOES_ON, CHAT_BREAKS, CHAT_CONTINUES } chat_flow;

typedef struct chat_run {
    const bm_chat_template *template;
    chat_arena arena;
    chat_scope *scope;
    bm_string *out;
    uint64_t steps;
    size_t written; // bytes of all texts that are open: the output, blocks of set, macros
    uint32_t calls, depth;
    bm_error *err;
} chat_run;

typedef struct chat_arguments {
    chat_value values[CHAT_MAX_ARGUMENTS];
    chat_text names[CHAT_MAX_ARGUMENTS]; // length 0: by position
    uint32_t count;
} chat_arguments;

bm_status chat_fail(chat_run *run, const chat_node *node, bm_status status, const char *format, ...) BM_PRINTF(4, 5);
// What a failed allocation is: the template's fault where it asked for more than it may have.
bm_status chat_no_memory(chat_run *run, const chat_node *node);
bool chat_is_spent(const chat_run *run); // no steps are left: loops end, and what stands behind them fails
bm_status chat_check_steps(chat_run *run, const chat_node *node);
// Takes steps for work that grows with a text: a number of bytes, looked at so many times.
bm_status chat_spend(chat_run *run, const chat_node *node, uint64_t bytes, uint64_t times);

chat_value chat_string(chat_text text);
chat_value chat_integer(int64_t value);
chat_value chat_boolean(bool value);
bool chat_truth(chat_value value);
bool chat_is_number(chat_value value); // bool, integer or float
double chat_number(chat_value value);  // of those
bool chat_values_equal(chat_run *run, chat_value a, chat_value b, uint32_t depth);
const char *chat_kind_name(chat_value value);                                    // "a string", for messages
chat_value *chat_dict_find(chat_run *run, const chat_dict *dict, chat_text key); // takes steps, as a comparison does
bool chat_dict_set(chat_run *run, chat_dict *dict, chat_text key, chat_value value); // false: memory
bool chat_list_add(chat_arena *arena, chat_list *list, chat_value value);
bool chat_new_list(chat_run *run, chat_value *out);
bool chat_new_dict(chat_run *run, chat_value *out);
size_t chat_length_of(chat_text text); // characters
// Appends bytes to a text that is going to be copied into the run's memory; false: no more.
bool chat_append(chat_run *run, bm_string *out, const char *data, size_t length);
// Copies bytes into the run's memory; false: no more.
bool chat_copy(chat_run *run, const char *data, size_t length, chat_text *out);
// What printing writes. Errors: a list or mapping has no text here.
bm_status chat_text_of(chat_run *run, const chat_node *node, chat_value value, chat_text *out);
bm_status chat_to_json(chat_run *run, const chat_node *node, chat_value value, int64_t indent, chat_text *out);
// The items of a list, the keys of a mapping, the characters of a string; of undefined: none.
bm_status chat_iterate(chat_run *run, const chat_node *node, chat_value value, chat_list **out);

bm_status chat_evaluate(chat_run *run, const chat_node *node, chat_value *out);
bm_status chat_get(chat_run *run, const chat_node *node, chat_value object, chat_text key, chat_value *out);
bm_status chat_compare(chat_run *run, const chat_node *node, chat_operation operation, chat_value a, chat_value b,
                       bool *out);
bm_status chat_execute(chat_run *run, const chat_node *body, chat_flow *flow);
bm_status chat_call_macro(chat_run *run, const chat_node *node, const chat_macro *macro,
                          const chat_arguments *arguments, chat_value *out);
bm_status chat_filter(chat_run *run, const chat_node *node, chat_text name, chat_value value,
                      const chat_arguments *arguments, chat_value *out);
bm_status chat_test(chat_run *run, const chat_node *node, chat_text name, chat_value value,
                    const chat_arguments *arguments, bool *out);
bm_status chat_call_function(chat_run *run, const chat_node *node, chat_text name, const chat_arguments *arguments,
                             chat_value *out);
bm_status chat_call_method(chat_run *run, const chat_node *node, chat_value object, chat_text name,
                           const chat_arguments *arguments, chat_value *out);
// An argument by position or keyword; NULL: not given.
const chat_value *chat_argument(const chat_arguments *arguments, uint32_t position, const char *name);
// Without the characters of set (of length 0: white space) at its ends; a part of text.
bm_status chat_strip(chat_run *run, const chat_node *node, chat_text text, chat_text set, bool left, bool right,
                     chat_value *out);
size_t chat_find(chat_text text, chat_text part, size_t from); // SIZE_MAX: not there
bm_status chat_replace(chat_run *run, const chat_node *node, chat_text text, chat_text from, chat_text to,
                       int64_t limit, chat_value *out);
bm_status chat_change_case(chat_run *run, const chat_node *node, chat_text text, const char *how, chat_value *out);

#endif
