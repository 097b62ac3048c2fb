// attention, variant _mma_wide: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], on NVIDIA's matrix units.
// No twin: Vulkan reaches those by cooperative matrices, shaders/attention_cm.comp.
//
//   q                    [tokens, heads * head_dim]     float16 or bfloat16
//   k, v                 [keys, kv_heads * head_dim]    as q
//   y                    [tokens, heads * head_dim]     real; apart from q, k and v
//   first_key, last_key  [1, tokens]                    u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                       none (last_key < first_key) gives zeros
//   slopes               [1, heads]                     bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//
// A subgroup has 32 tokens, a work-group GROUP: cl/include/attention_mma.h. So each key that is loaded serves twice as many, and rows
// of q stay in local memory. Its rows are not padded: quads of a row are exchanged by its number, so that one of eight rows lies in
// all banks.
// GROUP: 128. TILE_KEYS: 32 or, for HEAD_DIM 64, 64. HEAD_DIM: 64 or 128. Local memory, in bytes: (GROUP + 2 * TILE_KEYS) * 2 * HEAD_DIM.
// Bound: beside that of the other variants, with sums that may be cut instead of rounded (4 times): weights, at most 1, are rounded to
// the type of v, 2^-11 (bfloat16: 2^-8) of each or 2^-25 (float16) where that is more, in the values' sum and in the weights' sum alike.
#define PARTS 2
#define KERNEL attention_mma_wide
#include "attention_mma.h"
