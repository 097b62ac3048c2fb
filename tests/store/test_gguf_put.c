// Blocks of GGUF files: bytes by hand and as ggml's reference quantizer makes them, what they decode to, and what no block holds.
#include "support/unit.h"

#include "base/half.h"
#include "formats/gguf_blocks.h"
#include "store/gguf.h"
#include "support/folders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MODULE "model.layers.0.mlp.down_proj"

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)

static bm_store_linear linear_of(uint32_t bits, bool symmetric, uint64_t rows, uint64_t cols, uint32_t group_size)
{
    return (bm_store_linear){
        .module = MODULE,
        .out_features = rows,
        .in_features = cols,
        .grid = {.bits = bits, .group_size = group_size, .symmetric = symmetric, .scale_dtype = BM_DTYPE_F16}};
}

// Rows of a linear from first on. Codes are signed.
static bm_store_rows rows_of(const bm_store_linear *linear, const int8_t *codes, const float *steps,
                             const int32_t *zero_points, uint64_t first, uint64_t count)
{
    const uint64_t cols = linear->in_features, groups = cols / linear->grid.group_size;
    bm_store_rows rows = {.count = count, .groups = groups};
    rows.steps = bm_alloc(count * groups, sizeof *rows.steps);
    rows.zero_points = bm_alloc(count * groups, sizeof *rows.zero_points);
    memcpy(rows.steps, steps + first * groups, count * groups * sizeof *rows.steps);
    memcpy(rows.zero_points, zero_points + first * groups, count * groups * sizeof *rows.zero_points);
    if (linear->grid.bits != 4) {
        rows.bytes = bm_alloc(count, cols);
        memcpy(rows.bytes, codes + first * cols, count * cols);
    } else {
        rows.packed = bm_alloc_zero(count * cols / 8, sizeof *rows.packed);
        for (uint64_t i = 0; i < count * cols; i++)
            rows.packed[i / 8] |= (uint32_t)(codes[first * cols + i] + 8) << i % 8 * 4;
    }
    return rows;
}

// The weights that a loader is said to make are those that it makes, in float16.
static void expect_weights(const bm_store_linear *linear, const bm_store_rows *rows, const float *decoded)
{
    uint16_t out[512];
    assert_true(linear->in_features <= BM_COUNT(out));
    for (uint64_t row = 0; row < rows->count; row++) {
        bm_store_gguf.weights(linear, rows, row, out);
        for (uint64_t c = 0; c < linear->in_features; c++)
            if (out[c] != bm_f32_to_f16(decoded[row * linear->in_features + c]))
                fail_msg("row %u, column %u: %04x of %g", (unsigned)row, (unsigned)c, out[c],
                         (double)decoded[row * linear->in_features + c]);
    }
}

// A file in which a linear's blocks lie last.
typedef struct putting {
    bm_checkpoint_writer *writer;
    bm_store_part part;
    char *folder;
} putting;

static putting begin_putting(const bm_store_linear *linear)
{
    putting p = {.folder = support_folder_create()};
    MUST(bm_store_gguf.check(linear, &failure));
    assert_int_equal(bm_store_gguf.parts(linear, &p.part), 1);
    MUST(bm_checkpoint_writer_create(&p.writer, p.folder, BM_DEFAULT_SHARD_BYTES, &failure));
    MUST(bm_store_declare(&bm_store_gguf, p.writer, linear, &failure));
    MUST(bm_checkpoint_writer_begin(p.writer, &failure));
    return p;
}

// The blocks; bm_free them.
static uint8_t *finish_putting(putting *p)
{
    uint64_t size = 0;
    MUST(bm_checkpoint_writer_finish(&p->writer, &failure));
    uint8_t *file = (uint8_t *)support_file_read(p->folder, "model.safetensors", &size);
    const uint64_t bytes = p->part.shape[0] * p->part.shape[1];
    memmove(file, file + size - bytes, bytes);
    support_folder_remove(&p->folder);
    return file;
}

