// What attention means: packed sequences do not see each other, a window hides the past, a cache is the same as all at
// once.
#include "device/backend.h"
#include "ops/alibi.h"
#include "ops/attention_split.h"
#include "ops/fixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 23, HEADS = 4, KV_HEADS = 2, DIM = 16, Q_COLS = HEADS * DIM, KV_COLS = KV_HEADS * DIM };
#define BOUND 2e-6 // scores and values are of size 1: about 32 roundings

static float q[TOKENS * Q_COLS], k[TOKENS * KV_COLS], v[TOKENS * KV_COLS];

static void make_inputs(void)
{
    bm_random random;
    bm_random_init(&random, 11, 0);
    fill_normal(&random, BM_COUNT(q), 0.5, q);
    fill_normal(&random, BM_COUNT(k), 0.5, k);
    fill_normal(&random, BM_COUNT(v), 0.5, v);
}

static float cap; // of run and plain

static void ask(const char *variants)
{
    MUST(bm_device_set_variants(test_device, variants, &failure));
}

// Runs attention of tokens first_token .. with their ranges of keys; the keys are rows first_row .. of k and v.
static void run(uint32_t first_token, uint32_t tokens, uint32_t first_row, uint32_t keys, const uint32_t *first,
                const uint32_t *last, float *out)
{
    const bm_tensor query = make_tensor(tokens, Q_COLS, q + first_token * Q_COLS);
    const bm_tensor key = make_tensor(keys, KV_COLS, k + first_row * KV_COLS),
                    value = make_tensor(keys, KV_COLS, v + first_row * KV_COLS);
    const bm_tensor y = make_tensor(tokens, Q_COLS, NULL);
    const bm_attention_params params = {
        HEADS, KV_HEADS, DIM, 0.25f, make_integers(tokens, first), make_integers(tokens, last), {0}, cap};
    MUST(bm_attention(test_device, &query, &key, &value, &params, &y, &failure));
    read_tensor(&y, out);
    destroy_tensors();
}

static void assert_close(const float *got, const float *want, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= BOUND))
            fail_msg("element %u: got %.9g, want %.9g", i, got[i], want[i]);
}

// The plain softmax of the textbook, by token and head.
static void plain(const uint32_t *first, const uint32_t *last, float *out)
{
    for (uint32_t t = 0; t < TOKENS; t++)
        for (uint32_t h = 0; h < HEADS; h++) {
            const uint32_t g = h / (HEADS / KV_HEADS);
            double p[TOKENS] = {0}, sum = 0;
            for (uint32_t i = first[t]; i <= last[t]; i++) {
                double dot = 0;
                for (uint32_t d = 0; d < DIM; d++)
                    dot += (double)q[t * Q_COLS + h * DIM + d] * k[i * KV_COLS + g * DIM + d];
                p[i] = exp(cap > 0 ? (double)cap * tanh(0.25 * dot / (double)cap) : 0.25 * dot);
                sum += p[i];
            }
            for (uint32_t d = 0; d < DIM; d++) {
                double y = 0;
                for (uint32_t i = first[t]; i <= last[t]; i++)
                    y += p[i] / sum * v[i * KV_COLS + g * DIM + d];
                out[t * Q_COLS + h * DIM + d] = (float)y;
            }
        }
}

static uint32_t zeros[TOKENS], causal[TOKENS];
static float got[TOKENS * Q_COLS], want[TOKENS * Q_COLS];

static void causal_equals_plain_softmax(void **state)
{
    (void)state;
    run(0, TOKENS, 0, TOKENS, zeros, causal, got);
    plain(zeros, causal, want);
    assert_close(got, want, TOKENS * Q_COLS);
    assert_close(got, v, DIM); // the first token sees itself alone: its value
}

static void window_hides_the_past(void **state)
{
    (void)state;
    uint32_t first[TOKENS];
    for (uint32_t t = 0; t < TOKENS; t++)
        first[t] = t < 5 ? 0 : t - 4;
    run(0, TOKENS, 0, TOKENS, first, causal, got);
    plain(first, causal, want);
    assert_close(got, want, TOKENS * Q_COLS);
}

