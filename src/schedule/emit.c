// Linears of the output: rows are read, solved and written a bounded number at a time.
#include "schedule/emit.h"

#include "ops/elementwise.h"

#include <math.h>
#include <string.h>

// What a method which watches needs while it solves rows: matrices of [rows, in_features] float32, and errors and sums of a row.
#define SOLVING_MATRICES 9
#define ROW_BYTES 2304

uint64_t bm_emit_solving_bytes(const bm_device *device)
{
    return bm_min_u64(bm_device_get_info(device)->limits.memory_bytes / 16, UINT64_C(4) << 30);
}

uint64_t bm_emit_solving_row_bytes(uint32_t in_features)
{
    return SOLVING_MATRICES * 4 * (uint64_t)in_features + ROW_BYTES;
}

uint64_t bm_emit_rows_at_once(const bm_device *device, bool watches, uint32_t in_features)
{
    const bm_device_limits *limits = &bm_device_get_info(device)->limits;
    uint64_t rows = bm_model_rows_per_read(in_features, BM_DTYPE_F32);
    if (watches) {
        rows = bm_emit_solving_bytes(device) / bm_emit_solving_row_bytes(in_features);
        rows = bm_min_u64(rows, limits->max_allocation_bytes / (4 * (uint64_t)in_features + 16));
    }
    return bm_max_u64(BM_STORE_ROWS, rows / BM_STORE_ROWS * BM_STORE_ROWS);
}

bm_store_linear bm_emit_store_linear(const bm_plan *plan, const bm_plan_linear *p, char module[BM_TENSOR_NAME_SIZE])
{
    return (bm_store_linear){.module = bm_plan_linear_name(plan, p, module),
                             .out_features = p->out_features,
                             .in_features = p->in_features,
                             .grid = p->grid,
                             .per_channel = p->per_channel,
                             .input = plan->input,
                             .version = plan->version,
                             .has_group_index = !p->per_channel && plan->params.act_order == BM_COLUMN_ORDER_DYNAMIC};
}

// Rows of one member in a chunk.
typedef struct piece {
    bm_emit_member *member;
    uint64_t first, count; // of the member
    uint64_t row;          // of the chunk
} piece;

// A chunk of rows, and what it needs on the device.
typedef struct chunk {
    piece pieces[BM_NUM_LINEARS];
    uint32_t num_pieces;
    uint64_t num_rows, max_rows;
    bm_tensor weights, rounded; // [max_rows, in_features] float32
    bm_codes codes;
    bm_row_errors *errors; // [max_rows]
} chunk;

static uint64_t rows_of(const bm_emit_member *member)
{
    const uint64_t all = member->linear->out_features;
    return member->max_rows > 0 ? bm_min_u64(all, member->max_rows) : all;
}

// Fills the chunk with the rows behind *first of *member, which move on. A piece that does not end its member has a
// multiple of BM_STORE_ROWS.
static void fill_chunk(chunk *c, bm_emit_member *members, uint32_t num_members, uint32_t *member, uint64_t *first)
{
    c->num_pieces = 0;
    c->num_rows = 0;
    while (*member < num_members) {
        const uint64_t left = rows_of(&members[*member]) - *first, space = c->max_rows - c->num_rows;
        const uint64_t count = left <= space ? left : space / BM_STORE_ROWS * BM_STORE_ROWS;
        if (count == 0)
            break;
        c->pieces[c->num_pieces++] = (piece){&members[*member], *first, count, c->num_rows};
        c->num_rows += count;
        *first += count;
        if (count == left) {
            ++*member;
            *first = 0;
        }
    }
}

