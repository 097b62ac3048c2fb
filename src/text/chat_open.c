// The life of a template: read, parsed once, run as often as wanted.
#include "text/chat_internal.h"

#include "base/file.h"
#include "formats/gguf.h"
#include "formats/gguf_locate.h"
#include "formats/json.h"

#include <string.h>

#define MAX_CONFIG_BYTES (UINT64_C(16) << 20)

bm_status bm_chat_template_parse(bm_chat_template **out, const char *text, size_t length, const char *name,
                                 bm_error *err)
{
    bm_status status = BM_OK;
    bm_chat_template *template = bm_alloc_zero(1, sizeof *template);
    BM_FAIL_IF(!template, err, BM_E_MEMORY, "%s: out of memory", name);
    template->arena.limit = CHAT_MAX_MEMORY;
    template->name = bm_format("%s: chat template", name);
    BM_FAIL_IF(length > CHAT_MAX_BYTES, err, BM_E_FORMAT, "%s: chat template: %zu bytes, expected at most %zu", name,
               length, CHAT_MAX_BYTES);
    BM_FAIL_IF(!bm_utf8_is_valid(text, length) || memchr(text, 0, length), err, BM_E_FORMAT,
               "%s: chat template: expected valid UTF-8 without zero bytes", name);
    template->source = bm_alloc(length + 1, 1);
    BM_FAIL_IF(!template->name || !template->source, err, BM_E_MEMORY, "%s: out of memory", name);
    size_t kept = 0; // line breaks of Windows and old Macs are "\n"
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n' && i > 0 && text[i - 1] == '\r')
            continue;
        template->source[kept++] = text[i] == '\r' ? '\n' : text[i];
    }
    template->source[kept] = '\0';
    BM_FAIL_IF(strspn(template->source, " \t\n") == kept, err, BM_E_FORMAT,
               "%s: chat template: found %zu bytes of nothing but white space, expected a template of Jinja", name,
               length);
    BM_TRY(chat_parse_source(template, err));
    *out = template;
    template = NULL;
done:
    bm_chat_template_close(&template);
    return status;
}

void bm_chat_template_close(bm_chat_template **address)
{
    bm_chat_template *template = *address;
    if (!template)
        return;
    chat_arena_free(&template->arena);
    bm_free(template->name);
    bm_free(template->source);
    bm_free(template);
    *address = NULL;
}

// The key of transformers' files: a text, or a list of {"name", "template"} of which "default" is taken.
static bm_status choose_text(const bm_json *config, const char *path, const char **out, bm_error *err)
{
    char found[BM_JSON_FOUND_SIZE];
    const bm_json *value = bm_json_find(config, "chat_template");
    *out = NULL;
    if (!value || bm_json_kind_of(value) == BM_JSON_NULL)
        return BM_OK;
    if (bm_json_kind_of(value) == BM_JSON_ARRAY) {
        const bm_json *item = bm_json_first(value);
        for (; item; item = bm_json_next(item)) {
            const char *name = NULL;
            if (bm_json_kind_of(item) != BM_JSON_OBJECT ||
                bm_json_get_string(item, "name", "", &name, path, err) != BM_OK)
                break;
            if (strcmp(name, "default") == 0)
                return bm_json_get_string(item, "template", NULL, out, path, err);
        }
        return bm_fail(err, BM_E_FORMAT, "%s: key \"chat_template\": expected a template with the name \"default\"",
                       path);
    }
    if (bm_json_kind_of(value) != BM_JSON_STRING)
        return bm_fail(err, BM_E_FORMAT, "%s: key \"chat_template\": expected a string, found %s", path,
                       bm_json_found(value, found, sizeof found));
    *out = bm_json_string(value);
    return BM_OK;
}

