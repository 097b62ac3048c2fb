// A run that is stopped while a Hessian is factored ends there and leaves nothing. The linker puts a function of this file in the place
// of the one that factors (__wrap_NAME for NAME), so that the test knows when that is. On the host: devices only take longer.
#include "support/unit.h"

#include "base/file.h"
#include "quant/inverse_factor.h"
#include "support/folders.h"
#include "support/model_maker.h"
#include <bitmill/bitmill.h>

#include <string.h>

// ISO C leaves names that begin with two underscores to the implementation; the linker's option asks for these.
bm_status __wrap_bm_inverse_factor_create(bm_multiplier *multiplier, const bm_gram *gram, double damping, bool ordered,
                                          bm_inverse_factor *out, bm_error *err);
bm_status __real_bm_inverse_factor_create(bm_multiplier *multiplier, const bm_gram *gram, double damping, bool ordered,
                                          bm_inverse_factor *out, bm_error *err);

static uint32_t reports, stop_at; // of the first factor
static bool is_factoring, is_done;

bm_status __wrap_bm_inverse_factor_create(bm_multiplier *multiplier, const bm_gram *gram, double damping, bool ordered,
                                          bm_inverse_factor *out, bm_error *err)
{
    is_factoring = !is_done;
    const bm_status status = __real_bm_inverse_factor_create(multiplier, gram, damping, ordered, out, err);
    is_factoring = false;
    is_done = true;
    return status;
}

static int hear(void *user, const bm_progress_report *report)
{
    (void)user;
    (void)report;
    return !is_factoring || ++reports != stop_at;
}

static void a_run_stops_while_a_hessian_is_factored(void **state)
{
    (void)state;
    static const char *const overrides[] = {"group_size=32", "gptq_step=1", "calibration_tokens=256"};
    const bm_progress progress = {hear, NULL};
    bm_error err = {0};
    model_maker_params p;
    model_maker_params_init(&p);
    char *model = support_folder_create(), *parent = support_folder_create(), *output = bm_path_join(parent, "out");
    assert_ok(model_maker_write(&p, model, &err), &err);
    for (stop_at = 1; stop_at <= 3; stop_at += 2) {
        bm_quantize_params params;
        bm_quantize_summary summary;
        bm_quantize_params_init(&params);
        params.model = model;
        params.method = "gptq";
        params.data = BM_SOURCE_DIR "/examples/data/evaluation.txt";
        params.bits = 4;
        params.output = output;
        params.device = "host";
        params.overrides = overrides;
        params.num_overrides = BM_COUNT(overrides);
        params.progress = &progress;
        reports = 0;
        is_done = false;
        assert_int_equal(bm_quantize_model(&params, &summary, &err), BM_E_CANCELLED);
        assert_non_null(strstr(err.message, "interrupted"));
        assert_int_equal(reports, stop_at);
        assert_int_equal(support_folder_count(parent), 0);
    }
    bm_free(output);
    support_folder_remove(&parent);
    support_folder_remove(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_run_stops_while_a_hessian_is_factored)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