static bm_status read_piece(const bm_emit_context *e, const bm_emit_solving *solving, const piece *p, const chunk *c,
                            bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_plan_linear *linear = p->member->linear;
    const bm_tensor_info *info = bm_checkpoint_find(
        e->model->checkpoint, bm_linear_tensor_name(e->plan->family, linear->block, linear->linear, ".weight", name));
    const bm_tensor weights = bm_tensor_rows(&c->weights, p->row, p->count);
    bm_tensor stored = {0};
    if (solving->masters) {
        const bm_linear_rows rows = bm_block_linear_rows(solving->masters, linear->linear);
        return bm_linear_rows_get(e->device, &rows, p->first, &weights, err);
    }
    bm_status status = bm_model_read_rows(e->model, e->device, info, p->first, p->count, &stored, err);
    if (status == BM_OK)
        status = bm_convert(e->device, &stored, &weights, info->name, err);
    bm_tensor_destroy(&stored);
    return status;
}

static bm_status put_codes(const bm_emit_context *e, const bm_store_linear *linear, const piece *p, const chunk *c,
                           uint64_t from, uint64_t count, bm_error *err)
{
    const bm_codes codes = bm_codes_rows(&c->codes, p->row + from, count);
    const uint64_t first = p->first + from;
    bm_store_rows rows = {0};
    bm_status status = BM_OK;
    BM_TRY(bm_store_fetch(e->plan->format, e->device, linear, first, &codes, &rows, err));
    if (p->member->steps)
        memcpy(p->member->steps + first * rows.groups, rows.steps, rows.count * rows.groups * sizeof *rows.steps);
    BM_TRY(bm_emit_put_rows(e, linear, first, &rows, err));
done:
    bm_store_rows_free(&rows);
    return status;
}

static bm_status write_piece(const bm_emit_context *e, const piece *p, const chunk *c, bm_error *err)
{
    char module[BM_TENSOR_NAME_SIZE];
    const bm_store_linear linear = bm_emit_store_linear(e->plan, p->member->linear, module);
    const uint64_t step = bm_emit_rows_of_share(e, &linear, p->count);
    bm_row_errors parts[2] = {p->member->errors, bm_row_errors_sum(c->errors + p->row, p->count)};
    bm_status status = BM_OK;
    p->member->errors = bm_row_errors_sum(parts, 2);
    for (uint64_t from = 0; from < p->count; from += step)
        BM_TRY(put_codes(e, &linear, p, c, from, bm_min_u64(step, p->count - from), err));
    if (p->member->rows.num_parts > 0) {
        const bm_tensor rounded = bm_tensor_rows(&c->rounded, p->row, p->count);
        BM_TRY(bm_linear_rows_set(e->device, &p->member->rows, p->first, &rounded, err));
    }
done:
    return status;
}

bm_method_params bm_emit_method_params(const bm_plan *plan, const bm_plan_linear *linear)
{
    bm_method_params params = bm_plan_method_params(plan, linear);
    if (!linear->grid.search)
        params.scale_search = BM_SEARCH_ABS_MAX;
    return params;
}

static bm_status solve_chunk(const bm_emit_context *e, const bm_emit_solving *solving, chunk *c, bm_error *err)
{
    const bm_tensor weights = bm_tensor_rows(&c->weights, 0, c->num_rows);
    const bm_tensor rounded = c->rounded.view.buffer ? bm_tensor_rows(&c->rounded, 0, c->num_rows) : (bm_tensor){0};
    const bm_codes codes = bm_codes_rows(&c->codes, 0, c->num_rows);
    const bm_method_rows rows = {.weights = &weights,
                                 .codes = &codes,
                                 .rounded = c->rounded.view.buffer ? &rounded : NULL,
                                 .errors = c->errors,
                                 .phase = e->phase};
    const bm_method_params params = bm_emit_method_params(e->plan, c->pieces[0].member->linear);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < c->num_pieces; i++)
        BM_TRY(read_piece(e, solving, &c->pieces[i], c, err));
    for (uint64_t r = 0; r < c->num_rows; r++)
        c->errors[r] = (bm_row_errors){0};
    BM_TRY(e->plan->method->solve(solving->multiplier, solving->state, &params, &rows, err));
    for (uint32_t i = 0; i < c->num_pieces; i++)
        BM_TRY(write_piece(e, &c->pieces[i], c, err));
