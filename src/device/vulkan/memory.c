// Device memory: what the driver gives, in blocks, and ranges of it, one for each buffer.
//
// A driver clears what it hands out and maps it anew, which for the matrices of a solver takes longer than what is done with
// them, so memory is asked for in large blocks and used again in pieces of any size. All buffers have the same usage, and so
// the same memory types: any block of a kind will do. Small buffers have blocks of their own, lest one that lives long holds
// a large block.
//
// Blocks without buffers are kept up to a bound, and given back before more is asked for than was ever in use. Pieces leave
// gaps; so where memory is short, large buffers get blocks of just their size.
#include "device/vulkan/vulkan.h"

#include "base/clock.h"

#define SMALL_BUFFER (UINT64_C(1) << 20) // below: in blocks of small ones
#define SMALL_BLOCK (UINT64_C(16) << 20)
#define LARGE_BLOCK (UINT64_C(1) << 30) // or a 64th of the device's memory
#define UNIT UINT64_C(4096)             // sizes of ranges are multiples
#define GUARD_BYTES 4096                // behind a buffer with separate allocations
#define MAX_FREE_SHARE 4                // of the device's memory, in blocks without buffers

// A memory type that bits allow and that has all wanted properties, if possible also the preferred ones.
static bool find_memory_type(const vk_state *state, uint32_t bits, VkMemoryPropertyFlags wanted,
                             VkMemoryPropertyFlags preferred, uint32_t *out)
{
    for (int pass = 0; pass < 2; pass++) {
        const VkMemoryPropertyFlags flags = pass == 0 ? wanted | preferred : wanted;
        for (uint32_t i = 0; i < state->memory.memoryTypeCount; i++)
            if ((bits >> i & 1u) && (state->memory.memoryTypes[i].propertyFlags & flags) == flags) {
                *out = i;
                return true;
            }
    }
    return false;
}

bm_status vk_memory_allocate(bm_device *device, uint64_t size, uint32_t type_bits, VkMemoryPropertyFlags wanted,
                             VkMemoryPropertyFlags preferred, const char *name, VkDeviceMemory *out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags, .allocationSize = size};
    if (!find_memory_type(state, type_bits, wanted, preferred, &info.memoryTypeIndex))
        return bm_fail(err, BM_E_DEVICE, "%s: the device has no fitting memory type", name);
    const VkResult result = state->api.vkAllocateMemory(state->device, &info, NULL, out);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        return bm_fail(err, BM_E_DEVICE, "%s: no device memory for %llu bytes (the device has %llu in all)", name,
                       (unsigned long long)size, (unsigned long long)device->info.limits.memory_bytes);
    if (result != VK_SUCCESS)
        return vk_fail(device, result, err, "vkAllocateMemory");
    device->live_handles++;
    return BM_OK;
}

static bool is_whole(const vk_range *range)
{
    return !range->before && !range->behind;
}

static void free_block(bm_device *device, vk_block *block)
{
    vk_state *state = vk_state_of(device);
    vk_block **link = &state->blocks;
    while (*link != block)
        link = &(*link)->next;
    *link = block->next;
    if (block->kind == VK_BLOCK_LARGE)
        state->large_bytes -= block->size;
    state->api.vkFreeMemory(state->device, block->memory, NULL);
    device->live_handles--;
    while (block->first) {
        vk_range *range = block->first;
        block->first = range->behind;
        bm_free(range);
    }
    bm_free(block);
}

// Gives back the large block without buffers that was asked for first; false: there is none.
static bool free_oldest(bm_device *device)
{
    vk_block *oldest = NULL;
    for (vk_block *block = vk_state_of(device)->blocks; block; block = block->next)
        if (block->kind == VK_BLOCK_LARGE && !block->first->taken && is_whole(block->first))
            oldest = block;
    if (oldest)
        free_block(device, oldest);
    return oldest != NULL;
}

static uint64_t large_block(const bm_device *device)
{
    const bm_device_limits *limits = &device->info.limits;
    const uint64_t bytes = bm_min_u64(LARGE_BLOCK, limits->memory_bytes / 64);
    return bm_min_u64(bytes, limits->max_allocation_bytes) / UNIT * UNIT;
}

// Whether there is room for the gaps between pieces of large blocks, of which one more may be asked for.
static bool has_plenty(const bm_device *device)
{
    return vk_state_of(device)->large_bytes + large_block(device) <= device->info.limits.memory_bytes / 4 * 3;
}

// The smallest free range of so many bytes; NULL: none. Where memory is short a block without buffers is not divided.
static vk_range *find_range(const bm_device *device, vk_block_kind kind, uint64_t size)
{
    const bool divides = kind == VK_BLOCK_SMALL || has_plenty(device);
    vk_range *best = NULL;
    for (const vk_block *block = vk_state_of(device)->blocks; block; block = block->next)
        for (vk_range *range = block->kind == kind ? block->first : NULL; range; range = range->behind)
            if (!range->taken && range->size >= size && (!best || range->size < best->size) &&
                (divides || !is_whole(range) || range->size == size))
                best = range;
    return best;
}

