// The product of a linear: set and get rows, every form on every device, parts, slices, cuts, and what it refuses.
// Argument: the device.
#include "base/half.h"
#include "base/random.h"
#include "device/backend.h"
#include "device/opencl/opencl.h"
#include "ops/gemm.h"
#include "ops/variants.h"
#include "support/support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

static bm_device *device;
static support_log test_log;

static double rounded(bm_dtype type, double value)
{
    return type == BM_DTYPE_F32   ? (double)(float)value
           : type == BM_DTYPE_F16 ? (double)bm_f16_to_f32(bm_f64_to_f16(value))
                                  : (double)bm_bf16_to_f32(bm_f64_to_bf16(value));
}

// Normal numbers, stored as type; values (what was stored) may be NULL.
static bm_tensor make_tensor(bm_dtype type, uint64_t rows, uint64_t cols, uint64_t seed, double *values)
{
    bm_random random;
    bm_tensor tensor = {0};
    bm_error err = {0};
    const uint64_t size = bm_dtype_size(type);
    uint8_t *bytes = bm_alloc(rows * cols, size);
    assert_non_null(bytes);
    bm_random_init(&random, seed, 1);
    for (uint64_t i = 0; i < rows * cols; i++) {
        const double v = rounded(type, bm_random_normal(&random));
        if (values)
            values[i] = v;
        bm_store_real(bytes, type, i, (float)v);
    }
    assert_int_equal(bm_tensor_create(device, type, rows, cols, "test", &tensor, &err), BM_OK);
    assert_int_equal(bm_tensor_upload(device, &tensor, bytes, &err), BM_OK);
    bm_free(bytes);
    return tensor;
}

static double *read_tensor(const bm_tensor *tensor)
{
    bm_error err = {0};
    const uint64_t count = tensor->rows * tensor->cols;
    uint8_t *bytes = bm_alloc(count, bm_dtype_size(tensor->dtype));
    double *values = bm_alloc(count, sizeof *values);
    assert_non_null(bytes);
    assert_non_null(values);
    assert_int_equal(bm_tensor_download(device, tensor, bytes, &err), BM_OK);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
    for (uint64_t i = 0; i < count; i++)
        values[i] = (double)bm_load_real(bytes, tensor->dtype, i);
    bm_free(bytes);
    return values;
}

typedef struct product_case {
    uint64_t m, n, k;
    bm_dtype type;
    bool has_bias;
    uint64_t first, count; // slice; count 0: all
    const bm_gemm_choice *choice;
    uint64_t max_allocation; // 0: the device's
    bool adds;               // to a y of float32, as blocks add to the residual stream
} product_case;

// The last product that was dispatched, seen on its way to the backend.
static const bm_backend *real_backend;
static bm_call last_product;
static bm_status note_product(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    if (call->kernel == BM_KERNEL_GEMM || call->kernel == BM_KERNEL_GEMM_PACKED)
        last_product = *call;
    return real_backend->dispatch(d, call, subject, barrier, err);
}

static bm_status run_watched(const bm_gemm_job *job, bm_error *err)
{
    real_backend = device->backend;
    bm_backend watching = *real_backend;
    watching.dispatch = note_product;
    device->backend = &watching;
    last_product = (bm_call){.kernel = BM_NUM_KERNELS};
    const bm_status status = bm_gemm_run(device, job, err);
    device->backend = real_backend;
    return status;
}

// A product by a choice of the test runs by that one where it takes the types, else by the device's own for any types.
static void expect_choice(const bm_gemm_choice *choice, bm_dtype type, uint64_t m)
{
    const bm_dtype types[BM_MAX_BUFFERS] = {type, type};
    const bool takes = choice->form == BM_GEMM_PANELS || bm_kernel_takes(BM_KERNEL_GEMM, choice->variant, types);
    const bm_gemm_choice own = bm_gemm_choose(device), *ran = takes ? choice : &own;
    if (ran->form == BM_GEMM_LIBRARY)
        return; // perhaps not a kernel of ours
    assert_int_equal(last_product.kernel, ran->form == BM_GEMM_PANELS ? BM_KERNEL_GEMM_PACKED : BM_KERNEL_GEMM);
    if (ran->form == BM_GEMM_PANELS)
        return;
    const bool is_thin = m <= 8 && bm_kernel_has_variant(device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_THIN);
    assert_int_equal(last_product.variant, is_thin ? BM_VARIANT_GEMM_THIN : ran->variant);
    assert_true(is_thin || last_product.tunables[0] == ran->group);
}

