// Statements to text.
#include "text/chat_internal.h"

#include <string.h>

#define MAX_OUTPUT ((size_t)64 << 20) // bytes of a rendered conversation and of what is being written beside it

static bm_status write(chat_run *run, const chat_node *node, chat_text text)
{
    if (text.length > MAX_OUTPUT - run->written)
        return chat_fail(run, node, BM_E_FORMAT, "a text of more than %zu bytes", MAX_OUTPUT);
    run->written += text.length;
    return bm_string_append_bytes(run->out, text.data, text.length) ? BM_OK : chat_no_memory(run, node);
}

// The text of a block that was written aside becomes a value.
static bm_status close_text(chat_run *run, const chat_node *node, bm_status status, bm_string *text, chat_value *out)
{
    *out = chat_string((chat_text){"", 0});
    run->written -= text->length;
    if (status == BM_OK && !chat_copy(run, bm_string_text(text), text->length, &out->as.text))
        status = chat_no_memory(run, node);
    bm_string_free(text);
    return status;
}

// A block of names inside the present one, in the caller's memory.
static void enter(chat_run *run, chat_scope *scope)
{
    *scope = (chat_scope){.parent = run->scope};
    run->scope = scope;
}

static bm_status assign(chat_run *run, const chat_node *target, chat_value value)
{
    if (chat_is_spent(run))
        return chat_check_steps(run, target);
    if (target->kind == CHAT_N_NAME)
        return chat_dict_set(run, &run->scope->names, target->text, value) ? BM_OK : chat_no_memory(run, target);
    chat_value object;
    const bm_status status = chat_evaluate(run, target->a, &object);
    if (status != BM_OK)
        return status;
    if (object.kind != CHAT_DICT || !object.as.dict->is_namespace)
        return chat_fail(run, target, BM_E_FORMAT, "only attributes of a namespace can be set, not of %s",
                         chat_kind_name(object));
    return chat_dict_set(run, object.as.dict, target->text, value) ? BM_OK : chat_no_memory(run, target);
}

// One target takes the value, several take its items.
static bm_status assign_all(chat_run *run, const chat_node *targets, chat_value value)
{
    chat_list *items = NULL;
    uint32_t count = 0;
    if (!targets->next)
        return assign(run, targets, value);
    bm_status status = chat_iterate(run, targets, value, &items);
    for (const chat_node *target = targets; target; target = target->next)
        count++;
    if (status == BM_OK && items->count != count)
        status = chat_fail(run, targets, BM_E_FORMAT, "%u values for %u names", items->count, count);
    for (uint32_t i = 0; status == BM_OK && targets; targets = targets->next)
        status = assign(run, targets, items->items[i++]);
    return status;
}

static bm_status execute_set(chat_run *run, const chat_node *node)
{
    chat_value value;
    bm_status status = BM_OK;
    if (node->kind == CHAT_N_SET) {
        status = chat_evaluate(run, node->b, &value);
        return status == BM_OK ? assign_all(run, node->a, value) : status;
    }
    bm_string text = BM_STRING_INIT, *outside = run->out;
    chat_scope scope;
    chat_flow flow = CHAT_GOES_ON;
    enter(run, &scope);
    run->out = &text;
    status = chat_execute(run, node->b, &flow);
    run->out = outside;
    run->scope = scope.parent;
    status = close_text(run, node, status, &text, &value);
    return status == BM_OK ? assign_all(run, node->a, value) : status;
}

// ---- loops ----

// The items that the condition of the loop keeps.
static bm_status choose(chat_run *run, const chat_node *node, chat_list *items, chat_list **out)
{
    bm_status status = BM_OK;
    chat_value kept, holds;
    *out = items;
    if (!node->c)
        return BM_OK;
    if (!chat_new_list(run, &kept))
        return chat_no_memory(run, node);
    chat_scope scope;
    enter(run, &scope);
    for (uint32_t i = 0; i < items->count; i++) {
        BM_TRY(assign_all(run, node->a, items->items[i]));
        BM_TRY(chat_evaluate(run, node->c, &holds));
        if (chat_truth(holds) && !chat_list_add(&run->arena, kept.as.list, items->items[i]))
            BM_TRY(chat_no_memory(run, node));
    }
    *out = kept.as.list;
done:
    run->scope = scope.parent;
    return status;
}

