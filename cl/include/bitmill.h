// Shared by every kernel: storage types, reductions, reports. Twin: shaders/include/bitmill.glsl
//
// Elements of type `real` are stored as float32, float16 or bfloat16 and computed in float32; they are loaded and stored
// through the functions below, as 32-bit words, so no half extension is needed. The type argument is a build option: the
// branches vanish.
#pragma OPENCL FP_CONTRACT OFF
#define BM_F32 1
#define BM_F16 2
#define BM_BF16 3

#define BM_REPORT_NOT_FINITE 1
#define BM_REPORT_INDEX 2
#define BM_REPORT_PIVOT 3

// Kernels that keep many sums in registers say so: for Intel's GPUs without subgroups of 8 the host then asks for 16, since
// the compiler takes 32 there and spills rather than take fewer.
#ifdef BM_SUBGROUP
#define BM_MANY_REGISTERS __attribute__((intel_reqd_sub_group_size(BM_SUBGROUP)))
#else
#define BM_MANY_REGISTERS
#endif

// float32 bits rounded to bfloat16, half to even; NaN stays NaN.
inline uint bm_bf16_bits(float x)
{
    uint u = as_uint(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (u >> 16) | 0x40u;
    return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}

// One float32 rounded to float16 bits, half to even.
inline uint bm_f16_bits(float x)
{
    uint u = as_uint(x);
    const uint sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u)
        return sign | 0x7e00u;
    if (u >= 0x477ff000u) // rounds to 65536 or more
        return sign | 0x7c00u;
    if (u < 0x38800000u) // below 2^-14: subnormal; adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
        return sign | (as_uint(as_float(u) + 0.5f) - 0x3f000000u);
    return sign | ((u - 0x38000000u + 0xfffu + ((u >> 13) & 1u)) >> 13);
}

inline float bm_f16_value(uint bits)
{
    ushort h = (ushort)bits;
    return vload_half(0, (const half *)&h);
}

// Element i.
inline float bm_load(__global const uint *b, uint type, size_t i)
{
    if (type == BM_F32)
        return ((__global const float *)b)[i];
    if (type == BM_F16)
        return vload_half(i, (__global const half *)b);
    return as_float((uint)((__global const ushort *)b)[i] << 16);
}

// Elements 4 i .. 4 i + 3.
inline float4 bm_load4(__global const uint *b, uint type, size_t i)
{
    if (type == BM_F32)
        return vload4(i, (__global const float *)b);
    if (type == BM_F16)
        return vload_half4(i, (__global const half *)b);
    return as_float4(convert_uint4(vload4(i, (__global const ushort *)b)) << 16);
}

// Stores elements 4 i .. 4 i + 3: the only store, since a 16-bit element shares its word. Rows are padded to 16 bytes,
// so a store past the last column lands in the padding.
inline void bm_store4(__global uint *b, uint type, size_t i, float4 x)
{
    if (type == BM_F32)
        vstore4(x, i, (__global float *)b);
    else if (type == BM_F16)
        vstore2((uint2)(bm_f16_bits(x.x) | (bm_f16_bits(x.y) << 16), bm_f16_bits(x.z) | (bm_f16_bits(x.w) << 16)), i, b);
    else
        vstore2((uint2)(bm_bf16_bits(x.x) | (bm_bf16_bits(x.y) << 16), bm_bf16_bits(x.z) | (bm_bf16_bits(x.w) << 16)), i, b);
}

// x with the elements at and behind column cols (of quad i of a row) replaced by other: for the tail of a row.
inline float4 bm_mask4(float4 x, uint i, uint cols, float other)
{
    const uint c = 4u * i;
    return (float4)(c < cols ? x.x : other, c + 1u < cols ? x.y : other, c + 2u < cols ? x.z : other, c + 3u < cols ? x.w : other);
}

inline bool bm_is_finite(float x) { return (as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// The first report of a batch stays: {code, subject, position}.
inline void bm_report_to(__global uint *status_word, uint subject, uint code, uint position)
{
    if (atomic_cmpxchg((volatile __global uint *)status_word, 0u, code) == 0u) {
        status_word[1] = subject;
        status_word[2] = position;
    }
}
