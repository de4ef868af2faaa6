/* Greets whoever the parameters name: {"name": "Ada"} becomes {"greeting": "hello Ada"}.
 *
 * Shows what most plugins need: parameters, config, a log line, progress, output, and an error that says what is wrong.
 * The config key `greeting` replaces the word. */
#include "pawl.h"

#define ROOM 4096

static char input[ROOM];
static char word[256];
static char output[2 * ROOM];
static pawl_u32 written;

static void put(const char *data, pawl_u32 size) {
    for (pawl_u32 i = 0; i < size && written < sizeof output; i++) output[written++] = data[i];
}

/* The same, as the inside of a JSON string. */
static void put_escaped(const char *data, pawl_u32 size) {
    static const char digits[] = "0123456789abcdef";
    for (pawl_u32 i = 0; i < size; i++) {
        pawl_u8 c = (pawl_u8)data[i];
        if (c == '"' || c == '\\') put("\\", 1);
        if (c < ' ') {
            put("\\u00", 4);
            put(&digits[c >> 4], 1);
            put(&digits[c & 15], 1);
        } else put(&data[i], 1);
    }
}

static int is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* The end of the JSON string that begins behind `at`; `size` if it does not end. */
static pawl_u32 string_end(pawl_u32 at, pawl_u32 size) {
    while (at < size && input[at] != '"') at += input[at] == '\\' ? 2 : 1;
    return at < size ? at : size;
}

/* The inside of the string value of the top-level member `name`, still escaped as JSON. */
static int find_name(pawl_u32 size, pawl_text *found) {
    int depth = 0;
    for (pawl_u32 at = 0; at < size; at++) {
        char c = input[at];
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        if (c != '"') continue;
        pawl_u32 begin = at + 1, end = string_end(begin, size);
        at = end;
        int is_name = depth == 1 && end - begin == 4 && input[begin] == 'n' && input[begin + 1] == 'a' &&
                      input[begin + 2] == 'm' && input[begin + 3] == 'e';
        pawl_u32 next = end + 1;
        while (next < size && is_space(input[next])) next++;
        if (!is_name || next >= size || input[next] != ':') continue;
        next++;
        while (next < size && is_space(input[next])) next++;
        if (next >= size || input[next] != '"') return 0;
        end = string_end(++next, size);
        for (at = next; at < end; at++)
            if ((pawl_u8)input[at] < ' ') return 0;
        *found = (pawl_text){&input[next], end - next};
        return end < size;
    }
    return 0;
}

PAWL_EXPORT("execute_task") pawl_i32 execute_task(void) {
    pawl_u32 size = pawl_read_input(input, ROOM);
    if (size > ROOM) {
        pawl_fail(PAWL_TEXT("{\"code\":\"INPUT_TOO_LARGE\",\"message\":\"parameters: at most 4096 bytes\"}"));
        return 1;
    }
    pawl_text name = PAWL_TEXT("world");
    if (size > 0 && !find_name(size, &name)) {
        pawl_fail(PAWL_TEXT("{\"code\":\"INVALID_INPUT\",\"message\":\"parameters.name: a string is needed\"}"));
        return 1;
    }
    pawl_log(PAWL_TEXT("greeting somebody"));
    pawl_tell(PAWL_TEXT("{\"op\":\"progress\",\"args\":{\"percent\":50,\"message\":\"half of it is said\"}}"));

    pawl_u32 length = pawl_read_config(PAWL_TEXT("greeting"), word, sizeof word);
    put("{\"greeting\": \"", 14);
    if (length > 0 && length <= sizeof word) put_escaped(word, length);
    else put("hello", 5);
    put(" ", 1);
    put(name.data, name.size);
    put("\"}", 2);
    pawl_output((pawl_text){output, written});
    return 0;
}
