// Examples to tokens: prompt and answer joined and cut, plain text sliced, or lines of ids cut.
//
// What is stored is what is fed: of a joined sequence S + A all but the last token, with the following token as target
// where that belongs to A.
//
// Source    parameters.md 5.3 (order of cutting, EOS), 5.8 (slices).
#include "text/dataset_internal.h"

#include <string.h>

bool dataset_tokens_add(dataset_tokens *tokens, size_t start, uint32_t count, uint32_t number)
{
    if (tokens->count == tokens->capacity) {
        const size_t capacity = tokens->capacity * 2 + 64;
        dataset_range *ranges = bm_resize(tokens->ranges, capacity, sizeof *ranges);
        if (!ranges)
            return false;
        tokens->ranges = ranges;
        tokens->capacity = capacity;
    }
    tokens->ranges[tokens->count++] = (dataset_range){start, count, number};
    return true;
}

void dataset_leave_out(dataset_tokens *tokens)
{
    if (tokens->num_empty++ == 0 || tokens->example < tokens->first_empty)
        tokens->first_empty = tokens->example;
}

void dataset_tokens_free(dataset_tokens *tokens)
{
    bm_token_list_free(&tokens->ids);
    bm_token_list_free(&tokens->targets);
    bm_free(tokens->ranges);
    *tokens = (dataset_tokens){0};
}

bm_status dataset_encoder_begin(dataset_encoder *encoder, const bm_tokenizer *tokenizer,
                                const bm_dataset_params *params, const bm_log *log, bm_error *err)
{
    *encoder = (dataset_encoder){.tokenizer = tokenizer, .params = params, .eos = BM_NO_TARGET};
    if (!bm_tokenizer_eos(tokenizer, &encoder->eos))
        bm_log_write(log, BM_LOG_INFO, "note: the model names no end-of-sequence token: answers end without one");
    encoder->slice = params->max_length;
    if (params->purpose != BM_DATASET_CALIBRATION)
        encoder->slice = params->context ? params->context : (uint32_t)bm_min_u64(2048, params->max_length);
    // The empty text gives what the tokenizer puts around.
    return bm_tokenizer_encode(tokenizer, "", 0, true, &encoder->around, err);
}

void dataset_encoder_end(dataset_encoder *encoder)
{
    bm_token_list_free(&encoder->prompt);
    bm_token_list_free(&encoder->answer);
    bm_token_list_free(&encoder->around);
}

static bm_status no_memory(bm_error *err)
{
    return bm_fail(err, BM_E_MEMORY, "out of memory for the tokens of the data");
}

// How many tokens may still be fed: ids holds those that are.
size_t dataset_room_left(const dataset_tokens *tokens, const bm_dataset_params *params)
{
    if (params->max_tokens == 0)
        return SIZE_MAX;
    return params->max_tokens - bm_min_u64(params->max_tokens, tokens->ids.count);
}

bm_status dataset_encode_pair(dataset_encoder *encoder, const char *src, size_t src_length, const char *tgt,
                              size_t tgt_length, dataset_tokens *out, bm_error *err)
{
    const bm_dataset_params *params = encoder->params;
    const uint32_t num_front = bm_tokenizer_num_front(encoder->tokenizer);
    const size_t num_around = encoder->around.count;
    bm_token_list *prompt = &encoder->prompt, *answer = &encoder->answer;
    prompt->count = answer->count = 0;
    if (num_around >= params->src_length) // plain text has no prompt
        return bm_fail(err, BM_E_ARGUMENT, "key \"src_length\": %u leaves no room beside %zu special tokens",
                       params->src_length, num_around);
    bm_status status = bm_tokenizer_encode(encoder->tokenizer, src, src_length, false, prompt, err);
    if (status == BM_OK)
        status = bm_tokenizer_encode(encoder->tokenizer, tgt, tgt_length, false, answer, err);
    if (status != BM_OK)
        return status;
    // The prompt loses its beginning; special tokens are added after cutting, so they survive.
    const size_t kept = bm_min_u64(prompt->count, params->src_length - num_around);
    out->num_cut_prompts += kept < prompt->count;
    const size_t start = out->ids.count;
    bm_token_list *ids = &out->ids;
    if (!bm_token_list_append(ids, encoder->around.ids, num_front) ||
        !bm_token_list_append(ids, prompt->ids + (prompt->count - kept), kept) ||
        !bm_token_list_append(ids, encoder->around.ids + num_front, num_around - num_front))
        return no_memory(err);
    const size_t prompt_count = kept + num_around;
    // The answer loses its end; the end-of-sequence token comes only where a place is left.
    const size_t room = params->max_length - prompt_count;
    const size_t answer_count = bm_min_u64(answer->count, room);
    out->num_cut_answers += answer_count < answer->count;
    if (!bm_token_list_append(ids, answer->ids, answer_count) ||
        (answer_count < room && encoder->eos != BM_NO_TARGET && !bm_token_list_append(ids, &encoder->eos, 1)))
        return no_memory(err);
    const size_t total = ids->count - start;
    ids->count = start;
    out->is_full = total > 1 && total - 1 > dataset_room_left(out, params);
    if (total < 2)
        dataset_leave_out(out);
    if (out->is_full || total < 2)
        return BM_OK;
    ids->count = start + total;
    for (size_t i = 0; i + 1 < total; i++) {
        const uint32_t target = i + 1 < prompt_count ? BM_NO_TARGET : ids->ids[start + i + 1];
        if (!bm_token_list_append(&out->targets, &target, 1))
            return no_memory(err);
    }
    ids->count--; // the last token is a target only
    return dataset_tokens_add(out, start, (uint32_t)(total - 1), out->example) ? BM_OK : no_memory(err);
}

