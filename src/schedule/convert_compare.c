// Codes, steps and zero points of two checkpoints, side by side.
#include "schedule/convert_compare.h"

#include "schedule/convert_plan.h"
#include "schedule/verify.h"
#include "store/gguf.h"

#include <string.h>

// One of the two checkpoints.
typedef struct side {
    const bm_store_config *codes;
    const bm_model *model;
    bm_store_linear linear;
    bm_store_rows rows;
} side;

// Of 8 bits one side may have bytes and the other packed words, whose fields are half their range more. Rows are of whole words.
static bool are_bytes(const uint32_t *packed, const int8_t *bytes, uint64_t count)
{
    for (uint64_t i = 0; bytes && i < count / 4; i++)
        if ((packed[i] ^ 0x80808080u) != bm_load_le32(bytes + 4 * i))
            return false;
    return bytes != NULL;
}

static bool have_same_codes(const bm_store_rows *x, const bm_store_rows *y, uint64_t cols, uint32_t bits)
{
    const uint64_t count = x->count * cols;
    if (x->bytes && y->bytes)
        return memcmp(x->bytes, y->bytes, count) == 0;
    if (x->packed && y->packed)
        return memcmp(x->packed, y->packed, count * bits / 8) == 0;
    return x->packed ? are_bytes(x->packed, y->bytes, count) : are_bytes(y->packed, x->bytes, count);
}

// Groups of the source are of several blocks. A step of 0 has any zero point.
static const char *find_difference(const side *a, const side *b)
{
    const bm_store_rows *x = &a->rows, *y = &b->rows;
    const uint64_t cols = b->linear.in_features, block = b->linear.grid.group_size;
    if (!have_same_codes(x, y, cols, b->linear.grid.bits))
        return "codes";
    for (uint64_t i = 0; i < y->count * y->groups; i++) {
        const uint64_t at = i / y->groups * x->groups + i % y->groups * block / a->linear.grid.group_size;
        if (x->steps[at] != y->steps[i])
            return "scales";
        if (x->zero_points[at] != y->zero_points[i] && y->steps[i] != 0)
            return "zero points";
    }
    return NULL;
}

static bm_status compare_linear(side sides[2], bm_error *err)
{
    const bm_store_linear *linear = &sides[0].linear;
    const uint64_t at_once = bm_round_up(bm_model_rows_per_read(linear->in_features, BM_DTYPE_F32), BM_STORE_ROWS);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < linear->out_features && status == BM_OK; first += at_once) {
        const uint64_t count = bm_min_u64(at_once, linear->out_features - first);
        for (int i = 0; i < 2 && status == BM_OK; i++)
            status = bm_store_get_rows(sides[i].codes, sides[i].model->checkpoint, &sides[i].linear, first, count,
                                       &sides[i].rows, err);
        const char *what = status == BM_OK ? find_difference(&sides[0], &sides[1]) : NULL;
        if (what)
            status = bm_fail(err, BM_E_INTERNAL,
                             "linear \"%s\": %s of rows %llu to %llu differ from those that were converted",
                             linear->module, what, (unsigned long long)first, (unsigned long long)(first + count - 1));
        bm_store_rows_free(&sides[0].rows);
        bm_store_rows_free(&sides[1].rows);
    }
    return status;
}

bm_status bm_convert_compare(const bm_plan *plan, const bm_store_config *codes, const bm_model *model,
                             const char *folder, bm_phase *phase, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *result = NULL;
    bm_error words = {0};
    BM_TRY(bm_model_open(&result, folder, &words));
    const bm_store_config result_codes = bm_convert_source(result);
    side sides[2] = {{.codes = codes, .model = model}, {.codes = &result_codes, .model = result}};
    for (uint32_t i = 0; i < bm_plan_num_modules(plan); i++) {
        const bm_plan_linear *p = &plan->linears[i];
        char module[BM_TENSOR_NAME_SIZE];
        bm_plan_linear_name(plan, p, module);
        for (int k = 0; k < 2 && p->quantized; k++)
            BM_FAIL_IF(!bm_store_match(sides[k].codes, sides[k].model->checkpoint, module, p->out_features,
                                       p->in_features, &sides[k].linear),
                       &words, BM_E_INTERNAL, "linear \"%s\" has no codes", module);
        if (p->quantized)
            BM_TRY(compare_linear(sides, &words));
        BM_TRY(bm_phase_step(phase, 1, &words));
    }
done:
    bm_model_close(&result);
    return bm_verification_end(status, &words, err);
}
