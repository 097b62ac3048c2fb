// Weights of a GGUF file's codes: 7 billion of them are made of a large model, so a group's codes are looked up where they are
// fewer than its columns.
#include "store/gguf_weights.h"

#include "base/half.h"
#include "ops/nested.h"
#include "store/gguf.h"

#define MAX_FIELDS 256 // of 8 bits

// Columns of a row that share a step.
typedef struct run {
    float step, least; // the weight of the lowest of asymmetric codes
    int32_t middle;    // that code is -middle
    bool symmetric;
} run;

static run run_of(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t group)
{
    const bm_grid_params *grid = &linear->grid;
    run r = {.step = rows->steps[group], .middle = 1 << (grid->bits - 1), .symmetric = grid->symmetric};
    if (!grid->symmetric && grid->nested)
        r.least = -(float)rows->minimums[group] * rows->min_units[group * grid->group_size / BM_NESTED_COLUMNS];
    else if (!grid->symmetric)
        r.least = bm_f16_to_f32(bm_f32_to_f16(bm_store_gguf_least(grid->bits, r.step, rows->zero_points[group])));
    return r;
}

// Signed codes become weights; as readers do, one rounding for the product and one for the sum.
static void multiply(const run *r, const int8_t *codes, uint32_t count, float *out)
{
    for (uint32_t i = 0; r->symmetric && i < count; i++)
        out[i] = (float)codes[i] * r->step;
    for (uint32_t i = 0; !r->symmetric && i < count; i++) {
        const float scaled = (float)(codes[i] + r->middle) * r->step;
        out[i] = scaled + r->least;
    }
}

static void look_up(const run *r, const int8_t *codes, uint32_t count, uint16_t *out)
{
    const int32_t num_fields = 2 * r->middle;
    int8_t fields[MAX_FIELDS] = {0};
    float values[MAX_FIELDS];
    uint16_t table[MAX_FIELDS];
    for (int32_t i = 0; i < num_fields; i++)
        fields[i] = (int8_t)(i - r->middle);
    multiply(r, fields, (uint32_t)num_fields, values);
    bm_f32_to_f16_all(values, (uint64_t)num_fields, table);
    for (uint32_t i = 0; i < count; i++)
        out[i] = table[codes[i] + r->middle];
}

static void compute(const run *r, const int8_t *codes, uint32_t count, uint16_t *out)
{
    float values[MAX_FIELDS];
    multiply(r, codes, count, values);
    bm_f32_to_f16_all(values, count, out);
}

// Fields of 4 bits in words are unsigned: codes and 8.
static void unpack(const uint32_t *words, uint64_t first, uint32_t count, int8_t *codes)
{
    for (uint32_t i = 0; i < count; i++)
        codes[i] = (int8_t)((words[(first + i) / 8] >> ((first + i) % 8 * 4) & 15) - 8);
}

void gguf_weights(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t row, uint16_t *out)
{
    const uint64_t cols = linear->in_features, group_size = bm_min_u64(linear->grid.group_size, cols);
    const uint32_t *words = rows->packed ? rows->packed + row * bm_divide_up(cols, 8) : NULL;
    int8_t unpacked[MAX_FIELDS];
    for (uint64_t first = 0, group = row * rows->groups; first < cols; group++) {
        const uint64_t end = bm_min_u64(cols, first + group_size);
        const run r = run_of(linear, rows, group);
        const bool few = UINT64_C(1) << linear->grid.bits <= group_size;
        while (first < end) {
            const uint32_t n = (uint32_t)bm_min_u64(MAX_FIELDS, end - first);
            const int8_t *codes = words ? unpacked : rows->bytes + row * cols + first;
            if (words)
                unpack(words, first, n, unpacked);
            (few ? look_up : compute)(&r, codes, n, out + first);
            first += n;
        }
    }
}
