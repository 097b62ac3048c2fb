// quant: the mathematics of quantization methods over ops. It knows no file and no parameter file.
//
// A method is a small table of functions. It quantizes the linears of a group, those that read the same inputs, a bounded
// number of rows at a time:
//
//   begin, watch for each batch of inputs, prepare, solve for some rows again and again, end
//
// A method that watches nothing has only solve; then state is NULL. A new method is one new file, a line at the end of this
// one, and its case in choose_method of schedule/plan.c.
#ifndef BM_QUANT_METHOD_H
#define BM_QUANT_METHOD_H

#include "base/progress.h"
#include "ops/matrix.h"
#include "quant/codes.h"

// What finds the steps of grids.
typedef enum bm_search {
    BM_SEARCH_ABS_MAX = 0,
    BM_SEARCH_MSE,          // every weight counts the same
    BM_SEARCH_WEIGHTED_MSE, // rounding: diag(H); GPTQ: 1 / U[c, c]^2
    BM_SEARCH_GRAM,         // the output error of the group
} bm_search;

typedef enum bm_column_order {
    BM_COLUMN_ORDER_NONE = 0, // columns as they are, each group's grid when it is entered
    BM_COLUMN_ORDER_STATIC,   // by falling diagonal of H; grids before, groups of neighbouring channels
    BM_COLUMN_ORDER_DYNAMIC,  // by falling diagonal of H; groups of columns that follow one another in that order
} bm_column_order;

typedef struct bm_method_params {
    bm_grid_params grid; // of these linears; grid.search follows scale_search
    bm_search scale_search;
    // GPTQ
    bm_column_order act_order;
    double damp_percent; // 0: auto
    double qep_alpha;    // share of the propagated error that the weights make good; 0: none
    uint32_t code_sweeps;
    bool scale_refit;
    const char *folder; // for a file of the Hessian, where memory holds it or its factor; NULL: it holds both
} bm_method_params;

// What a method must see of the calibration inputs of a group.
typedef enum bm_watches {
    BM_WATCHES_NOTHING,
    BM_WATCHES_INPUTS,      // those that the linears will read
    BM_WATCHES_BOTH_INPUTS, // and, beside them, the float model's
} bm_watches;

// What prepare found out about a group, for the record.
typedef struct bm_group_record {
    uint64_t tokens;
    uint32_t num_dead;   // channels that were 0 in every token
    double damping;      // share of the mean of the Hessian's diagonal; 0: none needed
    uint32_t num_raised; // how often it had to be raised
    bool by_host;        // factored in float64 on the host
    bool search_skipped; // fewer than two tokens: rounding to steps of the largest weights
    bool fell_back;      // no factor was found: plain rounding was used
    char reason[128];    // of falling back
} bm_group_record;

// What became of a row, or of several.
typedef struct bm_row_errors {
    double weight_error, weight_norm; // sum (W - What)^2, sum W^2
    // Where inputs were watched: sum over tokens |X (W* - What)|^2. W* is W, or with qep_alpha > 0 W corrected for the
    // propagated error; of a group that fell back always W.
    double output_error;
    double output_error_rounding; // the same by rounding W* to the same, final grid
    uint64_t guarded_rows;        // that kept plain rounding, since what the method made of them was worse
} bm_row_errors;
bm_row_errors bm_row_errors_sum(const bm_row_errors *rows, uint64_t count);

// Some rows of linears that read the same inputs, those of one below those of another.
typedef struct bm_method_rows {
    const bm_tensor *weights; // [rows, in_features] float32, finite
    const bm_codes *codes;    // of these rows; written
    const bm_tensor *rounded; // [rows, in_features] float32: the values of the codes; written. NULL: not wanted
    bm_row_errors *errors;    // [rows]; added to
    bm_phase *phase;          // told now and then that work goes on; NULL: nobody asks
} bm_method_rows;

typedef struct bm_method {
    const char *name;  // "rtn"
    const char *words; // "plain rounding (RTN)", for people
    bm_watches (*watches)(const bm_method_params *params);
    // Device memory of the state of a group with so many input channels, without what solve needs for its rows.
    uint64_t (*state_bytes)(const bm_method_params *params, uint32_t channels);
    bm_status (*begin)(bm_multiplier *multiplier, const bm_method_params *params, uint32_t channels, void **state,
                       bm_error *err);
    // inputs, float_inputs  [tokens, channels] real; the second only for BM_WATCHES_BOTH_INPUTS
    bm_status (*watch)(bm_multiplier *multiplier, void *state, const bm_tensor *inputs, const bm_tensor *float_inputs,
                       bm_error *err);
    // Behind the last batch. A group that cannot be solved as the method does falls back to rounding and says so in record.
    bm_status (*prepare)(bm_multiplier *multiplier, void *state, const bm_method_params *params,
                         bm_group_record *record, bm_error *err);
    bm_status (*solve)(bm_multiplier *multiplier, void *state, const bm_method_params *params,
                       const bm_method_rows *rows, bm_error *err);
    // The order of groups that the codes of all linears of the group share: [channels], the caller's; NULL: neighbours.
    bm_status (*group_index)(const void *state, const bm_method_params *params, uint32_t **out, bm_error *err);
    void (*end)(void **state); // frees the state; a NULL one is fine
} bm_method;

extern const bm_method bm_method_rtn, bm_method_rtn_paddleslim, bm_method_gptq;

#endif
