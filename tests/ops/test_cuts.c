// Work that is cut into dispatches of four rows gives the same bits as work in one: every operation that is cut by rows. And
// whole Hessians of wide linears are cut so that no dispatch takes long. The linker puts functions of this file in the place
// of the one that says how many rows a dispatch takes (__wrap_NAME for NAME; no small matrix is cut else) and of the one that
// dispatches. On the host: cuts do not depend on the device.
#include "ops/alibi.h"
#include "ops/attention.h"
#include "ops/chunks.h"
#include "ops/elementwise.h"
#include "ops/embedding.h"
#include "ops/fixture.h"
#include "ops/gemm_int8.h"
#include "ops/gptq_block.h"
#include "ops/loss.h"
#include "ops/matrix.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/rounding.h"
#include "ops/statistics.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
uint64_t __wrap_bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row);
uint64_t __real_bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row);

bm_status __wrap_bm_dispatch(bm_device *device, const bm_call *call, bm_error *err);
bm_status __real_bm_dispatch(bm_device *device, const bm_call *call, bm_error *err);

static bool is_cut;
static uint32_t num_cuts; // asked for since an operation began

// What was dispatched while nothing is computed: of kernels whose first scalar is their rows.
static struct {
    bool is_on;
    uint32_t count;
    uint64_t rows;
    double longest; // seconds
} dry;

uint64_t __wrap_bm_chunk_rows(const bm_device *device, uint64_t widest_stride, double operations_per_row)
{
    num_cuts++;
    return is_cut ? 4 : __real_bm_chunk_rows(device, widest_stride, operations_per_row);
}

bm_status __wrap_bm_dispatch(bm_device *device, const bm_call *call, bm_error *err)
{
    uint32_t rows;
    if (!dry.is_on)
        return __real_bm_dispatch(device, call, err);
    memcpy(&rows, call->scalars, sizeof rows);
    dry.count++;
    dry.rows += rows;
    dry.longest = fmax(dry.longest, call->seconds);
    return BM_OK;
}

enum { ROWS = 11, COLS = 32, GROUP = 8, GROUPS = COLS / GROUP, MAX_BYTES = 1 << 14 };

// What an operation gave, one output behind the other.
typedef struct outputs {
    uint8_t bytes[MAX_BYTES];
    size_t size;
} outputs;

static void keep(outputs *out, const bm_tensor *tensor)
{
    const size_t size = (size_t)(tensor->rows * tensor->cols * bm_dtype_size(tensor->dtype));
    assert_true(out->size + size <= sizeof out->bytes);
    MUST(bm_tensor_download(test_device, tensor, out->bytes + out->size, &failure));
    MUST(bm_device_wait(test_device, &failure));
    out->size += size;
}

// Normal numbers; each seed has its own.
static bm_tensor numbers(uint64_t seed, uint64_t rows, uint64_t cols)
{
    static float values[COLS * COLS];
    bm_random random;
    assert_true(rows * cols <= BM_COUNT(values));
    bm_random_init(&random, seed, 0);
    fill_normal(&random, rows * cols, 1, values);
    return make_tensor(rows, cols, values);
}

static bm_tensor zeros(bm_dtype dtype, uint64_t cols)
{
    return make_typed(dtype, ROWS, cols, NULL);
}

// factor * row + offset.
static bm_view row_numbers(uint32_t factor, uint32_t offset)
{
    uint32_t values[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        values[r] = factor * r + offset;
    return make_integers(ROWS, values);
}

static void add(outputs *out) // with rows that are padded
{
    const bm_tensor x = numbers(1, ROWS, COLS - 3), y = numbers(2, ROWS, COLS - 3), z = zeros(BM_DTYPE_F32, COLS - 3);
    MUST(bm_add(test_device, &x, &y, &z, &failure));
    keep(out, &z);
}

static void convert(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), y = zeros(BM_DTYPE_F16, COLS);
    MUST(bm_convert(test_device, &x, &y, NULL, &failure));
    keep(out, &y);
}

static void gate(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), up = numbers(2, ROWS, COLS), y = zeros(BM_DTYPE_F32, COLS);
    MUST(bm_gate(test_device, BM_ACTIVATION_SILU, &x, &up, &y, &failure));
    keep(out, &y);
}

