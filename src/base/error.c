// Status names, error words, log lines.
#include "base/base.h"
#include "base/str.h"

#include <bitmill/bitmill.h>
#include <stdio.h>
#include <string.h>

const char *bm_version(void)
{
    return BITMILL_VERSION;
}

const char *bm_status_name(bm_status status)
{
    static const char *const names[] = {
        [BM_OK] = "ok",
        [BM_E_ARGUMENT] = "argument",
        [BM_E_FORMAT] = "format",
        [BM_E_IO] = "io",
        [BM_E_MEMORY] = "memory",
        [BM_E_DEVICE] = "device",
        [BM_E_UNSUPPORTED] = "unsupported",
        [BM_E_NUMERIC] = "numeric",
        [BM_E_CANCELLED] = "cancelled",
        [BM_E_INTERNAL] = "internal",
    };
    return (size_t)status < BM_COUNT(names) ? names[status] : "unknown";
}

bm_status bm_fail(bm_error *err, bm_status status, const char *format, ...)
{
    if (err) {
        va_list arguments;
        va_start(arguments, format);
        err->status = status;
        vsnprintf(err->message, sizeof err->message, format, arguments);
        va_end(arguments);
        bm_make_printable(err->message); // drivers' words hold newlines, names from files anything
    }
    return status;
}

void bm_error_prefix(bm_error *err, const char *format, ...)
{
    char message[BM_ERROR_MESSAGE_SIZE], prefix[BM_ERROR_MESSAGE_SIZE];
    if (!err)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(message, err->message, sizeof message);
    const size_t length = strlen(prefix) < sizeof prefix - 3 ? strlen(prefix) : sizeof prefix - 3;
    memcpy(err->message, prefix, length);
    memcpy(err->message + length, ": ", 2);
    const size_t room = sizeof err->message - length - 3;
    const size_t rest = strlen(message) < room ? strlen(message) : room;
    memcpy(err->message + length + 2, message, rest);
    err->message[length + 2 + rest] = '\0';
    bm_make_printable(err->message);
}

void bm_log_write(const bm_log *log, bm_log_level level, const char *format, ...)
{
    char line[2048];
    if (!log || !log->write || level > log->level)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    bm_make_printable(line);
    log->write(log->user, level, line);
}
