// The order of what is recorded, under load: a thousand dispatches, each of which reads what others wrote far away, with
// transfers in between, and every number of the result known.
//
// Each row of a matrix holds one whole number in all its columns. A round gathers the rows in an order that brings every row
// from far away (embedding), then adds 1 to each half while it changes places with the other (add). There are more
// work-groups than any GPU runs at once, so that the first groups of a dispatch start while the last of the one before
// still run, unless a barrier holds them; and the rows that they read come from those last groups as from all others. A
// dispatch that ran too early reads numbers of an earlier round.
//
//   test_device_order SPEC                    must give the right numbers
//   test_device_order SPEC without-barriers   leaves out the barriers between dispatches, and must give wrong ones: the
//                                             proof that the test is awake, for Vulkan on a GPU. CPU drivers run one
//                                             dispatch after another by themselves, and OpenCL's queue is in order.
#include "device/fixture.h"

#include <stdio.h>
#include <string.h>

enum { COLS = 16, ROUNDS = 334, EVERY = 16, PIECE = 64 }; // three dispatches a round; transfers of PIECE rows
#define ROW_BYTES (COLS * sizeof(float))

typedef struct experiment {
    uint32_t rows; // a power of two
    bm_buffer *state, *gathered, *ids, *one;
    uint32_t *numbers, *other; // of each row, as the host knows them; at most 2^24, so that float32 holds them
    uint32_t *order;           // row i of what is gathered is row order[i]
    uint64_t num_wrong;
} experiment;

static bm_view rows_of(bm_buffer *buffer, uint32_t first, uint32_t count)
{
    return bm_view_part(bm_buffer_view(buffer), first * ROW_BYTES, count * ROW_BYTES);
}

static void begin(experiment *e)
{
    const bool is_gpu = bm_device_kind_is_gpu(bm_device_get_info(test_device)->kind);
    float one[COLS];
    *e = (experiment){.rows = is_gpu ? 1u << 18 : 1u << 12}; // 16384 work-groups of 64, or 256
    e->numbers = bm_alloc(e->rows, sizeof *e->numbers);
    e->other = bm_alloc(e->rows, sizeof *e->other);
    e->order = bm_alloc(e->rows, sizeof *e->order);
    float *values = bm_alloc(e->rows, ROW_BYTES);
    assert_true(e->numbers && e->other && e->order && values);
    for (uint32_t r = 0; r < e->rows; r++) {
        e->numbers[r] = 16 * r;
        e->order[r] = (r * 40503u + 12345u) % e->rows; // odd times row: each row once
        for (uint32_t c = 0; c < COLS; c++)
            values[r * COLS + c] = (float)e->numbers[r];
    }
    for (uint32_t c = 0; c < COLS; c++)
        one[c] = 1;
    e->state = make_buffer(e->rows * ROW_BYTES);
    e->gathered = make_buffer(e->rows * ROW_BYTES);
    e->ids = make_buffer(e->rows * sizeof *e->order);
    e->one = make_buffer(sizeof one);
    MUST(bm_upload(test_device, bm_buffer_view(e->state), values, e->rows * ROW_BYTES, &failure));
    MUST(bm_upload(test_device, bm_buffer_view(e->ids), e->order, e->rows * sizeof *e->order, &failure));
    MUST(bm_upload(test_device, bm_buffer_view(e->one), one, sizeof one, &failure));
    bm_free(values);
}

static void gather(experiment *e)
{
    const bm_embedding_scalars scalars = {e->rows, COLS, COLS, COLS, 0, e->rows, e->rows};
    const bm_call call = {
        .kernel = BM_KERNEL_EMBEDDING,
        .buffers = {bm_buffer_view(e->ids), bm_buffer_view(e->state), bm_buffer_view(e->gathered)},
        .types = {BM_DTYPE_NONE, BM_DTYPE_F32, BM_DTYPE_F32},
        .scalars = &scalars,
        .groups = {e->rows * COLS / 4 / 64, 1, 1},
    };
    MUST(bm_dispatch(test_device, &call, &failure));
    for (uint32_t r = 0; r < e->rows; r++)
        e->other[r] = e->numbers[e->order[r]];
}

// Half h of the state becomes 1 more than the other half of what was gathered.
static void add_half(experiment *e, uint32_t h)
{
    const uint32_t half = e->rows / 2;
    const bm_add_scalars scalars = {half, COLS, COLS, 0, COLS, 1.0f, false}; // the same row for every row
    const bm_call call = {
        .kernel = BM_KERNEL_ADD,
        .buffers = {rows_of(e->gathered, (1 - h) * half, half), bm_buffer_view(e->one),
                    rows_of(e->state, h * half, half)},
        .types = {BM_DTYPE_F32, BM_DTYPE_F32, BM_DTYPE_F32},
        .scalars = &scalars,
        .groups = {half * COLS / 4 / 64, 1, 1},
    };
    MUST(bm_dispatch(test_device, &call, &failure));
    for (uint32_t r = 0; r < half; r++)
        e->numbers[h * half + r] = e->other[(1 - h) * half + r] + 1;
}

