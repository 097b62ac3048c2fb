// What the files json_*.c share.
#ifndef BM_FORMATS_JSON_INTERNAL_H
#define BM_FORMATS_JSON_INTERNAL_H

#include "formats/json.h"

// The place of the quote that ends the string whose first character is text[at]; length when there is none.
size_t json_string_end(const char *text, size_t length, size_t at);
bool json_is_space(char c);

#endif
