// NVIDIA's matrix units from compute capability 8.0 on, by a subgroup of 32: sums [16, 8] += left [16, 16] right [16, 8], in float16 or
// bfloat16 (MMA_BFLOAT16 1), sums in float32. With them: what loads their fragments from local memory, copies that go on beside the
// kernel, and what a subgroup exchanges. OpenCL C has none of these; NVIDIA's compiler takes its instructions as text.
//
// Work-item l of 32 has, with g = l / 4 and t = l % 4, two elements to a word:
//   left   rows g and g + 8 of columns 2 t, 2 t + 1; then the same of columns 8 + 2 t, 8 + 2 t + 1
//   right  column g of rows 2 t, 2 t + 1; then of rows 8 + 2 t, 8 + 2 t + 1
//   sums   row g, columns 2 t and 2 t + 1; then row g + 8
// So two sums side by side, rounded, are a left fragment where they are. mma_load loads four squares of 8 x 8, whose rows are quads
// of words: work-item l says where row l % 8 of square l / 8 lies, and gets of each square row g, words t; or, transposed, column
// g, rows 2 t and 2 t + 1.
//
// Copies of 16 bytes: mma_copy begins one, of which what is behind `bytes` is zeros; mma_close ends a group of them; mma_wait(n)
// waits for all of the work-item's groups but the last n, and a barrier makes them seen. MMA_BEGIN stands first in a kernel.
//
// With BM_MATRICES_BY_HAND, which only tests define, the same without NVIDIA: exchanges go through local memory, and copies are
// late: what is not waited for is poison. There all work-items of a group must come by all of this: mma_any is always true.
// Source: NVIDIA, Parallel Thread Execution ISA, sections on mma, ldmatrix and cp.async.

// As bm_load4 and bm_store4, in one instruction: rows begin at multiples of 16 bytes, which vload4 and vstore4 may not rely on.
inline float4 mma_load4(__global const uint *b, uint type, size_t i)
{
    return type == BM_F32 ? ((__global const float4 *)b)[i] : bm_load4(b, type, i);
}

inline void mma_store4(__global uint *b, uint type, size_t i, float4 x)
{
    if (type == BM_F32)
        ((__global float4 *)b)[i] = x;
    else if (type == BM_F16)
        ((__global uint2 *)b)[i] = (uint2)(bm_f16_bits(x.x) | bm_f16_bits(x.y) << 16, bm_f16_bits(x.z) | bm_f16_bits(x.w) << 16);
    else
        ((__global uint2 *)b)[i] = (uint2)(bm_bf16_bits(x.x) | bm_bf16_bits(x.y) << 16, bm_bf16_bits(x.z) | bm_bf16_bits(x.w) << 16);
}

#ifndef BM_MATRICES_BY_HAND
#define MMA_UNROLL _Pragma("unroll")
#define MMA_BEGIN
#if MMA_BFLOAT16
#define MMA_TYPES "f32.bf16.bf16.f32"
#define MMA_PAIR "cvt.rn.bf16x2.f32"
#define MMA_ONES 0x3f803f80u
#else
#define MMA_TYPES "f32.f16.f16.f32"
#define MMA_PAIR "cvt.rn.f16x2.f32"
#define MMA_ONES 0x3c003c00u
#endif

// An address in local memory, in quads of words from memory on. Made anew in each round of a loop, by text: else compilers keep those of
// all fragments of an unrolled loop in registers, instead of one that their instructions add numbers to.
#define mma_address(memory, at) mma_address_of((uint)(size_t)((memory) + (at)))
inline uint mma_address_of(uint from)
{
    uint address;
    __asm__ volatile("mov.u32 %0, %1;" : "=r"(address) : "r"(from));
    return address;
}

