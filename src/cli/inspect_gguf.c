// bitmill inspect FILE.gguf.
#include "cli/inspect_gguf.h"

#include "model/block.h"
#include "model/gguf_model.h"
#include "text/tokenizer_gguf.h"

#include <inttypes.h>
#include <string.h>

static bm_gguf_string text_of(const bm_gguf *gguf, const char *key)
{
    bm_gguf_string text = {NULL, 0};
    (void)bm_gguf_get_string(gguf, key, &text, NULL); // of another kind it is as good as absent here
    return text;
}

static uint64_t total_bytes(const bm_gguf *gguf)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++)
        bytes += bm_gguf_tensor_at(gguf, i)->size_bytes;
    return bytes;
}

static uint64_t num_elements(const bm_gguf *gguf)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        count += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
    }
    return count;
}

static void print_text(const bm_gguf *gguf, const char *label, const char *key)
{
    const bm_gguf_string text = text_of(gguf, key);
    char shown[120];
    if (text.bytes)
        cli_print("  %-13s %s", label, bm_printable(text.bytes, text.length, shown, sizeof shown));
}

// The metadata's own words on a model that does not open.
static void print_plain_shape(const bm_gguf *gguf)
{
    static const char *const keys[][2] = {
        {"blocks", "block_count"}, {"hidden", "embedding_length"}, {"context", "context_length"}};
    const bm_gguf_string architecture = text_of(gguf, "general.architecture");
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        char *key = bm_format("%.*s.%s", (int)bm_min_u64(architecture.length, 64),
                              architecture.bytes ? architecture.bytes : "", keys[i][1]);
        int64_t value = -1;
        if (key && bm_gguf_get_integer(gguf, key, 0, INT64_MAX, -1, &value, NULL) == BM_OK && value >= 0)
            cli_print("  %-13s %" PRId64, keys[i][0], value);
        bm_free(key);
    }
    cli_print("  parameters    %" PRIu64, num_elements(gguf));
}

static void print_people(const bm_gguf *gguf, const bm_model *model, const bm_error *words)
{
    char tokenizer[BM_GGUF_TOKENIZER_SIZE], types[BM_GGUF_TYPES_SIZE];
    const uint32_t files = bm_gguf_num_files(gguf);
    cli_print("%s", bm_gguf_path(gguf));
    cli_print("  file          GGUF version %u, %u file%s, %u keys", bm_gguf_version(gguf), files, bm_plural(files),
              bm_gguf_num_values(gguf));
    print_text(gguf, "name", "general.name");
    print_text(gguf, "architecture", "general.architecture");
    if (model)
        cli_print_shape(model);
    else
        print_plain_shape(gguf);
    cli_print("  types         %s", bm_gguf_describe_types(gguf, false, types));
    cli_print("  tokenizer     %s", bm_gguf_describe_tokenizer(gguf, tokenizer));
    if (model)
        cli_print_limits(model);
    else
        cli_print("  note          %s", words->message);
    cli_print("  tensors       %u, %.2f MB", bm_gguf_num_tensors(gguf), (double)total_bytes(gguf) / 1e6);
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        bm_string shape = BM_STRING_INIT;
        char shown[BM_GGUF_MAX_NAME + 1];
        for (uint32_t d = 0; d < t->num_dims; d++) // row-major, as of other files
            (void)bm_string_append_format(&shape, "%s%" PRIu64, d ? ", " : "", t->dims[t->num_dims - 1 - d]);
        cli_print("    %-56s %-5s [%s]", bm_printable(t->name, strlen(t->name), shown, sizeof shown),
                  bm_gguf_layout_of(t->type)->name, bm_string_text(&shape));
        bm_string_free(&shape);
    }
}

static bm_status print_json(const bm_gguf *gguf, const bm_model *model, bm_error *err)
{
    bm_string text = BM_STRING_INIT;
    bm_json_writer w;
    char tokenizer[BM_GGUF_TOKENIZER_SIZE], types[BM_GGUF_TYPES_SIZE];
    const bm_gguf_string architecture = text_of(gguf, "general.architecture");
    bm_json_writer_init(&w, &text, 2);
    bm_json_begin_object(&w, NULL);
    bm_json_put_string(&w, "family", model ? model->config.model_type : NULL);
    bm_json_put_integer(&w, "parameters", (int64_t)(model ? model->num_parameters : num_elements(gguf)));
    bm_json_put_null(&w, "quantization"); // none that bitmill wrote
    bm_json_begin_object(&w, "gguf");
    bm_json_put_integer(&w, "version", bm_gguf_version(gguf));
    bm_json_put_integer(&w, "files", bm_gguf_num_files(gguf));
    bm_json_put_text(&w, "architecture", architecture.bytes ? architecture.bytes : "", architecture.length);
    bm_json_put_string(&w, "types", bm_gguf_describe_types(gguf, false, types));
    bm_json_put_string(&w, "tokenizer", bm_gguf_describe_tokenizer(gguf, tokenizer));
    bm_json_end_object(&w);
    bm_json_put_integer(&w, "bytes", (int64_t)total_bytes(gguf));
    bm_json_begin_array(&w, "tensors");
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_tensor *t = bm_gguf_tensor_at(gguf, i);
        bm_json_begin_object(&w, NULL);
        bm_json_put_string(&w, "name", t->name);
        bm_json_begin_array(&w, "shape");
        for (uint32_t d = t->num_dims; d-- > 0;)
            bm_json_put_integer(&w, NULL, (int64_t)t->dims[d]);
        bm_json_end_array(&w);
        bm_json_put_string(&w, "dtype", bm_gguf_layout_of(t->type)->name);
        bm_json_end_object(&w);
    }
    bm_json_end_array(&w);
    bm_json_end_object(&w);
    const bm_status status = cli_print_json(&text, err);
    bm_string_free(&text);
    return status;
}

int cli_inspect_gguf(cli_context *context, char *path)
{
    bm_error err = {0}, words = {0};
    bm_model *model = NULL;
    bm_gguf *own = NULL; // of a model that does not open
    bm_status status = bm_model_open(&model, path, &words);
    if (status == BM_E_UNSUPPORTED)
        status = bm_gguf_open(&own, path, &err);
    else
        err = words;
    if (status == BM_OK) {
        const bm_gguf *gguf = model ? bm_checkpoint_gguf(model->checkpoint) : own;
        if (context->json)
            status = print_json(gguf, model, &err);
        else
            print_people(gguf, model, &words);
    }
    bm_gguf_close(&own);
    bm_model_close(&model);
    bm_free(path);
    return status == BM_OK ? CLI_DONE : cli_fail(context, status, &err);
}
