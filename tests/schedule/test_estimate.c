// How a dry run of rounding is put together from what it measures. The linker puts clocks and work of this file in the place of the
// real ones (__wrap_NAME for NAME): clocks stand still but where work says what it takes. On the host, which may pretend to be a GPU.
#include "base/clock.h"
#include "base/str.h"
#include "device/backend.h"
#include "formats/read_ahead.h"
#include "ops/settle.h"
#include "ops/gemm.h"
#include "schedule/calibrate.h"
#include "schedule/job.h"
#include "schedule/verification_trial.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include "support/support.h"
#include "support/unit.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSORS 8
#define NUM_KINDS 4 // of linears: q and o, k and v, gate and up, down

// Nanoseconds: of the clock and of processors, for a weight or a byte.
typedef struct cost {
    double passed, busy;
} cost;
typedef struct costs {
    cost solving, reading, writing; // a weight; a byte; a weight
    cost copying;                   // of what stays float, a byte
    cost block;                     // that is run on one side
    cost pass, token;               // of calibration: of its passes, the first time twice that; of a token
    double embedding;               // a token
    double ahead;                   // of a block that is read ahead
    double factor;                  // of what does not grow with tokens, the first time twice that
    double loading;                 // of the first linear of its shape
    uint32_t compiled;              // kernels, with it, and for the first logits
    double slowness;                // of the device behind compiling, until it has settled; 0: none
    double gflops;                  // of the device, as is believed; 0: its own
    bool is_gpu;
} costs;
static costs now;

static _Atomic uint64_t passed_ns, busy_ns;
static uint32_t seen[16][2], num_seen; // shapes
static uint64_t num_compiled;
static uint32_t num_found;    // tensors that were read ahead
static uint32_t num_compared; // runs of blocks on both sides
static uint32_t num_tries;    // of calibration
static uint32_t tried_block;
static uint32_t num_settled;     // times
static bool compiles_nothing;    // while it settles
static uint64_t most_read_bytes; // ahead; 0: nothing was
static bool is_slow;
static bm_status logits_fail = BM_OK;
static bool keeps_kernels; // there is a folder for them

static void pass(cost c, double count)
{
    passed_ns += (uint64_t)(c.passed * count);
    busy_ns += (uint64_t)(c.busy * count);
}

// Of the device.
static void work(cost c, double count)
{
    pass(c, is_slow && now.slowness > 0 ? count * now.slowness : count);
}

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
uint64_t __wrap_bm_clock_ns(void);
uint64_t __wrap_bm_clock_processors_ns(void);
uint32_t __wrap_bm_processor_count(void);
bool __wrap_bm_device_kind_is_gpu(bm_device_kind kind);
uint64_t __wrap_bm_device_compiled_kernels(const bm_device *device);
bm_status __wrap_bm_emit_linears(const bm_emit_context *emit, bm_emit_member *members, uint32_t num_members,
                                 const bm_emit_solving *solving, bm_error *err);
bm_status __wrap_bm_emit_float_part(const bm_emit_context *emit, const bm_tensor_info *info, uint64_t *first,
                                    uint64_t elements, uint64_t *bytes, bm_error *err);
const uint8_t *__wrap_bm_read_ahead_find(bm_read_ahead *reader, const bm_tensor_info *info, bool blocks);
const uint8_t *__real_bm_read_ahead_find(bm_read_ahead *reader, const bm_tensor_info *info, bool blocks);
void __wrap_bm_read_ahead_wait(bm_read_ahead *reader);
void __real_bm_read_ahead_wait(bm_read_ahead *reader);
bm_status __wrap_bm_checkpoint_read(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset,
                                    void *out, uint64_t size, bm_error *err);
bm_status __real_bm_checkpoint_read(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset,
                                    void *out, uint64_t size, bm_error *err);

bm_status __wrap_bm_verify_logits_try(const bm_emit_context *emit, const bm_model *tried, const bm_progress *progress,
                                      bm_error *err);
bm_status __wrap_bm_calibrate(const bm_calibrate_params *params, bm_quantize_result *result, bm_error *err);
bm_status __wrap_bm_settle(bm_device *device, bm_phase *phase, double *rate, bm_error *err);
bm_status __wrap_bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bool blocks,
                                     bm_timeline *timeline, bm_error *err);
