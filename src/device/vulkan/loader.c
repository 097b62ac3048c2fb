// The Vulkan loader, found at run time through volk; instances and their messengers.
#define VOLK_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // volk casts between data and function pointers
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#endif
#include "device/vulkan/vulkan.h"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <stdatomic.h>
#include <string.h>

// volk keeps the loader's functions in globals of the process; these two are ours: whether it was found, and a count.
static atomic_int load_state; // 0: not tried, 1: found, 2: absent
static atomic_uint_fast64_t validation_messages;

bool vk_load(bm_error *err)
{
    if (atomic_load(&load_state) == 0)
        atomic_store(&load_state, volkInitialize() == VK_SUCCESS ? 1 : 2);
    if (atomic_load(&load_state) == 1)
        return true;
    bm_fail(err, BM_E_DEVICE, "no Vulkan loader (libvulkan.so.1, vulkan-1.dll) on this machine");
    return false;
}

uint64_t vk_validation_messages(void) { return atomic_load(&validation_messages); }

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity;
    if (types & VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT) {
        atomic_fetch_add(&validation_messages, 1);
        bm_log_write(user, BM_LOG_ERROR, "Vulkan validation: %s", data->pMessage ? data->pMessage : "no words");
    }
    return VK_FALSE;
}

static bool has_instance_extension(const char *name)
{
    uint32_t count = 0;
    bool found = false;
    if (vkEnumerateInstanceExtensionProperties(NULL, &count, NULL) != VK_SUCCESS || count == 0)
        return false;
    VkExtensionProperties *extensions = bm_alloc_zero(count, sizeof *extensions);
    if (extensions && vkEnumerateInstanceExtensionProperties(NULL, &count, extensions) >= 0)
        for (uint32_t i = 0; i < count; i++)
            found = found || strcmp(extensions[i].extensionName, name) == 0;
    bm_free(extensions);
    return found;
}

bm_status vk_instance_create(vk_instance *out, const bm_log *log, bm_error *err)
{
    static const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    vk_instance instance = {.log = log};
    if (!vk_load(err))
        return BM_E_DEVICE;
    instance.has_debug_utils = log && has_instance_extension(extensions[0]);
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = (void *)(uintptr_t)log,
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "bitmill", .apiVersion = VK_API_VERSION_1_2};
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = instance.has_debug_utils ? &messenger : NULL, // so that creation and destruction are heard too
        .pApplicationInfo = &application,
        .enabledExtensionCount = instance.has_debug_utils ? 1 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult result = vkCreateInstance(&info, NULL, &instance.handle);
    if (result != VK_SUCCESS)
        return bm_fail(err, BM_E_DEVICE, "the Vulkan loader finds no driver (vkCreateInstance: %d)", (int)result);
    volkLoadInstanceOnly(instance.handle);
    if (instance.has_debug_utils && vkCreateDebugUtilsMessengerEXT)
        (void)vkCreateDebugUtilsMessengerEXT(instance.handle, &messenger, NULL, &instance.messenger);
    *out = instance;
    return BM_OK;
}

void vk_instance_destroy(vk_instance *instance)
{
    if (instance->messenger)
        vkDestroyDebugUtilsMessengerEXT(instance->handle, instance->messenger, NULL);
    if (instance->handle)
        vkDestroyInstance(instance->handle, NULL);
    *instance = (vk_instance){0};
}

void vk_name_object(const bm_device *device, VkObjectType type, uint64_t handle, const char *name)
{
    vk_state *state = vk_state_of(device);
    const VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                                .objectType = type,
                                                .objectHandle = handle,
                                                .pObjectName = name};
    if (state->instance.has_debug_utils && vkSetDebugUtilsObjectNameEXT)
        (void)vkSetDebugUtilsObjectNameEXT(state->device, &info);
}
