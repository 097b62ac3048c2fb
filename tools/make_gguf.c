// make_gguf: a folder that make_model wrote, or the example model, as a GGUF file: for trials without llama.cpp's converter.
// Its tokenizer.json goes along whole (tokenizer.huggingface.json).
//
//   make_gguf MODEL OUT.gguf TYPE     TYPE of matrices: F32, F16, BF16 or Q8_0
#include "support/folders.h"
#include "support/gguf_maker.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static void add_tokenizer(gguf_maker *extra, const char *model)
{
    char *text = NULL, *path = bm_path_join(model, "tokenizer.json");
    uint64_t size = 0;
    gguf_maker_init(extra);
    if (path && bm_file_read_all(path, UINT64_C(64) << 20, &text, &size, NULL) == BM_OK)
        gguf_maker_add_string(extra, "tokenizer.huggingface.json", text);
    bm_free(text);
    bm_free(path);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t type;
    } types[] = {{"F32", 0}, {"F16", 1}, {"Q8_0", 8}, {"BF16", 30}};
    for (size_t i = 0; argc == 4 && i < BM_COUNT(types); i++) {
        if (strcmp(argv[3], types[i].name) != 0)
            continue;
        gguf_maker extra;
        add_tokenizer(&extra, argv[1]);
        char *folder = bm_string_copy(argv[2]);
        folder[bm_path_base_name(argv[2]) - argv[2]] = '\0';
        bm_free(
            gguf_maker_convert(argv[1], types[i].type, &extra, folder[0] ? folder : ".", bm_path_base_name(argv[2])));
        gguf_maker_free(&extra);
        bm_free(folder);
        return 0;
    }
    fprintf(stderr, "make_gguf MODEL OUT.gguf F32|F16|BF16|Q8_0\n");
    return 2;
}
