// The part of the page on linears: shares, their order, the heat map, and lines that the reader of arguments takes.
#include "report_fixture.h"

#include "arguments/arguments.h"

#include <stdlib.h>

static void contains(const char *page, const char *text)
{
    if (!strstr(page, text))
        fail_msg("the page lacks: %s", text);
}

// The order in which texts stand on the page.
static void contains_in_order(const char *page, const char *const *texts, size_t count)
{
    const char *at = page;
    for (size_t i = 0; i < count; i++) {
        const char *found = strstr(at, texts[i]);
        if (!found)
            fail_msg("the page lacks, or has too early: %s", texts[i]);
        else
            at = found + 1;
    }
}

static const char four_linears[] =
    "{\"linears\":[{\"name\":\"model.layers.0.mlp.up_proj\",\"shape\":[4,10],\"bits\":4,\"group_size\":32,"
    "\"nmse\":0.01,\"squared_error\":1},"
    "{\"name\":\"model.layers.1.mlp.up_proj\",\"shape\":[4,10],\"bits\":4,\"group_size\":32,\"nmse\":0.02,"
    "\"squared_error\":5},"
    "{\"name\":\"model.layers.1.mlp.down_proj\",\"shape\":[10,4],\"bits\":4,\"group_size\":-1,\"nmse\":0.005,"
    "\"squared_error\":2},"
    "{\"name\":\"lm_head\",\"shape\":[8,10],\"bits\":8,\"group_size\":-1,\"nmse\":0,\"squared_error\":0}]}";

static void the_worst_are_named_in_words(void **state)
{
    (void)state;
    static const char *const words[] = {
        "Half of the squared error lies in 1 of 4 linears.",
        "error of weights, not of what the model says",
        "<h3>The three worst</h3>", // the fourth has no error
        "1.<wbr>mlp.<wbr>up_<wbr>proj</b> has 62.5&nbsp;% of the squared error in 20.0&nbsp;% of the weights</li>",
        "down_<wbr>proj</b> has 25.0&nbsp;% of the squared error in 20.0&nbsp;% of the weights</li>",
        "0.<wbr>mlp.<wbr>up_<wbr>proj</b> has 12.5&nbsp;% of the squared error in 20.0&nbsp;% of the weights</li>",
        "they take 100.0&nbsp;% of the squared error away and leave 60.0&nbsp;% of these weights",
    };
    char *page = page_of(four_linears);
    check_nesting(page);
    contains_in_order(page, words, BM_COUNT(words));
    bm_free(page);
}

// Of a layer that vLLM computes at once all linears are in the line, or none; of another block or module none comes along.
static void the_line_holds_whole_layers(void **state)
{
    (void)state;
    static const char record[] = "{\"linears\":[{\"name\":\"m.0.attn.q_proj\",\"squared_error\":9},"
                                 "{\"name\":\"m.0.attn.k_proj\",\"squared_error\":0},"
                                 "{\"name\":\"m.0.attn.v_proj\",\"squared_error\":0},"
                                 "{\"name\":\"m.0.mlp.up_proj\",\"squared_error\":1},"
                                 "{\"name\":\"m.0.mlp.gate_proj\",\"squared_error\":0},"
                                 "{\"name\":\"m.1.mlp.gate_proj\",\"squared_error\":0},"
                                 "{\"name\":\"m.0.cross.k_proj\",\"squared_error\":0}]}";
    static const char whole[] = "{\"linears\":[{\"name\":\"m.0.q_proj\",\"squared_error\":9},"
                                "{\"name\":\"m.0.k_proj\",\"squared_error\":0}]}";
    char *page = page_of(record);
    contains(page, "<h3>The two worst</h3>");
    contains(page, "with the 3 that make whole layers of them, they take 100.0&nbsp;%");
    contains(page, "skip_list_names&#34;: [&#34;m.0.attn.q_proj&#34;, &#34;m.0.mlp.up_proj&#34;, "
                   "&#34;m.0.attn.k_proj&#34;, &#34;m.0.attn.v_proj&#34;, &#34;m.0.mlp.gate_proj&#34;]</pre>");
    bm_free(page);
    page = page_of(whole);
    assert_null(strstr(page, "worst")); // it would leave nothing to quantize
    bm_free(page);
}

