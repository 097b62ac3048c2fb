#include "support/unit.h"

#include "base/random.h"
#include "store/packed_codes.h"

#include <string.h>

#define GUARD UINT32_C(0xdeadbeef)

static const uint32_t widths[] = {2, 3, 4, 8};

// One column of codes, the words that they make.
static const struct {
    uint32_t bits, count;
    int32_t codes[32];
    uint32_t num_words, words[3];
} vectors[] = {
    {4, 8, {-8, -7, -6, -5, -4, -3, -2, -1}, 1, {0x76543210}},
    {4, 8, {0, 1, 2, 3, 4, 5, 6, 7}, 1, {0xfedcba98}},
    {4, 1, {-1}, 1, {0x00000007}}, // fields past the last code are zero bits, not the code 0
    {4, 9, {-8, -8, -8, -8, -8, -8, -8, 7, 7}, 2, {0xf0000000, 0x0000000f}},
    {8, 4, {-128, -1, 0, 127}, 1, {0xff807f00}},
    {8, 5, {0, 0, 0, 0, -127}, 2, {0x80808080, 0x00000001}},
    {2, 4, {-2, -1, 0, 1}, 1, {0x000000e4}},
    {2, 16, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, {0xffffffff}},
    // The fields 0 to 7, four times over: 32 fields of 3 bits in 96, worked by hand.
    {3,
     32,
     {-4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3, -4, -3, -2, -1, 0, 1, 2, 3},
     3,
     {0x88fac688, 0xc688fac6, 0xfac688fa}},
    {3, 11, {-4, -4, -4, -4, -4, -4, -4, -4, -4, -4, 3}, 2, {0xc0000000, 0x00000001}}, // the last lies in two words
};

static bm_packed_run run_of(uint64_t count, uint32_t bits, uint64_t stride)
{
    return (bm_packed_run){count, bits, 1 << (bits - 1), stride, stride};
}

static void packed_codes_have_the_stored_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(vectors); i++) {
        uint32_t column[4] = {GUARD, GUARD, GUARD, GUARD};
        const bm_packed_run run = run_of(vectors[i].count, vectors[i].bits, 1);
        const uint32_t n = vectors[i].num_words;
        assert_int_equal(bm_packed_num_words(vectors[i].count, vectors[i].bits), n);
        bm_packed_encode(&run, vectors[i].codes, column);
        assert_memory_equal(column, vectors[i].words, n * sizeof *column);
        assert_int_equal(column[n], GUARD);
    }
}

enum { MAX_ROWS = 17, MAX_COLS = 33, MAX_CODES = MAX_ROWS * MAX_COLS };

static void fill(int32_t *codes, uint64_t count, uint32_t bits, bm_random *random)
{
    for (uint64_t i = 0; i < count; i++)
        codes[i] = (int32_t)bm_random_below(random, 1u << bits) - (1 << (bits - 1));
}

static void codes_survive_packing(void **state)
{
    static const struct {
        uint64_t rows, cols;
    } shapes[] = {{1, 1}, {1, 33}, {17, 1}, {3, 15}, {16, 16}, {17, 33}, {0, 8}, {8, 0}};
    bm_random random;
    (void)state;
    bm_random_init(&random, 20261124, 1);
    for (size_t b = 0; b < BM_COUNT(widths); b++)
        for (size_t s = 0; s < BM_COUNT(shapes); s++) {
            int32_t codes[MAX_CODES], back[MAX_CODES];
            uint32_t words[MAX_CODES];
            const uint64_t rows = shapes[s].rows, cols = shapes[s].cols;
            fill(codes, rows * cols, widths[b], &random);
            memset(back, 0x55, sizeof back);
            const bm_packed_run run = run_of(rows, widths[b], cols);
            for (uint64_t c = 0; c < cols; c++) {
                bm_packed_encode(&run, codes + c, words + c);
                bm_packed_decode(&run, words + c, back + c);
            }
            assert_memory_equal(codes, back, (size_t)(rows * cols) * sizeof *codes);
        }
}

// Zero points [3, 2] of 8 bits: two words, each with its column's three bytes in order.
static void columns_go_into_words_of_their_own(void **state)
{
    static const int32_t codes[3 * 2] = {-128, 0, -127, 1, -126, 2};
    const bm_packed_run run = run_of(3, 8, 2);
    uint32_t words[2];
    (void)state;
    for (uint64_t c = 0; c < 2; c++)
        bm_packed_encode(&run, codes + c, words + c);
    assert_int_equal(words[0], 0x00020100);
    assert_int_equal(words[1], 0x00828180);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_codes_have_the_stored_form),
        cmocka_unit_test(codes_survive_packing),
        cmocka_unit_test(columns_go_into_words_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
