// The canonical form.
#include "quant/quantized_rows.h"

bm_status bm_quantized_rows_create(uint64_t rows, uint64_t cols, uint32_t bits, uint32_t group_size,
                                   bm_quantized_rows *out, bm_error *err)
{
    bm_quantized_rows q = {.rows = rows,
                           .cols = cols,
                           .groups = bm_num_groups(cols, group_size),
                           .bits = bits,
                           .words_per_row = bm_divide_up(cols, 32 / bits)};
    q.words = bm_alloc(rows * q.words_per_row, sizeof *q.words);
    q.steps = bm_alloc(rows * q.groups, sizeof *q.steps);
    q.zero_points = bm_alloc(rows * q.groups, sizeof *q.zero_points);
    if (!q.words || !q.steps || !q.zero_points) {
        bm_quantized_rows_free(&q);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *out = q;
    return BM_OK;
}

void bm_quantized_rows_free(bm_quantized_rows *rows)
{
    bm_free(rows->words);
    bm_free(rows->steps);
    bm_free(rows->zero_points);
    *rows = (bm_quantized_rows){0};
}
