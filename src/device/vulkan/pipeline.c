// Pipelines by kernel, variant, types and tunables; and their cache on disk.
//
// The cache file is the driver's own blob behind a header of ours: "bmvk" and version, SHA-256 of the blob, the blob. Its
// name holds device, driver and the driver's cache id, so that another driver never sees it. A file that is cut, changed
// or unreadable is ignored; a folder that cannot be written costs a compilation at the next start.
#include "device/vulkan/vulkan.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"

#include <string.h>

#define MAX_CACHE_BYTES (UINT64_C(256) << 20)
#define HEADER_BYTES 40
static const char magic[8] = {'b', 'm', 'v', 'k', '0', '0', '0', '1'};

static const vk_module *module_of(bm_kernel_id kernel, uint32_t variant)
{
    return &vk_modules[vk_first_module[kernel] + variant];
}

bool vk_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant)
{
    (void)device;
    return bm_kernel_table[kernel].variants[variant].vulkan && module_of(kernel, variant)->words;
}

enum { SPIRV_HEADER = 5, OP_EXECUTION_MODE = 16, OP_CAPABILITY = 17 };

bool vk_find_entry_mode(const vk_module *module, size_t *at)
{
    const size_t count = module->size_bytes / 4;
    for (size_t i = SPIRV_HEADER; i + 1 < count && module->words[i] >> 16 != 0; i += module->words[i] >> 16)
        if ((module->words[i] & 0xffff) == OP_EXECUTION_MODE) {
            *at = i;
            return true;
        }
    return false;
}

// The module's words with the mode that keeps subnormal float16 numbers: a capability behind the header, and the mode
// before the first of the entry point's own, at. NULL: no memory. bm_free it.
static uint32_t *with_denormals(const vk_module *module, size_t at, size_t *size_bytes)
{
    enum { DENORM_PRESERVE_MODE = 4459, DENORM_PRESERVE = 4464 };
    const size_t count = module->size_bytes / 4;
    size_t n = 0;
    uint32_t *out = bm_alloc(count + 6, sizeof *out);
    if (!out)
        return NULL;
    memcpy(out, module->words, SPIRV_HEADER * 4);
    n = SPIRV_HEADER;
    out[n++] = 2u << 16 | OP_CAPABILITY;
    out[n++] = DENORM_PRESERVE;
    memcpy(out + n, module->words + SPIRV_HEADER, (at - SPIRV_HEADER) * 4);
    n += at - SPIRV_HEADER;
    out[n++] = 4u << 16 | OP_EXECUTION_MODE;
    out[n++] = module->words[at + 1]; // the entry point
    out[n++] = DENORM_PRESERVE_MODE;
    out[n++] = 16;
    memcpy(out + n, module->words + at, (count - at) * 4);
    *size_bytes = (count + 6) * 4;
    return out;
}

// Types of `real` buffers in the row's order, at the constant ids that the generator gave them; others stay 0.
static uint32_t fill_constants(bool keeps_denormals, const bm_call *call, VkSpecializationMapEntry *entries,
                               uint32_t *values)
{
    const bm_kernel_info *info = &bm_kernel_table[call->kernel];
    uint32_t count = 0, real = 0;
    for (uint32_t i = 0; i < info->num_tunables; i++, count++) {
        entries[count] = (VkSpecializationMapEntry){i, count * 4, 4};
        values[count] = call->tunables[i];
    }
    for (uint32_t i = 0; i < info->num_buffers; i++)
        if (info->buffers[i].element == BM_ELEMENT_REAL) {
            entries[count] = (VkSpecializationMapEntry){10 + real++, count * 4, 4};
            values[count++] = (uint32_t)call->types[i];
        }
    entries[count] = (VkSpecializationMapEntry){30, count * 4, 4}; // BM_HALF_BY_HAND
    values[count++] = !keeps_denormals;
    return count;
}

// Without feedback every pipeline counts as compiled.
static bool is_from_cache(const VkPipelineCreationFeedback *feedback)
{
    const VkPipelineCreationFeedbackFlags hit =
        VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT | VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT;
    return (feedback->flags & hit) == hit;
}

