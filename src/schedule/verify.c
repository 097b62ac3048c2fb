// Verification: a checksum of every piece as it is written, compared with that of what is read back.
#include "schedule/verify.h"

#include "base/half.h"
#include "base/hash.h"
#include "base/thread.h"
#include "formats/gguf_blocks.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is compared of the rows of a linear.
typedef enum sum_of {
    SUM_CODES, // or of weights
    SUM_STEPS,
    SUM_ZERO_POINTS,
    SUM_GROUP_INDEX,
    SUM_INPUT,
    NUM_SUMS
} sum_of;

// Rows of a linear, or bytes of a tensor.
typedef struct piece {
    char name[BM_TENSOR_NAME_SIZE]; // of the linear's module, or of the tensor
    bool is_linear, by_weights;     // weights of a linear, which is not read as codes
    uint64_t out_features, in_features;
    uint64_t first, count;   // rows, or bytes
    uint64_t bytes;          // that are read
    uint64_t held_bytes;     // of memory for what is read
    uint64_t sums[NUM_SUMS]; // of bytes the first alone
} piece;

struct bm_verification {
    bm_monitor *monitor; // guards what follows while pieces are added
    piece *pieces;
    uint64_t count, capacity;
    uint64_t bytes; // of all pieces
};

bm_status bm_verification_create(bm_verification **out, bm_error *err)
{
    *out = bm_alloc_zero(1, sizeof **out);
    if (*out)
        (*out)->monitor = bm_monitor_create();
    if (*out && (*out)->monitor)
        return BM_OK;
    bm_verification_destroy(out);
    return bm_fail(err, BM_E_MEMORY, "out of memory");
}

void bm_verification_destroy(bm_verification **verification)
{
    if (!*verification)
        return;
    bm_monitor_destroy(&(*verification)->monitor);
    bm_free((*verification)->pieces);
    bm_free(*verification);
    *verification = NULL;
}

static bm_status add(bm_verification *v, const piece *p, bm_error *err)
{
    bm_status status = BM_OK;
    bm_monitor_enter(v->monitor);
    if (v->count == v->capacity) {
        const uint64_t capacity = v->capacity ? 2 * v->capacity : 256;
        piece *pieces = bm_resize(v->pieces, capacity, sizeof *pieces);
        BM_FAIL_IF(!pieces, err, BM_E_MEMORY, "out of memory");
        v->pieces = pieces;
        v->capacity = capacity;
    }
    v->pieces[v->count++] = *p;
    v->bytes += p->bytes;
done:
    bm_monitor_leave(v->monitor);
    return status;
}

// Steps are values of the stored type already: a loader gets the number that the codes were made for.
static bm_status check_steps(const bm_store_linear *linear, uint64_t first, const bm_store_rows *rows, bm_error *err)
{
    uint8_t bytes[sizeof(double)];
    const float *steps = rows->units ? rows->units : rows->steps;
    const uint64_t groups = rows->units ? linear->in_features / BM_NESTED_COLUMNS : rows->groups;
    for (uint64_t i = 0; i < rows->count * groups; i++) {
        const float step = steps[i];
        bm_store_real(bytes, linear->grid.scale_dtype, 0, step);
        if (!isfinite(step) || bm_load_real(bytes, linear->grid.scale_dtype, 0) != step)
            return bm_fail(err, BM_E_NUMERIC, "%s: the scale of row %llu in group %llu is %g, which %s does not hold",
                           linear->module, (unsigned long long)(first + i / groups), (unsigned long long)(i % groups),
                           (double)step, bm_dtype_name(linear->grid.scale_dtype));
    }
    return BM_OK;
}

// Columns may name their groups and be neighbours all the same: what is read back has no index then.
static bool is_plain(const bm_store_linear *linear, const uint32_t *group_index)
{
    for (uint64_t c = 0; group_index && c < linear->in_features; c++)
        if (group_index[c] != c / linear->grid.group_size)
            return false;
    return true;
}

