// Shifts and scales of a plan, and whether the inputs of linears are quantized.
#include "schedule/plan_folds.h"

#include <string.h>

static const char *const stage_words[BM_NUM_STAGES] = {"q, k and v", "o", "gate and up", "down"};

static bool is_wanted(const bm_fold_wanted *wanted)
{
    return wanted->shift || wanted->scale;
}

// Linears that no norm is in front of.
static bm_fold_wanted choose_other(bm_plan *plan, const bm_arguments *a, bm_stage stage, bm_fold_wanted wanted)
{
    if (a->fold_other_linears == BM_FOLD_OFF)
        return (bm_fold_wanted){0};
    const bool compat = a->compat == BM_COMPAT_PADDLESLIM && !bm_arguments_is_given(a, "fold_other_linears");
    wanted.as_operations = (compat || a->fold_other_linears == BM_FOLD_OPS) && is_wanted(&wanted);
    if (wanted.as_operations)
        return wanted;
    if (wanted.shift && !bm_fold_is_exact(plan->family, stage, true)) {
        wanted.shift = false;
        bm_notes_add_choice(
            &plan->notes,
            "\"shift_all_linears\": inputs of %s are not shifted, which nothing before them takes over; "
            "\"fold_other_linears\": \"ops\" does it by an operation that only bitmill runs",
            stage_words[stage]);
    }
    if (wanted.scale && !bm_fold_is_exact(plan->family, stage, false)) {
        wanted.scale = false;
        bm_notes_add_choice(
            &plan->notes, "\"smooth_all_linears\": inputs of %s are not scaled, which nothing before them takes over%s",
            stage_words[stage],
            bm_job_scales_by_awq(a) // it cannot stand beside
                ? ""
                : "; \"fold_other_linears\": \"ops\" does it by an operation that only bitmill runs");
    }
    return wanted;
}

bool bm_plan_block_folds(const bm_plan *plan, uint32_t block, bm_fold_wanted out[BM_NUM_STAGES])
{
    bool any = false;
    memset(out, 0, BM_NUM_STAGES * sizeof *out);
    for (uint32_t i = 0; i < plan->num_linears; i++) {
        const bm_plan_linear *p = &plan->linears[i];
        const bm_stage stage = bm_linear_stage(p->linear);
        if (p->block != block || !p->quantized)
            continue;
        out[stage] = plan->folds[stage];
        any = any || is_wanted(&out[stage]);
    }
    return any;
}

static bm_input_kind choose_input(const bm_arguments *a)
{
    if (a->job != BM_JOB_A8W8)
        return BM_INPUT_FLOAT;
    return a->act_quant_method == BM_ACT_PER_TOKEN ? BM_INPUT_DYNAMIC : BM_INPUT_STATIC;
}

// What was asked for is not done at all where all linears that it could scale stay float.
static void note_nothing_to_scale(bm_plan *plan, const bm_arguments *a)
{
    bool any = false;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
        any = any || plan->folds[stage].scale;
    if (!any && bm_job_scales_by_awq(a))
        bm_notes_add(&plan->notes, "%s: scales nothing: linears whose inputs it can scale stay float%s",
                     a->do_awq ? "\"do_awq\": true" : "\"scaling\": \"awq\"",
                     a->smooth_all_linears ? "" : "; \"smooth_all_linears\": true scales inputs of o and down too");
}

// A piece has a channel at least.
static void note_pieces(bm_plan *plan, const bm_arguments *a)
{
    const bm_plan_linear *narrowest = NULL;
    for (const bm_plan_linear *l = plan->linears; l < plan->linears + plan->num_linears; l++)
        if (l->quantized && plan->folds[bm_linear_stage(l->linear)].scale &&
            (!narrowest || l->in_features < narrowest->in_features))
            narrowest = l;
    if (a->smooth_piecewise_search && narrowest && a->smooth_k_piece > (int64_t)narrowest->in_features)
        bm_notes_add(
            &plan->notes, "\"smooth_k_piece\": %lld: taken as %u for the inputs of %s, which have so many channels",
            (long long)a->smooth_k_piece, narrowest->in_features, stage_words[bm_linear_stage(narrowest->linear)]);
}

void bm_plan_choose_folds(bm_plan *plan, const bm_arguments *a, const bm_model *model)
{
    bm_fold_added added[BM_FOLD_MAX_ADDED];
    bm_fold_wanted wanted[BM_NUM_STAGES];
    plan->input = choose_input(a);
    plan->awq = a->job == BM_JOB_AWQ;
    plan->equalizes = plan->input == BM_INPUT_STATIC;
    bool any[BM_NUM_STAGES] = {false};
    for (uint32_t i = 0; i < plan->num_linears; i++)
        any[bm_linear_stage(plan->linears[i].linear)] |= plan->linears[i].quantized;
    for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++) {
        if (!any[stage])
            continue; // nothing is gained
        const bool is_other = bm_norm_of_stage(stage) == BM_NUM_NORMS;
        plan->folds[stage] = (bm_fold_wanted){.shift = a->shift && (!is_other || a->shift_all_linears),
                                              .scale = a->smooth && (!is_other || a->smooth_all_linears)};
        if (is_other)
            plan->folds[stage] = choose_other(plan, a, stage, plan->folds[stage]);
        plan->equalizes = plan->equalizes || is_wanted(&plan->folds[stage]);
    }
    note_nothing_to_scale(plan, a);
    note_pieces(plan, a);
    if (plan->input != BM_INPUT_FLOAT && !bm_plan_first(plan)->per_channel) {
        plan->needs_bitmill = true;
        bm_notes_add_choice(&plan->notes,
                            "\"weight_quant_method\": \"groupwise\" beside quantized activations: no other runtime "
                            "multiplies groups; the result is for bitmill eval and generate, and for the scale files");
    }
    for (uint32_t block = 0; block < model->config.num_hidden_layers && !plan->needs_bitmill; block++) {
        (void)bm_plan_block_folds(plan, block, wanted);
        plan->needs_bitmill = bm_fold_added_tensors(model, block, wanted, added) > 0;
    }
}
