/* JavaScript as a plugin: QuickJS-ng with Pawl's guest ABI around it.
 *
 * The engine is built once. `pawl plugin build` writes a script into the room that is kept for it here (the exported
 * address `pawl_script`: four bytes of length, then the text), so that a plugin in JavaScript needs no compiler and its
 * digest covers the script. The script defines `execute_task(input)`; what it finds is in prelude.js. */
#include <stdlib.h>
#include <string.h>
#include "quickjs.h"
#include "pawl.h"
#include "prelude.h"

#define ROOM (1 << 20)
#define STACK (512 << 10)

struct {
    pawl_u32 size;
    char text[ROOM];
} pawl_script;

static char *take(pawl_handle handle, pawl_u32 *size) {
    *size = (pawl_u32)pawl_length(handle);
    char *data = malloc(*size + 1);
    pawl_u32 at = 0;
    for (; at + 8 <= *size; at += 8) {
        unsigned long long word = pawl_load_u64(handle + at);
        memcpy(data + at, &word, 8);
    }
    for (; at < *size; at++) data[at] = (char)pawl_load_u8(handle + at);
    data[*size] = 0;
    return data;
}

static JSValue taken(JSContext *js, pawl_handle handle) {
    pawl_u32 size;
    char *data = take(handle, &size);
    pawl_free(handle);
    JSValue value = JS_NewStringLen(js, data, size);
    free(data);
    return value;
}

static pawl_handle given(JSContext *js, JSValueConst value, size_t *size) {
    const char *text = JS_ToCStringLen(js, size, value);
    if (text == NULL) return 0;
    pawl_handle handle = pawl_give((pawl_text){(char *)text, (pawl_u32)*size});
    JS_FreeCString(js, text);
    return handle;
}

static JSValue host_call(JSContext *js, JSValueConst self, int count, JSValueConst *values) {
    size_t size;
    pawl_handle request = given(js, values[0], &size);
    if (request == 0) return JS_EXCEPTION;
    pawl_handle reply = pawl_call(request);
    pawl_free(request);
    return taken(js, reply);
}

static JSValue host_config(JSContext *js, JSValueConst self, int count, JSValueConst *values) {
    size_t size;
    pawl_handle key = given(js, values[0], &size);
    if (key == 0) return JS_EXCEPTION;
    pawl_handle value = pawl_config_get(key);
    return value == 0 ? JS_UNDEFINED : taken(js, value);
}

static JSValue host_output(JSContext *js, JSValueConst self, int count, JSValueConst *values) {
    size_t size;
    pawl_handle output = given(js, values[0], &size);
    if (output == 0) return JS_EXCEPTION;
    pawl_output_set(output, size);
    return JS_UNDEFINED;
}

static JSValue host_error(JSContext *js, JSValueConst self, int count, JSValueConst *values) {
    size_t size;
    pawl_handle error = given(js, values[0], &size);
    if (error == 0) return JS_EXCEPTION;
    pawl_error_set(error);
    return JS_UNDEFINED;
}

static JSValue host_input(JSContext *js, JSValueConst self, int count, JSValueConst *values) {
    pawl_u32 size = (pawl_u32)pawl_input_length();
    char *data = malloc(size + 1);
    pawl_u32 at = 0;
    for (; at + 8 <= size; at += 8) {
        unsigned long long word = pawl_input_load_u64(at);
        memcpy(data + at, &word, 8);
    }
    for (; at < size; at++) data[at] = (char)pawl_input_load_u8(at);
    JSValue value = JS_NewStringLen(js, data, size);
    free(data);
    return value;
}

static void give_function(JSContext *js, JSValue global, const char *name, JSCFunction *function, int length) {
    JS_SetPropertyStr(js, global, name, JS_NewCFunction(js, function, name, length));
}

/* What was thrown and nobody caught: only a script that does not even begin gets here. */
static pawl_i32 fail(JSContext *js) {
    JSValue thrown = JS_GetException(js);
    JSValue stack = JS_IsError(thrown) ? JS_GetPropertyStr(js, thrown, "stack") : JS_UNDEFINED;
    const char *message = JS_ToCString(js, thrown), *where = JS_ToCString(js, stack);
    size_t room = (message ? strlen(message) : 0) + (where ? strlen(where) : 0) + 2;
    char *words = malloc(room);
    strcpy(words, message ? message : "the script failed");
    if (where && !JS_IsUndefined(stack)) strcat(strcat(words, "\n"), where);
    pawl_fail((pawl_text){words, (pawl_u32)strlen(words)});
    return 1;
}

PAWL_EXPORT("execute_task") pawl_i32 execute_task(void) {
    JSRuntime *runtime = JS_NewRuntime();
    JS_SetMaxStackSize(runtime, STACK);
    JSContext *js = JS_NewContext(runtime);
    JSValue global = JS_GetGlobalObject(js);
    give_function(js, global, "__call", host_call, 1);
    give_function(js, global, "__config", host_config, 1);
    give_function(js, global, "__input", host_input, 0);
    give_function(js, global, "__output", host_output, 1);
    give_function(js, global, "__error", host_error, 1);
    if (JS_IsException(JS_Eval(js, (char *)prelude_js, prelude_js_len, "pawl", JS_EVAL_TYPE_GLOBAL))) return fail(js);
    if (pawl_script.size == 0) {
        pawl_fail(PAWL_TEXT("this is the engine without a script: build a plugin with `pawl plugin build`"));
        return 1;
    }
    /* One byte more than the text is a zero, as the parser wants: the room is never full. */
    if (JS_IsException(JS_Eval(js, pawl_script.text, pawl_script.size, "plugin.js", JS_EVAL_TYPE_GLOBAL))) return fail(js);
    JSValue status = JS_Eval(js, "__run()", 7, "pawl", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(status)) return fail(js);
    JSContext *job;
    while (JS_ExecutePendingJob(runtime, &job) > 0) {}
    JSValue ended = JS_Eval(js, "__end()", 7, "pawl", JS_EVAL_TYPE_GLOBAL);
    int32_t code = 1;
    if (JS_IsException(ended)) return fail(js);
    JS_ToInt32(js, &code, ended);
    return code; /* nothing is freed: the process ends with the run */
}
