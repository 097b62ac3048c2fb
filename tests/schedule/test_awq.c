// AWQ from calibration data to codes, on the device that the argument names: scales, folds, steps and codes of a run beside the same
// worked out in double, token by token; steps of phases; clipping; devices, and a device beside itself.
#include "schedule/awq_reference.h"
#include "support/unit.h"

#include "base/file.h"
#include "base/str.h"
#include "support/folders.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

enum { BLOCKS = 2, GROUP = 32, MAX_CHANNELS = 128 };

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)
#define AWQ                                                                                                            \
    "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\",\"weight_quant_method\":\"groupwise\","  \
    "\"group_size\":32"
#define PER_CHANNEL "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\""
#define NORMS ",\"smooth_all_linears\":false"
#define ALL ",\"smooth_all_linears\":true"
#define CLIP ",\"auto_clip\":true"
#define THRESHOLDS CLIP ",\"scale_search\":\"abs_max\""

typedef struct awq_case {
    const char *keys;
    int64_t searched_steps, weighed_steps; // of scales, and of steps of weights
    uint32_t n_grid;
    bool extended, all;
    uint32_t thresholds; // candidates of clipping; 0: the fine ones
    const char *kept;    // linears that are not clipped
    bool per_channel;
    const char *skipped; // linears that stay float
} awq_case;

static uint32_t group_of(const awq_case *t, uint32_t channels)
{
    return t->per_channel ? channels : GROUP;
}

static bool is_searched(const awq_case *t, bm_stage stage)
{
    return t->all || stage == BM_STAGE_QKV || stage == BM_STAGE_GATE_UP;
}

// ---- scales

// Losses of all candidates, the one that was chosen, and what was folded. Returns what it was.
static double *check_stage(const awq_run *r, const awq_case *t, const awq_block *block, bm_stage stage)
{
    static float scales[AWQ_MAX_CANDIDATES * MAX_CHANNELS];
    const bm_stage_record *record = awq_run_stage(r, block->index, stage);
    const uint32_t channels = block->channels[stage];
    awq_search search = {.tokens = awq_run_tokens(r, t->searched_steps), .n_grid = t->n_grid, .extended = t->extended};
    for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++)
        search.grids[l] = (awq_grid){.bits = 4, .group_size = group_of(t, channels)};
    double losses[AWQ_MAX_CANDIDATES], least = INFINITY, logs = 0;
    uint32_t num_ties = 0; // candidates of which the rounding of a scale moves a weight across the middle of two codes
    if (!is_searched(t, stage)) {
        assert_true(record->search.num_moves == 0 && !record->scales);
        return NULL;
    }
    const uint32_t count = awq_reference_search(block, stage, &search, losses, scales);
    assert_int_equal(record->search.first_grid.count, count);
    assert_int_equal(record->search.num_moves, 1);
    for (uint32_t i = 0; i < count; i++) {
        const double away = fabs(record->search.losses[i] / losses[i] - 1);
        num_ties += away > 2e-4;
        if (!(away < 0.03))
            fail_msg("%s: block %u, stage %d, candidate %u: loses %.9g, expected %.9g", t->keys, block->index,
                     (int)stage, i, record->search.losses[i], losses[i]);
        least = fmin(least, losses[i]);
    }
    const uint32_t chosen = record->search.moves[0].chosen;
    assert_true(num_ties <= 2 && losses[chosen] <= least * (num_ties > 0 ? 1.03 : 1.0001));
    assert_true(record->search.identity_loss == record->search.losses[0] && record->finish.num_moved == 0);
    double *folded = bm_alloc(channels, sizeof *folded);
    for (uint32_t c = 0; c < channels; c++) {
        const float s = scales[(uint64_t)chosen * channels + c];
        folded[c] = ldexp((double)s, record->finish.exponent);
        logs += log2((double)s) / channels;
    }
    assert_true(fabs(logs + record->finish.exponent) < 0.5 + 1e-3);
    if (stage != BM_STAGE_QKV && stage != BM_STAGE_GATE_UP)
        return folded;
    double *found = awq_divided_norm(r, block->index, stage);
    for (uint32_t c = 0; c < channels; c++)
        if (!(fabs(found[c] / folded[c] - 1) < 1e-5))
            fail_msg("%s: block %u, stage %d, channel %u: scale %.9g, expected %.9g", t->keys, block->index, (int)stage,
                     c, found[c], folded[c]);
    bm_free(folded);
    return found;
}