static void the_heat_map_has_a_row_a_block_and_a_column_a_kind(void **state)
{
    (void)state;
    static const char *const words[] = {
        "<span class=\"heat0\">8</span><span class=\"heat1\">16</span>", // per cent, of the legend
        "<span class=\"heat7\">64</span>",
        "<th colspan=\"2\" class=\"over\">mlp</th>",
        "<th colspan=\"1\"></th>",
        "<th scope=\"col\">up_<wbr>proj</th><th scope=\"col\">down_<wbr>proj</th><th scope=\"col\">lm_<wbr>head</th>",
        "<th scope=\"row\">0</th><td class=\"heat1\">12.5</td><td>&ndash;</td><td>&ndash;</td><td class=\"sum\">12.5",
        "<th scope=\"row\">1</th><td class=\"heat7\">62.5</td><td class=\"heat3\">25.0</td><td>&ndash;</td>"
        "<td class=\"sum\">87.5",
        "<th scope=\"row\">none</th><td>&ndash;</td><td>&ndash;</td><td class=\"heat0\">0.0</td><td class=\"sum\">0.0",
        "<th scope=\"row\">all</th><td class=\"sum\">75.0</td><td class=\"sum\">25.0</td><td class=\"sum\">0.0</td>"
        "<td class=\"sum\">100.0",
    };
    char *page = page_of(four_linears);
    contains_in_order(page, words, BM_COUNT(words));
    contains(page, "<span>&ndash; none quantized</span>");
    bm_free(page);
}

static void the_table_goes_by_shares_and_has_the_columns_that_are_there(void **state)
{
    (void)state;
    static const char *const words[] = {
        "Every linear, the largest share first",
        "relative squared error</th><th class=\"n\">bits</th><th class=\"n\">group size</th></tr>",
        ">1.<wbr>mlp.<wbr>up_<wbr>proj</td><td class=\"n\">62.5</td><td class=\"bars\"><i style=\"width:100.0%\">",
        "<td class=\"n sums\">62.5</td><td class=\"n\">20.0</td><td class=\"n\">0.02000</td><td class=\"n\">4</td>"
        "<td class=\"n\">32</td></tr>",
        "down_<wbr>proj</td><td class=\"n\">25.0</td><td class=\"bars\"><i style=\"width:40.0%\">",
        "<td class=\"n sums\">87.5</td><td class=\"n\">20.0</td><td class=\"n\">0.00500</td><td class=\"n\">4</td>"
        "<td class=\"n\">channel</td></tr>",
        ">0.<wbr>mlp.<wbr>up_<wbr>proj</td><td class=\"n\">12.5</td>",
        "lm_<wbr>head</td><td class=\"n\">0.0</td>",
    };
    char *page = page_of(four_linears);
    contains_in_order(strstr(page, "<details>"), words, BM_COUNT(words));
    bm_free(page);
    page =
        page_of("{\"linears\":[{\"name\":\"a\",\"bits\":4,\"squared_error\":1},{\"name\":\"b\",\"squared_error\":1}]}");
    contains(page, "<th class=\"n sums\">sum, %</th><th class=\"n\">bits</th></tr>");
    contains(page, "<td class=\"n\">4</td></tr>");
    contains(page, "<td class=\"n\"></td></tr>");
    assert_null(strstr(page, "of the weights"));
    bm_free(page);
}

