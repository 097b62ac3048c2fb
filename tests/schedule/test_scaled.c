// Methods that watch inputs behind scales, on the device that the argument names: GPTQ and rounding by inputs of a model that a run
// scales are those of a checkpoint that holds the scaled weights already. So inputs and weights are the folded ones, and each phase
// looks at its own steps, though more are loaded for another.
#include "schedule/awq_reference.h"
#include "support/unit.h"

#include "base/str.h"
#include "support/folders.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

enum { BLOCKS = 2 };

#define GROUPS ",\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"keep_order\":true"
#define GPTQ "\"do_gptq\":true,\"gptq_step\":2" GROUPS
#define ROUNDING "\"do_ptq\":true,\"quant_type\":\"wint4\",\"scale_search\":\"gram\",\"ptq_step\":1" GROUPS
#define CLIP "\"do_ptq\":true,\"quant_type\":\"wint4\",\"auto_clip\":true,\"autoclip_step\":2" GROUPS
#define FLOATS ",\"skip_list_names\":[\"v_proj\",\"up_proj\"]" // what is folded into them can be read
#define ALL ",\"smooth_all_linears\":true"
#define NORMS ",\"smooth_all_linears\":false"
#define AWQ ",\"scaling\":\"awq\",\"awq_n_grid\":6,\"smooth_step\":3"
#define SMOOTH ",\"scaling\":\"smooth\",\"smooth_step\":4"
#define PIECES                                                                                                         \
    ",\"smooth_piecewise_search\":true,\"search_alpha_step\":0.2,\"search_scale_step\":2,\"smooth_k_piece\":2"

// What rows of v or up were divided by, where the run left them float: [rows]; bm_free it.
static double *divided_rows(const awq_run *r, const awq_block *block, const awq_folded *folded, bm_linear_id linear)
{
    const uint32_t channels = block->channels[bm_linear_stage(linear)];
    const double *scales = folded->scales[bm_linear_stage(linear)];
    char name[BM_TENSOR_NAME_SIZE];
    uint64_t count;
    bm_linear_tensor_name(r->plan->family, block->index, linear, ".weight", name);
    float *after = awq_read(r->output, name, &count);
    double *out = bm_alloc(block->rows[linear], sizeof *out);
    for (uint32_t row = 0; row < block->rows[linear]; row++) {
        const float *w = block->weights[linear] + (uint64_t)row * channels;
        uint32_t largest = 0;
        for (uint32_t c = 1; c < channels; c++)
            largest = fabsf(w[c]) > fabsf(w[largest]) ? c : largest;
        out[row] = (double)w[largest] * scales[largest] / (double)after[(uint64_t)row * channels + largest];
    }
    bm_free(after);
    return out;
}

static void find_other_scales(const awq_run *r, const awq_block *block, awq_folded *folded)
{
    const bm_hf_config *config = &r->model->config;
    const uint32_t width = config->head_dim, shared = config->num_attention_heads / config->num_key_value_heads;
    const uint32_t channels = block->channels[BM_STAGE_O];
    double *rows = divided_rows(r, block, folded, BM_LINEAR_V);
    folded->scales[BM_STAGE_O] = bm_alloc(channels, sizeof(double));
    for (uint32_t c = 0; c < channels; c++)
        folded->scales[BM_STAGE_O][c] = rows[c / width / shared * width + c % width];
    bm_free(rows);
    folded->scales[BM_STAGE_DOWN] = divided_rows(r, block, folded, BM_LINEAR_UP);
}

