// What a backend implements. device.c has checked every argument before it calls one of these: offsets, sizes, limits,
// types. Files of the same name in host/, opencl/ and vulkan/ do the same job: backend.c (enumerate, open, close),
// buffer.c, transfer.c, dispatch.c, pipeline.c.
#ifndef BM_DEVICE_BACKEND_H
#define BM_DEVICE_BACKEND_H

#include "device/device.h"
#include "device/kernels.h"

typedef struct bm_profile bm_profile;

#define BM_ALL_TIMESTAMPS (2 * BM_MAX_TIMESTAMPS) // those of device.h, and behind them those of profile.c

typedef struct bm_backend {
    const char *name;  // "host", "opencl", "vulkan"
    bool keeps_memory; // of destroyed buffers for later ones, by itself
    // Appends this backend's devices to list (bm_device_list_append) and what is missing (bm_device_list_miss).
    bm_status (*enumerate)(const bm_device_params *params, bm_device_list *list, bm_error *err);
    // Opens device number index of enumerate's order; fills device->state, device->info.
    bm_status (*open)(bm_device *device, uint32_t index, bm_error *err);
    void (*close)(bm_device *device); // all work is done, all buffers are destroyed
    bm_status (*buffer_create)(bm_device *device, bm_buffer *buffer, bm_error *err); // fills buffer->state
    void (*buffer_destroy)(bm_device *device, bm_buffer *buffer);                    // no work uses it any more
    bm_status (*upload_rows)(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                             uint64_t row_bytes, uint64_t num_rows, bm_error *err);
    bm_status (*download_rows)(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                               uint64_t row_bytes, uint64_t num_rows, bm_error *err);
    bm_status (*copy)(bm_device *device, bm_view dst, bm_view src, bm_error *err);
    bm_status (*fill)(bm_device *device, bm_view dst, uint32_t word, bm_error *err);
    // Whether there is source of the variant; what it needs of the device is looked at by bm_kernel_has_variant.
    bool (*has_variant)(const bm_device *device, bm_kernel_id kernel, uint32_t variant);
    // Builds the pipeline of a call (its kernel, variant, types and tunables, of which none is 0 here). NULL: nothing to build.
    bm_status (*compile)(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err);
    // No tunable is 0 here. barrier: all that is recorded later waits for this dispatch. subject: a number that a
    // kernel puts into the status word, for the name to report.
    bm_status (*dispatch)(bm_device *device, const bm_call *call, uint32_t subject, bool barrier, bm_error *err);
    bm_status (*barrier)(bm_device *device, bm_error *err); // closes a parallel section
    bm_status (*submit)(bm_device *device, bm_error *err);
    // Waits for everything; copies the status word {code, subject, position low, position high} out and zeroes it.
    bm_status (*wait)(bm_device *device, uint32_t status_word[4], bm_error *err);
    // Called after a failed wait and before a lost device is closed. When it returns, nothing that was submitted runs
    // any more, and no earlier download writes to its destination.
    void (*idle)(bm_device *device);
    bm_status (*timestamp_record)(bm_device *device, uint32_t slot, bm_error *err);
    bm_status (*timestamp_read)(bm_device *device, uint32_t slot, double *ns, bm_error *err); // after a wait
    // Optional, both or none: a product by a tuned library, ordered like a dispatch with a barrier.
    bool (*has_product)(bm_device *device);
    bm_status (*product)(bm_device *device, const bm_product *product, bm_error *err);
} bm_backend;

extern const bm_backend bm_backend_host, bm_backend_opencl, bm_backend_vulkan;

struct bm_buffer {
    bm_device *device;
    void *state; // the backend's
    uint64_t size;
    bool is_host;          // memory of the host: bm_host_buffer_create
    void *host_bytes;      // of such a one, where the backend copies by address
    void *host_allocation; // what holds it
    char name[64];
    bm_buffer *next_pending; // in the list of buffers to release at the next wait, then in that of spare ones
};

// Codes of the status word; shaders/include/bitmill.glsl and cl/include/bitmill.h hold the same numbers.
enum { BM_REPORT_NOT_FINITE = 1, BM_REPORT_INDEX = 2, BM_REPORT_PIVOT = 3 };

#define BM_MAX_SUBJECTS 256 // names that the status word tells apart; the next one waits for recorded work first
#define BM_FIRST_SUBMIT                                                                                                \
    8 // dispatches recorded behind a wait before they are submitted by themselves: the device stands idle
#define BM_AUTO_SUBMIT 64     // the same once it has work: twice as many each time up to here
#define BM_BATCH_SECONDS 0.25 // estimated time at which a submission is sent off: systems end those that run too long