// Creates weights by two calls, multiplies, compares with sums in double.
static void check_product(const product_case *c)
{
    bm_error err = {0};
    bm_weights *weights = NULL;
    const uint64_t count = c->count ? c->count : c->n, split = c->n / 3,
                   real_max = device->info.limits.max_allocation_bytes;
    double *x_values = bm_alloc(c->m * c->k, sizeof *x_values), *w_values = bm_alloc(c->n * c->k, sizeof *w_values);
    double *bias_values = bm_alloc(c->n, sizeof *bias_values), *old = bm_alloc(c->m * count, sizeof *old);
    const bm_dtype y_type = c->adds ? BM_DTYPE_F32 : c->type;
    bm_tensor x = make_tensor(c->type, c->m, c->k, 1, x_values), w = make_tensor(c->type, c->n, c->k, 2, w_values);
    bm_tensor bias = make_tensor(c->type, 1, c->n, 3, bias_values), y = make_tensor(y_type, c->m, count, 4, old);
    assert_true(c->adds || bm_fill(device, y.view, 0xffc1ffc1u, &err) == BM_OK); // NaN
    if (c->max_allocation)
        device->info.limits.max_allocation_bytes = c->max_allocation;
    bm_status status = bm_weights_create(device, c->n, c->k, c->type, "layer", c->choice, &weights, &err);
    device->info.limits.max_allocation_bytes = real_max;
    assert_int_equal(status, BM_OK);
    if (c->max_allocation)
        assert_true(weights->num_parts > 1);
    if (split > 0) {
        const bm_tensor some = bm_tensor_rows(&w, 0, split);
        assert_int_equal(bm_weights_set_rows(device, weights, 0, &some, &err), BM_OK);
    }
    const bm_tensor rest = bm_tensor_rows(&w, split, c->n - split);
    assert_int_equal(bm_weights_set_rows(device, weights, split, &rest, &err), BM_OK);
    const bm_gemm_job job = {.x = &x,
                             .weights = weights,
                             .first = c->first,
                             .count = count,
                             .bias = c->has_bias ? &bias : NULL,
                             .y = &y,
                             .adds = c->adds,
                             .factor = 1.0f};
    status = run_watched(&job, &err);
    if (status != BM_OK)
        print_error("%s\n", err.message);
    assert_int_equal(status, BM_OK);
    if (c->choice)
        expect_choice(c->choice, c->type, c->m);
    double *got = read_tensor(&y);
    for (uint64_t i = 0; i < c->m; i++)
        for (uint64_t j = 0; j < count; j++) {
            const uint64_t row = c->first + j;
            const double from = c->adds ? old[i * count + j] : 0, bias_value = c->has_bias ? bias_values[row] : 0;
            double sum = from + bias_value, magnitude = fabs(from) + fabs(bias_value);
            for (uint64_t l = 0; l < c->k; l++) {
                sum += x_values[i * c->k + l] * w_values[row * c->k + l];
                magnitude += fabs(x_values[i * c->k + l] * w_values[row * c->k + l]);
            }
            const double unit =
                bm_weights_choice(weights, c->type, c->m) != &weights->choice ? 0x1p-22 : 0x1p-24; // sums are cut
            const double bound = (double)(c->k + 2 + (c->adds && c->has_bias)) * unit * magnitude;
            if (!(got[i * count + j] >= rounded(y_type, sum - bound) &&
                  got[i * count + j] <= rounded(y_type, sum + bound))) {
                print_error("[%llu, %llu, %llu] %s on %s: y[%llu, %llu] = %g, want %g within %g (%s)\n",
                            (unsigned long long)c->m, (unsigned long long)c->n, (unsigned long long)c->k,
                            bm_dtype_name(c->type), bm_device_get_info(device)->name, (unsigned long long)i,
                            (unsigned long long)j, got[i * count + j], sum, bound, weights->choice.reason);
                fail();
            }
        }
    bm_free(got);
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&w);
    bm_tensor_destroy(&bias);
    bm_tensor_destroy(&y);
    bm_weights_destroy(&weights);
    bm_free(x_values);
    bm_free(w_values);
    bm_free(bias_values);
    bm_free(old);
    assert_int_equal(bm_device_wait(device, &err), BM_OK);
}

static const bm_gemm_choice *const table_choice = NULL;
static const bm_gemm_choice generic = {"test", BM_GEMM_ROWS, 0, 64, 8, 0, 0, 1, "generic", 0};
static const bm_gemm_choice tile_8 = {"test", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 8, 8, 0, 1, "tile, slices of 8",
                                      0};
static const bm_gemm_choice tile_16 = {
    "test", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 8, 0, 1, "tile, slices of 16", 0};
static const bm_gemm_choice tile_64 = {
    "test", BM_GEMM_ROWS, BM_VARIANT_GEMM_TILE, 256, 16, 4, 0, 1, "tile of half as many rows", 0};
static const bm_gemm_choice panels = {"test", BM_GEMM_PANELS, 0, 8, 0, 6, 16, 1, "panels of 6 x 16", 0};
static const bm_gemm_choice slow = {
    "test", BM_GEMM_PANELS, 0, 8, 0, 14, 32, 1e-6, "panels, dispatches of 250 outputs and fewer", 0};
static const bm_gemm_choice slow_rows = {
    "test", BM_GEMM_ROWS, 0, 64, 8, 0, 0, 1e-6, "rows, dispatches of 250 outputs and fewer", 0};
static const bm_gemm_choice matrix = {
    "test", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM, 128, 64, 8, 0, 1, "matrix units, where the types are float16", 0};
static const bm_gemm_choice matrix_bfloat16 = {
    "test", BM_GEMM_ROWS, BM_VARIANT_GEMM_CM_BF16, 128, 64, 8, 0, 1, "matrix units, where the types are bfloat16", 0};
static const bm_gemm_choice warpgroups = {
    "test", BM_GEMM_ROWS, BM_VARIANT_GEMM_WGMMA, 128, 64, 8, 0, 1, "matrix units, where both types are 16-bit floats",
    0};
static const bm_gemm_choice library = {"test", BM_GEMM_LIBRARY, 0, 64, 8, 0, 0, 1, "library", 0};

static bool runs_here(const bm_gemm_choice *choice)
{
    return !choice || bm_kernel_has_variant(device, BM_KERNEL_GEMM, choice->variant);
}

static void gemm_every_form_is_the_sum_of_products(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    static const uint64_t shapes[][3] = {{1, 1, 1},  {1, 67, 130},  {3, 64, 65},
                                         {5, 33, 1}, {17, 131, 19}, {130, 200, 72}};
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &tile_8, &tile_16,         &tile_64,
                                             &panels,      &library, &matrix, &matrix_bfloat16, &warpgroups};
    for (size_t c = 0; c < BM_COUNT(choices); c++)
        for (size_t t = 0; t < BM_COUNT(types); t++)
            for (size_t s = 0; s < BM_COUNT(shapes) && runs_here(choices[c]); s++)
                check_product(&(product_case){shapes[s][0], shapes[s][1], shapes[s][2], types[t], (s + t) % 2 == 1, 0,
                                              0, choices[c], 0, false});
}

