// Every format: what is put is got back, whatever the pieces; and what lies in the file, against words worked by hand.
#include "support/unit.h"

#include "base/half.h"
#include "base/random.h"
#include "store/store.h"
#include "support/folders.h"

#include <stdio.h>
#include <string.h>

#define MODULE "model.layers.0.mlp.up_proj"

// A linear on the host.
typedef struct made_linear {
    bm_store_linear linear;
    uint64_t groups;
    int8_t *codes;         // [out_features, in_features]
    float *steps;          // [out_features, groups]
    int32_t *zero_points;  // the same
    uint32_t *group_index; // [in_features]; NULL: neighbours
} made_linear;

static bm_device *open_host(void)
{
    bm_error err;
    bm_device *device = NULL;
    bm_device_params params;
    bm_device_params_init(&params);
    params.spec = "host";
    assert_ok(bm_device_open(&device, &params, &err), &err);
    return device;
}

static made_linear make(uint64_t rows, uint64_t cols, const bm_grid_params *grid, bool has_group_index)
{
    made_linear m = {.linear = {.module = MODULE,
                                .out_features = rows,
                                .in_features = cols,
                                .grid = *grid,
                                .per_channel = grid->group_size == cols,
                                .has_group_index = has_group_index},
                     .groups = bm_num_groups(cols, grid->group_size)};
    m.codes = bm_alloc_zero(rows * cols, 1);
    m.steps = bm_alloc_zero(rows * m.groups, sizeof *m.steps);
    m.zero_points = bm_alloc_zero(rows * m.groups, sizeof *m.zero_points);
    m.group_index = has_group_index ? bm_alloc_zero(cols, sizeof *m.group_index) : NULL;
    return m;
}

static void free_made(made_linear *m)
{
    bm_free(m->codes);
    bm_free(m->steps);
    bm_free(m->zero_points);
    bm_free(m->group_index);
}

// Steps are exact in float16 and bfloat16, some of them negative. Where grids are symmetric zero points are 0; of version 1 of
// gptq, none is the least.
static void fill(made_linear *m, bm_random *random)
{
    const bm_grid_params *grid = &m->linear.grid;
    const uint32_t levels = 1u << grid->bits;
    const int32_t half = (int32_t)levels / 2;
    for (uint64_t i = 0; i < m->linear.out_features * m->linear.in_features; i++)
        m->codes[i] = (int8_t)((int32_t)bm_random_below(random, levels) - half);
    for (uint64_t i = 0; i < m->linear.out_features * m->groups; i++) {
        m->steps[i] = (float)(1 + bm_random_below(random, 100)) / (bm_random_below(random, 2) ? 128.0f : -64.0f);
        m->zero_points[i] = grid->symmetric ? 0 : (int32_t)bm_random_below(random, levels) - half;
    }
    for (uint64_t c = 0; m->group_index && c < m->linear.in_features; c++)
        m->group_index[c] = (uint32_t)(c / m->linear.grid.group_size);
    if (m->group_index)
        bm_random_shuffle(random, m->group_index, (uint32_t)m->linear.in_features);
}

static void put_rows(const bm_store_format *format, bm_device *device, bm_checkpoint_writer *writer,
                     const made_linear *m, uint64_t first, uint64_t count)
{
    bm_error err;
    bm_codes codes;
    bm_store_rows rows;
    assert_ok(bm_codes_create(device, count, m->linear.in_features, &m->linear.grid, &codes, &err), &err);
    assert_ok(bm_tensor_upload(device, &codes.codes, m->codes + first * m->linear.in_features, &err), &err);
    assert_ok(bm_tensor_upload(device, &codes.step, m->steps + first * m->groups, &err), &err);
    assert_ok(bm_tensor_upload(device, &codes.zero_point, m->zero_points + first * m->groups, &err), &err);
    codes.group_index = m->group_index;
    assert_ok(bm_store_fetch(format, device, &m->linear, first, &codes, &rows, &err), &err);
    assert_ok(format->put(writer, &m->linear, first, &rows, &err), &err);
    bm_store_rows_free(&rows);
    codes.group_index = NULL;
    bm_codes_destroy(&codes);
}