// The blocks of all rows of a linear, given in pieces of 32; bm_free them.
static uint8_t *put(const bm_store_linear *linear, const int8_t *codes, const float *steps, const int32_t *zero_points)
{
    putting p = begin_putting(linear);
    for (uint64_t first = 0; first < linear->out_features; first += BM_STORE_ROWS) {
        const uint64_t count = bm_min_u64(BM_STORE_ROWS, linear->out_features - first);
        bm_store_rows rows = rows_of(linear, codes, steps, zero_points, first, count);
        MUST(bm_store_gguf.put(p.writer, linear, first, &rows, &failure));
        bm_store_rows_free(&rows);
    }
    return finish_putting(&p);
}

// x[j] = j - 16, quantized by ggml's reference (formats.md section 10): d = 2, codes round(x / 2).
static void symmetric_codes_of_4_bits_are_blocks_of_q4_0(void **state)
{
    (void)state;
    static const uint8_t expected[18] = {0x00, 0x40, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3,
                                         0xc4, 0xc4, 0xd5, 0xd5, 0xe6, 0xe6, 0xf7, 0xf7, 0xf8};
    const bm_store_linear linear = linear_of(4, true, 1, 32, 32);
    const float step = 2;
    const int32_t zero = 0;
    int8_t codes[32];
    for (int32_t j = 0; j < 32; j++)
        codes[j] = (int8_t)((j + 1) / 2 - (j == 31 ? 9 : 8)); // the last one is cut to 15
    uint8_t *blocks = put(&linear, codes, &step, &zero);
    assert_int_equal(bm_store_gguf_type(&linear.grid), BM_GGUF_Q4_0);
    assert_memory_equal(blocks, expected, sizeof expected);
    bm_free(blocks);
}

// The same codes over the least weight: zero points are counted from the middle, so that -8 says that the least is 0 there.
static void asymmetric_codes_of_4_bits_are_blocks_of_q4_1(void **state)
{
    (void)state;
    static const struct {
        float step;
        int32_t zero_point;
        uint8_t d[2], m[2];
    } cases[] = {
        {2, -8, {0x00, 0x40}, {0x00, 0x80}},            // m = -0
        {2, 0, {0x00, 0x40}, {0x00, 0xcc}},             // m = -16
        {2, 7, {0x00, 0x40}, {0x80, 0xcf}},             // m = -30
        {-0.5f, 2, {0x00, 0xb8}, {0x00, 0x45}},         // m = 5
        {1.0009765625f, 3, {0x01, 0x3c}, {0x81, 0xc9}}, // m = -11.0107421875 of 11 bits: -11.0078125 is the nearest
    };
    const bm_store_linear linear = linear_of(4, false, 1, 32, 32);
    int8_t codes[32];
    for (int32_t j = 0; j < 32; j++)
        codes[j] = (int8_t)((j + 1) / 2 - (j == 31 ? 9 : 8));
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint8_t *blocks = put(&linear, codes, &cases[i].step, &cases[i].zero_point);
        assert_int_equal(bm_store_gguf_type(&linear.grid), BM_GGUF_Q4_1);
        assert_memory_equal(blocks, cases[i].d, 2);
        assert_memory_equal(blocks + 2, cases[i].m, 2);
        assert_int_equal(blocks[4], 0x80);
        assert_int_equal(blocks[19], 0xf8);
        bm_free(blocks);
    }
}

// x[j] = j - 16 again: d = 16 / 127.
static void codes_of_8_bits_are_blocks_of_q8_0(void **state)
{
    (void)state;
    static const uint8_t expected[34] = {0x08, 0x30, 0x81, 0x89, 0x91, 0x99, 0xa1, 0xa9, 0xb1, 0xb9, 0xc0, 0xc8,
                                         0xd0, 0xd8, 0xe0, 0xe8, 0xf0, 0xf8, 0x00, 0x08, 0x10, 0x18, 0x20, 0x28,
                                         0x30, 0x38, 0x40, 0x47, 0x4f, 0x57, 0x5f, 0x67, 0x6f, 0x77};
    const bm_store_linear linear = linear_of(8, true, 1, 32, 32);
    const float step = 0.1259765625f;
    const int32_t zero = 0;
    int8_t codes[32];
    for (int32_t j = 0; j < 32; j++)
        codes[j] = (int8_t)lround((j - 16) * 127 / 16.0);
    uint8_t *blocks = put(&linear, codes, &step, &zero);
    assert_memory_equal(blocks, expected, sizeof expected);
    bm_free(blocks);
}

