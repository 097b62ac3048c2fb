// gemm_pack_inputs: a move; every element is exact.
#include "kernels/table.h"

enum { M, K, ROWS };

static void make(kernel_run *run)
{
    const uint32_t m = run->shape[M], k = run->shape[K], rows = run->shape[ROWS];
    kernel_shape(run, 0, m, k);
    kernel_shape(run, 1, 1, bm_round_up(m, rows) * k); // panels are dense
    kernel_fill(run, 0, 1);
    const bm_gemm_pack_inputs_scalars scalars = {m, k, (uint32_t)run->buffers[0].stride};
    kernel_scalars(run, &scalars, sizeof scalars);
    run->tunables[1] = rows;
    run->groups[0] = kernel_groups(bm_divide_up(m, rows) * bm_divide_up(k, 4), 64);
}

// Walks the panels instead of the rows.
static void reference(const kernel_run *run, double *const *out)
{
    const uint32_t m = run->shape[M], k = run->shape[K], rows = run->shape[ROWS];
    uint64_t at = 0;
    for (uint32_t panel = 0; panel * rows < m; panel++)
        for (uint32_t l = 0; l < k; l++)
            for (uint32_t i = panel * rows; i < (panel + 1) * rows; i++)
                out[1][at++] = i < m ? run->buffers[0].values[(uint64_t)i * k + l] : 0;
}

static double operations(const kernel_run *run)
{
    (void)run;
    return 0;
}

const kernel_operation kernel_gemm_pack_inputs = {
    .kernel = BM_KERNEL_GEMM_PACK_INPUTS,
    .cases = {{"1", {1, 1, 1}, false},
              {"prime", {7, 13, 4}, false},
              {"tile - 1", {13, 31, 14}, false},
              {"tile", {28, 64, 14}, false},
              {"tile + 1", {29, 65, 14}, false},
              {"16 rows", {33, 34, 16}, false},
              {"long thin", {1031, 3, 6}, false},
              {"layer", {200, 1536, 14}, true}},
    .make = make,
    .exact = true,
    .reference = reference,
    .operations = operations,
};