bm_status __real_bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bool blocks,
                                     bm_timeline *timeline, bm_error *err);
bm_gemm_choice __wrap_bm_gemm_choose(bm_device *device);
bm_gemm_choice __real_bm_gemm_choose(bm_device *device);

uint64_t __wrap_bm_clock_ns(void)
{
    return passed_ns;
}

uint64_t __wrap_bm_clock_processors_ns(void)
{
    return busy_ns;
}

uint32_t __wrap_bm_processor_count(void)
{
    return PROCESSORS;
}

bool __wrap_bm_device_kind_is_gpu(bm_device_kind kind)
{
    (void)kind;
    return now.is_gpu;
}

uint64_t __wrap_bm_device_compiled_kernels(const bm_device *device)
{
    (void)device;
    return num_compiled;
}

bm_status __wrap_bm_settle(bm_device *device, bm_phase *phase, double *rate, bm_error *err)
{
    assert_non_null(phase);
    compiles_nothing = bm_device_may_compile(device, "a kernel", err) != BM_OK;
    num_settled++;
    is_slow = false;
    if (rate)
        *rate = 123e9;
    return BM_OK;
}

bm_status __wrap_bm_read_ahead_start(bm_read_ahead **out, bm_checkpoint *checkpoint, uint64_t max_bytes, bool blocks,
                                     bm_timeline *timeline, bm_error *err)
{
    most_read_bytes = max_bytes;
    return __real_bm_read_ahead_start(out, checkpoint, max_bytes, blocks, timeline, err);
}

bm_gemm_choice __wrap_bm_gemm_choose(bm_device *device)
{
    bm_gemm_choice choice = __real_bm_gemm_choose(device);
    if (now.gflops > 0)
        choice.gflops = now.gflops;
    return choice;
}

static bm_status write_weights(void *context, bm_error *err)
{
    (void)err;
    pass(now.writing, *(double *)context);
    return BM_OK;
}

static void discard(void *context)
{
    (void)context;
}

// The first linear of a shape takes longer, and so do all of the second block, which medians leave out.
bm_status __wrap_bm_emit_linears(const bm_emit_context *emit, bm_emit_member *members, uint32_t num_members,
                                 const bm_emit_solving *solving, bm_error *err)
{
    const bm_plan_linear *l = members[0].linear;
    double weights = (double)members[0].max_rows * l->in_features;
    uint32_t i = 0;
    (void)solving;
    assert_int_equal(num_members, 1);
    assert_in_range(members[0].max_rows, 1, l->out_features);
    while (i < num_seen && (seen[i][0] != l->out_features || seen[i][1] != l->in_features))
        i++;
    if (i == num_seen) {
        seen[num_seen][0] = l->out_features;
        seen[num_seen++][1] = l->in_features;
        pass((cost){now.loading, now.loading}, 1);
        num_compiled += now.compiled;
        is_slow = true;
    }
    work(now.solving, l->block == 1 ? 10 * weights : weights);
    return bm_worker_push(emit->writing, &(bm_task){.run = write_weights, .discard = discard, .context = &weights},
                          err);
}

bm_status __wrap_bm_emit_float_part(const bm_emit_context *emit, const bm_tensor_info *info, uint64_t *first,
                                    uint64_t elements, uint64_t *bytes, bm_error *err)
{
    (void)emit, (void)info, (void)first, (void)elements, (void)err;
    *bytes = 1000000;
    pass(now.copying, 1000000);
    return BM_OK;
}

// The first of each kind is read into new memory, which takes longer.
const uint8_t *__wrap_bm_read_ahead_find(bm_read_ahead *reader, const bm_tensor_info *info, bool blocks)
{
    if (reader)
        pass(now.reading, (num_found++ < NUM_KINDS ? 3 : 1) * (double)info->size_bytes);
    return __real_bm_read_ahead_find(reader, info, blocks);
}

