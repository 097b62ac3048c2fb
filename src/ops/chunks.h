// What every operation does before it dispatches: checks of matrices, and the cuts of a long job into dispatches.
#ifndef BM_OPS_CHUNKS_H
#define BM_OPS_CHUNKS_H

#include "device/tensor.h"

// A matrix argument must be float32, float16 or bfloat16 (float64 on the host), [rows, cols], with a stride that is a
// multiple of 16 bytes, inside its view. The words name operation and argument.
bm_status bm_check_real(const bm_device *device, const char *operation, const char *name, const bm_tensor *tensor,
                        uint64_t rows, uint64_t cols, bm_error *err);
// The same for one type.
bm_status bm_check_matrix(const char *operation, const char *name, const bm_tensor *tensor, bm_dtype dtype,
                          uint64_t rows, uint64_t cols, bm_error *err);
// A view of at least count 32-bit integers.
bm_status bm_check_integers(const char *operation, const char *name, bm_view view, uint64_t count, bm_error *err);

// How long one dispatch may take, by an estimate: less where the system ends long ones.
double bm_chunk_max_seconds(const bm_device *device);
// How many rows one dispatch may take: fewer than 2^31 elements of the widest stride, and, by a low estimate of the
// device's rate, well below a second. A multiple of 4 (so that slices of 32-bit vectors stay aligned), at least 4.
uint64_t bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row);
// The time that operations take, by the same estimate: bm_call.seconds. What mostly moves memory gives its bytes
// instead: devices move as many a second at least.
double bm_chunk_seconds(const bm_device *device, double operations);
// Work-groups for count work-items, within the device's limit; enough that a work-item has few rounds to walk: lavapipe
// (Mesa 22.3) silently ends all loops of a work-item after 65535 rounds, inner and outer ones counted together.
uint32_t bm_chunk_groups(const bm_device *device, uint64_t count, uint32_t group);
// The rounds that a work-item may take, all its loops counted together: on a CPU behind Vulkan lavapipe's, else no limit.
uint64_t bm_chunk_max_rounds(const bm_device *device);
// The largest power of two that is at most wanted (itself one) and the device's limit of work-items in a group.
uint32_t bm_chunk_group(const bm_device *device, uint32_t wanted);

#endif
