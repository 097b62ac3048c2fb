// The product in 8-bit integers: every form on every device gives the same bits as plain integers on the host, in parts, cuts and
// small scratch; errors beside wanted outputs; activations to codes; and what is refused. Argument: the device.
#include "base/half.h"
#include "device/backend.h"
#include "device/opencl/opencl.h"
#include "ops/fixture.h"
#include "ops/gemm_int8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct product_case {
    uint64_t m, n, k;
    bm_dtype type; // of bias and y
    bool has_bias;
    const bm_gemm_choice *choice; // NULL: the table's
    uint64_t max_allocation;      // 0: the device's
    int extreme;                  // 0: random codes; else all codes are this
} product_case;

static const bm_gemm_choice *const table_choice = NULL;
static const bm_gemm_choice generic = {"test", BM_GEMM_ROWS, 0, 64, 0, 0, 0, 1, "generic", 0};
static const bm_gemm_choice dot = {"test", BM_GEMM_ROWS, BM_VARIANT_GEMM_INT8_DOT, 256, 0, 0, 0, 1, "dot", 0};
static const bm_gemm_choice panels = {"test", BM_GEMM_PANELS, 0, 8, 0, 6, 16, 1, "panels of 6 x 16", 0};
static const bm_gemm_choice slow = {"test", BM_GEMM_PANELS, 0, 8, 0, 14, 32, 1e-6, "panels, short dispatches", 0};
static const bm_gemm_choice slow_rows = {"test", BM_GEMM_ROWS, 0, 64, 0, 0, 0, 1e-6, "rows, short dispatches", 0};

static bool runs_here(const bm_gemm_choice *choice)
{
    return !choice || bm_kernel_has_variant(test_device, BM_KERNEL_GEMM_INT8, choice->variant);
}

static int8_t *make_codes(uint64_t count, uint64_t seed, int extreme)
{
    bm_random random;
    int8_t *codes = bm_alloc(count, 1);
    assert_non_null(codes);
    bm_random_init(&random, seed, 1);
    for (uint64_t i = 0; i < count; i++)
        codes[i] = (int8_t)(extreme ? extreme : (int)bm_random_below(&random, 256) - 128);
    return codes;
}

static float *make_steps(uint64_t count, uint32_t width, uint64_t seed)
{
    bm_random random;
    float *steps = bm_alloc_zero(count * width, sizeof *steps);
    assert_non_null(steps);
    bm_random_init(&random, seed, 2);
    for (uint64_t i = 0; i < count; i++)
        steps[i * width] = (float)(0.001 + 0.02 * bm_random_double(&random));
    return steps;
}

// Values of a tensor of the type, rounded to it.
static float *make_reals(bm_dtype type, uint64_t rows, uint64_t cols, uint64_t seed, bm_tensor *out)
{
    bm_random random;
    float *values = bm_alloc(rows * cols, sizeof *values);
    uint8_t *bytes = bm_alloc(rows * cols, sizeof *values);
    assert_true(values && bytes);
    bm_random_init(&random, seed, 3);
    for (uint64_t i = 0; i < rows * cols; i++) {
        bm_store_real(bytes, type, i, (float)(20 * bm_random_normal(&random)));
        values[i] = bm_load_real(bytes, type, i);
    }
    *out = make_typed(type, rows, cols, bytes);
    bm_free(bytes);
    return values;
}

// Outputs before they are stored, of plain integers.
static float *expected_outputs(const product_case *c, const int8_t *x, const int8_t *w, const float *x_rows,
                               const float *w_steps, const float *bias)
{
    float *out = bm_alloc(c->m * c->n, sizeof *out);
    assert_non_null(out);
    for (uint64_t i = 0; i < c->m; i++)
        for (uint64_t j = 0; j < c->n; j++) {
            int64_t sum = 0;
            for (uint64_t l = 0; l < c->k; l++)
                sum += x[i * c->k + l] * w[j * c->k + l];
            out[i * c->n + j] = (float)sum * x_rows[4 * i] * w_steps[j] + (bias ? bias[j] : 0.0f);
        }
    return out;
}

