// float32 products on matrix units, which take 16 bits: each operand in two float16 parts, three products of parts in one.
//
// Rows are scaled by powers of two, x = scale (hi + lo) to 2^-22 of the larger ones, and lo lo is left out: y lacks at most
// 2^-21 sum |a||b| + 2^-38 (largest of a's row) (largest of b's row) k, of units that take subnormal float16 for 0 2^-30 of those,
// beside what the sums of the matrix units lose over the columns that they take at a time; from piece to piece sums are float32. NVIDIA's cut sums: of terms of one sign about 2e-8 for
// each column, always towards 0. docs/performance.md has what that comes to.
// Source   Markidis et al., NVIDIA Tensor Core Programmability, Performance and Precision, 2018, section V; Ootomo and Yokota,
//          Recovering Single Precision Accuracy from Tensor Cores, 2022 (scaled parts).
#ifndef BM_OPS_SPLIT_PRODUCT_H
#define BM_OPS_SPLIT_PRODUCT_H

#include "ops/gemm.h"

#define BM_SPLIT_COLUMNS 2048

// How a device multiplies so, and memory that is kept from product to product.
typedef struct bm_split_product {
    bm_device *device;
    bm_gemm_choice choice,
        few; // of float16 products that fill the device, and of smaller ones; gflops 0: it has no matrix units
    uint64_t few_tiles; // of 128 x 128: smaller are products of fewer
    // From which on three times the multiplications and the moves pay: rows of either side, columns, multiplications.
    uint64_t min_rows, min_columns, min_multiplications;
    uint64_t columns;               // at a time: BM_SPLIT_COLUMNS, or fewer where sums of one sign must lose less
    bool is_off;                    // plain products alone
    bm_tensor left, right, product; // parts of a and b, their product
    bm_tensor left_scale, right_scale;
} bm_split_product;

void bm_split_product_init(bm_split_product *split, bm_device *device);
void bm_split_product_free(bm_split_product *split);
// Device memory that it keeps at most behind products of up to m rows, n columns and k columns of either side.
uint64_t bm_split_product_bytes(const bm_split_product *split, uint64_t m, uint64_t n, uint64_t k);
// Whether y [m, n] of k columns is multiplied faster so, and the largest buffer of the device takes b in parts.
bool bm_split_product_pays(const bm_split_product *split, uint64_t m, uint64_t n, uint64_t k);

// y = factor a b^T, with adds y += that; with lower what lies above the diagonal of y is not wanted.
//
//   a  [m, k]  float32
//   b  [n, k]  float32
//   y  [m, n]  float32; apart from both
//
// Errors   BM_E_ARGUMENT shapes disagree; BM_E_MEMORY, BM_E_DEVICE.
typedef struct bm_split_job {
    const bm_tensor *a, *b, *y;
    bool adds, lower;
    float factor;
} bm_split_job;
bm_status bm_split_product_run(bm_split_product *split, const bm_split_job *job, bm_error *err);

// y = a b^T of float16 with sums in float32, where the device has matrix units: for what only ranks candidates.
//
//   a  [m, k]  float16
//   b  [n, k]  float16
//   y  [m, n]  float32
bm_status bm_half_product(const bm_split_product *split, const bm_tensor *a, const bm_tensor *b, const bm_tensor *y,
                          bm_error *err);

#endif
