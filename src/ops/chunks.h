// What every operation does before it dispatches: checks of matrices, and the cuts of a long job into dispatches.
#ifndef BM_OPS_CHUNKS_H
#define BM_OPS_CHUNKS_H

#include "device/tensor.h"

// A matrix argument must be float32, float16 or bfloat16 (float64 on the host), [rows, cols], with a stride that is a
// multiple of 16 bytes, inside its view. The message names operation and argument.
bm_status bm_check_real(const bm_device *device, const char *operation, const char *name, const bm_tensor *tensor,
                        uint64_t rows, uint64_t cols, bm_error *err);
// The same for one type.
bm_status bm_check_matrix(const char *operation, const char *name, const bm_tensor *tensor, bm_dtype dtype,
                          uint64_t rows, uint64_t cols, bm_error *err);
// A view of at least count 32-bit integers.
bm_status bm_check_integers(const char *operation, const char *name, bm_view view, uint64_t count, bm_error *err);

// Refuses work for which one work-item would take more rounds, all its loops counted together, than
// limits.max_loop_rounds: the driver would give wrong numbers and say nothing.
//
//   subject  what is too long, to open the message: "attention: 30000 keys for heads of 256"
//   advice   what else helps, with a comma and "or " behind it, or ""
//
// Errors   BM_E_UNSUPPORTED
bm_status bm_check_rounds(const bm_device *device, uint64_t rounds, const char *subject, const char *advice,
                          bm_error *err);

// How many seconds one dispatch may take, by an estimate: less where the system may end long ones.
double bm_chunk_max_seconds(const bm_device *device);
// How many rows one dispatch may take: fewer than 2^31 elements of the widest stride, and, by a low estimate of the
// device's rate, well below a second. A multiple of 4 (so that slices of 32-bit vectors stay aligned), at least 4.
uint64_t bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row);
// The time that operations take, by the same estimate: bm_call.seconds. What mostly moves memory gives its bytes
// instead: devices move as many a second at least.
double bm_chunk_seconds(const bm_device *device, double operations);
// Work-groups for count work-items, within the device's limit; enough that a work-item has few rounds to walk, for
// drivers that limit them (limits.max_loop_rounds).
uint32_t bm_chunk_groups(const bm_device *device, uint64_t count, uint32_t group);
// How many pieces of so many rounds one dispatch may take, when a work-group does pieces_per_group at a time and its
// work-items walk on to further ones. rounds has passed the check above. UINT64_MAX: no limit.
uint64_t bm_chunk_pieces(const bm_device *device, uint64_t rounds, uint32_t pieces_per_group);
// The largest power of two that is at most wanted (itself one) and the device's limit of work-items in a group.
uint32_t bm_chunk_group(const bm_device *device, uint32_t wanted);

// Rows (tokens) that a work-item of a _lanes kernel takes, as lanes of its vectors.
#define BM_CHUNK_LANES 16
// The kernel's variant _lanes where it runs and is worth it, on CPU devices with vectors of 16 floats in two registers at most;
// else 0, the generic kernel.
uint32_t bm_chunk_lanes(const bm_device *device, bm_kernel_id kernel);

// Neighbours that a work-item of a kernel with the tunable WIDTH takes at once: 4; on CPU devices of OpenCL, whose drivers
// make machine vectors of a kernel's vectors, 16.
uint32_t bm_chunk_width(const bm_device *device);
// Work-items of a group that sums over a row, WIDTH elements each: 64; of 16 elements one alone, which fills a core.
uint32_t bm_chunk_row_group(const bm_device *device);

// A kernel that treats the rows of its matrices apart: any cut of the rows gives the same result.
typedef struct bm_row_call {
    bm_kernel_id kernel;
    const char *subject;                      // as of bm_call
    const bm_tensor *tensors[BM_MAX_BUFFERS]; // in the order of its buffers, all with the same rows
    bm_view whole[BM_MAX_BUFFERS]; // where tensors has NULL: a buffer that every dispatch takes whole, or none
    void *scalars;                 // the first is the number of rows, set here
    double operations;             // a row
    uint64_t items;                // work-items a row
    uint32_t group;                // work-items in a work-group; 0: 64
    uint32_t width;                // of kernels with the tunable WIDTH; 0: its default
    uint32_t lanes; // not 0: this variant (bm_chunk_lanes) in groups of one, and BM_CHUNK_LANES rows an item
} bm_row_call;

// Dispatches the rows of tensors[0], as many at once as the device should take.
bm_status bm_run_rows(bm_device *device, const bm_row_call *rows, bm_error *err);

#endif
