// What a method that watched inputs met: warnings at the top, the section, the second table, shares of output errors.
#include "report_fixture.h"

static void contains(const char *page, const char *text)
{
    if (!strstr(page, text))
        fail_msg("the page lacks: %s", text);
}

static const char calibrated[] =
    "{\"resolved\":{\"job\":\"gptq\",\"scale_search\":\"gram\",\"signed_scales\":true,"
    "\"calibration\":{\"source\":\"a "
    "<file>\",\"sequences\":12,\"tokens\":301}},\"calibration\":{\"all_sequences\":13,\"sequences\":11,\"skipped_"
    "sequences\":2,"
    "\"tokens\":300,\"channels\":200,\"tokens_enough\":400,\"key_to_raise\":\"<step>\",\"output_error\":8,\"output_"
    "error_rounding\":20,"
    "\"guarded_rows\":5,\"damping_raised\":1,\"factored_on_host\":1,\"fell_back\":1},\"linears\":["
    "{\"name\":\"m.0.q\",\"shape\":[4,100],\"squared_error\":9,\"output_error\":1,\"output_error_rounding\":4,"
    "\"tokens\":300,\"tokens_per_channel\":3,\"fell_back\":false,\"damping\":0.01,\"damping_raised\":0,"
    "\"dead_channels\":0,\"factored_on_host\":false},"
    "{\"name\":\"m.0.down\",\"shape\":[4,200],\"squared_error\":1,\"output_error\":2,\"output_error_rounding\":4,"
    "\"tokens\":300,\"tokens_per_channel\":1.5,\"fell_back\":false,\"damping\":1,\"damping_raised\":2,"
    "\"dead_channels\":7,\"factored_on_host\":true},"
    "{\"name\":\"m.1.<b>\",\"shape\":[4,100],\"squared_error\":0,\"output_error\":5,\"output_error_rounding\":12,"
    "\"tokens\":300,\"tokens_per_channel\":3,\"fell_back\":true,\"reason\":\"Hessian: <not> good\"}]}";

static void warnings_are_at_the_top(void **state)
{
    (void)state;
    char *page = page_of(calibrated);
    char *rest = strstr(page, "<h2>What was done");
    check_nesting(page);
    assert_non_null(rest);
    *rest = 0;
    contains(page, "<ul class=\"warn\">\n"
                   "<li><b>m.<wbr>1.<wbr>&#60;b&#62;</b> was rounded plainly: Hessian: &#60;not&#62; good</li>\n"
                   "<li><b>2 of 13 sequences left out</b>: their activations overflowed.</li>\n"
                   "<li><b>Few calibration tokens</b>: 300 for 200 input channels; 400 would be enough, 2 a "
                   "channel: raise &#60;step&#62;.</li>\n</ul>");
    bm_free(page);
    page =
        page_of("{\"calibration\":{\"tokens\":3,\"channels\":2,\"tokens_enough\":4,\"key_to_raise\":null},\"linears\":["
                "{\"name\":\"a\",\"search_skipped\":true},{\"name\":\"b\",\"search_skipped\":false}]}");
    contains(page,
             "<li><b>Few calibration tokens</b>: 3 for 2 input channels; 4 would be enough, 2 a channel.</li>\n"
             "<li><b>1 linear without a search of steps</b>: there were fewer than two tokens. The largest weights "
             "decide there.</li>\n</ul>");
    bm_free(page);
}