static void packed_sequences_equal_sequences_alone(void **state)
{
    (void)state;
    static const uint32_t starts[] = {0, 9, 10, TOKENS};
    uint32_t first[TOKENS];
    for (uint32_t s = 0; s < 3; s++)
        for (uint32_t t = starts[s]; t < starts[s + 1]; t++)
            first[t] = starts[s];
    run(0, TOKENS, 0, TOKENS, first, causal, got);
    for (uint32_t s = 0; s < 3; s++) {
        const uint32_t count = starts[s + 1] - starts[s];
        run(starts[s], count, starts[s], count, zeros, causal, want);
        assert_close(got + starts[s] * Q_COLS, want, count * Q_COLS);
    }
}

static void cache_equals_all_at_once(void **state)
{
    (void)state;
    run(0, TOKENS, 0, TOKENS, zeros, causal, want);
    for (uint32_t t = 0; t < TOKENS; t++) { // one token behind t cached ones
        run(t, 1, 0, t + 1, zeros, &t, got);
        assert_close(got, want + t * Q_COLS, Q_COLS);
    }
}

// More rounds than lavapipe grants to a loop that is not unrolled. A query of zeros weighs all values the same.
// Whatever is asked for: what knows no cap leaves such calls to what does.
static void scores_are_capped_by_every_variant(void **state)
{
    (void)state;
    cap = 0.125f;
    plain(zeros, causal, want);
    for (uint32_t i = 0; bm_attention_variant(test_device, i); i++) {
        char words[64];
        snprintf(words, sizeof words, "attention=%s", bm_attention_variant(test_device, i));
        ask(words);
        run(0, TOKENS, 0, TOKENS, zeros, causal, got);
        assert_close(got, want, TOKENS * Q_COLS);
        run(TOKENS - 1, 1, 0, TOKENS, zeros, causal + TOKENS - 1, got);
        assert_close(got, want + (TOKENS - 1) * Q_COLS, Q_COLS);
    }
    ask("");
    cap = 0;
}

static void long_cache_is_walked_to_its_end(void **state)
{
    (void)state;
    enum { NUM_KEYS = 20001, WIDTH = 256 };
    if (support_is_instrumented())
        skip();
    static float keys[NUM_KEYS * WIDTH], values[NUM_KEYS * WIDTH];
    for (uint32_t i = 0; i < NUM_KEYS; i++)
        for (uint32_t d = 0; d < WIDTH; d++)
            values[i * WIDTH + d] = i == NUM_KEYS - 1 ? NUM_KEYS : 0; // the last key alone makes the mean 1
    const bm_tensor query = make_tensor(1, WIDTH, NULL), y = make_tensor(1, WIDTH, NULL);
    const bm_tensor key = make_tensor(NUM_KEYS, WIDTH, keys), value = make_tensor(NUM_KEYS, WIDTH, values);
    const uint32_t last = NUM_KEYS - 1;
    const bm_attention_params params = {1, 1, WIDTH, 1, make_integers(1, zeros), make_integers(1, &last), {0}, 0};
    MUST(bm_attention(test_device, &query, &key, &value, &params, &y, &failure));
    float out[WIDTH];
    read_tensor(&y, out);
    for (uint32_t d = 0; d < WIDTH; d++)
        assert_true(fabs(out[d] - 1.0) < 1e-5);
}

// A driver with lavapipe's limit would end the loops early and say nothing.
static void more_keys_than_the_driver_has_rounds_are_refused(void **state)
{
    (void)state;
    enum { NUM_KEYS = 30000, WIDTH = 256 };
    bm_device_limits *limits = &test_device->info.limits;
    const uint32_t real = limits->max_loop_rounds;
    bm_error err = {0};
    const bm_tensor query = make_tensor(1, WIDTH, NULL), y = make_tensor(1, WIDTH, NULL);
    limits->max_loop_rounds = 65535;
    ask("attention=plain"); // keys in parts take fewer rounds, tiles more
    const bm_tensor key = make_tensor(NUM_KEYS, WIDTH, NULL);
    const bm_attention_params params = {1, 1, WIDTH, 1, make_integers(1, zeros), make_integers(1, zeros), {0}, 0};
    assert_int_equal(bm_attention(test_device, &query, &key, &key, &params, &y, &err), BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "30000 keys"));
    assert_non_null(strstr(err.message, "--device opencl"));
    const bm_tensor fewer = bm_tensor_rows(&key, 0, 29000);
    MUST(bm_attention(test_device, &query, &fewer, &fewer, &params, &y, &failure));
    ask("attention=tile");
    const bm_status status = bm_attention(test_device, &query, &fewer, &fewer, &params, &y, &err);
    assert_int_equal(status, strcmp(bm_attention_chosen(test_device), "tile") == 0 ? BM_E_UNSUPPORTED : BM_OK);
    ask("");
    limits->max_loop_rounds = real;
}

