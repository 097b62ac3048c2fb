// Memory of the Vulkan backend: how often the driver is asked for some, that no byte is given twice, and what is given back.
#include "device/fixture.h"
#include "device/vulkan/vulkan.h"

#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static uint32_t num_allocations;
static uint64_t largest_allocation = UINT64_MAX; // that the driver gives
static PFN_vkAllocateMemory driver_allocate;

static VkResult VKAPI_CALL counted_allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                                            const VkAllocationCallbacks *callbacks, VkDeviceMemory *out)
{
    num_allocations++;
    return info->allocationSize > largest_allocation ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                                                     : driver_allocate(device, info, callbacks, out);
}

// A device of so much memory, a 64th of which is a large block, and which counts its allocations.
static vk_state *open_counted(uint64_t memory_bytes)
{
    test_device = open_with(NULL, false);
    vk_state *state = vk_state_of(test_device);
    test_device->info.limits.memory_bytes = memory_bytes;
    driver_allocate = state->api.vkAllocateMemory;
    state->api.vkAllocateMemory = counted_allocate;
    num_allocations = 0;
    largest_allocation = UINT64_MAX;
    return state;
}

static bm_buffer *create(uint64_t size)
{
    bm_buffer *buffer = NULL;
    MUST(bm_buffer_create(test_device, size, "test", &buffer, &failure));
    return buffer;
}

// A solver's matrices of one linear after the other, and what stays: after the first blocks of a model no more is asked for.
static void blocks_of_a_model_ask_for_memory_once(void **state)
{
    (void)state;
    static const uint64_t linears[][2] = {{5, 8},  {3, 4}, {11, 8},
                                          {9, 13}, {1, 2}, {40, 3}}; // MiB of matrices, how many
    enum { MOST = 16, ROUNDS = 4 };
    const vk_state *vulkan = open_counted(1024 * MIB);
    bm_buffer *kept = create(20 * MIB + 5), *buffers[MOST] = {NULL};
    uint32_t first = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BM_COUNT(linears); i++) {
            for (uint64_t k = 0; k < linears[i][1]; k++)
                buffers[k] = create(linears[i][0] * MIB + 4096 * k);
            for (uint64_t k = 0; k < linears[i][1]; k++)
                bm_buffer_destroy(&buffers[k]);
            MUST(bm_device_wait(test_device, &failure));
        }
        if (round == 1) // in the second another order of what is free may ask once more
            first = num_allocations;
    }
    assert_in_range(first, 2, 24);
    assert_int_equal(num_allocations, first);
    assert_true(vulkan->large_bytes <= bm_device_peak_bytes(test_device) + 32 * MIB); // gaps
    bm_buffer_destroy(&kept);
    bm_device_close(&test_device);
}

// Where memory is short nothing is lost to gaps: what is asked for is what is in use, or was.
static void short_memory_goes_in_blocks_of_its_size(void **state)
{
    (void)state;
    const vk_state *vulkan = open_counted(64 * MIB); // three quarters are 48 MiB
    bm_buffer *a = create(47 * MIB + 1), *b = create(5 * MIB);
    assert_int_equal(vulkan->large_bytes, 52 * MIB + 4096);
    bm_buffer_destroy(&a);
    bm_buffer_destroy(&b);
    MUST(bm_device_wait(test_device, &failure)); // a quarter is kept
    assert_int_equal(vulkan->large_bytes, 5 * MIB);
    a = create(46 * MIB);
    b = create(4 * MIB);
    assert_int_equal(vulkan->large_bytes, 50 * MIB);
    bm_buffer_destroy(&b);
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(vulkan->large_bytes, 50 * MIB);
    num_allocations = 0;
    b = create(3 * MIB); // the block of 4 MiB is not divided
    assert_int_equal(num_allocations, 1);
    assert_int_equal(vulkan->large_bytes, 49 * MIB);
    bm_buffer *c = create(4 * MIB);
    assert_int_equal(vulkan->large_bytes, 53 * MIB);
    bm_buffer_destroy(&a);
    bm_buffer_destroy(&b);
    bm_buffer_destroy(&c);
    bm_device_close(&test_device);
}

// Pieces of more than half a block lie in blocks that hold two of them whole, not one and a gap.
static void large_pieces_leave_no_gaps(void **state)
{
    (void)state;
    const vk_state *vulkan = open_counted(1024 * MIB); // blocks of 16 MiB
    bm_buffer *pieces[8];
    for (size_t i = 0; i < BM_COUNT(pieces); i++)
        pieces[i] = create(9 * MIB);
    assert_int_equal(vulkan->large_bytes, 72 * MIB);
    for (size_t i = 0; i < BM_COUNT(pieces); i++)
        bm_buffer_destroy(&pieces[i]);
    bm_device_close(&test_device);
}