struct bm_device {
    const bm_backend *backend;
    void *state; // the backend's
    bm_device_info info;
    const bm_log *log;
    char *cache_folder;     // NULL: none
    bool keeps_kernels;     // cache_folder can be used
    char *variants;         // the text of bm_device_set_variants; NULL: none
    char *tuning;           // the words of the tuning file; NULL: none
    char *verdicts;         // "gemm:matrix:F16:many=right,rate=512,..."; NULL: none
    char *unwritten;        // names of those that were set since the file was written; NULL: none
    double measured_gflops; // the rate among them, which every cut asks for; 0: none
    bool separate_allocations;
    bool compile_only; // open took no memory: buffers are refused, so nothing is ever recorded
    bool lost;
    uint64_t compiled_kernels;
    bool keeps_to_cache; // a kernel that would have to be compiled is an error
    uint64_t live_handles;
    bm_buffer *scratch;         // bm_device_scratch; NULL until it is asked for
    bm_buffer *pending_release; // destroyed buffers that recorded work may still use: deferred release
    uint64_t pending_bytes;     // of those buffers
    uint64_t allowed_bytes;     // that live_bytes may be; 0: what the driver gives
    uint64_t memory_bytes;      // where limits.memory_bytes says what work is sized by; else 0
    const char *allowed_by;     // the option that says it
    uint64_t live_bytes;        // of all buffers, those pending release included
    uint64_t peak_bytes;        // the most that live_bytes was
    uint64_t host_bytes;        // of all buffers in memory of the host
    uint64_t peak_host_bytes;   // the most that this was
    uint64_t num_waits;         // for all work, by whatever call
    bool has_downloads;         // since the last wait
    uint32_t num_recorded;      // dispatches since the last submit
    uint32_t auto_submit;       // at which they are submitted
    double recorded_seconds;    // their estimated time
    char (*subjects)[96];       // names for the status word
    uint32_t num_subjects;
    bm_error report;      // what a kernel reported and a wait inside another call found; BM_OK: nothing
    bm_buffer *spares;    // large ones that no work uses any more, the latest first; where the backend keeps no memory
    uint64_t spare_bytes; // of those on the device
    uint64_t spare_host_bytes;
    bm_profile *profile; // times of kernels; NULL: not asked for
    bool in_parallel;    // inside a parallel section
    struct bm_parallel_use {
        bm_view view;
        bool written;
    } * uses; // of the section so far
    uint32_t num_uses, max_uses;
};

// Reads the tuning file of a device, if there is one; part of bm_device_open.
void bm_tuning_read(bm_device *device);
// SHA-256 in hex: which programs' verdicts a file holds, those of these kernels in this form of words.
void bm_verdicts_digest(char hex[65]);

// Finds out whether the cache folder keeps kernels, and warns where it cannot be made or its disk is full; part of bm_device_open.
void bm_cache_folder_check(bm_device *device);
// For backends, before they compile a kernel. Errors: BM_E_UNSUPPORTED while bm_device_keep_to_cache is on.
bm_status bm_device_may_compile(const bm_device *device, const char *kernel, bm_error *err);
// That its disk is full, for an error of a compiler; empty: it is not. Returns out.
#define BM_CACHE_WORDS_SIZE 512
const char *bm_cache_folder_words(const bm_device *device, char out[BM_CACHE_WORDS_SIZE]);

// Waits for everything and releases the buffers that are pending release. Any call may do this when it needs memory:
// downloads arrive, and what a kernel reported is kept for the next bm_device_wait, so that an early wait changes
// neither results nor errors.
bm_status bm_device_drain(bm_device *device, bm_error *err);
// Every call that may come after a download returns through this. When the call has failed, its caller gives up and
// frees the memory that pending downloads are written to; so pending downloads are waited for first. Returns status.
bm_status bm_device_finish_on_failure(bm_device *device, bm_status status);
bm_status bm_device_check_lost(const bm_device *device, bm_error *err); // BM_E_DEVICE when it was lost
// A view must lie in its buffer and start at a multiple of 16 bytes. what and name are for the message: "rmsnorm",
// "weight".
bm_status bm_device_check_view(const bm_device *device, bm_view view, const char *what, const char *name,
                               bm_error *err);
// A strided transfer of num_rows rows must lie in its view.
bm_status bm_device_check_rows(const bm_device *device, bm_view view, uint64_t stride, uint64_t row_bytes,
                               uint64_t num_rows, const char *what, bm_error *err);
bool bm_views_overlap(bm_view a, bm_view b);
void bm_buffers_release(bm_device *device); // those pending release; the caller has waited for all work
void bm_buffers_release_spares(bm_device *device);

bm_status bm_device_list_append(bm_device_list *list, const bm_device_info *info, bm_error *err);
#define BM_MISSING_OPENCL_DEVICE "OpenCL device" // of a driver that is here
bm_status bm_device_list_miss(bm_device_list *list, const char *component, const char *words, bm_error *err);

#endif
