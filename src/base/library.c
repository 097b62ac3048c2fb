// Shared libraries found at run time.
#include "base/library.h"

#include <string.h>

#ifdef _WIN32
#include <windows.h>

struct bm_library {
    HMODULE handle;
};

static void *open_one(const char *name, char *words, size_t size)
{
    HMODULE handle = LoadLibraryA(name);
    if (!handle)
        FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, GetLastError(), 0, words,
                       (DWORD)size, NULL);
    return (void *)handle;
}

bm_library_function bm_library_symbol(bm_library *library, const char *name)
{
    FARPROC symbol = GetProcAddress(library->handle, name);
    bm_library_function function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static void close_one(bm_library *library)
{
    FreeLibrary(library->handle);
}
#else
#include <dlfcn.h>
#include <stdio.h>

struct bm_library {
    void *handle;
};

static void *open_one(const char *name, char *words, size_t size)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        snprintf(words, size, "%s", dlerror());
    return handle;
}

bm_library_function bm_library_symbol(bm_library *library, const char *name)
{
    void *symbol = dlsym(library->handle, name);
    bm_library_function function;
    memcpy(&function, &symbol, sizeof function); // a data pointer may not be cast to a function pointer in ISO C
    return function;
}

static void close_one(bm_library *library)
{
    dlclose(library->handle);
}
#endif

bm_status bm_library_open(bm_library **out, const char *const *names, bm_error *err)
{
    char words[512] = "no name given";
    bm_library *library = bm_alloc_zero(1, sizeof *library);
    if (!library)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (; *names && !library->handle; names++)
        library->handle = open_one(*names, words, sizeof words);
    if (!library->handle) {
        bm_free(library);
        return bm_fail(err, BM_E_DEVICE, "%s", words);
    }
    *out = library;
    return BM_OK;
}

void bm_library_close(bm_library **library)
{
    if (!library || !*library)
        return;
    close_one(*library);
    bm_free(*library);
    *library = NULL;
}