// The product of inputs of any type, with and without a bias, goes onto a float32 y that is there.
static void gemm_every_form_adds_to_what_is_there(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    static const uint64_t shapes[][3] = {{1, 67, 130}, {17, 131, 19}, {130, 200, 72}};
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &tile_8,          &tile_64,   &panels,
                                             &library,     &matrix,  &matrix_bfloat16, &warpgroups};
    for (size_t c = 0; c < BM_COUNT(choices); c++)
        for (size_t i = 0; i < BM_COUNT(types) * BM_COUNT(shapes) * 2 && runs_here(choices[c]); i++) {
            const uint64_t *shape = shapes[i / 2 % BM_COUNT(shapes)];
            check_product(&(product_case){shape[0], shape[1], shape[2], types[i / 2 / BM_COUNT(shapes)], i % 2 == 1, 0,
                                          0, choices[c], 0, true});
        }
}

// GPUs whose registers do not hold 64 sums of a work-item get tiles of half as many rows; others keep theirs.
static void gemm_tiles_fit_the_registers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t rows;
    } gpus[] = {{"Intel(R) Arc(TM) A770 Graphics", 4},
                {"Mesa Intel(R) UHD Graphics 770 (ADL-S GT1)", 4},
                {"Intel(R) Data Center GPU Max 1550", 4},
                {"NVIDIA H100 80GB HBM3", 8},
                {"AMD Radeon RX 7900 XTX (RADV NAVI31)", 8}};
    const bm_device_info before = device->info;
    if (bm_device_is_host(device))
        skip();
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    device->info.limits.shared_memory_bytes = 65536;
    for (size_t i = 0; i < BM_COUNT(gpus); i++) {
        snprintf(device->info.name, sizeof device->info.name, "%s", gpus[i].name);
        const bm_gemm_choice choice = bm_gemm_choose(device);
        assert_int_equal(choice.variant, BM_VARIANT_GEMM_TILE);
        assert_int_equal(choice.rows, gpus[i].rows);
    }
    device->info = before;
}

// What a product of 128 rows a tile by out_features takes, x and w in float16.
static void expect_few_tiles(const char *words, uint64_t tile_rows, uint64_t out_features, const char *variant)
{
    bm_error err = {0};
    bm_weights *weights = NULL;
    assert_int_equal(bm_device_set_variants(device, words, &err), BM_OK);
    assert_int_equal(bm_weights_create(device, out_features, 8, BM_DTYPE_F16, "halves", NULL, &weights, &err), BM_OK);
    assert_string_equal(bm_weights_choice(weights, BM_DTYPE_F16, 128 * tile_rows)->name, variant);
    assert_int_equal(weights->choice.variant, BM_VARIANT_GEMM_TILE);
    bm_weights_destroy(&weights);
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
}

// Matrix units are taken where a GPU of Vulkan has the shape and the subgroups that the kernel needs, for many rows of float16.
static void gemm_on_matrix_units_by_types_and_rows(void **state)
{
    (void)state;
    const bm_matrix_shape need = bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].matrix;
    const bm_device_info before = device->info;
    const bool is_vulkan = strcmp(device->info.backend, "vulkan") == 0;
    bm_device_limits *limits = &device->info.limits;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(device->info.name, sizeof device->info.name, "NVIDIA H200");
    limits->shared_memory_bytes = 49152;
    limits->max_group_invocations = 1024;
    limits->compute_units = 132;
    limits->min_subgroup_size = limits->max_subgroup_size = 32;
    limits->num_matrix_shapes = 2;
    limits->matrix_shapes[0] = (bm_matrix_shape){16, 8, 16, BM_DTYPE_F16, BM_DTYPE_F16};
    limits->matrix_shapes[1] = need;
    assert_int_equal(bm_kernel_has_variant(device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_CM), is_vulkan);
    const bm_gemm_choice any = bm_gemm_choose(device);
    assert_int_not_equal(any.variant, BM_VARIANT_GEMM_CM);
    assert_int_not_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F32, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_CM);
    assert_int_not_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_CM);
    if (is_vulkan) {
        bm_error err = {0};
        const bm_gemm_choice halves = bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES);
        assert_string_equal(halves.name, "matrix");
        assert_int_equal(halves.variant, BM_VARIANT_GEMM_CM);
        assert_int_equal(bm_gemm_choose(device).variant, any.variant);
        bm_weights *weights = NULL, *floats = NULL;
        assert_true(halves.gflops > any.gflops && halves.gflops < 60000);
        assert_int_equal(bm_weights_create(device, 64, 64, BM_DTYPE_F16, "halves", NULL, &weights, &err), BM_OK);
        assert_int_equal(bm_weights_create(device, 64, 64, BM_DTYPE_F32, "floats", NULL, &floats, &err), BM_OK);
        assert_int_equal(bm_weights_choice(weights, BM_DTYPE_F16, 9)->variant, BM_VARIANT_GEMM_CM);
        assert_int_equal(bm_weights_choice(weights, BM_DTYPE_F16, 8)->variant, any.variant);
        assert_int_equal(bm_weights_choice(weights, BM_DTYPE_F32, 9)->variant, any.variant);
        assert_int_equal(bm_weights_choice(floats, BM_DTYPE_F32, 9)->variant, any.variant);
        bm_weights_destroy(&weights);
        bm_weights_destroy(&floats);
        expect_few_tiles("", 16, 1024, "matrix-8"); // 128 tiles for 132 multiprocessors
        expect_few_tiles("", 17, 1024, "matrix");   // 136
        expect_few_tiles("", 16, 1025, "matrix");   // 144
        expect_few_tiles("gemm=auto", 16, 1024, "matrix-8");
        expect_few_tiles("gemm=matrix", 16, 1024, "matrix"); // as it was asked for
        expect_few_tiles("gemm=matrix-64", 16, 1024, "matrix-64");
        expect_few_tiles("gemm=matrix-8", 17, 1024, "matrix-8");
        limits->compute_units = 0; // unknown: as many as usual
        expect_few_tiles("", 1, 64, "matrix-8");
        expect_few_tiles("", 16, 512, "matrix");
        limits->compute_units = 132;
        for (uint32_t i = 0; i < 3; i++) { // a caller's name is obeyed where products add, too
            static const char *const asked[] = {"gemm=matrix", "gemm=auto", ""};
            assert_int_equal(bm_device_set_variants(device, asked[i], &err), BM_OK);
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_ADDING).name,
                                i == 0 ? "matrix" : "matrix-8");
        }
        assert_int_equal(bm_device_set_variants(device, "gemm=tile-8", &err), BM_OK);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_TILE);
        assert_int_equal(bm_device_set_variants(device, "gemm=matrix-32", &err), BM_OK);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).slice, 32);
        assert_int_equal(bm_gemm_choose(device).variant, any.variant);
        assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
    }
    limits->min_subgroup_size = limits->max_subgroup_size = 64;
    assert_false(bm_kernel_has_variant(device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_CM));
    limits->min_subgroup_size = limits->max_subgroup_size = 0;
    assert_false(bm_kernel_has_variant(device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_CM));
    limits->min_subgroup_size = 16, limits->max_subgroup_size = 64;
    limits->num_matrix_shapes = 1; // sums of the other type
    assert_false(bm_kernel_has_variant(device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_CM));
    device->info = before;
}

