// exp of vectors, for numbers up to 88: what softmaxes and sigmoids take has no positive argument.
//
// PoCL's exp serves every argument, and takes longer. On CPUs here: x = n ln 2 + r with a whole n, by fma;
// exp(r) by a polynomial of degree 6 through Chebyshev's nodes; 2^n from the bits of the sum that made n whole. Off by 1.4 roundings
// (2^-24 of the result) at most; below -126 ln 2, where the result would be subnormal, 0. NaN stays NaN.
#include "bitmill.h"
#ifdef BM_CPU
#define BM_DEFINE_EXP(name, reals, as_reals, as_words)                                                                               \
    inline reals name(reals x)                                                                                                       \
    {                                                                                                                                \
        const reals sum = fma(x, (reals)(0x1.715476p+0f), (reals)(0x1.8p23f)), n = sum - 0x1.8p23f;                                  \
        const reals r = fma(n, (reals)(-0x1.7f7d1cp-20f), fma(n, (reals)(-0x1.62e4p-1f), x));                                        \
        reals p = fma((reals)(0x1.6d112cp-10f), r, (reals)(0x1.120b9p-7f));                                                          \
        p = fma(p, r, (reals)(0x1.55551ap-5f));                                                                                      \
        p = fma(p, r, (reals)(0x1.5554dcp-3f));                                                                                      \
        p = fma(p, r, (reals)(0.5f));                                                                                                \
        p = fma(fma(p, r, (reals)(1.0f)), r, (reals)(1.0f));                                                                         \
        return x < -0x1.5d589ep+6f ? (reals)(0.0f) : p * as_reals((as_words(sum) << 23) + 0x3f800000u);                              \
    }
BM_DEFINE_EXP(bm_exp4, float4, as_float4, as_uint4)
BM_DEFINE_EXP(bm_exp16, float16, as_float16, as_uint16)
#else
#define bm_exp4(x) exp(x)
#define bm_exp16(x) exp(x)
#endif
