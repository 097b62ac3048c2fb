// The table of methods.
#include "quant/method.h"

#include <string.h>

static const bm_method *const methods[] = {&bm_method_rtn, &bm_method_gptq};

const bm_method *bm_method_find(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(methods); i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}