// Of several vendors' units and subgroups, by what a device says of itself: by itself and by name.
static void gemm_on_matrix_units_by_shape_and_subgroups(void **state)
{
    (void)state;
    static const bm_matrix_shape wide[] = {{16, 16, 16, BM_DTYPE_F16, BM_DTYPE_F32},
                                           {16, 16, 16, BM_DTYPE_BF16, BM_DTYPE_F32}};
    static const bm_matrix_shape low[] = {{8, 16, 16, BM_DTYPE_F16, BM_DTYPE_F32},
                                          {8, 16, 16, BM_DTYPE_BF16, BM_DTYPE_F32}};
    static const bm_matrix_shape small[] = {{8, 8, 16, BM_DTYPE_F16, BM_DTYPE_F32}};
    static const struct {
        const char *name, *asked;
        const bm_matrix_shape *shapes;
        uint32_t num_shapes, min_subgroup, max_subgroup;
        bm_dtype type;
        uint32_t variant, group;
    } cases[] = {
        {"AMD Radeon RX 7900 XTX", "", wide, 1, 32, 64, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_16X16, 256},
        {"AMD Radeon RX 7900 XTX", "", wide, 1, 32, 64, BM_DTYPE_BF16, BM_VARIANT_GEMM_TILE, 256},
        {"AMD Radeon RX 9070 XT", "", wide, 2, 32, 64, BM_DTYPE_BF16, BM_VARIANT_GEMM_CM_BF16, 256},
        {"AMD Radeon RX 9070 XT", "gemm=matrix-wave64", wide, 2, 32, 64, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_16X16_S64,
         256},
        {"AMD Radeon RX 9070 XT", "gemm=matrix-wave64", wide, 2, 32, 64, BM_DTYPE_BF16,
         BM_VARIANT_GEMM_CM_16X16_S64_BF16, 256},
        {"Null hardware (RADV NAVI31)", "gemm=matrix-wave64-8", wide, 1, 32, 64, BM_DTYPE_F16,
         BM_VARIANT_GEMM_CM_16X16_S64, 512},
        {"Null hardware (RADV NAVI31)", "gemm=matrix-wave64", wide, 1, 32, 32, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_16X16,
         256},
        {"Intel Arc B580", "", low, 2, 16, 32, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_8X16_S16, 128},
        {"Intel Arc B580", "", low, 2, 16, 32, BM_DTYPE_BF16, BM_VARIANT_GEMM_CM_8X16_S16_BF16, 128},
        {"Intel Arc B580", "", low, 1, 32, 32, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_8X16_S32, 256},
        {"Intel Arc A770", "", small, 1, 8, 32, BM_DTYPE_F16, BM_VARIANT_GEMM_CM_8X8_S8, 64},
        {"Intel Arc A770", "", small, 1, 8, 32, BM_DTYPE_BF16, BM_VARIANT_GEMM_TILE, 256},
    };
    const bm_device_info before = device->info;
    bm_error err = {0};
    if (strcmp(device->info.backend, "vulkan") != 0)
        skip();
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    device->info.limits.shared_memory_bytes = 49152;
    device->info.limits.max_group_invocations = 1024;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        snprintf(device->info.name, sizeof device->info.name, "%s", cases[i].name);
        device->info.limits.min_subgroup_size = cases[i].min_subgroup;
        device->info.limits.max_subgroup_size = cases[i].max_subgroup;
        device->info.limits.num_matrix_shapes = cases[i].num_shapes;
        memcpy(device->info.limits.matrix_shapes, cases[i].shapes, cases[i].num_shapes * sizeof *cases[i].shapes);
        assert_int_equal(bm_device_set_variants(device, cases[i].asked, &err), BM_OK);
        const bm_gemm_choice choice = bm_gemm_choose_for(device, cases[i].type, cases[i].type, BM_USE_MANY_TILES);
        assert_int_equal(choice.variant, cases[i].variant);
        assert_int_equal(choice.group, cases[i].group);
    }
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
    device->info = before;
}

