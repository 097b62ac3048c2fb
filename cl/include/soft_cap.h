// cap tanh(x / cap), by an exponential that never sees a positive argument.   Twin: shaders/include/soft_cap.glsl
#include "exponential.h"
#define BM_DEFINE_SOFT_CAP(reals, exponential)                                                                                       \
    inline reals __attribute__((overloadable)) bm_soft_cap(reals x, float cap)                                                       \
    {                                                                                                                                \
        const reals e = exponential(fabs(x) * (-2.0f / cap));                                                                        \
        return copysign(cap * ((1.0f - e) / (1.0f + e)), x);                                                                         \
    }
BM_DEFINE_SOFT_CAP(float, exp)
BM_DEFINE_SOFT_CAP(float4, bm_exp4)
BM_DEFINE_SOFT_CAP(float16, bm_exp16)