// Few tokens a dispatch, so that no work-item walks on to more of them than the driver's loops have rounds for.
static void few_rounds_cut_the_tokens(void **state)
{
    (void)state;
    bm_device_limits *limits = &test_device->info.limits;
    const bm_device_limits real = *limits;
    const bool is_tile = strcmp(bm_attention_chosen(test_device), "tile") == 0;
    if (!is_tile)
        ask("attention=plain"); // lanes take 16 tokens at a time
    const bm_tensor query = make_tensor(TOKENS, Q_COLS, q), key = make_tensor(TOKENS, KV_COLS, k);
    const bm_tensor value = make_tensor(TOKENS, KV_COLS, v), y = make_tensor(TOKENS, Q_COLS, NULL);
    const bm_attention_params params = {
        HEADS, KV_HEADS, DIM, 0.25f, make_integers(TOKENS, zeros), make_integers(TOKENS, causal), {0}, 0};
    MUST(bm_device_wait(test_device, &failure));
    limits->max_loop_rounds = is_tile ? 700 : 60; // two pieces for a work-item
    limits->max_groups[0] = 1;
    if (!is_tile)
        limits->max_group_invocations = 8;
    MUST(bm_attention(test_device, &query, &key, &value, &params, &y, &failure));
    assert_in_range(test_device->num_recorded, 3, 6);
    *limits = real;
    ask("");
    read_tensor(&y, got);
    plain(zeros, causal, want);
    assert_close(got, want, TOKENS * Q_COLS);
}

// The tile kernel where its local memory and groups fit, in the larger or smaller form; else the plain one. As a GPU of
// other limits would have it: what is chosen runs, and gives the same.
static void chosen_kernel_fits_the_device(void **state)
{
    (void)state;
    static const struct {
        uint32_t tokens, head_dim, max_group, shared_bytes, variant, group;
    } cases[] = {
        {64, 256, 1024, 49152, BM_VARIANT_ATTENTION_TILE, 256},
        {63, 256, 1024, 49152, BM_VARIANT_ATTENTION_TILE, 64},
        {64, 256, 256, 25088, BM_VARIANT_ATTENTION_TILE, 256},
        {64, 256, 256, 25087, BM_VARIANT_ATTENTION_TILE, 64},
        {64, 256, 256, 16384, BM_VARIANT_ATTENTION_TILE, 64}, // the least that Vulkan allows
        {64, 256, 128, 49152, BM_VARIANT_ATTENTION_TILE, 64},
        {64, 256, 256, 12416, BM_VARIANT_ATTENTION_TILE, 64},
        {64, 256, 256, 12415, 0, 64},
        {64, 128, 256, 24576, BM_VARIANT_ATTENTION_TILE, 64}, // 256 would take 25088 for any width
        {64, 16, 63, 49152, 0, 32},
    };
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    if (!bm_kernel_has_variant(test_device, BM_KERNEL_ATTENTION, BM_VARIANT_ATTENTION_TILE))
        skip();
    run(0, TOKENS, 0, TOKENS, zeros, causal, want);
    info->kind = BM_DEVICE_DISCRETE_GPU;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        info->limits.max_group_invocations = cases[i].max_group;
        info->limits.shared_memory_bytes = cases[i].shared_bytes;
        const bm_attention_choice choice =
            bm_attention_choose(test_device, BM_DTYPE_F32, cases[i].tokens, cases[i].head_dim);
        assert_int_equal(choice.variant, cases[i].variant);
        assert_int_equal(choice.group, cases[i].group);
    }
    info->limits = real.limits;
    info->limits.shared_memory_bytes = 0;
    run(0, TOKENS, 0, TOKENS, zeros, causal, got);
    assert_close(got, want, TOKENS * Q_COLS);
    *info = real;
}

