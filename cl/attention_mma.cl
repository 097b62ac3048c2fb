// attention, variant _mma: y[t, h] = sum over keys of softmax(scale q[t, h] . k[key, g] + bias) v[key, g], on NVIDIA's matrix units.
// No twin: Vulkan reaches those by cooperative matrices, shaders/attention_cm.comp.
//
//   q                    [tokens, heads * head_dim]     float16 or bfloat16
//   k, v                 [keys, kv_heads * head_dim]    as q
//   y                    [tokens, heads * head_dim]     real; apart from q, k and v
//   first_key, last_key  [1, tokens]                    u32: token t sees rows first_key[t] .. last_key[t] of k and v;
//                                                       none (last_key < first_key) gives zeros
//   slopes               [1, heads]                     bias = slopes[h] (key - last_key[t]); has_slopes 0: none, bias = 0
//
// A subgroup has 16 tokens, a work-group GROUP / 2: cl/include/attention_mma.h. Rows of q stay in registers; rows of k and v in local
// memory are 16 bytes longer than they need be, so that no two of eight rows lie in the same banks.
// GROUP: a multiple of 32. TILE_KEYS: 32 or 64. HEAD_DIM: a multiple of 16 up to 128. Local memory, in bytes:
// max(2 * TILE_KEYS, GROUP / 2) * (2 * HEAD_DIM + 16) + GROUP / 4.
// Bound: beside that of the other variants, with sums that may be cut instead of rounded (4 times): weights, at most 1, are rounded to
// the type of v, 2^-11 (bfloat16: 2^-8) of each or 2^-25 (float16) where that is more, in the values' sum and in the weights' sum alike.
#define PARTS 1
#define KERNEL attention_mma
#include "attention_mma.h"