#define mma_load_as(transposed, fragment, address, at)                                                                               \
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4" transposed ".shared.b16 {%0, %1, %2, %3}, [%4];"                                \
                     : "=r"((fragment)[0]), "=r"((fragment)[1]), "=r"((fragment)[2]), "=r"((fragment)[3])                            \
                     : "r"((address) + 16 * (at))                                                                                    \
                     : "memory")
#define mma_load(fragment, memory, address, at) mma_load_as("", fragment, address, at)
#define mma_load_transposed(fragment, memory, address, at) mma_load_as(".trans", fragment, address, at)
#define mma_multiply_add(sums, left, right0, right1)                                                                                 \
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col." MMA_TYPES " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                     : "+f"((sums)[0]), "+f"((sums)[1]), "+f"((sums)[2]), "+f"((sums)[3])                                            \
                     : "r"((left)[0]), "r"((left)[1]), "r"((left)[2]), "r"((left)[3]), "r"(right0), "r"(right1))
#define mma_copy(memory, address, at, from, bytes)                                                                                   \
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((address) + 16 * (at)), "l"((ulong)(size_t)(from)), "r"(bytes)\
                     : "memory")
#define mma_close() __asm__ volatile("cp.async.commit_group;" ::: "memory")
#define mma_wait(n) __asm__ volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

// Two numbers rounded, to a word: x low.
inline uint mma_pair(float x, float y)
{
    uint word;
    __asm__(MMA_PAIR " %0, %1, %2;" : "=r"(word) : "f"(y), "f"(x));
    return word;
}