static bm_status add_block(bm_device *device, vk_block_kind kind, uint64_t size, uint32_t type_bits, const char *name,
                           vk_range **out, bm_error *err)
{
    vk_state *state = vk_state_of(device);
    vk_block *block = bm_alloc_zero(1, sizeof *block);
    vk_range *range = bm_alloc_zero(1, sizeof *range);
    const uint64_t begin_ns = bm_clock_ns();
    bm_status status = BM_OK;
    BM_FAIL_IF(!block || !range, err, BM_E_MEMORY, "out of memory");
    BM_TRY(
        vk_memory_allocate(device, size, type_bits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0, name, &block->memory, err));
    *range = (vk_range){.block = block, .size = size};
    block->kind = kind;
    block->size = size;
    block->first = range;
    block->next = state->blocks;
    state->blocks = block;
    state->large_bytes += kind == VK_BLOCK_LARGE ? size : 0;
    if (kind == VK_BLOCK_LARGE)
        bm_log_write(device->log, BM_LOG_DEBUG, "%s: %.1f MB of device memory more, %.1f MB in large blocks, %.2f ms",
                     name, (double)size / 1e6, (double)state->large_bytes / 1e6,
                     (double)(bm_clock_ns() - begin_ns) * 1e-6);
    *out = range;
    block = NULL;
    range = NULL;
done:
    bm_free(block);
    bm_free(range);
    return status;
}

// A new block for a large buffer: behind it no more is taken than was ever in use, or than now is, and gaps, if blocks without
// buffers can help it. When there is no memory, all of those are given back.
static bm_status add_large(bm_device *device, uint64_t size, uint32_t type_bits, const char *name, vk_range **out,
                           bm_error *err)
{
    const uint64_t gaps = has_plenty(device) ? large_block(device) : 0, max = device->info.limits.max_allocation_bytes;
    // Of pieces that would leave more than a quarter of it free, as many as lie in it whole, and one more.
    const uint64_t whole = size > gaps / 4 && size < gaps ? bm_divide_up(gaps, size) * size : gaps;
    const uint64_t bytes = bm_max_u64(size, whole <= max ? whole : whole - size);
    const uint64_t most = bm_max_u64(device->peak_bytes, device->live_bytes + size) + (gaps > 0 ? bytes : 0);
    while (vk_state_of(device)->large_bytes + bytes > most && free_oldest(device)) {
    }
    bm_error ignored;
    if (add_block(device, VK_BLOCK_LARGE, bytes, type_bits, name, out, &ignored) == BM_OK)
        return BM_OK;
    while (!device->lost && free_oldest(device)) {
    }
    return add_block(device, VK_BLOCK_LARGE, size, type_bits, name, out, err);
}

// Takes the first so many bytes of a free range.
static bm_status take(vk_range *range, uint64_t size, bm_error *err)
{
    if (range->size > size) {
        vk_range *rest = bm_alloc_zero(1, sizeof *rest);
        if (!rest)
            return bm_fail(err, BM_E_MEMORY, "out of memory");
        *rest = (vk_range){.block = range->block,
                           .before = range,
                           .behind = range->behind,
                           .offset = range->offset + size,
                           .size = range->size - size};
        if (rest->behind)
            rest->behind->before = rest;
        range->behind = rest;
        range->size = size;
    }
    range->taken = true;
    return BM_OK;
}

bm_status vk_memory_take(bm_device *device, const VkMemoryRequirements *need, const char *name, vk_range **out,
                         bm_error *err)
{
    const uint64_t size = bm_round_up(need->size, UNIT);
    const vk_block_kind kind = device->separate_allocations || need->alignment > UNIT ? VK_BLOCK_OWN
                               : need->size < SMALL_BUFFER                            ? VK_BLOCK_SMALL
                                                                                      : VK_BLOCK_LARGE;
    bm_status status = BM_OK;
    vk_range *range = kind == VK_BLOCK_OWN ? NULL : find_range(device, kind, size);
    if (!range && kind == VK_BLOCK_OWN) // a gap follows, so that an address behind the buffer belongs to nobody
        BM_TRY(add_block(device, kind, need->size + GUARD_BYTES, need->memoryTypeBits, name, &range, err));
    if (!range && kind == VK_BLOCK_SMALL)
        BM_TRY(add_block(device, kind, SMALL_BLOCK, need->memoryTypeBits, "a block of small buffers", &range, err));
    if (!range)
        BM_TRY(add_large(device, size, need->memoryTypeBits, name, &range, err));
    BM_TRY(take(range, kind == VK_BLOCK_OWN ? range->size : size, err));
    *out = range;
done:
    return status;
}

// The range behind becomes part of range.
static void merge(vk_range *range, vk_range *behind)
{
    range->size += behind->size;
    range->behind = behind->behind;
    if (behind->behind)
        behind->behind->before = range;
    bm_free(behind);
}

// Bytes of blocks of a kind without buffers.
static uint64_t free_bytes(const bm_device *device, vk_block_kind kind)
{
    uint64_t bytes = 0;
    for (const vk_block *block = vk_state_of(device)->blocks; block; block = block->next)
        if (block->kind == kind && !block->first->taken && is_whole(block->first))
            bytes += block->size;
    return bytes;
}

void vk_memory_give(bm_device *device, vk_range *range)
{
    vk_block *block = range->block;
    range->taken = false;
    if (range->behind && !range->behind->taken)
        merge(range, range->behind);
    if (range->before && !range->before->taken) {
        range = range->before;
        merge(range, range->behind);
    }
    if (!is_whole(range))
        return;
    // One block of small buffers is kept: the next one will want it.
    if (block->kind == VK_BLOCK_OWN || (block->kind == VK_BLOCK_SMALL && free_bytes(device, block->kind) > SMALL_BLOCK))
        free_block(device, block);
    const uint64_t most = device->info.limits.memory_bytes / MAX_FREE_SHARE;
    while (free_bytes(device, VK_BLOCK_LARGE) > most && free_oldest(device)) {
    }
}

void vk_memory_close(bm_device *device)
{
    while (vk_state_of(device)->blocks)
        free_block(device, vk_state_of(device)->blocks);
}
