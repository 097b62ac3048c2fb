// A product on matrix units by a module that tools/rewrite_cooperative_matrix.py made of
// test_vulkan_cooperative_matrix.comp: it is what the backend says of cooperative matrices, and the rewriter's proof.
// The module's path is the only argument. Exit status 77: no device with such units.
#include "base/file.h"
#include "base/half.h"
#include "base/random.h"
#include "device/vulkan/vulkan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { M = 16, N = 8, K = 128 };

static void log_line(void *user, bm_log_level level, const char *message)
{
    (void)user;
    if (level == BM_LOG_ERROR)
        fprintf(stderr, "log: %s\n", message);
}
static const bm_log test_log = {.level = BM_LOG_ERROR, .write = log_line};

static bool has_shape(const bm_device_limits *limits)
{
    bool found = false;
    for (uint32_t i = 0; i < limits->num_matrix_shapes; i++) {
        const bm_matrix_shape *s = &limits->matrix_shapes[i];
        found |= s->m == 16 && s->n == 8 && s->k == 16 && s->component == BM_DTYPE_F16 && s->sum == BM_DTYPE_F32;
    }
    return found;
}

// The device that has matrix units, or NULL.
static bm_device *open_device(bm_error *err)
{
    bm_device_params params;
    bm_device_list list = {0};
    bm_device *device = NULL;
    bm_device_params_init(&params);
    params.log = &test_log;
    if (bm_device_list_create(&params, &list, err) != BM_OK)
        return NULL;
    for (uint32_t i = 0; i < list.num_devices && !device; i++) {
        params.spec = list.devices[i].spec;
        if (has_shape(&list.devices[i].limits))
            (void)bm_device_open(&device, &params, err);
    }
    bm_device_list_free(&list);
    return device;
}

static bm_status create_pipeline(bm_device *device, const char *path, VkPipeline *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    char *words = NULL;
    uint64_t size = 0;
    VkShaderModule shader = VK_NULL_HANDLE;
    bm_status status = BM_OK;
    BM_TRY(bm_file_read_all(path, 1 << 20, &words, &size, err));
    const VkShaderModuleCreateInfo shader_info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                  .codeSize = (size_t)size,
                                                  .pCode = (const uint32_t *)(const void *)words}; // malloc aligns it
    VkResult result = state->api.vkCreateShaderModule(state->device, &shader_info, NULL, &shader);
    const VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                              .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                        .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                        .module = shader,
                                                        .pName = "main"},
                                              .layout = state->layout};
    if (result == VK_SUCCESS)
        result = state->api.vkCreateComputePipelines(state->device, VK_NULL_HANDLE, 1, &info, NULL, out);
    state->api.vkDestroyShaderModule(state->device, shader, NULL);
    BM_FAIL_IF(result != VK_SUCCESS, err, BM_E_DEVICE, "the pipeline is not created: %d", (int)result);
done:
    bm_free(words);
    return status;
}

// c = 2 a b^T on the device.
static bm_status multiply(bm_device *device, VkPipeline pipeline, const uint16_t *a, const uint16_t *b, float *c,
                          bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const uint64_t sizes[3] = {M * K * 2, N * K * 2, M * N * 4};
    bm_buffer *buffers[3] = {NULL};
    VkCommandBuffer command;
    struct {
        uint64_t addresses[3];
        uint32_t k;
        float factor;
    } arguments = {.k = K, .factor = 2};
    bm_status status = BM_OK;
    for (int i = 0; i < 3; i++) {
        BM_TRY(bm_buffer_create(device, sizes[i], "operand", &buffers[i], err));
        arguments.addresses[i] = ((vk_buffer *)buffers[i]->state)->address;
    }
    BM_TRY(bm_upload(device, bm_buffer_view(buffers[0]), a, sizes[0], err));
    BM_TRY(bm_upload(device, bm_buffer_view(buffers[1]), b, sizes[1], err));
    BM_TRY(vk_record(device, &command, err));
    state->api.vkCmdBindPipeline(command, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    state->api.vkCmdPushConstants(command, state->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof arguments, &arguments);
    state->api.vkCmdDispatch(command, 1, 1, 1);
    vk_record_barrier(state, command);
    BM_TRY(bm_download(device, bm_buffer_view(buffers[2]), c, sizes[2], err));
    BM_TRY(bm_device_wait(device, err));
done:
    for (int i = 0; i < 3; i++)
        bm_buffer_destroy(&buffers[i]);
    return status;
}

static void fill(uint16_t *out, uint32_t count, uint64_t stream)
{
    bm_random random;
    bm_random_init(&random, 1, stream);
    for (uint32_t i = 0; i < count; i++)
        out[i] = bm_f32_to_f16((float)(2 * bm_random_double(&random) - 1));
}

static int num_wrong(const uint16_t *a, const uint16_t *b, const float *c)
{
    int wrong = 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < K; k++) {
                const double product = 2.0 * bm_f16_to_f32(a[i * K + k]) * bm_f16_to_f32(b[j * K + k]);
                sum += product;
                magnitude += fabs(product);
            }
            // Products of float16 are exact in float32. Matrix units may cut sums instead of rounding them, which
            // doubles the bound of a sum of K terms: K * 2^-23 * sum |a||b|.
            if (!(fabs(c[i * N + j] - sum) <= K * 0x1p-23 * magnitude)) {
                fprintf(stderr, "c[%d][%d] = %g, expected %g\n", i, j, (double)c[i * N + j], sum);
                wrong++;
            }
        }
    return wrong;
}

int main(int argc, char **argv)
{
    static uint16_t a[M * K], b[N * K];
    static float c[M * N];
    bm_error err = {0};
    VkPipeline pipeline = VK_NULL_HANDLE;
    int wrong = -1;
    if (argc != 2)
        return 2;
    bm_device *device = open_device(&err);
    if (!device) {
        printf("skipped: no Vulkan device with cooperative matrices\n");
        return 77;
    }
    fill(a, M * K, 1);
    fill(b, N * K, 2);
    if (create_pipeline(device, argv[1], &pipeline, &err) == BM_OK &&
        multiply(device, pipeline, a, b, c, &err) == BM_OK)
        wrong = num_wrong(a, b, c);
    else
        fprintf(stderr, "%s\n", err.message);
    vk_state_of(device)->api.vkDestroyPipeline(vk_state_of(device)->device, pipeline, NULL);
    printf("%s: %d elements wrong, %llu validation messages\n", bm_device_get_info(device)->name, wrong,
           (unsigned long long)vk_validation_messages());
    bm_device_close(&device);
    return wrong == 0 && vk_validation_messages() == 0 ? 0 : 1;
}
