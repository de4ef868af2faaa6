/* Pawl's guest ABI 1 for C: one header, no libc, nothing to link.
 *
 * What a plugin works with lies in the host's memory and is reached by handles (64-bit numbers). Data goes in and out by
 * copying between that memory and the plugin's own. A handle is owned by whoever got it: free what you allocate and what
 * the host answers, but not what you gave to output_set, error_set, config_get or a log function. */
#ifndef PAWL_H
#define PAWL_H

typedef unsigned char pawl_u8;
typedef int pawl_i32;
typedef unsigned int pawl_u32;
typedef unsigned long long pawl_handle;

#define PAWL_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define PAWL_EXPORT(name) __attribute__((export_name(name)))

PAWL_IMPORT("extism:host/env", "alloc") pawl_handle pawl_alloc(pawl_handle size);
PAWL_IMPORT("extism:host/env", "free") void pawl_free(pawl_handle handle);
PAWL_IMPORT("extism:host/env", "length") pawl_handle pawl_length(pawl_handle handle);
PAWL_IMPORT("extism:host/env", "load_u8") pawl_u32 pawl_load_u8(pawl_handle at);
PAWL_IMPORT("extism:host/env", "load_u64") unsigned long long pawl_load_u64(pawl_handle at);
PAWL_IMPORT("extism:host/env", "store_u8") void pawl_store_u8(pawl_handle at, pawl_u32 value);
PAWL_IMPORT("extism:host/env", "store_u64") void pawl_store_u64(pawl_handle at, unsigned long long value);
PAWL_IMPORT("extism:host/env", "input_length") pawl_handle pawl_input_length(void);
PAWL_IMPORT("extism:host/env", "input_load_u8") pawl_u32 pawl_input_load_u8(pawl_handle at);
PAWL_IMPORT("extism:host/env", "input_load_u64") unsigned long long pawl_input_load_u64(pawl_handle at);
PAWL_IMPORT("extism:host/env", "output_set") void pawl_output_set(pawl_handle handle, pawl_handle size);
PAWL_IMPORT("extism:host/env", "error_set") void pawl_error_set(pawl_handle handle);
PAWL_IMPORT("extism:host/env", "config_get") pawl_handle pawl_config_get(pawl_handle key);
PAWL_IMPORT("extism:host/env", "log_info") void pawl_log_info(pawl_handle message);
PAWL_IMPORT("pawl", "call") pawl_handle pawl_call(pawl_handle request);

/* A piece of the plugin's own memory. */
typedef struct {
    char *data;
    pawl_u32 size;
} pawl_text;

#define PAWL_TEXT(literal) ((pawl_text){(char *)(literal), sizeof(literal) - 1})

/* Copy text into the host's memory. */
static inline pawl_handle pawl_give(pawl_text text) {
    pawl_handle handle = pawl_alloc(text.size);
    pawl_u32 i = 0;
    for (; i + 8 <= text.size; i += 8) {
        unsigned long long word = 0;
        for (int b = 7; b >= 0; b--) word = word << 8 | (pawl_u8)text.data[i + (pawl_u32)b];
        pawl_store_u64(handle + i, word);
    }
    for (; i < text.size; i++) pawl_store_u8(handle + i, (pawl_u8)text.data[i]);
    return handle;
}

/* Copy the input (the task's parameters) into a buffer; returns how many bytes it has, which may be more than fit. */
static inline pawl_u32 pawl_read_input(char *buffer, pawl_u32 room) {
    pawl_u32 size = (pawl_u32)pawl_input_length();
    for (pawl_u32 i = 0; i < size && i < room; i++) buffer[i] = (char)pawl_input_load_u8(i);
    return size;
}

/* Copy a config value into a buffer; returns its size, 0 if there is no such key. */
static inline pawl_u32 pawl_read_config(pawl_text key, char *buffer, pawl_u32 room) {
    pawl_handle value = pawl_config_get(pawl_give(key));
    if (value == 0) return 0;
    pawl_u32 size = (pawl_u32)pawl_length(value);
    for (pawl_u32 i = 0; i < size && i < room; i++) buffer[i] = (char)pawl_load_u8(value + i);
    pawl_free(value);
    return size;
}

static inline void pawl_log(pawl_text message) { pawl_log_info(pawl_give(message)); }

static inline void pawl_output(pawl_text text) { pawl_output_set(pawl_give(text), text.size); }

/* Fail the task: words, or {"code", "message", "retryable", "retry_after_seconds"} in JSON. */
static inline void pawl_fail(pawl_text error) { pawl_error_set(pawl_give(error)); }

/* One call of a Pawl op: a JSON envelope {"op", "name", "args"}. Copies the answer, {"ok"} or {"error"}, into a buffer;
 * returns how many bytes it has, which may be more than fit. */
static inline pawl_u32 pawl_ask(pawl_text request, char *buffer, pawl_u32 room) {
    pawl_handle question = pawl_give(request), answer = pawl_call(question);
    pawl_u32 size = (pawl_u32)pawl_length(answer);
    for (pawl_u32 i = 0; i < size && i < room; i++) buffer[i] = (char)pawl_load_u8(answer + i);
    pawl_free(question);
    pawl_free(answer);
    return size;
}

/* The same where the answer does not matter: progress, a log line with fields. */
static inline void pawl_tell(pawl_text request) {
    pawl_handle question = pawl_give(request);
    pawl_free(pawl_call(question));
    pawl_free(question);
}

#endif
