// Rows and biases of a checkpoint's linear come back out of the parts of a block as they were put in, on every device.
#include "model/linear_rows.h"
#include "device/backend.h"
#include "ops/fixture.h"

#include <string.h>

enum { ROWS_A_PART = 64 }; // of weights that are cut, so that most have several parts

typedef struct shape {
    uint32_t heads, head_dim, num_parts; // of a linear with heads * head_dim rows a part
    uint32_t cols;
} shape;

// One with many rows a run, a fused one with rows for 3 parts of its weights, and one whose runs and columns fill no vector.
static const shape shapes[] = {{1, 200, 1, 40}, {10, 16, 3, 24}, {26, 5, 3, 7}};

static uint32_t rows_of(const shape *s)
{
    return s->heads * s->head_dim * s->num_parts;
}

static bm_linear_rows make_linear(const shape *s, bm_dtype dtype, bm_gemm_form form)
{
    const bm_gemm_choice choice = {.form = form, .group = 64, .slice = 8, .panel_cols = 32, .gflops = 1, .reason = ""};
    bm_linear_rows linear = {.num_parts = s->num_parts,
                             .runs = {s->num_parts == 1 ? rows_of(s) : s->head_dim, s->head_dim, s->head_dim}};
    const uint64_t limit = test_device->info.limits.max_allocation_bytes;
    test_device->info.limits.max_allocation_bytes =
        ROWS_A_PART * bm_tensor_stride(dtype, s->cols) * bm_dtype_size(dtype);
    for (uint32_t p = 0; p < s->num_parts; p++) {
        MUST(bm_weights_create(test_device, s->heads * s->head_dim, s->cols, dtype, "a part", &choice, &linear.parts[p],
                               &failure));
        assert_true(form == BM_GEMM_PANELS || linear.parts[p]->num_parts > 1);
    }
    test_device->info.limits.max_allocation_bytes = limit;
    return linear;
}

static void destroy_linear(bm_linear_rows *linear)
{
    for (uint32_t p = 0; p < linear->num_parts; p++)
        bm_weights_destroy(&linear->parts[p]);
    destroy_tensors();
}

// Numbers that every type holds; no two neighbours and no two rows alike.
static float value_of(uint64_t row, uint64_t col)
{
    return (float)((row * 37 + col * 11) % 251) - 125;
}

// Where the checkpoint's row lies, by the words of linear_rows.h.
static void assert_row_lies_in_its_part(const bm_linear_rows *linear, const shape *s, uint32_t row)
{
    float got[64];
    const uint32_t head = row / s->head_dim / s->num_parts, part = row / s->head_dim % s->num_parts;
    const bm_weights *weights = linear->parts[part];
    const uint32_t at = s->num_parts == 1 ? row : head * s->head_dim + row % s->head_dim;
    const bm_tensor one = make_tensor(1, s->cols, NULL);
    MUST(bm_weights_get_rows(test_device, weights, at, &one, &failure));
    read_tensor(&one, got);
    for (uint32_t c = 0; c < s->cols; c++)
        assert_true(got[c] == value_of(row, c));
}

