// Shared by the descriptions of attention, whole and in parts: inputs, and what is read of them.
#ifndef BM_TESTS_KERNELS_ATTENTION_H
#define BM_TESTS_KERNELS_ATTENTION_H

#include "kernels/harness.h"

enum { TOKENS, KEYS, HEADS, KV_HEADS, HEAD_DIM, MASK, HAS_SLOPES, SPLITS, CAP = SPLITS };
enum { Q, K, V, FIRST_KEY, LAST_KEY, SLOPES, Y };
// Masks: causal, with a window, packed sequences, tokens behind a cache, and some tokens that see nothing.
enum { CAUSAL, WINDOW, PACKED, CACHED, HOLES };

// Shapes and fills all buffers but Y. window: keys that a token sees by the mask WINDOW.
void attention_make(kernel_run *run, uint32_t window);
// The score of a key for token t and head h, summed from the last column, and the sum of the sizes of its products.
double attention_score(const kernel_run *run, uint32_t t, uint32_t h, uint32_t key, double *size);
double attention_value(const kernel_run *run, uint32_t h, uint32_t key, uint32_t d);
double attention_operations(const kernel_run *run);

#endif
