// Resolution of what surrounds the method: storage type, device text, folders, lengths.
#include "device/device.h"
#include "arguments/keys.h"

#include <stdio.h>
#include <string.h>

// fp16, bf16 and fp16_opt_level against dtype: one storage type, or none where no key was given.
static bm_status resolve_storage(bm_arguments *args, bm_error *err)
{
    const bool is_o2 = IS_GIVEN(args, fp16_opt_level) && args->fp16_opt_level == BM_OPT_O2;
    const bool is_float32 = IS_GIVEN(args, fp16_opt_level) && !is_o2;
    const bm_dtype half = args->fp16 ? BM_DTYPE_F16 : args->bf16 ? BM_DTYPE_BF16 : BM_DTYPE_NONE;
    const char *half_key = args->fp16 ? "fp16" : "bf16";
    const char *dtype = enum_text(names_float_dtype, (int)args->dtype);
    if (args->fp16 && args->bf16)
        return arguments_reject(args, err, "\"fp16\" and \"bf16\": both true: choose one");
    const bool dtype_is_half = args->dtype == BM_DTYPE_F16 || args->dtype == BM_DTYPE_BF16;
    if (half != BM_DTYPE_NONE && dtype_is_half && half != args->dtype)
        return arguments_reject(args, err, "\"dtype\": \"%s\": contradicts \"%s\": true", dtype, half_key);
    if (args->dtype == BM_DTYPE_F32 && is_o2)
        return arguments_reject(args, err, "\"dtype\": \"float32\": contradicts \"fp16_opt_level\": \"O2\"");
    if (dtype_is_half && is_float32)
        return arguments_reject(args, err, "\"dtype\": \"%s\": contradicts \"fp16_opt_level\": \"%s\"", dtype,
                                enum_text(names_opt_level, (int)args->fp16_opt_level));
    if (is_o2 && half == BM_DTYPE_NONE && !dtype_is_half)
        return arguments_reject(args, err, "\"fp16_opt_level\": \"O2\": needs \"fp16\" or \"bf16\": true");
    if (args->dtype != BM_DTYPE_NONE)
        args->storage_dtype = args->dtype;
    else if (is_o2)
        args->storage_dtype = half;
    else if (half != BM_DTYPE_NONE || is_float32)
        args->storage_dtype = BM_DTYPE_F32;
    if (half != BM_DTYPE_NONE && args->storage_dtype == BM_DTYPE_F32 && args->dtype == BM_DTYPE_NONE)
        note_add(args, "\"%s\": true: the model is float32 without \"fp16_opt_level\": \"O2\"", half_key);
    return BM_OK;
}

// In a file gpu is auto and cpu is host: the reference's files say gpu wherever they came from, and mean that a GPU be
// used if there is one. The command line's --device is another matter (job.c).
static const char *device_of_file(bm_arguments *args)
{
    if (bm_equal_ignore_case(args->device, "gpu")) {
        note_add(args, "\"device\": \"gpu\": taken as auto, a GPU if there is one; gpu:0 insists");
        return "auto";
    }
    return bm_equal_ignore_case(args->device, "cpu") ? "host" : args->device;
}

// Lower case up to the colon.
static bm_status resolve_device(bm_arguments *args, bm_error *err)
{
    char shown[64];
    char *text = args->device ? bm_string_copy(device_of_file(args)) : bm_string_copy("auto");
    if (!text)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    bm_free(args->device);
    args->device = text;
    for (size_t i = 0; text[i] && text[i] != ':'; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] - 'A' + 'a');
    if (!bm_device_spec_is_valid(text))
        return arguments_reject(args, err,
                                "\"device\": \"%s\": expected " BM_DEVICE_SPEC_WORDS "; bitmill devices "
                                "lists what is here",
                                bm_printable(text, strlen(text), shown, sizeof(shown)));
    return BM_OK;
}

// Old files give the room for the answer, late ones the sum. An override of one replaces the file's other.
static bm_status resolve_lengths(bm_arguments *args, bm_error *err)
{
    if (IS_GIVEN(args, tgt_length)) {
        const uint8_t tgt = args->origin[KEY_OF(tgt_length)], max = args->origin[KEY_OF(max_length)];
        const int64_t sum = args->src_length + args->tgt_length;
        if (max == ORIGIN_OVERRIDE && tgt == ORIGIN_FILE) {
            note_add(args, "\"tgt_length\": %lld: replaced by --set max_length=%lld", (long long)args->tgt_length,
                     (long long)args->max_length);
        } else if (max == ORIGIN_FILE && tgt == ORIGIN_OVERRIDE) {
            note_add(args, "\"max_length\": %lld: replaced by --set tgt_length=%lld", (long long)args->max_length,
                     (long long)args->tgt_length);
            args->max_length = sum;
        } else if (IS_GIVEN(args, max_length) && args->max_length != sum) {
            return arguments_reject(args, err, "\"max_length\": %lld: contradicts src_length + tgt_length = %lld",
                                    (long long)args->max_length, (long long)sum);
        } else {
            args->max_length = sum;
        }
    }
    if (args->max_length <= args->src_length)
        return arguments_reject(args, err, "\"max_length\": %lld: must be above src_length %lld",
                                (long long)args->max_length, (long long)args->src_length);
    return BM_OK;
}

static bm_status resolve_tokenizer(bm_arguments *args, bm_error *err)
{
    if (args->tokenizer_name_or_path)
        return BM_OK;
    args->tokenizer_name_or_path = bm_string_copy(args->model_name_or_path);
    return args->tokenizer_name_or_path ? BM_OK : bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
}

bm_status arguments_resolve_run(bm_arguments *args, bm_error *err)
{
    bm_status status = BM_OK;
    BM_TRY(resolve_storage(args, err));
    BM_TRY(resolve_device(args, err));
    BM_TRY(resolve_lengths(args, err));
    BM_TRY(resolve_tokenizer(args, err));
done:
    return status;
}

// A length that nobody gave is ours to choose; one that was given is not taken as given.
static bm_status note_lowered(bm_arguments *args, bool is_given, const char *words, bm_error *err)
{
    if (is_given)
        return bm_arguments_add_note(args, err, "%s", words);
    note_choice(args, "%s", words);
    return args->out_of_memory ? bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name) : BM_OK;
}

bm_status bm_arguments_fit_context(bm_arguments *args, uint32_t max_position_embeddings, bm_error *err)
{
    const int64_t context = max_position_embeddings, asked = args->max_length;
    const bool reads_data = args->needs_calibration || args->do_eval || args->do_predict;
    bool is_given = IS_GIVEN(args, max_length) || IS_GIVEN(args, tgt_length);
    char words[160];
    if (!reads_data || context == 0 || asked <= context) // 0: the model does not say
        return BM_OK;
    if (context < 3)
        return arguments_reject(args, err, "\"max_length\": the model addresses only %lld positions",
                                (long long)context);
    args->max_length = context;
    size_t length = (size_t)snprintf(words, sizeof words, "\"max_length\": %lld: lowered to %lld, the model's context",
                                     (long long)asked, (long long)context);
    if (args->src_length >= context) {
        is_given = is_given || IS_GIVEN(args, src_length);
        args->src_length = context / 2 < 2 ? 2 : context / 2;
        snprintf(words + length, sizeof words - length, "; src_length to %lld", (long long)args->src_length);
    }
    return note_lowered(args, is_given, words, err);
}
