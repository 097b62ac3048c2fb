// The canonical form of a quantized linear, on a device: what every method makes and every checkpoint format stores.
#ifndef BM_QUANT_CODES_H
#define BM_QUANT_CODES_H

#include "ops/nested.h"

// How a linear's inputs become 8-bit codes where it runs: code = clamp(rint(x inverse), -128, 127), value = code step, with
// inverse = fl(1 / step). There is no zero point.
typedef enum bm_input_kind {
    BM_INPUT_FLOAT = 0, // they do not
    BM_INPUT_STATIC,    // one step for all
    BM_INPUT_DYNAMIC,   // a step a token: fl(its largest |x| / 127), with inverse = fl(127 / that)
} bm_input_kind;

typedef struct bm_input_grid {
    bm_input_kind kind;
    float step; // BM_INPUT_STATIC: above 0, a value of scale_dtype, so that what was measured is what is stored
} bm_input_grid;

// weight[r, c] = (codes[r, c] - zero_point[r, g]) step[r, g], g = group_index[c], or c / group_size where there is none; of nested
// asymmetric steps less their offset[r, g].
typedef struct bm_codes {
    uint32_t bits;          // 2..8
    uint32_t group_size;    // cols: one step a row
    bool symmetric;         // all zero points are 0
    bm_dtype scale_dtype;   // steps hold values of this type
    bm_tensor codes;        // [rows, cols] int8 in -2^(bits-1) .. 2^(bits-1)-1
    bm_tensor step;         // [rows, groups] float32; may be negative
    bm_tensor zero_point;   // [rows, groups] int32, in the range of codes; of nested asymmetric steps its lower end
    bm_nested_steps nested; // no tensors: steps stand alone
    uint32_t *group_index;  // [cols], on the host; NULL: c / group_size. Owned.
    bm_input_grid input;    // of the whole linear
} bm_codes;

// Memory for a linear's codes, not yet written. Errors: BM_E_DEVICE, BM_E_ARGUMENT above the largest allocation. Destroy with
// bm_codes_destroy.
bm_status bm_codes_create(bm_device *device, uint64_t rows, uint64_t cols, const bm_grid_params *grid, bm_codes *out,
                          bm_error *err);
void bm_codes_destroy(bm_codes *codes);
static inline bool bm_codes_are_nested(const bm_codes *codes)
{
    return codes->nested.unit.view.buffer != NULL;
}
// x += factor offset of each column's group, for columns first_col .. of the linear; nothing where there are no offsets.
bm_status bm_codes_shift(bm_device *device, const bm_codes *codes, const bm_tensor *x, uint64_t first_col, float factor,
                         bm_error *err);
// Steps and offsets of nested ones, by their units, which are new.
bm_status bm_codes_multiply_units(bm_device *device, const bm_codes *codes, bm_error *err);
// Rows first .. first + count - 1, on the same memory: not to be destroyed.
bm_codes bm_codes_rows(const bm_codes *codes, uint64_t first, uint64_t count);

#endif
