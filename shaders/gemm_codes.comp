// gemm_codes: y[i, j] = sum over l of x[i, l] * w[j, l], plus bias[j], for few rows, with weights as packed codes.   Twin: cl/gemm_codes.cl
//
//   x           [m, k]                    real
//   words       [n, ceil(k BITS / 32)]    uint32: codes of W as pack_codes packs them, row after row
//   step        [n, groups]               float32
//   zero_point  [n, groups]               int32, of the same stride; absent: all 0
//   bias        [1, n]                    real; read where has_bias is 1
//   y           [m, n]                    real; apart from x and bias
//
// w[j, l] = (field of words - 2^(BITS - 1) - zero_point[j, g]) step[j, g], g = l / group_size; group_size is a multiple of 16, or k.
// y = bias + x w^T, with adds 1 y += that.
// Generation has one row of x a sequence: reading w is all the work, and codes are a quarter of 16-bit weights. A work-group takes four
// rows of w and ROWS rows of x; its work-items share the columns, 16 at a time, and add up at the end. A code becomes a float by the
// bits of 2^23 + field. Groups walk the outputs, so any number of them is correct.
// GROUP: a power of two. ROWS: 1 to 8; m may be larger (w is then read once more for each ROWS rows). BITS: 2, 4 or 8.
// Local memory: GROUP * 16 bytes. Bound: (k + 3) * 2^-24 * sum |x||w|, then one rounding to the storage type.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "bitmill.glsl"
#include "gemm_codes.args.glsl"

const uint WORDS = BITS / 2; // of 16 codes

shared vec4 part[GROUP];

// Words of 16 codes, in as few loads as they take.
void load_words(uint row, uint q, out uint codes[WORDS])
{
    if (WORDS == 4) {
        const uvec4 four = bm_words4(uvec2(a.words)).v[row * (a.word_stride / 4) + q];
        [[unroll]] for (uint i = 0; i < WORDS; i++)
            codes[i] = four[i];
    } else if (WORDS == 2) {
        const uvec2 two = bm_words2(uvec2(a.words)).v[row * (a.word_stride / 2) + q];
        [[unroll]] for (uint i = 0; i < WORDS; i++)
            codes[i] = two[i % 2];
    } else {
        codes[0] = a.words.v[row * a.word_stride + q];
    }
}

float field(uint word, uint i) { return uintBitsToFloat(((word >> (i * BITS % 32)) & ((1u << BITS) - 1u)) | 0x4b000000u); }

void main()
{
    const uint lane = gl_LocalInvocationID.x, chunks = (a.k + 15) / 16, quads = (a.k + 3) / 4, n_quads = (a.n + 3) / 4;
    const uint blocks = (a.m + ROWS - 1) / ROWS;
    for (uint tile = gl_WorkGroupID.x; tile < blocks * n_quads; tile += gl_NumWorkGroups.x) { // same tile for the group
        const uint first_m = tile / n_quads * ROWS, quad = tile % n_quads;
        vec4 sum[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            sum[r] = vec4(0.0);
        for (uint q = lane; q < chunks; q += GROUP) {
            uint codes[4][WORDS];
            vec4 steps, zeros;
            [[unroll]] for (uint c = 0; c < 4; c++) {
                const uint row = min(4 * quad + c, a.n - 1), at = row * a.step_stride + 16 * q / a.group_size;
                load_words(row, q, codes[c]);
                steps[c] = a.step.v[at];
                zeros[c] = 8388608.0 + float(1 << (BITS - 1));
                if (a.has_zero_point != 0)
                    zeros[c] += float(a.zero_point.v[at]);
            }
            vec4 dots[ROWS];
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                dots[r] = vec4(0.0);
            [[unroll]] for (uint i = 0; i < 16; i += 4) {
                vec4 v[4]; // columns i .. i + 3 of the four rows
                [[unroll]] for (uint l = 0; l < 4; l++) {
                    const uint word = (i + l) * BITS / 32;
                    v[l] = vec4(field(codes[0][word], i + l), field(codes[1][word], i + l), field(codes[2][word], i + l),
                                field(codes[3][word], i + l)) - zeros;
                }
                [[unroll]] for (uint r = 0; r < ROWS; r++) {
                    const uint start = min(first_m + r, a.m - 1) * (a.x_stride / 4);
                    const vec4 u = bm_mask4(bm_load4(a.x, x_type, start + min(4 * q + i / 4, quads - 1)), 4 * q + i / 4, a.k, 0.0);
                    [[unroll]] for (uint l = 0; l < 4; l++)
                        dots[r] = fma(vec4(u[l]), v[l], dots[r]);
                }
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++)
                sum[r] = fma(steps, dots[r], sum[r]);
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            part[lane] = sum[r];
            barrier();
            for (uint s = GROUP / 2; s > 0; s /= 2) {
                if (lane < s)
                    part[lane] += part[lane + s];
                barrier();
            }
            if (lane == 0 && first_m + r < a.m) {
                const uint at = (first_m + r) * (a.y_stride / 4) + quad;
                vec4 base = a.adds != 0 ? bm_load4(a.y, y_type, at) : vec4(0.0);
                if (a.has_bias != 0)
                    base += bm_load4(a.bias, bias_type, quad);
                bm_store4(a.y, y_type, at, base + part[0]);
            }
            barrier(); // part is reused by the next row
        }
    }
}
