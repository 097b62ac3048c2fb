// What AWQ asks of the device that the argument names: memory that is told beforehand and given back when nothing reads it any more,
// sums that are too wide for it, kernels that are compiled in front of the work.
#include "schedule/awq_run.h"
#include "support/unit.h"

#include "base/str.h"
#include "device/backend.h"
#include "schedule/calibrate.h"
#include "schedule/equalize.h"
#include "schedule/memory_plan.h"
#include "support/folders.h"
#include "support/support.h"

#include <string.h>

static bm_error failure;

#define MUST(call) assert_ok(call, &failure)
#define GROUPS ",\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"awq_n_grid\":4"
#define AWQ "\"do_ptq\":true,\"do_awq\":true,\"smooth\":true,\"quant_type\":\"wint4\"" GROUPS
#define GPTQ "\"do_gptq\":true,\"scaling\":\"awq\"" GROUPS
#define RTN "\"do_ptq\":true,\"quant_type\":\"wint4\"" GROUPS
#define NORMS ",\"smooth_all_linears\":false"
#define ALL ",\"smooth_all_linears\":true"
#define ABS_MAX ",\"scale_search\":\"abs_max\""

// Behind awq_run_must: what its plan is asked.
static bm_emit_context emit_of(const awq_run *r)
{
    return (bm_emit_context){.arguments = r->arguments, .plan = r->plan, .model = r->model, .device = awq_device};
}

// ---- what is told

// GPTQ keeps sums of its own; rounding takes its steps from those of the search, and from more where it sees more steps.
static void sums_are_kept_for_those_who_read_them(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        uint32_t norms, others; // sets of sums
    } cases[] = {{GPTQ ALL ",\"smooth_step\":3,\"gptq_step\":2", 1, 1},
                 {GPTQ NORMS ",\"smooth_step\":1,\"gptq_step\":2", 1, 0},
                 {AWQ NORMS ",\"smooth_step\":3,\"ptq_step\":2", 2, 2},
                 {AWQ NORMS ",\"smooth_step\":2,\"ptq_step\":2", 1, 1},
                 {AWQ NORMS ABS_MAX ",\"smooth_step\":1,\"ptq_step\":2", 1, 0},
                 {AWQ ALL ABS_MAX ",\"awq_inspect\":\"block\"", 0, 1}};
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        awq_run r = {.folder = folder, .keys = cases[i].keys};
        awq_run_must(&r);
        const bm_emit_context emit = emit_of(&r);
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
            const bool is_norm = stage == BM_STAGE_QKV || stage == BM_STAGE_GATE_UP;
            const uint32_t channels = bm_equalizer_channels(r.model, stage);
            const uint64_t one = UINT64_C(4) * channels * channels;
            if (bm_equalizer_gram_bytes(&emit, stage) != one * (is_norm ? cases[i].norms : cases[i].others))
                fail_msg("%s: stage %d: %llu bytes", r.keys, (int)stage,
                         (unsigned long long)bm_equalizer_gram_bytes(&emit, stage));
        }
        awq_run_end(&r);
    }
    support_folder_remove(&folder);
}

// Without a method that watches, nobody else counts what sums of products of a batch take.
static void the_multiplier_is_counted_once(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        uint32_t widest; // 0: counted elsewhere, or not there
    } cases[] = {{AWQ ALL ABS_MAX, 96},
                 {AWQ NORMS ABS_MAX, 64},
                 {AWQ ALL, 0},
                 {GPTQ ALL, 0},
                 {AWQ NORMS ABS_MAX ",\"awq_inspect\":\"block\"", 0}};
    const uint32_t many = 100000;
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        awq_run r = {.folder = folder, .keys = cases[i].keys};
        awq_run_must(&r);
        const bm_emit_context emit = emit_of(&r);
        const uint32_t n = cases[i].widest;
        const uint64_t more = n ? bm_memory_multiplier_bytes(awq_device, n, 1, many, false) -
                                      bm_memory_multiplier_bytes(awq_device, n, 1, 1, false)
                                : 0;
        assert_true(n == 0 || more > 0);
        assert_int_equal(bm_equalizer_bytes(&emit, many) - bm_equalizer_bytes(&emit, 1), more);
        awq_run_end(&r);
    }
    support_folder_remove(&folder);
}