static void check_outputs(const product_case *c, const bm_tensor *y, const float *want)
{
    uint8_t *bytes = bm_alloc(c->m * c->n, bm_dtype_size(c->type)), one[4];
    assert_non_null(bytes);
    MUST(bm_tensor_download(test_device, y, bytes, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint64_t i = 0; i < c->m * c->n; i++) {
        bm_store_real(one, c->type, 0, want[i]);
        if (bm_load_real(bytes, c->type, i) != bm_load_real(one, c->type, 0))
            fail_msg("[%llu, %llu, %llu] %s: y[%llu, %llu] = %.9g, want %.9g", (unsigned long long)c->m,
                     (unsigned long long)c->n, (unsigned long long)c->k, c->choice ? c->choice->reason : "table",
                     (unsigned long long)(i / c->n), (unsigned long long)(i % c->n),
                     (double)bm_load_real(bytes, c->type, i), (double)bm_load_real(one, c->type, 0));
    }
    bm_free(bytes);
}

// The errors of rows, within the roundings of their sums; the same bits when they are asked for again.
static void check_losses(const product_case *c, const bm_int8_rows *x, const bm_int8_weights *weights,
                         const bm_tensor *bias, const float *got)
{
    bm_tensor want = {0};
    float *wanted = make_reals(c->type, c->m, c->n, 9, &want);
    bm_tensor sums = make_tensor(c->m, 4, NULL);
    float *first = bm_alloc(4 * c->m, sizeof *first), *again = bm_alloc(4 * c->m, sizeof *again);
    assert_true(first && again);
    MUST(bm_gemm_int8_loss(test_device, x, weights, bias, &want, &sums, &failure));
    read_tensor(&sums, first);
    MUST(bm_gemm_int8_loss(test_device, x, weights, bias, &want, &sums, &failure));
    read_tensor(&sums, again);
    assert_memory_equal(first, again, 4 * c->m * sizeof *first);
    for (uint64_t i = 0; i < c->m; i++) {
        double loss = 0;
        for (uint64_t j = 0; j < c->n; j++) {
            const double d = (double)(wanted[i * c->n + j] - got[i * c->n + j]);
            loss += d * d;
        }
        if (!(fabs((double)first[4 * i] - loss) <= ((double)c->n / 16 + 8) * 0x1p-24 * loss))
            fail_msg("[%llu, %llu, %llu] %s: the error of row %llu is %.9g, want %.9g", (unsigned long long)c->m,
                     (unsigned long long)c->n, (unsigned long long)c->k, c->choice ? c->choice->reason : "table",
                     (unsigned long long)i, (double)first[4 * i], loss);
        assert_true(first[4 * i + 1] == 0 && first[4 * i + 2] == 0 && first[4 * i + 3] == 0);
    }
    bm_free(wanted);
    bm_free(first);
    bm_free(again);
}

// Creates weights by two calls, multiplies, compares outputs and errors with plain integers.
static void check_product(const product_case *c)
{
    bm_int8_weights *weights = NULL;
    const uint64_t split = c->n / 3, real_max = test_device->info.limits.max_allocation_bytes;
    int8_t *x_codes = make_codes(c->m * c->k, 1, c->extreme), *w_codes = make_codes(c->n * c->k, 2, c->extreme);
    float *x_rows = make_steps(c->m, 4, 3), *w_steps = make_steps(c->n, 1, 4), *bias_values = NULL;
    const bm_int8_rows x = {make_typed(BM_DTYPE_I8, c->m, c->k, x_codes), make_tensor(c->m, 4, x_rows)};
    const bm_tensor w = make_typed(BM_DTYPE_I8, c->n, c->k, w_codes), steps = make_tensor(c->n, 1, w_steps);
    bm_tensor bias = {0}, y = {0};
    bias_values = make_reals(c->type, 1, c->n, 5, &bias);
    bm_free(make_reals(c->type, c->m, c->n, 6, &y));
    MUST(bm_fill(test_device, y.view, 0xffc1ffc1u, &failure)); // NaN
    if (c->max_allocation)
        test_device->info.limits.max_allocation_bytes = c->max_allocation;
    const bm_status status = bm_int8_weights_create(test_device, c->n, c->k, "layer", c->choice, &weights, &failure);
    test_device->info.limits.max_allocation_bytes = real_max;
    if (status != BM_OK)
        fail_msg("%s", failure.message);
    assert_true(!c->max_allocation || weights->codes->num_parts > 1);
    for (uint32_t part = split > 0 ? 0 : 1; part < 2; part++) {
        const uint64_t first = part == 0 ? 0 : split, count = part == 0 ? split : c->n - split;
        const bm_tensor some = bm_tensor_rows(&w, first, count), some_steps = bm_tensor_rows(&steps, first, count);
        MUST(bm_int8_weights_set_rows(test_device, weights, first, &some, &some_steps, &failure));
    }
    MUST(bm_gemm_int8(test_device, &x, weights, c->has_bias ? &bias : NULL, &y, &failure));
    float *want = expected_outputs(c, x_codes, w_codes, x_rows, w_steps, c->has_bias ? bias_values : NULL);
    check_outputs(c, &y, want);
    check_losses(c, &x, weights, c->has_bias ? &bias : NULL, want);
    bm_int8_weights_destroy(&weights);
    bm_free(x_codes);
    bm_free(w_codes);
    bm_free(x_rows);
    bm_free(w_steps);
    bm_free(bias_values);
    bm_free(want);
    destroy_tensors();
}

static void int8_every_form_gives_the_bits_of_plain_integers(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    static const uint64_t shapes[][3] = {{1, 1, 1}, {1, 67, 130}, {5, 33, 3}, {17, 131, 67}, {140, 200, 72}};
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &dot, &panels};
    for (size_t c = 0; c < BM_COUNT(choices); c++)
        for (size_t s = 0; s < BM_COUNT(shapes) && runs_here(choices[c]); s++)
            check_product(&(product_case){shapes[s][0], shapes[s][1], shapes[s][2], types[c == 0 ? s % 3 : 0],
                                          s % 2 == 1, choices[c], 0, 0});
}

