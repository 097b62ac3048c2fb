// Less device memory: what is kept moves, buffers stay within it, and the result is the same bytes; with too little the run ends
// with a line and leaves nothing.
// Argument: a device spec.
#include "schedule/on_device.h"

#include "base/file.h"
#include "base/str.h"
#include "schedule/job.h"
#include "support/folders.h"
#include "support/model_maker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct outcome {
    uint64_t peak, size;
    char *bytes; // of model.safetensors
    bool kept_elsewhere;
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

static bm_status quantize(const char *model, uint64_t memory, const char *method, outcome *out, bm_error *err)
{
    static const char *const keys[] = {"gptq_step=32", "group_size=32", "max_length=96", "keep_order=true"};
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
    params.device_memory = memory;
    params.log = &log;
    const bm_status status = bm_quantize_job_run(&params, &job, err);
    if (status == BM_OK) {
        out->peak = job.result.peak_device_bytes;
        assert_ok(bm_file_read_all(path, UINT64_MAX, &out->bytes, &out->size, err), err);
        check_timeline(&job.result);
    } else {
        assert_int_equal(bm_path_kind_of(output), BM_PATH_ABSENT);
    }
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

static void less_memory_gives_the_same(void **state)
{
    static const char *const methods[] = {"gptq", "awq"};
    char *model = made_model();
    bm_error err = {0};
    (void)state;
    for (size_t m = 0; m < BM_COUNT(methods); m++) {
        outcome all, less;
        uint32_t num_smaller = 0, smallest = 8;
        bool kept_elsewhere = false;
        assert_ok(quantize(model, 0, methods[m], &all, &err), &err);
        assert_false(all.kept_elsewhere);
        for (uint32_t eighths = 6; eighths > 0; eighths -= 2) {
            const uint64_t memory = all.peak / 8 * eighths;
            const bm_status status = quantize(model, memory, methods[m], &less, &err);
            if (status != BM_OK) {
                assert_int_equal(status, BM_E_MEMORY);
                assert_non_null(strstr(err.message, "as --device-memory says"));
                continue;
            }
            num_smaller++;
            smallest = eighths;
            kept_elsewhere = kept_elsewhere || less.kept_elsewhere;
            assert_true(less.peak <= memory);
            assert_int_equal(less.size, all.size);
            assert_memory_equal(less.bytes, all.bytes, all.size);
            bm_free(less.bytes);
        }
        printf("%s: %.1f MB, and as small as %u eighths of that\n", methods[m], (double)all.peak / 1e6, smallest);
        assert_true(m > 0 || num_smaller >= 2); // AWQ keeps nothing between passes
        assert_true(m > 0 || kept_elsewhere);
        bm_free(all.bytes);
    }
    assert_int_equal(quantize(model, 50000, "gptq", &(outcome){0}, &err), BM_E_MEMORY);
    support_folder_remove(&model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(less_memory_gives_the_same),
    };
    return run_on_device(argc, argv, "memory_limit", LONG_LOOPS, tests, BM_COUNT(tests));
}