// The members of "loop", which is one mapping for all turns, as in Jinja2.
static bool set_loop(chat_run *run, chat_dict *loop, const chat_list *items, uint32_t i)
{
    const chat_value nothing = {.kind = CHAT_UNDEFINED, .as.text = CHAT_TEXT("a neighbour")};
    const struct {
        chat_text name;
        chat_value value;
    } members[] = {
        {CHAT_TEXT("index"), chat_integer((int64_t)i + 1)},
        {CHAT_TEXT("index0"), chat_integer(i)},
        {CHAT_TEXT("revindex"), chat_integer((int64_t)items->count - i)},
        {CHAT_TEXT("revindex0"), chat_integer((int64_t)items->count - i - 1)},
        {CHAT_TEXT("first"), chat_boolean(i == 0)},
        {CHAT_TEXT("last"), chat_boolean(i + 1 == items->count)},
        {CHAT_TEXT("length"), chat_integer(items->count)},
        {CHAT_TEXT("previtem"), i > 0 ? items->items[i - 1] : nothing},
        {CHAT_TEXT("nextitem"), i + 1 < items->count ? items->items[i + 1] : nothing},
    };
    for (size_t m = 0; m < BM_COUNT(members); m++)
        if (loop->count == BM_COUNT(members))
            loop->entries[m].value = members[m].value;
        else if (!chat_dict_set(run, loop, members[m].name, members[m].value))
            return false;
    return true;
}

static bm_status execute_for(chat_run *run, const chat_node *node, chat_flow *outer_flow)
{
    bm_status status = BM_OK;
    chat_value value, loop;
    chat_list *items = NULL;
    chat_flow flow = CHAT_GOES_ON;
    chat_scope outer, inner;
    status = chat_evaluate(run, node->b, &value);
    if (status == BM_OK)
        status = chat_iterate(run, node, value, &items);
    if (status == BM_OK)
        status = choose(run, node, items, &items);
    if (status != BM_OK)
        return status;
    if (!chat_new_dict(run, &loop))
        return chat_no_memory(run, node);
    enter(run, &outer);
    inner = (chat_scope){.parent = &outer};
    const uint32_t count = items->count;
    for (uint32_t i = 0; i < count && flow != CHAT_BREAKS; i++) {
        inner.names.count = 0; // each turn begins with no names of its own, in the memory of the last
        run->scope = &inner;
        flow = CHAT_GOES_ON;
        run->steps += 2; // for the names of the turn: its body may be empty
        if (!set_loop(run, loop.as.dict, items, i) || !chat_dict_set(run, &inner.names, CHAT_TEXT("loop"), loop))
            status = chat_no_memory(run, node);
        if (status == BM_OK)
            status = assign_all(run, node->a, items->items[i]);
        if (status == BM_OK)
            status = chat_execute(run, node->d, &flow);
        run->scope = inner.parent;
        BM_TRY(status);
    }
    if (count == 0) // a break in it ends the loop around
        BM_TRY(chat_execute(run, node->e, outer_flow));
done:
    run->scope = outer.parent;
    return status;
}

// ---- macros ----

static bm_status define_macro(chat_run *run, const chat_node *node)
{
    chat_macro *macro = chat_alloc(&run->arena, 1, sizeof *macro);
    if (!macro)
        return chat_no_memory(run, node);
    // The scope may live in a loop's memory: a macro is kept only where that is the template's own.
    if (run->scope->parent)
        return chat_fail(run, node, BM_E_UNSUPPORTED, "a macro inside of a loop or block is not supported");
    *macro = (chat_macro){node, run->scope};
    const chat_value value = {.kind = CHAT_MACRO, .as.macro = macro};
    return chat_dict_set(run, &run->scope->names, node->text, value) ? BM_OK : chat_no_memory(run, node);
}

