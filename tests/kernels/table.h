// The descriptions, each defined in the file of its kernel.
#ifndef BM_TESTS_KERNELS_TABLE_H
#define BM_TESTS_KERNELS_TABLE_H

#include "kernels/harness.h"

extern const kernel_operation kernel_add;
extern const kernel_operation kernel_attention;
extern const kernel_operation kernel_attention_combine;
extern const kernel_operation kernel_attention_split;
extern const kernel_operation kernel_cholesky_block;
extern const kernel_operation kernel_code_sweep;
extern const kernel_operation kernel_column_range;
extern const kernel_operation kernel_convert;
extern const kernel_operation kernel_copy_column;
extern const kernel_operation kernel_cross_entropy;
extern const kernel_operation kernel_decode_blocks;
extern const kernel_operation kernel_dequantize;
extern const kernel_operation kernel_diagonal;
extern const kernel_operation kernel_embedding;
extern const kernel_operation kernel_fake_quantize;
extern const kernel_operation kernel_fma_chain;
extern const kernel_operation kernel_gate;
extern const kernel_operation kernel_gemm;
extern const kernel_operation kernel_gemm_codes;
extern const kernel_operation kernel_gemm_int8;
extern const kernel_operation kernel_gemm_int8_pack;
extern const kernel_operation kernel_gemm_int8_packed;
extern const kernel_operation kernel_gemm_pack_columns;
extern const kernel_operation kernel_gemm_pack_inputs;
extern const kernel_operation kernel_gemm_pack_weights;
extern const kernel_operation kernel_gemm_packed;
extern const kernel_operation kernel_gptq_block;
extern const kernel_operation kernel_grid_candidates;
extern const kernel_operation kernel_grid_choose;
extern const kernel_operation kernel_group_normalize;
extern const kernel_operation kernel_group_range;
extern const kernel_operation kernel_group_shift;
extern const kernel_operation kernel_join_parts;
extern const kernel_operation kernel_keep_better;
extern const kernel_operation kernel_kl_divergence;
extern const kernel_operation kernel_layernorm;
extern const kernel_operation kernel_matrix_chain;
extern const kernel_operation kernel_nested_search;
extern const kernel_operation kernel_pack_codes;
extern const kernel_operation kernel_permute;
extern const kernel_operation kernel_quantize;
extern const kernel_operation kernel_quantize_rows;
extern const kernel_operation kernel_rmsnorm;
extern const kernel_operation kernel_rope;
extern const kernel_operation kernel_row_dot;
extern const kernel_operation kernel_row_error;
extern const kernel_operation kernel_shift_scale;
extern const kernel_operation kernel_soft_cap;
extern const kernel_operation kernel_scale_refit;
extern const kernel_operation kernel_scale_search;
extern const kernel_operation kernel_scaled_difference;
extern const kernel_operation kernel_split_parts;
extern const kernel_operation kernel_stream_copy;
extern const kernel_operation kernel_transpose;
extern const kernel_operation kernel_unpack_codes;

#endif