static void compare(experiment *e, const float *got, const uint32_t *want, uint32_t rows)
{
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t c = 0; c < COLS; c++)
            e->num_wrong += got[r * COLS + c] != (float)want[r];
}

// What was downloaded between dispatches, and what it should be.
typedef struct snapshot {
    float got[PIECE * COLS];
    uint32_t want[PIECE];
} snapshot;

// Upload, copy, fill and download of rows, at places that differ by round.
static void transfer(experiment *e, uint32_t round, snapshot *s)
{
    float values[PIECE * COLS];
    const uint32_t pieces = e->rows / PIECE, at = round * 7919u % pieces, third = pieces / 3;
    const uint32_t up = at * PIECE, from = (at + third) % pieces * PIECE, to = (at + 2 * third) % pieces * PIECE;
    for (uint32_t r = 0; r < PIECE; r++) {
        e->numbers[up + r] = 1000 * round + r;
        for (uint32_t c = 0; c < COLS; c++)
            values[r * COLS + c] = (float)e->numbers[up + r];
    }
    MUST(bm_upload(test_device, rows_of(e->state, up, PIECE), values, sizeof values, &failure));
    MUST(bm_copy(test_device, rows_of(e->state, to, PIECE), rows_of(e->state, from, PIECE), &failure));
    memcpy(e->numbers + to, e->numbers + from, PIECE * sizeof *e->numbers);
    MUST(bm_fill(test_device, rows_of(e->state, from, 1), 0x40400000u, &failure)); // 3.0
    e->numbers[from] = 3;
    MUST(bm_download(test_device, rows_of(e->state, to, PIECE), s->got, sizeof s->got, &failure));
    memcpy(s->want, e->numbers + to, sizeof s->want);
}

// How many numbers are wrong.
static uint64_t run(void)
{
    experiment e;
    snapshot *snapshots = bm_alloc_zero(ROUNDS / EVERY + 1, sizeof *snapshots);
    uint32_t num_snapshots = 0;
    assert_non_null(snapshots);
    begin(&e);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const bool side_by_side = round % 3 == 0; // the two halves have nothing to do with each other
        gather(&e);
        if (side_by_side)
            MUST(bm_batch_parallel_begin(test_device, &failure));
        add_half(&e, 0);
        add_half(&e, 1);
        if (side_by_side)
            MUST(bm_batch_parallel_end(test_device, &failure));
        if (round % EVERY == EVERY - 1)
            transfer(&e, round, &snapshots[num_snapshots++]);
    }
    float *values = bm_alloc(e.rows, ROW_BYTES);
    assert_non_null(values);
    MUST(bm_download(test_device, bm_buffer_view(e.state), values, e.rows * ROW_BYTES, &failure));
    MUST(bm_device_wait(test_device, &failure));
    for (uint32_t i = 0; i < num_snapshots; i++)
        compare(&e, snapshots[i].got, snapshots[i].want, PIECE);
    compare(&e, values, e.numbers, e.rows);
    bm_buffer_destroy(&e.state);
    bm_buffer_destroy(&e.gathered);
    bm_buffer_destroy(&e.ids);
    bm_buffer_destroy(&e.one);
    bm_free(e.numbers);
    bm_free(e.other);
    bm_free(e.order);
    bm_free(values);
    bm_free(snapshots);
    return e.num_wrong;
}

static void a_thousand_dispatches_keep_their_order(void **state)
{
    (void)state;
    assert_int_equal(run(), 0);
}

static bm_status dispatch_without_barrier(bm_device *device, const bm_call *call, uint32_t subject, bool barrier,
                                          bm_error *err)
{
    (void)barrier;
    return real->dispatch(device, call, subject, false, err);
}

static bm_status no_barrier(bm_device *device, bm_error *err)
{
    (void)device;
    (void)err;
    return BM_OK;
}

static void missing_barriers_are_seen(void **state)
{
    (void)state;
    make_faulty();
    faulty.dispatch = dispatch_without_barrier;
    faulty.barrier = no_barrier;
    const uint64_t num_wrong = run();
    printf("without barriers %llu numbers are wrong\n", (unsigned long long)num_wrong);
    assert_true(num_wrong > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {ON_A_DEVICE(a_thousand_dispatches_keep_their_order)};
    const struct CMUnitTest proof[] = {ON_A_DEVICE(missing_barriers_are_seen)};
    if (argc == 3 && strcmp(argv[2], "without-barriers") == 0)
        return device_fixture_main(argc - 1, argv, proof, BM_COUNT(proof));
    return device_fixture_main(argc, argv, tests, BM_COUNT(tests));
}