// Into model.safetensors of a new folder, piece rows at a time.
static char *write_linear(const bm_store_format *format, bm_device *device, const made_linear *m, uint64_t piece)
{
    bm_error err;
    bm_checkpoint_writer *writer = NULL;
    char *folder = support_folder_create();
    assert_ok(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &err), &err);
    assert_ok(format->check(&m->linear, &err), &err);
    assert_ok(bm_store_declare(format, writer, &m->linear, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    for (uint64_t first = 0; first < m->linear.out_features; first += piece)
        put_rows(format, device, writer, m, first, bm_min_u64(piece, m->linear.out_features - first));
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    return folder;
}

static bm_json *write_config(const bm_store_format *format, const made_linear *m)
{
    static const char *const lm_head[] = {"lm_head"};
    const bm_store_description description = {.grid = m->linear.grid,
                                              .per_channel = m->linear.per_channel,
                                              .act_order = m->linear.has_group_index ? BM_COLUMN_ORDER_DYNAMIC
                                                                                     : BM_COLUMN_ORDER_STATIC,
                                              .float_modules = lm_head,
                                              .num_float_modules = 1};
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    bm_json *root = NULL;
    bm_error err;
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    format->config(&json, &description);
    bm_json_end_object(&json);
    assert_ok(bm_json_parse(&root, text.data, text.length, "NAME", &err), &err);
    bm_string_free(&text);
    return root;
}

static void expect_rows(const made_linear *m, const float *values, uint64_t first, uint64_t count, const char *words)
{
    const uint64_t cols = m->linear.in_features;
    for (uint64_t r = 0; r < count; r++)
        for (uint64_t c = 0; c < cols; c++) {
            const uint64_t group = m->group_index ? m->group_index[c] : c / m->linear.grid.group_size;
            const uint64_t at = (first + r) * m->groups + group;
            const float expected = (float)(m->codes[(first + r) * cols + c] - m->zero_points[at]) * m->steps[at];
            if (values[r * cols + c] != expected)
                fail_msg("%s: row %llu column %llu: %g, expected %g", words, (unsigned long long)(first + r),
                         (unsigned long long)c, (double)values[r * cols + c], (double)expected);
        }
}

static void expect_got_back(const bm_store_format *format, bm_device *device, const char *folder, const made_linear *m,
                            uint64_t piece, const char *words)
{
    const uint64_t rows = m->linear.out_features, cols = m->linear.in_features;
    bm_error err = {0};
    bm_store_config config = {0};
    bm_store_linear found;
    bm_checkpoint *checkpoint = NULL;
    bm_json *root = write_config(format, m);
    float *values = bm_alloc(piece * cols, sizeof *values);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    assert_ok(bm_store_open(&config, root, "NAME", &err), &err);
    assert_ptr_equal(config.format, format);
    assert_false(bm_store_match(&config, checkpoint, "lm_head", rows, cols, &found));
    assert_true(bm_store_match(&config, checkpoint, MODULE, rows, cols, &found));
    assert_int_equal(found.grid.bits, m->linear.grid.bits);
    assert_int_equal(found.grid.group_size, m->linear.grid.group_size);
    assert_int_equal(found.grid.symmetric, m->linear.grid.symmetric && format != &bm_store_awq); // which says neither
    assert_int_equal(found.grid.scale_dtype, m->linear.grid.scale_dtype);
    assert_int_equal(found.per_channel, m->linear.per_channel);
    assert_ok(format->check_values(checkpoint, &found, &err), &err);
    for (uint64_t first = 0; first < rows; first += piece) {
        const uint64_t count = bm_min_u64(piece, rows - first);
        bm_tensor tensor = {0};
        assert_ok(bm_store_read_rows(&config, checkpoint, &found, device, first, count, &tensor, &err), &err);
        assert_ok(bm_tensor_download(device, &tensor, values, &err), &err);
        assert_ok(bm_device_wait(device, &err), &err);
        expect_rows(m, values, first, count, words);
        bm_tensor_destroy(&tensor);
    }
    bm_free(values);
    bm_store_close(&config);
    bm_checkpoint_close(&checkpoint);
    bm_json_destroy(&root);
}

static void what_is_put_is_got_back(void **state)
{
    static const uint32_t widths[] = {2, 3, 4, 8};
    static const bm_dtype types[] = {BM_DTYPE_F16, BM_DTYPE_BF16, BM_DTYPE_F32};
    static const uint32_t group_sizes[] = {32, 96};
    const bm_store_format *const formats[] = {&bm_store_compressed_tensors, &bm_store_gptq};
    bm_device *device = open_host();
    bm_random random;
    (void)state;
    bm_random_init(&random, 20261128, 1);
    for (uint32_t i = 0; i < 2 * 4 * 2 * 2 * 2; i++) {
        const bm_store_format *format = formats[i % 2];
        const bm_grid_params grid = {.bits = widths[i / 2 % 4],
                                     .symmetric = i / 8 % 2,
                                     .group_size = group_sizes[i / 16 % 2],
                                     .scale_dtype = format->scale_dtype ? format->scale_dtype : types[i / 2 % 3]};
        const bool has_group_index = i / 32 % 2 && grid.group_size == 32;
        char words[160];
        made_linear m = make(160, 96, &grid, has_group_index);
        fill(&m, &random);
        char *folder = write_linear(format, device, &m, i % 3 ? 64 : 96);
        snprintf(words, sizeof words, "%s, %u bits, groups of %u, symmetric %d, index %d", format->name, grid.bits,
                 grid.group_size, grid.symmetric, has_group_index);
        expect_got_back(format, device, folder, &m, i % 2 ? 32 : 128, words);
        support_folder_remove(&folder);
        free_made(&m);
    }
    bm_device_close(&device);
}

// Groups of 4 bits alone, of any size that divides; outputs in whole words.
static void what_is_put_in_awq_is_got_back(void **state)
{
    static const struct {
        uint64_t rows, cols;
        uint32_t group_size;
    } shapes[] = {{160, 96, 32}, {160, 96, 96}, {104, 128, 64}, {40, 60, 20}};
    bm_device *device = open_host();
    bm_random random;
    (void)state;
    bm_random_init(&random, 20261129, 1);
    for (uint32_t i = 0; i < 4 * BM_COUNT(shapes); i++) {
        const bm_grid_params grid = {
            .bits = 4, .symmetric = i % 2, .group_size = shapes[i / 4].group_size, .scale_dtype = BM_DTYPE_F16};
        char words[96];
        made_linear m = make(shapes[i / 4].rows, shapes[i / 4].cols, &grid, false);
        m.linear.per_channel = false;
        fill(&m, &random);
        char *folder = write_linear(&bm_store_awq, device, &m, i % 4 < 2 ? 32 : 96);
        snprintf(words, sizeof words, "awq, shape %u, symmetric %d", i / 4, grid.symmetric);
        expect_got_back(&bm_store_awq, device, folder, &m, i % 4 < 2 ? 128 : 64, words);
        support_folder_remove(&folder);
        free_made(&m);
    }
    bm_device_close(&device);
}

// A tensor of MODULE as it lies in the file.
static void read_part(const char *folder, const char *suffix, bm_dtype dtype, void *out, uint64_t size)
{
    char name[BM_STORE_NAME_SIZE];
    bm_error err;
    bm_checkpoint *checkpoint = NULL;
    snprintf(name, sizeof name, MODULE "%s", suffix);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    const bm_tensor_info *info = bm_checkpoint_find(checkpoint, name);
    assert_non_null(info);
    assert_int_equal(info->dtype, dtype);
    assert_int_equal(info->size_bytes, size);
    assert_ok(bm_checkpoint_read(checkpoint, info, 0, out, size, &err), &err);
    bm_checkpoint_close(&checkpoint);
}

static void expect_words(const char *folder, const char *suffix, const uint32_t *expected, uint64_t count)
{
    uint32_t words[8 * 32];
    assert_true(count <= BM_COUNT(words));
    read_part(folder, suffix, BM_DTYPE_I32, words, count * sizeof *words);
    for (uint64_t i = 0; i < count; i++)
        if (bm_load_le32(&words[i]) != expected[i])
            fail_msg("%s: word %llu: %08x, expected %08x", suffix, (unsigned long long)i, bm_load_le32(&words[i]),
                     expected[i]);
}

enum { SIDE = 32 }; // outputs and inputs of the linears below, which have one group

// Output 5 has the fields 0, 1, 2, .. in the order of its inputs, and again from 0; the others have field 0. Worked by hand:
// 32 fields of 3 bits, three words; 32 of 4, four words; and what each version stores as the zero point of a symmetric grid.
static void words_of_gptq_are_those_of_its_readers(void **state)
{
    static const struct {
        uint32_t bits, num_words, words[8], zeros[8];
    } cases[] = {
        {2, 2, {0xe4e4e4e4, 0xe4e4e4e4}, {0x55555555, 0x55555555}},
        {3, 3, {0x88fac688, 0xc688fac6, 0xfac688fa}, {0xdb6db6db, 0xb6db6db6, 0x6db6db6d}},
        {4, 4, {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98}, {0x77777777, 0x77777777, 0x77777777, 0x77777777}},
        {8,
         8,
         {0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c, 0x13121110, 0x17161514, 0x1b1a1918, 0x1f1e1d1c},
         {0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f, 0x7f7f7f7f}},
    };
    bm_device *device = open_host();
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        const uint32_t levels = 1u << cases[i].bits;
        const bm_grid_params grid = {
            .bits = cases[i].bits, .group_size = SIDE, .symmetric = true, .scale_dtype = BM_DTYPE_F16};
        made_linear m = make(SIDE, SIDE, &grid, false);
        uint32_t words[8 * SIDE] = {0}, index[SIDE] = {0};
        uint8_t scales[2 * SIDE];
        for (uint32_t n = 0; n < SIDE; n++) {
            m.steps[n] = n == 5 ? -1.5f : 1.0f;
            for (uint32_t k = 0; k < SIDE; k++)
                m.codes[n * SIDE + k] = (int8_t)((int32_t)(n == 5 ? k % levels : 0) - (int32_t)levels / 2);
        }
        for (uint32_t w = 0; w < cases[i].num_words; w++)
            words[w * SIDE + 5] = cases[i].words[w];
        char *folder = write_linear(&bm_store_gptq, device, &m, SIDE);
        expect_words(folder, ".qweight", words, (uint64_t)cases[i].num_words * SIDE);
        expect_words(folder, ".qzeros", cases[i].zeros, cases[i].num_words);
        expect_words(folder, ".g_idx", index, SIDE);
        read_part(folder, ".scales", BM_DTYPE_F16, scales, sizeof scales);
        assert_int_equal(scales[2 * 5] | scales[2 * 5 + 1] << 8, 0xbe00); // -1.5
        assert_int_equal(scales[2 * 6] | scales[2 * 6 + 1] << 8, 0x3c00);
        support_folder_remove(&folder);
        free_made(&m);
    }
    bm_device_close(&device);
}

