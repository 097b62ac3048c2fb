// Matrix units of a subgroup: sums [M, N] += left [M, 16] right [16, N], in float16, sums in float32; M, N and the subgroup's size are
// needs of the variant in kernels.def, MATRIX_M, MATRIX_N and MATRIX_LANES. A fragment is read from and written to an array of uvec4
// in local memory, from quad `at` on, with a row (of right: a column) every `pitch` quads; rows of left and columns of right are two
// quads.
// bfloat16: GL_NV_cooperative_matrix, which Debian 12's compiler knows, has none; where the need says it, the generator changes the
// components of left and right in the module. MATRIX_INT8: signed bytes, left [16, 32] and right [32, N], sums in int: of what follows
// only loads of left and right, products and the store of sums.
//
// Elements of sums may be worked on where they are, BM_QUADS quads a work-item; which ones these are is the driver's affair, but the
// same for all sums.
//
// With BM_MATRICES_BY_HAND, which only tests define, the same without matrix units and subgroups: work-items have quads of sums in
// order, row by row, so that devices without such units run all the rest of a kernel.
const uint BM_ROWS = MATRIX_M, BM_LANES = MATRIX_LANES;
const uint BM_QUADS = MATRIX_M * MATRIX_N / MATRIX_LANES / 4;
#ifndef BM_MATRICES_BY_HAND
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_NV_cooperative_matrix : require
#extension GL_NV_integer_cooperative_matrix : require
#pragma use_vulkan_memory_model
// Of specialization, though nobody sets it: so the type of right is never that of left, and each has one use.
layout(constant_id = 31) const uint BM_COLUMNS = MATRIX_N;

#define BM_SUBGROUP gl_SubgroupID
#define BM_SUBGROUP_LANE gl_SubgroupInvocationID
#ifdef MATRIX_INT8
#define bm_left icoopmatNV<8, gl_ScopeSubgroup, MATRIX_M, 32>
#define bm_right icoopmatNV<8, gl_ScopeSubgroup, 32, BM_COLUMNS>
#define bm_sums icoopmatNV<32, gl_ScopeSubgroup, MATRIX_M, BM_COLUMNS>
#else
#define bm_left fcoopmatNV<16, gl_ScopeSubgroup, MATRIX_M, 16>
#define bm_right fcoopmatNV<16, gl_ScopeSubgroup, 16, BM_COLUMNS>
#define bm_sums fcoopmatNV<32, gl_ScopeSubgroup, MATRIX_M, BM_COLUMNS>
#endif
#define bm_no_sums() bm_sums(0)
#define bm_load_left(fragment, from, at, pitch) coopMatLoadNV(fragment, from, at, pitch, false)
#define bm_load_right(fragment, from, at, pitch) coopMatLoadNV(fragment, from, at, pitch, true)
#define bm_multiply_add(left, right, sums) coopMatMulAddNV(left, right, sums)
#define bm_store_sums(sums, to, at, pitch) coopMatStoreNV(sums, to, at, pitch, false)
#define bm_load_sums(sums, from, at, pitch) coopMatLoadNV(sums, from, at, pitch, false)
#define bm_load_right_rows(fragment, from, at, pitch) coopMatLoadNV(fragment, from, at, pitch, false) // its rows lie every pitch
#define bm_ones() bm_right(1.0)
#ifdef MATRIX_BFLOAT16
#define bm_half_words(x, y) (bm_bf16_bits(vec4(x))[0] | bm_bf16_bits(vec4(y))[0] << 16)
#else
#define bm_half_words(x, y) packFloat2x16(f16vec2(x, y))
#endif
#define bm_subgroup_barrier()                                                                                                        \
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease)

// Macros, since drivers see few functions of matrices. The compiler refuses products of matrices.
#define bm_elements(sums, quad) vec4((sums)[4 * (quad)], (sums)[4 * (quad) + 1], (sums)[4 * (quad) + 2], (sums)[4 * (quad) + 3])
#define bm_set_elements(sums, quad, elements)                                                                                        \
    (sums)[4 * (quad)] = (elements).x, (sums)[4 * (quad) + 1] = (elements).y, (sums)[4 * (quad) + 2] = (elements).z,                 \
    (sums)[4 * (quad) + 3] = (elements).w
#define bm_scale(sums, quad, factors)                                                                                                \
    (sums)[4 * (quad)] *= (factors).x, (sums)[4 * (quad) + 1] *= (factors).y, (sums)[4 * (quad) + 2] *= (factors).z,                 \
    (sums)[4 * (quad) + 3] *= (factors).w

// Two quads of elements of sums of 16 columns, of one fragment or of two, as those of one left fragment, where they have the same
// places in the work-item: bm_is_left_of says so, of a fragment that holds 16 row + column, and of those numbers of the quads.
#define bm_set_left(left, lower, upper)                                                                                              \
    (left)[0] = float16_t((lower).x), (left)[1] = float16_t((lower).y), (left)[2] = float16_t((lower).z),                            \
    (left)[3] = float16_t((lower).w), (left)[4] = float16_t((upper).x), (left)[5] = float16_t((upper).y),                            \
    (left)[6] = float16_t((upper).z), (left)[7] = float16_t((upper).w)
#define bm_is_left_of(left, lower, upper)                                                                                            \
    (vec4((left)[0], (left)[1], (left)[2], (left)[3]) == (lower) && vec4((left)[4], (left)[5], (left)[6], (left)[7]) == (upper))
