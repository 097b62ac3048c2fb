// Chat templates: the text that a conversation becomes for a model, by the template that its chat_template.jinja,
// chat_template.json or tokenizer_config.json (key "chat_template") holds.
//
// The templates are programs of Jinja2, and fine-tunes have their own, so they are interpreted and not guessed by the
// name of the model. What is built is the part that published templates use: for (with if, else, break, continue), if,
// set (also as a block and on a namespace), macros; expressions with filters, tests, slices, comparisons, methods of
// strings and mappings; white space control with trim_blocks and lstrip_blocks, as transformers sets them. Anything else
// (include, import, block, call, printing a whole list) is refused with words and the line of the template.
//
// A template may come from anywhere: steps, memory, depth and output are bounded, and nothing of the machine is reachable
// but the date.
#ifndef BM_TEXT_CHAT_TEMPLATE_H
#define BM_TEXT_CHAT_TEMPLATE_H

#include "base/base.h"
#include "base/str.h"
#include "text/tokenizer.h"

typedef struct bm_chat_template bm_chat_template;

typedef struct bm_chat_message {
    const char *role, *content; // "system", "user", "assistant"
} bm_chat_message;

// A string that the template knows by name: "bos_token", "eos_token".
typedef struct bm_chat_variable {
    const char *name, *text;
} bm_chat_variable;

// Reads length bytes. name is what errors start with.
// Owns      close with bm_chat_template_close.
// Errors    BM_E_FORMAT no such program; BM_E_UNSUPPORTED a statement that is not built; BM_E_MEMORY.
bm_status bm_chat_template_parse(bm_chat_template **out, const char *text, size_t length, const char *name,
                                 bm_error *err);
void bm_chat_template_close(bm_chat_template **address);

// The text of a template in a model folder, and the file it comes from: the first, in transformers' order, of
// chat_template.jinja, and "chat_template" of chat_template.json and of tokenizer_config.json (a string, or a list of
// templates by name: "default").
typedef struct bm_chat_source {
    char *text, *path; // NULL: the folder has none; owned
    uint64_t length;
} bm_chat_source;

// Errors    BM_E_FORMAT a file of those that cannot be understood; BM_E_IO; BM_E_MEMORY. Free the source after them too.
bm_status bm_chat_source_find(const char *folder, bm_chat_source *out, bm_error *err);
void bm_chat_source_free(bm_chat_source *source);

// For words about what was looked for.
#define BM_CHAT_SOURCE_WORDS "chat_template.jinja, or \"chat_template\" of chat_template.json or tokenizer_config.json"

// Opens the template of a model folder; *out is NULL when it has none. A file is a template itself, or has it in the key
// "chat_template" where its name ends in .json. A GGUF file, and a folder without files that could hold a template whose
// only model is one, has the template that its metadata holds.
bm_status bm_chat_template_open(bm_chat_template **out, const char *folder_or_file, bm_error *err);

// Appends the text of a conversation. add_generation_prompt: the answer of the assistant is to follow.
// Errors    BM_E_FORMAT the template raises one (its words are told), or fails on these messages; BM_E_UNSUPPORTED a
//           filter, test, method or argument that is not built. More steps, memory or text than a template may take is
//           its own fault, BM_E_FORMAT, with the line and the bound.
bm_status bm_chat_template_render(const bm_chat_template *template, const bm_chat_message *messages,
                                  size_t num_messages, const bm_chat_variable *variables, size_t num_variables,
                                  bool add_generation_prompt, bm_string *out, bm_error *err);

// The same with the tokenizer's own "bos_token" and "eos_token": what a model is fed. Its ids come from
// bm_tokenizer_encode without special tokens, since the template writes those itself.
bm_status bm_chat_template_render_for(const bm_chat_template *template, const bm_tokenizer *tokenizer,
                                      const bm_chat_message *messages, size_t num_messages, bool add_generation_prompt,
                                      bm_string *out, bm_error *err);

#endif
