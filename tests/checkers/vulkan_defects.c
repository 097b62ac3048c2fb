// Planted defects for the Vulkan validation layer.
//   vulkan_defects bounds FILE.spv    a write through a buffer address, behind the buffer (GPU-assisted validation)
//   vulkan_defects barrier FILE.spv   two dispatches, the second reads the first's result (synchronization validation)
//   vulkan_defects sound-bounds | sound-barrier FILE.spv   the same without the defect
// Exit status 0: nothing was said; 1: the layer complained; 2: it could not run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        const VkResult must_result = (call);                                                                           \
        if (must_result != VK_SUCCESS) {                                                                               \
            fprintf(stderr, "%s: %d\n", #call, must_result);                                                           \
            exit(2);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { WORDS = 64 };
static unsigned complaints;

static VKAPI_ATTR VkBool32 VKAPI_CALL hear(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                           VkDebugUtilsMessageTypeFlagsEXT types,
                                           const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity;
    (void)user;
    if (types & VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT) {
        complaints++;
        printf("%s\n", data->pMessage);
    }
    return VK_FALSE;
}

typedef struct block {
    VkBuffer buffer;
    VkDeviceMemory memory;
} block;

static block block_create(VkDevice device)
{
    block b;
    VkMemoryRequirements needs;
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = WORDS * 4,
                                     .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                              VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT};
    MUST(vkCreateBuffer(device, &info, NULL, &b.buffer));
    vkGetBufferMemoryRequirements(device, b.buffer, &needs);
    uint32_t type = 0;
    while (type < 31 && !(needs.memoryTypeBits >> type & 1))
        type++;
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    // Room behind the buffer, so that the planted write harms nobody.
    const VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .pNext = &flags,
                                           .allocationSize = needs.size + 65536,
                                           .memoryTypeIndex = type};
    MUST(vkAllocateMemory(device, &allocate, NULL, &b.memory));
    MUST(vkBindBufferMemory(device, b.buffer, b.memory, 0));
    return b;
}

static void block_free(VkDevice device, block b)
{
    vkDestroyBuffer(device, b.buffer, NULL);
    vkFreeMemory(device, b.memory, NULL);
}

static VkShaderModule load(VkDevice device, const char *path)
{
    static uint32_t code[65536];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: not there\n", path);
        exit(2);
    }
    VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .pCode = code};
    info.codeSize = fread(code, 1, sizeof code, file);
    fclose(file);
    VkShaderModule module;
    MUST(vkCreateShaderModule(device, &info, NULL, &module));
    return module;
}