static void the_section_sums_up(void **state)
{
    (void)state;
    char *page = page_of(calibrated);
    contains(page, "<tr><th>method</th><td>GPTQ</td></tr>");
    contains(page, "<tr><th>scale search</th><td>least output error (gram)</td></tr>");
    contains(page, "<tr><th>scales of both signs</th><td>yes</td></tr>");
    contains(page, "<h2>Calibration</h2>\n<table>\n<tr><th>data</th><td>a &#60;file&#62;</td></tr>\n"
                   "<tr><th>linears solved by</th><td>11 sequences, 300 tokens</td></tr>\n"
                   "<tr><th>left out</th><td>2 sequences</td></tr>\n"
                   "<tr><th>tokens an input channel</th><td>1.5 to 3</td></tr>\n"
                   "<tr><th>error of outputs</th><td>40.0 % of rounding to the same grids (few tokens)</td></tr>\n"
                   "<tr><th>kept as plainly rounded</th><td>5 rows</td></tr>\n"
                   "<tr><th>damping</th><td>0.01 to 1</td></tr>\n"
                   "<tr><th>damping raised</th><td>1 linear</td></tr>\n"
                   "<tr><th>factored on the host</th><td>1 linear, in float64</td></tr>\n"
                   "<tr><th>rounded plainly</th><td>1 linear</td></tr>\n"
                   "<tr><th>channels that no token used</th><td>up to 7 in a linear</td></tr>\n</table>");
    bm_free(page);
}

// Scales by some steps, linears by others: each phase has its own numbers.
static void each_phase_has_its_data(void **state)
{
    (void)state;
    char *page = page_of("{\"calibration\":{\"all_sequences\":19,\"sequences\":1,\"tokens\":40},\"stages\":["
                         "{\"block\":0,\"stage\":\"o\",\"sequences\":19,\"tokens\":968}]}");
    contains(page, "<tr><th>inputs looked at</th><td>19 sequences, 968 tokens</td></tr>\n"
                   "<tr><th>linears solved by</th><td>1 sequence, 40 tokens</td></tr>\n");
    bm_free(page);
}

// Of rounding by data its own error, and nothing beside it.
static void rounding_is_beside_nothing(void **state)
{
    (void)state;
    char *page = page_of("{\"linears\":[{\"name\":\"a\",\"output_error\":5,\"tokens_per_channel\":2}]}");
    contains(page, "<th>linear</th><th class=\"n\">output error as quantized</th><th class=\"n\">tokens a channel</th>"
                   "</tr></thead>");
    bm_free(page);
}

static void a_table_has_every_linear(void **state)
{
    (void)state;
    char *page = page_of(calibrated);
    char *table = strstr(page, "<summary>Calibration of every linear, the largest share first</summary>");
    assert_non_null(table);
    contains(
        table,
        "<th>linear</th><th class=\"n\">output error by rounding</th><th class=\"n\">output error as quantized</th>"
        "<th class=\"n\">of it left, %</th><th class=\"n\">damping</th><th class=\"n\">raised, times</th>"
        "<th class=\"n\">channels without input</th><th class=\"n\">tokens a channel</th></tr></thead>");
    contains(table, "1.<wbr>&#60;b&#62;</td><td class=\"n\">1.20e+01</td><td class=\"n\">5.00e+00</td><td class=\"n\">"
                    "41.7</td><td class=\"n\">rounded plainly</td><td class=\"n\"></td><td class=\"n\"></td>"
                    "<td class=\"n\">3</td></tr>");
    contains(table, "down</td><td class=\"n\">4.00e+00</td><td class=\"n\">2.00e+00</td><td class=\"n\">50.0</td>"
                    "<td class=\"n\">1</td><td class=\"n\">2</td><td class=\"n\">7</td><td class=\"n\">1.5</td></tr>");
    bm_free(page);
}

static void shares_are_of_outputs(void **state)
{
    (void)state;
    char *page = page_of(calibrated);
    contains(page, "Half of the output error lies in 1 of 3 linears.");
    contains(page, "Output error: |X (W - Q(W))|&sup2;");
    contains(page, "<li><b>m.<wbr>1.<wbr>&#60;b&#62;</b> has 62.5&nbsp;% of the output error in 25.0&nbsp;%");
    contains(page, "they take 87.5&nbsp;% of the output error away");
    contains(page, "<h3>Share of the output error in per cent");
    assert_null(strstr(page, "of the squared error"));
    bm_free(page);
    // Of weights where one linear has no error of outputs.
    page = page_of("{\"linears\":[{\"name\":\"a\",\"squared_error\":1,\"output_error\":5},"
                   "{\"name\":\"b\",\"squared_error\":3}]}");
    contains(page, "<b>b</b> has 75.0&nbsp;% of the squared error");
    assert_null(strstr(page, "of the output error"));
    bm_free(page);
}

