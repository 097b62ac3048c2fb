// device: one compute interface over three backends (host, OpenCL, Vulkan): buffers, transfers, dispatches, waits.
// It knows no model and no file format.
//
// Order. Everything that is recorded runs in the order of the calls, as if each call had ended before the next began;
// a full barrier follows every dispatch. Between bm_batch_parallel_begin and _end it is left out, and device.c checks
// that no dispatch touches what another one writes. Nothing runs before a submit. bm_device_wait submits, and so does
// recording, after BM_FIRST_SUBMIT to BM_AUTO_SUBMIT dispatches or BM_BATCH_SECONDS of estimated work. When bm_device_wait returns,
// downloads have arrived, and what a kernel reported in the status word of the batch is an error. Other calls may wait
// too (for memory, for staging, for names), but only bm_device_wait returns what kernels reported.
//
// Alignment. View offsets and matrix row strides are multiples of 16 bytes, so a kernel may always load 16 bytes; every
// buffer is allocated a multiple of 16 bytes long. Rows are padded on the device; what the padding holds is undefined.
#ifndef BM_DEVICE_DEVICE_H
#define BM_DEVICE_DEVICE_H

#include <bitmill/device.h>
#include "base/file.h"
#include "base/str.h"
#include "device/kernels_generated.h" // from kernels.def: bm_kernel_id, bm_NAME_scalars, BM_MAX_*

#define BM_VIEW_ALIGNMENT 16

// Whether a text has the form of a device's spec. Whether there is such a device is not looked at.
bool bm_device_spec_is_valid(const char *spec);
#define BM_DEVICE_SPEC_WORDS                                                                                           \
    "auto, gpu, host (also cpu), vulkan, opencl, one of gpu:, vulkan: and opencl: with a NUMBER, or vulkan: or "       \
    "opencl: with part of a device's name (opencl:nvidia)"

// Memory on a device. A buffer may be destroyed while recorded work uses it: its memory is released when that work is
// done (deferred release). At most 64 MiB, less on small devices, are pending release: above that bm_buffer_create
// waits. Large buffers are then kept for others of the same size, as long as no more memory is in use than there was before.
typedef struct bm_buffer bm_buffer;

// A part of a buffer, in bytes. {NULL, 0, 0} is no view.
typedef struct bm_view {
    bm_buffer *buffer;
    uint64_t offset; // a multiple of BM_VIEW_ALIGNMENT
    uint64_t size;
} bm_view;

// Creates a buffer of size_bytes (> 0) with undefined contents. name is for debuggers and messages; it is copied.
// Errors: BM_E_ARGUMENT above limits.max_allocation_bytes, BM_E_DEVICE when memory is used up (the message gives
// sizes).
bm_status bm_buffer_create(bm_device *device, uint64_t size_bytes, const char *name, bm_buffer **out, bm_error *err);
void bm_buffer_destroy(bm_buffer **buffer);
bm_view bm_buffer_view(bm_buffer *buffer); // the whole
// Memory of the host that the device itself copies to and from, at the rate of the bus and without a wait: locked in place where the
// driver does so. For bm_copy alone, whose other side is on the device. It counts neither among bm_device_live_bytes nor among what
// the caller allows. Errors: BM_E_ARGUMENT; BM_E_MEMORY when the system or the driver gives no more.
bm_status bm_host_buffer_create(bm_device *device, uint64_t size_bytes, const char *name, bm_buffer **out,
                                bm_error *err);
bm_view bm_view_part(bm_view view, uint64_t offset, uint64_t size);

// At least size_bytes of working memory for intermediate results of one operation. A device has one such memory, which
// grows as needed; its contents are undefined after the next call. Operations that use it may be recorded one after the
// other without a wait, since they run in that order.
bm_status bm_device_scratch(bm_device *device, uint64_t size_bytes, bm_view *out, bm_error *err);

// Transfers, asynchronous. Strides are in bytes; source rows may lie at any host address and stride.
// Upload: src may be reused when the call returns. Download: dst is written by the next bm_device_wait at the latest
// and must live until then, or until a call that records, submits or creates a buffer fails: then no download is
// pending.
bm_status bm_upload(bm_device *device, bm_view dst, const void *src, uint64_t size, bm_error *err);
bm_status bm_upload_rows(bm_device *device, bm_view dst, uint64_t dst_stride, const void *src, uint64_t src_stride,
                         uint64_t row_bytes, uint64_t num_rows, bm_error *err);