// Without the errors of all there is no share of any.
static void shares_need_every_error(void **state)
{
    (void)state;
    static const char *const records[] = {
        "{\"linears\":[{\"name\":\"a.0.b\",\"nmse\":0.1},{\"name\":\"a.1.b\",\"nmse\":0.5,\"squared_error\":1}]}",
        "{\"linears\":[{\"name\":\"a.0.b\",\"nmse\":0.1,\"squared_error\":-1},{\"name\":\"a.1.b\",\"squared_error\":1}]"
        "}",
        "{\"linears\":[{\"name\":\"a.0.b\",\"squared_error\":null},{\"name\":\"a.1.b\",\"squared_error\":1}]}",
        "{\"linears\":[{\"name\":\"a.0.b\",\"squared_error\":0},{\"name\":\"a.1.b\",\"squared_error\":0}]}",
    };
    static const char *const order[] = {"<summary>Every linear</summary>", "a.<wbr>0.<wbr>b", "a.<wbr>1.<wbr>b"};
    for (size_t i = 0; i < BM_COUNT(records); i++) {
        char *page = page_of(records[i]);
        check_nesting(page);
        contains_in_order(page, order, BM_COUNT(order));
        assert_null(strstr(page, "<h3>"));
        assert_null(strstr(page, "share"));
        assert_null(strstr(page, "skip_list_names"));
        bm_free(page);
    }
}

static void large_and_equal_errors(void **state)
{
    (void)state;
    static const char *const order[] = {"<b>b</b> has 33.3&nbsp;%", "<b>a</b> has 33.3&nbsp;%"};
    char *page =
        page_of("{\"linears\":[{\"name\":\"b\",\"squared_error\":1e308},{\"name\":\"a\",\"squared_error\":1e308},"
                "{\"name\":\"c\",\"squared_error\":1e308}]}");
    contains_in_order(page, order, BM_COUNT(order));
    contains(page, "<h3>The two worst</h3>"); // all three cannot be left out
    bm_free(page);
    page = page_of("{\"linears\":[{\"name\":\"x.3.only\",\"squared_error\":2}]}");
    check_nesting(page);
    contains(page, "<td class=\"heat7\">100.0</td>");
    assert_null(strstr(page, "worst"));
    bm_free(page);
}

// Other families than llama, and more kinds than columns.
static void kinds_come_from_names(void **state)
{
    (void)state;
    bm_string record = BM_STRING_INIT;
    bm_string_append(&record, "{\"linears\":[");
    for (uint32_t block = 11; block-- > 9;)
        bm_string_append_format(&record,
                                "{\"name\":\"transformer.h.%u.self_attention.query_key_value\",\"squared_error\":1},"
                                "{\"name\":\"transformer.h.%u.self_attention.dense\",\"squared_error\":1},"
                                "{\"name\":\"transformer.h.%u.mlp.dense_h_to_4h\",\"squared_error\":2}%s",
                                block, block, block, block > 9 ? "," : "]}");
    static const char *const order[] = {
        "<th colspan=\"2\" class=\"over\">self_<wbr>attention</th><th colspan=\"1\" class=\"over\">mlp</th>",
        ">query_<wbr>key_<wbr>value</th><th scope=\"col\">dense</th>",
        "<th scope=\"col\">dense_<wbr>h_<wbr>to_<wbr>4h</th>",
        "<th scope=\"row\">9</th><td class=\"heat3\">12.5</td>",
        "<th scope=\"row\">10</th>",
        ">50.0</td>",
        ">100.0</td>"};
    char *page = page_of(bm_string_text(&record));
    check_nesting(page);
    contains_in_order(page, order, BM_COUNT(order));
    assert_null(strstr(page, "&ndash;"));
    bm_free(page);
    bm_string_clear(&record);
    bm_string_append(&record, "{\"linears\":[");
    for (int i = 0; i < 40; i++)
        bm_string_append_format(&record, "{\"name\":\"l.0.kind%d\",\"squared_error\":%d}%s", i, i < 32 ? 0 : 1,
                                i < 39 ? "," : "]}");
    page = page_of(bm_string_text(&record));
    check_nesting(page);
    assert_int_equal(count_of(page, "scope=\"col\""), 32);
    contains(page, "8 linears of more kinds are in the table alone.");
    contains(page, "</td><td class=\"n\">12.5</td>"); // as kind39 there
    bm_free(page);
    bm_string_free(&record);
}

