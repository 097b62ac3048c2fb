// Benchmarks: how fast each hot kernel runs beside what the device can do at all.
//
// The limits come from kernels in the same run: chains of fma and, where a device has them, of products on matrix units
// (arithmetic), and a copy (memory). The limit of a variant that multiplies four codes at once is four times that of fma.
// limit_share of a kernel is the time that the nearer limit needs, divided by the time taken. Times are medians of several runs between
// timestamps of the device, after a warm-up (half a second on GPUs, which otherwise run at low clocks). What the timed
// buffers hold is checked in the same run. The yardstick for products on CPU devices is OpenBLAS, in child processes,
// because it chooses its kernels once, by the processor and OPENBLAS_CORETYPE, when it is loaded.
#ifndef BM_BENCH_BENCHMARK_H
#define BM_BENCH_BENCHMARK_H

#include "ops/gemm.h"

typedef struct bm_benchmark_time {
    double seconds; // median of one run
    double fastest, slowest;
    uint32_t runs; // timed ones
} bm_benchmark_time;

// Records the work of one run on the device; called many times.
typedef bm_status (*bm_benchmark_work)(void *user, bm_device *device, bm_error *err);

// Called now and then during a measurement, on a CPU device at least once a second where an operation can be cut. When
// it returns true, the measurement ends with BM_E_CANCELLED. NULL: never.
typedef bool (*bm_benchmark_stop)(void);

// Warms up, a GPU until it has settled (ops/settle.h), and measures. Very short work is recorded several times between two timestamps.
bm_status bm_benchmark_measure(bm_device *device, bm_benchmark_work work, void *user, bm_benchmark_stop stop,
                               bm_benchmark_time *out, bm_error *err);

typedef struct bm_benchmark_limits {
    double gflops;                     // float32, a chain of fma
    double gbps;                       // bytes read and written by a copy
    double matrix_gflops, matrix_gops; // chains of products on matrix units, of float16 and of int8; 0: there are none
} bm_benchmark_limits;
bm_status bm_benchmark_measure_limits(bm_device *device, bm_benchmark_stop stop, bm_benchmark_limits *out,
                                      bm_error *err);
// Those of a variant of a kernel: gflops is what it could do with the instructions it is made of.
bm_benchmark_limits bm_benchmark_limits_of(const bm_benchmark_limits *limits, bm_kernel_id kernel, uint32_t variant);
bm_status bm_benchmark_check_stop(bm_benchmark_stop stop, bm_error *err); // BM_E_CANCELLED or BM_OK

typedef struct bm_benchmark_result {
    char name[32];     // "gemm", "gemm_rows" (one row of x), "rmsnorm", ...
    uint64_t shape[4]; // what the numbers mean depends on the kernel; gemm: m, n, k
    uint32_t num_shape;
    char what[32]; // what tells it from another of this shape, "sequences of 300"; empty: nothing
    bm_benchmark_time time;
    double gflops, gbps;  // operations and least bytes by the median time
    bool counts_integers; // gflops counts integer operations
    double limit_share;   // well above 1: the limit was measured too low, or the data fit into caches
} bm_benchmark_result;
// " 87 % of the limit", or that it is no share.
#define BM_BENCHMARK_SHARE_SIZE 32
const char *bm_benchmark_share_words(double share, char out[BM_BENCHMARK_SHARE_SIZE]);

// Products of the linears of a model, or of the sizes that our targets name.
typedef struct bm_benchmark_shape {
    const char *what; // "gate_proj, up_proj"
    uint32_t m, n, k;
} bm_benchmark_shape;

// y[m, n] = x[m, k] w[n, k]^T, all of one type, the weights prepared before, everything else counted. choice: NULL for
// the table's. Errors also: BM_E_NUMERIC when a sampled output lies outside its bound.
bm_status bm_benchmark_gemm(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bm_dtype dtype,
                            const bm_gemm_choice *choice, const bm_benchmark_limits *limits, bm_benchmark_stop stop,
                            bm_benchmark_result *out, bm_error *err);
// The same by every variant that takes operands of dtype, which are made once, or by the one that the caller's words of the
// device name (bm_device_variants): each is reported under its name. What was asked of the device is asked again in the end.
typedef void (*bm_benchmark_report)(void *user, const char *variant, const bm_benchmark_result *result);
// The variants to measure, whatever is asked of the device, and what becomes of one that fails: failed says whether the others are
// measured all the same. Each is reported under the name that it has here.
typedef struct bm_variant_list {
    const char *const *names; // "auto": what the device takes by itself
    uint32_t count;
    bool (*failed)(void *user, const char *variant, bm_status status, const char *words);
} bm_variant_list;
// list: NULL for all of them.
bm_status bm_benchmark_gemm_variants(bm_device *device, const bm_benchmark_shape *shape, bm_dtype dtype,
                                     const bm_variant_list *list, const bm_benchmark_limits *limits,
                                     bm_benchmark_stop stop, bm_benchmark_report report, void *user, bm_error *err);
