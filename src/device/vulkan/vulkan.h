// The Vulkan backend's own types. Any Vulkan 1.2+ device with buffer device addresses; the loader is found at run time.
//
// Work is recorded into command buffers of a small ring, submitted in order to one compute queue, and told apart by the
// values of one timeline semaphore: what was submitted with value v is done when the semaphore has reached v.
#ifndef BM_VULKAN_VULKAN_H
#define BM_VULKAN_VULKAN_H

#include "device/backend.h"
#include "device/vulkan/cooperative_matrix.h"
#include <volk.h>

// The SPIR-V of one kernel or variant, embedded by tools/generate_kernels.py; words NULL: none for Vulkan.
typedef struct vk_module {
    const uint32_t *words;
    size_t size_bytes;
} vk_module;
extern const vk_module vk_modules[];     // all kernels' variants in the order of kernels.def
extern const uint32_t vk_first_module[]; // by kernel: index of its variant 0

#define VK_PUSH_BYTES 128            // every Vulkan device has as many
#define VK_NUM_BATCHES 4             // command buffers in the ring
#define VK_STAGING_BYTES (16u << 20) // of each half of the upload ring, and of the download memory

// Functions of one instance and of one device. volk's own globals would be overwritten by whoever opens the next
// instance, from another thread too; here each instance and each device keeps its own.
#define VK_INSTANCE_FUNCTIONS(X)                                                                                       \
    X(vkDestroyInstance)                                                                                               \
    X(vkEnumeratePhysicalDevices)                                                                                      \
    X(vkEnumerateDeviceExtensionProperties)                                                                            \
    X(vkGetPhysicalDeviceProperties)                                                                                   \
    X(vkGetPhysicalDeviceProperties2)                                                                                  \
    X(vkGetPhysicalDeviceFeatures2)                                                                                    \
    X(vkGetPhysicalDeviceMemoryProperties)                                                                             \
    X(vkGetPhysicalDeviceMemoryProperties2)                                                                            \
    X(vkGetPhysicalDeviceQueueFamilyProperties)                                                                        \
    X(vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)                                                               \
    X(vkCreateDevice)                                                                                                  \
    X(vkGetDeviceProcAddr)                                                                                             \
    X(vkCreateDebugUtilsMessengerEXT)                                                                                  \
    X(vkDestroyDebugUtilsMessengerEXT)                                                                                 \
    X(vkSetDebugUtilsObjectNameEXT)
#define VK_DEVICE_FUNCTIONS(X)                                                                                         \
    X(vkAllocateCommandBuffers)                                                                                        \
    X(vkAllocateMemory)                                                                                                \
    X(vkBeginCommandBuffer)                                                                                            \
    X(vkBindBufferMemory)                                                                                              \
    X(vkCmdBindPipeline)                                                                                               \
    X(vkCmdCopyBuffer)                                                                                                 \
    X(vkCmdDispatch)                                                                                                   \
    X(vkCmdFillBuffer)                                                                                                 \
    X(vkCmdPipelineBarrier)                                                                                            \
    X(vkCmdPushConstants)                                                                                              \
    X(vkCmdResetQueryPool)                                                                                             \
    X(vkCmdWriteTimestamp)                                                                                             \
    X(vkCreateBuffer)                                                                                                  \
    X(vkCreateCommandPool)                                                                                             \
    X(vkCreateComputePipelines)                                                                                        \
    X(vkCreatePipelineCache)                                                                                           \
    X(vkCreatePipelineLayout)                                                                                          \
    X(vkCreateQueryPool)                                                                                               \
    X(vkCreateSemaphore)                                                                                               \
    X(vkCreateShaderModule)                                                                                            \
    X(vkDestroyBuffer)                                                                                                 \
    X(vkDestroyCommandPool)                                                                                            \
    X(vkDestroyDevice)                                                                                                 \
    X(vkDestroyPipeline)                                                                                               \
    X(vkDestroyPipelineCache)                                                                                          \
    X(vkDestroyPipelineLayout)                                                                                         \
    X(vkDestroyQueryPool)                                                                                              \
    X(vkDestroySemaphore)                                                                                              \
    X(vkDestroyShaderModule)                                                                                           \
    X(vkDeviceWaitIdle)                                                                                                \
    X(vkEndCommandBuffer)                                                                                              \
    X(vkFreeMemory)                                                                                                    \
    X(vkGetBufferDeviceAddress)                                                                                        \
    X(vkGetBufferMemoryRequirements)                                                                                   \
    X(vkGetDeviceQueue)                                                                                                \
    X(vkGetPipelineExecutablePropertiesKHR)                                                                            \
    X(vkGetPipelineExecutableStatisticsKHR)                                                                            \
    X(vkGetPipelineCacheData)                                                                                          \
    X(vkGetQueryPoolResults)                                                                                           \
    X(vkMapMemory)                                                                                                     \
    X(vkMergePipelineCaches)                                                                                           \
    X(vkQueueSubmit)                                                                                                   \
    X(vkWaitSemaphores)
