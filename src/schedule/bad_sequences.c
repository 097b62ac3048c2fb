// Sequences whose activations overflow: found at the inputs of each stage, named or left out, and kept from the others.
#include "ops/elementwise.h"
#include "quant/gram.h"
#include "schedule/calibrate_lanes.h"

#include <math.h>
#include <string.h>

#define ROWS_OF_LOOKS 262144 // of row sums that wait to be looked at

uint64_t bm_bad_sequences_rows(const bm_device *device, uint32_t batch_tokens)
{
    const uint64_t largest = bm_device_get_info(device)->limits.max_allocation_bytes / (4 * sizeof(float));
    return bm_max_u64(bm_min_u64(ROWS_OF_LOOKS, largest), BM_MAX_LOOKS_OF_BATCH * (uint64_t)batch_tokens);
}

bool bm_bad_sequences_has_room(const bm_calibration *c)
{
    const uint64_t batch = BM_MAX_LOOKS_OF_BATCH * (uint64_t)c->lanes[BM_LANE_QUANTIZED].stream->max_tokens;
    return c->pace.num_rows + batch <= c->sums.rows;
}

// Sums of rows, from row first of all sums on: not finite where a row holds NaN or infinity (or numbers whose squares
// overflow, which sums of products cannot hold).
static bm_status sum_rows(bm_calibration *c, const bm_tensor *matrix, uint64_t first, bm_error *err)
{
    const bm_tensor sums = bm_tensor_rows(&c->sums, first, matrix->rows);
    return bm_row_error(c->device, matrix, matrix, &sums, err);
}

static bm_status find_bad_rows(bm_calibration *c, const bm_tensor *matrix, bm_error *err)
{
    const bm_tensor sums = bm_tensor_rows(&c->sums, 0, matrix->rows);
    bm_status status = BM_OK;
    BM_TRY(sum_rows(c, matrix, 0, err));
    BM_TRY(bm_tensor_download(c->device, &sums, c->host_sums, err));
    BM_TRY(bm_device_wait(c->device, err));
done:
    return status;
}

static bool row_is_bad(const bm_calibration *c, uint64_t row)
{
    return !isfinite(c->host_sums[4 * row + 1]);
}

// A batch's sequences, with the rows of each.
typedef struct span {
    uint32_t sequence, first, count;
} span;

static span first_span(const bm_calibration *c, uint32_t batch)
{
    const uint32_t sequence = c->lanes[BM_LANE_QUANTIZED].stream->batches[batch].first_sequence;
    return (span){sequence, 0, c->data->segments[sequence].count};
}

static bool next_span(const bm_calibration *c, uint32_t batch, span *s)
{
    const bm_stream_batch *b = &c->lanes[BM_LANE_QUANTIZED].stream->batches[batch];
    s->first += s->count;
    if (++s->sequence == b->first_sequence + b->num_sequences)
        return false;
    s->count = c->data->segments[s->sequence].count;
    return true;
}

// Marks sequences with bad rows in the sums of a look, which begin at row `first`; *count: how many more there are now.
static void mark_bad(bm_calibration *c, uint32_t batch, uint64_t first, uint8_t *found, uint32_t *count)
{
    span s = first_span(c, batch);
    do {
        for (uint32_t r = s.first; r < s.first + s.count && !found[s.sequence]; r++)
            if (row_is_bad(c, first + r)) {
                found[s.sequence] = 1;
                ++*count;
            }
    } while (next_span(c, batch, &s));
}

static bm_status zero_rows(bm_calibration *c, const bm_tensor *matrix, uint32_t first, uint32_t count, bm_error *err)
{
    return bm_fill(c->device, bm_tensor_rows(matrix, first, count).view, 0, err);
}

bm_status bm_bad_sequences_silence(bm_calibration *c, uint32_t batch, const bm_tensor *matrix, bm_error *err)
{
    bm_status status = BM_OK;
    span s = first_span(c, batch);
    do {
        if (c->is_bad[s.sequence])
            BM_TRY(zero_rows(c, matrix, s.first, s.count, err));
    } while (next_span(c, batch, &s));
done:
    return status;
}

static bm_status silence_hidden(bm_calibration *c, uint32_t batch, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t l = 0; l < c->num_lanes; l++) {
        bm_tensor hidden;
        if (c->lanes[l].works_in_place)
            continue; // its memory is being worked in: acquiring would upload over that. The next stage silences it
        BM_TRY(bm_stream_acquire(c->lanes[l].stream, batch, &hidden, err));
        BM_TRY(bm_bad_sequences_silence(c, batch, &hidden, err));
        BM_TRY(bm_stream_release(c->lanes[l].stream, batch, &hidden, true, err));
    }
