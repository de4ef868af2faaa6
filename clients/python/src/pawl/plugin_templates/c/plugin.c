/* Counts the bytes of its parameters: replace this with your own work. */
#include "pawl.h"

static char output[64];

PAWL_EXPORT("execute_task") pawl_i32 execute_task(void) {
    pawl_u32 size = (pawl_u32)pawl_input_length();
    if (size == 0) {
        pawl_fail(PAWL_TEXT("{\"code\": \"INVALID_INPUT\", \"message\": \"parameters: some are needed\"}"));
        return 1;
    }
    pawl_log(PAWL_TEXT("counting"));
    pawl_tell(PAWL_TEXT("{\"op\": \"progress\", \"args\": {\"percent\": 50}}"));

    char digits[10];
    pawl_u32 count = 0, at = 0;
    for (pawl_u32 rest = size; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
    for (const char *head = "{\"bytes\": "; *head; head++) output[at++] = *head;
    while (count > 0) output[at++] = digits[--count];
    output[at++] = '}';
    pawl_output((pawl_text){output, at});
    return 0;
}
