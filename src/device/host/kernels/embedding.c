// embedding: y[t, :] = table[ids[t] - first_row, :] where that row is in the table.
#include "device/host_kernels.h"

void host_embedding(const host_call *call)
{
    const bm_embedding_scalars *a = call->scalars;
    const uint32_t *ids = call->buffers[0];
    for (uint32_t t = 0; t < a->tokens; t++) {
        if (ids[t] >= a->vocabulary)
            host_report(call, BM_REPORT_INDEX, t);
        else if (ids[t] >= a->first_row && ids[t] - a->first_row < a->num_rows)
            for (uint32_t c = 0; c < a->cols; c++)
                host_store(call->buffers[2], call->types[2], (uint64_t)t * a->y_stride + c,
                           host_load(call->buffers[1], call->types[1],
                                     (uint64_t)(ids[t] - a->first_row) * a->table_stride + c));
    }
}