// Attention of the index-th of our shapes by every variant that takes dtype, in the same way; each result is checked.
uint32_t bm_benchmark_num_attention(void);
bm_status bm_benchmark_attention_variants(bm_device *device, uint32_t index, bm_dtype dtype,
                                          const bm_benchmark_limits *limits, bm_benchmark_stop stop,
                                          bm_benchmark_report report, void *user, bm_error *err);
// The same product in 8-bit integers (ops/gemm_int8.h), outputs in float32; compares: the errors beside wanted outputs.
bm_status bm_benchmark_gemm_int8(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bool compares,
                                 const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                 bm_error *err);
// Without errors, by every variant, as bm_benchmark_gemm_variants.
bm_status bm_benchmark_gemm_int8_variants(bm_device *device, const bm_benchmark_shape *shape,
                                          const bm_variant_list *list, const bm_benchmark_limits *limits,
                                          bm_benchmark_stop stop, bm_benchmark_report report, void *user,
                                          bm_error *err);
// y[m, n] = x[m, k] by weights that stay codes of 4 bits (ops/gemm_codes.h), for few rows: more weights than caches hold are read by
// turns, and the time is that of one product. 256 outputs are checked. Errors also: BM_E_NUMERIC.
bm_status bm_benchmark_gemm_codes(bm_device *device, uint64_t m, uint64_t n, uint64_t k, bm_dtype dtype,
                                  const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                  bm_error *err);
// The loss of one candidate of piecewise search (quant/search_loss.h) for linears [n, k] with static inputs, m tokens: the product
// above and all that is done for it.
bm_status bm_benchmark_search_loss(bm_device *device, uint64_t m, uint64_t n, uint64_t k,
                                   const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                   bm_error *err);
// Rates of a measured time: operations and least bytes of one run.
void bm_benchmark_fill_rates(bm_benchmark_result *out, double operations, double bytes,
                             const bm_benchmark_limits *limits);
// Random values in [-1, 1) by seed and row (first: number of the first row).
bm_status bm_benchmark_fill(bm_device *device, const bm_tensor *tensor, uint32_t seed, uint64_t first, bm_error *err);
// Rows first .. of w by fill, of a tensor that may hold fewer than all, in pieces so that a stop is seen.
typedef bm_status (*bm_benchmark_filler)(bm_device *device, const bm_tensor *tensor, uint32_t seed, uint64_t first,
                                         bm_error *err);
bm_status bm_benchmark_fill_rows(bm_device *device, const bm_tensor *rows, uint64_t first, bm_benchmark_filler fill,
                                 bm_benchmark_stop stop, bm_error *err);

// Every other hot operation, at the sizes of one Llama-3-8B block over 2048 tokens: operations.c has the table.
uint32_t bm_benchmark_num_operations(void);
uint32_t bm_benchmark_find_operation(const char *name); // its index; UINT32_MAX: none of that name
bm_status bm_benchmark_operation(bm_device *device, uint32_t index, bm_dtype dtype, const bm_benchmark_limits *limits,
                                 bm_benchmark_stop stop, bm_benchmark_result *out, bm_error *err);

// What a method that watches its inputs does, in float32: the Hessian of a batch ("hessian", [tokens, channels]; "hessian_f16" or
// "hessian_bf16" of inputs stored as dtype, float16 where that is float32), the factor of its inverse, steps by output error, and the rows of a linear by GPTQ, with nothing but the paper ("gptq_rows_plain") and with
// this program's defaults; at the sizes of a Llama-3-8B block on GPUs, smaller ones elsewhere.
uint32_t bm_benchmark_num_quantization(void);
const char *bm_benchmark_quantization_name(uint32_t index);
bm_status bm_benchmark_quantization(bm_device *device, uint32_t index, bm_dtype dtype,
                                    const bm_benchmark_limits *limits, bm_benchmark_stop stop, bm_benchmark_result *out,
                                    bm_error *err);

// name: one of bm_benchmark_shape_names. NULL: unknown name.
const bm_benchmark_shape *bm_benchmark_shapes(const char *name, uint32_t *count);
extern const char *const bm_benchmark_shape_names; // with ", " between them

// The yardstick. bm_yardstick_child runs a product in this process and writes one line to out (CORE BEST MEDIAN, in
// GFLOP/s); bm_yardstick_measure starts children "PROGRAM ARGUMENTS m n k", whose standard output is that line.
typedef struct bm_yardstick {
    char setting[48]; // "default", "OPENBLAS_CORETYPE=SkylakeX"
    char core[32];    // the kernels that OpenBLAS says it uses
    double best_gflops, median_gflops;
} bm_yardstick;
#define BM_MAX_YARDSTICKS 2
bm_status bm_yardstick_child(uint32_t m, uint32_t n, uint32_t k, char out[128], bm_error *err);
// num_out 0 with BM_OK: there is no OpenBLAS here.
bm_status bm_yardstick_measure(const char *program, const char *const *arguments, uint32_t m, uint32_t n, uint32_t k,
                               bm_yardstick out[BM_MAX_YARDSTICKS], uint32_t *num_out, bm_error *err);

#endif