// The first time 5 blocks' time for what is loaded once; of each side the first block takes three times what the third does, the
// second twice that; and 3 for both heads.
bm_status __wrap_bm_verify_logits_try(const bm_emit_context *emit, const bm_model *tried, const bm_progress *progress,
                                      bm_error *err)
{
    const uint32_t count = tried->config.num_hidden_layers;
    (void)emit;
    if (logits_fail != BM_OK)
        return bm_fail(err, logits_fail, "as was asked");
    if (num_compared == 0) {
        num_compiled += now.compiled;
        is_slow = true;
    }
    pass(now.block, num_compared++ == 0 ? 5 : 0);
    for (uint32_t i = 0; i < 2 * count; i++) {
        const uint32_t block = i % count;
        bm_progress_report report = {.total = 16 * count, .block = block, .num_blocks = count, .done = 16 * block + 9};
        assert_int_equal(progress->report(progress->user, &report), 1); // not yet through
        work(now.block, block == 0 ? 3 : block == 1 ? 2 : 1);
        report.done = 16 * block + 16;
        assert_int_equal(progress->report(progress->user, &report), 1);
    }
    pass(now.block, 3);
    return BM_OK;
}

// A run hides it.
void __wrap_bm_read_ahead_wait(bm_read_ahead *reader)
{
    pass((cost){now.ahead, 0}, 1);
    is_slow = true; // the device had nothing to do
    __real_bm_read_ahead_wait(reader);
}

bm_status __wrap_bm_calibrate(const bm_calibrate_params *params, bm_quantize_result *result, bm_error *err)
{
    const double first = num_tries++ == 0 ? 2 : 1;
    (void)err;
    assert_int_equal(params->num_blocks, 1);
    assert_non_null(params->reader); // as in a run
    tried_block = params->first_block;
    pass((cost){now.embedding, 0}, (double)params->emit->plan->calibration.num_tokens);
    bm_quantize_result_spend(result, "embed");
    work(now.pass, first);
    work(now.token, (double)params->emit->plan->calibration.num_tokens);
    bm_quantize_result_spend(result, "run blocks");
    work((cost){now.factor, 0}, first);
    bm_quantize_result_spend(result, "factor");
    return BM_OK;
}

bm_status __wrap_bm_checkpoint_read(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t byte_offset,
                                    void *out, uint64_t size, bm_error *err)
{
    pass(now.reading, (double)size);
    return __real_bm_checkpoint_read(checkpoint, info, byte_offset, out, size, err);
}

// ---- a model of three blocks ----

#define WEIGHTS (3.0 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 160)) // of linears

static char *model, *home, *cache; // home: of outputs
static char *data;                 // NUM_SEQUENCES of SEQUENCE tokens

static char *long_data; // 2 of LONG
enum { NUM_SEQUENCES = 800, SEQUENCE = 50, TOKENS = NUM_SEQUENCES * SEQUENCE, LONG = 40000 };

static char *make_data(const char *name, uint32_t num_sequences, uint32_t length)
{
    bm_string lines = BM_STRING_INIT;
    for (uint32_t i = 0; i < num_sequences * length; i++)
        (void)bm_string_append_format(&lines, "%s%u%s", i % length ? "," : "{\"input_ids\": [", i % 100 + 5,
                                      i % length == length - 1 ? "]}\n" : "");
    char *path = support_file_write(model, name, bm_string_text(&lines), strlen(bm_string_text(&lines)));
    bm_string_free(&lines);
    return path;
}

static int make_model(void **state)
{
    model_maker_params params;
    bm_error err;
    (void)state;
    model_maker_params_init(&params);
    params.num_layers = 3;
    params.max_positions = LONG;
    model = support_folder_create();
    home = support_folder_create();
    cache = support_folder_create();
    assert_ok(model_maker_write(&params, model, &err), &err);
    data = make_data("ids.jsonl", NUM_SEQUENCES, SEQUENCE);
    long_data = make_data("long.jsonl", 2, LONG);
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    bm_free(data);
    bm_free(long_data);
    support_folder_remove(&model);
    support_folder_remove(&home);
    support_folder_remove(&cache);
    return 0;
}

typedef struct told {
    bm_dry_run dry;
    uint64_t output_bytes;
    double float_bytes;
} told;

