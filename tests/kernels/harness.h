// harness: one description of an operation serves every backend, every variant and the benchmark.
//
// A description (kernel_operation) says how inputs of a shape are made, how far a correct float32 computation may lie
// from the exact result (a derived bound for each output element), what the result is by an independent formula, and
// what the work costs. The harness crosses shapes, storage types, kinds of values, variants, GROUP sizes and numbers of
// work-groups.
//
//   on host      the host kernel with float64 storage must agree with the independent formula
//   on a device  the kernel must agree with the host kernel, which reads the same rounded inputs and computes in double
//
// The comparison needs no allowance for the rounding of the stored output: rounding is monotone, so a result within
// bound of the exact value is stored as something between round(exact - bound) and round(exact + bound), and just that
// is demanded. NaN equals nothing. Matrices lie between guards; guards, row padding of inputs and outputs before the
// run hold a pattern that is NaN in every type, so a read beside the matrix poisons the result and a write there is
// found.
#ifndef BM_TESTS_KERNELS_HARNESS_H
#define BM_TESTS_KERNELS_HARNESS_H

#include "base/random.h"
#include "device/backend.h"

#define KERNEL_MAX_SHAPE 10
#define KERNEL_MAX_CASES 21
#define KERNEL_MAX_TYPE_SETS 6
#define KERNEL_EPSILON 0x1p-24 // relative error of one float32 operation, rounded to nearest
// Matrix units may add the terms of a fragment at once, each cut to the largest one's bits: NVIDIA's cut where float32 would
// round, which costs 2^-23 instead of 2^-24 for each term, and once more for the sum. So their bounds are so much wider.
#define KERNEL_MATRIX_WIDTH 4
#define KERNEL_FLUSH 0x1p-126 // what a device that flushes denormals may lose

// Kinds of values. kernel_fill obeys them.
typedef enum kernel_values {
    KERNEL_NORMAL, // both signs, normal distribution
    KERNEL_ZEROS,
    KERNEL_ONE_HUGE,  // normal, and one element 1000 times larger than any other
    KERNEL_DENORMALS, // denormal numbers of the storage type, both signs
    KERNEL_TIES,      // halfway between neighbours of the 16-bit types, and between integers
    KERNEL_NUM_VALUES
} kernel_values;

// A matrix argument. Values are doubles that the storage type holds exactly (integers too).
typedef struct kernel_matrix {
    uint64_t rows, cols;
    uint64_t stride; // elements; rows are padded to 16 bytes, sometimes more
    bm_dtype type;   // how the device stores it
    double *values;  // [rows * cols], dense: what the device is given; set by make. Nothing for pure outputs
    double *exact;   // [rows * cols], dense, outputs: the exact result, known when bound is called
    double *bounds;  // [rows * cols], dense, outputs: set by bound; 0 from the start
    bool absent;     // an optional buffer that is not passed
} kernel_matrix;

typedef struct kernel_operation kernel_operation;

// One set of arguments.
typedef struct kernel_run {
    const kernel_operation *operation;
    const bm_kernel_info *info;
    const uint32_t *shape; // the case's numbers
    kernel_values kind;
    uint64_t seed;
    bm_random random;
    kernel_matrix buffers[BM_MAX_BUFFERS];
    uint32_t scalars[BM_MAX_SCALAR_BYTES / 4]; // bm_NAME_scalars, set by make (kernel_scalars)
    uint32_t variant;
    uint32_t tunables[BM_MAX_TUNABLES]; // 0: the default. make may set layout tunables
    uint32_t groups[3];                 // make sets a good number
    uint32_t shared_memory_bytes;       // what tune may take of the device's local memory
} kernel_run;

typedef struct kernel_case {
    const char *label;                // "1", "prime", "tile - 1", "tile", "tile + 1", "long thin", "layer"
    uint32_t shape[KERNEL_MAX_SHAPE]; // what the numbers mean is the operation's affair
    bool only_normal;                 // large: only KERNEL_NORMAL values
} kernel_case;