// So many that the top would be nothing else; and a record of another kind of linear beside them.
static void many_fell_back(void **state)
{
    (void)state;
    bm_string record = BM_STRING_INIT;
    bm_string_append(&record, "{\"calibration\":{\"fell_back\":13},\"linears\":[{\"name\":\"good\"}");
    for (int i = 0; i < 13; i++)
        bm_string_append_format(&record, ",{\"name\":\"bad.%d.x\",\"fell_back\":true}", i);
    bm_string_append(&record, "]}");
    char *page = page_of(bm_string_text(&record));
    check_nesting(page);
    assert_int_equal(count_of(page, "</b> was rounded plainly</li>"), 10);
    contains(page, "9.<wbr>x</b> was rounded plainly</li>\n<li>So were 3 more; the table of calibration marks them.");
    assert_int_equal(count_of(page, "<td class=\"n\">rounded plainly</td>"), 13);
    assert_null(strstr(page, "Few calibration"));
    bm_free(page);
    bm_string_free(&record);
}

// Nothing of it without inputs that were watched, enough tokens are no warning, and strange members are not believed.
static void records_without_calibration(void **state)
{
    (void)state;
    static const char *const records[] = {
        "{\"linears\":[{\"name\":\"a.0.x\",\"squared_error\":1,\"nmse\":1}]}",
        "{\"linears\":[{\"name\":\"a\",\"tokens\":\"9\",\"damping\":[],\"fell_back\":1,\"reason\":{}},7,null,[]]}",
        "{\"linears\":[{\"name\":\"a\",\"tokens_per_channel\":null,\"output_error\":\"\",\"factored_on_host\":0}]}",
        "{\"linears\":{\"a\":{\"fell_back\":true}}}",
        "{\"calibration\":{\"tokens\":\"9\",\"fell_back\":true,\"skipped_sequences\":[],\"tokens_enough\":\"x\"}}",
        "{\"calibration\":[1]}",
    };
    for (size_t i = 0; i < BM_COUNT(records); i++) {
        char *page = page_of(records[i]);
        check_nesting(page);
        assert_null(strstr(page, "class=\"warn\""));
        assert_null(strstr(page, "alibration"));
        bm_free(page);
    }
    char *page = page_of("{\"calibration\":{\"tokens\":25600,\"output_error\":0,\"output_error_rounding\":0},"
                         "\"linears\":[{\"name\":\"a\",\"tokens\":25600,\"tokens_per_channel\":200},"
                         "{\"name\":\"b\",\"tokens\":25600,\"tokens_per_channel\":2,\"output_error\":0,"
                         "\"output_error_rounding\":0}]}");
    assert_null(strstr(page, "class=\"warn\""));
    contains(page, "<td>2 to 200</td>");
    assert_null(strstr(page, "of rounding")); // 0 of 0
    assert_null(strstr(page, "nan"));
    bm_free(page);
    page = page_of("{\"calibration\":{\"tokens\":9,\"output_error\":3,\"output_error_rounding\":3}}");
    assert_null(strstr(page, "of rounding")); // it is plain rounding
    bm_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warnings_are_at_the_top),  cmocka_unit_test(the_section_sums_up),
        cmocka_unit_test(each_phase_has_its_data),  cmocka_unit_test(rounding_is_beside_nothing),
        cmocka_unit_test(a_table_has_every_linear), cmocka_unit_test(shares_are_of_outputs),
        cmocka_unit_test(many_fell_back),           cmocka_unit_test(records_without_calibration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
