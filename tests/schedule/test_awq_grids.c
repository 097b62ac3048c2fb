// Linears on grids of their own (gguf_type's mixtures, and types where inputs are no whole blocks) on the device that the argument
// names: losses of AWQ's candidates and of the piecewise search, what is compiled, what searches take.
#include "schedule/awq_reference.h"
#include "support/unit.h"

#include "base/str.h"
#include "device/backend.h"
#include "schedule/equalize.h"
#include "support/folders.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

enum { BLOCKS = 2, MAX_CHANNELS = 512, N_GRID = 3 };

static bm_error failure;

#define GGUF(TYPE) ",\"format\":\"gguf\",\"gguf_type\":\"" TYPE "\""
#define AWQ "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"awq_n_grid\":3"
#define SEARCH                                                                                                         \
    "\"do_ptq\":true,\"smooth\":true,\"smooth_piecewise_search\":true,\"search_alpha_step\":0.2,"                      \
    "\"search_scale_step\":2,\"smooth_k_piece\":1,\"search_tokens\":16,\"scale_search\":\"mse\""

static char *write_model(uint32_t hidden, uint32_t intermediate)
{
    model_maker_params p = awq_model();
    p.hidden_size = hidden;
    p.intermediate_size = intermediate;
    return awq_model_write(&p);
}

static bm_emit_context emit_of(const awq_run *r)
{
    return (bm_emit_context){.arguments = r->arguments, .plan = r->plan, .model = r->model, .device = awq_device};
}

// ---- losses

// Of two blocks the last has more bits of v and down: a grid for those, and one for all others. Those of down are those of whole
// blocks or not.
typedef struct grids_case {
    uint32_t hidden, intermediate;
    const char *keys;
    awq_grid others, v, down, last_down;
} grids_case;

static awq_grid grid_of(const grids_case *t, uint32_t block, bm_linear_id linear)
{
    const bool has_more = block == BLOCKS - 1;
    if (linear == BM_LINEAR_DOWN)
        return has_more ? t->last_down : t->down;
    return linear == BM_LINEAR_V && has_more ? t->v : t->others;
}

// Of all candidates. A step or code between two numbers may be either: of few candidates, and worth little. Returns how many.
static uint32_t check_losses(const awq_run *r, const grids_case *t, const awq_block *block, bm_stage stage)
{
    static float scales[AWQ_MAX_CANDIDATES * MAX_CHANNELS];
    const bm_stage_record *record = awq_run_stage(r, block->index, stage);
    awq_search search = {.tokens = awq_run_tokens(r, 2), .n_grid = N_GRID, .extended = true};
    double losses[AWQ_MAX_CANDIDATES];
    uint32_t num_ties = 0;
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++)
        search.grids[l] = grid_of(t, block->index, l);
    const uint32_t count = awq_reference_search(block, stage, &search, losses, scales);
    assert_int_equal(record->search.first_grid.count, count);
    for (uint32_t i = 0; i < count; i++) {
        const double away = fabs(record->search.losses[i] / losses[i] - 1);
        num_ties += away > 2e-4;
        if (!(away < 0.01))
            fail_msg("%s: block %u, stage %d, candidate %u: loses %.9g, expected %.9g", t->keys, block->index,
                     (int)stage, i, record->search.losses[i], losses[i]);
    }
    return num_ties;
}

static void candidates_lose_what_each_linear_does_on_its_own_grid(void **state)
{
    (void)state;
    static const grids_case cases[] = {
        // 64 and 96 inputs are no whole blocks: Q5_0 and Q8_0.
        {64,
         96,
         AWQ GGUF("q4_k_m"),
         {5, 32, false, true},
         {8, 32, false, true},
         {5, 32, false, true},
         {8, 32, false, true}},
        // Q5_1 first, which has zero points.
        {64,
         96,
         AWQ GGUF("q5_k_m"),
         {5, 32, true, true},
         {8, 32, false, true},
         {5, 32, true, true},
         {8, 32, false, true}},
        // Q5_0 and Q8_0 first, down is Q4_K and Q6_K: ranges of their groups, unnested.
        {64,
         256,
         AWQ GGUF("q4_k_m"),
         {5, 32, false, true},
         {8, 32, false, true},
         {4, 32, true, true},
         {6, 16, false, true}},
        // Q4_K and Q6_K first, down is not.
        {256,
         32,
         AWQ GGUF("q4_k_m"),
         {4, 32, true, true},
         {6, 16, false, true},
         {5, 32, false, true},
         {8, 32, false, true}},
    };
    uint32_t num_ties = 0;
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *folder = write_model(cases[i].hidden, cases[i].intermediate);
        char *keys = bm_format("%s,\"smooth_all_linears\":true,\"smooth_step\":2,\"ptq_step\":2", cases[i].keys);
        awq_run r = {.folder = folder, .keys = keys};
        awq_block blocks[BLOCKS];
        awq_run_must(&r);
        awq_blocks_read(&r, blocks, BLOCKS);
        for (uint32_t b = 0; b < BLOCKS; b++) {
            for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
                num_ties += check_losses(&r, &cases[i], &blocks[b], stage);
            awq_block_free(&blocks[b]);
        }
        awq_run_end(&r);
        bm_free(keys);
        support_folder_remove(&folder);
    }
    assert_true(num_ties <= 8); // of 32 stages, 7 candidates each
}