static void int8_every_variant_by_name(void **state)
{
    (void)state;
    char words[64];
    for (uint32_t i = 0; bm_gemm_int8_variant(test_device, i); i++) {
        snprintf(words, sizeof words, "gemm_int8=%s", bm_gemm_int8_variant(test_device, i));
        MUST(bm_device_set_variants(test_device, words, &failure));
        assert_string_equal(bm_gemm_int8_choose(test_device).name, bm_gemm_int8_variant(test_device, i));
        check_product(&(product_case){33, 131, 70, BM_DTYPE_F32, true, NULL, 0, 0});
        check_product(&(product_case){140, 200, support_is_instrumented() ? 180 : 300, BM_DTYPE_BF16, false, NULL, 0,
                                      0}); // several tiles and slices of any
    }
    MUST(bm_device_set_variants(test_device, "", &failure));
}

// Of a GPU: the shape of Vulkan's first variant of 8-bit codes, or NVIDIA's warpgroups and a driver of OpenCL that takes their text.
static void pretend_matrix_units(void)
{
    bm_device_limits *limits = &test_device->info.limits;
    test_device->info.kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(test_device->info.name, sizeof test_device->info.name, "NVIDIA H200");
    limits->int8_dot = true;
    limits->shared_memory_bytes = 49152;
    limits->max_group_invocations = 1024;
    limits->min_subgroup_size = limits->max_subgroup_size = 32;
    limits->num_matrix_shapes = 1;
    limits->matrix_shapes[0] = bm_kernel_table[BM_KERNEL_GEMM_INT8].variants[BM_VARIANT_GEMM_INT8_CM_16X16].matrix;
    limits->wgmma = true;
    if (strcmp(test_device->info.backend, "opencl") == 0)
        *ocl_state_of(test_device)->ptx_answers =
            (struct ocl_ptx_answer){ocl_source_of(BM_KERNEL_GEMM_INT8, BM_VARIANT_GEMM_INT8_WGMMA)->ptx, true};
}