static void row_error(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), y = numbers(2, ROWS, COLS), sums = zeros(BM_DTYPE_F32, 4);
    MUST(bm_row_error(test_device, &x, &y, &sums, &failure));
    keep(out, &sums);
}

static void column_range(outputs *out)
{
    static const uint32_t counts[] = {3, 1, ROWS - 4};
    const bm_tensor x = numbers(1, ROWS, COLS), results = zeros(BM_DTYPE_F32, COLS);
    const bm_tensor minimum = bm_tensor_rows(&results, 0, 3), maximum = bm_tensor_rows(&results, 4, 3);
    const bm_tensor sum = bm_tensor_rows(&results, 8, 3), squares = make_typed(BM_DTYPE_F32, 3, COLS, NULL);
    MUST(bm_column_range(test_device, &x, counts, 3, &minimum, &maximum, &sum, BM_MOMENT_SQUARES, &squares, &failure));
    keep(out, &results);
    keep(out, &squares);
}

static void rmsnorm(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), weight = numbers(2, 1, COLS), y = zeros(BM_DTYPE_F32, COLS);
    MUST(bm_rmsnorm(test_device, &x, &weight, 1e-6f, &y, &failure));
    keep(out, &y);
}

static void layernorm(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), weight = numbers(2, 1, COLS), bias = numbers(3, 1, COLS);
    const bm_tensor y = zeros(BM_DTYPE_F32, COLS);
    MUST(bm_layernorm(test_device, &x, &weight, &bias, 1e-6f, &y, &failure));
    keep(out, &y);
}

static void gelu(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), y = zeros(BM_DTYPE_F32, COLS);
    MUST(bm_gate(test_device, BM_ACTIVATION_GELU_TANH, &x, NULL, &y, &failure));
    keep(out, &y);
}

static void embedding(outputs *out)
{
    const bm_tensor table = numbers(1, ROWS, COLS), y = zeros(BM_DTYPE_F32, COLS);
    uint32_t ids[ROWS];
    for (uint32_t r = 0; r < ROWS; r++)
        ids[r] = r * 7 % ROWS;
    MUST(bm_embedding(test_device, make_integers(ROWS, ids), &table, 0, ROWS, &y, &failure));
    keep(out, &y);
}

static void rope(outputs *out)
{
    const bm_rope_config config = {.theta = 100};
    const bm_tensor x = numbers(1, ROWS, COLS);
    bm_rope_tables *tables = NULL;
    MUST(bm_rope_tables_create(test_device, &config, 16, 3 * ROWS, &tables, &failure));
    MUST(bm_rope_apply(test_device, tables, &x, 16, row_numbers(3, 1), false, &failure));
    keep(out, &x);
    bm_rope_tables_destroy(&tables);
}

// Two heads; token t sees the keys from t / 2 to t.
static void attention(outputs *out)
{
    const bm_tensor q = numbers(1, ROWS, COLS), k = numbers(2, ROWS, COLS / 2), v = numbers(3, ROWS, COLS / 2);
    const bm_tensor y = zeros(BM_DTYPE_F32, COLS);
    uint32_t first[ROWS];
    for (uint32_t t = 0; t < ROWS; t++)
        first[t] = t / 2;
    bm_buffer *slopes = NULL;
    MUST(bm_alibi_slopes_create(test_device, 2, &slopes, &failure));
    const bm_attention_params params = {.num_heads = 2,
                                        .num_key_value_heads = 1,
                                        .head_dim = 16,
                                        .scale = 0.25f,
                                        .first_key = make_integers(ROWS, first),
                                        .last_key = row_numbers(1, 0),
                                        .slopes = bm_buffer_view(slopes)};
    MUST(bm_attention(test_device, &q, &k, &v, &params, &y, &failure));
    keep(out, &y);
    bm_buffer_destroy(&slopes);
}

static bm_loss *add_logits(const bm_tensor *logits, bm_view targets)
{
    bm_loss *loss = NULL;
    MUST(bm_loss_create(test_device, ROWS, &loss, &failure));
    MUST(bm_loss_begin(test_device, loss, ROWS, &failure));
    MUST(bm_loss_add(test_device, loss, logits, targets, 0, &failure));
    return loss;
}