// Asymmetric: zero points as they are, one field an output, the first in the lowest bits.
static void zero_points_of_version_2_are_stored_as_they_are(void **state)
{
    static const uint32_t four[4] = {0x76543210, 0xfedcba98, 0x76543210, 0xfedcba98},
                          three[3] = {0x88fac688, 0xc688fac6, 0xfac688fa};
    bm_device *device = open_host();
    (void)state;
    for (uint32_t bits = 3; bits <= 4; bits++) {
        const bm_grid_params grid = {.bits = bits, .group_size = SIDE, .symmetric = false, .scale_dtype = BM_DTYPE_F16};
        made_linear m = make(SIDE, SIDE, &grid, false);
        for (uint32_t n = 0; n < SIDE; n++)
            m.zero_points[n] = (int32_t)(n % (1u << bits)) - (1 << (bits - 1));
        char *folder = write_linear(&bm_store_gptq, device, &m, SIDE);
        expect_words(folder, ".qzeros", bits == 4 ? four : three, bits);
        support_folder_remove(&folder);
        free_made(&m);
    }
    bm_device_close(&device);
}

// Input 5 has the fields 0, 1, .. 15 in the order of outputs, and again; the others have field 0. Zero points of the first of
// two groups likewise. Worked by hand: outputs 7 5 3 1 6 4 2 0 from the highest bits down.
static void words_of_awq_are_those_of_its_readers(void **state)
{
    static const uint32_t ascending[4] = {0x75316420, 0xfdb9eca8, 0x75316420, 0xfdb9eca8};
    const bm_grid_params grid = {.bits = 4, .group_size = SIDE / 2, .scale_dtype = BM_DTYPE_F16};
    bm_device *device = open_host();
    made_linear m = make(SIDE, SIDE, &grid, false);
    uint32_t words[SIDE * 4] = {0}, zeros[2 * 4];
    uint8_t scales[2 * 2 * SIDE];
    (void)state;
    for (uint32_t n = 0; n < SIDE; n++) {
        for (uint32_t k = 0; k < SIDE; k++)
            m.codes[n * SIDE + k] = (int8_t)((int32_t)(k == 5 ? n % 16 : 0) - 8);
        m.steps[2 * n] = 1.0f;
        m.steps[2 * n + 1] = n == 7 ? -1.5f : 0.5f;
        m.zero_points[2 * n] = (int32_t)(n % 16) - 8;
    }
    for (uint32_t w = 0; w < 4; w++) {
        words[5 * 4 + w] = zeros[w] = ascending[w];
        zeros[4 + w] = 0x88888888;
    }
    char *folder = write_linear(&bm_store_awq, device, &m, SIDE);
    expect_words(folder, ".qweight", words, SIDE * 4);
    expect_words(folder, ".qzeros", zeros, 2 * 4);
    read_part(folder, ".scales", BM_DTYPE_F16, scales, sizeof scales);
    assert_int_equal(scales[2 * 7] | scales[2 * 7 + 1] << 8, 0x3c00);
    assert_int_equal(scales[2 * (SIDE + 7)] | scales[2 * (SIDE + 7) + 1] << 8, 0xbe00); // -1.5
    assert_int_equal(scales[2 * (SIDE + 6)] | scales[2 * (SIDE + 6) + 1] << 8, 0x3800);
    support_folder_remove(&folder);
    free_made(&m);
    bm_device_close(&device);
}