bm_status bm_download(bm_device *device, bm_view src, void *dst, uint64_t size, bm_error *err);
bm_status bm_download_rows(bm_device *device, bm_view src, uint64_t src_stride, void *dst, uint64_t dst_stride,
                           uint64_t row_bytes, uint64_t num_rows, bm_error *err);
// Equal sizes; may not overlap; at most one of them in memory of the host.
bm_status bm_copy(bm_device *device, bm_view dst, bm_view src, bm_error *err);
bm_status bm_fill(bm_device *device, bm_view dst, uint32_t word, bm_error *err); // dst.size is a multiple of 4

// One dispatch. buffers and scalars are those of the kernel's row in kernels.def, in its order.
typedef struct bm_call {
    bm_kernel_id kernel;
    uint32_t variant;                   // index into the row's variants; 0: the generic kernel
    bm_view buffers[BM_MAX_BUFFERS];    // no view: only for optional buffers
    bm_dtype types[BM_MAX_BUFFERS];     // storage type of each buffer whose element is `real`; else ignored
    const void *scalars;                // bm_NAME_scalars; copied
    uint32_t tunables[BM_MAX_TUNABLES]; // in the row's order; 0: the row's default
    uint32_t groups[3];                 // work-groups, each at least 1 and within limits.max_groups
    const char *subject;                // tensor or layer that an error should name; NULL: the kernel's name. Copied.
    double seconds;                     // high estimate of its time, by which submissions are kept short; 0: short
} bm_call;

// Checks and records a dispatch. Errors: BM_E_ARGUMENT (a defect of the caller: the message names kernel and argument),
// BM_E_DEVICE (the kernel does not build: the driver's message).
bm_status bm_dispatch(bm_device *device, const bm_call *call, bm_error *err);

// What a driver tells about a pipeline that it compiled.
#define BM_COMPILE_UNKNOWN UINT64_MAX // the driver does not tell
#define BM_COMPILE_MAX_STATISTICS 40
typedef struct bm_compile_report {
    uint64_t registers;     // of a work-item, as the driver counts them (AMD: vector registers)
    uint64_t spills;        // what did not fit the registers and went to memory; more than 0 is slow
    uint64_t shared_bytes;  // local memory of a work-group
    uint64_t subgroup_size; // work-items that run in step
    uint32_t num_statistics;
    struct bm_compile_statistic { // all that the driver tells, under its own names
        char name[64];
        double value;
    } statistics[BM_COMPILE_MAX_STATISTICS];
} bm_compile_report;

// Builds the pipeline of a call and says what became of it. Only kernel, variant, types and tunables of the call count.
// Meant for a device that was opened with compile_only: elsewhere Vulkan's statistics may be missing.
// Errors: BM_E_ARGUMENT as of bm_dispatch; BM_E_UNSUPPORTED on host, which compiles nothing; BM_E_DEVICE when it does not
// compile (the driver's words).
bm_status bm_device_compile(bm_device *device, const bm_call *call, bm_compile_report *out, bm_error *err);

// True when the backend has this variant of the kernel and the device has what it needs (a pair always has variant 0).
bool bm_kernel_has_variant(const bm_device *device, bm_kernel_id kernel, uint32_t variant);
// True when a variant computes with buffers of these storage types, as in bm_call: matrix units load inputs as they are.
bool bm_kernel_takes(bm_kernel_id kernel, uint32_t variant, const bm_dtype types[BM_MAX_BUFFERS]);
// Finds the first variant of the source and of the lanes of `like` that the device has and that takes these types (NULL: any).
// False: there is none.
bool bm_kernel_find_variant(const bm_device *device, bm_kernel_id kernel, uint32_t like, const bm_dtype *types,
                            uint32_t *out);
// True when a variant computes on matrix units, which some drivers only pretend to have or to know.
bool bm_kernel_uses_matrix_units(bm_kernel_id kernel, uint32_t variant);
// True when a device with these limits has what a variant needs. Its driver may refuse it all the same.
bool bm_kernel_needs_are_met(const bm_device_limits *limits, bm_kernel_id kernel, uint32_t variant);

