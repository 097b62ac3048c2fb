// The matrix product of a linear: y = x W^T + bias, with weights [out_features, in_features] as checkpoints store them.
//
// Weights are prepared for a device once (bm_weights) and used many times. GPUs take them as they are, row after row.
// CPU devices take panels: the rows of a panel side by side for each input feature, so that a wide vector reads
// neighbours (measured: 10 times faster than rows). A table in gemm_choice.c says what each device gets. Times decide
// once, at a device's first use, and that is remembered (first_use.h): so the same device gives the same bits. Weights
// larger than one allocation are cut by rows; dispatches are cut so that each stays well below a second: no cut changes bits.
#ifndef BM_OPS_GEMM_H
#define BM_OPS_GEMM_H

#include "device/tensor.h"

// A slice of output features begins at a multiple of this.
#define BM_GEMM_SLICE_ROWS 64
// Up to so many rows of x, reading W is all the work: kernels of their own, of which several may run side by side.
#define BM_THIN_ROWS 8

// How a device multiplies: the kernel and its tile. Filled by bm_gemm_choose.
typedef enum bm_gemm_form {
    BM_GEMM_ROWS,    // kernel gemm on plain rows
    BM_GEMM_PANELS,  // kernels gemm_pack_inputs and gemm_packed
    BM_GEMM_LIBRARY, // bm_device_product where it applies (float32, no bias), else as BM_GEMM_ROWS
} bm_gemm_form;

typedef struct bm_gemm_choice {
    const char *name; // of the variant, as the command line and tunings have it; NULL in tests
    bm_gemm_form form;
    uint32_t variant;    // of kernel gemm, for many rows of x (few rows take _thin); form ROWS and LIBRARY
    uint32_t group;      // work-items in a work-group
    uint32_t slice;      // columns that go through local memory at once; form ROWS and LIBRARY
    uint32_t rows;       // of x: in a panel (PANELS), a 16th of those of a tile (_tile, _cm, _wgmma, _mma); else 0
    uint32_t panel_cols; // rows of w in a panel; form PANELS
    double gflops;       // a low estimate of the rate (rate.h), by which long dispatches are cut
    const char *reason;  // for the debug log
    uint32_t square; // rows and panel_cols in products of a matrix by itself, which is then packed once; 0: as above
} bm_gemm_choice;

// The variant that the caller's words name (bm_device_is_named), in every use, where it runs on this device and takes the types; else
// that of a tuning, or that of the table, which in a use that wants another one gives that. A tuning, which measures no products that
// add, leaves those to the table where that has another variant for them. The first is for operands of any types, the second for many rows of x and weights of just these:
// few tiles are fewer of 128 x 128 than bm_compute_units, and adding is y += the product in float32.
bm_gemm_choice bm_gemm_choose(bm_device *device);
bm_gemm_choice bm_gemm_choose_for(bm_device *device, bm_dtype x, bm_dtype w, bm_variant_use use);
// Name of the index-th variant that runs on this device; NULL: there are no more.
const char *bm_gemm_variant(bm_device *device, uint32_t index);
// Whether a choice for kernel gemm or gemm_int8 multiplies on matrix units: in gemm operands of 16 bits alone.
bool bm_gemm_uses_matrix_units(bm_kernel_id kernel, const bm_gemm_choice *choice);

// The weights of one linear on a device. Read the fields, change them only through the functions below.
typedef struct bm_weights {
    uint64_t out_features, in_features; // rows and columns of W
    bm_dtype dtype;                     // how elements are stored
    bm_gemm_choice choice;
    bm_gemm_choice matrix; // on matrix units, for many rows of x that are stored as W is; gflops 0: there is none
    bm_gemm_choice few;    // the same for products of fewer tiles of 128 x 128 than few_tiles
    uint64_t few_tiles;
    uint64_t rows_per_part; // a multiple of BM_GEMM_SLICE_ROWS; the last part may have fewer
    uint32_t num_parts;
    bm_tensor *parts; // rows: [rows, in_features]; panels: [panels * in_features, panel_cols]
    char name[96];    // for messages
} bm_weights;

// Creates weights of zeros.
//
//   choice  NULL: bm_gemm_choose and bm_gemm_choose_for; else that one (tests), where it takes dtype
//
// Errors   BM_E_ARGUMENT sizes of 0 or beyond 2^31, a type that is not real; BM_E_DEVICE no memory;
//          BM_E_UNSUPPORTED 64 rows exceed the device's largest allocation.
bm_status bm_weights_create(bm_device *device, uint64_t out_features, uint64_t in_features, bm_dtype dtype,
                            const char *name, const bm_gemm_choice *choice, bm_weights **out, bm_error *err);
