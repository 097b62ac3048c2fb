// Matrix units of a subgroup of 32: sums [16, 8] += left [16, 16] right [16, 8], in float16, sums in float32. A fragment is read from
// and written to an array of uvec4 in local memory, from quad `at` on, with a row (of right: a column) every `pitch` quads.
//
// With BM_MATRICES_BY_HAND, which only tests define, the same without matrix units and subgroups: work-item l of 32 has row l / 2 and
// columns 4 (l % 2) .. of the sums, so that devices without such units run all the rest of a kernel.
// bfloat16 and integers: GL_NV_cooperative_matrix, which Debian 12's compiler knows, has no bfloat16; its icoopmatNV has int8.
#ifndef BM_MATRICES_BY_HAND
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_NV_cooperative_matrix : require
#pragma use_vulkan_memory_model

#define BM_SUBGROUP gl_SubgroupID
#define BM_SUBGROUP_LANE gl_SubgroupInvocationID
#define bm_left fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>
#define bm_right fcoopmatNV<16, gl_ScopeSubgroup, 16, 8>
#define bm_sums fcoopmatNV<32, gl_ScopeSubgroup, 16, 8>
#define bm_no_sums() bm_sums(0.0)
#define bm_load_left(fragment, from, at, pitch) coopMatLoadNV(fragment, from, at, pitch, false)
#define bm_load_right(fragment, from, at, pitch) coopMatLoadNV(fragment, from, at, pitch, true)
#define bm_multiply_add(left, right, sums) coopMatMulAddNV(left, right, sums)
#define bm_store_sums(sums, to, at, pitch) coopMatStoreNV(sums, to, at, pitch, false)
#else
#define unroll dont_unroll // what units do in one instruction would be hundreds of copies
#define BM_SUBGROUP (gl_LocalInvocationID.x / 32)
#define BM_SUBGROUP_LANE (gl_LocalInvocationID.x % 32)
#define BM_ROW (BM_SUBGROUP_LANE / 2)
#define BM_QUAD (BM_SUBGROUP_LANE % 2)
struct bm_left {
    uvec4 v[2];
};
struct bm_right {
    uvec4 v[8];
};
#define bm_sums vec4
#define bm_no_sums() vec4(0.0)
#define bm_load_left(fragment, from, at, pitch)                                                                                      \
    for (uint e = 0; e < 2; e++)                                                                                                     \
    fragment.v[e] = from[(at) + BM_ROW * (pitch) + e]
#define bm_load_right(fragment, from, at, pitch)                                                                                     \
    for (uint e = 0; e < 8; e++)                                                                                                     \
    fragment.v[e] = from[(at) + (4 * BM_QUAD + e / 2) * (pitch) + e % 2]
#define bm_store_sums(sums, to, at, pitch) to[(at) + BM_ROW * (pitch) + BM_QUAD] = floatBitsToUint(sums)

vec4 bm_multiply_add(bm_left left, bm_right right, vec4 sums)
{
    for (uint e = 0; e < 8; e++)
        for (uint word = 0; word < 4; word++) {
            const vec2 product = unpackHalf2x16(left.v[e % 2][word]) * unpackHalf2x16(right.v[e][word]);
            sums[e / 2] += product.x + product.y;
        }
    return sums;
}
#endif
