// equalize_fixture: small made models, runs over them with keys of a parameter file, and what tests ask of the results. Everything
// aborts the test when it fails.
#ifndef BM_TESTS_SCHEDULE_EQUALIZE_FIXTURE_H
#define BM_TESTS_SCHEDULE_EQUALIZE_FIXTURE_H

#include "schedule/equalize.h"
#include "schedule/on_device.h"
#include "schedule/run.h"
#include "support/model_maker.h"

// ---- models and data

#define INPUT_NORM "model.layers.0.input_layernorm.weight"

model_maker_params small_model(void);
// A new folder with the model, six sequences of 82 tokens in ids.jsonl, and evaluation.jsonl.
char *made_model(const model_maker_params *p);

// Values of a tensor as float32; bm_free them.
float *read_floats(const bm_model *model, const char *name, uint64_t *count);
float *read_from(const char *folder, const char *name, uint64_t *count);
// Multiplies a row and a column of a float32 tensor of a made model; -1: all of them.
void scale_tensor(const char *folder, const char *name, int64_t row, int64_t col, uint64_t cols, float factor);
void set_element(const char *folder, const char *name, uint64_t index, float value);

// ---- runs

#define A8W8 "\"quant_type\":\"a8w8\""
#define WINT8 "\"quant_type\":\"wint8\""
#define SHIFT ",\"shift\":true,\"shift_all_linears\":true"
#define SMOOTH ",\"smooth\":true,\"smooth_all_linears\":true"
#define SEARCH ",\"smooth_piecewise_search\":true,\"search_alpha_step\":0.2,\"search_scale_step\":2"
#define OPS ",\"fold_other_linears\":\"ops\""

typedef struct run {
    const char *folder, *data, *keys; // data NULL: ids.jsonl; keys: of the parameter file, from the type on
    bm_device *device;                // NULL: the program's
    char *output;
    bm_quantize_result result;
    bm_string log;
} run;

bm_status quantize(run *r, bm_error *err); // end_run in any case
void quantize_well(run *r);                // what comes out can be read back, and gives finite logits
void end_run(run *r);
char *output_of(const run *r); // bm_free it
// The record of a block's stage.
const bm_stage_record *stage_of(const run *r, uint32_t block, bm_stage stage);

// The result of a run that works, evaluated against the float model: nats by which the distributions differ.
double divergence(run *r);
double run_and_compare(const char *folder, const char *keys);

// ---- numbers

void assert_near(double found, double expected, const char *what); // to 1e-5 of it

#endif
