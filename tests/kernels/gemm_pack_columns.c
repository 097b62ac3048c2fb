// gemm_pack_columns: a move; every element is exact.
#include "kernels/table.h"

enum { ROWS, CHANNELS, COLS };

static void make(kernel_run *run)
{
    const uint32_t rows = run->shape[ROWS], channels = run->shape[CHANNELS], cols = run->shape[COLS];
    kernel_shape(run, 0, rows, channels);
    kernel_shape(run, 1, 1, bm_round_up(channels, cols) * rows); // panels are dense
    kernel_fill(run, 0, 1);
    const bm_gemm_pack_columns_scalars scalars = {rows, channels, (uint32_t)run->buffers[0].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = cols;
    run->groups[0] = kernel_groups(bm_divide_up(channels, cols) * rows, 64);
}

// Walks the panels instead of the columns.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t rows = run->shape[ROWS], channels = run->shape[CHANNELS], cols = run->shape[COLS];
    uint64_t at = 0;
    for (uint32_t panel = 0; panel * cols < channels; panel++)
        for (uint32_t r = 0; r < rows; r++)
            for (uint32_t c = panel * cols; c < (panel + 1) * cols; c++)
                out[1][at++] = c < channels ? run->buffers[0].values[(uint64_t)r * channels + c] : 0;
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_gemm_pack_columns = {
    .kernel = BM_KERNEL_GEMM_PACK_COLUMNS,
    .cases = {{"1", {1, 1, 1}, false},
              {"prime", {7, 13, 4}, false},
              {"tile - 1", {31, 13, 14}, false},
              {"tile", {64, 28, 14}, false},
              {"tile + 1", {65, 33, 32}, false},
              {"16 columns", {34, 33, 16}, false},
              {"long thin", {1031, 3, 6}, false},
              {"layer", {200, 576, 32}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
