#include "schedule/gguf_kept.h"

#include <string.h>

// Of keys, or, with a dot behind them, of all keys that begin so.
static bool is_one_of(bm_gguf_string key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(names[i]);
        if (names[i][length - 1] == '.' ? key.length > length && memcmp(key.bytes, names[i], length) == 0
                                        : bm_gguf_string_is(key, names[i]))
            return true;
    }
    return false;
}

static void keep(bm_gguf_metadata *metadata, const bm_gguf_value *value)
{
    if (!bm_gguf_metadata_has(metadata, bm_gguf_key(value)))
        bm_gguf_put_stored(metadata, value);
}

void bm_gguf_keep(bm_gguf_metadata *metadata, const bm_gguf *source, bool same_codes)
{
    static const char *const left_out[] = {"general.alignment", "split.", "tokenizer."};
    static const char *const of_codes[] = {"general.quantized_by", "quantize."};
    for (uint32_t i = 0; i < bm_gguf_num_values(source); i++) {
        const bm_gguf_value *value = bm_gguf_value_at(source, i);
        const bm_gguf_string key = bm_gguf_key(value);
        if (!is_one_of(key, left_out, BM_COUNT(left_out)) &&
            (same_codes || !is_one_of(key, of_codes, BM_COUNT(of_codes))))
            keep(metadata, value);
    }
}

void bm_gguf_keep_tokenizer(bm_gguf_metadata *metadata, const bm_gguf *source)
{
    static const char *const of_tokenizer[] = {"tokenizer."};
    for (uint32_t i = 0; i < bm_gguf_num_values(source); i++) {
        const bm_gguf_value *value = bm_gguf_value_at(source, i);
        if (is_one_of(bm_gguf_key(value), of_tokenizer, BM_COUNT(of_tokenizer)))
            keep(metadata, value);
    }
}
