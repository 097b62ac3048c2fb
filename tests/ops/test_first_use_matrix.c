// Matrix units at the first use of a device: devices that only pretend to have them lose them, tunings of types without them leave
// them, what is taken behind a name is compared. Built with those done by hand (test_first_use_by_hand), they are right and kept.
#include "ops/first_use_fixture.h"

#include "base/file.h"
#include "device/backend.h"
#include "device/opencl/opencl.h"
#include "ops/attention.h"
#include "support/folders.h"

#include <string.h>

// lavapipe leaks what it made of a module when it refuses its matrices: a leak of the driver, of this program alone.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libvulkan_lvp.so\n";
}

// Matrix units that this device does not have; false: its backend has no kernels for them.
static bool pretend(bm_device *device)
{
    bm_device_limits *limits = &device->info.limits;
    device->info.kind = BM_DEVICE_DISCRETE_GPU;
    limits->shared_memory_bytes = 49152;
    limits->max_group_invocations = 1024;
    limits->min_subgroup_size = limits->max_subgroup_size = 32;
    limits->compute_units = 100;
    if (strcmp(device->info.backend, "opencl") == 0) {
        const ocl_source *source = ocl_source_of(BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA);
        ocl_state_of(device)->ptx_answers[0] = (struct ocl_ptx_answer){source->ptx, true};
        limits->wgmma = limits->nvidia_mma = true;
    }
    if (strcmp(device->info.backend, "vulkan") == 0) {
        limits->matrix_shapes[limits->num_matrix_shapes++] =
            bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].matrix;
        limits->matrix_shapes[limits->num_matrix_shapes++] =
            bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM_BF16].matrix;
    }
    return !bm_device_is_host(device);
}

// Variants of a table whose matrix units need no subgroups are done by hand: those of test_first_use_by_hand, right on any device.
static bool is_by_hand(void)
{
    return bm_kernel_table[BM_KERNEL_GEMM].variants[BM_VARIANT_GEMM_CM].subgroup_size == 0;
}

// What a device gets: names of products of float16, bfloat16, few tiles of float16, and attention.
static void expect_taken(bm_device *device, const char *const names[4])
{
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name, names[0]);
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_BF16, BM_DTYPE_BF16, BM_USE_MANY_TILES).name, names[1]);
    assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_FEW_TILES).name, names[2]);
    assert_string_equal(bm_attention_choose(device, BM_DTYPE_F16, 64, 64).name, names[3]);
}

static bool has_matrix_units(const bm_device *device)
{
    return device->info.limits.num_matrix_shapes > 0 || device->info.limits.wgmma || device->info.limits.nvidia_mma;
}

static void a_device_that_pretends_loses_its_matrix_units(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip();
    char *folder = support_folder_create();
    for (uint32_t start = 0; start < 3; start++) { // the last one remembers nothing
        bm_device *device = open_again(start < 2 ? folder : NULL, NULL);
        const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
        const char *const on_units[] = {"matrix", "matrix", "matrix-8", "matrix"};
        const char *const nvidia[] = {"wgmma", "wgmma", "wgmma", "mma"};
        const char *const plain[] = {is_vulkan ? "tile-8" : "library", is_vulkan ? "tile-8" : "library",
                                     is_vulkan ? "tile-8" : "library", "tile"};
        const bool has_library = bm_device_has_product(device);
        if (pretend(device) && (is_vulkan || has_library)) {
            if (start != 1)
                expect_taken(device, is_vulkan ? on_units : nvidia);
            MUST(bm_variants_resolve(device, &failure));
            expect_taken(device, plain);
            // Products and attention of two types; matrix-8 stands behind matrix, mma behind wgmma.
            const uint32_t compared = is_vulkan ? 4 : 6;
            assert_int_equal(heard.warnings, start == 1 ? 0 : compared);
            MUST(bm_variants_resolve(device, &failure));
            assert_int_equal(heard.warnings, start == 1 ? 0 : compared);
            MUST(bm_device_set_variants(device, is_vulkan ? "gemm=matrix" : "gemm=wgmma", &failure));
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_MANY_TILES).name,
                                is_vulkan ? "matrix" : "wgmma");
        }
        bm_device_close(&device);
    }
    support_folder_remove(&folder);
}

// A tuning of types without matrix units names other variants: those of 16 bits keep theirs, unless they are slower.
static void a_tuning_without_matrix_units_leaves_them(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip(); // it takes variants of its own
    char *folder = support_folder_create();
    const char *const plain[] = {"generic", "generic", "generic", "plain"};
    bm_device *device = open_again(folder, NULL);
    const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
    MUST(bm_tuning_write(device, "gemm=generic,attention=plain", &failure));
    bm_device_close(&device);
    device = open_again(folder, NULL);
    if (pretend(device)) {
        const char *const units = is_vulkan ? "matrix" : "wgmma";
        expect_taken(device,
                     (const char *const[]){units, units, is_vulkan ? "matrix-8" : units, is_vulkan ? "matrix" : "mma"});
        assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F32, BM_DTYPE_F32, BM_USE_MANY_TILES).name, "generic");
        assert_string_equal(bm_attention_choose(device, BM_DTYPE_F32, 64, 64).name, "plain");
        MUST(bm_device_set_variants(device, "gemm=generic,attention=plain", &failure)); // that of a caller is for all
        expect_taken(device, plain);
        MUST(bm_device_set_variants(device, "", &failure));
        for (bm_dtype type = BM_DTYPE_F16; type <= BM_DTYPE_BF16; type++) {
            for (bm_variant_use use = BM_USE_MANY_TILES; use <= BM_USE_FEW_TILES; use++) {
                MUST(bm_device_set_verdict(device, "gemm", units, type, use, BM_VERDICT_SLOWER, &failure));
                MUST(bm_device_set_verdict(device, "gemm", "mma", type, use, BM_VERDICT_SLOWER, &failure));
            }
        }
        MUST(bm_device_set_verdict(device, "attention", is_vulkan ? "matrix" : "mma", BM_DTYPE_F16, BM_USE_MANY_TILES,
                                   BM_VERDICT_SLOWER, &failure));
        expect_taken(device, plain);
    }
    bm_device_close(&device);
    support_folder_remove(&folder);
}

