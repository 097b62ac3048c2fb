// Weights of a GGUF file's codes: 7 billion of them are made of a large model, so a group's codes are looked up where they are
// fewer than its columns.
#include "store/gguf_weights.h"

#include "base/half.h"
#include "ops/nested.h"
#include "store/gguf.h"

#define MAX_FIELDS 64    // of a table: of 6 bits
#define MAX_COMPUTED 256 // weights at once

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

// Of every field, a code plus middle. Of symmetric codes those above the middle are those below it, with the other sign.
static void make_table(const run *r, uint16_t table[MAX_FIELDS])
{
    const int32_t num_fields = 2 * r->middle, computed = r->symmetric ? r->middle + 1 : num_fields;
    int8_t codes[MAX_FIELDS] = {0};
    float values[MAX_FIELDS] = {0};
    for (int32_t i = 0; i < computed; i++)
        codes[i] = (int8_t)(i - r->middle);
    multiply(r, codes, (uint32_t)computed, values);
    bm_f32_to_f16_all(values, (uint64_t)computed, table);
    for (int32_t i = computed; i < num_fields; i++)
        table[i] = table[num_fields - i] ^ 0x8000u;
}

static void compute(const run *r, const int8_t *codes, uint32_t count, uint16_t *out)
{
    float values[MAX_COMPUTED];
    multiply(r, codes, count, values);
    bm_f32_to_f16_all(values, count, out);
}

// Words of eight fields of 4 bits; groups are whole words.
static void look_up_words(const uint16_t *table, const uint32_t *words, uint64_t count, uint16_t *out)
{
    for (uint64_t i = 0; i < count; i++, out += 8)
        for (uint32_t field = 0; field < 8; field++)
            out[field] = table[words[i] >> 4 * field & 15];
}

// Columns first .. of a row share a step.
static void group_weights(const bm_store_linear *linear, const bm_store_rows *rows, const run *r, uint64_t row,
                          uint64_t first, uint64_t count, uint16_t *out)
{
    uint16_t table[MAX_FIELDS];
    const uint64_t num_fields = UINT64_C(1) << linear->grid.bits;
    const bool few = num_fields <= bm_min_u64(count, MAX_FIELDS);
    if (few)
        make_table(r, table);
    if (rows->packed) {
        look_up_words(table, rows->packed + (row * linear->in_features + first) / 8, count / 8, out);
        return;
    }
    const int8_t *codes = rows->bytes + row * linear->in_features + first;
    for (uint64_t i = 0; few && i < count; i++)
        out[i] = table[codes[i] + r->middle];
    for (uint64_t i = 0; !few && i < count; i += MAX_COMPUTED)
        compute(r, codes + i, (uint32_t)bm_min_u64(MAX_COMPUTED, count - i), out + i);
}

void gguf_weights(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t row, uint16_t *out)
{
    const uint64_t group_size = linear->grid.group_size;
    for (uint64_t g = 0; g < rows->groups; g++) {
        const run r = run_of(linear, rows, row * rows->groups + g);
        const uint64_t first = g * group_size;
        group_weights(linear, rows, &r, row, first, bm_min_u64(group_size, linear->in_features - first), out + first);
    }
}
