// The part of inspect that knows GGUF files, and what it shares with the other.
#ifndef BM_CLI_INSPECT_GGUF_H
#define BM_CLI_INSPECT_GGUF_H

#include "cli/cli.h"
#include "model/model.h"

// Prints what is in a file, takes over path. Of a model that is not built the metadata and the tensors are shown all the
// same. Returns the exit status.
int cli_inspect_gguf(cli_context *context, char *path);

// Family, attention, vocabulary and parameters, a line each; and what is odd about a model.
void cli_print_shape(const bm_model *model);
void cli_print_limits(const bm_model *model);

#endif