struct kernel_operation {
    bm_kernel_id kernel;
    kernel_case cases[KERNEL_MAX_CASES]; // ends where label is NULL
    // Storage types of the `real` buffers in order; ends where the first is BM_DTYPE_NONE. Nothing set: all float32,
    // all float16, all bfloat16, and mixed.
    bm_dtype type_sets[KERNEL_MAX_TYPE_SETS][BM_MAX_BUFFERS];
    bool skips_values[KERNEL_NUM_VALUES]; // kinds that make no sense here
    bool exact;                           // outputs are equal on every device, bit for bit; no bound
    bool computes;     // of an exact one: by arithmetic, not by moves; a device may flush a denormal float32 result
    bool fixed_groups; // the number of work-groups is part of the arguments (3-D grids): do not vary it
    bool long_loops[KERNEL_MAX_CASES]; // cases with thousands of rounds a work-item: see support_is_instrumented
    // Shapes every buffer (kernel_shape), fills inputs, sets scalars, groups and layout tunables.
    void (*make)(kernel_run *run);
    // Optional: sets the tunables of run->variant, where variants want other ones.
    void (*tune)(kernel_run *run);
    // Optional: whether run->variant takes this shape; those that do not are left out.
    bool (*takes)(const kernel_run *run);
    // Sets bounds of outputs; the exact results stand in exact. State how the bound is derived. NULL: they stay 0. Called again
    // for variants on matrix units, which may round more.
    void (*bound)(kernel_run *run);
    // Optional: the same result by an independent formula in double. out[i] is dense like values, NULL for pure inputs;
    // it starts as values. Must agree with the host kernel to 2^-24 of the bound.
    void (*reference)(const kernel_run *run, double *const *out);
    // Optional: may an element differ from want by more than its bound? For integer codes: true when the exact value
    // lies within its bound of a rounding boundary and got is the neighbour. Such elements are counted and printed.
    bool (*excused)(const kernel_run *run, uint32_t buffer, uint64_t index, double got, double want);
    // Floating-point operations of the run; bytes moved at least once (NULL: the size of all buffers).
    double (*operations)(const kernel_run *run);
    double (*bytes)(const kernel_run *run);
    // Optional: further checks on an opened device, for example reports.
    void (*extra)(bm_device *device);
};

// For make. Shapes buffer number i; allocates values, exact and bounds, all 0.
void kernel_shape(kernel_run *run, uint32_t i, uint64_t rows, uint64_t cols);
// Fills buffer number i by run->kind, times scale, rounded to its type. Not for integers.
void kernel_fill(kernel_run *run, uint32_t i, double scale);
// Integers 0..bound-1, or lowest..highest.
void kernel_fill_integers(kernel_run *run, uint32_t i, int64_t lowest, int64_t highest);
void kernel_set(kernel_run *run, uint32_t i, uint64_t index, double value); // rounded to its type
void kernel_scalars(kernel_run *run, const void *scalars, uint32_t size);   // &(bm_NAME_scalars){...} and its size
double kernel_round(bm_dtype type, double value);
// Enough work-groups for count work-items, at most 1024.
uint32_t kernel_groups(uint64_t count, uint32_t group);

// As tune of kernels with GROUP and WIDTH: pairs that GPUs and CPUs take, and others, by turns.
void kernel_tune_wide(kernel_run *run);

// Lifetime of a run outside of kernel_operation_check (the benchmark): types as in a type set.
void kernel_run_create(kernel_run *run, const kernel_operation *operation, uint32_t case_index, const bm_dtype *types,
                       kernel_values kind, uint64_t seed);
void kernel_run_destroy(kernel_run *run);
// Runs on a device and returns every written buffer as dense doubles in out (NULL for pure inputs; bm_free each). With
// wide, `real` buffers are stored as float64 (host only). A damaged guard or input is BM_E_INTERNAL with words.
bm_status kernel_run_execute(bm_device *device, const kernel_run *run, bool wide, double *out[BM_MAX_BUFFERS],
                             bm_error *err);

// Checks an operation on a device in all its cases; host runs the reference. False when something failed (printed).
bool kernel_operation_check(const kernel_operation *operation, bm_device *device, bm_device *host);

// The table: every description (table.c).
extern const kernel_operation *const kernel_operations[];
extern const uint32_t num_kernel_operations;

#endif
