// Sixteen rows of a matrix as lanes of vectors, for kernels on CPU devices that treat rows apart but walk their columns in order.
#include "bitmill.h"
#define BM_LANES 16

// lanes[c] = column c of rows first .. first + 15 of x [rows, 4 quads]; behind the last row it comes again.
inline void bm_lanes_load(__global const float *x, uint stride, uint first, uint rows, uint quads, float16 *lanes)
{
    for (uint lane = 0; lane < BM_LANES; lane++) {
        const size_t start = min(first + lane, rows - 1) * (size_t)(stride / 4);
        for (uint q = 0; q < quads; q++) {
            float *to = (float *)(lanes + 4 * q) + lane;
            const float4 v = vload4(start + q, x);
            to[0] = v.x;
            to[BM_LANES] = v.y;
            to[2 * BM_LANES] = v.z;
            to[3 * BM_LANES] = v.w;
        }
    }
}

// The same way back; what is behind the last row is left out.
inline void bm_lanes_store(const float16 *lanes, uint stride, uint first, uint rows, uint quads, __global float *x)
{
    for (uint lane = 0; lane < BM_LANES && first + lane < rows; lane++) {
        const size_t start = (first + lane) * (size_t)(stride / 4);
        for (uint q = 0; q < quads; q++) {
            const float *from = (const float *)(lanes + 4 * q) + lane;
            vstore4((float4)(from[0], from[BM_LANES], from[2 * BM_LANES], from[3 * BM_LANES]), start + q, x);
        }
    }
}

// The grids of a group of those rows.
typedef struct bm_lanes_grid {
    float16 step, zero;
} bm_lanes_grid;
inline bm_lanes_grid bm_lanes_load_grid(__global const float *step, __global const int *zero_point, uint stride, uint first,
                                        uint rows, uint group)
{
    float steps[BM_LANES], zeros[BM_LANES];
    for (uint lane = 0; lane < BM_LANES; lane++) {
        const size_t at = min(first + lane, rows - 1) * (size_t)stride + group;
        steps[lane] = step[at];
        zeros[lane] = (float)zero_point[at];
    }
    const bm_lanes_grid grid = {vload16(0, steps), vload16(0, zeros)};
    return grid;
}

// x between low and high. PoCL makes three instructions of clamp.
inline float16 bm_lanes_within(float16 x, float16 low, float16 high)
{
    const float16 capped = x < high ? x : high;
    return capped > low ? capped : low;
}

// The whole number next to x, half to even, or some number beyond 2^22 where x is. PoCL makes a dozen instructions of rint; Clang's
// builtin is one where the processor has it, and the sum with 1.5 2^23 has no bits behind the point.
#if defined(__has_builtin) && (defined(__SSE4_1__) || defined(__ARM_NEON))
#if __has_builtin(__builtin_elementwise_roundeven)
#define BM_HAS_ROUNDEVEN
#endif
#endif
#ifdef BM_HAS_ROUNDEVEN
inline float16 bm_lanes_whole(float16 x) { return __builtin_elementwise_roundeven(x); }
#else
inline float16 bm_lanes_whole(float16 x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
#endif

// The code next to x = value / step; half_codes: 2^(bits - 1). The ends of the range hide what lies beyond 2^22.
inline float16 bm_lanes_code(float16 x, float16 zero, float half_codes)
{
    return bm_lanes_within(bm_lanes_whole(x) + zero, (float16)(-half_codes), (float16)(half_codes - 1.0f));
}

// The value of the grid that is next to v.
inline float16 bm_lanes_round(float16 v, bm_lanes_grid grid, float half_codes)
{
    return (bm_lanes_code(v / grid.step, grid.zero, half_codes) - grid.zero) * grid.step;
}

// x[j] -= d[k] rows[k, j] for columns j of quads first_quad .. quads - 1, k = 0 .. 3 in order. rows: four rows of a matrix.
inline void bm_lanes_subtract(const float16 *d, __global const float *rows, uint stride, uint first_quad, uint quads, float16 *x)
{
    const float16 d0 = -d[0], d1 = -d[1], d2 = -d[2], d3 = -d[3];
    for (uint j = 4 * first_quad; j < 4 * quads; j++) {
        float16 sum = fma(d0, (float16)(rows[j]), x[j]);
        sum = fma(d1, (float16)(rows[stride + j]), sum);
        sum = fma(d2, (float16)(rows[2 * (size_t)stride + j]), sum);
        x[j] = fma(d3, (float16)(rows[3 * (size_t)stride + j]), sum);
    }
}
