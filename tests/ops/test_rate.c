// Rates: no dispatch takes long on the slowest devices, products and other kernels alike; what is timed at the first use counts, and
// is remembered. Devices pretend.
#include "ops/fixture.h"

#include "device/backend.h"
#include "ops/chunks.h"
#include "ops/gemm_codes.h"
#include "ops/gemm_int8.h"
#include "ops/rate.h"
#include "ops/split_product.h"
#include "ops/variants.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

// The device once more, as another one. cache_folder NULL: none; name NULL: its own, by which files are kept.
static bm_device *pretend(const char *cache_folder, bm_device_kind kind, const char *name, uint32_t units)
{
    bm_device *device = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = bm_device_get_info(test_device)->spec;
    params.cache_folder = cache_folder;
    MUST(bm_device_open(&device, &params, &failure));
    device->info.kind = kind;
    if (name)
        snprintf(device->info.name, sizeof device->info.name, "%s", name);
    device->info.limits.compute_units = units;
    device->info.limits.display_attached = true;
    device->info.limits.max_group_invocations = 1024;
    device->info.limits.shared_memory_bytes = 49152;
    return device;
}

// The longest dispatch of a product of [2048, 14336], operations.
static double longest_product(bm_device *device, const bm_gemm_choice *choice)
{
    enum { TOKENS = 2048, N = 14336, K = 14336 };
    const bm_weights weights = {.out_features = N, .in_features = K, .dtype = BM_DTYPE_F32, .choice = *choice};
    uint64_t rows = 0, cols = 0;
    bm_gemm_piece(device, &weights, BM_DTYPE_F32, TOKENS, N, &rows, &cols);
    return bm_gemm_operations(rows, bm_min_u64(cols, N), K);
}

static void no_dispatch_takes_long_on_slow_devices(void **state)
{
    (void)state;
    static const struct {
        bm_device_kind kind;
        const char *name;
        uint32_t units;
        double gflops, gbps; // what they reach
    } slow[] = {
        {BM_DEVICE_INTEGRATED_GPU, "V3D 4.2", 0, 5, 4},           // a Raspberry Pi 4's
        {BM_DEVICE_INTEGRATED_GPU, "Intel HD Graphics", 0, 8, 6}, // of Bay Trail
        {BM_DEVICE_DISCRETE_GPU, "NVIDIA GeForce GT 710", 1, 60, 10},
        {BM_DEVICE_DISCRETE_GPU, "NVIDIA GeForce GT 710", 0, 60, 10}, // through Vulkan
        {BM_DEVICE_DISCRETE_GPU, "AMD Radeon R5", 4, 60, 10},
        {BM_DEVICE_DISCRETE_GPU, "a GPU", 0, 60, 10},
        {BM_DEVICE_OTHER, "Virtio-GPU", 0, 1, 1},
    };
    for (size_t i = 0; i < BM_COUNT(slow); i++) {
        bm_device *device = pretend(NULL, slow[i].kind, slow[i].name, slow[i].units);
        for (uint32_t v = 0; bm_gemm_variant(device, v); v++) { // whichever is asked for
            char words[64];
            snprintf(words, sizeof words, "gemm=%s", bm_gemm_variant(device, v));
            MUST(bm_device_set_variants(device, words, &failure));
            const bm_gemm_choice choice = bm_gemm_choose(device);
            assert_true(longest_product(device, &choice) < 1e9 * slow[i].gflops);
        }
        assert_true(bm_gemm_operations(bm_gemm_codes_piece(device, 48, 14336, 4096), 14336, 4096) <
                    1e9 * slow[i].gflops);
        const bm_gemm_choice codes = bm_gemm_int8_choose(device);
        assert_true(longest_product(device, &codes) < 1e9 * slow[i].gflops);
        assert_true(4.0 * (double)bm_chunk_rows(device, 1, 4) < 1e9 * slow[i].gbps);
        if (strstr(slow[i].name, "NVIDIA") == NULL) // nobody measured it: one rate for all
            for (uint32_t work = 0; work < BM_NUM_WORKS; work++)
                assert_true(bm_rate(device, (bm_work)work) == bm_rate(device, BM_WORK_PLAIN));
        bm_device_close(&device);
    }
}