// What is scored throughout: ids start .. stop - 1, which out holds, as one sequence. The last id is fed without a target.
static bm_status add_scored(dataset_tokens *out, size_t start, size_t stop, uint32_t number, bm_error *err)
{
    for (size_t i = start; i < stop; i++) {
        const uint32_t target = i + 1 < stop ? out->ids.ids[i + 1] : BM_NO_TARGET;
        if (!bm_token_list_append(&out->targets, &target, 1))
            return no_memory(err);
    }
    return dataset_tokens_add(out, start, (uint32_t)(stop - start), number) ? BM_OK : no_memory(err);
}

// Slices of whole text: every token but the first of a slice is scored. The last token of a slice is fed too, without a
// target: the reference protocol runs slices of exactly the context's length.
bm_status dataset_encode_text(dataset_encoder *encoder, const char *text, size_t length, dataset_tokens *out,
                              bm_error *err)
{
    const size_t start = out->ids.count;
    const uint32_t num_front = bm_tokenizer_num_front(encoder->tokenizer);
    if (num_front > 0 && !bm_token_list_append(&out->ids, encoder->around.ids, 1)) // one BOS at most
        return no_memory(err);
    const bm_status status = bm_tokenizer_encode(encoder->tokenizer, text, length, false, &out->ids, err);
    if (status != BM_OK)
        return status;
    size_t end = out->ids.count; // of what is kept
    out->ids.count = start;
    out->is_full = end - start > dataset_room_left(out, encoder->params);
    if (out->is_full)
        end = start + dataset_room_left(out, encoder->params);
    const size_t slice = encoder->slice, rest = (end - start) % slice;
    if (rest == 1 || (rest > 0 && encoder->params->drop_last))
        end -= rest;
    if (end == start && !out->is_full)
        dataset_leave_out(out);
    out->ids.count = end;
    for (size_t begin = start; begin < end; begin += slice) {
        const size_t stop = bm_min_u64(begin + slice, end);
        const bm_status added = add_scored(out, begin, stop, (uint32_t)out->count + 1, err);
        if (added != BM_OK)
            return added;
    }
    return BM_OK;
}

// A line of ids as it is, cut on the right. One id alone can be watched, but there is nothing to score.
bm_status dataset_take_ids(const dataset_encoder *encoder, const uint32_t *ids, size_t count, dataset_tokens *out,
                           bm_error *err)
{
    const bm_dataset_params *params = encoder->params;
    const size_t kept = bm_min_u64(count, params->max_length), start = out->ids.count;
    if (kept < (params->purpose == BM_DATASET_CALIBRATION ? 1 : 2)) {
        dataset_leave_out(out);
        return BM_OK;
    }
    out->is_full = kept > dataset_room_left(out, params);
    if (out->is_full)
        return BM_OK;
    out->num_cut_lines += kept < count;
    if (!bm_token_list_append(&out->ids, ids, kept))
        return no_memory(err);
    return add_scored(out, start, start + kept, out->example, err);
}
