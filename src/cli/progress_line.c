// Progress on standard error. On a terminal one line is redrawn in place, so it must fit the terminal's width: a line that
// wraps cannot be redrawn. Elsewhere a phase is named when it starts, and a long one shows a sign of life now and then.
#include "cli/cli.h"

#include "base/clock.h"
#include "base/process.h"

#include <stdio.h>
#include <string.h>

#define REDRAW_NS UINT64_C(100000000)         // ten times a second
#define SIGN_OF_LIFE_NS UINT64_C(10000000000) // every ten seconds, where no line is redrawn

enum { STANDARD_ERROR = 2, LINE_SIZE = 512 };

void cli_progress_words(const bm_progress_report *r, uint32_t columns, char *out, size_t size)
{
    char block[64] = "", amount[2][128] = {"", ""}, rate[64] = "", left[64] = "";
    const int percent = r->total > 0 ? (int)(100.0 * (double)r->done / (double)r->total) : 0;
    if (r->num_blocks > 0)
        snprintf(block, sizeof block, ", block %u of %u", r->block + 1, r->num_blocks);
    if (r->total > 0) {
        snprintf(amount[0], sizeof amount[0], ", %llu of %llu %s (%d %%)", (unsigned long long)r->done,
                 (unsigned long long)r->total, r->unit ? r->unit : "", percent);
        snprintf(amount[1], sizeof amount[1], ", %d %%", percent);
    }
    if (r->tokens_per_second > 0)
        snprintf(rate, sizeof rate, ", %.0f tokens/s", r->tokens_per_second);
    if (r->seconds_left >= 0)
        snprintf(left, sizeof left, ", %.0f s left", r->seconds_left);
    // The short form where the long one is too wide; what is still too wide is cut.
    for (int form = 0; form < 2; form++) {
        const int length = snprintf(out, size, "%s%s%s%s%s", r->phase, block, amount[form], rate, left);
        if (length >= 0 && (uint32_t)length <= columns)
            return;
    }
    if (columns < size)
        out[columns] = '\0';
}

void cli_end_progress(cli_context *context)
{
    if (context->progress_open)
        fputc('\n', stderr);
    context->progress_open = false;
}

void cli_erase_progress(cli_context *context)
{
    if (!context->progress_open)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    context->progress_open = false;
    context->last_progress_ns = 0; // the next report is drawn
}

int cli_report_progress(void *user, const bm_progress_report *report)
{
    cli_context *context = user;
    char line[LINE_SIZE];
    const uint64_t now = bm_clock_ns();
    const bool is_new = strcmp(context->last_phase, report->phase) != 0;
    const bool is_complete = report->total > 0 && report->done >= report->total;
    if (context->quiet)
        return !cli_interrupted();
    if (is_new) {
        cli_end_progress(context);
        snprintf(context->last_phase, sizeof context->last_phase, "%s", report->phase);
        context->phase_complete = false;
    }
    const uint32_t columns = context->stderr_is_terminal ? bm_process_terminal_columns(STANDARD_ERROR) : 0;
    if (columns == 0) {
        if (is_new) {
            fprintf(stderr, "%s ...\n", report->phase);
            context->last_progress_ns = now;
        } else if (now - context->last_progress_ns >= SIGN_OF_LIFE_NS) {
            cli_progress_words(report, LINE_SIZE - 1, line, sizeof line);
            fprintf(stderr, "%s\n", line);
            context->last_progress_ns = now;
        }
    } else if (is_new || (is_complete && !context->phase_complete) ||
               (!is_complete && now - context->last_progress_ns >= REDRAW_NS)) {
        // The last column stays free: some terminals wrap once it is filled.
        cli_progress_words(report, columns - 1, line, sizeof line);
        fprintf(stderr, "\r\033[K%s", line);
        fflush(stderr);
        context->progress_open = true;
        context->last_progress_ns = now;
        context->phase_complete = is_complete;
    }
    return !cli_interrupted();
}