done:
    return status;
}

// Members of one grid.
static bm_status emit_alike(const bm_emit_context *emit, bm_emit_member *members, uint32_t num_members,
                            const bm_emit_solving *solving, bm_error *err)
{
    const bm_plan_linear *head = members[0].linear;
    bm_status status = BM_OK;
    chunk c = {0};
    uint64_t all_rows = 0, first = 0;
    for (uint32_t i = 0; i < num_members; i++) {
        members[i].errors = (bm_row_errors){0};
        all_rows += rows_of(&members[i]);
    }
    c.max_rows = bm_min_u64(bm_emit_rows_at_once(emit->device, solving->state != NULL, head->in_features), all_rows);
    c.errors = bm_alloc(c.max_rows, sizeof *c.errors);
    BM_FAIL_IF(!c.errors, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, c.max_rows, head->in_features, "weights", &c.weights, err));
    if (members[0].rows.num_parts > 0)
        BM_TRY(bm_tensor_create(emit->device, BM_DTYPE_F32, c.max_rows, head->in_features, "rounded weights",
                                &c.rounded, err));
    BM_TRY(bm_codes_create(emit->device, c.max_rows, head->in_features, &head->grid, &c.codes, err));
    c.codes.group_index = solving->group_index;
    c.codes.input = solving->input;
    for (uint32_t member = 0; member < num_members;) {
        fill_chunk(&c, members, num_members, &member, &first);
        BM_TRY(solve_chunk(emit, solving, &c, err));
        BM_TRY(bm_phase_step(emit->phase, 0, err));
    }
done:
    bm_tensor_destroy(&c.weights);
    bm_tensor_destroy(&c.rounded);
    c.codes.group_index = NULL; // the group's
    bm_codes_destroy(&c.codes);
    bm_free(c.errors);
    return status;
}

bm_status bm_emit_linears(const bm_emit_context *emit, bm_emit_member *members, uint32_t num_members,
                          const bm_emit_solving *solving, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t first = 0, end = 0; first < num_members; first = end) {
        while (end < num_members && bm_grid_is_same(&members[first].linear->grid, &members[end].linear->grid))
            end++;
        BM_TRY(emit_alike(emit, members + first, end - first, solving, err));
    }
done:
    return status;
}

static uint64_t groups_of(const bm_plan_linear *linear)
{
    return bm_num_groups(linear->in_features, linear->grid.group_size);
}

bm_status bm_emit_member_keep_steps(const bm_emit_context *emit, bm_emit_member *member, bm_error *err)
{
    if (!emit->scale_files)
        return BM_OK;
    member->steps = bm_alloc(member->linear->out_features * groups_of(member->linear), sizeof *member->steps);
    return member->steps ? BM_OK : bm_fail(err, BM_E_MEMORY, "out of memory");
}

bm_status bm_emit_tell_scales(const bm_emit_context *emit, const bm_emit_member *member, const bm_input_grid *input,
                              bm_error *err)
{
    char module[BM_TENSOR_NAME_SIZE];
    const bm_plan_linear *linear = member->linear;
    const uint64_t groups = groups_of(linear), count = groups * linear->out_features;
    const float largest = (float)((1 << (linear->grid.bits - 1)) - 1), peak = input->step * 127.0f;
    bm_status status = BM_OK;
    float *amax = NULL;
    if (!emit->scale_files)
        return BM_OK;
    amax = bm_alloc(count, sizeof *amax);
    BM_FAIL_IF(!amax, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        amax[i] = fabsf(member->steps[i]) * largest;
    bm_linear_tensor_name(emit->plan->family, linear->block, linear->linear, "", module);
    BM_TRY(bm_scale_files_add(emit->scale_files, module, amax, linear->out_features, groups,
                              input->kind == BM_INPUT_STATIC ? &peak : NULL, err));
done:
    bm_free(amax);
    return status;
}