static bm_status create_pipeline(bm_device *device, const bm_call *call, VkPipeline *out, bm_error *err)
{
    const bm_status may = bm_device_may_compile(device, bm_kernel_table[call->kernel].name, err);
    if (may != BM_OK)
        return may;
    vk_state *state = vk_state_of(device);
    const vk_module *module = module_of(call->kernel, call->variant);
    VkSpecializationMapEntry entries[BM_MAX_TUNABLES + BM_MAX_BUFFERS + 1];
    uint32_t values[BM_MAX_TUNABLES + BM_MAX_BUFFERS + 1];
    size_t entry_mode = 0; // where there is none, float16 numbers are converted by hand
    const bool keeps_denormals = state->features.denormals_16bit && vk_find_entry_mode(module, &entry_mode);
    const uint32_t count = fill_constants(keeps_denormals, call, entries, values);
    const VkSpecializationInfo constants = {count, entries, count * sizeof *values, values};
    size_t size = module->size_bytes;
    uint32_t *patched = keeps_denormals ? with_denormals(module, entry_mode, &size) : NULL;
    if (keeps_denormals && !patched)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const VkShaderModuleCreateInfo shader_info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                  .codeSize = size,
                                                  .pCode = patched ? patched : module->words};
    VkPipelineCreationFeedback whole = {0}, stage = {0};
    const VkPipelineCreationFeedbackCreateInfo feedback = {.sType =
                                                               VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO,
                                                           .pPipelineCreationFeedback = &whole,
                                                           .pipelineStageCreationFeedbackCount = 1,
                                                           .pPipelineStageCreationFeedbacks = &stage};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroups = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = bm_kernel_table[call->kernel].variants[call->variant].subgroup_size};
    const bool requires_size = subgroups.requiredSubgroupSize > 0;
    VkShaderModule shader = VK_NULL_HANDLE;
    VkResult result = state->api.vkCreateShaderModule(state->device, &shader_info, NULL, &shader);
    bm_free(patched);
    if (result == VK_SUCCESS) {
        const VkComputePipelineCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
            .pNext = state->features.creation_feedback ? &feedback : NULL,
            .flags = state->features.pipeline_statistics && device->compile_only
                         ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR
                         : 0,
            .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                      .pNext = requires_size ? &subgroups : NULL,
                      .flags = requires_size ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                      .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                      .module = shader,
                      .pName = "main",
                      .pSpecializationInfo = &constants},
            .layout = state->layout};
        result = state->api.vkCreateComputePipelines(state->device, state->cache, 1, &info, NULL, out);
        state->api.vkDestroyShaderModule(state->device, shader, NULL);
    }
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, bm_kernel_table[call->kernel].name);
    vk_name_object(device, VK_OBJECT_TYPE_PIPELINE, (uint64_t)(uintptr_t)*out, bm_kernel_table[call->kernel].name);
    device->live_handles++;
    if (!is_from_cache(&whole)) {
        device->compiled_kernels++;
        state->cache_changed = true;
    }
    return BM_OK;
}

bm_status vk_pipeline_find(bm_device *device, const bm_call *call, VkPipeline *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    for (vk_pipeline *p = state->pipelines[call->kernel]; p; p = p->next)
        if (p->variant == call->variant && memcmp(p->types, call->types, sizeof p->types) == 0 &&
            memcmp(p->tunables, call->tunables, sizeof p->tunables) == 0) {
            *out = p->handle;
            return BM_OK;
        }
    vk_pipeline *p = bm_alloc_zero(1, sizeof *p);
    if (!p)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    const bm_status status = create_pipeline(device, call, &p->handle, err);
    if (status != BM_OK) {
        bm_free(p);
        return status;
    }
    p->variant = call->variant;
    memcpy(p->types, call->types, sizeof p->types);
    memcpy(p->tunables, call->tunables, sizeof p->tunables);
    p->next = state->pipelines[call->kernel];
    state->pipelines[call->kernel] = p;
    *out = p->handle;
    return BM_OK;
}

// NULL: no cache folder, or no memory.
static char *cache_path(const bm_device *device, const char *suffix)
{
    const vk_state *state = vk_state_of(device);
    VkPhysicalDeviceProperties properties;
    bm_sha256 hash;
    uint8_t digest[32];
    char hex[33];
    if (!device->cache_folder)
        return NULL;
    state->instance.api.vkGetPhysicalDeviceProperties(state->physical, &properties);
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, &properties.vendorID, sizeof properties.vendorID);
    bm_sha256_update(&hash, &properties.deviceID, sizeof properties.deviceID);
    bm_sha256_update(&hash, &properties.driverVersion, sizeof properties.driverVersion);
    bm_sha256_update(&hash, properties.pipelineCacheUUID, sizeof properties.pipelineCacheUUID);
    bm_sha256_final(&hash, digest);
    bm_hex(digest, 16, hex);
    return bm_format("%s/vulkan-%s%s", device->cache_folder, hex, suffix);
}