#else
#define unroll dont_unroll // what units do in one instruction would be hundreds of copies
#define BM_SUBGROUP (gl_LocalInvocationID.x / BM_LANES)
#define BM_SUBGROUP_LANE (gl_LocalInvocationID.x % BM_LANES)
#define BM_ROW (4 * BM_QUADS * BM_SUBGROUP_LANE / BM_COLUMNS)
#define BM_FIRST (4 * BM_QUADS * BM_SUBGROUP_LANE % BM_COLUMNS) // of its columns
const uint BM_COLUMNS = MATRIX_N;
struct bm_left {
    uvec4 v[2];
};
struct bm_right {
    uvec4 v[8 * BM_QUADS]; // two for each of its columns
};
#ifdef MATRIX_INT8
#define BM_TOTALS ivec4
#define BM_TOTAL_BITS uvec4
#else
#define BM_TOTALS vec4
#define BM_TOTAL_BITS floatBitsToUint
#endif
struct bm_sums {
    BM_TOTALS v[BM_QUADS];
};

bm_sums bm_no_sums()
{
    bm_sums sums;
    for (uint e = 0; e < BM_QUADS; e++)
        sums.v[e] = BM_TOTALS(0);
    return sums;
}

#define bm_load_left(fragment, from, at, pitch)                                                                                      \
    for (uint e = 0; e < 2; e++)                                                                                                     \
    fragment.v[e] = from[(at) + BM_ROW * (pitch) + e]
#define bm_load_right(fragment, from, at, pitch)                                                                                     \
    for (uint e = 0; e < 8 * BM_QUADS; e++)                                                                                          \
    fragment.v[e] = from[(at) + (BM_FIRST + e / 2) * (pitch) + e % 2]
#define bm_store_sums(sums, to, at, pitch)                                                                                           \
    for (uint e = 0; e < BM_QUADS; e++)                                                                                              \
    to[(at) + BM_ROW * (pitch) + BM_FIRST / 4 + e] = BM_TOTAL_BITS(sums.v[e])
#define bm_load_sums(sums, from, at, pitch)                                                                                          \
    for (uint e = 0; e < BM_QUADS; e++)                                                                                              \
    sums.v[e] = uintBitsToFloat(from[(at) + BM_ROW * (pitch) + BM_FIRST / 4 + e])
#define bm_load_right_rows(fragment, from, at, pitch)                                                                                \
    for (uint e = 0; e < 8 * BM_QUADS; e++)                                                                                          \
    for (uint word = 0; word < 4; word++)                                                                                            \
    fragment.v[e][word] = bm_column_pair(from[(at) + (8 * (e % 2) + 2 * word) * (pitch) + BM_FIRST / 8],                             \
                                         from[(at) + (8 * (e % 2) + 2 * word + 1) * (pitch) + BM_FIRST / 8], BM_FIRST % 8 + e / 2)
#ifdef MATRIX_BFLOAT16
#define bm_half_words(x, y) (bm_bf16_bits(vec4(x))[0] | bm_bf16_bits(vec4(y))[0] << 16)
#else
#define bm_half_words(x, y) (bm_f16_bits(vec4(x))[0] | bm_f16_bits(vec4(y))[0] << 16)
#endif
#define bm_subgroup_barrier() barrier()
#define bm_elements(sums, quad) (sums).v[quad]
#define bm_set_elements(sums, quad, elements) (sums).v[quad] = elements
#define bm_scale(sums, quad, factors) (sums).v[quad] *= factors
#define bm_is_left_of(left, lower, upper) false
#define bm_set_left(left, lower, upper)

bm_right bm_ones()
{
#ifdef MATRIX_BFLOAT16
    const uvec4 ones = uvec4(0x3f803f80u);
#else
    const uvec4 ones = uvec4(0x3c003c00u);
#endif
    bm_right right;
    for (uint e = 0; e < 8 * BM_QUADS; e++)
        right.v[e] = ones;
    return right;
}

// Column i of two rows of 8.
uint bm_column_pair(uvec4 upper, uvec4 lower, uint i)
{
    const uint word = i / 2, shift = 16 * (i % 2);
    return (upper[word] >> shift & 0xffffu) | (lower[word] >> shift & 0xffffu) << 16;
}

#ifdef MATRIX_INT8
int bm_word_product(uint x, uint w)
{
    const ivec4 shift = ivec4(24, 16, 8, 0); // each byte goes to the upper end, and back with its sign
    const ivec4 product = (ivec4(int(x)) << shift >> 24) * (ivec4(int(w)) << shift >> 24);
    return product.x + product.y + product.z + product.w;
}
#else
vec2 bm_components(uint word)
{
#ifdef MATRIX_BFLOAT16
    return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u));
#else
    return unpackHalf2x16(word);
#endif
}

float bm_word_product(uint x, uint w)
{
    const vec2 product = bm_components(x) * bm_components(w);
    return product.x + product.y;
}
#endif

bm_sums bm_multiply_add(bm_left left, bm_right right, bm_sums sums)
{
    for (uint e = 0; e < 8 * BM_QUADS; e++)
        for (uint word = 0; word < 4; word++)
            sums.v[e / 8][e / 2 % 4] += bm_word_product(left.v[e % 2][word], right.v[e][word]);
    return sums;
}
#endif