// The same names are for bfloat16 where a GPU has units of it, beside those of float16 or alone.
static void gemm_on_matrix_units_of_bfloat16(void **state)
{
    (void)state;
    const bm_kernel_variant *variants = bm_kernel_table[BM_KERNEL_GEMM].variants;
    const bm_device_info before = device->info;
    bm_error err = {0};
    bm_device_limits *limits = &device->info.limits;
    if (strcmp(device->info.backend, "vulkan") != 0)
        skip();
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    limits->shared_memory_bytes = 49152;
    limits->max_group_invocations = 1024;
    limits->min_subgroup_size = limits->max_subgroup_size = 32;
    limits->num_matrix_shapes = 1;
    limits->matrix_shapes[0] = variants[BM_VARIANT_GEMM_CM_BF16].matrix;
    limits->matrix_shapes[1] = variants[BM_VARIANT_GEMM_CM].matrix;
    assert_int_equal(limits->matrix_shapes[0].component, BM_DTYPE_BF16);
    const bm_gemm_choice any = bm_gemm_choose(device);
    assert_int_equal(any.variant, BM_VARIANT_GEMM_TILE);
    for (uint32_t i = 1; i <= 2; i++) {
        const uint32_t halves = i == 1 ? BM_VARIANT_GEMM_TILE : BM_VARIANT_GEMM_CM;
        limits->num_matrix_shapes = i;
        assert_int_equal(bm_device_set_variants(device, i == 1 ? "" : "gemm=matrix", &err), BM_OK);
        assert_string_equal(bm_variant_sets[0].chosen(device), "matrix");
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant, halves);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_CM_BF16);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_TILE);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F32, BM_DTYPE_BF16, BM_USE_MANY_TILES).variant,
                         BM_VARIANT_GEMM_TILE);
        assert_int_equal(bm_device_set_variants(device, "gemm=matrix-8", &err), BM_OK);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).group, 256);
        assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant, halves);
        assert_int_equal(bm_device_set_variants(device, "gemm=matrix", &err), BM_OK);
    }
    bm_weights *weights = NULL;
    assert_int_equal(bm_weights_create(device, 64, 64, BM_DTYPE_BF16, "weights", NULL, &weights, &err), BM_OK);
    assert_int_equal(bm_weights_choice(weights, BM_DTYPE_BF16, 9)->variant, BM_VARIANT_GEMM_CM_BF16);
    assert_int_equal(bm_weights_choice(weights, BM_DTYPE_F16, 9)->variant, any.variant);
    bm_weights_destroy(&weights);
    limits->num_matrix_shapes = 1; // float16 alone
    limits->matrix_shapes[0] = limits->matrix_shapes[1];
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).variant,
                     BM_VARIANT_GEMM_TILE);
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
    device->info = before;
}

// The same by warpgroups, for float16 and bfloat16, where a GPU of OpenCL has them and its driver takes PTX.
static void gemm_by_warpgroups_by_types_and_rows(void **state)
{
    (void)state;
    if (strcmp(device->info.backend, "opencl") != 0)
        skip();
    bm_error err = {0};
    ocl_state *opencl = ocl_state_of(device);
    const bm_device_info before = device->info;
    struct ocl_ptx_answer *answer = opencl->ptx_answers;
    const struct ocl_ptx_answer before_answer = *answer;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(device->info.name, sizeof device->info.name, "NVIDIA H200");
    device->info.limits.shared_memory_bytes = 49152;
    device->info.limits.max_group_invocations = 1024;
    device->info.limits.compute_units = 132;
    device->info.limits.wgmma = true;
    device->info.limits.nvidia_mma = true; // stands behind them
    *answer = (struct ocl_ptx_answer){ocl_source_of(BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA)->ptx, true};
    const bm_gemm_choice any = bm_gemm_choose(device);
    assert_int_equal(any.variant, BM_VARIANT_GEMM_TILE);
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F32, BM_DTYPE_F32, BM_USE_MANY_TILES).variant, any.variant);
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_BF16, BM_USE_MANY_TILES).variant, any.variant);
    for (bm_dtype type = BM_DTYPE_F16; type <= BM_DTYPE_BF16; type++) {
        bm_weights *weights = NULL;
        const bm_gemm_choice many = bm_gemm_choose_for(device, type, type, BM_USE_MANY_TILES);
        assert_int_equal(many.variant, BM_VARIANT_GEMM_WGMMA);
        assert_true(many.gflops > any.gflops && many.gflops < 200000);
        assert_int_equal(bm_weights_create(device, 64, 64, type, "halves", NULL, &weights, &err), BM_OK);
        assert_int_equal(bm_weights_choice(weights, type, 9)->variant, BM_VARIANT_GEMM_WGMMA);
        assert_int_equal(bm_weights_choice(weights, type, 8)->variant, any.variant);
        assert_int_equal(bm_weights_choice(weights, BM_DTYPE_F32, 9)->variant, any.variant);
        bm_weights_destroy(&weights);
    }
    assert_int_equal(bm_device_set_variants(device, "gemm=tile-8", &err), BM_OK);
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant,
                     BM_VARIANT_GEMM_TILE);
    assert_int_equal(bm_device_set_variants(device, "gemm=wgmma", &err), BM_OK);
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant,
                     BM_VARIANT_GEMM_WGMMA);
    assert_int_equal(bm_gemm_choose(device).variant, any.variant);
    answer->accepted = false;
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant,
                     BM_VARIANT_GEMM_MMA);
    device->info.limits.nvidia_mma = false;
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant, any.variant);
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
    *answer = before_answer;
    device->info = before;
}

