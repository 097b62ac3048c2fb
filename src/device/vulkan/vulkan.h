// The Vulkan backend's own types. Any Vulkan 1.2+ device with buffer device addresses; the loader is found at run time.
#ifndef BM_VULKAN_VULKAN_H
#define BM_VULKAN_VULKAN_H

#include "device/backend.h"
#include <volk.h>

// The SPIR-V of one kernel or variant, embedded by tools/generate_kernels.py; words NULL: none for Vulkan.
typedef struct vk_module {
    const uint32_t *words;
    size_t size_bytes;
} vk_module;
extern const vk_module vk_modules[];       // all kernels' variants in the order of kernels.def
extern const uint32_t vk_first_module[];   // by kernel: index of its variant 0

#endif