// The order of columns goes with the first rows.
static void sum_rows(const bm_store_linear *linear, uint64_t first, const bm_store_rows *rows, uint64_t sums[NUM_SUMS])
{
    const uint64_t count = rows->count, cols = linear->in_features, steps = count * rows->groups;
    const uint64_t words = count * bm_divide_up(cols * linear->grid.bits, 32);
    sums[SUM_CODES] = rows->bytes ? bm_checksum64(rows->bytes, count * cols)
                                  : bm_checksum64(rows->packed, words * sizeof *rows->packed);
    sums[SUM_STEPS] = bm_checksum64(rows->steps, steps * sizeof *rows->steps);
    sums[SUM_ZERO_POINTS] = bm_checksum64(rows->zero_points, steps * sizeof *rows->zero_points);
    sums[SUM_GROUP_INDEX] = first > 0 || is_plain(linear, rows->group_index)
                                ? 0
                                : bm_checksum64(rows->group_index, cols * sizeof *rows->group_index);
    const float step = rows->input.kind == BM_INPUT_STATIC ? rows->input.step : 0;
    sums[SUM_INPUT] = bm_checksum64(&step, sizeof step);
}

static uint64_t rows_of_slice(uint64_t cols)
{
    return bm_max_u64(1, BM_VERIFICATION_SLICE / cols);
}

// Adds a row of float16 weights, as the file's bytes, to a sum of rows.
static uint64_t add_weights(uint64_t sum, const void *halves, uint64_t cols)
{
    const uint64_t row = bm_checksum64(halves, cols * sizeof(uint16_t));
    return bm_hash64(&row, sizeof row, sum);
}

// Of the weights that a loader makes of rows, in float16: a row at a time, for which no new memory is touched.
static bm_status sum_weights(const bm_store_format *format, const bm_store_linear *linear, const bm_store_rows *rows,
                             uint64_t *sum, bm_error *err)
{
    const uint64_t cols = linear->in_features;
    uint16_t *out = bm_alloc(cols, sizeof *out);
    if (!out)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    *sum = 0;
    for (uint64_t row = 0; row < rows->count; row++) {
        format->weights(linear, rows, row, out);
        for (uint64_t c = 0; c < cols; c++)
            bm_store_le16((uint8_t *)(out + c), out[c]);
        *sum = add_weights(*sum, out, cols);
    }
    bm_free(out);
    return BM_OK;
}

bm_status bm_verification_add_rows(bm_verification *v, const bm_store_format *format, const bm_store_linear *linear,
                                   uint64_t first, const bm_store_rows *rows, bm_error *err)
{
    if (!v)
        return BM_OK;
    piece p = {.is_linear = true,
               .out_features = linear->out_features,
               .in_features = linear->in_features,
               .first = first,
               .count = rows->count,
               .bytes = rows->count * bm_divide_up(linear->in_features * linear->grid.bits, 8),
               .held_bytes = bm_store_rows_bytes(format, linear, rows->count)};
    bm_status status = BM_OK;
    snprintf(p.name, sizeof p.name, "%s", linear->module);
    BM_TRY(check_steps(linear, first, rows, err));
    p.by_weights = format->weights != NULL;
    if (p.by_weights)
        p.held_bytes = rows_of_slice(linear->in_features) * linear->in_features * sizeof(uint16_t);
    if (p.by_weights)
        BM_TRY(sum_weights(format, linear, rows, &p.sums[SUM_CODES], err));
    else
        sum_rows(linear, first, rows, p.sums);
    status = add(v, &p, err);
done:
    return status;
}

bm_status bm_verification_add_bytes(bm_verification *v, const char *name, uint64_t first, const void *bytes,
                                    uint64_t size, bm_error *err)
{
    if (!v)
        return BM_OK;
    piece p = {.first = first, .count = size, .bytes = size, .held_bytes = size, .sums = {bm_checksum64(bytes, size)}};
    snprintf(p.name, sizeof p.name, "%s", name);
    return add(v, &p, err);
}