// key: one more of the parameter file; NULL: none.
static told dry_run_of(const char *method, const costs *wanted, bool skips_verification, const char *key)
{
    const char *keys[] = {"group_size=32", key};
    told out = {.output_bytes = 0};
    bm_error err = {0};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    char *output = bm_path_join(home, "out");
    now = *wanted;
    most_read_bytes = 0;
    num_seen = num_found = num_compared = num_tries = num_settled = 0;
    is_slow = true; // warming up compiled
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = method;
    params.data = strcmp(method, "rtn") == 0 ? NULL : data;
    params.device = "host";
    params.cache_folder = keeps_kernels ? cache : NULL;
    params.output = output;
    params.overrides = keys;
    params.num_overrides = key ? 2 : 1;
    params.skips_verification = skips_verification;
    assert_ok(bm_quantize_job_plan(&params, &job, &err), &err);
    assert_ok(bm_quantize_job_dry_run(&params, &job, &out.dry, &err), &err);
    assert_false(compiles_nothing);
    assert_true(most_read_bytes == 0 || most_read_bytes == job.budget.reading_bytes);
    out.output_bytes = job.plan->output_bytes;
    out.float_bytes = (double)bm_emit_float_bytes(job.model, job.plan);
    bm_quantize_job_free(&job);
    bm_free(output);
    assert_int_equal(support_folder_count(home), 0);
    return out;
}

static told dry_run(const costs *wanted, bool skips_verification, const char *key)
{
    return dry_run_of("rtn", wanted, skips_verification, key);
}

// Of the phase; 0 where it is not told.
static double seconds_of(const bm_dry_run *d, const char *name)
{
    for (uint32_t i = 0; i < d->num_phases; i++)
        if (strcmp(d->phases[i].name, name) == 0)
            return d->phases[i].seconds;
    return 0;
}

static const costs usual = {
    .solving = {100, 150}, .reading = {1, 2}, .writing = {20, 20}, .copying = {5, 5}, .loading = 5e6};

static void assert_near(double value, double wanted)
{
    if (!(value >= 0.999 * wanted && value <= 1.001 * wanted))
        fail_msg("%g, expected %g", value, wanted);
}

// Processors take 150 ns, 2 for each of 4 bytes, and 20 for a weight; beside the device 1.5 of them work.
static void processors_add_up(void **state)
{
    (void)state;
    const told t = dry_run(&usual, true, NULL);
    const double busy = WEIGHTS * (150e-9 + 4 * 2e-9 + 20e-9);
    assert_near(seconds_of(&t.dry, "quantize"), NUM_KINDS * 5e-3 + busy / 1.5);
    assert_near(seconds_of(&t.dry, "copy floats"), t.float_bytes * 5e-9);
    assert_near(t.dry.processor_seconds, busy + t.float_bytes * 5e-9);
    assert_near(t.dry.seconds, seconds_of(&t.dry, "quantize") + seconds_of(&t.dry, "copy floats"));
    assert_int_equal(t.dry.num_phases, 2); // the disk takes less than that, and nothing is verified
    assert_true(t.dry.is_measured);
}

static void a_gpu_hides_what_is_shorter(void **state)
{
    costs gpu = usual;
    (void)state;
    gpu.is_gpu = true;
    const told by_device = dry_run(&gpu, true, NULL);
    assert_near(seconds_of(&by_device.dry, "quantize"), NUM_KINDS * 5e-3 + WEIGHTS * 100e-9);
    assert_true(by_device.dry.processor_seconds == 0);
    gpu.reading.passed = 50;
    const told by_reading = dry_run(&gpu, true, NULL);
    assert_near(seconds_of(&by_reading.dry, "quantize"), NUM_KINDS * 5e-3 + WEIGHTS * 4 * 50e-9);
    gpu.writing.passed = 4000; // eight threads
    const told by_writing = dry_run(&gpu, true, NULL);
    assert_near(seconds_of(&by_writing.dry, "quantize"), NUM_KINDS * 5e-3 + WEIGHTS * 4000e-9 / 8);
}

