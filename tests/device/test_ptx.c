// Variants in PTX without NVIDIA's driver: any OpenCL device says that it has what they need. Its driver refuses the text; with
// functions of ours in place of the driver's it takes the text, and what is launched is looked at.
#include "device/fixture.h"
#include "device/opencl/opencl.h"

#include <string.h>

enum { MAX_LAUNCHES = 4, NUM_ARGUMENTS = 17, MAX_ARGUMENT_BYTES = 64 };

typedef struct fake_kernel {
    char name[32];
    size_t sizes[NUM_ARGUMENTS];
    bool absent[NUM_ARGUMENTS];
    uint8_t values[NUM_ARGUMENTS][MAX_ARGUMENT_BYTES];
} fake_kernel;

typedef struct launched {
    fake_kernel kernel; // as it was then
    size_t items, group;
} launched;

static fake_kernel fake_kernels[8];
static launched launches[MAX_LAUNCHES];
static uint32_t num_kernels, num_launches, num_programs, num_released;
static char shown[64]; // the first bytes of the last program
static cl_int answer;  // to a program
static ocl_api fake;

static CL_API_ENTRY cl_program CL_API_CALL create_program(cl_context context, cl_uint count,
                                                          const cl_device_id *devices, const size_t *sizes,
                                                          const unsigned char **binaries, cl_int *accepted,
                                                          cl_int *code)
{
    (void)context, (void)devices;
    assert_int_equal(count, 1);
    assert_true(sizes[0] > sizeof shown);
    assert_int_equal(binaries[0][sizes[0] - 1], '\n'); // the whole text
    memcpy(shown, binaries[0], sizeof shown - 1);
    num_programs++;
    *accepted = CL_SUCCESS;
    *code = answer;
    return answer == CL_SUCCESS ? (cl_program)(void *)&fake_kernels : NULL;
}

