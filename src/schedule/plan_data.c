// The data of a plan: whether it watches any, and whether those that it has are enough.
#include "model/block.h"
#include "schedule/plan.h"

bool bm_plan_method_watches(const bm_plan *plan)
{
    return plan->method && plan->method->watches(&plan->params) != BM_WATCHES_NOTHING;
}

bool bm_plan_solves_by_float(const bm_plan *plan)
{
    return plan->awq && plan->equalizes && bm_plan_method_watches(plan);
}

// The key that says by how many steps linears are solved, and its value.
static const char *solving_key(const bm_arguments *arguments, int64_t *steps)
{
    const bool is_gptq = arguments->job == BM_JOB_GPTQ;
    *steps = is_gptq ? arguments->gptq_step : arguments->auto_clip ? arguments->autoclip_step : arguments->ptq_step;
    return is_gptq ? "gptq_step" : arguments->auto_clip ? "autoclip_step" : "ptq_step";
}

uint32_t bm_plan_solving_segments(const bm_plan *plan, const bm_arguments *arguments)
{
    int64_t steps;
    (void)solving_key(arguments, &steps);
    return bm_calibration_data_first(&plan->calibration, steps);
}

const char *bm_plan_key_of_tokens(const bm_plan *plan, const bm_arguments *arguments)
{
    const bm_calibration_data *data = &plan->calibration;
    int64_t steps;
    const char *key = solving_key(arguments, &steps);
    const bool takes_all = bm_plan_solving_segments(plan, arguments) == data->num_segments;
    if (takes_all && arguments->calibration_tokens > 0 && data->num_tokens == (uint64_t)arguments->calibration_tokens)
        return "calibration_tokens";
    // No more sequences are loaded than the steps ask for: if these are all there are, there may be more; not of ids that a
    // caller gives without a dataset.
    const bool may_be_more =
        !takes_all || (data->dataset && (uint64_t)steps * data->step_sequences <= bm_dataset_count(data->dataset));
    return steps >= 0 && may_be_more ? key : NULL;
}

bool bm_plan_watches(const bm_plan *plan)
{
    return plan->equalizes || bm_plan_method_watches(plan);
}

// A Hessian of fewer tokens than channels has no inverse but for its damping: taken with a warning at the end of the run,
// under `strict` refused before it.
static bm_status check_tokens(const bm_plan *plan, const bm_arguments *arguments, bm_error *err)
{
    char name[BM_TENSOR_NAME_SIZE];
    const bm_plan_linear *widest = bm_plan_first(plan);
    for (const bm_plan_linear *l = plan->linears; l < plan->linears + plan->num_linears; l++)
        if (l->quantized && l->in_features > widest->in_features)
            widest = l;
    const uint64_t enough = (uint64_t)widest->in_features * 2;
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < bm_plan_solving_segments(plan, arguments); i++)
        tokens += plan->calibration.segments[i].count;
    if (!arguments->strict || arguments->job != BM_JOB_GPTQ || tokens >= enough)
        return BM_OK;
    return bm_arguments_reject(
        arguments, err, "%s: %llu token%s for the %u channels of layer \"%s\", which --strict refuses: expected %llu",
        bm_dataset_source(plan->calibration.dataset), (unsigned long long)tokens, bm_plural(tokens),
        widest->in_features, bm_linear_tensor_name(plan->family, widest->block, widest->linear, "", name),
        (unsigned long long)enough);
}

// PaddleSlim's shift takes nothing of the first step.
static bm_status check_steps(const bm_plan *plan, const bm_arguments *arguments, bm_error *err)
{
    const bm_calibration_data *data = &plan->calibration;
    if (arguments->compat != BM_COMPAT_PADDLESLIM || !arguments->shift ||
        bm_calibration_data_first(data, arguments->shift_step) > data->step_sequences)
        return BM_OK;
    return bm_arguments_reject(arguments, err,
                               "\"shift_step\": %lld: the data have 1 step for it, expected 2 or more: \"compat\": "
                               "\"paddleslim\" takes none of the first",
                               (long long)arguments->shift_step);
}

bm_status bm_plan_load_data(bm_plan *plan, const bm_arguments *arguments, const bm_model *model, const bm_log *log,
                            bm_error *err)
{
    const char *path = arguments->dataset_name_or_path;
    bm_status status = BM_OK;
    if (!bm_plan_watches(plan))
        return BM_OK;
    BM_TRY(bm_block_check_runnable(model, err));
    BM_TRY(bm_calibration_data_load(arguments, plan->src_length, plan->max_length, model, &plan->notes, log,
                                    &plan->calibration, err));
    if ((arguments->do_eval || arguments->do_predict) && bm_path_kind_of(path) == BM_PATH_FILE)
        bm_notes_add(&plan->notes, "%s: the result is measured on the text that it was calibrated on", path);
    BM_TRY(bm_arguments_check_notes(arguments, &plan->notes, err));
    BM_TRY(check_tokens(plan, arguments, err));
    BM_TRY(check_steps(plan, arguments, err));
done:
    return status;
}