static void loss(outputs *out)
{
    const bm_tensor p_logits = numbers(1, ROWS, COLS), q_logits = numbers(2, ROWS, COLS);
    const bm_view targets = row_numbers(2, 3);
    bm_loss *p = add_logits(&p_logits, targets), *q = add_logits(&q_logits, targets);
    MUST(bm_loss_add_divergence(test_device, p, q, &p_logits, &q_logits, &failure));
    keep(out, &p->state);
    keep(out, &q->state);
    keep(out, &q->divergence);
    bm_loss_destroy(&p);
    bm_loss_destroy(&q);
}

static void rounding(outputs *out)
{
    const bm_grid_params grid = {
        .bits = 4, .group_size = GROUP, .symmetric = false, .scale_dtype = BM_DTYPE_F32, .search = true};
    const bm_tensor w = numbers(1, ROWS, COLS), step = zeros(BM_DTYPE_F32, GROUPS), zero = zeros(BM_DTYPE_I32, GROUPS);
    const bm_tensor low = zeros(BM_DTYPE_F32, GROUPS), high = zeros(BM_DTYPE_F32, GROUPS);
    const bm_tensor codes = zeros(BM_DTYPE_I8, COLS), words = zeros(BM_DTYPE_U32, COLS / 8);
    const bm_tensor unpacked = zeros(BM_DTYPE_I8, COLS), rounded = zeros(BM_DTYPE_F32, COLS),
                    fake = zeros(BM_DTYPE_F32, COLS), normalized = zeros(BM_DTYPE_F32, COLS);
    MUST(bm_group_range(test_device, &w, GROUP, &low, &high, &failure));
    MUST(bm_group_normalize(test_device, &w, GROUP, &low, &high, &normalized, &failure));
    MUST(bm_grid_search(test_device, &w, &grid, NULL, &step, &zero, &failure));
    MUST(bm_quantize(test_device, &w, &step, &zero, GROUP, 4, &codes, &failure));
    MUST(bm_pack_codes(test_device, &codes, 4, &words, &failure));
    MUST(bm_unpack_codes(test_device, &words, 4, &unpacked, &failure));
    MUST(bm_dequantize(test_device, &codes, &step, &zero, GROUP, &rounded, &failure));
    MUST(bm_fake_quantize(test_device, &w, &step, &zero, GROUP, 4, &fake, &failure));
    const bm_tensor *const all[] = {&low, &high, &step, &zero, &codes, &words, &unpacked, &rounded, &fake, &normalized};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        keep(out, all[i]);
}

static void columns(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), y = numbers(2, ROWS, COLS), factors = numbers(3, 1, COLS);
    const bm_tensor x_error = numbers(4, ROWS, 4), y_error = numbers(5, ROWS, 4), sums = zeros(BM_DTYPE_F32, 4);
    MUST(bm_scale_columns(test_device, &x, &factors, &failure));
    MUST(bm_row_dot(test_device, &x, &y, &sums, &failure));
    MUST(bm_keep_better(test_device, &x, &y, &x_error, &y_error, &failure));
    keep(out, &sums);
    keep(out, &x);
}

// Activations to codes, and their product with codes that are set in cuts.
static void int8(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS), y = zeros(BM_DTYPE_F32, ROWS);
    const bm_int8_rows codes = {zeros(BM_DTYPE_I8, COLS), zeros(BM_DTYPE_F32, 4)};
    const bm_quantize_rows_params params = {.name = "layer", .per_row = true};
    const bm_tensor steps = numbers(2, ROWS, 1);
    bm_int8_weights *weights = NULL;
    MUST(bm_quantize_rows(test_device, &x, &params, &codes, &failure));
    MUST(bm_int8_weights_create(test_device, ROWS, COLS, "layer", NULL, &weights, &failure));
    MUST(bm_int8_weights_set_rows(test_device, weights, 0, &codes.codes, &steps, &failure));
    MUST(bm_gemm_int8(test_device, &codes, weights, NULL, &y, &failure));
    bm_int8_weights_destroy(&weights);
    keep(out, &codes.codes);
    keep(out, &codes.rows);
    keep(out, &y);
}