// Floats as ggml's reference rounds them; and a block of zeros.
static void floats_are_rounded_to_q8_0(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x08, 0x30, 0x81, 0x89, 0x91}, tail[] = {0x6f, 0x77};
    float values[64] = {0}, got[64];
    uint8_t blocks[2 * 34];
    for (int32_t j = 0; j < 32; j++)
        values[j] = (float)(j - 16);
    MUST(bm_store_gguf_round(values, 64, blocks, &failure));
    assert_memory_equal(blocks, head, sizeof head);
    assert_memory_equal(blocks + 32, tail, sizeof tail);
    bm_gguf_decode(BM_GGUF_Q8_0, blocks, 64, got);
    for (uint32_t i = 0; i < 64; i++)
        assert_true(fabsf(got[i] - values[i]) <= 0.5001f * 0.1259765625f);
    values[40] = -9e6f; // its step, 70866, is beyond float16
    assert_int_equal(bm_store_gguf_round(values, 64, blocks, &failure), BM_E_NUMERIC);
    assert_string_equal(failure.message, "found 9e+06, of which Q8_0 has no step");
}

// Two rows more than a piece, groups of one block, two blocks and a whole row, steps of both signs: decoded, the blocks are
// (code - zero_point) step.
static void blocks_decode_to_the_weights_of_the_codes(void **state)
{
    (void)state;
    enum { ROWS = 34, COLS = 128 };
    static const struct {
        uint32_t bits, group_size;
        bool symmetric;
    } cases[] = {{4, 32, true}, {4, 64, true},  {4, 128, false}, {4, 32, false},
                 {8, 32, true}, {8, 128, true}, {5, 32, true},   {5, 64, false}};
    static int8_t codes[ROWS * COLS];
    static float steps[ROWS * COLS / 32], got[ROWS * COLS];
    static int32_t zero_points[ROWS * COLS / 32];
    for (size_t c = 0; c < BM_COUNT(cases); c++) {
        const bm_store_linear linear = linear_of(cases[c].bits, cases[c].symmetric, ROWS, COLS, cases[c].group_size);
        const uint64_t groups = COLS / cases[c].group_size;
        for (uint32_t i = 0; i < ROWS * COLS; i++)
            codes[i] = (int8_t)((int32_t)((i * 37 + i / 19) % (1u << cases[c].bits)) - (1 << (cases[c].bits - 1)));
        for (uint32_t g = 0; g < ROWS * groups; g++) {
            steps[g] = (g % 3 == 1 ? -1.0f : 1.0f) * (float)(1025 + g * 7) / 1024.0f;
            zero_points[g] = cases[c].symmetric ? 0 : (int32_t)(g % 16) - 8;
        }
        uint8_t *blocks = put(&linear, codes, steps, zero_points);
        bm_store_rows rows = rows_of(&linear, codes, steps, zero_points, 0, ROWS);
        bm_gguf_decode(bm_store_gguf_type(&linear.grid), blocks, ROWS * COLS, got);
        expect_weights(&linear, &rows, got);
        bm_store_rows_free(&rows);
        for (uint32_t i = 0; i < ROWS * COLS; i++) {
            const uint64_t g = i / COLS * groups + i % COLS / cases[c].group_size;
            const float expected = (float)(codes[i] - zero_points[g]) * steps[g];
            const float bound = cases[c].symmetric ? 0 : 0.0074f * fabsf(steps[g]); // of the rounding of m
            if (!(fabsf(got[i] - expected) <= bound))
                fail_msg("case %zu, element %u: %g, expected %g", c, i, (double)got[i], (double)expected);
        }
        bm_free(blocks);
    }
}

