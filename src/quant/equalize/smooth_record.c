// What a search did, for the report.
#include "quant/equalize/smooth_work.h"

#include <math.h>

void bm_smooth_record_free(bm_smooth_record *record)
{
    bm_smooth_grid_free(&record->grid);
    bm_smooth_grid_free(&record->first_grid);
    bm_free(record->moves);
    bm_free(record->losses);
    *record = (bm_smooth_record){0};
}

bool bm_smooth_record_is_search(const bm_smooth_record *record)
{
    return record->asked_pieces > 0 || record->num_moves > 0 || record->skipped;
}

bm_status bm_smooth_record_add(bm_smooth_record *record, const bm_smooth_move *move, const double *losses,
                               uint32_t count, bm_error *err)
{
    if (record->num_moves == record->capacity) {
        const uint32_t capacity = 2 * record->capacity + 16;
        bm_smooth_move *moves = bm_resize(record->moves, capacity, sizeof *moves);
        if (moves)
            record->moves = moves;
        double *grown = bm_resize(record->losses, capacity, record->stride * sizeof *grown);
        if (grown)
            record->losses = grown;
        if (!moves || !grown)
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        record->capacity = capacity;
    }
    double *row = record->losses + (size_t)record->num_moves * record->stride;
    for (uint32_t i = 0; i < record->stride; i++)
        row[i] = i < count ? losses[i] : NAN;
    record->moves[record->num_moves++] = *move;
    return BM_OK;
}
