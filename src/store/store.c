// The table of formats.
#include "store/store.h"

#include <string.h>

static const bm_store_format *const formats[] = {&bm_store_compressed_tensors};

const bm_store_format *bm_store_find(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}