// The run's model with its norms and folded linears; free the path.
static char *folded_copy(const awq_run *r, const model_maker_params *p)
{
    char *copy = awq_model_write(p);
    for (uint32_t b = 0; b < BLOCKS; b++) {
        awq_block block;
        awq_folded folded = {.scales = {[BM_STAGE_QKV] = awq_divided_norm(r, b, BM_STAGE_QKV),
                                        [BM_STAGE_GATE_UP] = awq_divided_norm(r, b, BM_STAGE_GATE_UP)}};
        double farthest = 0;
        for (uint32_t c = 0; c < p->hidden_size; c++)
            farthest = fmax(farthest, fabs(log2(folded.scales[BM_STAGE_QKV][c])));
        assert_true(farthest > 0.5); // there is something to be seen
        awq_block_read_weights(r->model, b, &block);
        if (r->arguments->smooth_all_linears)
            find_other_scales(r, &block, &folded);
        awq_fold_write(r, &block, &folded, copy);
        awq_block_free(&block);
        for (bm_stage stage = 0; stage < BM_NUM_STAGES; stage++)
            bm_free(folded.scales[stage]);
    }
    return copy;
}

static void codes_are_those_of_the_scaled_checkpoint(void **state)
{
    (void)state;
    static const struct {
        const char *method, *scaling;
        int64_t steps; // of the method
    } cases[] = {{GPTQ, AWQ NORMS, 2},
                 {GPTQ ",\"qep_alpha\":0", AWQ NORMS, 2},
                 {GPTQ ",\"true_sequential\":false", AWQ NORMS, 2},
                 {GPTQ ",\"true_sequential\":false,\"qep_alpha\":0", SMOOTH, 2},
                 {GPTQ ",\"calibration_inputs\":\"float\"", AWQ NORMS, 2},
                 {GPTQ ",\"calibration_inputs\":\"float\",\"true_sequential\":false", SMOOTH, 2},
                 {GPTQ, SMOOTH PIECES, 2},
                 {GPTQ FLOATS, AWQ ALL, 2},
                 {GPTQ FLOATS ",\"true_sequential\":false", SMOOTH ALL, 2},
                 {ROUNDING, ",\"smooth\":true,\"smooth_step\":4", 1},
                 {ROUNDING ",\"true_sequential\":false", ",\"smooth\":true,\"smooth_step\":3", 1},
                 {CLIP, ",\"smooth\":true,\"smooth_step\":4", 2}};
    const model_maker_params p = awq_model();
    char *folder = awq_model_write(&p);
    for (size_t i = 0; i < BM_COUNT(cases) && (i < 1 || !support_is_interpreted()); i++) {
        char *keys = bm_format("%s%s", cases[i].method, cases[i].scaling);
        awq_run scaled = {.folder = folder, .keys = keys}, plain = {.keys = cases[i].method};
        uint64_t codes;
        awq_run_must(&scaled);
        char *copy = folded_copy(&scaled, &p);
        plain.folder = copy;
        awq_run_must(&plain);
        const uint64_t differing = awq_differing_codes(scaled.output, plain.output, &codes);
        if (differing > 0)
            print_message("%s: %llu of %llu codes differ\n", keys, (unsigned long long)differing,
                          (unsigned long long)codes);
        assert_true(differing * 10000 <= codes);
        assert_int_equal(scaled.result.num_linears, plain.result.num_linears);
        for (uint32_t l = 0; l < plain.result.num_linears; l++) {
            const bm_linear_record *a = &scaled.result.linears[l], *b = &plain.result.linears[l];
            assert_string_equal(a->name, b->name);
            assert_int_equal(b->group.tokens, awq_run_tokens(&plain, cases[i].steps));
            assert_int_equal(a->group.tokens, b->group.tokens);
            assert_true(a->group.damping == b->group.damping);
            if (!(fabs(a->output_error / b->output_error - 1) < 1e-4))
                fail_msg("%s: %s loses %.9g, expected %.9g", keys, a->name, a->output_error, b->output_error);
        }
        awq_run_end(&scaled);
        awq_run_end(&plain);
        support_folder_remove(&copy);
        bm_free(keys);
    }
    support_folder_remove(&folder);
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_scaled_checkpoint),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return awq_main(argc, argv, "scaled", run);
}