// By hand they are right, and kept: without a file that remembers, times do not count.
static void matrix_units_that_are_right_are_kept(void **state)
{
    (void)state;
    bm_device *device = open_again(NULL, NULL);
    const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
    const char *const units = is_vulkan ? "matrix" : "mma", *const few = is_vulkan ? "matrix-8" : "mma";
    const char *const all[] = {units, units, few, units};
    (void)pretend(device);
    heard.infos = 0;
    MUST(bm_variants_resolve(device, &failure));
    assert_int_equal(heard.infos, 1);
    MUST(bm_variants_resolve(device, &failure)); // it is known
    assert_int_equal(heard.infos, 1);
    assert_int_equal(heard.warnings, 0);
    expect_taken(device, all);
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16};
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(bm_device_verdict(device, "gemm", units, types[i], BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
        assert_int_equal(bm_device_verdict(device, "gemm", few, types[i], BM_USE_FEW_TILES), BM_VERDICT_RIGHT);
        assert_int_equal(bm_device_verdict(device, "gemm", few, types[i], BM_USE_ADDING), BM_VERDICT_RIGHT);
    }
    assert_int_equal(bm_device_verdict(device, "attention", units, BM_DTYPE_F16, BM_USE_MANY_TILES), BM_VERDICT_RIGHT);
    bm_device_close(&device);
}

// A caller who names "matrix" gets it everywhere. By a tuning, which measures no products that add, matrix-8 is taken for those: it is
// compared there, and passed over where it is wrong or slower there.
static void what_is_taken_behind_a_name_is_compared(void **state)
{
    (void)state;
    if (has_matrix_units(test_device))
        skip();                        // what it computes is right
    for (uint32_t i = 0; i < 2; i++) { // named by the caller, by a tuning
        char *folder = support_folder_create();
        bm_device *device = open_again(folder, i == 0 ? "gemm=matrix" : "");
        const bool is_vulkan = strcmp(bm_device_get_info(device)->backend, "vulkan") == 0;
        if (is_vulkan) {
            MUST(bm_tuning_write(device, "gemm=matrix", &failure));
            bm_device_close(&device);
            device = open_again(i == 0 ? NULL : folder, i == 0 ? "gemm=matrix" : "");
            (void)pretend(device);
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_FEW_TILES).name,
                                "matrix");
            assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_ADDING).name,
                                i == 0 ? "matrix" : "matrix-8");
            bm_free(device->cache_folder); // times do not count
            device->cache_folder = NULL;
            MUST(bm_variants_resolve(device, &failure));
            // A tuning's matrix is wrong too where it is no hand that computes: then nothing asks for matrix-8.
            assert_int_equal(bm_device_verdict(device, "gemm", "matrix-8", BM_DTYPE_F16, BM_USE_ADDING),
                             i == 1 && is_by_hand() ? BM_VERDICT_RIGHT : BM_VERDICT_NONE);
            for (bm_verdict verdict = BM_VERDICT_RIGHT; verdict <= BM_VERDICT_WRONG; verdict++) {
                for (uint32_t use = 0; use < BM_NUM_VARIANT_USES; use++)
                    MUST(bm_device_set_verdict(device, "gemm", "matrix", BM_DTYPE_F16, (bm_variant_use)use,
                                               BM_VERDICT_RIGHT, &failure));
                MUST(bm_device_set_verdict(device, "gemm", "matrix-8", BM_DTYPE_F16, BM_USE_ADDING, verdict, &failure));
                assert_string_equal(bm_gemm_choose_for(device, BM_DTYPE_F16, BM_DTYPE_F16, BM_USE_ADDING).name,
                                    i == 1 && verdict == BM_VERDICT_RIGHT ? "matrix-8" : "matrix");
            }
        }
        bm_device_close(&device);
        support_folder_remove(&folder);
    }
}

// A device without matrix units is not asked anything.
static void nothing_is_compared_without_matrix_units(void **state)
{
    (void)state;
    char *folder = support_folder_create();
    bm_device *device = open_again(folder, NULL);
    char *path = bm_tuning_path(device);
    const bool has_units = has_matrix_units(device);
    const uint64_t compiled = bm_device_compiled_kernels(device);
    MUST(bm_variants_resolve(device, &failure));
    assert_true(has_units || bm_device_compiled_kernels(device) == compiled);
    assert_true(has_units || bm_path_kind_of(path) == BM_PATH_ABSENT);
    bm_free(path);
    bm_device_close(&device);
    support_folder_remove(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_pretends_loses_its_matrix_units),
        cmocka_unit_test(a_tuning_without_matrix_units_leaves_them),
        cmocka_unit_test(what_is_taken_behind_a_name_is_compared),
        cmocka_unit_test(nothing_is_compared_without_matrix_units),
    };
    const struct CMUnitTest by_hand[] = {cmocka_unit_test(matrix_units_that_are_right_are_kept),
                                         cmocka_unit_test(what_is_taken_behind_a_name_is_compared)};
    return is_by_hand() ? run_on_device(argc, argv, by_hand, BM_COUNT(by_hand))
                        : run_on_device(argc, argv, tests, BM_COUNT(tests));
}
