// The regular expressions behind the names of tokenizer.ggml.pre.
//
// llama.cpp keeps them by name, since GGUF files carry no expression. Where its form is an approximation of the one in
// the model's tokenizer.json (its engine lacks letter cases), that one stands here. llama.cpp normalizes nothing; the
// models behind "qwen2" were trained on NFC, and tokenizer.json says so.
//
// Source    llama.cpp's table of pre-tokenizers; formats.md 8.5, 8.9.
#include "text/tokenizer_parts_internal.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LATER(digits)                                                                                                  \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|"  \
                 "\\s+"
#define CAPITAL "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail, digits)                                                                                            \
    "[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "*" SMALL "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" CAPITAL "+" SMALL "*" tail           \
    "|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const text_pre table[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "exaone4"}, .splits = {GPT2}},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"},
     .splits = {LATER("\\p{N}{1,3}|")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, .splits = {LATER("\\p{N}{1,3}|")}},
    {.names = {"qwen2", "deepseek-r1-qwen"}, .splits = {LATER("\\p{N}|")}, .composes = true},
    {.names = {"stablelm2", "hunyuan", "megrez", "grok-2"}, .splits = {LATER("\\p{N}|")}},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
     .splits = {TEXT_PRE_DIGITS, GPT2}},
    {.names = {"tekken"}, .splits = {CASED("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = {"gpt-4o", "llama4"}, .splits = {CASED(CONTRACTIONS "?", "\\p{N}{1,3}")}},
    {.names = {"deepseek-v3", "hunyuan-dense"},
     .splits = {"\\p{N}{1,3}", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
                "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
    {.names = {"deepseek-coder"},
     .splits = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", TEXT_PRE_DIGITS}},
    {.names = {"falcon"}, .splits = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {.names = {"default"}, .splits = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

const text_pre *text_pre_find(const char *name, size_t length)
{
    for (size_t i = 0; i < BM_COUNT(table); i++)
        for (uint32_t k = 0; k < TEXT_PRE_NAMES && table[i].names[k]; k++)
            if (strlen(table[i].names[k]) == length && memcmp(table[i].names[k], name, length) == 0)
                return &table[i];
    return NULL;
}

void text_pre_list(bm_string *out)
{
    for (size_t i = 0; i < BM_COUNT(table); i++)
        for (uint32_t k = 0; k < TEXT_PRE_NAMES && table[i].names[k]; k++)
            bm_string_append_format(out, "%s%s", out->length ? ", " : "", table[i].names[k]);
}

// Does a stage do what the split says?
static bool is_split(const text_stage *stage, const char *split)
{
    if (strcmp(split, TEXT_PRE_DIGITS) == 0)
        return stage->kind == STAGE_DIGITS && stage->individual;
    return stage->kind == STAGE_SPLIT && stage->behavior == SPLIT_ISOLATED && stage->pattern.regex &&
           strcmp(text_regex_pattern(stage->pattern.regex), split) == 0;
}

const text_pre *text_pre_of(const bm_tokenizer *tokenizer)
{
    const uint32_t count = tokenizer->num_stages;
    const bool composes = tokenizer->num_normalizers == 1 && tokenizer->normalizers[0].kind == NORMALIZER_NFC;
    if (count == 0 || tokenizer->stages[count - 1].kind != STAGE_BYTES || (tokenizer->num_normalizers > 0 && !composes))
        return NULL;
    for (size_t i = 0; i < BM_COUNT(table); i++) {
        const text_pre *pre = &table[i];
        uint32_t same = 0;
        while (same < TEXT_PRE_SPLITS && pre->splits[same] && same + 1 < count &&
               is_split(&tokenizer->stages[same], pre->splits[same]))
            same++;
        const bool at_end = same == TEXT_PRE_SPLITS || !pre->splits[same];
        if (at_end && same + 1 == count && pre->composes == composes &&
            pre->ignore_merges == tokenizer->bpe.ignore_merges)
            return pre;
    }
    return NULL;
}
