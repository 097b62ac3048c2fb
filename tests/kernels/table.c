// Every description of a kernel, one line each.
#include "kernels/table.h"

const kernel_operation *const kernel_operations[] = {
    &kernel_add,
    &kernel_attention,
    &kernel_convert,
    &kernel_cross_entropy,
    &kernel_embedding,
    &kernel_fma_chain,
    &kernel_gate,
    &kernel_gemm,
    &kernel_gemm_pack_inputs,
    &kernel_gemm_pack_weights,
    &kernel_gemm_packed,
    &kernel_gemm_unpack_weights,
    &kernel_kl_divergence,
    &kernel_rmsnorm,
    &kernel_rope,
    &kernel_row_error,
    &kernel_stream_copy,
};
const uint32_t num_kernel_operations = BM_COUNT(kernel_operations);