static void a_slow_disk_is_waited_for(void **state)
{
    costs quick = {.is_gpu = true, .copying = {1, 1}};
    (void)state;
    const told t = dry_run(&quick, true, NULL);
    const double copying = t.float_bytes * 1e-9;
    assert_near(seconds_of(&t.dry, "copy floats"), copying);
    assert_near(seconds_of(&t.dry, "write"), (double)t.dry.disk_bytes / 1e9 - copying);
}

static void what_is_read_back_counts(void **state)
{
    (void)state;
    const told codes = dry_run(&usual, false, NULL);
    assert_near(seconds_of(&codes.dry, "verify"), (double)codes.output_bytes * 1e-9 / PROCESSORS);
    assert_near(codes.dry.seconds, seconds_of(&codes.dry, "quantize") + seconds_of(&codes.dry, "copy floats") +
                                       seconds_of(&codes.dry, "verify") + seconds_of(&codes.dry, "compare logits"));
    const told weights = dry_run(&usual, false, "format=gguf"); // which come back as float16
    assert_near(seconds_of(&weights.dry, "verify"), (weights.float_bytes + 2 * WEIGHTS) * 1e-9 / PROCESSORS);
}

// All three blocks are run.
static void comparing_logits_is_measured(void **state)
{
    costs runs = usual;
    (void)state;
    runs.block = (cost){4e6, 9e6};
    const told shared = dry_run(&runs, false, NULL), unverified = dry_run(&runs, true, NULL);
    assert_near(seconds_of(&shared.dry, "compare logits"), 5 * 4e-3 + 15 * 9e-3 / 1.5);
    assert_near(shared.dry.processor_seconds, unverified.dry.processor_seconds + 15 * 9e-3);
    assert_true(seconds_of(&unverified.dry, "compare logits") == 0);
    runs.is_gpu = true;
    const told gpu = dry_run(&runs, false, NULL);
    assert_near(seconds_of(&gpu.dry, "compare logits"), 5 * 4e-3 + 15 * 4e-3);
}

// A run whose logits cannot be compared goes on without: so does what tells its time.
static void logits_that_cannot_be_compared_take_nothing(void **state)
{
    (void)state;
    logits_fail = BM_E_MEMORY;
    const told without = dry_run(&usual, false, NULL);
    logits_fail = BM_OK;
    assert_true(seconds_of(&without.dry, "compare logits") == 0);
    assert_true(seconds_of(&without.dry, "verify") > 0);
}

// Of a model of so many blocks, one of which takes so long on a side: as many blocks' time for all, and what is loaded.
static void try_blocks(uint32_t num_blocks, double seconds, double all, double loading)
{
    bm_error err;
    bm_quantize_params params;
    bm_quantize_job job = {0};
    double loaded;
    bm_lanes lanes;
    char *output = bm_path_join(home, "out");
    now = (costs){.block = {1e9 * seconds, 2e9 * seconds}};
    num_compared = 0;
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = "rtn";
    params.device = "host";
    params.output = output;
    assert_ok(bm_quantize_job_plan(&params, &job, &err), &err);
    bm_model view = *job.model;
    view.config.num_hidden_layers = num_blocks;
    const bm_quantize_run_params run = {
        .arguments = job.arguments, .plan = job.plan, .model = &view, .device = job.device};
    assert_ok(bm_logits_trial(&run, &lanes, &loaded, &err), &err);
    assert_near(lanes.device, all * seconds);
    assert_near(lanes.busy, all * 2 * seconds);
    assert_near(loaded, loading * seconds);
    bm_quantize_job_free(&job);
    bm_free(output);
}

static void comparing_logits_is_extrapolated(void **state)
{
    (void)state;
    try_blocks(1, 0.01, 9, 5);
    try_blocks(40, 0.01, 2 * 12 + 3 + 31 * 2, 5); // 9 blocks are run
    try_blocks(40, 0.1, 2 * 7 + 3 + 36 * 2, 5);   // 4: two more take less than a second
    try_blocks(40, 0.3, 2 * 5 + 3 + 38 * 4, 5);   // 2
}

