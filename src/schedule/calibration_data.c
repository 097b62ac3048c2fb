// Loading calibration data: the data set's sequences, as many as the steps take, and their segments.
#include "schedule/calibration_data.h"

// Batches that the job watches; -1: all. The key that says so, for messages: one pass does for all phases, each of which
// looks at its own first steps.
static int64_t steps_of(const bm_arguments *arguments, const char **key)
{
    // Static steps, which a search sees too, and rounding that weighs by data.
    const bool observes =
        arguments->job != BM_JOB_GPTQ && !arguments->auto_clip &&
        ((arguments->act_quant_method != BM_ACT_PER_TOKEN && arguments->job == BM_JOB_A8W8) ||
         arguments->scale_search == BM_SCALE_GRAM || arguments->scale_search == BM_SCALE_WEIGHTED_MSE ||
         (!arguments->shift && !arguments->smooth));
    const struct {
        bool counts;
        const char *key;
        int64_t steps;
    } phases[] = {{arguments->job == BM_JOB_GPTQ, "gptq_step", arguments->gptq_step},
                  {observes, "ptq_step", arguments->ptq_step},
                  {arguments->auto_clip, "autoclip_step", arguments->autoclip_step},
                  {arguments->shift, "shift_step", arguments->shift_step},
                  {arguments->smooth, "smooth_step", arguments->smooth_step}};
    int64_t most = 0;
    for (size_t i = 0; i < BM_COUNT(phases); i++)
        if (phases[i].counts && most >= 0 && (phases[i].steps < 0 || phases[i].steps > most)) {
            *key = phases[i].key;
            most = phases[i].steps;
        }
    return most;
}

// Sequences that the steps take; 0: all there are.
static uint64_t wanted_sequences(const bm_arguments *arguments)
{
    const char *key = NULL;
    const int64_t steps = steps_of(arguments, &key);
    const uint64_t batch = (uint64_t)arguments->per_device_train_batch_size; // both below 2^31
    return steps < 0 ? 0 : (uint64_t)steps * batch;
}

bm_status bm_open_chat_template(const bm_arguments *arguments, bm_chat_template **out, bm_error *err)
{
    *out = NULL;
    if (!arguments->chat_template)
        return BM_OK;
    const bm_status status = bm_chat_template_open(out, arguments->chat_template, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s: \"chat_template\"", bm_arguments_source_of(arguments, "chat_template"));
    else if (!*out)
        return bm_arguments_reject(arguments, err,
                                   "\"chat_template\": the folder has no chat template (" BM_CHAT_SOURCE_WORDS ")");
    return status;
}

static bm_status load_dataset(const bm_arguments *arguments, uint32_t src_length, uint32_t max_length,
                              const bm_model *model, const bm_log *log, bm_dataset **out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_tokenizer *tokenizer = NULL;
    bm_chat_template *template = NULL;
    bm_dataset_params params;
    bm_dataset_params_init(&params);
    params.path = arguments->dataset_name_or_path;
    params.purpose = BM_DATASET_CALIBRATION;
    params.src_length = src_length;
    params.max_length = max_length;
    params.seed = (uint64_t)arguments->seed;
    params.keep_order = arguments->keep_order;
    params.zero_padding = arguments->zero_padding;
    params.greedy = arguments->greedy_zero_padding;
    params.max_sequences = (uint32_t)bm_min_u64(wanted_sequences(arguments), UINT32_MAX);
    if (!params.path)
        return bm_arguments_reject(
            arguments, err, "\"dataset_name_or_path\": missing: the method needs calibration data (--data FILE)");
    BM_TRY(bm_open_chat_template(arguments, &template, err));
    params.chat_template = template;
    BM_TRY(bm_tokenizer_open(&tokenizer, arguments->tokenizer_name_or_path, err));
    BM_TRY(bm_dataset_load(out, &params, tokenizer, log, err));
    BM_TRY(bm_dataset_check_ids(*out, model->config.vocab_size, err));
done:
    bm_chat_template_close(&template);
    bm_tokenizer_close(&tokenizer);
    return status;
}

