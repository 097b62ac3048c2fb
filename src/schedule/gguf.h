// A GGUF file as the output: which models it holds, its metadata, and its tensors.
#ifndef BM_SCHEDULE_GGUF_H
#define BM_SCHEDULE_GGUF_H

#include "schedule/emit.h"

// A mixture of types of linears, by gguf_type.
typedef struct bm_gguf_mixture_row {
    const char *name, *words; // "Q4_K_M", "gguf (Q4_K_M)"
    uint32_t file_type;       // general.file_type
} bm_gguf_mixture_row;
const bm_gguf_mixture_row *bm_gguf_mixture_find(bm_gguf_mixture mixture); // NULL: linears have one type

// Whether the plan's output is one.
bool bm_plan_writes_gguf(const bm_plan *plan);

// Whether an architecture of llama.cpp computes the model. Errors: BM_E_ARGUMENT with what was found and expected, without a
// file.
bm_status bm_gguf_check_model(const bm_model *model, bm_error *err);

// Names the file and writes down what stands in front of its tensors: the model's shape, its tokenizer, its chat template.
// A tokenizer that llama.cpp's metadata cannot say goes along whole, under a key that other programs read, with a note.
// bm_gguf_check_model has passed. Errors: those of reading the tokenizer's files; BM_E_MEMORY.
bm_status bm_plan_describe_gguf(bm_plan *plan, const char *tokenizer_folder, const bm_model *model, bm_error *err);

// Makes the file's writer and declares all tensors. Errors: BM_E_ARGUMENT for a tensor that the architecture has no place for.
bm_status bm_emit_gguf_writer(const bm_model *model, const bm_plan *plan, const char *folder,
                              bm_checkpoint_writer **out, bm_error *err);

// Whether the file has a tensor that scales the frequencies of a head one by one, [head_dim / 2] float32; and writes it.
bool bm_gguf_has_rope_freqs(const bm_model *model);
bm_status bm_emit_gguf_rope_freqs(const bm_emit_context *emit, bm_error *err);

#endif