// Matrix units are the usual ones where a GPU has them for int8, unless another variant is asked for or a comparison found them slower.
static void int8_on_matrix_units_where_they_are(void **state)
{
    (void)state;
    const bm_device_info before = test_device->info;
    const bool is_vulkan = strcmp(before.backend, "vulkan") == 0;
    const uint32_t usual = is_vulkan ? BM_VARIANT_GEMM_INT8_CM_16X16 : BM_VARIANT_GEMM_INT8_WGMMA;
    const char *name = is_vulkan ? "matrix" : "wgmma";
    if (strcmp(before.backend, "host") == 0)
        skip();
    pretend_matrix_units();
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, usual);
    assert_string_equal(bm_gemm_int8_choose(test_device).name, name);
    MUST(bm_device_set_variants(test_device, "gemm_int8=dot", &failure));
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_DOT);
    MUST(bm_device_set_variants(test_device, "", &failure));
    MUST(bm_device_set_verdict(test_device, "gemm_int8", name, BM_DTYPE_I8, BM_USE_MANY_TILES, BM_VERDICT_SLOWER,
                               &failure));
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_DOT);
    MUST(bm_device_set_variants(test_device, is_vulkan ? "gemm_int8=matrix" : "gemm_int8=wgmma", &failure));
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, usual); // as the caller wants
    MUST(bm_device_set_verdict(test_device, "gemm_int8", name, BM_DTYPE_I8, BM_USE_MANY_TILES, BM_VERDICT_NONE,
                               &failure));
    MUST(bm_device_set_variants(test_device, "", &failure));
    if (!is_vulkan)
        memset(ocl_state_of(test_device)->ptx_answers, 0, sizeof ocl_state_of(test_device)->ptx_answers);
    test_device->info = before;
}

// Of two shapes that a device has the larger is taken; one of unsigned bytes is none.
static void int8_on_matrix_units_by_shapes(void **state)
{
    (void)state;
    const bm_device_info before = test_device->info;
    const bm_kernel_variant *variants = bm_kernel_table[BM_KERNEL_GEMM_INT8].variants;
    bm_device_limits *limits = &test_device->info.limits;
    if (strcmp(before.backend, "vulkan") != 0)
        skip();
    pretend_matrix_units();
    assert_int_equal(limits->matrix_shapes[0].n, 16);
    limits->matrix_shapes[0] = variants[BM_VARIANT_GEMM_INT8_CM].matrix;
    assert_int_equal(limits->matrix_shapes[0].n, 8);
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_CM);
    MUST(bm_device_set_variants(test_device, "gemm_int8=matrix-8", &failure));
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_CM);
    assert_int_equal(bm_gemm_int8_choose(test_device).group, 256);
    limits->matrix_shapes[1] = variants[BM_VARIANT_GEMM_INT8_CM_16X16].matrix;
    limits->num_matrix_shapes = 2;
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_CM_16X16);
    MUST(bm_device_set_variants(test_device, "", &failure));
    limits->matrix_shapes[0].component = limits->matrix_shapes[1].component = BM_DTYPE_NONE; // of unsigned bytes
    assert_int_equal(bm_gemm_int8_choose(test_device).variant, BM_VARIANT_GEMM_INT8_DOT);
    test_device->info = before;
}

static void int8_weights_beyond_one_allocation(void **state)
{
    (void)state;
    const bm_gemm_choice *const choices[] = {&generic, &panels};
    for (size_t c = 0; c < BM_COUNT(choices); c++) { // parts of 64 and 128 rows
        const uint64_t row = choices[c]->form == BM_GEMM_PANELS ? 80 * 4 : 80;
        check_product(&(product_case){9, 300, 80, BM_DTYPE_F32, true, choices[c], 64 * row, 0});
        check_product(&(product_case){20, 300, 80, BM_DTYPE_F16, true, choices[c], 128 * row, 0});
    }
}

static void int8_long_work_is_cut(void **state)
{
    (void)state;
    check_product(&(product_case){40, 200, 30, BM_DTYPE_F32, true, &slow, 0, 0});
    check_product(&(product_case){140, 200, 30, BM_DTYPE_BF16, true, &slow_rows, 0, 0});
}

// As on a device with smaller work-groups than the fastest kernel likes; device.c would refuse larger ones.
static void int8_keeps_to_the_limit_of_a_group(void **state)
{
    (void)state;
    const uint32_t real = test_device->info.limits.max_group_invocations;
    test_device->info.limits.max_group_invocations = 64;
    check_product(&(product_case){1, 70, 2100, BM_DTYPE_F32, true, &generic, 0, 0});
    check_product(&(product_case){8, 70, 48, BM_DTYPE_F32, false, NULL, 0, 0});
    test_device->info.limits.max_group_invocations = real;
}