static void rows_come_back(void **state)
{
    (void)state;
    static float values[480 * 40], got[480 * 40];
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_BF16};
    for (size_t i = 0; i < BM_COUNT(shapes) * BM_COUNT(types); i++) {
        const shape *s = &shapes[i / BM_COUNT(types)];
        const uint32_t rows = rows_of(s), cols = s->cols;
        assert_true(rows * cols <= BM_COUNT(values));
        for (uint32_t k = 0; k < rows * cols; k++)
            values[k] = value_of(k / cols, k % cols);
        bm_linear_rows linear = make_linear(s, types[i % BM_COUNT(types)], BM_GEMM_ROWS);
        const bm_tensor all = make_tensor(rows, cols, values), back = make_tensor(rows, cols, NULL);
        MUST(bm_linear_rows_set(test_device, &linear, 0, &all, &failure));
        MUST(bm_linear_rows_get(test_device, &linear, 0, &back, &failure));
        read_tensor(&back, got);
        assert_memory_equal(got, values, (size_t)rows * cols * sizeof *got);
        const uint32_t some[] = {0, rows / 3, rows / 2, rows - 1};
        for (size_t k = 0; k < BM_COUNT(some); k++)
            assert_row_lies_in_its_part(&linear, s, some[k]);
        // From within a run to within another, over the end of a part; the rest of the target is left alone.
        const uint32_t first = s->head_dim / 2 + 1, count = rows - first - 2;
        const bm_tensor wide = make_tensor(rows, cols, values), within = bm_tensor_rows(&wide, 1, count);
        MUST(bm_linear_rows_get(test_device, &linear, first, &within, &failure));
        read_tensor(&wide, got);
        assert_memory_equal(got, values, cols * sizeof *got);
        assert_memory_equal(got + cols, values + (size_t)first * cols, (size_t)count * cols * sizeof *got);
        assert_memory_equal(got + (size_t)(1 + count) * cols, values + (size_t)(1 + count) * cols,
                            (size_t)(rows - 1 - count) * cols * sizeof *got);
        destroy_linear(&linear);
    }
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(shapes); i++) {
        const shape *s = &shapes[i];
        bm_linear_rows linear = make_linear(s, BM_DTYPE_F32, BM_GEMM_ROWS);
        const bm_tensor two = make_tensor(2, s->cols, NULL), narrow = make_tensor(2, s->cols - 1, NULL);
        MUST(bm_linear_rows_get(test_device, &linear, rows_of(s) - 2, &two, &failure));
        assert_int_equal(bm_linear_rows_get(test_device, &linear, rows_of(s) - 1, &two, &failure), BM_E_ARGUMENT);
        assert_int_equal(bm_linear_rows_get(test_device, &linear, 0, &narrow, &failure), BM_E_ARGUMENT);
        destroy_linear(&linear);
        linear = make_linear(s, BM_DTYPE_F32, BM_GEMM_PANELS);
        const bm_tensor one = make_tensor(1, s->cols, NULL);
        assert_int_equal(bm_linear_rows_get(test_device, &linear, 0, &one, &failure), BM_E_ARGUMENT);
        assert_string_equal(failure.message, "a part: its rows lie in panels and cannot be read back");
        destroy_linear(&linear);
    }
}

static void biases_come_back(void **state)
{
    (void)state;
    float part[200], got[480];
    for (size_t i = 0; i < BM_COUNT(shapes); i++)
        for (uint32_t absent = 0; absent <= shapes[i].num_parts + 1; absent++) { // two more: none is, all are
            const shape *s = &shapes[i];
            const uint32_t rows = rows_of(s), width = s->heads * s->head_dim;
            bm_linear_rows linear = make_linear(s, BM_DTYPE_F32, BM_GEMM_ROWS);
            bm_tensor biases[BM_MAX_LINEAR_PARTS] = {0};
            for (uint32_t p = 0; p < s->num_parts; p++) {
                for (uint32_t r = 0; r < width; r++) // row r of the part is this one of the linear
                    part[r] = value_of((r / s->head_dim * s->num_parts + p) * s->head_dim + r % s->head_dim, 3);
                if (p != absent && absent <= s->num_parts)
                    biases[p] = make_tensor(1, width, part);
                linear.biases[p] = p == absent ? NULL : &biases[p];
            }
            memset(got, 1, sizeof got);
            MUST(bm_linear_bias_get(test_device, &linear, got, &failure));
            for (uint32_t r = 0; r < rows; r++)
                if (r / s->head_dim % s->num_parts == absent || absent > s->num_parts)
                    assert_true(got[r] == 0);
                else
                    assert_true(got[r] == value_of(r, 3));
            destroy_linear(&linear);
        }
}

static void biases_of_other_types_become_floats(void **state)
{
    (void)state;
    static const uint16_t ones[] = {0x3f80, 0xbfc0, 0x4000}; // 1, -1.5, 2 in bfloat16
    static const double fine[] = {1, -1.5, 2};
    const bool is_host = bm_device_is_host(test_device);
    for (int wide = 0; wide <= is_host; wide++) {
        float got[3];
        const bm_dtype dtype = wide ? BM_DTYPE_F64 : BM_DTYPE_BF16;
        bm_linear_rows linear = {.num_parts = 1, .runs = {3}};
        MUST(bm_weights_create(test_device, 3, 8, BM_DTYPE_F32, "a part", NULL, &linear.parts[0], &failure));
        const bm_tensor bias = make_typed(dtype, 1, 3, wide ? (const void *)fine : ones);
        linear.biases[0] = &bias;
        MUST(bm_linear_bias_get(test_device, &linear, got, &failure));
        assert_true(got[0] == 1 && got[1] == -1.5f && got[2] == 2);
        destroy_linear(&linear);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(what_cannot_be_read_is_refused),
        cmocka_unit_test(biases_come_back),
        cmocka_unit_test(biases_of_other_types_become_floats),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