static bm_status bind_parameters(chat_run *run, const chat_node *node, const chat_macro *macro,
                                 const chat_arguments *arguments)
{
    uint32_t position = 0, used = 0;
    for (const chat_node *parameter = macro->node->a; parameter; parameter = parameter->next, position++) {
        chat_value value = {.kind = CHAT_UNDEFINED, .as.text = parameter->text};
        bool is_given = false;
        bm_status status = BM_OK;
        for (uint32_t i = 0; i < arguments->count; i++)
            if (arguments->names[i].length ? chat_equal(arguments->names[i], parameter->text) : i == position) {
                value = arguments->values[i];
                is_given = true;
                used++;
            }
        if (!is_given && parameter->a)
            status = chat_evaluate(run, parameter->a, &value);
        if (status == BM_OK)
            status = assign(run, parameter, value);
        if (status != BM_OK)
            return status;
    }
    return used == arguments->count
               ? BM_OK
               : chat_fail(run, node, BM_E_FORMAT, "arguments that the macro \"%.*s\" does not have",
                           (int)(macro->node->text.length < 40 ? macro->node->text.length : 40),
                           macro->node->text.data);
}

bm_status chat_call_macro(chat_run *run, const chat_node *node, const chat_macro *macro,
                          const chat_arguments *arguments, chat_value *out)
{
    bm_string text = BM_STRING_INIT, *outside = run->out;
    chat_flow flow = CHAT_GOES_ON;
    chat_scope scope = {.parent = macro->scope}, *caller = run->scope;
    if (run->calls >= CHAT_MAX_CALLS)
        return chat_fail(run, node, BM_E_FORMAT, "macros in macros, more than %u", CHAT_MAX_CALLS);
    run->calls++;
    run->scope = &scope;
    bm_status status = bind_parameters(run, node, macro, arguments);
    run->out = &text;
    if (status == BM_OK)
        status = chat_execute(run, macro->node->b, &flow);
    run->out = outside;
    run->scope = caller;
    run->calls--;
    return close_text(run, node, status, &text, out);
}

// ---- all of them ----

static bm_status execute_print(chat_run *run, const chat_node *node)
{
    chat_value value;
    chat_text text;
    bm_status status = chat_evaluate(run, node->a, &value);
    if (status == BM_OK)
        status = chat_text_of(run, node, value, &text);
    return status == BM_OK ? write(run, node, text) : status;
}

static bm_status execute_if(chat_run *run, const chat_node *node, chat_flow *flow)
{
    for (;;) { // "elif" is an if in the place of else
        chat_value value;
        const bm_status status = chat_evaluate(run, node->a, &value);
        if (status != BM_OK)
            return status;
        if (chat_truth(value))
            return chat_execute(run, node->b, flow);
        if (!node->c || node->c->kind != CHAT_N_IF || node->c->next)
            return chat_execute(run, node->c, flow);
        node = node->c;
    }
}

bm_status chat_execute(chat_run *run, const chat_node *body, chat_flow *flow)
{
    bm_status status = BM_OK;
    for (const chat_node *node = body; node && status == BM_OK && *flow == CHAT_GOES_ON; node = node->next) {
        run->steps++;
        if (chat_is_spent(run))
            return chat_check_steps(run, node);
        switch ((int)node->kind) {
        case CHAT_N_TEXT:
            status = write(run, node, node->text);
            break;
        case CHAT_N_PRINT:
            status = execute_print(run, node);
            break;
        case CHAT_N_IF:
            status = execute_if(run, node, flow);
            break;
        case CHAT_N_FOR:
            status = execute_for(run, node, flow);
            break;
        case CHAT_N_MACRO:
            status = define_macro(run, node);
            break;
        case CHAT_N_BREAK:
        case CHAT_N_CONTINUE:
            *flow = node->kind == CHAT_N_BREAK ? CHAT_BREAKS : CHAT_CONTINUES;
            break;
        default:
            status = execute_set(run, node);
            break;
        }
    }
    return status;
}

// ---- a run ----