// The text of the index-th <pre>, as a browser copies it. The caller frees it.
static char *copied(const char *page, uint32_t index)
{
    bm_string text = BM_STRING_INIT;
    const char *at = page;
    for (uint32_t i = 0; i <= index; i++) {
        at = strstr(at, "<pre>");
        assert_non_null(at);
        at += strlen("<pre>");
    }
    while (*at != '<') {
        char c = *at++;
        if (c == '&') {
            char *end;
            c = (char)strtol(at + 1, &end, 10);
            at = end + 1;
        }
        bm_string_append_bytes(&text, &c, 1);
    }
    return text.data;
}

// What a POSIX shell makes of a word of single quotes and quoted quotes.
static char *shell_word(const char *text)
{
    bm_string word = BM_STRING_INIT;
    for (bool quoted = false; *text; text++)
        if (*text == '\'')
            quoted = !quoted;
        else
            bm_string_append_bytes(&word, !quoted && *text == '\\' ? ++text : text, 1);
    return word.data;
}

static void lines_to_copy_are_taken_by_the_reader_of_arguments(void **state)
{
    (void)state;
    static const char *const want[] = {"it's 'q'", "<b>&\"\\", "tab\there", "[x,y]",
                                       "größe",    "a.0.x",    "a.3.x",     "a.1.x"};
    static const char rest[] = "\"model_name_or_path\":\"m\",\"output_dir\":\"o\",\"do_ptq\":true";
    bm_error err = {0};
    char *page = page_of("{\"arguments\":{\"skip_list_names\":[\"it's 'q'\",\"<b>&\\\"\\\\\",\"tab\\there\",\"[x,y]\","
                         "\"größe\",\"a.0.x\"]},"
                         "\"linears\":[{\"name\":\"a.0.x\",\"squared_error\":9},{\"name\":\"a.1.x\","
                         "\"squared_error\":2},{\"name\":\"a.2.x\",\"squared_error\":1},{\"name\":\"a.3.x\","
                         "\"squared_error\":3}]}");
    char *in_file = copied(page, 0), *on_command_line = copied(page, 1);
    assert_true(bm_starts_with(on_command_line, "--set '"));
    char *text = bm_format("{%s,%s}", rest, in_file), *plain = bm_format("{%s}", rest);
    char *override = shell_word(on_command_line + strlen("--set "));
    const char *const overrides[] = {override};
    for (uint32_t i = 0; i < 2; i++) {
        bm_arguments *args = NULL;
        const char *file = i == 0 ? text : plain;
        const bm_arguments_options options = {.overrides = overrides, .num_overrides = i};
        assert_ok(bm_arguments_read_text(&args, file, strlen(file), "job.json", &options, &err), &err);
        assert_int_equal(args->skip_list_names.count, BM_COUNT(want));
        for (size_t n = 0; n < BM_COUNT(want); n++)
            assert_string_equal(args->skip_list_names.names[n], want[n]);
        bm_arguments_destroy(&args);
    }
    bm_free(in_file);
    bm_free(on_command_line);
    bm_free(text);
    bm_free(plain);
    bm_free(override);
    bm_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worst_are_named_in_words),
        cmocka_unit_test(the_line_holds_whole_layers),
        cmocka_unit_test(the_heat_map_has_a_row_a_block_and_a_column_a_kind),
        cmocka_unit_test(the_table_goes_by_shares_and_has_the_columns_that_are_there),
        cmocka_unit_test(shares_need_every_error),
        cmocka_unit_test(large_and_equal_errors),
        cmocka_unit_test(kinds_come_from_names),
        cmocka_unit_test(lines_to_copy_are_taken_by_the_reader_of_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
