// Pawl's guest ABI 1 for AssemblyScript.
//
// What a plugin works with lies in the host's memory and is reached by handles; data is copied in and out.

@external("extism:host/env", "alloc") declare function host_alloc(size: u64): u64;
@external("extism:host/env", "free") declare function host_free(handle: u64): void;
@external("extism:host/env", "length") declare function host_length(handle: u64): u64;
@external("extism:host/env", "load_u8") declare function host_load_u8(at: u64): u32;
@external("extism:host/env", "store_u8") declare function host_store_u8(at: u64, value: u32): void;
@external("extism:host/env", "input_length") declare function host_input_length(): u64;
@external("extism:host/env", "input_load_u8") declare function host_input_load_u8(at: u64): u32;
@external("extism:host/env", "output_set") declare function host_output_set(handle: u64, size: u64): void;
@external("extism:host/env", "error_set") declare function host_error_set(handle: u64): void;
@external("extism:host/env", "config_get") declare function host_config_get(key: u64): u64;
@external("extism:host/env", "log_info") declare function host_log_info(message: u64): void;
@external("pawl", "call") declare function host_call(request: u64): u64;

/** Copies text into the host's memory. */
function give(text: string): u64 {
  const data = Uint8Array.wrap(String.UTF8.encode(text));
  const handle = host_alloc(data.length);
  for (let i = 0; i < data.length; i++) host_store_u8(handle + i, data[i]);
  return handle;
}

/** Copies a block out of the host's memory and gives it back. */
function take(handle: u64): string {
  const data = new Uint8Array(<i32>host_length(handle));
  for (let i = 0; i < data.length; i++) data[i] = <u8>host_load_u8(handle + i);
  host_free(handle);
  return String.UTF8.decode(data.buffer);
}

/** The task's parameters, as they are. */
export function input(): Uint8Array {
  const data = new Uint8Array(<i32>host_input_length());
  for (let i = 0; i < data.length; i++) data[i] = <u8>host_input_load_u8(i);
  return data;
}

/** The same as text. */
export function text(): string {
  return String.UTF8.decode(input().buffer);
}

/** A value of the job's config, or a fact of the task (`task.id`, `task.attempt`, ...); empty if there is none. */
export function config(key: string): string {
  const value = host_config_get(give(key));
  return value == 0 ? "" : take(value);
}

export function log(message: string): void {
  host_log_info(give(message));
}

export function output(text: string): void {
  const size = String.UTF8.byteLength(text);
  host_output_set(give(text), size);
}

/** Text as a JSON string, with its quotes. */
export function quoted(text: string): string {
  let result = '"';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22 || code == 0x5c) result += "\\" + text.charAt(i);
    else if (code < 0x20) result += "\\u" + code.toString(16).padStart(4, "0");
    else result += text.charAt(i);
  }
  return result + '"';
}

/** Sets the task's error, which is not retried; return what it returns. `code` is UPPER_SNAKE. */
export function fail(code: string, message: string): i32 {
  host_error_set(give(`{"code": "${code}", "message": ${quoted(message)}}`));
  return 1;
}

/** One op of Pawl: a JSON envelope `{op, name, args}`; its answer is `{"ok": ...}` or `{"error": ...}`. */
export function call(request: string): string {
  const question = give(request);
  const answer = take(host_call(question));
  host_free(question);
  return answer;
}

/** Says how far the task is, 0 to 100. */
export function progress(percent: f64): void {
  call(`{"op": "progress", "args": {"percent": ${percent}}}`);
}

/** Whether somebody wants the task to end. */
export function cancel_requested(): bool {
  return call('{"op": "heartbeat"}').includes("true");
}

/** What the compiler calls where a program cannot go on: says where in the log, and traps. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(`abort: ${message ? message : "no words"} at ${file ? file : "?"}:${line}:${column}`);
  unreachable();
}
