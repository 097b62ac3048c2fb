// Child processes on POSIX systems. Empty on Windows.
#ifndef _WIN32
#ifdef __APPLE__
#define _DARWIN_C_SOURCE // TIOCGWINSZ, _SC_PHYS_PAGES
#include <mach-o/dyld.h>
#endif
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#ifdef __linux__
#include <malloc.h>
#endif
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// True when entry ("NAME=value") is given a new value by one of replacements.
static bool is_replaced(const char *entry, const char *const *replacements)
{
    const char *equals = strchr(entry, '=');
    const size_t length = equals ? (size_t)(equals - entry) + 1 : strlen(entry);
    for (; replacements && *replacements; replacements++)
        if (strlen(*replacements) >= length && memcmp(entry, *replacements, length) == 0)
            return true;
    return false;
}

// The list of pointers for the child: borrowed texts, bm_free the list.
static const char **make_environment(const char *const *replacements)
{
    size_t count = 0, added = 0;
    while (environ[count])
        count++;
    while (replacements && replacements[added])
        added++;
    const char **out = bm_alloc(count + added + 1, sizeof *out);
    if (!out)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_replaced(environ[i], replacements))
            out[n++] = environ[i];
    for (size_t i = 0; i < added; i++)
        out[n++] = replacements[i];
    out[n] = NULL;
    return out;
}

static bm_status read_all(int descriptor, const bm_process_params *params, bm_string *output, bm_error *err)
{
    uint64_t kept = 0;
    char block[4096];
    for (;;) {
        const ssize_t got = read(descriptor, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return bm_fail(err, BM_E_IO, "%s: cannot read its output (error %d)", params->program, errno);
        if (got == 0)
            return BM_OK;
        const uint64_t keep = bm_min_u64((uint64_t)got, params->max_output_bytes - kept);
        kept += keep;
        if (!bm_string_append_bytes(output, block, (size_t)keep))
            return bm_fail(err, BM_E_MEMORY, "out of memory");
    }
}

bm_status bm_process_run(const bm_process_params *params, bm_string *output, int *exit_status, bm_error *err)
{
    bm_status status = BM_OK;
    int ends[2] = {-1, -1}, code = 0;
    pid_t child = -1;
    size_t count = 0;
    bool have_actions = false;
    posix_spawn_file_actions_t actions;
    while (params->arguments && params->arguments[count])
        count++;
    const char **arguments = bm_alloc(count + 2, sizeof *arguments);
    const char **environment = make_environment(params->environment);
    BM_FAIL_IF(!arguments || !environment, err, BM_E_MEMORY, "out of memory");
    arguments[0] = params->program;
    for (size_t i = 0; i < count; i++)
        arguments[i + 1] = params->arguments[i];
    arguments[count + 1] = NULL;

    BM_FAIL_IF(pipe(ends) != 0, err, BM_E_IO, "%s: no pipe (error %d)", params->program, errno);
    have_actions = posix_spawn_file_actions_init(&actions) == 0;
    BM_FAIL_IF(!have_actions || posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) != 0 ||
                   posix_spawn_file_actions_addclose(&actions, ends[0]) != 0 ||
                   posix_spawn_file_actions_addclose(&actions, ends[1]) != 0,
               err, BM_E_MEMORY, "out of memory");
    union {
        const char **ours;
        char **theirs; // posix_spawn does not change them: its type is older than const
    } argv = {arguments}, envp = {environment};
    code = posix_spawn(&child, params->program, &actions, NULL, argv.theirs, envp.theirs);
    BM_FAIL_IF(code != 0, err, BM_E_IO, "%s: cannot be started (error %d)", params->program, code);
    close(ends[1]);
    ends[1] = -1;
    BM_TRY(read_all(ends[0], params, output, err));
done:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (child > 0) {
        while (waitpid(child, &code, 0) < 0 && errno == EINTR)
            continue;
        if (status == BM_OK && !WIFEXITED(code))
            status = bm_fail(err, BM_E_IO, "%s: was ended by signal %d", params->program,
                             WIFSIGNALED(code) ? WTERMSIG(code) : 0);
        else if (status == BM_OK)
            *exit_status = WEXITSTATUS(code);
    }
    if (have_actions)
        posix_spawn_file_actions_destroy(&actions);
    bm_free(arguments);
    bm_free(environment);
    return status;
}

bool bm_process_open_standard_streams(void)
{
    for (int stream = 0; stream < 3; stream++) {
        if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF)
            continue;
        // The lowest free number is taken: this one. Opened the wrong way round, so that its use still fails.
        if (open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY) != stream)
            return false;
    }
    return true;
}

// Not by signal(), which here may take the handler away until it is set again: a second signal at once would kill.
void bm_process_take_signal(int signal_number, void (*handler)(int))
{
    struct sigaction old, action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    if (sigaction(signal_number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(signal_number, &action, NULL);
}

static const int kept_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGXFSZ};

struct bm_process_handlers {
    struct sigaction actions[BM_COUNT(kept_signals)];
};

bm_process_handlers *bm_process_keep_handlers(void)
{
    bm_process_handlers *kept = bm_alloc_zero(1, sizeof *kept);
    for (size_t i = 0; kept && i < BM_COUNT(kept_signals); i++)
        sigaction(kept_signals[i], NULL, &kept->actions[i]);
    return kept;
}

void bm_process_restore_handlers(bm_process_handlers **kept)
{
    for (size_t i = 0; *kept && i < BM_COUNT(kept_signals); i++)
        sigaction(kept_signals[i], &(*kept)->actions[i], NULL);
    bm_free(*kept);
    *kept = NULL;
}

// glibc takes pieces of up to 32 MiB from its heap once such a piece was freed, unless it is told a size.
void bm_process_return_memory(void)
{
#ifdef M_MMAP_THRESHOLD
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

uint32_t bm_process_terminal_columns(int stream)
{
    struct winsize size = {0};
    if (!isatty(stream))
        return 0;
    return ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

uint64_t bm_process_memory_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? bm_min_u64((uint64_t)pages * (uint64_t)page_bytes,
                                                    bm_process_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup"))
                                       : 0;
}

char *bm_process_own_path(void)
{
    char path[4096];
#ifdef __APPLE__
    uint32_t size = sizeof path;
    return _NSGetExecutablePath(path, &size) == 0 ? bm_string_copy(path) : NULL;
#else
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    return bm_string_copy(path);
#endif
}

#else
typedef int bm_process_posix_is_empty; // ISO C wants a declaration
#endif