// Beside the same without AWQ: means of magnitudes of each sequence.
static void statistics_are_counted(void **state)
{
    (void)state;
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    awq_run r = {.folder = folder, .keys = GPTQ NORMS ",\"awq_inspect\":\"block\",\"search_tokens\":1"};
    awq_run_must(&r);
    const bm_emit_context emit = emit_of(&r);
    const uint64_t with = bm_equalizer_bytes(&emit, 1), block = bm_equalizer_block_bytes(&emit);
    r.arguments->scaling = BM_SCALING_SMOOTH;
    const uint64_t without = bm_equalizer_bytes(&emit, 1);
    const uint64_t channels = 3 * p.hidden_size + p.intermediate_size;
    assert_int_equal(with - without - block, 4 * channels * r.plan->calibration.num_segments);
    awq_run_end(&r);
    support_folder_remove(&folder);
}

// ---- what is given back

static uint64_t live_bytes[16];
static uint32_t num_begun;

static bm_status begin(bm_multiplier *m, const bm_method_params *params, uint32_t channels, void **state, bm_error *err)
{
    live_bytes[num_begun++ % BM_COUNT(live_bytes)] = bm_device_live_bytes(awq_device);
    return bm_method_gptq.begin(m, params, channels, state, err);
}

// In the second block, where both have grown what the multiplier keeps, a run behind AWQ has no more than one behind smooth when
// the first linears are solved, but for means of magnitudes and a wider piece of inputs: sums of the block's stages take 84 KiB.
static void sums_are_gone_when_others_solve(void **state)
{
    (void)state;
    static const char *const keys[] = {GPTQ ALL ",\"smooth_step\":3,\"gptq_step\":2",
                                       "\"do_gptq\":true,\"scaling\":\"smooth\"" GROUPS ALL
                                       ",\"smooth_step\":3,\"gptq_step\":2"};
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    bm_method watching = bm_method_gptq;
    uint64_t bytes[2];
    watching.begin = begin;
    for (size_t i = 0; i < 2; i++) {
        awq_run r = {.folder = folder, .keys = keys[i], .method = &watching};
        num_begun = 0;
        awq_run_must(&r);
        assert_true(num_begun >= 2 * BM_NUM_STAGES); // one more where kernels are compiled
        bytes[i] = live_bytes[num_begun - BM_NUM_STAGES];
        awq_run_end(&r);
    }
    assert_true(bytes[0] < bytes[1] + UINT64_C(4) * 96 * 96);
    support_folder_remove(&folder);
}

// ---- what does not fit

