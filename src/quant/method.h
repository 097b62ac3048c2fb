// quant: the mathematics of quantization methods over ops. It knows no file and no parameter file.
//
// A method is a small table of functions. The run reads what a method needs (nothing, or the inputs of a stage of
// linears) and provides it; a new method is one new file and one row in method.c.
#ifndef BM_QUANT_METHOD_H
#define BM_QUANT_METHOD_H

#include "quant/quantized_rows.h"

typedef struct bm_method {
    const char *name;  // "rtn"
    const char *words; // "plain rounding", for people
    // What the run must do before solve: false, nothing, so that a block is solved in one go from its weights alone;
    // true, a stage is captured first (its linears' calibration inputs pass through watch).
    bool needs_inputs;
    // Adds one batch of a stage's inputs to statistics. NULL when needs_inputs is false.
    //   inputs  [tokens, in_features]  real
    bm_status (*watch)(bm_device *device, void *statistics, const bm_tensor *inputs, bm_error *err);
    // Quantizes rows of a linear.
    //   rows        [count, in_features]  real, on the device
    //   statistics  what watch gathered; NULL when needs_inputs is false
    //   out         zeros; filled when BM_OK
    bm_status (*solve)(bm_device *device, const bm_tensor *rows, const void *statistics, const bm_grid_params *grid,
                       bm_quantized_rows *out, bm_error *err);
} bm_method;

const bm_method *bm_method_find(const char *name); // NULL: unknown
extern const bm_method bm_method_rtn;

#endif
