// support: what test programs share. A log that remembers complaints (validation layers speak through it), opening the
// device that a test program was given, and the folder of test data.
#ifndef BM_TESTS_SUPPORT_H
#define BM_TESTS_SUPPORT_H

#include "device/device.h"

#define SUPPORT_SKIP 77 // exit status of a test program whose hardware or data is absent

// A log for tests: errors, and warnings that speak of validation, are printed and counted.
typedef struct support_log {
    bm_log log; // pass &log.log to bitmill
    uint32_t num_complaints;
} support_log;
void support_log_init(support_log *log);

// Opens the device that spec names, each buffer in an allocation of its own with guard gaps. Returns BM_OK with *out ==
// NULL when no such device is here (a skip; the words are printed); any other failure is one.
bm_status support_device_open(const char *spec, support_log *log, bm_device **out, bm_error *err);

// True under GPU-assisted validation (VK_LAYER_ENABLES). It checks each access in a loop, and lavapipe silently ends
// all loops of a work-item after 65535 rounds together, so that long loops give false complaints and wrong results:
// skip them.
bool support_is_instrumented(void);
// True in a build for AddressSanitizer, whose allocator keeps what is freed: the peak of such a process is not the program's.
bool support_keeps_freed_memory(void);
// Under instruments every access of memory walks a list of all buffers, and lavapipe ends the loops of a work-item after 65535
// rounds together: for tests of whole models the product whose work-items read least.
void support_shorten_loops(bm_device *device);
// True when an interpreter runs the kernels (Oclgrind), or sanitizers look at the program while a device runs them: only the first,
// small cases are worth their time. Set by the environment variable BITMILL_SMALL_CASES.
bool support_is_interpreted(void);

// The path of an item in the folder that the environment variable BITMILL_DATA names; NULL when the variable is not set
// or the item is absent. bm_free it.
char *support_data_path(const char *name);

#endif