#define VK_MEMBER(name) PFN_##name name;
typedef struct vk_instance_api {
    VK_INSTANCE_FUNCTIONS(VK_MEMBER)
} vk_instance_api;
typedef struct vk_device_api {
    VK_DEVICE_FUNCTIONS(VK_MEMBER)
} vk_device_api;

// An instance and, where there is a log, the messenger that writes to it.
typedef struct vk_instance {
    VkInstance handle;
    vk_instance_api api;
    VkDebugUtilsMessengerEXT messenger;
    bool has_debug_utils;
} vk_instance;

// What a device offers of what we can use. Enabled are creation_feedback, subgroup_sizes, for the modules that use it
// cooperative_matrix with all that it needs and bfloat16_matrix, and pipeline_statistics to compile only; the rest is information.
typedef struct vk_features {
    bool fp16; // arithmetic
    bool int8_dot;
    bool creation_feedback; // tells a pipeline that came from the cache from one that was compiled
    bool subgroup_sizes;    // a pipeline may require the size of its subgroups, and that all of them are full
    bool cooperative_matrix;
    bool bfloat16_matrix;     // cooperative matrices of bfloat16, too
    bool int8_matrix;         // and of int8
    bool pipeline_statistics; // registers and the like of a pipeline, read where nothing but compiling is asked for
    bool denormals_16bit;     // a mode that keeps subnormal float16 numbers
    bool portability_subset;  // a layer over another interface (MoltenVK); must be enabled where it is offered
} vk_features;
#define VK_PORTABILITY_SUBSET_EXTENSION "VK_KHR_portability_subset" // volk has the name only with beta extensions

// A block of device memory, and its ranges in order; no two that are free lie side by side.
typedef enum vk_block_kind {
    VK_BLOCK_SMALL,
    VK_BLOCK_LARGE,
    VK_BLOCK_OWN // of one buffer, never used again
} vk_block_kind;

typedef struct vk_block {
    struct vk_block *next;
    VkDeviceMemory memory;
    vk_block_kind kind;
    uint64_t size;
    struct vk_range *first;
} vk_block;

typedef struct vk_range {
    vk_block *block;
    struct vk_range *before, *behind;
    uint64_t offset, size;
    bool taken; // by a buffer
} vk_range;

// Host-visible memory, mapped for its whole life.
typedef struct vk_staging {
    VkBuffer handle;
    VkDeviceMemory memory;
    uint8_t *bytes;
    uint64_t used;
    uint64_t last_value; // timeline value after which it may be written again
} vk_staging;

// A buffer's objects. bm_buffer.state.
typedef struct vk_buffer {
    VkBuffer handle;
    vk_range *range; // on the device
    uint64_t address;
    vk_staging host; // of a buffer in memory of the host, whose handle this is then
} vk_buffer;

// A download whose bytes lie in staging memory until the wait.
typedef struct vk_pending {
    const uint8_t *src;
    uint64_t src_stride;
    uint8_t *dst;
    uint64_t dst_stride, row_bytes, num_rows;
} vk_pending;

typedef struct vk_pipeline {
    struct vk_pipeline *next;
    uint32_t variant;
    bm_dtype types[BM_MAX_BUFFERS];
    uint32_t tunables[BM_MAX_TUNABLES];
    VkPipeline handle;
} vk_pipeline;

typedef struct vk_command {
    VkCommandBuffer handle;
    uint64_t value; // timeline value of its last submission
} vk_command;

typedef struct vk_state {
    vk_instance instance;
    VkPhysicalDevice physical;
    VkPhysicalDeviceMemoryProperties memory;
    vk_features features;
    VkDevice device;
    vk_device_api api;
    VkQueue queue;
    uint32_t queue_family;
    uint32_t timestamp_bits;
    VkCommandPool pool;
    VkSemaphore timeline;
    uint64_t submitted; // last value given to a submission
    vk_command commands[VK_NUM_BATCHES];
    uint32_t current; // command in recording, when recording
    bool recording;
    vk_staging upload[2], download, status_readback;
    uint32_t upload_half;
    vk_pending *pending;
    uint32_t num_pending, max_pending;
    vk_buffer status_word;
    vk_block *blocks;     // the latest first
    uint64_t large_bytes; // of large ones
    VkPipelineLayout layout;
    VkPipelineCache cache;
    bool cache_loaded; // the driver took what the file on disk held
    bool cache_changed;
    vk_pipeline *pipelines[BM_NUM_KERNELS];
    VkQueryPool queries;               // VK_NULL_HANDLE: the queue has no timestamps, the host's clock serves
    uint64_t times[BM_ALL_TIMESTAMPS]; // of the host's clock
    bool is_timed[BM_ALL_TIMESTAMPS];  // slots that were recorded
    bool has_first_ticks;
    uint64_t first_ticks; // the first that were read: times count from there
} vk_state;

