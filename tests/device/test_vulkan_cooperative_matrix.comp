#version 450
// c[16, N] = factor * a[16, k] b[N, k]^T, one subgroup: the smallest product on matrix units, for the test of the
// rewriter. N is 8, or 16 for bfloat16.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_NV_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#pragma use_vulkan_memory_model
layout(local_size_x = 32) in;
layout(constant_id = 31) const uint N = MATRIX_N;
layout(buffer_reference, std430, buffer_reference_align = 16) buffer halves { float16_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer floats { float v[]; };
layout(push_constant, std430) uniform arguments { halves a; halves b; floats c; uint k; float factor; };

void main()
{
    fcoopmatNV<32, gl_ScopeSubgroup, 16, N> sum = fcoopmatNV<32, gl_ScopeSubgroup, 16, N>(0.0);
    for (uint i = 0; i < k; i += 16) {
        fcoopmatNV<16, gl_ScopeSubgroup, 16, 16> left;
        fcoopmatNV<16, gl_ScopeSubgroup, 16, N> right; // b is read by columns: [k, N]
        coopMatLoadNV(left, a.v, i, k, false);
        coopMatLoadNV(right, b.v, i, k, true);
        sum = coopMatMulAddNV(left, right, sum);
    }
    sum *= factor;
    coopMatStoreNV(sum, c.v, 0, N, false);
}