// Variants of kernels by name, "gemm=tile-16,attention=plain", instead of those that the tables of ops/ choose. Here
// this is a text; ops/variants.h knows which names there are and checks them. set copies it ("": the tables). Errors:
// BM_E_MEMORY.
bm_status bm_device_set_variants(bm_device *device, const char *words, bm_error *err);
const char *bm_device_variants(const bm_device *device); // never NULL
// The text of the tuning file that bm_device_open found: it decides for kernels that the text above leaves out. Never
// NULL.
const char *bm_device_tuning(const bm_device *device);
void bm_device_discard_tuning(bm_device *device);
// Copies to out the name that was asked for this kernel, or else the tuned one; false: there is neither.
bool bm_device_variant(const bm_device *device, const char *kernel, char *out, size_t size);

// What a variant is used for: of products there may be another one for each; other kernels have the first alone.
typedef enum bm_variant_use {
    BM_USE_MANY_TILES,
    BM_USE_FEW_TILES, // fewer than the device has multiprocessors
    BM_USE_ADDING,    // to what is there, in float32
    BM_NUM_VARIANT_USES
} bm_variant_use;
const char *bm_variant_use_words(bm_variant_use use); // behind a type: "", " in few tiles", " added up"

// What a comparison with other variants found (ops/first_use.h), for inputs of one type in one use. Tried: a start began to compare, and did
// not end it, by a driver that crashes or hangs or by the user. Twice is as wrong. Untimed: outputs are right, and there was no memory
// to take times, which a later start may find. Timing: outputs are right, and a start began to take times and did not end it. Twice is
// enough: it is used without.
typedef enum bm_verdict {
    BM_VERDICT_NONE,
    BM_VERDICT_TRIED,
    BM_VERDICT_UNTIMED,
    BM_VERDICT_TIMING,
    BM_VERDICT_TIMING_TWICE,
    BM_VERDICT_RIGHT,
    BM_VERDICT_SLOWER,
    BM_VERDICT_WRONG,
    BM_VERDICT_TRIED_TWICE
} bm_verdict;
const char *bm_verdict_name(bm_verdict verdict); // "none", "tried:1", "untimed", "timing:1", ...
// What is wrong in one use is wrong in all; what is slower, or right and not slower, is so in that use alone.
bm_verdict bm_device_verdict(const bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                             bm_variant_use use);
// In memory; bm_verdicts_write keeps them. Errors: BM_E_MEMORY.
bm_status bm_device_set_verdict(bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                                bm_variant_use use, bm_verdict verdict, bm_error *err);
bool bm_device_is_named(const bm_device *device, const char *kernel, const char *variant); // by the caller's words
// Whether a device may be given a variant: one that the caller's words name, always; one that a tuning names, unless it is wrong, or
// slower where products are added up, which no tuning measures; another, unless it is wrong or slower.
bool bm_device_may_use(const bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                       bm_variant_use use);
// The rate of a product that was timed on the device (ops/rate.h), GFLOP/s; 0: none was. Set rounds it down to a power of two, so that
// it is mostly the same whenever it is measured; it is kept with the verdicts. Errors: BM_E_MEMORY.
double bm_device_measured_gflops(const bm_device *device);
bm_status bm_device_set_measured_gflops(bm_device *device, double gflops, bm_error *err);

// The file that bm_device_open looks for in the cache folder, one for each device and driver: words of `bitmill bench --tune`, and
// verdicts on this program's kernels. Path: bm_free it; NULL without a cache folder. bm_tuning_write writes both, the other leaves
// the words as the file has them. Verdicts that the file has by now are taken over; where both have one, that of a tuning wins,
// else that of the file: devices of several processes agree. What stands until another comparison (tried, untimed, timing) is the
// file's, but for what was set here since it was written. Errors: BM_E_IO, BM_E_MEMORY.
char *bm_tuning_path(const bm_device *device);
bm_status bm_tuning_write(bm_device *device, const char *words, bm_error *err);
bm_status bm_verdicts_write(bm_device *device, bm_error *err);
// Held while variants are compared: another process that wants to compare waits, and then reads what was found; one that ended
// meanwhile has crashed. Release it with bm_file_lock_release. NULL: there is no cache folder, or no lock in it.
bm_file_lock *bm_tuning_lock_comparisons(const bm_device *device);
// Appends what the file says of a device that need not be open, a line each: "tuning: ...", "gemm=matrix for F16: wrong",
// "gemm=matrix-8 for F16 in few tiles: right", "product in float32: 512 GFLOP/s and more",
// or "tuning ignored: ..." where it is damaged.
bool bm_tuning_describe(const bm_device_info *info, const char *cache_folder, bm_string *out);

