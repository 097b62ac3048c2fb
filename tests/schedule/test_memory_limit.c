// Budgets of memory. Comfortable: nothing changes. Tight: what is kept moves, buffers stay within it, and the result is the same
// bytes. Too small: refused with a line before anything is done.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/str.h"
#include "base/system_memory.h"
#include "schedule/job.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct budget {
    uint64_t device, host; // 0: none
} budget;

typedef struct outcome {
    uint64_t peak, peak_of_process, planned, size;
    char *bytes; // of model.safetensors
    bool kept_elsewhere, has_begun;
} outcome;

static void look_for_places(void *user, bm_log_level level, const char *message)
{
    outcome *o = user;
    (void)level;
    if (strstr(message, "inputs of ") && !strstr(message, "others on the device"))
        o->kept_elsewhere = true;
}

// The spans of each track lie one behind the other; those of the run, without gaps, are its time and its phases'.
static void check_timeline(const bm_quantize_result *r)
{
    double phases = 0;
    const bm_timeline *t = r->timeline;
    const bm_track *run = &t->tracks[BM_TRACK_RUN];
    for (bm_track_id track = 0; track < BM_NUM_TRACKS; track++)
        for (uint32_t i = 0; i < t->tracks[track].count; i++) {
            const bm_span *span = &t->tracks[track].spans[i];
            assert_true(span->begin_ns < span->end_ns && span->begin_ns >= t->start_ns && span->end_ns <= t->clock_ns);
            assert_true(i == 0 || span[-1].end_ns <= span->begin_ns);
            assert_true(track != BM_TRACK_RUN || i == 0 || span[-1].end_ns == span->begin_ns);
        }
    assert_true(run->spans[0].begin_ns == t->start_ns && run->spans[run->count - 1].end_ns == t->clock_ns);
    assert_true(t->tracks[BM_TRACK_READING].count > 0 && t->tracks[BM_TRACK_WRITING].count > 0);
    for (uint32_t i = 0; i < r->num_phases; i++)
        phases += r->phases[i].seconds;
    assert_true(fabs(phases - r->seconds) < 1e-4);
}

static bm_status quantize(const char *model, budget b, const char *method, outcome *out, bm_error *err)
{
    static const char *const keys[] = {"gptq_step=16", "group_size=32", "max_length=48", "keep_order=true"};
    char *folder = support_folder_create(), *output = bm_path_join(folder, "out");
    char *path = bm_path_join(output, "model.safetensors");
    const bm_log log = {.level = BM_LOG_DEBUG, .write = look_for_places, .user = out};
    bm_quantize_params params;
    bm_quantize_job job = {0};
    *out = (outcome){0};
    bm_quantize_params_init(&params);
    params.model = model;
    params.method = method;
    params.data = BM_SOURCE_DIR "/examples/data";
    params.output = output;
    params.device = spec;
    params.overrides = keys;
    params.num_overrides = BM_COUNT(keys);
    params.device_memory = b.device;
    params.host_memory = b.host;
    params.log = &log;
    const bm_status status = bm_quantize_job_run(&params, &job, err);
    if (status == BM_OK) {
        out->peak = job.result.peak_device_bytes;
        out->peak_of_process = job.result.peak_process_bytes;
        out->planned = bm_memory_claims_peak(&job.claims, BM_MEMORY_DEVICE);
        assert_ok(bm_file_read_all(path, UINT64_MAX, &out->bytes, &out->size, err), err);
        check_timeline(&job.result);
    } else {
        assert_int_equal(bm_path_kind_of(output), BM_PATH_ABSENT);
    }
    out->has_begun = job.result.timeline != NULL;
    bm_quantize_job_free(&job);
    bm_free(path);
    bm_free(output);
    support_folder_remove(&folder);
    return status;
}

static char *made_model(void)
{
    bm_error err = {0};
    char *folder = support_folder_create();
    model_maker_params p;
    model_maker_params_init(&p);
    p.intermediate_size = 256;
    p.max_positions = 2048;
    assert_ok(model_maker_write(&p, folder, &err), &err);
    return folder;
}

// Two of a hundred at most.
static bool are_nearly_equal(const char *a, const char *b, size_t size)
{
    size_t num_different = 0;
    for (size_t i = 0; i < size; i++)
        num_different += a[i] != b[i];
    return num_different <= size / 50;
}

// What a run with a budget promises: no more than that, and the same bytes. A GPU may have other kernels for smaller batches.
static void check_run(const char *model, const char *method, const budget *b, const outcome *all, bool *elsewhere)
{
    bm_error err = {0};
    outcome less;
    assert_ok(quantize(model, *b, method, &less, &err), &err);
    assert_true(b->device == 0 || less.peak <= b->device);
    assert_true(b->host == 0 || less.peak_of_process <= b->host);
    assert_int_equal(less.size, all->size);
    if (bm_device_kind_is_gpu(bm_device_get_info(device)->kind) && less.kept_elsewhere)
        assert_true(are_nearly_equal(less.bytes, all->bytes, all->size));
    else
        assert_memory_equal(less.bytes, all->bytes, all->size);
    *elsewhere = less.kept_elsewhere;
    bm_free(less.bytes);
}

static void check_refusal(const char *model, const char *method, budget b, const char *words)
{
    bm_error err = {0};
    outcome none;
    assert_int_equal(quantize(model, b, method, &none, &err), BM_E_ARGUMENT);
    assert_non_null(strstr(err.message, words));
    assert_non_null(strstr(err.message, "expected at least"));
    assert_false(none.has_begun);
}

static void budgets_are_kept(void **state)
{
    static const char *const methods[] = {"gptq", "awq"};
    char *model = made_model();
    (void)state;
    for (size_t m = 0; m < BM_COUNT(methods); m++) {
        bm_error err = {0};
        outcome all;
        bool elsewhere = false;
        assert_ok(quantize(model, (budget){0}, methods[m], &all, &err), &err);
        printf("%s: %.1f MB of the device, planned %.1f\n", methods[m], (double)all.peak / 1e6,
               (double)all.planned / 1e6);
        assert_false(all.kept_elsewhere);
        assert_true(all.planned >= all.peak / 10 * 8 && all.planned / 5 <= all.peak);
        const budget comfortable = {.device = 2 * all.peak, .host = bm_process_peak_bytes() + (UINT64_C(1) << 30)};
        check_run(model, methods[m], &comfortable, &all, &elsewhere);
        assert_false(elsewhere);
        if (m == 0) { // AWQ keeps nothing between passes
            check_run(model, methods[m], &(budget){.device = all.peak / 8 * 6}, &all, &elsewhere);
            assert_true(elsewhere);
        }
        check_refusal(model, methods[m], (budget){.device = 100000}, "--device-memory");
        check_refusal(model, methods[m], (budget){.host = 8000000}, "--host-memory: 8.0 MB of the process, expected");
        bm_free(all.bytes);
    }
    support_folder_remove(&model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_are_kept),
    };
    return run_on_device(argc, argv, "memory_limit", LONG_LOOPS, tests, BM_COUNT(tests));
}