static void expect_index_refused(const bm_store_format *format, bm_device *device, const made_linear *m,
                                 const char *words)
{
    bm_error err = {0};
    bm_checkpoint *checkpoint = NULL;
    char *folder = write_linear(format, device, m, SIDE);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    if (format->check_values(checkpoint, &m->linear, &err) != BM_E_FORMAT || !strstr(err.message, words))
        fail_msg("%s: \"%s\", expected \"%s\"", format->name, err.message, words);
    bm_checkpoint_close(&checkpoint);
    support_folder_remove(&folder);
}

// All inputs in the first group of two, which is not what its scale was made for; with a -1 the index is not used.
static void a_group_of_too_many_inputs_is_refused(void **state)
{
    const bm_grid_params grid = {.bits = 4, .group_size = 16, .symmetric = true, .scale_dtype = BM_DTYPE_F32};
    bm_device *device = open_host();
    made_linear m = make(SIDE, SIDE, &grid, true);
    (void)state;
    memset(m.group_index, 0, SIDE * sizeof *m.group_index);
    expect_index_refused(&bm_store_compressed_tensors, device, &m,
                         "weight_g_idx\": found 32 inputs in group 0, expected at most the group_size 16");
    expect_index_refused(&bm_store_gptq, device, &m,
                         ".g_idx\": found 32 inputs in group 0, expected at most the group_size 16");
    for (uint32_t c = 0; c < SIDE; c++)
        m.group_index[c] = c < 15 ? 0 : 1;
    expect_index_refused(&bm_store_gptq, device, &m, "found 17 inputs in group 1");
    free_made(&m);
    bm_device_close(&device);
}