// A linear of nested steps whose numbers are all other than their neighbours', in rows of its own memory.
enum { NESTED_ROWS = 2, NESTED_COLS = 512 };
typedef struct nested_rows {
    int8_t codes[NESTED_ROWS * NESTED_COLS], scales[NESTED_ROWS * 32], minimums[NESTED_ROWS * 32];
    float steps[NESTED_ROWS * 32], units[4], min_units[4];
    int32_t zero_points[NESTED_ROWS * 32];
    bm_store_linear linear;
    bm_store_rows rows;
} nested_rows;

static nested_rows *nested_rows_of(uint32_t bits)
{
    static nested_rows n;
    const bool symmetric = bits == 6;
    const uint32_t size = symmetric ? 16 : 32, groups = NESTED_COLS / size;
    n.linear = linear_of(bits, symmetric, NESTED_ROWS, NESTED_COLS, size);
    n.linear.grid.nested = true;
    for (uint32_t i = 0; i < NESTED_ROWS * NESTED_COLS; i++)
        n.codes[i] = (int8_t)((int32_t)((i * 37 + i / 19) % (1u << bits)) - (1 << (bits - 1)));
    for (uint32_t k = 0; k < 4; k++) {
        n.units[k] = ldexpf((float)(1025 + 3 * k), -22); // subnormal in float16
        n.min_units[k] = ldexpf((float)(1500 - 9 * k), -18);
    }
    for (uint32_t g = 0; g < NESTED_ROWS * groups; g++) {
        const int32_t scale = (int32_t)(g * 29 % 254) - 127;
        n.scales[g] = (int8_t)(symmetric ? scale + (scale >= 0) : 1 + (int32_t)(g * 23 % 63));
        n.minimums[g] = (int8_t)(63 - g * 17 % 64);
        n.zero_points[g] = symmetric ? 0 : -(1 << (bits - 1));
        n.units[g * size / 256] = bm_f16_to_f32(bm_f32_to_f16(n.units[g * size / 256]));
        n.steps[g] = (float)n.scales[g] * n.units[g * size / 256];
    }
    n.rows = (bm_store_rows){.count = NESTED_ROWS,
                             .groups = groups,
                             .bytes = n.codes,
                             .steps = n.steps,
                             .zero_points = n.zero_points,
                             .scales = n.scales,
                             .minimums = symmetric ? NULL : n.minimums,
                             .units = n.units,
                             .min_units = symmetric ? NULL : n.min_units};
    return &n;
}

static uint8_t *put_nested(nested_rows *n)
{
    putting p = begin_putting(&n->linear);
    assert_true(bm_store_gguf.takes_bytes(&n->linear));
    MUST(bm_store_gguf.put(p.writer, &n->linear, 0, &n->rows, &failure));
    return finish_putting(&p);
}

// By the decoder, which tests/golden holds against the Python package gguf; and the weight that a loader is said to make.
static void nested_blocks_decode_to_the_weights_of_the_codes(void **state)
{
    (void)state;
    static const uint32_t types[] = {BM_GGUF_Q4_K, BM_GGUF_Q5_K, BM_GGUF_Q6_K};
    static float got[NESTED_ROWS * NESTED_COLS];
    for (uint32_t t = 0; t < BM_COUNT(types); t++) {
        nested_rows *n = nested_rows_of(4 + t);
        uint8_t *blocks = put_nested(n);
        assert_int_equal(bm_store_gguf_type(&n->linear.grid), types[t]);
        bm_gguf_decode(types[t], blocks, NESTED_ROWS * NESTED_COLS, got);
        for (uint32_t i = 0; i < NESTED_ROWS * NESTED_COLS; i++) {
            const uint32_t g = i / n->linear.grid.group_size;
            const float offset = t == 2 ? 0 : (float)n->minimums[g] * n->min_units[i / 256];
            const float expected = (float)(n->codes[i] - n->zero_points[g]) * n->steps[g] - offset;
            if (got[i] != expected)
                fail_msg("type %u, element %u: %g, expected %g", types[t], i, (double)got[i], (double)expected);
        }
        expect_weights(&n->linear, &n->rows, got);
        bm_free(blocks);
    }
}

