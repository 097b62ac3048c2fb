// arguments_fixture: small parameter files for the tests of the room arguments.
#ifndef BM_TESTS_ARGUMENTS_FIXTURE_H
#define BM_TESTS_ARGUMENTS_FIXTURE_H

#include "arguments/arguments.h"

#include <string.h>

#define FIXTURE_NAME "job.json" // what errors of these files start with

// Keys that every parameter file needs, and one job.
#define MODEL_AND_DATA "\"model_name_or_path\":\"m\",\"output_dir\":\"o\",\"dataset_name_or_path\":\"d\""
#define NEEDED MODEL_AND_DATA ",\"do_ptq\":true"

// Reads { members } with up to one override (NULL: none).
static inline bm_status fixture_read(bm_arguments **out, const char *members, const char *override, bm_error *err)
{
    char *text = bm_format("{%s}", members);
    const bm_arguments_options options = {.overrides = &override, .num_overrides = override ? 1 : 0};
    const bm_status status = bm_arguments_read_text(out, text, strlen(text), FIXTURE_NAME, &options, err);
    bm_free(text);
    return status;
}

// The first note that contains words, or NULL.
static inline const bm_note *fixture_find_note(const bm_notes *notes, const char *words)
{
    for (uint32_t i = 0; i < notes->count; i++)
        if (strstr(notes->items[i].text, words))
            return &notes->items[i];
    return NULL;
}
static inline const bm_note *fixture_note(const bm_arguments *args, const char *words)
{
    return fixture_find_note(&args->notes, words);
}

#endif