// The driver's blob of a cache file, or NULL. *size is set with it.
static char *read_blob(const bm_device *device, const char *path, uint64_t *size)
{
    char *file = NULL;
    uint64_t bytes = 0;
    uint8_t digest[32];
    bm_sha256 hash;
    if (!path || bm_path_kind_of(path) != BM_PATH_FILE ||
        bm_file_read_all(path, MAX_CACHE_BYTES, &file, &bytes, NULL) != BM_OK)
        return NULL;
    if (bytes >= HEADER_BYTES && memcmp(file, magic, sizeof magic) == 0) {
        bm_sha256_init(&hash);
        bm_sha256_update(&hash, file + HEADER_BYTES, (size_t)(bytes - HEADER_BYTES));
        bm_sha256_final(&hash, digest);
        if (memcmp(digest, file + 8, sizeof digest) == 0) {
            *size = bytes - HEADER_BYTES;
            memmove(file, file + HEADER_BYTES, (size_t)*size);
            return file;
        }
    }
    bm_log_write(device->log, BM_LOG_DEBUG, "%s: is damaged and ignored", path);
    bm_free(file);
    return NULL;
}

static VkResult create_cache(vk_state *state, const char *blob, uint64_t size, VkPipelineCache *out)
{
    const VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = (size_t)size, .pInitialData = blob};
    return state->api.vkCreatePipelineCache(state->device, &info, NULL, out);
}

bm_status vk_pipelines_open(bm_device *device, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, VK_PUSH_BYTES};
    const VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                             .pushConstantRangeCount = 1,
                                             .pPushConstantRanges = &range};
    uint64_t size = 0;
    VkResult result = state->api.vkCreatePipelineLayout(state->device, &info, NULL, &state->layout);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreatePipelineLayout");
    device->live_handles++;
    char *path = cache_path(device, ".bin");
    char *blob = read_blob(device, path, &size);
    result = create_cache(state, blob, size, &state->cache);
    state->cache_loaded = blob && result == VK_SUCCESS;
    if (result != VK_SUCCESS && blob) // the driver refuses what it wrote: start anew
        result = create_cache(state, NULL, 0, &state->cache);
    bm_free(blob);
    bm_free(path);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkCreatePipelineCache");
    device->live_handles++;
    return BM_OK;
}

// Merges what other processes wrote meanwhile, so that none of the work is lost.
static void merge_from_disk(bm_device *device, const char *path)
{
    vk_state *state = vk_state_of(device);
    uint64_t size = 0;
    VkPipelineCache other = VK_NULL_HANDLE;
    char *blob = read_blob(device, path, &size);
    if (blob && create_cache(state, blob, size, &other) == VK_SUCCESS) {
        (void)state->api.vkMergePipelineCaches(state->device, state->cache, 1, &other);
        state->api.vkDestroyPipelineCache(state->device, other, NULL);
    }
    bm_free(blob);
}

static void write_cache(bm_device *device, const char *path)
{
    vk_state *state = vk_state_of(device);
    size_t size = 0;
    bm_sha256 hash;
    if (state->api.vkGetPipelineCacheData(state->device, state->cache, &size, NULL) != VK_SUCCESS ||
        size > MAX_CACHE_BYTES)
        return;
    uint8_t *file = bm_alloc((uint64_t)size + HEADER_BYTES, 1);
    if (file &&
        state->api.vkGetPipelineCacheData(state->device, state->cache, &size, file + HEADER_BYTES) == VK_SUCCESS) {
        memcpy(file, magic, sizeof magic);
        bm_sha256_init(&hash);
        bm_sha256_update(&hash, file + HEADER_BYTES, size);
        bm_sha256_final(&hash, file + 8);
        if (bm_file_write_all(path, file, size + HEADER_BYTES, NULL) != BM_OK)
            bm_log_write(device->log, BM_LOG_DEBUG, "%s: the pipeline cache cannot be written", path);
    }
    bm_free(file);
}

static void store_cache(bm_device *device)
{
    bm_file_lock *lock = NULL;
    char *path = cache_path(device, ".bin"), *lock_path = cache_path(device, ".lock");
    if (path && lock_path && bm_folder_create(device->cache_folder, true, NULL) == BM_OK &&
        bm_file_lock_acquire(&lock, lock_path, NULL) == BM_OK) {
        merge_from_disk(device, path);
        write_cache(device, path);
    }
    bm_file_lock_release(&lock);
    bm_free(path);
    bm_free(lock_path);
}

void vk_pipelines_close(bm_device *device)
{
    vk_state *state = vk_state_of(device);
    if (state->cache && state->cache_changed && !device->lost)
        store_cache(device);
    for (uint32_t kernel = 0; kernel < BM_NUM_KERNELS; kernel++)
        while (state->pipelines[kernel]) {
            vk_pipeline *p = state->pipelines[kernel];
            state->pipelines[kernel] = p->next;
            state->api.vkDestroyPipeline(state->device, p->handle, NULL);
            device->live_handles--;
            bm_free(p);
        }
    if (state->cache) {
        state->api.vkDestroyPipelineCache(state->device, state->cache, NULL);
        device->live_handles--;
    }
    if (state->layout) {
        state->api.vkDestroyPipelineLayout(state->device, state->layout, NULL);
        device->live_handles--;
    }
}
