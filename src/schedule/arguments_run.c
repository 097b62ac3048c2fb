// Resolution of what surrounds the method: storage type, device text, folders, lengths.
#include "schedule/arguments_keys.h"

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

static bool is_number(const char *text)
{
    uint64_t number = 0;
    return text[0] >= '0' && text[0] <= '9' && bm_parse_u64(text, &number) && number < 1024;
}

// BACKEND, BACKEND:N or BACKEND:PART OF A NAME; gpu takes no name.
static bool device_is_well_formed(const char *text)
{
    static const char *const backends[] = {"vulkan", "opencl", "gpu"};
    const size_t length = strcspn(text, ":");
    for (size_t i = 0; i < BM_COUNT(backends); i++) {
        if (length != strlen(backends[i]) || strncmp(text, backends[i], length) != 0)
            continue;
        if (text[length] == '\0')
            return true;
        const char *which = text + length + 1;
        return is_number(which) || (strcmp(backends[i], "gpu") != 0 && which[0] != '\0');
    }
    return strcmp(text, "auto") == 0 || strcmp(text, "host") == 0;
}

// Lower case up to the colon; gpu is auto, cpu is host.
static bm_status resolve_device(bm_arguments *args, bm_error *err)
{
    if (!args->device && !(args->device = bm_string_copy("auto")))
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    char *text = args->device;
    char shown[64];
    for (size_t i = 0; text[i] && text[i] != ':'; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] - 'A' + 'a');
    const char *canonical = strcmp(text, "gpu") == 0 ? "auto" : strcmp(text, "cpu") == 0 ? "host" : NULL;
    if (canonical) {
        char *copy = bm_string_copy(canonical);
        if (!copy)
            return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
        bm_free(args->device);
        args->device = copy;
    }
    if (!device_is_well_formed(args->device))
        return arguments_reject(
            args, err,
            "\"device\": \"%s\": expected auto, host, vulkan, vulkan:N, opencl:N, gpu:N or a backend "
            "and part of a device's name (opencl:nvidia); bitmill devices lists what is here",
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

bm_status bm_arguments_fit_context(bm_arguments *args, uint32_t max_position_embeddings, bm_error *err)
{
    const int64_t context = max_position_embeddings;
    if (context == 0 || args->max_length <= context) // 0: the model does not say
        return BM_OK;
    if (context < 3)
        return arguments_reject(args, err, "\"max_length\": the model addresses only %lld positions",
                                (long long)context);
    const int64_t asked = args->max_length;
    args->max_length = context;
    if (args->src_length < context)
        return bm_arguments_add_note(args, err, "\"max_length\": %lld: lowered to %lld, the model's context",
                                     (long long)asked, (long long)context);
    args->src_length = context / 2 < 2 ? 2 : context / 2;
    return bm_arguments_add_note(args, err,
                                 "\"max_length\": %lld: lowered to %lld, the model's context; src_length to %lld",
                                 (long long)asked, (long long)context, (long long)args->src_length);
}