// What takes processors long is looked at once: what is read by then into new memory does not count.
static void reading_is_measured_in_memory_that_is_used_again(void **state)
{
    costs slow = usual;
    (void)state;
    slow.is_gpu = true;
    slow.solving.busy = 1e5;
    slow.reading.passed = 50;
    const told t = dry_run(&slow, true, NULL);
    assert_non_null(strstr(t.dry.how, "pieces of 4 linears"));
    assert_near(seconds_of(&t.dry, "quantize"), NUM_KINDS * 5e-3 + WEIGHTS * 4 * 50e-9);
}

// 5 passes a block, and one less of the last. 4100 tokens are tried, and where that is quick once more, and 32800.
static void calibration_grows_with_tokens(void **state)
{
    const double rounds = (5 * 3 - 1) / 5.0;
    costs runs = usual;
    (void)state;
    runs.pass = (cost){1e6, 0};
    runs.token = (cost){2e3, 0};
    runs.factor = 3e6;
    runs.embedding = 1e3;
    runs.ahead = 7e6;
    const told once = dry_run_of("gptq", &runs, true, "gptq_step=10");
    assert_int_equal(num_tries, 1); // there are no more tokens
    assert_near(seconds_of(&once.dry, "run blocks"), rounds * (2e-3 + 4000 * 2e-6));
    assert_near(seconds_of(&once.dry, "factor"), 3 * 6e-3);
    assert_near(seconds_of(&once.dry, "embed"), 4000 * 1e-6);
    const told twice = dry_run_of("gptq", &runs, true, "gptq_step=100");
    assert_int_equal(num_tries, 3);
    assert_near(seconds_of(&twice.dry, "run blocks"), rounds * (1e-3 + TOKENS * 2e-6)); // without first uses
    assert_near(seconds_of(&twice.dry, "factor"), 3 * 3e-3);
    assert_near(seconds_of(&twice.dry, "embed"), TOKENS * 1e-6);
    char *usual_data = data;
    data = long_data;
    const told same =
        dry_run_of("gptq", &runs, true, "max_length=40000"); // a sequence has more tokens than the largest try
    data = usual_data;
    assert_int_equal(num_tries, 3);
    assert_near(seconds_of(&same.dry, "run blocks"), rounds * (1e-3 + LONG * 2e-6) * 2);
    runs.token = (cost){8e4, 0};
    const told slow = dry_run_of("gptq", &runs, true, "gptq_step=100");
    assert_int_equal(num_tries, 1); // more would take seconds
    assert_near(seconds_of(&slow.dry, "run blocks"), rounds * (2e-3 + 4100 * 8e-5) / 4100 * TOKENS);
}

// The first of three blocks stays float: it is run and loaded, and nothing of it is factored.
static void blocks_that_stay_float_are_no_measure(void **state)
{
    costs runs = usual;
    (void)state;
    runs.factor = 3e6;
    const told all = dry_run_of("gptq", &runs, true, NULL);
    assert_int_equal(tried_block, 0);
    assert_near(seconds_of(&all.dry, "factor"), 3 * 6e-3);
    const told some = dry_run_of("gptq", &runs, true, "skip_list_names=[\"layers.0.\"]");
    assert_int_equal(tried_block, 1);
    assert_near(seconds_of(&some.dry, "factor"), 2 * 6e-3);
    assert_non_null(strstr(some.dry.how, "block 2 of 3 ran"));
}

// What is measured behind compiling is measured when the device has settled.
static void slow_clocks_are_no_measure(void **state)
{
    costs quick = usual, slow;
    (void)state;
    quick.is_gpu = true;
    quick.block = (cost){4e6, 9e6};
    quick.pass = (cost){1e6, 0};
    quick.token = (cost){2e3, 0};
    quick.factor = 3e6;
    slow = quick;
    slow.slowness = 6;
    const told rounding[] = {dry_run(&quick, true, NULL), dry_run(&slow, true, NULL)};
    assert_int_equal(num_settled, 1);
    assert_near(seconds_of(&rounding[1].dry, "quantize"), seconds_of(&rounding[0].dry, "quantize"));
    quick.compiled = slow.compiled = 1;
    keeps_kernels = true;
    const told logits[] = {dry_run(&quick, false, NULL), dry_run(&slow, false, NULL)};
    keeps_kernels = false;
    assert_near(seconds_of(&logits[1].dry, "compare logits"), seconds_of(&logits[0].dry, "compare logits"));
    const told gptq[] = {dry_run_of("gptq", &quick, true, "gptq_step=10"),
                         dry_run_of("gptq", &slow, true, "gptq_step=10")};
    assert_near(seconds_of(&gptq[1].dry, "run blocks"), seconds_of(&gptq[0].dry, "run blocks"));
    assert_near(seconds_of(&gptq[1].dry, "factor"), seconds_of(&gptq[0].dry, "factor"));
}