// weight_g_idx is there where columns have an order of their own, and an entry of -1 means that it is not used.
static void group_indices_lie_beside_the_words(void **state)
{
    const bm_grid_params grid = {.bits = 4, .group_size = 16, .symmetric = true, .scale_dtype = BM_DTYPE_F32};
    bm_device *device = open_host();
    made_linear m = make(SIDE, SIDE, &grid, true);
    uint32_t expected[SIDE];
    (void)state;
    for (uint32_t c = 0; c < SIDE; c++)
        expected[c] = m.group_index[c] = c % 2;
    char *folder = write_linear(&bm_store_compressed_tensors, device, &m, SIDE);
    expect_words(folder, ".weight_g_idx", expected, SIDE);
    support_folder_remove(&folder);
    folder = write_linear(&bm_store_gptq, device, &m, SIDE);
    expect_words(folder, ".g_idx", expected, SIDE);
    support_folder_remove(&folder);
    bm_random random;
    bm_random_init(&random, 20261128, 2);
    fill(&m, &random);
    m.group_index[7] = UINT32_MAX;
    folder = write_linear(&bm_store_compressed_tensors, device, &m, SIDE);
    bm_free(m.group_index);
    m.group_index = NULL;
    expect_got_back(&bm_store_compressed_tensors, device, folder, &m, SIDE, "an index of -1");
    support_folder_remove(&folder);
    free_made(&m);
    bm_device_close(&device);
}

