// int8_maker: a float model with its linears in 8 bits, in the form int-quantized of compressed-tensors, by plain rounding; what
// becomes of their inputs is given. Written down here apart from the program's own rounding, and without a device.
#ifndef BM_TESTS_INT8_MAKER_H
#define BM_TESTS_INT8_MAKER_H

#include "store/store.h"

// Writes the model of folder, float32 in one file, into out, which is created.
//
//   steps     [blocks, 4] of the inputs of q k v, o, gate up, down; NULL: each token has its own
//   left_out  a linear that stays float in every block, "self_attn.o_proj"; NULL: none
//
// Errors: BM_E_IO, BM_E_MEMORY; BM_E_ARGUMENT for another number of steps.
bm_status int8_maker_write(const char *folder, const char *out, const float *steps, uint32_t num_steps,
                           const char *left_out, bm_error *err);

#endif
