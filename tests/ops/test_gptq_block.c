// Columns one behind the other, by both kernels that CPU devices have.
#include "device/backend.h"
#include "ops/chunks.h"
#include "ops/fixture.h"
#include "ops/gptq_block.h"

#include <string.h>

enum { ROWS = 53, COLS = 38, GROUP = 8, GROUPS = 5 }; // neither whole lanes nor whole vectors

typedef struct results {
    float w[ROWS * COLS], beside[ROWS * COLS]; // errors or changes
} results;

// On a device whose vectors have width floats.
static void run(uint32_t width, bool sweeps, bool indexed, results *out)
{
    static float w[ROWS * COLS], square[COLS * COLS], residual[ROWS * COLS], steps[ROWS * GROUPS];
    int32_t zeros[ROWS * GROUPS];
    uint32_t index[COLS];
    bm_random random;
    bm_random_init(&random, 7, 0);
    fill_normal(&random, BM_COUNT(w), 1, w);
    fill_normal(&random, BM_COUNT(square), 0.1, square);
    fill_normal(&random, BM_COUNT(residual), 1, residual);
    for (uint32_t c = 0; c < COLS; c++) {
        square[c * COLS + c] = sweeps && c % 7 == 3 ? 0 : 1 + 0.1f * (float)c;
        index[c] = c * 3 % GROUPS;
    }
    for (uint32_t k = 0; k < ROWS * GROUPS; k++) {
        steps[k] = (k % 2 ? 0.2f : -0.3f) + 0.001f * (float)k;
        zeros[k] = (int32_t)(k % 5) - 2;
    }
    const bm_tensor x = make_tensor(ROWS, COLS, w), rest = make_tensor(ROWS, COLS, residual),
                    s = make_tensor(COLS, COLS, square), beside = make_tensor(ROWS, COLS, NULL),
                    step = make_tensor(ROWS, GROUPS, steps), zero = make_typed(BM_DTYPE_I32, ROWS, GROUPS, zeros);
    const bm_block_grid grid = {&step, &zero, 0, GROUP, 4, indexed ? make_integers(COLS, index) : (bm_view){0}};
    const uint32_t real = test_device->info.limits.vector_width;
    test_device->info.limits.vector_width = width;
    if (sweeps)
        MUST(bm_code_sweep(test_device, &x, &rest, &s, &grid, &beside, &failure));
    else
        MUST(bm_gptq_block(test_device, &x, &s, &grid, &beside, &failure));
    test_device->info.limits.vector_width = real;
    read_tensor(&x, out->w);
    read_tensor(&beside, out->beside);
    destroy_tensors();
}

static void rows_as_lanes_give_the_same_bits(void **state)
{
    (void)state;
    static results plain, lanes;
    if (bm_device_get_info(test_device)->kind != BM_DEVICE_CPU ||
        !bm_kernel_has_variant(test_device, BM_KERNEL_GPTQ_BLOCK, BM_VARIANT_GPTQ_BLOCK_LANES))
        skip();
    for (uint32_t i = 0; i < 3; i++) {
        run(4, i == 2, i == 1, &plain);
        run(16, i == 2, i == 1, &lanes);
        assert_memory_equal(plain.w, lanes.w, sizeof plain.w);
        assert_memory_equal(plain.beside, lanes.beside, sizeof plain.beside);
    }
}

// CPU devices with wide vectors take them, other devices what groups of work-items want.
static void wide_vectors_take_rows_as_lanes(void **state)
{
    (void)state;
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    if (!bm_kernel_has_variant(test_device, BM_KERNEL_CODE_SWEEP, BM_VARIANT_CODE_SWEEP_LANES))
        skip();
    info->kind = BM_DEVICE_CPU;
    info->limits.vector_width = 8;
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_GPTQ_BLOCK), BM_VARIANT_GPTQ_BLOCK_LANES);
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_CODE_SWEEP), BM_VARIANT_CODE_SWEEP_LANES);
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_ATTENTION), BM_VARIANT_ATTENTION_LANES);
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_GEMM), 0); // it has other variants
    info->limits.vector_width = 4;
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_GPTQ_BLOCK), 0);
    info->limits.vector_width = 16;
    info->kind = BM_DEVICE_DISCRETE_GPU;
    assert_int_equal(bm_chunk_lanes(test_device, BM_KERNEL_GPTQ_BLOCK), 0);
    *info = real;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_as_lanes_give_the_same_bits),
                                       cmocka_unit_test(wide_vectors_take_rows_as_lanes)};
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