// Rows that were sent to a device come back from it, and the offsets there are those of minimums and their units.
static void nested_rows_are_the_same_on_a_device(void **state)
{
    (void)state;
    static float offsets[NESTED_ROWS * NESTED_COLS / 32];
    bm_device *device = NULL;
    MUST(bm_device_open(&device, &(bm_device_params){.spec = "host"}, &failure));
    for (uint32_t bits = 4; bits <= 6; bits++) {
        nested_rows *n = nested_rows_of(bits);
        const uint64_t groups = NESTED_ROWS * n->rows.groups;
        const bool symmetric = n->linear.grid.symmetric;
        bm_codes codes = {0};
        bm_store_rows got = {0};
        MUST(bm_store_send(device, &n->linear, &n->rows, &codes, &failure));
        MUST(bm_store_fetch(&bm_store_gguf, device, &n->linear, 0, &codes, &got, &failure));
        assert_memory_equal(got.bytes, n->codes, sizeof n->codes);
        assert_memory_equal(got.steps, n->steps, groups * sizeof *got.steps);
        assert_memory_equal(got.zero_points, n->zero_points, groups * sizeof *got.zero_points);
        assert_memory_equal(got.scales, n->scales, groups);
        assert_memory_equal(got.units, n->units, sizeof n->units);
        assert_true((got.minimums == NULL) == symmetric && (got.min_units == NULL) == symmetric);
        if (!symmetric) {
            assert_memory_equal(got.minimums, n->minimums, groups);
            assert_memory_equal(got.min_units, n->min_units, sizeof n->min_units);
            MUST(bm_tensor_download(device, &codes.nested.offset, offsets, &failure));
            MUST(bm_device_wait(device, &failure));
            for (uint64_t g = 0; g < groups; g++)
                assert_true(offsets[g] == (float)n->minimums[g] * n->min_units[g * 32 / 256]);
        }
        bm_store_rows_free(&got);
        bm_codes_destroy(&codes);
    }
    bm_device_close(&device);
}

// Bytes of a block by hand. Scales 1 2 3 4 17 34 51 63, minimums 5 6 7 8 33 20 47 62; the codes of parts 0 and 1 are 3 and 10.
static void a_block_of_q4_k_has_these_bytes(void **state)
{
    (void)state;
    static const int8_t scales[8] = {1, 2, 3, 4, 17, 34, 51, 63}, minimums[8] = {5, 6, 7, 8, 33, 20, 47, 62};
    static const uint8_t head[16] = {0x00, 0x14, 0x00, 0x20, 0x41, 0x82, 0xc3, 0xc4,
                                     0x85, 0x46, 0x87, 0xc8, 0x11, 0x42, 0xf3, 0xef};
    nested_rows *n = nested_rows_of(4);
    memcpy(n->scales, scales, sizeof scales);
    memcpy(n->minimums, minimums, sizeof minimums);
    n->units[0] = 0x1p-10f;
    n->min_units[0] = 0x1p-7f;
    memset(n->codes, 3 - 8, 32);
    memset(n->codes + 32, 10 - 8, 32);
    uint8_t *blocks = put_nested(n);
    assert_memory_equal(blocks, head, sizeof head);
    for (uint32_t i = 16; i < 48; i++)
        assert_int_equal(blocks[i], 0xa3);
    bm_free(blocks);
}