// ---- steps and codes

// Losses of a group by the steps that might have been taken: the least, and what the step that was loses.
static void check_step(const awq_case *t, const float *w, const double *gram, uint32_t channels, uint32_t first,
                       double step, const char *name)
{
    const uint32_t size = group_of(t, channels);
    double amax = 0, least = INFINITY, nearest = INFINITY;
    for (uint32_t c = first; c < first + size; c++)
        amax = fmax(amax, fabs((double)w[c]));
    const bool keeps = t->kept && strstr(name, t->kept);
    const uint32_t count = keeps ? 1 : t->thresholds ? t->thresholds : 172;
    for (uint32_t i = 0; i < count; i++) {
        const double factor = keeps ? 1 : t->thresholds ? 1 - i / 20.0 : (i < 86 ? 1 : -1) * (1.05 - 0.01 * (i % 86));
        const double candidate = (double)(float)(amax * factor / 7);
        least = fmin(least, awq_reference_loss(w, gram, channels, first, size, candidate, 4));
        nearest = fmin(nearest, fabs(step / candidate - 1));
    }
    const double loss = awq_reference_loss(w, gram, channels, first, size, step, 4);
    if (!(nearest < 1e-6 && loss <= least * (1 + 1e-3)))
        fail_msg("%s: %s, inputs %u ..: step %.9g of range %.9g loses %.9g, expected %.9g", t->keys, name, first, step,
                 amax, loss, least);
}

static void check_linear(const awq_run *r, const awq_case *t, const awq_block *block, const awq_block *written,
                         const awq_folded *folded, const double *gram, bm_linear_id linear, uint64_t *ties)
{
    const uint32_t channels = block->channels[bm_linear_stage(linear)], size = group_of(t, channels);
    const uint32_t groups = channels / size;
    char name[BM_TENSOR_NAME_SIZE];
    uint64_t count;
    bm_linear_tensor_name(r->plan->family, block->index, linear, ".weight_scale", name);
    float *w = awq_reference_fold(block, folded, linear), *steps = awq_read(r->output, name, &count);
    assert_int_equal(count, (uint64_t)block->rows[linear] * groups);
    for (uint64_t k = 0; k < count; k++) {
        const float *row = w + k / groups * channels, *values = written->weights[linear] + k / groups * channels;
        const uint32_t first = (uint32_t)(k % groups) * size;
        check_step(t, row, gram, channels, first, (double)steps[k], name);
        for (uint32_t c = first; c < first + size; c++) {
            const double exact = (double)row[c] / (double)steps[k], code = rint((double)values[c] / (double)steps[k]);
            const bool is_tie = fabs(fabs(exact - floor(exact)) - 0.5) < 1e-4;
            *ties += is_tie;
            if (!is_tie && code != fmin(fmax(rint(exact), -8), 7))
                fail_msg("%s: %s, inputs %u: code %g, expected that of %g", t->keys, name, c, code, exact);
        }
    }
    bm_free(w);
    bm_free(steps);
}

// Linears that stay float do not count.
static void leave_out(const awq_run *r, const awq_case *t, awq_block *block)
{
    char name[BM_TENSOR_NAME_SIZE];
    for (bm_linear_id l = 0; t->skipped && l < BM_NUM_LINEARS; l++)
        if (block->rows[l] > 0 && strstr(bm_linear_tensor_name(r->plan->family, block->index, l, "", name), t->skipped))
            block->rows[l] = 0;
}