// The same by subgroups of NVIDIA's chips from compute capability 8.0 on, in three sizes of tiles; without a name the middle one.
static void gemm_by_nvidia_mma_by_types_and_rows(void **state)
{
    (void)state;
    static const char *const names[] = {"gemm=mma-256", "gemm=mma", "gemm=mma-64", ""};
    static const uint32_t rows[] = {16, 8, 4, 8};
    if (strcmp(device->info.backend, "opencl") != 0)
        skip();
    bm_error err = {0};
    const bm_device_info before = device->info;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(device->info.name, sizeof device->info.name, "NVIDIA A100");
    device->info.limits.shared_memory_bytes = 49152;
    device->info.limits.max_group_invocations = 1024;
    device->info.limits.compute_units = 108;
    device->info.limits.wgmma = false;
    device->info.limits.nvidia_mma = true;
    const bm_gemm_choice any = bm_gemm_choose(device);
    for (uint32_t i = 0; i < BM_COUNT(names); i++)
        for (bm_dtype type = BM_DTYPE_F16; type <= BM_DTYPE_BF16; type++) {
            bm_weights *weights = NULL;
            assert_int_equal(bm_device_set_variants(device, names[i], &err), BM_OK);
            const bm_gemm_choice many = bm_gemm_choose_for(device, type, type, BM_USE_MANY_TILES);
            assert_int_equal(many.variant, BM_VARIANT_GEMM_MMA);
            assert_int_equal(many.rows, rows[i]);
            assert_int_equal(many.group, 16 * many.rows);
            assert_true(many.gflops > any.gflops && many.gflops < 50000);
            assert_int_equal(bm_gemm_choose_for(device, type, BM_DTYPE_F32, BM_USE_MANY_TILES).variant, any.variant);
            assert_int_equal(bm_weights_create(device, 64, 64, type, "halves", NULL, &weights, &err), BM_OK);
            assert_int_equal(bm_weights_choice(weights, type, 9)->variant, BM_VARIANT_GEMM_MMA);
            assert_int_equal(bm_weights_choice(weights, type, 8)->variant, any.variant);
            bm_weights_destroy(&weights);
        }
    device->info.limits.nvidia_mma = false;
    assert_int_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).variant, any.variant);
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
    device->info = before;
}

// The variants that the command line and tunings know by name, as bm_gemm_choose hands them out.
static void gemm_every_variant_by_name(void **state)
{
    (void)state;
    bm_error err = {0};
    char words[64];
    for (uint32_t i = 0; bm_gemm_variant(device, i); i++) {
        snprintf(words, sizeof words, "gemm=%s", bm_gemm_variant(device, i));
        assert_int_equal(bm_device_set_variants(device, words, &err), BM_OK);
        check_product(&(product_case){33, 131, 70, BM_DTYPE_F32, true, 0, 0, NULL, 0, false});
        check_product(&(product_case){130, 140, 36, BM_DTYPE_BF16, false, 0, 0, NULL, 0, false});
        check_product(&(product_case){130, 140, 77, BM_DTYPE_F16, true, 0, 0, NULL, 0, false});
    }
    assert_int_equal(bm_device_set_variants(device, "", &err), BM_OK);
}

// Products of one x: those that are cut into pieces of x stand between those that are not.
static void gemm_several_products_of_one_x(void **state)
{
    (void)state;
    enum { M = 140, N = 100, K = 30, JOBS = 4 };
    static const bm_gemm_choice whole = {"test", BM_GEMM_PANELS, 0, 8, 0, 14, 32, 1, "panels", 0};
    const bm_gemm_choice *const choices[JOBS] = {&whole, &slow, &whole, &whole};
    bm_error err = {0};
    bm_tensor x = make_tensor(BM_DTYPE_F32, M, K, 1, NULL), alone = make_tensor(BM_DTYPE_F32, M, N, 2, NULL), w[JOBS],
              y[JOBS];
    bm_weights *weights[JOBS] = {0};
    bm_gemm_job jobs[JOBS];
    for (uint32_t j = 0; j < JOBS; j++) {
        w[j] = make_tensor(BM_DTYPE_F32, N, K, 3 + j, NULL);
        y[j] = make_tensor(BM_DTYPE_F32, M, N, 2, NULL);
        assert_int_equal(bm_weights_create(device, N, K, BM_DTYPE_F32, "layer", choices[j], &weights[j], &err), BM_OK);
        assert_int_equal(bm_weights_set_rows(device, weights[j], 0, &w[j], &err), BM_OK);
        jobs[j] = (bm_gemm_job){.x = &x, .weights = weights[j], .count = N, .y = &y[j], .factor = 1.0f};
    }
    assert_int_equal(bm_gemm_run_all(device, jobs, JOBS, &err), BM_OK);
    for (uint32_t j = 0; j < JOBS; j++) {
        assert_int_equal(bm_gemm(device, &x, weights[j], NULL, &alone, &err), BM_OK);
        double *want = read_tensor(&alone), *got = read_tensor(&y[j]);
        assert_memory_equal(got, want, M * N * sizeof *got);
        bm_free(want);
        bm_free(got);
        bm_weights_destroy(&weights[j]);
        bm_tensor_destroy(&w[j]);
        bm_tensor_destroy(&y[j]);
    }
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&alone);
}

static void gemm_slices_of_output_features(void **state)
{
    (void)state;
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &panels};
    for (size_t c = 0; c < BM_COUNT(choices); c++) {
        check_product(&(product_case){9, 300, 21, BM_DTYPE_F32, true, 128, 100, choices[c], 0, false});
        check_product(&(product_case){9, 300, 21, BM_DTYPE_BF16, true, 64, 236, choices[c], 0, false});
    }
}

