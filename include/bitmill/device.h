// Devices: what can compute here, and opening one.
//
// A device is named by a spec: "auto" (the fastest real GPU, discrete before integrated, Vulkan before OpenCL for a GPU
// that both see; then a CPU device, PoCL before lavapipe; then host), "host" (= "cpu"), "vulkan", "vulkan:1",
// "opencl:0", "opencl:nvidia" (part of a device's name, any case; also a number that no device has: "opencl:4090"),
// "gpu:0". Loaders are found at run time; a machine that lacks them still has "host".
//
// A bm_device belongs to one thread: it alone records, submits and waits.
#ifndef BITMILL_DEVICE_H
#define BITMILL_DEVICE_H

#include <bitmill/error.h>
#include <bitmill/log.h>
#include <bitmill/tensor.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bm_device_kind {
    BM_DEVICE_HOST = 0, // plain C, the reference
    BM_DEVICE_CPU,      // a CPU behind a driver (PoCL, lavapipe)
    BM_DEVICE_INTEGRATED_GPU,
    BM_DEVICE_DISCRETE_GPU,
    BM_DEVICE_OTHER,
} bm_device_kind;

const char *bm_device_kind_name(bm_device_kind kind); // "host", "cpu", "integrated gpu", "discrete gpu", "other"
bool bm_device_kind_is_gpu(bm_device_kind kind);      // integrated or discrete

// Matrix units, as the work-items of a subgroup use them together: C [m, n] += A [m, k] B [k, n].
typedef struct bm_matrix_shape {
    uint32_t m, n, k;
    bm_dtype component; // of A and B
    bm_dtype sum;       // of C
} bm_matrix_shape;
#define BM_MAX_MATRIX_SHAPES 64

// What a device can do; a limit of 0 or a false feature means that it is absent.
typedef struct bm_device_limits {
    uint64_t memory_bytes;          // device memory in all; of an open device what may be taken of it
    uint64_t available_bytes;       // what this process may take of it now, as the driver says it; 0: it does not say
    uint64_t max_allocation_bytes;  // largest single buffer
    uint32_t max_group_invocations; // work-items in a work-group
    uint32_t max_groups[3];         // work-groups of one dispatch, by dimension
    uint32_t shared_memory_bytes;   // local memory of a work-group
    uint32_t compute_units;
    uint32_t subgroup_size;     // 0: no subgroup operations
    uint32_t min_subgroup_size; // a kernel may require powers of two from here to max_subgroup_size; 0: none
    uint32_t max_subgroup_size;
    uint32_t vector_width;      // float32 numbers in a native vector of a CPU device; 0: unknown
    uint32_t max_loop_rounds;   // of all loops of a work-item together: there the driver ends them silently
    double timestamp_period_ns; // 0: no timestamps
    bool fp16_arithmetic;       // half arithmetic in kernels
    bool int8_dot;              // packed 8-bit dot product
    bool wgmma;      // NVIDIA's matrix units of warpgroups: 16-bit floats in, float32 sums; int8 in, int32 sums
    bool nvidia_mma; // NVIDIA's matrix units of subgroups through OpenCL: 16-bit floats in, float32 sums
    bool
        display_attached; // work longer than a second may be ended by the system; true where that is unknown; true where that is unknown
    uint32_t num_matrix_shapes; // 0: no matrix units
    uint32_t num_more_shapes;   // that the driver has beyond BM_MAX_MATRIX_SHAPES
    bm_matrix_shape matrix_shapes[BM_MAX_MATRIX_SHAPES];
} bm_device_limits;

typedef struct bm_device_info {
    char spec[32];    // opens exactly this device, for example "vulkan:0"
    char backend[16]; // "host", "opencl", "vulkan"
    char name[256];   // as the driver calls it
    char driver[256]; // driver name and version
    bm_device_kind kind;
    bm_device_limits limits;
    bool usable;
    char problem[256]; // why not, when not usable; else empty
} bm_device_info;

typedef struct bm_device_params {
    uint32_t size;             // set by bm_device_params_init
    const char *spec;          // default "auto"
    const char *cache_folder;  // where compiled kernels and tunings are kept; NULL: nowhere
    const char *variants;      // kernels by name, "gemm=generic,attention=plain"; NULL: none. Whatever uses the
                               // device refuses wrong names. Kernels that are not named here have the variant of a
                               // tuning in cache_folder, else that of the built-in tables
    const bm_log *log;         // NULL: silent
    bool separate_allocations; // a memory allocation of its own and guard gaps for each buffer (for checkers)
    bool profile;              // each kernel's time on the device, as a table in the log when the device is closed
    uint64_t memory;           // bytes of the device's memory that buffers may take; 0: all
    bool compile_only;         // kernels can be compiled and nothing can run: no memory is taken (`bench --compile`)
} bm_device_params;
void bm_device_params_init(bm_device_params *params);

// What is missing on this machine, and what to install.
typedef struct bm_missing_component {
    char component[64]; // "Vulkan loader", "OpenCL loader", "OpenCL driver", "OpenBLAS", "CLBlast"
    char words[256];    // what to do about it
} bm_missing_component;

typedef struct bm_device_list {
    bm_device_info *devices; // in the order of preference of "auto" (host last)
    uint32_t num_devices;
    bm_missing_component *missing;
    uint32_t num_missing;
} bm_device_list;

// Lists every device of every backend. Free with bm_device_list_free. Errors: BM_E_MEMORY only; a backend that fails
// to start is reported under missing.
bm_status bm_device_list_create(const bm_device_params *params, bm_device_list *out, bm_error *err);
void bm_device_list_free(bm_device_list *list);
// The index in list of the device that spec names. Errors as of bm_device_open.
bm_status bm_device_list_find(const bm_device_list *list, const char *spec, uint32_t *out, bm_error *err);

typedef struct bm_device bm_device;

// Opens the device that params->spec names. Errors: BM_E_ARGUMENT for a malformed spec, BM_E_DEVICE when no such device
// is here or it cannot be used; the message lists the devices that are.
bm_status bm_device_open(bm_device **out, const bm_device_params *params, bm_error *err);
void bm_device_close(bm_device **device); // waits for all work first
const bm_device_info *bm_device_get_info(const bm_device *device);

#ifdef __cplusplus
}
#endif
#endif