// Of a JSON file; *text stays NULL where it has none.
static bm_status read_key(const char *path, char **text, uint64_t *length, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *config = NULL;
    const char *chosen = NULL;
    BM_TRY(bm_json_read_file(&config, path, MAX_CONFIG_BYTES, err));
    BM_FAIL_IF(bm_json_kind_of(config) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: expected an object", path);
    BM_TRY(choose_text(config, path, &chosen, err));
    if (chosen) {
        *text = bm_string_copy(chosen);
        BM_FAIL_IF(!*text, err, BM_E_MEMORY, "%s: out of memory", path);
        *length = strlen(chosen);
    }
done:
    bm_json_destroy(&config);
    return status;
}

static bm_status read_file(const char *path, char **text, uint64_t *length, bm_error *err)
{
    return bm_ends_with(path, ".json") ? read_key(path, text, length, err)
                                       : bm_file_read_all(path, CHAT_MAX_BYTES, text, length, err);
}

static const char *const source_names[] = {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"};

bm_status bm_chat_source_find(const char *folder, bm_chat_source *out, bm_error *err)
{
    *out = (bm_chat_source){0};
    for (size_t i = 0; i < BM_COUNT(source_names); i++) {
        char *path = bm_path_join(folder, source_names[i]);
        bm_status status = path ? BM_OK : bm_fail(err, BM_E_MEMORY, "%s: out of memory", folder);
        if (path && bm_path_kind_of(path) == BM_PATH_FILE)
            status = read_file(path, &out->text, &out->length, err);
        if (out->text)
            out->path = path;
        else
            bm_free(path);
        if (out->text || status != BM_OK)
            return status;
    }
    return BM_OK;
}

void bm_chat_source_free(bm_chat_source *source)
{
    bm_free(source->text);
    bm_free(source->path);
    *source = (bm_chat_source){0};
}

// The template inside a GGUF file, or in that of a folder without files of its own.
static bm_status open_gguf(bm_chat_template **out, const char *path, bm_error *err)
{
    bm_gguf *gguf = NULL;
    bm_gguf_string text = {NULL, 0};
    char *name = bm_format("%s: key \"tokenizer.chat_template\"", path);
    bm_status status = name ? bm_gguf_open(&gguf, path, err) : bm_fail(err, BM_E_MEMORY, "out of memory");
    if (status == BM_OK)
        status = bm_gguf_get_string(gguf, "tokenizer.chat_template", &text, err);
    if (status == BM_OK && text.bytes)
        status = bm_chat_template_parse(out, text.bytes, (size_t)text.length, name, err);
    bm_free(name);
    bm_gguf_close(&gguf);
    return status;
}

// Whether a folder's own files are to be asked.
static bool has_own_files(const char *folder)
{
    bool has = false;
    for (size_t i = 0; i < BM_COUNT(source_names) && !has; i++) {
        char *path = bm_path_join(folder, source_names[i]);
        has = path && bm_path_kind_of(path) == BM_PATH_FILE;
        bm_free(path);
    }
    return has;
}

bm_status bm_chat_template_open(bm_chat_template **out, const char *folder_or_file, bm_error *err)
{
    bm_status status = BM_OK;
    const bool is_folder = bm_path_kind_of(folder_or_file) == BM_PATH_FOLDER;
    char *gguf_path = NULL;
    bm_chat_source source = {0};
    *out = NULL;
    if (!is_folder || !has_own_files(folder_or_file))
        BM_TRY(bm_gguf_locate(folder_or_file, &gguf_path, err));
    if (gguf_path) {
        BM_TRY(open_gguf(out, gguf_path, err));
        goto done;
    }
    if (is_folder) {
        BM_TRY(bm_chat_source_find(folder_or_file, &source, err));
    } else {
        BM_TRY(read_file(folder_or_file, &source.text, &source.length, err));
        BM_FAIL_IF(!source.text, err, BM_E_FORMAT,
                   "%s: expected the key \"chat_template\", a template of Jinja (PaddleNLP's templates, with the keys "
                   "\"conversation\" and \"query\", are not read)",
                   folder_or_file);
    }
    if (source.text)
        BM_TRY(
            bm_chat_template_parse(out, source.text, source.length, source.path ? source.path : folder_or_file, err));
done:
    bm_chat_source_free(&source);
    bm_free(gguf_path);
    return status;
}
