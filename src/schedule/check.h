// What is found out about arguments before any work: can this version do what they ask for, and is what they name there?
#ifndef BM_SCHEDULE_CHECK_H
#define BM_SCHEDULE_CHECK_H

#include "arguments/arguments.h"

// Of keys with a list of values, those that this version can do; ended by a NULL key. For bm_arguments_options.
extern const bm_key_words bm_built_values[];

// Refuses by name, with BM_E_UNSUPPORTED, the first thing in args that this version cannot do.
bm_status bm_check_built(const bm_arguments *args, bm_error *err);

// Looks at the disk: model folder, data, output folder. Errors: BM_E_ARGUMENT naming key and path; BM_E_IO for a
// config.json that cannot be opened, and those of bm_output_check.
bm_status bm_check_paths(const bm_arguments *args, bm_error *err);

// Whether the data named are a file, or a folder with a part for calibration.
bool bm_has_calibration_data(const bm_arguments *args);
// Whether calibration is the program's own idea, so that without data, or a model to run them through, it does without.
bool bm_calibration_is_optional(const bm_arguments *args);

#endif