static inline vk_state *vk_state_of(const bm_device *device)
{
    return device->state;
}

// Fails with BM_E_DEVICE and a message for result; marks the device lost where result says so.
bm_status vk_fail(bm_device *device, VkResult result, bm_error *err, const char *what);

const char *vk_result_text(VkResult result); // "out of device memory", "the device was lost", ...

// loader.c
bool vk_load(bm_error *err); // finds the loader once for the process
bm_status vk_instance_create(vk_instance *out, const bm_log *log, bm_error *err);
void vk_instance_destroy(vk_instance *instance);
void vk_device_api_load(const vk_instance *instance, VkDevice device, vk_device_api *out);
uint64_t vk_validation_messages(void); // counted over the life of the process, for tests
void vk_name_object(const bm_device *device, VkObjectType type, uint64_t handle, const char *name);

// limits.c
void vk_device_describe(const vk_instance *instance, VkPhysicalDevice physical, uint32_t index, bm_device_info *out);
void vk_features_read(const vk_instance *instance, VkPhysicalDevice physical, vk_features *out);
bool vk_find_queue_family(const vk_instance *instance, VkPhysicalDevice physical, uint32_t *family,
                          uint32_t *timestamp_bits);

// buffer.c
bm_status vk_buffer_create(bm_device *device, bm_buffer *buffer, bm_error *err);
void vk_buffer_destroy(bm_device *device, bm_buffer *buffer);
bm_status vk_raw_buffer_create(bm_device *device, uint64_t size, const char *name, vk_buffer *out, bm_error *err);
void vk_raw_buffer_destroy(bm_device *device, vk_buffer *buffer);
bm_status vk_staging_create(bm_device *device, uint64_t size, bool for_reading, vk_staging *out, bm_error *err);
void vk_staging_destroy(bm_device *device, vk_staging *staging);

// memory.c
bm_status vk_memory_allocate(bm_device *device, uint64_t size, uint32_t type_bits, VkMemoryPropertyFlags wanted,
                             VkMemoryPropertyFlags preferred, const char *name, VkDeviceMemory *out, bm_error *err);
bm_status vk_memory_take(bm_device *device, const VkMemoryRequirements *need, const char *name, vk_range **out,
                         bm_error *err);
void vk_memory_give(bm_device *device, vk_range *range); // no work uses it any more
void vk_memory_close(bm_device *device);

// transfer.c
bm_status vk_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                         uint64_t row_bytes, uint64_t num_rows, bm_error *err);
bm_status vk_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                           uint64_t row_bytes, uint64_t num_rows, bm_error *err);
bm_status vk_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err);
bm_status vk_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err);
void vk_deliver_downloads(vk_state *state); // after a wait
void vk_discard_downloads(vk_state *state); // after a failure: their destinations may be gone by the next wait

// compile.c
bm_status vk_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err);

// dispatch.c
bm_status vk_dispatch(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err);
bm_status vk_record(bm_device *device, VkCommandBuffer *out, bm_error *err); // the command buffer in recording
void vk_record_barrier(vk_state *state, VkCommandBuffer command);
bm_status vk_barrier(bm_device *device, bm_error *err);
bm_status vk_submit(bm_device *device, bm_error *err);
bm_status vk_wait_value(bm_device *device, uint64_t value, bm_error *err);
bm_status vk_wait(bm_device *device, uint32_t status_word[4], bm_error *err);
void vk_idle(bm_device *device);
bm_status vk_timestamp_record(bm_device *device, uint32_t slot, bm_error *err);
bm_status vk_timestamp_read(bm_device *device, uint32_t slot, double *ns, bm_error *err);

// pipeline.c
bool vk_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant);
// Where the first execution mode of a module's entry point stands, in words; false: it has none.
bool vk_find_entry_mode(const vk_module *module, size_t *at);
bm_status vk_pipeline_find(bm_device *device, const bm_call *call, VkPipeline *out, bm_error *err);
bm_status vk_pipelines_open(bm_device *device, bm_error *err);
void vk_pipelines_close(bm_device *device);

#endif