// 2^x, off by 2 ulp; below 2^-126 zero.
inline float mma_exp2(float x)
{
    float y;
    __asm__("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// What work-item l ^ mask has.
#define mma_other(x, mask) mma_other_of(x, mask)
inline float mma_other_of(float x, uint mask)
{
    float y;
    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=f"(y) : "f"(x), "r"(mask));
    return y;
}

#define mma_lowest(x) mma_lowest_of(x)
inline uint mma_lowest_of(uint x)
{
    uint y;
    __asm__ volatile("redux.sync.min.u32 %0, %1, -1;" : "=r"(y) : "r"(x));
    return y;
}

#define mma_highest(x) mma_highest_of(x)
inline uint mma_highest_of(uint x)
{
    uint y;
    __asm__ volatile("redux.sync.max.u32 %0, %1, -1;" : "=r"(y) : "r"(x));
    return y;
}

// Whether any work-item of the subgroup says so.
inline bool mma_any(bool says)
{
    uint any;
    __asm__ volatile("{.reg .pred p;\n setp.ne.u32 p, %1, 0;\n vote.sync.any.pred p, p, -1;\n selp.u32 %0, 1, 0, p;}"
                     : "=r"(any)
                     : "r"((uint)says));
    return any != 0;
}
#else
#define MMA_UNROLL _Pragma("nounroll")
#define MMA_COPIES 128 // that may be on their way
#define MMA_ONES (MMA_BFLOAT16 ? 0x3f803f80u : 0x3c003c00u)
typedef struct {
    __local uint4 *to;
    __global const uint *from;
    uint bytes, group;
} mma_one_copy;
typedef struct {
    uint first, end, group;
    mma_one_copy copies[MMA_COPIES];
} mma_queue;
#define MMA_BEGIN                                                                                                                    \
    __local uint mma_words[6 * GROUP];                                                                                               \
    __private mma_queue mma_late;                                                                                                    \
    mma_late.first = mma_late.end = mma_late.group = 0;

#define mma_any(says) true
#define mma_exp2(x) exp2(x)
#define mma_pair(x, y) (MMA_BFLOAT16 ? bm_bf16_bits(x) | bm_bf16_bits(y) << 16 : bm_f16_bits(x) | bm_f16_bits(y) << 16)
#define mma_copy(memory, address, at, from, bytes) mma_begin_copy(&mma_late, (memory) + (address) + (at), (__global const uint *)(from), bytes)
#define mma_close() mma_late.group++
#define mma_wait(n) mma_end_copies(&mma_late, n)
#define mma_address(memory, at) (at)
#define mma_load(fragment, memory, address, at) mma_load_by_hand(fragment, (__local const uint *)(memory), (address) + (at), false, mma_words)
#define mma_load_transposed(fragment, memory, address, at)                                                                           \
    mma_load_by_hand(fragment, (__local const uint *)(memory), (address) + (at), true, mma_words)
#define mma_multiply_add(sums, left, right0, right1) mma_multiply_by_hand(sums, left, right0, right1, mma_words)
#define mma_other(x, mask) as_float(mma_exchange(as_uint(x), mask, mma_words))
#define mma_lowest(x) mma_reduce(x, true, mma_words)
#define mma_highest(x) mma_reduce(x, false, mma_words)

inline void mma_begin_copy(mma_queue *late, __local uint4 *to, __global const uint *from, uint bytes)
{
    const mma_one_copy copy = {to, from, bytes, late->group};
    *to = (uint4)(0xffffffffu);
    late->copies[late->end++ % MMA_COPIES] = copy;
}

inline void mma_end_copies(mma_queue *late, uint but)
{
    for (; late->first < late->end && late->copies[late->first % MMA_COPIES].group + but < late->group; late->first++) {
        const mma_one_copy copy = late->copies[late->first % MMA_COPIES];
        __local ushort *to = (__local ushort *)copy.to;
        for (uint i = 0; i < 8; i++)
            to[i] = 2 * i < copy.bytes ? ((__global const ushort *)copy.from)[i] : 0;
    }
}

inline uint mma_exchange(uint x, uint mask, __local uint *words)
{
    const uint lane = get_local_id(0);
    words[lane] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint y = words[lane ^ mask];
    barrier(CLK_LOCAL_MEM_FENCE);
    return y;
}

inline uint mma_reduce(uint x, bool lowest, __local uint *words)
{
    const uint lane = get_local_id(0);
    uint y = x;
    words[lane] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < 32; i++)
        y = lowest ? min(y, words[lane / 32 * 32 + i]) : max(y, words[lane / 32 * 32 + i]);
    barrier(CLK_LOCAL_MEM_FENCE);
    return y;
}

inline void mma_load_by_hand(uint *fragment, __local const uint *memory, uint at, bool transposed, __local uint *words)
{
    const uint lane = get_local_id(0), first = lane / 32 * 32, g = lane % 32 / 4, t = lane % 4;
    words[lane] = 4 * at;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint square = 0; square < 4; square++) {
        const uint row = first + 8 * square;
        const uint upper = memory[words[row + 2 * t] + g / 2] >> (16 * (g % 2)) & 0xffffu;
        const uint lower = memory[words[row + 2 * t + 1] + g / 2] >> (16 * (g % 2)) & 0xffffu;
        fragment[square] = transposed ? upper | lower << 16 : memory[words[row + g] + t];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

inline float mma_value(uint word, uint odd)
{
    const uint bits = word >> (16 * odd) & 0xffffu;
    return MMA_BFLOAT16 ? as_float(bits << 16) : bm_f16_value(bits);
}

inline void mma_multiply_by_hand(float *sums, const uint *left, uint right0, uint right1, __local uint *words)
{
    const uint lane = get_local_id(0), first = lane / 32 * 32, g = lane % 32 / 4, t = lane % 4;
    for (uint i = 0; i < 4; i++)
        words[6 * lane + i] = left[i];
    words[6 * lane + 4] = right0;
    words[6 * lane + 5] = right1;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = 0; k < 16; k++) {
        const uint from = k % 8 / 2, odd = k % 2, upper = k / 8; // the work-item of four that has it, and its words
        for (uint i = 0; i < 4; i++)
            sums[i] += mma_value(words[6 * (first + 4 * g + from) + i / 2 + 2 * upper], odd) *
                       mma_value(words[6 * (first + 4 * (2 * t + i % 2) + from) + 4 + upper], odd);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#endif