static void what_no_block_holds_is_refused_with_what_does(void **state)
{
    (void)state;
    bm_store_linear inputs = linear_of(8, true, 32, 64, 32), order = linear_of(4, true, 32, 64, 32);
    inputs.input = BM_INPUT_STATIC;
    order.has_group_index = true;
    const struct {
        bm_store_linear linear;
        const char *words;
    } cases[] = {
        {inputs, "found quantized inputs of " MODULE ", expected float ones"},
        {order, "found an order of columns of " MODULE},
        {linear_of(3, true, 32, 64, 32), "found 3 bits of " MODULE ", expected 4 or 8; compressed-tensors and gptq"},
        {linear_of(2, false, 32, 64, 32), "found 2 bits"},
        {linear_of(8, false, 32, 64, 32), "found asymmetric codes of 8 bits of " MODULE},
        {linear_of(4, true, 32, 172, 172),
         "found 172 inputs of " MODULE ", expected a multiple of 32; skip_list_names"},
        {linear_of(4, true, 32, 96, 48), "found groups of 48 of " MODULE ", expected a multiple of 32"},
        {linear_of(4, true, 32, 256, 32), "found 4 bits of " MODULE " with nested steps, expected 6"},
        {linear_of(6, false, 32, 256, 32), "found 6 bits of " MODULE " with nested steps, expected 4 or 5"},
        {linear_of(6, true, 32, 256, 32), "found groups of 32 of " MODULE ", expected neighbours in groups of 16"},
        {linear_of(4, false, 32, 384, 32), "found 384 inputs of " MODULE ", expected a multiple of 256"},
    };
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_store_linear linear = cases[i].linear;
        linear.grid.nested = i >= 7;
        assert_int_equal(bm_store_gguf.check(&linear, &failure), BM_E_FORMAT);
        if (!strstr(failure.message, cases[i].words))
            fail_msg("%s", failure.message);
    }
    const bm_store_linear channel = linear_of(4, true, 32, 96, 96);
    MUST(bm_store_gguf.check(&channel, &failure));
}

// The least weight of a group, 15 steps, is beyond float16 where the step is not.
static void steps_whose_least_weight_is_no_float16_are_refused(void **state)
{
    (void)state;
    const bm_store_linear linear = linear_of(4, false, 1, 32, 32);
    uint32_t packed[4] = {0};
    float step = 5000;
    int32_t zero_point = 7;
    const bm_store_rows rows = {.count = 1, .groups = 1, .packed = packed, .steps = &step, .zero_points = &zero_point};
    assert_int_equal(bm_store_gguf.put(NULL, &linear, 0, &rows, &failure), BM_E_NUMERIC);
    assert_non_null(strstr(failure.message, MODULE ": the least weight of a group is -75000, which F16 does not hold"));
}

static void float_tensors_have_the_types_of_their_readers(void **state)
{
    (void)state;
    assert_int_equal(bm_store_gguf.float_dtype(BM_DTYPE_NONE, 2), BM_DTYPE_F16);
    assert_int_equal(bm_store_gguf.float_dtype(BM_DTYPE_BF16, 2), BM_DTYPE_BF16);
    assert_int_equal(bm_store_gguf.float_dtype(BM_DTYPE_F16, 1), BM_DTYPE_F32);
    assert_ptr_equal(bm_store_find("gguf"), &bm_store_gguf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symmetric_codes_of_4_bits_are_blocks_of_q4_0),
        cmocka_unit_test(asymmetric_codes_of_4_bits_are_blocks_of_q4_1),
        cmocka_unit_test(codes_of_8_bits_are_blocks_of_q8_0),
        cmocka_unit_test(floats_are_rounded_to_q8_0),
        cmocka_unit_test(blocks_decode_to_the_weights_of_the_codes),
        cmocka_unit_test(nested_blocks_decode_to_the_weights_of_the_codes),
        cmocka_unit_test(nested_rows_are_the_same_on_a_device),
        cmocka_unit_test(a_block_of_q4_k_has_these_bytes),
        cmocka_unit_test(what_no_block_holds_is_refused_with_what_does),
        cmocka_unit_test(steps_whose_least_weight_is_no_float16_are_refused),
        cmocka_unit_test(float_tensors_have_the_types_of_their_readers),
    };
    return cmocka_run_group_tests_name("gguf_put", tests, NULL, NULL);
}
