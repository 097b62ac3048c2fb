// libFuzzer: bytes as a chat template and a conversation behind it, split at zero bytes. Whatever parses must render, or
// fail with words of one line, in bounded time and memory.
#include "text/chat_template.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_MESSAGES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const roles[] = {"system", "user", "assistant", "user"};
    static const bm_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    bm_chat_message messages[MAX_MESSAGES];
    size_t num_messages = 0;
    const size_t length = strlen(text);
    for (size_t at = length + 1; at < size && num_messages < MAX_MESSAGES; at += strlen(text + at) + 1, num_messages++)
        messages[num_messages] = (bm_chat_message){roles[num_messages], text + at};
    if (num_messages == 0)
        messages[num_messages++] = (bm_chat_message){"user", "What is a fox?"};
    bm_error err = {BM_OK, ""};
    bm_chat_template *template = NULL;
    bm_string out = BM_STRING_INIT;
    bm_status status = bm_chat_template_parse(&template, text, length, "fuzz", &err);
    if (status == BM_OK)
        status = bm_chat_template_render(template, messages, num_messages, variables, 2, true, &out, &err);
    if (status != BM_OK && (err.message[0] == '\0' || strchr(err.message, '\n')))
        abort();
    if (status == BM_OK && !bm_utf8_is_valid(bm_string_text(&out), out.length))
        abort();
    bm_string_free(&out);
    bm_chat_template_close(&template);
    free(text);
    return 0;
}