// In slices, each a piece: values take more memory than blocks.
bm_status bm_verification_add_q8_0(bm_verification *v, const char *name, uint64_t first, const void *blocks,
                                   uint64_t size, bm_error *err)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(BM_GGUF_Q8_0);
    const uint64_t slice = BM_VERIFICATION_SLICE / layout->block_elements * layout->block_bytes;
    bm_status status = BM_OK;
    float *values = NULL;
    uint8_t *halves = NULL;
    if (!v)
        return BM_OK;
    values = bm_alloc(BM_VERIFICATION_SLICE, sizeof *values);
    halves = bm_alloc(BM_VERIFICATION_SLICE, sizeof(uint16_t));
    BM_FAIL_IF(!values || !halves, err, BM_E_MEMORY, "out of memory");
    for (uint64_t done = 0; done < size; done += slice) {
        const uint64_t count = bm_min_u64(slice, size - done) / layout->block_bytes * layout->block_elements;
        const uint64_t place = (first + done) / layout->block_bytes * layout->block_elements * sizeof(uint16_t);
        bm_gguf_decode(BM_GGUF_Q8_0, (const uint8_t *)blocks + done, count, values);
        bm_store_real_all(halves, BM_DTYPE_F16, values, count);
        BM_TRY(bm_verification_add_bytes(v, name, place, halves, count * sizeof(uint16_t), err));
    }
done:
    bm_free(values);
    bm_free(halves);
    return status;
}

uint64_t bm_verification_work_bytes(const bm_store_format *format, const bm_store_linear *linear)
{
    return format->weights ? linear->in_features * sizeof(uint16_t) : 0;
}

// By name and place: threads add them as they come, and what differs is told alike each time.
static int compare_pieces(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    const int by_name = strcmp(x->name, y->name);
    return by_name != 0 ? by_name : (x->first > y->first) - (x->first < y->first);
}

bm_progress_report bm_verification_report(const bm_verification *v)
{
    return (bm_progress_report){.phase = "verify", .total = v->bytes, .unit = "bytes"};
}

static bm_status fail_different(const piece *p, const char *folder, const char *what, bm_error *err)
{
    return bm_fail(err, BM_E_INTERNAL, "%s: %s \"%s\": %s %llu to %llu differ from what was to be stored", folder,
                   p->is_linear ? "linear" : "tensor", p->name, what, (unsigned long long)p->first,
                   (unsigned long long)(p->first + p->count - 1));
}

static bm_status compare_bytes(const piece *p, const bm_model *model, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, p->name);
    void *bytes = bm_alloc(p->count, 1);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(!info, err, BM_E_INTERNAL, "tensor \"%s\" is missing", p->name);
    BM_TRY(bm_checkpoint_read(model->checkpoint, info, p->first, bytes, p->count, err));
    if (bm_checksum64(bytes, p->count) != p->sums[0])
        status = fail_different(p, model->folder, "bytes", err);
done:
    bm_free(bytes);
    return status;
}

static bm_status compare_weights(const piece *p, const bm_model *model, bm_error *err)
{
    char name[BM_STORE_NAME_SIZE];
    const uint64_t cols = p->in_features, row_bytes = cols * sizeof(uint16_t);
    const uint64_t slice = rows_of_slice(cols);
    uint64_t sum = 0;
    bm_status status = BM_OK;
    uint8_t *bytes = NULL;
    snprintf(name, sizeof name, "%s.weight", p->name);
    const bm_tensor_info *info = bm_checkpoint_find(model->checkpoint, name);
    BM_FAIL_IF(!info || info->dtype != BM_DTYPE_F16, err, BM_E_INTERNAL, "tensor \"%s\" is not there as codes", name);
    bytes = bm_alloc(slice, row_bytes);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    for (uint64_t row = 0; row < p->count; row += slice) {
        const uint64_t count = bm_min_u64(slice, p->count - row);
        BM_TRY(
            bm_checkpoint_read(model->checkpoint, info, (p->first + row) * row_bytes, bytes, count * row_bytes, err));
        for (uint64_t i = 0; i < count; i++)
            sum = add_weights(sum, bytes + i * row_bytes, cols);
    }
    if (sum != p->sums[SUM_CODES])
        status = fail_different(p, model->folder, "weights of rows", err);
done:
    bm_free(bytes);
    return status;
}

