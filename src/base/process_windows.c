// Child processes on Windows. Empty elsewhere.
#ifdef _WIN32
#include "base/process.h"

#include <io.h>
#include <signal.h>
#include <string.h>
#include <windows.h>

static wchar_t *wide(const char *text)
{
    const int count = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *out = count > 0 ? bm_alloc((uint64_t)count, sizeof *out) : NULL;
    if (out)
        MultiByteToWideChar(CP_UTF8, 0, text, -1, out, count);
    return out;
}

// Appends one word so that CommandLineToArgvW reads it back: quotes around it, backslashes doubled before a quote.
static void append_word(bm_string *line, const char *word)
{
    (void)bm_string_append(line, line->length > 0 ? " \"" : "\"");
    for (const char *at = word;; at++) {
        size_t slashes = 0;
        for (; *at == '\\'; at++)
            slashes++;
        for (size_t i = 0; i < (*at == '"' || *at == '\0' ? 2 * slashes : slashes); i++)
            (void)bm_string_append(line, "\\");
        if (*at == '\0')
            break;
        if (*at == '"')
            (void)bm_string_append(line, "\\");
        (void)bm_string_append_bytes(line, at, 1);
    }
    (void)bm_string_append(line, "\"");
}

static bool is_replaced(const wchar_t *entry, wchar_t *const *replacements, size_t count)
{
    const wchar_t *equals = wcschr(entry + 1, L'='); // names such as "=C:" begin with one
    const size_t length = equals ? (size_t)(equals - entry) + 1 : wcslen(entry);
    for (size_t i = 0; i < count; i++)
        if (_wcsnicmp(entry, replacements[i], length) == 0)
            return true;
    return false;
}

// The environment block of the child: texts one behind another, an empty one at the end. bm_free it.
static wchar_t *make_environment(const char *const *added)
{
    wchar_t *replacements[8] = {0}, *block = NULL, *ours = GetEnvironmentStringsW();
    size_t count = 0, length = 1;
    while (added && added[count] && count < BM_COUNT(replacements)) {
        replacements[count] = wide(added[count]);
        if (!replacements[count])
            goto done;
        length += wcslen(replacements[count++]) + 1;
    }
    if (!ours)
        goto done;
    for (const wchar_t *at = ours; *at; at += wcslen(at) + 1)
        length += wcslen(at) + 1;
    block = bm_alloc_zero(length, sizeof *block);
    if (!block)
        goto done;
    wchar_t *to = block;
    for (const wchar_t *at = ours; *at; at += wcslen(at) + 1)
        if (!is_replaced(at, replacements, count)) {
            memcpy(to, at, (wcslen(at) + 1) * sizeof *at);
            to += wcslen(at) + 1;
        }
    for (size_t i = 0; i < count; i++) {
        memcpy(to, replacements[i], (wcslen(replacements[i]) + 1) * sizeof *to);
        to += wcslen(replacements[i]) + 1;
    }
done:
    for (size_t i = 0; i < count; i++)
        bm_free(replacements[i]);
    if (ours)
        FreeEnvironmentStringsW(ours);
    return block;
}

bm_status bm_process_run(const bm_process_params *params, bm_string *output, int *exit_status, bm_error *err)
{
    bm_status status = BM_OK;
    HANDLE reader = NULL, writer = NULL;
    PROCESS_INFORMATION child = {0};
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    bm_string line = BM_STRING_INIT;
    uint64_t kept = 0;
    DWORD code = 0;
    wchar_t *words = NULL, *program = wide(params->program), *environment = make_environment(params->environment);
    append_word(&line, params->program);
    for (const char *const *a = params->arguments; a && *a; a++)
        append_word(&line, *a);
    words = line.failed ? NULL : wide(bm_string_text(&line));
    BM_FAIL_IF(!words || !program || !environment, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(!CreatePipe(&reader, &writer, &inherit, 0) || !SetHandleInformation(reader, HANDLE_FLAG_INHERIT, 0), err,
               BM_E_IO, "%s: no pipe (error %lu)", params->program, GetLastError());
    startup.hStdOutput = writer;
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    BM_FAIL_IF(!CreateProcessW(program, words, NULL, NULL, TRUE, CREATE_UNICODE_ENVIRONMENT, environment, NULL,
                               &startup, &child),
               err, BM_E_IO, "%s: cannot be started (error %lu)", params->program, GetLastError());
    CloseHandle(writer);
    writer = NULL;
    for (;;) {
        char block[4096];
        DWORD got = 0;
        if (!ReadFile(reader, block, sizeof block, &got, NULL) || got == 0)
            break; // the child's end is closed
        const uint64_t keep = bm_min_u64(got, params->max_output_bytes - kept);
        kept += keep;
        BM_FAIL_IF(!bm_string_append_bytes(output, block, (size_t)keep), err, BM_E_MEMORY, "out of memory");
    }
    WaitForSingleObject(child.hProcess, INFINITE);
    if (GetExitCodeProcess(child.hProcess, &code))
        *exit_status = (int)code;
done:
    if (reader)
        CloseHandle(reader);
    if (writer)
        CloseHandle(writer);
    if (child.hProcess) {
        CloseHandle(child.hProcess);
        CloseHandle(child.hThread);
    }
    bm_string_free(&line);
    bm_free(words);
    bm_free(program);
    bm_free(environment);
    return status;
}

bool bm_process_open_standard_streams(void)
{
    return true;
}

void bm_process_take_signal(int signal_number, void (*handler)(int))
{
    if (signal(signal_number, handler) == SIG_IGN)
        signal(signal_number, SIG_IGN);
}

bm_process_handlers *bm_process_keep_handlers(void)
{
    return NULL;
}

void bm_process_restore_handlers(bm_process_handlers **kept)
{
    (void)kept;
}

void bm_process_return_memory(void) {} // large pieces are the system's own

uint32_t bm_process_terminal_columns(int stream)
{
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (!_isatty(stream))
        return 0;
    const HANDLE console = GetStdHandle(stream == 0   ? STD_INPUT_HANDLE
                                        : stream == 1 ? STD_OUTPUT_HANDLE
                                                      : STD_ERROR_HANDLE);
    const bool known = GetConsoleScreenBufferInfo(console, &info) && info.srWindow.Right >= info.srWindow.Left;
    return known ? (uint32_t)(info.srWindow.Right - info.srWindow.Left + 1) : 80;
}

uint64_t bm_process_memory_bytes(void)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : 0;
}

char *bm_process_own_path(void)
{
    wchar_t path[4096];
    const DWORD length = GetModuleFileNameW(NULL, path, (DWORD)BM_COUNT(path));
    if (length == 0 || length == BM_COUNT(path))
        return NULL;
    const int count = WideCharToMultiByte(CP_UTF8, 0, path, -1, NULL, 0, NULL, NULL);
    char *out = count > 0 ? bm_alloc((uint64_t)count, 1) : NULL;
    if (out)
        WideCharToMultiByte(CP_UTF8, 0, path, -1, out, count, NULL, NULL);
    return out;
}

#else
typedef int bm_process_windows_is_empty; // ISO C wants a declaration
#endif
