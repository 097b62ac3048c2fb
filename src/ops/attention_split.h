// Attention of few tokens to a long cache: the keys of a token are cut into parts, which different work-groups take, and what they
// found is combined. Heads that share keys and values read them once.
#ifndef BM_OPS_ATTENTION_SPLIT_H
#define BM_OPS_ATTENTION_SPLIT_H

#include "ops/attention.h"

#define BM_ATTENTION_MAX_SPLIT_TOKENS 8 // each one reads the keys for itself

// Variant of kernel attention_split and the work-items in a group that this device gets.
uint32_t bm_attention_split_form(const bm_device *device, uint32_t *group);
bool bm_attention_split_runs(const bm_device *device);
// How many heads of the share that has the same keys and values read them together: 1, 2 or 4.
uint32_t bm_attention_shared_heads(const bm_device *device, uint32_t share, uint32_t head_dim);
// How many parts the keys of each token are cut into, by the table of devices; 0: another kernel is as fast there.
//
//   is_asked  the variant was asked for by its name: at least one part, where tokens are few
uint32_t bm_attention_splits(const bm_device *device, uint64_t tokens, uint64_t keys, uint32_t num_heads,
                             uint32_t num_key_value_heads, uint32_t head_dim, bool is_asked);
// As bm_attention, whose checks have passed, in so many parts. Needs bm_device_scratch: head_dim + 4 floats for each token, head and
// part. Errors: BM_E_UNSUPPORTED more keys than limits.max_loop_rounds allows; BM_E_DEVICE.
bm_status bm_attention_run_split(bm_device *device, const bm_tensor *q, const bm_tensor *k, const bm_tensor *v,
                                 const bm_attention_params *params, uint32_t splits, const bm_tensor *y, bm_error *err);

#endif
