// What products of 8-bit codes share: the dot product of four codes, what becomes of an integer sum, and the error of
// outputs.   Twin: cl/include/int8.h
//
// A code is a signed byte, four to a word. Sums of at most 131071 products are below 2^31: exact in 32 bits, in any order.
const uint BM_LOSS_COLS = 16; // outputs whose errors make one element of loss

#ifdef BM_DOT_INSTRUCTION
// OpSDot, format 0: four signed bytes in a word. By its number, since compilers before 2023 do not know it by name.
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int bm_packed_dot(uint x, uint w, spirv_literal int format);

// sum plus the products of four codes each.
int bm_dot4(uint x, uint w, int sum) { return sum + bm_packed_dot(x, w, 0); }
#else
// sum plus the products of four codes each.
int bm_dot4(uint x, uint w, int sum)
{
    const int u = int(x), v = int(w);
    return sum + ((u << 24) >> 24) * ((v << 24) >> 24) + ((u << 16) >> 24) * ((v << 16) >> 24) +
           ((u << 8) >> 24) * ((v << 8) >> 24) + (u >> 24) * (v >> 24);
}
#endif

// Codes 16 q .. 16 q + 15 of a row of x; zeros behind column k, so that what w has there does not count.
uvec4 bm_load_codes(bm_words x, uint row, uint stride, uint q, uint k)
{
    if (16 * q >= k)
        return uvec4(0u);
    const uvec4 v = bm_words4(uvec2(x)).v[row * (stride / 16) + q];
    const uint left = k - 16 * q; // bytes; a word keeps min(left - 4 i, 4) of them
    const uvec4 at = uvec4(0u, 4u, 8u, 12u);
    const uvec4 bytes = min(max(uvec4(left), at) - at, uvec4(4u));
    const uvec4 shift = 8u * (4u - max(bytes, uvec4(1u)));
    return mix(v & (uvec4(0xffffffffu) >> shift), uvec4(0u), equal(bytes, uvec4(0u)));
}

// An integer as float32, rounded half to even: two exact numbers, whose sum rounds alike everywhere.
vec4 bm_integers(ivec4 v)
{
    precise vec4 out_value = vec4(v >> 12) * 4096.0 + vec4(v & 4095);
    return out_value;
}

// Steps of columns 4 q .. 4 q + 3 of n; a row of w_step has four elements, the first of which is the step.
vec4 bm_load_steps(bm_floats w_step, uint q, uint n)
{
    const uint j = 4 * q;
    return vec4(w_step.v[4 * j], w_step.v[4 * min(j + 1, n - 1)], w_step.v[4 * min(j + 2, n - 1)], w_step.v[4 * min(j + 3, n - 1)]);
}

// The output of integer sums: one rounding after each operation, in this order, on every device.
vec4 bm_int8_outputs(ivec4 sum, float x_step, vec4 w_step, vec4 bias)
{
    precise vec4 y = bm_integers(sum) * x_step * w_step + bias;
    return y;
}

// The squared error of four outputs, of which those behind column n do not count.
float bm_error4(vec4 want, vec4 got, uint q, uint n)
{
    precise vec4 d = bm_mask4(want - got, q, n, 0.0);
    precise vec4 s = d * d;
    precise float error = (s.x + s.y) + (s.z + s.w);
    return error;
}
