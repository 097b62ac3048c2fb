// Blocks of GGUF files read as codes: bytes by hand become codes, steps and zero points; rows of heads come back into their order;
// what has no canonical form is refused.
#include "base/half.h"
#include "store/gguf.h"
#include "support/folders.h"
#include "support/gguf_maker.h"
#include "support/host_device.h"

#include <string.h>

#define MODULE "model.layers.0.self_attn.q_proj"

// A file of one matrix.
typedef struct file {
    char *folder;
    bm_checkpoint *checkpoint;
    bm_store_config config;
    bm_store_linear linear;
} file;

static file file_open(uint32_t type, const void *bytes, size_t size, uint64_t rows, uint64_t cols, uint32_t num_heads)
{
    file f = {.folder = support_folder_create()};
    gguf_maker maker;
    bm_gguf *gguf = NULL;
    const uint64_t dims[] = {cols, rows};
    gguf_maker_init(&maker);
    gguf_maker_add_tensor(&maker, "blk.0.attn_q.weight", type, dims, 2, bytes, size);
    char *path = gguf_maker_write(&maker, f.folder, "m.gguf");
    MUST(bm_gguf_open(&gguf, path, &failure));
    const bm_gguf_view view = {bm_gguf_tensor_at(gguf, 0), MODULE ".weight", num_heads};
    MUST(bm_checkpoint_open_gguf(&f.checkpoint, &gguf, &view, 1, &failure));
    bm_store_open_gguf(&f.config, f.checkpoint);
    gguf_maker_free(&maker);
    bm_free(path);
    return f;
}

static bool file_match(file *f, uint64_t rows, uint64_t cols)
{
    return bm_store_match(&f->config, f->checkpoint, MODULE, rows, cols, &f->linear);
}

static void file_close(file *f)
{
    bm_checkpoint_close(&f->checkpoint);
    support_folder_remove(&f->folder);
}

static bm_store_rows read_rows(const file *f, uint64_t first, uint64_t count)
{
    bm_codes codes = {0};
    bm_store_rows rows = {0};
    MUST(bm_store_read_codes(&f->config, f->checkpoint, &f->linear, device, first, count, &codes, &failure));
    MUST(bm_store_fetch(&bm_store_gguf, device, &f->linear, first, &codes, &rows, &failure));
    bm_codes_destroy(&codes);
    return rows;
}

static int32_t code_at(const bm_store_rows *rows, uint64_t i)
{
    return rows->bytes ? rows->bytes[i] : (int32_t)(rows->packed[i / 8] >> i % 8 * 4 & 15) - 8;
}

// Element j of a block has code j % 16 - 8, by the order of halves of bytes in section 6.3 of formats.md: low ones are 0 to 15.
static void put_nibbles(uint8_t codes[16])
{
    for (int j = 0; j < 16; j++)
        codes[j] = (uint8_t)(j << 4 | j);
}

static void q4_0_is_symmetric(void **state)
{
    (void)state;
    uint8_t block[2][18];
    bm_store_le16(block[0], 0xc000); // -2
    bm_store_le16(block[1], 0x3400); // 0.25
    for (int b = 0; b < 2; b++)
        put_nibbles(block[b] + 2);
    block[1][2] = 0xf0; // elements 0 and 16
    file f = file_open(BM_GGUF_Q4_0, block, sizeof block, 1, 64, 0);
    assert_true(file_match(&f, 1, 64));
    assert_true(f.linear.grid.bits == 4 && f.linear.grid.group_size == 32 && f.linear.grid.symmetric &&
                f.linear.grid.scale_dtype == BM_DTYPE_F16);
    bm_store_rows rows = read_rows(&f, 0, 1);
    for (uint64_t j = 0; j < 64; j++)
        assert_int_equal(code_at(&rows, j), j == 48 ? 7 : (int32_t)(j % 16) - 8);
    assert_true(rows.steps[0] == -2 && rows.steps[1] == 0.25f);
    assert_true(rows.zero_points[0] == 0 && rows.zero_points[1] == 0);
    bm_store_rows_free(&rows);
    file_close(&f);
}

static void q8_0_has_signed_codes(void **state)
{
    (void)state;
    uint8_t block[34];
    bm_store_le16(block, 0x3c00); // 1
    for (int j = 0; j < 32; j++)
        block[2 + j] = (uint8_t)(int8_t)(j == 0 ? -128 : j == 31 ? 127 : j - 16);
    file f = file_open(BM_GGUF_Q8_0, block, sizeof block, 1, 32, 0);
    assert_true(file_match(&f, 1, 32));
    assert_true(f.linear.grid.bits == 8 && f.linear.grid.symmetric);
    bm_store_rows rows = read_rows(&f, 0, 1);
    for (int32_t j = 0; j < 32; j++)
        assert_int_equal(code_at(&rows, (uint64_t)j), j == 0 ? -128 : j == 31 ? 127 : j - 16);
    assert_true(rows.steps[0] == 1 && rows.zero_points[0] == 0);
    bm_store_rows_free(&rows);
    file_close(&f);
}