// The plain kernel and that of CPU devices walk over rows that others of their tokens see, and take nothing from them. (That
// of GPUs wants finite values in them.) Keys without values worth a number stand between, before and behind those seen.
static void unseen_rows_weigh_nothing(void **state)
{
    (void)state;
    enum { BAD_FIRST = 9, BAD_LAST = 11 };
    static float k_good[BM_COUNT(k)], v_good[BM_COUNT(v)];
    static const char *const names[] = {"attention=plain", "attention=lanes"};
    uint32_t first[TOKENS], last[TOKENS];
    memcpy(k_good, k, sizeof k);
    memcpy(v_good, v, sizeof v);
    for (uint32_t t = 0; t < TOKENS; t++) { // three sequences, the one in the middle is seen by its own tokens alone
        first[t] = t < BAD_FIRST ? 0 : t <= BAD_LAST ? BAD_FIRST : BAD_LAST + 1;
        last[t] = t;
    }
    plain(first, last, want);
    for (uint32_t i = BAD_FIRST * KV_COLS; i < (BAD_LAST + 1) * KV_COLS; i++) {
        k[i] = i % 2 ? NAN : INFINITY;
        v[i] = i % 3 ? INFINITY : NAN;
    }
    for (size_t n = 0; n < BM_COUNT(names); n++) { // the tiles of GPUs multiply what a token does not see by 0
        if (n > 0 && (bm_device_get_info(test_device)->kind != BM_DEVICE_CPU ||
                      !bm_kernel_has_variant(test_device, BM_KERNEL_ATTENTION, BM_VARIANT_ATTENTION_LANES)))
            continue;
        ask(names[n]);
        run(0, TOKENS, 0, TOKENS, first, last, got);
        assert_close(got, want, BAD_FIRST * Q_COLS);
        assert_close(got + (BAD_LAST + 1) * Q_COLS, want + (BAD_LAST + 1) * Q_COLS, (TOKENS - BAD_LAST - 1) * Q_COLS);
        for (uint32_t i = BAD_FIRST * Q_COLS; i < (BAD_LAST + 1) * Q_COLS; i++)
            assert_false(isfinite(got[i]));
    }
    ask("");
    memcpy(k, k_good, sizeof k);
    memcpy(v, v_good, sizeof v);
}

// A CPU device with wide vectors takes 16 tokens at a time, where there are as many.
static void wide_vectors_are_filled_with_tokens(void **state)
{
    (void)state;
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    if (!bm_kernel_has_variant(test_device, BM_KERNEL_ATTENTION, BM_VARIANT_ATTENTION_LANES))
        skip();
    info->kind = BM_DEVICE_CPU;
    info->limits.vector_width = 8;
    assert_int_equal(bm_attention_choose(test_device, BM_DTYPE_F32, 16, 64).variant, BM_VARIANT_ATTENTION_LANES);
    assert_int_equal(bm_attention_choose(test_device, BM_DTYPE_F32, 16, 64).group, 1);
    assert_int_equal(bm_attention_choose(test_device, BM_DTYPE_F32, 15, 64).variant, 0);
    info->limits.vector_width = 4;
    assert_int_equal(bm_attention_choose(test_device, BM_DTYPE_F32, 16, 64).variant, 0);
    info->limits.vector_width = 16;
    info->kind = BM_DEVICE_DISCRETE_GPU;
    assert_string_not_equal(bm_attention_chosen(test_device), "lanes");
    *info = real;
}