static void a_shape_that_gptq_has_no_words_for_is_refused(void **state)
{
    bm_error err;
    (void)state;
    const bm_grid_params grid = {.bits = 4, .group_size = 16, .symmetric = true, .scale_dtype = BM_DTYPE_F16};
    bm_store_linear linear = {.module = MODULE, .out_features = 48, .in_features = 64, .grid = grid};
    assert_int_equal(bm_store_gptq.check(&linear, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "gptq: found 48 outputs of " MODULE ", expected a multiple of 32"));
    linear.out_features = 64;
    linear.in_features = 80;
    assert_int_equal(bm_store_gptq.check(&linear, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "gptq: found 80 inputs of " MODULE ", expected a multiple of 32"));
    assert_ok(bm_store_compressed_tensors.check(&linear, &err), &err);
    linear.grid.group_size = 64;
    assert_int_equal(bm_store_compressed_tensors.check(&linear, &err), BM_E_FORMAT);
    assert_non_null(strstr(err.message, "found 64, expected a divisor of 80"));
}

// What AutoAWQ adds to bloom's activation is not built, and is not passed over.
static void factors_of_an_activation_are_refused(void **state)
{
    static const char name[] = "h.0.mlp.gelu_impl.scales";
    const bm_store_linear linear = {.module = "h.0.mlp.dense_4h_to_h"}, other = {.module = "h.0.mlp.dense_h_to_4h"};
    const uint64_t shape[1] = {4};
    const uint16_t ones[4] = {0x3c00, 0x3c00, 0x3c00, 0x3c00};
    bm_error err = {0};
    bm_checkpoint_writer *writer = NULL;
    bm_checkpoint *checkpoint = NULL;
    char *folder = support_folder_create();
    (void)state;
    assert_ok(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, &err), &err);
    assert_ok(bm_checkpoint_writer_declare(writer, name, BM_DTYPE_F16, shape, 1, &err), &err);
    assert_ok(bm_checkpoint_writer_begin(writer, &err), &err);
    assert_ok(bm_checkpoint_writer_put(writer, name, 0, ones, sizeof ones, &err), &err);
    assert_ok(bm_checkpoint_writer_finish(&writer, &err), &err);
    assert_ok(bm_checkpoint_open(&checkpoint, folder, &err), &err);
    assert_ok(bm_store_awq.check_values(checkpoint, &other, &err), &err);
    assert_int_equal(bm_store_awq.check_values(checkpoint, &linear, &err), BM_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "tensor \"h.0.mlp.gelu_impl.scales\": factors of an activation are not built"));
    bm_checkpoint_close(&checkpoint);
    support_folder_remove(&folder);
}

static void a_shape_that_awq_has_no_words_for_is_refused(void **state)
{
    bm_error err;
    (void)state;
    const bm_grid_params grid = {.bits = 4, .group_size = 32, .scale_dtype = BM_DTYPE_F16};
    bm_store_linear linear = {.module = MODULE, .out_features = 44, .in_features = 64, .grid = grid};
    assert_int_equal(bm_store_awq.check(&linear, &err), BM_E_FORMAT);
    assert_string_equal(err.message, "awq: found 44 outputs of " MODULE ", expected a multiple of 8");
    linear.out_features = 40;
    assert_ok(bm_store_awq.check(&linear, &err), &err);
    linear.in_features = 80;
    assert_int_equal(bm_store_awq.check(&linear, &err), BM_E_FORMAT);
    assert_string_equal(err.message, "awq: found 80 inputs of " MODULE ", expected a multiple of the group_size 32");
    linear.input = BM_INPUT_DYNAMIC;
    assert_int_equal(bm_store_awq.check(&linear, &err), BM_E_FORMAT);
    assert_string_equal(err.message,
                        "awq: found quantized inputs of " MODULE ", expected float ones: it holds weights alone");
}

