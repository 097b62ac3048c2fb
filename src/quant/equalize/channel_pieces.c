// A partition of channels by bounds, and what there is to say of its pieces.
#include "quant/equalize/kmeans.h"

#include <math.h>

void bm_channel_pieces_free(bm_channel_pieces *pieces)
{
    bm_free(pieces->piece);
    bm_free(pieces->centroid);
    bm_free(pieces->upper);
    bm_free(pieces->size);
    *pieces = (bm_channel_pieces){0};
}

bm_status bm_channel_pieces_from_upper(const double *values, uint32_t channels, const double *upper,
                                       uint32_t num_pieces, bm_channel_pieces *out, bm_error *err)
{
    *out = (bm_channel_pieces){.channels = channels, .num_pieces = num_pieces};
    out->piece = bm_alloc(channels, sizeof *out->piece);
    out->centroid = bm_alloc_zero(num_pieces, sizeof *out->centroid);
    out->upper = bm_alloc_zero(num_pieces, sizeof *out->upper);
    out->size = bm_alloc_zero(num_pieces, sizeof *out->size);
    if (!out->piece || !out->centroid || !out->upper || !out->size) {
        bm_channel_pieces_free(out);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    for (uint32_t c = 0; c < channels; c++) {
        uint32_t p = 0;
        while (p + 1 < num_pieces && values[c] > upper[p])
            p++;
        out->piece[c] = p;
        out->upper[p] = out->size[p] == 0 ? values[c] : fmax(out->upper[p], values[c]);
        out->centroid[p] += values[c];
        out->size[p]++;
    }
    for (uint32_t p = 0; p < num_pieces; p++)
        out->centroid[p] /= out->size[p] ? out->size[p] : 1;
    return BM_OK;
}
