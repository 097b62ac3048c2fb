// What the original implementation computed, and the inputs of a first block's attention, of which all that it takes is
// an embedding and a norm. Everything aborts the test when it fails.
#ifndef BM_TESTS_QUANT_EQUALIZE_RECORDED_FIGURES_H
#define BM_TESTS_QUANT_EQUALIZE_RECORDED_FIGURES_H

#include "formats/checkpoint.h"
#include "formats/json.h"

#define RECORDED_SEQUENCES 32
#define RECORDED_LENGTH 128
#define RECORDED_BATCH 4

// False: the data are not here.
bool recorded_is_here(const char *model);
bm_json *recorded_read(const char *model, const char *strategy); // bm_json_destroy
// The member at the end of a path of keys, up to NULL.
const bm_json *recorded_find(const bm_json *root, ...);
// The values of a recorded vector, "values" or "first8"; returns how many, at most `most`.
uint32_t recorded_values(const bm_json *vector, float *out, uint32_t most);

// A tensor as float32 [*rows, *cols]; free it. A vector has one row.
float *recorded_tensor(const char *model, const char *name, uint32_t *rows, uint32_t *cols);
// Inputs of q_proj, k_proj, v_proj of block 0, [RECORDED_SEQUENCES, RECORDED_LENGTH, *channels]; free them.
float *recorded_inputs(const char *model, uint32_t *channels);

#endif