// Versions were tried by hand (docs/interop.md); a runtime that was tried and refused is not named.
static void what_loads_a_format_is_its_rows_knowledge(void **state)
{
    static const struct {
        const char *format;
        uint32_t bits;
        bool symmetric, per_channel;
        bm_column_order order;
        uint32_t num_float;
        bool vllm_runs;
        const char *words;
    } cases[] = {
        {"compressed-tensors", 4, true, false, BM_COLUMN_ORDER_STATIC, 1, true,
         "vLLM 0.32.0, transformers 5.24.0 (with compressed-tensors 0.20.0), "},
        {"compressed-tensors", 4, false, false, BM_COLUMN_ORDER_NONE, 3, false,
         "transformers 5.24.0 (with compressed-tensors 0.20.0), "},
        {"compressed-tensors", 8, true, true, BM_COLUMN_ORDER_DYNAMIC, 1, true,
         "vLLM (on GPUs, not tried), transformers 5.24.0 (with compressed-tensors 0.20.0), "},
        {"compressed-tensors", 8, false, true, BM_COLUMN_ORDER_NONE, 1, true,
         "transformers 5.24.0 (with compressed-tensors 0.20.0), "},
        {"compressed-tensors", 3, true, false, BM_COLUMN_ORDER_NONE, 1, true,
         "transformers 5.17.0 (with compressed-tensors 0.19.0), "},
        {"compressed-tensors", 4, true, false, BM_COLUMN_ORDER_DYNAMIC, 1, true,
         "vLLM (not tried), transformers 5.17.0 (with compressed-tensors 0.17.0; 0.19.0 refuses act_order dynamic), "},
        {"compressed-tensors", 3, true, false, BM_COLUMN_ORDER_DYNAMIC, 1, true, ""},
        {"gptq", 4, true, false, BM_COLUMN_ORDER_DYNAMIC, 1, true,
         "GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), "},
        {"gptq", 4, true, false, BM_COLUMN_ORDER_STATIC, 1, true,
         "vLLM 0.32.0, GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), "},
        {"gptq", 8, true, true, BM_COLUMN_ORDER_DYNAMIC, 1, true,
         "vLLM (on GPUs, not tried), GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), "},
        {"gptq", 4, false, false, BM_COLUMN_ORDER_NONE, 1, true,
         "GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), "},
        {"gptq", 3, true, false, BM_COLUMN_ORDER_NONE, 1, true,
         "GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0, optimum 2.3.0), "},
        {"gptq", 4, true, false, BM_COLUMN_ORDER_NONE, 2, false, "GPTQModel 7.7.0, "}, // one linear of one block
        {"awq", 4, false, false, BM_COLUMN_ORDER_STATIC, 2, true,
         "vLLM (not tried), GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0), "},
        {"awq", 4, true, false, BM_COLUMN_ORDER_NONE, 1, false,
         "GPTQModel 7.7.0, transformers 5.24.0 (with gptqmodel 7.7.0), "},
    };
    (void)state;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        bm_string words = BM_STRING_INIT;
        const bm_store_description description = {.grid = {.bits = cases[i].bits, .symmetric = cases[i].symmetric},
                                                  .per_channel = cases[i].per_channel,
                                                  .act_order = cases[i].order,
                                                  .num_float_modules = cases[i].num_float,
                                                  .model_type = "llama"};
        bm_store_find(cases[i].format)->loads_in(&description, cases[i].vllm_runs, &words);
        assert_string_equal(bm_string_text(&words), cases[i].words);
        bm_string_free(&words);
    }
    bm_string words = BM_STRING_INIT;
    const bm_store_description bloom = {.grid = {.bits = 4, .group_size = 64}, .model_type = "bloom"},
                               wide = {.grid = {.bits = 4, .group_size = 256}, .model_type = "llama"};
    bm_store_awq.loads_in(&bloom, false, &words);
    bm_store_awq.loads_in(&wide, true, &words);
    assert_string_equal(bm_string_text(&words), "GPTQModel 7.7.0, ");
    bm_string_free(&words);
    assert_null(bm_store_find("paddle"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got_back),
        cmocka_unit_test(what_is_put_in_awq_is_got_back),
        cmocka_unit_test(words_of_awq_are_those_of_its_readers),
        cmocka_unit_test(words_of_gptq_are_those_of_its_readers),
        cmocka_unit_test(zero_points_of_version_2_are_stored_as_they_are),
        cmocka_unit_test(group_indices_lie_beside_the_words),
        cmocka_unit_test(a_group_of_too_many_inputs_is_refused),
        cmocka_unit_test(what_loads_a_format_is_its_rows_knowledge),
        cmocka_unit_test(a_shape_that_gptq_has_no_words_for_is_refused),
        cmocka_unit_test(a_shape_that_awq_has_no_words_for_is_refused),
        cmocka_unit_test(factors_of_an_activation_are_refused),
    };
    return cmocka_run_group_tests_name("formats", tests, NULL, NULL);
}
