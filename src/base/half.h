// Conversions between float32 and the 16-bit storage types, rounding half to even; and elements of the three in memory.
#ifndef BM_BASE_HALF_H
#define BM_BASE_HALF_H

#include <bitmill/tensor.h>
#include <stdbool.h>
#include <stdint.h>

float bm_f16_to_f32(uint16_t bits);  // IEEE binary16, subnormals, infinities and NaN kept
uint16_t bm_f32_to_f16(float value); // round half to even; overflow gives infinity; NaN stays NaN
void bm_f32_to_f16_all(const float *values, uint64_t count, uint16_t *out); // the same of an array
float bm_bf16_to_f32(uint16_t bits);
uint16_t bm_f32_to_bf16(float value); // round half to even; NaN stays NaN
uint16_t bm_f64_to_f16(double value); // one rounding only
uint16_t bm_f64_to_bf16(double value);

bool bm_dtype_is_real(bm_dtype dtype); // F32, F16 or BF16

// Element i of an array of F32, F16 or BF16, as files and devices hold it: little-endian, no alignment.
float bm_load_real(const void *bytes, bm_dtype dtype, uint64_t i);
void bm_store_real(void *bytes, bm_dtype dtype, uint64_t i, float value); // rounded
// The same of the first count elements.
void bm_load_real_all(const void *bytes, bm_dtype dtype, uint64_t count, float *out);
void bm_store_real_all(void *bytes, bm_dtype dtype, const float *values, uint64_t count);

#endif
