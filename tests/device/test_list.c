// Which device of a list a spec means. The lists are made up, so any machine tests any.
#include "support/unit.h"

#include "base/library.h"
#include "device/device.h"

#include <string.h>

static bm_device_info devices[] = {
    {.spec = "vulkan:0", .backend = "vulkan", .name = "NVIDIA GeForce RTX 4090", .kind = BM_DEVICE_DISCRETE_GPU},
    {.spec = "opencl:1", .backend = "opencl", .name = "NVIDIA GeForce RTX 4090", .kind = BM_DEVICE_DISCRETE_GPU},
    {.spec = "opencl:0", .backend = "opencl", .name = "pthread-skylake-avx512", .kind = BM_DEVICE_CPU},
    {.spec = "vulkan:1", .backend = "vulkan", .name = "old", .kind = BM_DEVICE_CPU, .problem = "it is old"},
    {.spec = "host", .backend = "host", .name = "plain C reference", .kind = BM_DEVICE_HOST},
};

static void spec_means_the_device(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *device; // device NULL: an error of this status
        bm_status status;
    } cases[] = {
        {"auto", "vulkan:0", BM_OK},
        {"gpu", "vulkan:0", BM_OK},
        {"gpu:1", "opencl:1", BM_OK},
        {"gpu:2", NULL, BM_E_DEVICE},
        {"gpu:4090", NULL, BM_E_DEVICE}, // counts GPUs; never a name
        {"cpu", "host", BM_OK},
        {"vulkan", "vulkan:0", BM_OK},
        {"vulkan:1", NULL, BM_E_DEVICE}, // cannot be used
        {"opencl:0", "opencl:0", BM_OK},
        {"OPENCL:1", "opencl:1", BM_OK},
        {"opencl:nvidia", "opencl:1", BM_OK},
        {"opencl:4090", "opencl:1", BM_OK}, // part of a name that looks like a number
        {"vulkan:4090", "vulkan:0", BM_OK},
        {"opencl:409", NULL, BM_E_DEVICE}, // a number is not found within a longer word
        {"opencl:512", NULL, BM_E_DEVICE},
        {"opencl:2", NULL, BM_E_DEVICE},
        {"opencl:amd", NULL, BM_E_DEVICE},
        {"opencl:", NULL, BM_E_ARGUMENT},
        {"metal", NULL, BM_E_ARGUMENT},
    };
    const bm_device_list list = {.devices = devices, .num_devices = BM_COUNT(devices)};
    for (size_t i = 0; i < BM_COUNT(devices); i++)
        devices[i].usable = devices[i].problem[0] == '\0';
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        uint32_t found = 99;
        bm_error err = {0};
        const bm_status status = bm_device_list_find(&list, cases[i].spec, &found, &err);
        if (status != cases[i].status || (cases[i].device && strcmp(devices[found].spec, cases[i].device) != 0))
            fail_msg("%s: status %d, device %u (%s)", cases[i].spec, (int)status, found, err.message);
    }
}

#ifdef __linux__
// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
bm_status __wrap_bm_library_open(bm_library **out, const char *const *names, bm_error *err);
bm_status __real_bm_library_open(bm_library **out, const char *const *names, bm_error *err);

static uint32_t num_libraries;
bm_status __wrap_bm_library_open(bm_library **out, const char *const *names, bm_error *err)
{
    num_libraries++;
    return __real_bm_library_open(out, names, err);
}
#endif

static void host_loads_no_driver(void **state)
{
    (void)state;
#ifdef __linux__
    static const char *const specs[] = {"host", "CPU"};
    bm_device_params params;
    bm_device_params_init(&params);
    for (size_t i = 0; i < BM_COUNT(specs); i++) {
        bm_device *device = NULL;
        bm_error err = {0};
        params.spec = specs[i];
        assert_ok(bm_device_open(&device, &params, &err), &err);
        assert_true(bm_device_is_host(device));
        bm_device_close(&device);
    }
    assert_int_equal(num_libraries, 0);
#else
    skip(); // the linker has no --wrap
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_means_the_device),
        cmocka_unit_test(host_loads_no_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
