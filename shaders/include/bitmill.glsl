// Shared by every shader: buffer references, storage types, reductions, reports. Twin: cl/include/bitmill.h
//
// Buffers are reached by address (GL_EXT_buffer_reference), never by descriptor. Elements of type `real` are stored as
// float32, float16 or bfloat16 and computed in float32; they are loaded and stored through the functions below, as 32-bit
// words, so no 16-bit storage feature is needed. The type argument is a specialization constant: the branches vanish.
//
// A reference of another type is made by way of uvec2, two casts that cost nothing: bm_words4(uvec2(b)). The straight cast, a
// pointer's OpBitcast to another pointer, kills SwiftShader ("illegal instruction").
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require

#define BM_F32 1
#define BM_F16 2
#define BM_BF16 3

#define BM_REPORT_NOT_FINITE 1
#define BM_REPORT_INDEX 2
#define BM_REPORT_PIVOT 3

layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_words2 { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_words4 { uvec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_floats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_floats4 { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer bm_ints { int v[]; };

// Four float32 rounded to bfloat16 bits, half to even; NaN stays NaN. Here and below selections, not branches: shorter
// code, and loops around a store are unrolled rather than kept with their sums in memory (NVIDIA).
uvec4 bm_bf16_bits(vec4 x)
{
    uvec4 u = floatBitsToUint(x);
    uvec4 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return mix(rounded, (u >> 16) | 0x40u, greaterThan(u & 0x7fffffffu, uvec4(0x7f800000u)));
}

// Four float32 rounded to float16 bits, half to even. Done by hand: packHalf2x16 may round otherwise.
uvec4 bm_f16_bits(vec4 x)
{
    uvec4 u = floatBitsToUint(x), magnitude = u & 0x7fffffffu;
    // Below 2^-14, subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    uvec4 subnormal = floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u;
    uvec4 half_bits = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    half_bits = mix(half_bits, subnormal, lessThan(magnitude, uvec4(0x38800000u)));
    half_bits = mix(half_bits, uvec4(0x7c00u), greaterThanEqual(magnitude, uvec4(0x477ff000u))); // rounds to 65536 or more
    half_bits = mix(half_bits, uvec4(0x7e00u), greaterThan(magnitude, uvec4(0x7f800000u)));
    return half_bits | ((u >> 16) & 0x8000u);
}

// unpackHalf2x16 may flush subnormal numbers, unless a mode that not every device has forbids it: pipeline.c sets that mode,
// and false here, where it is; by hand, products of float16 took an H100 18 % longer.
layout(constant_id = 30) const bool BM_HALF_BY_HAND = true;

// The value of float16 bits.
float bm_f16_value(uint bits)
{
    if (!BM_HALF_BY_HAND)
        return unpackHalf2x16(bits).x;
    uint magnitude = bits & 0x7fffu;
    float subnormal = float(magnitude) * 5.9604644775390625e-8; // 2^-24: exact
    uint normal = (magnitude << 13) + (magnitude < 0x7c00u ? 0x38000000u : 0x70000000u);
    return uintBitsToFloat((magnitude < 0x400u ? floatBitsToUint(subnormal) : normal) | (bits & 0x8000u) << 16);
}

// The same for two words of two each.
vec4 bm_f16_values(uvec2 words)
{
    if (!BM_HALF_BY_HAND)
        return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y));
    uvec4 bits = uvec4(words.x & 0xffffu, words.x >> 16, words.y & 0xffffu, words.y >> 16);
    uvec4 magnitude = bits & 0x7fffu;
    uvec4 subnormal = floatBitsToUint(vec4(magnitude) * 5.9604644775390625e-8);
    uvec4 normal = (magnitude << 13) + mix(uvec4(0x38000000u), uvec4(0x70000000u), greaterThanEqual(magnitude, uvec4(0x7c00u)));
    return uintBitsToFloat(mix(normal, subnormal, lessThan(magnitude, uvec4(0x400u))) | (bits & 0x8000u) << 16);
}

// Element i.
float bm_load(bm_words b, uint type, uint i)
{
    if (type == BM_F32)
        return uintBitsToFloat(b.v[i]);
    uint w = b.v[i >> 1];
    uint h = (i & 1u) != 0u ? w >> 16 : w & 0xffffu;
    return type == BM_F16 ? bm_f16_value(h) : uintBitsToFloat(h << 16);
}

// Elements 4 i .. 4 i + 3.
vec4 bm_load4(bm_words b, uint type, uint i)
{
    if (type == BM_F32)
        return uintBitsToFloat(bm_words4(uvec2(b)).v[i]);
    uvec2 w = bm_words2(uvec2(b)).v[i];
    if (type == BM_F16)
        return bm_f16_values(w);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

// Stores elements 4 i .. 4 i + 3: the only store, since a 16-bit element shares its word. Rows are padded to 16 bytes,
// so a store past the last column lands in the padding.
void bm_store4(bm_words b, uint type, uint i, vec4 x)
{
    if (type == BM_F32) {
        bm_words4(uvec2(b)).v[i] = floatBitsToUint(x);
    } else {
        uvec4 bits = type == BM_F16 ? bm_f16_bits(x) : bm_bf16_bits(x);
        bm_words2(uvec2(b)).v[i] = bits.xz | bits.yw << 16;
    }
}

// x with the elements at and behind column cols (of quad i of a row) replaced by other: for the tail of a row.
vec4 bm_mask4(vec4 x, uint i, uint cols, float other)
{
    uint c = 4u * i;
    return vec4(c < cols ? x.x : other, c + 1u < cols ? x.y : other, c + 2u < cols ? x.z : other, c + 3u < cols ? x.w : other);
}

bool bm_is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

// The first report of a batch stays: {code, subject, position}.
void bm_report_to(bm_words status_word, uint subject, uint code, uint position)
{
    if (atomicCompSwap(status_word.v[0], 0u, code) == 0u) {
        status_word.v[1] = subject;
        status_word.v[2] = position;
    }
}