static const struct {
    uint16_t step, least;
    int32_t zero_point; // REFUSED: none
} least_weights[] = {
#define REFUSED 99
    {0x3800, 0x0000, -8},      // 0.5: 0 steps
    {0x3800, 0xc780, 7},       // -7.5: 15 steps
    {0x3800, 0xc200, -2},      // -3: 6 steps
    {0x2e66, 0xb999, -1},      // 0.09998, and -7 of it rounded to float16
    {0x0000, 0x0000, 0},       // a block of zeros
    {0x0000, 0x8000, 0},       // the same
    {0x3800, 0xc7c0, REFUSED}, // -7.75: 15.5 steps
    {0x3800, 0xc800, REFUSED}, // -8: 16 steps
    {0x3800, 0x3800, REFUSED}, // 0.5: -1 step
    {0x2e66, 0xb99a, REFUSED}, // one float16 further on than -7 steps
    {0x0000, 0x3c00, REFUSED}, // a block of ones
};

static void q4_1_has_zero_points_where_its_least_weight_is_whole_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(least_weights); i++) {
        uint8_t block[20];
        float step;
        int32_t zero_point;
        bm_store_le16(block, least_weights[i].step);
        bm_store_le16(block + 2, least_weights[i].least);
        put_nibbles(block + 4);
        file f = file_open(BM_GGUF_Q4_1, block, sizeof block, 1, 32, 0);
        assert_true(file_match(&f, 1, 32));
        assert_true(f.linear.grid.bits == 4 && !f.linear.grid.symmetric);
        const bm_status status = bm_store_gguf.get_grid(f.checkpoint, &f.linear, 0, 1, &step, &zero_point, &failure);
        if (least_weights[i].zero_point == REFUSED) {
            assert_int_equal(status, BM_E_UNSUPPORTED);
            assert_non_null(strstr(failure.message, "tensor \"blk.0.attn_q.weight\": found a block of Q4_1 of d "));
        } else {
            if (status != BM_OK || zero_point != least_weights[i].zero_point)
                fail_msg("%zu: status %d, zero point %d", i, (int)status, (int)zero_point);
            bm_store_rows rows = read_rows(&f, 0, 1);
            assert_int_equal(code_at(&rows, 17), 1 - 8);
            assert_int_equal(rows.zero_points[0], zero_point);
            bm_store_rows_free(&rows);
        }
        file_close(&f);
    }
}

// Two heads of four rows: rows 0 to 3 of a head lie as 0, 2, 1, 3.
static void rows_of_heads_come_back(void **state)
{
    (void)state;
    static const uint16_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    uint8_t blocks[8][34] = {{0}};
    for (uint16_t r = 0; r < 8; r++)
        bm_store_le16(blocks[r], bm_f32_to_f16((float)(1 + order[r])));
    file f = file_open(BM_GGUF_Q8_0, blocks, sizeof blocks, 8, 32, 2);
    assert_true(file_match(&f, 8, 32));
    bm_store_rows rows = read_rows(&f, 0, 8);
    for (int r = 0; r < 8; r++)
        assert_true(rows.steps[r] == (float)(1 + r));
    bm_store_rows_free(&rows);
    file_close(&f);
}

static void other_types_are_no_codes(void **state)
{
    (void)state;
    const uint8_t bytes[24 * 2] = {0};
    file f = file_open(BM_GGUF_Q5_1, bytes, sizeof bytes, 2, 32, 0);
    assert_false(file_match(&f, 2, 32));
    file_close(&f);
    uint8_t block[18] = {0x00, 0x7c}; // infinity
    f = file_open(BM_GGUF_Q4_0, block, sizeof block, 1, 32, 0);
    float step;
    int32_t zero_point;
    assert_true(file_match(&f, 1, 32));
    assert_int_equal(bm_store_gguf.get_grid(f.checkpoint, &f.linear, 0, 1, &step, &zero_point, &failure), BM_E_FORMAT);
    assert_non_null(strstr(failure.message, "found a block of d inf"));
    file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q4_0_is_symmetric),
        cmocka_unit_test(q8_0_has_signed_codes),
        cmocka_unit_test(q4_1_has_zero_points_where_its_least_weight_is_whole_steps),
        cmocka_unit_test(rows_of_heads_come_back),
        cmocka_unit_test(other_types_are_no_codes),
    };
    return cmocka_run_group_tests_name("gguf_get", tests, open_host, close_host);
}
