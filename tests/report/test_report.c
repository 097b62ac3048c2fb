// The page: every part of a whole record, records with parts missing or of the wrong kind, and text that looks like
// HTML.
#include "report_fixture.h"

static void a_whole_record(void **state)
{
    (void)state;
    char *page =
        page_of("{\"bitmill_version\":\"1.2.3\",\"finished\":\"2026-01-02T03:04:05Z\","
                "\"device\":{\"spec\":\"opencl:0\",\"name\":\"A device\",\"driver\":\"Its driver\"},\"output\":\"out\","
                "\"seconds\":12.5,\"input_bytes\":8000000,\"output_bytes\":2000000,"
                "\"phases\":[{\"name\":\"quantize\",\"seconds\":9},{\"name\":\"write\",\"seconds\":3}],"
                "\"linears\":[{\"name\":\"model.layers.0.mlp.up_proj\",\"bits\":4,\"group_size\":32,\"nmse\":0.01},"
                "{\"name\":\"lm_head\",\"bits\":8,\"group_size\":-1,\"nmse\":0}],"
                "\"before\":{\"perplexity\":10,\"loss\":2.3,\"accuracy\":0.5,\"tokens\":100},"
                "\"after\":{\"perplexity\":11,\"loss\":2.4,\"accuracy\":0.4,\"tokens\":100},"
                "\"test_before\":{\"perplexity\":20},\"test_after\":{\"perplexity\":21},"
                "\"arguments\":{\"model_name_or_path\":\"some/model\",\"seed\":42,\"skip_list_names\":[\"a\",\"b\"]},"
                "\"given\":[\"model_name_or_path\"],\"resolved\":{\"job\":\"rounding\",\"quant_type\":\"wint4\","
                "\"weight_bits\":4,"
                "\"weight_quant_method\":\"groupwise\",\"group_size\":32,\"symmetric\":true,\"scale_search\":\"mse\","
                "\"clip\":\"factors\",\"needs_calibration\":false,\"new_key\":\"new\",\"storage_dtype\":null},\"num_"
                "linears\":6,"
                "\"notes\":[\"a note\"]}");
    check_nesting(page);
    assert_non_null(
        strstr(page, ".wide{overflow-x:auto;background:")); // what does not fit scrolls, and shows that it does
    assert_non_null(strstr(page, "<h1>some/model</h1>"));
    assert_non_null(strstr(page, "2.00 MB"));
    assert_non_null(strstr(page, "was 8.00 MB (25.0 %)"));
    assert_non_null(strstr(page, "was 10.0000 (+10.00 %)"));
    assert_non_null(strstr(page, "<h2>Evaluation</h2>"));
    const char *test = strstr(page, "<h2>Evaluation on test data</h2>");
    assert_non_null(test);
    assert_non_null(strstr(test, "<td class=\"n\">20.0000</td><td class=\"n\">21.0000</td>"));
    assert_non_null(strstr(page, "12.5 s"));
    assert_non_null(strstr(page, "<tr><th>symmetric</th><td>yes</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>method</th><td>plain rounding</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>bits</th><td>4</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>scales</th><td>one a group of 32 weights</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>scale search</th><td>least squared error (mse)</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>clipping</th><td>factors</td></tr>"));
    assert_non_null(strstr(page, "<tr><th>new_key</th><td>new</td></tr>")); // one without words of its own
    assert_non_null(strstr(page, "<tr><th>linears</th><td>2 of 6 quantized</td></tr>"));
    assert_null(strstr(page, "needs_calibration")); // which says nothing
    assert_null(strstr(page, "storage_dtype"));
    assert_non_null(strstr(page, "<td class=\"n\">2.30000</td><td class=\"n\">2.40000</td>"));
    assert_int_equal(count_of(page, "background:hsl(210,45%,55%)"), 2); // the first phase, in the bar and in the table
    assert_int_equal(count_of(page, "background:hsl(277,45%,55%)"), 2);
    assert_non_null(strstr(page, "Its driver"));
    assert_non_null(strstr(page, "<h2>Where the error is</h2>"));
    assert_non_null(strstr(page, "width:75.000%"));
    assert_non_null(strstr(page, "<li>a note</li>"));
    assert_true(strstr(page, "<summary>Defaults") < strstr(page, "<th>seed</th>"));
    assert_true(strstr(page, "<th>model_name_or_path</th>") < strstr(page, "<summary>Defaults"));
    assert_non_null(strstr(page, "<td>a, b</td>"));
    bm_free(page);
}

