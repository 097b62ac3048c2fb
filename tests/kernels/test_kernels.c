// test_kernels SPEC [KERNEL]: checks every kernel (or one) on the device that SPEC names. Exit status 77: no such
// device.
#include "kernels/table.h"
#include "support/support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

typedef struct program {
    bm_device *device, *host;
    support_log log;
} program;
static program this_program; // cmocka hands each test its own state only

static void check_operation(void **state)
{
    const kernel_operation *operation = *state;
    const uint32_t complaints = this_program.log.num_complaints;
    const bool good = kernel_operation_check(operation, this_program.device, this_program.host);
    if (operation->extra)
        operation->extra(this_program.device);
    assert_true(good);
    assert_int_equal(this_program.log.num_complaints, complaints); // validation messages fail the test
}

// A table whose matrices need no subgroups is that of test_kernels_by_hand: its modules run anywhere. There variants for NVIDIA's
// units do too.
static void add_matrices_by_hand(bm_device_limits *limits)
{
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++)
        for (uint32_t i = 0; i < bm_kernel_table[k].num_variants; i++) {
            const bm_kernel_variant *variant = &bm_kernel_table[k].variants[i];
            if (variant->matrix.m > 0 && variant->subgroup_size == 0 &&
                limits->num_matrix_shapes < BM_MAX_MATRIX_SHAPES) {
                limits->matrix_shapes[limits->num_matrix_shapes++] = variant->matrix;
                limits->nvidia_mma = true;
            }
        }
}

// Every row of kernels.def has a description.
static void every_kernel_is_described(void **state)
{
    (void)state;
    bool complete = true;
    for (uint32_t k = 0; k < BM_NUM_KERNELS; k++) {
        uint32_t found = 0;
        for (uint32_t i = 0; i < num_kernel_operations; i++)
            found += (uint32_t)kernel_operations[i]->kernel == k;
        if (found == 0)
            printf("  no description of kernel %s\n", bm_kernel_table[k].name);
        complete &= found != 0;
    }
    assert_true(complete);
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    support_log host_log;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: test_kernels SPEC [KERNEL]\n");
        return 2;
    }
    support_log_init(&host_log);
    support_log_init(&this_program.log);
    if (support_device_open("host", &host_log, &this_program.host, &err) != BM_OK ||
        support_device_open(argv[1], &this_program.log, &this_program.device, &err) != BM_OK) {
        fprintf(stderr, "%s\n", err.message);
        bm_device_close(&this_program.host);
        return 1;
    }
    if (!this_program.device) {
        bm_device_close(&this_program.host);
        return SUPPORT_SKIP;
    }
    add_matrices_by_hand(&this_program.device->info.limits);
    printf("device: %s (%s)\n", bm_device_get_info(this_program.device)->name,
           bm_device_get_info(this_program.device)->driver);
    struct CMUnitTest *tests = bm_alloc_zero((uint64_t)num_kernel_operations + 1, sizeof *tests);
    size_t count = 0;
    if (tests && argc == 2)
        tests[count++] = (struct CMUnitTest){"every_kernel_is_described", every_kernel_is_described, NULL, NULL, NULL};
    for (uint32_t i = 0; tests && i < num_kernel_operations; i++) {
        const char *name = bm_kernel_table[kernel_operations[i]->kernel].name;
        union {
            const kernel_operation *from;
            void *to;
        } state = {kernel_operations[i]}; // cmocka's state is not const
        if (argc == 2 || strcmp(argv[2], name) == 0)
            tests[count++] = (struct CMUnitTest){name, check_operation, NULL, NULL, state.to};
    }
    int result = count == 0;
    if (count == 0)
        fprintf(stderr, "no kernel is named %s\n", argv[2]);
    else
        result = _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
    bm_free(tests);
    const uint32_t complaints = this_program.log.num_complaints;
    bm_device_close(&this_program.device);
    bm_device_close(&this_program.host);
    if (this_program.log.num_complaints != complaints)
        fprintf(stderr, "closing the device made complaints\n");
    return result != 0 || this_program.log.num_complaints != 0;
}