static bool add_message(chat_run *run, chat_list *list, const bm_chat_message *message)
{
    chat_value value;
    return chat_new_dict(run, &value) &&
           chat_dict_set(run, value.as.dict, CHAT_TEXT("role"),
                         chat_string((chat_text){message->role, strlen(message->role)})) &&
           chat_dict_set(run, value.as.dict, CHAT_TEXT("content"),
                         chat_string((chat_text){message->content, strlen(message->content)})) &&
           chat_list_add(&run->arena, list, value);
}

// What transformers gives a template: messages, add_generation_prompt, tools and documents (none), and the tokens' texts.
static bool set_names(chat_run *run, const bm_chat_message *messages, size_t num_messages,
                      const bm_chat_variable *variables, size_t num_variables, bool add_generation_prompt)
{
    const chat_value none = {.kind = CHAT_NONE};
    chat_dict *names = &run->scope->names;
    chat_value list;
    bool fits = chat_new_list(run, &list);
    for (size_t i = 0; i < num_messages && fits; i++)
        fits = add_message(run, list.as.list, &messages[i]);
    for (size_t i = 0; i < num_variables && fits; i++)
        fits = chat_dict_set(run, names, (chat_text){variables[i].name, strlen(variables[i].name)},
                             chat_string((chat_text){variables[i].text, strlen(variables[i].text)}));
    return fits && chat_dict_set(run, names, CHAT_TEXT("messages"), list) &&
           chat_dict_set(run, names, CHAT_TEXT("tools"), none) &&
           chat_dict_set(run, names, CHAT_TEXT("documents"), none) &&
           chat_dict_set(run, names, CHAT_TEXT("add_generation_prompt"), chat_boolean(add_generation_prompt));
}

bm_status bm_chat_template_render(const bm_chat_template *template, const bm_chat_message *messages,
                                  size_t num_messages, const bm_chat_variable *variables, size_t num_variables,
                                  bool add_generation_prompt, bm_string *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    chat_scope scope = {0};
    chat_flow flow = CHAT_GOES_ON;
    chat_run run = {.template = template, .arena.limit = CHAT_MAX_MEMORY, .scope = &scope, .out = &text, .err = err};
    for (size_t i = 0; i < num_messages; i++) {
        const size_t length = strlen(messages[i].content);
        BM_FAIL_IF(!bm_utf8_is_valid(messages[i].content, length) ||
                       !bm_utf8_is_valid(messages[i].role, strlen(messages[i].role)),
                   err, BM_E_FORMAT, "message %zu of the conversation is not valid UTF-8", i + 1);
    }
    BM_FAIL_IF(!set_names(&run, messages, num_messages, variables, num_variables, add_generation_prompt), err,
               BM_E_MEMORY, "%s: out of memory", template->name);
    BM_TRY(chat_execute(&run, template->body, &flow));
    BM_FAIL_IF(!bm_string_append_bytes(out, bm_string_text(&text), text.length), err, BM_E_MEMORY, "%s: out of memory",
               template->name);
done:
    bm_string_free(&text);
    chat_arena_free(&run.arena);
    return status;
}

bm_status bm_chat_template_render_for(const bm_chat_template *template, const bm_tokenizer *tokenizer,
                                      const bm_chat_message *messages, size_t num_messages, bool add_generation_prompt,
                                      bm_string *out, bm_error *err)
{
    bm_chat_variable variables[2];
    size_t count = 0;
    uint32_t id = 0;
    if (bm_tokenizer_bos(tokenizer, &id) && bm_tokenizer_piece(tokenizer, id, NULL))
        variables[count++] = (bm_chat_variable){"bos_token", bm_tokenizer_piece(tokenizer, id, NULL)};
    if (bm_tokenizer_eos(tokenizer, &id) && bm_tokenizer_piece(tokenizer, id, NULL))
        variables[count++] = (bm_chat_variable){"eos_token", bm_tokenizer_piece(tokenizer, id, NULL)};
    return bm_chat_template_render(template, messages, num_messages, variables, count, add_generation_prompt, out, err);
}