// A rectangle a span, in the colour of its phase; spans that make no sense are left out.
static void the_timeline_is_drawn(void **state)
{
    (void)state;
    char *page = page_of("{\"phases\":[{\"name\":\"solve\",\"seconds\":2},{\"name\":\"run blocks\",\"seconds\":2},"
                         "{\"name\":\"wait for writing\",\"seconds\":1}],"
                         "\"timeline\":[{\"track\":\"run\",\"spans\":["
                         "{\"phase\":\"run blocks\",\"block\":0,\"begin\":0,\"end\":2},"
                         "{\"phase\":\"solve\",\"block\":0,\"begin\":2,\"end\":4},"
                         "{\"phase\":\"wait for writing\",\"begin\":4,\"end\":5},"
                         "{\"phase\":\"run blocks\",\"begin\":3,\"end\":2},{\"begin\":1,\"end\":2},7]},"
                         "{\"track\":\"<read>\",\"spans\":[{\"phase\":\"read\",\"block\":1,\"begin\":0.5,\"end\":1.25},"
                         "{\"phase\":\"wait for room\",\"begin\":1.5,\"end\":2}]},"
                         "{\"track\":\"none\",\"spans\":[]},{\"track\":\"odd\",\"spans\":3}]}");
    check_nesting(page);
    assert_int_equal(count_of(page, "<rect "), 5);
    assert_int_equal(count_of(page, "fill=\"hsl(277,45%,55%)\""), 1); // run blocks, as in the table
    assert_int_equal(count_of(page, "fill=\"hsl(210,45%,55%)\""), 1);
    assert_int_equal(count_of(page, "fill=\"hsl(0,0%,55%)\""), 2);
    assert_non_null(strstr(page, "<title>solve, block 0: 2 s</title>"));
    assert_non_null(strstr(page, ">0.75 s in all")); // without what it waited
    assert_non_null(strstr(page, "<rect x=\"76\"")); // from the start, beside the names
    assert_null(strstr(page, "<read>"));
    bm_free(page);
}

// What it leaves of the width goes to the work.
static void long_compiling_is_drawn_short(void **state)
{
    (void)state;
    static const char form[] = "{\"timeline\":[{\"track\":\"run\",\"spans\":["
                               "{\"phase\":\"copy floats\",\"begin\":0,\"end\":2},"
                               "{\"phase\":\"compile kernels\",\"begin\":2,\"end\":%u},"
                               "{\"phase\":\"solve\",\"block\":0,\"begin\":%u,\"end\":%u},"
                               "{\"phase\":\"verify\",\"begin\":%u,\"end\":100}]}]}";
    char *record = bm_format(form, 90, 90, 95, 95), *page = page_of(record);
    check_nesting(page);
    assert_non_null(strstr(page, "<rect x=\"124.67\" y=\"16\" width=\"32\""));    // compiling: 76 + 292 * 2 / 12 on
    assert_non_null(strstr(page, "<rect x=\"156.67\" y=\"16\" width=\"121.7\"")); // solve: 292 * 5 / 12
    assert_non_null(strstr(page, "Compiling kernels, 88 s between the broken lines, is drawn short."));
    bm_free(page);
    bm_free(record);
    record = bm_format(form, 30, 30, 95, 95);
    page = page_of(record);
    assert_null(strstr(page, "is drawn short"));
    assert_non_null(strstr(page, "<rect x=\"173.2\"")); // solve: 76 + 324 * 0.3
    bm_free(page);
    bm_free(record);
}

