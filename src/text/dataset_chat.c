// Conversations to tokens: the turns of an example by a chat template.
//
// The whole conversation is encoded once, as a model meets it; which of its tokens are the bot's follows from the same text
// cut short: in front of an answer (with the prompt to generate), and behind it. Tokens that both have at their beginning
// lie in front of the border, so that one that spans a border is the bot's.
//
// Source    parameters.md 5.4: turns from the last to the first while they fit; of one that is too long by itself the user's
// part is cut to src_length, then the bot's to max_length, both on the right; the bot's tokens alone are scored.
#include "text/dataset_internal.h"

#include <string.h>

#define MAX_TURNS 1024u // of a conversation

static bm_status no_memory(bm_error *err)
{
    return bm_fail(err, BM_E_MEMORY, "out of memory for the tokens of the data");
}

static bm_status encode(const dataset_encoder *encoder, const bm_chat_message *messages, size_t count, bool prompt,
                        bm_string *text, bm_token_list *ids, bm_error *err)
{
    bm_string_clear(text);
    ids->count = 0;
    const bm_status status = bm_chat_template_render_for(encoder->params->chat_template, encoder->tokenizer, messages,
                                                         count, prompt, text, err);
    return status == BM_OK
               ? bm_tokenizer_encode(encoder->tokenizer, bm_string_text(text), text->length, false, ids, err)
               : status;
}

static size_t shared_beginning(const bm_token_list *a, const bm_token_list *b)
{
    size_t count = 0;
    while (count < a->count && count < b->count && a->ids[count] == b->ids[count])
        count++;
    return count;
}

// Where each answer begins and ends in the tokens of the conversation, encoder->prompt: borders[2 * turn].
static bm_status find_borders(dataset_encoder *encoder, const bm_chat_message *messages, uint32_t num_turns,
                              size_t *borders, bm_string *text, bm_error *err)
{
    size_t last = 0;
    for (uint32_t border = 0; border < 2 * num_turns; border++) {
        const bm_status status = encode(encoder, messages, border + 1, border % 2 == 0, text, &encoder->answer, err);
        if (status != BM_OK)
            return status;
        const size_t at = shared_beginning(&encoder->prompt, &encoder->answer);
        borders[border] = last = at > last ? at : last;
    }
    borders[2 * num_turns - 1] = encoder->prompt.count; // what the template writes behind the last answer is the bot's
    return BM_OK;
}

static bm_status add_conversation(const bm_token_list *ids, const size_t *borders, uint32_t num_turns,
                                  dataset_tokens *out, bm_error *err)
{
    const size_t start = out->ids.count;
    uint32_t border = 0;
    if (!bm_token_list_append(&out->ids, ids->ids, ids->count - 1)) // the last token is a target only
        return no_memory(err);
    for (size_t i = 1; i < ids->count; i++) {
        while (border < 2 * num_turns && borders[border] <= i)
            border++;
        const uint32_t target = border % 2 == 1 ? ids->ids[i] : BM_NO_TARGET;
        if (!bm_token_list_append(&out->targets, &target, 1))
            return no_memory(err);
    }
    return dataset_tokens_add(out, start, (uint32_t)(ids->count - 1), out->example) ? BM_OK : no_memory(err);
}

// The last turn alone, too long as it is.
static void cut_turn(bm_token_list *ids, size_t borders[2], const bm_dataset_params *params, dataset_tokens *out)
{
    const size_t user = bm_min_u64(borders[0], params->src_length), bot = ids->count - borders[0];
    const size_t kept = bm_min_u64(bot, params->max_length - user);
    out->num_cut_prompts += user < borders[0];
    out->num_cut_answers += kept < bot;
    memmove(ids->ids + user, ids->ids + borders[0], kept * sizeof *ids->ids);
    ids->count = user + kept;
    borders[0] = user;
    borders[1] = ids->count;
}

// The longest tail that fits, or the last turn alone, as encoder->prompt; *first is its first turn. Where the whole
// does not fit, a border is looked for of which the tail fits and one turn more does not: what is rendered halves, so
// that a long conversation costs about twice its length and not its square.
static bm_status find_tail(dataset_encoder *encoder, const bm_chat_message *messages, uint32_t num_turns,
                           uint32_t *first, bm_string *text, bm_error *err)
{
    uint32_t tried = 0, too_long = 0, fits = num_turns - 1;
    bm_status status = encode(encoder, messages, 2 * num_turns, false, text, &encoder->prompt, err);
    if (status == BM_OK && encoder->prompt.count <= encoder->params->max_length)
        fits = 0;
    while (status == BM_OK && fits > too_long + 1) {
        tried = too_long + (fits - too_long) / 2;
        status = encode(encoder, messages + 2 * tried, 2 * (num_turns - tried), false, text, &encoder->prompt, err);
        if (encoder->prompt.count <= encoder->params->max_length)
            fits = tried;
        else
            too_long = tried;
    }
    *first = fits;
    return status == BM_OK && tried != fits
               ? encode(encoder, messages + 2 * fits, 2 * (num_turns - fits), false, text, &encoder->prompt, err)
               : status;
}

bm_status dataset_encode_turns(dataset_encoder *encoder, const char *storage, const dataset_turn *turns,
                               uint32_t num_turns, dataset_tokens *out, bm_error *err)
{
    bm_status status = BM_OK;
    const bm_dataset_params *params = encoder->params;
    bm_string text = BM_STRING_INIT;
    bm_chat_message *messages = bm_alloc(num_turns, 2 * sizeof *messages);
    size_t *borders = bm_alloc(num_turns, 2 * sizeof *borders);
    uint32_t first = 0;
    BM_FAIL_IF(!messages || !borders, err, BM_E_MEMORY, "out of memory for the tokens of the data");
    BM_FAIL_IF(num_turns > MAX_TURNS, err, BM_E_FORMAT, "%u turns, expected at most %u", num_turns, MAX_TURNS);
    for (uint32_t i = 0; i < num_turns; i++) {
        messages[2 * i] = (bm_chat_message){"user", storage + turns[i].src};
        messages[2 * i + 1] = (bm_chat_message){"assistant", storage + turns[i].tgt};
    }
    BM_TRY(find_tail(encoder, messages, num_turns, &first, &text, err));
    BM_TRY(find_borders(encoder, messages + 2 * first, num_turns - first, borders, &text, err));
    if (encoder->prompt.count > params->max_length)
        cut_turn(&encoder->prompt, borders, params, out);
    out->num_left_turns += first;
    const size_t total = encoder->prompt.count;
    out->is_full = total > 1 && total - 1 > dataset_room_left(out, params);
    if (total < 2)
        dataset_leave_out(out);
    if (!out->is_full && total >= 2)
        BM_TRY(add_conversation(&encoder->prompt, borders, num_turns - first, out, err));
done:
    bm_string_free(&text);
    bm_free(messages);
    bm_free(borders);
    return status;
}