static void barrier(VkCommandBuffer commands)
{
    const VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                 .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                                 .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1,
                         &all, 0, NULL, 0, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const int sound = strncmp(argv[1], "sound-", 6) == 0;
    const int by_address = strcmp(argv[1] + (sound ? 6 : 0), "bounds") == 0;

    const VkDebugUtilsMessengerCreateInfoEXT listen = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
                                                       .messageSeverity =
                                                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                                                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
                                                       .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
                                                       .pfnUserCallback = hear};
    const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .apiVersion = VK_API_VERSION_1_2};
    const VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                                .pNext = &listen,
                                                .pApplicationInfo = &application,
                                                .enabledExtensionCount = 1,
                                                .ppEnabledExtensionNames = extensions};
    VkInstance instance;
    MUST(vkCreateInstance(&instance_info, NULL, &instance));
    PFN_vkCreateDebugUtilsMessengerEXT create_messenger =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(instance, "vkCreateDebugUtilsMessengerEXT");
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger =
        (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(instance, "vkDestroyDebugUtilsMessengerEXT");
    VkDebugUtilsMessengerEXT messenger;
    MUST(create_messenger(instance, &listen, NULL, &messenger));

    uint32_t one = 1;
    VkPhysicalDevice physical;
    const VkResult found = vkEnumeratePhysicalDevices(instance, &one, &physical);
    if ((found != VK_SUCCESS && found != VK_INCOMPLETE) || one == 0)
        return 2;
    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    const VkPhysicalDeviceVulkan12Features features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                       .bufferDeviceAddress = VK_TRUE};
    const VkDeviceCreateInfo device_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                            .pNext = &features,
                                            .queueCreateInfoCount = 1,
                                            .pQueueCreateInfos = &queue_info};
    VkDevice device;
    VkQueue queue;
    MUST(vkCreateDevice(physical, &device_info, NULL, &device));
    vkGetDeviceQueue(device, 0, 0, &queue);

    // Three buffers and two sets: the first dispatch copies 0 to 1, the second 1 to 2.
    block blocks[3];
    for (int i = 0; i < 3; i++)
        blocks[i] = block_create(device);
    const VkDescriptorSetLayoutBinding bindings[2] = {
        {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
        {1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL}};
    const VkDescriptorSetLayoutCreateInfo layout_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 2, .pBindings = bindings};
    VkDescriptorSetLayout set_layout;
    MUST(vkCreateDescriptorSetLayout(device, &layout_info, NULL, &set_layout));
    const VkDescriptorPoolSize pool_size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
    const VkDescriptorPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                                  .maxSets = 2,
                                                  .poolSizeCount = 1,
                                                  .pPoolSizes = &pool_size};
    VkDescriptorPool pool;
    MUST(vkCreateDescriptorPool(device, &pool_info, NULL, &pool));
    const VkDescriptorSetLayout layouts[2] = {set_layout, set_layout};
    const VkDescriptorSetAllocateInfo set_info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                  .descriptorPool = pool,
                                                  .descriptorSetCount = 2,
                                                  .pSetLayouts = layouts};
    VkDescriptorSet sets[2];
    MUST(vkAllocateDescriptorSets(device, &set_info, sets));
    for (uint32_t i = 0; i < 4; i++) {
        const VkDescriptorBufferInfo buffer = {blocks[i / 2 + i % 2].buffer, 0, VK_WHOLE_SIZE};
        const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                            .dstSet = sets[i / 2],
                                            .dstBinding = i % 2,
                                            .descriptorCount = 1,
                                            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                            .pBufferInfo = &buffer};
        vkUpdateDescriptorSets(device, 1, &write, 0, NULL);
    }

    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 16};
    const VkPipelineLayoutCreateInfo pipeline_layout_info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                                             .setLayoutCount = by_address ? 0 : 1,
                                                             .pSetLayouts = &set_layout,
                                                             .pushConstantRangeCount = by_address ? 1 : 0,
                                                             .pPushConstantRanges = &range};
    VkPipelineLayout layout;
    MUST(vkCreatePipelineLayout(device, &pipeline_layout_info, NULL, &layout));
    const VkShaderModule module = load(device, argv[2]);
    const VkComputePipelineCreateInfo pipeline_info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main"},
        .layout = layout};
    VkPipeline pipeline;
    MUST(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &pipeline_info, NULL, &pipeline));

    const VkCommandPoolCreateInfo command_pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    VkCommandPool command_pool;
    MUST(vkCreateCommandPool(device, &command_pool_info, NULL, &command_pool));
    const VkCommandBufferAllocateInfo command_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = command_pool, .commandBufferCount = 1};
    VkCommandBuffer commands;
    MUST(vkAllocateCommandBuffers(device, &command_info, &commands));
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    MUST(vkBeginCommandBuffer(commands, &begin));
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    if (by_address) {
        const VkBufferDeviceAddressInfo which = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                                 .buffer = blocks[0].buffer};
        const struct {
            VkDeviceAddress data;
            uint32_t offset, unused;
        } push = {vkGetBufferDeviceAddress(device, &which), sound ? 0 : WORDS + 256, 0};
        vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
        vkCmdDispatch(commands, WORDS / 8, 1, 1);
    } else {
        for (int i = 0; i < 2; i++) {
            if (i == 1 && sound)
                barrier(commands);
            vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &sets[i], 0, NULL);
            vkCmdDispatch(commands, WORDS / 8, 1, 1);
        }
    }
    MUST(vkEndCommandBuffer(commands));
    const VkSubmitInfo submit = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    MUST(vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
    MUST(vkQueueWaitIdle(queue));

    vkDestroyCommandPool(device, command_pool, NULL);
    vkDestroyPipeline(device, pipeline, NULL);
    vkDestroyShaderModule(device, module, NULL);
    vkDestroyPipelineLayout(device, layout, NULL);
    vkDestroyDescriptorPool(device, pool, NULL);
    vkDestroyDescriptorSetLayout(device, set_layout, NULL);
    for (int i = 0; i < 3; i++)
        block_free(device, blocks[i]);
    vkDestroyDevice(device, NULL);
    destroy_messenger(instance, messenger, NULL);
    vkDestroyInstance(instance, NULL);
    return complaints ? 1 : 0;
}