// Matrix units get what they take, in the form that is asked for and fits; tiles the rest.
static void matrix_units_take_many_tokens_of_their_types(void **state)
{
    (void)state;
    static const struct {
        bm_dtype type;
        uint32_t tokens, head_dim;
        const char *asked;
        uint32_t shared_bytes, group, keys; // keys 0: no matrix units
        enum { HALVES, BFLOATS, BOTH } units;
    } cases[] = {
        {BM_DTYPE_F16, 2048, 128, "", 49152, 256, 64, HALVES},
        {BM_DTYPE_F16, 31, 128, "", 49152, 64, 0, HALVES},
        {BM_DTYPE_F16, 2048, 128, "", 32768, 256, 0, HALVES}, // another form would fit
        {BM_DTYPE_F32, 2048, 128, "", 49152, 256, 0, HALVES},
        {BM_DTYPE_BF16, 2048, 128, "", 49152, 256, 0, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix", 49152, 256, 64, HALVES},
        {BM_DTYPE_F16, 32, 16, "attention=matrix", 49152, 256, 64, HALVES},
        {BM_DTYPE_F16, 31, 128, "attention=matrix", 49152, 64, 0, HALVES},
        {BM_DTYPE_F16, 2048, 72, "attention=matrix", 49152, 256, 0, HALVES},
        {BM_DTYPE_F16, 2048, 144, "attention=matrix", 49152, 256, 0, HALVES},
        {BM_DTYPE_BF16, 2048, 128, "attention=matrix", 49152, 256, 0, HALVES},
        {BM_DTYPE_BF16, 2048, 128, "", 49152, 256, 64, BOTH},
        {BM_DTYPE_BF16, 2048, 128, "attention=matrix", 49152, 256, 64, BOTH},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix", 49152, 256, 64, BOTH},
        {BM_DTYPE_F32, 2048, 128, "attention=matrix", 49152, 256, 0, BOTH},
        {BM_DTYPE_BF16, 2048, 128, "attention=matrix-32", 32768, 128, 32, BFLOATS},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix-32", 49152, 256, 0, BFLOATS},
        {BM_DTYPE_NONE, 2048, 128, "attention=matrix", 49152, 256, 0, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix-64", 49152, 128, 64, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix-32", 49152, 128, 32, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=tile", 49152, 256, 0, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=plain", 49152, 64, 0, HALVES},
        {BM_DTYPE_F16, 2048, 128, "attention=matrix-32", 32768, 128, 32, HALVES},
    };
    const uint32_t halves = BM_VARIANT_ATTENTION_CM, bfloats = BM_VARIANT_ATTENTION_CM_BF16;
    const bm_kernel_variant *variants = bm_kernel_table[BM_KERNEL_ATTENTION].variants;
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    const bool is_vulkan = strcmp(info->backend, "vulkan") == 0;
    if (!bm_kernel_has_variant(test_device, BM_KERNEL_ATTENTION, BM_VARIANT_ATTENTION_TILE))
        skip();
    info->kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(info->name, sizeof info->name, "a GPU"); // NVIDIA's take another form, and have units through OpenCL
    info->limits.nvidia_mma = false;
    info->limits.max_group_invocations = 1024;
    info->limits.min_subgroup_size = info->limits.max_subgroup_size = 32;
    for (size_t i = 0; i < BM_COUNT(cases) && is_vulkan; i++) {
        info->limits.shared_memory_bytes = cases[i].shared_bytes;
        info->limits.num_matrix_shapes = cases[i].units == BOTH ? 2 : 1;
        info->limits.matrix_shapes[0] = variants[cases[i].units == BFLOATS ? bfloats : halves].matrix;
        info->limits.matrix_shapes[1] = variants[bfloats].matrix;
        ask(cases[i].asked);
        const bm_attention_choice choice =
            bm_attention_choose(test_device, cases[i].type, cases[i].tokens, cases[i].head_dim);
        assert_int_equal(choice.keys, cases[i].keys);
        assert_int_equal(variants[choice.variant].matrix.component, cases[i].keys > 0 ? cases[i].type : BM_DTYPE_NONE);
        assert_int_equal(choice.group, cases[i].group);
    }
    ask("");
    info->limits.num_matrix_shapes = 0;
    assert_string_equal(bm_attention_chosen(test_device), "tile");
    *info = real;
}

// Two tokens behind caches of many lengths, all of whose keys they see, or a window of them; heads by turns of grouping.
static void keys_in_parts_equal_plain_softmax(void **state)
{
    (void)state;
    enum { MAX_KEYS = 4097, WIDTH = 6 * 24 };
    static const uint32_t lengths[] = {1, 3, 63, 64, 65, 129, 1000, MAX_KEYS}, sharing[] = {1, 2, 3, 6};
    static float query[2 * WIDTH], keys[MAX_KEYS * WIDTH], values[MAX_KEYS * WIDTH], out[2 * WIDTH];
    static double weights[MAX_KEYS];
    bm_random random;
    if (!bm_attention_split_runs(test_device) || support_is_instrumented())
        skip();
    bm_random_init(&random, 12, 0);
    fill_normal(&random, BM_COUNT(query), 1, query);
    fill_normal(&random, BM_COUNT(keys), 1, keys);
    fill_normal(&random, BM_COUNT(values), 1, values);
    ask("attention=split");
    for (uint32_t i = 0; i < 2 * BM_COUNT(lengths); i++) {
        const uint32_t num_keys = lengths[i / 2], share = sharing[i % BM_COUNT(sharing)], cols = WIDTH / share;
        const uint32_t last[2] = {num_keys > 1 ? num_keys - 2 : 0, num_keys - 1};
        const uint32_t first[2] = {i % 2 ? last[0] / 2 : 0, i % 2 && last[1] > 40 ? last[1] - 40 : 0};
        const bm_tensor x = make_tensor(2, WIDTH, query), y = make_tensor(2, WIDTH, NULL);
        const bm_tensor key = make_tensor(num_keys, cols, keys), value = make_tensor(num_keys, cols, values);
        const bm_attention_params params = {6,   6 / share, 24, 0.25f, make_integers(2, first), make_integers(2, last),
                                            {0}, 0};
        MUST(bm_attention(test_device, &x, &key, &value, &params, &y, &failure));
        read_tensor(&y, out);
        destroy_tensors();
        for (uint32_t row = 0; row < 12; row++) {
            const uint32_t t = row / 6, column = row % 6 / share * 24;
            double sum = 0;
            for (uint32_t j = first[t]; j <= last[t]; j++) {
                double dot = 0;
                for (uint32_t d = 0; d < 24; d++)
                    dot += (double)query[row * 24 + d] * keys[j * cols + column + d];
                sum += weights[j] = exp(0.25 * dot);
            }
            for (uint32_t d = 0; d < 24; d++) {
                double mean = 0;
                for (uint32_t j = first[t]; j <= last[t]; j++)
                    mean += weights[j] / sum * values[j * cols + column + d];
                if (!(fabs(out[row * 24 + d] - mean) <= 5 * BOUND))
                    fail_msg("%u keys, head %u: got %.9g, want %.9g", num_keys, row % 6, out[row * 24 + d], mean);
            }
        }
    }
    ask("");
}

// As many parts as fill the device, none of fewer keys than are worth one.
static void parts_fill_the_device(void **state)
{
    (void)state;
    static const struct {
        uint32_t units, tokens, keys, heads, kv_heads, splits, asked;
    } cases[] = {
        {132, 1, 2048, 32, 8, 32, 32},   {132, 1, 32768, 32, 8, 64, 64}, {132, 8, 32768, 32, 8, 9, 9},
        {132, 9, 32768, 32, 8, 0, 0},    {132, 1, 127, 32, 8, 0, 1},     {132, 1, 128, 32, 8, 2, 2},
        {132, 1, 32768, 32, 32, 17, 17}, {132, 1, 32768, 56, 8, 33, 33}, {0, 1, 32768, 32, 8, 32, 32},
        {10, 1, 32768, 32, 8, 5, 5},     {1, 8, 32768, 32, 8, 1, 1},
    };
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    if (!bm_attention_split_runs(test_device))
        skip();
    info->kind = BM_DEVICE_DISCRETE_GPU;
    snprintf(info->name, sizeof info->name, "NVIDIA H200");
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        info->limits.compute_units = cases[i].units;
        for (uint32_t asked = 0; asked < 2; asked++)
            assert_int_equal(bm_attention_splits(test_device, cases[i].tokens, cases[i].keys, cases[i].heads,
                                                 cases[i].kv_heads, 128, asked != 0),
                             asked ? cases[i].asked : cases[i].splits);
    }
    // Where four long heads do not fit into registers: twice the groups of half the heads, in half the parts.
    snprintf(info->name, sizeof info->name, "AMD Radeon");
    info->limits.compute_units = 132;
    assert_int_equal(bm_attention_splits(test_device, 1, 32768, 32, 8, 64, false), 64);
    assert_int_equal(bm_attention_splits(test_device, 1, 32768, 32, 8, 80, false), 33);
    assert_int_equal(bm_attention_shared_heads(test_device, 4, 64), 4);
    assert_int_equal(bm_attention_shared_heads(test_device, 4, 80), 2);
    assert_int_equal(bm_attention_shared_heads(test_device, 4, 256), 2);
    assert_int_equal(bm_attention_shared_heads(test_device, 1, 80), 1);
    snprintf(info->name, sizeof info->name, "Intel Arc");
    assert_int_equal(bm_attention_shared_heads(test_device, 4, 32), 4);
    assert_int_equal(bm_attention_shared_heads(test_device, 4, 64), 2);
    assert_int_equal(bm_attention_shared_heads(test_device, 2, 128), 1);
    info->limits.shared_memory_bytes = 16383;
    assert_false(bm_attention_split_runs(test_device));
    *info = real;
}

