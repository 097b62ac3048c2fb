// Every description of a kernel, one line each.
#include "kernels/table.h"

const kernel_operation *const kernel_operations[] = {
    &kernel_add,
    &kernel_attention,
    &kernel_convert,
    &kernel_cross_entropy,
    &kernel_dequantize,
    &kernel_embedding,
    &kernel_fake_quantize,
    &kernel_fma_chain,
    &kernel_gate,
    &kernel_gemm,
    &kernel_gemm_pack_inputs,
    &kernel_gemm_pack_weights,
    &kernel_gemm_packed,
    &kernel_gemm_unpack_weights,
    &kernel_group_range,
    &kernel_kl_divergence,
    &kernel_pack_codes,
    &kernel_quantize,
    &kernel_rmsnorm,
    &kernel_rope,
    &kernel_row_error,
    &kernel_scale_search,
    &kernel_stream_copy,
    &kernel_unpack_codes,
};
const uint32_t num_kernel_operations = BM_COUNT(kernel_operations);
