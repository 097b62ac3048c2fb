// embedding: y[t, :] = table[ids[t] - first_row, :] where that row is in the table.   Twin: cl/embedding.cl
//
//   ids    [1, tokens]       u32; an id at or above vocabulary is reported with its token's position
//   table  [num_rows, cols]  real: rows first_row .. first_row + num_rows - 1 of the vocabulary
//   y      [tokens, cols]    real; rows whose ids lie in other parts of the vocabulary are left alone
//
// A work-item copies four neighbours; any number of work-groups is correct.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "embedding.args.glsl"

void main()
{
    const uint quads = (a.cols + 3) / 4;
    const uint count = a.tokens * quads;
    for (uint i = gl_GlobalInvocationID.x; i < count; i += gl_NumWorkGroups.x * GROUP) {
        const uint t = i / quads, q = i % quads, id = a.ids.v[t];
        if (id >= a.vocabulary) {
            if (q == 0)
                bm_report(BM_REPORT_INDEX, t);
        } else if (id >= a.first_row && id - a.first_row < a.num_rows) {
            bm_store4(a.y, y_type, t * (a.y_stride / 4) + q,
                      bm_load4(a.table, table_type, (id - a.first_row) * (a.table_stride / 4) + q));
        }
    }
}
