// The few facts about Unicode that tokenizers need. Inputs are valid UTF-8 and code points.
#ifndef BM_TEXT_UNICODE_H
#define BM_TEXT_UNICODE_H

#include "base/base.h"
#include "base/str.h"

// Bytes of the character that begins with this byte, in valid UTF-8.
static inline uint32_t text_utf8_length(char first)
{
    const uint8_t byte = (uint8_t)first;
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

uint32_t text_utf8_decode(const char *text);                    // the code point at text, in valid UTF-8
uint32_t text_utf8_encode(uint32_t code_point, char out[4]);    // bytes written
size_t text_utf8_previous(const char *text, size_t position);   // start of the character before position > 0
size_t text_utf8_valid_length(const char *text, size_t length); // bytes of the longest valid prefix

bool text_is_white_space(uint32_t code_point); // property White_Space
bool text_is_number(uint32_t code_point);      // general category Nd, Nl or No
bool text_is_word(uint32_t code_point);        // \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control

// Appends text in normalization form C. Linear in the length: long runs of marks are sorted by counting, because the
// library's own sort of them is quadratic. Returns false when memory is used up.
bool text_append_nfc(bm_string *out, const char *text, size_t length);

#endif
