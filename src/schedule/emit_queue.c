// What is written goes to the run's writer: host memory changes hands, and another thread puts it into the files while the
// device goes on.
#include "schedule/emit.h"

#include <stdio.h>

// Rows of a linear, or bytes of a tensor.
typedef struct piece {
    bm_checkpoint_writer *writer;
    bm_verification *verification;
    const bm_store_format *format; // NULL: bytes
    bm_store_linear linear;
    bm_store_rows rows;
    uint64_t first; // row, or byte
    void *bytes;
    uint64_t size;
    bool is_packed;                 // the bytes are blocks of Q8_0
    char name[BM_TENSOR_NAME_SIZE]; // of the linear's module, or of the tensor
} piece;

static bm_status write_piece(void *context, bm_error *err)
{
    const piece *p = context;
    bm_status status = BM_OK;
    if (p->format) {
        BM_TRY(bm_verification_add_rows(p->verification, p->format, &p->linear, p->first, &p->rows, err));
        BM_TRY(p->format->put(p->writer, &p->linear, p->first, &p->rows, err));
    } else {
        BM_TRY(p->is_packed ? bm_verification_add_q8_0(p->verification, p->name, p->first, p->bytes, p->size, err)
                            : bm_verification_add_bytes(p->verification, p->name, p->first, p->bytes, p->size, err));
        BM_TRY(bm_checkpoint_writer_put(p->writer, p->name, p->first, p->bytes, p->size, err));
    }
done:
    return status;
}

static void discard_piece(void *context)
{
    piece *p = context;
    bm_store_rows_free(&p->rows);
    bm_free(p->bytes);
    bm_free(p);
}

static bm_status push(const bm_emit_context *emit, piece *p, uint64_t bytes, bm_error *err)
{
    if (!emit->writing) {
        discard_piece(p);
        return BM_OK;
    }
    return bm_worker_push(emit->writing,
                          &(bm_task){.run = write_piece, .discard = discard_piece, .context = p, .bytes = bytes}, err);
}

// What a piece holds, and what comparing it will.
static uint64_t piece_bytes(const bm_store_format *format, const bm_store_linear *linear, uint64_t count,
                            bool is_verified)
{
    return bm_store_rows_bytes(format, linear, count) + (is_verified ? bm_verification_work_bytes(format, linear) : 0);
}

uint64_t bm_emit_rows_of_share(const bm_emit_context *emit, const bm_store_linear *linear, uint64_t count)
{
    const uint64_t share = emit->writing_bytes / BM_EMIT_THREADS;
    const uint64_t least = piece_bytes(emit->plan->format, linear, BM_STORE_ROWS, emit->verification != NULL);
    return emit->writing_bytes == 0 ? count : bm_min_u64(count, bm_max_u64(1, share / least) * BM_STORE_ROWS);
}

uint64_t bm_emit_waiting_bytes(const bm_plan *plan, uint64_t writing_bytes)
{
    uint64_t least = 0;
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        char module[BM_TENSOR_NAME_SIZE];
        const bm_store_linear linear = bm_emit_store_linear(plan, &plan->linears[i], module);
        if (plan->linears[i].quantized)
            least = bm_max_u64(least, piece_bytes(plan->format, &linear, BM_STORE_ROWS, true));
    }
    return bm_max_u64(writing_bytes, least) + bm_max_u64(writing_bytes / BM_EMIT_THREADS, least);
}

bm_status bm_emit_put_rows(const bm_emit_context *emit, const bm_store_linear *linear, uint64_t first,
                           bm_store_rows *rows, bm_error *err)
{
    piece *p = bm_alloc_zero(1, sizeof *p);
    if (!p) {
        bm_store_rows_free(rows);
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *p = (piece){.writer = emit->writer,
                 .verification = emit->verification,
                 .format = emit->plan->format,
                 .linear = *linear,
                 .rows = *rows,
                 .first = first};
    *rows = (bm_store_rows){0};
    snprintf(p->name, sizeof p->name, "%s", linear->module);
    p->linear.module = p->name;
    return push(emit, p, piece_bytes(p->format, linear, p->rows.count, p->verification != NULL), err);
}

bm_status bm_emit_put_bytes(const bm_emit_context *emit, const char *name, uint64_t first, uint8_t **bytes,
                            uint64_t size, bm_error *err)
{
    piece *p = bm_alloc_zero(1, sizeof *p);
    if (!p) {
        bm_free(*bytes);
        *bytes = NULL;
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
    *p = (piece){.writer = emit->writer,
                 .verification = emit->verification,
                 .first = first,
                 .bytes = *bytes,
                 .size = size,
                 .is_packed = emit->plan && bm_emit_is_packed(emit->model, emit->plan, name)};
    *bytes = NULL;
    snprintf(p->name, sizeof p->name, "%s", name);
    return push(emit, p, size + (p->is_packed && p->verification ? BM_VERIFICATION_Q8_0_BYTES : 0), err);
}