static void int8_largest_sums_are_exact(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip();
    check_product(&(product_case){3, 5, 4096, BM_DTYPE_F32, true, table_choice, 0, -128});
    check_product(&(product_case){9, 2, BM_INT8_MAX_FEATURES, BM_DTYPE_F32, false, &generic, 0, -128});
    if (runs_here(&dot))
        check_product(&(product_case){9, 2, BM_INT8_MAX_FEATURES, BM_DTYPE_F32, false, &dot, 0, 127});
    if (test_device->info.limits.max_loop_rounds == 0) {
        check_product(&(product_case){9, 2, BM_INT8_MAX_FEATURES, BM_DTYPE_F32, false, table_choice, 0, -128});
        return;
    }
    bm_int8_weights *weights = NULL; // a driver that would end the loop early and say nothing
    bm_int8_rows x = {0};
    const bm_tensor y = make_tensor(2, 3, NULL);
    MUST(bm_int8_weights_create(test_device, 3, 65500, "layer", &panels, &weights, &failure));
    MUST(bm_int8_rows_create(test_device, 2, 65500, &x, &failure));
    assert_int_equal(bm_gemm_int8(test_device, &x, weights, NULL, &y, &failure), BM_E_UNSUPPORTED);
    assert_non_null(strstr(failure.message, "65500 input features"));
    bm_int8_rows_destroy(&x);
    bm_int8_weights_destroy(&weights);
    destroy_tensors();
}

// Ties, what saturates, a peak that is zero, shift and factor; by row and for all.
static void activations_become_codes(void **state)
{
    (void)state;
    enum { TOKENS = 3, CHANNELS = 5 };
    static const float values[TOKENS * CHANNELS] = {0.5f, 1.5f, -2.5f, 127, -127, 200, -300, 0, 64, 1, 0, 0, 0, 0, 0};
    static const int8_t by_one[TOKENS * CHANNELS] = {0, 2, -2, 127, -127, 127, -128, 0, 64, 1, 0, 0, 0, 0, 0};
    static const float shift[CHANNELS] = {0.5f, 0, 0, 0, 0}, factor[CHANNELS] = {4, 1, 1, 0.5f, 1};
    const bm_tensor x = make_tensor(TOKENS, CHANNELS, values), z = make_tensor(1, CHANNELS, shift),
                    f = make_tensor(1, CHANNELS, factor);
    bm_int8_rows out = {0};
    int8_t codes[TOKENS * CHANNELS];
    float rows[4 * TOKENS];
    MUST(bm_int8_rows_create(test_device, TOKENS, CHANNELS, &out, &failure));
    bm_quantize_rows_params params = {.name = "layer", .peak = 127};
    MUST(bm_quantize_rows(test_device, &x, &params, &out, &failure));
    MUST(bm_tensor_download(test_device, &out.codes, codes, &failure));
    read_tensor(&out.rows, rows);
    assert_memory_equal(codes, by_one, sizeof codes);
    for (uint32_t r = 0; r < TOKENS; r++)
        assert_true(rows[4 * r] == 1 && rows[4 * r + 1] == 127 && rows[4 * r + 2] == (r == 1 ? 2 : 0));
    params = (bm_quantize_rows_params){.name = "layer", .per_row = true, .shift = &z, .factor = &f};
    MUST(bm_quantize_rows(test_device, &x, &params, &out, &failure));
    MUST(bm_tensor_download(test_device, &out.codes, codes, &failure));
    read_tensor(&out.rows, rows);
    assert_true(rows[0] == 1 && rows[1] == 127 && codes[0] == 0 && codes[3] == 64 && codes[4] == -127); // 63.5
    assert_true(rows[4] == 798.0f / 127 && rows[5] == 798 && codes[5] == 127);
    assert_true(rows[9] == 2 && codes[10] == -127 && codes[11] == 0); // (0 - 0.5) * 4
    params = (bm_quantize_rows_params){.name = "layer", .peak = 0};
    MUST(bm_quantize_rows(test_device, &x, &params, &out, &failure));
    MUST(bm_tensor_download(test_device, &out.codes, codes, &failure));
    read_tensor(&out.rows, rows);
    for (uint32_t i = 0; i < TOKENS * CHANNELS; i++)
        assert_int_equal(codes[i], 0);
    assert_true(rows[0] == 1 && rows[1] == 0 && rows[2] == 5);
    params.peak = NAN;
    assert_int_equal(bm_quantize_rows(test_device, &x, &params, &out, &failure), BM_E_ARGUMENT);
    params.peak = -1;
    assert_int_equal(bm_quantize_rows(test_device, &x, &params, &out, &failure), BM_E_ARGUMENT);
    bm_int8_rows_destroy(&out);
    destroy_tensors();
}