// What is asked for by name takes few tokens too.
static void parts_are_not_taken_for_another_variant(void **state)
{
    (void)state;
    enum { NUM_KEYS = 256 };
    if (!bm_attention_split_runs(test_device))
        skip();
    static const char *const names[] = {"attention=plain", "attention=split"};
    const uint32_t last = NUM_KEYS - 1;
    for (uint32_t i = 0; i < 2; i++) {
        ask(names[i]);
        const bm_tensor query = make_tensor(1, 16, NULL), key = make_tensor(NUM_KEYS, 16, NULL);
        const bm_tensor y = make_tensor(1, 16, NULL);
        const bm_attention_params params = {1, 1, 16, 1, make_integers(1, zeros), make_integers(1, &last), {0}, 0};
        MUST(bm_device_wait(test_device, &failure));
        MUST(bm_attention(test_device, &query, &key, &key, &params, &y, &failure));
        assert_int_equal(test_device->num_recorded, 1 + i); // parts are combined
        MUST(bm_device_wait(test_device, &failure));
        destroy_tensors();
    }
    ask("");
}

// The same of NVIDIA's units through OpenCL, which take bfloat16 too.
static void nvidia_units_take_many_tokens_of_16_bits(void **state)
{
    (void)state;
    static const struct {
        bm_dtype type;
        uint32_t tokens, head_dim;
        const char *asked;
        uint32_t shared_bytes, group, keys; // keys 0: no matrix units
    } cases[] = {
        {BM_DTYPE_F16, 2048, 128, "", 49152, 128, 64},
        {BM_DTYPE_BF16, 2048, 128, "", 49152, 128, 64},
        {BM_DTYPE_F32, 2048, 128, "", 49152, 256, 0},
        {BM_DTYPE_F16, 31, 128, "", 49152, 64, 0},
        {BM_DTYPE_F16, 2048, 128, "", 32768, 256, 0}, // another form would fit
        {BM_DTYPE_F16, 2048, 128, "attention=tile", 49152, 256, 0},
        {BM_DTYPE_F16, 2048, 128, "attention=mma", 49152, 128, 64},
        {BM_DTYPE_BF16, 32, 16, "attention=mma", 49152, 128, 64},
        {BM_DTYPE_F32, 2048, 128, "attention=mma", 49152, 256, 0},
        {BM_DTYPE_NONE, 2048, 128, "attention=mma", 49152, 256, 0},
        {BM_DTYPE_F16, 31, 128, "attention=mma", 49152, 64, 0},
        {BM_DTYPE_F16, 2048, 72, "attention=mma", 49152, 256, 0},
        {BM_DTYPE_F16, 2048, 144, "attention=mma", 49152, 256, 0},
        {BM_DTYPE_BF16, 2048, 128, "attention=mma-96", 49152, 192, 64},
        {BM_DTYPE_BF16, 2048, 64, "attention=mma-wide", 49152, 128, 32},
        {BM_DTYPE_BF16, 2048, 96, "attention=mma-wide", 49152, 256, 0},
        {BM_DTYPE_BF16, 2048, 128, "attention=mma-32", 17440, 128, 32},
    };
    bm_device_info *info = &test_device->info;
    const bm_device_info real = *info;
    if (strcmp(info->backend, "opencl") != 0)
        skip();
    info->kind = BM_DEVICE_DISCRETE_GPU;
    info->limits.max_group_invocations = 1024;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        info->limits.nvidia_mma = true;
        info->limits.shared_memory_bytes = cases[i].shared_bytes;
        ask(cases[i].asked);
        const bm_attention_choice choice =
            bm_attention_choose(test_device, cases[i].type, cases[i].tokens, cases[i].head_dim);
        assert_int_equal(choice.keys, cases[i].keys);
        assert_int_equal(choice.variant == BM_VARIANT_ATTENTION_MMA || choice.variant == BM_VARIANT_ATTENTION_MMA_WIDE,
                         cases[i].keys > 0);
        assert_int_equal(choice.group, cases[i].group);
        info->limits.nvidia_mma = false;
        assert_int_equal(bm_attention_choose(test_device, cases[i].type, 2048, 128).keys, 0);
    }
    ask("");
    *info = real;
}