// A driver that has less than a block gives what is needed, or what else is kept goes back first.
static void what_the_driver_lacks_is_asked_for_in_less(void **state)
{
    (void)state;
    const vk_state *vulkan = open_counted(1024 * MIB); // blocks of 16 MiB
    largest_allocation = 8 * MIB;
    bm_buffer *a = create(6 * MIB), *b = NULL;
    assert_int_equal(num_allocations, 2);
    assert_int_equal(vulkan->large_bytes, 6 * MIB);
    bm_buffer_destroy(&a);
    MUST(bm_device_wait(test_device, &failure));
    assert_int_equal(vulkan->large_bytes, 6 * MIB); // kept
    assert_int_equal(bm_buffer_create(test_device, 9 * MIB, "much", &b, &failure), BM_E_DEVICE);
    assert_null(b);
    assert_non_null(strstr(failure.message, "much: no device memory for 9437184 bytes"));
    assert_int_equal(vulkan->large_bytes, 0);
    bm_device_close(&test_device);
}

// Small buffers of a long run, with one in sixteen that stays: the room of the others is used again.
static void blocks_reuse_the_space_of_released_buffers(void **state)
{
    (void)state;
    enum { ROUNDS = 40, KEPT = ROUNDS };
    test_device = open_with(NULL, false);
    bm_error e = {0};
    bm_buffer *kept[KEPT] = {NULL}, *passing[16] = {NULL};
    uint64_t most = 0;
    for (int round = 0; round < ROUNDS; round++) {
        assert_ok(bm_buffer_create(test_device, 5000, "kept", &kept[round], &e), &e);
        for (size_t i = 0; i < BM_COUNT(passing); i++)
            assert_ok(bm_buffer_create(test_device, 700000, "passing", &passing[i], &e), &e);
        most = bm_max_u64(most, bm_device_live_handles(test_device) - (uint64_t)round);
        for (size_t i = 0; i < BM_COUNT(passing); i++)
            bm_buffer_destroy(&passing[i]);
        assert_ok(bm_device_wait(test_device, &e), &e);
        if (round == 0) // 11 MB fit one block: no more is ever needed
            assert_true(most < 40);
    }
    assert_true(most < 40);
    for (int i = 0; i < KEPT; i++)
        bm_buffer_destroy(&kept[i]);
    bm_device_close(&test_device);
}

static void blocks_give_no_byte_twice(void **state)
{
    (void)state;
    enum { COUNT = 300, LARGEST = 2000003 }; // some have blocks of small buffers, some large ones
    (void)open_counted(512 * MIB);
    bm_error e = {0};
    static bm_buffer *buffers[COUNT];
    static uint32_t back[COUNT][4];
    uint64_t size = 1;
    for (int i = 0; i < COUNT; i++, size = size * 48271 % LARGEST) // sizes from 1 byte to 2 MB, 300 MB in all
        assert_ok(bm_buffer_create(test_device, size, "one of many", &buffers[i], &e), &e);
    for (int i = 0; i < COUNT; i += 3)
        bm_buffer_destroy(&buffers[i]);
    assert_ok(bm_device_wait(test_device, &e), &e);
    for (int i = 0; i < COUNT; i += 3, size = size * 48271 % LARGEST)
        assert_ok(bm_buffer_create(test_device, size + 1, "one of many", &buffers[i], &e), &e);
    for (int i = 0; i < COUNT; i++)
        assert_ok(bm_fill(test_device, bm_buffer_view(buffers[i]), 1000u + (uint32_t)i, &e), &e);
    for (int i = 0; i < COUNT; i++) { // the ends of a buffer would show a neighbour's number
        const bm_view whole = bm_buffer_view(buffers[i]);
        assert_ok(bm_download(test_device, bm_view_part(whole, 0, 8), back[i], 8, &e), &e);
        assert_ok(bm_download(test_device, bm_view_part(whole, whole.size - 16, 8), &back[i][2], 8, &e), &e);
    }
    assert_ok(bm_device_wait(test_device, &e), &e);
    for (int i = 0; i < COUNT; i++)
        for (int word = 0; word < 4; word++)
            assert_int_equal(back[i][word], 1000 + i);
    for (int i = 0; i < COUNT; i++)
        bm_buffer_destroy(&buffers[i]);
    bm_device_close(&test_device);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        PLAIN(blocks_of_a_model_ask_for_memory_once),
        PLAIN(short_memory_goes_in_blocks_of_its_size),
        PLAIN(large_pieces_leave_no_gaps),
        PLAIN(what_the_driver_lacks_is_asked_for_in_less),
        PLAIN(blocks_reuse_the_space_of_released_buffers),
        PLAIN(blocks_give_no_byte_twice),
    };
    if (!device_fixture_begin("vulkan")) {
        printf("skipped: no Vulkan device\n");
        return SUPPORT_SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