// How many of the data set's sequences are used.
static bm_status count_sequences(const bm_arguments *arguments, bm_calibration_data *data, bm_error *err)
{
    const uint32_t count = bm_dataset_count(data->dataset);
    data->step_sequences = (uint32_t)arguments->per_device_train_batch_size;
    data->num_sequences = arguments->dataloader_drop_last ? count / data->step_sequences * data->step_sequences : count;
    if (data->num_sequences == 0)
        return bm_arguments_reject(arguments, err,
                                   "\"dataloader_drop_last\": true: %s has %u sequence%s, fewer than a step of %u",
                                   bm_dataset_source(data->dataset), count, bm_plural(count), data->step_sequences);
    return BM_OK;
}

static void note_few_sequences(const bm_arguments *arguments, const bm_calibration_data *data, bm_notes *notes)
{
    const char *key = NULL;
    const int64_t steps = steps_of(arguments, &key);
    const uint32_t count = bm_dataset_count(data->dataset);
    const uint64_t wanted = wanted_sequences(arguments);
    if (data->num_sequences >= wanted)
        return;
    (bm_arguments_is_given(arguments, key) ? bm_notes_add : bm_notes_add_choice)(
        notes, "%s: %u sequence%s, fewer than the %llu of %s %lld and per_device_train_batch_size %u: %s",
        bm_dataset_source(data->dataset), count, bm_plural(count), (unsigned long long)wanted, key, (long long)steps,
        data->step_sequences,
        data->num_sequences < count ? "whole steps of them are used"
        : count == 1                ? "it is used"
                                    : "all are used");
}

static bm_status collect_segments(bm_calibration_data *data, uint64_t max_tokens, bm_error *err)
{
    uint64_t count = 0;
    for (uint32_t s = 0; s < data->num_sequences; s++)
        count += bm_dataset_sequence(data->dataset, s)->num_segments;
    data->segments = bm_alloc(count, sizeof *data->segments);
    data->segment_sequences = bm_alloc(count, sizeof *data->segment_sequences);
    if (!data->segments || !data->segment_sequences)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint32_t s = 0; s < data->num_sequences; s++) {
        const bm_sequence *sequence = bm_dataset_sequence(data->dataset, s);
        for (uint32_t k = 0; k < sequence->num_segments; k++) {
            const uint32_t first = sequence->starts[k], length = sequence->starts[k + 1] - first;
            const uint32_t kept = (uint32_t)bm_min_u64(length, max_tokens - data->num_tokens);
            data->segments[data->num_segments] = (bm_batch_sequence){sequence->ids + first, kept};
            data->segment_sequences[data->num_segments++] = s;
            data->num_tokens += kept;
            if (data->num_tokens == max_tokens) {
                data->num_sequences = s + 1;
                return BM_OK;
            }
        }
    }
    return BM_OK;
}

bm_status bm_calibration_data_load(const bm_arguments *arguments, uint32_t src_length, uint32_t max_length,
                                   const bm_model *model, bm_notes *notes, const bm_log *log, bm_calibration_data *out,
                                   bm_error *err)
{
    const uint64_t max_tokens = arguments->calibration_tokens ? (uint64_t)arguments->calibration_tokens : UINT64_MAX;
    bm_status status = BM_OK;
    *out = (bm_calibration_data){0};
    BM_TRY(load_dataset(arguments, src_length, max_length, model, log, &out->dataset, err));
    BM_TRY(count_sequences(arguments, out, err));
    BM_TRY(collect_segments(out, max_tokens, err));
    if (out->num_tokens < max_tokens) // else calibration_tokens is what bounds
        note_few_sequences(arguments, out, notes);
done:
    return status;
}

void bm_calibration_data_free(bm_calibration_data *data)
{
    bm_dataset_destroy(&data->dataset);
    bm_free(data->segments);
    bm_free(data->segment_sequences);
    *data = (bm_calibration_data){0};
}

const char *bm_calibration_data_name(const bm_calibration_data *data, uint32_t segment, char *out, size_t capacity)
{
    return bm_dataset_name_sequence(data->dataset, data->segment_sequences[segment], out, capacity);
}

uint32_t bm_calibration_data_first(const bm_calibration_data *data, int64_t steps)
{
    uint32_t count = 0;
    while (count < data->num_segments &&
           (steps < 0 || data->segment_sequences[count] / data->step_sequences < (uint64_t)steps))
        count++;
    return count;
}
