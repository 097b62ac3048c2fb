// What products of 8-bit codes share: the dot product of four codes, what becomes of an integer sum, and the error of
// outputs.   Twin: shaders/include/int8.glsl
//
// A code is a signed byte, four to a word. Sums of at most 131071 products are below 2^31: exact in 32 bits, in any order.
#include "bitmill.h"
#define BM_LOSS_COLS 16 // outputs whose errors make one element of loss

// sum plus the products of four codes each. One instruction where the compiler knows one.
inline int bm_dot4(uint x, uint w, int sum)
{
#if defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
    return sum + dot_4x8packed_ss_int(x, w);
#elif defined(BM_DP4A) // NVIDIA's instruction; the driver lacks the extension
    int out;
    __asm__("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(w), "r"(sum));
    return out;
#else
    const int u = (int)x, v = (int)w;
    return sum + ((int)(x << 24) >> 24) * ((int)(w << 24) >> 24) + ((int)(x << 16) >> 24) * ((int)(w << 16) >> 24) +
           ((int)(x << 8) >> 24) * ((int)(w << 8) >> 24) + (u >> 24) * (v >> 24);
#endif
}

// Codes 16 q .. 16 q + 15 of a row of x; zeros behind column k, so that what w has there does not count.
inline uint4 bm_load_codes(__global const uint *x, size_t row, uint stride, uint q, uint k)
{
    if (16 * q >= k)
        return (uint4)(0u);
    const uint4 v = vload4(row * (stride / 16) + q, x);
    const uint left = k - 16 * q; // bytes; a word keeps min(left - 4 i, 4) of them
    const uint4 at = (uint4)(0u, 4u, 8u, 12u);
    const uint4 bytes = min(max((uint4)(left), at) - at, (uint4)(4u));
    const uint4 shift = 8u * (4u - max(bytes, (uint4)(1u)));
    return select(v & ((uint4)(0xffffffffu) >> shift), (uint4)(0u), bytes == (uint4)(0u));
}

// An integer as float32, rounded half to even: two exact numbers, whose sum rounds alike everywhere.
inline float4 bm_integers(int4 v) { return convert_float4(v >> 12) * 4096.0f + convert_float4(v & 4095); }

// Steps of columns 4 q .. 4 q + 3 of n; a row of w_step has four elements, the first of which is the step.
inline float4 bm_load_steps(__global const float *w_step, uint q, uint n)
{
    const uint j = 4 * q;
    return (float4)(w_step[4 * (size_t)j], w_step[4 * (size_t)min(j + 1, n - 1)], w_step[4 * (size_t)min(j + 2, n - 1)],
                    w_step[4 * (size_t)min(j + 3, n - 1)]);
}

// The output of integer sums: one rounding after each operation, in this order, on every device.
inline float4 bm_int8_outputs(int4 sum, float x_step, float4 w_step, float4 bias)
{
    return bm_integers(sum) * x_step * w_step + bias;
}

// The squared error of four outputs, of which those behind column n do not count.
inline float bm_error4(float4 want, float4 got, uint q, uint n)
{
    const float4 d = bm_mask4(want - got, q, n, 0.0f), s = d * d;
    return (s.x + s.y) + (s.z + s.w);
}
