// double_block: block 0 of a made model (model_maker.h) in double, from the checkpoint's tensors and token ids alone. Everything
// aborts the test when it fails.
#ifndef BM_TESTS_SCHEDULE_DOUBLE_BLOCK_H
#define BM_TESTS_SCHEDULE_DOUBLE_BLOCK_H

#include "model/model.h"
#include "support/model_maker.h"

enum { MAX_SEQUENCES = 80, MAX_LENGTH = 32 };

typedef struct reference {
    model_maker_params p;
    uint32_t head_dim, kv_heads, wide;
    bool is_bloom;
    bm_model *model;
    uint32_t num_sequences, lengths[MAX_SEQUENCES], ids[MAX_SEQUENCES][MAX_LENGTH];
    // Of block 0. A linear is [rows, columns]; NULL: the family has none.
    double *norm[2], *norm_bias[2], *head_norm[2], *linears[BM_NUM_LINEARS], *biases[BM_NUM_LINEARS];
    double *embedding, *embedding_norm, *embedding_bias;
    uint32_t rows[BM_NUM_LINEARS], cols[BM_NUM_LINEARS];
} reference;

// p, head_dim, kv_heads, wide and is_bloom are set. close_reference.
void open_reference(reference *r, const char *folder);
void close_reference(reference *r);
// A tensor of the open model; NULL: it has none. bm_free it.
double *read_doubles(const reference *r, const char *name);

// Of a sequence: the inputs of BM_STAGE_QKV or BM_STAGE_GATE_UP behind the norm, in the float model [tokens, hidden_size]. bm_free them.
double *inputs_of(const reference *r, bm_stage stage, uint32_t sequence);
// out [tokens, hidden_size] = what is added to the residual stream, behind o or behind down, with those weights [BM_NUM_LINEARS].
void run_part(const reference *r, bm_stage stage, double *const *weights, uint32_t tokens, const double *x,
              double *out);

#endif