// Longer than any buffer, with characters of several bytes everywhere.
static void lists_are_whole(void **state)
{
    (void)state;
    bm_string record = BM_STRING_INIT, expected = BM_STRING_INIT;
    bm_string_append(&record, "{\"arguments\":{\"skip_list_names\":[");
    bm_string_append(&expected, "<tr><th>skip_list_names</th><td>");
    for (int i = 0; i < 100; i++) {
        bm_string_append_format(&record, "%s\"übergröße.%d.ä\"", i ? "," : "", i);
        bm_string_append_format(&expected, "%sübergröße.%d.ä", i ? ", " : "", i);
    }
    bm_string_append(&record, "]}}");
    bm_string_append(&expected, "</td></tr>");
    char *page = page_of(bm_string_text(&record));
    check_nesting(page);
    assert_true(bm_utf8_is_valid(page, strlen(page)));
    assert_non_null(strstr(page, bm_string_text(&expected)));
    bm_free(page);
    bm_string_free(&record);
    bm_string_free(&expected);
}

static void parts_that_are_missing_or_strange(void **state)
{
    (void)state;
    static const char *const records[] = {
        "{}",
        "[]",
        "7",
        "{\"linears\":[]}",
        "{\"linears\":{\"a\":1},\"phases\":3,\"notes\":\"x\",\"given\":5,\"arguments\":[1],\"resolved\":\"r\","
        "\"device\":2}",
        "{\"linears\":[1,null,{},{\"name\":4,\"nmse\":1},{\"name\":\"a.b\",\"nmse\":null},{\"name\":\"x.999999.y\","
        "\"nmse\":1e-300}]}",
        "{\"phases\":[{\"name\":\"a\"},{\"seconds\":-1},5],\"notes\":[{},[[]],1],\"seconds\":\"long\"}",
        "{\"before\":1,\"after\":{}}",
        "{\"linears\":[{\"name\":\"a.1.b\",\"squared_error\":1,\"shape\":[0,1e300]},{\"name\":\"a.2.b\","
        "\"squared_error\":2,\"shape\":[1e300,1e300]}],\"arguments\":{\"skip_list_names\":{\"x\":[4]}}}",
    };
    for (size_t i = 0; i < BM_COUNT(records); i++) {
        char *page = page_of(records[i]);
        check_nesting(page);
        assert_null(strstr(page, "perplexity, was"));
        bm_free(page);
    }
}

static void text_is_never_markup(void **state)
{
    (void)state;
    char *page =
        page_of("{\"arguments\":{\"model_name_or_path\":\"<script>alert('&')</script>\\\"\","
                "\"output_dir\":\"a\\u001b[31m\\u007f\\u0085\\u00a0\\n\",\"skip_list_names\":[\"</pre><b>\\\"\"]},"
                "\"linears\":[{\"name\":\"<i>.0.\\\"<b>\",\"nmse\":1,\"squared_error\":1},"
                "{\"name\":\"</td>\\u009b.<b>\\\".0.</table>\",\"squared_error\":2}],\"notes\":[\"</li><p>\"]}");
    check_nesting(page);
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<b>\""));
    assert_non_null(strstr(page, "&#60;script&#62;alert(&#39;&#38;&#39;)&#60;/script&#62;&#34;"));
    assert_non_null(strstr(page, "<li>&#60;/li&#62;&#60;p&#62;</li>"));
    assert_non_null(strstr(page, "<td>a?[31m??\u00a0?</td>")); // controls alone
    assert_null(strpbrk(page, "\x1b\x7f"));
    bm_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_record),
        cmocka_unit_test(the_timeline_is_drawn),
        cmocka_unit_test(long_compiling_is_drawn_short),
        cmocka_unit_test(lists_are_whole),
        cmocka_unit_test(parts_that_are_missing_or_strange),
        cmocka_unit_test(text_is_never_markup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
