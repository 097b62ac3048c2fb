// The arithmetic of rounding to a grid: the same float32 operations in the same order as cl/include/quantization.h and
// shaders/include/quantization.glsl, so that codes agree bit for bit.
#ifndef BM_HOST_QUANTIZATION_H
#define BM_HOST_QUANTIZATION_H

#include "base/base.h"

float host_reciprocal(float s);                   // 1 / s for 1e-30 < s < 1e30
float host_stored_step(float x, bm_dtype type);   // x in the type in which steps are stored, a normal number
float host_code(float w, float reciprocal, float zero_point, uint32_t bits);

#endif
