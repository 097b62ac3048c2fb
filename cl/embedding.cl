// embedding: y[t, :] = table[ids[t] - first_row, :] where that row is in the table.   Twin: shaders/embedding.comp
//
//   ids    [1, tokens]       u32; an id at or above vocabulary is reported with its token's position
//   table  [num_rows, cols]  real: rows first_row .. first_row + num_rows - 1 of the vocabulary
//   y      [tokens, cols]    real; rows whose ids lie in other parts of the vocabulary are left alone
//
// A work-item copies four neighbours; any number of work-groups is correct.
#include "bitmill.h"
#include "embedding.args.h"

BM_KERNEL embedding(BM_PARAMETERS)
{
    BM_BEGIN
    const uint quads = (a.cols + 3) / 4;
    const ulong count = (ulong)a.tokens * quads;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint t = (uint)(i / quads), q = (uint)(i % quads), id = ids[t];
        if (id >= a.vocabulary) {
            if (q == 0)
                bm_report(BM_REPORT_INDEX, t);
        } else if (id >= a.first_row && id - a.first_row < a.num_rows) {
            bm_store4(y, y_type, (ulong)t * (a.y_stride / 4) + q,
                      bm_load4(table, table_type, (ulong)(id - a.first_row) * (a.table_stride / 4) + q));
        }
    }
}
