// What people should know of a model that opens all the same.
#include "model/model.h"

#include "base/file.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

uint32_t bm_model_remarks(const bm_model *model, const char *fate, bm_model_words words[BM_MAX_MODEL_REMARKS])
{
    const bm_gguf *gguf = bm_checkpoint_gguf(model->checkpoint);
    const char *path = NULL;
    char name[160];
    uint32_t count = bm_model_describe_unread(model, fate, words);
    if (model->config.assumed[0])
        snprintf(words[count++].text, sizeof words->text, "%s", model->config.assumed);
    const uint64_t behind = gguf ? bm_gguf_bytes_behind(gguf, &path) : 0;
    if (behind > 0) {
        path = bm_path_base_name(path);
        snprintf(words[count++].text, sizeof words->text,
                 "%s: found %llu byte%s behind the last tensor, expected the file's end: %s %s",
                 bm_printable(path, strlen(path), name, sizeof name), (unsigned long long)behind,
                 behind == 1 ? "" : "s", behind == 1 ? "it is" : "they are", fate);
    }
    return count;
}
