// OpenBLAS as the yardstick of products on CPU devices. It chooses its kernels when it is loaded, by the processor and by
// OPENBLAS_CORETYPE, so each setting gets a process of its own. Debian 12's version does not know recent processors and then
// takes AVX2 kernels, half as fast: with AVX-512 here, SkylakeX is measured too, and the faster one counts.
#include "base/clock.h"
#include "base/library.h"
#include "base/process.h"
#include "bench/benchmark.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 }; // cblas.h
typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef char *(*corename_function)(void);

static const char *const library_names[] = {
#if defined(_WIN32)
    "libopenblas.dll",
#elif defined(__APPLE__)
    "libopenblas.dylib",
#else
    "libopenblas.so.0",
#endif
    NULL};

// In [-1, 1), in steps of 1/64.
static float element(uint32_t i)
{
    i = (i + 1) * 2654435761u;
    return (float)((int)(i >> 16 & 127) - 64) / 64.0f;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Samples against sums in double.
static bool is_right(const float *a, const float *b, const float *c, uint64_t m, uint64_t n, uint64_t k)
{
    for (uint64_t s = 0; s < 64; s++) {
        const uint64_t i = s * 7919 % m, j = s * 104729 % n;
        double sum = 0, magnitude = 0;
        for (uint64_t l = 0; l < k; l++) {
            sum += (double)a[i * k + l] * (double)b[j * k + l];
            magnitude += fabs((double)a[i * k + l] * (double)b[j * k + l]);
        }
        if (!(fabs((double)c[i * n + j] - sum) <= (double)k * 0x1p-24 * magnitude))
            return false;
    }
    return true;
}

bm_status bm_yardstick_child(uint32_t m, uint32_t n, uint32_t k, char out[128], bm_error *err)
{
    bm_status status = BM_OK;
    bm_library *library = NULL;
    sgemm_function sgemm = NULL;
    corename_function corename = NULL;
    double times[7] = {0};
    float *a = bm_alloc((uint64_t)m * k, sizeof *a), *b = bm_alloc((uint64_t)n * k, sizeof *b);
    float *c = bm_alloc((uint64_t)m * n, sizeof *c);
    BM_FAIL_IF(!a || !b || !c, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_library_open(&library, library_names, err));
    const bm_library_function symbols[] = {bm_library_symbol(library, "cblas_sgemm"),
                                           bm_library_symbol(library, "openblas_get_corename")};
    memcpy(&sgemm, &symbols[0], sizeof sgemm);
    memcpy(&corename, &symbols[1], sizeof corename);
    BM_FAIL_IF(!sgemm || !corename, err, BM_E_DEVICE, "OpenBLAS: cblas_sgemm or openblas_get_corename is missing");
    for (uint64_t i = 0; i < (uint64_t)m * k; i++)
        a[i] = element((uint32_t)i);
    for (uint64_t i = 0; i < (uint64_t)n * k; i++)
        b[i] = element((uint32_t)(i * 3 + 1));
    const uint32_t repeats = (uint32_t)(1 + 1e9 / bm_gemm_operations(m, n, k)); // short products several times
    for (uint32_t run = 0; run < 2 + BM_COUNT(times); run++) {                  // two to warm up
        const uint64_t start = bm_clock_ns();
        for (uint32_t r = 0; r < repeats; r++)
            sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, (int)m, (int)n, (int)k, 1, a, (int)k, b, (int)k, 0, c, (int)n);
        if (run >= 2)
            times[run - 2] = (double)(bm_clock_ns() - start) / repeats;
    }
    BM_FAIL_IF(!is_right(a, b, c, m, n, k), err, BM_E_NUMERIC, "OpenBLAS (%s): wrong product", corename());
    qsort(times, BM_COUNT(times), sizeof times[0], compare_doubles);
    snprintf(out, 128, "%.24s %.2f %.2f", corename(), bm_gemm_operations(m, n, k) / times[0],
             bm_gemm_operations(m, n, k) / times[BM_COUNT(times) / 2]);
done:
    // The library stays open: its threads outlive a close.
    bm_free(a);
    bm_free(b);
    bm_free(c);
    return status;
}

// "CORE BEST MEDIAN", what bm_yardstick_child prints; false when text is anything else.
static bool read_result(const char *text, bm_yardstick *out)
{
    char line[128];
    char *words[3] = {line};
    snprintf(line, sizeof line, "%s", text);
    line[strcspn(line, "\r\n")] = '\0';
    for (uint32_t i = 1; i < 3; i++) {
        words[i] = strchr(words[i - 1], ' ');
        if (!words[i])
            return false;
        *words[i]++ = '\0';
    }
    snprintf(out->core, sizeof out->core, "%s", words[0]);
    return bm_parse_double(words[1], &out->best_gflops) && bm_parse_double(words[2], &out->median_gflops);
}

bm_status bm_yardstick_measure(const char *program, const char *const *arguments, uint32_t m, uint32_t n, uint32_t k,
                               bm_yardstick out[BM_MAX_YARDSTICKS], uint32_t *num_out, bm_error *err)
{
    static const char *const skylake[] = {"OPENBLAS_CORETYPE=SkylakeX", NULL};
    bm_status status = BM_OK;
    const char *words[12] = {0};
    char sizes[3][16];
    bm_string text = BM_STRING_INIT;
    uint32_t count = 0, num_words = 0;
    bm_library *library = NULL;
    if (bm_library_open(&library, library_names, NULL) != BM_OK) {
        *num_out = 0;
        return BM_OK;
    }
    while (arguments[num_words] && num_words < 8) {
        words[num_words] = arguments[num_words];
        num_words++;
    }
    const uint32_t numbers[3] = {m, n, k};
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(sizes[i], sizeof sizes[i], "%u", numbers[i]);
        words[num_words++] = sizes[i];
    }
    for (uint32_t i = 0; i < (bm_processor_has_avx512() ? 2u : 1u); i++) {
        int code = 0;
        bm_yardstick *one = &out[count];
        const bm_process_params params = {program, words, i == 1 ? skylake : NULL, 4096};
        bm_string_clear(&text);
        BM_TRY(bm_process_run(&params, &text, &code, err));
        BM_FAIL_IF(code != 0 || !read_result(bm_string_text(&text), one), err, BM_E_IO,
                   "%s: the yardstick's process failed (%d): %.200s", program, code, bm_string_text(&text));
        snprintf(one->setting, sizeof one->setting, "%s", i == 1 ? skylake[0] : "default");
        count++;
    }
    *num_out = count;
done:
    bm_string_free(&text);
    return status;
}