static CL_API_ENTRY cl_int CL_API_CALL build_program(cl_program program, cl_uint count, const cl_device_id *devices,
                                                     const char *options,
                                                     void(CL_CALLBACK *notify)(cl_program program, void *user),
                                                     void *user)
{
    (void)program, (void)count, (void)devices, (void)options, (void)notify, (void)user;
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_int CL_API_CALL release_program(cl_program program)
{
    (void)program;
    num_released++;
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_kernel CL_API_CALL create_kernel(cl_program program, const char *name, cl_int *code)
{
    (void)program;
    assert_true(num_kernels < BM_COUNT(fake_kernels));
    fake_kernel *kernel = &fake_kernels[num_kernels++];
    *kernel = (fake_kernel){{0}, {0}, {false}, {{0}}};
    assert_true(strlen(name) < sizeof kernel->name);
    memcpy(kernel->name, name, strlen(name));
    *code = CL_SUCCESS;
    return (cl_kernel)(void *)kernel;
}

static CL_API_ENTRY cl_int CL_API_CALL release_kernel(cl_kernel kernel)
{
    (void)kernel;
    num_released++;
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_int CL_API_CALL set_argument(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    fake_kernel *k = (fake_kernel *)(void *)kernel;
    assert_true(index < NUM_ARGUMENTS && size <= MAX_ARGUMENT_BYTES);
    k->sizes[index] = size;
    k->absent[index] = !value;
    if (value)
        memcpy(k->values[index], value, size);
    return CL_SUCCESS;
}

static CL_API_ENTRY cl_int CL_API_CALL enqueue(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                               const size_t *offset, const size_t *items, const size_t *group,
                                               cl_uint num_events, const cl_event *events, cl_event *event)
{
    (void)queue, (void)num_events, (void)events, (void)event;
    assert_true(num_launches < MAX_LAUNCHES && dimensions == 1 && !offset);
    launches[num_launches++] = (launched){*(fake_kernel *)(void *)kernel, items[0], group[0]};
    return CL_SUCCESS;
}

// The device has what wgmma needs, and our driver answers so when it is shown a program.
static void pretend(cl_int to_a_program)
{
    ocl_state *state = ocl_state_of(test_device);
    num_kernels = num_launches = num_programs = num_released = 0;
    answer = to_a_program;
    fake = *state->cl;
    fake.CreateProgramWithBinary = create_program;
    fake.BuildProgram = build_program;
    fake.ReleaseProgram = release_program;
    fake.CreateKernel = create_kernel;
    fake.ReleaseKernel = release_kernel;
    fake.SetKernelArg = set_argument;
    fake.EnqueueNDRangeKernel = enqueue;
    state->cl = &fake;
    test_device->info.limits.wgmma = true;
}

static void forget_answers(void)
{
    ocl_state *state = ocl_state_of(test_device);
    memset(state->ptx_answers, 0, sizeof state->ptx_answers);
}

static bool has_wgmma(void)
{
    return bm_kernel_has_variant(test_device, BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA);
}

static void ptx_that_the_driver_refuses_is_not_there(void **state)
{
    (void)state;
    const bool is_real = test_device->info.limits.wgmma;
    test_device->info.limits.wgmma = false;
    assert_false(has_wgmma());
    assert_null(ocl_state_of(test_device)->ptx_answers[0].ptx); // the device's limits come first
    test_device->info.limits.wgmma = true;
    assert_true(is_real || !has_wgmma()); // this driver's own answer
    pretend(CL_INVALID_BINARY);
    forget_answers();
    assert_false(has_wgmma());
    assert_false(has_wgmma());
    assert_int_equal(num_programs, 1);                                          // asked once
    ocl_ptx other = *ocl_source_of(BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA)->ptx; // another kernel's, which it takes
    answer = CL_SUCCESS;
    assert_true(ocl_ptx_is_accepted(test_device, &other));
    assert_true(ocl_ptx_is_accepted(test_device, &other));
    assert_false(has_wgmma());
    assert_int_equal(num_programs, 2);
    forget_answers();
    answer = CL_INVALID_BINARY;
    const bm_gemm_scalars scalars = {16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 1.0f};
    const bm_call call = {.kernel = BM_KERNEL_GEMM,
                          .variant = BM_VARIANT_GEMM_WGMMA,
                          .types = {BM_DTYPE_F16, BM_DTYPE_F16, BM_DTYPE_NONE, BM_DTYPE_F16},
                          .scalars = &scalars,
                          .groups = {1, 1, 1}};
    assert_int_equal(bm_dispatch(test_device, &call, &failure), BM_E_ARGUMENT);
}

static void ptx_takes_16_bit_inputs_of_one_type(void **state)
{
    (void)state;
    static const bm_dtype types[] = {BM_DTYPE_NONE, BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    for (uint32_t x = 0; x < BM_COUNT(types); x++)
        for (uint32_t w = 0; w < BM_COUNT(types); w++) {
            const bm_dtype all[BM_MAX_BUFFERS] = {types[x], types[w], BM_DTYPE_F32, BM_DTYPE_F32};
            assert_int_equal(bm_kernel_takes(BM_KERNEL_GEMM, BM_VARIANT_GEMM_WGMMA, all), x == w && x >= 2);
        }
}

#define EXPECT_ARGUMENT(launch, index, type, value)                                                                    \
    do {                                                                                                               \
        type wanted_ = (value);                                                                                        \
        assert_int_equal((launch)->kernel.sizes[index], sizeof wanted_);                                               \
        assert_memory_equal((launch)->kernel.values[index], &wanted_, sizeof wanted_);                                 \
    } while (0)

// The maps are written first, by a kernel with the same arguments; then there are as many groups as tiles.
static void ptx_is_launched_behind_its_tensor_maps(void **state)
{
    (void)state;
    enum { M = 257, N = 130, K = 41, STRIDE = 48, Y_STRIDE = 136 };
    static const uint64_t offsets[4] = {16, 256, 48, 1024};
    static const bm_dtype bias_types[] = {BM_DTYPE_F32, BM_DTYPE_F16, BM_DTYPE_BF16};
    pretend(CL_SUCCESS);
    assert_true(has_wgmma());
    assert_true(has_wgmma());
    assert_int_equal(num_programs, 1);
    assert_int_equal(num_released, 1); // what was shown is kept nowhere
    const uint64_t handles = bm_device_live_handles(test_device);
    bm_buffer *buffers[4] = {make_buffer(16 + 2 * M * STRIDE), make_buffer(256 + 2 * N * STRIDE),
                             make_buffer(48 + 4 * Y_STRIDE), make_buffer(1024 + 4 * M * Y_STRIDE)};
    for (uint32_t i = 0; i < 4; i++) { // the last one without a bias
        const bool has_bias = i < 3;
        const bm_gemm_scalars scalars = {M, N, K, STRIDE, STRIDE, Y_STRIDE, has_bias, 1, 1, -3, 0.5f};
        bm_call call = {.kernel = BM_KERNEL_GEMM,
                        .variant = BM_VARIANT_GEMM_WGMMA,
                        .types = {BM_DTYPE_BF16, BM_DTYPE_BF16, has_bias ? bias_types[i] : BM_DTYPE_NONE, BM_DTYPE_F32},
                        .scalars = &scalars,
                        .groups = {1, 1, 1}};
        for (uint32_t b = 0; b < 4; b++)
            if (b != 2 || has_bias) {
                const bm_view whole = bm_buffer_view(buffers[b]);
                call.buffers[b] = bm_view_part(whole, offsets[b], whole.size - offsets[b]);
            }
        num_launches = 0;
        MUST(bm_dispatch(test_device, &call, &failure));
        assert_int_equal(num_launches, 2);
        assert_string_equal(launches[0].kernel.name, "tensor_maps");
        assert_int_equal(launches[0].group, 32);
        assert_int_equal(launches[0].items, 32);
        assert_string_equal(launches[1].kernel.name, "gemm_wgmma");
        assert_int_equal(launches[1].group, 128);
        assert_int_equal(launches[1].items, 3 * 2 * 128); // tiles of 128 x 128
        for (const launched *l = launches; l < launches + 2; l++) {
            for (uint32_t b = 0; b < 4; b++) {
                assert_int_equal(l->kernel.absent[2 * b], b == 2 && !has_bias);
                if (!l->kernel.absent[2 * b])
                    EXPECT_ARGUMENT(l, 2 * b, cl_mem, ocl_buffer_memory(buffers[b]));
                EXPECT_ARGUMENT(l, 2 * b + 1, cl_ulong, call.buffers[b].offset);
            }
            EXPECT_ARGUMENT(l, 8, bm_gemm_scalars, scalars);
            EXPECT_ARGUMENT(l, 9, cl_mem, ocl_state_of(test_device)->tensor_maps);
            EXPECT_ARGUMENT(l, 10, cl_uint, has_bias ? bias_types[i] : BM_DTYPE_F32); // as the text numbers them
        }
    }
    assert_int_equal(num_programs, 1 + 3); // one pipeline for each set of types, found again for the last call
    assert_memory_equal(shown, ".version", 8);
    for (uint32_t i = 0; i < 4; i++)
        bm_buffer_destroy(&buffers[i]);
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(bm_device_live_handles(test_device), handles + 1 + 3 * 3); // maps; a program and two kernels each
}

// Kernels have their bias and y at places of their own.
static void ptx_of_codes_is_launched_by_its_tiles(void **state)
{
    (void)state;
    enum { M = 129, N = 257, K = 33, STRIDE = 48, Y_STRIDE = 264, BYTES = 1 << 20 };
    pretend(CL_SUCCESS);
    bm_buffer *buffer = make_buffer(BYTES);
    const bm_gemm_int8_scalars scalars = {M, N, K, STRIDE, STRIDE, Y_STRIDE, 0, 1, 0};
    bm_call call = {.kernel = BM_KERNEL_GEMM_INT8,
                    .variant = BM_VARIANT_GEMM_INT8_WGMMA,
                    .types = {[4] = BM_DTYPE_BF16, [5] = BM_DTYPE_F16},
                    .scalars = &scalars,
                    .groups = {1, 1, 1}};
    for (uint32_t b = 0; b < 6; b++)
        call.buffers[b] = bm_view_part(bm_buffer_view(buffer), b * BYTES / 8, BYTES / 8);
    num_launches = 0;
    MUST(bm_dispatch(test_device, &call, &failure));
    assert_int_equal(num_launches, 2);
    assert_string_equal(launches[0].kernel.name, "tensor_maps");
    assert_string_equal(launches[1].kernel.name, "gemm_int8_wgmma");
    assert_int_equal(launches[1].group, 128);
    assert_int_equal(launches[1].items, 2 * 3 * 128);
    for (const launched *l = launches; l < launches + 2; l++) {
        assert_true(l->kernel.absent[12]); // loss
        EXPECT_ARGUMENT(l, 14, bm_gemm_int8_scalars, scalars);
        EXPECT_ARGUMENT(l, 15, cl_mem, ocl_state_of(test_device)->tensor_maps);
        EXPECT_ARGUMENT(l, 16, cl_uint, BM_DTYPE_BF16);
    }
    bm_buffer_destroy(&buffer);
    MUST(bm_device_wait(test_device, &failure));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_DEVICE(ptx_that_the_driver_refuses_is_not_there),
        ON_A_DEVICE(ptx_takes_16_bit_inputs_of_one_type),
        ON_A_DEVICE(ptx_is_launched_behind_its_tensor_maps),
        ON_A_DEVICE(ptx_of_codes_is_launched_by_its_tiles),
    };
    if (!device_fixture_begin("opencl"))
        return SUPPORT_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