static void check_blocks(const awq_run *r, const awq_case *t)
{
    awq_block blocks[BLOCKS], written;
    bm_model *output = NULL;
    uint64_t ties = 0;
    awq_blocks_read(r, blocks, BLOCKS);
    MUST(bm_model_open(&output, r->output, &failure));
    for (uint32_t b = 0; b < BLOCKS; b++) {
        awq_folded folded;
        awq_block_read_weights(output, b, &written);
        leave_out(r, t, &blocks[b]);
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            folded.scales[stage] = check_stage(r, t, &blocks[b], stage);
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
            double *gram = awq_reference_gram(&blocks[b], &folded, stage, awq_run_tokens(r, t->weighed_steps));
            for (bm_linear_id l = 0; l < BM_NUM_LINEARS; l++)
                if (bm_linear_stage(l) == stage && blocks[b].rows[l] > 0)
                    check_linear(r, t, &blocks[b], &written, &folded, gram, l, &ties);
            bm_free(gram);
        }
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            bm_free(folded.scales[stage]);
        awq_block_free(&blocks[b]);
        awq_block_free(&written);
    }
    assert_true(ties < 100); // of 90,000 weights
    bm_model_close(&output);
}

// A step is two sequences, but for the last of the data.
static uint64_t sequences_of(int64_t steps)
{
    return bm_min_u64(2 * (uint64_t)steps, 7);
}

// Phases look at their own steps, whichever are more; the data have four.
static void scales_and_codes_are_those_worked_out(void **state)
{
    (void)state;
    static const awq_case cases[] = {
        {AWQ ALL ",\"smooth_step\":2,\"ptq_step\":2", 2, 2, 20, true, true, 0, NULL, false, NULL},
        {AWQ ALL THRESHOLDS ",\"smooth_step\":3,\"autoclip_step\":1", 3, 1, 20, true, true, 10, NULL, false, NULL},
        {AWQ ALL THRESHOLDS ",\"awq_step\":1,\"smooth_step\":4,\"autoclip_step\":3", 1, 3, 20, true, true, 10, NULL,
         false, NULL},
        {AWQ NORMS CLIP ",\"smooth_step\":1,\"autoclip_step\":-1,\"awq_candidates\":\"published\",\"awq_n_grid\":8", 1,
         4, 8, false, false, 0, NULL, false, NULL},
        {AWQ ALL THRESHOLDS ",\"clip_max_shrink\":0.25,\"clip_skip\":[\"q_proj\",\"nothing\"],\"smooth_step\":2,"
                            "\"autoclip_step\":2,\"awq_n_grid\":5",
         2, 2, 5, true, true, 5, "q_proj", false, NULL},
        {AWQ NORMS ",\"smooth_step\":4,\"ptq_step\":1,\"awq_n_grid\":4", 4, 1, 4, true, false, 0, NULL, false, NULL},
        {PER_CHANNEL ALL THRESHOLDS ",\"smooth_step\":2,\"autoclip_step\":2,\"awq_n_grid\":4", 2, 2, 4, true, true, 10,
         NULL, true, NULL},
        {AWQ NORMS ",\"smooth_step\":2,\"ptq_step\":2,\"awq_n_grid\":4,\"skip_list_names\":[\"k_proj\"]", 2, 2, 4, true,
         false, 0, NULL, false, "k_proj"},
    };
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(cases) && (i < 2 || !support_is_interpreted()); i++) {
        awq_run r = {.folder = folder, .keys = cases[i].keys};
        awq_run_must(&r);
        check_blocks(&r, &cases[i]);
        assert_int_equal(r.result.num_sequences,
                         bm_max_u64(sequences_of(cases[i].searched_steps), sequences_of(cases[i].weighed_steps)));
        assert_int_equal(r.result.num_solving_sequences, sequences_of(cases[i].weighed_steps));
        assert_true(awq_run_notes(&r, "clip_skip: \"nothing\" matches no linear") == (cases[i].kept != NULL));
        assert_false(awq_run_notes(&r, "clip_skip: \"q_proj\""));
        for (uint32_t l = 0; l < r.result.num_linears; l++)
            assert_int_equal(r.result.linears[l].keeps_range,
                             cases[i].kept && strstr(r.result.linears[l].name, cases[i].kept));
        awq_run_end(&r);
    }
    support_folder_remove(&folder);
}