// What is compiled now is there when the run begins, if there is a folder that keeps it.
static void kernels_that_are_kept_cost_nothing(void **state)
{
    costs gpu = usual;
    (void)state;
    gpu.is_gpu = true;
    gpu.block = (cost){4e6, 9e6};
    gpu.compiled = 1;
    const told gone = dry_run(&gpu, false, NULL);
    assert_near(seconds_of(&gone.dry, "quantize"), NUM_KINDS * 5e-3 + WEIGHTS * 100e-9);
    assert_near(seconds_of(&gone.dry, "compare logits"), (5 + 15) * 4e-3);
    keeps_kernels = true;
    const told kept = dry_run(&gpu, false, NULL);
    keeps_kernels = false;
    assert_near(seconds_of(&kept.dry, "quantize"), WEIGHTS * 100e-9);
    assert_near(seconds_of(&kept.dry, "compare logits"), 15 * 4e-3);
}

// Where a budget has no room for a compiler; of that the run itself is no worse off.
static void settling_compiles_nothing_that_was_not_planned(void **state)
{
    (void)state;
    bm_error err = {0};
    bm_device *device = NULL;
    bm_device_params device_params;
    bm_phase phase = {.progress = NULL};
    const bm_memory_budget budget = {.has_kernels = true};
    bm_device_params_init(&device_params);
    device_params.spec = "host";
    device_params.cache_folder = NULL;
    assert_ok(bm_device_open(&device, &device_params, &err), &err);
    const bm_quantize_run_params run = {.device = device, .budget = &budget};
    assert_ok(bm_dry_run_settle(&run, &phase, NULL, &err), &err);
    assert_true(compiles_nothing);
    assert_ok(bm_device_may_compile(device, "a kernel", &err), &err);
    compiles_nothing = false;
    bm_device_close(&device);
}

static void what_is_too_long_is_told_by_a_rate(void **state)
{
    costs slow = usual;
    (void)state;
    slow.gflops = 1e-3;
    const told t = dry_run_of("gptq", &slow, true, NULL);
    assert_int_equal(num_tries, 0);
    assert_false(t.dry.is_measured);
    assert_non_null(strstr(t.dry.how, "by 123 GFLOP/s"));
}

static void short_runs_are_told_in_words(void **state)
{
    (void)state;
    assert_true(bm_dry_run_is_below_a_second(&(bm_dry_run){.seconds = 0.76}));
    assert_false(bm_dry_run_is_below_a_second(&(bm_dry_run){.seconds = 0.78}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processors_add_up),
        cmocka_unit_test(a_gpu_hides_what_is_shorter),
        cmocka_unit_test(a_slow_disk_is_waited_for),
        cmocka_unit_test(what_is_read_back_counts),
        cmocka_unit_test(reading_is_measured_in_memory_that_is_used_again),
        cmocka_unit_test(comparing_logits_is_measured),
        cmocka_unit_test(comparing_logits_is_extrapolated),
        cmocka_unit_test(logits_that_cannot_be_compared_take_nothing),
        cmocka_unit_test(calibration_grows_with_tokens),
        cmocka_unit_test(blocks_that_stay_float_are_no_measure),
        cmocka_unit_test(slow_clocks_are_no_measure),
        cmocka_unit_test(kernels_that_are_kept_cost_nothing),
        cmocka_unit_test(settling_compiles_nothing_that_was_not_planned),
        cmocka_unit_test(what_is_too_long_is_told_by_a_rate),
        cmocka_unit_test(short_runs_are_told_in_words),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