static void transpose(outputs *out)
{
    const bm_tensor x = numbers(1, ROWS, COLS - 3), y = make_typed(BM_DTYPE_F32, COLS - 3, ROWS, NULL);
    const bm_tensor half = make_typed(BM_DTYPE_F16, COLS - 3, ROWS, NULL); // a vector is eight rows
    MUST(bm_transpose(test_device, &x, &y, &failure));
    MUST(bm_transpose(test_device, &x, &half, &failure));
    keep(out, &y);
    keep(out, &half);
}

// Rows and columns in an order or as they are, the diagonal in both.
static void permute(outputs *out)
{
    uint32_t order[COLS], added[COLS];
    for (uint32_t i = 0; i < COLS; i++) {
        order[i] = i * 5 % COLS;
        added[i] = 0x3f800000 + i * 0x10000; // 1 and a bit more each
    }
    const bm_tensor x = numbers(1, COLS, COLS), y = make_tensor(COLS, COLS, NULL), some = zeros(BM_DTYPE_F32, COLS);
    const bm_view view = make_integers(COLS, order), diagonal = make_integers(COLS, added);
    MUST(bm_permute(test_device, &x, &(bm_permutation){.diagonal = diagonal, .lower = true}, &y, &failure));
    keep(out, &y);
    MUST(bm_permute(test_device, &x, &(bm_permutation){.row_order = view, .col_order = view, .diagonal = diagonal},
                    &some, &failure));
    keep(out, &some);
}

// Both forms that weights lie in, read by a product with ones on the diagonal.
static void weights(outputs *out)
{
    static const bm_gemm_form forms[] = {BM_GEMM_ROWS, BM_GEMM_PANELS};
    static float diagonal[COLS * COLS];
    for (uint32_t i = 0; i < COLS; i++)
        diagonal[i * COLS + i] = 1;
    const bm_tensor x = numbers(1, ROWS, COLS), one = make_tensor(COLS, COLS, diagonal);
    for (size_t i = 0; i < BM_COUNT(forms); i++) {
        bm_gemm_choice choice = bm_gemm_choose(test_device);
        choice.form = forms[i];
        choice.rows = 6;
        choice.panel_cols = 16;
        const bm_tensor y = make_typed(BM_DTYPE_F32, COLS, ROWS, NULL);
        bm_weights *w = NULL;
        MUST(bm_weights_create(test_device, ROWS, COLS, BM_DTYPE_F32, "weights", &choice, &w, &failure));
        MUST(bm_weights_set_rows(test_device, w, 0, &x, &failure));
        MUST(bm_gemm_rows(test_device, &one, w, 0, ROWS, NULL, &y, &failure));
        keep(out, &y);
        bm_weights_destroy(&w);
    }
}

// What goes column by column, one step behind the other, and the values of codes whose groups an index names.
static void gptq(outputs *out)
{
    uint32_t index[COLS], ones[ROWS * GROUPS];
    for (uint32_t c = 0; c < COLS; c++)
        index[c] = c * 5 % GROUPS;
    for (uint32_t k = 0; k < ROWS * GROUPS; k++)
        ones[k] = 0x3f000000 + k * 0x1000; // 0.5 and a bit more each
    const bm_tensor w = numbers(1, ROWS, COLS), square = numbers(2, COLS, COLS), residual = numbers(3, ROWS, COLS);
    const bm_tensor step = make_typed(BM_DTYPE_F32, ROWS, GROUPS, ones), zero = zeros(BM_DTYPE_I32, GROUPS);
    const bm_tensor errors = zeros(BM_DTYPE_F32, COLS), change = zeros(BM_DTYPE_F32, COLS),
                    moved = zeros(BM_DTYPE_F32, COLS);
    const bm_tensor codes = zeros(BM_DTYPE_I8, COLS), rounded = zeros(BM_DTYPE_F32, COLS);
    bm_block_grid grid = {&step, &zero, 0, GROUP, 4, make_integers(COLS, index)};
    MUST(bm_gptq_block(test_device, &w, &square, &grid, &errors, &failure));
    grid.group_index = (bm_view){0};
    MUST(bm_code_sweep(test_device, &w, &residual, &square, &grid, &change, &failure));
    const bm_tensor group = bm_tensor_columns(&w, 0, GROUP), rest = bm_tensor_columns(&residual, 0, GROUP);
    const bm_tensor product = bm_tensor_columns(&errors, 0, GROUP), some = bm_tensor_columns(&moved, 0, GROUP);
    keep(out, &errors);
    MUST(bm_scale_refit(test_device, &group, &rest, &product, &step, 0, BM_DTYPE_F32, &some, &failure));
    MUST(bm_quantize(test_device, &w, &step, &zero, GROUP, 4, &codes, &failure));
    MUST(bm_dequantize_indexed(test_device, &codes, &step, &zero, make_integers(COLS, index), &rounded, &failure));
    const bm_tensor *const all[] = {&w, &change, &moved, &step, &codes, &rounded};
    for (size_t i = 0; i < BM_COUNT(all); i++)
        keep(out, all[i]);
}

