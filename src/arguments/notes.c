// Notes: lines on what was accepted, kept for the log and for bitmill.json.
#include "arguments/keys.h"

#include <stdio.h>
#include <string.h>

// Longer notes are cut.
#define NOTE_SIZE 512

static void note_append(bm_arguments *args, bool is_choice, const char *format, va_list values)
{
    char line[NOTE_SIZE];
    vsnprintf(line, sizeof(line), format, values);
    bm_arguments_note *notes = bm_resize(args->notes, (uint64_t)args->num_notes + 1, sizeof(*notes));
    char *text = bm_string_copy(line);
    if (notes)
        args->notes = notes;
    if (!notes || !text) {
        bm_free(text);
        args->out_of_memory = true;
        return;
    }
    notes[args->num_notes++] = (bm_arguments_note){.text = text, .is_choice = is_choice};
}

void note_add(bm_arguments *args, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    note_append(args, false, format, values);
    va_end(values);
}

void note_choice(bm_arguments *args, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    note_append(args, true, format, values);
    va_end(values);
}

bm_status bm_arguments_add_note(bm_arguments *args, bm_error *err, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    note_append(args, false, format, values);
    va_end(values);
    if (args->out_of_memory)
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", args->source_name);
    if (args->strict)
        return bm_fail(err, BM_E_ARGUMENT, "%s: " STRICT_WORDS "%s", args->source_name,
                       args->notes[args->num_notes - 1].text);
    return BM_OK;
}