done:
    return status;
}

// Whether nothing is left by which linears could be solved: sequences of later steps are for what is found before.
static bool all_are_bad(const bm_calibration *c)
{
    const uint32_t end = bm_plan_solving_segments(c->p->emit->plan, c->arguments);
    return memchr(c->is_bad, 0, end) == NULL;
}

static bm_status leave_out(bm_calibration *c, const uint8_t *found, uint32_t block, bm_stage stage, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE], place[256];
    bm_linear_id linear = 0;
    const bm_family *family = c->p->emit->model->family;
    while (bm_linear_stage(linear) != stage || !bm_family_has_linear(family, linear))
        linear++;
    bm_linear_tensor_name(family, block, linear, "", name);
    for (uint32_t i = 0; i < c->data->num_segments; i++) {
        if (!found[i] || c->is_bad[i])
            continue;
        bm_calibration_data_name(c->data, i, place, sizeof place);
        if (!c->arguments->skip_bad_sequences)
            return bm_fail(err, BM_E_NUMERIC,
                           "%s: " BM_GRAM_NOT_FINITE ", in the inputs of %s, expected finite activations; "
                           "skip_bad_sequences leaves such sequences out, and compute_dtype float32 may hold them",
                           place, name);
        c->is_bad[i] = 1;
        c->result->num_skipped_sequences++;
        bm_log_write(c->p->log, BM_LOG_WARNING, "%s: " BM_GRAM_NOT_FINITE ", in the inputs of %s; it is left out",
                     place, name);
    }
    if (all_are_bad(c))
        return bm_fail(err, BM_E_NUMERIC, "%s: no sequence is left to calibrate on: all had " BM_GRAM_NOT_FINITE,
                       place);
    return BM_OK;
}

// What attention has added up to the inputs of o_proj.
static bm_tensor value_of(const bm_calibration *c, uint32_t lane, const bm_tensor *inputs)
{
    const bm_workspace *w = &c->lanes[lane].stream->workspace;
    return bm_tensor_reshape(&w->value, inputs[lane].rows, w->value.cols);
}

static bm_status look_now(bm_calibration *c, uint32_t block, bm_stage stage, uint32_t batch, const bm_tensor *inputs,
                          bool *again, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t num_found = 0, num_sources = 0;
    uint8_t *found = bm_alloc(c->data->num_segments, 1), *sources = bm_alloc(c->data->num_segments, 1);
    BM_FAIL_IF(!found || !sources, err, BM_E_MEMORY, "out of memory");
    memcpy(found, c->is_bad, c->data->num_segments);
    memcpy(sources, c->is_bad, c->data->num_segments);
    *again = false;
    for (uint32_t l = 0; l < c->num_lanes; l++) {
        BM_TRY(find_bad_rows(c, &inputs[l], err));
        mark_bad(c, batch, 0, found, &num_found);
    }
    if (num_found == 0)
        goto done;
    for (uint32_t l = 0; l < c->num_lanes && stage == BM_STAGE_O; l++) {
        const bm_tensor value = value_of(c, l, inputs);
        BM_TRY(find_bad_rows(c, &value, err));
        mark_bad(c, batch, 0, sources, &num_sources);
    }
    *again = num_sources > 0;
    BM_TRY(leave_out(c, num_sources > 0 ? sources : found, block, stage, err));
    BM_TRY(silence_hidden(c, batch, err));
done:
    bm_free(found);
    bm_free(sources);
    return status;
}

static bm_status note(bm_calibration *c, const bm_look *look, const bm_tensor *matrix, bm_error *err)
{
    bm_pace *p = &c->pace;
    bm_look *added = &p->looks[p->num_looks++];
    *added = *look;
    added->row = p->num_rows;
    p->num_rows += (uint32_t)matrix->rows;
    return sum_rows(c, matrix, added->row, err);
}

bm_status bm_bad_sequences_look(bm_calibration *c, uint32_t block, bm_stage stage, uint32_t batch,
                                const bm_tensor *inputs, bool *again, bm_error *err)
{
    bm_status status = BM_OK;
    bm_look look = {.block = block, .batch = batch, .stage = stage};
    *again = false;
    if (c->arguments->skip_bad_sequences)
        return look_now(c, block, stage, batch, inputs, again, err);
    for (uint32_t l = 0; l < c->num_lanes; l++)
        BM_TRY(note(c, &look, &inputs[l], err));
    look.is_value = true;
    for (uint32_t l = 0; l < c->num_lanes && stage == BM_STAGE_O; l++) {
        const bm_tensor value = value_of(c, l, inputs);
        BM_TRY(note(c, &look, &value, err));
    }
done:
    return status;
}

