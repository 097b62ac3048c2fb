// Rotary position embedding: tables of cosines and sines, and their application to heads.
#ifndef BM_OPS_ROPE_H
#define BM_OPS_ROPE_H

#include "device/tensor.h"

typedef enum bm_rope_scaling {
    BM_ROPE_DEFAULT,
    BM_ROPE_LINEAR,
    BM_ROPE_LLAMA3,
    BM_ROPE_DYNAMIC,
    BM_ROPE_YARN
} bm_rope_scaling;

// Rotary position embedding. Source: Su et al., RoFormer, 2021; scaling as in formats of Llama 3.1's config.json; YaRN: Peng
// et al., 2023; dynamic: the same authors' "NTK-aware" base, which grows with the length of a text.
typedef struct bm_rope_config {
    bm_rope_scaling scaling;
    double theta;
    double factor;                            // of all scalings
    double low_freq_factor, high_freq_factor; // llama3
    double original_max_position_embeddings;  // llama3, dynamic, yarn
    double beta_fast, beta_slow; // yarn: turns in the original length above and below which angles are kept or divided
    bool untruncated;            // yarn: the borders between them may lie between two pairs
    double attention_factor;     // yarn: cosines and sines are multiplied by it
} bm_rope_config;

// Cosines and sines of every position and angle, computed in float64 and rounded to float32 (a shader's own sine is
// too inaccurate for positions in the thousands).
typedef struct bm_rope_tables {
    uint32_t rotary_dim; // elements of a head that are rotated
    uint32_t num_positions;
    bm_tensor cosines, sines; // [num_positions, rotary_dim / 2] float32
    bm_rope_config config;
    uint32_t length, first, end; // dynamic: rows first .. end - 1 are those of a text of this length
} bm_rope_tables;

// The angle by which pair index of a head of rotary_dim elements turns from one position to the next:
// theta^(-2 index / rotary_dim), scaled as config says. Source: Su et al., RoFormer, 2021; llama3: the config.json of
// Llama 3.1 and its reference code, low frequencies divided by factor, high ones kept, a linear ramp between; yarn: Peng et
// al., 2023, section 3.2, the same with a ramp over pairs. dynamic: that of texts no longer than the original length.
double bm_rope_frequency(const bm_rope_config *config, uint32_t rotary_dim, uint32_t index);
// What a config is for a text of so many positions: dynamic becomes default with another theta, the rest stays as it is.
// Source: transformers 5, theta (factor length / original - factor + 1)^(dim / (dim - 2)).
bm_rope_config bm_rope_at_length(const bm_rope_config *config, uint32_t rotary_dim, uint32_t length);
// What yarn multiplies queries and keys by where a file names no factor of its own: 1 + multiplier ln(factor) / 10.
double bm_rope_yarn_magnitude(double factor, double multiplier);

// Makes the tables for positions 0 .. num_positions - 1.
//
// Errors   BM_E_ARGUMENT rotary_dim is no multiple of 8, no position, a theta or factor that is not positive;
//          BM_E_MEMORY; BM_E_DEVICE no device memory.
bm_status bm_rope_tables_create(bm_device *device, const bm_rope_config *config, uint32_t rotary_dim,
                                uint32_t num_positions, bm_rope_tables **out, bm_error *err);
void bm_rope_tables_destroy(bm_rope_tables **tables);
// Rows of positions first .. length - 1 become those of a text of that length, where the scaling is dynamic. A key that was
// turned before keeps its angle, as in transformers.
//
// Errors   BM_E_ARGUMENT length is more than num_positions; BM_E_MEMORY; BM_E_DEVICE.
bm_status bm_rope_tables_fit(bm_device *device, bm_rope_tables *tables, uint32_t first, uint32_t length, bm_error *err);

// Turns the first rotary_dim elements of every head of x, in place.
//
//   x            [tokens, heads * head_dim]  real; head_dim is a multiple of 8
//   positions    [tokens] u32, each below num_positions (not checked on the device)
//   interleaved  pairs are (x[2 i], x[2 i + 1]); else (x[i], x[i + rotary_dim / 2]), as Hugging Face files have it
//
// Errors   BM_E_ARGUMENT shapes disagree.
bm_status bm_rope_apply(bm_device *device, const bm_rope_tables *tables, const bm_tensor *x, uint32_t head_dim,
                        bm_view positions, bool interleaved, bm_error *err);
double bm_rope_operations(uint64_t tokens, uint64_t heads, uint64_t rotary_dim);

#endif