void bm_weights_destroy(bm_weights **weights);
// The same for an operation that stores elements of its own in them, of any type, and never gives them to the functions below.
bm_status bm_weights_allocate(bm_device *device, uint64_t out_features, uint64_t in_features, bm_dtype dtype,
                              const char *name, const bm_gemm_choice *choice, bm_weights **out, bm_error *err);

// Writes rows first_row .. first_row + rows->rows - 1. NaN, infinity and values beyond float16's range (when dtype is
// F16) are reported under the name of the weights.
//
//   rows  [count, in_features]  real, on the device
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_weights_set_rows(bm_device *device, bm_weights *weights, uint64_t first_row, const bm_tensor *rows,
                              bm_error *err);
// Reads them: rows becomes a copy in its own type.
//
//   rows  [count, in_features]  real, on the device
//
// Errors   BM_E_ARGUMENT shapes disagree; weights in panels, where no row lies by itself.
bm_status bm_weights_get_rows(bm_device *device, const bm_weights *weights, uint64_t first_row, const bm_tensor *rows,
                              bm_error *err);

// y = x W^T + bias.
//
//   x     [tokens, in_features]   real
//   bias  [1, out_features]       real; NULL: none
//   y     [tokens, out_features]  real; apart from x
//
// Cost     bm_gemm_operations; panels need bm_device_scratch for x, at most 64 MiB (or one panel). No allocation once
//          that has grown.
// Order    not inside a parallel section.
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_gemm(bm_device *device, const bm_tensor *x, const bm_weights *weights, const bm_tensor *bias,
                  const bm_tensor *y, bm_error *err);

// The same for output features first .. first + count - 1 alone (a slice of a vocabulary): y is [tokens, count]; bias,
// if any, is the whole one. first is a multiple of BM_GEMM_SLICE_ROWS. Errors as of bm_gemm.
bm_status bm_gemm_rows(bm_device *device, const bm_tensor *x, const bm_weights *weights, uint64_t first, uint64_t count,
                       const bm_tensor *bias, const bm_tensor *y, bm_error *err);

// A product with all that may be said of it.
//
//   x             NULL: W itself, first 0, only in panels that have as many rows of x as of W
//   x_is_columns  x is [in_features, tokens]: its columns are multiplied; only for weights in panels
//   adds          y += factor x W^T + bias; else y = factor x W^T + bias
//   lower         y is the lower part of a symmetric matrix from its row 0 on: elements above the diagonal are not wanted, and
//                 not all are computed
//
// Errors as of bm_gemm; BM_E_ARGUMENT columns of x for weights in rows.
typedef struct bm_gemm_job {
    const bm_tensor *x;
    const bm_weights *weights;
    uint64_t first, count; // output features, as of bm_gemm_rows
    const bm_tensor *bias, *y;
    bool x_is_columns, adds, lower;
    float factor;
} bm_gemm_job;
bm_status bm_gemm_run(bm_device *device, const bm_gemm_job *job, bm_error *err);
// Several jobs with one and the same x (not NULL), for weights of one device's choice: x is packed once for all.
bm_status bm_gemm_run_all(bm_device *device, const bm_gemm_job *jobs, uint32_t num_jobs, bm_error *err);

// Columns of x [k, n] in panels of panel_cols, as bm_weights hold the rows of its transpose; columns behind n are zeros.
//
//   out  divide_up(n, panel_cols) * k * panel_cols floats
bm_status bm_gemm_pack_columns(bm_device *device, const bm_tensor *x, uint32_t panel_cols, bm_view out, bm_error *err);

// The choice for so many rows of x, stored as x.
const bm_gemm_choice *bm_weights_choice(const bm_weights *weights, bm_dtype x, uint64_t x_rows);

// The rows of x and output features that one dispatch takes of a product of x_rows, stored as x, by count features.
void bm_gemm_piece(const bm_device *device, const bm_weights *weights, bm_dtype x, uint64_t x_rows, uint64_t count,
                   uint64_t *rows, uint64_t *cols);

// Rows of x in a panel (few rows get smaller ones), panels that make a band, and work-groups for so many items.
uint32_t bm_gemm_panel_rows(const bm_weights *weights, uint64_t x_rows);
uint32_t bm_gemm_walk(uint32_t panel_rows, uint64_t k);
uint32_t bm_gemm_groups(const bm_device *device, uint64_t count, uint32_t group);

// Floating-point operations, and bytes that must be moved at least once.
double bm_gemm_operations(uint64_t tokens, uint64_t out_features, uint64_t in_features);
double bm_gemm_bytes(uint64_t tokens, uint64_t out_features, uint64_t in_features, bm_dtype x, bm_dtype w, bm_dtype y);

#endif