static void activations_that_are_not_finite_are_named(void **state)
{
    (void)state;
    static const float values[2][8] = {{1, NAN, -2, 4, 0, 0, 0, 0}, {1, -2, 4, INFINITY, 8, 0, 0, 0}};
    static const int8_t want[2][4] = {{32, 0, -64, 127}, {0, 0, 0, 127}};
    bm_int8_rows out = {0};
    int8_t codes[8];
    MUST(bm_int8_rows_create(test_device, 2, 4, &out, &failure));
    for (uint32_t i = 0; i < 2; i++) {
        const bm_tensor x = make_tensor(2, 4, values[i]);
        const bm_quantize_rows_params params = {.name = "blocks.3.down_proj", .per_row = true};
        MUST(bm_quantize_rows(test_device, &x, &params, &out, &failure));
        MUST(bm_tensor_download(test_device, &out.codes, codes, &failure));
        assert_int_equal(bm_device_wait(test_device, &failure), BM_E_NUMERIC);
        assert_non_null(strstr(failure.message, "blocks.3.down_proj"));
        assert_memory_equal(codes, want[i], 4);
    }
    bm_int8_rows_destroy(&out);
    destroy_tensors();
}

static void int8_refuses_shapes_that_disagree(void **state)
{
    (void)state;
    bm_int8_weights *weights = NULL;
    bm_int8_rows x = {0}, narrow = {0};
    const bm_tensor y = make_tensor(2, 70, NULL), bias = make_tensor(1, 69, NULL), sums = make_tensor(1, 4, NULL);
    assert_int_equal(bm_int8_weights_create(test_device, 0, 8, "layer", NULL, &weights, &failure), BM_E_ARGUMENT);
    assert_int_equal(
        bm_int8_weights_create(test_device, 8, BM_INT8_MAX_FEATURES + 1, "layer", NULL, &weights, &failure),
        BM_E_ARGUMENT);
    assert_non_null(strstr(failure.message, "131072 input features"));
    MUST(bm_int8_weights_create(test_device, 70, 8, "layer", NULL, &weights, &failure));
    MUST(bm_int8_rows_create(test_device, 2, 8, &x, &failure));
    MUST(bm_int8_rows_create(test_device, 2, 4, &narrow, &failure));
    assert_int_equal(bm_gemm_int8(test_device, &narrow, weights, NULL, &y, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_int8(test_device, &x, weights, &bias, &y, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_int8(test_device, &x, weights, NULL, &bias, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_int8_loss(test_device, &x, weights, NULL, &y, &sums, &failure), BM_E_ARGUMENT);
    const bm_tensor steps = make_tensor(2, 1, NULL), few = make_tensor(1, 1, NULL);
    assert_int_equal(bm_int8_weights_set_rows(test_device, weights, 69, &x.codes, &steps, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_int8_weights_set_rows(test_device, weights, 0, &narrow.codes, &steps, &failure), BM_E_ARGUMENT);
    assert_int_equal(bm_int8_weights_set_rows(test_device, weights, 0, &x.codes, &few, &failure), BM_E_ARGUMENT);
    bm_int8_rows_destroy(&x);
    bm_int8_rows_destroy(&narrow);
    bm_int8_weights_destroy(&weights);
    destroy_tensors();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_every_form_gives_the_bits_of_plain_integers),
        cmocka_unit_test(int8_every_variant_by_name),
        cmocka_unit_test(int8_on_matrix_units_where_they_are),
        cmocka_unit_test(int8_on_matrix_units_by_shapes),
        cmocka_unit_test(int8_weights_beyond_one_allocation),
        cmocka_unit_test(int8_long_work_is_cut),
        cmocka_unit_test(int8_keeps_to_the_limit_of_a_group),
        cmocka_unit_test(int8_largest_sums_are_exact),
        cmocka_unit_test(activations_become_codes),
        cmocka_unit_test(activations_that_are_not_finite_are_named),
        cmocka_unit_test(int8_refuses_shapes_that_disagree),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
