// The tokenizer inside a GGUF file: its parts, the keys tokenizer.ggml.*; or, where the file carries it, the whole
// tokenizer.json under tokenizer.huggingface.json, which then counts.
#ifndef BM_TEXT_TOKENIZER_GGUF_H
#define BM_TEXT_TOKENIZER_GGUF_H

#include "formats/gguf.h"
#include "text/tokenizer_parts.h"

// The parts and what of them does not lie in the file. Begin with zeros; free with bm_gguf_parts_free.
typedef struct bm_gguf_parts {
    bm_tokenizer_parts parts; // point into the file and into what follows
    bm_text_span *tokens, *merges;
    float *scores;
    int32_t *types;
} bm_gguf_parts;

// Errors: BM_E_FORMAT keys of other kinds or lengths that disagree, or no tokenizer at all; BM_E_MEMORY.
bm_status bm_gguf_parts_read(bm_gguf_parts *out, const bm_gguf *gguf, bm_error *err);
void bm_gguf_parts_free(bm_gguf_parts *parts);

// Errors: those above and those of bm_tokenizer_from_parts, or of bm_tokenizer_open. Close with bm_tokenizer_close.
bm_status bm_tokenizer_from_gguf(bm_tokenizer **out, const bm_gguf *gguf, bm_error *err);

// Whether llama.cpp reads keys that cannot be read here: it takes less care of ids, scores and the form of merges, but ends without
// a token for each id, a score and a type for each token, names that are each there once, and merges of "gpt2" (src/llama-vocab.cpp
// of 00ad355e); "no_vocab" and "none" need no tokens there. Errors: BM_E_FORMAT where it ends; BM_E_MEMORY.
bm_status bm_gguf_tokenizer_check_peers(const bm_gguf *gguf, bm_error *err);

// Appends the texts of tokenizer.json, tokenizer_config.json and generation_config.json. Where the file carries a
// tokenizer.json whose parts cannot be read as such, config and generation stay empty. Errors: as above.
bm_status bm_gguf_tokenizer_files(const bm_gguf *gguf, bm_string *json, bm_string *config, bm_string *generation,
                                  bm_error *err);

// "llama, 32000 tokens", "gpt2 (smollm), 49152 tokens", "none": what inspect says. Returns out.
#define BM_GGUF_TOKENIZER_SIZE 160
const char *bm_gguf_describe_tokenizer(const bm_gguf *gguf, char out[BM_GGUF_TOKENIZER_SIZE]);

#endif
