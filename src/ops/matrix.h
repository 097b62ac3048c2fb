// Matrices as such: transposed, in another order, multiplied by another one, row by row. All float32 unless stated.
#ifndef BM_OPS_MATRIX_H
#define BM_OPS_MATRIX_H

#include "base/progress.h"
#include "ops/split_product.h"

// y [cols, rows] = x [rows, cols] transposed; both real, apart.
// Errors, of all functions here   BM_E_ARGUMENT shapes disagree; those of dispatches.
bm_status bm_transpose(bm_device *device, const bm_tensor *x, const bm_tensor *y, bm_error *err);

// What bm_permute takes rows and columns in, and adds. Views of u32 (f32: diagonal); no view: as they are, nothing.
typedef struct bm_permutation {
    bm_view row_order; // [y->rows]: row i of y is row row_order[i] of x
    bm_view col_order; // [y->cols]
    bm_view diagonal;  // [rows of x]: added where row and column of x are equal
    bool lower;        // x is symmetric, and only its lower triangle is there
} bm_permutation;
// y[i, j] = x[row_order[i], col_order[j]] + diagonal; y apart from x. Indices are not checked.
bm_status bm_permute(bm_device *device, const bm_tensor *x, const bm_permutation *permutation, const bm_tensor *y,
                     bm_error *err);
// y [1, rows]: the diagonal of x [rows, rows]. One dispatch, whatever the size: it reads an element a row.
bm_status bm_diagonal(bm_device *device, const bm_tensor *x, const bm_tensor *y, bm_error *err);
// x[r, c] = x[r, c] factors[c]; factors is [1, cols].
bm_status bm_scale_columns(bm_device *device, const bm_tensor *x, const bm_tensor *factors, bm_error *err);
// y[r, column] = x[r, 0]; elements of 32 bits. One dispatch, whatever the size: it moves an element a row.
bm_status bm_copy_column(bm_device *device, const bm_tensor *x, const bm_tensor *y, uint64_t column, bm_error *err);
// sums [rows, 4]: {sum over c of x[r, c] y[r, c], 0, 0, 0}, x real; y NULL: of x[r, c].
bm_status bm_row_dot(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *sums, bm_error *err);
// Row r of x becomes that of y where y_error[r] < x_error[r]; errors are [rows, 4], as bm_row_dot writes them.
bm_status bm_keep_better(bm_device *device, const bm_tensor *x, const bm_tensor *y, const bm_tensor *x_error,
                         const bm_tensor *y_error, bm_error *err);

// Products of matrices that are used once or twice: y = a b^T, all float32, in the form that the device's products want: on devices
// with matrix units large ones in parts (split_product.h).
// Devices that take plain rows get b as it is; others get it in panels, in memory that is kept from product to product.
typedef struct bm_multiplier {
    bm_device *device;
    bm_gemm_choice narrow[2];      // for float16 and bfloat16, where the device has matrix units; gflops 0: it has none
    bm_split_product split;        // how large float32 products are multiplied where the device has matrix units
    bm_tensor panels, right, left; // memory: b in panels; b and a transposed
    bm_weights weights;            // b, as bm_gemm takes it
    bm_tensor part;                // its only part
    bm_tensor rows, columns;       // what bm_multiplier_set and bm_multiplier_set_columns were given
    // Told behind each of bm_multiply and its like, and between parts of long ones; NULL: nobody asks.
    bm_phase *phase;
    double ahead_seconds;     // of those, recorded since the device was last waited for, by an estimate
    double max_ahead_seconds; // that this may be, times pace: half a second
    double pace;              // of the device, beside its estimates
    uint64_t begin_ns;        // of the first of those products
} bm_multiplier;

void bm_multiplier_init(bm_multiplier *multiplier, bm_device *device);
void bm_multiplier_free(bm_multiplier *multiplier);
// How products of columns that are both of this type are multiplied as they are stored; NULL: in float32.
const bm_gemm_choice *bm_multiplier_narrow(const bm_multiplier *multiplier, bm_dtype dtype);
// Device memory that it keeps for a b [n, k], as bm_multiplier_set takes it.
uint64_t bm_multiplier_bytes(bm_device *device, uint64_t n, uint64_t k);

// Makes b [n, k] the right side of the products that follow, until the next call; it must not change or go until then.
bm_status bm_multiplier_set(bm_multiplier *multiplier, const bm_tensor *b, bm_error *err);
// y [m, count] = a [m, k] b[first .. first + count - 1]^T with the b of bm_multiplier_set; y apart from both. first is a
// multiple of BM_GEMM_SLICE_ROWS.
bm_status bm_multiplier_run(bm_multiplier *multiplier, const bm_tensor *a, uint64_t first, uint64_t count,
                            const bm_tensor *y, bm_error *err);
// y += factor a b[..]^T.
bm_status bm_multiplier_run_add(bm_multiplier *multiplier, const bm_tensor *a, uint64_t first, uint64_t count,
                                float factor, const bm_tensor *y, bm_error *err);
// The same for products of columns: b [k, n], then y [m, n] += factor a^T b, for a [k, m]; both real. a, the same in both calls, may be
// NULL: b itself, and what lies above the diagonal of y is not wanted. Both of one type of 16 bits are multiplied so where
// bm_multiplier_narrow says it.
bm_status bm_multiplier_set_columns(bm_multiplier *multiplier, const bm_tensor *a, const bm_tensor *b, bm_error *err);
bm_status bm_multiplier_add_columns(bm_multiplier *multiplier, const bm_tensor *a, float factor, const bm_tensor *y,
                                    bm_error *err);
// Both at once: y [m, n] = a [m, k] b [n, k]^T, and y += factor a b^T. Long ones are cut by rows, and with a phase the
// device is waited for now and then, so that whoever wants the work stopped is heard. Errors: BM_E_CANCELLED.
bm_status bm_multiply(bm_multiplier *multiplier, const bm_tensor *a, const bm_tensor *b, const bm_tensor *y,
                      bm_error *err);
bm_status bm_multiply_add(bm_multiplier *multiplier, const bm_tensor *a, const bm_tensor *b, float factor,
                          const bm_tensor *y, bm_error *err);
// Elements of a [m, k] that bm_multiply and its like, by a b [n, k], lay out at a time, at most.
uint64_t bm_multiply_elements_at_once(bm_device *device, uint64_t m, uint64_t n, uint64_t k);
// The second where y is square, of which what lies above the diagonal is not wanted.
bm_status bm_multiply_add_lower(bm_multiplier *multiplier, const bm_tensor *a, const bm_tensor *b, float factor,
                                const bm_tensor *y, bm_error *err);

#endif
