// The tokenizer that goes along with the output.
#include "schedule/gguf.h"

#include "base/file.h"
#include "schedule/tokenizer_files.h"
#include "text/tokenizer_gguf.h"

// Of files that are made of a GGUF file's keys: JSON holds UTF-8 alone.
static bm_status note_template(bm_plan *plan, const char *gguf_path, bm_error *err)
{
    bm_gguf *gguf = NULL;
    bm_gguf_string text = {NULL, 0};
    bm_status status = bm_gguf_open(&gguf, gguf_path, err);
    if (status == BM_OK)
        status = bm_gguf_get_string(gguf, "tokenizer.chat_template", &text, err);
    if (status == BM_OK && text.bytes && !bm_utf8_is_valid(text.bytes, (size_t)text.length))
        bm_notes_add(&plan->notes, "%s: key \"tokenizer.chat_template\": is not UTF-8; the output has no chat template",
                     gguf_path);
    bm_gguf_close(&gguf);
    return status;
}

// Keys that go from one GGUF file to another as they are, though they cannot be used here.
static bm_status note_keys(bm_plan *plan, const char *gguf_path, const bm_error *words, bool is_known, bm_error *err)
{
    bm_gguf *gguf = NULL;
    bm_error found = {0};
    bm_status status = bm_gguf_open(&gguf, gguf_path, err);
    if (status == BM_OK && is_known)
        status = bm_gguf_tokenizer_check_peers(gguf, &found);
    if (status == BM_E_FORMAT)
        (void)bm_fail(err, status,
                      "%s; llama.cpp refuses that too, and would refuse the output: mend the file, give another "
                      "tokenizer, or take a format other than gguf",
                      found.message);
    if (status == BM_OK && !bm_gguf_find(gguf, "tokenizer.ggml.model"))
        bm_notes_add(&plan->notes, "%s; nor has the output, which bitmill does not evaluate or generate from",
                     words->message);
    else if (status == BM_OK)
        bm_notes_add(&plan->notes,
                     is_known
                         ? "%s; its keys go along as they are: bitmill does not evaluate the output or generate from "
                           "it, llama.cpp reads such keys, and warns of ids or takes its own in their place"
                         : "%s; its keys go along as they are: bitmill does not evaluate the output or generate from "
                           "it, llama.cpp reads it if it knows that name, and refuses it otherwise",
                     words->message);
    bm_gguf_close(&gguf);
    return status;
}

bm_status bm_plan_look_at_tokenizer(bm_plan *plan, const char *folder, bool is_needed, bm_error *err)
{
    bm_tokenizer *tokenizer = NULL;
    bm_error words = {0};
    char *gguf_path = NULL, *path = bm_path_join(folder, "tokenizer.json");
    bm_status status =
        path ? bm_tokenizer_files_source(folder, &gguf_path, &words) : bm_fail(&words, BM_E_MEMORY, "out of memory");
    const bool is_absent = path && !gguf_path && bm_path_kind_of(path) == BM_PATH_ABSENT;
    if (status == BM_OK && is_absent && !is_needed) {
        plan->tokenizer = BM_PLAN_TOKENIZER_ABSENT;
        bm_notes_add(&plan->notes,
                     "%s: no such file; the output has no tokenizer.json, without which bitmill does not evaluate or "
                     "generate",
                     path);
    } else if (status == BM_OK) {
        status = bm_tokenizer_open(&tokenizer, folder, &words);
    }
    plan->makes_tokenizer = gguf_path && tokenizer;
    if (plan->makes_tokenizer && !bm_plan_writes_gguf(plan))
        status = note_template(plan, gguf_path, &words);
    if (gguf_path && (status == BM_E_UNSUPPORTED || status == BM_E_FORMAT) && !is_needed) {
        plan->tokenizer = BM_PLAN_TOKENIZER_ABSENT;
        const bm_error found = words;
        const bool is_known = status == BM_E_FORMAT;
        status = BM_OK;
        if (bm_plan_writes_gguf(plan))
            status = note_keys(plan, gguf_path, &found, is_known, &words);
        else
            bm_notes_add(&plan->notes,
                         "%s; the output has no tokenizer.json: add that of the model from which the file was made",
                         found.message);
    } else if (status == BM_E_UNSUPPORTED && !is_needed) {
        plan->tokenizer = BM_PLAN_TOKENIZER_NOT_BUILT;
        bm_notes_add(&plan->notes, "%s; it is copied as it is", words.message);
        status = BM_OK;
    }
    bm_tokenizer_close(&tokenizer);
    bm_free(path);
    bm_free(gguf_path);
    return status == BM_OK ? BM_OK : bm_fail(err, status, "%s", words.message);
}