static void nothing_seen_gives_zeros(void **state)
{
    (void)state;
    const uint32_t first = 1, last = 0;
    run(0, 1, 0, 2, &first, &last, got);
    memset(want, 0, sizeof want);
    assert_memory_equal(got, want, Q_COLS * sizeof *got);
}

// The numbers that the paper gives for 8 heads, and what transformers' build_alibi_tensor gives for 6, 12 and 1.
static void slopes_are_those_of_the_paper(void **state)
{
    (void)state;
    static const struct {
        uint32_t num_heads, head;
        double slope;
    } known[] = {{8, 0, 0.5},
                 {8, 7, 0.00390625},
                 {6, 0, 0.25},
                 {6, 3, 0.00390625},
                 {6, 4, 0.5},
                 {6, 5, 0.125},
                 {12, 7, 0.00390625},
                 {12, 8, 0.7071067811865476},
                 {12, 11, 0.08838834764831845},
                 {1, 0, 0.00390625},
                 {3, 2, 0.25},
                 {112, 63, 0.00390625}};
    for (size_t i = 0; i < BM_COUNT(known); i++)
        assert_true(fabs(bm_alibi_slope(known[i].num_heads, known[i].head) - known[i].slope) <= 1e-15);
    bm_buffer *slopes = NULL;
    float found[6];
    MUST(bm_alibi_slopes_create(test_device, 6, &slopes, &failure));
    MUST(
        bm_download(test_device, bm_view_part(bm_buffer_view(slopes), 0, sizeof found), found, sizeof found, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t h = 0; h < 6; h++)
        assert_true(found[h] == (float)bm_alibi_slope(6, h));
    bm_buffer_destroy(&slopes);
}

static void wrong_shapes_are_argument_errors(void **state)
{
    (void)state;
    bm_error err = {0};
    const bm_tensor query = make_tensor(3, Q_COLS, NULL), key = make_tensor(5, KV_COLS, NULL),
                    y = make_tensor(3, Q_COLS, NULL);
    const bm_view ranges = make_integers(3, zeros);
    bm_attention_params params = {HEADS, KV_HEADS, DIM, 0.25f, ranges, ranges, {0}, 0};
    MUST(bm_attention(test_device, &query, &key, &key, &params, &y, &failure));
    const bm_tensor fewer = bm_tensor_rows(&key, 0, 4);
    assert_int_equal(bm_attention(test_device, &query, &key, &fewer, &params, &y, &err), BM_E_ARGUMENT);
    assert_int_equal(bm_attention(test_device, &query, &query, &key, &params, &y, &err), BM_E_ARGUMENT);
    params.num_key_value_heads = 3;
    assert_int_equal(bm_attention(test_device, &query, &key, &key, &params, &y, &err), BM_E_ARGUMENT);
    const bm_tensor uneven = make_tensor(5, 3 * DIM, NULL); // four heads share three
    assert_int_equal(bm_attention(test_device, &query, &uneven, &uneven, &params, &y, &err), BM_E_ARGUMENT);
    assert_string_equal(err.message, "attention: 4 heads share 3 of keys and values");
    params.num_key_value_heads = KV_HEADS;
    params.head_dim = 12;
    assert_int_equal(bm_attention(test_device, &query, &key, &key, &params, &y, &err), BM_E_ARGUMENT);
    params.head_dim = DIM;
    params.slopes = bm_view_part(ranges, 0, 8); // of two of the four heads
    assert_int_equal(bm_attention(test_device, &query, &key, &key, &params, &y, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, "slopes"));
    params.slopes = (bm_view){0};
    params.last_key = bm_view_part(ranges, 0, 8);
    assert_int_equal(bm_attention(test_device, &query, &key, &key, &params, &y, &err), BM_E_ARGUMENT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_equals_plain_softmax),
        cmocka_unit_test(window_hides_the_past),
        cmocka_unit_test(packed_sequences_equal_sequences_alone),
        cmocka_unit_test(cache_equals_all_at_once),
        cmocka_unit_test(scores_are_capped_by_every_variant),
        cmocka_unit_test(long_cache_is_walked_to_its_end),
        cmocka_unit_test(more_keys_than_the_driver_has_rounds_are_refused),
        cmocka_unit_test(few_rounds_cut_the_tokens),
        cmocka_unit_test(chosen_kernel_fits_the_device),
        cmocka_unit_test(unseen_rows_weigh_nothing),
        cmocka_unit_test(wide_vectors_are_filled_with_tokens),
        cmocka_unit_test(matrix_units_take_many_tokens_of_their_types),
        cmocka_unit_test(keys_in_parts_equal_plain_softmax),
        cmocka_unit_test(parts_fill_the_device),
        cmocka_unit_test(parts_are_not_taken_for_another_variant),
        cmocka_unit_test(nvidia_units_take_many_tokens_of_16_bits),
        cmocka_unit_test(nothing_seen_gives_zeros),
        cmocka_unit_test(slopes_are_those_of_the_paper),
        cmocka_unit_test(wrong_shapes_are_argument_errors),
    };
    make_inputs();
    for (uint32_t t = 0; t < TOKENS; t++)
        causal[t] = t;
    return run_on_device(argc, argv, tests, BM_COUNT(tests));
}
