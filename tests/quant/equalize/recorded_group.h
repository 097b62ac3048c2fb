// The group of q_proj, k_proj and v_proj of a recorded model's block 0, whose inputs need no model.
#ifndef BM_TESTS_QUANT_EQUALIZE_RECORDED_GROUP_H
#define BM_TESTS_QUANT_EQUALIZE_RECORDED_GROUP_H

#include "quant/equalize/channel_statistics.h"
#include "quant/equalize/recorded_figures.h"
#include "support/unit.h"

#define NORM "model.layers.0.input_layernorm"
#define ATTENTION "model.layers.0.self_attn."
#define MOST_CHANNELS 1024

// The inputs and what the room keeps of them.
typedef struct group {
    float *inputs;
    uint32_t channels;
    bm_channel_statistics stats;
} group;

group make_group(const char *model);
void free_group(group *g);
// Values [count] are the recorded ones, as far as these go, to `most` relative (absolute below 1).
void check_vector(const bm_json *recorded, const float *values, uint32_t count, double most);
// Largest inputs behind the first step, and the weights of the last linear alone; a, w [channels].
void find_a_and_w(const group *g, const float *weights, uint32_t rows, double *a, float *w);

// main of a program: its tests for each model of which the figures are here, *state the model's name. Exit status 77: for none.
int run_on_recorded_models(struct CMUnitTest *tests, size_t num_tests);

#endif
