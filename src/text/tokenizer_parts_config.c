// The files beside a tokenizer.json that was written from parts: tokenizer_config.json, generation_config.json.
#include "text/tokenizer_parts_internal.h"

#include <string.h>

static void put_token(bm_json_writer *json, const char *key, const text_parts *parts, uint32_t id)
{
    if (id != TEXT_NO_ID)
        bm_json_put_text(json, key, parts->tokens[id].data, parts->tokens[id].length);
}

void text_parts_write_config(const text_parts *parts, bm_string *config)
{
    const bm_text_span template = parts->given->chat_template;
    bm_json_writer json;
    bm_json_writer_init(&json, config, 2);
    bm_json_begin_object(&json, NULL);
    bm_json_put_bool(&json, "add_bos_token", parts->add_bos);
    bm_json_put_bool(&json, "add_eos_token", parts->add_eos);
    put_token(&json, "bos_token", parts, parts->bos);
    if (template.data && bm_utf8_is_valid(template.data, template.length)) // JSON holds no others
        bm_json_put_text(&json, "chat_template", template.data, template.length);
    bm_json_put_bool(&json, "clean_up_tokenization_spaces", false);
    put_token(&json, "eos_token", parts, parts->eos);
    put_token(&json, "pad_token", parts, parts->padding);
    bm_json_put_string(&json, "tokenizer_class", "PreTrainedTokenizerFast");
    put_token(&json, "unk_token", parts, parts->is_spm ? parts->unknown : TEXT_NO_ID);
    bm_json_end_object(&json);
    bm_string_append(config, "\n");
}

// Tokens that end a turn by their names alone: not all files name them by a key.
static bool ends_by_name(const text_parts *parts, uint32_t id)
{
    static const char *const names[] = {"<|eot_id|>",    "<|eom_id|>",    "<|im_end|>", "<|end|>", "<|end_of_text|>",
                                        "<end_of_turn>", "<|endoftext|>", "<EOT>",      "_<EOT>"};
    if (text_parts_type(parts, id) != BM_TOKEN_CONTROL)
        return false;
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (parts->tokens[id].length == strlen(names[i]) &&
            memcmp(parts->tokens[id].data, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

void text_parts_write_generation(const text_parts *parts, bm_string *generation)
{
    const bm_tokenizer_parts *given = parts->given;
    const uint32_t named[] = {parts->eos, given->eot, given->eom};
    bm_json_writer json;
    bm_json_writer_init(&json, generation, 2);
    bm_json_begin_object(&json, NULL);
    if (parts->bos != TEXT_NO_ID)
        bm_json_put_integer(&json, "bos_token_id", parts->bos);
    bm_json_begin_array(&json, "eos_token_id");
    for (uint32_t i = 0; i < BM_COUNT(named); i++)
        if (named[i] != TEXT_NO_ID)
            bm_json_put_integer(&json, NULL, named[i]);
    for (uint32_t id = 0; id < given->num_tokens; id++)
        if (ends_by_name(parts, id) && id != named[0] && id != named[1] && id != named[2])
            bm_json_put_integer(&json, NULL, id);
    bm_json_end_array(&json);
    if (parts->padding != TEXT_NO_ID)
        bm_json_put_integer(&json, "pad_token_id", parts->padding);
    bm_json_end_object(&json);
    bm_string_append(generation, "\n");
}
