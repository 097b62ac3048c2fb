// Child processes; the path of this program and what its processor can do.
#ifndef BM_BASE_PROCESS_H
#define BM_BASE_PROCESS_H

#include "base/base.h"
#include "base/str.h"

typedef struct bm_process_params {
    const char *program;            // path of the program
    const char *const *arguments;   // NULL-terminated, without the program's name
    const char *const *environment; // "NAME=value", NULL-terminated: replaces or adds to this process's; may be NULL
    uint64_t max_output_bytes;      // output beyond it is read and dropped
} bm_process_params;

// Runs a program, appends its standard output to output and waits for its end. It shares our standard error. No shell
// is involved: arguments are passed as they are.
// Errors: BM_E_IO when it cannot be started or was ended by a signal; a non-zero exit status is no error.
bm_status bm_process_run(const bm_process_params *params, bm_string *output, int *exit_status, bm_error *err);

// Makes sure that standard input, output and error are open, before any file is: a file would take the number of one that
// is closed, and what is printed would land in it. What was closed fails when it is used, as before. False: it cannot be
// done, and no file may be opened. On Windows files have no such numbers.
bool bm_process_open_standard_streams(void);

// The handler of a signal from now on. What whoever started this process had ignored stays ignored: nohup, and shells that
// run a job in the background. Some systems forget the handler when it is called: it may call this again.
void bm_process_take_signal(int signal_number, void (*handler)(int));

// The handlers of the signals INT, TERM, HUP and XFSZ as they are now, and these again. Between them code of others runs that
// sets its own: compilers in drivers do, to remove their files, and such a handler takes no second signal. NULL: no memory, or
// a system without them; restoring does nothing then.
typedef struct bm_process_handlers bm_process_handlers;
bm_process_handlers *bm_process_keep_handlers(void);
void bm_process_restore_handlers(bm_process_handlers **kept);

// Columns of the terminal behind a standard stream (0 input, 1 output, 2 error); 80 where it does not say; 0: no terminal.
uint32_t bm_process_terminal_columns(int stream);

// Physical memory of this machine, or as much of it as this process may use, if that is less; 0: unknown.
uint64_t bm_process_memory_bytes(void);
// From now on what is freed in pieces of a MiB or more goes back to the system at once, instead of staying with the allocator for later,
// where some pieces lie scattered between others: a bound on the process's memory is one on what lies there too. Costs time: memory is
// new each time. Other systems do so anyway, or know no such setting.
void bm_process_return_memory(void);
// What control groups of Linux let it use, of either version; UINT64_MAX: no limit. How much of that is in use does not count:
// most is files that were read, which make room. groups: as /proc/self/cgroup; root: as /sys/fs/cgroup.
uint64_t bm_process_memory_limit(const char *groups, const char *root);
// Whether the controllers of a line of that file, words between commas, are memory's.
bool bm_control_group_names_memory(const char *words);

// The path of the running program; bm_free it. NULL: unknown or no memory.
char *bm_process_own_path(void);

// True when this processor and system run AVX-512 code (F, DQ, BW, VL). False on others than x86.
bool bm_processor_has_avx512(void);

#endif
