// Matrices on a device: a view with a type, a shape and a row stride that is a multiple of 16 bytes.
#ifndef BM_DEVICE_TENSOR_H
#define BM_DEVICE_TENSOR_H

#include "device/device.h"

// A row-major matrix [rows, cols]. A vector is [1, cols]. Plain data: copies share the memory.
typedef struct bm_tensor {
    bm_dtype dtype;
    uint64_t rows, cols;
    uint64_t stride; // elements from row to row; stride * element size is a multiple of 16 bytes
    bm_view view;
} bm_tensor;

// The smallest allowed stride for cols elements.
uint64_t bm_tensor_stride(bm_dtype dtype, uint64_t cols);
// Creates a tensor in a buffer of its own; destroy with bm_tensor_destroy.
bm_status bm_tensor_create(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols, const char *name,
                           bm_tensor *out, bm_error *err);
// The same in memory of the host, for bm_tensor_copy alone.
bm_status bm_tensor_create_on_host(bm_device *device, bm_dtype dtype, uint64_t rows, uint64_t cols, const char *name,
                                   bm_tensor *out, bm_error *err);
void bm_tensor_destroy(bm_tensor *tensor); // destroys its buffer, zeroes the struct; an empty struct is fine
// Rows or columns first .. first + count - 1 as a tensor on the same memory, with the same stride. A slice of columns must
// begin at a multiple of 16 bytes; its view ends where tensor's ends. Slices may be sliced again, in any order.
bm_tensor bm_tensor_rows(const bm_tensor *tensor, uint64_t first, uint64_t count);
bm_tensor bm_tensor_columns(const bm_tensor *tensor, uint64_t first, uint64_t count);
// Rows first_row .. and columns first_col .. at once; its view ends where the part ends. What is written beside its last
// column (up to 16 bytes) is the next column of tensor, unless it is the last.
bm_tensor bm_tensor_part(const bm_tensor *tensor, uint64_t first_row, uint64_t rows, uint64_t first_col, uint64_t cols);
// The same memory with fewer rows and other columns (a scratch tensor used for several shapes): dense at the smallest
// stride. Asserts that it fits.
bm_tensor bm_tensor_reshape(const bm_tensor *tensor, uint64_t rows, uint64_t cols);
// Memory that is kept from use to use: [rows, cols] of this type in *kept, which is created anew where it is too small (its name
// then is name). Destroyed as any tensor: *kept, not *out. Errors as of bm_tensor_create.
bm_status bm_tensor_keep(bm_device *device, bm_tensor *kept, bm_dtype dtype, uint64_t rows, uint64_t cols,
                         const char *name, bm_tensor *out, bm_error *err);
// src and dst are dense rows of tensor's own type.
bm_status bm_tensor_upload(bm_device *device, const bm_tensor *tensor, const void *src, bm_error *err);
// All rows of from into to, of the same type, shape and stride; both dense. Errors: BM_E_ARGUMENT; those of bm_copy.
bm_status bm_tensor_copy(bm_device *device, const bm_tensor *from, const bm_tensor *to, bm_error *err);
bm_status bm_tensor_download(bm_device *device, const bm_tensor *tensor, void *dst, bm_error *err);

#endif