// A product by a tuned library (CLBlast), where the backend knows one: c[m, n] = factor a[m, k] b[n, k]^T, or c += that,
// float32, row-major, strides in elements. Recorded like a dispatch. Errors: BM_E_UNSUPPORTED without a library; BM_E_DEVICE when it fails.
typedef struct bm_product {
    uint32_t m, n, k;
    bm_view a, b, c;
    uint32_t a_stride, b_stride, c_stride;
    float factor;
    bool adds;
    double seconds; // high estimate of its time, as in bm_call
} bm_product;
bool bm_device_has_product(bm_device *device); // looks for the library at the first call
bm_status bm_device_product(bm_device *device, const bm_product *product, bm_error *err);

// Dispatches between these two calls may run side by side. A dispatch that reads or writes what another one of the
// section writes is BM_E_ARGUMENT. Transfers are not allowed inside.
bm_status bm_batch_parallel_begin(bm_device *device, bm_error *err);
bm_status bm_batch_parallel_end(bm_device *device, bm_error *err);

bm_status bm_device_submit(bm_device *device, bm_error *err); // starts what was recorded; does not wait
// Starts and waits for everything. What a kernel reported is BM_E_NUMERIC with a message ("TENSOR: NaN at element 17").
// A lost device stays lost: every later call returns BM_E_DEVICE.
bm_status bm_device_wait(bm_device *device, bm_error *err);

// Waits for everything and discards what kernels reported. A job that failed or was cancelled may leave behind recorded
// work, and reports that no bm_device_wait has returned. So every job on a device begins with this call: its first wait
// then does not return another job's error. Errors: BM_E_DEVICE.
bm_status bm_device_discard_reports(bm_device *device, bm_error *err);

// Timestamps: slot is below BM_MAX_TIMESTAMPS. After a wait, elapsed time between two recorded slots in nanoseconds of
// the device's clock (host clock where it has none).
#define BM_MAX_TIMESTAMPS 256
bm_status bm_timestamp_record(bm_device *device, uint32_t slot, bm_error *err);
bm_status bm_timestamp_elapsed_ns(bm_device *device, uint32_t from_slot, uint32_t to_slot, double *out, bm_error *err);

const bm_log *bm_device_log(const bm_device *device);
bool bm_device_is_host(const bm_device *device); // the reference
bool bm_device_runs(const bm_device *device);    // false: it was opened with compile_only
// What a real buffer of a kernel may hold: float32, float16 and bfloat16; on the host BM_DTYPE_F64 too.
bool bm_device_is_real(const bm_device *device, bm_dtype dtype);
uint64_t bm_device_compiled_kernels(const bm_device *device); // pipelines built (not found in the cache) so far
// There is a cache folder, and it could be used when the device was opened.
bool bm_device_keeps_kernels(const bm_device *device);
// While it is on, a kernel that is neither there nor in the cache is BM_E_UNSUPPORTED: nothing is compiled. Where a driver does not
// tell what it compiles (Vulkan's, and NVIDIA's of PTX) every new kernel is.
void bm_device_keep_to_cache(bm_device *device, bool on);
// What bm_device_params.profile found so far, the longest first; 0 rows where that was not asked for. Waits for the device. The rows
// are the device's, until the next dispatch.
typedef struct bm_kernel_time {
    bm_kernel_id kernel;
    uint32_t variant;
    uint64_t dispatches; // behind the first launch of each pipeline, in which a driver may compile
    double seconds;
    uint64_t first_launches;
    double first_seconds;
} bm_kernel_time;
uint32_t bm_device_kernel_times(bm_device *device, const bm_kernel_time **rows);
uint64_t bm_device_live_handles(const bm_device *device); // driver objects not yet released, for leak tests
uint64_t bm_device_live_bytes(const bm_device *device);   // of all buffers, those pending release included
uint64_t bm_device_peak_bytes(const bm_device *device);   // the largest value that this had
// Buffers may take so many bytes together from now on, or fewer where that is so already: one that would take more is
// BM_E_MEMORY. Plans go by it, as limits.memory_bytes. option: who says it, for messages; it lives as long as the device.
void bm_device_limit_memory(bm_device *device, uint64_t bytes, const char *option);
// From now on limits.memory_bytes says this, so that work is sized as on a device that has so much. What may be taken stays.
void bm_device_size_work(bm_device *device, uint64_t bytes);
// What there is, or may be taken, whatever work is sized by.
uint64_t bm_device_memory_bytes(const bm_device *device);
uint64_t bm_device_num_waits(const bm_device *device); // how often all work was waited for, by whatever call

#endif