// A large GPU of a family that was measured, and what was timed on others.
static void fast_devices_get_long_dispatches(void **state)
{
    (void)state;
    bm_device *device = pretend(NULL, BM_DEVICE_DISCRETE_GPU, "NVIDIA H200", 132);
    assert_true(bm_rate(device, BM_WORK_WARPGROUPS) > 80e12 && bm_rate(device, BM_WORK_MATRIX_UNITS) > 15e12);
    assert_true(bm_rate(device, BM_WORK_TILES) > 2.5e12 && bm_rate(device, BM_WORK_PLAIN) > 1e12);
    MUST(bm_measure_rate(device, &failure)); // it is known
    assert_true(bm_device_measured_gflops(device) == 0);
    bm_device_close(&device);

    device = pretend(NULL, BM_DEVICE_DISCRETE_GPU, "AMD Radeon", 100);
    const double plain = bm_rate(device, BM_WORK_PLAIN);
    const bm_gemm_choice before = bm_gemm_choose(device);
    MUST(bm_device_set_measured_gflops(device, 20000, &failure)); // 2^14
    const bm_gemm_choice choice = bm_gemm_choose(device);
    assert_true(choice.gflops == 4096 && choice.gflops > before.gflops);
    assert_true(bm_rate(device, BM_WORK_MATRIX_UNITS) == 4096e9);
    assert_true(bm_rate(device, BM_WORK_PLAIN) == plain); // memory is no faster for it
    assert_true(longest_product(device, &choice) > 4 * longest_product(device, &before));
    MUST(bm_device_set_measured_gflops(device, 9, &failure)); // 2^3: slower than any we know of
    for (uint32_t work = 0; work < BM_NUM_WORKS; work++)
        assert_true(bm_rate(device, (bm_work)work) == 2e9);
    assert_true(bm_chunk_seconds(device, 2e9) == 1);
    MUST(bm_device_set_measured_gflops(device, 1e9, &failure)); // no GPU's: a file that lies, or another machine's
    assert_true(bm_rate(device, BM_WORK_TILES) == 64 * plain);
    bm_device_close(&device);
    device = pretend(NULL, BM_DEVICE_DISCRETE_GPU, "NVIDIA H200", 132); // whose rates nobody measures at the first use
    MUST(bm_device_set_measured_gflops(device, 8, &failure));
    assert_true(bm_rate(device, BM_WORK_WARPGROUPS) > 80e12);
    bm_device_close(&device);
}

// At the first use, once.
static void a_product_is_timed_once(void **state)
{
    (void)state;
    if (strstr(bm_device_get_info(test_device)->name, "NVIDIA"))
        skip(); // the table knows it by this name, by which its file is found
    char *folder = support_folder_create();
    double measured = 0;
    uint64_t compiled = 0;
    for (uint32_t start = 0; start < 2; start++) {
        bm_device *device = pretend(folder, BM_DEVICE_INTEGRATED_GPU, NULL, 0);
        MUST(bm_device_set_variants(device, "attention=plain", &failure));
        if (start == 0) {
            device->allowed_bytes = 1; // no memory: no error, and the lowest rate stays
            MUST(bm_measure_rate(device, &failure));
            assert_true(bm_device_measured_gflops(device) == 0);
            device->allowed_bytes = 0;
        }
        assert_true(bm_device_measured_gflops(device) == measured); // as the start before left it
        compiled = bm_device_compiled_kernels(device);
        MUST(start == 0 ? bm_measure_rate(device, &failure) : bm_variants_resolve(device, &failure));
        assert_string_equal(bm_device_variants(device), "attention=plain"); // as they were
        assert_true(bm_device_measured_gflops(device) >= 1);
        assert_true(start == 0 || bm_device_measured_gflops(device) == measured);
        assert_true(start == 0 || bm_device_compiled_kernels(device) == compiled);
        measured = bm_device_measured_gflops(device);
        bm_device_close(&device);
    }
    bm_device *homeless = pretend(NULL, BM_DEVICE_INTEGRATED_GPU, NULL, 0); // at every start, where nothing remembers
    MUST(bm_variants_resolve(homeless, &failure));
    assert_true(bm_device_measured_gflops(homeless) >= 1);
    bm_device_close(&homeless);
    support_folder_remove(&folder);
}

// One number where the driver does not tell it: for whatever wants to fill a device.
static void unknown_compute_units_are_the_same_everywhere(void **state)
{
    (void)state;
    static const struct {
        bm_device_kind kind;
        uint32_t told, units;
    } cases[] = {{BM_DEVICE_DISCRETE_GPU, 0, 64},  {BM_DEVICE_DISCRETE_GPU, 3, 3}, {BM_DEVICE_INTEGRATED_GPU, 0, 16},
                 {BM_DEVICE_INTEGRATED_GPU, 8, 8}, {BM_DEVICE_CPU, 0, 4},          {BM_DEVICE_HOST, 0, 1}};
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_device *device = pretend(NULL, cases[i].kind, "a GPU", cases[i].told);
        bm_split_product split;
        bm_split_product_init(&split, device);
        assert_int_equal(bm_compute_units(device), cases[i].units);
        assert_int_equal(split.few_tiles, cases[i].units);
        bm_split_product_free(&split);
        bm_device_close(&device);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_dispatch_takes_long_on_slow_devices),
        cmocka_unit_test(fast_devices_get_long_dispatches),
        cmocka_unit_test(a_product_is_timed_once),
        cmocka_unit_test(unknown_compute_units_are_the_same_everywhere),
    };
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
