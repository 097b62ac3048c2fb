// The rules by which loaders of compressed-tensors accept a quantization_config.
#ifndef BM_TESTS_LOADERS_RULES_H
#define BM_TESTS_LOADERS_RULES_H

#include "store/compressed_tensors.h"

// Applies the loaders' rules to a quantization_config that we wrote (fused siblings among the ignored, sorted and
// permitted keys, explicit schemes, symmetric channel or group weights, ...). Violations are appended to words, one a
// line; returns their number. num_layers is the number of blocks of the model.
uint32_t bm_compressed_tensors_check_loaders(const bm_json *object, uint32_t num_layers, bm_string *words);

#endif
