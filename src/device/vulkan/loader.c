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

#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>

// Process-wide, as the loader is: whether it was found, and a count.
enum { NOT_TRIED, BUSY, FOUND, ABSENT };
static atomic_int load_state = NOT_TRIED;
static atomic_uint_fast64_t validation_messages;

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

// Drivers that are a layer over another interface (MoltenVK) show themselves only to who asks for them.
static bool wants_portability(void)
{
    return has_instance_extension(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);
}

// Keeps the drivers in memory for the life of the process: the loader drops them with the last instance, and NVIDIA's, being
// loaded anew, takes more of the static thread-local storage each time, until it fails after a dozen times ("cannot
// allocate memory in static TLS block"). The instance is bare, never used and never destroyed.
static void keep_drivers_loaded(void)
{
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "bitmill", .apiVersion = VK_API_VERSION_1_2};
    static const char *const extensions[] = {VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME};
    const bool portability = wants_portability();
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .flags = portability ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
                                       .pApplicationInfo = &application,
                                       .enabledExtensionCount = portability ? 1 : 0,
                                       .ppEnabledExtensionNames = extensions};
    static VkInstance anchor; // static, so that leak checkers see that it is held
    if (vkCreateInstance(&info, NULL, &anchor) != VK_SUCCESS)
        anchor = VK_NULL_HANDLE; // no driver: the words come when somebody wants one
}

bool vk_load(bm_error *err)
{
    int expected = NOT_TRIED;
    if (atomic_compare_exchange_strong(&load_state, &expected, BUSY)) {
        const bool found = volkInitialize() == VK_SUCCESS;
        if (found)
            keep_drivers_loaded();
        atomic_store(&load_state, found ? FOUND : ABSENT);
    }
    while (atomic_load(&load_state) == BUSY) // another thread is at it
        bm_clock_sleep_ms(1);
    if (atomic_load(&load_state) == FOUND)
        return true;
    bm_fail(err, BM_E_DEVICE, "no Vulkan loader (libvulkan.so.1, vulkan-1.dll) on this machine");
    return false;
}

uint64_t vk_validation_messages(void)
{
    return atomic_load(&validation_messages);
}

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

#define LOAD(name) out->name = (PFN_##name)vkGetInstanceProcAddr(instance, #name);
static void load_instance_api(VkInstance instance, vk_instance_api *out)
{
    VK_INSTANCE_FUNCTIONS(LOAD)
}
#undef LOAD

#define LOAD(name) out->name = (PFN_##name)instance->api.vkGetDeviceProcAddr(device, #name);
void vk_device_api_load(const vk_instance *instance, VkDevice device, vk_device_api *out){VK_DEVICE_FUNCTIONS(LOAD)}
#undef LOAD

bm_status vk_instance_create(vk_instance *out, const bm_log *log, bm_error *err)
{
    const char *extensions[2];
    uint32_t num_extensions = 0;
    vk_instance instance = {0};
    if (!vk_load(err))
        return BM_E_DEVICE;
    instance.has_debug_utils = log && has_instance_extension(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    const bool portability = wants_portability();
    if (instance.has_debug_utils)
        extensions[num_extensions++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    if (portability)
        extensions[num_extensions++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = (void *)(uintptr_t)log, // NOLINT(performance-no-int-to-ptr): takes const off, which Vulkan has not
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "bitmill", .apiVersion = VK_API_VERSION_1_2};
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = instance.has_debug_utils ? &messenger : NULL, // so that creation and destruction are heard too
        .flags = portability ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
        .pApplicationInfo = &application,
        .enabledExtensionCount = num_extensions,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult result = vkCreateInstance(&info, NULL, &instance.handle);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return bm_fail(err, BM_E_DEVICE,
                       "the loader finds no driver: install that of your GPU's maker, or mesa-vulkan-drivers (Debian, "
                       "Ubuntu; it brings lavapipe for the CPU)");
    if (result != VK_SUCCESS)
        return bm_fail(err, BM_E_DEVICE, "vkCreateInstance: %s (%d)", vk_result_text(result), (int)result);
    load_instance_api(instance.handle, &instance.api);
    if (instance.has_debug_utils)
        (void)instance.api.vkCreateDebugUtilsMessengerEXT(instance.handle, &messenger, NULL, &instance.messenger);
    *out = instance;
    return BM_OK;
}

void vk_instance_destroy(vk_instance *instance)
{
    if (instance->messenger)
        instance->api.vkDestroyDebugUtilsMessengerEXT(instance->handle, instance->messenger, NULL);
    if (instance->handle)
        instance->api.vkDestroyInstance(instance->handle, NULL);
    *instance = (vk_instance){0};
}

void vk_name_object(const bm_device *device, VkObjectType type, uint64_t handle, const char *name)
{
    vk_state *state = vk_state_of(device);
    const VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                                .objectType = type,
                                                .objectHandle = handle,
                                                .pObjectName = name};
    if (state->instance.has_debug_utils)
        (void)state->instance.api.vkSetDebugUtilsObjectNameEXT(state->device, &info);
}