// ---- folds

// A copy of the run's model with the folds of its scales, o's and down's too.
// Logits are float32: what their rounding makes of the divergence is the bound.
static void folds_change_no_logit(void **state)
{
    (void)state;
    static const awq_case t = {AWQ ALL ",\"smooth_step\":2,\"ptq_step\":2", 2, 2, 20, true, true, 0, NULL, false, NULL};
    const model_maker_params p = awq_model();
    awq_block blocks[BLOCKS];
    char *folder = awq_model_write(&p), *copy = awq_model_write(&p);
    double farthest = 0;
    awq_run r = {.folder = folder, .keys = t.keys};
    awq_run_must(&r);
    awq_blocks_read(&r, blocks, BLOCKS);
    for (uint32_t b = 0; b < BLOCKS; b++) {
        awq_folded folded;
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
            folded.scales[stage] = check_stage(&r, &t, &blocks[b], stage);
            for (uint32_t c = 0; c < blocks[b].channels[stage]; c++)
                farthest = fmax(farthest, fabs(log2(folded.scales[stage][c])));
        }
        awq_fold_write(&r, &blocks[b], &folded, copy);
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            bm_free(folded.scales[stage]);
        awq_block_free(&blocks[b]);
    }
    const double nats = awq_divergence(folder, copy), rounded = awq_divergence(folder, r.output);
    print_message("folded %.3g nats, rounded %.3g; scales up to 2^%.2f\n", nats, rounded, farthest);
    assert_true(fabs(nats) < 1e-7 && fabs(nats) < rounded / 1e5 && farthest > 1);
    awq_run_end(&r);
    support_folder_remove(&copy);
    support_folder_remove(&folder);
}

// ---- agreement

static uint8_t *read_file(const char *folder, uint64_t *size)
{
    char *bytes = NULL, *path = bm_path_join(folder, "model.safetensors");
    MUST(bm_file_read_all(path, UINT64_C(1) << 30, &bytes, size, &failure));
    bm_free(path);
    return (uint8_t *)bytes;
}

// The device twice: the same bytes. The host beside it: codes at most where two steps lose the same but for rounding.
static void devices_agree(void **state)
{
    static const char *const keys[] = {AWQ ALL CLIP ",\"smooth_step\":2,\"autoclip_step\":3",
                                       AWQ ALL THRESHOLDS ",\"smooth_step\":3,\"autoclip_step\":2",
                                       "\"do_gptq\":true,\"scaling\":\"awq\",\"smooth_step\":3,\"gptq_step\":2,"
                                       "\"weight_quant_method\":\"groupwise\",\"group_size\":32"};
    (void)state;
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    bm_device *host = NULL;
    support_log log;
    support_log_init(&log);
    MUST(support_device_open("host", &log, &host, &failure));
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        awq_run once = {.folder = folder, .keys = keys[i]}, again = once, beside = once;
        uint64_t size, size_again, codes;
        beside.device = host;
        awq_run_must(&once);
        awq_run_must(&again);
        awq_run_must(&beside);
        uint8_t *bytes = read_file(once.output, &size), *same = read_file(again.output, &size_again);
        assert_int_equal(size, size_again);
        assert_memory_equal(bytes, same, size);
        const uint64_t differing = awq_differing_codes(once.output, beside.output, &codes);
        print_message("%s: %llu of %llu codes differ from the host's\n", keys[i], (unsigned long long)differing,
                      (unsigned long long)codes);
        assert_true(codes > 50000 && differing * 200 <= codes);
        bm_free(bytes);
        bm_free(same);
        awq_run_end(&once);
        awq_run_end(&again);
        awq_run_end(&beside);
    }
    bm_device_close(&host);
    support_folder_remove(&folder);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_and_codes_are_those_worked_out),
        cmocka_unit_test(folds_change_no_logit),
        cmocka_unit_test(devices_agree),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "awq", run);
}