// y as columns 64 .. 163 of a wider matrix, whose other columns stay as they are. Cut by rows and columns.
static void gemm_writes_columns_of_a_wider_matrix(void **state)
{
    (void)state;
    enum { M = 140, N = 100, K = 30, ALL = 200, FIRST = 64 };
    const bm_gemm_choice *const choices[] = {table_choice, &slow, &slow_rows};
    for (size_t c = 0; c < BM_COUNT(choices); c++) {
        bm_error err = {0};
        bm_weights *weights = NULL;
        double *before = bm_alloc(M * ALL, sizeof *before);
        assert_non_null(before);
        bm_tensor x = make_tensor(BM_DTYPE_F32, M, K, 1, NULL), w = make_tensor(BM_DTYPE_F32, N, K, 2, NULL);
        bm_tensor narrow = make_tensor(BM_DTYPE_F32, M, N, 3, NULL),
                  wide = make_tensor(BM_DTYPE_F32, M, ALL, 4, before);
        const bm_tensor y = bm_tensor_columns(&wide, FIRST, N);
        assert_int_equal(bm_weights_create(device, N, K, BM_DTYPE_F32, "layer", choices[c], &weights, &err), BM_OK);
        assert_int_equal(bm_weights_set_rows(device, weights, 0, &w, &err), BM_OK);
        assert_int_equal(bm_gemm(device, &x, weights, NULL, &narrow, &err), BM_OK);
        if (bm_gemm(device, &x, weights, NULL, &y, &err) != BM_OK)
            fail_msg("%s", err.message);
        double *product = read_tensor(&narrow), *after = read_tensor(&wide);
        for (int i = 0; i < M * ALL; i++) {
            const int row = i / ALL, col = i % ALL - FIRST;
            assert_true(after[i] == (col >= 0 && col < N ? product[row * N + col] : before[i]));
        }
        bm_free(before);
        bm_free(product);
        bm_free(after);
        bm_tensor_destroy(&x);
        bm_tensor_destroy(&w);
        bm_tensor_destroy(&narrow);
        bm_tensor_destroy(&wide);
        bm_weights_destroy(&weights);
    }
}

static void gemm_weights_beyond_one_allocation(void **state)
{
    (void)state;
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &panels};
    for (size_t c = 0; c < BM_COUNT(choices); c++) { // parts of 64 and 128 rows
        check_product(&(product_case){9, 300, 40, BM_DTYPE_F32, true, 0, 0, choices[c], 64 * 40 * 4, false});
        check_product(&(product_case){20, 300, 40, BM_DTYPE_F16, true, 64, 230, choices[c], 128 * 40 * 2, false});
    }
}

static void gemm_long_work_is_cut(void **state)
{
    (void)state;
    check_product(&(product_case){40, 200, 30, BM_DTYPE_F32, true, 0, 0, &slow, 0, false});
    check_product(&(product_case){140, 200, 30, BM_DTYPE_BF16, true, 64, 130, &slow_rows, 0, false});
    check_product(&(product_case){136, 200, 30, BM_DTYPE_F32, true, 0, 0, &slow_rows, 0, false}); // 8 rows are left
}

// As on a device with smaller work-groups than the fastest kernel likes; device.c would refuse larger ones.
static void gemm_keeps_to_the_limit_of_a_group(void **state)
{
    (void)state;
    const uint32_t real = device->info.limits.max_group_invocations;
    const uint32_t limits[] = {128, 100, 64};
    for (size_t i = 0; i < BM_COUNT(limits); i++) {
        device->info.limits.max_group_invocations = limits[i];
        check_product(&(product_case){1, 70, 2100, BM_DTYPE_F32, true, 0, 0, &generic, 0, false});
        check_product(&(product_case){8, 70, 2048, BM_DTYPE_BF16, false, 0, 0, &generic, 0, false});
    }
    device->info.limits.max_group_invocations = real;
}

// Dispatches are cut by the estimate, so it must be low for the smallest GPU of a maker (0.37 TFLOP/s at best).
static void gemm_estimate_follows_the_compute_units(void **state)
{
    (void)state;
    const bm_device_info real = device->info;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(device->info.name, sizeof device->info.name, "NVIDIA GeForce GT 710");
    device->info.limits.max_group_invocations = 1024;
    device->info.limits.shared_memory_bytes = 49152;
    device->info.limits.compute_units = 1;
    const double smallest = bm_gemm_choose(device).gflops;
    device->info.limits.compute_units = 0; // Vulkan without the extension that tells
    const double unknown = bm_gemm_choose(device).gflops;
    device->info.limits.compute_units = 132;
    const double large = bm_gemm_choose(device).gflops;
    assert_int_equal(bm_device_set_variants(device, "gemm=generic", NULL), BM_OK);
    const double by_name = bm_gemm_choose(device).gflops;
    assert_int_equal(bm_device_set_variants(device, "", NULL), BM_OK);
    device->info = real;
    assert_true(smallest > 0 && smallest <= 100);
    assert_true(unknown > 0 && unknown <= 100);
    assert_true(large >= (bm_device_is_host(device) ? 500 : 2000));
    assert_true(by_name >= 500 && by_name <= large);
}

// A driver that limits the rounds of loops would end the one over the features early and say nothing: refused there, right
// elsewhere.
static void gemm_of_many_features_is_right_or_refused(void **state)
{
    (void)state;
    if (support_is_instrumented())
        skip();
    const bool is_refused = device->info.limits.max_loop_rounds > 0 && bm_gemm_choose(device).form == BM_GEMM_PANELS;
    check_product(&(product_case){3, 2, 65534, BM_DTYPE_F32, false, 0, 0, table_choice, 0, false});
    check_product(&(product_case){9, 2, 65534, BM_DTYPE_F32, false, 0, 0, &generic, 0, false});
    if (runs_here(&tile_8))
        check_product(&(product_case){9, 2, 65534, BM_DTYPE_F32, false, 0, 0, &tile_8, 0, false});
    if (!is_refused) {
        check_product(&(product_case){3, 2, 66000, BM_DTYPE_F32, false, 0, 0, table_choice, 0, false});
        return;
    }
    bm_error err = {0};
    bm_weights *weights = NULL;
    bm_tensor x = make_tensor(BM_DTYPE_F32, 3, 65535, 1, NULL), y = make_tensor(BM_DTYPE_F32, 3, 2, 2, NULL);
    assert_int_equal(bm_weights_create(device, 2, 65535, BM_DTYPE_F32, "layer", NULL, &weights, &err), BM_OK);
    assert_int_equal(bm_gemm(device, &x, weights, NULL, &y, &err), BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "65535 input features"));
    assert_non_null(strstr(err.message, "--device opencl"));
    bm_weights_destroy(&weights);
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&y);
}

