// gemm_pack_weights: a move into a part of the panels; what belongs to other rows must survive.
#include "kernels/table.h"

enum { ROWS, FIRST, K, COLS, PANELS };

static void make(kernel_run *run)
{
    const uint32_t *s = run->shape;
    kernel_shape(run, 0, s[ROWS], s[K]);
    kernel_shape(run, 1, 1, (uint64_t)s[PANELS] * s[COLS] * s[K]); // panels are dense
    kernel_fill(run, 0, 1);
    kernel_fill(run, 1, 1);
    const bm_gemm_pack_weights_scalars scalars = {s[ROWS], s[FIRST], s[K], (uint32_t)run->buffers[0].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = s[COLS];
    run->groups[0] = kernel_groups((uint64_t)(s[ROWS] / 4 + 2) * bm_divide_up(s[K], 4), 64);
}

// Walks the panels instead of the rows.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t *s = run->shape;
    uint64_t at = 0;
    for (uint32_t panel = 0; panel < s[PANELS]; panel++)
        for (uint32_t l = 0; l < s[K]; l++)
            for (uint32_t j = panel * s[COLS]; j < (panel + 1) * s[COLS]; j++, at++)
                if (j >= s[FIRST] && j < s[FIRST] + s[ROWS])
                    out[1][at] = run->buffers[0].values[(uint64_t)(j - s[FIRST]) * s[K] + l];
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_gemm_pack_weights = {
    .kernel = BM_KERNEL_GEMM_PACK_WEIGHTS,
    .cases = {{"1", {1, 0, 1, 16, 1}, false},
              {"prime", {7, 3, 13, 16, 1}, false},
              {"tile - 1", {31, 0, 15, 32, 1}, false},
              {"tile", {32, 0, 16, 32, 1}, false},
              {"tile + 1", {33, 31, 17, 32, 2}, false},
              {"inside", {2, 17, 6, 16, 3}, false},
              {"long rows", {21, 5, 150, 16, 3}, false},
              {"long thin", {515, 1, 3, 16, 33}, false},
              {"layer", {192, 0, 576, 32, 6}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
