// Vectors of WIDTH neighbours, 4 or 16, as wide as the device has them. For kernels with the tunable WIDTH; twins have none:
// Vulkan's drivers for CPUs make vectors of work-items, and GPUs take four neighbours each.
//
// A row begins at a quad. What lies in its last vector behind its last quad is loaded as zeros and not stored.
#include "exponential.h"
#if WIDTH == 16
#define bm_exp_wide bm_exp16
typedef float16 bm_wide;
typedef int16 bm_wide_int;
#define bm_as_wide as_float16
#define bm_as_wide_int as_int16
#define bm_put_wide(x, out) vstore16((x), 0, (out))
#define bm_take_wide(in) vload16(0, (in))

// Elements c .. c + 15 of the row of cols elements that begins at quad row.
inline float16 bm_load_wide(__global const uint *b, uint type, size_t row, uint c, uint cols)
{
    const size_t i = row + c / 4;
    const int quads = ((int)cols - (int)c + 3) / 4;
    if (quads >= 4 && type == BM_F32)
        return vload16(0, (__global const float *)b + 4 * i);
    if (quads >= 4 && type == BM_F16)
        return vload_half16(0, (__global const half *)b + 4 * i);
    if (quads >= 4)
        return as_float16(convert_uint16(vload16(0, (__global const ushort *)b + 4 * i)) << 16);
    float x[16] = {0.0f};
    for (int p = 0; p < quads; p++)
        vstore4(bm_load4(b, type, i + p), p, x);
    return vload16(0, x);
}

inline void bm_store_wide(__global uint *b, uint type, size_t row, uint c, uint cols, float16 x)
{
    const size_t i = row + c / 4;
    const int quads = ((int)cols - (int)c + 3) / 4;
    if (quads >= 4 && type == BM_F32) {
        vstore16(x, 0, (__global float *)b + 4 * i);
        return;
    }
    float parts[16];
    vstore16(x, 0, parts);
    for (int p = 0; p < min(quads, 4); p++)
        bm_store4(b, type, i + p, vload4(p, parts));
}

// The same for codes, whole numbers in -128 .. 127, as bytes.
inline void bm_store_codes_wide(__global uint *b, size_t row, uint c, uint cols, float16 x)
{
    const uint4 words = as_uint4(convert_char16(x));
    const uint parts[4] = {words.x, words.y, words.z, words.w};
    const int quads = ((int)cols - (int)c + 3) / 4;
    if (quads >= 4)
        vstore4(words, 0, b + row + c / 4);
    else
        for (int p = 0; p < quads; p++)
            b[row + c / 4 + p] = parts[p];
}

inline bool bm_is_finite_wide(float16 x)
{
    const int16 bits = as_int16(x) & 0x7fffffff;
    const int8 y = max(bits.lo, bits.hi);
    const int4 z = max(y.lo, y.hi);
    return max(max(z.x, z.y), max(z.z, z.w)) < 0x7f800000;
}

// x, elements c .. c + 15 of a row, with other at and behind column cols.
inline float16 bm_fill_wide(float16 x, uint c, uint cols, float other)
{
    const int16 lanes = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return select(x, (float16)(other), lanes + (int)c >= (int)cols);
}

inline float bm_sum_wide(float16 x)
{
    const float8 y = x.lo + x.hi;
    const float4 z = y.lo + y.hi;
    return (z.x + z.y) + (z.z + z.w);
}

inline float bm_max_wide(float16 x)
{
    const float8 y = fmax(x.lo, x.hi);
    const float4 z = fmax(y.lo, y.hi);
    return fmax(fmax(z.x, z.y), fmax(z.z, z.w));
}
#else
#define bm_exp_wide bm_exp4
typedef float4 bm_wide;
typedef int4 bm_wide_int;
#define bm_as_wide as_float4
#define bm_as_wide_int as_int4
#define bm_put_wide(x, out) vstore4((x), 0, (out))
#define bm_take_wide(in) vload4(0, (in))

inline float4 bm_load_wide(__global const uint *b, uint type, size_t row, uint c, uint cols) { return bm_load4(b, type, row + c / 4); }

inline void bm_store_wide(__global uint *b, uint type, size_t row, uint c, uint cols, float4 x) { bm_store4(b, type, row + c / 4, x); }

inline void bm_store_codes_wide(__global uint *b, size_t row, uint c, uint cols, float4 x) { b[row + c / 4] = as_uint(convert_char4(x)); }

inline bool bm_is_finite_wide(float4 x) { return !any((as_int4(x) & 0x7f800000) == 0x7f800000); }

inline float4 bm_fill_wide(float4 x, uint c, uint cols, float other) { return bm_mask4(x, c / 4, cols, other); }

inline float bm_sum_wide(float4 x) { return (x.x + x.y) + (x.z + x.w); }

inline float bm_max_wide(float4 x) { return fmax(fmax(x.x, x.y), fmax(x.z, x.w)); }
#endif

inline bm_wide bm_mask_wide(bm_wide x, uint c, uint cols) { return bm_fill_wide(x, c, cols, 0.0f); }

// The first element of x that is y; WIDTH: there is none.
inline uint bm_find_wide(bm_wide x, float y)
{
    float parts[WIDTH];
    uint i = 0;
    bm_put_wide(x, parts);
    while (i < WIDTH && parts[i] != y)
        i++;
    return i;
}