// q and k of the last block are zeros, which lose nothing, so that v alone does: as where all linears are on its grid.
static void pieces_are_searched_on_the_grid_of_each_linear(void **state)
{
    (void)state;
    static const char *const keys[] = {SEARCH ",\"quant_type\":\"wint4\"" GGUF("q4_k_m"),
                                       SEARCH ",\"quant_type\":\"wint4\"" GGUF("q5_k_m"),
                                       SEARCH ",\"quant_type\":\"wint8\",\"format\":\"gguf\""};
    double losses[BM_COUNT(keys)][2];
    char *folder = write_model(64, 96);
    awq_scale_tensor(folder, "model.layers.1.self_attn.q_proj.weight", -1, -1, 64, 0);
    awq_scale_tensor(folder, "model.layers.1.self_attn.k_proj.weight", -1, -1, 64, 0);
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        awq_run r = {.folder = folder, .keys = keys[i]};
        awq_run_must(&r);
        losses[i][0] = awq_run_stage(&r, BLOCKS - 1, BM_STAGE_QKV)->search.identity_loss;
        losses[i][1] = awq_run_stage(&r, BLOCKS - 1, BM_STAGE_QKV)->search.loss;
        awq_run_end(&r);
    }
    for (size_t i = 0; i + 1 < BM_COUNT(keys); i++)
        for (uint32_t k = 0; k < 2; k++)
            if (!(losses[i][k] > 0 && fabs(losses[i][k] / losses[BM_COUNT(keys) - 1][k] - 1) < 1e-6))
                fail_msg("%s: loses %.9g, expected %.9g", keys[i], losses[i][k], losses[BM_COUNT(keys) - 1][k]);
    support_folder_remove(&folder);
}

// ---- what is compiled

static const bm_backend *real;
static bool seen[2][9]; // steps of zero points or not, of so many bits
static uint32_t num_nested[2];

static bm_status take_note(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    if (call->kernel == BM_KERNEL_SCALE_SEARCH) {
        const bm_scale_search_scalars *s = call->scalars;
        seen[s->symmetric][s->bits] = true;
    }
    if (call->kernel == BM_KERNEL_NESTED_SEARCH)
        num_nested[((const bm_nested_search_scalars *)call->scalars)->symmetric]++;
    return real->dispatch(d, call, subject, barrier, err);
}

// Q5_0 and Q8_0, but for down: Q4_K, then Q6_K. Each is solved once in front of the work, and searched, as ranges of its groups.
static void kernels_of_every_grid_are_built_before(void **state)
{
    (void)state;
    static const struct {
        uint32_t symmetric, bits;
    } grids[] = {{1, 5}, {1, 8}, {0, 4}, {1, 6}};
    if (bm_device_is_host(awq_device))
        return; // nothing to compile
    char *folder = write_model(64, 256);
    bm_backend watching = *awq_device->backend;
    awq_run r = {.folder = folder, .keys = AWQ GGUF("q4_k_m")};
    assert_ok(awq_run_plan(&r, &failure), &failure);
    const bm_emit_context emit = emit_of(&r);
    const bm_quantize_run_params params = {
        .arguments = r.arguments, .plan = r.plan, .model = r.model, .device = awq_device};
    memset(seen, 0, sizeof seen);
    num_nested[0] = num_nested[1] = 0;
    real = awq_device->backend;
    watching.dispatch = take_note;
    awq_device->backend = &watching;
    const bm_status status = bm_quantize_run_warm_up(&params, &emit, &failure);
    awq_device->backend = real;
    assert_ok(status, &failure);
    for (size_t i = 0; i < BM_COUNT(grids); i++)
        if (!seen[grids[i].symmetric][grids[i].bits])
            fail_msg("%u bits: not searched", grids[i].bits);
    assert_int_equal(num_nested[0], 1);
    assert_int_equal(num_nested[1], 1);
    awq_run_end(&r);
    support_folder_remove(&folder);
}

// ---- what is told

static uint64_t searches_take(const char *folder, const char *keys)
{
    awq_run r = {.folder = folder, .keys = keys};
    assert_ok(awq_run_plan(&r, &failure), &failure);
    const bm_emit_context emit = emit_of(&r);
    const uint64_t bytes = bm_equalizer_claim(&emit, 1).search;
    awq_run_end(&r);
    return bytes;
}

// v of the last block has steps of 16 inputs, q and k of 32.
static void searches_take_what_the_most_steps_of_a_block_do(void **state)
{
    (void)state;
    char *folder = write_model(256, 32);
    const uint64_t mixture = searches_take(folder, SEARCH ",\"quant_type\":\"wint4\"" GGUF("q4_k_m"));
    const uint64_t few = searches_take(folder, SEARCH ",\"quant_type\":\"wint4\"" GGUF("q4_k"));
    const uint64_t many = searches_take(folder, SEARCH ",\"quant_type\":\"wint4\"" GGUF("q6_k"));
    assert_true(few < many);
    assert_int_equal(mixture, many);
    support_folder_remove(&folder);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates_lose_what_each_linear_does_on_its_own_grid),
        cmocka_unit_test(pieces_are_searched_on_the_grid_of_each_linear),
        cmocka_unit_test(kernels_of_every_grid_are_built_before),
        cmocka_unit_test(searches_take_what_the_most_steps_of_a_block_do),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "awq_grids", run);
}