static void gemm_same_call_same_bits(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_weights *weights = NULL;
    bm_tensor x = make_tensor(BM_DTYPE_F32, 50, 300, 1, NULL), w = make_tensor(BM_DTYPE_F32, 70, 300, 2, NULL);
    bm_tensor y = make_tensor(BM_DTYPE_F32, 50, 70, 3, NULL);
    assert_int_equal(bm_weights_create(device, 70, 300, BM_DTYPE_F32, "layer", NULL, &weights, &err), BM_OK);
    assert_int_equal(bm_weights_set_rows(device, weights, 0, &w, &err), BM_OK);
    assert_int_equal(bm_gemm(device, &x, weights, NULL, &y, &err), BM_OK);
    double *first = read_tensor(&y);
    const uint64_t handles = bm_device_live_handles(device);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bm_gemm(device, &x, weights, NULL, &y, &err), BM_OK);
    double *again = read_tensor(&y);
    assert_memory_equal(first, again, 50 * 70 * sizeof *first);
    assert_int_equal(bm_device_live_handles(device), handles); // nothing is allocated once it runs
    bm_free(first);
    bm_free(again);
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&w);
    bm_tensor_destroy(&y);
    bm_weights_destroy(&weights);
}

static void weights_report_what_is_not_finite(void **state)
{
    (void)state;
    bm_error err = {0};
    const float nan_at_5[8] = {0, 0, 0, 0, 0, NAN, 0, 0};
    bm_tensor rows = {0};
    assert_int_equal(bm_tensor_create(device, BM_DTYPE_F32, 2, 4, "rows", &rows, &err), BM_OK);
    const bm_gemm_choice *const choices[] = {table_choice, &generic, &panels};
    for (size_t c = 0; c < BM_COUNT(choices); c++) {
        bm_weights *weights = NULL;
        assert_int_equal(bm_tensor_upload(device, &rows, nan_at_5, &err), BM_OK);
        assert_int_equal(bm_weights_create(device, 2, 4, BM_DTYPE_F32, "layer.7", choices[c], &weights, &err), BM_OK);
        assert_int_equal(bm_weights_set_rows(device, weights, 0, &rows, &err), BM_OK);
        assert_int_equal(bm_device_wait(device, &err), BM_E_NUMERIC);
        assert_non_null(strstr(err.message, "layer.7"));
        bm_weights_destroy(&weights);
    }
    bm_tensor_destroy(&rows);
}

static void gemm_refuses_shapes_that_disagree(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_weights *weights = NULL;
    bm_tensor x = make_tensor(BM_DTYPE_F32, 2, 8, 1, NULL), y = make_tensor(BM_DTYPE_F32, 2, 70, 2, NULL);
    bm_tensor bias = make_tensor(BM_DTYPE_F32, 1, 69, 3, NULL);
    assert_int_equal(bm_weights_create(device, 0, 8, BM_DTYPE_F32, "layer", NULL, &weights, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_weights_create(device, 8, UINT64_C(1) << 40, BM_DTYPE_F32, "layer", NULL, &weights, &err),
                     BM_E_ARGUMENT);
    assert_int_equal(bm_weights_create(device, 8, 8, BM_DTYPE_I8, "layer", NULL, &weights, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_weights_create(device, 70, 8, BM_DTYPE_F32, "layer", NULL, &weights, &err), BM_OK);
    const bm_tensor narrow = bm_tensor_reshape(&x, 2, 4);
    assert_int_equal(bm_gemm(device, &narrow, weights, NULL, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm(device, &x, weights, &bias, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_rows(device, &x, weights, 3, 70, NULL, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_gemm_rows(device, &x, weights, 64, 70, NULL, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_weights_set_rows(device, weights, 69, &x, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_weights_set_rows(device, weights, 0, &narrow, &err), BM_E_ARGUMENT);
    bm_weights_destroy(&weights);
    bm_tensor_destroy(&x);
    bm_tensor_destroy(&y);
    bm_tensor_destroy(&bias);
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    support_log_init(&test_log);
    if (argc != 2 || support_device_open(argv[1], &test_log, &device, &err) != BM_OK) {
        fprintf(stderr, "usage: test_gemm SPEC\n%s\n", err.message);
        return 1;
    }
    if (!device)
        return SUPPORT_SKIP;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_every_form_is_the_sum_of_products),
        cmocka_unit_test(gemm_every_form_adds_to_what_is_there),
        cmocka_unit_test(gemm_tiles_fit_the_registers),
        cmocka_unit_test(gemm_on_matrix_units_by_types_and_rows),
        cmocka_unit_test(gemm_on_matrix_units_of_bfloat16),
        cmocka_unit_test(gemm_on_matrix_units_by_shape_and_subgroups),
        cmocka_unit_test(gemm_by_warpgroups_by_types_and_rows),
        cmocka_unit_test(gemm_by_nvidia_mma_by_types_and_rows),
        cmocka_unit_test(gemm_every_variant_by_name),
        cmocka_unit_test(gemm_several_products_of_one_x),
        cmocka_unit_test(gemm_slices_of_output_features),
        cmocka_unit_test(gemm_writes_columns_of_a_wider_matrix),
        cmocka_unit_test(gemm_weights_beyond_one_allocation),
        cmocka_unit_test(gemm_long_work_is_cut),
        cmocka_unit_test(gemm_keeps_to_the_limit_of_a_group),
        cmocka_unit_test(gemm_estimate_follows_the_compute_units),
        cmocka_unit_test(gemm_of_many_features_is_right_or_refused),
        cmocka_unit_test(gemm_same_call_same_bits),
        cmocka_unit_test(weights_report_what_is_not_finite),
        cmocka_unit_test(gemm_refuses_shapes_that_disagree),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    bm_device_close(&device);
    return failed != 0 || test_log.num_complaints != 0;
}