// Of looks that belong together, those of a batch at a stage: how many there are, from the first on.
static uint32_t count_together(const bm_look *looks, uint32_t count)
{
    uint32_t n = 1;
    while (n < count && looks[n].batch == looks[0].batch && looks[n].stage == looks[0].stage)
        n++;
    return n;
}

static bm_status settle_together(bm_calibration *c, const bm_look *looks, uint32_t count, bm_error *err)
{
    bm_status status = BM_OK;
    uint32_t num_found = 0, num_sources = 0;
    uint8_t *found = bm_alloc_zero(c->data->num_segments, 1), *sources = bm_alloc_zero(c->data->num_segments, 1);
    BM_FAIL_IF(!found || !sources, err, BM_E_MEMORY, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        mark_bad(c, looks[i].batch, looks[i].row, looks[i].is_value ? sources : found,
                 looks[i].is_value ? &num_sources : &num_found);
    if (num_found > 0)
        BM_TRY(leave_out(c, num_sources > 0 ? sources : found, looks[0].block, looks[0].stage, err));
done:
    bm_free(found);
    bm_free(sources);
    return status;
}

bm_status bm_bad_sequences_settle(bm_calibration *c, bm_error *err)
{
    bm_pace *p = &c->pace;
    const uint32_t num_looks = p->num_looks;
    const bm_tensor sums = bm_tensor_rows(&c->sums, 0, p->num_rows);
    bm_status status = BM_OK, waited;
    bm_error later;
    if (num_looks > 0)
        BM_TRY(bm_tensor_download(c->device, &sums, c->host_sums, err));
    p->num_looks = p->num_rows = 0;
    waited = bm_device_wait(c->device, &later);
    if (waited == BM_OK || waited == BM_E_NUMERIC) // a kernel may have met what a look names
        for (uint32_t i = 0, n; i < num_looks; i += n) {
            n = count_together(&p->looks[i], num_looks - i);
            BM_TRY(settle_together(c, &p->looks[i], n, err));
        }
    if (waited != BM_OK)
        status = bm_fail(err, waited, "%s", later.message);
done:
    return status;
}

bm_status bm_calibration_show(bm_calibration *c, uint32_t batch, bm_show_rows *show, void *context, bm_error *err)
{
    bm_status status = BM_OK;
    span s = first_span(c, batch);
    bm_good_rows run = {.first_sequence = s.sequence};
    bool more;
    do {
        const bool is_bad = c->is_bad[s.sequence] != 0;
        run.num_rows += is_bad ? 0 : s.count;
        run.num_sequences += !is_bad;
        const uint32_t end = s.first + s.count;
        more = next_span(c, batch, &s);
        if ((is_bad || !more) && run.num_rows > 0)
            BM_TRY(show(context, &run, err));
        if (is_bad)
            run = (bm_good_rows){.first_row = end, .first_sequence = s.sequence};
    } while (more);
done:
    return status;
}

// A group that is shown inputs: those of the steps by which it is solved.
typedef struct watching {
    const bm_calibration *calibration;
    bm_group *group;
    const bm_tensor *inputs;
    bool watches_both;
} watching;

static bm_status show_group(void *context, const bm_good_rows *run, bm_error *err)
{
    const watching *w = context;
    const bm_calibration *c = w->calibration;
    const uint64_t end = bm_plan_solving_segments(c->p->emit->plan, c->arguments);
    uint32_t num_rows = 0;
    for (uint32_t i = run->first_sequence; i < bm_min_u64(end, run->first_sequence + run->num_sequences); i++)
        num_rows += c->data->segments[i].count;
    const bm_tensor rows = bm_tensor_rows(&w->inputs[BM_LANE_QUANTIZED], run->first_row, num_rows);
    const bm_tensor float_rows =
        w->watches_both ? bm_tensor_rows(&w->inputs[BM_LANE_FLOAT], run->first_row, num_rows) : rows;
    return bm_group_watch(w->group, &rows, w->watches_both ? &float_rows : NULL, err);
}

bm_status bm_calibration_watch(bm_calibration *c, bm_group *group, uint32_t batch, const bm_tensor *inputs,
                               bm_error *err)
{
    watching w = {c, group, inputs, c->watches_both};
    return bm_calibration_show(c, batch, show_group, &w, err);
}