static void sums_beyond_the_largest_buffer_are_refused(void **state)
{
    (void)state;
    static const uint64_t widest = UINT64_C(4) * 288 * 288;
    static const struct {
        const char *keys;
        uint64_t most;
        const char *words; // NULL: it runs
    } cases[] = {
        {AWQ ALL ABS_MAX, widest, NULL},
        {AWQ ALL ABS_MAX, widest - 1,
         "test: \"do_awq\": true: sums of products of the 288 inputs of model.layers.0.mlp.down_proj take 0.3 "
         "MB, expected at most 0.3 MB, the largest buffer of "},
        {AWQ NORMS, widest - 1, "sums of products of the 288 inputs of model.layers.0.mlp.down_proj"},
        {GPTQ ALL, widest - 1, "test: \"scaling\": \"awq\": sums of products of the 288 inputs of "},
        {GPTQ NORMS, widest - 1, "test: \"do_gptq\": true: sums of products of the 288 inputs of "},
        {"\"do_gptq\":true" GROUPS, widest - 1,
         "test: \"do_gptq\": true: sums of products of the 288 inputs of model.layers.0.mlp.down_proj take 0.3 MB, "
         "expected at most 0.3 MB, the largest buffer of "},
        {"\"do_gptq\":true" GROUPS, 4 * widest, NULL},
        {RTN ",\"scale_search\":\"gram\",\"skip_list_names\":[\"down_proj\"]", widest - 1, NULL},
        {RTN ",\"scale_search\":\"gram\"", widest - 1, "test: \"scale_search\": \"gram\": sums of "},
        {RTN ",\"scale_search\":\"weighted_mse\"", widest - 1, "test: \"scale_search\": \"weighted_mse\": "},
        {RTN ",\"scale_search\":\"mse\"", widest - 1, NULL},
        {AWQ NORMS ABS_MAX, widest - 1, NULL},
        {AWQ ALL ABS_MAX ",\"skip_list_names\":[\"down_proj\"]", widest - 1, NULL}};
    const bm_device_limits limits = awq_device->info.limits;
    model_maker_params p = awq_model();
    p.intermediate_size = 288;
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(cases); i++) {
        char *keys = bm_format("%s,\"search_tokens\":8", cases[i].keys);
        awq_run r = {.folder = folder, .keys = keys};
        awq_device->info.limits.max_allocation_bytes = cases[i].most;
        const bm_status status = awq_run_quantize(&r, &failure);
        awq_device->info.limits = limits;
        if (status != (cases[i].words ? BM_E_ARGUMENT : BM_OK) ||
            (cases[i].words && !strstr(failure.message, cases[i].words)))
            fail_msg("%s: %d: %s", keys, (int)status, failure.message);
        assert_int_equal(support_folder_has(r.parent, "out"), status == BM_OK);
        awq_run_end(&r);
        bm_free(keys);
    }
    support_folder_remove(&folder);
}

// ---- what is compiled

static const bm_backend *real;
static bool seen[BM_NUM_KERNELS];

static bm_status take_note(bm_device *d, const bm_call *call, uint32_t subject, bool barrier, bm_error *err)
{
    seen[call->kernel] = true;
    return real->dispatch(d, call, subject, barrier, err);
}

static void kernels_of_the_search_are_built_before(void **state)
{
    (void)state;
    static const bm_kernel_id searches[] = {BM_KERNEL_GROUP_NORMALIZE, BM_KERNEL_ROW_DOT,     BM_KERNEL_PERMUTE,
                                            BM_KERNEL_FAKE_QUANTIZE,   BM_KERNEL_SHIFT_SCALE, BM_KERNEL_SCALE_SEARCH};
    const model_maker_params p = awq_model();
    if (bm_device_is_host(awq_device))
        return; // nothing to compile
    char *folder = awq_model_write(&p);
    bm_backend watching = *awq_device->backend;
    awq_run r = {.folder = folder, .keys = AWQ ALL};
    awq_run_must(&r);
    const bm_emit_context emit = emit_of(&r);
    real = awq_device->backend;
    watching.dispatch = take_note;
    awq_device->backend = &watching;
    const bm_status status = bm_equalizer_warm_up(&emit, BM_DTYPE_F32, NULL, &failure);
    awq_device->backend = real;
    assert_ok(status, &failure);
    for (size_t i = 0; i < BM_COUNT(searches); i++)
        if (!seen[searches[i]])
            fail_msg("%s is not built", bm_kernel_table[searches[i]].name);
    awq_run_end(&r);
    support_folder_remove(&folder);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_kept_for_those_who_read_them),
        cmocka_unit_test(the_multiplier_is_counted_once),
        cmocka_unit_test(statistics_are_counted),
        cmocka_unit_test(sums_are_gone_when_others_solve),
        cmocka_unit_test(sums_beyond_the_largest_buffer_are_refused),
        cmocka_unit_test(kernels_of_the_search_are_built_before),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "awq_memory", run);
}