static void cuts_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*run)(outputs *out);
    } operations[] = {{"add", add},
                      {"convert", convert},
                      {"gate", gate},
                      {"row_error", row_error},
                      {"column_range", column_range},
                      {"rmsnorm", rmsnorm},
                      {"layernorm", layernorm},
                      {"gelu", gelu},
                      {"rope", rope},
                      {"loss", loss},
                      {"attention", attention},
                      {"embedding", embedding},
                      {"rounding", rounding},
                      {"columns", columns},
                      {"products of codes", int8},
                      {"transpose", transpose},
                      {"permute", permute},
                      {"weights", weights},
                      {"gptq", gptq}};
    for (size_t i = 0; i < BM_COUNT(operations); i++) {
        static outputs whole, cut;
        whole.size = cut.size = 0;
        is_cut = false;
        operations[i].run(&whole);
        destroy_tensors();
        is_cut = true;
        num_cuts = 0;
        operations[i].run(&cut);
        destroy_tensors();
        if (num_cuts == 0 || whole.size != cut.size || memcmp(whole.bytes, cut.bytes, whole.size) != 0)
            fail_msg("%s: other results in dispatches of four rows", operations[i].name);
    }
}

// Hessians of the widest linears there are, without memory of that size: nothing is computed.
static void no_dispatch_of_a_wide_square_takes_long(void **state)
{
    (void)state;
    enum { N = 28672 };
    bm_tensor x = make_tensor(1, N, NULL), y = make_tensor(1, N, NULL);
    static const uint32_t any[N];
    const bm_view order = make_integers(N, any);
    const bm_permutation as_it_is = {.lower = false}, lower = {.lower = true};
    const bm_permutation ordered = {.row_order = order, .col_order = order};
    const bm_permutation *const permutations[] = {&as_it_is, &lower, &ordered};
    enum { TRANSPOSE = BM_COUNT(permutations), WEIGHTS, NUM_OPERATIONS };
    x.rows = y.rows = N;
    x.view.size = y.view.size = (uint64_t)N * x.stride * sizeof(float);
    bm_weights weights = {.out_features = N,
                          .in_features = N,
                          .dtype = BM_DTYPE_F32,
                          .choice = bm_gemm_choose(test_device),
                          .rows_per_part = N,
                          .num_parts = 1,
                          .parts = &y};
    weights.choice.form = BM_GEMM_ROWS;
    is_cut = false;
    for (size_t i = 0; i < NUM_OPERATIONS; i++) {
        memset(&dry, 0, sizeof dry);
        dry.is_on = true;
        if (i < TRANSPOSE)
            MUST(bm_permute(test_device, &x, permutations[i], &y, &failure));
        else if (i == TRANSPOSE)
            MUST(bm_transpose(test_device, &x, &y, &failure));
        else
            MUST(bm_weights_set_rows(test_device, &weights, 0, &x, &failure));
        dry.is_on = false;
        assert_true(dry.count > 1 && dry.rows == N);
        assert_true(dry.longest > 0 && dry.longest <= bm_chunk_max_seconds(test_device));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cuts_change_nothing),
                                       cmocka_unit_test(no_dispatch_of_a_wide_square_takes_long)};
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