static bm_status compare_rows(const piece *p, const bm_model *model, bm_error *err)
{
    static const char *const words[NUM_SUMS] = {[SUM_CODES] = "codes of rows",
                                                [SUM_STEPS] = "scales of rows",
                                                [SUM_ZERO_POINTS] = "zero points of rows",
                                                [SUM_GROUP_INDEX] = "the order of columns, with rows",
                                                [SUM_INPUT] = "the step of inputs, with rows"};
    bm_status status = BM_OK;
    bm_store_linear linear;
    bm_store_rows rows = {0};
    uint64_t sums[NUM_SUMS];
    BM_FAIL_IF(
        !bm_store_match(&model->quantization, model->checkpoint, p->name, p->out_features, p->in_features, &linear),
        err, BM_E_INTERNAL, "%s is quantized, and quantization_config says that it is not", p->name);
    BM_TRY(bm_store_get_rows(&model->quantization, model->checkpoint, &linear, p->first, p->count, &rows, err));
    sum_rows(&linear, p->first, &rows, sums);
    for (sum_of s = 0; s < NUM_SUMS && status == BM_OK; s++)
        if (sums[s] != p->sums[s])
            status = fail_different(p, model->folder, words[s], err);
done:
    bm_store_rows_free(&rows);
    return status;
}

// What is no fault of the result's.
static bool is_of_the_run(bm_status status)
{
    return status == BM_E_MEMORY || status == BM_E_CANCELLED;
}

bm_status bm_verification_end(bm_status status, const bm_error *words, bm_error *err)
{
    if (status == BM_OK)
        return BM_OK;
    return is_of_the_run(status) ? bm_fail(err, status, "%s", words->message)
                                 : bm_fail(err, status == BM_E_IO ? BM_E_IO : BM_E_INTERNAL,
                                           "verification failed: %s; nothing is kept", words->message);
}

// Pieces that threads read side by side: a page cache gives more than one thread can take, and unpacking costs as much.
#define MAX_AT_ONCE 64
typedef struct batch {
    const piece *pieces;
    const bm_model *model;
    uint64_t count;
    bm_status status[MAX_AT_ONCE];
    bm_error words[MAX_AT_ONCE];
} batch;

static void compare_range(void *user, uint64_t begin, uint64_t end)
{
    batch *b = user;
    for (uint64_t i = begin; i < end; i++) {
        const piece *p = &b->pieces[i];
        bm_error *words = &b->words[i];
        b->status[i] = p->by_weights  ? compare_weights(p, b->model, words)
                       : p->is_linear ? compare_rows(p, b->model, words)
                                      : compare_bytes(p, b->model, words);
    }
}

static bm_status compare_batch(batch *b, bm_error *words)
{
    bm_parallel_for(b->count, 1, compare_range, b);
    for (uint64_t i = 0; i < b->count; i++)
        if (b->status[i] != BM_OK)
            return bm_fail(words, b->status[i], "%s", b->words[i].message);
    return BM_OK;
}

bm_status bm_verification_run(bm_verification *v, const char *folder, uint64_t max_bytes, bm_phase *phase,
                              bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL;
    bm_error words = {0};
    batch *b = bm_alloc_zero(1, sizeof *b);
    if (!b)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    qsort(v->pieces, v->count, sizeof *v->pieces, compare_pieces);
    BM_TRY(bm_model_open(&model, folder, &words));
    for (uint64_t i = 0; i < v->count; i += b->count) {
        uint64_t held = 0, bytes = 0;
        *b = (batch){.pieces = &v->pieces[i], .model = model};
        while (i + b->count < v->count && b->count < MAX_AT_ONCE &&
               (b->count == 0 || v->pieces[i + b->count].held_bytes <= max_bytes - held)) {
            const piece *p = &v->pieces[i + b->count++];
            held = bm_min_u64(max_bytes, held + p->held_bytes);
            bytes += p->bytes;
        }
        BM_TRY(compare_batch(b, &words));
        BM_TRY(bm_phase_step(phase, bytes, &words));
    }
done:
    bm_free(b);
    bm_model_close(&model);
    return bm_verification_end(status, &words, err);
}
