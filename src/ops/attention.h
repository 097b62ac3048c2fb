// Attention of tokens to rows of keys and values.
//
// Which keys a token sees is data: first_key[t] .. last_key[t]. That one rule covers causal attention, sliding windows,
// packed sequences, a ragged batch and the key/value cache of generation. No tokens x keys matrix is ever made.
#ifndef BM_OPS_ATTENTION_H
#define BM_OPS_ATTENTION_H

#include "device/tensor.h"

#define BM_ATTENTION_MAX_HEAD_DIM 256
#define BM_ATTENTION_MAX_MATRIX_DIM 128 // of the kernel on matrix units: outputs lie in registers

typedef struct bm_attention_params {
    uint32_t num_heads; // of queries
    uint32_t
        num_key_value_heads;     // divides num_heads: head h reads key/value head h / (num_heads / num_key_value_heads)
    uint32_t head_dim;           // a multiple of 8, at most BM_ATTENTION_MAX_HEAD_DIM
    float scale;                 // of q . k; usually 1 / sqrt(head_dim)
    bm_view first_key, last_key; // [tokens] u32: rows of keys, both inclusive and below k->rows (not checked on the
                                 // device); last < first: the token sees nothing and its output is zero. Rows between
                                 // the smallest first and the largest last must be finite, seen or not
    bm_view slopes;              // [num_heads] f32: slopes[h] (key - last_key[t]) is added to a score (alibi.h), keys
                                 // as rows; empty: nothing is
    float cap; // scores without that become cap tanh(score / cap); 0: they stay. Matrix units and attention
               // split over keys leave such calls to others
} bm_attention_params;

// y[t, h] = sum over the keys of token t of softmax(scale q[t, h] . k[key] + slopes[h] (key - last_key[t])) v[key].
//
//   q, y  [tokens, num_heads * head_dim]          real
//   k, v  [keys, num_key_value_heads * head_dim]  real; below 2^31 elements
//
// Cost     bm_attention_operations; no allocation.
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_UNSUPPORTED more keys than limits.max_loop_rounds allows (lavapipe:
//          29,000 for heads of 256, 86,000 for 64).
// Source   Vaswani et al., Attention Is All You Need, 2017, equation 1; Ainslie et al., GQA, 2023 (shared heads of
//          keys); Milakov and Gimelshein, Online normalizer calculation for softmax, 2018;
//          Press, Smith and Lewis, 2022 (slopes).
bm_status bm_attention(bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_tensor *v,
                       const bm_attention_params *params, const bm_tensor *y, bm_error *err);

// The variant that was asked for (bm_device_variant), where it runs on this device; else matrix units or tiles on GPUs that
// have them, and lanes on CPU devices with wide vectors (which take the plain kernel for fewer tokens than lanes).
const char *bm_attention_chosen(bm_device *device);
// Name of the index-th variant that runs on this device; NULL: there are no more.
const char *bm_attention_variant(bm_device *device, uint32_t index);
// The kernel of a call: name and number of its variant, the work-items in a group and, on matrix units, the keys of a tile (else 0).
typedef struct bm_attention_choice {
    const char *name;
    uint32_t variant, group, keys;
} bm_attention_choice;
// type: of q, k and v; BM_DTYPE_NONE: several. Matrix units take one type of theirs, 32 tokens and more, and heads of a multiple of 16 up
// to BM_ATTENTION_MAX_MATRIX_DIM; tiles take what they do not.
bm_attention_choice bm_attention_choose(bm_device *device, bm_dtype type, uint64_t tokens, uint32_t head_dim);

// Floating-point operations when every token sees keys_per_token keys.
double bm_attention_operations(uint64_t tokens, double keys_per_token, uint64_t heads, uint64_t head_dim);

#endif
